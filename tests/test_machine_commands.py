"""The monitor's commands about the whole machine: memory, board, host, snapshots."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import RawClient, serve, until

from dbgemu.debug.session import DebugSession
from dbgemu.emulator import Emulator
from dbgemu.emulator_services import EmulatorServices
from dbgemu.errors import OptionError
from dbgemu.machine import Machine
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.memory_format import Format, parse_format
from dbgemu.monitor.monitor import Monitor
from dbgemu.options import Options, parse_command_line
from dbgemu.target.arm.assembler import assemble
from dbgemu.target.boot import BootPlan, Load
from dbgemu.target.mini2440 import Mini2440

START = 0x30008000
PROGRAM = """
    mov r0, #1
    ldr r1, =0x30100000
loop:
    ldr r2, [r1]
    add r2, r2, r0
    str r2, [r1]
    b loop
"""
#: what the demo's board starts with, for the emulator's own tests
DEMO = ("-demo", "-S", "-warp", "-serial", "null", "-monitor", "none")


class Bench:
    """A stopped machine, and its monitor."""

    def __init__(self, folder: Path, **options: Any) -> None:
        board = Mini2440()
        program = Load(START, assemble(PROGRAM, START), "the program")
        board.boot_plan = BootPlan("raw", (program,), START, False, 0, 1999, 0)
        self.machine = Machine(board, warp=True)
        self.session = DebugSession(self.machine)
        self.services = EmulatorServices(Options(snapshots=folder, **options), self.session)
        self.monitor = Monitor(self.session, self.services)
        self.board = board

    def __call__(self, line: str) -> str:
        return self.monitor.execute(line)

    def data(self, line: str) -> Any:
        """What ``json`` shows of it."""
        return json.loads(self.monitor.run(f"json {line}").text)

    def refused(self, line: str) -> str:
        with pytest.raises(CommandError) as caught:
            self.monitor.run(line)
        return str(caught.value)

    def write(self, text: bytes) -> None:
        self.session.memory.write_physical(0x30100000, text)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.session.close()
    made.services.close()


# -- x, xp, print ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "text"),
    (
        ("x 0x30100000", "30100000: 0x81c3ff80"),
        ("x/2xw 0x30100000", "30100000: 0x81c3ff80 0x00417f0a"),
        ("x/4xh 0x30100000", "30100000: 0xff80 0x81c3 0x7f0a 0x0041"),
        ("x/1xg 0x30100000", "30100000: 0x00417f0a81c3ff80"),
        ("x/gx 0x30100000", "30100000: 0x00417f0a81c3ff80"),
        ("x/2db 0x30100000", "30100000: -128   -1"),
        ("x/2ub 0x30100000", "30100000: 128 255"),
        ("x/2ob 0x30100000", "30100000: 0200 0377"),
        ("x/c 0x30100006", "30100006: 'A'"),
        ("x/8c 0x30100000", r"30100000: '\x80' '\xff' '\xc3' '\x81' '\n' '\x7f' 'A' '\0'"),
        (
            "x/9xb 0x30100000",
            "30100000: 0x80 0xff 0xc3 0x81 0x0a 0x7f 0x41 0x00\n30100008: 0x00",
        ),
        ("xp/2xw 0x30100000", "30100000: 0x81c3ff80 0x00417f0a"),
        ("x 0x30100000 + 2*2", "30100004: 0x00417f0a"),
        ("print 0x10+1", "0x00000011"),
        ("print/d 1-2", "-1"),
        ("p/u 1-2", "4294967295"),
        ("p/o 8", "000000000010"),
        ("p/c 65", "'A'"),
    ),
)
def test_memory_is_shown_in_the_format_that_is_asked_for(bench: Bench, line: str, text: str) -> None:
    bench.write(b"\x80\xff\xc3\x81\n\x7fA\0")
    assert bench(line) == text


def test_the_checksum_is_that_of_sum_of_bsd(bench: Bench) -> None:
    # `printf 'hello' | sum -r` says 08403
    bench.write(b"hello")
    assert bench("sum 0x30100000 5") == "08403"


def test_instructions_are_disassembled_arm_and_thumb(bench: Bench) -> None:
    assert bench("x/3i $pc") == (
        "30008000: e3a00001  mov r0, #1\n"
        "30008004: e59f100c  ldr r1, [pc, #0xc]\n"
        "30008008: e5912000  ldr r2, [r1]"
    )
    bench.write(bytes.fromhex("0120 00f0 02f8 7047 ffff"))
    assert bench("x/4i 0x30100001") == (
        "30100000: 2001       movs r0, #1\n"
        "30100002: f000 f802  bl #0x3010000a\n"
        "30100006: 4770       bx lr\n"
        "30100008: ffff       (undefined: 0xffff)"
    )


def test_x_goes_on_behind_what_it_showed_last(bench: Bench) -> None:
    assert bench("x") == "there is no address to go on from: x/4xw ADDRESS"
    bench("x/2i 0x30008000")
    assert bench("x") == "30008008: e5912000  ldr r2, [r1]"
    bench("x/8xb 0x30008000")
    assert bench("x/2").startswith("30008008: 0x00 0x20")
    assert bench("xp") == "there is no address to go on from: x/4xw ADDRESS"


def test_what_cannot_be_read_is_left_out_and_said(bench: Bench) -> None:
    assert bench("x/4xw 0x33fffff8") == (
        "33fffff8: 0x00000000 0x00000000\nnothing more can be read from 0x34000000 on"
    )
    assert bench.refused("x 0x90000000") == "nothing answers at physical address 0x90000000"
    assert bench.refused("print/i 1") == "a value is no instruction: print/x, d, u, o or c"


def test_x_does_not_disturb_devices(bench: Bench) -> None:
    uart = bench.board.uarts[0]
    uart.receive(b"hello")
    bench.machine.run(1_000_000)
    before = bench.machine.digest()
    assert bench("xp/xb &uart0.URXH") == "50000024: 0x68"
    assert bench("xp/xb &uart0.URXH") == "50000024: 0x68"
    for line in ("info irq", "info qtree", "info mtree", "info mtd", "info usb", "info network", "info roms"):
        assert bench(line)
    assert bench.machine.digest() == before


@pytest.mark.parametrize("form", ("4q", "xx", "0x", "16385", "99999999999999x", "w4"))
def test_a_format_that_is_none_is_refused(form: str) -> None:
    with pytest.raises(CommandError, match=f"'/{form}' is no format"):
        parse_format(form, Format())


def test_symbols_stand_in_the_margin(bench: Bench) -> None:
    bench.session.symbols.describe = lambda address: f"start+{address - START}"  # type: ignore[method-assign]
    assert bench("x/i $pc") == "30008000 <start+0>: e3a00001  mov r0, #1"
    assert bench.data("x/i $pc") == {
        "address": START,
        "size": 4,
        "lines": [
            {"address": START, "symbol": "start+0", "code": "e3a00001", "text": "mov r0, #1"},
        ],
    }
    assert bench("xp/i 0x30008000") == "30008000: e3a00001  mov r0, #1"
    assert bench("x/i 0x30008014") == "30008014 <start+20>: eafffffb  b #0x30008008 <start+8>"


# -- i, o: as the CPU does it -------------------------------------------------------------------------


def test_i_and_o_have_the_side_effects_of_the_cpus_accesses(bench: Bench) -> None:
    uart = bench.board.uarts[0]
    uart.receive(b"hi")
    bench.machine.run(1_000_000)
    assert bench("i/xb 0x50000024") == "50000024: 0x68"
    assert bench("i uart0.URXH") == "50000024: 0x69"
    sent = bytearray()
    uart.on_transmit = sent.append
    assert bench("o uart0.UTXH 'A'") == ""
    assert bench("o/b 0x50000020 66") == ""
    assert sent == b"AB"


@pytest.mark.parametrize(
    ("line", "sentence"),
    (
        ("i 0x50000001", "0x50000001 is not aligned for an access of a word"),
        ("i 0x90000000", "nothing answers at physical address 0x90000000"),
        ("i/2xw 0x50000000", "an access is of 1, 2 or 4 bytes: '/2xw' is not"),
        ("o uart0.UTXH 256", "0x100 does not fit in a byte"),
        ("o uart0.NOPE 1", "device uart0 has no register 'NOPE'"),
    ),
)
def test_an_access_that_the_cpu_cannot_make_is_refused(bench: Bench, line: str, sentence: str) -> None:
    assert bench.refused(line) == sentence


# -- files ----------------------------------------------------------------------------------------------


def test_memory_goes_to_files_and_back(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "a b.bin"
    bench.write(b"0123456789")
    assert bench(f"memsave 0x30100000 10 '{path}'") == f"10 bytes written to {path}"
    assert path.read_bytes() == b"0123456789"
    assert bench(f"memload '{path}' 0x30200000") == f"10 bytes of {path} put at 0x30200000"
    assert bench(f"pmemload '{path}' 0x30200003") == f"10 bytes of {path} put at 0x30200003"
    bench(f"pmemsave 0x30200000 13 '{path}'")
    assert path.read_bytes() == b"0120123456789"


@pytest.mark.parametrize(
    ("line", "sentence"),
    (
        ("memsave 0x30100000 0 {}/x", "0 bytes from 0x30100000 on are none, or more than there can be"),
        ("memsave 0xfffffff0 17 {}/x", "17 bytes from 0xfffffff0 on are none, or more than there can be"),
        ("memsave 0x33fffff0 17 {}/x", "nothing answers at physical address 0x34000000"),
        ("memsave 0x30100000 1 {}/no/x", "'{}/no/x' cannot be written: No such file or directory"),
        ("memload {}/x 0x30100000", "'{}/x' cannot be read: No such file or directory"),
        ("memload {} 0x30100000", "'{}' cannot be read: Is a directory"),
    ),
)
def test_a_file_that_cannot_be_is_refused(bench: Bench, tmp_path: Path, line: str, sentence: str) -> None:
    assert bench.refused(line.format(tmp_path)) == sentence.format(tmp_path)
    assert not (tmp_path / "x").exists()


# -- the board ----------------------------------------------------------------------------------------


def test_the_board_is_shown_from_its_own_description(bench: Bench) -> None:
    tree = bench("info mtree").splitlines()
    assert "  30000000-33ffffff  ram     sdram" in tree
    assert "  00000000-001fffff  rom     norflash.array (writes go to norflash)" in tree
    assert len(tree) == 1 + len(bench.data("info mtree"))
    parts = bench("info qtree")
    for name in bench.board.devices:
        assert f" {name} (" in parts
    assert "      eeprom (AT24C08 serial EEPROM)" in parts.splitlines()
    assert bench("info roms") == ("30008000-3000801b         28  the program\nraw, started at pc 0x30008000")


def test_buttons_are_held_for_a_time_of_the_guest(bench: Bench) -> None:
    button = bench.board.buttons[1]
    assert bench("sendkey k2-K3 3") == ""
    assert button.pressed
    assert "K2 (button on GPG3): pressed" in bench("info qtree")
    bench.machine.run(1_000_000)  # 2.5 ms
    assert button.pressed
    bench.machine.run(1_000_000)
    assert not button.pressed
    assert bench.refused("sendkey K7") == "the board has no key 'K7': its buttons are K1, K2, K3, K4, K5, K6"
    assert bench.refused("sendkey K1 0") == "'0' is no time to hold a key: 1 to 60000 ms"


def test_interrupts_are_shown_and_injected(bench: Bench) -> None:
    def state(name: str) -> dict[str, Any]:
        return next(row for row in bench.data("info irq")["sources"] if row["name"] == name)

    assert not state("INT_SPI0")["pending"]
    assert bench("irq raise SPI0") == ""
    assert state("INT_SPI0") == {
        "name": "INT_SPI0",
        "bit": 22,
        "parent": None,
        "level": 1,
        "pending": True,
        "masked": True,
        "fiq": False,
    }
    assert bench.refused("irq pulse INT_SPI0") == (
        "the line of INT_SPI0 is up already: 'irq lower INT_SPI0' first"
    )
    bench("irq lower int_spi0")
    assert state("INT_SPI0")["level"] == 0
    bench("irq pulse INT_RXD1")
    assert state("INT_RXD1")["pending"]
    assert "INT_SPI0        22     0  yes      yes     IRQ" in bench("info pic").splitlines()
    assert bench.refused("irq raise TIMR4") == (
        "there is no interrupt source 'TIMR4': did you mean INT_TIMER4?"
    )


def test_an_injected_interrupt_reaches_the_cpu(bench: Bench) -> None:
    bench("o intc.INTMSK 0xffbfffff")
    bench.machine.cpu.write_register("cpsr", 0x13)
    bench("irq pulse SPI0")
    bench.machine.run(1)
    assert bench.machine.cpu.read_register("cpsr") & 0x1F == 0x12
    assert bench.data("info irq")["cpu"]["served"] == "INT_SPI0"


def test_nmi_is_an_fiq_for_a_moment(bench: Bench) -> None:
    bench("nmi")
    bench.machine.run(5000)
    assert bench.machine.cpu.read_register("cpsr") & 0x1F == 0x13  # masked: it is lost
    assert bench.board.fiq.level == 0
    bench.machine.cpu.write_register("cpsr", 0x93)
    bench("nmi")
    bench.machine.run(1)
    assert bench.machine.cpu.read_register("cpsr") & 0x1F == 0x11


def test_a_sleeping_guest_is_woken_by_a_button_that_it_armed(bench: Bench) -> None:
    assert bench.refused("system_wakeup") == "the guest does not sleep"
    bench("o clkpwr.CLKCON 0xfffff8")
    assert bench.machine.asleep
    assert bench.refused("system_wakeup") == "the guest did not arm button K1 to wake it"
    bench.machine.request_stop()
    bench.machine.run()
    assert not bench.board.buttons[0].pressed
    bench("o gpio.GPGCON 2")
    bench("o gpio.EINTMASK 0xfffeff")
    assert bench.machine.asleep
    assert bench("system_wakeup") == ""
    bench.machine.run(1)
    assert not bench.machine.asleep
    assert bench.machine.cpu.pc == START + 4


# -- the host's side ------------------------------------------------------------------------------------


def test_the_log_is_switched_while_the_guest_runs(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert bench("log") == "logged: nothing"
    bench(f"logfile {path}")
    bench("log guest_errors,exec")
    assert bench("log") == "logged: exec, guest_errors"
    bench.machine.run(2)
    bench("o 0x50000fe0 1")
    bench("log none")
    bench.machine.run(10)
    bench("o 0x50000fe0 1")
    lines = path.read_text().splitlines()
    assert lines[:2] == ["Trace 0: 0x30008000", "Trace 1: 0x30008004"]
    assert lines[2].startswith("uart0: write of 0x1 (4 bytes) at offset 0xfe0")
    assert len(lines) == 3
    assert bench.refused("log guest_error") == "'guest_error' cannot be logged: did you mean guest_errors?"
    assert bench.refused(f"logfile {tmp_path}") == f"'{tmp_path}' cannot be written: Is a directory"


def test_a_guest_that_does_wrong_in_a_loop_does_not_flood_the_log(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "log"
    bench(f"logfile {path}")
    bench("log guest_errors")
    for _ in range(120):
        bench("o 0x50000fe0 1")
    lines = path.read_text().splitlines()
    assert len(lines) == 7
    assert not any(line.endswith(")") for line in lines[:4])
    assert lines[4].endswith(" (again and again: the next line comes at 10 times, then at 100, ...)")
    assert [line.rpartition(" (")[2] for line in lines[5:]] == ["10 times)", "100 times)"]
    bench("log guest_errors")  # begins anew
    bench("o 0x50000fe0 1")
    assert len(path.read_text().splitlines()) == 8


def test_flash_chips_and_images_are_shown(tmp_path: Path) -> None:
    nand = tmp_path / "nand.bin"
    nand.write_bytes(b"x" * 1000)
    emulator = Emulator(parse_command_line([*DEMO, "-mtdblock", str(nand), "-snapshot", "-name", "box"]))
    try:
        run = emulator.monitor.execute
        assert run("info block") == f"nandflash: {nand} (1000 bytes, not written to: -snapshot)"
        assert run("info mtd").splitlines()[0] == (
            "nandflash: K9F1208, 64 MiB in 131072 pages of 512+16 bytes, blocks of 32 pages; "
            f"2 pages are not erased; in {nand}"
        )
        assert run("info name") == "box"
        assert run("info chardev") == "nothing is connected"
    finally:
        emulator.close()


def test_the_gdb_server_is_started_moved_and_ended(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    emulator = Emulator(parse_command_line([*DEMO, "-gdb", f"unix:{first}"]))
    try:
        run = emulator.monitor.execute
        assert run("info chardev") == f"gdb  unix:{first}"
        assert run(f"gdbserver unix:{second}") == f"GDB is served at unix:{second}"
        assert not first.exists()
        endpoint = emulator.services._server.endpoint
        client = RawClient(endpoint)
        assert client.ask(b"qAttached")
        assert run("gdbserver nowhere") == (
            "'nowhere' is no place to listen at: write tcp:HOST:PORT or unix:PATH"
        )
        # a GDB client does not saw off the branch that it sits on
        client.send(b"qRcmd," + b"gdbserver none".hex().encode())
        assert bytes.fromhex(client.receive()[1:].decode()).decode() == (
            "a GDB client cannot move the server that it talks with: use a console for that\n"
        )
        assert client.receive() == b"OK"
        assert run("gdbserver none") == "GDB is not served any more"
        assert client.closed()
        client.close()
        assert run("info chardev") == "nothing is connected"
    finally:
        emulator.close()


def test_switching_the_board_off_ends_the_emulator(bench: Bench) -> None:
    ended = []
    bench.monitor.quitting = lambda: ended.append(True)  # type: ignore[method-assign]
    bench.session.attach(bench.monitor)
    bench("system_powerdown")
    assert ended == [True]


def test_without_an_emulator_around_it_a_machine_has_no_services(bench: Bench) -> None:
    alone = Monitor(bench.session)
    assert alone.execute("savevm x") == "that needs the emulator's program, not a machine alone"
    assert alone.execute("x $pc") == "30008000: 0xe3a00001"


# -- snapshots --------------------------------------------------------------------------------------------


def test_states_are_saved_listed_loaded_and_deleted(bench: Bench, tmp_path: Path) -> None:
    assert bench("info snapshots") == f"no snapshots in {tmp_path}"
    bench.machine.run(1000)
    assert bench("savevm one").startswith("saved as 'one': ")
    digest = bench.machine.digest()
    bench.machine.run(1000)
    point = bench.session.add_breakpoint(None, START + 8)
    assert bench("loadvm one") == ""
    assert bench.machine.digest() == digest
    assert bench.session.last_stop.pc == bench.machine.cpu.pc
    assert point in tuple(bench.session.breakpoints)
    entry = bench.data("info snapshots")[0]
    assert entry["name"] == "one"
    assert entry["instructions"] == 1000
    assert bench("info snapshots").splitlines()[1].startswith("one ")
    (tmp_path / "bad.dbgsnap").write_bytes(b"nonsense")
    assert f"bad   '{tmp_path}/bad.dbgsnap' is not a snapshot" in bench("info snapshots").splitlines()
    assert bench("delvm one") == ""
    assert bench.refused("loadvm one") == f"there is no snapshot '{tmp_path}/one.dbgsnap'"
    assert bench.refused("loadvm one twice") == (
        "'twice' is not understood: loadvm NAME, or loadvm NAME force"
    )
    assert bench("savevm").startswith("saved as 'vm-2")
    assert bench(f"savevm {tmp_path}/sub.dbgsnap").startswith("saved as")
    assert bench.refused("savevm no/where") == "'no/where' cannot be written: No such file or directory"


def test_a_machine_starts_in_a_saved_state(tmp_path: Path) -> None:
    options = [*DEMO, "-snapshots", str(tmp_path)]
    first = Emulator(parse_command_line(options))
    first.machine.run(500_000)
    first.monitor.execute("savevm here")
    digest = first.machine.digest()
    first.close()
    second = Emulator(parse_command_line([*options, "-loadvm", "here"]))
    assert second.machine.digest() == digest
    assert second.monitor.execute("info status").endswith(f"pc 0x{second.machine.cpu.pc:08x})")
    second.close()
    with pytest.raises(OptionError) as caught:
        Emulator(parse_command_line([*options, "-loadvm", "there"]))
    assert str(caught.value) == f"-loadvm: there is no snapshot '{tmp_path}/there.dbgsnap'"
    with pytest.raises(OptionError, match=r"-loadvm: 'here' is of another machine: its SDRAM size \(-m\) is"):
        Emulator(parse_command_line([*options, "-loadvm", "here", "-m", "32"]))


# -- from everywhere ---------------------------------------------------------------------------------------

LINES = {
    "x/2xw $pc": "30008000: 0xe3a00001 0xe59f100c",
    "info status": "VM status: paused (reset at pc 0x30008000)",
    "irq raise nothing": "there is no interrupt source 'nothing': did you mean INT_TICK?",
}


def test_gdbs_monitor_runs_the_same_commands(bench: Bench) -> None:
    with serve(bench.session, monitor=bench.monitor.execute) as server:
        client = RawClient(server.endpoint)
        for line, expected in LINES.items():
            client.send(b"qRcmd," + line.encode().hex().encode())
            assert bytes.fromhex(client.receive()[1:].decode()).decode().startswith(expected[:40])
            assert client.receive() == b"OK"
        client.send(b"qRcmd," + b"savevm gdb".hex().encode())
        assert bytes.fromhex(client.receive()[1:].decode()).startswith(b"saved as 'gdb'")
        assert client.receive() == b"OK"
        client.close()


def test_a_socket_runs_the_same_commands(tmp_path: Path) -> None:
    path = tmp_path / "monitor"
    emulator = Emulator(
        parse_command_line([*DEMO[:-1], f"unix:{path},server,nowait", "-snapshots", str(tmp_path)])
    )
    try:
        until(path.exists)
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(30)
            link.connect(str(path))
            link.sendall(b"xp/1xw 0x30008000\nsavevm sock\ninfo snapshots\nloadvm sock\ninfo name\n")
            text = ""
            while "no name" not in text:
                text += link.recv(65536).decode()
        assert "30008000: 0x" in text
        assert "saved as 'sock': " in text
        assert text.index("saved at") < text.index("no name")
    finally:
        emulator.close()
