"""The trace experiment: tracepoints, variables and the buffer, from definition to the end of a run.

All of it is used only while the machine stands still, or on its thread.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from dbgemu.debug.agent import AgentError
from dbgemu.debug.conditions import AgentCondition, MachineContext
from dbgemu.debug.tracepoints.buffer import DEFAULT_SIZE, MAX_SIZE, TraceBuffer
from dbgemu.debug.tracepoints.collector import Collector
from dbgemu.debug.tracepoints.definitions import (
    MAX_NUMBER,
    End,
    EndReason,
    TraceError,
    Tracepoint,
    Variable,
)

if TYPE_CHECKING:
    from dbgemu.debug.breakpoints import BreakpointBook
    from dbgemu.debug.events import FrontEnd
    from dbgemu.machine import Machine

#: the number of the built-in variable that front ends know from GDB's own server
TIMESTAMP = 1


def _microseconds() -> int:
    """The host's time: when an experiment was run is a fact of the user's world."""
    return time.time_ns() // 1000


class Gate(NamedTuple):
    """The condition of one tracepoint."""

    condition: AgentCondition | None


class Experiment:
    """What every front end shares of tracing; a tracepoint is known by its number and address."""

    def __init__(self, machine: Machine, book: BreakpointBook) -> None:
        self._machine = machine
        self._cpu = machine.cpu
        self._book = book
        self.tracepoints: dict[tuple[int, int], Tracepoint] = {}
        self.variables: dict[int, Variable] = {}
        self.buffer = TraceBuffer()
        #: ranges (first, end) whose memory is the same at any time: it need not be recorded
        self.constant: list[tuple[int, int]] = []
        #: go on when the front end that started the experiment leaves
        self.disconnected = False
        self.user = self.notes = self.stop_notes = ""
        self.running = False
        self.end = End(EndReason.NOT_RUN)
        #: us since 1970; 0 for never
        self.start_time = self.stop_time = 0
        self._owner: FrontEnd | None = None
        #: while running: tracepoints by address
        self._at: dict[int, tuple[Tracepoint, ...]] = {}
        #: instructions left of each while-stepping that is going on
        self._steps: dict[Tracepoint, int] = {}
        #: the instruction count and pc of the last arrival: it is not to be counted twice
        self._last = (-1, -1)
        self._collector = Collector(self._cpu, self.variables, lambda: self.buffer.size)
        self._define_builtins()
        book.claimants = self._gates

    def _define_builtins(self) -> None:
        self.variables[TIMESTAMP] = Variable(TIMESTAMP, "trace_timestamp", getter=self._timestamp)

    def _timestamp(self) -> int:
        """Virtual time in ns."""
        return self._machine.board.clock.now

    # -- definitions ---------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget tracepoints, variables, constant ranges and frames; a running experiment ends."""
        self.stop()
        self.tracepoints.clear()
        self.variables.clear()
        self._define_builtins()
        self.constant.clear()
        self.buffer.clear()
        self.end = End(EndReason.NOT_RUN)

    def define(self, tracepoint: Tracepoint) -> None:
        """Add a tracepoint, or take it for the one of the same number and address.

        :meth:`install` it when its actions are known.
        """
        if not 0 < tracepoint.number <= MAX_NUMBER:
            raise TraceError(f"a tracepoint cannot have number {tracepoint.number}: 1 to {MAX_NUMBER} can")
        key = tracepoint.number, tracepoint.address
        if key in self.tracepoints:
            self._remove(self.tracepoints.pop(key))
        self.tracepoints[key] = tracepoint

    def install(self, tracepoint: Tracepoint) -> None:
        """Let a tracepoint take part in the experiment that runs; otherwise the start does that."""
        if self.running and tracepoint not in self._at.get(tracepoint.place, ()):
            self._insert(tracepoint)

    def find(self, number: int, address: int) -> Tracepoint:
        """The tracepoint with that number at ``address``; TraceError when there is none."""
        tracepoint = self.tracepoints.get((number, address))
        if tracepoint is None:
            raise TraceError(f"there is no tracepoint {number} at 0x{address:08x}")
        return tracepoint

    def constant_end(self, address: int) -> int | None:
        """The end of the constant range that ``address`` is in; None when it is in none."""
        return next((end for first, end in self.constant if first <= address < end), None)

    def define_variable(self, number: int, value: int, name: str) -> None:
        """Make a trace state variable or set it anew; a built-in one stays."""
        known = self.variables.get(number)
        if known is None or known.getter is None:
            self.variables[number] = Variable(number, name, value, value)
        elif name != known.name:
            raise TraceError(f"variable number {number} is the built-in {known.name}")

    def resize(self, size: int | None) -> None:
        """Set the trace buffer's size in bytes; None for the default. TraceError where that cannot be."""
        size = DEFAULT_SIZE if size is None else size
        if self.running:
            raise TraceError("the trace buffer's size cannot be changed while an experiment runs")
        if not 0 < size <= MAX_SIZE:
            raise TraceError(f"a trace buffer cannot have {size} bytes: 1 to {MAX_SIZE} can")
        if self.buffer.used > size:
            raise TraceError(f"the trace buffer holds {self.buffer.used} bytes, more than {size}")
        self.buffer.size = size

    # -- a run ---------------------------------------------------------------------------------

    def start(self, owner: FrontEnd | None) -> None:
        """Begin an experiment, for ``owner``: counts and the buffer start from nothing."""
        self.stop()
        self.buffer.clear()
        for tracepoint in self.tracepoints.values():
            tracepoint.hits = tracepoint.usage = 0
        self._owner = owner
        self.start_time, self.stop_time = _microseconds(), 0
        self._last = (-1, -1)
        self.running = True
        for tracepoint in self.tracepoints.values():
            self._insert(tracepoint)

    def stop(self) -> None:
        """End the experiment, if one runs."""
        self._finish(EndReason.STOPPED, text=self.stop_notes)

    def left(self, owner: FrontEnd) -> None:
        """``owner`` leaves: an experiment that it started ends, unless it is to go on."""
        if owner is self._owner and not self.disconnected:
            self._finish(EndReason.DISCONNECTED)

    def _finish(self, reason: EndReason, tracepoint: int = 0, text: str = "") -> None:
        if self.running:
            self.running = False
            self.end = End(reason, tracepoint, text)
            self.stop_time = _microseconds()
            self._steps.clear()
            for address in self._at:
                self._book.disclaim(address)
            self._at.clear()

    def _insert(self, tracepoint: Tracepoint) -> None:
        here = self._at.get(tracepoint.place, ())
        self._at[tracepoint.place] = (*here, tracepoint)
        if not here:
            self._book.claim(tracepoint.place)

    def _gates(self, address: int) -> tuple[Gate, ...]:
        """The conditions of the tracepoints at ``address``, for whoever can test them faster."""
        return tuple(self._gate(item) for item in self._at.get(address, ()))

    def _gate(self, tracepoint: Tracepoint) -> Gate:
        if tracepoint.condition is None or not tracepoint.enabled:
            return Gate(None)
        context = MachineContext(self._cpu, tracepoint.registers, self.variables, lambda text: None)
        return Gate(AgentCondition((tracepoint.condition,), context))

    def _remove(self, tracepoint: Tracepoint) -> None:
        self._steps.pop(tracepoint, None)
        here = self._at.get(tracepoint.place, ())
        if tracepoint in here:
            left = tuple(other for other in here if other is not tracepoint)
            if left:
                self._at[tracepoint.place] = left
            else:
                del self._at[tracepoint.place]
                self._book.disclaim(tracepoint.place)

    # -- what the runner tells -------------------------------------------------------------------

    @property
    def stepping(self) -> bool:
        """Each instruction is to be shown: the machine must be single-stepped."""
        return bool(self._steps)

    def arrived(self, pc: int) -> None:
        """The machine came to a stop in front of the instruction at ``pc``, which may be traced."""
        here = self._at.get(pc)
        if here is None:
            return
        arrival = self._cpu.instructions, pc
        if arrival == self._last:
            return
        self._last = arrival
        self._collector.arrive()
        for tracepoint in here:
            if tracepoint.enabled:
                self._hit(tracepoint, pc)
                if not self.running:
                    break

    def _hit(self, tracepoint: Tracepoint, pc: int) -> None:
        try:
            if not self._collector.wanted(tracepoint):
                return
        except AgentError as error:
            self._finish(EndReason.ERROR, tracepoint.number, str(error))
            return
        tracepoint.hits += 1
        if not self._record(tracepoint, pc, stepping=False):
            return
        if tracepoint.step_count:
            self._steps[tracepoint] = tracepoint.step_count
        else:
            self._count_passes(tracepoint)

    def stepped(self, pc: int) -> None:
        """An instruction was executed by itself; the machine is in front of the one at ``pc``."""
        if not self._steps:
            return
        self._collector.arrive()
        for tracepoint in list(self._steps):
            if not self._record(tracepoint, pc, stepping=True):
                return
            self._steps[tracepoint] -= 1
            if not self._steps[tracepoint]:
                del self._steps[tracepoint]
                self._count_passes(tracepoint)
            if not self.running:
                return

    def _record(self, tracepoint: Tracepoint, pc: int, *, stepping: bool) -> bool:
        """Put a frame in the buffer; False when that ended the experiment."""
        actions = tracepoint.step_actions if stepping else tracepoint.actions
        blocks, error = self._collector.collect(tracepoint, actions)
        if not self.buffer.append(tracepoint.number, pc, blocks):
            self._finish(EndReason.FULL)
            return False
        tracepoint.usage += len(blocks)
        if error:
            self._finish(EndReason.ERROR, tracepoint.number, error)
            return False
        return True

    def _count_passes(self, tracepoint: Tracepoint) -> None:
        if tracepoint.pass_count and tracepoint.hits >= tracepoint.pass_count:
            self._finish(EndReason.PASS_COUNT, tracepoint.number)
