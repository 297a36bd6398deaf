"""PwmTimers: counting, reload, interrupts, outputs, as the manual says and Linux's drivers use them."""

from __future__ import annotations

import random

import pytest
from virtual_time import SteppedInstructions, advance

from dbgemu.target.bus import Bus
from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.pwm import PwmTimers

TCFG0, TCFG1, TCON = 0x00, 0x04, 0x08
START, UPDATE, INVERT, RELOAD = 1, 2, 4, 8
SHIFT = (0, 8, 12, 16, 20)
SECOND = 1_000_000_000


def tcntb(timer: int) -> int:
    return 0x0C + 12 * timer


def tcmpb(timer: int) -> int:
    return 0x10 + 12 * timer


def tcnto(timer: int) -> int:
    return 0x40 if timer == 4 else 0x14 + 12 * timer


class Bench:
    """The timers at a PCLK that makes one tick 1 us with TCFG0 = TCFG1 = 0 (2 MHz / 1 / 2)."""

    def __init__(self, pclk: int = 2_000_000, tclk0: int = 0, tclk1: int = 0) -> None:
        self.clock = VirtualClock()
        self.clocks = FixedClocks(pclk=pclk)
        self.interrupts: list[tuple[int, int]] = []
        lines = [Line(f"INT_TIMER{timer}") for timer in range(5)]
        for timer, line in enumerate(lines):
            line.connect(lambda level, timer=timer: self.note(timer, level))
        self.dma = Line("DMA_TIMER")
        self.pwm = PwmTimers(
            clock=self.clock,
            clocks=self.clocks,
            interrupts=lines,
            dma_request=self.dma,
            tclk0=tclk0,
            tclk1=tclk1,
        )

    def note(self, timer: int, level: int) -> None:
        if level:
            self.interrupts.append((timer, self.clock.now))

    def write(self, offset: int, value: int) -> None:
        self.pwm.write(offset, 4, value)

    def read(self, offset: int) -> int:
        return self.pwm.read(offset, 4)

    def count(self, timer: int) -> int:
        return self.read(tcnto(timer))

    def control(self, timer: int, bits: int) -> None:
        if timer == 4 and bits & RELOAD:
            bits = bits & ~RELOAD | 4
        mask = 0xF << SHIFT[timer]
        self.write(TCON, self.read(TCON) & ~mask | bits << SHIFT[timer])

    def run(self, timer: int, count: int, bits: int, compare: int = 0) -> None:
        """Load and start as Linux does: manual update first, then start."""
        self.write(tcntb(timer), count)
        if timer < 4:
            self.write(tcmpb(timer), compare)
        self.control(timer, UPDATE | bits & INVERT)
        self.control(timer, START | bits)

    def advance(self, duration: int) -> None:
        advance(self.clock, duration)

    def watch(self, timer: int) -> list[tuple[int, int]]:
        """Edges of an output: (time in ns, level)."""
        edges: list[tuple[int, int]] = []
        self.pwm.outputs[timer].connect(lambda level: edges.append((self.clock.now, level)))
        return edges


def test_registers_lie_where_the_manual_has_them() -> None:
    offsets = {name: register.offset for name, register in PwmTimers.registers.items()}
    assert offsets["TCNTB0"] == 0x0C
    assert offsets["TCNTO1"] == 0x20
    assert offsets["TCMPB2"] == 0x28
    assert offsets["TCNTO3"] == 0x38
    assert offsets["TCNTB4"] == 0x3C
    assert offsets["TCNTO4"] == 0x40
    assert len(offsets) == 17
    bench = Bench()
    assert {entry.value for entry in bench.pwm.dump()} == {0}


def test_control_fields_follow_the_gap_after_timer_0() -> None:
    tcon = PwmTimers.TCON
    assert tcon["T0_RELOAD"].mask == 1 << 3
    assert tcon["DEAD_ZONE"].mask == 1 << 4
    assert tcon["T1_START"].mask == 1 << 8
    assert tcon["T3_INVERT"].mask == 1 << 18
    assert tcon["T4_UPDATE"].mask == 1 << 21
    assert tcon["T4_RELOAD"].mask == 1 << 22


