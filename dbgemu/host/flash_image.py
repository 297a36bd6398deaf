"""Image files behind flash chips: what ``-mtdblock`` and ``-pflash`` name.

Layouts of a NAND image, told apart by its size (the QEMU fork for the mini2440 does the same):

- each page followed by its spare bytes: exactly that many bytes (528 a page of 512);
- main data only: up to the chip's size. What the file lacks is erased. Spare bytes are kept in a file
  beside it, named with ``.oob`` appended, which appears with the first spare byte that is written.

A file grows only as far as the guest writes; on the way there it is filled with FF, from its end on, so
that its meaning is the same at every moment, also if the emulator is killed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from dbgemu.errors import OptionError
from dbgemu.host.image_file import OpenImage
from dbgemu.target.chips.flash_array import ERASED, Backing
from dbgemu.target.chips.nand_parts import NandPart

#: how much newer (s) than its spare bytes an image may be: a kill between the two writes, coarse clocks
_STALE_AFTER = 2.0

_FILL = bytes([ERASED]) * 65536


class FlashImage(OpenImage):
    """A regular file of at most ``size`` bytes that reads as erased from its end up to there.

    With ``snapshot`` the file is opened for reading only and ``writable`` is False. Raises
    :class:`OptionError` when the file cannot be used.
    """

    noun = "flash image"
    may_be_disk = False
    refused_as = "not a regular file, so it cannot be a flash image"
    read_only_advice = "use -snapshot to leave it as it is"

    def __init__(self, path: Path, size: int, *, snapshot: bool = False, create: bool = False) -> None:
        self.size = size
        self.writable = not snapshot
        super().__init__(path, writable=self.writable, create=create)
        self.length = os.fstat(self._fd).st_size
        if self.length > size:
            os.close(self._fd)
            raise OptionError(f"{path} has {self.length} bytes, more than the chip's {size}")

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``; FF beyond the end of the file."""
        if offset >= self.length:
            return bytes([ERASED]) * length
        return os.pread(self._fd, length, offset).ljust(length, bytes([ERASED]))

    def write(self, offset: int, data: bytes) -> None:
        """Store ``data``; the file does not grow for bytes that would read the same without it."""
        if offset >= self.length and data == bytes([ERASED]) * len(data):
            return
        while self.length < offset:
            self._append(self.length, _FILL[: offset - self.length])
        self._append(offset, data)

    def _append(self, offset: int, data: bytes) -> None:
        self._write_at(offset, data)
        self.length = max(self.length, offset + len(data))

    def modified(self) -> float:
        """When the file was last written, in seconds since the epoch."""
        return os.fstat(self._fd).st_mtime

    def touch(self) -> None:
        """Make the file count as modified now."""
        os.utime(self._fd)


class PlainNandImage:
    """A NAND chip's main data in one file and its spare bytes in another (see the module's text)."""

    def __init__(self, main: FlashImage, part: NandPart) -> None:
        self.writable = main.writable
        self._main = main
        self._part = part
        self._spare_path = main.path.with_name(main.path.name + ".oob")
        self._spare: FlashImage | None = None
        if self._spare_path.exists():
            spare = self._open_spare(create=False)
            if main.modified() > spare.modified() + _STALE_AFTER:
                spare.close()
                raise OptionError(
                    f"{main.path} was changed after its spare bytes in {self._spare_path}: "
                    f"remove the latter to begin with erased spare bytes"
                )
            self._spare = spare

    def _open_spare(self, *, create: bool) -> FlashImage:
        part = self._part
        size = part.pages * part.spare_size
        return FlashImage(self._spare_path, size, snapshot=not self.writable, create=create)

    def read(self, offset: int, length: int) -> bytes:
        """Whole raw pages: main data and spare bytes of each."""
        part = self._part
        first, count = self._pages(offset, length)
        main = self._main.read(first * part.page_size, count * part.page_size)
        size = part.spare_size
        if self._spare is not None:
            spare = self._spare.read(first * size, count * size)
        else:
            spare = bytes([ERASED]) * (count * size)
        return b"".join(
            main[page * part.page_size : (page + 1) * part.page_size] + spare[page * size : (page + 1) * size]
            for page in range(count)
        )

    def write(self, offset: int, data: bytes) -> None:
        """Whole raw pages. The spare bytes come second: their file is never older than the main data."""
        part = self._part
        first, _ = self._pages(offset, len(data))
        starts = range(0, len(data), part.raw_page)
        self._main.write(
            first * part.page_size, b"".join(data[start : start + part.page_size] for start in starts)
        )
        spare = b"".join(data[start + part.page_size : start + part.raw_page] for start in starts)
        if self._spare is None:
            if spare == bytes([ERASED]) * len(spare):
                return
            self._spare = self._open_spare(create=True)
        self._spare.write(first * part.spare_size, spare)
        self._spare.touch()

    def _pages(self, offset: int, length: int) -> tuple[int, int]:
        raw = self._part.raw_page
        if offset % raw or length % raw:
            raise ValueError(f"{length} bytes at {offset} are not whole pages of {raw} bytes")
        return offset // raw, length // raw

    def flush(self) -> None:
        """Sync both files."""
        self._main.flush()
        if self._spare is not None:
            self._spare.flush()

    def close(self) -> None:
        """Sync and close both files."""
        self._main.close()
        if self._spare is not None:
            self._spare.close()


class ImageFile(Backing, Protocol):
    """What the functions below give: a chip's backing that must be closed in the end."""

    def close(self) -> None:
        """Sync and close; the chip must not be used afterwards."""


def open_nand_image(path: Path, part: NandPart, *, snapshot: bool = False) -> ImageFile:
    """The image at ``path`` for a NAND chip of type ``part``; OptionError when it does not fit."""
    image = FlashImage(path, part.raw_size, snapshot=snapshot)
    if image.length == part.raw_size:
        return image
    try:
        if image.length > part.size:
            raise OptionError(
                f"{path} has {image.length} bytes: a {part.name} has {part.size}, "
                f"or {part.raw_size} with its spare bytes"
            )
        return PlainNandImage(image, part)
    except OptionError:
        image.close()
        raise


def open_nor_image(path: Path, size: int, *, snapshot: bool = False) -> ImageFile:
    """The image at ``path`` for a NOR chip of ``size`` bytes; OptionError when it is larger."""
    return FlashImage(path, size, snapshot=snapshot)


def open_eeprom_image(path: Path, size: int, *, snapshot: bool = False) -> ImageFile:
    """The image at ``path`` for an EEPROM of ``size`` bytes; a blank one when there is none.

    OptionError when it is larger.
    """
    return FlashImage(path, size, snapshot=snapshot and path.exists(), create=not path.exists())
