"""Source lines from DWARF: of one ELF file, read for one compilation unit at a time."""

from __future__ import annotations

import posixpath
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from dbgemu.debug.line_search import nearest, same_file, units_with

#: compilation units whose lines are kept: a kernel has some thousands, a session looks at few
_UNITS_KEPT = 64


class _Unit(NamedTuple):
    """Addresses (as linked) that a compilation unit covers, and where it is in .debug_info."""

    start: int
    end: int
    offset: int


class _Row(NamedTuple):
    """From ``address`` on the code is of ``line`` of ``file``; of none where ``line`` is 0."""

    address: int
    file: str
    line: int
    #: a statement begins here: a good place for a breakpoint
    statement: bool = True


class LineRange(NamedTuple):
    """The code of one row of the table: from ``start`` up to, not including, ``end``."""

    start: int
    end: int
    file: str
    line: int


class LineTable:
    """Line numbers of the file ``path``, moved by ``offset``. Nothing is read before it is asked for.

    A file without DWARF, or with some that cannot be read, has no lines.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self._offset = offset
        self._dwarf: Any = None
        self._units: list[_Unit] | None = None
        self._starts: list[int] = []
        self._rows_of = lru_cache(maxsize=_UNITS_KEPT)(self._read_rows)

    def find(self, address: int) -> tuple[str, int] | None:
        """The (file, line) of the code at ``address``, or None."""
        found = self.range_at(address)
        return None if found is None else (found.file, found.line)

    def range_at(self, address: int) -> LineRange | None:
        """The row that covers ``address``, or None."""
        linked = address - self._offset & 0xFFFFFFFF
        unit = self._unit(linked)
        return None if unit is None else self._find_row(unit, linked)

    def _unit(self, linked: int) -> _Unit | None:
        if self._units is None:
            self._index()
        assert self._units is not None
        place = bisect_right(self._starts, linked) - 1
        return self._units[place] if place >= 0 and linked < self._units[place].end else None

    def _find_row(self, unit: _Unit, linked: int) -> LineRange | None:
        addresses, rows = self._rows_of(unit.offset)
        place = bisect_right(addresses, linked) - 1
        if place < 0 or not rows[place].line:
            return None
        row = rows[place]
        end = addresses[place + 1] if place + 1 < len(rows) else unit.end
        move = self._offset
        return LineRange(row.address + move & 0xFFFFFFFF, end + move & 0xFFFFFFFF, row.file, row.line)

    def places(self, file: str, line: int) -> list[LineRange]:
        """Where statements of ``line`` of ``file`` (its name, with folders or without) begin, by address.

        Where that line has no code, of the first behind it that has; empty where there is none.
        """
        if self._units is None:
            self._index()
        assert self._units is not None
        units = sorted({unit.offset for unit in self._units})
        if self._dwarf is None or not units:
            return []
        found: list[_Row] = []
        for unit in units_with(self._dwarf, units, file):
            found += (row for row in self._rows_of(unit)[1] if row.line and same_file(row.file, file))
        wanted = nearest(lambda: (row.line for row in found), line)
        starts = sorted({row.address for row in found if row.line == wanted and row.statement})
        moved = (start + self._offset & 0xFFFFFFFF for start in starts)
        return [place for place in map(self.range_at, moved) if place is not None]

    def unit_at(self, address: int) -> Any:
        """The compilation unit with the code at ``address``, pyelftools' object; None where none has that.

        Raises whatever damaged DWARF makes pyelftools raise.
        """
        unit = self._unit(address - self._offset & 0xFFFFFFFF)
        return None if unit is None else self._dwarf.get_CU_at(unit.offset)

    def covers(self, unit: Any, die: Any, linked: int) -> bool:
        """The code of a function or block of ``unit`` has the address ``linked``, as linked."""
        return any(start <= linked < end for start, end in _ranges_of(self._dwarf, unit, die))

    def _index(self) -> None:
        """Find out which unit covers what."""
        units: list[_Unit] = []
        try:
            self._dwarf = self._open()
            if self._dwarf is not None:
                units = _units_of(self._dwarf)
        except Exception:  # damaged DWARF fails in many ways, and is as good as none
            self._dwarf = None
        self._units = sorted(units)
        self._starts = [unit.start for unit in self._units]

    def _open(self) -> Any:
        from elftools.elf.elffile import ELFFile  # only now, as in dbgemu.debug.symbols

        with self._path.open("rb") as file:
            elf = ELFFile(file)
            if not elf.has_dwarf_info(strict=True):
                return None
            return elf.get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)

    def _read_rows(self, unit: int) -> tuple[list[int], list[_Row]]:
        """The rows of the unit at ``unit`` in .debug_info, by address."""
        try:
            rows = _rows_of(self._dwarf, unit)
        except Exception:  # as in _index
            rows = []
        return [row.address for row in rows], rows


def _units_of(dwarf: Any) -> list[_Unit]:
    """From .debug_aranges, or where the file has none from each unit's own attributes."""
    table = dwarf.get_aranges()
    if table is not None:
        return [
            _Unit(entry.begin_addr, entry.begin_addr + entry.length, entry.info_offset)
            for entry in table.entries
            if entry.length
        ]
    return [
        _Unit(start, end, unit.cu_offset)
        for unit in dwarf.iter_CUs()
        for start, end in _ranges_of(dwarf, unit, unit.get_top_DIE())
        if start < end
    ]


