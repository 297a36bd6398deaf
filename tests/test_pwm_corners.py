"""PwmTimers where nobody waits: fast timers that make no events, and the same as those that make them."""

from __future__ import annotations

import random

import pytest
from bare_metal import BareMetal
from virtual_time import advance

from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.mini2440 import Mini2440
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.pwm import PwmTimers

TCFG0, TCFG1, TCON = 0x00, 0x04, 0x08
START, UPDATE, INVERT, RELOAD = 1, 2, 4, 8
SHIFT = (0, 8, 12, 16, 20)
#: long against the periods here
LATER = 3_000_000_017


def tcntb(timer: int) -> int:
    return 0x0C + 12 * timer


def tcmpb(timer: int) -> int:
    return 0x10 + 12 * timer


class Latched:
    """The timers at 1 us a tick, their requests latched as SRCPND does; ``lazy``: and they are told so."""

    def __init__(self, *, lazy: bool = True, pclk: int = 2_000_000) -> None:
        self.clock = VirtualClock()
        self.pending = [False] * 5
        #: when each of the timers asked while its request was not pending
        self.asked: list[tuple[int, int]] = []
        lines = [Line(f"INT_TIMER{timer}") for timer in range(5)]
        for timer, line in enumerate(lines):
            line.connect(lambda level, timer=timer: self._latch(timer, level))
        self.dma = Line("DMA")
        self.dma_requests: list[int] = []
        self.dma.connect(lambda level: self.dma_requests.append(self.clock.now) if level else None)
        told = {"pending": lambda timer: self.pending[timer]} if lazy else {}
        self.pwm = PwmTimers(
            clock=self.clock,
            clocks=FixedClocks(pclk=pclk),
            interrupts=lines,
            dma_request=self.dma,
            **told,
        )

    def _latch(self, timer: int, level: int) -> None:
        if level and not self.pending[timer]:
            self.pending[timer] = True
            self.asked.append((timer, self.clock.now))

    def clear(self, timer: int) -> None:
        self.pending[timer] = False
        self.pwm.cleared(timer)

    def write(self, offset: int, value: int) -> None:
        self.pwm.write(offset, 4, value)

    def control(self, timer: int, bits: int) -> None:
        if timer == 4:
            bits = bits & 3 | (4 if bits & RELOAD else 0)
        self.write(TCON, self.pwm.read(TCON, 4) & ~(0xF << SHIFT[timer]) | bits << SHIFT[timer])

    def run(self, timer: int, count: int, bits: int, compare: int = 0) -> None:
        self.write(tcntb(timer), count)
        if timer < 4:
            self.write(tcmpb(timer), compare)
        self.control(timer, UPDATE | bits & INVERT)
        self.control(timer, START | bits)

    def count(self, timer: int) -> int:
        return self.pwm.read(0x40 if timer == 4 else 0x14 + 12 * timer, 4)

    def levels(self) -> list[int]:
        return [self.pwm.output(timer) for timer in range(4)]

    def advance(self, duration: int) -> None:
        advance(self.clock, duration)


@pytest.mark.parametrize("timer", range(5))
@pytest.mark.parametrize("count", [0, 1, 4, 500])
def test_a_fast_timer_asks_once_and_then_runs_on_without_events(timer: int, count: int) -> None:
    bench = Latched(pclk=50_000_000)
    bench.run(timer, count, RELOAD)
    bench.advance(2_000_000)
    assert [who for who, _ in bench.asked] == [timer]
    assert bench.clock.next_deadline() is None
    bench.clock.skip(LATER)
    assert 0 <= bench.count(timer) <= count


def test_a_timer_without_events_counts_on_through_its_reloads() -> None:
    bench = Latched()
    bench.run(2, 99, RELOAD)
    bench.advance(150_000)
    assert bench.clock.next_deadline() is None
    # the zero at 99 us, the reload at 100 us, and so on every 100 us
    for now, count in ((299_000, 0), (299_999, 0), (300_000, 99), (350_000, 49), (1_000_000_000_000, 99)):
        bench.clock.skip_to(now)
        assert bench.count(2) == count


def test_a_cleared_request_comes_again_at_the_next_zero() -> None:
    bench = Latched()
    bench.run(1, 99, RELOAD)
    bench.advance(1_000_500_000)
    assert bench.asked == [(1, 99_000)]
    bench.clear(1)
    assert bench.clock.next_deadline() == 1_000_599_000
    bench.advance(99_000)
    assert bench.asked[1:] == [(1, 1_000_599_000)]
    assert bench.clock.next_deadline() is None


def test_clearing_at_once_gives_every_zero() -> None:
    bench = Latched()
    bench.run(0, 9, RELOAD)
    times = []
    for _ in range(50):
        bench.advance(10_000)
        times += [time for _, time in bench.asked]
        bench.asked.clear()
        bench.clear(0)
    assert times == list(range(9_000, 500_000, 10_000))


