"""Handlers: breakpoints and watchpoints. Setting one twice, or removing what is not there, is fine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbgemu.debug.watchpoints import WatchKind
from dbgemu.gdbstub.errors import MALFORMED, PacketError

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client

Handler = Callable[["Client", int, int], bytes]


def remove_breakpoint(*, hardware: bool) -> Handler:
    """The handler of ``z0`` or ``z1``."""

    def remove(client: Client, address: int, kind: int) -> bytes:
        session = client.session

        def take() -> None:
            found = session.breakpoints.find(client, address, hardware)
            if found is not None:
                session.breakpoints.remove(found)

        session.call(take)
        return b"OK"

    return remove


def insert_watchpoint(kind: WatchKind) -> Handler:
    """The handler of ``Z2`` (write), ``Z3`` (read) or ``Z4`` (access)."""

    def insert(client: Client, address: int, length: int) -> bytes:
        session = client.session
        if not length or address + length > 1 << 32:
            raise PacketError(f"{length} bytes from 0x{address:08x} cannot be watched", MALFORMED)

        def once() -> None:
            if session.watchpoints.find(client, address, length, kind) is None:
                session.watchpoints.add(client, address, length, kind)

        session.call(once)
        return b"OK"

    return insert


def remove_watchpoint(kind: WatchKind) -> Handler:
    """The handler of ``z2``, ``z3`` or ``z4``."""

    def remove(client: Client, address: int, length: int) -> bytes:
        session = client.session

        def take() -> None:
            found = session.watchpoints.find(client, address, length, kind)
            if found is not None:
                session.watchpoints.remove(found)

        session.call(take)
        return b"OK"

    return remove
