"""From a source line to code: which of a program's line tables speak of a file.

The headers in .debug_line are read with ``struct``: to go by the compilation units takes pyelftools ten
seconds and more with a kernel.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from struct import unpack_from
from typing import Any

#: so few compilation units are all looked at
_FEW_UNITS = 64


def units_with(dwarf: Any, units: Sequence[int], file: str) -> list[int]:
    """Of ``units`` (offsets in .debug_info, in order), those whose lines may be of ``file``.

    Those that ``file`` is the main source of come alone, if there are any; of a header that many include
    only the first :data:`_FEW_UNITS` count.
    """
    if len(units) <= _FEW_UNITS:
        return list(units)
    data: bytes = dwarf.debug_line_sec.stream.getvalue()
    name = posixpath.basename(file).encode()
    main: list[int] = []
    others: list[int] = []
    for offset, names in _headers(data):
        if names is None or name in names:
            (main if names is not None and names[0] == name else others).append(offset)
    programs = main or others[:_FEW_UNITS]
    found = (_unit_of(dwarf, units, offset) for offset in programs)
    return [unit for unit in found if unit is not None]


def _headers(data: bytes) -> Iterator[tuple[int, list[bytes] | None]]:
    """The offset of each line program, and its files' names; None where the format is another (DWARF 5)."""
    place = 0
    while place + 10 < len(data):
        length, version = unpack_from("<IH", data, place)
        yield place, _names(data, place) if 2 <= version <= 4 else None
        place += 4 + length


def _names(data: bytes, place: int) -> list[bytes]:
    """DWARF 4, 6.2.4: the names, without their folders."""
    (version,) = unpack_from("<H", data, place + 4)
    place += 10 + (5 if version == 4 else 4)
    place += data[place] or 1  # opcode_base, and the lengths of the opcodes below it
    while data[place]:
        place = data.index(0, place) + 1
    place += 1
    names = []
    while data[place]:
        end = data.index(0, place)
        names.append(posixpath.basename(data[place:end]))
        place = end + 1
        for _ in range(3):  # folder, time and size, in LEB128
            while data[place] & 0x80:
                place += 1
            place += 1
    return names or [b""]


def _unit_of(dwarf: Any, units: Sequence[int], program: int) -> int | None:
    """The unit whose lines are at ``program``: linkers keep both in the same order."""
    low, high = 0, len(units)
    while low < high:
        middle = (low + high) // 2
        attributes = dwarf.get_CU_at(units[middle]).get_top_DIE().attributes
        lines = attributes["DW_AT_stmt_list"].value if "DW_AT_stmt_list" in attributes else -1
        if lines == program:
            return units[middle]
        low, high = (middle + 1, high) if lines < program else (low, middle)
    return None


def same_file(known: str, wanted: str) -> bool:
    """Whether ``wanted``, a name with or without folders, means the file ``known``."""
    return known == wanted or known.endswith("/" + wanted.lstrip("./"))


def nearest(lines: Callable[[], Iterator[int]], wanted: int) -> int | None:
    """The first line with code at or behind ``wanted``."""
    return min((line for line in lines() if line >= wanted), default=None)
