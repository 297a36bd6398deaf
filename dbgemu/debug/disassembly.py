"""Instructions as text, with the names of what they refer to."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from dbgemu.debug.memory import MEMORY_ERRORS

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession

_NUMBER = re.compile(r"#(0x[0-9a-f]+)$")
_POOL = re.compile(r"\[pc(?:, #(-?(?:0x)?[0-9a-f]+))?\]")
#: instructions whose number is where they go
_BRANCHES = re.compile(r"(?:b|bl|blx)(?:eq|ne|cs|cc|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)?$")


class Instruction(NamedTuple):
    """One instruction; ``target`` is where a branch goes, ``text`` ends in what it refers to."""

    address: int
    size: int
    word: int
    text: str
    target: int | None = None

    def __str__(self) -> str:
        return f"0x{self.address:08x}:  {self.word:0{2 * self.size}x}  {self.text}"


@cache
def _capstone(thumb: bool) -> Any:
    import capstone  # only now: it takes its time

    mode = capstone.CS_MODE_THUMB if thumb else capstone.CS_MODE_ARM
    return capstone.Cs(capstone.CS_ARCH_ARM, mode)


def is_thumb(session: DebugSession, address: int) -> bool:
    """Whether code at ``address`` is Thumb code: as its function is, else as the CPU is now."""
    found = session.symbols.lookup(address)
    if found is not None and found[0].is_function:
        return found[0].is_thumb
    return bool(session.cpu.read_register("cpsr") & 1 << 5)


def decode(session: DebugSession, address: int, code: bytes, *, thumb: bool) -> Instruction:
    """The instruction ``code`` (of 2 or 4 bytes, little-endian) at ``address``.

    A Thumb BL is two halfwords: with four bytes it is one instruction.
    """
    size = 2 if thumb else 4
    if thumb and len(code) >= 4 and code[1] >> 3 == 0b11110 and code[3] >> 3 in (0b11111, 0b11101):
        size = 4
    code = code[:size]
    decoded = next(_capstone(thumb).disasm_lite(code, address), None)
    word = int.from_bytes(code, "little")
    if thumb and size == 4:
        word = word >> 16 | (word & 0xFFFF) << 16
    if decoded is None or decoded[1] != size:
        size = min(size, 2) if thumb else 4
        return Instruction(address, size, word & (1 << 8 * size) - 1, "(undefined)")
    mnemonic, operands = decoded[2], decoded[3]
    text = f"{mnemonic:7} {operands}".rstrip()
    target = None
    number = _NUMBER.search(operands)
    if number is not None and _BRANCHES.match(mnemonic):
        target = int(number[1], 16)
        name = session.symbols.describe(target)
        text += f" <{name}>" if name else ""
    elif mnemonic.startswith("ldr") and (pool := _POOL.search(operands)):
        base = (address + 4 & ~3) if thumb else address + 8
        text += _constant(session, base + int(pool[1] or "0", 0))
    return Instruction(address, size, word, text, target)


def _constant(session: DebugSession, place: int) -> str:
    """What a load from the literal pool at ``place`` gives."""
    try:
        value = int.from_bytes(session.cpu.read_memory(place & 0xFFFFFFFF, 4), "little")
    except MEMORY_ERRORS:
        return ""
    name = session.symbols.describe(value)
    return f"  ; 0x{value:08x}" + (f" <{name}>" if name else "")


def disassemble(
    session: DebugSession, address: int, count: int, *, end: int = 1 << 32, thumb: bool | None = None
) -> list[Instruction]:
    """At most ``count`` instructions from virtual ``address``, up to ``end``.

    Of a machine that stands still, or on its thread. Ends early where memory does; raises one of
    MEMORY_ERRORS when there is nothing at all.
    """
    found: list[Instruction] = []
    while len(found) < count and address < end:
        state = is_thumb(session, address) if thumb is None else thumb
        address &= ~1 if state else ~3
        try:
            code = session.cpu.read_memory(address, 2 if state else 4)
            if state and code[1] >> 3 == 0b11110:
                code += session.cpu.read_memory(address + 2, 2)
        except MEMORY_ERRORS:
            if not found:
                raise
            break
        instruction = decode(session, address, code, thumb=state)
        found.append(instruction)
        address += instruction.size
    return found
