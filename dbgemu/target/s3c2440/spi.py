"""The two SPI channels (S3C2440A UM chapter 22), as masters of their buses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, reads, writes
from dbgemu.target.s3c2440.clocks import Clocks

CHANNELS = 2
STRIDE = 0x20
MODE_MASK, MODE_INTERRUPT = 0x60, 0x20
CLOCK_ENABLE, MASTER, GARBAGE = 0x10, 0x08, 0x01
READY, COLLISION = 0x01, 0x04


class SpiDevice(Protocol):
    """What is on an SPI bus (its chip select is a pin of its own)."""

    def exchange(self, byte: int) -> int:
        """The master sends ``byte`` and gets the returned one."""


def _control(channel: int) -> Register:
    return Register(
        STRIDE * channel,
        width=7,
        doc=f"Channel {channel}: control",
        fields=(
            Field("SMOD", 6, 5, "mode", {0: "polling", 1: "interrupt", 2: "DMA"}),
            Field("ENSCK", 4, doc="SCK enable"),
            Field("MSTR", 3, values={0: "slave", 1: "master"}),
            Field("CPOL", 2, doc="clock active", values={0: "high", 1: "low"}),
            Field("CPHA", 1, doc="transfer format", values={0: "A", 1: "B"}),
            Field("TAGD", 0, doc="a read of SPRDAT sends FF"),
        ),
    )


def _status(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x04,
        width=3,
        reset=READY,
        access="ro",
        doc=f"Channel {channel}: status",
        fields=(
            Field("DCOL", 2, doc="data was touched while shifting; cleared by reading"),
            Field("MULF", 1, doc="another master selected this one"),
            Field("REDY", 0, doc="ready to send and receive"),
        ),
    )


def _pins(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x08,
        width=3,
        doc=f"Channel {channel}: pin control",
        fields=(Field("ENMUL", 2, doc="detect other masters"), Field("KEEP", 0, doc="keep MOSI driven")),
    )


def _prescaler(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x0C,
        width=8,
        doc=f"Channel {channel}: SCK = PCLK / 2 / (SPPRE + 1)",
        fields=(Field("PRESCALER", 7, 0, "divider less 1"),),
    )


def _transmit(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x10,
        width=8,
        doc=f"Channel {channel}: data to send",
        fields=(Field("TXDATA", 7, 0, "byte"),),
    )


def _receive(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x14,
        width=8,
        reset=0xFF,
        access="ro",
        doc=f"Channel {channel}: data received",
        fields=(Field("RXDATA", 7, 0, "byte"),),
    )


class Spi(Device):
    """Both channels. ``interrupts`` are INT_SPI0 and INT_SPI1; devices come by :meth:`attach`."""

    title = "SPI"
    STATE = ("_timer0", "_timer1")

    SPCON0, SPSTA0, SPPIN0, SPPRE0 = _control(0), _status(0), _pins(0), _prescaler(0)
    SPTDAT0, SPRDAT0 = _transmit(0), _receive(0)
    SPCON1, SPSTA1, SPPIN1, SPPRE1 = _control(1), _status(1), _pins(1), _prescaler(1)
    SPTDAT1, SPRDAT1 = _transmit(1), _receive(1)

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        clocks: Clocks,
        interrupts: Sequence[Line],
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clocks = clocks
        self.interrupts = interrupts
        self.devices: list[SpiDevice | None] = [None] * CHANNELS
        self._timer0 = Timer(clock, lambda: self._exchanged(0))
        self._timer1 = Timer(clock, lambda: self._exchanged(1))
        self._timers = (self._timer0, self._timer1)

    def attach(self, channel: int, device: SpiDevice | None) -> None:
        """Put ``device`` on the bus of ``channel``; without one, FF comes back."""
        self.devices[channel] = device

    def facts(self) -> Iterator[Fact]:
        """Each channel's clock, and who is connected."""
        for channel in range(CHANNELS):
            on = self.__dict__[f"SPCON{channel}"] & CLOCK_ENABLE
            rate = self.clocks.pclk // 2 // (self.__dict__[f"SPPRE{channel}"] + 1)
            yield Fact(f"channel {channel} SCK", rate if on else 0, "Hz")
            device = self.devices[channel]
            yield Fact(f"channel {channel} device", "none" if device is None else type(device).__name__)

    def reset(self) -> None:
        """Power-on or system reset."""
        super().reset()
        for timer in self._timers:
            timer.cancel()

    @writes(SPTDAT0, SPTDAT1)
    def _write_data(self, register: Register, value: int) -> None:
        channel = register.offset // STRIDE
        if self._timers[channel].deadline is not None:
            self.__dict__[f"SPSTA{channel}"] |= COLLISION
            return
        self.__dict__[register.name] = value
        self._start(channel)

    def _start(self, channel: int) -> None:
        stored = self.__dict__
        # A slave shifts when its master says so; there is none.
        if stored[f"SPCON{channel}"] & (CLOCK_ENABLE | MASTER) == CLOCK_ENABLE | MASTER:
            stored[f"SPSTA{channel}"] &= ~READY
            cycles = 8 * 2 * (stored[f"SPPRE{channel}"] + 1)
            self._timers[channel].start_in(cycles_to_ns(cycles, self.clocks.pclk))

    def _exchanged(self, channel: int) -> None:
        stored = self.__dict__
        device = self.devices[channel]
        answer = device.exchange(stored[f"SPTDAT{channel}"]) & 0xFF if device is not None else 0xFF
        stored[f"SPRDAT{channel}"] = answer
        stored[f"SPSTA{channel}"] |= READY
        if stored[f"SPCON{channel}"] & MODE_MASK == MODE_INTERRUPT:
            self.interrupts[channel].pulse()

    @reads(SPSTA0, SPSTA1)
    def _read_status(self, register: Register) -> int:
        value: int = self.__dict__[register.name]
        self.__dict__[register.name] = value & ~COLLISION
        return value

    @SPSTA0.peek
    def _peek_status0(self) -> int:
        return self.SPSTA0

    @SPSTA1.peek
    def _peek_status1(self) -> int:
        return self.SPSTA1

    @reads(SPRDAT0, SPRDAT1)
    def _read_data(self, register: Register) -> int:
        channel = register.offset // STRIDE
        value: int = self.__dict__[register.name]
        if self.__dict__[f"SPCON{channel}"] & GARBAGE and self._timers[channel].deadline is None:
            self.__dict__[f"SPTDAT{channel}"] = 0xFF
            self._start(channel)
        return value

    @SPRDAT0.peek
    def _peek_data0(self) -> int:
        return self.SPRDAT0

    @SPRDAT1.peek
    def _peek_data1(self) -> int:
        return self.SPRDAT1
