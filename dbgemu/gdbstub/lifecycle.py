"""Handlers: a client comes to the board and leaves it; the board starts anew.

The board is one process, number 1, that was there before any debugger. "Killing" it ends the emulator;
for an extended client, which stays, it resets the board and holds it. "Running" it resets the board
to the start of what the emulator was told to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbgemu.gdbstub.errors import PacketError
from dbgemu.gdbstub.execution import halt_reason

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client


def _check(process: int | None) -> None:
    if process not in (None, 1):
        raise PacketError(f"there is no process {process}: the board is process 1")


def attach(client: Client, process: int | None) -> bytes | None:
    """``vAttach``: debug the board (again); it is stopped for it, except in non-stop mode."""
    _check(process)
    client.present = True
    if not client.non_stop:
        return halt_reason(client)
    client.wait_for_stop()
    if not client.session.running:
        client.report_again()
    return b"OK"


def detach(client: Client, process: int | None) -> bytes:
    """``D``: leave; the machine goes on unless another client holds it."""
    _check(process)
    client.detach(resume=True)
    return b"OK"


def kill(client: Client, process: int | None) -> bytes:
    """``vKill``: end the emulator or, for an extended client, reset the board and hold it."""
    _check(process)
    if client.extended:
        _reset(client)
        client.leave()
    else:
        client.session.quit()
    return b"OK"


def kill_silently(client: Client) -> None:
    """``k``: as ``vKill``, without a reply."""
    kill(client, None)


def extend(client: Client) -> bytes:
    """``!``: the client stays when it has killed the program."""
    client.extended = True
    return b"OK"


def restart(client: Client) -> None:
    """``R``: reset the board, and hold it. No reply."""
    _reset(client)


def run(client: Client, arguments: tuple[bytes, ...]) -> bytes:
    """``vRun``: reset the board, and hold it at its first instruction.

    The program is what the emulator was started with, whatever its name is to the client. Arguments
    are for a program that may ask for them, by semihosting.
    """
    name, *words = arguments
    semihosting = client.session.semihosting
    if semihosting is not None:
        semihosting.run_with(name, words)
    elif words:
        raise PacketError("the board's program takes no arguments without -semihosting")
    _reset(client)
    return client.stop_reply(client.session.last_stop)


def _reset(client: Client) -> None:
    session = client.session
    session.halt()
    session.reset(by=client)
    session.call(client.syscalls.drop)
    client.present = True
    client.stop_waiting()
    client.notifications.restart()
