"""The LCD controller, set up the way Linux's s3c2410fb.c does for the mini2440's 240x320 panel."""

import pytest

from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.lcd import LcdController

CON1, CON2, CON3, CON4, CON5, ADDR1, TPAL = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x50
INTPND, SRCPND, INTMSK, TCONSEL, PALETTE = 0x54, 0x58, 0x5C, 0x60, 0x400
LINES, LINE_CLOCKS, VCLK_DIVIDER = 2 + 4 + 320 + 4, 6 + 21 + 240 + 38, 2 * (7 + 1)
FRAME_NS = LINES * LINE_CLOCKS * VCLK_DIVIDER / 101.25e6 * 1e9
LINE_NS = FRAME_NS / LINES


class Rig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.clocks = FixedClocks()
        self.line = Line("INT_LCD")
        self.lcd = LcdController("lcd", clock=self.clock, clocks=self.clocks, interrupt=self.line)

    def activate(self) -> None:
        self.lcd.write(CON1, 4, 7 << 8 | 0x78)
        self.lcd.write(CON2, 4, 3 << 24 | 319 << 14 | 3 << 6 | 1)
        self.lcd.write(CON3, 4, 20 << 19 | 239 << 8 | 37)
        self.lcd.write(CON4, 4, 13 << 8 | 5)
        self.lcd.write(CON5, 4, 0xB48)
        self.lcd.write(ADDR1, 4, 0x18000000)
        self.lcd.write(CON1, 4, 7 << 8 | 0x79)

    def wait(self, ns: float) -> None:
        end = self.clock.now + int(ns)
        while (deadline := self.clock.next_deadline()) is not None and deadline <= end:
            self.clock.skip_to(deadline)
            self.clock.run_due()
        self.clock.skip_to(end)

    def lines_left(self) -> int:
        return self.lcd.read(CON1, 4) >> 18

    def vstatus(self) -> int:
        return self.lcd.read(CON5, 4) >> 15


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.activate()
    return rig


def test_reset_values_are_the_manuals() -> None:
    values = {v.register.name: v.value for v in Rig().lcd.dump() if v.value}
    assert values == {"LCDINTMSK": 3, "TCONSEL": 0xF84}


def test_the_controller_runs_without_timers_until_an_interrupt_is_wanted(rig: Rig) -> None:
    assert rig.clock.next_deadline() is None
    assert rig.lcd.frame_period() == pytest.approx(FRAME_NS, abs=2)


def test_the_line_counter_counts_the_visible_lines_down(rig: Rig) -> None:
    assert rig.lines_left() == 0, "vertical sync"
    rig.wait(LINE_NS * 6.5)
    assert rig.lines_left() == 319
    rig.wait(LINE_NS * 100)
    assert rig.lines_left() == 219
    rig.wait(FRAME_NS)
    assert rig.lines_left() == 219
    assert rig.lcd.read(CON1, 4) & 0x3FFFF == 7 << 8 | 0x79


def test_the_vertical_status_goes_through_its_four_parts(rig: Rig) -> None:
    seen = []
    for lines in (0.5, 3, 100, 223.7):
        rig.wait(LINE_NS * lines)
        seen.append(rig.vstatus())
    assert seen == [0, 1, 2, 3]


def test_the_horizontal_status_goes_through_its_four_parts(rig: Rig) -> None:
    seen = []
    for clocks in (1, 10, 100, 170):
        rig.wait(LINE_NS * clocks / LINE_CLOCKS)
        seen.append(rig.lcd.read(CON5, 4) >> 13 & 3)
    assert seen == [0, 1, 2, 3]


def test_nothing_moves_while_the_output_is_off(rig: Rig) -> None:
    rig.wait(LINE_NS * 50)
    rig.lcd.write(CON1, 4, 7 << 8 | 0x78)
    assert rig.lines_left() == 0
    assert rig.lcd.read(CON5, 4) == 0xB48


def test_frame_interrupts_come_at_the_frame_rate_while_unmasked(rig: Rig) -> None:
    rig.lcd.write(INTMSK, 4, 1)
    for _ in range(3):
        before = rig.clock.now
        rig.clock.skip_to(rig.clock.next_deadline() or 0)
        rig.clock.run_due()
        assert rig.clock.now - before == pytest.approx(FRAME_NS, abs=2)
        assert rig.line.level == 1
        assert rig.lcd.read(INTPND, 4) == 2
        rig.lcd.write(INTPND, 4, 2)
        rig.lcd.write(SRCPND, 4, 2)
        assert rig.line.level == 0
        assert rig.lcd.read(SRCPND, 4) == 0
    rig.lcd.write(INTMSK, 4, 3)
    assert rig.clock.next_deadline() is None


def test_a_change_of_hclk_changes_the_frame_rate(rig: Rig) -> None:
    rig.lcd.write(INTMSK, 4, 1)
    rig.clocks.hclk //= 2
    for listener in rig.clocks.on_change:
        listener()
    assert rig.clock.next_deadline() == pytest.approx(2 * FRAME_NS, abs=4)


def test_palette_entries_hold_16_bits_at_any_width(rig: Rig) -> None:
    for index in range(256):
        rig.lcd.write(PALETTE + 4 * index, 4, index * 257)
    assert [rig.lcd.read(PALETTE + 4 * i, 2) for i in range(256)] == [i * 257 for i in range(256)]
    rig.lcd.write(PALETTE + 4, 4, 0xFFFF1234)
    rig.lcd.write(PALETTE + 5, 1, 0xAB)
    assert rig.lcd.read(PALETTE + 4, 4) == 0xAB34
    assert rig.lcd.peek(PALETTE + 4, 1) == 0x34
    assert rig.lcd.read(PALETTE + 6, 2) == 0


def test_reset_turns_everything_off_but_keeps_the_palette(rig: Rig) -> None:
    rig.lcd.write(PALETTE, 4, 0x1234)
    rig.lcd.write(INTMSK, 4, 1)
    rig.wait(FRAME_NS + 10)
    rig.lcd.reset()
    assert rig.line.level == 0
    assert rig.clock.next_deadline() is None
    assert rig.lcd.read(CON1, 4) == 0
    assert rig.lcd.read(PALETTE, 4) == 0x1234


def test_the_position_survives_save_and_load(rig: Rig) -> None:
    rig.lcd.write(INTMSK, 4, 1)
    rig.wait(LINE_NS * 40.5)
    other = Rig()
    other.clock.load(rig.clock.save())
    other.lcd.load(rig.lcd.save())
    assert other.lines_left() == rig.lines_left()
    assert other.clock.next_deadline() == rig.clock.next_deadline()
