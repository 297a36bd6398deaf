"""Stop replies: why the machine stands still, and the registers that GDB always wants then.

GDB manual, "Stop Reply Packets".
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import TYPE_CHECKING

from dbgemu.debug.events import FrontEnd, StopEvent, StopKind
from dbgemu.debug.watchpoints import WatchKind

if TYPE_CHECKING:
    from dbgemu.engine.cpu import Cpu

_SIGINT, _SIGTRAP = 2, 5

_SIGNALS = {StopKind.PAUSE: _SIGINT}

_WATCH_REASONS = {WatchKind.WRITE: "watch", WatchKind.READ: "rwatch", WatchKind.ACCESS: "awatch"}

_WORDS = Struct("<6I")


def _reasons(event: StopEvent, client: FrontEnd, features: Iterable[str]) -> str:
    """What the client needs to know of its own points; other clients' points are none of its business."""
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


def stop_reply(
    event: StopEvent, cpu: Cpu, client: FrontEnd, features: Iterable[str], signal: int | None = None
) -> bytes:
    """The reply for ``event`` to ``client``, who understands ``features``."""
    if event.kind is StopKind.SHUTDOWN:
        return b"W00"
    if signal is None:
        signal = _SIGNALS.get(event.kind, _SIGTRAP)
    reason = _reasons(event, client, features) if event.breakpoints or event.watchpoints else ""
    # r11, sp, lr, pc and cpsr, which GDB reads at each stop: the frame, and how pc is to be understood
    words = _WORDS.pack(*cpu.read_core()[11:]).hex()
    return (
        f"T{signal:02x}{reason}thread:1;0b:{words[:8]};0d:{words[16:24]};0e:{words[24:32]};"
        f"0f:{words[32:40]};19:{words[40:]};"
    ).encode()
