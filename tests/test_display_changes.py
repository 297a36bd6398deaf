"""What is looked at, converted, encoded and drawn when only a part of the screen has changed."""

import struct
import zlib
from random import Random

import numpy as np
import pytest
from virtual_time import advance

from dbgemu.host.display import rfb
from dbgemu.host.display.feed import RATE, SHARE, Pace, Rest, Watcher
from dbgemu.target.mini2440 import SDRAM_BASE, Mini2440
from dbgemu.target.s3c2440.lcd_frame import Pixels, render
from dbgemu.target.s3c2440.lcd_scan import MODES, fetch

TFT, STN4, DUAL = 3, 1, 0
#: BPPMODE, panel, half words of a line, HOZVAL
FORMATS = [
    (8, TFT, 4, 60),
    (9, TFT, 8, 60),
    (10, TFT, 16, 60),
    (11, TFT, 32, 60),
    (12, TFT, 62, 60),
    (13, TFT, 126, 60),
    (12, TFT, 32, 63),  # lines that overlap
    (0, STN4, 4, 14),
    (1, STN4, 8, 14),
    (2, STN4, 16, 14),
    (3, STN4, 12, 14),
    (4, STN4, 16, 14),
    (5, STN4, 20, 14),
    (6, STN4, 20, 14),
    (2, DUAL, 16, 14),
]
LINES = 9


class Screen:
    """A board whose screen is set up, and a watcher of it."""

    def __init__(
        self, mode: int, panel: int, page: int, hozval: int, *, start: int = 0, con5: int = 0, offset: int = 0
    ) -> None:
        board = Mini2440()
        self.memory, self.lcd = board.sdram.data, board.lcd
        self.memory[:8192] = Random(mode).randbytes(8192)
        lower = start + 4096
        for register, value in (
            *((0x400 + 4 * index, index * 40503 & 0xFFFF) for index in range(256)),
            (0x04, LINES - 1 << 14),
            (0x08, hozval << 8),
            (0x10, con5),
            (0x14, SDRAM_BASE >> 22 << 21 | start >> 1),
            (0x18, lower >> 1),
            (0x1C, offset << 11 | page),
            (0x20, 0x76543210),
            (0x24, 0xFEDCBA98),
            (0x28, 0xFC71),
            (0x00, panel << 5 | mode << 1 | 1),
        ):
            self.lcd.write(register, 4, value)
        self.watcher = Watcher(board.lcd, lambda action: action())

    def whole(self) -> Pixels:
        """The picture converted from its memory at once."""
        scan = self.lcd.scan()
        assert scan is not None
        return render(scan, fetch(scan, self.lcd.bus))


@pytest.mark.parametrize(
    ("mode", "panel", "page", "hozval"),
    FORMATS,
    ids=[f"{MODES[row[0]].name}, {row[1]}, {row[2]}" for row in FORMATS],
)
def test_a_picture_of_which_lines_were_converted_is_the_whole_one(
    mode: int, panel: int, page: int, hozval: int
) -> None:
    for start, offset in ((0, 0), (2, 0), (4, 2), (2, 5)):
        screen = Screen(mode, panel, page, hozval, start=start, offset=offset)
        for swap in range(4):
            screen.lcd.write(0x10, 4, 0x800 | swap)
            screen.watcher.look()
            rng = Random(swap)
            for _ in range(12):
                place, count = rng.randrange(2 * (page + offset) * LINES + 8), rng.choice((1, 2, 60))
                screen.memory[place : place + count] = rng.randbytes(count)
                before, expected = screen.watcher.pixels, screen.whole()
                assert screen.watcher.look() == (not np.array_equal(before, expected))
                assert np.array_equal(screen.watcher.pixels, expected)


def test_only_lines_that_changed_are_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []

    def counted(scan: object, memory: tuple[bytes, ...], top: int, bottom: int) -> Pixels:
        converted.append((top, bottom))
        return render_lines(scan, memory, top, bottom)  # type: ignore[arg-type]

    from dbgemu.host.display import feed

    render_lines = feed.render_lines
    monkeypatch.setattr(feed, "render_lines", counted)
    screen = Screen(12, TFT, 64, 63)
    screen.watcher.look()
    for line, column in ((3, 0), (5, 127)):
        screen.memory[128 * line + column] ^= 1
    screen.watcher.look()
    assert converted == [(3, 6)]
    assert not screen.watcher.look()
    assert converted == [(3, 6)]


