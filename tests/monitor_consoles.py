"""Consoles in tests: a back end without a host behind it, and the screen of who sits there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyte
from debugged_program import Debugged, debugged_program

from dbgemu.host.backend import Chardev, ChardevEvent
from dbgemu.monitor.console import Console
from dbgemu.monitor.monitor import Monitor

PATIENCE = 30.0

#: counts for ever; 'inner' is a place to stop at
COUNTER = "mov r0, #0\nloop: add r0, r0, #1\ninner: nop\nb loop"

#: writes to memory, then to a serial port
DATA_WRITER = """
    ldr r1, =0x30100002
    mov r0, #65
store: strh r0, [r1]
    ldr r1, =0x50000020
send: str r0, [r1]
    nop
"""


class FakeEnd(Chardev):
    """What a console writes is kept as bytes and, with a size, drawn on a screen as a terminal does."""

    def __init__(
        self, size: tuple[int, int] | None = None, *, echoes: bool = False, description: str = "fake"
    ) -> None:
        super().__init__(description)
        self.size = size
        self._echoes = echoes
        self._lock = threading.Lock()
        self._screen = pyte.HistoryScreen(*(size or (80, 24)), history=10_000)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self.hung_up = 0
        self.keys_taken = 0

    @property
    def terminal_size(self) -> tuple[int, int] | None:
        return self.size

    @property
    def echoes(self) -> bool:
        return self._echoes or self.size is not None

    def write(self, data: bytes) -> None:
        with self._lock:
            self.written += data
            self._stream.feed(data)

    def hang_up(self) -> None:
        self.hung_up += 1

    def take_keys(self) -> None:
        self.keys_taken += 1

    def type(self, keys: str) -> None:
        self.on_receive(keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        with self._lock:
            self.size = columns, lines
            self._screen.resize(lines, columns)

    @property
    def lines(self) -> list[str]:
        """The screen, without blanks at the ends and empty lines at the bottom."""
        with self._lock:
            lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def last(self) -> str:
        return next(iter(self.lines[-1:]), "")

    @property
    def text(self) -> str:
        with self._lock:
            return self.written.decode()


def until(condition: Callable[[], object], what: Callable[[], object] = lambda: "") -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what()}"
        time.sleep(0.005)


class Bench:
    """A monitor on a machine, and its consoles."""

    def __init__(self, debugged: Debugged) -> None:
        self.debugged = debugged
        self.session = debugged.session
        self.monitor = Monitor(debugged.session)
        self.consoles: list[Console] = []

    def console(self, end: FakeEnd, *, shared: bool = False) -> FakeEnd:
        self.consoles.append(Console(end, self.monitor, shared=shared))
        if not shared:
            end.on_event(ChardevEvent.OPENED)
        return end

    def terminal(self, columns: int = 80, lines: int = 24) -> FakeEnd:
        """A terminal that shows its first prompt."""
        end = self.console(FakeEnd((columns, lines), description="stdio"))
        until(lambda: end.last == "(dbgemu)", lambda: end.lines)
        return end

    def plain(self) -> FakeEnd:
        """A socket, as nc has it."""
        end = self.console(FakeEnd(description="unix:monitor"))
        until(lambda: end.text.endswith("(dbgemu) "), lambda: end.text)
        return end


@contextmanager
def bench(source: str = COUNTER) -> Iterator[Bench]:
    with debugged_program(source, warp=False) as debugged:
        made = Bench(debugged)
        try:
            yield made
        finally:
            for console in made.consoles:
                console.close()
