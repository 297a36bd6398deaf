"""Memory for machine code: bytes go in, and stay until they are given back."""

from __future__ import annotations

import ctypes
import mmap
from bisect import insort

_ALIGNMENT = 64


class CodeMemory:
    """An arena of executable memory, first fit."""

    def __init__(self, size: int) -> None:
        self.size = size
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._map = mmap.mmap(-1, size, flags=flags, prot=protection)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        #: (offset, length), upwards, never side by side
        self._free = [(0, size)]
        self.used = 0

    def put(self, code: bytes) -> int | None:
        """The address of a copy of ``code``; None when there is no room."""
        length = _rounded(len(code))
        for place, (offset, room) in enumerate(self._free):
            if room >= length:
                if room > length:
                    self._free[place] = offset + length, room - length
                else:
                    del self._free[place]
                self._map[offset : offset + len(code)] = code
                self.used += length
                return self._address + offset
        return None

    def get(self, address: int, length: int) -> bytes:
        """What lies at ``address``."""
        offset = address - self._address
        return self._map[offset : offset + length]

    def release(self, address: int, length: int) -> None:
        """Give back what :meth:`put` gave for ``length`` bytes of code."""
        offset, length = address - self._address, _rounded(length)
        self.used -= length
        insort(self._free, (offset, length))
        joined: list[tuple[int, int]] = []
        for start, room in self._free:
            if joined and joined[-1][0] + joined[-1][1] == start:
                joined[-1] = joined[-1][0], joined[-1][1] + room
            else:
                joined.append((start, room))
        self._free = joined


def _rounded(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT
