"""Commands that show code: disassembly, source lines, symbols."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from dbgemu.debug.disassembly import Instruction, disassemble
from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.debug.symbols import SymbolsError
from dbgemu.monitor import debugging, expressions, locations
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.monitor.context import Context

_INSTRUCTIONS = 16
_LINES = 10
#: instructions of one ``disassemble``
_MOST = 100_000


@lru_cache(maxsize=64)
def source_text(file: str) -> tuple[str, ...] | None:
    """The lines of a source file as this machine has it, or None."""
    try:
        return tuple(Path(file).read_text("utf-8", "replace").splitlines())
    except OSError:
        return None


def source_line(file: str, line: int) -> str:
    """One line with its number: its text if the file is there, else where it is."""
    text = source_text(file)
    return f"{line}\t{text[line - 1]}" if text and 0 < line <= len(text) else f"{line}\tin {file}"


def here(session: DebugSession, pc: int) -> str:
    """What comes next, for a stop: the source line, if its text is at hand, else the instruction.

    Of a machine that stands still.
    """
    line = session.symbols.line(pc)
    if line is not None and source_text(line.file) is not None:
        return source_line(line.file, line.line)
    try:
        return f"=> {disassemble(session, pc, 1, thumb=_present_thumb(session))[0]}"
    except MEMORY_ERRORS:
        return ""


def _present_thumb(session: DebugSession) -> bool:
    return bool(session.cpu.read_register("cpsr") & 1 << 5)


# -- disassembly -------------------------------------------------------------------------------------


def _disassemble(context: Context, arguments: Sequence[str]) -> Report:
    session, state = context.session, debugging.of(context)
    form, *words = arguments
    if set(form) - set("stahr"):
        raise CommandError(f"'/{form}' is no form of disassemble: /s with source lines, /t Thumb, /a ARM")
    thumb = True if "t" in form else False if "a" in form else None
    end, count = 1 << 32, _INSTRUCTIONS
    pc = session.call(lambda: session.cpu.read_register("pc"))
    if context.repeated and state.next_address:
        address = state.next_address
    elif not words:
        address, end, count = _function_around(session, pc)
    else:
        address = locations.resolve(session, words[0])[0].address
        symbol = session.symbols.find(words[0])
        if len(words) > 1:
            number = expressions.evaluate(session, words[1])
            # a small number is a count, one behind the address where to end
            end, count = (number, _MOST) if number > address else (end, number)
        elif symbol is not None and symbol.is_function and symbol.size:
            end, count = symbol.address + symbol.size, _MOST
    if count > _MOST:
        raise CommandError(f"{count} instructions are too many for once: at most {_MOST}")
    try:
        found = session.call(lambda: disassemble(session, address, count, end=end, thumb=thumb))
    except MEMORY_ERRORS as error:
        raise CommandError(str(error)) from None
    if found:
        state.next_address = found[-1].address + found[-1].size
    return Report("\n".join(_shown(session, found, pc, with_lines="s" in form)), _data(session, found))


def _function_around(session: DebugSession, pc: int) -> tuple[int, int, int]:
    found = session.symbols.lookup(pc)
    if found is not None and found[0].is_function and found[0].size:
        return found[0].address, found[0].end, _MOST
    return pc, 1 << 32, _INSTRUCTIONS


def _shown(
    session: DebugSession, instructions: Sequence[Instruction], pc: int, *, with_lines: bool
) -> Iterator[str]:
    name, last = "", None
    for item in instructions:
        found = session.symbols.lookup(item.address)
        if found is not None and found[0].name != name:
            name = found[0].name
            yield f"{session.symbols.describe(item.address)}:"
        line = session.symbols.line(item.address) if with_lines else None
        if line is not None and line != last:
            last = line
            shown = source_text(line.file)
            if shown and line.line <= len(shown):
                yield f"{line}\t{shown[line.line - 1]}"
            else:
                yield str(line)
        yield f"{'=>' if item.address == pc else '  '} {item}"


def _data(session: DebugSession, instructions: Sequence[Instruction]) -> list[dict[str, object]]:
    return [
        {
            "address": item.address,
            "size": item.size,
            "word": item.word,
            "text": item.text,
            "symbol": session.symbols.describe(item.address) or None,
        }
        for item in instructions
    ]


# -- source ------------------------------------------------------------------------------------------

_FILE_LINE = re.compile(r"(?P<file>[^\s:*]+):(?P<line>\d+)")


def _list(context: Context, arguments: Sequence[str]) -> Report:
    session, state = context.session, debugging.of(context)
    if not arguments and state.next_line is not None and context.repeated:
        file, first = state.next_line
    elif arguments and (match := _FILE_LINE.fullmatch(arguments[0])):
        places = session.symbols.places(match["file"], int(match["line"]))
        file = places[0].file if places else match["file"]
        first = max(1, int(match["line"]) - _LINES // 2)
    else:
        if arguments:
            address = locations.resolve(session, arguments[0])[0].address
        else:
            address = session.call(lambda: session.cpu.read_register("pc"))
        line = session.symbols.line(address)
        if line is None:
            raise CommandError(f"no source line is known of {locations.describe(session, address)}")
        file, first = line.file, max(1, line.line - _LINES // 2)
    text = source_text(file)
    if text is None:
        where = f"{file}:{first + _LINES // 2 if first > 1 else first}"
        return Report(f"{where}: the file is not on this machine", {"file": file, "lines": None})
    shown = text[first - 1 : first - 1 + _LINES]
    if not shown:
        raise CommandError(f"'{file}' has {len(text)} lines")
    state.next_line = file, first + len(shown)
    lines = [source_line(file, number) for number in range(first, first + len(shown))]
    return Report("\n".join(lines), {"file": file, "first": first, "lines": list(shown)})


def _info_line(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    words = arguments or ("$pc",)
    texts, data = [], []
    for place in locations.resolve(session, words[0]):
        found = session.symbols.line_range(place.address)
        if found is None:
            raise CommandError(f"no source line is known of {locations.describe(session, place.address)}")
        start, end = (locations.describe(session, address) for address in (found.start, found.end))
        texts.append(f"{found.file}:{found.line} is the code from {start} to {end}")
        data.append({"file": found.file, "line": found.line, "start": found.start, "end": found.end})
    return Report("\n".join(texts), data)


# -- symbols -----------------------------------------------------------------------------------------


def _info_symbol(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    address = expressions.evaluate(session, arguments[0])
    found = session.symbols.lookup(address)
    line = session.symbols.line(address)
    if found is None:
        raise CommandError(f"0x{address:08x} is in no symbol that is known")
    symbol, inside = found
    what = "function" if symbol.is_function else "object"
    size = f", {symbol.size} bytes" if symbol.size else ""
    text = f"0x{address:08x} is {session.symbols.describe(address)} ({what} at 0x{symbol.address:08x}{size})"
    return Report(
        text + (f" at {line}" if line else ""),
        {
            "address": address,
            "symbol": symbol.name,
            "offset": inside,
            "size": symbol.size,
            "function": symbol.is_function,
            "line": str(line) if line else None,
        },
    )


def _info_functions(context: Context, arguments: Sequence[str]) -> Report:
    pattern = arguments[0] if arguments else ""
    try:
        found = context.session.symbols.search(pattern, functions=True)
    except re.error as error:
        raise CommandError(f"'{pattern}' is no regular expression: {error}") from None
    if not found:
        raise CommandError(f"no function's name has '{pattern}' in it")
    return Report(
        "\n".join(f"0x{item.address:08x}  {item.name}" for item in found),
        [{"address": item.address, "size": item.size, "name": item.name} for item in found],
    )


def _symbol_file(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    offset = expressions.evaluate(session, arguments[1]) if len(arguments) > 1 else 0
    path = Path(arguments[0]).expanduser()
    try:
        added = session.symbols.add(path, offset)
    except SymbolsError as error:
        raise CommandError(str(error)) from None
    moved = f", moved by 0x{offset:x}" if offset else ""
    return Report(
        f"{len(added.symbols)} symbols from {path}{moved}",
        {"file": str(path), "symbols": len(added.symbols), "offset": offset},
    )


def _info_files(context: Context, arguments: Sequence[str]) -> Report:
    files = context.session.symbols.files
    if not files:
        return Report("no symbols are loaded: 'symbol-file FILE' loads them", [])
    data = [{"file": str(item.path), "symbols": len(item.symbols), "offset": item.offset} for item in files]
    lines = [
        f"{item.path}: {len(item.symbols)} symbols" + (f", moved by 0x{item.offset:x}" if item.offset else "")
        for item in files
    ]
    return Report("\n".join(lines), data)


_GROUP = "code"

COMMANDS = (
    Command(
        "disassemble",
        _disassemble,
        "show instructions: of the present function, or from a place",
        (
            Argument("LOCATION", Kind.SYMBOL, optional=True),
            Argument("COUNT|END", Kind.EXPRESSION, optional=True, rest=True),
        ),
        ("disas",),
        _GROUP,
        "/s: with the source lines between. /t and /a: as Thumb or ARM code; without, as the function there\n"
        "is, else as the CPU is now. A name alone shows the whole function.",
        formatted=True,
        repeatable=True,
    ),
    Command(
        "list",
        _list,
        "show source lines around a place",
        (Argument("LOCATION", Kind.SYMBOL, optional=True, rest=True),),
        ("l",),
        _GROUP,
        repeatable=True,
    ),
    Command(
        "info line",
        _info_line,
        "tell which code a source line has, and which line an address",
        (Argument("LOCATION", Kind.SYMBOL, optional=True, rest=True),),
        (),
        _GROUP,
    ),
    Command(
        "info symbol",
        _info_symbol,
        "tell what an address is",
        (Argument("EXPRESSION", Kind.EXPRESSION, rest=True),),
        ("symbol",),
        _GROUP,
    ),
    Command(
        "info functions",
        _info_functions,
        "list functions by a regular expression",
        (Argument("PATTERN", optional=True, rest=True),),
        (),
        _GROUP,
    ),
    Command(
        "symbol-file",
        _symbol_file,
        "load the symbols of an ELF file, moved by an offset",
        (Argument("FILE", Kind.FILE), Argument("OFFSET", Kind.EXPRESSION, optional=True, rest=True)),
        ("add-symbol-file",),
        _GROUP,
    ),
    Command("info files", _info_files, "list the files whose symbols are known", (), (), _GROUP),
)
