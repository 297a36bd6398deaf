"""Watchdog: running from reset on, kicked, as an interval timer, and as Linux' driver uses it."""

from __future__ import annotations

import random

import pytest
from virtual_time import advance

from dbgemu.target.bus import Bus
from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.watchdog import Watchdog

WTCON, WTDAT, WTCNT = 0, 4, 8
ENABLE, INTERRUPT, RESET = 1 << 5, 1 << 2, 1 << 0
SECOND = 1_000_000_000


class Bench:
    """The watchdog at a PCLK that makes one tick 1 ms with WTCON's prescaler and divider at 0."""

    def __init__(self, pclk: int = 16_000) -> None:
        self.clock = VirtualClock()
        self.clocks = FixedClocks(pclk=pclk)
        self.resets: list[int] = []
        self.interrupts: list[int] = []
        line = Line("INT_WDT")
        line.connect(lambda level: self.interrupts.append(self.clock.now) if level else None)
        self.wdt = Watchdog(
            clock=self.clock,
            clocks=self.clocks,
            interrupt=line,
            on_reset=lambda: self.resets.append(self.clock.now),
        )

    def write(self, offset: int, value: int) -> None:
        self.wdt.write(offset, 4, value)

    def read(self, offset: int) -> int:
        return self.wdt.read(offset, 4)

    def advance(self, milliseconds: float) -> None:
        advance(self.clock, int(milliseconds * 1_000_000))

    def restart(self, count: int, control: int) -> None:
        """Stop, set both counts, go."""
        self.write(WTCON, 0)
        self.write(WTDAT, count)
        self.write(WTCNT, count)
        self.write(WTCON, control)


def test_registers_have_the_reset_values_of_the_manual() -> None:
    bench = Bench()
    assert [entry.value for entry in bench.wdt.dump()] == [0x8021, 0x8000, 0x8000]


