"""Virtual time and its timers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns, ns_to_cycles


class Instructions:
    """A source whose count a test sets."""

    def __init__(self) -> None:
        self.count = 0
        self.changes = 0

    def instruction_count(self) -> int:
        return self.count

    def deadline_changed(self) -> None:
        self.changes += 1


def driven(period_ps: int = 2500) -> tuple[VirtualClock, Instructions]:
    clock, source = VirtualClock(period_ps), Instructions()
    clock.attach(source)
    return clock, source


def test_time_is_instructions_times_the_period_plus_what_was_skipped() -> None:
    clock, source = driven(2500)
    source.count = 1000
    assert clock.now == 2500
    clock.skip(100)
    assert clock.now == 2600
    clock.skip_to(3000)
    assert clock.now == 3000
    clock.skip_to(10)
    assert (clock.now, clock.skipped) == (3000, 500)


def test_time_does_not_go_back() -> None:
    clock, _ = driven()
    with pytest.raises(ValueError, match="skipped by -1 ns: it only moves forward"):
        clock.skip(-1)


def test_timers_fire_in_order_of_deadline_then_of_arming() -> None:
    clock, source = driven(1000)
    fired: list[str] = []
    for name, deadline in (("late", 20), ("first", 10), ("second", 10), ("never", 30)):
        Timer(clock, lambda name=name: fired.append(name)).start_at(deadline)  # type: ignore[misc]
    source.count = 20
    clock.run_due()
    assert fired == ["first", "second", "late"]
    assert clock.next_deadline() == 30


def test_a_timer_that_is_armed_again_fires_once() -> None:
    clock, source = driven(1000)
    fired: list[int] = []
    timer = Timer(clock, lambda: fired.append(clock.now))
    timer.start_at(10)
    timer.start_at(20)
    source.count = 15
    clock.run_due()
    assert fired == []
    source.count = 20
    clock.run_due()
    clock.run_due()
    assert fired == [20]
    assert timer.deadline is None


def test_a_cancelled_timer_does_not_fire() -> None:
    clock, source = driven(1000)
    timer = Timer(clock, lambda: pytest.fail("it fired"))
    timer.start_in(10)
    timer.cancel()
    source.count = 50
    clock.run_due()
    assert clock.next_deadline() is None


def test_a_timer_may_arm_itself_again_in_its_callback() -> None:
    clock, source = driven(1000)
    fired: list[int] = []

    def tick() -> None:
        fired.append(clock.now)
        if len(fired) < 3:
            timer.start_in(0)

    timer = Timer(clock, tick)
    timer.start_in(5)
    source.count = 5
    clock.run_due()
    assert fired == [5, 5, 5]


def test_the_source_hears_only_of_an_earlier_deadline_or_skipped_time() -> None:
    clock, source = driven()
    timer = Timer(clock, lambda: None)
    timer.start_at(100)
    assert source.changes == 1
    Timer(clock, lambda: None).start_at(200)
    assert source.changes == 1
    Timer(clock, lambda: None).start_at(50)
    clock.skip(1)
    assert source.changes == 3


@given(
    period=st.integers(1, 10_000_000),
    executed=st.integers(0, 10**9),
    skipped=st.integers(0, 10**12),
    ahead=st.integers(0, 10**9),
)
def test_a_deadline_is_reached_at_the_first_instruction_possible(
    period: int, executed: int, skipped: int, ahead: int
) -> None:
    clock, source = driven(period)
    source.count = executed
    clock.skip(skipped)
    deadline = clock.now + ahead
    needed = clock.instructions_until(deadline)
    source.count += needed
    assert clock.now >= deadline
    if needed:
        source.count -= 1
        assert clock.now < deadline


def test_what_was_saved_comes_back() -> None:
    clock, _ = driven(2500)
    clock.skip(123)
    other, _ = driven(1000)
    other.load(clock.save())
    assert (other.period_ps, other.skipped) == (2500, 123)


@given(cycles=st.integers(0, 10**12), frequency=st.integers(1, 10**9))
def test_cycles_last_long_enough(cycles: int, frequency: int) -> None:
    duration = cycles_to_ns(cycles, frequency)
    assert ns_to_cycles(duration, frequency) >= cycles
    assert cycles == 0 or ns_to_cycles(duration - 1, frequency) < cycles
