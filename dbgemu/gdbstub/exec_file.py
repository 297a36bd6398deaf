"""Handlers: the program as a file, so that GDB finds its symbols without being told where they are.

GDB asks what runs (``qXfer:exec-file``), and then for the file's contents (``vFile``; GDB manual, "Host
I/O Packets"). The one file there is, read only, is the ELF that the emulator was started with.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

from dbgemu.gdbstub.errors import PacketError
from dbgemu.gdbstub.framing import PACKET_SIZE, escape
from dbgemu.gdbstub.queries import document_part

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client

# GDB manual, "Protocol-specific Representation of Datatypes": errno and struct stat, big endian
_ERRNO = {
    errno.EPERM: 1,
    errno.ENOENT: 2,
    errno.EBADF: 9,
    errno.EACCES: 13,
    errno.EINVAL: 22,
    errno.EMFILE: 24,
}
_UNKNOWN = 9999
_STAT = Struct(">7I3Q3I")

_READ_LIMIT = PACKET_SIZE // 2 - 16

#: files that one client may have open
_MOST_FILES = 16


def is_elf(path: Path) -> bool:
    """Whether ``path`` can be read and is an ELF file."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


class HostFiles:
    """The files that one client has open, by the numbers that it knows them by."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}

    def open(self, path: Path) -> int:
        """Open ``path`` for reading. OSError when that fails."""
        if len(self._open) >= _MOST_FILES:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        number = next(number for number in range(3, 4 + _MOST_FILES) if number not in self._open)
        self._open[number] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return number

    def descriptor(self, number: int) -> int:
        """The host's descriptor for ``number``. OSError when that is not open."""
        if number not in self._open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._open[number]

    def close(self, number: int) -> None:
        """Close ``number``. OSError when it is not open."""
        os.close(self.descriptor(number))
        del self._open[number]

    def close_all(self) -> None:
        """Close what the client left open."""
        for number in list(self._open):
            self.close(number)


def _failed(error: OSError) -> bytes:
    return b"F-1,%x" % _ERRNO.get(error.errno or 0, _UNKNOWN)


def read_name(client: Client, process: str, offset: int, length: int) -> bytes:
    """``qXfer:exec-file:read``: the path of the ELF."""
    program = client.stub.program
    if process not in ("", "1") or program is None:
        raise PacketError("the emulator was not started with an ELF file")
    return document_part(os.fsencode(program), offset, length)


def set_filesystem(client: Client, process: int) -> bytes:
    """``vFile:setfs``: whose files are meant; all see the same."""
    return b"F0"


def open_file(client: Client, name: bytes, flags: int, mode: int) -> bytes:
    """``vFile:open``: the program's file, for reading."""
    program = client.stub.program
    try:
        if program is None or os.fsdecode(name) != str(program):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if flags:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return b"F%x" % client.files.open(program)
    except OSError as error:
        return _failed(error)


def read_file(client: Client, number: int, count: int, offset: int) -> bytes:
    """``vFile:pread``: at most ``count`` bytes from ``offset``."""
    try:
        if offset >> 62:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        data = os.pread(client.files.descriptor(number), min(count, _READ_LIMIT), offset)
    except OSError as error:
        return _failed(error)
    return b"F%x;%b" % (len(data), escape(data))


def describe_file(client: Client, number: int) -> bytes:
    """``vFile:fstat``: size, type and times."""
    try:
        found = os.fstat(client.files.descriptor(number))
    except OSError as error:
        return _failed(error)
    times = (int(moment) & 0xFFFFFFFF for moment in (found.st_atime, found.st_mtime, found.st_ctime))
    mode = stat.S_IFREG | 0o444
    data = _STAT.pack(0, 0, mode, 1, 0, 0, 0, found.st_size, 4096, -(-found.st_size // 512), *times)
    return b"F%x;%b" % (len(data), escape(data))


def close_file(client: Client, number: int) -> bytes:
    """``vFile:close``."""
    try:
        client.files.close(number)
    except OSError as error:
        return _failed(error)
    return b"F0"


def read_link(client: Client, name: bytes) -> bytes:
    """``vFile:readlink``: nothing here is a symbolic link."""
    return _failed(OSError(errno.EINVAL, os.strerror(errno.EINVAL)))
