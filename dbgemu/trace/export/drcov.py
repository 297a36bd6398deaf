"""Coverage in DynamoRIO's drcov format, version 2: which blocks were executed, by module.

A text head, then records of 8 bytes: offset in the module (32 bits), size (16) and the module's number
(16), as DynamoRIO's drcov writes them and Lighthouse, lightkeeper and others read them.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dbgemu.trace.reader import Trace
from dbgemu.trace.tools.names import Names
from dbgemu.trace.tools.selection import Selection, need_blocks

_BLOCK = struct.Struct("<IHH")
_MAX_SIZE = 0xFFFE
#: segments this near to each other are of one image
_NEAR = 1 << 24


class Module(NamedTuple):
    """A row of the module table: addresses from ``base`` up to, not including, ``end``."""

    base: int
    end: int
    entry: int
    path: str


def export_drcov(trace: Trace, names: Names, selection: Selection, file: BinaryIO) -> None:
    """Write each different block once. What lies in no symbol file is in the module "guest memory"."""
    need_blocks(trace, "coverage")
    blocks = sorted(
        {(b.pc, b.length * (2 if b.thumb else 4)) for b in trace.profile(selection.start, selection.end)}
    )
    modules = [_module(source.path, source.offset) for source in names.symbols.files]
    everything = Module(0, 1 << 32, 0, "guest memory")
    table = [*(module for module in modules if module is not None), everything]
    records = []
    for pc, size in blocks:
        number = next(place for place, module in enumerate(table) if module.base <= pc < module.end)
        for start in range(0, size, _MAX_SIZE):
            part = min(size - start, _MAX_SIZE)
            records.append(_BLOCK.pack(pc + start - table[number].base, part, number))
    lines = ["DRCOV VERSION: 2", "DRCOV FLAVOR: drcov", f"Module Table: version 2, count {len(table)}"]
    lines.append("Columns: id, base, end, entry, checksum, timestamp, path")
    for number, module in enumerate(table):
        lines.append(
            f"{number:3}, 0x{module.base:08x}, 0x{module.end:08x}, 0x{module.entry:08x}, "
            f"0x00000000, 0x00000000, {module.path}"
        )
    lines.append(f"BB Table: {len(records)} bbs")
    file.write("".join(f"{line}\n" for line in lines).encode())
    file.write(b"".join(records))


def _module(path: Path, offset: int) -> Module | None:
    """The addresses of an ELF file's loaded segments, as far as they are near the largest one."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile  # only now, as in dbgemu.debug.symbols

    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            loaded = [
                (segment["p_vaddr"], segment["p_vaddr"] + segment["p_memsz"])
                for segment in elf.iter_segments("PT_LOAD")
                if segment["p_memsz"]
            ]
            entry = elf["e_entry"]
    except (OSError, ELFError):
        return None
    if not loaded:
        return None
    base, end = max(loaded, key=lambda item: item[1] - item[0])
    for _ in loaded:
        near = [item for item in loaded if item[0] < end + _NEAR and item[1] > base - _NEAR]
        base, end = min(start for start, _ in near), max(last for _, last in near)
    return Module(base + offset, end + offset, entry + offset if entry else 0, str(path))
