"""Commands that let the guest run and wait for the stop: steps, finish, until, continue."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dbgemu.debug import run_control, stepping
from dbgemu.debug.events import StopEvent, StopKind
from dbgemu.debug.unwind import Unwinder
from dbgemu.monitor import debugging, expressions, locations
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.commands.source import here
from dbgemu.monitor.context import Cancelled

if TYPE_CHECKING:
    from dbgemu.debug.run_control import Goal
    from dbgemu.monitor.context import Context

#: seconds that a command from GDB waits for the stop: GDB, and every other client, waits with it
_GDB_PATIENCE = 1.0
_LOOK = 0.05

_NOT_GDB = (
    "gdb has not noticed that the guest moved: 'maintenance flush register-cache' tells it; its own commands "
    "for this are the better ones"
)


def _on_event_loop() -> bool:
    """The command came from GDB: it runs where it must not wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def stop_data(context: Context, event: StopEvent) -> dict[str, Any]:
    """A stop as data."""
    line = context.session.symbols.line(event.pc)
    return {
        "running": False,
        "reason": event.kind.value,
        "pc": event.pc,
        "symbol": context.session.symbols.describe(event.pc) or None,
        "line": str(line) if line else None,
        "points": [point.id for point in debugging.points_of(event)],
        "message": event.message or None,
        "transaction": str(event.transaction) if event.transaction else None,
        "instructions": context.session.cpu.instructions,
    }


def stop_report(context: Context, event: StopEvent) -> Report:
    """What a command that ran the guest tells of the stop: why, where, and what comes next."""
    text = context.monitor.describe_stop(event)
    following = here(context.session, event.pc)
    if following:
        text += f"\n{following}"
    return Report(text, stop_data(context, event))


def run_and_wait(context: Context, start: Callable[[], object]) -> Report:
    """Let the machine run by ``start`` and tell of the stop. Ctrl-C stops it.

    The commands of a point that stopped it are run; where they let it run again the next stop counts.
    """
    session, state = context.session, debugging.of(context)
    if state.in_commands:
        start()
        return Report("", {"running": True})
    from_gdb = _on_event_loop()
    deadline = time.monotonic() + _GDB_PATIENCE if from_gdb else None
    with state.awaiting() as awaited:
        start()
        while True:
            event = _await_stop(context, deadline)
            if event is None:
                return Report(f"the guest runs on ('monitor stop' stops it); {_NOT_GDB}", {"running": True})
            awaited(event)
            state.announcer.flush(1.0)
            report = _told(context, event)
            if not any(state.commands_of(point) for point in debugging.points_of(event)):
                break
            if report.text:
                context.write(f"{report.text}\n")
            state.run_commands(event, context)
            if not session.running:
                report = Report("", report.data)
                break
    return Report(f"{report.text}\n({_NOT_GDB})".lstrip(), report.data) if from_gdb else report


def _await_stop(context: Context, deadline: float | None) -> StopEvent | None:
    """The next stop; None when it does not come up to ``deadline``."""
    session = context.session
    try:
        while (event := session.wait(_LOOK)) is None:
            if deadline is not None and time.monotonic() > deadline:
                return None
            context.check_cancelled()
    except Cancelled:
        return session.halt()
    return event


def _told(context: Context, event: StopEvent) -> Report:
    report = context.session.call(lambda: stop_report(context, event))
    return Report("", report.data) if debugging.of(context).is_silent(event) else report


def run_to(context: Context, goal: Goal) -> Report:
    """Let the machine run as far as ``goal`` says, and tell of the stop."""
    return run_and_wait(context, lambda: context.session.resume_until(goal, context.monitor))


def _count(context: Context, arguments: Sequence[str]) -> int:
    if not arguments:
        return 1
    count = expressions.evaluate(context.session, arguments[0])
    if not count:
        raise CommandError("0 steps are none")
    return count


def _step(context: Context, arguments: Sequence[str]) -> Report:
    return run_to(context, stepping.lines(_count(context, arguments), into=True))


def _next(context: Context, arguments: Sequence[str]) -> Report:
    return run_to(context, stepping.lines(_count(context, arguments), into=False))


def _stepi(context: Context, arguments: Sequence[str]) -> Report:
    return run_to(context, run_control.steps(_count(context, arguments)))


def _nexti(context: Context, arguments: Sequence[str]) -> Report:
    return run_to(context, stepping.over(_count(context, arguments)))


def _finish(context: Context, arguments: Sequence[str]) -> Report:
    session, state = context.session, debugging.of(context)
    session.halt()
    wanted = state.frame + 1
    frames = session.call(lambda: list(Unwinder(session).frames(wanted + 1)))
    if len(frames) <= wanted:
        raise CommandError("it is not known where this function returns to: 'backtrace' shows what is")
    caller = frames[wanted]
    report = run_to(context, stepping.out_to(caller.pc, caller.sp))
    if report.data.get("pc") != caller.pc or report.data["reason"] != StopKind.STEP.value:
        return report
    value = session.call(lambda: session.cpu.read_register("r0"))
    return Report(f"{report.text}\nr0 = 0x{value:08x}", {**report.data, "r0": value})


