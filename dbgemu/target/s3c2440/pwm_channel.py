"""One timer of the PWM block: a down-counter, computed from the virtual clock when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.s3c2440.tick_counter import TickCounter

#: what TCMPn holds before its first update: no count matches it, so the output stays low
_NO_COMPARE = 0x10000

#: Zero crossings closer than this, in ns, are joined into one: no core could take each interrupt,
#: and a timer left running with TCNTB = 0 must not hold up the machine.
_SHORTEST_PERIOD = 1000
#: the same for TCNTB = 0, which no one means: Linux leaves timer 0 so when it resumes from SLEEP
_EMPTY_PERIOD = 1_000_000


class PwmChannel:
    """TCNTn, TCMPn and the output of timer n (S3C2440A UM 10).

    ``buffers`` gives (TCNTBn, TCMPBn); ``on_zero`` is called when the counter reaches zero;
    ``on_output`` when :meth:`level` may have changed, and only while ``watched`` says that it matters.

    While running, the count is ``value`` at tick ``loaded`` of the timer's clock, one less each tick;
    before that tick (between reaching zero and the reload) it is 0.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        buffers: Callable[[], tuple[int, int]],
        on_zero: Callable[[], None],
        on_output: Callable[[], None],
        watched: Callable[[], bool],
    ) -> None:
        self.clock = clock
        self.counter = TickCounter(clock)
        self._buffers = buffers
        self._on_zero = on_zero
        self._on_output = on_output
        self._watched = watched
        self._zero = Timer(clock, self._reached_zero)
        self._edge = Timer(clock, self.refresh_output)
        self.reset()

    def reset(self) -> None:
        """Stopped at 0, output low. The clock stays."""
        self._zero.cancel()
        self._edge.cancel()
        self.running = False
        self.auto_reload = False
        self.value = 0
        self.loaded = 0
        self.top = 0
        self.compare = _NO_COMPARE
        self._last_level = 0

    # -- what the guest does -----------------------------------------------------------------

    def count(self) -> int:
        """TCNTn, without side effects."""
        value = self.value
        if not self.running:
            return value
        counter = self.counter
        elapsed = (counter.clock.now - counter.epoch) * counter.frequency // counter.scale - self.loaded
        if elapsed < 0:
            return 0
        if elapsed <= value:
            return value - elapsed
        # Zero has passed, but the timer that handles it has yet to be called.
        if not self.auto_reload:
            return 0
        top = self._buffers()[0]
        return top - (elapsed - value - 1) % (top + 1)

    def set_clock(self, frequency: int, divider: int) -> None:
        """Count ``frequency / divider`` Hz from now on; nothing happens when it is so already."""
        counter = self.counter
        scale = divider * 1_000_000_000
        if (frequency, scale) == (counter.frequency, counter.scale):
            return
        self.catch_up()
        elapsed = counter.ticks() - self.loaded
        counter.restart(frequency, divider)
        if self.running:
            if elapsed < 0:
                self.loaded = -elapsed
            else:
                self.loaded = 0
                self.value -= elapsed
            self._arm()

    def update(self) -> None:
        """Manual update: load TCNTn and TCMPn from their buffers, running or not."""
        self.top, self.compare = self._buffers()
        self.value = self.top
        if self.running:
            self.loaded = self.counter.ticks()
            self._arm()

    def start(self) -> None:
        """Count on from where the counter is; a counter at 0 starts from its buffer (S3C2440A UM 10-1)."""
        if self.running:
            return
        if not self.value:
            self.top, self.compare = self._buffers()
            self.value = self.top
        counter = self.counter
        counter.epoch = self.clock.now
        self.loaded = 0
        self.running = True
        self._arm()

    def stop(self) -> None:
        """Hold the count (S3C2440A UM 10-1: a timer stopped by its enable bit is not reloaded)."""
        if self.running:
            self.value = self.count()
            self.running = False
            self._zero.cancel()
            self._edge.cancel()

    def catch_up(self) -> None:
        """Handle a zero crossing that is due but has not been delivered."""
        deadline = self._zero.deadline
        if deadline is not None and deadline <= self.clock.now:
            self._zero.cancel()
            self._reached_zero()

    # -- what time does ----------------------------------------------------------------------

    def _arm(self) -> None:
        deadline = self.counter.time_of(self.loaded + self.value)
        if deadline is None:
            self._zero.cancel()
        else:
            self._zero.start_at(deadline)

    def _reached_zero(self) -> None:
        self._last_level = int(self.compare <= self.top)
        if self.auto_reload:
            self.loaded += self.value + 1
            self.top, self.compare = self._buffers()
            self.value = self.top
            counter = self.counter
            earliest = counter.ticks() + counter.ticks_in(_SHORTEST_PERIOD if self.top else _EMPTY_PERIOD)
            early = earliest - (self.loaded + self.top)
            if early > 0:
                self.loaded += -(-early // (self.top + 1)) * (self.top + 1)
            self._arm()
        else:
            self.value = 0
            self.running = False
        self.refresh_output()
        self._on_zero()

    # -- the output --------------------------------------------------------------------------

    def level(self) -> int:
        """The output before the inverter: 1 from the count that equals TCMPn down to 0."""
        if self.running and self.counter.ticks() < self.loaded:
            return self._last_level
        # A compare value above the start value is never met: the output stays low.
        return int(self.count() <= self.compare <= self.top)

    def refresh_output(self) -> None:
        """Report the output, and be back at its next edge that is not at zero; idle while unwatched."""
        if not self._watched():
            self._edge.cancel()
            return
        self._on_output()
        edge: int | None = None
        if self.running:
            if self.counter.ticks() < self.loaded:
                edge = self.counter.time_of(self.loaded)
            elif self.compare <= self.top and self.count() > self.compare:
                edge = self.counter.time_of(self.loaded + self.value - self.compare)
        if edge is None:
            self._edge.cancel()
        else:
            self._edge.start_at(edge)

    # -- snapshots ---------------------------------------------------------------------------

    _PLAIN = ("auto_reload", "compare", "loaded", "running", "top", "value", "_last_level")

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        state: dict[str, Any] = {name: getattr(self, name) for name in self._PLAIN}
        state["counter"] = self.counter.save()
        state["zero"] = self._zero.deadline
        state["edge"] = self._edge.deadline
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`save` gave."""
        for name in self._PLAIN:
            setattr(self, name, state[name])
        self.counter.load(state["counter"])
        self._zero.load(state["zero"])
        self._edge.load(state["edge"])
