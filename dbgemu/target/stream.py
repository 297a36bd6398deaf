"""Streams: data registers whose next bytes are known, so that an access need not ask the device.

A device lays what reads of its data register will give, or leaves room for what is written to it, in a
buffer; whoever executes the guest's code then serves such accesses from the buffer and moves on in it,
and asks the device for all others. The device looks where the stream is when anything else is wanted of
it: another register, a peek, its saved state. So a device has to do everything that follows from the
bytes that have passed - error correction codes, counters, status - only then, and the very last access, or
any that must do something at once, comes to its handler when the limit is set short of it.

A register whose value stays the same until the device says otherwise can be held in the same way.

Nothing depends on accesses being served here: without an engine each of them comes to the handler.
"""

from __future__ import annotations

import ctypes
from array import array

# Words of the native description, which the engine reads: three host addresses; the physical address with
# the access sizes that are served above it (a sum of 1, 2, 4); what of an access's size the cursor moves
# on by (a mask); the host address of the next description for the same page, or 0
STREAM_CURSOR, STREAM_READ_END, STREAM_WRITE_END, STREAM_ACCESS, STREAM_STEP, STREAM_NEXT = range(6)
STREAM_SIZES_SHIFT = 32

ANY_SIZE = 1 | 2 | 4
_EVERY_BIT = (1 << 64) - 1


class Port:
    """What the engine knows of a register: where its bytes are, and which accesses are served."""

    __slots__ = ("_base", "_described", "_sizes", "native")

    def __init__(self, base: int, sizes: int, step: int) -> None:
        self._base = base
        self._sizes = sizes
        self._described = array("Q", [base, 0, 0, sizes << STREAM_SIZES_SHIFT, step, 0])
        #: the host address of the description
        self.native = self._described.buffer_info()[0]

    @property
    def address(self) -> int:
        """The register's physical address: the bus sets it."""
        return self._described[STREAM_ACCESS] & 0xFFFFFFFF

    @address.setter
    def address(self, address: int) -> None:
        self._described[STREAM_ACCESS] = self._described[STREAM_ACCESS] >> 32 << 32 | address

    @property
    def enabled(self) -> bool:
        """Whether accesses are served at all; True at first."""
        return bool(self._described[STREAM_ACCESS] >> STREAM_SIZES_SHIFT)

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._described[STREAM_ACCESS] = self.address | (self._sizes if value else 0) << STREAM_SIZES_SHIFT

    def follow(self, other: Port) -> None:
        """Be looked at after ``other``, in the same page: for the bus."""
        other._described[STREAM_NEXT] = self.native


class HeldRegister(Port):
    """A register that reads as one 32-bit value as long as it is held; writes go to its handler."""

    __slots__ = ("_value",)

    def __init__(self, sizes: int = ANY_SIZE) -> None:
        self._value = array("I", [0])
        super().__init__(self._value.buffer_info()[0], sizes, step=0)

    def hold(self, value: int) -> None:
        """Let reads give ``value`` from now on."""
        self._value[0] = value
        self._described[STREAM_READ_END] = self._base + 4

    def release(self) -> None:
        """Let reads come to the register's handler."""
        self._described[STREAM_READ_END] = 0


class StreamPort(Port):
    """The stream of one data register: a buffer, a position in it, and limits for reads and writes.

    An access of n bytes (n in ``sizes``) at ``position`` is served if position + n is within ``read_limit``
    or ``write_limit`` (0: none is); little-endian, the first byte is the lowest. ``capacity`` is in bytes.
    """

    __slots__ = ("_keep", "buffer")

    def __init__(self, capacity: int, sizes: int = ANY_SIZE) -> None:
        #: contents may be changed at any time, the length never
        self.buffer = bytearray(capacity)
        self._keep = (ctypes.c_char * capacity).from_buffer(self.buffer)
        super().__init__(ctypes.addressof(self._keep), sizes, step=_EVERY_BIT)

    @property
    def position(self) -> int:
        """Where the next byte is read or written: an index of ``buffer``."""
        return self._described[STREAM_CURSOR] - self._base

    @position.setter
    def position(self, index: int) -> None:
        self._described[STREAM_CURSOR] = self._base + index

    @property
    def read_limit(self) -> int:
        """Reads are served up to here; 0 for none."""
        return max(self._described[STREAM_READ_END] - self._base, 0)

    @read_limit.setter
    def read_limit(self, index: int) -> None:
        self._described[STREAM_READ_END] = self._end(index)

    @property
    def write_limit(self) -> int:
        """Writes are served up to here; 0 for none."""
        return max(self._described[STREAM_WRITE_END] - self._base, 0)

    @write_limit.setter
    def write_limit(self, index: int) -> None:
        self._described[STREAM_WRITE_END] = self._end(index)

    def _end(self, index: int) -> int:
        if not 0 <= index <= len(self.buffer):
            raise ValueError(f"the limit {index} is not within a buffer of {len(self.buffer)} bytes")
        return self._base + index if index else 0

    def open_reads(self) -> None:
        """Let reads be served up to the capacity."""
        self._described[STREAM_READ_END] = self._end(len(self.buffer))

    def close(self) -> None:
        """Serve nothing any more; the position stays."""
        described = self._described
        described[STREAM_READ_END] = described[STREAM_WRITE_END] = 0

    # -- for devices that have no buffer of their own ----------------------------------------------

    def offer(self, data: bytes | bytearray | memoryview) -> None:
        """Let reads be served from ``data`` (a copy, at most the capacity) until that ends."""
        count = len(data)
        if count > len(self.buffer):
            raise ValueError(f"{count} bytes do not fit into a buffer of {len(self.buffer)}")
        self.buffer[:count] = data
        self.write_limit = 0
        self.position = 0
        self.read_limit = count

    def accept(self, limit: int) -> None:
        """Let writes be served until ``limit`` bytes have come."""
        described = self._described
        described[STREAM_READ_END] = 0
        described[STREAM_CURSOR] = self._base
        described[STREAM_WRITE_END] = self._end(limit)

    def withdraw(self) -> int:
        """Serve nothing any more; gives how many bytes were read since :meth:`offer`."""
        passed = self.position
        self.close()
        self.position = 0
        return passed

    def received(self) -> bytes:
        """Serve nothing any more; gives what was written since :meth:`accept`."""
        return bytes(self.buffer[: self.withdraw()])
