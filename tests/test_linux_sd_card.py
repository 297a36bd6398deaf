"""Linux's s3cmci driver and SD cards: mounting, writing, hot swaps, checked on the host."""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from linux_guest import LinuxGuest, guest_folder

from dbgemu.host.block_image import BlockImage, open_block_image
from dbgemu.target.block import MemoryMedium
from dbgemu.target.chips.mmc_card import MmcCard
from dbgemu.target.chips.sd_card import SdCard

APPEARS = "while [ ! -b /dev/mmcblk0 ]; do usleep 100000; done"
GOES = "while [ -b /dev/mmcblk0 ]; do usleep 100000; done"


class Card:
    """The guest with a card in its slot, and the card's file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "card.img"
        shutil.copyfile(guest_folder() / "rootfs.ext2", self.path)
        self.image: BlockImage = open_block_image(self.path)
        self.guest = LinuxGuest()
        self.board = self.guest.machine.board
        self.board.sd_slot.insert(SdCard("card", self.image, clock=self.board.clock))
        self.guest.boot()
        self.guest.command("stty cols 500")  # else the shell shows long lines twice
        self.guest.command(APPEARS)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Card]:
    card = Card(tmp_path_factory.mktemp("card"))
    yield card
    card.image.close()


def md5(printed: str) -> str:
    """The hash that md5sum printed, between whatever the kernel had to say."""
    return re.findall(r"^([0-9a-f]{32})  /", printed, re.MULTILINE)[0]


def debugfs(path: Path, request: str) -> None:
    subprocess.run(["debugfs", "-R", request, path], check=True, capture_output=True)


def test_the_driver_identifies_the_card(card: Card) -> None:
    messages = card.guest.command("dmesg | grep mmc")
    assert "mmc0: new SD card at address 4567" in messages
    assert "mmcblk0: mmc0:4567 GEMU  8.00 MiB" in messages
    assert "error" not in messages
    assert card.guest.command("cat /sys/block/mmcblk0/ro").strip() == "0"


def test_files_go_both_ways_and_the_file_system_stays_whole(card: Card, tmp_path: Path) -> None:
    card.guest.command("mkdir -p /card && mount -t ext2 /dev/mmcblk0 /card")
    there = md5(card.guest.command("md5sum /bin/busybox"))
    printed = card.guest.command("cp /bin/busybox /card/copy && sync && umount /card && md5sum /dev/mmcblk0")
    assert md5(printed) == hashlib.md5(card.path.read_bytes()).hexdigest(), "read block by block"
    debugfs(card.path, f"dump /copy {tmp_path / 'copy'}")
    assert hashlib.md5((tmp_path / "copy").read_bytes()).hexdigest() == there
    checked = subprocess.run(["/sbin/e2fsck", "-fn", card.path], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_a_card_can_be_swapped_for_a_locked_one_while_the_guest_runs(card: Card) -> None:
    slot = card.board.sd_slot
    removed = slot.eject()
    card.guest.command(GOES)
    assert "card 4567 removed" in card.guest.command("dmesg | grep mmc0 | tail -1")
    locked = MemoryMedium(4 << 20, read_only=True)
    locked.data[:5] = b"hello"
    slot.insert(MmcCard("card", locked, clock=card.board.clock))
    card.guest.command(APPEARS)
    assert "new MMC card at address 0001" in card.guest.command("dmesg | grep mmc0 | tail -2")
    printed = card.guest.command("dd if=/bin/ls of=/dev/mmcblk0 count=1 conv=fsync 2>&1")
    assert "dd: /dev/mmcblk0: I/O error" in printed
    assert card.guest.command("dd if=/dev/mmcblk0 bs=5 count=1 2>/dev/null").startswith("hello")
    slot.eject()
    card.guest.command(GOES)
    assert removed is not None
    slot.insert(removed)
    card.guest.command(APPEARS)
    assert "new SD card" in card.guest.command("dmesg | grep 'mmc0: new' | tail -1")
