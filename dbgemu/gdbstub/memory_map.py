"""The memory map that GDB is given: what is RAM, what is ROM or flash.

GDB manual, "Memory Map Format". GDB refuses addresses that a map leaves out, while the guest's own
mapping makes memory appear anywhere; so all four gigabytes are covered: what is not ROM is called
RAM, and where nothing answers this server says so, at every access anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from dbgemu.gdbstub import flash
from dbgemu.target.memory import Memory

if TYPE_CHECKING:
    from dbgemu.engine.cpu import Cpu
    from dbgemu.target.bus import Bus

_END = 1 << 32


def _pieces(bus: Bus, cpu: Cpu) -> Iterator[tuple[int, int, str]]:
    """(start, end, type) of the whole address space, in order."""
    position = 0
    for region in bus.regions():
        if flash.flash_chip(region) is not None:
            kind = "flash"
        else:
            kind = "rom" if isinstance(region.target, Memory) and not region.writable else "ram"
        if kind != "ram" and not flash.seen_where_it_is(region, cpu):
            kind = "ram"
        if region.base > position:
            yield position, region.base, "ram"
        yield region.base, region.end, kind
        position = region.end
    if position < _END:
        yield position, _END, "ram"


def _lines(start: int, end: int, kind: str) -> Iterator[str]:
    if kind == "flash":
        yield from flash.describe(start)
    else:
        yield f'<memory type="{kind}" start="0x{start:x}" length="0x{end - start:x}"/>'


def memory_map(bus: Bus, cpu: Cpu) -> bytes:
    """The XML document. Call it where the CPU may be asked (see :meth:`DebugSession.call`)."""
    lines = [
        '<?xml version="1.0"?>',
        '<!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN"'
        ' "http://sourceware.org/gdb/gdb-memory-map.dtd">',
        "<memory-map>",
    ]
    lines += chain.from_iterable(_lines(*piece) for piece in _pieces(bus, cpu))
    return "\n".join([*lines, "</memory-map>\n"]).encode()
