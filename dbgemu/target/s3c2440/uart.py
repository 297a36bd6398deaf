"""UART: the three serial ports (S3C2440A UM chapter 11).

Characters take their real time in virtual time, but nothing ticks: the transmitter is one number, the
moment at which it will have sent everything, and arriving characters are moved into the FIFO when
somebody looks. Timers run only up to the next moment at which an interrupt request changes.

A guest that polls a status register would execute some 30 000 instructions a character. After
``POLLS_BEFORE_SKIP`` reads in a row of the same status register, the clock jumps to the moment at
which that register changes, as if the CPU had been stalled by the access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns
from dbgemu.target.device import Reader
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Register
from dbgemu.target.s3c2440.clocks import Clocks
from dbgemu.target.s3c2440.uart_receiver import NEVER, UartReceiver
from dbgemu.target.s3c2440.uart_registers import (
    BREAK,
    FIFO_SIZE,
    LOOPBACK,
    RX_LEVEL,
    SBREAK,
    TIMEOUT_ENABLE,
    TX_LEVEL,
    FclkDivider,
    UartRegisters,
)
from dbgemu.target.stream import HeldRegister

#: the read that skips time, counted in reads in a row of one status register
POLLS_BEFORE_SKIP = 3

_TX_TRIGGERS = (0, 16, 32, 48)
_RX_TRIGGERS = (1, 8, 16, 32)
#: UM 11-4: with AFC, nRTS is taken back when less than 32 bytes of the receive FIFO are free
_AFC_LIMIT = 33


class Uart(UartReceiver):
    """One serial port.

    ``rxd``, ``txd``, ``err`` are its interrupt sub-sources, ``dma`` its DMA request. ``port`` (0 to 2)
    matters only for the FCLK/n ``divider`` that the ports share.
    """

    STATE: ClassVar[tuple[str, ...]] = (
        *UartReceiver.STATE,
        "_tx_idle_at",
        "_tx_held",
        "_tx_above",
        "_tx_request",
        "_tx_timer",
        "_break_end",
        "_cts",
        "_cts_changed",
    )

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        clocks: Clocks,
        rxd: Line,
        txd: Line,
        err: Line,
        dma: Line | None = None,
        log: GuestLog | None = None,
        port: int = 0,
        divider: FclkDivider | None = None,
    ) -> None:
        super().__init__(name, clock=clock, rxd=rxd, err=err, log=log)
        self.clocks = clocks
        self.txd = txd
        self.dma = dma if dma is not None else Line(f"{name}.dma")
        self.port = port
        self.divider = divider if divider is not None else FclkDivider()
        #: gets each character when the guest writes it
        self.on_transmit: Callable[[int], None] = lambda character: None
        #: called when the guest sends a break
        self.on_break: Callable[[], None] = lambda: None
        # What is attached to the port listens: nCTS is active unless somebody says otherwise.
        self._cts = True
        self._cts_changed = False
        self._tx_timer = Timer(clock, self._tx_due)
        #: Linux's console reads UFCON in front of each character
        self.held_fifo_control = HeldRegister()
        self._clear()
        clocks.on_change.append(self._clocks_changed)
        self.divider.listeners.append(self._clocks_changed)

    def _clear(self) -> None:
        self._clear_receiver()
        # The transmitter: when it will be idle (0: it is), or, standing still, what is left to send.
        self._tx_idle_at = 0
        self._tx_held = 0
        self._tx_above = False
        self._tx_request = False
        self._break_end = 0
        self._derive()

    def _clock_frequency(self) -> int:
        """Hz of the clock that UBRDIV divides; 0 while it stands."""
        select = self.UCON >> 10 & 3
        if select == 1:
            # Nothing drives the UEXTCLK pin of a mini2440. Linux calls this input "uclk" and
            # expects the USB clock there: more use than a dead port.
            return self.clocks.uclk
        return self.divider.frequency(self.clocks.fclk) if select == 3 else self.clocks.pclk

    def _derive(self, char_ns: int | None = None) -> None:
        """Everything that follows from the control registers and the clocks (or ``char_ns``)."""
        line, control, fifo = self.ULCON, self.UCON, self.UFCON
        frequency = self._clock_frequency()
        data_bits = 5 + (line & 3)
        frame_bits = 1 + data_bits + (line >> 5 & 1) + 1 + (line >> 2 & 1)
        runs = frequency > 0
        if runs:
            self._char_ns = cycles_to_ns(frame_bits * 16 * (self.UBRDIV + 1), frequency)
        self._data_mask = (1 << data_bits) - 1
        self.held_fifo_control.hold(fifo)
        fifo_mode = fifo & 1
        flow_control = bool(self.UMCON & 0x10)
        self._tx_mode = control >> 2 & 3
        self._rx_mode = control & 3
        self._tx_trigger = _TX_TRIGGERS[fifo >> 6 & 3] if fifo_mode else 0
        self._rx_trigger = _RX_TRIGGERS[fifo >> 4 & 3] if fifo_mode else 1
        self._capacity = FIFO_SIZE if fifo_mode else 1
        self._rx_limit = _AFC_LIMIT if fifo_mode and flow_control else self._capacity
        self._tx_stands = not runs or (flow_control and not self._cts)
        self._rx_runs = runs and self._rx_mode != 0 and not control & LOOPBACK
        self._rx_timeout = bool(fifo_mode and control & TIMEOUT_ENABLE)
        if char_ns is not None:
            self._char_ns = char_ns
        self._tx_full_ns = self._capacity * self._char_ns
        self._tx_trigger_ns = self._tx_trigger * self._char_ns
        # The everyday case of a write to UTXH, in one test.
        self._tx_plain = self._tx_mode != 0 and not self._tx_stands and not control & LOOPBACK

    def reset(self) -> None:
        """The chip's reset. What the host has sent but the chip not received yet is kept."""
        self._settle(self.clock.now)
        super().reset()
        self._tx_timer.cancel()
        self._rx_timer.cancel()
        self._clear()
        self._drive()
        if self.divider.set(self.port, 0):
            self.divider.notify()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what ``save`` gave and drive the lines accordingly."""
        super().load(state)
        self.divider.set(self.port, self.UCON)
        # The clocks may be put back after this: the saved character time is the one that counts.
        self._derive(self._char_ns)
        self._drive()
        self._offer_room()

    def reader(self, register: Register) -> Reader:
        """As in the base; a read of a control register but UFCON also ends a row of polls."""
        inner = super().reader(register)
        if register.volatile or register is UartRegisters.UFCON:
            return inner

        def read() -> int:
            self._polled = 0
            return inner()

        return read

    # -- the host's side -----------------------------------------------------------------------

    def set_cts(self, active: bool) -> None:
        """Drive the nCTS input: with AFC, the transmitter stands still while it is not active."""
        if active != self._cts:
            now = self.clock.now
            self._settle(now)
            self._cts = active
            self._cts_changed = True
            self._reconfigure(now, self._left(now))

    def set_bootloader_defaults(self) -> None:
        """What U-Boot and vivi leave: 115200 baud 8N1 from a PCLK of 50.625 MHz, FIFOs on."""
        settings = (
            (Uart.ULCON, 0x03),
            (Uart.UCON, 0x245),
            (Uart.UFCON, 0x01),
            (Uart.UMCON, 0),
            (Uart.UBRDIV, 26),
        )
        for register, value in settings:
            self.writer(register)(value)

    # -- time ----------------------------------------------------------------------------------

    def _left(self, now: int) -> int:
        """Nanoseconds of sending that are left: the rest of the shifter's character, then the FIFO's."""
        return self._tx_held or max(0, self._tx_idle_at - now)

    def _clocks_changed(self) -> None:
        now = self.clock.now
        self._settle(now)
        self._reconfigure(now, self._left(now))

    def _reconfigure(self, now: int, left: int) -> None:
        """The setting has changed, with ``left`` ns of sending to go at the old character time."""
        old = self._char_ns
        self._derive()
        if left and self._char_ns != old:
            behind = -(-left // old) - 1
            shifting = left - behind * old
            left = behind * self._char_ns + max(1, shifting * self._char_ns // old)
        self._tx_held, self._tx_idle_at = 0, 0
        if left and self._tx_stands:
            self._tx_held, self._tx_idle_at = left, NEVER
        elif left:
            self._tx_idle_at = now + left
        if not self._rx_runs:
            self._rx_next, self._rx_stalled = NEVER, False
        self._start_receiver(now)
        self._tx_timer.cancel()
        self._update_tx(now)
        self._update_rx(now)

    # -- interrupt requests --------------------------------------------------------------------

    def _drive(self) -> None:
        """Put the requests on the lines that the modes choose."""
        control = self.UCON
        self.txd.set(self._tx_mode == 1 and control & TX_LEVEL != 0 and self._tx_request)
        self.rxd.set(self._rx_mode == 1 and control & RX_LEVEL != 0 and self._rx_request)
        self.dma.set(self.transmit_request or self.receive_request)

    @property
    def transmit_request(self) -> bool:
        """In DMA mode: the transmit FIFO wants data."""
        return self._tx_mode > 1 and self._tx_request

    @property
    def receive_request(self) -> bool:
        """In DMA mode: the receive FIFO has as much as its trigger."""
        return self._rx_mode > 1 and self._rx_request

    def _tx_due(self) -> None:
        self._update_tx(self.clock.now)

    def _update_tx(self, now: int) -> None:
        """The transmit request: the FIFO holds no more than its trigger (UM 11-5)."""
        left = self._left(now)
        above = left > self._tx_trigger_ns + self._char_ns
        request = self._tx_mode != 0 and not above
        # all of it in front of _drive, from within which DMA may fill the FIFO
        was_above, self._tx_above = self._tx_above, above
        if request != self._tx_request:
            self._tx_request = request
            self._drive()
        if was_above and request and self._tx_mode == 1 and not self.UCON & TX_LEVEL:
            self.txd.pulse()
        if above and self._tx_mode and not self._tx_stands:
            deadline = self._tx_idle_at - self._tx_trigger_ns - self._char_ns
            if deadline != self._tx_timer.deadline:
                self._tx_timer.start_at(deadline)

    # -- control registers ---------------------------------------------------------------------

    @UartRegisters.ULCON.write
    def _write_line_control(self, value: int) -> None:
        self._write_setting("ULCON", value & 0x7F)

    @UartRegisters.UMCON.write
    def _write_modem_control(self, value: int) -> None:
        self._write_setting("UMCON", value & 0x11)

    @UartRegisters.UBRDIV.write
    def _write_divisor(self, value: int) -> None:
        self._write_setting("UBRDIV", value)

    def _write_setting(self, name: str, value: int) -> None:
        self._polled = 0
        now = self.clock.now
        self._settle(now)
        self.__dict__[name] = value
        self._reconfigure(now, self._left(now))

    @UartRegisters.UCON.write
    def _write_control(self, value: int) -> None:
        starts_break = value & SBREAK and not self._read_control() & SBREAK
        divider_changed = self.divider.set(self.port, value)
        self._write_setting("UCON", value)
        if divider_changed:
            self.divider.notify()
        if starts_break:
            self._send_break()

    @UartRegisters.UCON.read
    def _read_control(self) -> int:
        # UM 11-12: the break bit is cleared when the break has been sent.
        value = self.UCON
        if value & SBREAK and self.clock.now >= self._break_end:
            value &= ~SBREAK
        return value

    def _send_break(self) -> None:
        """One frame of break, behind the characters that are being sent."""
        now = self.clock.now
        end = now + self._left(now) + self._char_ns
        self._break_end = end
        if self._tx_stands:
            self._tx_held += self._char_ns
            self._tx_idle_at = NEVER
        else:
            self._tx_idle_at = end
        if self.UCON & LOOPBACK:
            self._loop_back(0, BREAK, end)
        else:
            self.on_break()
        self._update_tx(now)

    @UartRegisters.UFCON.write
    def _write_fifo_control(self, value: int) -> None:
        self._polled = 0
        now = self.clock.now
        self._settle(now)
        left = self._left(now)
        if value & 4 and left:
            # The character in the shifter is still sent. The host has seen the others: it is ahead.
            left = (left - 1) % self._char_ns + 1
            self._echo = [entry for entry in self._echo if entry[0] <= now + left]
        if value & 2:
            self._fifo.clear()
            self._overrun = 0
        self.UFCON = value & 0xF1
        self._reconfigure(now, left)

    # -- data ----------------------------------------------------------------------------------

    @UartRegisters.UTXH.write
    def _write_data(self, value: int) -> None:
        self._polled = 0
        if not self._tx_plain:
            self._write_data_specially(value)
            return
        now = self.clock.now
        left = self._tx_idle_at - now
        if left <= 0:
            self._tx_idle_at = now + self._char_ns
            if not self._tx_trigger and not self.UCON & TX_LEVEL and self._tx_mode == 1:
                self.txd.pulse()  # it went straight on into the shifter: the buffer is empty again
        elif left > self._tx_full_ns:
            self.guest_error(f"write of 0x{value:02x} to UTXH while the transmit buffer is full")
            return
        else:
            self._tx_idle_at += self._char_ns
            if left > self._tx_trigger_ns and not self._tx_above:
                self._update_tx(now)
        self.on_transmit(value & self._data_mask)

    def _write_data_specially(self, value: int) -> None:
        """A write to UTXH in loopback mode, with the transmitter standing still or disabled.

        What is written in loopback mode while the transmitter stands still is not looped back later.
        """
        if not self._tx_mode:
            self.guest_error(f"write of 0x{value:02x} to UTXH while UCON disables the transmitter")
            return
        now = self.clock.now
        self._settle(now)
        left = self._left(now)
        if left > self._tx_full_ns:
            self.guest_error(f"write of 0x{value:02x} to UTXH while the transmit buffer is full")
            return
        if self._tx_stands:
            self._tx_held = left + self._char_ns
            self._tx_idle_at = NEVER
        else:
            self._tx_idle_at = now + left + self._char_ns
        if not left and not self._tx_trigger and not self.UCON & TX_LEVEL and self._tx_mode == 1:
            self.txd.pulse()
        if not self.UCON & LOOPBACK:
            self.on_transmit(value & self._data_mask)
        elif not self._tx_stands:
            self._loop_back(value & self._data_mask, 0, self._tx_idle_at)
        self._update_tx(now)

    def _loop_back(self, character: int, errors: int, arrival: int) -> None:
        if self._rx_mode:
            self._echo.append((arrival, character | errors << 8))
            self._rx_wake = min(self._rx_wake, self._echo[0][0])
            self._update_rx(self.clock.now)

    # -- dumps ---------------------------------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """What the settings come to, and how full the FIFOs are."""
        line = self.ULCON
        parity = {4: "O", 5: "E", 6: "1", 7: "0"}.get(line >> 3 & 7, "N")
        frame = f"{5 + (line & 3)}{parity}{1 + (line >> 2 & 1)}"
        frequency = self._clock_frequency()
        yield Fact("baud rate", round(frequency / (16 * (self.UBRDIV + 1))), "baud")
        yield Fact("baud clock", frequency, "Hz")
        yield Fact("frame", frame + (", IrDA" if line & 0x40 else ""))
        status = self.undisturbed(lambda: self._fifo_status(self.clock.now))
        sending = FIFO_SIZE if status & 0x4000 else status >> 8 & 0x3F
        received = FIFO_SIZE if status & 0x40 else status & 0x3F
        fifo = "" if self.UFCON & 1 else " (FIFOs are off)"
        yield Fact("transmit FIFO", f"{sending} of {FIFO_SIZE}{fifo}")
        yield Fact("receive FIFO", f"{received} of {FIFO_SIZE}{fifo}")
        yield Fact("waiting outside", len(self._pending) // 2, "characters")
        yield Fact("nCTS", "active" if self._cts else "not active")

    # -- status --------------------------------------------------------------------------------

    @UartRegisters.UTRSTAT.peek
    def _peek_status(self) -> int:
        return self.undisturbed(lambda: self._status(self.clock.now))

    @UartRegisters.UTRSTAT.read
    def _read_status(self) -> int:
        if not self._tx_idle_at and self._rx_wake == NEVER:
            return 7 if self._fifo else 6
        now = self.clock.now
        if self._polled != 1:
            self._polled, self._polls = 1, 1
            return self._status(now)
        self._polls += 1
        if self._polls < POLLS_BEFORE_SKIP:
            return self._status(now)
        self._settle(now)
        left = self._left(now)
        change = NEVER
        if left and not self._tx_stands:
            change = now + (left - self._char_ns if left > self._char_ns else left)
        if not self._fifo and self._rx_wake < change:
            change = self._rx_wake
        return self._status(self._skip(now, change))

    def _status(self, now: int) -> int:
        if now >= self._rx_wake:
            self._settle(now)
        left = self._tx_held or self._tx_idle_at - now
        if left <= 0:
            self._tx_idle_at = 0
            value = 6
        else:
            value = 2 if left <= self._char_ns else 0
        return value | 1 if self._fifo else value

    @UartRegisters.UFSTAT.peek
    def _peek_fifo_status(self) -> int:
        return self.undisturbed(lambda: self._fifo_status(self.clock.now))

    @UartRegisters.UFSTAT.read
    def _read_fifo_status(self) -> int:
        if not self._tx_idle_at and self._rx_wake == NEVER and not self._fifo:
            return 0
        now = self.clock.now
        if self._polled != 2:
            self._polled, self._polls = 2, 1
            return self._fifo_status(now)
        self._polls += 1
        if self._polls < POLLS_BEFORE_SKIP or not self.UFCON & 1:
            return self._fifo_status(now)
        if now >= self._rx_wake:
            self._settle(now)
        left = self._left(now)
        change = NEVER
        if left > self._char_ns and not self._tx_stands:
            change = now + (left - 1) % self._char_ns + 1
        if self._rx_wake < change and len(self._fifo) < FIFO_SIZE:
            change = self._rx_wake
        return self._fifo_status(self._skip(now, change))

    def _fifo_status(self, now: int) -> int:
        if now >= self._rx_wake:
            self._settle(now)
        if not self.UFCON & 1:
            return 0
        left = self._tx_held or self._tx_idle_at - now
        sending = 0
        if left <= 0:
            self._tx_idle_at = 0
        else:
            sending = (left - 1) // self._char_ns
        received = len(self._fifo)
        # The count fields have six bits: a full FIFO shows as count 0 with the full bit.
        return (0x4000 if sending >= FIFO_SIZE else sending << 8) | (
            0x40 if received >= FIFO_SIZE else received
        )

    def _skip(self, now: int, change: int) -> int:
        """Let time pass up to ``change``, or to the next timer, whose interrupt may end the polling."""
        if change == NEVER:
            return now
        clock = self.clock
        deadline = clock.next_deadline()
        if deadline is not None and deadline < change:
            if self._tx_timer.entry is not None:
                self._update_tx(now)  # characters written since it was armed have moved its moment
                deadline = clock.next_deadline()
            if deadline is not None and now < deadline < change:
                change = deadline
        clock.skip(change - now)
        return change

    @UartRegisters.UMSTAT.peek
    def _peek_modem_status(self) -> int:
        return int(self._cts) | (0x10 if self._cts_changed else 0)

    @UartRegisters.UMSTAT.read
    def _read_modem_status(self) -> int:
        self._polled = 0
        value = self._peek_modem_status()
        self._cts_changed = False
        return value
