"""Commands that look at memory, write it to files and read it from them; and accesses to devices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.context import Context
from dbgemu.monitor.expressions import device_register, evaluate, register_address
from dbgemu.monitor.memory_format import (
    FORMAT_HELP,
    SIZE_NAMES,
    Format,
    Line,
    instruction_lines,
    parse_format,
    value_lines,
)

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.monitor.monitor import Monitor

#: the CPSR's T bit
_THUMB = 0x20
#: bytes that are saved, loaded or summed at once at most
_MAX_SIZE = 1 << 30
_WORD_MASK = 0xFFFFFFFF
#: a branch as capstone writes it
_BRANCH = re.compile(r"\sbl?x?\w* #0x([0-9a-f]+)$")


class _Place(NamedTuple):
    """Where x or xp has come to."""

    form: Format
    address: int
    thumb: bool


#: by monitor, for x and for xp
_next: WeakKeyDictionary[Monitor, dict[bool, _Place]] = WeakKeyDictionary()


# -- looking ---------------------------------------------------------------------------------


def _x(context: Context, arguments: Sequence[str]) -> Report:
    return _examine(context, arguments, physical=False)


def _xp(context: Context, arguments: Sequence[str]) -> Report:
    return _examine(context, arguments, physical=True)


def _examine(context: Context, arguments: Sequence[str], *, physical: bool) -> Report:
    session = context.session
    places = _next.setdefault(context.monitor, {})
    last = places.get(physical)
    form = parse_format(arguments[0], last.form if last else Format())
    if len(arguments) > 1 and not (context.repeated and last):
        address = evaluate(session, arguments[1])
        thumb = bool(session.call(lambda: session.cpu.read_register("cpsr")) & _THUMB or address & 1)
    elif last is not None:
        address, thumb = last.address, last.thumb
    else:
        raise CommandError("there is no address to go on from: x/4xw ADDRESS")
    if form.letter == "i":
        address &= ~1 if thumb else ~3
    data, problem = _read_front(session, address, form.length, physical)
    if form.letter == "i":
        lines = list(instruction_lines(form.count, address, data, thumb=thumb))
    else:
        lines = list(value_lines(form, address, data[: len(data) // form.size * form.size]))
    end = address + sum(line.length for line in lines) & _WORD_MASK
    places[physical] = _Place(form, end, thumb)
    shown = [_show(session, line, physical) for line in lines]
    text = "\n".join([*(text for text, _ in shown), *([problem] if problem else [])])
    return Report(text, {"address": address, "size": form.size, "lines": [entry for _, entry in shown]})


def _read_front(session: DebugSession, address: int, length: int, physical: bool) -> tuple[bytes, str]:
    """What can be read from ``address`` on, and why it is less. CommandError where it is nothing."""
    try:
        data = session.memory.read_front(address, min(length, _WORD_MASK + 1 - address), physical=physical)
    except MEMORY_ERRORS as error:
        raise CommandError(str(error)) from None
    if len(data) == length:
        return data, ""
    return data, f"nothing more can be read from 0x{address + len(data) & _WORD_MASK:08x} on"


def _show(session: DebugSession, line: Line, physical: bool) -> tuple[str, dict[str, object]]:
    symbol = "" if physical else session.symbols.describe(line.address)
    label = f" <{symbol}>" if symbol else ""
    branch = None if physical else _BRANCH.search(line.text)
    target = session.symbols.describe(int(branch[1], 16)) if branch else ""
    goal = f" <{target}>" if target else ""
    return f"{line.address:08x}{label}: {line.text}{goal}", {
        "address": line.address,
        "symbol": symbol or None,
        **line.data,
    }


def _print(context: Context, arguments: Sequence[str]) -> Report:
    form = parse_format(arguments[0], Format())
    if form.letter == "i":
        raise CommandError("a value is no instruction: print/x, d, u, o or c")
    value = evaluate(context.session, arguments[1])
    return Report(form.show(value), {"value": value})


def _sum(context: Context, arguments: Sequence[str]) -> Report:
    address, size = _range(context, arguments[0], arguments[1])
    total = 0
    for byte in _read(context.session, address, size, physical=True):
        # as QEMU and sum(1) of BSD do it: 16 bits, turned right by one before each byte
        total = (total >> 1 | (total & 1) << 15) + byte & 0xFFFF
    return Report(f"{total:05d}", {"sum": total})


# -- files -----------------------------------------------------------------------------------


def _range(context: Context, address: str, size: str) -> tuple[int, int]:
    start, length = evaluate(context.session, address), evaluate(context.session, size)
    if not 0 < length <= min(_MAX_SIZE, _WORD_MASK + 1 - start):
        raise CommandError(f"{length} bytes from 0x{start:08x} on are none, or more than there can be")
    return start, length


def _read(session: DebugSession, address: int, size: int, *, physical: bool) -> bytes:
    read = session.memory.read_physical if physical else session.memory.read
    try:
        return read(address, size)
    except MEMORY_ERRORS as error:
        raise CommandError(str(error)) from None


def _save(context: Context, arguments: Sequence[str], *, physical: bool) -> Report:
    address, size = _range(context, arguments[0], arguments[1])
    data = _read(context.session, address, size, physical=physical)
    path = Path(arguments[2]).expanduser()
    try:
        path.write_bytes(data)
    except OSError as error:
        raise CommandError(f"'{path}' cannot be written: {error.strerror}") from None
    return Report(f"{size} bytes written to {path}", {"bytes": size, "file": str(path)})


def _memsave(context: Context, arguments: Sequence[str]) -> Report:
    return _save(context, arguments, physical=False)


def _pmemsave(context: Context, arguments: Sequence[str]) -> Report:
    return _save(context, arguments, physical=True)


def _load(context: Context, arguments: Sequence[str], *, physical: bool) -> Report:
    session, path = context.session, Path(arguments[0]).expanduser()
    address = evaluate(session, arguments[1])
    try:
        if path.stat().st_size > _MAX_SIZE:
            raise CommandError(f"'{path}' is larger than any memory of the board")
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"'{path}' cannot be read: {error.strerror}") from None
    write = session.memory.write_physical if physical else session.memory.write
    try:
        write(address, data, by=context.monitor)
    except MEMORY_ERRORS as error:
        raise CommandError(str(error)) from None
    return Report(
        f"{len(data)} bytes of {path} put at 0x{address:08x}", {"bytes": len(data), "address": address}
    )


def _memload(context: Context, arguments: Sequence[str]) -> Report:
    return _load(context, arguments, physical=False)


def _pmemload(context: Context, arguments: Sequence[str]) -> Report:
    return _load(context, arguments, physical=True)


# -- accesses with side effects ----------------------------------------------------------------


def _access(context: Context, form: str, where: str) -> tuple[int, Format]:
    """The physical address and size of an access, of the register's width where one is named."""
    session = context.session
    default = Format()
    try:
        node = device_register(session, where)
    except CommandError:
        address = evaluate(session, where)
    else:
        address = register_address(session, node)
        default = Format(size=node.register.width + 7 >> 3)
        if default.size == 3:
            default = Format(size=4)
    shape = parse_format(form, default)
    if shape.count != 1 or shape.letter == "i" or shape.size == 8:
        raise CommandError(f"an access is of 1, 2 or 4 bytes: '/{form}' is not")
    if address % shape.size:
        raise CommandError(f"0x{address:08x} is not aligned for an access of a {SIZE_NAMES[shape.size]}")
    if session.machine.board.bus.find(address) is None:
        raise CommandError(f"nothing answers at physical address 0x{address:08x}")
    return address, shape


