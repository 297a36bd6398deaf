"""Handlers: running, stepping, stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbgemu.gdbstub import nonstop
from dbgemu.gdbstub.errors import PacketError

if TYPE_CHECKING:
    from dbgemu.debug.events import StopEvent
    from dbgemu.gdbstub.client import Client

_SIGTRAP = 5


def halt_reason(client: Client) -> bytes | None:
    """``?``: why the machine stands still. A running machine is stopped: GDB needs it so."""
    client.present = True
    if client.non_stop:
        return nonstop.present_stops(client)
    if client.session.running:
        client.wait_for_stop(_SIGTRAP)
        client.session.pause()
        return None
    return client.stop_reply(client.session.last_stop, _SIGTRAP)


def continue_(client: Client, address: int | None = None) -> None:
    """``c`` and ``C``: let the machine run; the stop reply comes when it stops."""
    session = client.session
    _go_to(client, address)
    client.wait_for_stop()
    session.resume(by=client)


def step(client: Client, address: int | None = None) -> bytes | None:
    """``s`` and ``S``: one instruction."""
    _go_to(client, address)
    client.wait_for_stop()
    return _tell(client, client.session.start_step(by=client))


def _tell(client: Client, event: StopEvent | None) -> bytes | None:
    """The reply for a stop that came at once, with what there is to say of it; None for one to come."""
    if event is None:
        return None
    if event.message:
        client.console(f"{event.message}\n")
    client.stop_waiting()
    return client.stop_reply(event)


def _go_to(client: Client, address: int | None) -> None:
    if address is not None:
        target = address
        client.session.call(lambda: client.session.cpu.write_register("pc", target))


def _step_range(client: Client, start: int, end: int) -> bytes | None:
    client.wait_for_stop()
    return _tell(client, client.session.step_range(start, end, by=client))


def _stop(client: Client) -> bytes | None:
    session = client.session
    if not session.running:
        return client.stop_reply(session.last_stop)
    if not client.waiting:
        client.wait_for_stop()
    session.pause()
    return None


def resume(client: Client, action: bytes, start: int, end: int) -> bytes | None:
    """``vCont``: continue, step, step while the pc is in a range, or stop."""
    if client.non_stop:
        return nonstop.resume(client, action, start, end)
    return _ACTIONS[action](client, start, end)


_ACTIONS: dict[bytes, Callable[[Client, int, int], bytes | None]] = {
    b"c": lambda client, start, end: continue_(client),
    b"s": lambda client, start, end: step(client),
    b"r": _step_range,
    b"t": lambda client, start, end: _stop(client),
}


def resume_actions(client: Client) -> bytes:
    """``vCont?``: what resume can do."""
    return b"vCont;c;C;s;S;t;r"


def select_thread(client: Client, ours: bool) -> bytes:
    """``H``: choose the thread for later packets; there is one."""
    if not ours:
        raise PacketError("there is no such thread: the CPU is thread 1")
    return b"OK"


thread_alive = select_thread