def _ranges_of(dwarf: Any, unit: Any, die: Any) -> list[tuple[int, int]]:
    """The code of a unit, or of what is in it: (first address, the one behind it)."""
    attributes = die.attributes
    low = attributes["DW_AT_low_pc"].value if "DW_AT_low_pc" in attributes else 0
    if "DW_AT_ranges" in attributes:
        lists = dwarf.range_lists()
        entries = lists.get_range_list_at_offset(attributes["DW_AT_ranges"].value, unit)
        top = unit.get_top_DIE().attributes
        ranges, base = [], top["DW_AT_low_pc"].value if "DW_AT_low_pc" in top else 0
        for entry in entries:
            if hasattr(entry, "base_address"):
                base = entry.base_address
            else:
                start = 0 if entry.is_absolute else base
                ranges.append((start + entry.begin_offset, start + entry.end_offset))
        return ranges
    if "DW_AT_high_pc" not in attributes:
        return []
    high = attributes["DW_AT_high_pc"]
    # DWARF 4, 2.17.2: an address, or the number of bytes
    return [(low, high.value if high.form == "DW_FORM_addr" else low + high.value)]


def _rows_of(dwarf: Any, offset: int) -> list[_Row]:
    program = dwarf.line_program_for_CU(dwarf.get_CU_at(offset))
    if program is None:
        return []
    names = _file_names(program)
    rows = []
    for entry in program.get_entries():
        state = entry.state
        if state is not None:
            line = 0 if state.end_sequence else state.line
            rows.append(_Row(state.address, names.get(state.file, "?"), line, bool(state.is_stmt)))
    # the end of one sequence may be where another starts
    rows.sort(key=lambda row: (row.address, row.line != 0))
    return rows


def _file_names(program: Any) -> dict[int, str]:
    """File numbers of the line program to names, with the folder where it is not the compiler's own."""
    header = program.header
    # DWARF 5, 6.2.4: files and folders count from 0; before, from 1, with folder 0 the compiler's own
    first = 0 if header["version"] >= 5 else 1
    folders = [_text(item) for item in header["include_directory"]]
    names = {}
    for number, entry in enumerate(header["file_entry"], start=first):
        place = entry["dir_index"] - first
        own = entry["dir_index"] == 0
        name = _text(entry.name)
        if not own and 0 <= place < len(folders):
            name = posixpath.normpath(posixpath.join(folders[place], name))
        names[number] = name
    return names


def _text(item: Any) -> str:
    raw = item if isinstance(item, bytes) else getattr(item, "DW_LNCT_path", b"?")
    return raw.decode("utf-8", "replace")