def test_buffers_written_meanwhile_are_taken_at_the_next_reload() -> None:
    bench = Latched()
    bench.run(3, 99, RELOAD, compare=49)
    bench.advance(1_000_020_000)
    bench.write(tcntb(3), 9)
    bench.write(tcmpb(3), 4)
    assert bench.count(3) == 79
    bench.clock.skip_to(1_000_080_000)
    assert (bench.count(3), bench.pwm.output(3)) == (19, 1)
    bench.clock.skip_to(1_000_100_000)
    assert (bench.count(3), bench.pwm.output(3)) == (9, 0)
    bench.clock.skip_to(1_000_105_000)
    assert (bench.count(3), bench.pwm.output(3)) == (4, 1)


def test_a_manual_update_meanwhile_begins_a_period() -> None:
    bench = Latched()
    bench.run(0, 99, RELOAD)
    bench.advance(1_000_020_000)
    bench.write(tcntb(0), 49)
    bench.control(0, START | RELOAD | UPDATE)
    assert bench.count(0) == 49
    bench.clear(0)
    bench.advance(50_000)
    assert bench.asked[-1] == (0, 1_000_069_000)


def test_without_auto_reload_the_last_period_ends_with_an_interrupt() -> None:
    bench = Latched()
    bench.run(4, 99, RELOAD)
    bench.advance(1_000_020_000)
    bench.control(4, START)
    bench.clear(4)
    bench.advance(LATER)
    assert bench.asked == [(4, 99_000), (4, 1_000_099_000)]
    assert bench.count(4) == 0
    assert not bench.pwm.channels[4].running


def test_a_change_of_clock_meanwhile_keeps_the_count() -> None:
    bench = Latched()
    bench.run(0, 99, RELOAD)
    bench.advance(1_000_020_000)
    bench.write(TCFG0, 1)
    assert bench.count(0) == 79
    bench.clock.skip(2_000)
    assert bench.count(0) == 78


def test_who_begins_to_look_at_an_output_sees_its_edges_at_their_times() -> None:
    bench = Latched()
    bench.run(0, 9, RELOAD, compare=3)
    bench.advance(1_000_001_000)
    edges: list[tuple[int, int]] = []
    bench.pwm.outputs[0].connect(lambda level: edges.append((bench.clock.now - 1_000_000_000, level)))
    bench.pwm.channels[0].refresh_output()
    bench.advance(20_000)
    assert edges == [(6_000, 1), (10_000, 0), (16_000, 1), (20_000, 0)]


def test_a_timer_in_dma_mode_asks_at_every_zero_whatever_is_pending() -> None:
    bench = Latched()
    bench.run(2, 9, RELOAD)
    bench.advance(1_000_001_000)
    bench.write(TCFG1, 3 << 20)
    bench.advance(50_000)
    assert bench.dma_requests == list(range(1_000_009_000, 1_000_051_000, 10_000))
    bench.write(TCFG1, 0)
    bench.advance(LATER)
    assert len(bench.dma_requests) == 5
    assert bench.asked == [(2, 9_000)]


def test_timers_that_ask_only_when_it_matters_behave_as_those_that_always_do() -> None:
    rng = random.Random(10)
    lazy, eager = Latched(), Latched(lazy=False)
    for turn in range(4000):
        timer = rng.randrange(5)
        bits = rng.choice((START | RELOAD, START | RELOAD, START | UPDATE | RELOAD, START, 0, INVERT))
        method, *arguments = rng.choice(
            (
                ("write", tcntb(timer), rng.randrange(1, 60)),
                ("write", tcmpb(timer % 4), rng.randrange(70)),
                ("control", timer, bits),
                ("write", TCFG0, rng.randrange(4) * 0x101),
                ("write", TCFG1, rng.choice((0, 0, timer + 1)) << 20),
                ("clear", timer),
            )
        )
        step = rng.choice((0, 1, 700, 1_000, 33_333, 250_000))
        for bench in (lazy, eager):
            getattr(bench, method)(*arguments)
            bench.advance(step)
        assert lazy.asked == eager.asked, turn
        assert lazy.dma_requests == eager.dma_requests, turn
        assert [lazy.count(n) for n in range(5)] == [eager.count(n) for n in range(5)], turn
        assert lazy.levels() == eager.levels(), turn
    assert len(lazy.asked) > 300
    assert len(lazy.dma_requests) > 300


def test_a_state_saved_between_events_is_the_same_whoever_looked_before() -> None:
    first, second = Latched(), Latched()
    for bench in (first, second):
        bench.run(2, 99, RELOAD, compare=10)
        bench.advance(1_000_020_000)
    first.count(2)
    first.pwm.output(2)
    list(first.pwm.facts())
    first.clock.skip(12_345_678)
    second.clock.skip(12_345_678)
    assert first.pwm.save() == second.pwm.save()
    third = Latched()
    third.clock.load(first.clock.save())
    third.pending[2] = True
    third.pwm.load(first.pwm.save())
    assert third.count(2) == first.count(2)
    assert third.clock.next_deadline() is None
    third.clear(2)
    first.clear(2)
    assert third.clock.next_deadline() == first.clock.next_deadline() is not None


