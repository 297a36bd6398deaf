"""Running the machine up to the next stop that debuggers want to hear of.

No threads and no locks here: the session sees to it that one thread at a time is inside.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dbgemu.debug.breakpoints import Breakpoint, BreakpointBook
from dbgemu.debug.events import StopEvent, StopKind
from dbgemu.debug.watchpoints import WatchpointBook
from dbgemu.machine import Stop, StopReason

if TYPE_CHECKING:
    from dbgemu.machine import Machine

#: so many instructions of a long range step are executed between two at which interrupts are let in
_INTERRUPT_INTERVAL = 500

_MODE, _FIQ, _IRQ = 0x1F, 0x11, 0x12


class Runner:
    """Turns what the machine reports into stops: counts hits, asks conditions, runs on where due."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._cpu = machine.cpu
        self.breakpoints = BreakpointBook(machine.cpu)
        self.watchpoints = WatchpointBook(machine.cpu)
        #: set from any thread, before the machine is asked to stop
        self.pause_wanted = False
        #: interrupts are taken during single steps; they are held back otherwise, as a debugged
        #: program would hardly ever be seen to get on
        self.step_interrupts = False
        self._stops = 0

    def event(self, kind: StopKind, message: str = "") -> StopEvent:
        """A stop where the machine is now."""
        return self._numbered(kind, self._cpu.read_register("pc"), message=message)

    def _numbered(
        self, kind: StopKind, pc: int, breakpoints: tuple[Breakpoint, ...] = (), message: str = ""
    ) -> StopEvent:
        self._stops += 1
        return StopEvent(kind, pc, self._stops, breakpoints, message=message)

    def run(self, stopped_at: int) -> StopEvent:
        """Run until something stops the machine. ``stopped_at`` is the pc of the last stop.

        A breakpoint there is passed over; not one that a debugger has moved the pc to since.
        """
        pc = self._cpu.read_register("pc")
        if pc != stopped_at and self.breakpoints.at(pc):
            event = self._judge(Stop(StopReason.BREAKPOINT, pc))
            if event is not None:
                return event
        while not self.pause_wanted:
            event = self._judge(self._machine.run())
            if event is not None:
                return event
        return self.event(StopKind.PAUSE)

    def step(self) -> StopEvent:
        """Execute one instruction: a STEP, with the breakpoints where that led to, or what was in the way."""
        return self._step(self.step_interrupts)

    def _step(self, interrupts: bool) -> StopEvent:
        while True:
            stop = self._machine.step(interrupts=interrupts)
            reason = stop.reason
            if reason is StopReason.LIMIT:
                here = self.breakpoints.at(stop.pc)
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
        guard = self.breakpoints.add(None, pc, temporary=True)
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

    def _judge(self, stop: Stop) -> StopEvent | None:
        """What the machine's ``stop`` means to debuggers; None when it is to run on."""
        match stop.reason:
            case StopReason.BREAKPOINT:
                found = self._reached(self.breakpoints.at(stop.pc))
                return self._numbered(StopKind.BREAKPOINT, stop.pc, found) if found else None
            case StopReason.WATCHPOINT if stop.watch is not None:
                matching = self.watchpoints.matching(stop.watch)
                if not matching:
                    return None
                for watchpoint in matching:
                    watchpoint.hits += 1
                event = self._numbered(StopKind.WATCHPOINT, stop.pc)
                return event._replace(watchpoints=matching, hit=stop.watch)
            case _:
                # A request whose pause was served already, or came from elsewhere: the loop decides.
                return None
