"""The ready/busy output of a flash chip, with its moment of getting ready."""

from __future__ import annotations

from collections.abc import Callable

from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.lines import Line


class ReadyBusy:
    """A chip's RnB pin: ``line`` is 1 while the chip is ready.

    ``on_ready`` is called when an operation has ended, before the line rises. That happens at its moment
    if ``edges_wanted``, else when somebody looks: a timer for every page read would be most of what
    reading costs, and who polls has no use for it.
    """

    def __init__(self, name: str, clock: VirtualClock, on_ready: Callable[[], None]) -> None:
        self.line = Line(name, 1)
        #: when the operation that runs ends (ns of virtual time), None when the chip is ready
        self.ready_at: int | None = None
        self._clock = clock
        self._on_ready = on_ready
        self._edges_wanted = True
        self._timer = Timer(clock, self.end)

    @property
    def busy(self) -> bool:
        """Whether an operation runs now."""
        if self.ready_at is None:
            return False
        if self._clock.now < self.ready_at:
            return True
        self.end()
        return False

    def settle(self) -> None:
        """Let ``line`` have the level that it has now: needed only while nobody wants its edges."""
        if self.ready_at is not None and self._clock.now >= self.ready_at:
            self.end()

    def start(self, duration: int) -> None:
        """An operation of ``duration`` ns begins."""
        self.ready_at = self._clock.now + duration
        if self._edges_wanted:
            self._timer.start_at(self.ready_at)
        self.line.set(0)

    def end(self) -> None:
        """The chip is ready."""
        self.ready_at = None
        if self._edges_wanted:
            self._timer.cancel()
        self._on_ready()
        self.line.set(1)

    @property
    def edges_wanted(self) -> bool:
        """Whether the line rises at the very moment."""
        return self._edges_wanted

    @edges_wanted.setter
    def edges_wanted(self, wanted: bool) -> None:
        if wanted != self._edges_wanted:
            self.settle()
            self._edges_wanted = wanted
            self._arm()

    def load(self, ready_at: int | None) -> None:
        """Put back a saved ``ready_at``."""
        self.ready_at = ready_at
        self.line.set(ready_at is None)
        self._arm()

    def _arm(self) -> None:
        if self.ready_at is not None and self._edges_wanted:
            self._timer.start_at(self.ready_at)
        else:
            self._timer.cancel()
