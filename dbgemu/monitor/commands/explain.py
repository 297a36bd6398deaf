"""``explain``: an instruction taken apart, and what it would do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from dbgemu.debug.disassembly import decode, is_thumb
from dbgemu.debug.explain import Access, Explanation, explain
from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.monitor import expressions
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.monitor.context import Context

_FLAGS = (("N", 31), ("Z", 30), ("C", 29), ("V", 28))


def _explain(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    text = arguments[0] if arguments else "$pc"
    as_word = text.startswith("word ")
    value = expressions.evaluate(session, text.removeprefix("word "))

    def look() -> Report:
        pc = session.cpu.read_register("pc")
        if not as_word:
            thumb = is_thumb(session, value)
            if value == pc:
                thumb = bool(session.cpu.read_register("cpsr") & 1 << 5)
            address = value & ~1 if thumb else value & ~3
            try:
                data = session.cpu.read_memory(address, 2 if thumb else 4)
                return _report(session, int.from_bytes(data, "little"), address, thumb)
            except MEMORY_ERRORS:
                if value == pc:
                    raise
        thumb = bool(session.cpu.read_register("cpsr") & 1 << 5)
        if thumb and value >> 16:
            raise CommandError(f"0x{value:x} is no address that can be read, and no Thumb instruction")
        return _report(session, value, pc, thumb)

    try:
        return session.call(look)
    except MEMORY_ERRORS as error:
        raise CommandError(str(error)) from None


def _report(session: DebugSession, word: int, address: int, thumb: bool) -> Report:
    found = explain(session, word, address, thumb=thumb)
    text = "\n".join(_lines(session, found))
    return Report(text, {**asdict(found), "text": _disassembled(session, found)})


def _disassembled(session: DebugSession, found: Explanation) -> str:
    code = found.word.to_bytes(found.size, "little")
    return str(decode(session, found.address, code, thumb=found.thumb))


def _lines(session: DebugSession, found: Explanation) -> Iterator[str]:
    yield _disassembled(session, found)
    fields = " ".join(f"{name}={value:#x}" for name, value in found.fields.items())
    yield f"  is {found.pattern}" + (f": {fields}" if fields else "")
    if found.condition != "al":
        cpsr = session.cpu.read_register("cpsr")
        flags = " ".join(f"{name}={cpsr >> bit & 1}" for name, bit in _FLAGS)
        yield f"  condition {found.condition} {'holds' if found.holds else 'does not hold'} ({flags})"
    if not found.holds:
        yield "  does nothing now"
        return
    yield from (f"  {_access(session, item)}" for item in found.accesses)
    for name, (before, after) in found.registers.items():
        named = session.symbols.describe(after) if name not in ("cpsr", "spsr") else ""
        yield f"  {name}: 0x{before:08x} -> 0x{after:08x}" + (f" <{named}>" if named else "")
    if found.exception:
        yield f"  takes the exception {found.exception}"
    if found.idles:
        yield "  waits for an interrupt"
    if found.branches:
        name = session.symbols.describe(found.next_pc)
        yield f"  goes on at 0x{found.next_pc:08x}" + (f" <{name}>" if name else "")
    if not (found.accesses or found.registers or found.branches or found.idles):
        yield "  changes nothing"


def _access(session: DebugSession, item: Access) -> str:
    verb = "writes" if item.write else "reads"
    name = item.device or session.symbols.describe(item.address)
    physical = f", physical 0x{item.physical:08x}" if item.physical != item.address else ""
    where = f"{verb} {item.size} bytes at 0x{item.address:08x}{physical}" + (f" <{name}>" if name else "")
    digits = 2 * item.size
    if item.nothing:
        return f"{where}: nothing answers there"
    if item.device:
        value = f"0x{item.value:0{digits}x}"
        return f"{where}: would {'write' if item.write else 'read'} {value}, the device is left alone"
    if item.write:
        return f"{where}: 0x{item.before:0{digits}x} -> 0x{item.value:0{digits}x}"
    return f"{where}: 0x{item.value:0{digits}x}"


COMMANDS = (
    Command(
        "explain",
        _explain,
        "take an instruction apart and tell what it would do now",
        (Argument("ADDRESS|WORD", Kind.EXPRESSION, optional=True, rest=True),),
        (),
        "code",
        "The instruction at an address (that at the pc without one), or an instruction's word, as if it\n"
        "were at the pc; 'word' in front of a number that is also an address: explain word 0xe3a00001.\n"
        "Nothing is changed: it is run on a copy, and devices are left alone.",
    ),
)
