"""A file goes from an SD card through NAND and a USB stick onto the network, and is the same at the end."""

import hashlib
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from random import Random

from linux_guest import COMMAND_LINE, PROMPT, guest_folder

import dbgemu

SIZE = 1 << 20
TOOLS = {**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"}


def ext2(path: Path, *options: str) -> Path:
    """An ext2 image of 16 MiB."""
    subprocess.run(["mke2fs", "-q", "-t", "ext2", *options, path, "16M"], check=True, env=TOOLS)
    return path


class Receiver:
    """A server on the host that takes what one client sends."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(300)
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
