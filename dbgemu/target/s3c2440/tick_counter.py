"""Periods of a divided clock, counted out of the virtual clock: what the timer blocks count with."""

from __future__ import annotations

from dbgemu.target.clock import NS_PER_SECOND, VirtualClock

#: plain-data state of a TickCounter: frequency, scale, epoch
TickState = tuple[int, int, int]


class TickCounter:
    """Counts ticks of ``frequency / divider`` Hz from the latest :meth:`restart`, without rounding drift.

    Nothing runs while nobody asks: the count is computed. A frequency of 0 is a clock that stands.
    """

    __slots__ = ("clock", "epoch", "frequency", "scale")

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.frequency = 0
        #: ns times Hz in one tick of a 1 Hz clock: divider * 10**9
        self.scale = NS_PER_SECOND
        #: virtual time in ns at which the count was 0
        self.epoch = 0

    def restart(self, frequency: int, divider: int = 1) -> None:
        """Count from 0 again, now, ``frequency`` Hz (0 or more) divided by ``divider`` (1 or more)."""
        self.frequency = frequency
        self.scale = divider * NS_PER_SECOND
        self.epoch = self.clock.now

    def ticks(self) -> int:
        """Whole ticks since the restart."""
        return (self.clock.now - self.epoch) * self.frequency // self.scale

    def ticks_in(self, duration: int) -> int:
        """Whole ticks that fit in ``duration`` ns."""
        return duration * self.frequency // self.scale

    def time_of(self, tick: int) -> int | None:
        """Virtual time in ns, rounded up, at which the count becomes ``tick``; None if it never does."""
        if not self.frequency:
            return None
        return self.epoch - (-tick * self.scale // self.frequency)

    def save(self) -> TickState:
        """State as plain data."""
        return self.frequency, self.scale, self.epoch

    def load(self, state: TickState) -> None:
        """Put back what :meth:`save` gave."""
        self.frequency, self.scale, self.epoch = state