@pytest.mark.parametrize("timer", range(5))
def test_a_one_shot_counts_down_interrupts_once_and_stops_at_zero(timer: int) -> None:
    bench = Bench()
    bench.run(timer, 100, 0)
    assert bench.count(timer) == 100
    bench.advance(1_000)
    assert bench.count(timer) == 99
    bench.advance(98_999)
    assert bench.count(timer) == 1
    assert bench.interrupts == []
    bench.advance(1)
    assert bench.count(timer) == 0
    assert bench.interrupts == [(timer, 100_000)]
    bench.advance(SECOND)
    assert bench.count(timer) == 0
    assert len(bench.interrupts) == 1
    assert bench.clock.next_deadline() is None


@pytest.mark.parametrize("timer", range(5))
def test_auto_reload_has_a_period_of_the_buffer_plus_one(timer: int) -> None:
    bench = Bench()
    bench.run(timer, 9, RELOAD)
    bench.advance(9_000)
    assert bench.count(timer) == 0
    bench.advance(999)
    assert bench.count(timer) == 0
    bench.advance(1)
    assert bench.count(timer) == 9
    bench.advance(90_000)
    assert [when for _, when in bench.interrupts] == [9_000 + 10_000 * n for n in range(10)]
    assert bench.count(timer) == 9


def test_the_clocksource_of_linux_counts_at_1013_khz_without_drift() -> None:
    bench = Bench(pclk=50_625_000)
    bench.write(TCFG0, 24 << 8)
    bench.write(TCFG1, 0)
    bench.run(4, 0xFFFF, RELOAD)
    previous, total = 0, 0
    for _ in range(1000):
        bench.advance(10_000_001)
        count = ~bench.count(4) & 0xFFFF
        total += (count - previous) & 0xFFFF
        previous = count
    assert total == 10_000_001_000 * 1_012_500 // SECOND
    assert len(bench.interrupts) == (total + 1) // 0x10000


def test_the_count_never_runs_backwards_between_reads() -> None:
    bench = Bench(pclk=50_625_000)
    bench.write(TCFG0, 24 << 8)
    bench.run(4, 0xFFFF, RELOAD)
    source = SteppedInstructions()
    bench.clock.attach(source)
    start = bench.clock.now
    rng = random.Random(1)
    seen = 0
    for _ in range(3000):
        source.count += rng.randrange(20_000)
        if rng.random() < 0.5:
            bench.clock.run_due()
        expected = (bench.clock.now - start) * 1_012_500 // SECOND
        assert ~bench.count(4) & 0xFFFF == expected & 0xFFFF
        assert expected >= seen
        seen = expected


def test_linux_programs_the_next_event_again_and_again() -> None:
    bench = Bench()
    for delay in (1, 5, 700, 65_535):
        start = bench.clock.now
        bench.run(3, delay, 0)
        bench.advance(70_000_000)
        assert bench.interrupts.pop() == (3, start + delay * 1000)
        assert bench.interrupts == []


def test_reprogramming_before_the_end_moves_the_interrupt() -> None:
    bench = Bench()
    bench.run(3, 100, 0)
    bench.advance(50_000)
    bench.run(3, 100, 0)
    bench.advance(99_999)
    assert bench.interrupts == []
    bench.advance(1)
    assert bench.interrupts == [(3, 150_000)]


def test_a_stopped_timer_holds_its_count_and_goes_on_from_there() -> None:
    bench = Bench()
    bench.run(2, 100, 0)
    bench.advance(40_500)
    bench.control(2, 0)
    assert bench.count(2) == 60
    bench.advance(SECOND)
    assert bench.count(2) == 60
    assert bench.interrupts == []
    bench.control(2, START)
    assert bench.count(2) == 60
    bench.advance(60_000)
    assert bench.interrupts == [(2, 40_500 + SECOND + 60_000)]


