"""Pictures from frame memory, against the tables of S3C2440A UM chapter 15 done one pixel at a time."""

from collections.abc import Callable, Iterator
from random import Random

import pytest

from dbgemu.target.bus import Bus
from dbgemu.target.chips.lcd_panel import MODELS, LcdPanel
from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.memory import Memory
from dbgemu.target.mini2440 import Mini2440
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.gpio import Gpio
from dbgemu.target.s3c2440.lcd import LcdController

CON1, CON2, CON3, CON5, ADDR1, ADDR2, ADDR3 = 0x00, 0x04, 0x08, 0x10, 0x14, 0x18, 0x1C
REDLUT, GREENLUT, BLUELUT, TPAL, INTPND, SRCPND, INTMSK = 0x20, 0x24, 0x28, 0x50, 0x54, 0x58, 0x5C
PALETTE = 0x400
BASE, BSWP, HWSWP, FRM565, BPP24BL, INVVD = 0x30000000, 2, 1, 0x800, 0x1000, 0x80
PWREN, INVPWREN = 8, 0x20
TFT, STN4, STN8, DUAL = 3, 1, 2, 0
RED, GREEN, BLUE = 0x76543210, 0xFEDCBA98, 0xFC71

Colour = tuple[int, int, int]


class Rig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.bus = Bus()
        self.memory = Memory("ram", 16 << 20)
        self.bus.map(BASE, self.memory)
        self.line = Line("INT_LCD")
        self.lcd = LcdController(
            "lcd", clock=self.clock, clocks=FixedClocks(), interrupt=self.line, bus=self.bus
        )
        self.memory.data[: 1 << 20] = Random(1).randbytes(1 << 20)
        for index in range(256):
            self.lcd.write(PALETTE + 4 * index, 4, index * 40503 & 0xFFFF)
        for register, value in ((REDLUT, RED), (GREENLUT, GREEN), (BLUELUT, BLUE)):
            self.lcd.write(register, 4, value)

    def show(
        self,
        bpp_mode: int,
        panel: int,
        hozval: int,
        lines: int,
        *,
        con5: int = 0,
        page: int,
        offset: int = 0,
        address: int = BASE,
        lower: int = 0,
    ) -> None:
        self.lcd.write(CON1, 4, 0)
        self.lcd.write(CON2, 4, lines - 1 << 14)
        self.lcd.write(CON3, 4, hozval << 8)
        self.lcd.write(CON5, 4, con5)
        self.lcd.write(ADDR1, 4, address >> 22 << 21 | address >> 1 & 0x1FFFFF)
        self.lcd.write(ADDR2, 4, lower >> 1 & 0x1FFFFF)
        self.lcd.write(ADDR3, 4, offset << 11 | page)
        self.lcd.write(CON1, 4, panel << 5 | bpp_mode << 1 | 1)

    def pixels(self) -> list[list[Colour]]:
        frame = self.lcd.frame()
        assert frame is not None
        assert len(frame.rgb) == 3 * frame.width * frame.height
        flat = iter(frame.rgb)
        row = frame.width
        triples = list(zip(flat, flat, flat, strict=True))
        return [triples[row * n : row * n + row] for n in range(frame.height)]

    def bits(self, address: int, swap: int) -> Iterator[int]:
        """The bits from the half word at ``address`` on, in the order of the pixels."""
        skip = 8 * (address & 3)
        for start in range(address - BASE & ~3, self.memory.size, 4):
            word = int.from_bytes(self.memory.data[start : start + 4], "little")
            if swap & BSWP:
                word = int.from_bytes(word.to_bytes(4, "little"), "big")
            if swap & HWSWP:
                word = (word >> 16 | word << 16) & 0xFFFFFFFF
            for bit in range(31 - skip, -1, -1):
                yield word >> bit & 1
            skip = 0


@pytest.fixture
def rig() -> Rig:
    return Rig()


def take(bits: Iterator[int], count: int) -> int:
    value = 0
    for _ in range(count):
        value = value << 1 | next(bits)
    return value


def five_six_five(value: int) -> Colour:
    red, green, blue = value >> 11, value >> 5 & 63, value & 31
    return (red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2)


def five_five_five_one(value: int) -> Colour:
    sixes = [(value >> place & 31) << 1 | value & 1 for place in (11, 6, 1)]
    red, green, blue = (six << 2 | six >> 4 for six in sixes)
    return (red, green, blue)


def palette(index: int) -> Colour:
    return five_six_five(index * 40503 & 0xFFFF)


def grey(shade: int) -> Colour:
    return (17 * shade,) * 3


def nibble(word: int, index: int) -> int:
    return 17 * (word >> 4 * index & 15)


def three_three_two(value: int) -> Colour:
    return nibble(RED, value >> 5), nibble(GREEN, value >> 2 & 7), nibble(BLUE, value & 3)


