"""Actions of points that print and let the guest go on: on its hot path, so they only take values down."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.monitor import expressions
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.expressions import CpuRegister, Node

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.engine.cpu import WatchHit
    from dbgemu.monitor.announcer import Announcer

_LETTERS = "xXdubocs"
_SPEC = re.compile(r"(?P<flags>0?\d*)(?P<letter>[xXdubocs])")
#: bytes of a text in the guest's memory
_LONGEST = 256

#: takes a value down now; what it gives is shown later
Taker = Callable[[], object]


class LogAction:
    """What a logpoint does: False, so that the machine runs on. ``str()`` is its text."""

    def __init__(self, text: str, pieces: list[str], takers: list[Taker], announcer: Announcer) -> None:
        self._text = text
        self._pieces = pieces
        self._takers = takers
        self._announcer = announcer

    def __call__(self) -> bool:
        """Take the values down."""
        values = [take() for take in self._takers]
        self._announcer.say(lambda: self._fill(values))
        return False

    def _fill(self, values: list[object]) -> str:
        parts = [self._pieces[0]]
        for value, piece in zip(values, self._pieces[1:], strict=True):
            parts += (str(value), piece)
        return "".join(parts)

    def __str__(self) -> str:
        return f'"{self._text}"'


class WatchLog:
    """What a watchpoint in logging form does: tell of the access, in words, and let the machine run on."""

    def __init__(self, session: DebugSession, announcer: Announcer) -> None:
        self._cpu = session.cpu
        self._devices = session.devices
        self._session = session
        self._say = announcer.say

    def __call__(self) -> bool:
        """Take the access down."""
        cpu = self._cpu
        pc, hit = cpu.pc, cpu.watch_hit
        if hit.value is None:
            carried = self._devices.present(hit)
            self._say(lambda: self._text(pc, hit, carried))
        else:
            self._say(lambda: self._text(pc, hit, hit.value))
        return False

    def _text(self, pc: int, hit: WatchHit, carried: int | None) -> str:
        done = self._devices.transaction(pc, replace(hit, value=carried, physical=hit.physical))
        if done is not None:
            return str(done)
        symbols = self._session.symbols
        where, what = symbols.describe(pc), symbols.describe(hit.address)
        value = "" if carried is None else f" {'<-' if hit.write else '->'} 0x{carried:0{2 * hit.size}x}"
        verb = "writes" if hit.write else "reads"
        return (
            f"0x{pc:08x}{f' <{where}>' if where else ''} {verb} {hit.size} bytes "
            f"at 0x{hit.address:08x}{f' <{what}>' if what else ''}{value}"
        )


def parse_format(session: DebugSession, text: str, announcer: Announcer) -> LogAction:
    """The action that prints ``text``, with values where it has {EXPRESSION:FORMAT}. CommandError."""
    pieces, takers, place = [""], [], 0
    while place < len(text):
        character = text[place]
        if character == "{":
            end = _closing(text, place)
            takers.append(_taker(session, text[place + 1 : end]))
            pieces.append("")
            place = end + 1
        else:
            pieces[-1] += character
            place += 1
    return LogAction(text, pieces, takers, announcer)


def _closing(text: str, start: int) -> int:
    """The brace that closes the one at ``start``; within may be pairs of them: {{byte}$r0}."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if not depth:
            return place
    raise CommandError(f"a brace is not closed in '{text}'")


def _taker(session: DebugSession, text: str) -> Taker:
    source, _, form = text.partition(":")
    node = expressions.parse(session, source).node
    if not form:
        return lambda: _Hex(_value(session, node))
    match = _SPEC.fullmatch(form)
    if match is None:
        raise CommandError(f"'{form}' is no format: one of {', '.join(_LETTERS)}, or with a width as 08x, is")
    flags, letter = match["flags"], match["letter"]
    if letter == "s":
        return lambda: _string(session, node)
    if letter == "c":
        return lambda: chr(_value(session, node) & 0xFF)
    if letter == "d":
        return lambda: format((_value(session, node) ^ 0x80000000) - 0x80000000, f"{flags}d")
    letter = {"u": "d"}.get(letter, letter)
    return lambda: _Formatted(_value(session, node), flags + letter)


class _Hex(int):
    """A number that is shown as 0x..."""

    def __str__(self) -> str:
        return hex(self)


class _Formatted:
    """A number that is formatted when it is shown."""

    __slots__ = ("_form", "_value")

    def __init__(self, value: int, form: str) -> None:
        self._value, self._form = value, form

    def __str__(self) -> str:
        return format(self._value, self._form)


def _value(session: DebugSession, node: Node) -> int:
    """0 where it cannot be told: the guest is to go on."""
    if isinstance(node, CpuRegister):
        return session.cpu.read_register(node.name)
    try:
        return node.value(session)
    except CommandError:
        return 0


def _string(session: DebugSession, node: Node) -> str:
    address = _value(session, node)
    data = b""
    while len(data) < _LONGEST and b"\0" not in data:
        try:
            data += session.cpu.read_memory(address + len(data), 64 - (address + len(data)) % 64)
        except MEMORY_ERRORS:
            break
    return data.split(b"\0")[0].decode("utf-8", "replace")
