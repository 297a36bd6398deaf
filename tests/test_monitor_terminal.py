"""The whole program on a terminal, as a person sees it: the demo, its serial port, and the monitor."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

#: seconds: the engine may have to be compiled first, on a busy machine
PATIENCE = 120.0


class Person:
    """Somebody who types, and looks at an 80x24 screen."""

    def __init__(self, history: Path, *arguments: str) -> None:
        self._keyboard, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        self.mode = termios.tcgetattr(terminal)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dbgemu", *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm", "DBGEMU_HISTORY": str(history)},
        )
        self._terminal = terminal
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()

    def _look(self) -> None:
        while select.select([self._keyboard], [], [], 0.02)[0]:
            self._stream.feed(os.read(self._keyboard, 65536))

    @property
    def lines(self) -> list[str]:
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def sees(self, condition: Callable[[list[str]], object]) -> None:
        end = time.monotonic() + PATIENCE
        self._look()
        while not condition(self.lines):
            assert time.monotonic() < end, self.lines
            self._look()

    def type(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode())

    def leaves(self) -> int:
        status = self.process.wait(PATIENCE)
        assert termios.tcgetattr(self._terminal) == self.mode
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._keyboard)
        os.close(self._terminal)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Callable[..., Person]]:
    made: list[Person] = []

    def start(*arguments: str) -> Person:
        made.append(Person(tmp_path / "history", *arguments))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_the_terminal_is_shared_by_serial_port_and_monitor(person: Callable[..., Person]) -> None:
    user = person("-demo", "-nographic")
    user.sees(lambda lines: lines[-1:] == ["demo>"])
    user.type("\x01c")
    user.sees(lambda lines: lines[-1:] == ["(dbgemu)"])
    user.type("echo a\x1b[D_\r")
    user.sees(lambda lines: lines[-2:] == ["_a", "(dbgemu)"])
    user.type("half")
    user.sees(lambda lines: lines[-1:] == ["(dbgemu) half"])
    user.type("\x01c")
    user.sees(lambda lines: lines[-1:] == ["_a"])
    user.type("time\r")
    user.sees(lambda lines: lines[-1:] == ["demo>"] and "s since the start" in lines[-2])
    user.type("\x01c")
    user.sees(lambda lines: lines[-1:] == ["(dbgemu) half"])
    user.type("\x15\x03")
    user.sees(lambda lines: any(line.startswith("Paused at 0x") for line in lines[-3:]))
    user.type("\x1b[A\r")
    user.sees(lambda lines: lines[-3:] == ["(dbgemu) echo _a", "_a", "(dbgemu)"])
    user.type("\x01x")
    assert user.leaves() == 0


def test_the_monitor_alone_keeps_its_history_between_runs(person: Callable[..., Person]) -> None:
    for number in range(2):
        user = person("-demo", "-serial", "null", "-monitor", "stdio")
        user.sees(lambda lines: lines[-1:] == ["(dbgemu)"])
        if number:
            user.type("\x1b[A\x1b[A")
            user.sees(lambda lines: lines[-1:] == ["(dbgemu) echo kept"])
            user.type("\x15")
        user.type("echo kept\r")
        user.sees(lambda lines: lines[-2:] == ["kept", "(dbgemu)"])
        user.type("quit\r")
        assert user.leaves() == 0
