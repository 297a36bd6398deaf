"""Real time clock (S3C2440A UM 17): a battery-backed BCD calendar with alarm and tick interrupts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from dbgemu.target.clock import NS_PER_SECOND, Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, reads, writes
from dbgemu.target.s3c2440.tick_counter import TickCounter

RTCEN = 1 << 0
CLKRST = 1 << 3
TICK_ENABLE = 1 << 7
ALMEN = 1 << 6
SRSTEN = 1 << 3

#: 2000-01-01 00:00:00 in seconds since 1970
DEFAULT_START = 946_684_800

#: the tick generator's clock in Hz
TICK_CLOCK = 128

_DAY = 86_400
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_FIRST = date(2000, 1, 1)
#: days in the years 2000 to 2099, after which the two digits of the year begin again
_CENTURY = 36_525

#: RTCRST's SECCR: seconds from which rounding carries to the minute. S3C2440A UM figure 17-1 shows
#: the register; its offset and bits are those of the S3C2410A.
_ROUND_BOUNDARIES = {3: 30, 4: 40, 5: 50}


class _Calendar(NamedTuple):
    """What the BCD counters hold, in plain numbers; ``day`` is the day of the week, 1 (Sunday) to 7."""

    second: int
    minute: int
    hour: int
    date: int
    day: int
    month: int
    year: int

    @property
    def time_of_day(self) -> int:
        """Seconds since midnight."""
        return self.second + 60 * self.minute + 3600 * self.hour

    def later(self, seconds: int) -> _Calendar:
        """The counters ``seconds`` later. A date that no month has becomes one at the next midnight."""
        if not seconds:
            return self
        days, rest = divmod(self.time_of_day + seconds, _DAY)
        if days:
            first = date(2000 + self.year, min(max(self.month, 1), 12), 1)
            last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
            today = first.replace(day=min(max(self.date, 1), last.day))
            new = _FIRST + timedelta(days=((today - _FIRST).days + days) % _CENTURY)
            now = self._replace(
                date=new.day, month=new.month, year=new.year - 2000, day=(self.day - 1 + days) % 7 + 1
            )
        else:
            now = self
        return now._replace(second=rest % 60, minute=rest // 60 % 60, hour=rest // 3600)


_COUNTERS = {
    "BCDSEC": "second",
    "BCDMIN": "minute",
    "BCDHOUR": "hour",
    "BCDDATE": "date",
    "BCDDAY": "day",
    "BCDMON": "month",
    "BCDYEAR": "year",
}


class _Alarm(NamedTuple):
    """One comparator: its enable bit in RTCALM, its register, what it compares, and that counter's range."""

    enable: int
    register: str
    counter: str
    values: range


_ALARMS = (
    _Alarm(1 << 5, "ALMYEAR", "year", range(100)),
    _Alarm(1 << 4, "ALMMON", "month", range(1, 13)),
    _Alarm(1 << 3, "ALMDATE", "date", range(1, 32)),
    _Alarm(1 << 2, "ALMHOUR", "hour", range(24)),
    _Alarm(1 << 1, "ALMMIN", "minute", range(60)),
    _Alarm(1 << 0, "ALMSEC", "second", range(60)),
)


def _bcd(value: int) -> int:
    return value // 10 << 4 | value % 10


def _binary(bcd: int) -> int:
    return (bcd >> 4) * 10 + (bcd & 15)


def _calendar_at(start: datetime | int) -> _Calendar:
    moment = datetime.fromtimestamp(start, UTC) if isinstance(start, int) else start
    return _Calendar(
        moment.second,
        moment.minute,
        moment.hour,
        moment.day,
        moment.isoweekday() % 7 + 1,
        moment.month,
        moment.year % 100,
    )


def _digits(high: int) -> tuple[Field, ...]:
    units = Field("UNITS", min(high, 3), 0, "decimal digit")
    return (Field("TENS", high, 4, "decimal digit"), units) if high > 3 else (units,)


def _counter(offset: int, high: int, doc: str) -> Register:
    return Register(
        offset, width=8, writable=(2 << high) - 1, volatile=True, doc=f"{doc}, BCD", fields=_digits(high)
    )


def _alarm(offset: int, high: int, doc: str, reset: int = 0) -> Register:
    return Register(
        offset, width=8, writable=(2 << high) - 1, reset=reset, doc=f"Alarm: {doc}, BCD", fields=_digits(high)
    )


