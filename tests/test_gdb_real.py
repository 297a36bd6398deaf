"""A real gdb against a real machine: a small program in C, and Linux where a guest is at hand."""

import re
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from real_gdb import Gdb, compile_program, debugged, guest_file, machine_with, needs_gcc, needs_gdb
from support import until

from dbgemu.debug.session import DebugSession

pytestmark = needs_gdb

_SOURCE = """
volatile unsigned counter, reads;
volatile unsigned char bytes[8];

__attribute__((naked)) void _start(void) { asm("ldr sp, =0x30200000; b main"); }

unsigned leaf(unsigned x) {
    counter += x;
    return 2 * x;
}

unsigned middle(unsigned x) {
    unsigned y = leaf(x) + 1;
    bytes[3] = y;
    return y;
}

unsigned busy(unsigned n) {
    unsigned i, sum = 0;
    for (i = 0; i < n; i++) sum += i;
    return sum;
}

int main(void) {
    unsigned i;
    for (i = 0;; i++) {
        middle(i & 7);
        reads = counter;
        busy(1000);
    }
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("program"), _SOURCE)


@pytest.fixture
def target(program: Path) -> Iterator[tuple[Gdb, DebugSession, str]]:
    with debugged(machine_with(program), program) as everything:
        yield everything


@pytest.fixture
def gdb(target: tuple[Gdb, DebugSession, str]) -> Gdb:
    return target[0]


@needs_gcc
def test_gdb_attaches_at_the_first_instruction(gdb) -> None:
    assert gdb.value("$pc == (unsigned) &_start") == 1
    assert gdb.value("$r1") == 1999


@needs_gcc
def test_break_backtrace_finish_next_and_step(gdb) -> None:
    gdb.execute("break leaf")
    stop = gdb.run("continue")
    assert (stop["reason"], stop["frame"]["func"]) == ("breakpoint-hit", "leaf")
    assert re.findall(r"#\d .*?(\w+) \(", gdb.execute("bt")) == ["leaf", "middle", "main"]
    stop = gdb.run("finish")
    assert (stop["reason"], stop["frame"]["func"], stop["return-value"]) == (
        "function-finished",
        "middle",
        "0",
    )
    line = int(stop["frame"]["line"])
    assert int(gdb.run("next")["frame"]["line"]) == line + 1
    gdb.execute("delete")
    # 'advance' also ends when the function it started in returns
    assert gdb.run("advance busy")["frame"]["func"] == "main"
    assert gdb.run("advance busy")["frame"]["func"] == "busy"
    gdb.execute("tbreak middle")
    gdb.run("continue")
    assert gdb.run("step")["frame"]["func"] == "leaf"


@needs_gcc
def test_stepping_over_a_long_loop_by_line(gdb) -> None:
    gdb.execute("break busy")
    gdb.run("continue")
    gdb.run("next")
    stop = gdb.run("next")
    assert stop["reason"] == "end-stepping-range"
    assert stop["frame"]["func"] == "busy"


@needs_gcc
def test_stepi_executes_one_instruction(target) -> None:
    gdb, session, _ = target
    executed = session.cpu.instructions
    first = gdb.value("(unsigned) $pc")
    assert gdb.run("stepi")["reason"] == "end-stepping-range"
    assert session.cpu.instructions == executed + 1
    assert gdb.value("(unsigned) $pc") == first + 4


@needs_gcc
@pytest.mark.parametrize("command", ["break", "hbreak", "tbreak"])
def test_breakpoints_of_all_kinds_hit(gdb, command) -> None:
    gdb.execute(f"{command} middle")
    assert gdb.run("continue")["frame"]["func"] == "middle"


@needs_gcc
def test_a_conditional_breakpoint_stops_when_it_holds(gdb) -> None:
    gdb.execute("break leaf if x == 5")
    gdb.run("continue")
    assert gdb.value("x") == 5


@needs_gcc
def test_a_watchpoint_tells_old_and_new_value(gdb) -> None:
    gdb.execute("watch counter")
    stop = gdb.run("continue")
    assert stop["reason"] == "watchpoint-trigger"
    assert (stop["value"]["old"], stop["value"]["new"]) == ("0", "1")
    stop = gdb.run("continue")
    assert (stop["value"]["old"], stop["value"]["new"]) == ("1", "3")
    assert stop["frame"]["func"] == "leaf"


@needs_gcc
def test_a_watchpoint_on_one_byte_of_a_word_is_found(gdb) -> None:
    gdb.execute("watch bytes[3]")
    stop = gdb.run("continue")
    assert (stop["value"]["old"], stop["value"]["new"]) == ("0 '\\000'", "1 '\\001'")
    assert stop["frame"]["func"] == "middle"


@needs_gcc
def test_read_and_access_watchpoints_stop_on_what_they_watch(gdb) -> None:
    gdb.execute("rwatch counter")
    assert gdb.run("continue")["reason"] == "read-watchpoint-trigger"
    gdb.execute("delete")
    gdb.execute("awatch reads")
    stop = gdb.run("continue")
    assert stop["reason"] == "access-watchpoint-trigger"
    assert stop["frame"]["func"] == "main"


@needs_gcc
def test_ctrl_c_detach_and_attach_again(target) -> None:
    gdb, session, place = target
    gdb.execute("continue")
    until(lambda: session.running)
    stop = gdb.interrupt()
    assert (stop["reason"], stop["signal-name"]) == ("signal-received", "SIGINT")
    assert stop["frame"]["func"] in ("main", "middle", "leaf", "busy")
    gdb.execute("break leaf")
    gdb.execute("detach")
    assert session.running
    assert len(session.breakpoints) == 0
    executed = session.call(lambda: session.cpu.instructions)
    until(lambda: session.call(lambda: session.cpu.instructions) > executed)
    gdb.execute("delete")
    gdb.execute(f"target remote {place}")
    gdb.stop()
    assert not session.running
    assert gdb.value("counter") > 0


@needs_gcc
def test_registers_are_shown_and_written(target) -> None:
    gdb, session, _ = target
    shown = gdb.execute("info registers")
    assert "cpsr" in shown
    assert "svc" in shown
    banked = gdb.execute("info registers banked")
    assert "r13_irq" in banked
    assert "sctlr" not in banked
    assert "sctlr" in gdb.execute("info registers cp15")
    gdb.execute("set $r4 = 0x1234")
    gdb.execute("set $r13_irq = 0x30100000")
    gdb.execute("set $far = 0x55")
    assert session.cpu.read_register("r4") == 0x1234
    assert session.cpu.read_register("r13_irq") == 0x30100000
    assert session.cpu.read_register("far") == 0x55
    gdb.execute("maintenance flush register-cache")
    assert gdb.value("$r13_irq") == 0x30100000
    assert gdb.value("$cpsr & 0x1f") == 0x13


@needs_gcc
def test_memory_is_read_and_written(target) -> None:
    gdb, session, _ = target
    gdb.execute("set var counter = 0xdeadbeef")
    assert "0xdeadbeef" in gdb.execute("x/xw &counter")
    assert len(gdb.execute("x/8i $pc").splitlines()) == 8
    gdb.execute("set {unsigned char [4]} 0x30300000 = {1, 2, 3, 4}")
    assert session.memory.read(0x30300000, 4) == b"\1\2\3\4"
    assert "Cannot access memory at address 0x90000000" in gdb.execute("x/x 0x90000000", fails=True)


@needs_gcc
def test_the_memory_map_is_understood(gdb) -> None:
    shown = gdb.execute("info mem")
    assert re.search(r"0x30000000 0x34000000 rw", shown)
    assert re.search(r"0x00000000 0x00004000 flash blocksize 0x4000", shown)
    assert re.search(r"0x00010000 0x00200000 flash blocksize 0x10000", shown)


@needs_gcc
def test_load_and_compare_sections_and_dump(gdb, tmp_path) -> None:
    gdb.execute("set {unsigned} leaf = 0")
    assert "MIS-MATCHED" in gdb.execute("compare-sections .text")
    assert "Transfer rate" in gdb.execute("load")
    assert "matched" in gdb.execute("compare-sections .text")
    dump = tmp_path / "dump.bin"
    gdb.execute(f"dump binary memory {dump} 0x30000000 0x30100000")
    assert dump.stat().st_size == 1 << 20
    gdb.execute(f"restore {dump} binary 0x30300000")
    assert gdb.value("*(unsigned *) 0x30308000 == *(unsigned *) 0x30008000") == 1


@needs_gcc
def test_functions_can_be_called_and_left(gdb) -> None:
    gdb.execute("break main")
    gdb.run("continue")
    assert gdb.value("leaf(21)") == 42
    assert gdb.value("counter") == 21
    gdb.execute("break leaf")
    gdb.run("continue")
    gdb.execute("return 7")
    assert "middle" in gdb.execute("bt 1")


@needs_gcc
def test_monitor_commands_answer(gdb) -> None:
    assert "system_reset" in gdb.execute("monitor help")
    assert "cpsr=" in gdb.execute("monitor info registers")
    assert "did you mean 'registers'" in gdb.execute("monitor info register")


@needs_gcc
def test_system_reset_starts_again(gdb) -> None:
    gdb.execute("break middle")
    gdb.run("continue")
    gdb.execute("monitor system_reset")
    gdb.execute("maintenance flush register-cache")
    assert gdb.value("$pc == (unsigned) &_start") == 1
    assert gdb.run("continue")["frame"]["func"] == "middle"


@needs_gcc
def test_extended_remote_restarts_the_program(target) -> None:
    gdb, _, place = target
    gdb.execute("disconnect")
    gdb.execute(f"target extended-remote {place}")
    gdb.stop()
    gdb.execute("break middle")
    gdb.run("continue")
    assert gdb.run("run")["frame"]["func"] == "middle"


@needs_gcc
def test_two_gdbs_share_a_machine(target, program) -> None:
    gdb, _, place = target
    other = Gdb(program)
    try:
        other.execute(f"target remote {place}")
        other.stop()
        gdb.execute("break leaf")
        other.execute("break middle")
        assert gdb.run("continue")["reason"] in ("signal-received", "breakpoint-hit")
        other.execute("maintenance flush register-cache")
        assert other.run("continue")["frame"]["func"] in ("leaf", "middle")
    finally:
        other.close()
    assert gdb.value("1 + 1") == 2


@needs_gcc
def test_thumb_code_is_stepped_and_broken(tmp_path) -> None:
    elf = compile_program(
        tmp_path,
        _SOURCE.replace(
            'asm("ldr sp, =0x30200000; b main")',
            'asm("ldr r3, =0x30200000; mov sp, r3; ldr r3, =main; bx r3")',
        ).replace("__attribute__((naked))", '__attribute__((naked, target("arm")))'),
        "-mthumb",
    )
    with debugged(machine_with(elf), elf) as (gdb, _, _):
        gdb.execute("break leaf")
        assert gdb.run("continue")["frame"]["func"] == "leaf"
        assert gdb.value("$cpsr & 0x20") == 0x20
        assert re.findall(r"#\d .*?(\w+) \(", gdb.execute("bt")) == ["leaf", "middle", "main"]
        assert gdb.run("finish")["frame"]["func"] == "middle"
        pc = gdb.value("(unsigned) $pc")
        gdb.run("stepi")
        assert gdb.value("(unsigned) $pc") in (pc + 2, pc + 4)


@needs_gcc
def test_jumping_to_a_breakpoint_stops_there_at_once(target) -> None:
    gdb, session, _ = target
    gdb.execute("break main")
    gdb.run("continue")
    gdb.execute("break leaf")
    executed = session.cpu.instructions
    assert gdb.run("jump leaf")["frame"]["func"] == "leaf"
    assert session.cpu.instructions == executed


_IDLE = """
__attribute__((naked)) void _start(void) {
    asm("loop: mov r0, #0; mcr p15, 0, r0, c7, c0, 4; add r1, r1, #1; b loop");
}
"""


@needs_gcc
def test_waiting_for_an_interrupt_that_never_comes_is_stepped_over(tmp_path) -> None:
    elf = compile_program(tmp_path, _IDLE)
    with debugged(machine_with(elf), elf) as (gdb, session, _):
        for _ in range(8):
            gdb.run("stepi")
        assert session.cpu.instructions == 8
        gdb.execute("continue")
        until(lambda: session.running)
        assert gdb.interrupt()["signal-name"] == "SIGINT"
        executed = session.cpu.instructions
        gdb.run("stepi")
        assert session.cpu.instructions == executed + 1


_TICK = """
volatile unsigned ticks;

