"""Handlers of Z0 and Z1: breakpoints with the conditions and commands that the client gives them.

GDB manual, "Packets", `Z0,addr,kind[;cond_list…][;cmds:persist,cmd_list…]`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from dbgemu.debug.agent import AgentError, AgentExpression
from dbgemu.debug.agent import parse as parse_agent
from dbgemu.debug.conditions import AgentCommands, AgentCondition, MachineContext
from dbgemu.gdbstub.errors import MALFORMED, PacketError

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client

Insert = Callable[["Client", int, int, tuple[bytes, ...], tuple[bytes, ...], bool], bytes]

#: GDB sets all its breakpoints anew each time it lets the program run
_parse_cached = lru_cache(maxsize=1024)(parse_agent)


def parse_expression(data: bytes) -> AgentExpression:
    """The agent expression in ``data``; PacketError when it is malformed."""
    try:
        return _parse_cached(data)
    except AgentError as error:
        raise PacketError(str(error), MALFORMED) from None


def insert_breakpoint(*, hardware: bool) -> Insert:
    """The handler of ``Z0`` or ``Z1``; the kind (2: Thumb, 4: ARM) changes nothing here.

    One that is there already gets the conditions and commands of the new packet.
    """

    def insert(
        client: Client,
        address: int,
        kind: int,
        conditions: tuple[bytes, ...] = (),
        commands: tuple[bytes, ...] = (),
        persistent: bool = False,
    ) -> bytes:
        session = client.session
        book = session.breakpoints
        stops = [parse_expression(data) for data in conditions]
        acts = [parse_expression(data) for data in commands]

        def once() -> None:
            found = book.find(client, address, hardware)
            if found is None and persistent:
                found = book.find(None, address, hardware)
                if found is not None and found.persistent:
                    # of a client that left: it is back, or this one takes its place
                    book.remove(found)
                found = None
            if found is None:
                found = book.add(client, address, hardware=hardware)
            context = client_context(client) if stops or acts else None
            book.set_condition(found, AgentCondition(stops, context) if stops and context else None)
            found.action = AgentCommands(acts, context) if acts and context else None
            found.persistent = persistent and bool(acts)

        session.call(once)
        return b"OK"

    return insert


def client_context(client: Client) -> MachineContext:
    """What the client's expressions are evaluated in."""
    return MachineContext(
        client.session.cpu,
        client.stub.registers.names,
        client.session.trace.variables,
        client.guest_console.write,
    )
