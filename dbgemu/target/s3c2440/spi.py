"""The two SPI channels (S3C2440A UM chapter 22), as masters of their buses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, reads, writes
from dbgemu.target.s3c2440.clocks import Clocks
from dbgemu.target.s3c2440.dma_port import DmaPort
from dbgemu.target.spi_device import SelectLine, SpiDevice

CHANNELS = 2
STRIDE = 0x20
MODE_MASK, MODE_INTERRUPT, MODE_DMA = 0x60, 0x20, 0x40
CLOCK_ENABLE, MASTER, GARBAGE = 0x10, 0x08, 0x01
READY, COLLISION = 0x01, 0x04
#: bytes that DMA and a device exchange in one go, the last byte of a transfer excepted
BATCH = 64


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
    """Both channels. ``interrupts`` are INT_SPI0 and INT_SPI1; devices come by :meth:`attach`.

    A byte takes 8 periods of SCK. DMA hands over several at a time, and gets several back: they
    take as long as one after the other, and the last of a transfer goes alone, so that the interrupt at the
    end of the DMA transfer comes when one byte is still to be shifted, as in the chip.
    """

    title = "SPI"
    STATE = ("_timer0", "_timer1", "_sending", "_received")

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
        self._timer0 = Timer(clock, partial(self._exchanged, 0))
        self._timer1 = Timer(clock, partial(self._exchanged, 1))
        self._timers = (self._timer0, self._timer1)
        #: by channel: bytes that are being shifted out, and those that DMA has not fetched yet
        self._sending = [b"", b""]
        self._received = [b"", b""]
        #: by channel: the DMA sources SPI0 and SPI1
        self.dma = tuple(
            DmaPort(
                f"spi{channel}",
                read=partial(self._dma_read, channel),
                write=partial(self._dma_write, channel),
            )
            for channel in range(CHANNELS)
        )

    def attach(self, channel: int, device: SpiDevice | None, select: SelectLine | None = None) -> None:
        """Put ``device`` on the bus of ``channel``, selected by the line ``select``; None takes it away.

        The chip's nSS pins are for slaves: a master's driver moves the device's select line as a pin of
        its own, ``board.gpio.pin("GPG2")`` for Linux on the mini2440. Without a device, FF comes back.
        """
        self.devices[channel] = device
        if device is not None and select is not None:
            select.connect(partial(self._selected, channel, device))
            device.select(select.level)

    def _selected(self, channel: int, device: SpiDevice, level: int) -> None:
        if self.devices[channel] is device:
            device.select(level)

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
        self._sending, self._received = [b"", b""], [b"", b""]
        for port in self.dma:
            port.level = 0

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave; DMA's own state tells what it does about it."""
        super().load(state)
        for channel, port in enumerate(self.dma):
            port.level = self._wants(channel)

    # -- DMA ---------------------------------------------------------------------------------------

    def _wants(self, channel: int) -> int:
        """Whether DMA is to move something: in its mode, while nothing is shifted."""
        dma = self.__dict__[f"SPCON{channel}"] & (MODE_MASK | CLOCK_ENABLE) == MODE_DMA | CLOCK_ENABLE
        return int(dma and self._timers[channel].deadline is None)

    @writes(SPCON0, SPCON1)
    def _write_control(self, register: Register, value: int) -> None:
        channel = register.offset // STRIDE
        self.__dict__[register.name] = value
        self.dma[channel].request(self._wants(channel))

    def _dma_write(self, channel: int, unit: int, data: bytes) -> int:
        count = len(data) // unit
        if not count or self._timers[channel].deadline is not None:
            return 0
        count = min(BATCH, count - 1) or 1
        sent = data[: count * unit : unit]
        self.__dict__[f"SPTDAT{channel}"] = sent[-1]
        self._start(channel, sent)
        return count * unit

    def _dma_read(self, channel: int, unit: int, maximum: int) -> bytes:
        if maximum < unit or self._timers[channel].deadline is not None:
            return b""
        received = self._received[channel][: maximum // unit]
        self._received[channel] = b""
        if not received:
            received = bytes([self.__dict__[f"SPRDAT{channel}"]])
        if self.__dict__[f"SPCON{channel}"] & GARBAGE:
            count = min(BATCH, maximum // unit - len(received)) or 1
            self._start(channel, b"\xff" * count)
        else:
            self.dma[channel].request(0)
        return b"".join(byte.to_bytes(unit, "little") for byte in received)

    # -- transfers ---------------------------------------------------------------------------------

    @writes(SPTDAT0, SPTDAT1)
    def _write_data(self, register: Register, value: int) -> None:
        channel = register.offset // STRIDE
        if self._timers[channel].deadline is not None:
            self.__dict__[f"SPSTA{channel}"] |= COLLISION
            return
        self.__dict__[register.name] = value
        self._start(channel, bytes([value]))

    def _start(self, channel: int, sent: bytes) -> None:
        stored = self.__dict__
        # A slave shifts when its master says so; there is none.
        if stored[f"SPCON{channel}"] & (CLOCK_ENABLE | MASTER) == CLOCK_ENABLE | MASTER:
            stored[f"SPSTA{channel}"] &= ~READY
            self._sending[channel] = sent
            cycles = len(sent) * 8 * 2 * (stored[f"SPPRE{channel}"] + 1)
            self._timers[channel].start_in(cycles_to_ns(cycles, self.clocks.pclk))
        self.dma[channel].request(0)

    def _exchanged(self, channel: int) -> None:
        stored = self.__dict__
        device, sent = self.devices[channel], self._sending[channel]
        if device is None:
            answers = b"\xff" * len(sent)
        else:
            answers = bytes([device.transfer(byte) & 0xFF for byte in sent])
        self._sending[channel] = b""
        self._received[channel] = answers if len(answers) > 1 else b""
        stored[f"SPRDAT{channel}"] = answers[-1]
        stored[f"SPSTA{channel}"] |= READY
        if stored[f"SPCON{channel}"] & MODE_MASK == MODE_INTERRUPT:
            self.interrupts[channel].pulse()
        self.dma[channel].request(self._wants(channel))

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
            self._start(channel, b"\xff")
        return value

    @SPRDAT0.peek
    def _peek_data0(self) -> int:
        return self.SPRDAT0

    @SPRDAT1.peek
    def _peek_data1(self) -> int:
        return self.SPRDAT1
