"""PWM timers (S3C2440A UM 10): five 16-bit down-counters, four of them with an output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from dbgemu.target.clock import NS_PER_SECOND, Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact, frequency
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, writes
from dbgemu.target.s3c2440.clocks import Clocks
from dbgemu.target.s3c2440.pwm_channel import PwmChannel
from dbgemu.target.stream import Port

DEAD_ZONE = 1 << 4

_MUX = {0: "1/2", 1: "1/4", 2: "1/8", 3: "1/16", 4: "external TCLK"}


class _Control(NamedTuple):
    """Where TCON has the bits of one timer (timer 4 has no output, so no inverter)."""

    start: int
    update: int
    invert: int
    reload: int

    @property
    def mask(self) -> int:
        return self.start | self.update | self.invert | self.reload


_CONTROLS = (
    _Control(1 << 0, 1 << 1, 1 << 2, 1 << 3),
    _Control(1 << 8, 1 << 9, 1 << 10, 1 << 11),
    _Control(1 << 12, 1 << 13, 1 << 14, 1 << 15),
    _Control(1 << 16, 1 << 17, 1 << 18, 1 << 19),
    _Control(1 << 20, 1 << 21, 0, 1 << 22),
)


def _control_fields() -> tuple[Field, ...]:
    fields = []
    for timer, control in reversed(list(enumerate(_CONTROLS))):
        bits = (
            ("RELOAD", control.reload, "auto-reload; else one-shot"),
            ("INVERT", control.invert, "the output is inverted"),
            ("UPDATE", control.update, "manual update of the counter and compare value"),
            ("START", control.start, "the timer runs"),
        )
        fields += [Field(f"T{timer}_{n}", bit.bit_length() - 1, doc=doc) for n, bit, doc in bits if bit]
    fields.append(Field("DEAD_ZONE", 4, doc="TOUT0 and TOUT1 are timer 0's output and its inverse, apart"))
    return tuple(fields)


def _count_buffer(timer: int) -> Register:
    doc = f"Timer {timer}: count buffer"
    return Register(0x0C + 12 * timer, width=16, doc=doc, fields=(Field("COUNT", 15, 0, "start value"),))


def _compare_buffer(timer: int) -> Register:
    doc = f"Timer {timer}: compare buffer"
    field = Field("COMPARE", 15, 0, "count at which the output changes")
    return Register(0x10 + 12 * timer, width=16, doc=doc, fields=(field,))


def _observation(timer: int) -> Register:
    offset = 0x40 if timer == 4 else 0x14 + 12 * timer
    doc = f"Timer {timer}: the count now"
    field = Field("COUNT", 15, 0, "ticks to zero")
    return Register(offset, width=16, access="ro", volatile=True, doc=doc, fields=(field,))


class PwmTimers(Device):
    """The five timers.

    ``interrupts`` are the sources INT_TIMER0 to INT_TIMER4, pulsed at each zero; ``dma_request`` is
    pulsed instead for the timer in TCFG1's DMA mode field. ``pending`` tells whether a timer's request
    is latched and not yet cleared: until :meth:`cleared`, such a timer does not ask again, which would
    change nothing, and costs nothing, however short its periods are. ``tclk0`` and ``tclk1`` are the
    frequencies in Hz at the pins of these names, 0 when nothing is connected. ``outputs`` are the lines
    TOUT0 to TOUT3. They are driven while they have listeners: an output that nobody looks at costs
    nothing, and :meth:`output` computes its level.
    """

    title = "PWM timers"

    TCFG0 = Register(
        0x00,
        doc="Prescalers and dead zone",
        fields=(
            Field("DEAD_ZONE_LENGTH", 23, 16, "dead zone in ticks of timer 0"),
            Field("PRESCALER1", 15, 8, "timers 2, 3 and 4: PCLK is divided by this value + 1"),
            Field("PRESCALER0", 7, 0, "timers 0 and 1: PCLK is divided by this value + 1"),
        ),
    )
    TCFG1 = Register(
        0x04,
        doc="Clock dividers and DMA mode",
        fields=(
            Field("DMA_MODE", 23, 20, "0: none; n: timer n - 1 asks for DMA instead of an interrupt"),
            Field("MUX4", 19, 16, "timer 4: divider behind the prescaler", _MUX),
            Field("MUX3", 15, 12, "timer 3: divider behind the prescaler", _MUX),
            Field("MUX2", 11, 8, "timer 2: divider behind the prescaler", _MUX),
            Field("MUX1", 7, 4, "timer 1: divider behind the prescaler", _MUX),
            Field("MUX0", 3, 0, "timer 0: divider behind the prescaler", _MUX),
        ),
    )
    TCON = Register(0x08, doc="Timer control", fields=_control_fields())
    TCNTB0 = _count_buffer(0)
    TCMPB0 = _compare_buffer(0)
    TCNTO0 = _observation(0)
    TCNTB1 = _count_buffer(1)
    TCMPB1 = _compare_buffer(1)
    TCNTO1 = _observation(1)
    TCNTB2 = _count_buffer(2)
    TCMPB2 = _compare_buffer(2)
    TCNTO2 = _observation(2)
    TCNTB3 = _count_buffer(3)
    TCMPB3 = _compare_buffer(3)
    TCNTO3 = _observation(3)
    TCNTB4 = _count_buffer(4)
    TCNTO4 = _observation(4)

    STATE = ("_dead_zone", "_rising")

    def __init__(
        self,
        name: str = "pwm",
        *,
        clock: VirtualClock,
        clocks: Clocks,
        interrupts: Sequence[Line],
        dma_request: Line | None = None,
        pending: Callable[[int], bool] = lambda timer: False,
        tclk0: int = 0,
        tclk1: int = 0,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clocks = clocks
        self.interrupts = tuple(interrupts)
        self.dma_request = dma_request
        self._pending = pending
        self.tclk = (tclk0, tclk0, tclk1, tclk1, tclk1)
        self.outputs = tuple(Line(f"TOUT{timer}") for timer in range(4))
        self.channels = tuple(self._make_channel(clock, timer) for timer in range(5))
        self._dead_zone = Timer(clock, self._end_dead_zone)
        #: timer 0's level at the latest start of a dead zone: its output, or the inverse, goes on next
        self._rising = 0
        self._set_clocks()
        clocks.on_change.append(self._set_clocks)

    def _make_channel(self, clock: VirtualClock, timer: int) -> PwmChannel:
        return PwmChannel(
            clock,
            buffers=partial(self._buffers, f"TCNTB{timer}", f"TCMPB{timer}"),
            on_zero=partial(self._request, timer),
            on_output=partial(self._drive, timer),
            watched=partial(self._watched, timer),
            awaited=partial(self._awaited, timer),
        )

    def _buffers(self, count: str, compare: str) -> tuple[int, int]:
        stored = self.__dict__
        return stored[count], stored.get(compare, 0)

    def ports(self) -> Iterator[tuple[int, Port]]:
        """What the engine may compute itself: offset and port, those that Linux reads first."""
        for timer in (4, 3, 2, 1, 0):
            yield self.registers[f"TCNTO{timer}"].offset, self.channels[timer].observed

    # -- registers ---------------------------------------------------------------------------

    @TCNTO0.read
    def _read_count0(self) -> int:
        return self.channels[0].observe()

    @TCNTO1.read
    def _read_count1(self) -> int:
        return self.channels[1].observe()

    @TCNTO2.read
    def _read_count2(self) -> int:
        return self.channels[2].observe()

    @TCNTO3.read
    def _read_count3(self) -> int:
        return self.channels[3].observe()

    @TCNTO4.read
    def _read_count4(self) -> int:
        return self.channels[4].observe()

    @TCFG0.write
    def _write_prescalers(self, value: int) -> None:
        self.TCFG0 = value
        self._set_clocks()

    @TCFG1.write
    def _write_dividers(self, value: int) -> None:
        self.TCFG1 = value
        self._set_clocks()
        for channel in self.channels:
            channel.resume()

    @writes(TCNTB0, TCMPB0, TCNTB1, TCMPB1, TCNTB2, TCMPB2, TCNTB3, TCMPB3, TCNTB4)
    def _write_buffer(self, register: Register, value: int) -> None:
        # the reloads before this moment took what was there until now
        self.channels[(register.offset - 0x0C) // 12].catch_up()
        self.__dict__[register.name] = value

    def _set_clocks(self) -> None:
        pclk = self.clocks.pclk
        for timer, channel in enumerate(self.channels):
            mux = self.TCFG1 >> 4 * timer & 15
            prescaler = (self.TCFG0 >> (0 if timer < 2 else 8) & 0xFF) + 1
            if mux & 4:
                channel.set_clock(self.tclk[timer], 1)
            else:
                channel.set_clock(pclk, prescaler << (mux & 3) + 1)
            channel.refresh_output()

    @TCON.write
    def _write_control(self, value: int) -> None:
        changed = value ^ self.TCON
        self.TCON = value
        for timer, bits in enumerate(_CONTROLS):
            if not (changed & bits.mask or value & bits.update):
                continue
            channel = self.channels[timer]
            channel.catch_up()
            channel.set_auto_reload(bool(value & bits.reload))
            if value & bits.update:
                channel.update()
            if not value & bits.start:
                channel.stop()
            elif (changed & bits.start) or value & (bits.update | bits.reload):
                # A finished one-shot, with START still set, stays finished when the guest
                # only changes other bits.
                channel.start()
            channel.refresh_output()
        if changed & DEAD_ZONE:
            self._dead_zone.cancel()
            self.channels[0].refresh_output()
            self.channels[1].refresh_output()

    def _request(self, timer: int) -> None:
        # S3C2440A UM 10, DMA request mode: a timer in DMA request mode makes no interrupt request.
        dma_mode = self.TCFG1 >> 20 & 15
        if dma_mode != timer + 1:
            self.interrupts[timer].pulse()
        elif self.dma_request is not None:
            self.dma_request.pulse()

    def _awaited(self, timer: int) -> bool:
        dma_mode = self.TCFG1 >> 20 & 15
        return dma_mode - 1 == timer or not self._pending(timer) or self._watched(timer)

    def cleared(self, timer: int) -> None:
        """The request of ``timer`` was cleared: its next zero makes another."""
        self.channels[timer].resume()

    # -- outputs -----------------------------------------------------------------------------

    def output(self, timer: int) -> int:
        """Level of timer ``timer``'s (0 to 3) output now, behind the inverter, before the dead zone."""
        inverted = int(bool(self.TCON & _CONTROLS[timer].invert))
        return self.channels[timer].level() ^ inverted

    def _watched(self, timer: int) -> bool:
        if timer == 4:
            return False
        if self.outputs[timer].listeners:
            return True
        return timer == 0 and bool(self.TCON & DEAD_ZONE and self.outputs[1].listeners)

    def _drive(self, timer: int) -> None:
        if timer > 1 or not self.TCON & DEAD_ZONE:
            self.outputs[timer].set(self.output(timer))
        elif timer == 0:
            self._drive_dead_zone()

    def _drive_dead_zone(self) -> None:
        # S3C2440A UM 10, dead zone generator: what goes off goes at once, what goes on waits.
        level = self.output(0)
        on, off = self.outputs[1 - level], self.outputs[level]
        off.set(0)
        if on.level:
            return
        if self._dead_zone.deadline is not None and self._rising == level:
            return
        self._rising = level
        counter = self.channels[0].counter
        end = counter.time_of(counter.ticks() + (self.TCFG0 >> 16 & 0xFF))
        if end is None or end <= counter.clock.now:
            self._end_dead_zone()
        else:
            self._dead_zone.start_at(end)

    def _end_dead_zone(self) -> None:
        self._dead_zone.cancel()
        self.outputs[1 - self._rising].set(1)

    # -- dumps -------------------------------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """Each timer: whether and how fast it counts, where it is, and its output."""
        for timer, channel in enumerate(self.channels):
            channel.roll()
            counter = channel.counter
            rate = counter.frequency * NS_PER_SECOND // counter.scale
            words = [f"{'runs' if channel.running else 'stands'} at {channel.count()}"]
            if channel.running and rate:
                words.append(f"counting at {frequency(rate)}")
                period = (channel.top + 1) * counter.scale // counter.frequency
                if channel.auto_reload and period:
                    words.append(f"zero at {frequency(NS_PER_SECOND // period)}")
                else:
                    words.append("once")
            if timer < 4:
                words.append(f"TOUT{timer} = {self.output(timer)}")
            yield Fact(f"timer {timer}", ", ".join(words))

    # -- the whole block ---------------------------------------------------------------------

    def reset(self) -> None:
        """All timers stopped at 0, outputs low."""
        super().reset()
        self._dead_zone.cancel()
        self._rising = 0
        for channel in self.channels:
            channel.reset()
        self._set_clocks()
        for line in self.outputs:
            line.set(0)

    def save(self) -> dict[str, Any]:
        """The complete state as plain data."""
        return {
            **super().save(),
            "channels": [channel.save() for channel in self.channels],
            "outputs": [line.level for line in self.outputs],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, and drive the outputs."""
        state = dict(state)
        channels, levels = state.pop("channels"), state.pop("outputs")
        super().load(state)
        for channel, saved in zip(self.channels, channels, strict=True):
            channel.load(saved)
        for line, level in zip(self.outputs, levels, strict=True):
            line.set(level)
