"""Rtc: the calendar, setting it as Linux does, alarm and tick interrupts, battery."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from virtual_time import advance

from dbgemu.target.bus import Bus
from dbgemu.target.clock import VirtualClock
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.rtc import Rtc

RTCCON, TICNT, RTCALM, RTCRST = 0x40, 0x44, 0x50, 0x6C
ALMSEC, ALMMIN, ALMHOUR, ALMDATE, ALMMON, ALMYEAR = range(0x54, 0x6C, 4)
BCDSEC, BCDMIN, BCDHOUR, BCDDATE, BCDDAY, BCDMON, BCDYEAR = range(0x70, 0x8C, 4)
ALMEN, YEAREN, MONEN, DATEEN, HOUREN, MINEN, SECEN = (1 << bit for bit in range(6, -1, -1))
SECOND = 1_000_000_000
DAY = 86_400


class Bench:
    def __init__(self, start: datetime | int = datetime(2024, 2, 28, 23, 59, 50)) -> None:
        self.clock = VirtualClock()
        self.log = GuestLog()
        self.alarms: list[datetime] = []
        self.ticks: list[int] = []
        alarm, tick = Line("INT_RTC"), Line("INT_TICK")
        alarm.connect(lambda level: self.alarms.append(self.now()) if level else None)
        tick.connect(lambda level: self.ticks.append(self.clock.now) if level else None)
        self.rtc = Rtc(clock=self.clock, alarm=alarm, tick=tick, start=start, log=self.log)

    def read(self, offset: int) -> int:
        return self.rtc.read(offset, 1)

    def write(self, offset: int, value: int) -> None:
        self.rtc.write(offset, 1, value)

    def now(self) -> datetime:
        """The time, read as Linux' driver reads it."""
        minute, hour, day, month, year, second = (
            int(f"{self.read(offset):x}") for offset in (BCDMIN, BCDHOUR, BCDDATE, BCDMON, BCDYEAR, BCDSEC)
        )
        return datetime(2000 + year, month, day, hour, minute, second)

    def set(self, moment: datetime) -> None:
        """Set the time in the order of Linux' driver."""
        self.write(RTCCON, 1)
        for offset, value in (
            (BCDSEC, moment.second),
            (BCDMIN, moment.minute),
            (BCDHOUR, moment.hour),
            (BCDDATE, moment.day),
            (BCDMON, moment.month),
            (BCDYEAR, moment.year % 100),
        ):
            self.write(offset, int(str(value), 16))

    def set_alarm(self, enable: int, **fields: int) -> None:
        """Set comparators as Linux' driver does: with the alarm off, then on."""
        self.write(RTCALM, 0)
        for name, value in fields.items():
            offset = {"sec": ALMSEC, "min": ALMMIN, "hour": ALMHOUR, "date": ALMDATE, "mon": ALMMON}
            self.write((offset | {"year": ALMYEAR})[name], int(str(value), 16))
        self.write(RTCALM, enable & ~ALMEN)
        self.write(RTCALM, enable)

    def advance(self, seconds: float) -> None:
        advance(self.clock, int(seconds * SECOND))


def test_control_and_alarm_registers_have_the_reset_values_of_the_manual() -> None:
    bench = Bench()
    values = {entry.register.name: entry.value for entry in bench.rtc.dump()}
    assert {name: value for name, value in values.items() if not name.startswith("BCD")} == {
        "RTCCON": 0,
        "TICNT": 0,
        "RTCALM": 0,
        "ALMSEC": 0,
        "ALMMIN": 0,
        "ALMHOUR": 0,
        "ALMDATE": 1,
        "ALMMON": 1,
        "ALMYEAR": 0,
        "RTCRST": 0,
    }


def test_the_counters_show_the_start_time_in_bcd() -> None:
    bench = Bench(datetime(2026, 11, 22, 10, 45, 35))
    counters = [bench.read(o) for o in (BCDYEAR, BCDMON, BCDDATE, BCDDAY, BCDHOUR, BCDMIN, BCDSEC)]
    assert counters == [0x26, 0x11, 0x22, 1, 0x10, 0x45, 0x35]


def test_the_start_time_may_be_seconds_since_1970_in_utc() -> None:
    assert Bench(1_795_344_335).now() == datetime(2026, 11, 22, 10, 45, 35)


def test_a_datetime_is_taken_as_it_reads_whatever_its_zone() -> None:
    moment = datetime(2026, 11, 22, 10, 45, 35, tzinfo=timezone(timedelta(hours=9)))
    assert Bench(moment).now() == moment.replace(tzinfo=None)
    assert Bench(moment.astimezone(UTC)).now() == datetime(2026, 11, 22, 1, 45, 35)


