"""Object files as LLVM writes them for x86-64, put into memory without LLVM.

Only compiling needs LLVM, and to import it is slow. What is here is what compiled code needs: sections,
symbols, and the relocations of code that may be anywhere (System V ABI, AMD64 supplement 4.4).
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Mapping

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_SYMTAB, _RELA, _NOBITS, _UNWIND = 2, 4, 8, 0x70000001
_WRITE, _ALLOC = 1, 2
_UNDEFINED, _ABSOLUTE = 0, 0xFFF1
_X86_64 = 62
_ADDRESS64, _RELATIVE32, _CALL32, _RELATIVE64 = 1, 2, 4, 24


class LinkError(Exception):
    """An object file has what this linker does not know."""


class LinkedObject:
    """An object file in memory, for as long as this object lives."""

    def __init__(self, contents: bytes, known: Mapping[str, int]) -> None:
        """Link against ``known``, addresses by name, and the C library. Raises LinkError."""
        #: the addresses of its global symbols
        self.symbols: dict[str, int] = {}
        if contents[:6] != b"\x7fELF\x02\x01" or int.from_bytes(contents[18:20], "little") != _X86_64:
            raise LinkError("not an object file for x86-64")
        self._contents = contents
        start, _, _, _, _, _, count, _ = struct.unpack_from("<QIHHHHHH", contents, 40)
        self._sections = [_SECTION.unpack_from(contents, start + k * _SECTION.size) for k in range(count)]
        constant = self._place()
        values = self._values(known)
        for _, kind, _, _, place, size, _, target, _, _ in self._sections:
            if kind == _RELA and target in self._places:
                self._relocate(self._places[target], contents[place : place + size], values)
        self._protect(constant)

    def _place(self) -> int:
        """Copy sections; the bytes of those that are not written to, which come first."""
        self._places: dict[int, int] = {}
        end = constant = 0
        for wanted in (0, _WRITE):
            for number, (_, kind, flags, _, _, size, _, _, alignment, _) in enumerate(self._sections):
                if flags & (_ALLOC | _WRITE) == _ALLOC | wanted and kind != _UNWIND:
                    end = _aligned(end, max(alignment, 1))
                    self._places[number] = end
                    end += size
            if not wanted:
                constant = end = _aligned(end, mmap.PAGESIZE)
        self._memory = mmap.mmap(-1, max(end, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        for number, place in self._places.items():
            _, kind, _, _, offset, size, *_ = self._sections[number]
            if kind != _NOBITS:
                self._memory[place : place + size] = self._contents[offset : offset + size]
        return constant

    def _values(self, known: Mapping[str, int]) -> list[int]:
        """The value of each symbol, by number."""
        tables = [section for section in self._sections if section[1] == _SYMTAB]
        if len(tables) != 1:
            raise LinkError(f"{len(tables)} tables of symbols instead of one")
        _, _, _, _, place, size, strings, local, _, _ = tables[0]
        names, contents = self._sections[strings][4], self._contents
        bases = {number: self._address + place for number, place in self._places.items()}
        bases[_ABSOLUTE] = 0
        values = []
        for number, symbol in enumerate(_SYMBOL.iter_unpack(contents[place : place + size])):
            name, _, _, section, value, _ = symbol
            value += bases.get(section, 0)
            if number >= local:
                text = contents[names + name : contents.index(b"\0", names + name)].decode()
                if section == _UNDEFINED:
                    value = known.get(text) or _in_c_library(text)
                else:
                    self.symbols[text] = value
            values.append(value)
        return values

    def _relocate(self, start: int, table: bytes, values: list[int]) -> None:
        memory, address = self._memory, self._address
        put64, put32 = struct.Struct("<Q").pack_into, struct.Struct("<i").pack_into
        for offset, info, addend in _RELOCATION.iter_unpack(table):
            kind, place = info & 0xFFFFFFFF, start + offset
            value = values[info >> 32] + addend
            if kind == _ADDRESS64:
                put64(memory, place, value)
            elif kind == _RELATIVE64:
                put64(memory, place, value - address - place & (1 << 64) - 1)
            elif kind in (_RELATIVE32, _CALL32):
                distance = value - address - place
                if not -(1 << 31) <= distance < 1 << 31:
                    raise LinkError("a symbol is too far away")
                put32(memory, place, distance)
            else:
                raise LinkError(f"a relocation of type {kind}")

    def _protect(self, constant: int) -> None:
        """Make what is not written to executable, and only that."""
        library = ctypes.CDLL(None, use_errno=True)
        protection = mmap.PROT_READ | mmap.PROT_EXEC
        arguments = ctypes.c_void_p(self._address), ctypes.c_size_t(constant), protection
        if constant and library.mprotect(*arguments):
            raise LinkError(f"mprotect failed, errno {ctypes.get_errno()}")


def _in_c_library(name: str) -> int:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except AttributeError:
        raise LinkError(f"nothing has the symbol {name!r}") from None
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _aligned(number: int, alignment: int) -> int:
    return -(-number // alignment) * alignment
