"""From regions to machine code: LLVM's passes, and the functions out of the object file.

Regions' code refers to nothing outside itself: what it calls, it finds in the CPU's state. So an
object's text is all there is to it, and can be put anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import llvmlite.binding as llvm
from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from dbgemu.engine.translator.region_core import emit_regions
from dbgemu.engine.translator.regions import Region

#: LLVM's code generation level: see docs/engine.md for what was measured
LEVEL = 1

_EXECUTED = SH_FLAGS.SHF_EXECINSTR


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
    try:
        elf = ELFFile(BytesIO(contents))
    except ELFError as error:
        raise ObjectError(f"not an object file: {error}") from error
    sections = list(elf.iter_sections())
    texts = [k for k, section in enumerate(sections) if section["sh_flags"] & _EXECUTED and section.data_size]
    if len(texts) != 1:
        raise ObjectError(f"{len(texts)} sections with code instead of one")
    for section in sections:
        if isinstance(section, RelocationSection) and section["sh_info"] == texts[0]:
            raise ObjectError("code that refers to something outside")
    offsets = {
        symbol.name: symbol["st_value"]
        for section in sections
        if isinstance(section, SymbolTableSection)
        for symbol in section.iter_symbols()
        if symbol["st_shndx"] == texts[0]
    }
    return Text(sections[texts[0]].data(), tuple(offsets[f"region_{k}"] for k in range(count)))