def test_it_resets_the_chip_after_five_seconds_when_nobody_stops_it() -> None:
    bench = Bench(pclk=12_000_000)
    bench.advance(5_600)
    assert bench.resets == []
    bench.advance(100)
    assert bench.resets == [-(-0x8000 * 129 * 16 * SECOND // 12_000_000)]
    assert bench.interrupts == []


def test_clearing_enable_stops_the_count_where_it_is() -> None:
    bench = Bench()
    bench.restart(1000, ENABLE | RESET)
    bench.advance(250)
    bench.write(WTCON, RESET)
    assert bench.read(WTCNT) == 750
    bench.advance(100_000)
    assert bench.read(WTCNT) == 750
    assert bench.resets == []
    bench.write(WTCON, ENABLE | RESET)
    bench.advance(749)
    assert bench.resets == []
    bench.advance(1)
    assert len(bench.resets) == 1


def test_bootloader_defaults_stop_it() -> None:
    bench = Bench()
    bench.wdt.set_bootloader_defaults()
    assert bench.read(WTCON) == 0
    assert bench.clock.next_deadline() is None


def test_writing_the_count_keeps_the_reset_away() -> None:
    bench = Bench()
    bench.restart(100, ENABLE | RESET)
    for _ in range(20):
        bench.advance(90)
        assert bench.read(WTCNT) == 10
        bench.write(WTCNT, 100)
        assert bench.read(WTCNT) == 100
    bench.advance(99)
    assert bench.resets == []
    bench.advance(1)
    assert len(bench.resets) == 1


def test_a_read_and_a_peek_show_the_running_count() -> None:
    bench = Bench()
    bench.restart(100, ENABLE)
    bench.advance(30.5)
    assert bench.read(WTCNT) == 70
    assert bench.wdt.peek(WTCNT, 4) == 70
    assert bench.read(WTDAT) == 100


def test_as_interval_timer_it_interrupts_and_reloads_from_wtdat() -> None:
    bench = Bench()
    bench.restart(100, ENABLE | INTERRUPT)
    bench.write(WTDAT, 40)
    bench.advance(200)
    assert [when // 1_000_000 for when in bench.interrupts] == [100, 140, 180]
    assert bench.read(WTCNT) == 20
    assert bench.resets == []


def test_the_interval_does_not_drift() -> None:
    bench = Bench(pclk=50_625_000)
    bench.restart(777, 6 << 8 | 1 << 3 | ENABLE | INTERRUPT)
    bench.advance(10_000)
    tick = 7 * 32 * SECOND
    assert len(bench.interrupts) == 10 * SECOND * 50_625_000 // (777 * tick)
    assert bench.interrupts[-1] == -(-777 * len(bench.interrupts) * tick // 50_625_000)


@pytest.mark.parametrize(("code", "divider"), [(0, 16), (1, 32), (2, 64), (3, 128)])
def test_prescaler_and_divider_set_the_pace(code: int, divider: int) -> None:
    bench = Bench(pclk=50_625_000)
    bench.restart(0xFFFF, 9 << 8 | code << 3 | ENABLE)
    bench.advance(100)
    assert bench.read(WTCNT) == 0xFFFF - 5_062_500 // (10 * divider)


def test_enabling_interrupts_while_running_does_not_touch_the_count() -> None:
    bench = Bench()
    bench.restart(100, ENABLE)
    bench.advance(50.9)
    bench.write(WTCON, ENABLE | INTERRUPT)
    bench.advance(49.1)
    assert bench.interrupts == [100_000_000]


def test_a_change_of_pclk_keeps_the_count_and_changes_the_pace() -> None:
    bench = Bench()
    bench.restart(100, ENABLE | RESET)
    bench.advance(50)
    bench.clocks.pclk = 32_000
    for listener in bench.clocks.on_change:
        listener()
    assert bench.read(WTCNT) == 50
    bench.advance(24)
    assert bench.resets == []
    bench.advance(1)
    assert bench.resets == [75_000_000]


def test_linux_restart_handler_resets_the_machine_within_its_wait() -> None:
    bench = Bench(pclk=50_625_000)
    bench.wdt.set_bootloader_defaults()
    bench.write(WTCON, 0)
    bench.write(WTCNT, 0x80)
    bench.write(WTDAT, 0x80)
    bench.write(WTCON, ENABLE | RESET | 0x20 << 8)
    bench.advance(500)
    assert bench.resets[0] == -(-0x80 * 33 * 16 * SECOND // 50_625_000)


def test_linux_fifteen_second_heartbeat_lasts_fifteen_seconds() -> None:
    pclk = 50_625_000
    bench = Bench(pclk=pclk)
    bench.wdt.set_bootloader_defaults()
    # s3c2410wdt_set_heartbeat and s3c2410wdt_start, for a timeout of 15 s.
    count = 15 * -(-pclk // 128)
    divisor = -(-count // 0xFFFF)
    count = -(-count // divisor)
    bench.write(WTDAT, count)
    bench.write(WTCON, (divisor - 1) << 8)
    control = bench.read(WTCON) | ENABLE | 3 << 3 | RESET
    bench.write(WTDAT, count)
    bench.write(WTCNT, count)
    bench.write(WTCON, control)
    bench.advance(14_999)
    assert bench.resets == []
    bench.advance(2)
    assert len(bench.resets) == 1


def test_reset_starts_it_again() -> None:
    bench = Bench(pclk=12_000_000)
    bench.restart(100, ENABLE | INTERRUPT)
    bench.advance(0.05)
    bench.wdt.reset()
    start = bench.clock.now
    assert [entry.value for entry in bench.wdt.dump()] == [0x8021, 0x8000, 0x8000]
    bench.advance(6_000)
    assert bench.resets == [start - (-0x8000 * 129 * 16 * SECOND // 12_000_000)]


def test_a_reset_from_within_the_callback_leaves_one_timer() -> None:
    bench = Bench(pclk=12_000_000)
    bench.wdt.on_reset = lambda: (bench.resets.append(bench.clock.now), bench.wdt.reset())
    bench.advance(20_000)
    assert len(bench.resets) == 3
    assert bench.resets[2] - bench.resets[1] == bench.resets[1] - bench.resets[0] == bench.resets[0]


def test_a_saved_state_continues_as_the_original_did() -> None:
    first, second = Bench(pclk=50_625_000), Bench(pclk=50_625_000)
    first.restart(777, 6 << 8 | ENABLE | INTERRUPT)
    first.advance(12.3456)
    second.clock.load(first.clock.save())
    second.wdt.load(first.wdt.save())
    first.interrupts.clear()
    for bench in (first, second):
        bench.advance(30.3)
    assert first.interrupts == second.interrupts != []
    assert first.read(WTCNT) == second.read(WTCNT)
    assert first.wdt.save() == second.wdt.save()


def test_any_sequence_of_writes_is_survived() -> None:
    rng = random.Random(18)
    bench = Bench(pclk=50_625_000)
    bus = Bus()
    bus.map(0x53000000, bench.wdt)
    for _ in range(2000):
        size = rng.choice((1, 2, 4))
        offset = rng.randrange(16 // size) * size
        bus.write(0x53000000 + offset, size, rng.choice((0, rng.getrandbits(8 * size))))
        assert 0 <= bus.read(0x53000008, 4) <= 0xFFFF
        bench.advance(rng.random() / 5)
