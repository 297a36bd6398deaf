"""Host memory that guests use as RAM or ROM."""

from __future__ import annotations

import ctypes
import mmap


class Memory:
    """``size`` bytes (a multiple of 4096), zeroed, at a host address that never changes."""

    def __init__(self, name: str, size: int) -> None:
        if size <= 0 or size % mmap.PAGESIZE:
            raise ValueError(f"memory {name!r} of {size} bytes: not a multiple of {mmap.PAGESIZE}")
        self.name = name
        self.size = size
        self._map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.data = memoryview(self._map)
        #: where the first byte is in the emulator's own address space
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def clear(self, offset: int, length: int) -> None:
        """Let ``length`` bytes (multiples of 4096 both) be zeros, which take no memory of the host."""
        if length:
            self._map.madvise(mmap.MADV_DONTNEED, offset, length)

    def read(self, offset: int, size: int) -> int:
        """The little-endian integer of ``size`` bytes at ``offset``."""
        return int.from_bytes(self.data[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Store ``value`` as ``size`` little-endian bytes at ``offset``."""
        self.data[offset : offset + size] = value.to_bytes(size, "little")
