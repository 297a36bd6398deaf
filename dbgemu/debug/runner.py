"""Running the machine up to the next stop that debuggers want to hear of.

No threads and no locks here: the session sees to it that one thread at a time is inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING

from dbgemu.debug.breakpoints import Breakpoint, BreakpointBook
from dbgemu.debug.catchpoints import CatchpointBook
from dbgemu.debug.events import StopEvent, StopKind
from dbgemu.debug.symbols import Symbols
from dbgemu.debug.transactions import DeviceMap
from dbgemu.debug.watchpoints import WatchpointBook
from dbgemu.machine import Stop, StopReason

if TYPE_CHECKING:
    from dbgemu.debug.events import FrontEnd
    from dbgemu.debug.semihosting.host import Semihosting
    from dbgemu.debug.tracepoints.experiment import Experiment
    from dbgemu.engine.cpu import Cpu
    from dbgemu.machine import Machine

#: so many instructions of a long range step are executed between two at which interrupts are let in
_INTERRUPT_INTERVAL = 500

_MODE, _FIQ, _IRQ = 0x1F, 0x11, 0x12


class Runner:
    """Turns what the machine reports into stops: counts hits, asks conditions, runs on where due."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._cpu = machine.cpu
        self.symbols = Symbols()
        self.devices = DeviceMap(machine.board.bus, machine.cpu, self.symbols)
        #: all points share one row of numbers, as users name them by these alone
        numbers = count(1)
        self.breakpoints = BreakpointBook(machine.cpu, numbers)
        self.watchpoints = WatchpointBook(machine.cpu, self.devices, numbers)
        self.catchpoints = CatchpointBook(machine, numbers)
        self._experiment: Experiment | None = None
        self._experiment_lock = Lock()
        #: set from any thread, before the machine is asked to stop
        self.pause_wanted = False
        #: interrupts are taken during single steps; they are held back otherwise, as a debugged
        #: program would hardly ever be seen to get on
        self.step_interrupts = False
        #: who answers semihosting calls
        self.semihosting: Semihosting | None = None
        self._stops = 0

    @property
    def trace(self) -> Experiment:
        """The trace experiment, which is made when somebody first asks for it."""
        from dbgemu.debug.tracepoints.experiment import Experiment  # few sessions need it

        with self._experiment_lock:
            if self._experiment is None:
                self._experiment = Experiment(self._machine, self.breakpoints)
            return self._experiment

    def trace_left(self, owner: FrontEnd) -> None:
        """``owner``, who may have started the trace experiment, has gone."""
        if self._experiment is not None:
            self._experiment.left(owner)

    @property
    def _tracing(self) -> bool:
        return self._experiment is not None and self._experiment.running

    def not_waiting(self) -> AbstractContextManager[None]:
        """Inside, a semihosting call that has to wait is not executed: the event says that it waits."""
        return nullcontext() if self.semihosting is None else self.semihosting.not_waiting()

    def event(self, kind: StopKind, message: str = "") -> StopEvent:
        """A stop where the machine is now."""
        return self._numbered(kind, self._cpu.read_register("pc"), message=message)

    def _numbered(
        self, kind: StopKind, pc: int, breakpoints: tuple[Breakpoint, ...] = (), message: str = ""
    ) -> StopEvent:
        self._stops += 1
        return StopEvent(kind, pc, self._stops, breakpoints, message=message)

    @property
    def machine(self) -> Machine:
        """The machine that is run."""
        return self._machine

    @property
    def cpu(self) -> Cpu:
        """Its CPU."""
        return self._cpu

    def run(
        self, stopped_at: int, *, limit: int | None = None, done: Callable[[], bool] | None = None
    ) -> StopEvent:
        """Run until something stops the machine. ``stopped_at`` is the pc of the last stop.

        A breakpoint there is passed over; not one that a debugger has moved the pc to since. The stop
        is a LIMIT when the count of executed instructions comes to ``limit``, or when ``done`` is true
        after a catch was requested of the machine.
        """
        self.catchpoints.forget()
        pc = self._cpu.read_register("pc")
        if pc != stopped_at and (self.breakpoints.here(pc) or self._tracing):
            event = self._judge(Stop(StopReason.BREAKPOINT, pc))
            if event is not None:
                return event
        run = self._machine.run
        while not self.pause_wanted:
            left = None if limit is None else limit - self._cpu.instructions
            if (left is not None and left <= 0) or (done is not None and done()):
                return self._at_limit()
            stepping = self._tracing and self.trace.stepping
            event = self._run_a_step() if stepping else self._judge(run(left))
            if event is not None:
                return event
        return self.event(StopKind.PAUSE)

    def run_to(
        self, address: int, stopped_at: int, condition: Callable[[], bool] | None, reached: StopKind
    ) -> StopEvent:
        """As :meth:`run`, to virtual ``address``, where ``condition`` holds: that stop is a ``reached``."""
        guard = self.breakpoints.add(None, address, temporary=True, internal=True)
        guard.condition = condition
        try:
            event = self.run(stopped_at)
        finally:
            self.breakpoints.remove(guard)
        if guard not in event.breakpoints:
            return event
        others = tuple(item for item in event.breakpoints if item is not guard)
        return event if others else event._replace(kind=reached, breakpoints=())

    def _run_a_step(self) -> StopEvent | None:
        """One step of a run whose instructions are traced one by one; a stop that is due, or None."""
        event = self._step(True)
        if event.kind is not StopKind.STEP:
            return event
        found = self._reached(event.breakpoints) if event.breakpoints else ()
        return event._replace(kind=StopKind.BREAKPOINT, breakpoints=found) if found else None

    def _at_limit(self) -> StopEvent:
        """The stop that was wanted; a breakpoint here is told of now, as the next run passes over it."""
        found = self._reached(self.breakpoints.here(self._cpu.read_register("pc")))
        event = self.event(StopKind.LIMIT)
        return event._replace(kind=StopKind.BREAKPOINT, breakpoints=found) if found else event

    def step(self, *, interrupts: bool | None = None) -> StopEvent:
        """Execute one instruction: a STEP, with the breakpoints where that led to, or what was in the way.

        ``interrupts`` overrides :attr:`step_interrupts`.
        """
        self.catchpoints.forget()
        return self._step(self.step_interrupts if interrupts is None else interrupts)

    def stop_here(self, event: StopEvent) -> StopEvent | None:
        """Make a step's ``event`` a stop at the breakpoints it names, if they are a reason for one."""
        found = self._reached(event.breakpoints)
        return event._replace(kind=StopKind.BREAKPOINT, breakpoints=found) if found else None

    def _step(self, interrupts: bool) -> StopEvent:
        while True:
            stop = self._machine.step(interrupts=interrupts)
            reason = stop.reason
            if reason is StopReason.LIMIT:
                if self._tracing:
                    self.trace.stepped(stop.pc)
                    self.trace.arrived(stop.pc)
                here = self.breakpoints.here(stop.pc)
                if here:
                    here = tuple(item for item in here if item.enabled)
                return self._numbered(StopKind.STEP, stop.pc, here)
            if reason is StopReason.REQUEST:
                if self.pause_wanted:
                    return self.event(StopKind.PAUSE)
                # A pause was asked for when the machine was about to stop by itself: an old story.
                continue
            event = self._judge(stop)
            if event is not None:
                return event

    def step_in(self, start: int, end: int, *, interrupts: bool = False) -> StopEvent | None:
        """One step of a range step; the stop, or None when the next step is due."""
        event = self._step(interrupts or self.step_interrupts)
        if event.kind is not StopKind.STEP:
            return event
        if event.breakpoints:
            found = self._reached(event.breakpoints)
            if found:
                return event._replace(kind=StopKind.BREAKPOINT, breakpoints=found)
        return None if start <= event.pc < end else event

    def run_within(self, start: int, end: int) -> StopEvent:
        """Step until the pc leaves ``start`` <= pc < ``end`` or something else stops the machine.

        Now and then interrupts are served: a guest may be waiting for one in a loop.
        """
        steps = 0
        while not self.pause_wanted:
            steps += 1
            if steps % _INTERRUPT_INTERVAL:
                event = self.step_in(start, end)
            else:
                event = self._step_with_interrupts(start, end)
            if event is not None:
                return event
        return self.event(StopKind.PAUSE)

    def _step_with_interrupts(self, start: int, end: int) -> StopEvent | None:
        pc, mode = self._cpu.read_register("pc"), self._mode()
        event = self.step_in(start, end, interrupts=True)
        if self._mode() == mode or self._mode() not in (_IRQ, _FIQ):
            return event
        if event is not None and event.kind is not StopKind.STEP:
            return event
        guard = self.breakpoints.add(None, pc, temporary=True, internal=True)
        try:
            event = self.run(self._cpu.read_register("pc"))
        finally:
            self.breakpoints.remove(guard)
        return None if event.breakpoints == (guard,) else event

    def _mode(self) -> int:
        return self._cpu.read_register("cpsr") & _MODE

    def _reached(self, here: Iterable[Breakpoint]) -> tuple[Breakpoint, ...]:
        """Of the breakpoints ``here``, where the machine is, those that are a reason to stop."""
        found = tuple(item for item in here if item.reached())
        for item in found:
            if item.temporary:
                self.breakpoints.remove(item)
        return found

    @staticmethod
    def _problems(found: Iterable[Breakpoint]) -> str:
        """What went wrong with the commands of the breakpoints that stop the machine now."""
        if all(item.action is None for item in found):
            return ""
        from dbgemu.debug.conditions import problems  # few breakpoints have any

        return problems(found)

    def _judge_catch(self, stop: Stop) -> StopEvent | None:
        catchpoints, message = self.catchpoints.reached(stop)
        # the run that follows passes over what stands here
        at_breakpoint = self._judge(Stop(StopReason.BREAKPOINT, stop.pc))
        if not catchpoints:
            return at_breakpoint
        if at_breakpoint is None:
            event = self._numbered(StopKind.CATCHPOINT, stop.pc, message=message)
            return event._replace(catchpoints=catchpoints)
        message = "; ".join(filter(None, (message, at_breakpoint.message)))
        return at_breakpoint._replace(kind=StopKind.CATCHPOINT, catchpoints=catchpoints, message=message)

    def _judge(self, stop: Stop) -> StopEvent | None:
        """What the machine's ``stop`` means to debuggers; None when it is to run on."""
        match stop.reason:
            case StopReason.BREAKPOINT:
                if self._tracing:
                    self.trace.arrived(stop.pc)
                found = self._reached(self.breakpoints.here(stop.pc))
                if found:
                    return self._numbered(StopKind.BREAKPOINT, stop.pc, found, self._problems(found))
                self.breakpoints.passed_by(stop.pc)
                return None
            case StopReason.WATCHPOINT if stop.watch is not None:
                matching = self.watchpoints.reached(stop.watch)
                if not matching:
                    self._cpu.pass_access()
                    return None
                done = self.devices.transaction(stop.pc, stop.watch)
                message = "" if done is None else str(done)
                event = self._numbered(StopKind.WATCHPOINT, stop.pc, message=message)
                return event._replace(watchpoints=matching, hit=stop.watch, transaction=done)
            case StopReason.CATCH:
                return self._judge_catch(stop)
            case StopReason.SEMIHOSTING:
                return self._after_call()
            case _:
                # A request whose pause was served already, or came from elsewhere: the loop decides.
                # The next run passes over the first instruction.
                if self._tracing:
                    self.trace.arrived(stop.pc)
                return None

    def _after_call(self) -> StopEvent | None:
        """The stop at a semihosting call that ends the run, or None when it is to be tried again."""
        if self.semihosting is None:
            return self.event(StopKind.PAUSE, "nobody answers the guest's semihosting call")
        ending = self.semihosting.ending
        if ending.status is not None:
            return self.event(StopKind.SHUTDOWN)._replace(status=ending.status)
        if ending.waits:
            return self.event(StopKind.PAUSE, "the guest's semihosting call waits")._replace(waits=True)
        # interrupted: by whoever wants a pause, or by a request that is an old story
        return self.event(StopKind.PAUSE) if ending.stop or self.pause_wanted else None