# -- on the board --------------------------------------------------------------------------------

_FAST_TIMER = """
    ldr r0, =0x51000000
    mov r1, #0
    str r1, [r0, #0x00]         @ TCFG0: no prescaler
    str r1, [r0, #0x04]         @ TCFG1: PCLK / 2
    mov r1, #COUNT
    str r1, [r0, #0x0c]         @ TCNTB0
    mov r1, #2
    str r1, [r0, #0x08]         @ TCON: manual update
    mov r1, #9
    str r1, [r0, #0x08]         @ start, auto-reload
"""


def _events_of(board: Mini2440) -> list[int]:
    """What grows by one each time a timer of the board is armed."""
    armed: list[int] = []
    clock = board.pwm.channels[0].clock
    arm = clock.arm

    def note(timer: object, deadline: int) -> None:
        armed.append(deadline)
        arm(timer, deadline)  # type: ignore[arg-type]

    clock.arm = note  # type: ignore[method-assign]
    return armed


@pytest.mark.parametrize("count", [0, 1])
def test_a_program_goes_on_beside_a_timer_with_the_shortest_periods(count: int) -> None:
    guest = BareMetal(
        _FAST_TIMER.replace("COUNT", str(count))
        + """
    ldr r2, =2000000
loop:
    subs r2, r2, #1
    bne loop
    ldr r3, [r0, #0x14]         @ TCNTO0
    """
    )
    armed = _events_of(guest.board)
    guest.run()
    assert len(armed) < 20, "4 million instructions are 10 ms"
    assert guest.machine.cpu.read_register("r3") <= count
    assert guest.board.intc.SRCPND >> 10 & 1


def test_a_program_that_clears_the_request_of_the_fastest_timer_sees_it_again_and_again() -> None:
    guest = BareMetal(
        _FAST_TIMER.replace("COUNT", "1")
        + """
    ldr r4, =0x4a000000
    mov r5, #0x400              @ INT_TIMER0
    ldr r6, =1000
    mov r7, #0
again:
    str r5, [r4]                @ SRCPND
wait:
    add r7, r7, #1
    ldr r1, [r4]
    tst r1, r5
    beq wait
    subs r6, r6, #1
    bne again
    """
    )
    guest.run()
    assert 1000 <= guest.machine.cpu.read_register("r7") < 1_000_000


@pytest.mark.parametrize("value", [1 << 10, 0xFFFF_FFFF])
def test_clearing_srcpnd_wakes_a_timer_that_waits_for_it_also_after_a_snapshot(value: int) -> None:
    first, second = Mini2440(), Mini2440()
    for offset, count in ((0x0C, 99), (TCON, 2), (TCON, 9)):
        first.bus.write(0x51000000 + offset, 4, count)
    advance(first.clock, 1_000_000)
    second.clock.load(first.clock.save())
    second.load(first.save())
    for board in (first, second):
        assert board.intc.SRCPND >> 10 & 1
        board.bus.write(0x4A000000, 4, value)
        assert not board.intc.SRCPND >> 10 & 1
        advance(board.clock, 100_000)
        assert board.intc.SRCPND >> 10 & 1


def test_a_timer_paces_a_dma_channel() -> None:
    guest = BareMetal("")
    board = guest.board
    board.bus.poke(0x30100000, bytes(range(64)))
    for offset, value in (
        (0x00, 0x30100000),  # DISRC0, counting up
        (0x04, 0),
        (0x08, 0x30200000),  # DIDST0
        (0x0C, 0),
        (0x10, 0xA3C00000 | 64),  # DCON0: handshake, interrupt, timer's requests, bytes, no reload
        (0x20, 2),  # DMASKTRIG0: on
    ):
        board.bus.write(0x4B000000 + offset, 4, value)
    for offset, value in ((TCFG0, 0), (TCFG1, 1 << 20), (0x0C, 999), (TCON, 2), (TCON, 9)):
        board.bus.write(0x51000000 + offset, 4, value)
    period = 1000 * 2 * 1_000_000_000 // board.clkpwr.pclk
    advance(board.clock, 10 * period + period // 2)
    assert board.bus.peek(0x30200000, 64) == bytes(range(10)) + bytes(54)
    assert board.bus.read(0x4B000014, 4) & 0xFFFFF == 54, "DSTAT0: to go"
    assert not board.intc.SRCPND >> 10 & 1, "no interrupt of the timer's"
    advance(board.clock, 60 * period)
    assert board.bus.peek(0x30200000, 64) == bytes(range(64))
    assert board.intc.SRCPND >> 17 & 1, "INT_DMA0"
