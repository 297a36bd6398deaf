"""All line number programs of an ELF file at once: what coverage by source line needs.

DWARF 2 to 5 (6.2.4 and 6.2.5 of DWARF 4 and 5). :mod:`dbgemu.debug.lines` reads one compilation unit at
a time with pyelftools, which is right for a debugger; for every unit of a kernel that takes a minute,
most of it in .debug_info, which is not needed here.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

#: address, number of the file (see :attr:`LineProgram.files`), line (0: behind a sequence), a statement
#: begins there
Row = tuple[int, int, int, bool]

_COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE, _NEGATE, _CONST_ADD_PC, _FIXED_ADVANCE_PC = 1, 2, 3, 4, 6, 8, 9
_END_SEQUENCE, _SET_ADDRESS = 1, 2

#: bytes of the forms that have a fixed size (DWARF 5, 7.5.6), those that strings may have among them
_SIZES = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16, 0x0E: 4, 0x1F: 4}
_STRING, _STRP, _LINE_STRP, _UDATA, _BLOCK = 0x08, 0x0E, 0x1F, 0x0F, 0x09
_PATH, _DIRECTORY = 1, 2


class LineProgram(NamedTuple):
    """The rows of one program; those of a sequence are by address."""

    #: by number; relative ones are relative to the compiler's own folder
    files: dict[int, str]
    rows: list[Row]


class _Sections(NamedTuple):
    line: bytes
    line_str: bytes
    str: bytes


def line_programs(path: Path) -> Iterator[LineProgram]:
    """Every program of the file, nothing where it has none; what is damaged ends the iteration."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile  # only now, as in dbgemu.debug.symbols

    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            sections = _Sections(
                *(_data(elf, name) for name in (".debug_line", ".debug_line_str", ".debug_str"))
            )
    except (OSError, ELFError):
        return
    place = 0
    while place + 4 <= len(sections.line):
        end = place + 4 + int.from_bytes(sections.line[place : place + 4], "little")
        if end > len(sections.line):
            return
        try:
            yield _Reader(sections, place + 4, end).program()
        except (IndexError, KeyError, ZeroDivisionError):
            return
        place = end


def _data(elf: Any, name: str) -> bytes:
    section = elf.get_section_by_name(name)
    return b"" if section is None else bytes(section.data())


class _Reader:
    """Reads the header of the program from ``place`` up to ``end``."""

    def __init__(self, sections: _Sections, place: int, end: int) -> None:
        self._sections = sections
        self._data = sections.line
        self._place = place
        self._end = end

    def program(self) -> LineProgram:
        version = self._number(2)
        if version >= 5:
            self._place += 2  # sizes of addresses and of segment selectors
        header = self._number(4)
        start = self._place + header
        step = self._number(1)
        if version >= 4:
            self._place += 1  # operations in an instruction: of VLIW machines
        default = bool(self._number(1))
        line_base = self._number(1)
        line_base -= 256 * (line_base > 127)
        line_range, base = self._number(1), self._number(1)
        operands = [self._number(1) for _ in range(base - 1)]
        files = self._files_5() if version >= 5 else self._files()
        code = self._data[start : self._end]
        return LineProgram(files, _run(code, base, line_base, line_range, step, default, operands))

    def _number(self, size: int) -> int:
        value = int.from_bytes(self._data[self._place : self._place + size], "little")
        self._place += size
        return value

    def _leb(self) -> int:
        value, self._place = _unsigned(self._data, self._place)
        return value

    def _text(self) -> str:
        text = _string(self._data, self._place)
        self._place = self._data.index(0, self._place) + 1
        return text

    def _files(self) -> dict[int, str]:
        """DWARF 2 to 4: folders and files count from 1; folder 0 is the compiler's own."""
        folders = [""]
        while folder := self._text():
            folders.append(folder)
        files: dict[int, str] = {}
        while name := self._text():
            place = self._leb()
            self._leb(), self._leb()  # time and size
            files[len(files) + 1] = _join(folders[place] if place < len(folders) else "", name)
        return files

    def _files_5(self) -> dict[int, str]:
        folders = [str(entry.get(_PATH, "")) for entry in self._entries()]
        files = {}
        for number, entry in enumerate(self._entries()):
            place = int(entry.get(_DIRECTORY, 0))
            folder = folders[place] if place < len(folders) else ""
            whole = _join(folders[0] if folders else "", folder) if place else folder
            files[number] = _join(whole, str(entry.get(_PATH, "")))
        return files

    def _entries(self) -> list[dict[int, str | int]]:
        formats = [(self._leb(), self._leb()) for _ in range(self._number(1))]
        return [{content: self._form(form) for content, form in formats} for _ in range(self._leb())]

    def _form(self, form: int) -> str | int:
        if form == _STRING:
            return self._text()
        if form == _UDATA:
            return self._leb()
        if form == _BLOCK:
            self._place += self._leb()
            return 0
        value = self._number(_SIZES[form])
        if form == _LINE_STRP:
            return _string(self._sections.line_str, value)
        return _string(self._sections.str, value) if form == _STRP else value


def _join(folder: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(folder, name)) if folder else name


def _string(data: bytes, place: int) -> str:
    end = data.find(0, place)
    if end < 0:
        raise IndexError
    return data[place:end].decode("utf-8", "replace")


def _run(
    code: bytes, base: int, line_base: int, line_range: int, step: int, default: bool, operands: list[int]
) -> list[Row]:
    rows: list[Row] = []
    append = rows.append
    special = [
        ((opcode - base) // line_range * step, line_base + (opcode - base) % line_range)
        for opcode in range(base, 256)
    ]
    constant = special[-1][0]
    address, file, line, statement = 0, 1, 1, default
    place, end = 0, len(code)
    while place < end:
        opcode = code[place]
        place += 1
        if opcode >= base:
            forward, lines = special[opcode - base]
            address += forward
            line += lines
            append((address, file, line, statement))
        elif opcode == _COPY:
            append((address, file, line, statement))
        elif opcode == _ADVANCE_LINE:
            before = place
            value, place = _unsigned(code, place)
            line += value - ((1 << 7 * (place - before)) if code[place - 1] & 0x40 else 0)
        elif opcode == _ADVANCE_PC:
            value, place = _unsigned(code, place)
            address += value * step
        elif opcode == _CONST_ADD_PC:
            address += constant
        elif opcode == _SET_FILE:
            file, place = _unsigned(code, place)
        elif opcode == _NEGATE:
            statement = not statement
        elif opcode == _FIXED_ADVANCE_PC:
            address += code[place] | code[place + 1] << 8
            place += 2
        elif opcode == 0:
            length, place = _unsigned(code, place)
            if code[place] == _END_SEQUENCE:
                append((address, file, 0, False))
                address, file, line, statement = 0, 1, 1, default
            elif code[place] == _SET_ADDRESS:
                address = int.from_bytes(code[place + 1 : place + length], "little")
            place += length
        else:  # columns, and what only says how many operands it has
            for _ in range(operands[opcode - 1]):
                while code[place] >= 0x80:
                    place += 1
                place += 1
    return rows


def _unsigned(code: bytes, place: int) -> tuple[int, int]:
    """A ULEB128 number, and the place behind it."""
    value = code[place]
    place += 1
    if value < 0x80:
        return value, place
    value &= 0x7F
    shift = 7
    while True:
        byte = code[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
