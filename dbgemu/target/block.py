"""What a card or a disk keeps its blocks in, as the parts of the board see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

#: bytes of a sector: the unit in which all media are addressed
SECTOR = 512


class BlockMedium(Protocol):
    """``size`` bytes (a multiple of 512) that stay. Offsets and lengths are in bytes."""

    size: int
    read_only: bool

    @property
    def writes_image(self) -> bool:
        """What is written goes to a file that stays."""

    def used(self) -> Iterator[tuple[int, int]]:
        """Where it may hold anything but zeros: offsets and lengths, in any order, which may overlap."""

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``; both lie within the size."""

    def write(self, offset: int, data: bytes) -> None:
        """Store ``data``: never called where it is read-only. Survives the emulator's end at once."""

    def flush(self) -> None:
        """Let what was written survive the host's end too, soon."""


class MemoryMedium:
    """A medium in memory alone, zeroed: forgotten at the end."""

    def __init__(self, size: int, *, read_only: bool = False) -> None:
        if size % SECTOR:
            raise ValueError(f"a medium of {size} bytes: not a multiple of {SECTOR}")
        self.size = size
        self.read_only = read_only
        self.data = bytearray(size)

    @property
    def writes_image(self) -> bool:
        """See BlockMedium."""
        return False

    def used(self) -> Iterator[tuple[int, int]]:
        """See BlockMedium."""
        yield 0, self.size

    def read(self, offset: int, length: int) -> bytes:
        """See BlockMedium."""
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        """See BlockMedium."""
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        """Nothing has to be kept."""
