"""Commands that set and manage points: break-, watch- and catchpoints of all front ends, by number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dbgemu.debug.breakpoints import Breakpoint
from dbgemu.debug.catchpoints import CatchKind
from dbgemu.debug.linux.syscall_names import NUMBERS, nearest_call
from dbgemu.debug.transactions import device_ranges
from dbgemu.debug.watchpoints import WatchKind, Watchpoint
from dbgemu.monitor import agent_code, debugging, expressions, locations
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report, split_words
from dbgemu.monitor.commands.point_lists import describe_point, find_point, info_breakpoints, info_watchpoints
from dbgemu.monitor.debugging import AnyPoint
from dbgemu.monitor.printing import WatchLog, parse_format
from dbgemu.target.device import Device

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.monitor.context import Context


def _set_condition(session: DebugSession, point: AnyPoint, text: str) -> None:
    """Give ``point`` the condition ``text``, or none. CommandError."""
    condition = agent_code.condition(session, expressions.parse(session, text)) if text else None

    def change() -> None:
        if isinstance(point, Breakpoint):
            session.breakpoints.set_condition(point, condition)
        else:
            point.condition = condition

    session.call(change)


def _added(context: Context, points: Sequence[AnyPoint]) -> Report:
    described = [describe_point(context, point) for point in points]
    return Report("\n".join(item["text"] for item in described), described)


# -- breakpoints -----------------------------------------------------------------------------------


def _breakpoint(*, hardware: bool = False, temporary: bool = False) -> Callable[..., Report]:
    def run(context: Context, arguments: Sequence[str]) -> Report:
        session = context.session
        place, condition = locations.split_condition(arguments[0] if arguments else "")
        physical = place.endswith(" physical")
        place = place.removesuffix(" physical").strip() or "$pc"
        if condition:
            expressions.parse(session, condition)
        points = []
        for location in locations.resolve(session, place):
            point = session.add_breakpoint(
                context.monitor,
                location.address,
                hardware=hardware,
                temporary=temporary,
                physical=physical,
            )
            if place != "$pc":
                debugging.of(context).places[point] = location.text
            _set_condition(session, point, condition)
            points.append(point)
        return _added(context, points)

    return run


def _logpoint(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    place, text, rest = arguments[0], arguments[1], arguments[2] if len(arguments) > 2 else ""
    head, condition = locations.split_condition(rest)
    if head:
        raise CommandError(f"'{head}' is not expected behind the text: 'if EXPRESSION' may follow it")
    state = debugging.of(context)
    action = parse_format(session, text, state.announcer)
    if condition:
        expressions.parse(session, condition)
    points = []
    for location in locations.resolve(session, place):
        point = session.add_breakpoint(context.monitor, location.address)
        state.places[point] = location.text
        point.action = action
        _set_condition(session, point, condition)
        points.append(point)
    return _added(context, points)


# -- watchpoints -----------------------------------------------------------------------------------

_KINDS = {
    "w": WatchKind.WRITE,
    "write": WatchKind.WRITE,
    "r": WatchKind.READ,
    "read": WatchKind.READ,
    "rw": WatchKind.ACCESS,
    "a": WatchKind.ACCESS,
    "access": WatchKind.ACCESS,
    "change": WatchKind.CHANGE,
}


class _WatchRequest:
    """What the words of a ``watch`` command ask for."""

    def __init__(self, session: DebugSession, text: str, kind: WatchKind, *, log: bool) -> None:
        self._session = session
        head, self.condition = locations.split_condition(text)
        words = split_words(head)
        if not words:
            raise CommandError("what is to be watched? A device's register, a symbol or an address")
        self.what = words.pop(0)
        self.kind, self.log = kind, log
        self.value: int | None = None
        self.mask = 0xFFFFFFFF
        self.length: int | None = None
        #: told by a word; None where the address decides
        self.physical: bool | None = None
        while words:
            self._take(words.pop(0), words)

    def _take(self, word: str, words: list[str]) -> None:
        if word in _KINDS:
            self.kind = _KINDS[word]
        elif word == "log":
            self.log = True
        elif word in ("physical", "virtual"):
            self.physical = word == "physical"
        elif word in ("==", "mask"):
            if not words:
                raise CommandError(f"a value is expected behind '{word}'")
            number = expressions.evaluate(self._session, words.pop(0))
            if word == "mask":
                self.mask = number
            else:
                self.value = number
        elif self.length is None and word[0].isdigit():
            self.length = expressions.evaluate(self._session, word)
            if self.length == 0:
                raise CommandError("a watchpoint of 0 bytes watches nothing")
        else:
            kinds = ", ".join(_KINDS)
            raise CommandError(
                f"'{word}' is not expected: a length, one of {kinds}, 'physical', 'virtual', "
                "'== VALUE [mask MASK]', 'log' or 'if EXPRESSION' is"
            )

    def ranges(self) -> list[tuple[int, int, bool]]:
        """(address, length, physical) of what is to be watched. CommandError."""
        session = self._session
        symbol = session.symbols.find(self.what)
        if symbol is not None:
            return [(symbol.address, self.length or symbol.size or 4, bool(self.physical))]
        name = self.what.removeprefix("&")
        if name.partition(".")[0] in session.machine.board.devices:
            try:
                found = device_ranges(session.machine.board.bus, name)
            except ValueError as error:
                raise CommandError(str(error)) from None
            return [(address, self.length or length, True) for address, length in found]
        address = expressions.evaluate(session, self.what)
        region = session.machine.board.bus.find(address)
        on_device = region is not None and isinstance(region.target, Device)
        return [(address, self.length or 4, on_device if self.physical is None else self.physical)]


def _watch(kind: WatchKind, *, log: bool = False) -> Callable[..., Report]:
    def run(context: Context, arguments: Sequence[str]) -> Report:
        session, state = context.session, debugging.of(context)
        wanted = _WatchRequest(session, arguments[0], kind, log=log)
        ranges = wanted.ranges()
        if wanted.condition:
            expressions.parse(session, wanted.condition)
        points = []
        for address, length, physical in ranges:
            point = session.add_watchpoint(
                context.monitor,
                address,
                length,
                wanted.kind,
                physical=physical,
                value=wanted.value,
                mask=wanted.mask,
            )
            state.places[point] = wanted.what
            if wanted.log:
                point.action = WatchLog(session, state.announcer)
            _set_condition(session, point, wanted.condition)
            points.append(point)
        return _added(context, points)

    return run


# -- catchpoints -----------------------------------------------------------------------------------

_CATCHES = {kind.value: kind for kind in CatchKind}


def _system_call(session: DebugSession, word: str) -> int:
    """The number of the call that ``word`` names, or is."""
    number = NUMBERS.get(word)
    if number is not None:
        return number
    if word.isidentifier():
        near = nearest_call(word)
        hint = f": did you mean {near}?" if near else ""
        raise CommandError(f"Linux has no system call '{word}'{hint}")
    return expressions.evaluate(session, word)


def _catch(*, temporary: bool = False, kind: str = "") -> Callable[..., Report]:
    first = [kind] if kind else []

    def run(context: Context, arguments: Sequence[str]) -> Report:
        session = context.session
        text, condition = locations.split_condition(" ".join([*first, *arguments]))
        name, *words = text.split()
        kind = _CATCHES.get(name)
        if kind is None:
            raise CommandError(f"'{name}' cannot be caught, but {', '.join(sorted(_CATCHES))} can")
        if kind is CatchKind.IRQ and words:
            kind = CatchKind.INTERRUPT  # a source's name: what is meant is its request
        numbers: list[int] = []
        names: list[str] = []
        if kind is CatchKind.SYSCALL:
            numbers = [_system_call(session, word) for word in words]
        else:
            names = [word.upper() if kind is CatchKind.INTERRUPT else word for word in words]
        if condition:
            expressions.parse(session, condition)
        try:
            point = session.add_catchpoint(
                context.monitor, kind, names=names, numbers=numbers, temporary=temporary
            )
        except ValueError as error:
            raise CommandError(str(error)) from None
        _set_condition(session, point, condition)
        return _added(context, [point])

    return run


# -- managing them ---------------------------------------------------------------------------------


def remove(session: DebugSession, point: AnyPoint) -> None:
    """Take a point away."""
    if isinstance(point, Breakpoint):
        session.remove_breakpoint(point)
    elif isinstance(point, Watchpoint):
        session.remove_watchpoint(point)
    else:
        session.remove_catchpoint(point)


def _numbered(context: Context, arguments: Sequence[str]) -> list[AnyPoint]:
    return [find_point(context, word) for word in arguments]


def _delete(context: Context, arguments: Sequence[str]) -> str:
    session = context.session
    points = _numbered(context, arguments)
    if not arguments:
        books = (session.breakpoints, session.watchpoints, session.catchpoints)
        points = [point for book in books for point in book if point.owner is context.monitor]
    for point in points:
        remove(session, point)
    return ""


def _enable(enabled: bool) -> Callable[..., str]:
    def run(context: Context, arguments: Sequence[str]) -> str:
        session = context.session
        for point in _numbered(context, arguments):
            if isinstance(point, Breakpoint):
                point.enabled = enabled
            elif isinstance(point, Watchpoint):
                session.call(lambda point=point: session.watchpoints.enable(point, enabled))  # type: ignore[misc]
            else:
                session.call(lambda point=point: session.catchpoints.enable(point, enabled))  # type: ignore[misc]
        return ""

    return run


def _ignore(context: Context, arguments: Sequence[str]) -> str:
    point = find_point(context, arguments[0])
    point.ignore = expressions.evaluate(context.session, arguments[1])
    return f"point {point.id} is passed by {point.ignore} times"


def _condition(context: Context, arguments: Sequence[str]) -> str:
    point = find_point(context, arguments[0])
    text = arguments[1] if len(arguments) > 1 else ""
    _set_condition(context.session, point, text)
    return "" if text else f"point {point.id} now stops always"


def _commands(context: Context, arguments: Sequence[str]) -> str:
    point = find_point(context, arguments[0])
    if len(arguments) > 1:
        text = arguments[1].strip()
    else:
        text = "" if context.more is None else "\n".join(context.block())
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    lines = tuple(line.strip() for part in text.splitlines() for line in part.split(";") if line.strip())
    for line in lines:
        if line != "silent":
            context.monitor.commands.find(line)
    commands = debugging.of(context).commands
    if lines:
        commands[point] = lines
        return ""
    commands.pop(point, None)
    return f"point {point.id} runs no commands now"


_LOCATION = Argument("LOCATION", Kind.SYMBOL, optional=True, rest=True)
_POINTS = Argument("number", optional=True, repeated=True)
_POINT = Argument("number")
_GROUP = "debugging"

_BREAK_DETAILS = """LOCATION is an expression (a symbol, 0xc0008000, $lr) or FILE:LINE; without one it is
where the machine stands. 'physical' behind an address makes it a physical one. 'if EXPRESSION' behind it:
stop only when that is not 0; such conditions run as native code where they look at registers and RAM."""

_WATCH_DETAILS = """WHAT is a device's register (nand.NFCMMD), a whole device (gpio.* or gpio), a symbol or
an address; the address of a device's register is a physical one, any other a virtual one, unless 'physical'
or 'virtual' stands behind it. Then may follow, in any order:
    LENGTH          bytes; of a symbol its size, else 4
    w r rw change   which accesses: writes, reads, both, or writes that change what is there
    == VALUE [mask MASK]   only accesses that carry this value
    log             tell of each access, and let the guest go on
    if EXPRESSION   only when that is not 0 (the last on the line)