def test_looks_become_rare_while_nothing_happens_until_something_is_about_to() -> None:
    pace = Pace()
    assert pace.pause(0, True) == 1 / RATE
    pauses = [pace.pause(0, False) for _ in range(20)]
    assert pauses[0] == 1 / RATE
    assert pauses[-1] == 0.1
    assert pace.is_slow
    pace.hurry()
    assert pace.pause(0, False) == 1 / RATE
    assert not pace.is_slow


def test_a_rest_lasts_until_its_time_has_passed_for_the_guest_too(monkeypatch: pytest.MonkeyPatch) -> None:
    host = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: host[0])
    clock = Mini2440().clock
    rest = Rest(clock, 0.1)
    assert rest.left() == pytest.approx(0.1)
    host[0] += 0.11
    assert rest.left() == pytest.approx(1 / RATE)
    advance(clock, 99_000_000)
    assert rest.left() > 0
    advance(clock, 1_000_000)
    assert rest.left() == 0
    guest_is_stopped = Rest(clock, 0.1)
    host[0] += 0.29
    assert guest_is_stopped.left() == pytest.approx(0.01)
    host[0] += 0.02
    assert guest_is_stopped.left() == 0


def test_a_look_that_takes_long_is_taken_less_often() -> None:
    pace = Pace()
    assert pace.pause(0.01, True) == pytest.approx(0.01 / SHARE)
    assert SHARE <= 0.02


def tiles(message: bytes, width: int, height: int, pixel_bytes: int) -> tuple[list[int], list[list[bytes]]]:
    """A ZRLE rectangle's subencodings, and its pixels as they were sent."""
    data = zlib.decompressobj().decompress(message[16:])
    kinds, rows = [], [[b""] * width for _ in range(height)]
    place = 0
    for top in range(0, height, 64):
        for left in range(0, width, 64):
            columns, lines = min(64, width - left), min(64, height - top)
            kinds.append(data[place])
            count = {0: columns * lines, 1: 1, 2: 2}[data[place]]
            place += 1
            colours = [data[place + pixel_bytes * n :][:pixel_bytes] for n in range(count)]
            place += pixel_bytes * count
            for y in range(lines):
                for x in range(columns):
                    if kinds[-1] == 2:
                        octet = data[place + y * -(-columns // 8) + x // 8]
                        index = octet >> 7 - x % 8 & 1
                    else:
                        index = (y * columns + x) % count
                    rows[top + y][left + x] = colours[index]
            if kinds[-1] == 2:
                place += lines * -(-columns // 8)
    assert place == len(data)
    return kinds, rows


@pytest.mark.parametrize(
    ("form", "pixel_bytes"),
    [
        (rfb.PixelFormat(), 3),
        (rfb.PixelFormat(bits=16, depth=16, maxima=(31, 63, 31), shifts=(11, 5, 0)), 2),
        (rfb.PixelFormat(depth=32), 4),
    ],
)
def test_text_is_sent_as_bits_of_two_colours(form: rfb.PixelFormat, pixel_bytes: int) -> None:
    rng = np.random.default_rng(2)
    width, height = 203, 150
    picture: Pixels = np.full((height, width), 0x000000, np.uint32)
    picture[rng.random((height, width)) < 0.2] = 0xAAAAAA
    picture[:64, 64:128] = 0x000000  # empty
    picture[:64, 128:192] = 0xAAAAAA  # a block
    picture[64:128, :64] = rng.integers(0, 1 << 24, (64, 64))  # a logo among text
    message = rfb.Encoder().rectangle(0, 0, picture, form, rfb.ZRLE)
    assert struct.unpack(">I", message[12:16]) == (len(message) - 16,)
    kinds, rows = tiles(message, width, height, pixel_bytes)
    assert kinds == [2, 1, 1, 2, 0, 2, 2, 2, 2, 2, 2, 2]
    whole = form.encode(picture)
    for y in range(height):
        expected = [value.tobytes() for value in whole[y]]
        assert rows[y] == [each[form.compact or slice(None)] for each in expected]
