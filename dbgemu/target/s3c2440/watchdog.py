"""Watchdog timer (S3C2440A UM 18): a 16-bit down-counter that resets the chip or interrupts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dbgemu.target.clock import NS_PER_SECOND, Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register
from dbgemu.target.s3c2440.clocks import Clocks
from dbgemu.target.s3c2440.tick_counter import TickCounter

ENABLE = 1 << 5
INTERRUPT = 1 << 2
RESET = 1 << 0

#: what sets the counter's clock, and whether it runs
_CLOCKING = 0xFF00 | ENABLE | 3 << 3


class Watchdog(Device):
    """The watchdog. It counts from reset on (5.6 s at 12 MHz PCLK), until software stops it.

    ``interrupt`` is the source INT_WDT, pulsed at each zero if WTCON asks for it; ``on_reset`` is
    called at a zero that resets the chip, from a timer callback (no guest instruction is under way).
    """

    title = "Watchdog timer"

    WTCON = Register(
        0x00,
        width=16,
        reset=0x8021,
        doc="Control",
        fields=(
            Field("PRESCALER", 15, 8, "PCLK is divided by this value + 1"),
            Field("ENABLE", 5, doc="the counter runs"),
            Field(
                "CLOCK", 4, 3, "divider behind the prescaler", {0: "1/16", 1: "1/32", 2: "1/64", 3: "1/128"}
            ),
            Field("INTERRUPT", 2, doc="interrupt at zero"),
            Field("RESET", 0, doc="reset the chip at zero"),
        ),
    )
    WTDAT = Register(
        0x04,
        width=16,
        reset=0x8000,
        doc="Value that the counter is reloaded with at zero",
        fields=(Field("COUNT_RELOAD", 15, 0, "periods until zero"),),
    )
    WTCNT = Register(
        0x08,
        width=16,
        reset=0x8000,
        volatile=True,
        doc="The count now",
        fields=(Field("COUNT", 15, 0, "periods left"),),
    )

    # While running, the count is what is left to tick _zero of the counter; else it is _held.
    STATE = ("_held", "_running", "_timer", "_zero")

    def __init__(
        self,
        name: str = "wdt",
        *,
        clock: VirtualClock,
        clocks: Clocks,
        interrupt: Line,
        on_reset: Callable[[], None],
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clocks = clocks
        self.interrupt = interrupt
        self.on_reset = on_reset
        self._counter = TickCounter(clock)
        self._timer = Timer(clock, self._reached_zero)
        self._held = Watchdog.WTCNT.reset
        self._running = False
        self._zero = 0
        self._resume()
        clocks.on_change.append(self._clocks_changed)

    @WTCNT.read
    def _read_count(self) -> int:
        if not self._running:
            return self._held
        return max(0, self._zero - self._counter.ticks())

    @WTCNT.write
    def _write_count(self, value: int) -> None:
        self._held = value
        if self._running:
            self._zero = self._counter.ticks() + max(1, value)
            self._arm()

    @WTCON.write
    def _write_control(self, value: int) -> None:
        changed = value ^ self.WTCON
        if changed & _CLOCKING:
            self._pause()
            self.WTCON = value
            self._resume()
        else:
            self.WTCON = value

    def _clocks_changed(self) -> None:
        if self._running and self.clocks.pclk != self._counter.frequency:
            self._pause()
            self._resume()

    def _pause(self) -> None:
        self._held = self._read_count()
        self._running = False
        self._timer.cancel()

    def _resume(self) -> None:
        if self.WTCON & ENABLE:
            divider = ((self.WTCON >> 8) + 1) * (16 << (self.WTCON >> 3 & 3))
            self._counter.restart(self.clocks.pclk, divider)
            self._zero = max(1, self._held)
            self._running = True
            self._arm()

    def _arm(self) -> None:
        deadline = self._counter.time_of(self._zero)
        if deadline is not None:
            self._timer.start_at(deadline)

    def _reached_zero(self) -> None:
        self._zero += max(1, self.WTDAT)
        self._arm()
        if self.WTCON & INTERRUPT:
            self.interrupt.pulse()
        if self.WTCON & RESET:
            self.on_reset()

    def facts(self) -> Iterator[Fact]:
        """Whether and how fast it counts, and when it will be at zero."""
        yield Fact("running", self._running)
        if self._running and self._counter.frequency:
            yield Fact("counts at", self._counter.frequency * NS_PER_SECOND // self._counter.scale, "Hz")
            if self._timer.deadline is not None:
                yield Fact("zero in", max(0, self._timer.deadline - self._counter.clock.now), "ns")
            ends = [what for bit, what in ((INTERRUPT, "interrupt"), (RESET, "reset")) if self.WTCON & bit]
            yield Fact("at zero", " and ".join(ends) or "nothing")

    def set_bootloader_defaults(self) -> None:
        """What every bootloader does first: stop the watchdog."""
        self._write_control(0)

    def reset(self) -> None:
        """Counting down from 0x8000 to a reset, as after power-on."""
        super().reset()
        self._running = False
        self._timer.cancel()
        self._held = Watchdog.WTCNT.reset
        self._resume()

    def save(self) -> dict[str, Any]:
        """The complete state as plain data."""
        return {**super().save(), "counter": self._counter.save()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave."""
        state = dict(state)
        self._counter.load(state.pop("counter"))
        super().load(state)
