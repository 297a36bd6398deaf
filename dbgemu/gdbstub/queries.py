"""Handlers: what the stub and the target are, documents, the monitor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dbgemu.gdbstub.errors import PacketError
from dbgemu.gdbstub.framing import PACKET_SIZE, escape
from dbgemu.gdbstub.memory_map import memory_map

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client


def start_no_ack_mode(client: Client) -> bytes:
    """``QStartNoAckMode``: no more acknowledgements, from behind this reply."""
    client.acks = False
    return b"OK"


def attached(client: Client) -> bytes:
    """``qAttached``: the board was there before GDB, so GDB detaches from it when it ends."""
    return b"1"


def document_part(document: bytes, offset: int, length: int) -> bytes:
    """A piece of a qXfer object: ``m`` when more follows, ``l`` when not."""
    end = offset + min(length, PACKET_SIZE // 2 - 4)
    return (b"m" if end < len(document) else b"l") + escape(document[offset:end])


def read_features(client: Client, annex: str, offset: int, length: int) -> bytes:
    """``qXfer:features:read``: the target description."""
    if annex != "target.xml":
        raise PacketError(f"there is no target description '{annex}', only target.xml", 0)
    return document_part(client.stub.registers.xml, offset, length)


def read_memory_map(client: Client, annex: str, offset: int, length: int) -> bytes:
    """``qXfer:memory-map:read``."""
    if annex:
        raise PacketError(f"there is no memory map '{annex}'", 0)
    session = client.session
    document = session.call(lambda: memory_map(session.machine.board.bus, session.cpu))
    return document_part(document, offset, length)


def monitor_command(client: Client, line: bytes) -> bytes:
    """``qRcmd``: a line for the monitor, in hexadecimal; what it prints comes as console output."""
    output = client.stub.monitor(line.decode("utf-8", "replace"))
    if output:
        client.console(output if output.endswith("\n") else output + "\n")
    return b"OK"


def note_features(client: Client, features: Mapping[str, str]) -> None:
    """Keep which features of ``qSupported`` the client has."""
    client.features = frozenset(name for name, value in features.items() if value == "+")
