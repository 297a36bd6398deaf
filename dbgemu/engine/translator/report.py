"""What the translator has, as text: all of it, or what an address is translated to."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import capstone

from dbgemu.engine.translator.region_core import emit_regions
from dbgemu.engine.translator.regions import find_region
from dbgemu.engine.translator.requests import Made
from dbgemu.engine.translator.translator import Installed, Translator

#: regions listed by :func:`jit_report`
_LISTED = 20


def jit_report(translator: Translator) -> str:
    """Counts, the cache, and the regions that were entered most often."""
    counts, regions = translator.statistics, translator.regions
    guest = sum(region.made.instructions for region in regions)
    assembled = sum(region.made.assembled for region in regions)
    lines = [
        f"regions in use     {len(regions)}, of {guest} guest instructions; {assembled} are assembled",
        f"native code        {translator.code_bytes} bytes",
        f"asked to assemble  {counts['assembled']}",
        f"asked to compile   {counts['asked']}; {translator.waiting} of both are outstanding,"
        f" {translator.compile_seconds:.2f} s so far",
        f"from the cache     {counts['recalled']} of {len(translator.cache or ())} that it had at the start",
        f"thrown away        {counts['invalidated']}",
        "",
        "address     entered  guest  host bytes  entries",
    ]
    for region in sorted(regions, key=lambda region: -region.hits)[:_LISTED]:
        made = region.made
        lines.append(
            f"{made.pc:08x} {region.hits:10d} {made.instructions:6d} {len(made.native):11d}"
            f"  {len(region.entries)}{', Thumb' if made.thumb else ''}{', traced' if made.traced else ''}"
            f"{', assembled' if made.assembled else ''}"
        )
    return "\n".join(lines)


def region_report(translator: Translator, address: int) -> str:
    """The regions with the instruction at virtual ``address``: guest code, LLVM IR, host code."""
    found = [
        region
        for region in translator.regions
        if any(start <= address < start + len(code) for start, code in region.made.code)
    ]
    if not found:
        return f"no translated code has the instruction at 0x{address:08x}"
    return "\n\n".join("\n".join(_region(translator, region)) for region in found)


def _region(translator: Translator, region: Installed) -> Iterator[str]:
    made = region.made
    entries = ", ".join(f"0x{entry:08x}" for entry in made.entries)
    yield (
        f"region of 0x{made.pc:08x}{', traced' if made.traced else ''}: {made.instructions} instructions,"
        f" entered {region.hits} times at {entries}"
    )
    yield "guest code:"
    mode = capstone.CS_MODE_THUMB if made.thumb else capstone.CS_MODE_ARM
    yield from _disassembled(capstone.Cs(capstone.CS_ARCH_ARM, mode), made.code)
    yield "LLVM IR:"
    yield region_ir(made)
    yield "host code:"
    yield from host_code(region)


def host_code(region: Installed) -> Iterator[str]:
    """A region's native code, disassembled: a line for each instruction."""
    yield from _disassembled(_host(), ((region.address, region.made.native),))


def _disassembled(disassembler: capstone.Cs, pieces: tuple[tuple[int, bytes], ...]) -> Iterator[str]:
    disassembler.skipdata = True  # literals lie between the instructions
    for address, code in pieces:
        for item in disassembler.disasm(code, address):
            yield f"  {item.address:08x}  {item.mnemonic} {item.op_str}".rstrip()


def _host() -> capstone.Cs:
    if platform.machine().lower() in ("aarch64", "arm64"):
        return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)


def region_ir(made: Made) -> str:
    """What the emitter gives for a region's code, made once more; assembled ones were made without."""
    if made.assembled:
        return "(assembled from stencils)"

    def fetch(address: int, size: int) -> int | None:
        for start, code in made.code:
            if start <= address < start + len(code):
                return int.from_bytes(code[address - start : address - start + size], "little")
        return None

    again = find_region(made.pc, made.thumb, fetch)
    if again is None:
        return ""
    again.traced = made.traced
    return emit_regions([again])
