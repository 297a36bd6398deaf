"""Stop replies: why the machine stands still, and the registers that GDB always wants then.

GDB manual, "Stop Reply Packets".
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import TYPE_CHECKING

from dbgemu.debug.events import StopEvent, StopKind
from dbgemu.debug.watchpoints import WatchKind

if TYPE_CHECKING:
    from dbgemu.engine.cpu import Cpu
    from dbgemu.gdbstub.client import Client

_SIGINT, _SIGTRAP = 2, 5

_SIGNALS = {StopKind.PAUSE: _SIGINT}

_WATCH_REASONS = {
    WatchKind.WRITE: "watch",
    WatchKind.READ: "rwatch",
    WatchKind.ACCESS: "awatch",
    WatchKind.CHANGE: "watch",
}

_WORDS = Struct("<6I")


def _reasons(event: StopEvent, client: Client, features: Iterable[str]) -> str:
    """What the client needs to know of its own points; other clients' points are none of its business."""
    call = client.syscalls.reason(event)
    if call:
        return call
    if event.kind is StopKind.BREAKPOINT:
        for breakpoint_ in event.breakpoints:
            name = "hwbreak" if breakpoint_.hardware else "swbreak"
            if breakpoint_.owner is client and name in features:
                return f"{name}:;"
    elif event.kind is StopKind.WATCHPOINT and event.hit is not None:
        for watchpoint in event.watchpoints:
            if watchpoint.owner is client:
                return f"{_WATCH_REASONS[watchpoint.kind]}:{watchpoint.first_byte(event.hit):x};"
    return ""


def exit_reply(features: Iterable[str], status: int = 0) -> bytes:
    """The reply that the program has ended, with an exit ``status`` (0 to 255)."""
    return b"W%02x" % status + (b";process:1" if "multiprocess" in features else b"")


def leaves_registers_out(client: Client) -> bool:
    """The client is to fetch the registers itself, with ``g``.

    GDB takes the size of the register blocks in trace files from the longest ``g`` reply that it
    expects, and knows how long replies are only when it has seen one (gdb/remote.c, get_trace_status).
    """
    trace = client.session.trace
    return not client.knows_registers and (trace.running or trace.buffer.created > 0)


def stop_reply(
    event: StopEvent, cpu: Cpu, client: Client, features: Iterable[str], signal: int | None = None
) -> bytes:
    """The reply for ``event`` to ``client``, who understands ``features``."""
    if event.kind is StopKind.SHUTDOWN:
        return exit_reply(features, event.status)
    if signal is None:
        signal = _SIGNALS.get(event.kind, _SIGTRAP)
    points = event.breakpoints or event.watchpoints or event.catchpoints
    reason = _reasons(event, client, features) if points else ""
    thread = client.threads.text(client.threads.current())
    if leaves_registers_out(client):
        return f"T{signal:02x}{reason}thread:{thread};".encode()
    # r11, sp, lr, pc and cpsr, which GDB reads at each stop: the frame, and how pc is to be understood
    words = _WORDS.pack(*cpu.read_core()[11:]).hex()
    return (
        f"T{signal:02x}{reason}thread:{thread};0b:{words[:8]};0d:{words[16:24]};0e:{words[24:32]};"
        f"0f:{words[32:40]};19:{words[40:]};"
    ).encode()
