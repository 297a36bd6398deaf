"""Names for the addresses in a trace: functions, and source lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dbgemu.debug.symbols import Symbols, SymbolsError
from dbgemu.trace.format import Header, TraceError

#: code without a name is put together by the MiB it lies in
_UNNAMED = 0xFFF00000


class Function(NamedTuple):
    """A function, or the MiB around code that has no name."""

    start: int
    name: str
    known: bool


class Names:
    """Functions by address; every answer is kept, as few places of a trace are executed often."""

    def __init__(self, symbols: Symbols | None = None) -> None:
        self.symbols = symbols or Symbols()
        self._functions: dict[int, Function] = {}
        self._unique: dict[int, Function] = {}

    @classmethod
    def of(cls, header: Header, files: Sequence[str] = ()) -> Names:
        """From ``files``, each ``FILE`` or ``FILE@OFFSET``; without any from what the trace names.

        A file that the trace names and that is gone is left out. TraceError for one of ``files``.
        """
        symbols = Symbols()
        for text in files:
            path, offset = _file_and_offset(text)
            try:
                symbols.add(path, offset)
            except SymbolsError as error:
                raise TraceError(str(error)) from None
        for name, offset in () if files else header.symbols:
            if Path(name).is_file():
                try:
                    symbols.add(Path(name), offset)
                except SymbolsError:
                    continue
        return cls(symbols)

    def function(self, address: int) -> Function:
        """The function that ``address`` lies in."""
        found = self._functions.get(address)
        if found is None:
            found = self._functions[address] = self._find(address)
        return found

    def edges(self) -> Iterator[int]:
        """Between two of these addresses, within a MiB, all code is of one function; in no order."""
        for file in self.symbols.files:
            for symbol in file.symbols:
                yield symbol.address
                yield symbol.end

    def _find(self, address: int) -> Function:
        symbol = self.symbols.lookup(address)
        if symbol is None:
            start = address & _UNNAMED
            new = Function(start, f"[{start:08x}]", False)
        else:
            new = Function(symbol[0].address, symbol[0].name, True)
        # one object for each, so that they can be compared by identity
        return self._unique.setdefault(new.start if new.known else ~new.start, new)

    def describe(self, address: int) -> str:
        """``name+0x10``, or the empty string."""
        return self.symbols.describe(address)

    def source(self, address: int) -> str:
        """``file.c:12``, or the empty string."""
        line = self.symbols.line(address)
        return "" if line is None else str(line)

    def range_of(self, name: str) -> tuple[int, int]:
        """The first and last address of the symbol called ``name``. TraceError when there is none."""
        symbol = self.symbols.find(name)
        if symbol is None:
            hint = "" if len(self.symbols) else ": no symbols are known, name their file with --symbols"
            raise TraceError(f"there is no symbol '{name}'{hint}")
        return symbol.address, max(symbol.end, symbol.address + 1) - 1


def _file_and_offset(text: str) -> tuple[Path, int]:
    match = re.fullmatch(r"(.+)@(-?)(0x[0-9a-fA-F]+|\d+)", text)
    if match is None or Path(text).exists():
        return Path(text), 0
    offset = int(match[3], 0) if match[3].startswith("0x") else int(match[3])
    return Path(match[1]), -offset if match[2] else offset
