"""Image files behind flash chips: what ``-mtdblock`` and ``-pflash`` name.

Layouts of a NAND image, told apart by its size (the QEMU fork for the mini2440 does the same):

- each page followed by its spare bytes: exactly that many bytes (528 a page of 512);
- main data only: up to the chip's size. What the file lacks is erased. Spare bytes are kept in a file
  beside it, named with ``.oob`` appended, which appears with the first spare byte that is written.

A file grows only as far as the guest writes; on the way there it is filled with FF, from its end on, so
that its meaning is the same at every moment, also if the emulator is killed.

Every write reaches the host's page cache (``pwrite``) before the guest sees its operation done: it
survives the loss of the emulator's process at once, and that of the host's power after a second, when
a background thread has synced it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from pathlib import Path
from typing import Protocol

from dbgemu.errors import OptionError
from dbgemu.target.chips.flash_array import ERASED, Backing
from dbgemu.target.chips.nand_parts import NandPart

#: seconds until what was written is synced to the disk
SYNC_DELAY = 1.0

#: how much newer (s) than its spare bytes an image may be: a kill between the two writes, coarse clocks
_STALE_AFTER = 2.0

_FILL = bytes([ERASED]) * 65536


class FlashImage:
    """A regular file of at most ``size`` bytes that reads as erased from its end up to there.

    With ``snapshot`` the file is opened for reading only and ``writable`` is False. Raises
    :class:`OptionError` when the file cannot be used.
    """

    def __init__(self, path: Path, size: int, *, snapshot: bool = False, create: bool = False) -> None:
        self.path = path
        self.size = size
        self.writable = not snapshot
        self._sync_lock = threading.Lock()
        self._sync_timer: threading.Timer | None = None
        self._fd = _open(path, self.writable, create)
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
            self._write_at(self.length, _FILL[: offset - self.length])
        self._write_at(offset, data)

    def _write_at(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self._fd, view, offset)
            offset += count
            view = view[count:]
        self.length = max(self.length, offset)
        if self._sync_timer is None:
            self._sync_timer = threading.Timer(SYNC_DELAY, self.flush)
            self._sync_timer.daemon = True
            self._sync_timer.start()

    def flush(self) -> None:
        """Sync what was written to the disk; returns at once when nothing was. Any thread may call."""
        with self._sync_lock:
            timer, self._sync_timer = self._sync_timer, None
            if timer is not None:
                timer.cancel()
                os.fsync(self._fd)

    def modified(self) -> float:
        """When the file was last written, in seconds since the epoch."""
        return os.fstat(self._fd).st_mtime

    def touch(self) -> None:
        """Make the file count as modified now."""
        os.utime(self._fd)

    def close(self) -> None:
        """Sync and close; nothing may be called afterwards."""
        self.flush()
        os.close(self._fd)


def _open(path: Path, writable: bool, create: bool) -> int:
    try:
        if path.exists():
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                raise OptionError(f"{path} is not a regular file, so it cannot be a flash image")
            # Tested by hand, since for root every file can be opened for writing.
            if writable and not mode & 0o222:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        flags = (os.O_RDWR if writable else os.O_RDONLY) | (os.O_CREAT if create else 0)
        fd = os.open(path, flags | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        raise OptionError(f"there is no flash image {path}") from None
    except OSError as error:
        if writable and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and os.access(path, os.R_OK):
            raise OptionError(f"{path} is read-only: use -snapshot to leave it as it is") from None
        raise OptionError(f"cannot open the flash image {path}: {error.strerror}") from None
    if writable:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise OptionError(f"{path} is in use by another emulator: use -snapshot to share it") from None
    return fd


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
