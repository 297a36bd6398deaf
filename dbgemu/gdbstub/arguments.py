"""The arguments of packets: pure functions from a packet's bytes after its name to a tuple.

Each raises :class:`PacketError` for what is not well-formed. Numbers are hexadecimal without prefix;
addresses have at most 32 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from dbgemu.gdbstub.errors import MALFORMED, PacketError
from dbgemu.gdbstub.framing import unescape

_WORD = rb"([0-9a-fA-F]{1,8})"
_ADDRESS_LENGTH = re.compile(_WORD + rb"," + _WORD)
_ADDRESS_LENGTH_DATA = re.compile(_WORD + rb"," + _WORD + rb":(.*)", re.DOTALL)
_REGISTER = re.compile(_WORD)
_REGISTER_VALUE = re.compile(_WORD + rb"=((?:[0-9a-fA-F]{2})+)")
_SIGNAL_ADDRESS = re.compile(rb"[0-9a-fA-F]{2}(?:;" + _WORD + rb")?")
_POINT = re.compile(_WORD + rb"," + _WORD)
_SEARCH = re.compile(_WORD + rb";" + _WORD + rb";(.*)", re.DOTALL)
_FILE_REPLY = re.compile(rb"(-?[0-9a-fA-F]{1,16})(?:,([0-9a-fA-F]{1,8})(?:,(C)?)?)?(?:;.*)?", re.DOTALL)
_FLASH_WRITE = re.compile(_WORD + rb":(.*)", re.DOTALL)
_STEP_BITS = re.compile(rb"=(?:0x)?" + _WORD)
_TRANSFER = re.compile(rb"([^:]*):" + _WORD + rb"," + _WORD)
_ID = rb"(-1|[0-9a-fA-F]{1,8})"
_THREAD = re.compile(_ID + rb"|p" + _ID + rb"(?:\." + _ID + rb")?")
_ACTION = re.compile(rb"(?:([cst])|([CS])[0-9a-fA-F]{2}|(r)" + _WORD + rb"," + _WORD + rb")(?::(.+))?")
_FEATURE = re.compile(rb"([^;=+?-][^;=]*?)(?:([+?-])|=([^;]*))")

#: the only process: the board
_PROCESS = 1


def _bad(what: str, text: bytes) -> PacketError:
    shown = text[:40].decode("ascii", "backslashreplace")
    return PacketError(f"{what} expected, not '{shown}'", MALFORMED)


def nothing(text: bytes) -> tuple[()]:
    """No arguments."""
    if text:
        raise _bad("no arguments", text)
    return ()


def anything(text: bytes) -> tuple[()]:
    """Arguments that do not matter here."""
    return ()


def address_length(text: bytes) -> tuple[int, int]:
    """``addr,length``."""
    match = _ADDRESS_LENGTH.fullmatch(text)
    if match is None:
        raise _bad("address,length", text)
    return int(match[1], 16), int(match[2], 16)


def flash_write(text: bytes) -> tuple[int, bytes]:
    """``addr:data`` with the data in escaped binary."""
    match = _FLASH_WRITE.fullmatch(text)
    if match is None:
        raise _bad("address:data", text)
    return int(match[1], 16), unescape(match[2])


def numbers(count: int) -> Callable[[bytes], tuple[int, ...]]:
    """A parser of ``count`` numbers of up to 64 bits, separated by commas."""
    pattern = re.compile(rb",".join([rb"([0-9a-fA-F]{1,16})"] * count))

    def parse(text: bytes) -> tuple[int, ...]:
        match = pattern.fullmatch(text)
        if match is None:
            raise _bad(f"{count} numbers" if count > 1 else "a number", text)
        return tuple(int(group, 16) for group in match.groups())

    return parse


def open_file(text: bytes) -> tuple[bytes, int, int]:
    """``filename,flags,mode`` of vFile:open, the name in hexadecimal."""
    name, _, rest = text.partition(b",")
    flags, mode = numbers(2)(rest)
    return hex_bytes(name), flags, mode


def step_bits(text: bytes) -> tuple[int]:
    """``=bits``, with ``0x`` or without."""
    match = _STEP_BITS.fullmatch(text)
    if match is None:
        raise _bad("=bits", text)
    return (int(match[1], 16),)


def search(text: bytes) -> tuple[int, int, bytes]:
    """``addr;length;pattern`` with the pattern in escaped binary."""
    match = _SEARCH.fullmatch(text)
    if match is None:
        raise _bad("address;length;pattern", text)
    return int(match[1], 16), int(match[2], 16), unescape(match[3])


def _address_data(text: bytes, decode: Callable[[bytes], bytes]) -> tuple[int, bytes]:
    match = _ADDRESS_LENGTH_DATA.fullmatch(text)
    if match is None:
        raise _bad("address,length:data", text)
    length = int(match[2], 16)
    data = decode(match[3])
    if len(data) != length:
        raise PacketError(f"{length} bytes announced but {len(data)} sent", MALFORMED)
    return int(match[1], 16), data


def address_hex(text: bytes) -> tuple[int, bytes]:
    """``addr,length:XX…`` with the data in hexadecimal."""
    return _address_data(text, hex_bytes)


def address_binary(text: bytes) -> tuple[int, bytes]:
    """``addr,length:…`` with the data in escaped binary."""
    return _address_data(text, unescape)


def hex_bytes(text: bytes) -> bytes:
    """The bytes that hexadecimal digits stand for."""
    try:
        if any(space in text for space in b" \t\n\r\v\f"):
            raise ValueError
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        raise _bad("hexadecimal data", text) from None


def hex_data(text: bytes) -> tuple[bytes]:
    """Nothing but data in hexadecimal."""
    return (hex_bytes(text),)


def register(text: bytes) -> tuple[int]:
    """A register number."""
    match = _REGISTER.fullmatch(text)
    if match is None:
        raise _bad("register number", text)
    return (int(match[1], 16),)


def register_value(text: bytes) -> tuple[int, bytes]:
    """``n=XX…``: a register number and its bytes in target order."""
    match = _REGISTER_VALUE.fullmatch(text)
    if match is None:
        raise _bad("register=value", text)
    return int(match[1], 16), bytes.fromhex(match[2].decode())


def optional_address(text: bytes) -> tuple[int | None]:
    """An address or nothing."""
    if not text:
        return (None,)
    return register(text)


def signal_address(text: bytes) -> tuple[int | None]:
    """``sig[;addr]``; the signal means nothing to a board."""
    match = _SIGNAL_ADDRESS.fullmatch(text)
    if match is None:
        raise _bad("signal[;address]", text)
    return (int(match[1], 16) if match[1] else None,)


def point(text: bytes) -> tuple[int, int]:
    """``addr,kind`` of a breakpoint or watchpoint."""
    match = _POINT.fullmatch(text)
    if match is None:
        raise _bad("address,kind", text)
    return int(match[1], 16), int(match[2], 16)


def file_reply(text: bytes) -> tuple[int, int, bool]:
    """``retcode[,errno[,C]]`` of a File-I/O reply: C when ctrl-C was pressed meanwhile."""
    match = _FILE_REPLY.fullmatch(text)
    if match is None:
        raise _bad("retcode,errno,C", text)
    return int(match[1], 16), int(match[2] or b"0", 16), match[3] is not None


def transfer(text: bytes) -> tuple[str, int, int]:
    """``annex:offset,length`` of a qXfer read."""
    match = _TRANSFER.fullmatch(text)
    if match is None:
        raise _bad("annex:offset,length", text)
    return match[1].decode("ascii", "backslashreplace"), int(match[2], 16), int(match[3], 16)


def thread_number(text: bytes) -> int | None:
    """The thread that a thread-id (``1``, ``p1.1``, …) names; 0 for any, -1 for all of them.

    None for one of a process that does not exist.
    """
    match = _THREAD.fullmatch(text)
    if match is None:
        raise _bad("thread-id", text)
    lone, process, thread = match.groups()
    if process is not None and process != b"-1" and int(process, 16) not in (0, _PROCESS):
        return None
    number = lone or thread
    return -1 if number in (None, b"-1") else int(number, 16)


def thread(text: bytes) -> tuple[int | None]:
    """A thread-id: see :func:`thread_number`."""
    return (thread_number(text),)


def process(text: bytes) -> tuple[int | None]:
    """The number of a process, ``;`` in front of it or not; or nothing."""
    text = text.removeprefix(b";")
    return register(text) if text else (None,)


def program(text: bytes) -> tuple[tuple[bytes, ...]]:
    """``filename;argument;…`` of vRun, each in hexadecimal."""
    return (tuple(hex_bytes(part) for part in text.split(b";")),)


def flag(text: bytes) -> tuple[bool]:
    """``0`` or ``1``."""
    if text not in (b"0", b"1"):
        raise _bad("0 or 1", text)
    return (text == b"1",)


def system_calls(text: bytes) -> tuple[tuple[int, ...] | None]:
    """``0``, or ``1;number;…``: None for no system calls, no numbers for all."""
    first, *numbers = text.split(b";")
    if text != b"0" and first != b"1":
        raise _bad("0 or 1;number;…", text)
    return (None if text == b"0" else tuple(register(number)[0] for number in numbers),)


def operation_thread(text: bytes) -> tuple[bytes, int | None]:
    """``c`` or ``g`` and a thread-id (packet H)."""
    if text[:1] not in (b"c", b"g"):
        raise _bad("'c' or 'g'", text)
    return text[:1], thread_number(text[1:])


class ResumeAction(NamedTuple):
    """What vCont wants of a thread (see :func:`thread_number`): c, s, r or t, and the range of an r."""

    action: bytes
    start: int
    end: int
    thread: int | None


def resume_actions(text: bytes) -> tuple[tuple[ResumeAction, ...]]:
    """``action[:thread];…`` of vCont, in this order: the leftmost that fits a thread counts for it."""
    found = []
    for part in text.split(b";"):
        match = _ACTION.fullmatch(part)
        if match is None:
            raise _bad("action[:thread-id]", part)
        action = match[1] or (match[2].lower() if match[2] else match[3])
        thread = -1 if match[6] is None else thread_number(match[6])
        found.append(ResumeAction(action, int(match[4] or b"0", 16), int(match[5] or b"0", 16), thread))
    return (tuple(found),)


def features(text: bytes) -> tuple[Mapping[str, str]]:
    """``name+;name-;name=value;…`` of qSupported: each name with ``+``, ``-``, ``?`` or its value."""
    found: dict[str, str] = {}
    for part in filter(None, text.split(b";")):
        match = _FEATURE.fullmatch(part)
        if match is None:
            raise _bad("feature", part)
        found[match[1].decode("latin-1")] = (match[2] or match[3]).decode("latin-1")
    return (found,)
