"""What is closed leaves no threads behind, and has told all that there was to tell."""

from __future__ import annotations

import threading
from pathlib import Path

from monitored_program import Screen

import dbgemu
from dbgemu.monitor.announcer import Announcer
from dbgemu.target.arm.assembler import assemble

START = 0x30008000
PROGRAM = """
    mov r0, #0
loop:
    add r0, r0, #1
    b loop
"""


def use(kernel: Path) -> str:
    """Run a board whose monitor tells of a stop and of logpoints; what its console shows until the end."""
    screen = Screen()
    with dbgemu.Board(kernel=kernel, options=["-gdb", "tcp:127.0.0.1:0"]) as board:
        board.emulator.monitor.attach_console(screen)
        board.monitor(f'logpoint 0x{START + 4:x} "r0 is {{$r0:d}}"')
        board.monitor(f"break 0x{START + 8:x} if $r0 == 5")
        board.start()
        board.wait()
        assert {"monitor news", "monitor log"} <= {thread.name for thread in threading.enumerate()}
    return screen.text


def test_twenty_boards_leave_no_thread_behind(tmp_path: Path) -> None:
    kernel = tmp_path / "program.bin"
    kernel.write_bytes(assemble(PROGRAM, START))
    use(kernel)  # what a process has only once
    before = set(threading.enumerate())
    for _ in range(20):
        shown = use(kernel)
        assert all(f"r0 is {number}" in shown for number in range(5))
        assert "Breakpoint 2 at " in shown
    assert set(threading.enumerate()) <= before


def test_an_announcer_shows_what_was_said_before_it_is_closed_and_nothing_after() -> None:
    before = set(threading.enumerate())
    shown: list[str] = []
    announcer = Announcer(shown.append)
    for number in range(3):
        announcer.say(lambda number=number: str(number))
    assert set(threading.enumerate()) - before
    announcer.close()
    announcer.say(lambda: "too late")
    announcer.flush()
    assert "".join(shown) == "0\n1\n2\n"
    assert set(threading.enumerate()) <= before
