"""Image files behind SD cards and USB disks.

A raw image is used as it is. Any other format that ``qemu-img``
knows (qcow2, vdi, vmdk, ...) is converted into a temporary file, which can only be used with ``snapshot``
or read-only: writes into it would be lost.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from dbgemu.errors import OptionError
from dbgemu.host.image_file import OpenImage
from dbgemu.target.block import SECTOR, BlockMedium

#: bytes that a snapshot keeps together
_PIECE = 4096

#: how images of other formats begin, or the extension of those without such a mark
_MAGIC = {b"QFI\xfb": "qcow2", b"KDMV": "vmdk", b"conectix": "vpc", b"vhdxfile": "vhdx", b"QED\0": "qed"}
_VDI_MARK = (0x40, b"\x7f\x10\xda\xbe")


class BlockImage(BlockMedium, Protocol):
    """A medium that is open."""

    def close(self) -> None:
        """Sync and close; nothing may be called afterwards."""


def open_block_image(
    path: Path, *, snapshot: bool = False, read_only: bool = False, format: str | None = None
) -> BlockImage:
    """Open an image file; its format is looked at unless it is given ("raw" for one that is none).

    With ``snapshot`` what is written is forgotten at the end. OptionError when it cannot be used.
    """
    found = format or _format(path)
    if found == "raw":
        image: BlockImage = RawImage(path, read_only=snapshot or read_only)
    elif snapshot or read_only:
        image = _converted(path, found)
    else:
        raise OptionError(
            f"{path} is a {found} image, which is only read: use -snapshot, or convert it to raw first"
        )
    return SnapshotImage(image) if snapshot and not read_only else image


class RawImage(OpenImage):
    """A file, or a block device of the host, as it is. Raises OptionError."""

    noun = "image"
    may_be_disk = True
    refused_as = "neither a regular file nor a disk, so it cannot be an image"
    read_only_advice = "use -snapshot, or readonly=on"

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.read_only = read_only
        super().__init__(path, writable=not read_only)
        self.size = os.lseek(self._fd, 0, os.SEEK_END)
        if not self.size or self.size % SECTOR:
            os.close(self._fd)
            raise OptionError(f"{path} has {self.size} bytes, not a whole number of sectors of {SECTOR}")

    @property
    def writes_image(self) -> bool:
        """See BlockMedium."""
        return not self.read_only

    def used(self) -> Iterator[tuple[int, int]]:
        """See BlockMedium: all but the file's holes."""
        end = 0
        try:
            while end < self.size:
                start = os.lseek(self._fd, end, os.SEEK_DATA)
                end = min(os.lseek(self._fd, start, os.SEEK_HOLE), self.size)
                yield start, end - start
        except OSError as error:
            if error.errno != errno.ENXIO:  # that is: nothing but a hole follows
                yield end, self.size - end

    def read(self, offset: int, length: int) -> bytes:
        """See BlockMedium; zeros where the file has become shorter meanwhile."""
        return os.pread(self._fd, length, offset).ljust(length, b"\0")

    def write(self, offset: int, data: bytes) -> None:
        """See BlockMedium."""
        self._write_at(offset, data)


class SnapshotImage:
    """An image that is only read, under what has been written over it in memory."""

    def __init__(self, below: BlockImage) -> None:
        self.size = below.size
        self.read_only = False
        self._below = below
        self._pieces: dict[int, bytearray] = {}

    @property
    def writes_image(self) -> bool:
        """See BlockMedium."""
        return False

    def used(self) -> Iterator[tuple[int, int]]:
        """See BlockMedium."""
        yield from self._below.used()
        yield from ((number * _PIECE, len(piece)) for number, piece in self._pieces.items())

    def _piece(self, number: int) -> bytes | bytearray:
        kept = self._pieces.get(number)
        if kept is not None:
            return kept
        start = number * _PIECE
        return self._below.read(start, min(_PIECE, self.size - start))

    def read(self, offset: int, length: int) -> bytes:
        """See BlockMedium."""
        if not self._pieces:
            return self._below.read(offset, length)
        first, last = offset // _PIECE, -(-(offset + length) // _PIECE)
        whole = b"".join(self._piece(number) for number in range(first, last))
        start = offset - first * _PIECE
        return whole[start : start + length]

    def write(self, offset: int, data: bytes) -> None:
        """See BlockMedium."""
        place = 0
        while place < len(data):
            number, start = divmod(offset + place, _PIECE)
            piece = self._pieces.get(number)
            if piece is None:
                piece = self._pieces[number] = bytearray(self._piece(number))
            count = min(len(piece) - start, len(data) - place)
            piece[start : start + count] = data[place : place + count]
            place += count

    def flush(self) -> None:
        """Nothing of it is kept."""

    def close(self) -> None:
        """See BlockImage."""
        self._pieces.clear()
        self._below.close()


def _format(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(0x48)
    except OSError as error:
        raise OptionError(f"cannot open the image {path}: {error.strerror}") from None
    place, mark = _VDI_MARK
    if head[place : place + len(mark)] == mark:
        return "vdi"
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "raw")


def _converted(path: Path, form: str) -> RawImage:
    """The image's contents in a temporary file that nobody else sees."""
    tool = shutil.which("qemu-img")
    if tool is None:
        raise OptionError(f"{path} is a {form} image: to read it, qemu-img is needed (Debian: qemu-utils)")
    with tempfile.TemporaryDirectory(prefix="dbgemu-") as folder:
        raw = Path(folder) / "image.raw"
        # the image's own words decide which files are read: a backing file is none of the user's
        looked = subprocess.run(
            [tool, "info", "--output=json", "-f", form, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if looked.returncode:
            raise OptionError(f"{path} is a damaged {form} image: {_last_line(looked.stderr)}")
        backing = json.loads(looked.stdout).get("backing-filename")
        if backing:
            raise OptionError(
                f"{path} rests on another image, {backing}: make one of them with qemu-img first"
            )
        made = subprocess.run(
            [tool, "convert", "-f", form, "-O", "raw", str(path), str(raw)],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise OptionError(f"{path} cannot be read: {_last_line(made.stderr)}")
        return RawImage(raw, read_only=True)  # stays open when its name is gone


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "qemu-img failed"
