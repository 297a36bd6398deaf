"""Source lines, calls and frames of compiled C programs, in the monitor."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from monitored_program import Screen
from real_gdb import compile_program, machine_with, needs_gcc

from dbgemu.debug.session import DebugSession
from dbgemu.monitor.monitor import Monitor

SOURCE = """\
volatile int total;
int leaf(int a)
{
    total += a;
    return total * 2;
}

int middle(int a)
{
    int b = leaf(a) + 1;
    b += leaf(b);
    return b;
}

int loop(int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += i;
    return sum;
}

void run(void)
{
    int x = middle(3);
    x += loop(50);
    total = x;
    for (;;)
        ;
}

__attribute__((naked, target("arm"))) void _start(void)
{
    __asm__("ldr sp, =0x30100000\\n mov r11, #0\\n mov r7, #0\\n ldr r0, =run\\n bx r0");
}
"""


@contextmanager
def program(folder: Path, *options: str) -> Iterator[Monitor]:
    """The program under a monitor, with its symbols, at the beginning of ``run``."""
    elf = compile_program(folder, SOURCE, "-Wl,-e,_start", *options)
    session = DebugSession(machine_with(elf))
    monitor = Monitor(session)
    monitor.attach_console(Screen())
    try:
        monitor.run(f"symbol-file {elf}")
        monitor.run("until run")
        yield monitor
    finally:
        session.close()


def line_of(monitor: Monitor, command: str) -> str:
    """The source line that ``command`` leads to, without its folder."""
    return str(monitor.run(command).data["line"]).rpartition("/")[2]


def functions(monitor: Monitor) -> list[str]:
    """The functions of a backtrace, innermost first."""
    return [frame["symbol"].partition("+")[0] for frame in monitor.run("backtrace").data]


@needs_gcc
@pytest.mark.parametrize("options", [("-marm",), ("-mthumb", "-mthumb-interwork")])
def test_step_goes_into_functions_and_next_over_them(tmp_path: Path, options: tuple[str, ...]) -> None:
    with program(tmp_path, *options) as monitor:
        assert line_of(monitor, "next") == "program.c:25"
        assert line_of(monitor, "step") == "program.c:10"
        assert line_of(monitor, "step") == "program.c:4"
        assert functions(monitor)[:3] == ["leaf", "middle", "run"]
        assert line_of(monitor, "finish") == "program.c:10"
        assert line_of(monitor, "next") == "program.c:11"
        assert line_of(monitor, "next 2") == "program.c:13"
        assert line_of(monitor, "step") == "program.c:25"
        assert line_of(monitor, "next") == "program.c:26"
        assert line_of(monitor, "next") == "program.c:27"


@needs_gcc
def test_a_source_line_is_a_place(tmp_path: Path) -> None:
    with program(tmp_path) as monitor:
        assert monitor.run("break program.c:18 if *(&*$sp) != 0x12345").text.startswith(
            "breakpoint 1: 0x3000"
        )
        assert monitor.run("continue").text.splitlines()[-1] == "18\t    for (int i = 0; i < n; i++)"
        assert functions(monitor)[:2] == ["loop", "run"]
        monitor.run("delete")
        assert line_of(monitor, "finish") == "program.c:26"
        assert monitor.run("info line program.c:4").data[0]["line"] == 4


@needs_gcc
def test_list_shows_the_text_and_goes_on(tmp_path: Path) -> None:
    with program(tmp_path) as monitor:
        lines = SOURCE.splitlines()
        report = monitor.run("list middle")
        first = report.data["first"]
        assert report.data["lines"] == lines[first - 1 : first + 9]
        assert "9\t{" in report.text.splitlines()
        assert monitor.run("list program.c:1").text.splitlines()[0] == "1\tvolatile int total;"


@needs_gcc
def test_frames_are_selected_and_told_of(tmp_path: Path) -> None:
    with program(tmp_path) as monitor:
        monitor.run("until leaf")
        assert monitor.run("up").data["symbol"].startswith("middle+")
        assert monitor.run("up").data["symbol"].startswith("run+")
        assert monitor.run("down").data["frame"] == 1
        assert "called from" in monitor.run("info frame").text
        assert monitor.run("finish").data["symbol"].startswith("run+")
        assert monitor.run("frame").data["frame"] == 0


_NO_TABLES = ("-g0", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables")


@needs_gcc
def test_frame_pointers_are_followed_where_there_are_no_tables(tmp_path: Path) -> None:
    with program(tmp_path, *_NO_TABLES, "-fno-omit-frame-pointer", "-marm") as monitor:
        monitor.run("until leaf")
        monitor.run("stepi 6")
        frames = monitor.run("backtrace").data
        assert [(frame["symbol"].partition("+")[0], frame["found by"]) for frame in frames] == [
            ("leaf", None),
            ("middle", "frame pointer"),
            ("run", "frame pointer"),
        ]


@needs_gcc
def test_without_either_the_link_register_is_a_guess_and_called_one(tmp_path: Path) -> None:
    with program(tmp_path, *_NO_TABLES, "-O1", "-fno-inline") as monitor:
        monitor.run("until leaf")
        frames = monitor.run("backtrace").data
        assert [frame["found by"] for frame in frames] == [None, "lr: a guess"]
        assert functions(monitor) == ["leaf", "middle"]


@needs_gcc
def test_disassembly_has_source_lines_and_names(tmp_path: Path) -> None:
    with program(tmp_path) as monitor:
        text = monitor.run("disassemble/s middle").text
        assert "program.c:10\t    int b = leaf(a) + 1;" in text
        assert "<leaf>" in text
        assert monitor.run("disassemble middle").text.startswith("middle:\n")
        assert monitor.run("info symbol middle + 4").text.startswith("0x3000")
        assert [item["name"] for item in monitor.run("info functions ^l").data] == ["leaf", "loop"]
