"""Handlers: running, stepping, stopping, coming and going."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbgemu.gdbstub.errors import PacketError

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client

_SIGTRAP = 5


def halt_reason(client: Client) -> bytes | None:
    """``?``: why the machine stands still. A running machine is stopped: GDB needs it so."""
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


def step(client: Client, address: int | None = None) -> bytes:
    """``s`` and ``S``: one instruction."""
    _go_to(client, address)
    return client.stop_reply(client.session.step(by=client))


def _go_to(client: Client, address: int | None) -> None:
    if address is not None:
        target = address
        client.session.call(lambda: client.session.cpu.write_register("pc", target))


def _step_range(client: Client, start: int, end: int) -> bytes | None:
    client.wait_for_stop()
    event = client.session.step_range(start, end, by=client)
    if event is None:
        return None
    client.stop_waiting()
    return client.stop_reply(event)


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


def detach(client: Client) -> bytes:
    """``D``: leave; the machine goes on unless another client holds it."""
    client.detach(resume=True)
    return b"OK"


def kill(client: Client) -> bytes:
    """``k`` and ``vKill``: end the emulator or, for an extended client, reset the board and hold it."""
    session = client.session
    if client.extended:
        session.halt()
        session.reset(by=client)
    else:
        session.quit()
    return b"OK"


def kill_silently(client: Client) -> None:
    """``k``: as ``vKill``, without a reply."""
    kill(client)


def extend(client: Client) -> bytes:
    """``!``: the client stays when it has killed the program."""
    client.extended = True
    return b"OK"


def restart(client: Client) -> None:
    """``R``: reset the board, and hold it. No reply."""
    client.session.halt()
    client.session.reset(by=client)


def select_thread(client: Client, ours: bool) -> bytes:
    """``H``: choose the thread for later packets; there is one."""
    if not ours:
        raise PacketError("there is no such thread: the CPU is thread 1")
    return b"OK"


thread_alive = select_thread
