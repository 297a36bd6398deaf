"""Virtual time: executed instructions times the core clock's period, plus the time skipped while idle.

Every device takes its time from here, so two runs with the same inputs are identical to the
instruction. Times are integers in nanoseconds since power-on; nothing here looks at the host's clock.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fractions import Fraction

NS_PER_SECOND = 1_000_000_000

PS_PER_SECOND = 1_000_000_000_000

#: One instruction a core clock at 405 MHz, the FCLK a mini2440's bootloader sets, in picoseconds.
DEFAULT_PERIOD_PS = 2469

#: ps that native code can tell apart
_COUNTED = (1 << 63) - 1


def cycles_to_ns(cycles: int, frequency: int | Fraction) -> int:
    """Duration in ns, rounded up, of ``cycles`` periods of a clock of ``frequency`` Hz (> 0)."""
    return -(-cycles * NS_PER_SECOND // frequency)


def ns_to_cycles(duration: int, frequency: int | Fraction) -> int:
    """Whole periods of a clock of ``frequency`` Hz that fit in ``duration`` ns."""
    return int(duration * frequency // NS_PER_SECOND)


class InstructionSource(Protocol):
    """What drives the clock: something that executes instructions (the engine)."""

    def instruction_count(self) -> int:
        """Instructions executed since power-on, exact also inside a device access."""

    def deadline_changed(self) -> None:
        """The earliest deadline moved, or time was skipped: shorten the running slice."""


class _Stopped:
    """The source of a clock that nothing drives: the count stays at 0 (unit tests of devices)."""

    def instruction_count(self) -> int:
        return 0

    def deadline_changed(self) -> None:
        pass


class VirtualClock:
    """The board's time base and its queue of timers."""

    #: ns that this clock is behind the board's: see :class:`~dbgemu.target.block_clock.BlockClock`
    behind = 0

    def __init__(self, period_ps: int = DEFAULT_PERIOD_PS) -> None:
        self.period_ps = period_ps
        self._skipped = 0
        #: :attr:`period_ps`, :attr:`skipped`, and up to which count of instructions these give :attr:`now` in
        #: 63 bits, for native code
        self._words = array("q", [0, 0, 0])
        self._tell_natively()
        #: called where time goes on from elsewhere than it was
        self.on_break: list[Callable[[], None]] = []
        #: called after each change of :attr:`skipped` and :attr:`period_ps`, for traces
        self.on_change: Callable[[], None] | None = None
        self._source: InstructionSource = _Stopped()
        self._queue: list[tuple[int, int, Timer]] = []
        self._sequence = 0
        self._timers = 0

    def attach(self, source: InstructionSource) -> None:
        """Let ``source`` drive this clock."""
        self._source = source

    @property
    def now(self) -> int:
        """Virtual time in ns."""
        return self._source.instruction_count() * self.period_ps // 1000 + self._skipped

    @property
    def skipped(self) -> int:
        """What is to be added to all instructions times :attr:`period_ps` for :attr:`now`, in ns.

        The time that passed without executing instructions, as long as the period does not change; then
        also what earlier instructions took more, or less: it may be below 0.
        """
        return self._skipped

    @property
    def native(self) -> int | None:
        """The host address of the board's time: ps an instruction takes, ns skipped, the largest count.

        Signed 64-bit words; while the count is not larger, now is count * ps // 1000 + ns, and this clock's
        time is :attr:`behind` that. None while it stands.
        """
        return self._words.buffer_info()[0]

    def _tell_natively(self) -> None:
        self._words[:] = array("q", [self.period_ps, self._skipped, _COUNTED // self.period_ps])

    def set_period(self, period_ps: int) -> None:
        """Let an instruction take ``period_ps`` (> 0) from now on; :attr:`now` does not jump."""
        if period_ps <= 0:
            raise ValueError(f"an instruction cannot take {period_ps} ps: it takes some time")
        if period_ps != self.period_ps:
            now = self.now
            self.period_ps = period_ps
            self._skipped = now - self._source.instruction_count() * period_ps // 1000
            self._tell_natively()
            if self.on_change is not None:
                self.on_change()
            self._source.deadline_changed()

    def skip(self, duration: int) -> None:
        """Let ``duration`` ns (>= 0) pass without executing instructions.

        Timers that become due fire at the next instruction boundary (or :meth:`run_due`), not here.
        """
        if duration < 0:
            raise ValueError(f"time cannot be skipped by {duration} ns: it only moves forward")
        if duration:
            self._skipped += duration
            self._words[1] = self._skipped
            if self.on_change is not None:
                self.on_change()
            self._source.deadline_changed()

    def skip_to(self, time: int) -> None:
        """Skip up to virtual ``time`` ns; does nothing when it has passed already."""
        self.skip(max(0, time - self.now))

    def next_deadline(self) -> int | None:
        """Virtual time in ns of the earliest armed timer, or None."""
        queue = self._queue
        while queue and queue[0][2].entry is not queue[0]:
            heapq.heappop(queue)
        return queue[0][0] if queue else None

    def instructions_until(self, deadline: int) -> int:
        """Instructions to execute from now until ``deadline`` ns is reached (0 when it has passed)."""
        left = -(-(deadline - self._skipped) * 1000 // self.period_ps) - self._source.instruction_count()
        return left if left > 0 else 0

    def run_due(self) -> None:
        """Call back every timer whose deadline has come, in order of deadline, then of arming."""
        while (deadline := self.next_deadline()) is not None and deadline <= self.now:
            _, _, timer = heapq.heappop(self._queue)
            timer.entry = None
            timer.callback()

    def save(self) -> dict[str, int]:
        """State as plain data. Timers are saved by the devices that own them."""
        return {"period_ps": self.period_ps, "skipped": self._skipped}

    def load(self, state: dict[str, int]) -> None:
        """Put back what :meth:`save` gave."""
        self.period_ps = state["period_ps"]
        self._skipped = state["skipped"]
        self._tell_natively()
        self._break()

    def _break(self) -> None:
        for listener in self.on_break:
            listener()

    def order(self) -> list[int]:
        """The numbers of the armed timers, in the order in which they come."""
        return [entry[2].number for entry in self._armed()]

    def put_in_order(self, numbers: list[int]) -> None:
        """Let armed timers of equal deadlines come in the order of ``numbers``, the others after them."""
        places = {number: place for place, number in enumerate(numbers)}
        last = len(places)
        for deadline, _, timer in sorted(
            self._armed(), key=lambda entry: (entry[0], places.get(entry[2].number, last), entry[1])
        ):
            self.arm(timer, deadline)

    def _armed(self) -> list[tuple[int, int, Timer]]:
        return sorted(entry for entry in self._queue if entry[2].entry is entry)

    def number_timer(self) -> int:
        """How many timers were made before: the same timer has the same number on every such board."""
        self._timers += 1
        return self._timers - 1

    def arm(self, timer: Timer, deadline: int) -> None:
        """Queue ``timer`` for ``deadline`` ns, replacing its earlier deadline (see :class:`Timer`)."""
        earliest = self.next_deadline()
        self._sequence += 1
        timer.entry = (deadline, self._sequence, timer)
        heapq.heappush(self._queue, timer.entry)
        if earliest is None or deadline < earliest:
            self._source.deadline_changed()


class Timer:
    """A callback at a moment of virtual time. Made once by a device, armed as often as wanted."""

    def __init__(self, clock: VirtualClock, callback: Callable[[], None]) -> None:
        self.clock = clock
        self.callback = callback
        self.number = clock.number_timer()
        self.entry: tuple[int, int, Timer] | None = None

    @property
    def deadline(self) -> int | None:
        """The moment in ns at which the callback comes, or None while the timer is not armed."""
        return self.entry[0] - self.clock.behind if self.entry else None

    def start_at(self, deadline: int) -> None:
        """Arm for virtual time ``deadline`` ns; a deadline in the past fires at the next boundary."""
        self.clock.arm(self, deadline)

    def start_in(self, delay: int) -> None:
        """Arm for ``delay`` ns from now."""
        self.clock.arm(self, self.clock.now + delay)

    def cancel(self) -> None:
        """Disarm; nothing happens when it was not armed."""
        self.entry = None

    def load(self, deadline: int | None) -> None:
        """Put back a saved :attr:`deadline`."""
        if deadline is None:
            self.cancel()
        else:
            self.start_at(deadline)
