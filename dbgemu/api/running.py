"""How far a script lets the machine run, and how that ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from dbgemu.debug.catchpoints import CatchKind
from dbgemu.debug.events import StopEvent, StopKind
from dbgemu.target.clock import Timer

if TYPE_CHECKING:
    from dbgemu.api.hooks import Hook
    from dbgemu.api.serial import SerialPort
    from dbgemu.debug.runner import Runner


class Reason(StrEnum):
    """Why the machine stands still. The first five are what ``run`` and ``run_until`` wait for."""

    ADDRESS = "address"
    TEXT = "text"
    TIME = "time"
    COUNT = "count"
    EVENT = "event"
    #: a hook returned STOP
    HOOK = "hook"
    #: the time that ``within`` allows is over
    LIMIT = "limit"
    #: points that the monitor or GDB have set
    BREAKPOINT = "breakpoint"
    WATCHPOINT = "watchpoint"
    CATCHPOINT = "catchpoint"
    PAUSE = "pause"
    STEP = "step"
    RESET = "reset"
    #: the guest ended (semihosting)
    SHUTDOWN = "shutdown"
    ERROR = "error"


@dataclass(frozen=True)
class Stop:
    """Where the machine stands and why: ``pc`` is the next instruction.

    ``instructions`` executed since power-on, virtual ``time`` in ns. ``message`` says what happened, or
    is the text that was waited for.
    """

    reason: Reason
    pc: int
    symbol: str
    instructions: int
    time: int
    message: str = ""
    hook: Hook | None = None

    def __str__(self) -> str:
        where = f"0x{self.pc:08x}" + (f" <{self.symbol}>" if self.symbol else "")
        return f"{self.reason} at {where}" + (f": {self.message}" if self.message else "")


_REASONS = {
    StopKind.RESET: Reason.RESET,
    StopKind.PAUSE: Reason.PAUSE,
    StopKind.STEP: Reason.STEP,
    StopKind.BREAKPOINT: Reason.BREAKPOINT,
    StopKind.WATCHPOINT: Reason.WATCHPOINT,
    StopKind.CATCHPOINT: Reason.CATCHPOINT,
    StopKind.LIMIT: Reason.COUNT,
    StopKind.SHUTDOWN: Reason.SHUTDOWN,
    StopKind.ERROR: Reason.ERROR,
}


def reason_of(event: StopEvent) -> Reason:
    """What a stop is called here."""
    return _REASONS[event.kind]


@dataclass
class Wanted:
    """What is waited for; whichever comes first."""

    #: virtual addresses
    addresses: Sequence[int] = ()
    port: SerialPort | None = None
    texts: Sequence[bytes] = ()
    #: ns of virtual time
    time: int | None = None
    limit: int | None = None
    #: instructions since power-on
    count: int | None = None
    #: what is caught, and its names
    events: Sequence[tuple[CatchKind, Sequence[str]]] = ()
    #: a hook wants to stop
    interrupted: Callable[[], bool] = lambda: False
    #: what came, with what there is to say of it; None: none of it
    reached: tuple[Reason, str] | None = field(default=None, init=False)

    def run(self, runner: Runner, stopped_at: int) -> StopEvent:
        """A goal for :meth:`DebugSession.resume_until`."""
        machine = runner.machine

        def note(reason: Reason, text: str = "") -> None:
            if self.reached is None:
                self.reached = reason, text
                machine.request_catch()

        with ExitStack() as stack:
            for address in self.addresses:
                point = runner.breakpoints.add(None, address, internal=True)
                point.action = lambda: self._arrived(Reason.ADDRESS)
                stack.callback(runner.breakpoints.remove, point)
            for kind, names in self.events:
                catch = runner.catchpoints.add(None, kind, names=names)
                catch.action = lambda: self._happened(runner)
                stack.callback(runner.catchpoints.remove, catch)
            for time, reason in ((self.time, Reason.TIME), (self.limit, Reason.LIMIT)):
                if time is not None:
                    timer = Timer(machine.board.clock, lambda reason=reason: note(reason))  # type: ignore[misc]
                    timer.start_at(time)
                    stack.callback(timer.cancel)
            if self.port is not None and self.texts:
                stack.callback(self.port.listen(self._listener(self.port, note)))
            event = runner.run(
                stopped_at, limit=self.count, done=lambda: self.reached is not None or self.interrupted()
            )
        if self.reached is None and event.kind is StopKind.LIMIT and not self.interrupted():
            self.reached = Reason.COUNT, ""
        return event

    def _arrived(self, reason: Reason, text: str = "") -> bool:
        if self.reached is None:
            self.reached = reason, text
        return True

    def _happened(self, runner: Runner) -> bool:
        happening = runner.catchpoints.happening
        return self._arrived(Reason.EVENT, "" if happening is None else happening.text)

    def _listener(self, port: SerialPort, note: Callable[[Reason, str], None]) -> Callable[[int], None]:
        lasts = {text[-1] for text in self.texts}

        def heard(character: int) -> None:
            if character in lasts:
                found = port.find(self.texts)
                if found is not None:
                    note(Reason.TEXT, found.decode("utf-8", "replace"))

        return heard