def test_time_passes_with_the_virtual_clock() -> None:
    bench = Bench(datetime(2026, 1, 1))
    bench.advance(0.999999999)
    assert bench.now() == datetime(2026, 1, 1)
    bench.advance(0.000000001)
    assert bench.now() == datetime(2026, 1, 1, 0, 0, 1)
    bench.advance(3 * DAY)
    assert bench.now() == datetime(2026, 1, 4, 0, 0, 1)
    assert bench.clock.next_deadline() is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (datetime(2024, 2, 28, 23, 59, 59), datetime(2024, 2, 29)),
        (datetime(2024, 2, 29, 23, 59, 59), datetime(2024, 3, 1)),
        (datetime(2023, 2, 28, 23, 59, 59), datetime(2023, 3, 1)),
        (datetime(2000, 2, 28, 23, 59, 59), datetime(2000, 2, 29)),
        (datetime(2025, 4, 30, 23, 59, 59), datetime(2025, 5, 1)),
        (datetime(2025, 12, 31, 23, 59, 59), datetime(2026, 1, 1)),
        (datetime(2099, 12, 31, 23, 59, 59), datetime(2000, 1, 1)),
    ],
)
def test_the_calendar_carries_over(before: datetime, after: datetime) -> None:
    bench = Bench(before)
    weekday = bench.read(BCDDAY)
    bench.advance(1)
    assert bench.now() == after
    assert bench.read(BCDDAY) == weekday % 7 + 1


def test_the_calendar_agrees_with_datetime_over_the_century() -> None:
    rng = random.Random(17)
    bench = Bench(datetime(2000, 1, 1))
    moment = datetime(2000, 1, 1)
    for _ in range(500):
        step = rng.randrange(70 * DAY)
        moment += timedelta(seconds=step)
        if moment.year > 2099:
            break
        bench.advance(step)
        assert bench.now() == moment
        assert bench.read(BCDDAY) == moment.isoweekday() % 7 + 1


def test_the_time_is_set_field_by_field_through_dates_that_do_not_exist() -> None:
    bench = Bench(datetime(2024, 2, 10, 12, 0, 0))
    bench.set(datetime(2025, 3, 31, 23, 59, 58))
    assert bench.now() == datetime(2025, 3, 31, 23, 59, 58)
    bench.advance(2)
    assert bench.now() == datetime(2025, 4, 1)
    bench.set(datetime(2030, 12, 25, 1, 2, 3))
    bench.advance(60)
    assert bench.now() == datetime(2030, 12, 25, 1, 3, 3)


def test_setting_the_seconds_lets_the_running_second_go_on() -> None:
    bench = Bench(datetime(2024, 1, 1))
    bench.advance(5.75)
    bench.set(datetime(2024, 1, 1, 0, 0, 30))
    bench.advance(0.25)
    assert bench.now() == datetime(2024, 1, 1, 0, 0, 31)


def test_the_time_cannot_be_written_while_rtcen_is_off() -> None:
    bench = Bench(datetime(2024, 1, 1))
    bench.write(BCDYEAR, 0x50)
    assert bench.now() == datetime(2024, 1, 1)
    assert bench.log.count == 1
    bench.write(RTCCON, 1)
    bench.write(BCDYEAR, 0x50)
    assert bench.now().year == 2050
    assert bench.log.count == 1


def test_the_day_of_the_week_is_what_was_written_and_counts_on() -> None:
    bench = Bench(datetime(2024, 1, 1))
    bench.write(RTCCON, 1)
    bench.write(BCDDAY, 6)
    assert bench.read(BCDDAY) == 6
    bench.advance(2 * DAY)
    assert bench.read(BCDDAY) == 1


def test_the_clock_stands_while_its_divider_is_held_in_reset() -> None:
    bench = Bench(datetime(2024, 1, 1))
    bench.advance(10.5)
    bench.write(RTCCON, 1 | 8)
    bench.advance(100)
    assert bench.now() == datetime(2024, 1, 1, 0, 0, 10)
    bench.write(RTCCON, 1)
    bench.advance(0.9)
    assert bench.now() == datetime(2024, 1, 1, 0, 0, 10)
    bench.advance(0.1)
    assert bench.now() == datetime(2024, 1, 1, 0, 0, 11)


@pytest.mark.parametrize(
    ("second", "code", "expected"),
    [
        (29, 3, datetime(2024, 1, 1, 10, 59, 0)),
        (30, 3, datetime(2024, 1, 1, 11, 0, 0)),
        (39, 4, datetime(2024, 1, 1, 10, 59, 0)),
        (45, 4, datetime(2024, 1, 1, 11, 0, 0)),
        (49, 5, datetime(2024, 1, 1, 10, 59, 0)),
        (50, 5, datetime(2024, 1, 1, 11, 0, 0)),
        (45, 0, datetime(2024, 1, 1, 10, 59, 45)),
    ],
)
def test_a_round_reset_goes_to_a_full_minute(second: int, code: int, expected: datetime) -> None:
    bench = Bench(datetime(2024, 1, 1, 10, 59, second))
    bench.write(RTCRST, code)
    assert bench.now() == datetime(2024, 1, 1, 10, 59, second)
    bench.write(RTCRST, 8 | code)
    assert bench.now() == expected


