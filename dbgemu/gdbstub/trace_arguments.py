"""The arguments of the tracepoint packets: pure functions, as those of :mod:`arguments`.

GDB manual, "Tracepoint Packets". Numbers are hexadecimal; those of 64 bits are two's complement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dbgemu.gdbstub.arguments import hex_bytes
from dbgemu.gdbstub.errors import MALFORMED, PacketError

_HEX = rb"([0-9a-fA-F]{1,8})"
_LONG = rb"([0-9a-fA-F]{1,16})"
_DIGITS = rb"([0-9a-fA-F]*)"
#: GDB pads addresses in some of these packets to 64 bits
_ADDRESS = b"0{0,8}" + _HEX

_DEFINITION = re.compile(
    _HEX + b":" + _ADDRESS + b":([ED]):" + _HEX + b":" + _HEX + rb"(:F[0-9a-fA-F]+|:S)?"
    rb"(?::X" + _HEX + b"," + _DIGITS + rb")?(-?)"
)
_ACTIONS = re.compile(b"-" + _HEX + b":" + _ADDRESS + rb":(S?)(.*?)(-?)")
_ACTION = re.compile(
    rb"R([0-9a-fA-F]+)|M(-1|[0-9a-fA-F]{1,8})," + _LONG + b"," + _HEX + rb"|X" + _HEX + b"," + _DIGITS
)
_SOURCE = re.compile(_HEX + b":" + _ADDRESS + rb":(\w+):" + _HEX + b":" + _HEX + b":" + _DIGITS)
_VARIABLE = re.compile(_HEX + b":" + _LONG + rb"(?::" + _HEX + b":" + _DIGITS + rb")?")
_NUMBER = re.compile(_HEX)
_LOCATION = re.compile(_HEX + b":" + _ADDRESS)
_FRAME = re.compile(
    rb"(?:(pc|tdp):" + _HEX + rb"|(range|outside):" + _HEX + b":" + _HEX + b"|" + _HEX + rb")"
)
_RANGE = re.compile(_HEX + b"," + _LONG)
_SETTING = re.compile(rb"(circular|size):(-1|[0-9a-fA-F]{1,8})")
_NOTE = re.compile(rb"(\w+):" + _DIGITS)
_PIECE = re.compile(_HEX + b"," + _HEX)

#: a register number in an M action, and a frame number, that means "none"
NONE = 0xFFFFFFFF


def _bad(what: str, text: bytes) -> PacketError:
    shown = text[:40].decode("ascii", "backslashreplace")
    return PacketError(f"{what} expected, not '{shown}'", MALFORMED)


def _match(pattern: re.Pattern[bytes], what: str, text: bytes) -> re.Match[bytes]:
    match = pattern.fullmatch(text)
    if match is None:
        raise _bad(what, text)
    return match


def _signed(digits: bytes) -> int:
    value = int(digits, 16)
    return value - (1 << 64) if value >> 63 else value


def _expression(length: bytes, digits: bytes) -> bytes:
    data = hex_bytes(digits)
    if len(data) != int(length, 16):
        raise PacketError(f"{int(length, 16)} bytes announced but {len(data)} sent", MALFORMED)
    return data


@dataclass(frozen=True)
class Definition:
    """``QTDP:n:addr:ena:step:pass…``: a tracepoint without its actions."""

    number: int
    address: int
    enabled: bool
    steps: int
    passes: int
    #: ``F`` for a fast tracepoint, ``S`` for a static one
    kind: str
    condition: bytes | None
    #: packets with actions follow
    more: bool


@dataclass(frozen=True)
class WrittenAction:
    """One action: ``mask`` of an R, (base register, offset, length) of an M, or the code of an X."""

    text: str
    mask: int | None = None
    memory: tuple[int, int, int] | None = None
    code: bytes | None = None


@dataclass(frozen=True)
class Actions:
    """``QTDP:-n:addr:[S]action…[-]``: more of a tracepoint's actions; with ``S`` those of its steps."""

    number: int
    address: int
    stepping: bool
    actions: tuple[WrittenAction, ...]
    more: bool


