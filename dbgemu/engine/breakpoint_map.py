"""Where breakpoints are, as generated code looks it up: two bitmaps over an address space of 4 GiB."""

from __future__ import annotations

import ctypes
import mmap
from collections import Counter

from dbgemu.target.arm.state import PAGE_BITS


def reserve(size: int) -> mmap.mmap:
    """Zeroed memory of which only touched pages take room."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    return mmap.mmap(-1, size, flags=flags)


def address_of(memory: mmap.mmap) -> int:
    """The host address of what :func:`reserve` gave."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class BreakpointMap:
    """A set of addresses; ``pages`` has a bit for each 1 KiB, ``bits`` one for each halfword."""

    def __init__(self) -> None:
        self.pages = reserve(1 << 32 - PAGE_BITS - 3)
        self.bits = reserve(1 << 32 - 1 - 3)
        self._addresses: set[int] = set()
        self._in_page: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._addresses)

    def add(self, address: int) -> None:
        """Put ``address`` in; nothing happens when it is there."""
        if address not in self._addresses:
            self._addresses.add(address)
            self._in_page[address >> PAGE_BITS] += 1
            self._mark(address, True)

    def discard(self, address: int) -> None:
        """Take ``address`` out; nothing happens when it is not there."""
        if address in self._addresses:
            self._addresses.remove(address)
            self._in_page[address >> PAGE_BITS] -= 1
            self._mark(address, False)

    def _mark(self, address: int, present: bool) -> None:
        page = address >> PAGE_BITS
        _set_bit(self.bits, address >> 1, present)
        _set_bit(self.pages, page, self._in_page[page] > 0)


def _set_bit(bitmap: mmap.mmap, number: int, value: bool) -> None:
    mask = 1 << (number & 7)
    byte = bitmap[number >> 3]
    bitmap[number >> 3] = byte | mask if value else byte & ~mask
