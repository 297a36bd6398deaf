"""Viewers and windows: what they see of the screen, and what they do to the board."""

import asyncio
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import asyncvnc
import numpy as np
import pytest

from dbgemu.errors import OptionError
from dbgemu.host.display import feed, rfb
from dbgemu.host.display.feed import Rectangle, ScreenFeed, Watcher, changes
from dbgemu.host.display.inputs import MOST_WAITING, Inputs
from dbgemu.host.display.vnc import MOST_CLIENTS, VncServer
from dbgemu.host.display.window import STRIP, Window, load_pygame
from dbgemu.host.iothread import IoThread
from dbgemu.target.mini2440 import SDRAM_BASE, Mini2440
from dbgemu.target.s3c2440.lcd_frame import Pixels

WIDTH, HEIGHT = 96, 70
PATIENCE = 30.0
TFT_16, ENABLE, FRM565_HWSWP = 12 << 1 | 3 << 5, 1, 0x801
WHITE, RED, BLACK = 0xFFFF, 0xF800, 0


class Rig:
    """A board with a picture, a server that shows it, and what the server posted."""

    def __init__(self) -> None:
        self.board = Mini2440()
        self.lock = threading.Lock()
        self.set_size(WIDTH, HEIGHT)
        self.fill(0, 0, WIDTH, HEIGHT, RED)
        self.keys: list[tuple[str, bool]] = []
        self.inputs = Inputs(self.board, self.call, lambda name, down: self.keys.append((name, down)))
        self.io = IoThread().start()
        self.watcher = Watcher(self.board.lcd, self.call)
        self.watcher.look()
        self.feed = ScreenFeed(self.watcher)
        self.server = VncServer(self.feed, self.inputs, self.io, name="the board")
        self.server.start("127.0.0.1", 0)

    def call(self, action: Callable[[], Any]) -> Any:
        with self.lock:
            return action()

    def set_size(self, width: int, height: int) -> None:
        lcd = self.board.lcd
        for offset, value in (
            (0x00, 0),
            (0x04, height - 1 << 14),
            (0x08, width - 1 << 8),
            (0x10, FRM565_HWSWP),
            (0x14, SDRAM_BASE >> 22 << 21),
            (0x1C, width),
            (0x00, TFT_16 | ENABLE),
        ):
            lcd.write(offset, 4, value)
        self.width = width

    def fill(self, x: int, y: int, width: int, height: int, colour: int) -> None:
        for line in range(y, y + height):
            place = 2 * (line * self.width + x)
            self.board.sdram.data[place : place + 2 * width] = colour.to_bytes(2, "little") * width

    def close(self) -> None:
        self.server.close()
        self.feed.close()
        self.io.stop()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    # the guest stands still
    monkeypatch.setattr(feed, "_LONGEST_REST", 0.03)
    rig = Rig()
    yield rig
    rig.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


