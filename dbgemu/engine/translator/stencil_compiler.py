"""From examples to stencils: emitted, compiled by LLVM, and taken out of the object file."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from io import BytesIO

import llvmlite.binding as llvm
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from dbgemu.engine.native import target_machine
from dbgemu.engine.translator.decoding import Instruction
from dbgemu.engine.translator.machine_code import ObjectError, optimized
from dbgemu.engine.translator.stencil_core import DECLARATIONS, StencilCore
from dbgemu.engine.translator.stencils import Has, Key, Literal, Parts, key_of

_NEXT, _ASIDE = "next", "aside"
#: x86-64: relocation type -> bytes of an absolute value (ABI, table 4.9)
_ABSOLUTE = {1: 8, 10: 4, 11: 4, 12: 2, 14: 1}
_RELATIVE = (2, 4)  # PC32, PLT32
_JUMP = 0xE9

#: (place, type, symbol, addend)
_Relocation = tuple[int, int, str, int]

_PIECES: dict[str, Callable[[StencilCore], str]] = {
    "entry": StencilCore.entry,
    "loop": StencilCore.loop,
    "settle": StencilCore.settle,
    "record": StencilCore.record,
    "cross": StencilCore.cross,
    "link": StencilCore.link,
    "leave": StencilCore.leave,
    "interpret": StencilCore.interpret,
    **{f"condition {code}": partial(StencilCore.condition, code=code) for code in range(14)},
}
#: what lies between instructions, for ARM and for Thumb
PIECES: list[Key] = [(name, thumb) for thumb in (0, 1) for name in _PIECES]


def compile_examples(
    examples: Iterable[Instruction], has: Has, literal: Literal, *, pieces: Iterable[Key], traced: bool
) -> list[tuple[Key, Parts]]:
    """Stencils that serve ``examples``, and those ``pieces``."""
    cores: list[tuple[StencilCore, str]] = []
    keys: list[Key] = []
    seen: set[tuple[object, ...]] = set()

    def add(key: Key, thumb: bool, example: Mapping[str, object], emit: Callable[[StencilCore], str]) -> None:
        core = StencilCore(f"f{len(cores)}", thumb, example, traced=traced)
        text = emit(core)
        identity = (key, *core.guards.items())
        if identity not in seen:
            seen.add(identity)
            cores.append((core, text))
            keys.append(key)

    for name, thumb in pieces:
        add((name, thumb), bool(thumb), {}, _PIECES[name])
    for instruction in examples:
        example = {"w": instruction.word, "pc": instruction.pc, "has": has, "literal": literal}
        add(key_of(instruction), instruction.thumb, example, partial(_emit, instruction=instruction))
    return list(zip(keys, _compile(cores, _machine()), strict=True))


def _emit(core: StencilCore, instruction: Instruction) -> str:
    return core.instruction(instruction)


def _compile(cores: list[tuple[StencilCore, str]], machine: llvm.TargetMachine) -> list[Parts]:
    """Machine code for what cores emitted as functions ``f0``, ``f1`` and so on."""
    text = "\n".join([DECLARATIONS, *(body for _, body in cores)])
    found = _functions_of(bytes(machine.emit_object(optimized(text, machine))))
    stencils = []
    for number, (core, _) in enumerate(cores):
        name = f"f{number}"
        expressions = {f"{name}_{hole}": text for text, hole in core.holes.items()}
        code, relocations = found[name]
        stencils.append(_parts(code, relocations, expressions, tuple(core.guards.items())))
    return stencils


def _parts(
    code: bytes,
    relocations: list[_Relocation],
    expressions: Mapping[str, str],
    guards: tuple[tuple[str, int], ...],
) -> Parts:
    # what comes next lies behind the code: a jump there at its end is not needed
    last = next((r for r in relocations if r[0] == len(code) - 4 and r[2] == _NEXT), None)
    if last is not None and code[-5] == _JUMP:
        relocations = [r for r in relocations if r is not last]
        code = code[:-5]
    patched = bytearray(code)
    holes, asides = [], []
    for place, kind, symbol, addend in relocations:
        if symbol in (_NEXT, _ASIDE):
            if kind not in _RELATIVE or addend != -4:
                raise ObjectError(f"a way on with relocation {kind}")
            if symbol == _NEXT:
                struct.pack_into("<i", patched, place, len(code) - place - 4)
            else:
                asides.append(place)
            continue
        if kind not in _ABSOLUTE:
            raise ObjectError(f"a hole with relocation {kind}")
        size = _ABSOLUTE[kind]
        text = expressions[symbol]
        if addend:
            text = f"({text}+{addend})"
        holes.append((place, size, f"{text}&{(1 << 8 * size) - 1}"))
    return bytes(patched), tuple(holes), tuple(asides), guards


def _functions_of(contents: bytes) -> dict[str, tuple[bytes, list[_Relocation]]]:
    """The functions in an object file, each with its relocations: (place, type, symbol, addend)."""
    elf = ELFFile(BytesIO(contents))
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    found: dict[str, tuple[int, int, bytes, list[_Relocation]]] = {}
    for symbol in symbols.iter_symbols():
        if symbol["st_info"]["type"] == "STT_FUNC":
            section = symbol["st_shndx"]
            start, size = symbol["st_value"], symbol["st_size"]
            data = elf.get_section(section).data()
            found[symbol.name] = (section, start, data[start : start + size], [])
    places = sorted((section, start, name) for name, (section, start, _, _) in found.items())
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection) and section["sh_info"] in {place[0] for place in places}:
            for relocation in section.iter_relocations():
                at = bisect_right(places, (section["sh_info"], relocation["r_offset"], "\x7f")) - 1
                _, start, name = places[at]
                target = symbols.get_symbol(relocation["r_info_sym"]).name
                entry = (
                    relocation["r_offset"] - start,
                    relocation["r_info_type"],
                    target,
                    relocation["r_addend"],
                )
                found[name][3].append(entry)
    return {name: (code, relocations) for name, (_, _, code, relocations) in found.items()}


@cache
def _machine() -> llvm.TargetMachine:
    return target_machine(near=True)
