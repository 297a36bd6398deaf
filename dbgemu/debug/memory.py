"""A debugger's view of memory: virtual or physical addresses, no side effects on devices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from dbgemu.debug.events import Change, ChangeKind, FrontEnd
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

    def read(self, address: int, length: int, *, table: int | None = None) -> bytes:
        """``length`` bytes from virtual ``address``: all of them, or an error.

        With ``table`` as the translation table at that physical address maps it, MMU on or off: another
        process's memory.
        """
        if table is None:
            return self._session.call(lambda: self._cpu.read_memory(address, length))
        return self._session.call(lambda: self._cpu.read_memory(address, length, table=table))

    def read_front(
        self, address: int, length: int, *, physical: bool = False, table: int | None = None
    ) -> bytes:
        """Like :meth:`read`, but cut where memory ends; an error only when nothing can be read."""
        read = self._bus.peek if physical else self._cpu.read_memory
        if table is not None:
            read = partial(self._cpu.read_memory, table=table)
        return self._session.call(lambda: self._read_front(address, length, read))

    def _read_front(self, address: int, length: int, read: Callable[[int, int], bytes]) -> bytes:
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

    def write(
        self, address: int, data: bytes, *, table: int | None = None, by: FrontEnd | None = None
    ) -> None:
        """Write ``data`` from virtual ``address`` for ``by``; ``table`` as for :meth:`read`.

        Code that is written is executed so from the next instruction on.
        """
        if table is None:
            self._session.call(lambda: self._cpu.write_memory(address, data))
        else:
            self._session.call(lambda: self._cpu.write_memory(address, data, table=table))
        self._session.tell(Change(ChangeKind.MEMORY, by, address=address, length=len(data)))

    def read_with_side_effects(self, address: int, size: int, *, physical: bool = False) -> int:
        """Read ``size`` bytes (1, 2 or 4) from an aligned address as the CPU would: a FIFO is popped.

        ValueError for another size or alignment.
        """
        if size not in (1, 2, 4) or address % size:
            raise ValueError(f"a read of {size} bytes at 0x{address:08x} is none that the CPU makes")

        def read() -> int:
            place = address if physical else self._cpu.translate(address)
            if self._bus.find(place) is None:
                raise BusError(place)
            return self._bus.read(place, size) & (1 << 8 * size) - 1

        return self._session.call(read)

    def read_physical(self, address: int, length: int) -> bytes:
        """``length`` bytes from physical ``address``: all of them, or BusError."""
        return self._session.call(lambda: self._bus.peek(address, length))

    def write_physical(self, address: int, data: bytes, *, by: FrontEnd | None = None) -> None:
        """Write ``data`` from physical ``address`` for ``by``; BusError where nothing is."""
        self._session.call(lambda: self._bus.poke(address, data))
        change = Change(ChangeKind.MEMORY, by, address=address, length=len(data), physical=True)
        self._session.tell(change)
