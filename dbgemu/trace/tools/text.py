"""Events as lines of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dbgemu.trace.events import Event, name_of
from dbgemu.trace.tools.names import Names


def _tb_exec(event: Any, names: Names) -> str:
    kind = "thumb" if event.thumb else "arm"
    return f"{event.length:4} {kind:5} {'user' if event.user else 'priv'}"


def _translate(event: Any, names: Names) -> str:
    return f"{event.length:4} {'thumb' if event.thumb else 'arm':5} tier {event.tier}"


def _exception(event: Any, names: Names) -> str:
    return f"{event.vector} -> {event.target:08x}, back to {event.return_address:08x}"


def _access(event: Any, names: Names) -> str:
    arrow = "<-" if name_of(event) == "mmio_write" else "->"
    return f"{event.device}.{event.register} {arrow} 0x{event.value:0{2 * event.size}x}"


def _mmu(event: Any, names: Names) -> str:
    if event.what == "switch":
        return f"switch to table {event.address:08x}"
    return f"{event.what} at {event.address:08x}, status {event.status:#x}"


def _serial(event: Any, names: Names) -> str:
    shown = repr(chr(event.byte)) if event.byte < 0x7F else f"0x{event.byte:02x}"
    return f"uart{event.port} {event.direction} {shown}"


#: what is said of an event beside its count, time, name and place
_DETAILS: dict[str, Callable[[Any, Names], str]] = {
    "tb_exec": _tb_exec,
    "tb_translate": _translate,
    "tb_invalidate": lambda event, names: f"{event.size} bytes at {event.address:08x}",
    "tb_compile": lambda event, names: (
        f"{event.address:08x}: {event.guest_bytes} -> {event.host_bytes} bytes in {event.host_us} µs"
    ),
    "exception": _exception,
    "mmio_read": _access,
    "mmio_write": _access,
    "irq": lambda event, names: f"{event.source} {event.action}",
    "mmu": _mmu,
    "gpio": lambda event, names: f"{event.pin} = {event.level}",
    "serial": _serial,
    "break": lambda event, names: event.text,
    "watch": lambda event, names: (
        f"{'write to' if event.write else 'read of'} {event.address:08x}: {event.text}"
    ),
    "log": lambda event, names: f"{event.source}: {event.text}",
}


def microseconds(time: int) -> str:
    """A time in ns as µs with three places."""
    return f"{time // 1000}.{time % 1000:03}"


def describe(event: Event, names: Names, *, lines: bool = False) -> str:
    """One line: count, time in µs, name, pc, what happened, and where; with ``lines`` the source line."""
    name = name_of(event)
    details = _DETAILS[name](event, names)
    text = f"{event.icount:>12} {microseconds(event.time):>16} {name:<13} {event.pc:08x} {details}"
    place = names.describe(event.pc)
    source = names.source(event.pc) if lines else ""
    return text + (f"  {place}" if place else "") + (f"  ({source})" if source else "")
