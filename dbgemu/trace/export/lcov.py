"""Coverage by source line, as lcov's tracefiles have it (geninfo(1), FILES): genhtml makes pages of it.

How often a line was executed is how often the most executed of the statements was that begin there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

from dbgemu.debug.line_program import LineProgram, line_programs
from dbgemu.debug.symbols import Symbol
from dbgemu.trace.format import TraceError
from dbgemu.trace.reader import BlockCount, Trace
from dbgemu.trace.tools.names import Names
from dbgemu.trace.tools.selection import Selection, need_blocks

#: compilation units that tell where a program was compiled
_ENOUGH_UNITS = 8


class AddressCounts:
    """How often the instruction at an address was executed."""

    def __init__(self, profile: list[BlockCount]) -> None:
        changes: defaultdict[int, int] = defaultdict(int)
        for block in profile:
            changes[block.pc] += block.executions
            changes[block.pc + block.length * (2 if block.thumb else 4)] -= block.executions
        self._addresses = sorted(changes)
        self._counts = list(accumulate(changes[address] for address in self._addresses))

    def __getitem__(self, address: int) -> int:
        place = bisect_right(self._addresses, address) - 1
        return self._counts[place] if place >= 0 else 0

    def any_in(self, start: int, end: int) -> bool:
        """Whether something was executed from ``start`` up to ``end`` - 1."""
        if self[start]:
            return True
        place = bisect_right(self._addresses, start)
        return place < len(self._addresses) and self._addresses[place] < end


class _Source:
    """What is known of one source file."""

    def __init__(self) -> None:
        self.lines: dict[int, int] = {}
        #: name -> (line, count)
        self.functions: dict[str, tuple[int, int]] = {}


def export_lcov(trace: Trace, names: Names, selection: Selection, file: BinaryIO) -> None:
    """Write the files of every compilation unit of which something was executed."""
    need_blocks(trace, "coverage")
    if not names.symbols.files:
        raise TraceError("coverage by source line needs a file with DWARF: name one with --symbols")
    counts = AddressCounts(trace.profile(selection.start, selection.end))
    sources: defaultdict[str, _Source] = defaultdict(_Source)
    for loaded in names.symbols.files:
        starts = {symbol.address: symbol for symbol in loaded.symbols if symbol.is_function}
        folders: dict[str, str] | None = None
        for program in line_programs(loaded.path):
            if not _executed(program, loaded.offset, counts):
                continue
            if folders is None and any(not name.startswith("/") for name in program.files.values()):
                folders = _folders(loaded.path)
            files = {number: _absolute(name, folders or {}) for number, name in program.files.items()}
            _add(program, files, loaded.offset, counts, starts, sources)
    if not sources:
        raise TraceError("none of the executed code has source lines: is there DWARF in the symbol file?")
    for path in sorted(sources):
        file.write(_record(path, sources[path]).encode())


def _executed(program: LineProgram, offset: int, counts: AddressCounts) -> bool:
    start: int | None = None
    for address, _, line, _ in program.rows:
        if start is None:
            start = address
        elif not line:
            # sequences at 0 are of code that the linker has thrown away
            if start and counts.any_in(start + offset & 0xFFFFFFFF, address + offset & 0xFFFFFFFF):
                return True
            start = None
    return False


def _add(
    program: LineProgram,
    files: dict[int, str],
    offset: int,
    counts: AddressCounts,
    starts: dict[int, Symbol],
    sources: dict[str, _Source],
) -> None:
    gone, first = False, True
    for address, number, line, statement in program.rows:
        if first:
            gone = not address
        first = not line
        if gone or not line or not statement:
            continue
        moved = address + offset & 0xFFFFFFFF
        source = sources[files.get(number, "?")]
        count = counts[moved]
        if count >= source.lines.get(line, 0):
            source.lines[line] = count
        symbol = starts.get(moved)
        if symbol is not None:
            # the first row of a function is that of its declaration
            source.functions.setdefault(symbol.name, (line, count))


def _record(path: str, source: _Source) -> str:
    functions = sorted(source.functions.items(), key=lambda item: (item[1], item[0]))
    lines = ["TN:", f"SF:{path}"]
    lines += [f"FN:{line},{name}" for name, (line, _) in functions]
    lines += [f"FNDA:{count},{name}" for name, (_, count) in functions]
    lines += [f"FNF:{len(functions)}", f"FNH:{sum(count > 0 for _, (_, count) in functions)}"]
    lines += [f"DA:{line},{count}" for line, count in sorted(source.lines.items())]
    lines += [f"LF:{len(source.lines)}", f"LH:{sum(count > 0 for count in source.lines.values())}"]
    return "\n".join([*lines, "end_of_record\n"])


def _folders(path: Path) -> dict[str, str]:
    """The compiler's own folder by the name of each unit's file: for names that are relative to it.

    Where the first units agree in it, it is taken for that of all: to read all of a kernel's takes long.
    """
    from elftools.elf.elffile import ELFFile

    folders = {}
    with path.open("rb") as file:
        elf = ELFFile(file)
        if not elf.has_dwarf_info(strict=True):
            return {}
        for unit in elf.get_dwarf_info(relocate_dwarf_sections=False, follow_links=False).iter_CUs():
            attributes = unit.get_top_DIE().attributes
            if "DW_AT_comp_dir" in attributes and "DW_AT_name" in attributes:
                name = attributes["DW_AT_name"].value.decode("utf-8", "replace")
                folders[name] = attributes["DW_AT_comp_dir"].value.decode("utf-8", "replace")
            if len(folders) == _ENOUGH_UNITS and len(set(folders.values())) == 1:
                break
    return folders


def _absolute(name: str, folders: dict[str, str]) -> str:
    if name.startswith("/") or not folders:
        return name
    # another file of some unit: nearly always all were compiled in one folder
    folder = folders.get(name) or next(iter(folders.values()))
    return str(Path(folder, name))
