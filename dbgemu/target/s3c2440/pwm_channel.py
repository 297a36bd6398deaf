"""One timer of the PWM block: a down-counter, computed from the virtual clock when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.count_port import CountRegister
from dbgemu.target.s3c2440.tick_counter import TickCounter

#: what TCMPn holds before its first update: no count matches it, so the output stays low
_NO_COMPARE = 0x10000

#: Zeros closer than this, in ns, are reported as one: no core could take each interrupt, and a timer
#: left running with TCNTB = 0 must not hold up the machine.
_SHORTEST_PERIOD = 1000
#: the same for TCNTB = 0, which no one means: Linux leaves timer 0 so when it resumes from SLEEP
_EMPTY_PERIOD = 1_000_000
#: Zeros farther apart than this, in ns, are reported whether or not somebody waits: they are rare enough.
_LONG_PERIOD = 1_000_000


class PwmChannel:
    """TCNTn, TCMPn and the output of timer n (S3C2440A UM 10).

    ``buffers`` gives (TCNTBn, TCMPBn); ``on_zero`` is called when the counter reaches zero;
    ``on_output`` when :meth:`level` may have changed, and only while ``watched`` says that it matters.

    A fast timer with auto-reload calls nobody at its zeros while ``awaited`` says that nobody waits for
    them: it coasts, and :meth:`roll` finds later which period it is in. Who sets buffers calls
    :meth:`catch_up` first, who begins to wait calls :meth:`resume`.

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
        awaited: Callable[[], bool],
    ) -> None:
        self.clock = clock
        self.counter = TickCounter(clock)
        self._buffers = buffers
        self._on_zero = on_zero
        self._on_output = on_output
        self._watched = watched
        self._awaited = awaited
        self._zero = Timer(clock, self._reached_zero)
        self._edge = Timer(clock, self.refresh_output)
        #: the count as the engine computes it
        self.observed = CountRegister(clock)
        self.reset()

    def reset(self) -> None:
        """Stopped at 0, output low. The clock stays."""
        self.observed.release()
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
        # Zero has passed: the timer that handles it has yet to be called, or none is needed.
        if not self.auto_reload:
            return 0
        top = self._buffers()[0]
        return top - (elapsed - value - 1) % (top + 1)

    def observe(self) -> int:
        """:meth:`count`, which the engine computes from now on, until something is set."""
        count, counter = self.count(), self.counter
        if not self.running:
            self.observed.hold(count, 0, 0, 0, 1)
        elif counter.ticks() >= self.loaded:
            period = self._buffers()[0] + 1 if self.auto_reload else 0
            self.observed.hold(count, period, counter.epoch, counter.frequency, counter.scale)
        return count

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

    def set_auto_reload(self, on: bool) -> None:
        """Reload at the next zero, or stop there."""
        if on != self.auto_reload:
            self.roll()
            self.auto_reload = on
            if self.running:
                self._arm()

    def catch_up(self) -> None:
        """Something will be set: handle a zero that is due but has not been reported, come to this period."""
        self.observed.release()
        deadline = self._zero.deadline
        if deadline is not None and deadline <= self.clock.now:
            self._zero.cancel()
            self._reached_zero()
        self.roll()

    def resume(self) -> None:
        """Somebody waits for the zeros now: report the next one, if none is awaited already."""
        if self.running and self._zero.deadline is None:
            self.roll()
            self._arm()

    # -- what time does ----------------------------------------------------------------------

    def roll(self) -> None:
        """Count the reloads that nobody was told of: nothing changes that anybody can see."""
        if not (self.running and self.auto_reload):
            return
        past = self.counter.ticks() - (self.loaded + self.value)
        if past < 0:
            return
        self._last_level = int(self.compare <= self.top)
        self.loaded += self.value + 1
        self.value, self.compare = self._buffers()
        self.top = self.value
        periods = past // (self.top + 1)
        if periods:
            self._last_level = int(self.compare <= self.top)
            self.loaded += periods * (self.top + 1)

    def _arm(self) -> None:
        zero = self.loaded + self.value
        if self.auto_reload:
            counter = self.counter
            if self.top + 1 < counter.ticks_in(_LONG_PERIOD) and not self._awaited():
                self._zero.cancel()
                return
            shortest = counter.ticks_in(_SHORTEST_PERIOD if self.top else _EMPTY_PERIOD)
            early = counter.ticks() + shortest - zero
            if early > 0 and self.top + 1 < shortest:
                zero += -(-early // (self.top + 1)) * (self.top + 1)
        deadline = self.counter.time_of(zero)
        if deadline is None:
            self._zero.cancel()
        else:
            self._zero.start_at(deadline)

    def _reached_zero(self) -> None:
        if self.auto_reload:
            self.roll()
        else:
            self._last_level = int(self.compare <= self.top)
            self.value = 0
            self.running = False
        self.refresh_output()
        self._on_zero()
        if self.running:
            self._arm()

    # -- the output --------------------------------------------------------------------------

    def level(self) -> int:
        """The output before the inverter: 1 from the count that equals TCMPn down to 0."""
        self.roll()
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
        self.resume()
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
        """State as plain data: the same at a time, whether or not somebody looked at the timer before."""
        self.roll()
        state: dict[str, Any] = {name: getattr(self, name) for name in self._PLAIN}
        state["counter"] = self.counter.save()
        state["zero"] = self._zero.deadline
        state["edge"] = self._edge.deadline
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`save` gave."""
        self.observed.release()
        for name in self._PLAIN:
            setattr(self, name, state[name])
        self.counter.load(state["counter"])
        self._zero.load(state["zero"])
        self._edge.load(state["edge"])
