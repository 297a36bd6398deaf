"""An ELF executable of an assembled program, with what a debugger wants: symbols and source lines.

ELF: System V ABI and "ELF for the ARM Architecture" (mapping symbols ``$a``, ``$t``, ``$d``).
Lines: DWARF version 2, sections 6.2 (line number program) and 7.5 (the entry of one compilation unit).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePath

from dbgemu.target.arm.assembler import Program

_EM_ARM, _ET_EXEC, _EF_ARM_EABI5 = 40, 2, 0x0500_0000
_PT_LOAD, _READ_WRITE_EXECUTE = 1, 7
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB = 1, 2, 3
_ALLOC_WRITE_EXECUTE = 7
_STT_NOTYPE, _STT_FUNC = 0, 2
_GLOBAL, _LOCAL = 1, 0

_EHDR = struct.Struct("<16s2H5I6H")
_PHDR = struct.Struct("<8I")
_SHDR = struct.Struct("<10I")
_SYM = struct.Struct("<3I2BH")

# DWARF 2
_ADDR, _BLOCK1, _DATA1, _DATA2, _DATA4, _FLAG, _REF4, _STRING = 0x01, 0x0A, 0x0B, 0x05, 0x06, 0x0C, 0x13, 0x08
#: tag, whether it has children, (attribute, form) pairs: a compilation unit, a base type, a variable
_ENTRIES: tuple[tuple[int, int, tuple[tuple[int, int], ...]], ...] = (
    (
        0x11,
        1,
        # stmt_list, low_pc, high_pc, name, comp_dir, language
        ((0x10, _DATA4), (0x11, _ADDR), (0x12, _ADDR), (0x03, _STRING), (0x1B, _STRING), (0x13, _DATA2)),
    ),
    (0x24, 0, ((0x03, _STRING), (0x0B, _DATA1), (0x3E, _DATA1))),  # name, byte_size, encoding
    (0x34, 0, ((0x03, _STRING), (0x49, _REF4), (0x3F, _FLAG), (0x02, _BLOCK1))),  # ..., external, location
)
_ENCODING_UNSIGNED, _OP_ADDR = 7, 0x03
_LANG_ASSEMBLER = 0x8001
_LNS_COPY, _LNS_ADVANCE_PC, _LNS_ADVANCE_LINE, _LNS_SET_FILE = 1, 2, 3, 4
_LNE_END_SEQUENCE, _LNE_SET_ADDRESS = 1, 2
#: operands of the standard opcodes 1 to 9
_OPCODE_LENGTHS = bytes((0, 1, 1, 1, 1, 0, 0, 0, 1))


@dataclass
class _Section:
    name: str
    data: bytes
    kind: int = _SHT_PROGBITS
    flags: int = 0
    address: int = 0
    link: int = 0
    info: int = 0
    entry_size: int = 0


class _Strings:
    """A string table; ``add`` gives a string's offset."""

    def __init__(self) -> None:
        self.data = bytearray(1)

    def add(self, text: str) -> int:
        offset = len(self.data)
        self.data += text.encode() + b"\0"
        return offset


def write_elf(program: Program, entry: int, sources: Sequence[tuple[PurePath, int]]) -> bytes:
    """The ELF file: ``program`` loaded at its base, started at ``entry``.

    ``sources`` are the files that its source was put together from, all in one folder, and how many
    lines each has.
    """
    strings = _Strings()
    symbols, first_global = _symbols(program, strings)
    sections = [
        _Section(".text", program.data, flags=_ALLOC_WRITE_EXECUTE, address=program.base),
        _Section(".debug_abbrev", _abbreviations()),
        _Section(".debug_info", _compilation_unit(program, sources[0][0])),
        _Section(".debug_line", _line_program(program, sources)),
        _Section(".symtab", symbols, _SHT_SYMTAB, link=6, info=first_global, entry_size=_SYM.size),
        _Section(".strtab", bytes(strings.data), _SHT_STRTAB),
    ]
    names = _Strings()
    name_offsets = [names.add(section.name) for section in sections] + [names.add(".shstrtab")]
    sections.append(_Section(".shstrtab", bytes(names.data), _SHT_STRTAB))
    return _file(sections, name_offsets, program, entry)


