"""Linux's s3c2410fb, its console and s3c2410_ts: what they draw and what they say was touched."""

import base64
import gzip
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from linux_guest import COMMAND_LINE, LinuxGuest
from PIL import Image
from support import until

from dbgemu.debug import picture
from dbgemu.host.display.feed import Watcher
from dbgemu.host.display.inputs import Inputs
from dbgemu.host.display.window import Window, load_pygame
from dbgemu.target.chips.touch_panel import FIRST, LAST
from dbgemu.target.s3c2440.lcd_frame import Frame

WIDTH, HEIGHT = 240, 320
EV_KEY, EV_ABS, BTN_TOUCH, ABS_X, ABS_Y = 1, 3, 0x14A, 0, 1
#: struct input_event on a 32-bit kernel: seconds, microseconds, type, code, value
EVENT = struct.Struct("<IIHHi")


class Screen:
    def __init__(self) -> None:
        self.guest = LinuxGuest(append=f"console=tty0 {COMMAND_LINE}")
        self.board = self.guest.machine.board
        self.guest.boot()
        self.boot_picture = self.frame()
        self.guest.command("stty cols 500")

    def frame(self) -> Frame:
        frame = self.board.lcd.frame()
        assert frame is not None
        return frame

    def run(self, milliseconds: int) -> None:
        self.guest.command(f"usleep {milliseconds}000")

    def events(self) -> list[tuple[int, int, int]]:
        """Type, code and value of what the touch screen's event device has given."""
        lines = self.guest.command("xxd -p /tmp/events").split()
        data = bytes.fromhex("".join(line for line in lines if set(line) <= set("0123456789abcdef")))
        return [(kind, code, value) for _, _, kind, code, value in EVENT.iter_unpack(data) if kind]


@pytest.fixture(scope="module")
def screen() -> Iterator[Screen]:
    yield Screen()


def row(frame: Frame, y: int) -> bytes:
    return frame.rgb[3 * WIDTH * y : 3 * WIDTH * (y + 1)]


def cell(frame: Frame, column: int, lines: int) -> bytes:
    """The first ``lines`` lines of a character of 8 pixels at the top of the screen."""
    return b"".join(row(frame, y)[24 * column : 24 * column + 24] for y in range(lines))


def test_the_kernel_draws_its_logo_and_its_messages(screen: Screen) -> None:
    frame = screen.boot_picture
    assert (frame.width, frame.height) == (WIDTH, HEIGHT)
    logo = b"".join(row(frame, y)[: 3 * 80] for y in range(80))
    colours = {logo[n : n + 3] for n in range(0, len(logo), 3)}
    assert len(colours) > 50, "a penguin has many colours"
    text = b"".join(row(frame, y) for y in range(80, HEIGHT))
    assert {text[n : n + 3] for n in range(0, len(text), 3)} == {bytes(3), b"\xad\xaa\xad"}


def test_the_console_draws_characters_in_their_cells(screen: Screen) -> None:
    screen.guest.command(r"printf '\033[?25l\033[2J\033[HM M' > /dev/tty0")
    frame = screen.frame()
    shape = cell(frame, 0, 16)
    assert len(shape) == 16 * 24
    assert any(shape)
    assert cell(frame, 2, 16) == shape
    assert not any(cell(frame, 1, 16))
    assert not any(b"".join(row(frame, y) for y in range(16, HEIGHT)))


def test_a_picture_written_to_the_frame_buffer_is_the_picture_on_the_screen(
    screen: Screen, tmp_path: Path
) -> None:
    random = Random(5)
    tile = [[random.getrandbits(16) for _ in range(16)] for _ in range(16)]
    values = [tile[y % 16][x % 16] for y in range(HEIGHT) for x in range(WIDTH)]
    packed = base64.encodebytes(gzip.compress(struct.pack(f"<{len(values)}H", *values))).decode()
    guest = screen.guest
    guest.command(": > /tmp/picture")
    for line in packed.split():
        guest.command(f"echo {line} >> /tmp/picture")
    guest.command("base64 -d /tmp/picture | gunzip > /dev/fb0")
    path = tmp_path / "screen.png"
    assert picture.save(screen.frame(), path) == "png"
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
        shown = image.tobytes()
    expected = bytearray()
    for value in values:
        red, green, blue = value >> 11, value >> 5 & 63, value & 31
        expected += bytes((red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2))
    assert shown == bytes(expected)


