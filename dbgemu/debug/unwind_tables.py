"""What ELF files say of how functions save registers: .debug_frame (DWARF) and .ARM.exidx (EHABI)."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from struct import iter_unpack, unpack_from
from typing import Any

MASK = 0xFFFFFFFF
SP, LR, PC = 13, 14, 15

#: reads a word of virtual memory; raises one of MEMORY_ERRORS
ReadWord = Callable[[int], int]
Registers = dict[int, int]


class CannotUnwindError(Exception):
    """The tables do not lead on."""


def _signed31(word: int) -> int:
    return (word & 0x7FFFFFFF) - ((word & 0x40000000) << 1)


class UnwindTables:
    """The unwind tables of the ELF file ``path``, moved by ``offset``; a file may have none."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._offset = offset
        self._frame = b""
        self._fdes: list[tuple[int, int, int]] = []
        self._index: list[tuple[int, int, int]] = []
        self._extra: tuple[int, bytes] = 0, b""
        try:
            self._load(path)
        except Exception:  # damaged tables fail in many ways, and are as good as none
            self._fdes, self._index = [], []
        self._starts = [entry[0] for entry in self._fdes]
        self._exidx_starts = [entry[0] for entry in self._index]

    def _load(self, path: Path) -> None:
        from elftools.elf.elffile import ELFFile  # only now, as in dbgemu.debug.symbols

        with path.open("rb") as file:
            elf = ELFFile(file)
            for section in elf.iter_sections():
                if section.name == ".debug_frame":
                    self._frame = section.data()
                elif section["sh_type"] == "SHT_ARM_EXIDX" and section["sh_size"]:
                    self._read_index(section["sh_addr"], section.data())
                elif section.name in (".ARM.unwind_tab", ".ARM.extab"):
                    self._extra = section["sh_addr"], section.data()
        self._read_frames()

    def _read_frames(self) -> None:
        """Where each function's description is: 32-bit DWARF (DWARF 4, 6.4.1)."""
        data, place, found = self._frame, 0, []
        while place + 16 <= len(data):
            length, cie = unpack_from("<II", data, place)
            if length == MASK:
                break
            if cie != MASK:
                start, size = unpack_from("<II", data, place + 8)
                if start:  # functions that the linker left out begin at 0
                    found.append((start, start + size, place))
            place += 4 + length
        self._fdes = sorted(found)

    def _read_index(self, address: int, data: bytes) -> None:
        """EHABI section 6: (function, word) pairs, places relative to the words that tell them."""
        entries = iter_unpack("<II", data)
        self._index += (
            (address + 8 * place + _signed31(function) & MASK, word, address + 8 * place + 4)
            for place, (function, word) in enumerate(entries)
        )
        self._index.sort()

    # -- DWARF -----------------------------------------------------------------------------------

    def by_dwarf(self, pc: int, registers: Registers, read: ReadWord) -> Registers | None:
        """The caller's registers, 15 is where it goes on; None where .debug_frame says nothing of ``pc``."""
        linked = pc - self._offset & MASK
        place = bisect_right(self._starts, linked) - 1
        if place < 0 or linked >= self._fdes[place][1]:
            return None
        decoded = self._decoded(self._fdes[place][2])
        row = None
        for candidate in decoded.table:
            if candidate["pc"] > linked:
                break
            row = candidate
        if row is None or row["cfa"].reg is None:
            return None
        cfa = registers.get(row["cfa"].reg)
        if cfa is None:
            raise CannotUnwindError
        cfa = cfa + row["cfa"].offset & MASK
        caller = {number: value for number, value in registers.items() if 4 <= number <= 11}
        caller[SP] = cfa
        caller[PC] = registers.get(LR, 0)
        for number, rule in row.items():
            if not isinstance(number, int):
                continue
            if rule.type == "OFFSET":
                value = read(cfa + rule.arg & MASK)
                caller[PC if number == LR else number] = value
            elif rule.type == "UNDEFINED" and number == LR:
                raise CannotUnwindError
        return caller

    @lru_cache(maxsize=256)  # noqa: B019 - the tables live as long as their file is used
    def _decoded(self, place: int) -> Any:
        """The rows of the function described at ``place``: pyelftools is shown that and its CIE alone."""
        from elftools.dwarf.callframe import CallFrameInfo
        from elftools.dwarf.structs import DWARFStructs

        data = self._frame
        length, cie = unpack_from("<II", data, place)
        (cie_length,) = unpack_from("<I", data, cie)
        common = data[cie : cie + 4 + cie_length]
        own = bytearray(data[place : place + 4 + length])
        own[4:8] = bytes(4)  # its CIE comes first here
        both = common + bytes(own)
        structs = DWARFStructs(little_endian=True, dwarf_format=32, address_size=4)
        info = CallFrameInfo(io.BytesIO(both), len(both), 0, structs)
        description: Any = info.get_entries()[1]
        return description.get_decoded()

    # -- EHABI -----------------------------------------------------------------------------------

    def by_index(self, pc: int, registers: Registers, read: ReadWord) -> Registers | None:
        """As :meth:`by_dwarf`, by .ARM.exidx: right where a function calls, not in its first instructions."""
        linked = pc - self._offset & MASK
        place = bisect_right(self._exidx_starts, linked) - 1
        if place < 0:
            return None
        _, word, where = self._index[place]
        if word == 1:  # EXIDX_CANTUNWIND
            raise CannotUnwindError
        codes = self._codes(word, where)
        return None if codes is None else _execute(codes, dict(registers), read)

    def _codes(self, word: int, where: int) -> bytes | None:
        if word >> 31:
            return word.to_bytes(4, "big")[1:]
        address, data = self._extra
        place = where + _signed31(word) - address & MASK
        if place + 4 > len(data):
            return None
        first: int = unpack_from("<I", data, place)[0]
        if not first >> 31:
            return None  # a personality routine of a language
        model = first >> 24 & 15
        if model == 0:
            return first.to_bytes(4, "big")[1:]
        more = first >> 16 & 0xFF
        words = unpack_from(f"<{more}I", data, place + 4)
        return first.to_bytes(4, "big")[2:] + b"".join(item.to_bytes(4, "big") for item in words)


