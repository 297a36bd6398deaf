"""A debugger's view of memory: virtual or physical addresses, no side effects on devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbgemu.engine.cpu import TranslationFault
from dbgemu.target.bus import BusError

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession

#: the smallest unit of mapping: a tiny page (ARM ARM B3.3.3)
_GRANULE = 1024

#: what an access can fail with; both read as a sentence
MEMORY_ERRORS = (TranslationFault, BusError)


class MemoryAccess:
    """Reads and writes for debuggers, of a machine that stands still or runs.

    Virtual addresses go through the CPU's current mapping. Reads of device registers are peeks;
    writes to them are what a CPU's write is. Raises :data:`MEMORY_ERRORS`.
    """

    def __init__(self, session: DebugSession) -> None:
        self._session = session
        self._cpu = session.machine.cpu
        self._bus = session.machine.board.bus

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes from virtual ``address``: all of them, or an error."""
        return self._session.call(lambda: self._cpu.read_memory(address, length))

    def read_front(self, address: int, length: int) -> bytes:
        """Like :meth:`read`, but cut where memory ends; an error only when nothing can be read."""
        return self._session.call(lambda: self._read_front(address, length))

    def _read_front(self, address: int, length: int) -> bytes:
        read = self._cpu.read_memory
        try:
            return read(address, length)
        except MEMORY_ERRORS:
            chunks = bytearray()
            end = address + length
            while address < end:
                stop = min(end, (address | _GRANULE - 1) + 1)
                try:
                    chunks += read(address, stop - address)
                except MEMORY_ERRORS:
                    if not chunks:
                        raise
                    break
                address = stop
            return bytes(chunks)

    def write(self, address: int, data: bytes) -> None:
        """Write ``data`` from virtual ``address``."""
        self._session.call(lambda: self._cpu.write_memory(address, data))

    def read_physical(self, address: int, length: int) -> bytes:
        """``length`` bytes from physical ``address``: all of them, or BusError."""
        return self._session.call(lambda: self._bus.peek(address, length))

    def write_physical(self, address: int, data: bytes) -> None:
        """Write ``data`` from physical ``address``; BusError where nothing is."""
        self._session.call(lambda: self._bus.poke(address, data))
