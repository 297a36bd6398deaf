"""Places in code as users name them: addresses, symbols, source lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from dbgemu.monitor import expressions
from dbgemu.monitor.command import CommandError

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession

_FILE_LINE = re.compile(r"(?P<file>[^\s:*]+):(?P<line>\d+)")
_IF = re.compile(r"(?:^|\s)if(?=\s|\(|$)")
#: inlined code may be in many places; more breakpoints than that help nobody
_MOST = 16


class Location(NamedTuple):
    """One place: its address, and how it was named."""

    address: int
    text: str


def resolve(session: DebugSession, text: str) -> list[Location]:
    """The places that ``text`` names: ``FILE:LINE``, or an expression (``*EXPR`` as in gdb). CommandError.

    A source line can have code in several places.
    """
    match = _FILE_LINE.fullmatch(text.strip())
    if match is not None:
        return _line(session, match["file"], int(match["line"]))
    address = expressions.evaluate(session, text.strip().removeprefix("*")) & ~1
    return [Location(address, text.strip())]


def _line(session: DebugSession, file: str, line: int) -> list[Location]:
    found = session.symbols.places(file, line)
    if not found:
        hint = "" if session.symbols.files else ": no symbols are loaded"
        raise CommandError(f"no code is known of line {line} of '{file}'{hint}")
    if len(found) > _MOST:
        raise CommandError(f"{file}:{line} has code in {len(found)} places, name one of them by its address")
    return [Location(place.start, f"{file}:{place.line}") for place in found]


def describe(session: DebugSession, address: int) -> str:
    """``0xc0008000 <stext+0x4>``."""
    symbol = session.symbols.describe(address)
    return f"0x{address:08x}" + (f" <{symbol}>" if symbol else "")


def split_condition(text: str) -> tuple[str, str]:
    """What stands in front of the word ``if``, and what behind it."""
    match = _IF.search(text)
    if match is None:
        return text.strip(), ""
    condition = text[match.end() :].strip()
    if not condition:
        raise CommandError("a condition is expected behind 'if'")
    return text[: match.start()].strip(), condition
