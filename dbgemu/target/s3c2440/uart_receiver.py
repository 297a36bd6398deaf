"""The receiving half of a UART: the FIFO, what waits in front of it, and its interrupts."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.uart_registers import BREAK, ERROR_ENABLE, OVERRUN, RX_LEVEL, UartRegisters

T = TypeVar("T")

#: characters from the host that wait outside the chip before :attr:`Uart.can_receive` is 0
PENDING_LIMIT = 4096
#: UM 11-3: the receive time-out comes when nothing arrived for 3 word times
TIMEOUT_WORDS = 3
#: a moment that does not come
NEVER = 1 << 62


class UartReceiver(UartRegisters):
    """The part of a port behind RXD. What follows from the settings is given by ``_derive``."""

    STATE: ClassVar[tuple[str, ...]] = (
        "_fifo",
        "_pending",
        "_echo",
        "_char_ns",
        "_last",
        "_overrun",
        "_rx_next",
        "_rx_wake",
        "_rx_last",
        "_rx_stalled",
        "_rx_arrived",
        "_rx_new_top",
        "_rx_new_overrun",
        "_rx_timed_out",
        "_rx_request",
        "_rx_timer",
        "_polled",
        "_polls",
    )

    # Derived from the control registers and the clocks by the port.
    _data_mask: int
    _capacity: int
    _rx_limit: int
    _rx_mode: int
    _rx_trigger: int
    _rx_runs: bool
    _rx_timeout: bool

    def __init__(
        self, name: str, *, clock: VirtualClock, rxd: Line, err: Line, log: GuestLog | None = None
    ) -> None:
        super().__init__(name, log)
        self.clock = clock
        self.rxd, self.err = rxd, err
        #: called when :attr:`can_receive`, after it had been 0, has grown to half of its limit
        self.on_room: Callable[[], None] = lambda: None
        # Character and error byte in turn: both in one bytearray, which is cheap to shorten in front.
        self._pending = bytearray()
        self._room_wanted = False
        self._char_ns = 1  # until there is a clock
        self._rx_timer = Timer(clock, self._rx_due)
        self._clear_receiver()

    def _clear_receiver(self) -> None:
        #: received characters, with their error bits above bit 8
        self._fifo: list[int] = []
        #: looped back characters on their way: (arrival in ns, character and errors)
        self._echo: list[tuple[int, int]] = []
        self._last = 0
        self._overrun = 0
        # When the next character from the host is complete, when anything arrives next, when the last
        # one did, and whether the host waits for room in the FIFO.
        self._rx_next = NEVER
        self._rx_wake = NEVER
        self._rx_last = 0
        self._rx_stalled = False
        # What _settle leaves for _update_rx to signal.
        self._rx_arrived = False
        self._rx_new_top = False
        self._rx_new_overrun = False
        self._rx_timed_out = False
        self._rx_request = False
        # The row of reads of one status register: which (0: none), how many.
        self._polled = 0
        self._polls = 0

    def _drive(self) -> None:
        """Put the requests on the lines that the modes choose."""
        raise NotImplementedError

    def receive(self, data: bytes, errors: int = 0) -> None:
        """Queue characters from the host, each with ``errors`` (OVERRUN, PARITY, FRAME, BREAK).

        They arrive one character time apart, as soon as the receiver runs and has room: none is lost.
        """
        if not data:
            return
        pairs = bytearray(2 * len(data))
        pairs[::2] = data
        pairs[1::2] = bytes((errors & 15,)) * len(data)
        now = self.clock.now
        self._settle(now)
        self._pending += pairs
        if len(self._pending) >= 2 * PENDING_LIMIT:
            self._room_wanted = True
        self._start_receiver(now)
        self._update_rx(now)

    def receive_break(self) -> None:
        """The host sends a break: a zero character with the break bit."""
        self.receive(b"\0", BREAK)

    @property
    def can_receive(self) -> int:
        """How many characters the host may send before it should wait for :attr:`on_room`."""
        self._settle(self.clock.now)
        return max(0, PENDING_LIMIT - len(self._pending) // 2)

    def _start_receiver(self, now: int) -> None:
        """Let the host's next character begin, where it can."""
        if self._rx_runs and self._pending:
            if len(self._fifo) >= self._rx_limit and self._rx_next == NEVER:
                self._rx_stalled = True
            else:
                self._rx_stalled = False
                self._rx_next = min(self._rx_next, now + self._char_ns)
        self._rx_wake = min(self._rx_next, self._echo[0][0]) if self._echo else self._rx_next

    def _settle(self, now: int) -> None:
        """Move what has arrived by ``now`` into the FIFO. Drives no line: that is _update_rx."""
        if now < self._rx_wake:
            return
        fifo, echo, pending = self._fifo, self._echo, self._pending
        while echo and echo[0][0] <= now:
            self._rx_last, entry = echo.pop(0)
            if len(fifo) >= self._capacity:
                self._overrun = OVERRUN
                self._rx_new_overrun = True
            else:
                self._arrive(entry)
        while self._rx_next <= now:
            if len(fifo) >= self._rx_limit:
                self._rx_next, self._rx_stalled = NEVER, True
                break
            self._arrive(pending[0] & self._data_mask | pending[1] << 8)
            del pending[:2]
            self._rx_last = self._rx_next
            self._rx_next = self._rx_next + self._char_ns if pending else NEVER
        self._rx_wake = min(self._rx_next, echo[0][0]) if echo else self._rx_next
        if self._room_wanted:
            self._offer_room()

    def _offer_room(self) -> None:
        if self._room_wanted and len(self._pending) <= PENDING_LIMIT:
            self._room_wanted = False
            self.on_room()

    def _arrive(self, entry: int) -> None:
        self._rx_arrived = True
        if not self._fifo:
            self._rx_new_top = True
        self._fifo.append(entry)

    def _rx_due(self) -> None:
        now = self.clock.now
        self._settle(now)
        self._update_rx(now)

    def _update_rx(self, now: int) -> None:
        """The receive request: the trigger is reached, or the time-out (UM 11-5); and errors."""
        fifo, control = self._fifo, self.UCON
        reached = len(fifo) >= self._rx_trigger
        timeout = self._rx_last + TIMEOUT_WORDS * self._char_ns if fifo and self._rx_timeout else NEVER
        pulsed = self._rx_mode == 1 and not control & RX_LEVEL
        if not fifo or (pulsed and self._rx_arrived):
            self._rx_timed_out = False
        # A level stays until the FIFO has been read empty, so that no handler leaves anything behind.
        timed_out = timeout != NEVER and (self._rx_timed_out or now >= timeout)
        self._rx_request = self._rx_mode != 0 and (reached or timed_out)
        self._drive()
        if pulsed and ((self._rx_arrived and reached) or (timed_out and not self._rx_timed_out)):
            self.rxd.pulse()
        self._rx_arrived = False
        self._rx_timed_out = timed_out
        if self._rx_new_top or self._rx_new_overrun:
            # UM 11-6: the error interrupt comes when the character is the next to be read.
            wrong = (self._rx_new_top and fifo and fifo[0] > 0xFF) or self._rx_new_overrun
            self._rx_new_top = self._rx_new_overrun = False
            if wrong and control & ERROR_ENABLE:
                self.err.pulse()
        self._arm_rx(timeout)

    def _arm_rx(self, timeout: int) -> None:
        """Arm the timer for the next moment at which a receive line changes."""
        deadline = NEVER
        control, request = self.UCON, self._rx_request
        if self._rx_mode:
            if not request:
                deadline = timeout
            if self._echo or control & ERROR_ENABLE or not control & RX_LEVEL:
                deadline = min(deadline, self._rx_wake)
            elif not request and self._rx_next != NEVER:
                wanted = min(self._rx_trigger - len(self._fifo), len(self._pending) // 2)
                deadline = min(deadline, self._rx_next + (wanted - 1) * self._char_ns)
        if deadline == NEVER:
            self._rx_timer.cancel()
        elif deadline != self._rx_timer.deadline:
            self._rx_timer.start_at(deadline)

    @UartRegisters.URXH.read
    def _read_data(self) -> int:
        self._polled = 0
        fifo = self._fifo
        if self._rx_wake != NEVER:
            self._settle(self.clock.now)
        if not fifo:
            return self._last
        self._last = fifo.pop(0) & 0xFF
        count = len(fifo)
        stalled = self._rx_stalled
        if stalled:
            self._start_receiver(self.clock.now)
        self._rx_new_top = True
        if count < self._rx_trigger or fifo[0] > 0xFF or self._rx_arrived or stalled:
            self._update_rx(self.clock.now)
        return self._last

    def undisturbed(self, compute: Callable[[], T]) -> T:
        """What ``compute`` gives, with nothing changed by it: what it moves is moved back.

        When characters are moved into the FIFO decides how many polls the guest needs until time is
        skipped: a debugger's look must not.
        """
        kept = {name: self.__dict__[name] for name in self.STATE}
        kept = {
            name: value.copy() if isinstance(value, list | bytearray) else value
            for name, value in kept.items()
        }
        room, self._room_wanted = self._room_wanted, False
        try:
            return compute()
        finally:
            self.__dict__.update(kept)
            self._room_wanted = room

    @UartRegisters.URXH.peek
    def _peek_data(self) -> int:
        def compute() -> int:
            self._settle(self.clock.now)
            return self._fifo[0] & 0xFF if self._fifo else self._last

        return self.undisturbed(compute)

    @UartRegisters.UERSTAT.peek
    def _peek_errors(self) -> int:
        return self.undisturbed(self._errors)

    def _errors(self) -> int:
        self._settle(self.clock.now)
        return self._overrun | (self._fifo[0] >> 8 if self._fifo else 0)

    @UartRegisters.UERSTAT.read
    def _read_errors(self) -> int:
        self._polled = 0
        value = self._errors() if self._rx_wake != NEVER or self._fifo or self._overrun else 0
        if value:
            self._overrun = 0
            if self._fifo:
                self._fifo[0] &= 0xFF
        return value
