"""What is asked of a compiler of regions, and what it answers: plain data, to be sent to a process."""

from __future__ import annotations

from typing import NamedTuple

from dbgemu.engine.layout import HOT_COUNTERS, JUMP_SLOTS, TRACED_WORD
from dbgemu.target.arm.state import PAGE_SIZE

#: what a worker does with requests
COMPILE, ASSEMBLE = "compile", "assemble"


class Request(NamedTuple):
    """A hot address (bit 0: Thumb, and TRACED_WORD), and the code around it: bytes by virtual 1 KiB page."""

    word: int
    pages: dict[int, bytes]
    #: the counters of blocks' entries, and what they start at; empty where nothing was counted
    counters: bytes = b""
    start: int = 0
    #: addresses where other regions are entered
    known: frozenset[int] = frozenset()
    #: instructions that a region has at least, before it ends where another one begins
    few: int = 1

    def fetch(self, address: int, size: int) -> int | None:
        """The code at ``address``, None where it is not known."""
        page = self.pages.get(address & -PAGE_SIZE)
        if page is None:
            return None
        place = address & PAGE_SIZE - 1
        return int.from_bytes(page[place : place + size], "little")

    def was_taken(self, target: int) -> bool:
        """Whether a jump to ``target`` may have been seen."""
        if not self.counters:
            return True
        place = 2 * ((target >> 2 ^ target >> 16) & (JUMP_SLOTS - 1) & (HOT_COUNTERS - 1))
        return int.from_bytes(self.counters[place : place + 2], "little") != self.start


class Made(NamedTuple):
    """A translated region: where its code came from, and its native function."""

    word: int
    entries: tuple[int, ...]
    pages: tuple[int, ...]
    #: (address, bytes) of the guest's code, each within a page
    code: tuple[tuple[int, bytes], ...]
    native: bytes
    instructions: int
    #: where in the native code each entry is: at its start, if nothing else is said
    starts: tuple[int, ...] = ()

    @property
    def pc(self) -> int:
        """The hot address."""
        return self.word & 0xFFFFFFFE

    @property
    def thumb(self) -> bool:
        """It is Thumb code."""
        return bool(self.word & 1)

    @property
    def assembled(self) -> bool:
        """It was put together from stencils."""
        return bool(self.starts)

    @property
    def traced(self) -> bool:
        """It records its blocks."""
        return bool(self.word & TRACED_WORD)


class Batch(NamedTuple):
    """The answer to some requests; of those that ``made`` has nothing for, nothing is to be had."""

    requests: tuple[Request, ...]
    made: tuple[Made, ...]
    seconds: float = 0.0
