"""Commands that change registers and memory, and that search memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.monitor import expressions, locations
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report, split_words
from dbgemu.monitor.expressions import CpuRegister, DeviceRegister, Memory

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.monitor.context import Context

#: an assignment's sign: neither part of a comparison nor of a shift
_ASSIGN = re.compile(r"(?<![=!<>])=(?!=)")
#: bytes of memory that are searched at a time
_CHUNK = 1 << 20
_MOST_FOUND = 1000


def _set(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    text = arguments[0]
    match = _ASSIGN.search(text)
    if match is None:
        raise CommandError(f"'{text}' sets nothing: set $r0 = 1, set nand.NFCONF = 0x10, set *0x30000000 = 1")
    target = text[: match.start()].strip().removeprefix("var ")
    node = expressions.parse(session, target).node
    value = expressions.evaluate(session, text[match.end() :])
    match node:
        case CpuRegister(name=name):
            session.write_registers({name: value}, by=context.monitor)
            return Report("", {"register": name, "value": value})
        case DeviceRegister():
            return _set_device(context, node, value)
        case Memory(address=address_node, size=size):
            address = session.call(lambda: address_node.value(session))
            if value >> 8 * size:
                raise CommandError(f"0x{value:x} does not fit in {size} bytes")
            try:
                session.memory.write(address, value.to_bytes(size, "little"), by=context.monitor)
            except MEMORY_ERRORS as error:
                raise CommandError(str(error)) from None
            return Report("", {"address": address, "size": size, "value": value})
    raise CommandError(
        f"'{target}' cannot be set: a register, a device's register, *ADDRESS, {{byte}}ADDRESS can"
    )


def _set_device(context: Context, node: DeviceRegister, value: int) -> Report:
    """Write the register as the CPU would: with all that this does."""
    session = context.session
    register = node.register
    if node.field is not None:
        limit = node.field.mask >> node.field.low
        if value > limit:
            raise CommandError(
                f"0x{value:x} does not fit in {node.name}.{node.field.name}: at most 0x{limit:x}"
            )
    elif value > register.mask:
        raise CommandError(f"0x{value:x} does not fit in the {register.width} bits of {node.name}")

    def write() -> tuple[int, int]:
        whole = value
        if node.field is not None:
            present = node.device.peek(register.offset, register.access_size)
            whole = node.field.put(present, value)
        node.device.write(register.offset, register.access_size, whole)
        return whole, node.device.peek(register.offset, register.access_size)

    written, now = session.call(write)
    digits = -(-register.width // 4)
    text = f"{node.name} <- 0x{written:0{digits}x}"
    if now != written:
        text += f", which now reads 0x{now:0{digits}x}"
    return Report(text, {"register": node.name, "written": written, "now": now})


# -- find --------------------------------------------------------------------------------------------

_SIZES = {"b": 1, "h": 2, "w": 4}


def _find(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    form, start_text, end_text, *rest = arguments
    physical = "p" in form
    sizes = [_SIZES[letter] for letter in form if letter in _SIZES]
    if set(form) - set("bhwp") or len(sizes) > 1:
        raise CommandError(
            f"'/{form}' is no form of find: /b, /h, /w for the size of numbers, p for physical"
        )
    start = expressions.evaluate(session, start_text)
    if end_text.startswith("+"):
        length = expressions.evaluate(session, end_text[1:])
    else:
        length = expressions.evaluate(session, end_text)
        length = length - start if length > start else length
    if start + length > 1 << 32:
        raise CommandError(f"0x{length:x} bytes from 0x{start:08x} reach behind the end of memory")
    pattern = _pattern(session, rest[0], sizes[0] if sizes else None)
    found = _search(context, start, length, pattern, physical=physical)
    lines = [f"0x{address:08x}" if physical else locations.describe(session, address) for address in found]
    more = len(found) == _MOST_FOUND
    count = f"{len(found)} found" + (", the search ended there" if more else "")
    return Report("\n".join([*lines, count]), {"found": found, "complete": not more})


def _pattern(session: DebugSession, text: str, size: int | None) -> bytes:
    """The bytes of values and texts: ``0x1234 "abc"``; numbers are words where nothing else is said."""
    data = b""
    for part in re.findall(r'"[^"]*"|\S+', text):
        if part.startswith('"'):
            data += part.strip('"').encode()
            continue
        for word in split_words(part):
            value = expressions.evaluate(session, word)
            width = size or 4
            if value >> 8 * width:
                raise CommandError(f"0x{value:x} does not fit in {width} bytes")
            data += value.to_bytes(width, "little")
    if not data:
        raise CommandError("what is to be found? A value, or a text in double quotes")
    return data


def _search(context: Context, start: int, length: int, pattern: bytes, *, physical: bool) -> list[int]:
    session = context.session
    found: list[int] = []
    address, end = start, start + length
    while address < end and len(found) < _MOST_FOUND:
        context.check_cancelled()
        wanted = min(_CHUNK + len(pattern) - 1, end - address)
        try:
            data = session.memory.read_front(address, wanted, physical=physical)
        except MEMORY_ERRORS as error:
            raise CommandError(f"the search ends: {error}" + _so_far(found)) from None
        place = data.find(pattern)
        while place >= 0 and place < _CHUNK and len(found) < _MOST_FOUND:
            found.append(address + place)
            place = data.find(pattern, place + 1)
        if len(data) < wanted:
            address += len(data)  # the next read tells why
            if address >= end:
                break
            continue
        address += _CHUNK
    return found


def _so_far(found: Sequence[int]) -> str:
    return f" (found before that: {', '.join(f'0x{address:08x}' for address in found)})" if found else ""


COMMANDS = (
    Command(
        "set",
        _set,
        "change a register, a device's register or memory: set $r0 = 5",
        (Argument("WHAT = VALUE", Kind.EXPRESSION, rest=True),),
        (),
        "debugging",
        "set $r0 = 5                 a register of the CPU, banked and cp15 too\n"
        "set nand.NFCONF = 0x10      a device's register: written as the CPU would, with all that this does\n"
        "set gpio.GPBCON.GPB1 = 1    a field of one: the others are written as they read\n"
        "set *0x30000000 = 1         a word of virtual memory; {half} and {byte} in place of the star",
    ),
    Command(
        "find",
        _find,
        'search memory: find/b START LENGTH VALUE or "text"',
        (
            Argument("START", Kind.EXPRESSION),
            Argument("LENGTH|END", Kind.EXPRESSION),
            Argument("PATTERN", rest=True),
        ),
        (),
        "debugging",
        "/b, /h, /w: numbers are bytes, halfwords, words (the default). p: addresses are physical.\n"
        "The pattern may have several values and texts, one behind another.",
        formatted=True,
    ),
)