__attribute__((naked)) void _start(void) { asm("ldr sp, =0x30200000; b main"); }

__attribute__((interrupt("IRQ"))) void handler(void) {
    volatile unsigned *intc = (unsigned *)0x4A000000;
    ticks++;
    intc[0] = intc[4] = 1 << 14;
}

int main(void) {
    volatile unsigned *intc = (unsigned *)0x4A000000, *timer = (unsigned *)0x51000000;
    asm volatile("msr cpsr_c, #0xd2; ldr sp, =0x30300000; msr cpsr_c, #0xd3" ::: "lr");
    intc[2] &= ~(1 << 14);
    timer[15] = 500;
    timer[2] = 0x600000, timer[2] = 0x500000;
    asm volatile("msr cpsr_c, #0x53");
    while (ticks < 3) ;
    return ticks;
}
"""


@needs_gcc
def test_a_line_that_waits_for_an_interrupt_is_stepped_over(tmp_path) -> None:
    elf = compile_program(tmp_path, _TICK)
    with debugged(machine_with(elf), elf) as (gdb, session, _):
        line = next(n for n, text in enumerate(_TICK.splitlines(), 1) if "while" in text)
        gdb.execute(f"break {line}")
        gdb.run("continue")
        gdb.execute("delete")
        handler = gdb.value("(unsigned) &handler")
        session.memory.write(0x18, struct.pack("<2I", 0xE51FF004, handler))  # ldr pc, [pc, #-4]
        stop = gdb.run("next")
        assert (stop["reason"], stop["frame"]["func"]) == ("end-stepping-range", "main")
        assert int(stop["frame"]["line"]) == line + 1
        assert gdb.value("ticks") >= 3


def linux() -> AbstractContextManager[tuple[Gdb, DebugSession, str]]:
    machine = machine_with(
        guest_file("zImage"),
        command_line="console=ttySAC0,115200 mini2440=0tb rdinit=/init",
        initrd=guest_file("initramfs.cpio.gz").read_bytes(),
    )
    return debugged(machine, guest_file("vmlinux"))


def test_linux_is_debugged_from_before_the_mmu_is_on() -> None:
    with linux() as (gdb, session, _):
        assert len(gdb.execute("x/8i $pc").splitlines()) == 8
        gdb.execute("hbreak start_kernel")
        stop = gdb.run("continue")
        assert (stop["reason"], stop["frame"]["func"]) == ("breakpoint-hit", "start_kernel")
        assert gdb.value("$sctlr & 1") == 1
        assert len(gdb.execute("x/8i $pc").splitlines()) == 8
        gdb.run("next")
        gdb.run("stepi")
        gdb.execute("break setup_arch")
        assert gdb.run("continue")["frame"]["func"] == "setup_arch"
        assert "start_kernel" in gdb.execute("bt")
        assert gdb.run("finish")["frame"]["func"] == "start_kernel"
        gdb.execute("watch jiffies_64")
        stop = gdb.run("continue")
        assert stop["reason"] == "watchpoint-trigger"
        assert int(stop["value"]["new"]) == int(stop["value"]["old"]) + 1
        gdb.execute("delete")
        gdb.execute("continue")
        until(lambda: session.running)
        assert gdb.interrupt()["signal-name"] == "SIGINT"
        assert "linux_banner" in gdb.execute("info symbol linux_banner")
        assert "Linux version 6.1" in gdb.execute("output linux_banner")
