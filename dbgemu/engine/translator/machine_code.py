"""From regions to machine code: LLVM's passes, and the functions out of the object file.

Regions' code refers to nothing outside itself: what it calls, it finds in the CPU's state. So an
object's text is all there is to it, and can be put anywhere.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import llvmlite.binding as llvm

from dbgemu.engine.translator.region_core import emit_regions
from dbgemu.engine.translator.regions import Region

#: LLVM's code generation level: see docs/engine.md for what was measured
LEVEL = 1

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMTAB, _RELA, _FUNCTION = 2, 4, 2


class ObjectError(Exception):
    """An object file is not what regions compile to."""


@dataclass(frozen=True)
class Text:
    """Machine code, and where in it each region's function starts."""

    code: bytes
    offsets: tuple[int, ...]


def translate(regions: list[Region], machine: llvm.TargetMachine) -> Text:
    """Compile ``regions``."""
    contents = compile_regions(emit_regions(regions), machine)
    return text_of(contents, len(regions))


def optimized(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """The module of the regions' IR after the passes that pay."""
    module = llvm.parse_assembly(f'target triple = "{machine.triple}"\n{text}')
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return module


def compile_regions(text: str, machine: llvm.TargetMachine) -> bytes:
    """An object file from the regions' IR."""
    return bytes(machine.emit_object(optimized(text, machine)))


def text_of(contents: bytes, count: int) -> Text:
    """The code of ``region_0`` and so on in an ELF object file; ObjectError when it needs linking."""
    if contents[:6] != b"\x7fELF\x02\x01":
        raise ObjectError("not a 64-bit little-endian ELF file")
    start, _, _, _, _, _, count_sections, _ = struct.unpack_from("<QIHHHHHH", contents, 40)
    sections = [_SECTION.unpack_from(contents, start + k * _SECTION.size) for k in range(count_sections)]
    texts = [k for k, section in enumerate(sections) if section[2] & 4 and section[5]]
    if len(texts) != 1:
        raise ObjectError(f"{len(texts)} sections with code instead of one")
    for section in sections:
        if section[1] == _RELA and section[7] == texts[0]:
            raise ObjectError("code that refers to something outside")
    text = sections[texts[0]]
    offsets: dict[str, int] = {}
    for section in sections:
        if section[1] != _SYMTAB:
            continue
        strings = sections[section[6]][4]
        for place in range(section[4], section[4] + section[5], _SYMBOL.size):
            name, info, _, index, value, _ = _SYMBOL.unpack_from(contents, place)
            if info & 15 == _FUNCTION and index == texts[0]:
                end = contents.index(b"\0", strings + name)
                offsets[contents[strings + name : end].decode()] = value
    return Text(contents[text[4] : text[4] + text[5]], tuple(offsets[f"region_{k}"] for k in range(count)))
