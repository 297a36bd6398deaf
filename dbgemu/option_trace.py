"""The option ``-trace``: what to record from the start, in our words or in QEMU's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbgemu.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbgemu.debug.session import DebugSession


def trace_option(argument: str) -> str:
    """A part of a specification (see :mod:`dbgemu.trace.spec`), without QEMU's ``enable=``. OptionError."""
    from dbgemu.trace.format import TraceError
    from dbgemu.trace.spec import TraceSpec

    text = ",".join(part.removeprefix("enable=") for part in argument.split(","))
    options_only = all("=" in part for part in text.split(",") if part)
    try:
        # -trace file=x may stand beside -trace tb
        TraceSpec.parse(f"tb,{text}" if options_only and text else text)
    except TraceError as error:
        raise OptionError(str(error)) from None
    return text


def trace_help() -> str:
    """What ``-trace help`` prints."""
    from dbgemu.trace.control import help_text

    return help_text()


def start_trace(
    session: DebugSession, parts: Sequence[str], *, kernel: str, command_line: str, rtc_start: int
) -> None:
    """Start what the ``-trace`` options ask for together. OptionError."""
    from dbgemu.trace.control import control_of
    from dbgemu.trace.format import TraceError

    control = control_of(session, kernel=kernel, command_line=command_line, rtc_start=rtc_start)
    try:
        control.start(",".join(parts))
    except TraceError as error:
        raise OptionError(f"-trace: {error}") from None
