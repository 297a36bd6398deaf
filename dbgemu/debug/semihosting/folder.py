"""Files of the host, in one folder that no name leads out of.

A name's parts are opened one by one, each relative to the one before and without following symbolic
links: so neither ``..``, an absolute name nor a link escapes, whatever else changes the folder meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dbgemu.debug.semihosting.errors import CallError, Errno, from_host
from dbgemu.debug.semihosting.files import FileSystem, OpenFile

if TYPE_CHECKING:
    from dbgemu.debug.semihosting.guest import GuestMemory, Text

#: SYS_OPEN's modes, which are ISO C's fopen modes: r, r+, w, w+, a, a+, each as text and binary
_MODE_FLAGS = (os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR)
_CREATE, _APPEND = range(4, 12), range(8, 12)
_TRUNCATE = range(4, 8)

# a FIFO would block without O_NONBLOCK, before it is seen that it is no regular file
_ALWAYS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def _host_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise from_host(error) from None


class HostFile(OpenFile):
    """A regular file of the host."""

    def __init__(self, descriptor: int, guest: GuestMemory) -> None:
        self._descriptor = descriptor
        self._guest = guest

    def read(self, address: int, length: int) -> int:
        """See :class:`OpenFile`, also for the following."""
        self._guest.check_writable(address, length)
        with _host_errors():
            data = os.read(self._descriptor, length)
        self._guest.write(address, data)
        return len(data)

    def write(self, address: int, length: int) -> int:
        """To the file at once: nothing is kept in a buffer."""
        data = self._guest.read(address, length)
        with _host_errors():
            return os.write(self._descriptor, data)

    def seek(self, position: int) -> None:
        """From the start."""
        with _host_errors():
            os.lseek(self._descriptor, position, os.SEEK_SET)

    def size(self) -> int:
        """As it is now."""
        with _host_errors():
            return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Give the descriptor back."""
        with _host_errors():
            os.close(self._descriptor)


class Folder(FileSystem):
    """The files in ``path`` and the folders below it. Raises OSError when it cannot be opened."""

    def __init__(self, path: Path, guest: GuestMemory) -> None:
        self._guest = guest
        # the user may name the folder by a link
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open(self, path: Text, mode: int) -> OpenFile:
        """Regular files only."""
        flags = _MODE_FLAGS[mode // 2] | _ALWAYS
        flags |= os.O_CREAT if mode in _CREATE else 0
        flags |= os.O_APPEND if mode in _APPEND else 0
        with self._parent(path) as (folder, name), _host_errors():
            descriptor = os.open(name, flags, 0o666, dir_fd=folder)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise CallError(Errno.EACCES)
                if mode in _TRUNCATE:
                    os.ftruncate(descriptor, 0)
            except BaseException:
                os.close(descriptor)
                raise
        return HostFile(descriptor, self._guest)

    def remove(self, path: Text) -> None:
        """A symbolic link itself, not what it leads to."""
        with self._parent(path) as (folder, name), _host_errors():
            os.unlink(name, dir_fd=folder)

    def rename(self, old: Text, new: Text) -> None:
        """Within the folder; replaces what has the new name."""
        with (
            self._parent(old) as (from_folder, from_name),
            self._parent(new) as (to_folder, to_name),
            _host_errors(),
        ):
            os.rename(from_name, to_name, src_dir_fd=from_folder, dst_dir_fd=to_folder)

    def close(self) -> None:
        """Give the folder up."""
        os.close(self._root)

    @contextmanager
    def _parent(self, path: Text) -> Iterator[tuple[int, bytes]]:
        """The folder that ``path`` is in, as a descriptor, and its name there."""
        *folders, name = _parts(path.data)
        descriptor = self._root
        try:
            for part in folders:
                with _host_errors():
                    deeper = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
                if descriptor != self._root:
                    os.close(descriptor)
                descriptor = deeper
            yield descriptor, name
        finally:
            if descriptor != self._root:
                os.close(descriptor)


def _parts(path: bytes) -> list[bytes]:
    """The names that ``path`` consists of, at least one, none of them ``.`` or ``..``."""
    if path.startswith(b"/"):
        raise CallError(Errno.EACCES)
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            # no part is a link, so going up undoes going down
            if not parts:
                raise CallError(Errno.EACCES)
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    if not path:
        raise CallError(Errno.ENOENT)
    if not parts:
        raise CallError(Errno.EISDIR)
    return parts
