"""A file goes from an SD card through NAND and a USB stick onto the network, and is the same at the end."""

import hashlib
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random

from linux_guest import COMMAND_LINE, PROMPT, guest_folder

import dbgemu

SIZE = 8 << 20
TOOLS = {**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"}


def ext2(path: Path, *options: str) -> Path:
    """An ext2 image of 16 MiB."""
    subprocess.run(["mke2fs", "-q", "-t", "ext2", *options, path, "16M"], check=True, env=TOOLS)
    return path


class Receiver:
    """A server on the host that takes what one client sends."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(1200)
        self.port = self.server.getsockname()[1]
        self.data = bytearray()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with self.server, self.server.accept()[0] as client:
            client.settimeout(300)
            while received := client.recv(65536):
                self.data += received


def test_a_file_survives_card_nand_stick_and_network(tmp_path: Path) -> None:
    data = Random(8).randbytes(SIZE)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_bytes(data)
    card = ext2(tmp_path / "card.img", "-d", str(tmp_path / "root"))
    stick = ext2(tmp_path / "stick.img")
    nand = tmp_path / "nand.img"
    nand.touch()
    receiver = Receiver()
    guest = guest_folder()
    options = ["-sd", str(card), "-usbdevice", f"disk:{stick}", "-net", "nic", "-net", "user"]
    with dbgemu.Board(
        kernel=guest / "zImage",
        initrd=guest / "initramfs.cpio.gz",
        append=COMMAND_LINE,
        nand=nand,
        warp=False,
        options=options,
    ) as board:
        board.run_until(text=PROMPT)
        for line in (
            "for m in scsi_common scsi_mod sd_mod usb-storage; do insmod $(find /lib -name $m.ko); done",
            "while [ ! -b /dev/sda ]; do usleep 100000; done",
            "mkdir -p /s /n /u; mount -t ext2 /dev/mmcblk0 /s; mount -t jffs2 mtd:root /n",
            "cp /s/file /n/file; sync; umount /n; mount -t jffs2 mtd:root /n",
            "mount -t ext2 /dev/sda /u; cp /n/file /u/file; sync; umount /u",
            "mount -t ext2 /dev/sda /u; ifconfig eth0 10.0.2.15 up; sleep 1",
            f"nc 10.0.2.2 {receiver.port} < /u/file; umount /s /u /n",
        ):
            board.command(line, prompt=PROMPT)
    receiver.thread.join(60)
    assert hashlib.sha256(receiver.data).hexdigest() == hashlib.sha256(data).hexdigest()
    e2fsck = shutil.which("e2fsck", path=TOOLS["PATH"])
    assert e2fsck is not None
    for image in (card, stick):
        checked = subprocess.run([e2fsck, "-fn", image], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout


class Emulator:
    """The emulator as a process of its own, with card, stick and NAND in files: its console on pipes."""

    def __init__(self, card: Path, stick: Path, nand: Path) -> None:
        guest = guest_folder()
        words = ["-kernel", guest / "zImage", "-initrd", guest / "initramfs.cpio.gz", "-append", COMMAND_LINE]
        words += ["-sd", card, "-usbdevice", f"disk:{stick}", "-mtdblock", nand]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "dbgemu",
                *map(str, words),
                "-serial",
                "stdio",
                "-monitor",
                "none",
                "-warp",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        self.unread = b""

    def __enter__(self) -> "Emulator":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def wait_for(self, text: str) -> str:
        """What is printed up to and with ``text``."""
        assert self.process.stdout is not None
        wanted = text.encode()
        while wanted not in self.unread:
            ready, _, _ = select.select([self.process.stdout], [], [], 300)
            assert ready, f"no {text!r} in {self.unread[-2000:]!r}"
            got = os.read(self.process.stdout.fileno(), 65536)
            assert got, f"it ended without {text!r}: {self.unread[-2000:]!r}"
            self.unread += got
        printed, _, self.unread = self.unread.partition(wanted)
        return printed.decode(errors="replace").replace("\r", "") + text

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\r")
        self.process.stdin.flush()

    def command(self, line: str) -> str:
        """What ``line`` prints."""
        self.type(line)
        return self.wait_for(PROMPT).partition("\n")[2].removesuffix(PROMPT)


def repaired(image: Path) -> None:
    """What the host does with a file system that was not unmounted; AssertionError where that fails."""

    def e2fsck(option: str) -> int:
        checked = subprocess.run(
            ["e2fsck", option, "-f", image], capture_output=True, text=True, check=False, env=TOOLS
        )
        return checked.returncode

    state = subprocess.run(["dumpe2fs", "-h", image], capture_output=True, text=True, check=True, env=TOOLS)
    assert "not clean" in state.stdout, "it was mounted, and written to"
    if e2fsck("-p") > 1:  # it wants to be asked
        assert e2fsck("-y") == 1
    assert e2fsck("-n") == 0


def test_images_of_an_emulator_that_is_killed_while_it_writes_can_be_repaired(tmp_path: Path) -> None:
    """Twice on the same images: after a time in which card, NAND and stick are written in turn."""
    random = Random(90)
    files = {f"file{number}": random.randbytes(100_000) for number in range(2)}
    (tmp_path / "root").mkdir()
    for name, data in files.items():
        (tmp_path / "root" / name).write_bytes(data)
    card = ext2(tmp_path / "card.img", "-d", str(tmp_path / "root"))
    stick = ext2(tmp_path / "stick.img")
    nand = tmp_path / "nand.img"
    nand.touch()
    synced: list[str] = []

    def start(emulator: Emulator) -> None:
        """Mount everything: what was synced before is there."""
        emulator.wait_for(PROMPT)
        for line in (
            "stty cols 500; dmesg -n 1",
            "for m in scsi_common scsi_mod sd_mod usb-storage; do insmod $(find /lib -name $m.ko); done",
            "while [ ! -b /dev/sda -o ! -b /dev/mmcblk0 ]; do usleep 100000; done",
            "mkdir -p /s /n /u; mount -t ext2 /dev/mmcblk0 /s",
            "mount -t jffs2 mtd:root /n; mount -t ext2 /dev/sda /u",
        ):
            emulator.command(line)
        for name in synced:
            digests = emulator.command(f"md5sum /s/{name} /n/{name} /u/{name} | cut -d' ' -f1").split()
            assert digests == [hashlib.md5(files[name]).hexdigest()] * 3

    for number, name in enumerate(files):
        with Emulator(card, stick, nand) as emulator:
            start(emulator)
            emulator.command(f"cp /s/{name} /n; cp /n/{name} /u; sync")
            synced.append(name)
            emulator.type(
                f"i=0; while :; do cp /s/{name} /n/more$i; cp /n/more$i /u; cp /u/more$i /s/more{number}$i; "
                "i=$((i+1)); [ $i = 8 ] && i=0; echo lap; done"
            )
            for _ in range(random.randrange(2, 7)):
                emulator.wait_for("\nlap")
            time.sleep(random.uniform(0, 0.3))
            emulator.process.kill()
            emulator.process.wait()
        for image in (card, stick):
            repaired(image)
    with Emulator(card, stick, nand) as emulator:
        start(emulator)
        emulator.command("cp /s/file0 /n/again; cp /n/again /u; umount /s /n /u")
        emulator.process.terminate()
        emulator.process.wait()
    for image in (card, stick):
        checked = subprocess.run(["e2fsck", "-fn", image], capture_output=True, check=False, env=TOOLS)
        assert checked.returncode == 0, checked.stdout
