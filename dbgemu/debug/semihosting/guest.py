"""The guest's side of a call: its parameters and buffers, in its memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.debug.semihosting.errors import CallError, Errno
from dbgemu.target.memory import Memory

if TYPE_CHECKING:
    from dbgemu.engine.cpu import Cpu

#: bytes that one call transfers at most; the guest is told how many it did not
MOST = 1 << 24
#: bytes of a name at most, as Linux has it
_LONGEST_NAME = 4095
#: the smallest unit of mapping: a tiny page (ARM ARM B3.3.3)
_GRANULE = 1024
_ADDRESS_END = 1 << 32


@dataclass(frozen=True)
class Text:
    """A string in the guest's memory: ``data``, with a NUL behind it there."""

    address: int
    data: bytes


class GuestMemory:
    """Virtual memory in the CPU's current mapping. Raises CallError(EFAULT) for what is not there."""

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes."""
        try:
            if address + length > _ADDRESS_END:
                raise CallError(Errno.EFAULT)
            return self._cpu.read_memory(address, length)
        except MEMORY_ERRORS:
            raise CallError(Errno.EFAULT) from None

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """``count`` words of 32 bits."""
        return struct.unpack(f"<{count}I", self.read(address, 4 * count))

    def write(self, address: int, data: bytes) -> None:
        """Write ``data``: all of it or nothing."""
        self.check_writable(address, len(data))
        self._cpu.write_memory(address, data)

    def write_words(self, address: int, *words: int) -> None:
        """Write words of 32 bits."""
        self.write(address, struct.pack(f"<{len(words)}I", *words))

    def check_writable(self, address: int, length: int) -> None:
        """All of it is memory that the guest could write: neither flash nor device registers."""
        if address + length > _ADDRESS_END:
            raise CallError(Errno.EFAULT)
        page = address & -_GRANULE
        while length and page < address + length:
            try:
                region = self._cpu.bus.find(self._cpu.translate(page))
            except MEMORY_ERRORS:
                region = None
            if region is None or not region.writable or not isinstance(region.target, Memory):
                raise CallError(Errno.EFAULT)
            page += _GRANULE

    def text(self, address: int, length: int) -> Text:
        """The string of ``length`` bytes and a NUL."""
        if length > _LONGEST_NAME:
            raise CallError(Errno.ENAMETOOLONG)
        data = self.read(address, length + 1)
        if data.find(b"\0") != length:
            raise CallError(Errno.EINVAL)
        return Text(address, data[:-1])

    def string_length(self, address: int) -> int:
        """How many bytes, up to :data:`MOST`, come before a NUL."""
        length = 0
        while length < MOST:
            place = address + length
            chunk = self.read(place, (place | _GRANULE - 1) + 1 - place)
            end = chunk.find(b"\0")
            if end >= 0:
                return length + end
            length += len(chunk)
        return MOST

    @contextmanager
    def borrowed(self, size: int) -> Iterator[int]:
        """``size`` bytes of the guest's memory for others to write to; it gets them back unchanged."""
        address = (self._cpu.read_register("sp") - size & -8) % _ADDRESS_END
        kept = self.read(address, size)
        self.check_writable(address, size)
        try:
            yield address
        finally:
            self._cpu.write_memory(address, kept)
