"""Traces as commands handle them: each function does one thing and says in text what it did.

:func:`control_of` gives the one control of a debug session: the command line, the monitor and GDB's
``monitor`` all start and stop the same trace.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from dbgemu.trace.events import EVENTS
from dbgemu.trace.format import TraceError
from dbgemu.trace.spec import GROUPS, PATTERNS, TraceSpec, kinds_of
from dbgemu.trace.tracer import Tracer, TraceState, TraceStatus

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession

_ACTIVE = (TraceState.WAITING, TraceState.RUNNING)


class TraceControl:
    """The trace of a session. Every method may be called from any thread; TraceError: one sentence."""

    def __init__(self, session: DebugSession, tracer: Tracer) -> None:
        self._session = session
        self.tracer = tracer
        #: what ``trace-event`` has switched on
        self._events: set[str] = set()

    def start(self, spec: str, path: str | Path | None = None) -> str:
        """``trace start``: begin as ``spec`` says."""
        parsed = TraceSpec.parse(spec)
        self._session.call(lambda: self.tracer.start(parsed, path))
        self._events = set(parsed.kinds)
        return self.status()

    def stop(self) -> str:
        """``trace stop``: end the trace; says what it has."""
        if self.tracer.status().state not in _ACTIVE:
            raise TraceError("no trace is running")
        self._session.call(self.tracer.stop)
        self._events.clear()
        return self.status()

    def save(self, path: str | Path) -> str:
        """``trace save``: write a trace that is kept in memory."""
        self._session.call(lambda: self.tracer.save(path))
        return f"saved to '{path}'"

    def filter(self, text: str) -> str:
        """``trace filter``: change what the running trace selects."""
        self._session.call(lambda: self.tracer.filter(text))
        return self.status()

    def status(self) -> str:
        """``trace status``: what is recorded, and how much there is."""
        return describe(self.tracer.status())

    def trace_event(self, name: str, enabled: bool) -> str:
        """``trace-event NAME on|off``, as QEMU has it: events are added to the trace or taken out of it.

        The first one starts a trace to ``trace.dbgtrace``, and the last one that is taken out stops it.
        Others begin a new file, as what a trace holds is fixed when it starts.
        """
        kinds = set(kinds_of(name))
        wanted = self._events | kinds if enabled else self._events - kinds
        if wanted == self._events:
            return self.status()
        if self.tracer.status().state in _ACTIVE:
            self._session.call(self.tracer.stop)
        self._events = set()
        if not wanted:
            return self.status()
        return self.start(",".join(sorted(wanted)), _unused())

    def events(self) -> str:
        """``info trace-events``: every event, and whether it is recorded now."""
        return "\n".join(f"{name} : {'on' if name in self._events else 'off'}" for name in EVENTS)


def _unused() -> Path:
    """``trace.dbgtrace``, or ``trace-2.dbgtrace`` and so on where there is one."""
    path, number = Path("trace.dbgtrace"), 1
    while path.exists():
        number += 1
        path = Path(f"trace-{number}.dbgtrace")
    return path


def describe(status: TraceStatus) -> str:
    """A status in words."""
    if status.state is TraceState.OFF:
        return "no trace has been started"
    where = f"to '{status.path}'" if status.path is not None else "in memory"
    lines = [f"{status.state.value}: {status.spec} ({where})"]
    if status.reason:
        lines.append(f"it stopped because {status.reason}")
    recorded = f"{status.blocks} blocks of {status.instructions} instructions, {status.events} other events"
    lines.append(recorded + (f", {status.written} bytes written" if status.written else ""))
    return "\n".join(lines)


def help_text() -> str:
    """What can be recorded, and how it is written."""
    lines = ["Events:", *(f"  {name:<13} {_summary(event)}" for name, event in EVENTS.items())]
    lines += [
        "Groups:",
        *(f"  {name:<13} {', '.join(kinds)}" for name, kinds in GROUPS.items() if name != "all"),
    ]
    lines += ["  all           every event"]
    lines += [f"Behind a colon, patterns, for {', '.join(PATTERNS)}: mmio:nand.*|uart0.UTXH"]
    lines += ["Options: range=FIRST-LAST|SYMBOL, user, privileged, ttb=BASE, start=SYMBOL, stop=[+]COUNT,"]
    lines += ["  events=N, ring=BLOCKS, file=FILE"]
    return "\n".join(lines)


def _summary(event: type) -> str:
    return (event.__doc__ or "").split("\n", 1)[0].partition(":")[0].rstrip(".").replace("``", "")


_controls: WeakKeyDictionary[DebugSession, TraceControl] = WeakKeyDictionary()


def control_of(
    session: DebugSession, *, kernel: str = "", command_line: str = "", rtc_start: int | None = None
) -> TraceControl:
    """The session's control, made when it is first asked for; the rest is for the traces' headers."""
    control = _controls.get(session)
    if control is None:
        tracer = Tracer(
            session.machine, session, kernel=kernel, command_line=command_line, rtc_start=rtc_start
        )
        control = _controls[session] = TraceControl(session, tracer)
        session.closing.append(tracer.stop)
    return control