def _file(sections: list[_Section], name_offsets: list[int], program: Program, entry: int) -> bytes:
    body, headers = bytearray(), [bytes(_SHDR.size)]
    start = _EHDR.size + _PHDR.size
    for section, name in zip(sections, name_offsets, strict=True):
        body += bytes(-len(body) % 4)
        headers.append(
            _SHDR.pack(
                name,
                section.kind,
                section.flags,
                section.address,
                start + len(body),
                len(section.data),
                section.link,
                section.info,
                4 if section.flags or section.entry_size else 1,
                section.entry_size,
            )
        )
        body += section.data
    body += bytes(-len(body) % 4)
    identity = b"\x7fELF" + bytes((1, 1, 1)) + bytes(9)
    header = _EHDR.pack(
        identity,
        _ET_EXEC,
        _EM_ARM,
        1,
        entry,
        _EHDR.size,
        start + len(body),
        _EF_ARM_EABI5,
        _EHDR.size,
        _PHDR.size,
        1,
        _SHDR.size,
        len(headers),
        len(headers) - 1,
    )
    size = len(program.data)
    load = _PHDR.pack(_PT_LOAD, start, program.base, program.base, size, size, _READ_WRITE_EXECUTE, 4)
    return header + load + bytes(body) + b"".join(headers)


def _symbols(program: Program, strings: _Strings) -> tuple[bytes, int]:
    """The symbol table, local ones first, and the number of the first global one."""
    kinds = dict(program.regions)
    rows = [bytes(_SYM.size)]
    rows += [
        _SYM.pack(strings.add(f"${kind}"), address, 0, _LOCAL << 4 | _STT_NOTYPE, 0, 1)
        for address, kind in program.regions
    ]
    first_global = len(rows)
    ends = sorted({label.address for label in program.labels} | {program.base + len(program.data)})
    for label in program.labels:
        end = next((end for end in ends if end > label.address), label.address)
        start = max((address for address in kinds if address <= label.address), default=label.address)
        code = kinds.get(start, "d") != "d"
        rows.append(
            _SYM.pack(
                strings.add(label.name),
                label.address | (code and label.thumb),
                end - label.address,
                _GLOBAL << 4 | (_STT_FUNC if code else _STT_NOTYPE),
                0,
                1,
            )
        )
    return b"".join(rows), first_global


def _uleb(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _sleb(value: int) -> bytes:
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value & 127)
    return bytes(out)


def _abbreviations() -> bytes:
    out = bytearray()
    for number, (tag, children, attributes) in enumerate(_ENTRIES, 1):
        out += bytes((number, tag, children)) + bytes(byte for pair in attributes for byte in pair) + b"\0\0"
    return bytes(out) + b"\0"


def _compilation_unit(program: Program, source: PurePath) -> bytes:
    """One unit, with a variable of type ``word`` for each label of one."""
    header = struct.pack("<HIB", 2, 0, 4)
    entries = bytearray(struct.pack("<B3I", 1, 0, program.base, program.base + len(program.data)))
    entries += _text(source.name) + _text(str(source.parent)) + struct.pack("<H", _LANG_ASSEMBLER)
    word_type = 4 + len(header) + len(entries)  # offsets count from the unit's length field
    entries += b"\2" + _text("word") + bytes((4, _ENCODING_UNSIGNED))
    for label in program.labels:
        if label.data_size == 4:
            location = struct.pack("<2BI", 5, _OP_ADDR, label.address)
            entries += b"\3" + _text(label.name) + struct.pack("<IB", word_type, 1) + location
    entries += b"\0"
    return struct.pack("<I", len(header) + len(entries)) + header + bytes(entries)


def _text(text: str) -> bytes:
    return text.encode() + b"\0"


def _line_program(program: Program, sources: Sequence[tuple[PurePath, int]]) -> bytes:
    # minimum instruction length, is_stmt; line base and range are idle, as no special opcode is used
    settings = struct.pack("<2Bb2B", 1, 1, 1, 1, len(_OPCODE_LENGTHS) + 1)
    files = b"".join(_text(path.name) + b"\0\0\0" for path, _ in sources)
    tables = settings + _OPCODE_LENGTHS + b"\0" + files + b"\0"
    starts = list(accumulate((length for _, length in sources), initial=0))
    steps = bytearray(b"\0" + _uleb(5) + bytes((_LNE_SET_ADDRESS,)) + struct.pack("<I", program.base))
    address, file, line = program.base, 1, 1
    for place, number in program.lines:
        in_file = bisect_left(starts, number)
        if in_file != file:
            steps += bytes((_LNS_SET_FILE,)) + _uleb(in_file)
        if place != address:
            steps += bytes((_LNS_ADVANCE_PC,)) + _uleb(place - address)
        here = number - starts[in_file - 1]
        if here != line:
            steps += bytes((_LNS_ADVANCE_LINE,)) + _sleb(here - line)
        steps.append(_LNS_COPY)
        address, file, line = place, in_file, here
    end = program.base + len(program.data)
    steps += bytes((_LNS_ADVANCE_PC,)) + _uleb(end - address)
    steps += bytes((0, 1, _LNE_END_SEQUENCE))
    header = struct.pack("<HI", 2, len(tables)) + tables
    return struct.pack("<I", len(header) + len(steps)) + header + bytes(steps)
