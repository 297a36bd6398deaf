"""Symbols of the programs that are debugged: addresses to names and back, and to source lines.

From ELF files, several of them where need be. The symbol table is read at once, and with ``struct``:
pyelftools makes an object of each entry, which takes seconds for a kernel. Source lines are read for
one compilation unit at a time, when they are first asked for (see :mod:`dbgemu.debug.lines`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from dbgemu.errors import Error

if TYPE_CHECKING:
    from dbgemu.debug.lines import LineRange, LineTable

_ENTRY = Struct("<IIIBBH")  # st_name, st_value, st_size, st_info, st_other, st_shndx

_NOTYPE, _OBJECT, _FUNC = 0, 1, 2
_GLOBAL_BINDINGS = (1, 2)  # STB_GLOBAL, STB_WEAK
_SHN_UNDEF, _SHN_ABS = 0, 0xFFF1


class SymbolsError(Error):
    """A file whose symbols cannot be used; ``str()`` is one clear sentence."""


class Symbol(NamedTuple):
    """A named place: ``size`` in bytes is 0 where the file does not tell, as for labels of assembly."""

    address: int
    size: int
    name: str
    is_function: bool
    #: the first address behind it; that of its section where it has no size
    end: int
    #: a function of Thumb code
    is_thumb: bool = False


class SourceLine(NamedTuple):
    """A line of source text; ``line`` counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class SymbolFile:
    """The symbols of one ELF file, moved by ``offset`` bytes from where it was linked to."""

    def __init__(self, path: Path, offset: int, symbols: list[Symbol], lines: LineTable) -> None:
        self.path = path
        self.offset = offset
        #: by address, the better of two at one address last
        self.symbols = symbols
        self.lines = lines


def _read(path: Path, offset: int) -> SymbolFile:
    # only now: most runs have no symbols, and these modules take their time
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    from dbgemu.debug.lines import LineTable

    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            if elf.elfclass != 32 or not elf.little_endian or elf["e_machine"] != "EM_ARM":
                raise SymbolsError(f"'{path}' is no program for this board: not 32-bit little-endian ARM")
            table = elf.get_section_by_name(".symtab")
            if table is None:
                raise SymbolsError(f"'{path}' has no symbols: it was stripped")
            entries = table.data()
            names = elf.get_section(table["sh_link"]).data()
            ends = [section["sh_addr"] + section["sh_size"] for section in elf.iter_sections()]
    except OSError as error:
        raise SymbolsError(f"'{path}' cannot be read: {error.strerror}") from None
    except ELFError as error:
        raise SymbolsError(f"'{path}' is not an ELF file that can be used: {error}") from None
    except (IndexError, AttributeError, ValueError, KeyError):
        raise SymbolsError(f"'{path}' is a damaged ELF file") from None
    try:
        symbols = _parse(entries, names, ends, offset)
    except ValueError:
        raise SymbolsError(f"'{path}' has a damaged symbol table") from None
    return SymbolFile(path, offset, symbols, LineTable(path, offset))


def _parse(entries: bytes, names: bytes, ends: list[int], offset: int) -> list[Symbol]:
    """The symbols; ``ends`` are the first addresses behind each section."""
    found = []
    whole = len(entries) - len(entries) % _ENTRY.size
    for name, value, size, info, _, section in _ENTRY.iter_unpack(memoryview(entries)[:whole]):
        kind = info & 15
        if kind > _FUNC or section == _SHN_UNDEF or not name:
            continue
        text = names[name : names.index(0, name)].decode("utf-8", "replace")
        if text.startswith("$"):  # ARM's mapping symbols: $a, $t, $d
            continue
        thumb = kind == _FUNC and bool(value & 1)
        if thumb:
            value -= 1
        # at one address: a function or variable beats a label, a known size none, a global a local name
        rank = (kind != _NOTYPE, size > 0, info >> 4 in _GLOBAL_BINDINGS)
        absolute = section == _SHN_ABS and kind == _NOTYPE
        address = value if absolute else value + offset & 0xFFFFFFFF
        room = size or (ends[section] - value if section < len(ends) else 0)
        symbol = Symbol(address, size, text, kind == _FUNC, address + room, thumb)
        found.append((address, not absolute, rank, symbol))
    found.sort(key=lambda item: item[:3])
    return [item[3] for item in found]


class Symbols:
    """The symbols of every file that was added; without any, nothing has a name."""

    def __init__(self) -> None:
        self.files: list[SymbolFile] = []
        self._symbols: list[Symbol] = []
        self._addresses: list[int] = []
        self._by_name: dict[str, Symbol] = {}

    def __len__(self) -> int:
        return len(self._symbols)

    def add(self, path: Path, offset: int = 0) -> SymbolFile:
        """Add the symbols of the ELF file ``path``; what has a name already keeps it. SymbolsError."""
        added = _read(path, offset)
        self.files.append(added)
        symbols = [*self._symbols, *added.symbols]
        symbols.sort(key=lambda symbol: symbol.address)
        # whoever looks something up on another thread sees the old lists or the new ones
        by_name = {symbol.name: symbol for symbol in added.symbols} | self._by_name
        addresses = [symbol.address for symbol in symbols]
        self._by_name, self._symbols, self._addresses = by_name, symbols, addresses
        return added

    def find(self, name: str) -> Symbol | None:
        """The symbol called ``name``."""
        return self._by_name.get(name)

    def address(self, name: str) -> int | None:
        """The address of the symbol called ``name``."""
        symbol = self._by_name.get(name)
        return None if symbol is None else symbol.address

    def complete(self, prefix: str) -> list[str]:
        """The names that start with ``prefix``, in order."""
        return sorted(name for name in self._by_name if name.startswith(prefix))

    def lookup(self, address: int) -> tuple[Symbol, int] | None:
        """The symbol that ``address`` lies in, and how many bytes behind its start; None for none.

        A symbol without a size goes on to the next symbol, or to the end of its section.
        """
        symbols, addresses = self._symbols, self._addresses
        place = bisect_right(addresses, address) - 1
        if place < 0 or place >= len(symbols):
            return None
        # the last one that starts before it may be small, and lie inside of another
        for symbol in reversed(symbols[max(0, place - 8) : place + 1]):
            if address < symbol.end:
                return symbol, address - symbol.address
        return None

    def describe(self, address: int) -> str:
        """``name+0x10``, ``name`` for its first byte, or the empty string."""
        found = self.lookup(address)
        if found is None:
            return ""
        symbol, offset = found
        return f"{symbol.name}+{offset:#x}" if offset else symbol.name

    def line_range(self, address: int) -> LineRange | None:
        """The code around ``address`` that belongs to one source line; None where no file knows it."""
        for file in self.files:
            found = file.lines.range_at(address)
            if found is not None:
                return found
        return None

    def places(self, file: str, line: int) -> list[LineRange]:
        """Where the code of a source line begins: see :meth:`LineTable.places`."""
        return [place for source in self.files for place in source.lines.places(file, line)]

    def search(self, pattern: str, *, functions: bool = False) -> list[Symbol]:
        """The symbols whose names have the regular expression ``pattern`` in them, by address. re.error."""
        matcher = re.compile(pattern)
        named = (item for item in self._symbols if item.is_function or not functions)
        return [item for item in named if matcher.search(item.name)]

    def line(self, address: int) -> SourceLine | None:
        """The source line of the instruction at ``address``; None where no file knows one."""
        for file in self.files:
            found = file.lines.find(address)
            if found is not None:
                return SourceLine(*found)
        return None
