"""The machine: a board joined with the engine. What scripts, debuggers and servers hold."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol

from dbgemu.engine.cpu import Cpu, WatchHit
from dbgemu.engine.native import NativeCode
from dbgemu.target.arm.state import StopCode
from dbgemu.target.clock import NS_PER_SECOND, VirtualClock
from dbgemu.target.mini2440 import Mini2440, PowerRequest

#: no limit: more instructions than are executed in a century
_FOREVER = 1 << 62
#: at most this far behind the host's clock does idle time catch up (s)
_MAX_LAG = 1.0


class SemihostingHost(Protocol):
    """Who executes the guest's semihosting calls, on the machine's thread."""

    def serve(self) -> bool:
        """Execute the call at the pc; False when it was not, or nothing is to follow it."""

    def reset(self) -> None:
        """The board was reset: nobody has a use for open files any more."""


class StopReason(Enum):
    """Why :meth:`Machine.run` returned."""

    REQUEST = auto()
    LIMIT = auto()
    BREAKPOINT = auto()
    WATCHPOINT = auto()
    CATCH = auto()
    SEMIHOSTING = auto()


class Stop(NamedTuple):
    """A stop: its reason, the next instruction's address and, at a watchpoint, the access.

    ``caught`` is what the CPU caught: see :meth:`Cpu.take_caught`; 0 where a device's code asked to stop.
    """

    reason: StopReason
    pc: int
    watch: WatchHit | None = None
    caught: int = 0


class _ClockDriver:
    """Gives the virtual clock its instruction count, and the engine its limit."""

    __slots__ = ("_clock", "_cpu", "instruction_count")

    def __init__(self, clock: VirtualClock, cpu: Cpu) -> None:
        self._clock = clock
        self._cpu = cpu
        #: as an attribute: devices ask for the time at many accesses
        self.instruction_count: Callable[[], int] = cpu.counter()

    def deadline_changed(self) -> None:
        """Shorten the present run to the earliest deadline."""
        clock, cpu = self._clock, self._cpu
        deadline = clock.next_deadline()
        if deadline is not None:
            limit = self.instruction_count() + clock.instructions_until(deadline)
            if limit < cpu.limit:
                cpu.limit = limit


class Machine:
    """A board with its CPU.

    ``lock`` is held by who runs the machine or looks at it while it is stopped; :meth:`post` and
    :meth:`request_stop` may be called from any thread without it.
    """

    def __init__(self, board: Mini2440, *, warp: bool = False, code: NativeCode | None = None) -> None:
        self.board = board
        self.cpu = Cpu(board.bus, code)
        self.lock = threading.RLock()
        #: executes semihosting calls, which the CPU is told to take; they stop the machine without it
        self.semihosting: SemihostingHost | None = None
        #: never wait for the host's clock when the guest idles
        self.warp = warp
        self._stop_requested = False
        self._wake = threading.Event()
        self._posted: deque[Callable[[], None]] = deque()
        self._requests: set[PowerRequest] = set()
        self._catch_requested = False
        #: called when the guest, not a debugger, has reset the board
        self.on_guest_reset: list[Callable[[], None]] = []
        #: lets the CPU execute up to a count, or less: who looks on at each instruction puts itself here
        self.execute: Callable[[int, bool], StopCode] = self.execute_freely
        #: inside :meth:`step`
        self._stepping = False
        #: the pc of a guest that idles
        self._idle_pc: int | None = None
        #: host time (s) minus virtual time (s)
        self._epoch = 0.0
        #: one more each time when the guest finds itself elsewhere: what it waited for is past then
        self._generation = 0
        board.on_request = self._request
        board.irq.connect(self.cpu.set_irq)
        board.fiq.connect(self.cpu.set_fiq)
        board.clock.attach(_ClockDriver(board.clock, self.cpu))
        board.log.current_pc = lambda: self.cpu.current_pc
        self.reset()

    # -- from any thread -------------------------------------------------------------------------

    def request_stop(self) -> None:
        """Make :meth:`run` return soon, with StopReason.REQUEST."""
        self._stop_requested = True
        self.cpu.request_exit()
        self._wake.set()

    def post(self, action: Callable[[], None]) -> None:
        """Run ``action`` on the machine's thread at the next boundary of a run: input from outside."""
        self._posted.append(action)
        self.cpu.request_exit()
        self._wake.set()

    def request_catch(self) -> None:
        """Make :meth:`run` return at the next instruction, with StopReason.CATCH.

        Only from the machine's thread: from what listens to devices.
        """
        self._catch_requested = True
        self.cpu.request_attention()

    @property
    def asleep(self) -> bool:
        """The guest has switched the chip to SLEEP."""
        return PowerRequest.SLEEP in self._requests

    @property
    def idle(self) -> bool:
        """The guest waits for an interrupt."""
        return self._idle_pc is not None and self._idle_pc == self.cpu.pc

    # -- with the lock ---------------------------------------------------------------------------

    def reset(self) -> None:
        """The system reset: the next run starts at the reset vector, or what was loaded."""
        with self.lock:
            self._generation += 1
            self._idle_pc = None
            self._requests.clear()
            self._catch_requested = False
            self.board.reset()
            self.cpu.reset()
            if self.semihosting is not None:
                self.semihosting.reset()
            for name, value in self.board.start_registers().items():
                self.cpu.write_register(name, value)

    def digest(self) -> str:
        """SHA-256 (hex) of everything that the guest can see: CPU, clock, devices and memories.

        Equal in two runs that were given the same at the same instructions.
        """
        with self.lock:
            digest = hashlib.sha256()
            board = self.board
            for part in (self.cpu.save(), board.clock.save(), board.save()["devices"]):
                digest.update(repr(part).encode())
            for page, data in board.nand_chip.cells.used().items():
                digest.update(page.to_bytes(4, "little") + data)
            for memory in (board.sdram, board.sram, board.nor.memory):
                digest.update(memory.data)
            return digest.hexdigest()

    def save(self) -> dict[str, Any]:
        """The state of CPU, clock and devices as plain data: all but the contents of memories and flash."""
        with self.lock:
            return {
                "cpu": self.cpu.save(),
                "clock": self.board.clock.save(),
                "board": self.board.save(),
                "idle_pc": self._idle_pc,
                "idle_requested": self.cpu.idle_requested,
                "requests": sorted(request.name for request in self._requests),
            }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave; memories and flash are put back apart from it."""
        with self.lock:
            self._generation += 1
            self.cpu.load(state["cpu"])
            self.board.clock.load(state["clock"])
            self.board.load(state["board"])
            self._idle_pc = state["idle_pc"]
            self._requests = {PowerRequest[name] for name in state["requests"]}
            self._catch_requested = False
            if state["idle_requested"]:
                self.cpu.request_idle()
            if self.semihosting is not None:
                self.semihosting.reset()
            self._epoch = time.monotonic() - self.board.clock.now / NS_PER_SECOND

    def run(self, instructions: int | None = None) -> Stop:
        """Execute until a stop, at most ``instructions``; idle time is paced to the host's clock.

        A breakpoint on the first instruction is passed over, a watchpoint if it was the last stop.
        """
        with self.lock:
            end = _FOREVER if instructions is None else self.cpu.instructions + instructions
            self._epoch = time.monotonic() - self.board.clock.now / NS_PER_SECOND
            reason = self._run_until(end)
            watch = self.cpu.watch_hit if reason is StopReason.WATCHPOINT else None
            caught = self.cpu.take_caught() if reason is StopReason.CATCH else 0
            return Stop(reason, self.cpu.pc, watch, caught)

    def step(self, *, interrupts: bool = False) -> Stop:
        """Execute one instruction, with interrupts held back unless ``interrupts`` is set.

        It never waits: a debugger wakes a core that waits for an interrupt (ARM920T TRM, "Wait for
        interrupt"), and leaves one that sleeps asleep.
        """
        with self.lock:
            self._stepping = True
            self.cpu.mask_interrupts(not interrupts)
            try:
                return self.run(1)
            finally:
                self._stepping = False
                self.cpu.mask_interrupts(False)

    def execute_freely(self, limit: int, resume: bool) -> StopCode:
        """Let the CPU execute up to the count ``limit``."""
        return self.cpu.run(limit, resume=resume)

    def _run_until(self, end: int) -> StopReason:
        cpu, clock = self.cpu, self.board.clock
        resume = True
        while True:
            self._run_posted()
            clock.run_due()
            if self._stop_requested:
                self._stop_requested = False
                cpu.take_requests()
                return StopReason.REQUEST
            if self._catch_requested:
                self._catch_requested = False
                return StopReason.CATCH
            if self._requests:
                self._attend()
                if self._stepping and not self._catch_requested:
                    return StopReason.LIMIT
                continue
            if cpu.instructions >= end:
                return StopReason.LIMIT
            if self._idle_pc == cpu.pc:
                self._idle()
                continue
            deadline = clock.next_deadline()
            limit = end
            if deadline is not None:
                limit = min(end, cpu.instructions + clock.instructions_until(deadline))
            before = cpu.instructions
            code = self.execute(limit, resume)
            # a request may have stopped the run before it got past the first instruction
            resume = resume and cpu.instructions == before
            if code is StopCode.BREAKPOINT:
                # What is due now comes first: an interrupt that it raises is taken in front of the
                # instruction, which then is reached once, not once more behind the handler.
                self._run_posted()
                clock.run_due()
                if cpu.interrupt_pending and not self._stop_requested:
                    resume = False
                    continue
                return StopReason.BREAKPOINT
            if code is StopCode.WATCHPOINT:
                return StopReason.WATCHPOINT
            if code is StopCode.CATCH:
                return StopReason.CATCH
            if code is StopCode.SEMIHOSTING:
                if self.semihosting is None or not self.semihosting.serve():
                    return StopReason.SEMIHOSTING
                resume = False
            if code is StopCode.REQUEST:
                _, idle = cpu.take_requests()
                if idle:
                    self._idle()

    def wait_until(self, ready: Callable[[], bool], *, patience: float = 0.0) -> bool:
        """Stand still until ``ready``, or until ``patience`` seconds after a stop is requested: then False.

        For a semihosting call, on the machine's thread. What is posted is run: only that makes it ready.
        """
        end: float | None = None
        generation = self._generation
        while True:
            self._wake.clear()
            self._run_posted()
            if generation != self._generation:
                return False
            if ready():
                return True
            if self._stop_requested and end is None:
                end = time.monotonic() + patience
            if end is not None and time.monotonic() >= end:
                self._stop_requested = False
                self.cpu.take_requests()
                return False
            self._wake.wait(None if end is None else max(0.0, end - time.monotonic()))

    def _run_posted(self) -> None:
        while self._posted:
            self._posted.popleft()()

    def _request(self, request: PowerRequest) -> None:
        if request is PowerRequest.IDLE:
            self.cpu.request_idle()
        else:
            self._requests.add(request)
            self.cpu.request_attention()

    def _attend(self) -> None:
        """Do what the guest asked of the machine."""
        if PowerRequest.RESET in self._requests:
            self._requests.clear()
            self._reset_by_guest()
        elif PowerRequest.SLEEP in self._requests:
            self._sleep()

    def _reset_by_guest(self) -> None:
        self.reset()
        for listener in self.on_guest_reset:
            listener()

    # -- idle ------------------------------------------------------------------------------------

    def _idle(self) -> None:
        """Let time pass until an interrupt is requested, masked or not.

        A stop leaves the machine idle: the next run goes on here, unless a debugger moved the pc.
        """
        self._idle_pc = self.cpu.pc
        generation = self._generation
        while not self._stepping and not self.cpu.interrupt_requested and not self._requests:
            if self._stop_requested or self._catch_requested:
                return
            self._pass_time()
            if generation != self._generation:
                return
        self._idle_pc = None
        self.board.clkpwr.wake_up()

    def _sleep(self) -> None:
        """Let time pass until something wakes the chip, which then is reset (UM 7-15)."""
        generation = self._generation
        self.board.power_down()
        while not (
            self._stepping or self._stop_requested or self._catch_requested or self.board.wake_requested()
        ):
            self._pass_time()
            if generation != self._generation:
                return
        if self.board.wake_requested():
            self.board.prepare_wake_up()
            self._reset_by_guest()

    def _pass_time(self) -> None:
        """Skip to the next deadline, or wait for it or for input from outside."""
        clock = self.board.clock
        deadline = clock.next_deadline()
        self._wake.clear()
        if self._posted or self._stop_requested:
            self._run_posted()
            return
        if self.warp and deadline is not None:
            clock.skip_to(deadline)
        else:
            self._wait(deadline)
        self._run_posted()
        clock.run_due()

    def _wait(self, deadline: int | None) -> None:
        """Wait until the host's clock comes to ``deadline`` (ns), or something wakes the machine."""
        clock = self.board.clock
        host, now = time.monotonic(), clock.now / NS_PER_SECOND
        # what the guest is ahead of the host's clock, or far behind it, is past
        lag = min(max(host - (self._epoch + now), 0.0), _MAX_LAG)
        self._epoch = host - lag - now
        if deadline is None:
            self._wake.wait()
        elif (left := deadline / NS_PER_SECOND - now - lag) > 0:
            self._wake.wait(left)
        if deadline is not None and not self._wake.is_set():
            clock.skip_to(deadline)
        else:
            elapsed = int((time.monotonic() - self._epoch) * NS_PER_SECOND)
            clock.skip_to(elapsed if deadline is None else min(elapsed, deadline))