def test_a_reset_keeps_the_time_and_turns_the_interrupts_off() -> None:
    bench = Bench(datetime(2024, 1, 1))
    bench.set(datetime(2030, 6, 7, 8, 9, 10))
    bench.write(TICNT, 0xFF)
    bench.set_alarm(ALMEN | SECEN, sec=30)
    bench.advance(1.5)
    ticks = len(bench.ticks)
    bench.rtc.reset()
    assert bench.read(RTCCON) == bench.read(TICNT) == bench.read(RTCALM) == 0
    bench.advance(0.5)
    assert bench.now() == datetime(2030, 6, 7, 8, 9, 12)
    bench.advance(100)
    assert bench.alarms == []
    assert len(bench.ticks) == ticks


def test_a_reset_lets_a_clock_that_was_held_run_again() -> None:
    bench = Bench(datetime(2024, 1, 1))
    bench.write(RTCCON, 8)
    bench.advance(50)
    bench.rtc.reset()
    assert bench.now() == datetime(2024, 1, 1)
    bench.advance(1)
    assert bench.now() == datetime(2024, 1, 1, 0, 0, 1)


# -- alarm -----------------------------------------------------------------------------------


def test_an_alarm_of_linux_comes_once_at_its_second() -> None:
    bench = Bench(datetime(2024, 2, 28, 12, 0, 0))
    everything = ALMEN | MONEN | DATEEN | HOUREN | MINEN | SECEN
    bench.set_alarm(everything, mon=3, date=1, hour=7, min=30, sec=15)
    assert bench.read(ALMMIN) == 0x30
    bench.advance(10 * DAY)
    assert bench.alarms == [datetime(2024, 3, 1, 7, 30, 15)]


def test_an_alarm_needs_almen_and_a_comparator() -> None:
    bench = Bench(datetime(2024, 1, 1))
    bench.set_alarm(SECEN, sec=10)
    bench.advance(200)
    bench.set_alarm(ALMEN, sec=10)
    bench.advance(200)
    assert bench.alarms == []


def test_turning_almen_off_calls_the_alarm_off() -> None:
    bench = Bench(datetime(2024, 1, 1))
    bench.set_alarm(ALMEN | SECEN, sec=10)
    bench.write(RTCALM, SECEN)
    bench.advance(100)
    assert bench.alarms == []
    assert bench.clock.next_deadline() is None


@pytest.mark.parametrize(
    ("enable", "fields", "alarms"),
    [
        (SECEN, {"sec": 5}, ["01 00:00:05", "01 00:01:05", "01 00:02:05"]),
        (MINEN, {"min": 2}, ["01 00:02:00", "01 01:02:00", "01 02:02:00"]),
        (MINEN | SECEN, {"min": 2, "sec": 59}, ["01 00:02:59", "01 01:02:59", "01 02:02:59"]),
        (HOUREN, {"hour": 3}, ["01 03:00:00", "02 03:00:00", "03 03:00:00"]),
        (HOUREN | SECEN, {"hour": 0, "sec": 7}, ["01 00:00:07", "01 00:01:07", "01 00:02:07"]),
        (DATEEN, {"date": 5}, ["05 00:00:00"]),
        (DATEEN | HOUREN, {"date": 2, "hour": 23}, ["02 23:00:00"]),
        (DATEEN | SECEN, {"date": 2, "sec": 0}, ["02 00:00:00", "02 00:01:00", "02 00:02:00"]),
    ],
)
def test_comparators_that_are_off_match_everything(
    enable: int, fields: dict[str, int], alarms: list[str]
) -> None:
    bench = Bench(datetime(2024, 1, 1))
    bench.set_alarm(ALMEN | enable, **fields)
    for _ in range(8 * 24):
        bench.advance(3600)
        if len(bench.alarms) >= 3:
            break
    assert [f"{alarm:%d %H:%M:%S}" for alarm in bench.alarms[:3]] == alarms


def test_a_condition_that_goes_on_holding_interrupts_only_when_it_begins() -> None:
    bench = Bench(datetime(2024, 1, 30, 12, 0, 0))
    bench.set_alarm(ALMEN | MONEN, mon=2)
    bench.advance(60 * DAY)
    assert bench.alarms == [datetime(2024, 2, 1)]


