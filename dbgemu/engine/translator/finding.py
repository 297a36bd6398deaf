"""From what is asked for to the region that is to be made."""

from __future__ import annotations

from dbgemu.engine.layout import TRACED_WORD
from dbgemu.engine.translator.regions import Region, find_region
from dbgemu.engine.translator.requests import Made, Request
from dbgemu.target.arm.state import PAGE_SIZE


def find(request: Request, *, inner: bool = True) -> Region | None:
    """The region to make; ``inner``: with the functions that it calls, if it is small."""
    word, known, few = request.word, request.known, request.few
    pc, thumb = word & 0xFFFFFFFE, bool(word & 1)
    region = find_region(pc, thumb, request.fetch, request.was_taken, known=known, few=few, inner=inner)
    if region is not None:
        region.traced = bool(word & TRACED_WORD)
    return region


def describe(request: Request, region: Region, native: bytes, starts: tuple[int, ...] = ()) -> Made:
    """The answer: ``native`` was made of ``region``."""
    code = []
    for address, length in region.ranges():
        place = address & PAGE_SIZE - 1
        code.append((address, request.pages[address & -PAGE_SIZE][place : place + length]))
    entries, pages = tuple(region.entries), tuple(region.pages)
    return Made(request.word, entries, pages, tuple(code), native, region.instructions, starts)
