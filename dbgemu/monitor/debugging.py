"""What the debugging commands of one monitor remember: texts and commands of points, the frame looked at."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from dbgemu.debug.breakpoints import Breakpoint
from dbgemu.debug.catchpoints import Catchpoint
from dbgemu.debug.events import StopEvent
from dbgemu.debug.watchpoints import Watchpoint
from dbgemu.monitor.announcer import Announcer
from dbgemu.monitor.command import CommandError

if TYPE_CHECKING:
    from dbgemu.monitor.context import Context
    from dbgemu.monitor.monitor import Monitor

AnyPoint = Breakpoint | Watchpoint | Catchpoint


class Debugging:
    """One for each monitor: get it with :func:`of`."""

    def __init__(self, monitor: Monitor) -> None:
        self.session = monitor.session
        #: what points were set with, where that says more than their addresses
        self.places: WeakKeyDictionary[AnyPoint, str] = WeakKeyDictionary()
        #: the command lines to run when a point stops the machine
        self.commands: WeakKeyDictionary[AnyPoint, tuple[str, ...]] = WeakKeyDictionary()
        self.announcer = Announcer(self.session.say)
        monitor.on_close.append(self.announcer.close)
        #: the number of the stop at which a frame was selected, and the frame's
        self._selected = (-1, 0)
        self._waiting = 0
        #: numbers of the last stops that commands told of
        self._told: deque[int] = deque(maxlen=16)
        self._local = threading.local()
        #: where ``list`` and ``disassemble`` go on
        self.next_line: tuple[str, int] | None = None
        self.next_address = 0
        monitor.quiet.append(self._is_quiet)
        monitor.on_stop.append(self._on_stop)

    # -- frames ----------------------------------------------------------------------------------

    @property
    def frame(self) -> int:
        """The number of the frame that is looked at: 0 after each stop."""
        number, frame = self._selected
        return frame if number == self.session.last_stop.number else 0

    @frame.setter
    def frame(self, number: int) -> None:
        self._selected = (self.session.last_stop.number, number)

    # -- stops -----------------------------------------------------------------------------------

    @contextmanager
    def awaiting(self) -> Iterator[Callable[[StopEvent], None]]:
        """Inside, a command waits for a stop. Called with that, it will tell of it itself."""
        self._waiting += 1
        try:
            yield lambda event: self._told.append(event.number)
        finally:
            self._waiting -= 1

    @property
    def in_commands(self) -> bool:
        """The present thread runs the commands of a point: it must not wait for another stop."""
        return bool(getattr(self._local, "busy", False))

    def _is_quiet(self, event: StopEvent) -> bool:
        if self._waiting or event.number in self._told:
            return True
        return self.is_silent(event)

    def is_silent(self, event: StopEvent) -> bool:
        """The commands of a point that caused it begin with ``silent``."""
        return any(self.commands_of(point)[:1] == ("silent",) for point in points_of(event))

    def commands_of(self, point: AnyPoint) -> tuple[str, ...]:
        """The command lines of ``point``."""
        return self.commands.get(point, ())

    def _on_stop(self, event: StopEvent, context: Context) -> None:
        """A stop that no command waits for: run the commands of its points."""
        if not self._waiting and event.number not in self._told:
            self.run_commands(event, context)

    def run_commands(self, event: StopEvent, context: Context) -> None:
        """Run the commands of the points that caused ``event``, up to one that lets the machine run."""
        for point in points_of(event):
            for line in self.commands_of(point):
                if line == "silent":
                    continue
                self._local.busy = True
                try:
                    text = context.monitor.run(line, context).text
                except CommandError as error:
                    context.write(f"command '{line}' of point {point.id}: {error}\n")
                    return
                finally:
                    self._local.busy = False
                if text:
                    context.write(text if text.endswith("\n") else text + "\n")
                if self.session.running:
                    return  # what follows would be of another stop


def points_of(event: StopEvent) -> tuple[AnyPoint, ...]:
    """Those that caused it."""
    return (*event.breakpoints, *event.watchpoints, *event.catchpoints)


_KNOWN: WeakKeyDictionary[Monitor, Debugging] = WeakKeyDictionary()


def of(context: Context) -> Debugging:
    """What the commands of the context's monitor remember."""
    monitor = context.monitor
    found = _KNOWN.get(monitor)
    if found is None:
        found = _KNOWN[monitor] = Debugging(monitor)
    return found