def _i(context: Context, arguments: Sequence[str]) -> Report:
    address, form = _access(context, arguments[0], arguments[1])
    value = context.session.memory.read_with_side_effects(address, form.size, physical=True)
    return Report(f"{address:08x}: {form.show(value)}", {"address": address, "value": value})


def _o(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    address, form = _access(context, arguments[0], arguments[1])
    value = evaluate(session, arguments[2])
    if value >> 8 * form.size:
        raise CommandError(f"0x{value:x} does not fit in a {SIZE_NAMES[form.size]}")
    bus = session.machine.board.bus
    session.call(lambda: bus.write(address, form.size, value))
    return Report("", {"address": address, "value": value})


_ADDRESS = Argument("address", Kind.EXPRESSION)
_PLACE = Argument("address", Kind.EXPRESSION, optional=True, rest=True)
_SIZE = Argument("size", Kind.EXPRESSION)
_FILE = Argument("file", Kind.FILE)
_SIDE_EFFECTS = """\
This is an access as the CPU makes it, with all its side effects: a FIFO is popped, a pending bit cleared.
ADDRESS is physical, or a register's name: uart0.URXH. x, xp and info only look."""

COMMANDS = (
    Command(
        "x",
        _x,
        "show memory at a virtual address",
        (_PLACE,),
        group="memory",
        details=f"{FORMAT_HELP}\nWithout an address, and on an empty line, it goes on where it came to.",
        formatted=True,
        repeatable=True,
    ),
    Command(
        "xp",
        _xp,
        "show memory at a physical address",
        (_PLACE,),
        group="memory",
        details=FORMAT_HELP,
        formatted=True,
        repeatable=True,
    ),
    Command(
        "print",
        _print,
        "show an expression's value",
        (Argument("expression", Kind.EXPRESSION, rest=True),),
        aliases=("p",),
        group="memory",
        details=FORMAT_HELP,
        formatted=True,
    ),
    Command(
        "i",
        _i,
        "read a device with side effects",
        (Argument("address", Kind.DEVICE_REGISTER),),
        group="memory",
        details=_SIDE_EFFECTS,
        formatted=True,
    ),
    Command(
        "o",
        _o,
        "write to a device, as the CPU would",
        (Argument("address", Kind.DEVICE_REGISTER), Argument("value", Kind.EXPRESSION, rest=True)),
        group="memory",
        details=_SIDE_EFFECTS,
        formatted=True,
    ),
    Command("sum", _sum, "show the BSD checksum of physical memory", (_ADDRESS, _SIZE), group="memory"),
    Command(
        "memsave",
        _memsave,
        "write memory at a virtual address to a file",
        (_ADDRESS, _SIZE, _FILE),
        group="memory",
    ),
    Command(
        "pmemsave",
        _pmemsave,
        "write memory at a physical address to a file",
        (_ADDRESS, _SIZE, _FILE),
        group="memory",
    ),
    Command(
        "memload", _memload, "read memory at a virtual address from a file", (_FILE, _ADDRESS), group="memory"
    ),
    Command(
        "pmemload",
        _pmemload,
        "read memory at a physical address from a file",
        (_FILE, _ADDRESS),
        group="memory",
    ),
)