The machine stops in front of the access; what is told names the register, the value and the function."""

_CATCH_DETAILS = f"""KIND is one of {", ".join(sorted(_CATCHES))}.
interrupt (or irq with a name) can be narrowed to sources, as INT_TIMER4; guest-error to devices; syscall to
names or numbers. 'if EXPRESSION' may follow."""

_SYSCALL_DETAILS = """All calls, or those with these names (as gdb has them: write) or numbers, as they begin;
the machine stands at the kernel's vector then, with the arguments in r0 to r6. 'if EXPRESSION' may follow."""

#: 'catch syscall' is a command of its own
_KINDS_CAUGHT = tuple(sorted(_CATCHES.keys() - {CatchKind.SYSCALL.value}))

_WHAT = (Argument("WHAT", Kind.DEVICE_REGISTER, rest=True),)

COMMANDS = (
    Command(
        "break",
        _breakpoint(),
        "stop in front of an instruction",
        (_LOCATION,),
        ("b",),
        _GROUP,
        _BREAK_DETAILS,
    ),
    Command(
        "tbreak",
        _breakpoint(temporary=True),
        "stop there once",
        (_LOCATION,),
        ("tb",),
        _GROUP,
        _BREAK_DETAILS,
    ),
    Command(
        "hbreak",
        _breakpoint(hardware=True),
        "as break: nothing here needs memory to be changed",
        (_LOCATION,),
        (),
        _GROUP,
        _BREAK_DETAILS,
    ),
    Command(
        "logpoint",
        _logpoint,
        "print a text at an instruction, and go on",
        (
            Argument("LOCATION", Kind.SYMBOL),
            Argument("TEXT"),
            Argument("if EXPRESSION", optional=True, rest=True),
        ),
        ("dprintf",),
        _GROUP,
        "In TEXT {EXPRESSION} stands for a value: {$r0}, {jiffies:d}, {[$sp]:08x}; behind the colon a\n"
        "format: x, d (signed), u, c, s (the text at that address), with a width as in Python.",
    ),
    Command(
        "watch",
        _watch(WatchKind.WRITE),
        "stop in front of accesses to memory or a device, at first writes",
        _WHAT,
        (),
        _GROUP,
        _WATCH_DETAILS,
    ),
    Command("rwatch", _watch(WatchKind.READ), "stop in front of reads", _WHAT, (), _GROUP, _WATCH_DETAILS),
    Command(
        "awatch",
        _watch(WatchKind.ACCESS),
        "stop in front of reads and writes",
        _WHAT,
        (),
        _GROUP,
        _WATCH_DETAILS,
    ),
    Command(
        "logwatch",
        _watch(WatchKind.WRITE, log=True),
        "tell of accesses, and go on",
        _WHAT,
        (),
        _GROUP,
        _WATCH_DETAILS,
    ),
    Command(
        "catch",
        _catch(),
        "stop when something happens",
        (Argument("KIND", choices=_KINDS_CAUGHT), Argument("name", optional=True, repeated=True)),
        (),
        _GROUP,
        _CATCH_DETAILS,
    ),
    Command(
        "catch syscall",
        _catch(kind="syscall"),
        "stop when a program calls Linux",
        (Argument("name", optional=True, repeated=True, choices=tuple(sorted(NUMBERS))),),
        (),
        _GROUP,
        _SYSCALL_DETAILS,
    ),
    Command(
        "tcatch",
        _catch(temporary=True),
        "stop when something happens, once",
        (Argument("KIND", choices=_KINDS_CAUGHT), Argument("name", optional=True, repeated=True)),
        (),
        _GROUP,
        _CATCH_DETAILS,
    ),
    Command(
        "tcatch syscall",
        _catch(temporary=True, kind="syscall"),
        "stop when a program calls Linux, once",
        (Argument("name", optional=True, repeated=True, choices=tuple(sorted(NUMBERS))),),
        (),
        _GROUP,
        _SYSCALL_DETAILS,
    ),
    Command(
        "delete",
        _delete,
        "take points away: those numbered, or all of the monitor's",
        (_POINTS,),
        ("d",),
        _GROUP,
    ),
    Command(
        "enable", _enable(True), "let points count again", (Argument("number", repeated=True),), (), _GROUP
    ),
    Command(
        "disable", _enable(False), "let points not count", (Argument("number", repeated=True),), (), _GROUP
    ),
    Command(
        "ignore",
        _ignore,
        "pass a point by so many times",
        (_POINT, Argument("COUNT", Kind.EXPRESSION, rest=True)),
        (),
        _GROUP,
    ),
    Command(
        "condition",
        _condition,
        "let a point stop only when an expression is not 0, or always",
        (_POINT, Argument("EXPRESSION", Kind.EXPRESSION, optional=True, rest=True)),
        (),
        _GROUP,
    ),
    Command(
        "commands",
        _commands,
        "run commands when a point stops the machine: { one; another }",
        (_POINT, Argument("{ COMMANDS }", optional=True, rest=True)),
        (),
        _GROUP,
        "On a console the commands may also follow line by line, up to 'end'. 'silent' as the first\n"
        "keeps the stop untold; nothing between the braces takes the commands away.",
    ),
    Command(
        "info breakpoints",
        info_breakpoints,
        "list all points, of all debuggers",
        (),
        ("info break", "i b"),
        _GROUP,
    ),
    Command("info watchpoints", info_watchpoints, "list the watchpoints", (), (), _GROUP),
)
