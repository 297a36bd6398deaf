"""A stop of the machine in one line, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbgemu.debug.events import StopEvent, StopKind

if TYPE_CHECKING:
    from dbgemu.debug.breakpoints import Breakpoint
    from dbgemu.debug.catchpoints import Catchpoint
    from dbgemu.debug.session import DebugSession
    from dbgemu.debug.watchpoints import Watchpoint
    from dbgemu.engine.cpu import WatchHit

#: how the monitor names itself as the owner of points
_OURS = "the monitor"

_REASONS = {
    StopKind.RESET: "Reset",
    StopKind.PAUSE: "Paused",
    StopKind.STEP: "Stepped",
    StopKind.BREAKPOINT: "Breakpoint",
    StopKind.WATCHPOINT: "Watchpoint",
    StopKind.CATCHPOINT: "Catchpoint",
    StopKind.LIMIT: "Stopped",
    StopKind.SHUTDOWN: "The guest has ended",
    StopKind.ERROR: "Stopped by an error",
}


def place(session: DebugSession, pc: int) -> str:
    """``0xc0012345 <cpu_idle+0x10> at process.c:120``, as much of it as is known."""
    symbol = session.symbols.describe(pc)
    line = session.symbols.line(pc)
    return f"0x{pc:08x}" + (f" <{symbol}>" if symbol else "") + (f" at {line}" if line else "")


def describe(session: DebugSession, event: StopEvent) -> str:
    """Why and where the machine stopped. Of a point: its number, or whose it is if not the monitor's."""
    reason = _REASONS[event.kind]
    if event.kind is StopKind.SHUTDOWN:
        return f"{reason} with status {event.status}"
    if event.kind is not StopKind.STEP:
        reason = " ".join((reason, *_names(event)))
    if event.transaction is not None:
        line = session.symbols.line(event.pc)
        return f"{reason}: {event.transaction}" + (f" at {line}" if line else "")
    where = f"{reason} at {place(session, event.pc)}"
    what = event.message or (_access(session, event.hit) if event.hit is not None else "")
    return f"{where}: {what}" if what else where


def _names(event: StopEvent) -> list[str]:
    """The numbers of the points that caused it; of others' points only whose they are."""
    points: list[Breakpoint | Watchpoint | Catchpoint] = [
        *event.breakpoints,
        *event.watchpoints,
        *event.catchpoints,
    ]
    others = [f"of {point.owner.name}" for point in points if point.owner and point.owner.name != _OURS]
    numbers = ", ".join(str(point.id) for point in points if not point.owner or point.owner.name == _OURS)
    return [*filter(None, (numbers,)), *dict.fromkeys(others)]


def _access(session: DebugSession, hit: WatchHit) -> str:
    symbol = session.symbols.describe(hit.address)
    what = f"{hit.size} byte{'s' if hit.size > 1 else ''} at 0x{hit.address:08x}" + (
        f" <{symbol}>" if symbol else ""
    )
    if not hit.write:
        return f"reads {what}"
    return f"writes {what}" + ("" if hit.value is None else f" <- 0x{hit.value:0{2 * hit.size}x}")