def test_new_buffer_values_count_from_the_next_reload() -> None:
    # S3C2440A UM 10-4, figure 10-3: start with 150, write 100 and then 200 while it runs.
    bench = Bench()
    bench.run(0, 150, RELOAD)
    bench.write(tcntb(0), 100)
    assert bench.read(tcntb(0)) == 100
    assert bench.count(0) == 150
    bench.advance(151_000)
    assert bench.count(0) == 100
    bench.advance(101_000)
    assert bench.count(0) == 100
    bench.write(tcntb(0), 200)
    assert bench.count(0) == 100
    bench.advance(101_000)
    assert bench.count(0) == 200
    assert [when // 1000 for _, when in bench.interrupts] == [150, 251, 352]


def test_a_manual_update_loads_at_once_running_or_not() -> None:
    bench = Bench()
    bench.write(tcntb(1), 500)
    assert bench.count(1) == 0
    bench.control(1, UPDATE)
    assert bench.count(1) == 500
    bench.control(1, START)
    bench.advance(100_000)
    assert bench.count(1) == 400
    bench.write(tcntb(1), 300)
    bench.control(1, START | UPDATE)
    assert bench.count(1) == 300
    bench.advance(300_000)
    assert bench.interrupts == [(1, 400_000)]


def test_turning_auto_reload_off_ends_after_the_period() -> None:
    # What pwm-samsung's disable does.
    bench = Bench()
    bench.run(0, 9, RELOAD)
    bench.advance(25_000)
    bench.control(0, START)
    bench.advance(SECOND)
    assert bench.count(0) == 0
    assert [when // 1000 for _, when in bench.interrupts] == [9, 19, 29]
    assert bench.clock.next_deadline() is None


def test_a_finished_one_shot_stays_finished_when_another_timer_is_controlled() -> None:
    bench = Bench()
    bench.run(0, 10, 0)
    bench.advance(20_000)
    assert bench.read(TCON) == START
    bench.run(1, 10, 0)
    bench.advance(20_000)
    assert [timer for timer, _ in bench.interrupts] == [0, 1]


def test_a_finished_one_shot_stays_finished_when_its_own_inverter_is_turned() -> None:
    bench = Bench()
    bench.run(0, 10, 0)
    bench.advance(20_000)
    bench.control(0, START | INVERT)
    bench.advance(20_000)
    assert bench.count(0) == 0
    assert len(bench.interrupts) == 1


def test_controlling_one_timer_leaves_the_others_alone() -> None:
    bench = Bench()
    bench.run(4, 1000, RELOAD)
    bench.advance(500)
    for n in range(1, 10):
        bench.run(3, 50, 0)
        bench.advance(1000)
        assert bench.count(4) == 1000 - n


@pytest.mark.parametrize(
    ("timer", "tcfg0", "tcfg1", "frequency"),
    [
        (0, 0, 0, 4_000_000),
        (0, 0x00FF, 0, 15_625),
        (0, 0xFF00, 0x1, 2_000_000),
        (1, 0x0001, 0x20, 500_000),
        (2, 0x0300, 0x300, 125_000),
        (3, 0x00FF, 0x1000, 2_000_000),
        (4, 0x0100, 0x10000, 1_000_000),
    ],
)
def test_prescaler_and_divider_set_the_frequency(timer: int, tcfg0: int, tcfg1: int, frequency: int) -> None:
    bench = Bench(pclk=8_000_000)
    bench.write(TCFG0, tcfg0)
    bench.write(TCFG1, tcfg1)
    bench.run(timer, 10_000, 0)
    bench.advance(1000 * SECOND // frequency)
    assert bench.count(timer) == 9_000


def test_the_external_clock_pins_can_drive_timers() -> None:
    bench = Bench(tclk0=1_000, tclk1=0)
    bench.write(TCFG1, 0x44444)
    bench.run(1, 5, 0)
    bench.run(2, 5, 0)
    bench.advance(SECOND)
    assert bench.interrupts == [(1, 5_000_000)]
    assert bench.count(2) == 5
    bench.write(TCFG1, 0)
    bench.advance(5_000)
    assert bench.interrupts[1:] == [(2, SECOND + 5_000)]


def test_a_change_of_pclk_keeps_the_count_and_changes_the_pace() -> None:
    bench = Bench()
    bench.run(4, 1000, RELOAD)
    bench.advance(400_000)
    bench.clocks.pclk = 4_000_000
    for listener in bench.clocks.on_change:
        listener()
    assert bench.count(4) == 600
    bench.advance(300_000)
    assert bench.interrupts == [(4, 700_000)]
    bench.advance(500)
    assert bench.count(4) == 1000


def test_a_change_of_pclk_between_zero_and_reload_keeps_both() -> None:
    bench = Bench()
    bench.run(4, 10, RELOAD)
    bench.advance(10_200)
    bench.clocks.pclk = 200_000
    for listener in bench.clocks.on_change:
        listener()
    assert bench.count(4) == 0
    bench.advance(10_000)
    assert bench.count(4) == 10
    assert len(bench.interrupts) == 1


def test_a_zero_that_is_due_when_the_timer_is_stopped_still_interrupts() -> None:
    bench = Bench()
    bench.run(3, 10, 0)
    bench.clock.skip(10_000)
    bench.control(3, 0)
    assert bench.interrupts == [(3, 10_000)]
    bench.clock.run_due()
    assert len(bench.interrupts) == 1


def test_peeking_the_count_before_its_timer_is_called_shows_the_reloaded_value() -> None:
    bench = Bench()
    bench.run(4, 99, RELOAD)
    bench.clock.skip(250_000)
    assert bench.pwm.peek(tcnto(4), 4) == 49
    assert bench.interrupts == []
    bench.clock.run_due()
    assert bench.pwm.peek(tcnto(4), 4) == 49


@pytest.mark.parametrize(("count", "time"), [(1, 100_000), (0, 100_000_000)])
def test_a_period_shorter_than_any_handler_does_not_hold_up_the_machine(count: int, time: int) -> None:
    bench = Bench(pclk=50_000_000)
    bench.run(4, count, RELOAD)
    bench.advance(time)
    assert 90 <= len(bench.interrupts) <= 102
    assert bench.count(4) <= count


def test_starting_without_a_manual_update_loads_the_buffer() -> None:
    bench = Bench()
    bench.write(tcntb(0), 20)
    bench.control(0, START | RELOAD)
    assert bench.count(0) == 20
    bench.advance(20_000)
    assert bench.interrupts == [(0, 20_000)]


def test_dma_mode_turns_the_interrupt_into_a_dma_request() -> None:
    bench = Bench()
    requests: list[int] = []
    bench.dma.connect(lambda level: requests.append(level))
    bench.write(TCFG1, 2 << 20)
    bench.run(0, 10, 0)
    bench.run(1, 10, 0)
    bench.advance(10_000)
    assert bench.interrupts == [(0, 10_000)]
    assert requests == [1, 0]


# -- outputs ---------------------------------------------------------------------------------


def test_the_output_is_high_from_the_compare_value_to_zero() -> None:
    # S3C2440A UM 10, basic timer operation: low until the count is TCMPn, then high to the reload.
    bench = Bench()
    edges = bench.watch(0)
    bench.run(0, 159, RELOAD, compare=49)
    bench.advance(330_000)
    assert [(when // 1000, level) for when, level in edges] == [(110, 1), (160, 0), (270, 1), (320, 0)]


def test_the_inverter_turns_the_output_over() -> None:
    bench = Bench()
    edges = bench.watch(1)
    bench.run(1, 9, RELOAD | INVERT, compare=3)
    assert edges == [(0, 1)]
    bench.advance(20_500)
    assert [(when // 1000, level) for when, level in edges[1:]] == [(6, 0), (10, 1), (16, 0), (20, 1)]


def test_a_compare_value_above_the_count_gives_a_constant_output() -> None:
    # Linux' pwm-samsung asks for 100% with an inverted output and a compare value of -1.
    bench = Bench()
    edges = bench.watch(0)
    bench.run(0, 9, RELOAD | INVERT, compare=0xFFFF)
    bench.advance(100_000)
    assert edges == [(0, 1)]


def test_a_new_compare_value_takes_effect_with_the_reload() -> None:
    bench = Bench()
    edges = bench.watch(0)
    bench.run(0, 9, RELOAD, compare=4)
    bench.advance(1_000)
    bench.write(tcmpb(0), 1)
    bench.advance(19_500)
    assert [(when // 1000, level) for when, level in edges] == [(5, 1), (10, 0), (18, 1), (20, 0)]


def test_a_finished_one_shot_leaves_the_output_high() -> None:
    # S3C2440A UM 10, output level control: with auto-reload off TOUTn goes to high level at the end.
    bench = Bench()
    edges = bench.watch(0)
    bench.run(0, 9, 0, compare=4)
    bench.advance(SECOND)
    assert edges == [(5_000, 1)]


def test_an_output_without_listeners_costs_no_events_but_can_be_asked_for() -> None:
    bench = Bench()
    bench.run(0, 9, RELOAD, compare=4)
    deadlines = set()
    for _ in range(20):
        deadline = bench.clock.next_deadline()
        assert deadline is not None
        deadlines.add(deadline % 10_000)
        bench.clock.skip_to(deadline)
        bench.clock.run_due()
    assert deadlines == {9_000}
    assert bench.pwm.output(0) == 1
    bench.advance(1_000)
    assert bench.pwm.output(0) == 0


def test_the_dead_zone_separates_an_output_from_its_inverse() -> None:
    bench = Bench()
    out, inverse = bench.watch(0), bench.watch(1)
    bench.write(TCFG0, 2 << 16)
    bench.write(TCON, 1 << 4)
    bench.advance(10_000)
    assert inverse == [(2_000, 1)]
    bench.run(0, 19, RELOAD, compare=9)
    start = bench.clock.now
    out.clear()
    inverse.clear()
    bench.advance(40_000)
    relative = [((when - start) // 1000, level) for when, level in out]
    assert relative == [(12, 1), (20, 0), (32, 1), (40, 0)]
    relative = [((when - start) // 1000, level) for when, level in inverse]
    assert relative == [(10, 0), (22, 1), (30, 0)]


def test_a_pulse_shorter_than_the_dead_zone_does_not_come_through() -> None:
    bench = Bench()
    out, inverse = bench.watch(0), bench.watch(1)
    bench.write(TCFG0, 5 << 16)
    bench.write(TCON, 1 << 4)
    bench.run(0, 19, RELOAD, compare=2)
    bench.advance(60_000)
    assert out == []
    assert [(when // 1000, level) for when, level in inverse] == [
        (5, 1),
        (17, 0),
        (25, 1),
        (37, 0),
        (45, 1),
        (57, 0),
    ]


def test_without_the_dead_zone_timer_1_has_its_pin_back() -> None:
    bench = Bench()
    inverse = bench.watch(1)
    bench.write(TCON, 1 << 4)
    assert inverse == [(0, 1)]
    bench.write(TCON, 0)
    assert inverse == [(0, 1), (0, 0)]


# -- the whole block -------------------------------------------------------------------------


def test_reset_stops_everything() -> None:
    bench = Bench()
    edges = bench.watch(0)
    for timer in range(5):
        bench.run(timer, 50 + timer, RELOAD | INVERT if timer == 0 else RELOAD)
    bench.write(TCFG0, 0xFFFF)
    bench.pwm.reset()
    assert {entry.value for entry in bench.pwm.dump()} == {0}
    assert bench.clock.next_deadline() is None
    assert edges[-1][1] == 0
    bench.run(0, 10, 0)
    bench.advance(10_000)
    assert [timer for timer, _ in bench.interrupts] == [0]


def test_a_saved_state_continues_as_the_original_did() -> None:
    def prepared() -> tuple[Bench, list[tuple[int, int]]]:
        bench = Bench(pclk=50_625_000)
        return bench, bench.watch(0)

    first, first_edges = prepared()
    first.write(TCFG0, 2 << 16 | 24 << 8 | 7)
    first.write(TCON, 1 << 4)
    first.run(0, 300, RELOAD | INVERT, compare=77)
    first.run(3, 50_000, 0)
    first.run(4, 0xFFFF, RELOAD)
    first.advance(1_234_567)
    state, clock = first.pwm.save(), first.clock.save()

    second, second_edges = prepared()
    second.clock.load(clock)
    second.pwm.load(state)
    assert second.pwm.save() == state
    assert [line.level for line in second.pwm.outputs] == [line.level for line in first.pwm.outputs]
    first_edges.clear()
    second_edges.clear()
    first.interrupts.clear()
    second.interrupts.clear()
    for bench in (first, second):
        bench.advance(200_000_000)
    assert first_edges == second_edges != []
    assert first.interrupts == second.interrupts != []
    assert first.pwm.save() == second.pwm.save()


def test_a_clock_notice_that_changes_nothing_keeps_the_phase() -> None:
    bench = Bench()
    bench.run(0, 100, RELOAD)
    bench.advance(1_700)
    for listener in bench.clocks.on_change:
        listener()
    bench.advance(98_300)
    assert bench.interrupts == [(0, 100_000)]


def test_any_sequence_of_writes_is_survived() -> None:
    rng = random.Random(2440)
    bench = Bench(pclk=50_625_000, tclk0=1_000_000)
    for timer in range(4):
        bench.watch(timer)
    bus = Bus()
    bus.map(0x51000000, bench.pwm)
    for _ in range(3000):
        size = rng.choice((1, 2, 4))
        offset = rng.randrange(0x44 // size) * size
        bus.write(
            0x51000000 + offset, size, rng.choice((0, 1, rng.getrandbits(8 * size))) & (1 << 8 * size) - 1
        )
        bus.read(0x51000000 + offset, size)
        for timer in range(5):
            assert 0 <= bench.count(timer) <= 0xFFFF
        bench.advance(rng.randrange(20_000))
