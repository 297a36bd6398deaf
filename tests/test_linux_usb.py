"""USB sticks and keyboards under unmodified Linux: ohci-s3c2410, usb-storage, sd_mod, usbhid."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from linux_guest import PROMPT, LinuxGuest

from dbgemu.host.block_image import BlockImage, open_block_image
from dbgemu.target.usb.hid import RIGHT, UsbKeyboard, UsbMouse, UsbTablet
from dbgemu.target.usb.keys import KEYS
from dbgemu.target.usb.mass_storage import UsbStorage

MIB = 1 << 20
DRIVERS = (
    "cd /lib/modules/*/kernel/drivers; "
    "for m in scsi/scsi_common scsi/scsi_mod scsi/sd_mod usb/storage/usb-storage; do insmod $m.ko; done; cd"
)
RANDOM = Random(5).randbytes(2 * MIB)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def make_image(folder: Path, name: str = "stick.img", size: int = 16 * MIB) -> Path:
    """An ext2 image with some files."""
    contents = folder / "contents"
    contents.mkdir(exist_ok=True)
    (contents / "hello.txt").write_text("hello from the host\n")
    (contents / "random").write_bytes(RANDOM)
    image = folder / name
    image.write_bytes(b"")
    with image.open("r+b") as file:
        file.truncate(size)
    run("/sbin/mke2fs", "-q", "-F", "-t", "ext2", "-d", str(contents), str(image))
    return image


class Guest(LinuxGuest):
    """Booted, with the drivers loaded; a stick is plugged in and pulled out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.host = self.machine.board.usb_host
        self.boot()
        self.command("dmesg -n 1")
        self.command(DRIVERS)
        self.image: BlockImage | None = None

    def plug_stick(self, path: Path, *, read_only: bool = False, wait: int = 4) -> str:
        """What the kernel says of it."""
        self.command("dmesg -c")
        self.image = open_block_image(path, read_only=read_only)
        self.host.plug(UsbStorage("stick", self.image))
        return self.command(f"sleep {wait}; dmesg")

    def pull_stick(self) -> str:
        self.command("dmesg -c")
        port = next(
            number for number, device in enumerate(self.host.plugged, 1) if isinstance(device, UsbStorage)
        )
        self.host.unplug(port)
        said = self.command("sleep 1; dmesg")
        if self.image is not None:
            self.image.close()
        return said


@pytest.fixture(scope="module")
def booted() -> Guest:
    return Guest()


@pytest.fixture
def guest(booted: Guest) -> Iterator[Guest]:
    yield booted
    for port, device in enumerate(booted.host.plugged, 1):
        if device is not None:
            booted.host.unplug(port)
    booted.command("umount /mnt 2>/dev/null; sleep 1")


def test_a_stick_is_a_disk_that_mounts_and_keeps_what_is_written(guest: Guest, tmp_path: Path) -> None:
    path = make_image(tmp_path)
    said = guest.plug_stick(path)
    assert "USB Mass Storage device detected" in said
    assert "[sda] 32768 512-byte logical blocks: (16.8 MB/16.0 MiB)" in said
    assert "Attached SCSI removable disk" in said
    assert not re.search(r"(?i)error|fail|reset|timed out", said)
    errors = guest.machine.board.log.count
    guest.command("mount -t ext2 /dev/sda /mnt")
    assert guest.command("cat /mnt/hello.txt") == "hello from the host\n"
    digest = hashlib.md5(RANDOM).hexdigest()
    assert guest.command("md5sum < /mnt/random").split()[0] == digest
    guest.command("cp /mnt/random /mnt/copy; echo from the guest > /mnt/answer; umount /mnt")
    assert guest.machine.board.log.count == errors
    assert "disconnect" in guest.pull_stick()
    run("/sbin/e2fsck", "-f", "-n", str(path))  # raises where it is not clean
    assert run("/sbin/debugfs", "-R", "cat answer", str(path)) == "from the guest\n"
    copied = tmp_path / "copied"
    run("/sbin/debugfs", "-R", f"dump copy {copied}", str(path))
    assert copied.read_bytes() == RANDOM


def test_a_stick_can_be_pulled_out_while_it_is_mounted_and_come_back(guest: Guest, tmp_path: Path) -> None:
    path = make_image(tmp_path)
    guest.plug_stick(path)
    guest.command("mount -t ext2 /dev/sda /mnt; cp /mnt/random /mnt/partial &")
    guest.pull_stick()
    assert "No such file" in guest.command("sync; sleep 1; ls /dev/sda")
    guest.command("umount /mnt")
    assert "Attached SCSI removable disk" in guest.plug_stick(path)
    guest.command("mount -t ext2 /dev/sd? /mnt")
    assert guest.command("cat /mnt/hello.txt") == "hello from the host\n"


