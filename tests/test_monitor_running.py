"""Steps, finish, until, set, find, disassembly and explain on a small program."""

import threading
from collections.abc import Iterator

import pytest
from debugged_program import DATA, START
from monitored_program import Monitored, monitored_program

from dbgemu.monitor.context import Context

PROGRAM = f"""
    ldr sp, ={DATA + 0x1000:#x}
    mov r0, #3
    bl square
back:
    ldr r1, ={DATA:#x}
    str r0, [r1, #4]!
    cmp r0, #9
    moveq r2, #1
    movne r2, #2
wait:
    subs r0, r0, #1
    bne wait
behind:
    swi 3
    b spin
square:
    push {{r4, lr}}
    bl double
    pop {{r4, pc}}
double:
    mul r4, r0, r0
    mov r0, r4
    mov pc, lr
spin:
    b spin
"""


@pytest.fixture
def program() -> Iterator[Monitored]:
    with monitored_program(PROGRAM) as program:
        yield program


def at(program: Monitored, line: str) -> int:
    """Where ``line`` leads to; the machine must stand there."""
    data = program.data(line)
    assert data["pc"] == program.debugged["pc"]
    return int(data["pc"])


def test_stepi_goes_into_a_call_and_nexti_over_it(program: Monitored) -> None:
    assert at(program, "stepi 3") == program["square"]
    program.debugged.session.write_registers({"pc": START + 8})
    assert at(program, "nexti") == program["back"]
    assert program.debugged["r0"] == 9


def test_next_and_step_go_by_instructions_where_no_lines_are_known(program: Monitored) -> None:
    assert at(program, "step") == START + 4
    assert at(program, "next 2") == program["back"]


def test_a_breakpoint_in_a_function_stops_a_step_over_it(program: Monitored) -> None:
    program(f"break {program['double']:#x}")
    assert program.data("nexti 3")["reason"] == "breakpoint"
    assert program.debugged["pc"] == program["double"]


def test_finish_runs_to_where_the_link_register_says(program: Monitored) -> None:
    program("stepi 3")
    assert at(program, "finish") == program["back"]
    program(f"tbreak {program['wait']:#x}")
    program("continue")


def test_until_runs_to_a_place_a_count_a_time_or_out_of_a_loop(program: Monitored) -> None:
    assert at(program, f"until {program['wait']:#x}") == program["wait"]
    program("stepi")
    assert at(program, "until") == program["behind"]
    count = program.debugged.session.cpu.instructions
    assert (
        program.error(f"until count {count}") == f"{count} is past: {count} instructions have been executed"
    )
    program(f"until count {count + 1000}")
    assert program.debugged.session.cpu.instructions == count + 1000
    program("run for 100")
    assert program.debugged.session.cpu.instructions == count + 1100
    program("until time 1ms")
    assert program.debugged.machine.board.clock.now >= 1_000_000
    assert program.error("until time 1us").startswith("1us is past: it is 0.001")
    before = program.debugged.machine.board.clock.now
    program("run for 20us")
    assert 20_000 <= program.debugged.machine.board.clock.now - before < 21_000


def test_ctrl_c_stops_the_guest_and_ends_continue(program: Monitored) -> None:
    cancelled = threading.Event()
    context = Context(program.debugged.session, program.monitor, lambda text: None, cancelled=cancelled)
    threading.Timer(0.2, cancelled.set).start()
    report = program.monitor.run("continue", context)
    assert report.data["reason"] == "paused"
    assert not program.debugged.session.running


