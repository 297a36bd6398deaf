"""The IIS bus interface (S3C2440A UM chapter 21)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from dbgemu.target.clock import NS_PER_SECOND, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.registers import Field, Register
from dbgemu.target.s3c2440.clock_power import MINI2440_CRYSTAL
from dbgemu.target.s3c2440.clocks import Clocks
from dbgemu.target.s3c2440.sample_fifo import PlayFifo, RecordFifo, SampleClock

ENABLE, PRESCALER_ENABLE, RX_IDLE, TX_IDLE, RX_DMA, TX_DMA = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
RX_READY, TX_READY, CHANNEL = 0x40, 0x80, 0x100
MPLL_IN, SLAVE, TRANSMIT, RECEIVE, WIDE, CLOCK_384 = 0x200, 0x100, 0x80, 0x40, 0x08, 0x04
FIFO_TX_DMA, FIFO_RX_DMA, FIFO_TX, FIFO_RX = 0x8000, 0x4000, 0x2000, 0x1000
#: samples in each FIFO: 64 bytes, 16 bits wide
DEPTH = 32
CHANNELS = 2


class Codec(Protocol):
    """What is at the other end of the link. Samples have 16 bits, little-endian, left channel first."""

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        """Samples that went out on the link, at ``rate`` Hz."""

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        """Samples that came in on the link."""

    def stop(self) -> None:
        """No more samples go out."""


class I2s(Device):
    """The interface. What goes out is handed to :attr:`codec`, what comes in is asked of it."""

    title = "IIS bus interface"
    STATE = ("external_rate", "_played")

    IISCON = Register(
        0x00,
        width=9,
        reset=0x100,
        writable=0x3F,
        doc="Control",
        fields=(
            Field("LRINDEX", 8, doc="channel", values={0: "left", 1: "right"}),
            Field("TXFIFORDY", 7, doc="transmit FIFO is not empty"),
            Field("RXFIFORDY", 6, doc="receive FIFO is not full"),
            Field("TXDMAEN", 5, doc="transmit DMA requests"),
            Field("RXDMAEN", 4, doc="receive DMA requests"),
            Field("TXIDLE", 3, doc="transmit channel clock stops when idle"),
            Field("RXIDLE", 2, doc="receive channel clock stops when idle"),
            Field("PSCEN", 1, doc="prescaler"),
            Field("IISEN", 0, doc="interface"),
        ),
    )
    IISMOD = Register(
        0x04,
        width=10,
        doc="Mode",
        fields=(
            Field("MCLKSEL", 9, doc="master clock", values={0: "PCLK", 1: "MPLLin"}),
            Field("SLAVE", 8, values={0: "master", 1: "slave"}),
            Field("MODE", 7, 6, values={0: "none", 1: "receive", 2: "transmit", 3: "both"}),
            Field("LRLEVEL", 5, doc="left channel is", values={0: "low", 1: "high"}),
            Field("FORMAT", 4, values={0: "IIS", 1: "MSB justified"}),
            Field("BITS", 3, doc="bits of a sample", values={0: "8", 1: "16"}),
            Field("CODECLK", 2, doc="master clock", values={0: "256 fs", 1: "384 fs"}),
            Field("BITCLK", 1, 0, "serial clock", {0: "16 fs", 1: "32 fs", 2: "48 fs"}),
        ),
    )
    IISPSR = Register(
        0x08,
        width=10,
        doc="Prescaler",
        fields=(Field("A", 9, 5, "internal divider less 1"), Field("B", 4, 0, "external divider less 1")),
    )
    IISFCON = Register(
        0x0C,
        width=16,
        writable=0xF000,
        doc="FIFO control",
        fields=(
            Field("TXDMA", 15, doc="transmit by DMA"),
            Field("RXDMA", 14, doc="receive by DMA"),
            Field("TXENABLE", 13, doc="transmit FIFO"),
            Field("RXENABLE", 12, doc="receive FIFO"),
            Field("TXCOUNT", 11, 6, "samples to send"),
            Field("RXCOUNT", 5, 0, "samples received"),
        ),
    )
    IISFIFO = Register(
        0x10, width=16, volatile=True, doc="Samples", fields=(Field("FENTRY", 15, 0, "one sample"),)
    )

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        clocks: Clocks,
        codec: Codec | None = None,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clock = clock
        self.clocks = clocks
        self.codec = codec
        #: samples a second that a master outside clocks, in Hz, when this one is the slave; 0: no clock
        self.external_rate = 0
        self._transmit = PlayFifo("iis.out", DEPTH, 1)
        self._receive = RecordFifo("iis.in", DEPTH, 1)
        #: DMA sources I2SSDO and I2SSDI
        self.dma_out, self.dma_in = self._transmit.port, self._receive.port
        self._link = SampleClock(clock, self._frames_passed)
        for fifo in (self._transmit, self._receive):
            fifo.port.catch_up = fifo.on_service = self._link.catch_up
        self._transmit.on_left = lambda: self._wake_at_end(self._transmit.left)
        self._receive.on_left = lambda: self._wake_at_end(self._receive.left)
        #: samples that have gone out, but not to the codec yet
        self._played = b""
        clocks.on_change.append(self._configure)

    # -- clocks ------------------------------------------------------------------------------------

    def _rate(self) -> tuple[int, int]:
        """Sample rate in Hz as a fraction: what the prescaler and IISMOD make of the master clock."""
        if self.IISMOD & SLAVE:
            return self.external_rate, 1
        factor = 384 if self.IISMOD & CLOCK_384 else 256
        divider = (self.IISPSR >> 5) + 1 if self.IISCON & PRESCALER_ENABLE else 1
        # UM 21, IISMOD: MPLLin is the crystal's clock
        source = MINI2440_CRYSTAL if self.IISMOD & MPLL_IN else self.clocks.pclk
        return source, divider * factor

    def sample_rate(self) -> int:
        """Samples a second (fs), in Hz; 0 for a slave that gets no clock."""
        frequency, divider = self._rate()
        return frequency // divider

    def _transmits(self) -> bool:
        return (
            self.IISCON & (ENABLE | TX_IDLE) == ENABLE
            and bool(self.IISMOD & TRANSMIT)
            and bool(self.IISFCON & FIFO_TX)
        )

    def _receives(self) -> bool:
        return (
            self.IISCON & (ENABLE | RX_IDLE) == ENABLE
            and bool(self.IISMOD & RECEIVE)
            and bool(self.IISFCON & FIFO_RX)
        )

    def _configure(self) -> None:
        """The registers have changed: what moves, how fast, and who is asked for data."""
        transmits, receives = self._transmits(), self._receives()
        width = 2 if self.IISMOD & WIDE else 1
        for fifo, enable, asks in (
            (self._transmit, FIFO_TX, self.IISCON & TX_DMA and self.IISFCON & FIFO_TX_DMA),
            (self._receive, FIFO_RX, self.IISCON & RX_DMA and self.IISFCON & FIFO_RX_DMA),
        ):
            fifo.set_width(width)
            fifo.dma = bool(asks and self.IISFCON & enable)
            if not self.IISFCON & enable:
                fifo.data.clear()
        if not transmits:
            self._hand_over()
            if self.codec is not None:
                self.codec.stop()
        frequency, divider = self._rate() if transmits or receives else (0, 1)
        if (frequency, divider) != (self._link.frequency, self._link.divider):
            self._hand_over()  # what has been sent was sent at the old rate
        self._link.run(frequency, divider)
        self._transmit.request()
        self._receive.request()

    # -- samples -----------------------------------------------------------------------------------

    def _frames_passed(self, count: int) -> None:
        if self._transmits():
            samples = self._transmit.take(count * CHANNELS)
            self._played += samples if self._transmit.width == 2 else _widen(samples)
            if len(self._played) >= self._link.batch:
                self._hand_over()
        if self._receives():
            codec = self.codec
            samples = bytes(2 * CHANNELS * count)
            if codec is not None:
                samples = codec.record(self._link.rate, CHANNELS, count)
            self._receive.put(samples if self._receive.width == 2 else samples[1::2])

    def _hand_over(self) -> None:
        if self._played and self.codec is not None:
            self.codec.play(self._link.rate, CHANNELS, self._played)
        self._played = b""

    def _wake_at_end(self, left: int) -> None:
        """A DMA transfer ends when ``left`` more bytes have found room, or have come in."""
        if left:
            self._link.wake_after(-(-left // (CHANNELS * self._transmit.width)))

    # -- registers ---------------------------------------------------------------------------------

    @IISCON.peek
    def _peek_control(self) -> int:
        value = self.IISCON & 0x3F
        if not value & ENABLE:
            return value | CHANNEL
        if self._transmit.data:
            value |= TX_READY
        if self._receive.count < DEPTH:
            value |= RX_READY
        # The left channel is in the first half of each sample's period.
        frequency, divider = self._rate()
        half = self.clock.now * 2 * frequency // (divider * NS_PER_SECOND)
        return value | (CHANNEL if half & 1 else 0)

    @IISCON.read
    def _read_control(self) -> int:
        self._link.catch_up()
        return self._peek_control()

    @IISCON.write
    def _write_control(self, value: int) -> None:
        self._link.catch_up()
        self.IISCON = value & 0x3F
        self._configure()

    @IISMOD.write
    def _write_mode(self, value: int) -> None:
        self._link.catch_up()
        self.IISMOD = value
        self._configure()

    @IISPSR.write
    def _write_prescaler(self, value: int) -> None:
        self._link.catch_up()
        self.IISPSR = value
        self._configure()

    @IISFCON.peek
    def _peek_fifo_control(self) -> int:
        return self.IISFCON | self._transmit.count << 6 | self._receive.count

    @IISFCON.read
    def _read_fifo_control(self) -> int:
        self._link.catch_up()
        return self._peek_fifo_control()

    @IISFCON.write
    def _write_fifo_control(self, value: int) -> None:
        self._link.catch_up()
        self.IISFCON = value & 0xF000
        self._configure()

    @IISFIFO.peek
    def _peek_sample(self) -> int:
        return self._receive.peek()

    @IISFIFO.read
    def _read_sample(self) -> int:
        self._link.catch_up()
        return self._receive.take()

    @IISFIFO.write
    def _write_sample(self, value: int) -> None:
        self._link.catch_up()
        if self.IISFCON & FIFO_TX and not self._transmit.put(value):
            self.guest_error("a sample is written to the full transmit FIFO and lost")

    # -- the whole block ---------------------------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """Whether it is on, its rate, what moves, and what went wrong."""
        yield Fact("on", bool(self.IISCON & ENABLE))
        yield Fact("sample rate", self.sample_rate(), "Hz")
        moves = [name for name, on in (("out", self._transmits()), ("in", self._receives())) if on]
        yield Fact("samples move", " and ".join(moves) or "no")
        yield Fact("transmit FIFO", self._transmit.count, f"of {DEPTH} samples")
        yield Fact("receive FIFO", self._receive.count, f"of {DEPTH} samples")
        yield Fact("times that data came late", self._transmit.underruns)
        yield Fact("times that data was lost", self._receive.overruns)

    def reset(self) -> None:
        """Off, FIFOs empty."""
        super().reset()
        self._link.reset()
        self._transmit.reset()
        self._receive.reset()
        self._transmit.width = self._receive.width = 1
        self._played = b""
        if self.codec is not None:
            self.codec.stop()

    def save(self) -> dict[str, Any]:
        """The complete state as plain data."""
        return {
            **super().save(),
            "link": self._link.save(),
            "transmit": self._transmit.save(),
            "receive": self._receive.save(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave."""
        state = dict(state)
        self._link.load(state.pop("link"))
        self._transmit.load(state.pop("transmit"))
        self._receive.load(state.pop("receive"))
        super().load(state)
        if self.codec is not None and not self._transmits():
            self.codec.stop()


def _widen(samples: bytes) -> bytes:
    """Signed 8-bit samples as 16-bit ones."""
    wide = bytearray(2 * len(samples))
    wide[1::2] = samples
    return bytes(wide)