def test_an_alarm_for_this_very_second_comes_at_once_but_not_twice() -> None:
    bench = Bench(datetime(2024, 1, 1, 0, 0, 10))
    bench.set_alarm(ALMEN | MINEN | SECEN, min=0, sec=10)
    assert bench.alarms == [datetime(2024, 1, 1, 0, 0, 10)]
    bench.write(RTCALM, ALMEN | MINEN | SECEN)
    bench.advance(3599)
    assert len(bench.alarms) == 1
    bench.advance(1)
    assert len(bench.alarms) == 2


def test_setting_the_time_moves_the_alarm() -> None:
    bench = Bench(datetime(2024, 1, 1))
    bench.set_alarm(ALMEN | HOUREN | MINEN | SECEN, hour=18, min=0, sec=0)
    bench.set(datetime(2024, 1, 1, 17, 59, 50))
    bench.advance(9.999)
    assert bench.alarms == []
    bench.advance(0.001)
    assert bench.alarms == [datetime(2024, 1, 1, 18)]


def test_a_waiting_alarm_costs_one_event_a_day() -> None:
    bench = Bench(datetime(2024, 1, 1))
    bench.set_alarm(ALMEN | MONEN | DATEEN | HOUREN, mon=1, date=6, hour=1)
    events = 0
    while not bench.alarms:
        deadline = bench.clock.next_deadline()
        assert deadline is not None
        bench.clock.skip_to(deadline)
        bench.clock.run_due()
        events += 1
    assert events == 6
    assert bench.clock.next_deadline() == 6 * DAY * SECOND


# -- tick ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "period"), [(0, 1), (1, 2), (63, 64), (127, 128)])
def test_the_tick_interrupt_has_a_period_of_count_plus_one_128ths(count: int, period: int) -> None:
    bench = Bench()
    bench.write(TICNT, 0x80 | count)
    assert bench.read(TICNT) == 0x80 | count
    bench.advance(10)
    assert bench.ticks == [-(-n * period * SECOND // 128) for n in range(1, 1280 // period + 1)]


def test_clearing_the_enable_bit_stops_the_tick() -> None:
    bench = Bench()
    bench.write(TICNT, 0x80 | 127)
    bench.advance(3)
    bench.write(TICNT, 127)
    bench.advance(10)
    assert len(bench.ticks) == 3
    assert bench.clock.next_deadline() is None


# -- the whole block -------------------------------------------------------------------------


def test_linux_probe_leaves_the_rtc_enabled() -> None:
    bench = Bench()
    bus = Bus()
    bus.map(0x57000000, bench.rtc)
    bus.write(0x57000040, 2, bus.read(0x57000040, 2) & ~1)
    bus.write(0x57000044, 1, bus.read(0x57000044, 1) & ~0x80 & 0xFF)
    assert bus.read(0x57000040, 2) & 1 == 0
    bus.write(0x57000040, 2, bus.read(0x57000040, 2) | 1)
    assert bus.read(0x57000040, 2) == 1
    bus.write(0x57000088, 1, 0x31)
    assert bus.read(0x57000088, 1) == 0x31
    assert bench.log.count == 0


def test_a_saved_state_continues_as_the_original_did() -> None:
    first, second = Bench(datetime(2024, 1, 1)), Bench(datetime(2001, 5, 5))
    first.set(datetime(2033, 3, 3, 3, 3, 3))
    first.set_alarm(ALMEN | SECEN, sec=44)
    first.write(TICNT, 0x80 | 60)
    first.advance(3.21)
    second.clock.load(first.clock.save())
    second.rtc.load(first.rtc.save())
    first.ticks.clear()
    for bench in (first, second):
        bench.advance(100.5)
    assert first.now() == second.now() == datetime(2033, 3, 3, 3, 4, 46)
    assert first.alarms == second.alarms != []
    assert first.ticks == second.ticks != []
    assert first.rtc.save() == second.rtc.save()


def test_any_sequence_of_writes_is_survived() -> None:
    rng = random.Random(57)
    bench = Bench()
    bench.rtc.alarm.listeners.clear()
    bus = Bus()
    bus.map(0x57000000, bench.rtc)
    for _ in range(3000):
        size = rng.choice((1, 2, 4))
        offset = 0x40 + rng.randrange(0x50 // size) * size
        bus.write(0x57000000 + offset, size, rng.choice((0, 1, 0x7F, rng.getrandbits(8 * size))))
        bench.write(RTCCON, rng.choice((1, 1, 1, 9)))
        for counter in range(BCDSEC, BCDYEAR + 4, 4):
            assert 0 <= bus.read(0x57000000 + counter, 1) <= 0x99
        ticking = bench.read(TICNT) & 0x80
        bench.advance(rng.choice((0, 0.02, 1.5) if ticking else (0, 1.5, 100, 90_000)))