def four_four_four(value: int) -> Colour:
    return nibble(value, 2), nibble(value, 1), nibble(value, 0)


def upper_fours(value: int) -> Colour:
    return nibble(value, 3), 17 * (value >> 7 & 15), 17 * (value >> 1 & 15)


#: BPPMODE, panel, HOZVAL, pixels of a line, bits of one, its colour
MODES: dict[str, tuple[int, int, int, int, int, Callable[[int], Colour]]] = {
    "TFT 1 bpp": (8, TFT, 46, 47, 1, palette),
    "TFT 2 bpp": (9, TFT, 46, 47, 2, palette),
    "TFT 4 bpp": (10, TFT, 46, 47, 4, palette),
    "TFT 8 bpp": (11, TFT, 46, 47, 8, palette),
    "TFT 16 bpp": (12, TFT, 46, 47, 16, five_six_five),
    "STN mono": (0, STN4, 11, 48, 1, lambda value: (255 * value,) * 3),
    "STN 4 greys": (1, STN8, 5, 48, 2, lambda value: (nibble(BLUE, value),) * 3),
    "STN 16 greys": (2, STN4, 11, 48, 4, grey),
    "STN 256 colours": (3, STN8, 17, 48, 8, three_three_two),
    "STN 4096 colours": (4, STN8, 17, 48, 12, four_four_four),
    "STN 4096 colours unpacked": (5, STN8, 17, 48, 16, four_four_four),
    "STN 4096 colours of 16 bits": (6, STN4, 35, 48, 16, upper_fours),
}


