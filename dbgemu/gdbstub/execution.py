"""Handlers: running, stepping, stopping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dbgemu.debug.run_control import to_address
from dbgemu.gdbstub import nonstop
from dbgemu.gdbstub.errors import PacketError
from dbgemu.gdbstub.threads import ALL, ANY, CPU_THREAD

if TYPE_CHECKING:
    from dbgemu.debug.events import StopEvent
    from dbgemu.gdbstub.arguments import ResumeAction
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


def _run_to_task(client: Client, number: int) -> None:
    """Let the machine run until the task of thread ``number`` has the CPU, to be stepped from there."""
    task = client.session.call(lambda: client.threads.find(number))
    if task is None:
        raise PacketError("no action for any thread there is")
    linux = client.session.linux
    pid, address = task.pid, task.registers["r15"]
    client.wait_for_stop()
    goal = to_address(address, condition=lambda: linux.current_pid() == pid)
    client.session.resume_until(goal, by=client)


def resume(client: Client, actions: Sequence[ResumeAction]) -> bytes | None:
    """``vCont``: continue, step, step while the pc is in a range, or stop.

    The CPU is one thing: the leftmost action for the thread that has it counts. A step of a task that
    does not have it begins with a run to where it does.
    """
    threads = client.threads
    current: int | None = None
    for item in actions:
        if item.thread in (ANY, ALL):
            return _resume_cpu(client, item.action, item.start, item.end)
        if current is None:
            current = client.session.call(threads.current) if threads.are_tasks else CPU_THREAD
        if item.thread == current:
            return _resume_cpu(client, item.action, item.start, item.end)
        if item.thread is not None and item.action in (b"s", b"r"):
            _run_to_task(client, item.thread)
            return None
    first, number = actions[0], actions[0].thread
    if threads.are_tasks and number is not None:
        client.session.call(lambda: threads.find(number))
        return _resume_cpu(client, first.action, first.start, first.end)
    raise PacketError("no action for any thread there is")


def _resume_cpu(client: Client, action: bytes, start: int, end: int) -> bytes | None:
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