def test_set_writes_registers_memory_and_devices(program: Monitored) -> None:
    program("set $r0 = 5")
    program("set $r13_irq = $r0 << 4")
    program(f"set *{DATA:#x} = 0x12345678")
    program(f"set {{byte}}({DATA:#x} + 1) = 0xff")
    assert program.debugged["r0"] == 5
    assert program.debugged["r13_irq"] == 0x50
    assert program.debugged.word(DATA) == 0x1234FF78
    assert program("set wdt.WTCNT = 0x1234") == "wdt.WTCNT <- 0x1234"
    assert program.debugged.machine.board.devices["wdt"].peek(8, 4) == 0x1234
    # the write path of the device, not its store: bits that a driver cannot change stay
    assert program("set nand.NFCONF = 0x10") == "nand.NFCONF <- 0x0010, which now reads 0x0016"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("set $r0", "'$r0' sets nothing: set $r0 = 1, set nand.NFCONF = 0x10, set *0x30000000 = 1"),
        ("set 5 = 6", "'5' cannot be set: a register, a device's register, *ADDRESS, {byte}ADDRESS can"),
        ("set nand.NFCONF = 0x10000", "0x10000 does not fit in the 16 bits of nand.NFCONF"),
        (f"set {{byte}}{DATA:#x} = 256", "0x100 does not fit in 1 bytes"),
        ("set *0x60000000 = 1", "nothing answers at physical address 0x60000000"),
        ("until time soon", "'soon' is no time: 1.5s, 20ms, 7us or 100ns are"),
        ("stepi 0", "0 steps are none"),
        ("frame 99", "there is no frame 99: the outermost is 0"),
        ("info symbol 5", "0x00000005 is in no symbol that is known"),
        ("list", f"no source line is known of 0x{START:08x}"),
        ("symbol-file /nosuch", "'/nosuch' cannot be read: No such file or directory"),
        ("explain 0x60000000 +", "'0x60000000 +' is cut off: a value is missing at its end"),
        ("find/q 0 1 2", "'/q' is no form of find: /b, /h, /w for the size of numbers, p for physical"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(program: Monitored, line: str, sentence: str) -> None:
    assert program.error(line) == sentence


def test_find_finds_numbers_and_texts(program: Monitored) -> None:
    session = program.debugged.session
    session.memory.write(DATA + 0x101, b"needle\0\x34\x12")
    assert program.data(f'find {DATA:#x} 0x1000 "needle"')["found"] == [DATA + 0x101]
    assert program.data(f"find/h {DATA:#x} +0x1000 0x1234")["found"] == [DATA + 0x108]
    assert program.data(f'find/bp {DATA:#x} {DATA + 0x200:#x} "dle" 0 0x34')["found"] == [DATA + 0x104]
    assert program(f"find {DATA:#x} 0x100 0x77777777") == "0 found"


def test_disassembly_marks_the_pc_and_goes_on(program: Monitored) -> None:
    text = program(f"disassemble {START:#x} 3").splitlines()
    assert text[0].startswith(f"=> 0x{START:08x}:  ")
    assert text[1].split() == [f"0x{START + 4:08x}:", "e3a00003", "mov", "r0,", "#3"]
    assert f"#0x{program['square']:x}" in text[2]
    assert [item["address"] for item in program.data(f"disassemble {START:#x} {START + 8:#x}")] == [
        START,
        START + 4,
    ]
    assert program(f"disassemble/t {START + 4:#x} 1").split()[1] == "0003"


def test_explain_tells_what_would_change_and_changes_nothing(program: Monitored) -> None:
    session = program.debugged.session
    program(f"until {program['back'] + 4:#x}")
    before = program.debugged.machine.digest()
    text = program("explain")
    assert text.splitlines() == [
        f"0x{program['back'] + 4:08x}:  e5a10004  str     r0, [r1, #4]!",
        "  is load_store_immediate: pre=0x1 up=0x1 byte=0x0 writeback=0x1 load=0x0 rn=0x1 rd=0x0 imm=0x4",
        f"  writes 4 bytes at 0x{DATA + 4:08x}: 0x00000000 -> 0x00000009",
        f"  r1: 0x{DATA:08x} -> 0x{DATA + 4:08x}",
    ]
    assert program.debugged.machine.digest() == before
    data = program.data("explain")
    session.step()
    assert program.debugged["r1"] == data["registers"]["r1"][1]
    assert program.debugged.word(DATA + 4) == data["accesses"][0]["value"]


def test_explain_tells_conditions_branches_exceptions_and_devices(program: Monitored) -> None:
    program(f"until {program['wait'] - 4:#x}")
    text = program("explain")
    assert "condition ne does not hold (N=0 Z=1 C=1 V=0)" in text
    assert "does nothing now" in text
    assert "takes the exception swi" in program(f"explain {program['behind']:#x}")
    program("set $r3 = 0x53000000")
    text = program("explain word 0xe5830008")
    assert "<wdt.WTCNT>: would write 0x" in text
    assert "the device is left alone" in text
    assert "goes on at 0x" in program("explain word 0xe12fff13")
    assert "is undefined" in program("explain word 0xe7f000f0")