def tracepoint(text: bytes) -> tuple[Definition | Actions]:
    """The two forms of ``QTDP``."""
    if text.startswith(b"-"):
        return (_actions(text),)
    match = _match(_DEFINITION, "tracepoint definition", text)
    condition = None if match[7] is None else _expression(match[7], match[8])
    return (
        Definition(
            number=int(match[1], 16),
            address=int(match[2], 16),
            enabled=match[3] == b"E",
            steps=int(match[4], 16),
            passes=int(match[5], 16),
            kind=(match[6] or b"")[1:2].decode(),
            condition=condition,
            more=bool(match[9]),
        ),
    )


def _actions(text: bytes) -> Actions:
    match = _match(_ACTIONS, "tracepoint actions", text)
    found = []
    place, written = 0, match[4]
    while place < len(written):
        action = _ACTION.match(written, place)
        if action is None:
            raise _bad("action R, M or X", written[place:])
        found.append(_action(action))
        place = action.end()
    return Actions(int(match[1], 16), int(match[2], 16), bool(match[3]), tuple(found), bool(match[5]))


def _action(match: re.Match[bytes]) -> WrittenAction:
    text = match[0].decode()
    if match[1] is not None:
        return WrittenAction(text, mask=int(match[1], 16))
    if match[2] is not None:
        base = NONE if match[2] == b"-1" else int(match[2], 16)
        return WrittenAction(text, memory=(base, int(match[3], 16) & 0xFFFFFFFF, int(match[4], 16)))
    return WrittenAction(text, code=_expression(match[5], match[6]))


def source(text: bytes) -> tuple[int, int, str, int, int, bytes]:
    """``n:addr:type:start:slen:bytes`` of QTDPsrc."""
    match = _match(_SOURCE, "source string", text)
    number, address, start, length = (int(match[part], 16) for part in (1, 2, 4, 5))
    return number, address, match[3].decode(), start, length, hex_bytes(match[6])


def variable(text: bytes) -> tuple[int, int, str]:
    """``n:value[:builtin:name]`` of QTDV."""
    match = _match(_VARIABLE, "number:value:builtin:name", text)
    name = hex_bytes(match[4]).decode("utf-8", "replace") if match[4] else ""
    return int(match[1], 16), _signed(match[2]), name


def location(text: bytes) -> tuple[int, int]:
    """``n:addr``."""
    match = _match(_LOCATION, "number:address", text)
    return int(match[1], 16), int(match[2], 16)


def number(text: bytes) -> tuple[int]:
    """One number."""
    return (int(_match(_NUMBER, "number", text)[0], 16),)


def flag(text: bytes) -> tuple[bool]:
    """``0`` or ``1``."""
    if text not in (b"0", b"1"):
        raise _bad("0 or 1", text)
    return (text == b"1",)


def frame(text: bytes) -> tuple[str, int, int]:
    """What QTFrame looks for (``number``, ``pc``, ``tdp``, ``range``, ``outside``) and its values."""
    match = _match(_FRAME, "frame number, pc, tdp, range or outside", text)
    if match[1]:
        return match[1].decode(), int(match[2], 16), 0
    if match[3]:
        return match[3].decode(), int(match[4], 16), int(match[5], 16)
    return "number", int(match[6], 16), 0


def ranges(text: bytes) -> tuple[tuple[tuple[int, int], ...]]:
    """``start,end:start,end:…`` of QTro; the ends are not included."""
    found = []
    for part in filter(None, text.split(b":")):
        match = _match(_RANGE, "start,end", part)
        found.append((int(match[1], 16), int(match[2], 16)))
    return (tuple(found),)


def setting(text: bytes) -> tuple[str, int | None]:
    """``circular:0|1`` or ``size:n`` of QTBuffer; a size of -1 (None) is the default."""
    match = _match(_SETTING, "circular:n or size:n", text)
    value = None if match[2].lower() in (b"-1", b"ffffffff") else int(match[2], 16)
    return match[1].decode(), value


def notes(text: bytes) -> tuple[tuple[tuple[str, str], ...]]:
    """``type:text;…`` of QTNotes."""
    found = []
    for part in filter(None, text.split(b";")):
        match = _match(_NOTE, "type:text", part)
        found.append((match[1].decode(), hex_bytes(match[2]).decode("utf-8", "replace")))
    return (tuple(found),)


def file_name(text: bytes) -> tuple[str]:
    """The name in QTSave."""
    return (hex_bytes(text).decode("utf-8", "replace"),)


def piece(text: bytes) -> tuple[int, int]:
    """``offset,length`` of qTBuffer."""
    match = _match(_PIECE, "offset,length", text)
    return int(match[1], 16), int(match[2], 16)
