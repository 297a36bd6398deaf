"""The debug session: the one object that every debugger front end of a machine shares.

Threads. While the machine runs it does so on a thread of the session. A stopped machine is stepped
and looked into by whichever thread asks, under the session's lock: a hand-over between threads costs
more than a step. Front ends may call any method from any thread, except from inside a notification.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from dbgemu.debug.breakpoints import Breakpoint
from dbgemu.debug.catchpoints import CatchKind, Catchpoint
from dbgemu.debug.events import Change, ChangeKind, FrontEnd, StopEvent, StopKind
from dbgemu.debug.memory import MemoryAccess
from dbgemu.debug.run_control import Goal
from dbgemu.debug.runner import Runner
from dbgemu.debug.watchpoints import WatchKind, Watchpoint

if TYPE_CHECKING:
    from dbgemu.debug.linux import LinuxGuest
    from dbgemu.debug.semihosting.config import SemihostingConfig
    from dbgemu.debug.semihosting.console import Console
    from dbgemu.debug.semihosting.files import RemoteHost
    from dbgemu.debug.semihosting.host import Semihosting
    from dbgemu.debug.tracepoints.experiment import Experiment
    from dbgemu.machine import Machine

T = TypeVar("T")

#: a range step does this many instructions in the calling thread before the machine's thread takes over
_INLINE_STEPS = 200


class _Call:
    """A function that waits to be run on the machine's thread."""

    def __init__(self, action: Callable[[], Any]) -> None:
        self.action = action
        self.done = threading.Event()
        self.result: Any = None
        self.error: Exception | None = None

    def serve(self) -> None:
        try:
            self.result = self.action()
        except Exception as error:  # handed to the thread that asked
            self.error = error
        self.done.set()

    def outcome(self) -> Any:
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.result


