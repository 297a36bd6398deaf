"""The monitor's break-, watch-, catch- and logpoints on a small program."""

import json
from collections.abc import Iterator

import pytest
from debugged_program import DATA
from monitored_program import Monitored, monitored_program

from dbgemu.debug.events import FrontEnd

PROGRAM = f"""
    mov r0, #0
    ldr r1, ={DATA:#x}
loop:
    add r0, r0, #1
    str r0, [r1]
    ldr r2, [r1]
    cmp r0, #100
    bne loop
after:
    ldr r3, =0x53000000
    mov r4, #0x33
    str r4, [r3, #8]
    ldr r5, [r3, #8]
    svc 7
"""


@pytest.fixture
def program() -> Iterator[Monitored]:
    with monitored_program(PROGRAM) as program:
        yield program


def stop(program: Monitored) -> tuple[str, int]:
    """Why and where the next run stops."""
    data = program.data("continue")
    return data["reason"], data["pc"]


def test_a_breakpoint_is_set_hit_and_deleted(program: Monitored) -> None:
    loop = program["loop"]
    assert program(f"break {loop:#x}") == f"breakpoint 1: 0x{loop:08x}"
    assert stop(program) == ("breakpoint", loop)
    assert stop(program) == ("breakpoint", loop)
    assert program.data("info breakpoints")[0]["hits"] == 2
    assert program("delete 1") == ""
    assert program("info breakpoints") == "there are no points"


def test_conditions_are_compiled_so_that_false_ones_never_leave_native_code(program: Monitored) -> None:
    loop = program["loop"]
    program(f"break {loop:#x} if $r0 == 99 && *{DATA:#x} == 99")
    assert stop(program) == ("breakpoint", loop)
    assert program.debugged["r0"] == 99
    assert program.data("info breakpoints")[0]["hits"] == 1
    assert program.debugged.session.cpu.conditions.passes(loop) > 90


def test_conditions_on_devices_are_left_to_python(program: Monitored) -> None:
    after = program["after"]
    program(f"break {program['loop']:#x} if wdt.WTCNT == 0")
    program(f"break {after:#x} if wdt.WTCNT == 0x8000")
    assert stop(program) == ("breakpoint", after)


def test_a_temporary_breakpoint_stops_once(program: Monitored) -> None:
    program(f"tbreak {program['loop']:#x}")
    assert stop(program) == ("breakpoint", program["loop"])
    assert program.data("info breakpoints") == []


def test_points_are_disabled_enabled_ignored_and_conditions_changed(program: Monitored) -> None:
    loop, after = program["loop"], program["after"]
    program(f"break {loop:#x}")
    program(f"break {after:#x}")
    program("ignore 1 9")
    assert stop(program) == ("breakpoint", loop)
    assert program.debugged["r0"] == 9
    program("condition 1 $r0 >= 50")
    assert stop(program) == ("breakpoint", loop)
    assert program.debugged["r0"] == 50
    assert program("condition 1") == "point 1 now stops always"
    stop(program)
    assert program.debugged["r0"] == 51
    program("disable 1")
    assert stop(program) == ("breakpoint", after)
    assert program.data("info breakpoints")[0]["enabled"] is False


def test_a_logpoint_prints_and_lets_the_guest_go_on(program: Monitored) -> None:
    program(f'logpoint {program["loop"]:#x} "r0 {{$r0:d}} at {{$pc}} {{{{byte}}$r1:02x}}" if $r0 >= 97')
    program(f"break {program['after']:#x}")
    assert stop(program) == ("breakpoint", program["after"])
    text = program.screen.wait_for("r0 99")
    pc = hex(program["loop"])
    assert text.startswith(f"r0 97 at {pc} 61\nr0 98 at {pc} 62\nr0 99 at {pc} 63\n")


def test_a_watchpoint_stops_in_front_of_the_access(program: Monitored) -> None:
    program(f"watch {DATA:#x} change")
    assert stop(program) == ("watchpoint", program["loop"] + 4)
    assert program.debugged.word(DATA) == 0


def test_reads_are_watched_by_rwatch(program: Monitored) -> None:
    program(f"rwatch {DATA:#x}")
    assert stop(program) == ("watchpoint", program["loop"] + 8)


def test_a_watchpoint_waits_for_a_value(program: Monitored) -> None:
    program(f"watch {DATA:#x} 4 w == 0x40 mask 0xfe if $r0 > 0x40")
    assert stop(program) == ("watchpoint", program["loop"] + 4)
    assert program.debugged["r0"] == 0x41


def test_a_devices_register_is_watched_by_name_and_the_transaction_told(program: Monitored) -> None:
    assert (
        program("watch wdt.WTCNT rw")
        == "watchpoint 1: accesses of 4 bytes at physical 0x53000008 <wdt.WTCNT>"
    )
    text = program("continue")
    assert "writes wdt.WTCNT <- 0x00000033" in text
    assert "reads wdt.WTCNT -> 0x00000033" in program("continue")


def test_an_address_of_a_devices_register_is_a_physical_one(program: Monitored) -> None:
    data = program.data("watch 0x53000008 4 w")
    assert data[0]["where"] == "writes of 4 bytes at physical 0x53000008"
    assert "physical" not in program.data(f"watch {DATA:#x}")[0]["where"]


