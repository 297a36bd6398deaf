"""Linux's file systems on NAND flash survive the loss of the emulator; its driver reads by streams."""

from __future__ import annotations

import hashlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dbgemu.image.cli import main as dbgemu_img
from dbgemu.trace.reader import open_trace
from dbgemu.trace.tracer import Tracer
from tests.linux_guest import COMMAND_LINE, PROMPT, LinuxGuest, guest_folder

#: s: far more than any wait takes, on a machine with much else to do
PATIENCE = 300


class Emulator:
    """An emulator in a process of its own, whose console is its standard input and output."""

    def __init__(self, *options: str) -> None:
        folder = guest_folder()
        command = [sys.executable, "-m", "dbgemu", "-kernel", f"{folder}/zImage", "-append", COMMAND_LINE]
        command += [
            "-initrd",
            f"{folder}/initramfs.cpio.gz",
            "-nographic",
            "-monitor",
            "none",
            "-warp",
            *options,
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._printed = b""

    def wait_for(self, text: str, since: str = "") -> str:
        """Give what is printed up to ``text``."""
        assert self.process.stdout is not None
        wanted, deadline = text.encode(), time.monotonic() + PATIENCE
        while wanted not in self._printed:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert piece, f"no {text!r} after {self._printed[-2000:].decode(errors='replace')}"
            self._printed += piece
        found, _, self._printed = self._printed.partition(wanted)
        return found.decode(errors="replace").replace("\r", "")

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\r")
        self.process.stdin.flush()

    def command(self, line: str) -> str:
        """Type ``line``; gives what it printed."""
        self.type(f"{line}; echo do''ne")
        printed = self.wait_for("done")
        self.wait_for(PROMPT)
        return printed

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def emulator(*options: str) -> Iterator[Emulator]:
    made = Emulator(*options)
    try:
        made.wait_for(PROMPT)
        yield made
    finally:
        made.kill()


_UBI = "ubiattach -m 4 /dev/ubi_ctrl"
FILE_SYSTEMS = {
    "jffs2": ("true", "true", "mount -t jffs2 /dev/mtdblock4 /mnt"),
    "ubifs": (_UBI, f"{_UBI} && ubimkvol /dev/ubi0 -N root -m", "mount -t ubifs ubi0:root /mnt"),
}


@pytest.mark.parametrize(
    ("file_system", "part"), [("jffs2", "K9F1208"), ("ubifs", "K9F1G08,bad=100+200"), ("ubifs", "K9F1208")]
)
def test_a_file_system_is_consistent_after_the_emulator_was_killed_while_it_wrote(
    tmp_path: Path, file_system: str, part: str
) -> None:
    image = tmp_path / "nand.img"
    assert dbgemu_img(["create", str(image), "--nand", part.partition(",")[0]]) == 0
    options = ("-nand", part, "-mtdblock", str(image))
    again, first, mount = FILE_SYSTEMS[file_system]
    with emulator(*options) as guest:
        printed = guest.command(f"mkdir -p /mnt; {first} && {mount} && echo mounted")
        assert "\nmounted" in printed, printed
        guest.command("seq 1 40000 > /mnt/kept; sync")
        guest.type("while seq 1 20000 > /mnt/new; do sync; mv /mnt/new /mnt/last; echo tu''rn; done")
        for _ in range(2):
            guest.wait_for("turn")
        time.sleep(0.05)  # somewhere in the next turn
    with emulator(*options) as guest:
        printed = guest.command(f"mkdir -p /mnt; {again} && {mount} && echo mounted")
        assert "\nmounted" in printed, printed
        numbers = {
            name: "".join(f"{n}\n" for n in range(1, end)) for name, end in (("kept", 40001), ("last", 20001))
        }
        printed = guest.command("md5sum /mnt/kept /mnt/last")
        for name, content in numbers.items():
            assert f"{hashlib.md5(content.encode()).hexdigest()}  /mnt/{name}" in printed
        # and it can be written again
        assert "\nwritten" in guest.command("seq 1 1000 > /mnt/new && sync && umount /mnt && echo written")


def test_linux_finds_the_bad_blocks_of_the_chip_and_skips_them(tmp_path: Path) -> None:
    image = tmp_path / "nand.img"
    assert dbgemu_img(["create", str(image), "--bad", "400"]) == 0
    with emulator("-mtdblock", str(image), "-nand", "K9F1208,bad=500+501") as guest:
        printed = guest.command("cat /sys/class/mtd/mtd4/bad_blocks; flash_eraseall /dev/mtd4")
    assert "\n3\n" in printed
    # the partition root begins with block 344
    found = re.findall(r"Skipping bad block at 0x([0-9a-f]+)", printed)
    assert [344 + int(place, 16) // 16384 for place in found] == [400, 500, 501]


def test_reading_flash_by_streams_is_the_same_to_the_instruction(tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes("".join(f"{n}\n" for n in range(40000)).encode())
    outcomes = []
    for streams in (True, False):
        image = tmp_path / f"{streams}.img"
        assert dbgemu_img(["create", str(image)]) == 0
        assert dbgemu_img(["put", str(image), "root", str(content)]) == 0
        guest = LinuxGuest(nand=image)
        board = guest.machine.board
        if not streams:
            board.bus.ports.clear()
            board.bus.replace(region := board.bus.find(0), region)  # lets the engine look again
        guest.boot()
        printed = guest.command(f"head -c {content.stat().st_size} /dev/mtd4 | md5sum")
        assert printed.split()[0] == hashlib.md5(content.read_bytes()).hexdigest()
        tracer = Tracer(guest.machine)
        trace = tmp_path / f"{streams}.dbgtrace"
        tracer.start("mmio:nand.*", trace)
        guest.command("dd if=/dev/mtdblock4 of=/dev/mtdblock2 bs=16k count=2; sync")
        tracer.stop()
        with open_trace(trace) as events:
            seen = list(events.events(("mmio_read", "mmio_write")))
        assert len(seen) > 32768 // 4
        memory = hashlib.sha256(board.sdram.data).hexdigest()
        board.nand_chip.cells.backing.close()
        outcomes.append((seen, guest.text, guest.machine.save(), memory, image.read_bytes()))
    assert outcomes[0] == outcomes[1]
