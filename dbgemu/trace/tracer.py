"""A trace of a machine: started, watched, stopped and saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from dbgemu.debug.events import FrontEnd, StopEvent, StopKind
from dbgemu.target.arm.cp15 import TTB_MASK
from dbgemu.target.arm.state import (
    TRACE_EXCEPTIONS,
    TRACE_FAULTS,
    TRACE_INTERRUPTS,
    TRACE_READS,
    TRACE_SWITCHES,
    TRACE_WRITES,
    StopCode,
)
from dbgemu.trace.events import Kind
from dbgemu.trace.format import SUFFIX, Header, TraceError
from dbgemu.trace.recorder import Recorder
from dbgemu.trace.sinks import FileSink, RingSink
from dbgemu.trace.sources import Sources, access_ranges, pin_names, region_infos, source_names
from dbgemu.trace.spec import TraceSpec

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.machine import Machine

#: what generated code records for an event
_NATIVE = {
    "mmio_read": TRACE_READS,
    "mmio_write": TRACE_WRITES,
    "exception": TRACE_EXCEPTIONS,
    "irq": TRACE_INTERRUPTS,
    "mmu": TRACE_FAULTS | TRACE_SWITCHES,
}
#: stops that a trace tells of
_STOPS = (StopKind.BREAKPOINT, StopKind.WATCHPOINT, StopKind.CATCHPOINT, StopKind.PAUSE)
DEFAULT_FILE = Path(f"trace{SUFFIX}")


class TraceState(Enum):
    """What a tracer does."""

    OFF = "off"
    WAITING = "waiting for its start"
    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True)
class TraceStatus:
    """How a trace stands."""

    state: TraceState
    spec: str = ""
    #: where it goes, or None for memory
    path: Path | None = None
    #: executed blocks, their instructions, and other events recorded so far
    blocks: int = 0
    instructions: int = 0
    events: int = 0
    #: bytes written, or 0
    written: int = 0
    #: why it stopped by itself
    reason: str = ""


class Tracer(FrontEnd):
    """Records traces of a machine, one at a time.

    Its methods may be called while the machine stands still, or on its thread between two runs (see
    :meth:`DebugSession.call`). With a ``session`` stops have their reasons, and symbols are known.
    """

    name = "trace"

    def __init__(
        self,
        machine: Machine,
        session: DebugSession | None = None,
        *,
        kernel: str = "",
        command_line: str = "",
        rtc_start: int | None = None,
    ) -> None:
        self._machine = machine
        self._session = session
        self._about = (kernel, command_line, rtc_start)
        self._spec: TraceSpec | None = None
        self._header: Header | None = None
        self._sink: FileSink | RingSink | None = None
        self._recorder: Recorder | None = None
        self._sources: Sources | None = None
        self._state = TraceState.OFF
        self._reason = ""
        self._trigger: int | None = None
        self._stop_at: int | None = None
        self._beneath: Callable[[int, bool], StopCode] = machine.execute_freely
        #: it stands among those that look on at the machine: a log of execution may stand in front of it
        self._installed = False
        self._last_count = 0

    # -- what commands call --------------------------------------------------------------------------

    def start(self, spec: TraceSpec | str, path: Path | str | None = None) -> None:
        """Begin a trace to ``path`` (or where the specification says), or into memory with ``ring=``.

        TraceError, one sentence, when one is running, or something of the specification is wrong.
        """
        if self._state in (TraceState.WAITING, TraceState.RUNNING):
            raise TraceError("a trace is running already: stop it first")
        if isinstance(spec, str):
            spec = TraceSpec.parse(spec)
        spec.code_ranges(self._resolve)
        access_ranges(self._machine.board, spec)
        trigger = spec.start_address(self._resolve)
        if path is None and spec.file:
            path = spec.file
        if path is not None and spec.ring is not None:
            raise TraceError("a trace into memory ('ring=') goes to no file: save it when it has stopped")
        self._spec, self._reason = spec, ""
        self._header = self._make_header(spec)
        if spec.ring is not None:
            self._sink = RingSink(spec.ring)
        else:
            self._sink = FileSink(Path(path) if path is not None else DEFAULT_FILE, self._header)
        self._recorder = Recorder(self._machine.cpu, self._machine.board.clock, self._sink)
        try:
            self._select(spec)
        except ValueError as error:
            raise TraceError(str(error)) from None
        if not self._installed:
            self._beneath, self._machine.execute = self._machine.execute, self._execute
            self._installed = True
        self._last_count = self._machine.cpu.instructions
        if trigger is None:
            self._begin()
        else:
            self._trigger = trigger & ~1
            self._machine.cpu.add_breakpoint(self._trigger)
            self._state = TraceState.WAITING

    def stop(self, reason: str = "") -> None:
        """End the trace; nothing happens when none is running. TraceError when it could not be written."""
        if self._state not in (TraceState.WAITING, TraceState.RUNNING):
            return
        self._reason = reason
        self._remove_trigger()
        if self._machine.execute == self._execute:
            self._machine.execute = self._beneath
            self._installed = False
        if self._sources is not None:
            self._sources.close()
            self._sources = None
        if self._session is not None and self._state is TraceState.RUNNING:
            self._session.detach(self)
        assert self._recorder is not None and self._sink is not None
        if self._state is TraceState.RUNNING:
            self._recorder.stop()
        self._state = TraceState.STOPPED
        self._sink.close()
        if self._sink.error is not None:
            raise TraceError(self._sink.error)

    def save(self, path: Path | str) -> None:
        """Write what a trace into memory holds. TraceError when there is none."""
        if not isinstance(self._sink, RingSink) or self._header is None or self._recorder is None:
            raise TraceError("there is no trace in memory: start one with 'ring='")
        if self._state is TraceState.RUNNING:
            self._recorder.cut()
        self._sink.save(Path(path), self._header)

    def filter(self, text: str) -> None:
        """Change what a running trace selects: ranges, privileges, ttb; of mmio the patterns.

        TraceError when none is running, or the text says something else.
        """
        if self._spec is None or self._recorder is None or self._state is not TraceState.RUNNING:
            raise TraceError("no trace is running: start one first")
        kinds = ",".join(sorted(self._spec.kinds))
        given = TraceSpec.parse(f"{kinds},{text}")
        if given.kinds != self._spec.kinds:
            raise TraceError("a filter cannot add events: stop the trace, and start another one")
        if given.start or given.stop is not None or given.events or given.ring or given.file:
            raise TraceError("a filter has ranges, privileges, ttb= and patterns of mmio, nothing else")
        changed = replace(
            self._spec,
            ranges=given.ranges,
            privileges=given.privileges,
            ttb=given.ttb,
            patterns={**self._spec.patterns, **given.patterns},
        )
        changed.code_ranges(self._resolve)
        access_ranges(self._machine.board, changed)
        self._recorder.pause()
        self._spec = changed
        self._select(changed)
        self._start_recorder()

    def status(self) -> TraceStatus:
        """How it stands."""
        if self._spec is None or self._recorder is None:
            return TraceStatus(TraceState.OFF)
        blocks, instructions, events = self._recorder.totals()
        file = self._sink if isinstance(self._sink, FileSink) else None
        return TraceStatus(
            self._state,
            self._spec.text,
            file.path if file else None,
            blocks,
            instructions,
            events,
            file.written if file else 0,
            self._reason,
        )

    @property
    def recorder(self) -> Recorder | None:
        """Who takes the translator's events while a trace is running."""
        return self._recorder if self._state is TraceState.RUNNING else None

    # -- beginning -------------------------------------------------------------------------------------

    def _resolve(self, name: str) -> tuple[int, int] | None:
        symbol = self._session.symbols.find(name) if self._session is not None else None
        return None if symbol is None else (symbol.address, symbol.address + max(symbol.size, 1) - 1)

    def _make_header(self, spec: TraceSpec) -> Header:
        board, (kernel, command_line, rtc_start) = self._machine.board, self._about
        symbols = self._session.symbols.files if self._session is not None else []
        return Header(
            spec=spec.selection,
            kinds=tuple(sorted(spec.kinds)),
            program=f"dbgemu {_version()}",
            kernel=kernel,
            command_line=command_line,
            symbols=[(str(file.path), file.offset) for file in symbols],
            period_ps=board.clock.period_ps,
            start_count=self._machine.cpu.instructions,
            start_time=board.clock.now,
            rtc_start=rtc_start,
            pins=pin_names(board),
            sources=source_names(board),
            regions=region_infos(board),
        )

    def _select(self, spec: TraceSpec) -> None:
        assert self._recorder is not None
        ranges = access_ranges(self._machine.board, spec)
        first, *others = ranges.values() or ([],)
        if others and others[0] != first:
            raise TraceError("reads and writes of different registers cannot be chosen in one trace")
        self._recorder.select(
            ranges=spec.code_ranges(self._resolve),
            accesses=first,
            privileges=spec.privileges,
            table_base=None if spec.ttb is None else spec.ttb & TTB_MASK,
            most=spec.events,
        )

    def _begin(self) -> None:
        assert self._spec is not None and self._recorder is not None
        self._start_recorder()
        self._sources = Sources(self._machine.cpu, self._machine.board, self._recorder, self._spec)
        if self._session is not None:
            self._session.attach(self)
        self._state = TraceState.RUNNING
        stop = self._spec.stop
        if stop is not None and self._spec.stop_relative:
            stop += self._machine.cpu.instructions
        self._stop_at = stop

    def _start_recorder(self) -> None:
        assert self._spec is not None and self._recorder is not None
        kinds = 0
        for name, bits in _NATIVE.items():
            kinds |= bits if self._spec.wants(name) else 0
        self._recorder.start(blocks=self._spec.wants("tb_exec"), kinds=kinds)

    def _remove_trigger(self) -> None:
        if self._trigger is not None and not self._wanted_by_others(self._trigger):
            self._machine.cpu.remove_breakpoint(self._trigger)
        self._trigger = None

    def _wanted_by_others(self, address: int) -> bool:
        points = self._session.breakpoints if self._session is not None else ()
        return any(point.address & ~1 == address and point.enabled for point in points)

    # -- while the machine runs --------------------------------------------------------------------------

    def _execute(self, limit: int, resume: bool) -> StopCode:
        """Let the machine execute, up to where a chunk ends or the trace does."""
        if self._state is TraceState.WAITING:
            return self._await(limit, resume)
        recorder, cpu = self._recorder, self._machine.cpu
        if self._state is not TraceState.RUNNING or recorder is None:
            return self._beneath(limit, resume)
        if not self._last_count <= cpu.instructions <= self._last_count + 1:
            recorder.restart()  # a snapshot was loaded
        end = min(limit, recorder.next_cut)
        if self._stop_at is not None:
            end = min(end, max(self._stop_at, cpu.instructions))
        code = self._beneath(end, resume)
        self._last_count = count = cpu.instructions
        if self._session is None:
            self._note_stop(code)
        if recorder.sink.error is not None:
            self._stop_quietly(recorder.sink.error)
        elif recorder.exhausted:
            self._stop_quietly("it has as many events as were wanted")
        elif self._stop_at is not None and count >= self._stop_at:
            self._stop_quietly("it came to the instruction count that was wanted")
        elif count >= recorder.next_cut:
            recorder.cut()
        return code

    def _stop_quietly(self, reason: str) -> None:
        try:
            self.stop(reason)
        except TraceError as error:
            self._reason = str(error)

    def _await(self, limit: int, resume: bool) -> StopCode:
        """Execute until the trigger is reached, and begin there."""
        cpu, trigger = self._machine.cpu, self._trigger
        assert trigger is not None
        if cpu.pc == trigger:
            reached = True
        else:
            code = self._beneath(limit, resume)
            reached = code is StopCode.BREAKPOINT and cpu.pc == trigger
            if not reached:
                return code
        wanted = self._wanted_by_others(trigger)
        self._remove_trigger()
        self._last_count = cpu.instructions
        self._begin()
        return StopCode.BREAKPOINT if wanted and not resume else StopCode.LIMIT

    def _note_stop(self, code: StopCode) -> None:
        assert self._recorder is not None and self._spec is not None
        if code is StopCode.BREAKPOINT and self._spec.wants("break"):
            self._recorder.add_text(Kind.BREAK, StopKind.BREAKPOINT.value)
        elif code is StopCode.WATCHPOINT and self._spec.wants("watch"):
            hit = self._machine.cpu.watch_hit
            text = f"{'write' if hit.write else 'read'} of {hit.size} bytes"
            self._recorder.add_text(Kind.WATCH, text, first=hit.write, address=hit.address)

    # -- what the session tells ----------------------------------------------------------------------------

    def stopped(self, event: StopEvent) -> None:
        """See :class:`FrontEnd`."""
        recorder, spec = self.recorder, self._spec
        if recorder is None or spec is None or event.kind not in _STOPS:
            return
        if event.hit is not None:
            if spec.wants("watch"):
                text = event.message or event.kind.value
                recorder.add_text(Kind.WATCH, text, first=event.hit.write, address=event.hit.address)
        elif spec.wants("break"):
            recorder.add_text(Kind.BREAK, event.message or event.kind.value)


def _version() -> str:
    try:
        return version("dbgemu")
    except PackageNotFoundError:
        return "(not installed)"