def _execute(codes: bytes, registers: Registers, read: ReadWord) -> Registers:
    """Execute unwinding instructions (EHABI section 10.3, table 4)."""
    stack = registers[SP]
    caller = {number: value for number, value in registers.items() if 4 <= number <= 11}
    caller[PC] = registers.get(LR, 0)
    popped_lr = popped_pc = None
    stream = iter(codes)

    def pop(numbers: list[int]) -> None:
        nonlocal stack, popped_lr, popped_pc
        moved = None
        for number in numbers:
            value = read(stack & MASK)
            stack += 4
            if number == LR:
                popped_lr = value
            elif number == PC:
                popped_pc = value
            elif number == SP:
                moved = value
            else:
                caller[number] = value
        if moved is not None:
            stack = moved

    for code in stream:
        if code < 0x80:
            change = (code & 0x3F) * 4 + 4
            stack += -change if code & 0x40 else change
        elif code < 0x90:
            mask = (code & 15) << 8 | next(stream, 0)
            if not mask:
                raise CannotUnwindError
            pop([4 + bit for bit in range(12) if mask >> bit & 1])
        elif code < 0xA0:
            number = code & 15
            stack = caller.get(number, registers.get(number, 0))
        elif code < 0xB0:
            pop([*range(4, 5 + (code & 7)), *([LR] if code & 8 else [])])
        elif code == 0xB0:
            break
        elif code == 0xB1:
            mask = next(stream, 0)
            pop([bit for bit in range(4) if mask >> bit & 1])
        elif code == 0xB2:
            stack += 0x204 + 4 * _leb128(stream)
        else:  # floating point registers, which this CPU has not
            raise CannotUnwindError
    caller[SP] = stack & MASK
    if popped_lr is not None:
        caller[PC] = popped_lr
    if popped_pc is not None:
        caller[PC] = popped_pc
    return caller


def _leb128(stream: Any) -> int:
    value = shift = 0
    for byte in stream:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return value


@lru_cache(maxsize=16)
def tables_of(path: Path, offset: int) -> UnwindTables:
    """The tables of a file, read once."""
    return UnwindTables(path, offset)