class Rtc(Device):
    """The real time clock.

    ``start`` is the time of day at virtual time 0: a datetime, taken as it reads, or seconds since
    1970 (UTC). ``alarm`` is the source INT_RTC and ``tick`` the source INT_TICK; both are pulsed.
    A reset leaves the time alone: the battery keeps it. The alarm also wakes the chip from SLEEP:
    who models that listens to ``alarm``.
    """

    title = "Real time clock"

    RTCCON = Register(
        0x40,
        width=8,
        writable=0x0F,
        doc="Control",
        fields=(
            Field("CLKRST", 3, doc="the divider to 1 Hz is held in reset: time stands"),
            Field("CNTSEL", 2, doc="BCD counters", values={0: "merged", 1: "separate (reserved)"}),
            Field("CLKSEL", 1, doc="BCD clock", values={0: "XTAL / 2**15", 1: "XTAL (test only)"}),
            Field("RTCEN", 0, doc="the time may be written"),
        ),
    )
    TICNT = Register(
        0x44,
        width=8,
        doc="Tick interrupt",
        fields=(
            Field("ENABLE", 7, doc="tick interrupts"),
            Field("COUNT", 6, 0, "period: (COUNT + 1) / 128 s"),
        ),
    )
    RTCALM = Register(
        0x50,
        width=8,
        writable=0x7F,
        doc="Alarm control",
        fields=(
            Field("ALMEN", 6, doc="alarm interrupt"),
            Field("YEAREN", 5, doc="the year must match"),
            Field("MONEN", 4, doc="the month must match"),
            Field("DATEEN", 3, doc="the day of the month must match"),
            Field("HOUREN", 2, doc="the hour must match"),
            Field("MINEN", 1, doc="the minute must match"),
            Field("SECEN", 0, doc="the second must match"),
        ),
    )
    ALMSEC = _alarm(0x54, 6, "second")
    ALMMIN = _alarm(0x58, 6, "minute")
    ALMHOUR = _alarm(0x5C, 5, "hour")
    ALMDATE = _alarm(0x60, 5, "day of the month", reset=0x01)
    ALMMON = _alarm(0x64, 4, "month", reset=0x01)
    ALMYEAR = _alarm(0x68, 7, "year")
    RTCRST = Register(
        0x6C,
        width=8,
        writable=0x0F,
        doc="Round reset of the seconds",
        fields=(
            Field("SRSTEN", 3, doc="write 1: round the time to a minute"),
            Field("SECCR", 2, 0, "carry to the minute from", {3: "30 s", 4: "40 s", 5: "50 s"}),
        ),
    )
    BCDSEC = _counter(0x70, 6, "Second")
    BCDMIN = _counter(0x74, 6, "Minute")
    BCDHOUR = _counter(0x78, 5, "Hour")
    BCDDATE = _counter(0x7C, 5, "Day of the month")
    BCDDAY = _counter(0x80, 2, "Day of the week, 1 is Sunday")
    BCDMON = _counter(0x84, 4, "Month")
    BCDYEAR = _counter(0x88, 7, "Year of the century from 2000")

    # The counters held _fields (a _Calendar as a list) at virtual time _since, when a second began.
    STATE = ("_alarm_timer", "_fields", "_since", "_tick", "_tick_timer")

    def __init__(
        self,
        name: str = "rtc",
        *,
        clock: VirtualClock,
        alarm: Line,
        tick: Line,
        start: datetime | int = DEFAULT_START,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clock = clock
        self.alarm = alarm
        self.tick = tick
        self._fields = list(_calendar_at(start))
        self._since = 0
        self._alarm_timer = Timer(clock, self._alarm_due)
        self._tick_counter = TickCounter(clock)
        self._tick_timer = Timer(clock, self._tick_due)
        #: tick of _tick_counter at which the next tick interrupt comes
        self._tick = 0

    # -- time --------------------------------------------------------------------------------

    def _elapsed(self) -> int:
        """Whole seconds since _since; none while the divider is held in reset."""
        return 0 if self.RTCCON & CLKRST else (self.clock.now - self._since) // NS_PER_SECOND

    def _now(self) -> _Calendar:
        return _Calendar(*self._fields).later(self._elapsed())

    def _set(self, calendar: _Calendar) -> None:
        """Let the counters hold ``calendar`` from now; the running second goes on."""
        self._since += self._elapsed() * NS_PER_SECOND
        self._fields = list(calendar)

    @reads(BCDSEC, BCDMIN, BCDHOUR, BCDDATE, BCDDAY, BCDMON, BCDYEAR)
    def _read_counter(self, register: Register) -> int:
        value: int = getattr(self._now(), _COUNTERS[register.name])
        return _bcd(value)

    @writes(BCDSEC, BCDMIN, BCDHOUR, BCDDATE, BCDDAY, BCDMON, BCDYEAR)
    def _write_counter(self, register: Register, value: int) -> None:
        if not self.RTCCON & RTCEN:
            self.guest_error(
                f"write of 0x{value:x} to {register.name} while RTCEN is off, which has no effect"
            )
            return
        matched = self._matches()
        number = min(_binary(value & register.writable), 99)
        self._set(self._now()._replace(**{_COUNTERS[register.name]: number}))
        self._alarm_changed(matched)

    @RTCCON.write
    def _write_control(self, value: int) -> None:
        self._set(self._now())
        if self.RTCCON & CLKRST:
            self._since = self.clock.now
        self.RTCCON = value & Rtc.RTCCON.writable
        self._arm_alarm()

    @RTCRST.write
    def _write_round(self, value: int) -> None:
        self.RTCRST = value & Rtc.RTCRST.writable
        boundary = _ROUND_BOUNDARIES.get(value & 7)
        if value & SRSTEN and boundary is not None:
            matched = self._matches()
            now = self._now()
            self._set(now.later(60 - now.second if now.second >= boundary else 0)._replace(second=0))
            self._alarm_changed(matched)

    # -- alarm -------------------------------------------------------------------------------

    @writes(RTCALM, ALMSEC, ALMMIN, ALMHOUR, ALMDATE, ALMMON, ALMYEAR)
    def _write_alarm(self, register: Register, value: int) -> None:
        matched = self._matches()
        self.__dict__[register.name] = value & register.writable
        self._alarm_changed(matched)

    def _wanted(self, counters: tuple[_Alarm, ...] = _ALARMS) -> dict[str, int]:
        """The enabled comparators among ``counters``: what each must equal."""
        enabled = self.RTCALM
        return {c.counter: _binary(self.__dict__[c.register]) for c in counters if enabled & c.enable}

    def _matches(self, calendar: _Calendar | None = None) -> bool:
        """Whether the alarm's condition holds then (None: now). Without any comparator it never does."""
        if not self.RTCALM & ALMEN:
            return False
        wanted = self._wanted()
        now = self._now() if calendar is None else calendar
        return bool(wanted) and all(getattr(now, counter) == value for counter, value in wanted.items())

    def _alarm_changed(self, matched: bool) -> None:
        """After a write: the interrupt comes when the condition holds now and did not before."""
        if self._matches() and not matched:
            self.alarm.pulse()
        self._arm_alarm()

    def _next_match(self, now: _Calendar) -> int | None:
        """Seconds from ``now`` to where the condition next begins to hold today; None if it does not."""
        day = self._wanted(_ALARMS[:3])
        if any(getattr(now, counter) != value for counter, value in day.items()):
            return None
        wanted = self._wanted(_ALARMS[3:])
        if not wanted:
            return None
        hours, minutes, seconds = (
            [wanted[c.counter]] if c.counter in wanted else c.values for c in _ALARMS[3:]
        )
        # Below the lowest comparator the condition begins at zero and then goes on holding.
        if "second" not in wanted:
            seconds = [0]
            if "minute" not in wanted:
                minutes = [0]
        time = now.time_of_day
        for hour in hours:
            for minute in minutes:
                if 3600 * hour + 60 * minute + 59 <= time:
                    continue
                for second in seconds:
                    moment = 3600 * hour + 60 * minute + second
                    if time < moment < _DAY:
                        return moment - time
        return None

    def _arm_alarm(self) -> None:
        """Be back when the condition begins to hold, or at midnight to look again."""
        if not self.RTCALM & ALMEN or not self._wanted() or self.RTCCON & CLKRST:
            self._alarm_timer.cancel()
            return
        now = self._now()
        wait = self._next_match(now)
        if wait is None:
            wait = max(1, _DAY - now.time_of_day)
        self._alarm_timer.start_at(self._since + (self._elapsed() + wait) * NS_PER_SECOND)

    def _alarm_due(self) -> None:
        now = self._now()
        if self._matches(now) and not self._matches(now.later(-1)):
            self.alarm.pulse()
        self._arm_alarm()

    # -- tick --------------------------------------------------------------------------------

    @TICNT.write
    def _write_tick(self, value: int) -> None:
        if value == self.TICNT and value & TICK_ENABLE:
            return
        self.TICNT = value
        if value & TICK_ENABLE:
            self._tick_counter.restart(TICK_CLOCK)
            self._tick = 0
            self._next_tick()
        else:
            self._tick_timer.cancel()

    def _next_tick(self) -> None:
        self._tick += (self.TICNT & 0x7F) + 1
        deadline = self._tick_counter.time_of(self._tick)
        if deadline is not None:
            self._tick_timer.start_at(deadline)

    def _tick_due(self) -> None:
        self._next_tick()
        self.tick.pulse()

    # -- dumps -------------------------------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """The time in words, and what is to come."""
        now = self._now()
        day = _DAYS[now.day % 7 - 1]
        yield Fact(
            "time",
            f"{2000 + now.year}-{now.month:02}-{now.date:02} "
            f"{now.hour:02}:{now.minute:02}:{now.second:02} ({day})",
        )
        if self.RTCALM & ALMEN:
            wanted = ", ".join(f"{name} = {value}" for name, value in self._wanted().items())
            yield Fact("alarm when", wanted or "nothing is compared: never")
        else:
            yield Fact("alarm", "off")
        if self.TICNT & TICK_ENABLE:
            yield Fact("tick every", ((self.TICNT & 0x7F) + 1) * NS_PER_SECOND // TICK_CLOCK, "ns")
        else:
            yield Fact("tick", "off")

    # -- the whole block ---------------------------------------------------------------------

    def reset(self) -> None:
        """Interrupts off; the time goes on."""
        self._write_control(0)
        super().reset()
        self._alarm_timer.cancel()
        self._tick_timer.cancel()

    def save(self) -> dict[str, Any]:
        """The complete state as plain data."""
        return {**super().save(), "tick_counter": self._tick_counter.save()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave."""
        state = dict(state)
        self._tick_counter.load(state.pop("tick_counter"))
        super().load(state)