def test_blanking_the_screen_shows_black_and_unblanking_lights_it(screen: Screen) -> None:
    guest, panel = screen.guest, screen.board.lcd.panel
    assert panel is not None
    guest.command("tr '\\0' '\\377' < /dev/zero | head -c 153600 > /dev/fb0")
    assert set(screen.frame().rgb) == {255}
    guest.command("echo 4 > /sys/class/graphics/fb0/blank")
    dark = screen.board.lcd.frame()
    assert dark is None or set(dark.rgb) == {0}
    guest.command("echo 0 > /sys/class/graphics/fb0/blank")
    assert set(screen.frame().rgb) > {0}, "the console has drawn itself again"
    guest.command("echo 1 > /sys/class/leds/backlight/brightness")
    assert panel.lit
    guest.command("echo 0 > /sys/class/leds/backlight/brightness")
    assert not panel.lit


def test_a_touch_is_an_event_with_the_place_that_was_touched(screen: Screen) -> None:
    touch = screen.board.touch
    screen.guest.command("cat /dev/input/event0 > /tmp/events & CAT=$!")
    for x, y in ((30, 40), (200, 300)):
        touch.set(x, y, True)
        screen.run(100)
    touch.set(200, 300, False)
    screen.run(100)
    screen.guest.command("kill $CAT")
    events = screen.events()
    assert [event for event in events if event[0] == EV_KEY] == [
        (EV_KEY, BTN_TOUCH, 1),
        (EV_KEY, BTN_TOUCH, 0),
    ]
    expected = {
        ABS_X: [FIRST + round(x * (LAST - FIRST) / 239) for x in (30, 200)],
        ABS_Y: [FIRST + round(y * (LAST - FIRST) / 319) for y in (40, 300)],
    }
    for axis, values in expected.items():
        seen = [value for kind, code, value in events if (kind, code) == (EV_ABS, axis)]
        assert (seen[0], seen[-1]) == tuple(values)
        assert set(seen[1:-1]) <= set(range(values[0], values[1])), "averaged in between at the most"
    assert not touch.pressed


def test_a_window_shows_the_console_and_a_click_in_it_is_a_touch(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame, posted = load_pygame(), threading.Event()

    def post(action: Callable[[], None]) -> None:
        screen.guest.machine.post(action)
        posted.set()

    def shown() -> bytes:
        surface = pygame.display.get_surface()
        return bytes(pygame.image.tobytes(surface, "RGB"))[: 3 * WIDTH * HEIGHT]

    def happens(kind: int, **details: object) -> None:
        posted.clear()
        pygame.event.post(pygame.event.Event(kind, **details))
        assert posted.wait(60)
        screen.run(100)

    watcher = Watcher(screen.board.lcd, lambda action: action())
    window = Window(screen.board, watcher, Inputs(screen.board, post), title="", on_close=lambda: None)
    screen.guest.command("echo in a window > /dev/tty0; cat /dev/input/event0 > /tmp/events & CAT=$!")
    window.start()
    try:
        expected = screen.frame().rgb
        until(lambda: shown() == expected, timeout=60)
        happens(pygame.MOUSEBUTTONDOWN, button=1, pos=(100, 150))
        happens(pygame.MOUSEBUTTONUP, button=1, pos=(100, 150))
    finally:
        window.close()
    screen.guest.command("kill $CAT")
    events = screen.events()
    assert [value for kind, code, value in events if (kind, code) == (EV_KEY, BTN_TOUCH)] == [1, 0]
    for axis, expected_value in ((ABS_X, 100 * (LAST - FIRST) / 239), (ABS_Y, 150 * (LAST - FIRST) / 319)):
        seen = {value for kind, code, value in events if (kind, code) == (EV_ABS, axis)}
        assert seen == {FIRST + round(expected_value)}


def test_the_7_inch_panel_gets_its_800_by_480_pixels() -> None:
    guest = LinuxGuest(append="console=tty0 console=ttySAC0,115200 mini2440=1tb rdinit=/init")
    guest.wait_for("s3c2410fb frame buffer device")
    frame = guest.machine.board.lcd.frame()
    assert frame is not None
    assert (frame.width, frame.height) == (800, 480)
    assert any(frame.rgb)
