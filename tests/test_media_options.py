"""Options and commands that put media and devices into the board, and pull them out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dbgemu.debug.session import DebugSession
from dbgemu.emulator import Emulator
from dbgemu.emulator_services import EmulatorServices
from dbgemu.errors import OptionError
from dbgemu.host.chardev import parse_chardev
from dbgemu.machine import Machine
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.monitor import Monitor
from dbgemu.option_drive import Drive, PluggedDevice
from dbgemu.options import Options, parse_command_line
from dbgemu.target.mini2440 import Mini2440
from dbgemu.target.usb.hid import UsbKeyboard, UsbMouse, UsbTablet

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "stick.img"
    path.write_bytes(bytes(2 * MIB))
    return path


def parse(*arguments: str) -> Options:
    return parse_command_line(["-demo", *arguments])


def refused(*arguments: str) -> str:
    with pytest.raises(OptionError) as error:
        parse(*arguments)
    return str(error.value)


def test_the_old_and_the_new_spelling_plug_in_the_same(image: Path) -> None:
    for old in (f"disk:{image}", f"disk::{image}"):
        (disk,) = parse("-usb", "-usbdevice", old).usb_devices
        assert disk == PluggedDevice("usb-storage", drive=Drive(image, "none"))
    (raw,) = parse("-usbdevice", f"disk:format=raw:{image}").usb_devices
    assert raw.drive == Drive(image, "none", format="raw")
    options = parse(
        *("-drive", f"if=none,id=stick,file={image},format=raw,readonly=on"),
        *("-device", "usb-storage,drive=stick,id=me,port=2"),
    )
    assert options.drives == (Drive(image, "none", id="stick", format="raw", read_only=True),)
    assert options.usb_devices == (PluggedDevice("usb-storage", id="me", drive="stick", port=2),)
    kinds = [device.driver for device in parse("-usbdevice", "tablet", "-device", "usb-kbd").usb_devices]
    assert kinds == ["usb-tablet", "usb-kbd"]


def test_drives_of_flash_chips_are_their_images(image: Path) -> None:
    options = parse_command_line(
        ["-drive", f"if=mtd,file={image}", "-drive", f"if=pflash,file={image},snapshot=on"]
    )
    assert (options.mtdblock, options.pflash, options.snapshot) == (image, image, True)
    assert parse("-sd", str(image)).drives == parse("-drive", f"file={image}").drives == (Drive(image),)


def test_a_comma_in_a_name_is_doubled(tmp_path: Path) -> None:
    path = tmp_path / "a,b.img"
    path.write_bytes(bytes(512))
    assert parse("-drive", f"if=sd,file={tmp_path}/a,,b.img").drives[0].file == path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-drive if=sd", "-drive: 'if=sd' names no image: add file=FILE"),
        (
            "-drive if=ide,file=IMAGE",
            "-drive: 'ide' is not a place for a drive on this board: there is sd, mtd, pflash, none",
        ),
        ("-drive file=/nowhere", "-drive: there is no file '/nowhere'"),
        ("-drive file=IMAGE,fromat=raw", "-drive: 'fromat' is not understood: did you mean format?"),
        ("-drive file=IMAGE,readonly=yes", "-drive: 'yes' is neither on nor off"),
        (
            "-drive if=none,file=IMAGE",
            "-drive: a drive with if=none needs a name that a device can give: add id=NAME",
        ),
        (
            "-sd IMAGE -drive if=sd,file=IMAGE",
            "the board has one card slot, and more than one image for it (-sd, -drive if=sd)",
        ),
        (
            "-drive if=mtd,file=IMAGE -mtdblock IMAGE",
            "there is one mtd chip, and more than one image for it (-mtdblock)",
        ),
        (
            "-device usb-storage,drive=x",
            "-device: there is no drive 'x': add -drive if=none,id=x,file=FILE",
        ),
        (
            "-device usb-storage",
            "-device: usb-storage needs an image: add drive=ID, and -drive if=none,id=ID,file=FILE",
        ),
        (
            "-device usb-mose",
            "-device: 'usb-mose' is not a device that can be plugged in: did you mean usb-mouse?",
        ),
        ("-device usb-kbd,drive=x", "-device: a usb-kbd has no drive"),
        ("-device usb-kbd,port=3", "-device: there is no USB port '3': the board has 1 and 2"),
        (
            "-usbdevice keybord",
            "-usbdevice: 'keybord' is not a USB device that can be plugged in: did you mean keyboard?",
        ),
        ("-usbdevice disk:", "-usbdevice: a disk needs an image: write disk:FILE"),
        (
            "-usbdevice mouse -usbdevice mouse -usbdevice mouse",
            "3 USB devices are given, but the board has 2 ports",
        ),
        ("-device usb-kbd,id=a -device usb-mouse,id=a", "two devices are called 'a'"),
    ],
)
def test_what_does_not_fit_is_told_in_one_sentence(image: Path, arguments: str, message: str) -> None:
    assert refused(*arguments.replace("IMAGE", str(image)).split()) == message


def options(**more: object) -> Options:
    silent = {"serial": (parse_chardev("null"),), "monitor": parse_chardev("none")}
    return Options(demo=True, stopped=True, **silent, **more)  # type: ignore[arg-type]


def test_the_emulator_has_what_the_options_say_and_leaves_a_snapshot_alone(image: Path) -> None:
    drives = (Drive(image, "none", id="stick"),)
    devices = (PluggedDevice("usb-kbd"), PluggedDevice("usb-storage", id="disk", drive="stick"))
    with Emulator(options(drives=drives, usb_devices=devices, snapshot=True)) as emulator:
        host = emulator.machine.board.usb_host
        assert isinstance(host.plugged[0], UsbKeyboard)
        disk = host.plugged[1]
        assert disk is not None and disk.name == "disk"
        disk.medium.write(0, b"changed")  # type: ignore[attr-defined]
        assert [(item.device, item.path, item.snapshot) for item in emulator.services.images()] == [
            ("disk", image, True)
        ]
    assert image.read_bytes() == bytes(2 * MIB)


def test_a_card_of_a_size_that_no_card_has_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "odd.img"
    path.write_bytes(bytes(1536))
    with pytest.raises(OptionError, match=r"cannot be a card: .*; 'truncate -s SIZE .*' changes that"):
        Emulator(options(drives=(Drive(path),)))


class Bench:
    def __init__(self) -> None:
        board = Mini2440()
        self.session = DebugSession(Machine(board))
        self.host = board.usb_host
        self.slot = board.sd_slot
        self.services = EmulatorServices(Options(), self.session)
        self.monitor = Monitor(self.session, self.services)

    def __call__(self, line: str) -> str:
        return self.monitor.run(line).text

    def refused(self, line: str) -> str:
        with pytest.raises(CommandError) as error:
            self.monitor.run(line)
        return str(error.value)

    def configure(self) -> None:
        """What the guest does to set devices up."""
        for device in self.host.plugged:
            if device is not None:
                device.configured = 1


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.session.close()
    made.services.close()


def test_disks_are_plugged_in_and_pulled_out_by_name_and_port(bench: Bench, image: Path) -> None:
    assert bench("info usb") == (
        "port 1: powered, nothing is plugged in\nport 2: powered, nothing is plugged in"
    )
    assert bench(f"drive_add 0 if=none,id=stick,file={image}") == "there is a drive stick now"
    assert bench("device_add usb-storage,drive=stick,id=one,port=2") == "plugged in as one"
    assert bench("info usb").splitlines()[1] == (
        "port 2: powered, USB disk (usb-storage), ID: one, 12 Mb/s, not set up by the guest"
    )
    assert bench("info block") == f"one: {image} ({2 * MIB} bytes)"
    assert bench.refused(f"usb_add disk:{image}") == f"'{image}' is in use already, by one"
    bench("device_del one")
    assert bench(f"usb_add disk:{image}") == "plugged in as usb3"
    bench("usb_del 0.1")
    assert bench("info block") == "no image files: what flash holds is lost at the end"
    assert bench.refused("usb_del one") == "there is no USB device 'one': nothing is plugged in"
    assert bench.refused("device_add usb-storage,drive=x") == (
        "there is no drive 'x': there is stick; drive_add makes one"
    )


def test_there_is_no_third_port(bench: Bench) -> None:
    bench("usb_add mouse")
    bench("usb_add tablet")
    assert bench.refused("usb_add keyboard") == "both USB ports are taken: pull something out first"


def test_the_card_is_changed_and_ejected(bench: Bench, image: Path, tmp_path: Path) -> None:
    assert bench.refused("eject sd") == "there is no card in the slot"
    bench(f"change sd {image}")
    assert bench.slot.card is not None
    assert bench("info block") == f"sd: {image} ({2 * MIB} bytes)"
    other = tmp_path / "other.img"
    other.write_bytes(bytes(4 * MIB))
    bench(f"change sd {other} raw read-only")
    assert bench.slot.card.medium.read_only
    assert bench("info block") == f"sd: {other} ({4 * MIB} bytes)"
    bench(f"change sd {other}")
    assert not bench.slot.card.medium.read_only
    bench("eject -f sd")
    assert bench.slot.card is None
    assert bench.refused("change cdrom x") == (
        "there is no drive 'cdrom' whose medium can be changed: there is sd"
    )
    assert bench.refused("change sd /nowhere") == "there is no file '/nowhere'"


def test_sendkey_types_on_a_usb_keyboard(bench: Bench) -> None:
    assert bench.refused("sendkey ctrl-a") == (
        "the board has no key 'CTRL': its buttons are K1, K2, K3, K4, K5, K6"
    )
    bench("usb_add keyboard")
    bench.configure()
    keyboard = bench.host.plugged[0]
    assert isinstance(keyboard, UsbKeyboard)
    bench("sendkey ctrl-a 50")
    assert [keyboard.give(1, 8) for _ in range(2)] == [b"\1" + bytes(7), b"\1\0\4" + bytes(5)]
    clock = bench.session.machine.board.clock
    clock.skip(50_000_000)
    clock.run_due()
    assert [keyboard.give(1, 8) for _ in range(2)] == [b"\1" + bytes(7), bytes(8)]
    assert bench.refused("sendkey ctlr") == "a keyboard has no key 'ctlr': did you mean 'ctrl'?"
    bench("sendkey k1")
    assert bench.session.machine.board.buttons[0].pressed


def test_mouse_commands_go_to_a_usb_pointer_where_there_is_one(bench: Bench) -> None:
    bench("usb_add mouse")
    bench.configure()
    mouse = bench.host.plugged[0]
    assert isinstance(mouse, UsbMouse)
    bench("mouse_move 200 -3 1")
    bench("mouse_button 2")
    assert [mouse.give(1, 8) for _ in range(3)] == [b"\0\x7f\xfd\1", b"\0\x49\0\0", b"\2\0\0\0"]
    bench("usb_del 1")
    bench("usb_add tablet")
    bench.configure()
    tablet = bench.host.plugged[0]
    assert isinstance(tablet, UsbTablet)
    bench("mouse_move 32767 256")
    assert tablet.give(1, 8) == b"\0\xff\x7f\0\1\0"
    assert bench.refused("mouse_button 99") == (
        "'99' are not buttons: 1 is left, 2 right, 4 middle, 8 and 16 the sides"
    )