@pytest.mark.parametrize("swap", [0, HWSWP, BSWP, BSWP | HWSWP])
@pytest.mark.parametrize("address", [BASE + 0x1000, BASE + 0x1002])
@pytest.mark.parametrize("name", MODES)
def test_pixels_come_from_the_bits_that_the_manual_says(rig: Rig, name: str, address: int, swap: int) -> None:
    bpp_mode, panel, hozval, width, bits, colour = MODES[name]
    page, offset, lines = -(-width * bits // 16), 3, 5
    rig.show(bpp_mode, panel, hozval, lines, con5=FRM565 | swap, page=page, offset=offset, address=address)
    expected = []
    for line in range(lines):
        stream = rig.bits(address + 2 * (page + offset) * line, swap)
        expected.append([colour(take(stream, bits)) for _ in range(width)])
    assert rig.pixels() == expected


def test_the_lowest_bit_of_5551_belongs_to_all_colours(rig: Rig) -> None:
    rig.show(12, TFT, 7, 1, con5=HWSWP, page=8)
    stream = rig.bits(BASE, HWSWP)
    assert rig.pixels() == [[five_five_five_one(take(stream, 16)) for _ in range(8)]]
    rig.memory.data[:6] = bytes.fromhex("ffff 0000 0100")
    assert rig.pixels()[0][:3] == [(255, 255, 255), (0, 0, 0), (4, 4, 4)]


@pytest.mark.parametrize(("con5", "place"), [(0, 0), (BPP24BL, 8)])
def test_24_bits_are_the_lower_or_the_upper_bytes_of_a_word(rig: Rig, con5: int, place: int) -> None:
    rig.show(13, TFT, 2, 2, con5=con5, page=6)
    words = [int.from_bytes(rig.memory.data[4 * n : 4 * n + 4], "little") >> place for n in range(6)]
    colours = [(word >> 16 & 255, word >> 8 & 255, word & 255) for word in words]
    assert rig.pixels() == [colours[:3], colours[3:]]


def test_inverted_data_lines_invert_the_picture(rig: Rig) -> None:
    rig.show(12, TFT, 15, 2, con5=FRM565 | HWSWP, page=16)
    plain = rig.pixels()
    rig.show(12, TFT, 15, 2, con5=FRM565 | HWSWP | INVVD, page=16)
    assert rig.pixels() == [[(255 - r, 255 - g, 255 - b) for r, g, b in row] for row in plain]


def test_the_temporary_palette_hides_the_memory(rig: Rig) -> None:
    rig.show(12, TFT, 15, 2, con5=FRM565, page=16)
    rig.lcd.write(TPAL, 4, 1 << 24 | 0x123456)
    assert rig.pixels() == [[(0x12, 0x34, 0x56)] * 16] * 2
    rig.lcd.write(TPAL, 4, 0x123456)
    assert rig.pixels()[0] != [(0x12, 0x34, 0x56)] * 16


def test_a_view_port_is_cut_from_a_virtual_screen_that_moves(rig: Rig) -> None:
    rig.show(12, TFT, 99, 50, con5=FRM565 | HWSWP, page=100)
    whole = rig.pixels()
    rig.show(12, TFT, 9, 5, con5=FRM565 | HWSWP, page=10, offset=90, address=BASE + 2 * (7 * 100 + 20))
    assert rig.pixels() == [row[20:30] for row in whole[7:12]]


def test_a_dual_scan_panel_takes_its_halves_from_two_places(rig: Rig) -> None:
    rig.show(2, DUAL, 3, 4, page=4, lower=BASE + 0x4000)
    rows = rig.pixels()
    assert len(rows) == 8
    for first, address in ((0, BASE), (4, BASE + 0x4000)):
        for line in range(4):
            stream = rig.bits(address + 8 * line, 0)
            assert rows[first + line] == [grey(take(stream, 4)) for _ in range(16)]


def test_the_address_counter_wraps_within_its_bank_of_4_mib(rig: Rig) -> None:
    rig.show(11, TFT, 15, 2, con5=FRM565 | BSWP, page=8, address=BASE + (4 << 20) - 16)
    rig.memory.data[(4 << 20) - 16 : (4 << 20) + 16] = bytes(range(16)) + b"\xff" * 16
    assert rig.pixels() == [
        [palette(n) for n in range(16)],
        [palette(value) for value in bytes(rig.memory.data[:16])],
    ]


def test_frame_memory_where_nothing_is_gives_black(rig: Rig) -> None:
    rig.show(12, TFT, 3, 2, con5=FRM565, page=4, address=0x60000000)
    assert rig.pixels() == [[(0, 0, 0)] * 4] * 2


def test_there_is_no_picture_while_the_output_is_off_or_the_mode_is_reserved(rig: Rig) -> None:
    assert rig.lcd.frame() is None
    assert rig.lcd.why_dark() == "the LCD controller is off: ENVID in LCDCON1 is 0"
    rig.show(15, TFT, 3, 2, page=4)
    assert rig.lcd.frame() is None
    assert rig.lcd.why_dark() == "BPPMODE in LCDCON1 is 15, a reserved value"


def test_a_panel_shows_what_fits_and_black_beside_it(rig: Rig) -> None:
    rig.show(12, TFT, 299, 300, con5=FRM565 | HWSWP, page=300)
    whole = rig.pixels()
    rig.lcd.panel = LcdPanel(MODELS["t35"], light=Gpio().pin("GPG4"))
    rows = rig.pixels()
    assert (len(rows), len(rows[0])) == (320, 240)
    assert rows[:300] == [row[:240] for row in whole]
    assert rows[300:] == [[(0, 0, 0)] * 240] * 20


def test_the_fifo_interrupt_comes_once_a_visible_line(rig: Rig) -> None:
    rig.show(12, TFT, 15, 4, con5=FRM565, page=16)
    rig.lcd.write(CON2, 4, 1 << 24 | 3 << 14 | 2 << 6 | 0)
    rig.lcd.write(INTMSK, 4, 2)
    line = rig.lcd.frame_period() / 10
    times = []
    for _ in range(9):
        rig.clock.skip_to(rig.clock.next_deadline() or 0)
        rig.clock.run_due()
        assert rig.line.level == 1
        assert rig.lcd.read(INTPND, 4) == rig.lcd.read(SRCPND, 4) == 1
        rig.lcd.write(INTPND, 4, 1)
        rig.lcd.write(SRCPND, 4, 1)
        times.append(round(rig.clock.now / line))
    assert times == [3, 4, 5, 6, 13, 14, 15, 16, 23]


def test_the_power_output_follows_the_video_output_while_it_is_enabled(rig: Rig) -> None:
    levels = []
    for con1, con5 in ((0, 0), (1, 0), (0, PWREN), (1, PWREN), (1, PWREN | INVPWREN), (0, INVPWREN)):
        rig.lcd.write(CON5, 4, con5)
        rig.lcd.write(CON1, 4, con1)
        levels.append(rig.lcd.power_enable.level)
    assert levels == [0, 0, 0, 1, 0, 1]


def test_the_backlight_hangs_on_gpg4_as_output_or_as_lcd_power_output() -> None:
    board = Mini2440()
    panel = board.lcd.panel
    assert panel is not None
    assert panel.lit, "the pull-up of a pin that is an input after reset"
    con, dat = 0x60, 0x64
    board.gpio.write(con, 4, 1 << 8)
    assert not panel.lit
    board.gpio.write(dat, 4, 1 << 4)
    assert panel.lit
    board.gpio.write(con, 4, 3 << 8)
    assert not panel.lit
    board.lcd.write(CON5, 4, PWREN)
    board.lcd.write(CON1, 4, 0x79)
    assert panel.lit
    copy = Mini2440()
    copy.clock.load(board.clock.save())
    copy.load(board.save())
    assert copy.lcd.panel is not None
    assert copy.lcd.panel.lit
