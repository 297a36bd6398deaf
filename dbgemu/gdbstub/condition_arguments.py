"""The arguments of Z0 and Z1: a place, and agent expressions as conditions and commands."""

from __future__ import annotations

import re

from dbgemu.gdbstub.arguments import hex_bytes, point
from dbgemu.gdbstub.errors import MALFORMED, PacketError

_COMMANDS = re.compile(rb"cmds:([01]),(.*)", re.DOTALL)
_EXPRESSION = re.compile(rb"X([0-9a-fA-F]{1,4}),")

BreakpointArguments = tuple[int, int, tuple[bytes, ...], tuple[bytes, ...], bool]


def breakpoint_with_rules(text: bytes) -> BreakpointArguments:
    """``addr,kind[;Xlen,expr…][;cmds:persist,Xlen,expr…]``: conditions, commands, whether these persist."""
    place, *lists = text.split(b";")
    conditions: list[bytes] = []
    commands: list[bytes] = []
    persistent = False
    for part in lists:
        match = _COMMANDS.fullmatch(part)
        if match is None:
            conditions += _expressions(part)
        else:
            persistent = match[1] == b"1"
            commands += _expressions(match[2])
    address, kind = point(place)
    return address, kind, tuple(conditions), tuple(commands), persistent


def _expressions(text: bytes) -> list[bytes]:
    """``Xlen,hex`` one after another: agent expressions."""
    found = []
    while text:
        match = _EXPRESSION.match(text)
        end = match.end() + 2 * int(match[1], 16) if match else 0
        if match is None or end > len(text):
            shown = text[:40].decode("ascii", "backslashreplace")
            raise PacketError(f"Xlength,expression expected, not '{shown}'", MALFORMED)
        found.append(hex_bytes(text[match.end() : end]))
        text = text[end:]
    return found
