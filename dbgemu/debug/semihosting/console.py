"""The guest's console: where ``:tt`` and the calls for single characters lead."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbgemu.debug.semihosting.files import OpenFile

if TYPE_CHECKING:
    from dbgemu.debug.semihosting.host import Semihosting

INPUT, OUTPUT, ERROR_OUTPUT = 0, 1, 2

#: input kept for a guest that does not read it, before its source is held
_ROOM = 1 << 16


class Console:
    """The emulator's own console. Used on the machine's thread only.

    ``write`` takes the stream (1 or 2) and data. Input comes by :meth:`feed`; at first there is none,
    and none to come: ``opened`` tells that there will be.
    """

    def __init__(self, write: Callable[[int, bytes], None]) -> None:
        self.write = write
        #: told when there is room again
        self.on_room: Callable[[], None] = lambda: None
        self._input = bytearray()
        self._ended = True

    def open(self) -> None:
        """Somebody will type."""
        self._ended = False

    def feed(self, data: bytes) -> bool:
        """Typed characters; False when there is no room for more."""
        self._input += data
        return len(self._input) < _ROOM

    def end(self) -> None:
        """Nobody will type any more."""
        self._ended = True

    @property
    def ready(self) -> bool:
        """There is input, or there will never be."""
        return bool(self._input) or self._ended

    def take(self, length: int) -> bytes:
        """Up to ``length`` characters; none at the end."""
        data = bytes(self._input[:length])
        full = len(self._input) >= _ROOM
        del self._input[:length]
        if full and len(self._input) < _ROOM:
            self.on_room()
        return data


class Stream(OpenFile):
    """One of the console's streams: GDB's while it takes part, otherwise the emulator's."""

    def __init__(self, host: Semihosting, number: int) -> None:
        self._host = host
        self._number = number

    def read(self, address: int, length: int) -> int:
        """See :class:`OpenFile`, also for the following: waits for at least one character."""
        remote = self._host.remote_console()
        if remote is not None:
            return remote.stream(INPUT).read(address, length)
        guest, console = self._host.guest, self._host.console
        guest.check_writable(address, length)
        if not length:
            return 0
        self._host.wait_until(lambda: console.ready)
        data = console.take(length)
        guest.write(address, data)
        return len(data)

    def write(self, address: int, length: int) -> int:
        """All of it."""
        # what a terminal is opened for does not say in which direction it works
        number = self._number or OUTPUT
        remote = self._host.remote_console()
        if remote is not None:
            return remote.stream(number).write(address, length)
        self._host.console.write(number, self._host.guest.read(address, length))
        return length

    def is_terminal(self) -> bool:
        """It is interactive."""
        return True

    def close(self) -> None:
        """The console stays."""