def test_a_stick_that_is_read_only_says_so(guest: Guest, tmp_path: Path) -> None:
    path = make_image(tmp_path)
    before = hashlib.md5(path.read_bytes()).digest()
    assert "Write Protect is on" in guest.plug_stick(path, read_only=True)
    guest.command("mount -t ext2 -o ro /dev/sda /mnt")
    assert guest.command("cat /mnt/hello.txt") == "hello from the host\n"
    guest.pull_stick()
    assert hashlib.md5(path.read_bytes()).digest() == before


def test_a_stick_is_as_fast_as_full_speed_usb(guest: Guest, tmp_path: Path) -> None:
    guest.plug_stick(make_image(tmp_path))
    before = guest.machine.board.clock.now
    guest.command("dd if=/dev/sda of=/dev/null bs=64k count=32")
    seconds = (guest.machine.board.clock.now - before) / 1e9
    # 19 packets of 64 bytes in a millisecond are 1.16 MiB/s
    assert 0.9 < 2 / seconds < 1.17


def test_a_machine_saved_in_the_middle_of_a_transfer_goes_on_the_same(guest: Guest, tmp_path: Path) -> None:
    guest.plug_stick(make_image(tmp_path))
    machine, memory = guest.machine, guest.machine.board.sdram
    guest.uart.receive(b"md5sum /dev/sda\r")
    machine.run(12_000_000)
    state, contents = machine.save(), bytes(memory.data)
    first = guest.wait_for(PROMPT)
    machine.load(state)
    memory.data[:] = contents
    machine.board.bus.memory_replaced()
    assert guest.wait_for(PROMPT) == first.partition("\n")[2]
    digest = hashlib.md5((tmp_path / "stick.img").read_bytes()).hexdigest()
    assert digest in first


def events_in(guest: Guest, file: str) -> list[tuple[int, int, int]]:
    """Type, code and value of what was read of an input device (struct input_event)."""
    words = re.findall(r"\b[0-9a-f]{8}\b", guest.command(f"hexdump -v -e '1/4 \"%08x \"' {file}; echo"))
    numbers = [int(word, 16) for word in words]
    return [
        (numbers[at + 2] & 0xFFFF, numbers[at + 2] >> 16, numbers[at + 3]) for at in range(0, len(numbers), 4)
    ]


def test_keys_of_a_usb_keyboard_arrive_as_events(guest: Guest) -> None:
    board = guest.machine.board
    keyboard = UsbKeyboard("kbd", clock=board.clock)
    guest.host.plug(keyboard)
    listed = guest.command("sleep 2; cat /proc/bus/input/devices")
    assert 'Name="dbgemu USB keyboard"' in listed
    event = re.search(r'Name="dbgemu USB keyboard"(?:.*\n)*?.*Handlers=.*(event\d+)', listed)
    assert event
    guest.command(f"cat /dev/input/{event[1]} > /tmp/events & sleep 1")
    for key in ("shift", "a"):
        keyboard.press(KEYS[key])
    keyboard.tap(KEYS["f1"], 30_000_000)
    for key in ("a", "shift"):
        keyboard.release(KEYS[key])
    guest.command("sleep 1; kill %1")
    assert [(code, value) for kind, code, value in events_in(guest, "/tmp/events") if kind == 1] == [
        (42, 1),
        (30, 1),
        (59, 1),
        (30, 0),
        (42, 0),
        (59, 0),
    ]


def test_mouse_and_tablet_are_pointers(guest: Guest) -> None:
    mouse, tablet = UsbMouse("mouse"), UsbTablet("tablet")
    guest.host.plug(mouse)
    guest.host.plug(tablet)
    listed = guest.command("sleep 3; cat /proc/bus/input/devices")
    events = dict(re.findall(r'Name="dbgemu USB (\w+)"(?:.*\n)*?.*Handlers=.*(event\d+)', listed))
    assert events.keys() == {"mouse", "tablet"}
    for name in ("mouse", "tablet"):
        guest.command(f"cat /dev/input/{events[name]} > /tmp/{name} &")
    guest.command("sleep 1")
    mouse.move(300, -5)
    mouse.set_buttons(RIGHT)
    tablet.move(1000, 32767)
    guest.command("sleep 1; kill %1 %2")
    moved = events_in(guest, "/tmp/mouse")
    assert sum(value for kind, code, value in moved if (kind, code) == (2, 0)) == 300
    assert (2, 1, (1 << 32) - 5) in moved
    assert (1, 0x111, 1) in moved  # BTN_RIGHT
    placed = events_in(guest, "/tmp/tablet")
    assert (3, 0, 1000) in placed
    assert (3, 1, 32767) in placed