def test_a_logging_watchpoint_tells_of_each_access_and_never_stops(program: Monitored) -> None:
    program("watch wdt.* rw log")
    program(f"logwatch {DATA:#x} w if $r0 == 3")
    program("catch swi")
    assert stop(program)[0] == "catchpoint"
    text = program.screen.wait_for("reads wdt.WTCNT")
    pc = program["after"]
    lines = text.splitlines()
    assert lines[0] == f"0x{program['loop'] + 4:08x} writes 4 bytes at 0x{DATA:08x} <- 0x00000003"
    assert lines[1].startswith(f"0x{pc + 8:08x} writes wdt.WTCNT <- 0x00000033")
    assert lines[2].startswith(f"0x{pc + 12:08x} reads wdt.WTCNT -> 0x00000033")
    assert [item["hits"] for item in program.data("info breakpoints")] == [2, 1, 1]


def test_events_are_caught_by_name(program: Monitored) -> None:
    program("catch syscall 7 if $r7 == 7")
    program.debugged.session.write_registers({"r7": 7})
    data = program.data("continue")
    assert data["reason"] == "catchpoint"
    assert data["message"] == "system call 7 (waitpid)"
    assert program.data("catch irq int_timer4")[0]["where"] == "interrupt INT_TIMER4"


def test_commands_of_a_point_run_at_its_stop(program: Monitored) -> None:
    program(f"break {program['loop']:#x} if $r0 == 5")
    program("commands 1 { silent; info symbol 5; continue }")
    program("commands 1 { silent; delete 1; info breakpoints; continue }")
    program(f"break {program['after']:#x}")
    program.debugged.session.resume()
    text = program.screen.wait_for("Breakpoint 2")
    assert "Breakpoint 1" not in text
    assert text.index("num") < text.index("Breakpoint 2")


def test_a_command_that_waits_tells_of_the_stop_and_then_runs_the_points_commands(program: Monitored) -> None:
    loop, after = program["loop"], program["after"]
    program(f"break {loop:#x}")
    program("commands 1 { info status; ignore 1 1000; continue }")
    program(f"break {after:#x}")
    lines = program.monitor.execute("continue").splitlines()
    assert lines[0] == f"Breakpoint 1 at 0x{loop:08x}"
    assert lines[2].startswith("VM status: paused")
    assert lines[3] == "point 1 is passed by 1000 times"
    assert lines[4] == f"Breakpoint 2 at 0x{after:08x}"


def test_points_of_other_debuggers_are_listed_and_managed_by_number(program: Monitored) -> None:
    class Other(FrontEnd):
        name = "gdb of somebody"

    session, other = program.debugged.session, Other()
    session.attach(other)
    session.add_breakpoint(other, program["loop"])
    program(f"break {program['after']:#x}")
    assert [(item["number"], item["owner"]) for item in program.data("info breakpoints")] == [
        (1, "gdb of somebody"),
        (2, "the monitor"),
    ]
    program("disable 1")
    assert stop(program) == ("breakpoint", program["after"])
    program("delete")
    assert [item["number"] for item in program.data("info breakpoints")] == [1]


def test_steps_take_no_numbers_away_from_points(program: Monitored) -> None:
    program("nexti 2")
    program(f"until {program['loop']:#x}")
    assert program(f"break {program['after']:#x}").startswith("breakpoint 1:")


def test_json_of_points_is_what_scripts_read(program: Monitored) -> None:
    program(f"hbreak {program['loop']:#x} if $r0 == 1")
    (item,) = json.loads(program("json info breakpoints"))
    assert (item["kind"], item["address"], item["condition"]) == (
        "hw breakpoint",
        program["loop"],
        "$r0 == 1",
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("break nosuch", "'nosuch' is no register or number (and no symbols are loaded)"),
        ("break main.c:12", "no code is known of line 12 of 'main.c': no symbols are loaded"),
        ("break 0 if", "a condition is expected behind 'if'"),
        ("break 0 if 1 +", "'1 +' is cut off: a value is missing at its end"),
        ("watch nand.NOSUCH", "device nand has no register 'NOSUCH'"),
        ("watch 0 0", "a watchpoint of 0 bytes watches nothing"),
        ("watch 0 w ==", "a value is expected behind '=='"),
        ("catch irq INT_NOSUCH", "there is no interrupt source 'INT_NOSUCH'"),
        ("delete 9", "there is no point number 9: 'info breakpoints' lists them"),
        ("delete x", "'x' is no number of a point: 'info breakpoints' lists them"),
        ('logpoint 0 "{$r0"', "a brace is not closed in '{$r0'"),
        (
            'logpoint 0 "{$r0:q}"',
            "'q' is no format: one of x, X, d, u, b, o, c, s, or with a width as 08x, is",
        ),
        ("brek 0", "there is no command 'brek': did you mean 'break'?"),
    ],
)
def test_wrong_points_are_refused_and_nothing_is_set(program: Monitored, line: str, sentence: str) -> None:
    assert program.error(line) == sentence
    assert program.data("info breakpoints") == []