_TIME = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ns|us|ms|s)?")
_NANOSECONDS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, None: 1_000_000_000}


def _nanoseconds(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise CommandError(f"'{text}' is no time: 1.5s, 20ms, 7us or 100ns are")
    return int(float(match["number"]) * _NANOSECONDS[match["unit"]])


def _until(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    if not arguments:
        return _until_behind(context)
    word, _, rest = arguments[0].partition(" ")
    if word == "time" and rest:
        goal_time = _nanoseconds(rest.strip())
        now = session.call(lambda: session.machine.board.clock.now)
        if goal_time <= now:
            raise CommandError(f"{rest.strip()} is past: it is {now / 1e9:.9f} s since power-on")
        return run_to(context, run_control.to_time(goal_time))
    if word in ("count", "instructions") and rest:
        count = int(rest, 0) if rest.strip().isdigit() else expressions.evaluate(session, rest)
        if count <= session.cpu.instructions:
            raise CommandError(f"{count} is past: {session.cpu.instructions} instructions have been executed")
        return run_to(context, run_control.to_count(count))
    found = locations.resolve(session, arguments[0])
    if len(found) > 1:
        places = ", ".join(f"0x{place.address:08x}" for place in found)
        raise CommandError(f"'{arguments[0]}' is in several places, name one of them: {places}")
    return run_to(context, run_control.to_address(found[0].address))


def _until_behind(context: Context) -> Report:
    """To what follows in memory: out of a loop."""
    session = context.session
    session.halt()

    def target() -> int:
        read = session.cpu.read_register
        pc = read("pc")
        line = session.symbols.line_range(pc)
        return line.end if line is not None else pc + (2 if read("cpsr") & 1 << 5 else 4)

    address, stack = session.call(lambda: (target(), session.cpu.read_register("sp")))
    return run_to(context, stepping.out_to(address, stack))


def _run_for(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    word = arguments[0]
    if word[:1].isdigit() and word.rstrip("nums")[-1:].isdigit() and not word.isdigit():
        duration = _nanoseconds(word)
        session.halt()
        now = session.call(lambda: session.machine.board.clock.now)
        return run_to(context, run_control.to_time(now + duration))
    count = int(word) if word.isdigit() else expressions.evaluate(session, word)
    return run_to(context, run_control.instructions(count))


def _continue(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    if arguments:
        passes = expressions.evaluate(session, arguments[0])
        for point in session.last_stop.breakpoints:
            point.ignore = max(0, passes - 1)
    return run_and_wait(context, lambda: session.resume(by=None))


_COUNT = (Argument("COUNT", Kind.EXPRESSION, optional=True, rest=True),)
_GROUP = "running"

COMMANDS = (
    Command("step", _step, "to another source line, into functions", _COUNT, ("s",), _GROUP, repeatable=True,
            details="Functions without line information are stepped over; code without it is stepped\n"
            "through by instructions. Interrupts are held back, except in what is called."),
    Command("next", _next, "to another source line, over calls", _COUNT, ("n",), _GROUP, repeatable=True),
    Command("stepi", _stepi, "execute one instruction, or so many", _COUNT, ("si",), _GROUP, repeatable=True),
    Command("nexti", _nexti, "execute one instruction, a call in one go", _COUNT, ("ni",), _GROUP,
            repeatable=True),
    Command("finish", _finish, "run until the selected frame's function returns", (), ("fin",), _GROUP),
    Command("until", _until, "run to a place, a time or a count of instructions, or out of a loop",
            (Argument("LOCATION", Kind.SYMBOL, optional=True, rest=True),), ("advance",), _GROUP,
            "until LOCATION            a symbol, an address, FILE:LINE\n"
            "until time 1.5s           virtual time since power-on (s, ms, us, ns)\n"
            "until count 20000000      instructions executed since power-on\n"
            "until                     what follows this line in memory: out of a loop"),
    Command("run for", _run_for, "run so many instructions, or so long: 1000000, 20ms",
            (Argument("AMOUNT", Kind.EXPRESSION, rest=True),), (), _GROUP),
    Command("run until", _until, "as until", (Argument("LOCATION", Kind.SYMBOL, rest=True),), (), _GROUP),
    Command("continue", _continue, "let the guest run and wait for the stop ('cont' does not wait)",
            (Argument("IGNORE", Kind.EXPRESSION, optional=True, rest=True),), ("fg",), _GROUP,
            "Ctrl-C stops the guest. With a number, the breakpoint it stands at is passed by until the n-th\n"
            "time. From GDB's 'monitor' it waits for a second at most."),
)  # fmt: skip
