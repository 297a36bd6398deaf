"""What a handle can stand for, and who can open files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from dbgemu.debug.semihosting.errors import CallError, Errno

if TYPE_CHECKING:
    from dbgemu.debug.semihosting.guest import GuestMemory, Text

#: handles at once; a guest that leaks them gets an error then
_MAX_HANDLES = 256


class OpenFile(ABC):
    """An open file. Every method may raise CallError.

    Buffers are given by their address in the guest's memory: who executes the call may be far away.
    """

    @abstractmethod
    def read(self, address: int, length: int) -> int:
        """Read up to ``length`` bytes into the buffer; how many, 0 at the end."""

    @abstractmethod
    def write(self, address: int, length: int) -> int:
        """Write the buffer; how many bytes of it."""

    def seek(self, position: int) -> None:
        """Go on at ``position``, in bytes from the start."""
        raise CallError(Errno.ESPIPE)

    def size(self) -> int:
        """The length in bytes."""
        raise CallError(Errno.ESPIPE)

    def is_terminal(self) -> bool:
        """Somebody types and reads there."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Give it up."""


class FileSystem(ABC):
    """Who opens files by name. Every method may raise CallError; ``mode`` is SYS_OPEN's, 0 to 11."""

    @abstractmethod
    def open(self, path: Text, mode: int) -> OpenFile:
        """Open or make a file."""

    @abstractmethod
    def remove(self, path: Text) -> None:
        """Remove a file."""

    @abstractmethod
    def rename(self, old: Text, new: Text) -> None:
        """Rename a file."""

    def system(self, command: Text) -> int:
        """Run a command of the host's shell: its exit status."""
        raise CallError(Errno.EPERM)


class RemoteHost(FileSystem):
    """A front end whose user's files and console the guest may use."""

    @abstractmethod
    def stream(self, number: int) -> OpenFile:
        """Its standard input (0), output (1) or error output (2)."""


class NoFiles(FileSystem):
    """Refuses all: no folder was given for the guest."""

    def open(self, path: Text, mode: int) -> OpenFile:
        """See :class:`FileSystem`, also for the following."""
        raise CallError(Errno.EACCES)

    def remove(self, path: Text) -> None:
        """Refused."""
        raise CallError(Errno.EACCES)

    def rename(self, old: Text, new: Text) -> None:
        """Refused."""
        raise CallError(Errno.EACCES)


class Constant(OpenFile):
    """A file with fixed contents, which cannot be written: ``:semihosting-features``."""

    def __init__(self, guest: GuestMemory, contents: bytes) -> None:
        self._guest = guest
        self._contents = contents
        self._position = 0

    def read(self, address: int, length: int) -> int:
        """See :class:`OpenFile`, also for the following."""
        part = self._contents[self._position : self._position + length]
        self._guest.write(address, part)
        self._position += len(part)
        return len(part)

    def write(self, address: int, length: int) -> int:
        """Refused."""
        raise CallError(Errno.EBADF)

    def seek(self, position: int) -> None:
        """Anywhere: behind the end nothing is read."""
        self._position = position

    def size(self) -> int:
        """Its length."""
        return len(self._contents)

    def close(self) -> None:
        """Nothing to give up."""


class Handles:
    """The numbers by which the guest knows its open files: from 1, the lowest free one."""

    def __init__(self) -> None:
        self._open: dict[int, OpenFile] = {}

    def free(self) -> int:
        """A number to use; CallError(EMFILE) when all are in use."""
        number = next((n for n in range(1, _MAX_HANDLES + 1) if n not in self._open), None)
        if number is None:
            raise CallError(Errno.EMFILE)
        return number

    def put(self, number: int, file: OpenFile) -> None:
        """Let ``number`` stand for ``file``."""
        self._open[number] = file

    def __getitem__(self, number: int) -> OpenFile:
        """CallError(EBADF) when it stands for nothing."""
        if number not in self._open:
            raise CallError(Errno.EBADF)
        return self._open[number]

    def close(self, number: int) -> None:
        """Close the file; the number is free even if that fails, but not if it was interrupted."""
        file = self[number]
        try:
            file.close()
        except CallError:
            del self._open[number]
            raise
        del self._open[number]

    def drop(self) -> dict[int, OpenFile]:
        """Forget all, and give them."""
        dropped, self._open = self._open, {}
        return dropped
