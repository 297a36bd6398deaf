"""The A/D converter, used the way Linux's mach-s3c/adc.c and s3c2410_ts.c do."""

import pytest

from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.adc import Adc
from dbgemu.target.s3c2440.clocks import FixedClocks

CON, TSC, DLY, DAT0, DAT1, UPDN = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14
PRESCALER = 1 << 14 | 49 << 6
FINISHED, START, READ_START = 1 << 15, 1, 2
WAIT_DOWN, WAIT_UP, AUTO = 0x0D3, 0x1D3, 0x00C


class Rig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.done, self.moved = Line("INT_ADC_S"), Line("INT_TC")
        self.conversions = self.movements = 0
        self.done.connect(self._count_conversion)
        self.moved.connect(self._count_movement)
        self.adc = Adc(
            "adc",
            clock=self.clock,
            clocks=FixedClocks(),
            conversion_done=self.done,
            pen_moved=self.moved,
        )

    def _count_conversion(self, level: int) -> None:
        self.conversions += level

    def _count_movement(self, level: int) -> None:
        self.movements += level

    def run(self) -> int:
        before = self.clock.now
        deadline = self.clock.next_deadline()
        assert deadline is not None, "no conversion is under way"
        self.clock.skip_to(deadline)
        self.clock.run_due()
        return self.clock.now - before

    def convert(self, channel: int) -> int:
        self.adc.write(CON, 4, PRESCALER | channel << 3)
        self.adc.write(CON, 4, self.adc.read(CON, 4) | START)
        return self.run()


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.adc.write(TSC, 4, 0)
    rig.adc.write(CON, 4, PRESCALER)
    return rig


def test_reset_values_are_the_manuals() -> None:
    adc = Rig().adc
    assert [adc.read(register, 4) for register in (CON, TSC, DLY, UPDN)] == [0x3FC4, 0x58, 0xFF, 0]
    assert adc.read(DAT0, 4) & adc.read(DAT1, 4) & 0x8000, "the pen is up"


def test_a_conversion_gives_the_chosen_input_and_interrupts_once(rig: Rig) -> None:
    rig.adc.inputs[:] = [100 * i for i in range(8)]
    for channel in (0, 2, 7):
        rig.convert(channel)
        assert rig.adc.read(DAT0, 4) & 0x3FF == 100 * channel
    assert rig.conversions == 3
    assert rig.done.level == 0


def test_a_conversion_takes_five_clocks_after_the_delay(rig: Rig) -> None:
    expected = 5 * 50 / 50.625e6 * 1e9 + 255 / 12e6 * 1e9
    assert rig.convert(0) == pytest.approx(expected, abs=3)


def test_the_finished_flag_falls_at_the_start_and_rises_at_the_end(rig: Rig) -> None:
    rig.convert(0)
    assert rig.adc.read(CON, 4) & (FINISHED | START) == FINISHED
    rig.adc.write(CON, 4, PRESCALER | START)
    assert rig.adc.read(CON, 4) & (FINISHED | START) == 0
    rig.run()
    assert rig.adc.read(CON, 4) & FINISHED


def test_in_standby_nothing_is_converted(rig: Rig) -> None:
    rig.adc.write(CON, 4, PRESCALER | 4 | START)
    assert rig.clock.next_deadline() is None


def test_reading_starts_the_next_conversion_where_enabled_but_peeking_does_not(rig: Rig) -> None:
    rig.adc.write(CON, 4, PRESCALER | READ_START)
    rig.adc.peek(DAT0, 4)
    assert rig.clock.next_deadline() is None
    rig.adc.read(DAT0, 4)
    rig.run()
    assert rig.conversions == 1


def test_the_pen_going_down_interrupts_who_waits_for_it(rig: Rig) -> None:
    rig.adc.touch(300, 700)
    assert rig.movements == 0
    rig.adc.release()
    rig.adc.write(TSC, 4, WAIT_DOWN)
    assert rig.movements == 0, "the pen is up"
    rig.adc.touch(300, 700)
    assert rig.movements == 1
    assert rig.adc.read(UPDN, 4) == 1
    assert not rig.adc.read(DAT0, 4) & 0x8000
    rig.adc.touch(310, 700)
    assert rig.movements == 1, "a move is no new touch"


def test_both_coordinates_come_from_one_automatic_measurement(rig: Rig) -> None:
    rig.adc.touch(300, 700)
    rig.adc.write(TSC, 4, AUTO)
    rig.convert(0)
    assert (rig.adc.read(DAT0, 4), rig.adc.read(DAT1, 4)) == (0x4000 | 300, 0x4000 | 700)
    assert rig.conversions == 1


def test_coordinates_can_be_measured_one_by_one(rig: Rig) -> None:
    rig.adc.touch(1, 2)
    rig.adc.write(TSC, 4, 1)
    rig.convert(0)
    rig.adc.write(TSC, 4, 2)
    rig.convert(0)
    assert (rig.adc.read(DAT0, 4) & 0x3FF, rig.adc.read(DAT1, 4) & 0x3FF) == (1, 2)


def test_the_pen_going_up_interrupts_who_waits_for_that(rig: Rig) -> None:
    rig.adc.touch(300, 700)
    rig.adc.write(TSC, 4, WAIT_UP)
    assert rig.movements == 0
    rig.adc.release()
    assert rig.movements == 1
    assert rig.adc.read(UPDN, 4) == 2
    assert rig.adc.read(DAT0, 4) & 0x8000


def test_a_pen_that_went_up_before_somebody_waits_is_not_missed(rig: Rig) -> None:
    rig.adc.write(TSC, 4, WAIT_UP)
    assert rig.movements == 1


def test_a_conversion_under_way_survives_save_and_load(rig: Rig) -> None:
    rig.adc.inputs[0] = 77
    rig.adc.write(CON, 4, PRESCALER | START)
    other = Rig()
    other.adc.load(rig.adc.save())
    other.run()
    assert other.adc.read(DAT0, 4) & 0x3FF == 77
    assert other.conversions == 1
