"""Traces: recording what the machine executes and does to a file (docs/tracing.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.context import Context

if TYPE_CHECKING:
    from dbgemu.trace.control import TraceControl

_SPEC = Argument("spec", rest=True)
_DETAILS = (
    "EVENTS[;OPTIONS], for example: trace start tb,mmio:nand.*,irq;start=start_kernel;file=boot.dbgtrace"
)


def _control(context: Context) -> TraceControl:
    # only now: a start of the emulator without a trace is not to wait for this
    from dbgemu.trace.control import control_of

    return control_of(context.session)


def _run(context: Context, action: Callable[[TraceControl], str]) -> Report:
    """Do it; the status as data. CommandError for what a TraceError says."""
    from dbgemu.trace.format import TraceError

    control = _control(context)
    try:
        text = action(control)
    except TraceError as error:
        raise CommandError(str(error)) from None
    status = asdict(control.tracer.status())
    status["state"] = status["state"].name.lower()
    status["path"] = None if status["path"] is None else str(status["path"])
    return Report(text, status)


def _start(context: Context, arguments: Sequence[str]) -> Report:
    if arguments[0] in ("?", "help"):
        from dbgemu.trace.control import help_text

        return Report(help_text(), {})
    return _run(context, lambda control: control.start(arguments[0]))


def _stop(context: Context, arguments: Sequence[str]) -> Report:
    return _run(context, lambda control: control.stop())


def _status(context: Context, arguments: Sequence[str]) -> Report:
    return _run(context, lambda control: control.status())


def _save(context: Context, arguments: Sequence[str]) -> Report:
    return _run(context, lambda control: control.save(Path(arguments[0]).expanduser()))


def _filter(context: Context, arguments: Sequence[str]) -> Report:
    return _run(context, lambda control: control.filter(arguments[0]))


def _trace_event(context: Context, arguments: Sequence[str]) -> Report:
    name, word = arguments
    if word not in ("on", "off"):
        raise CommandError(f"'{word}' is neither on nor off")
    return _run(context, lambda control: control.trace_event(name, word == "on"))


def _events(context: Context, arguments: Sequence[str]) -> str:
    return _control(context).events()


COMMANDS = (
    Command("trace start", _start, "record events to a file", (_SPEC,), group="tracing", details=_DETAILS),
    Command("trace stop", _stop, "end the trace", group="tracing"),
    Command("trace status", _status, "what is recorded, and how much there is", group="tracing"),
    Command(
        "trace save",
        _save,
        "write a trace that is kept in memory",
        (Argument("file", Kind.FILE),),
        group="tracing",
    ),
    Command(
        "trace filter",
        _filter,
        "change what the trace selects: ranges, user, privileged, ttb=",
        (Argument("filter", rest=True),),
        group="tracing",
    ),
    Command(
        "trace-event",
        _trace_event,
        "record an event, or no longer",
        (Argument("event"), Argument("state", choices=("on", "off"))),
        group="tracing",
    ),
    Command("info trace-events", _events, "the events that can be recorded", group="tracing"),
)