class DebugSession:
    """A machine under debuggers: run control, break- and watchpoints, memory, and who is told."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.cpu = machine.cpu
        self._runner = Runner(machine)
        self.breakpoints = self._runner.breakpoints
        self.watchpoints = self._runner.watchpoints
        self.catchpoints = self._runner.catchpoints
        self.breakpoints.on_change = self._point_changed
        self.watchpoints.on_change = self._point_changed
        self.catchpoints.on_change = self._point_changed
        self.symbols = self._runner.symbols
        self.devices = self._runner.devices
        self.memory = MemoryAccess(self)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._front_ends: list[FrontEnd] = []
        #: called when the session closes and the machine has stopped for good, the latest first
        self.closing: list[Callable[[], None]] = []
        self._calls: deque[_Call] = deque()
        self._job: Callable[[], StopEvent] | None = None
        self._running = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self.last_stop = self._runner.event(StopKind.RESET)

    @property
    def step_interrupts(self) -> bool:
        """Whether single steps take interrupts. Off at first: they are held back, as with QEMU."""
        return self._runner.step_interrupts

    @step_interrupts.setter
    def step_interrupts(self, value: bool) -> None:
        self._runner.step_interrupts = value

    @property
    def trace(self) -> Experiment:
        """The trace experiment."""
        return self._runner.trace

    def serve_semihosting(self, config: SemihostingConfig, console: Console) -> Semihosting:
        """Answer the guest's semihosting calls, until the result is closed. Raises OSError."""
        from dbgemu.debug.semihosting.host import Semihosting  # few runs need it

        self._runner.semihosting = Semihosting(self.machine, config, console, remote=self._remote_host)
        return self._runner.semihosting

    @cached_property
    def linux(self) -> LinuxGuest:
        """The Linux guest as its kernel's symbols tell of it: tasks, log, modules."""
        from dbgemu.debug.linux import LinuxGuest  # few runs need it

        return LinuxGuest(self)

    @property
    def semihosting(self) -> Semihosting | None:
        """Who answers the guest's semihosting calls."""
        return self._runner.semihosting

    def _remote_host(self) -> RemoteHost | None:
        hosts = (front_end.semihosting for front_end in tuple(self._front_ends))
        return next((host for host in hosts if host is not None), None)

    # -- front ends --------------------------------------------------------------------------

    def attach(self, front_end: FrontEnd) -> None:
        """Tell ``front_end`` of everything from now on."""
        with self._lock:
            if front_end not in self._front_ends:
                self._front_ends.append(front_end)

    def detach(self, front_end: FrontEnd, *, resume: bool = False) -> None:
        """Forget ``front_end`` and take away the break- and watchpoints that it set.

        With ``resume`` the machine goes on, unless another front end is holding it.
        """
        with self._lock:
            if front_end in self._front_ends:
                self._front_ends.remove(front_end)
        self.call(lambda: self._forget_points(front_end))
        if resume and not any(other.holding for other in self._front_ends):
            self.resume(by=front_end)

    def _forget_points(self, owner: FrontEnd) -> None:
        self.breakpoints.remove_owned(owner)
        self.watchpoints.remove_owned(owner)
        self.catchpoints.remove_owned(owner)
        self._runner.trace_left(owner)

    def tell(self, change: Change) -> None:
        """Tell everyone but who made it of ``change``."""
        for front_end in tuple(self._front_ends):
            if front_end is not change.by:
                front_end.changed(change)

    def say(self, text: str) -> None:
        """Show ``text``, whole lines, to whoever looks on; where nobody does on standard error."""
        heard = [front_end.say(text) for front_end in tuple(self._front_ends)]
        if not any(heard):
            print(text, end="", file=sys.stderr, flush=True)

    def _point_changed(self, point: Breakpoint | Watchpoint | Catchpoint, added: bool) -> None:
        # those of nobody are scripts', and the runner's own for a moment
        if point.owner is not None:
            kind = ChangeKind.POINT_ADDED if added else ChangeKind.POINT_REMOVED
            self.tell(Change(kind, point.owner, point))

    def _stopped(self, event: StopEvent, by: FrontEnd | None = None) -> None:
        """Keep ``event`` and tell everyone but ``by`` of it. The lock is held."""
        self.last_stop = event
        for front_end in self._front_ends:
            if front_end is not by:
                front_end.stopped(event)

    # -- run control -------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """The machine runs on the session's thread."""
        return self._running

    def resume(self, by: FrontEnd | None = None) -> None:
        """Let the machine run until something stops it. Nothing happens when it runs already."""
        with self._lock:
            if not self._running:
                stopped_at = self.last_stop.pc
                self._start(lambda: self._runner.run(stopped_at), by)

    def resume_until(self, goal: Goal, by: FrontEnd | None = None) -> None:
        """Let the machine run as far as ``goal`` says: see :mod:`dbgemu.debug.run_control`.

        A running machine is stopped first. Everyone, ``by`` too, is told of the stop.
        """
        with self._lock:
            self.halt()
            stopped_at = self.last_stop.pc
            self._start(lambda: goal(self._runner, stopped_at), by)

    def pause(self) -> None:
        """Ask a running machine to stop; front ends are told when it has. Does not wait."""
        with self._lock:
            if self._running:
                self._runner.pause_wanted = True
                self.machine.request_stop()

    def wait(self, timeout: float | None = None) -> StopEvent | None:
        """Wait until the machine stands still; None when it does not within ``timeout`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._running, timeout):
                return None
            return self.last_stop

    def halt(self) -> StopEvent:
        """Stop the machine and wait until it stands still."""
        with self._lock:
            if self._running:
                self.pause()
                self._changed.wait_for(lambda: not self._running)
            self._runner.pause_wanted = False
            return self.last_stop

    def step(self, by: FrontEnd | None = None) -> StopEvent:
        """Execute one instruction here and now; a running machine is stopped first.

        The stop is a STEP, with the breakpoints at the new pc, or tells why the instruction was not
        executed.
        """
        with self._lock:
            self.halt()
            with self._runner.not_waiting():
                event = self._runner.step()
            self._stopped(event, by)
            return event

    def start_step(self, by: FrontEnd | None = None) -> StopEvent | None:
        """As :meth:`step`, but None where a semihosting call has to wait.

        Then the machine runs, and ``by`` too is told of the stop.
        """
        with self._lock:
            self.halt()
            with self._runner.not_waiting():
                event = self._runner.step()
            if event.waits:
                self._start(self._runner.step, by)
                return None
            self._stopped(event, by)
            return event

    def step_range(self, start: int, end: int, by: FrontEnd | None = None) -> StopEvent | None:
        """Step until the pc leaves ``start`` <= pc < ``end``, at least one instruction.

        Returns the stop, or None when that takes long: then the machine runs, and ``by`` too is told
        of the stop.
        """
        with self._lock:
            self.halt()
            with self._runner.not_waiting():
                for _ in range(_INLINE_STEPS):
                    event = self._runner.step_in(start, end)
                    if event is not None and event.waits:
                        break
                    if event is not None:
                        self._stopped(event, by)
                        return event
            self._start(lambda: self._runner.run_within(start, end), by)
            return None

    def reset(self, by: FrontEnd | None = None) -> None:
        """Reset the board. It stays as it is: running or stopped."""
        self.call(self._reset)
        with self._lock:
            for front_end in self._front_ends:
                if front_end is not by:
                    front_end.was_reset(by)

    def _reset(self) -> None:
        self.machine.reset()
        if not self._running:
            self.last_stop = self._runner.event(StopKind.RESET)

    def replace_state(self, action: Callable[[], T], by: FrontEnd | None = None) -> T:
        """Run ``action``, which puts the machine into another state; all but ``by`` are told.

        The machine stays as it is: running or stopped.
        """

        def replace() -> T:
            result = action()
            if not self._running:
                self.last_stop = self._runner.event(StopKind.PAUSE)
            return result

        outcome = self.call(replace)
        self.tell(Change(ChangeKind.STATE, by))
        return outcome

    def quit(self) -> None:
        """Tell every front end, the program that made this session too, that all is to end."""
        with self._lock:
            for front_end in self._front_ends:
                front_end.quitting()

    def close(self) -> None:
        """Stop the machine and end the session's thread."""
        with self._lock:
            self.halt()
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        # the last first, and all of them, whatever one may raise
        with contextlib.ExitStack() as stack:
            for action in self.closing:
                stack.callback(action)
            self.closing.clear()

    # -- the stopped machine, or a safe moment of the running one ------------------------------

    def call(self, action: Callable[[], T]) -> T:
        """Run ``action`` where the machine's state may be used, and return what it returns.

        That is here when the machine stands still, otherwise on its thread at the next slice boundary.
        """
        with self._lock:
            if not self._running:
                with self.machine.lock:
                    return action()
            if threading.current_thread() is self._thread:
                return action()
            call = _Call(action)
            self._calls.append(call)
            self.machine.post(self._serve_calls)
        result: T = call.outcome()
        return result

    def _serve_calls(self) -> None:
        while self._calls:
            self._calls.popleft().serve()

    def write_registers(self, values: Mapping[str, int], by: FrontEnd | None = None) -> None:
        """Write registers by name, in that order. KeyError for one that does not exist: see Cpu."""

        def write() -> None:
            for name, value in values.items():
                self.cpu.write_register(name, value)

        self.call(write)
        self.tell(Change(ChangeKind.REGISTERS, by))

    def add_breakpoint(
        self,
        owner: FrontEnd | None,
        address: int,
        *,
        hardware: bool = False,
        temporary: bool = False,
        physical: bool = False,
    ) -> Breakpoint:
        """Set a breakpoint at virtual ``address``, or a ``physical`` one, for ``owner``."""
        return self.call(
            lambda: self.breakpoints.add(
                owner, address, hardware=hardware, temporary=temporary, physical=physical
            )
        )

    def remove_breakpoint(self, breakpoint_: Breakpoint) -> None:
        """Take a breakpoint away."""
        self.call(lambda: self.breakpoints.remove(breakpoint_))

    def add_watchpoint(
        self,
        owner: FrontEnd | None,
        address: int,
        length: int,
        kind: WatchKind,
        *,
        physical: bool = False,
        value: int | None = None,
        mask: int = 0xFFFFFFFF,
        temporary: bool = False,
    ) -> Watchpoint:
        """Watch ``length`` bytes from virtual ``address``, or a ``physical`` one, for ``owner``.

        With ``value`` only accesses that carry it, in the bits of ``mask``.
        """
        return self.call(
            lambda: self.watchpoints.add(
                owner, address, length, kind, physical=physical, value=value, mask=mask, temporary=temporary
            )
        )

    def remove_watchpoint(self, watchpoint: Watchpoint) -> None:
        """Take a watchpoint away."""
        self.call(lambda: self.watchpoints.remove(watchpoint))

    def add_catchpoint(
        self,
        owner: FrontEnd | None,
        kind: CatchKind,
        *,
        names: Sequence[str] = (),
        numbers: Sequence[int] = (),
        temporary: bool = False,
    ) -> Catchpoint:
        """Catch ``kind`` for ``owner``, or only of ``names`` or ``numbers``: see :class:`Catchpoint`."""
        return self.call(
            lambda: self.catchpoints.add(owner, kind, names=names, numbers=numbers, temporary=temporary)
        )

    def remove_catchpoint(self, catchpoint: Catchpoint) -> None:
        """Take a catchpoint away."""
        self.call(lambda: self.catchpoints.remove(catchpoint))

    # -- how the machine is run ----------------------------------------------------------------

    def _start(self, job: Callable[[], StopEvent], by: FrontEnd | None) -> None:
        """Hand ``job`` to the machine's thread. The lock is held."""
        if self._closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="machine", daemon=True)
            self._thread.start()
        self._running = True
        self._runner.pause_wanted = False
        self._job = job
        for front_end in self._front_ends:
            if front_end is not by:
                front_end.resumed(by)
        self._changed.notify_all()

    def _serve(self) -> None:
        """The machine's thread: do the jobs given, one after another."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._job is not None or self._closed)
                job = self._job
                if job is None:
                    return
            try:
                event = job()
            except Exception as error:  # a defect of the emulator: the debuggers must still answer
                traceback.print_exc()
                event = self._runner.event(StopKind.ERROR, f"the emulator failed: {error!r}")
            with self._changed:
                self._serve_calls()
                self._job = None
                self._running = False
                self._stopped(event)
                self._changed.notify_all()
