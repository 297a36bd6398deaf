"""Points in words, found by number and listed: those of all front ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dbgemu.debug.breakpoints import Breakpoint
from dbgemu.debug.linux.syscall_names import describe_call
from dbgemu.debug.watchpoints import WatchKind, Watchpoint
from dbgemu.monitor import debugging, locations
from dbgemu.monitor.agent_code import AgentTextCondition, PythonCondition
from dbgemu.monitor.command import CommandError, Report
from dbgemu.monitor.debugging import AnyPoint
from dbgemu.monitor.printing import LogAction, WatchLog

if TYPE_CHECKING:
    from dbgemu.monitor.context import Context

_ACCESSES = {
    WatchKind.WRITE: "writes",
    WatchKind.READ: "reads",
    WatchKind.ACCESS: "accesses",
    WatchKind.CHANGE: "changes",
}


def all_points(context: Context) -> list[AnyPoint]:
    """All points of all front ends, by number."""
    session = context.session
    books: tuple[Iterable[AnyPoint], ...] = (session.breakpoints, session.watchpoints, session.catchpoints)
    found = session.call(lambda: [point for book in books for point in book if point.id > 0])
    return sorted(found, key=lambda point: point.id)


def find_point(context: Context, word: str) -> AnyPoint:
    """The point with the number ``word``. CommandError."""
    try:
        number = int(word, 0)
    except ValueError:
        raise CommandError(f"'{word}' is no number of a point: 'info breakpoints' lists them") from None
    session = context.session
    for book in (session.breakpoints, session.watchpoints, session.catchpoints):
        point = book.get(number)
        if point is not None:
            return point
    raise CommandError(f"there is no point number {number}: 'info breakpoints' lists them")


def _kind(point: AnyPoint) -> str:
    if isinstance(point, Breakpoint):
        if isinstance(point.action, LogAction):
            return "logpoint"
        return "hw breakpoint" if point.hardware else "breakpoint"
    if isinstance(point, Watchpoint):
        return "logwatch" if isinstance(point.action, WatchLog) else "watchpoint"
    return "catchpoint"


def _where(context: Context, point: AnyPoint) -> str:
    place = debugging.of(context).places.get(point, "")
    if isinstance(point, Breakpoint):
        if point.physical:
            return f"physical 0x{point.address:08x}"
        line = context.session.symbols.line(point.address)
        return locations.describe(context.session, point.address) + (f" at {line}" if line else "")
    if isinstance(point, Watchpoint):
        what = _ACCESSES[point.kind]
        kind = "physical " if point.physical else ""
        symbol = "" if point.physical else context.session.symbols.describe(point.address)
        named = place if place and not place[0].isdigit() else symbol
        where = f"{kind}0x{point.address:08x}" + (f" <{named}>" if named else "")
        value = ""
        if point.value is not None:
            value = f" == 0x{point.value:x}" + (f" mask 0x{point.mask:x}" if point.mask != 0xFFFFFFFF else "")
        return f"{what} of {point.length} bytes at {where}{value}"
    narrowed = ", ".join(sorted(point.names) or map(describe_call, sorted(point.numbers)))
    return point.kind.value + (f" {narrowed}" if narrowed else "")


def describe_point(context: Context, point: AnyPoint) -> dict[str, Any]:
    """A point as data; ``text`` tells it in a line."""
    condition = point.condition
    shown = str(condition) if isinstance(condition, (AgentTextCondition, PythonCondition)) else ""
    if condition is not None and not shown:
        shown = "what its owner says"
    where = _where(context, point)
    temporary = "temporary " if point.temporary else ""
    text = f"{temporary}{_kind(point)} {point.id}: {where}" + (f", if {shown}" if shown else "")
    return {
        "number": point.id,
        "kind": _kind(point),
        "where": where,
        "address": getattr(point, "address", None),
        "owner": point.owner.name if point.owner is not None else None,
        "enabled": point.enabled,
        "temporary": point.temporary,
        "condition": shown or None,
        "hits": point.hits,
        "ignore": point.ignore,
        "commands": list(debugging.of(context).commands_of(point)),
        "text": text,
    }


def _listed(context: Context, points: Iterable[AnyPoint]) -> Report:
    described = [describe_point(context, point) for point in points]
    if not described:
        return Report("there are no points", [])
    lines = [f"{'num':>3}  {'kind':13}  {'on':3}  {'hits':>7}  {'owner':11}  where"]
    for item, point in zip(described, points, strict=True):
        kind = ("t " if item["temporary"] else "") + str(item["kind"])
        owner = item["owner"] or "a script"
        enabled = "yes" if item["enabled"] else "no"
        lines.append(
            f"{item['number']:>3}  {kind:13}  {enabled:3}  {item['hits']:>7}  {owner:11}  {item['where']}"
        )
        more = []
        if item["condition"]:
            passes = _passes(context, point)
            more.append(
                f"only if {item['condition']}" + (f" (false {passes} times natively)" if passes else "")
            )
        if isinstance(point.action, LogAction):
            more.append(f"prints {point.action}")
        if item["ignore"]:
            more.append(f"passed by {item['ignore']} times more")
        more += item["commands"]
        lines += [f"{'':45}{line}" for line in more]
    return Report("\n".join(lines), described)


def _passes(context: Context, point: AnyPoint) -> int:
    if not isinstance(point, Breakpoint) or point.physical:
        return 0
    return context.session.cpu.conditions.passes(point.address)


def info_breakpoints(context: Context, arguments: Sequence[str]) -> Report:
    """All points."""
    return _listed(context, all_points(context))


def info_watchpoints(context: Context, arguments: Sequence[str]) -> Report:
    """Watchpoints."""
    return _listed(context, [point for point in all_points(context) if isinstance(point, Watchpoint)])
