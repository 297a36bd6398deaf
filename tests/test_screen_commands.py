"""The monitor's commands about the screen and the hand, and the options that show the screen."""

import json
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import RawClient, serve

from dbgemu.debug import picture
from dbgemu.debug.session import DebugSession
from dbgemu.emulator import Emulator
from dbgemu.emulator_services import EmulatorServices
from dbgemu.errors import OptionError
from dbgemu.machine import Machine
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.monitor import Monitor
from dbgemu.options import Options, parse_command_line
from dbgemu.target.chips.touch_panel import FIRST, LAST
from dbgemu.target.mini2440 import SDRAM_BASE, Mini2440
from dbgemu.target.s3c2440.lcd_frame import Frame

DEMO = ("-demo", "-S", "-warp", "-serial", "null", "-monitor", "none")
WIDTH, HEIGHT = 32, 24


def show(board: Mini2440) -> None:
    """A picture of 5:6:5, all red but for a blue pixel at (3, 2)."""
    for offset, value in (
        (0x04, HEIGHT - 1 << 14),
        (0x08, WIDTH - 1 << 8),
        (0x10, 0x801),
        (0x14, SDRAM_BASE >> 22 << 21),
        (0x1C, WIDTH),
        (0x00, 0x79),
    ):
        board.lcd.write(offset, 4, value)
    board.sdram.data[: 2 * WIDTH * HEIGHT] = b"\x00\xf8" * (WIDTH * HEIGHT)
    place = 2 * (2 * WIDTH + 3)
    board.sdram.data[place : place + 2] = b"\x1f\x00"


class Bench:
    def __init__(self) -> None:
        self.board = Mini2440()
        session = DebugSession(Machine(self.board, warp=True))
        self.monitor = Monitor(session, EmulatorServices(Options(), session))

    def __call__(self, line: str) -> str:
        return self.monitor.execute(line)

    def data(self, line: str) -> Any:
        return json.loads(self.monitor.run(f"json {line}").text)

    def refused(self, line: str) -> str:
        with pytest.raises(CommandError) as caught:
            self.monitor.run(line)
        return str(caught.value)


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield Bench()


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("a.png", "", "PNG"),
        ("a.ppm", "", "PPM"),
        ("a", "", "PPM"),
        ("a.BMP", "", "BMP"),
        ("b", "-f png", "PNG"),
    ],
)
def test_a_picture_of_the_screen_is_saved(
    bench: Bench, tmp_path: Path, name: str, options: str, kind: str
) -> None:
    show(bench.board)
    path = tmp_path / name
    assert bench.data(f"screendump {path} {options}") == {
        "file": str(path),
        "format": kind.lower(),
        "width": WIDTH,
        "height": HEIGHT,
    }
    with Image.open(path) as image:
        assert (image.format, image.size) == (kind, (WIDTH, HEIGHT))
        assert image.getpixel((3, 2)) == (0, 0, 255)
        assert image.getpixel((2, 2)) == image.getpixel((3, 3)) == (255, 0, 0)


def test_a_picture_that_cannot_be_saved_is_refused(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert bench.refused(f"screendump {path}") == (
        "there is no picture: the LCD controller is off: ENVID in LCDCON1 is 0"
    )
    show(bench.board)
    assert bench.refused(f"screendump {path} -f gif") == ("'gif' is no format of pictures: bmp, png, ppm are")
    assert bench.refused(f"screendump {path} -g gif") == (
        "'screendump' is used as: screendump file [-f format]"
    )
    assert bench.refused(f"screendump {tmp_path}/none/a.png") == (
        f"'{tmp_path}/none/a.png' cannot be written: No such file or directory"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_fails_half_way_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.ppm"
    path.write_text("before")
    frame = Frame(1, 1, b"abc")

    def fail(*arguments: object) -> None:
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="no"):
            picture.save(frame, path)
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == ("before", 1)
    assert picture.save(frame, path) == "ppm"
    assert path.read_bytes() == b"P6\n1 1\n255\nabc"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_the_finger_is_moved_and_put_down(bench: Bench) -> None:
    show(bench.board)
    bench("mouse_move 31 0")
    assert bench.board.adc.pen is None
    bench("mouse_button 1")
    assert bench.board.adc.pen == (LAST, FIRST)
    bench("mouse_move 0 23")
    assert bench.board.adc.pen == (FIRST, LAST)
    bench("mouse_button 0")
    assert bench.board.adc.pen is None
    assert bench.refused("mouse_move 32 0") == "'32' is no column of the panel: 0 to 31"
    assert bench.refused("mouse_move 1 -1") == "'-1' is no row of the panel: 0 to 23"
    assert bench.refused("mouse_button x") == "'x' is no state of the buttons: 0 to 7"


def test_the_potentiometer_is_turned(bench: Bench) -> None:
    assert bench.data("pot 700") == {"value": 700}
    assert bench("pot") == "the potentiometer at AIN0 gives 700 of 1023"
    assert bench.board.adc.inputs[0] == 700
    assert bench.refused("pot 1024") == "'1024' is no position of the potentiometer: 0 to 1023"


def test_info_lcd_tells_what_is_shown(bench: Bench) -> None:
    assert "ENVID" in bench("info lcd")
    show(bench.board)
    text = " ".join(bench("info lcd").split())
    for fact in ("picture 32 x 24, TFT 16 bpp", "frame buffer 0x30000000", "panel auto", "backlight on"):
        assert fact.replace(" ", "") in text.replace(" ", "").replace(":", "")


def test_gdbs_monitor_saves_pictures_too(bench: Bench, tmp_path: Path) -> None:
    show(bench.board)
    path = tmp_path / "a.png"
    with serve(bench.monitor.session, monitor=bench.monitor.execute) as server:
        client = RawClient(server.endpoint)
        client.send(b"qRcmd," + f"screendump {path}".encode().hex().encode())
        text = bytes.fromhex(client.receive()[1:].decode()).decode()
        assert text == f"32 x 24 pixels -> {path}\n"
        assert client.receive() == b"OK"
        client.close()
    assert path.stat().st_size > 50


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_emulator_shows_its_screen_to_viewers() -> None:
    port = free_port()
    options = parse_command_line(
        (*DEMO, "-display", f"vnc=:{port - 5900}", "-panel", "7inch", "-name", "my board")
    )
    with Emulator(options), socket.create_connection(("127.0.0.1", port), timeout=30) as viewer:
        stream = viewer.makefile("rwb", buffering=0)
        assert stream.read(12) == b"RFB 003.008\n"
        stream.write(b"RFB 003.003\n\1")
        assert stream.read(4) == b"\0\0\0\1"
        head = stream.read(24) or b""
        assert struct.unpack(">HH", head[:4]) == (800, 480)
        assert stream.read(8) == b"my board"
        stream.close()


def test_a_port_that_is_taken_is_told() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OptionError) as caught:
            Emulator(parse_command_line((*DEMO, "-vnc", f":{port - 5900}")))
    assert str(caught.value) == f"-vnc: port {port} of 127.0.0.1 cannot be used: Address already in use"