class Viewer:
    """A client of few words, byte by byte."""

    def __init__(self, rig: Rig, version: bytes = b"RFB 003.008\n") -> None:
        self.socket = socket.create_connection(rig.server.address, timeout=PATIENCE)
        assert self.read(12) == rfb.VERSION
        self.socket.sendall(version)
        if version[8:11] < b"007":
            assert self.read(4) == b"\0\0\0\1"
        else:
            assert self.read(2) == b"\1\1"
            self.socket.sendall(b"\1")
            if version[8:11] == b"008":
                assert self.read(4) == bytes(4)
        self.socket.sendall(b"\1")
        self.width, self.height = struct.unpack(">HH", self.read(4))
        self.format = self.read(16)
        self.name = self.read(struct.unpack(">I", self.read(4))[0]).decode()

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def set_format(self, form: rfb.PixelFormat) -> None:
        self.socket.sendall(b"\0\0\0\0" + form.pack())

    def set_encodings(self, *encodings: int) -> None:
        self.socket.sendall(struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings))

    def request(self, *, incremental: bool) -> None:
        self.socket.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def headers(self) -> list[tuple[int, ...]]:
        """The rectangles of an update whose contents are raw, which are dropped."""
        kind, count = struct.unpack(">BxH", self.read(4))
        assert kind == 0
        found = []
        for _ in range(count):
            x, y, width, height, encoding = rfb.RECTANGLE.unpack(self.read(12))
            found.append((x, y, width, height, encoding))
            if encoding == rfb.RAW:
                self.read(4 * width * height)
        return found

    def gone(self) -> bool:
        """The server has hung up, whatever it sent before."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def viewer(rig: Rig) -> Iterator[Viewer]:
    viewer = Viewer(rig)
    yield viewer
    viewer.close()


def test_a_real_client_sees_the_screen_and_touches_it(rig: Rig) -> None:
    async def watch() -> None:
        host, port = rig.server.address
        async with asyncvnc.connect(host, port) as client:
            picture = await client.screenshot()
            assert picture.shape == (HEIGHT, WIDTH, 4)
            assert (picture[:, :, :3] == (255, 0, 0)).all()
            client.mouse.move(20, 30)
            with client.mouse.hold():
                await client.drain()
                while rig.board.adc.pen is None:
                    await asyncio.sleep(0.005)
            with client.keyboard.hold("F2"):
                await client.drain()
                while not rig.board.buttons[1].pressed:
                    await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(watch(), PATIENCE))
    until(lambda: rig.board.adc.pen is None and not rig.board.buttons[1].pressed)
    assert (rig.board.touch.x, rig.board.touch.y) == (20, 30)


@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.889\n"])
def test_other_versions_of_the_protocol_are_spoken(rig: Rig, version: bytes) -> None:
    viewer = Viewer(rig, version if version != b"RFB 003.889\n" else rfb.VERSION)
    assert (viewer.width, viewer.height, viewer.name) == (WIDTH, HEIGHT, "the board")
    assert viewer.format == rfb.PixelFormat().pack()
    viewer.close()


def test_an_update_holds_what_has_changed_and_comes_when_it_has(rig: Rig, viewer: Viewer) -> None:
    viewer.request(incremental=False)
    assert viewer.headers() == [(0, 0, WIDTH, HEIGHT, rfb.RAW)]
    viewer.request(incremental=True)
    with rig.lock:
        rig.fill(10, 5, 4, 2, WHITE)
        rig.fill(50, 60, 3, 1, WHITE)
    assert viewer.headers() == [(10, 5, 4, 2, rfb.RAW), (50, 60, 3, 1, rfb.RAW)]
    viewer.request(incremental=True)
    with rig.lock:
        rig.fill(0, 0, 1, 1, BLACK)
    assert viewer.headers() == [(0, 0, 1, 1, rfb.RAW)]


def test_a_viewer_hears_of_another_size_or_goes_on_with_the_old_one(rig: Rig, viewer: Viewer) -> None:
    viewer.set_encodings(rfb.RAW, rfb.DESKTOP_SIZE)
    other = Viewer(rig)
    for each in (viewer, other):
        each.request(incremental=False)
        each.headers()
        each.request(incremental=True)
    with rig.lock:
        rig.set_size(120, 40)
        rig.fill(0, 0, 120, 40, WHITE)
    assert viewer.headers() == [(0, 0, 120, 40, rfb.DESKTOP_SIZE), (0, 0, 120, 40, rfb.RAW)]
    assert other.headers() == [(0, 0, WIDTH, HEIGHT, rfb.RAW)]
    other.close()


def test_the_screen_is_black_when_the_controller_is_off(rig: Rig) -> None:
    rig.board.lcd.write(0, 4, 0)
    assert rig.watcher.look()
    assert rig.watcher.pixels.shape == (HEIGHT, WIDTH)
    assert not rig.watcher.pixels.any()
    assert not rig.watcher.look()


@pytest.mark.parametrize(
    "message",
    [
        b"\x63",
        b"\0\0\0\0" + rfb.PixelFormat(bits=24).pack(),
        b"\0\0\0\0" + rfb.PixelFormat(shifts=(40, 8, 0)).pack(),
        b"\0\0\0\0" + rfb.PixelFormat().pack()[:3] + b"\0" + rfb.PixelFormat().pack()[4:],
        b"\6\0\0\0\x7f\xff\xff\xff",
    ],
    ids=["unknown", "24 bits", "shift", "colour map", "text"],
)
def test_a_viewer_that_breaks_the_protocol_is_sent_away_and_others_stay(
    rig: Rig, viewer: Viewer, message: bytes
) -> None:
    bad = Viewer(rig)
    bad.socket.sendall(message)
    assert bad.gone()
    bad.close()
    viewer.request(incremental=False)
    assert viewer.headers() == [(0, 0, WIDTH, HEIGHT, rfb.RAW)]


def test_who_does_not_speak_the_protocol_is_sent_away(rig: Rig) -> None:
    with socket.create_connection(rig.server.address, timeout=PATIENCE) as stranger:
        stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert stranger.recv(12) == rfb.VERSION
        assert stranger.recv(1) in (b"", b"\1")


def test_only_so_many_viewers_are_served(rig: Rig) -> None:
    viewers = [Viewer(rig) for _ in range(MOST_CLIENTS)]
    with socket.create_connection(rig.server.address, timeout=PATIENCE) as late:
        assert late.recv(1) == b""
    for viewer in viewers:
        viewer.close()
    until(lambda: not rig.server._clients)
    Viewer(rig).close()


def test_what_a_viewer_holds_is_let_go_when_it_leaves(rig: Rig, viewer: Viewer) -> None:
    viewer.socket.sendall(struct.pack(">BBxxI", 4, 1, 0xFFBE) + struct.pack(">BBxxI", 4, 1, ord("A")))
    viewer.socket.sendall(struct.pack(">BBHH", 5, 1, 7, 8))
    until(lambda: rig.board.adc.pen is not None)
    assert rig.board.buttons[0].pressed
    viewer.close()
    until(lambda: rig.board.adc.pen is None)
    until(lambda: ("a", False) in rig.keys)
    assert rig.keys == [("a", True), ("a", False)]
    assert not rig.board.buttons[0].pressed


def test_a_flood_of_events_for_a_stopped_machine_takes_no_memory() -> None:
    posted: list[Callable[[], None]] = []
    board = Mini2440()
    inputs = Inputs(board, posted.append)
    for step in range(10 * MOST_WAITING):
        inputs.pointer(step % 200, 3, True)
    assert len(posted) == 1
    posted[0]()
    assert board.touch.x == (10 * MOST_WAITING - 1) % 200


PICTURE: Pixels = np.random.default_rng(1).integers(0, 1 << 24, (70, 130), np.uint32)
PICTURE[:64, :64] = 0x102030


@pytest.mark.parametrize(
    "form",
    [
        rfb.PixelFormat(),
        rfb.PixelFormat(big_endian=True, shifts=(8, 16, 24)),
        rfb.PixelFormat(depth=32),
        rfb.PixelFormat(bits=16, depth=16, maxima=(31, 63, 31), shifts=(11, 5, 0)),
        rfb.PixelFormat(bits=8, depth=8, maxima=(7, 7, 3), shifts=(0, 3, 6)),
    ],
    ids=["ours", "swapped", "depth 32", "16 bits", "8 bits"],
)
def test_zrle_tiles_hold_the_pixels_in_the_clients_format(form: rfb.PixelFormat) -> None:
    import zlib

    values = form.encode(PICTURE)
    size = form.bits // 8
    message = rfb.Encoder().rectangle(3, 4, PICTURE, form, rfb.ZRLE)
    assert rfb.RECTANGLE.unpack(message[:12]) == (3, 4, 130, 70, rfb.ZRLE)
    assert struct.unpack(">I", message[12:16]) == (len(message) - 16,)
    data = memoryview(zlib.decompressobj().decompress(message[16:]))
    sent = len(range(size)[form.compact]) if form.compact else size
    for top in range(0, 70, 64):
        for left in range(0, 130, 64):
            tile = values[top : top + 64, left : left + 64]
            solid = data[0]
            assert solid == (1 if (top, left) == (0, 0) else 0)
            expected = (tile[:1, :1] if solid else tile).tobytes()
            whole = [expected[n : n + size] for n in range(0, len(expected), size)]
            wanted = b"".join(each[form.compact or slice(None)] for each in whole)
            assert data[1 : 1 + len(wanted)] == wanted
            assert len(wanted) == sent * len(whole)
            data = data[1 + len(wanted) :]
    assert not data


def test_a_format_of_16_bits_keeps_the_upper_bits_of_a_colour() -> None:
    form = rfb.PixelFormat(bits=16, depth=16, maxima=(31, 63, 31), shifts=(11, 5, 0))
    pixels: Pixels = np.array([[0xFFFFFF, 0xFF0000, 0x00FF00, 0x0000FF, 0]], np.uint32)
    assert form.encode(pixels).tolist() == [[0xFFFF, 0xF800, 0x07E0, 0x001F, 0]]


def test_changes_are_runs_of_lines_with_few_equal_ones_between() -> None:
    before: Pixels = np.zeros((100, 50), np.uint32)
    now = before.copy()
    assert changes(before, now) == []
    now[3, 4] = now[9, 20] = now[99, 49] = 1
    assert changes(before, now) == [(4, 3, 17, 7), (49, 99, 1, 1)]


def test_keys_have_the_names_of_a_us_keyboard() -> None:
    assert [rfb.key_name(ord(sign)) for sign in "aA1! /?"] == ["a", "a", "1", "1", "spc", "slash", "slash"]
    assert [rfb.key_name(keysym) for keysym in (0xFF0D, 0xFFBE, 0xFFC9, 0xFFE1)] == [
        "ret",
        "f1",
        "f12",
        "shift",
    ]
    assert rfb.key_name(0x1000000) is None


class ShownWindow:
    """A window without a desktop, and what it has drawn, copied on its own thread."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(os.environ, "SDL_VIDEODRIVER", "dummy")
        self.pygame = load_pygame()
        self.closed = threading.Event()
        self.size, self.rgb, self.caption = (0, 0), b"", ""
        self.updates: list[list[Rectangle]] = []
        monkeypatch.setattr(self.pygame.display, "flip", self._flipped)
        monkeypatch.setattr(self.pygame.display, "update", self._updated)
        self.window = Window(rig.board, rig.watcher, rig.inputs, title="board", on_close=self.closed.set)
        self.window.start()

    def _updated(self, areas: list[Rectangle]) -> None:
        self.updates.append(areas)
        self._flipped()

    def _flipped(self) -> None:
        surface = self.pygame.display.get_surface()
        self.caption = self.pygame.display.get_caption()[0]
        self.size, self.rgb = surface.get_size(), self.pygame.image.tobytes(surface, "RGB")

    def colour(self, x: int, y: int) -> tuple[int, ...]:
        place = 3 * (y * self.size[0] + x)
        return tuple(self.rgb[place : place + 3])

    def happens(self, kind: int, **details: Any) -> None:
        self.pygame.event.post(self.pygame.event.Event(kind, **details))


