"""The emulator at a terminal that goes away, or is told to end: it ends, and gives the terminal back."""

from __future__ import annotations

import os
import pty
import signal
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chardev_ends import PATIENCE, eventually, read_until

from dbgemu.engine.native import load_interpreter


class AtTerminal:
    """The emulator with the demo firmware on a pseudo terminal of its own."""

    def __init__(self, *options: str) -> None:
        load_interpreter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(Path(__file__).parent.parent)
            os.execv(sys.executable, [sys.executable, "-m", "dbgemu", "-demo", *options])
        self.cooked = termios.tcgetattr(self.fd)

    def flags(self) -> int:
        flags: int = termios.tcgetattr(self.fd)[3]
        return flags

    def hang_up(self) -> None:
        os.close(self.fd)
        self.fd = -1

    def wait(self) -> int:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        raise AssertionError("the emulator does not end")

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.fd >= 0:
            os.close(self.fd)


@pytest.fixture
def started() -> Iterator[list[AtTerminal]]:
    emulators: list[AtTerminal] = []
    yield emulators
    for emulator in emulators:
        emulator.close()


@pytest.mark.parametrize(
    "options",
    [
        "-nographic",
        "-nographic -gdb tcp::0",
        "-nographic -S -gdb tcp::0",
        "-monitor stdio -serial null",
        "-serial stdio -gdb tcp::0",
        "-serial mon:stdio",
    ],
)
def test_closing_the_terminal_ends_the_emulator(started: list[AtTerminal], options: str) -> None:
    emulator = AtTerminal(*options.split())
    started.append(emulator)
    eventually(lambda: not emulator.flags() & termios.ICANON)
    emulator.hang_up()
    assert emulator.wait() == -signal.SIGHUP


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_ends_the_emulator_whichever_thread_it_interrupts(
    started: list[AtTerminal], number: signal.Signals
) -> None:
    emulator = AtTerminal("-nographic")
    started.append(emulator)
    read_until(emulator.fd, b"demo>")
    threads = [int(entry.name) for entry in Path(f"/proc/{emulator.pid}/task").iterdir()]
    assert len(threads) > 1
    os.kill(max(threads), number)  # Linux: taken by this thread, as long as it can take it
    assert emulator.wait() == -number
    assert termios.tcgetattr(emulator.fd) == emulator.cooked


def test_ctrl_c_ends_the_emulator_where_it_is_no_input(started: list[AtTerminal]) -> None:
    emulator = AtTerminal("-serial", "stdio")
    started.append(emulator)
    read_until(emulator.fd, b"demo>")
    os.write(emulator.fd, b"\x03")
    assert emulator.wait() == 130
    assert termios.tcgetattr(emulator.fd) == emulator.cooked