@pytest.fixture
def window(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShownWindow]:
    window = ShownWindow(rig, monkeypatch)
    yield window
    window.window.close()


def test_a_window_shows_the_screen_and_the_leds(rig: Rig, window: ShownWindow) -> None:
    until(lambda: window.colour(5, 5) == (255, 0, 0))
    assert window.size == (WIDTH, HEIGHT + STRIP)
    assert window.caption == "board"
    led = (STRIP, HEIGHT + STRIP // 2)
    assert window.colour(*led) == (70, 20, 20)
    rig.board.gpio.write(0x10, 4, 1 << 10)
    rig.board.gpio.write(0x14, 4, 0)
    until(lambda: window.colour(*led) == (255, 60, 40))
    rig.board.gpio.write(0x60, 4, 1 << 8)
    until(lambda: window.caption == "board (backlight off)")
    with rig.lock:
        rig.set_size(120, 40)
    until(lambda: window.size == (120, 40 + STRIP))


def test_a_window_draws_what_has_changed(rig: Rig, window: ShownWindow) -> None:
    until(lambda: window.colour(5, 5) == (255, 0, 0))
    with rig.lock:
        rig.fill(10, 5, 4, 2, WHITE)
        rig.fill(50, 60, 3, 1, WHITE)
    until(lambda: window.colour(52, 60) == (255, 255, 255))
    assert window.updates == [[(10, 5, 4, 2), (50, 60, 3, 1)]]
    assert [window.colour(x, 5) for x in (9, 10, 13, 14)] == [
        (255, 0, 0),
        *[(255, 255, 255)] * 2,
        (255, 0, 0),
    ]


def test_without_a_desktop_there_is_no_window(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    window = Window(rig.board, rig.watcher, rig.inputs, title="board", on_close=lambda: None)
    with pytest.raises(OptionError, match=r"^a window cannot be opened: "):
        window.start()
    window.close()


def test_mouse_and_keys_of_a_window_reach_the_board(rig: Rig, window: ShownWindow) -> None:
    pygame = window.pygame
    window.happens(pygame.MOUSEBUTTONDOWN, button=1, pos=(11, 12))
    until(lambda: rig.board.adc.pen is not None)
    window.happens(pygame.MOUSEMOTION, buttons=(1, 0, 0), pos=(13, 14))
    until(lambda: (rig.board.touch.x, rig.board.touch.y) == (13, 14))
    window.happens(pygame.MOUSEBUTTONUP, button=1, pos=(13, 14))
    until(lambda: rig.board.adc.pen is None)
    window.happens(pygame.KEYDOWN, key=pygame.K_F3)
    until(lambda: rig.board.buttons[2].pressed)
    window.happens(pygame.KEYUP, key=pygame.K_F3)
    until(lambda: not rig.board.buttons[2].pressed)
    for kind in (pygame.KEYDOWN, pygame.KEYUP):
        window.happens(kind, key=pygame.K_RETURN)
    until(lambda: rig.keys == [("ret", True), ("ret", False)])
    window.happens(pygame.QUIT)
    until(window.closed.is_set)
