"""The IIS bus interface (S3C2440A UM chapter 21): registers and clocks, no sound yet."""

from __future__ import annotations

from collections.abc import Iterator

from dbgemu.target.clock import NS_PER_SECOND, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.registers import Field, Register
from dbgemu.target.s3c2440.clocks import Clocks

ENABLE, PRESCALER_ENABLE, RX_READY, TX_READY, CHANNEL = 0x01, 0x02, 0x40, 0x80, 0x100
SLAVE, CLOCK_384 = 0x100, 0x04


class I2s(Device):
    """The interface. What is written to the FIFO is played at once; what is read is silence."""

    title = "IIS bus interface"

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
        self, name: str, *, clock: VirtualClock, clocks: Clocks, log: GuestLog | None = None
    ) -> None:
        super().__init__(name, log)
        self.clock = clock
        self.clocks = clocks

    def sample_rate(self) -> int:
        """Samples a second (fs), in Hz, as the prescaler and IISMOD make it."""
        factor = 384 if self.IISMOD & CLOCK_384 else 256
        divider = ((self.IISPSR >> 5) + 1) if self.IISCON & PRESCALER_ENABLE else 1
        return max(1, self.clocks.pclk // (divider * factor))

    def facts(self) -> Iterator[Fact]:
        """Whether it is on, and its rate."""
        yield Fact("on", bool(self.IISCON & ENABLE))
        yield Fact("sample rate", self.sample_rate(), "Hz")

    @IISCON.read
    def _read_control(self) -> int:
        value = self.IISCON & 0x3F
        if not value & ENABLE:
            return value | CHANNEL
        # The left channel is in the first half of each sample's period.
        half = self.clock.now * 2 * self.sample_rate() // NS_PER_SECOND
        return value | RX_READY | (CHANNEL if half & 1 else 0)

    @IISCON.write
    def _write_control(self, value: int) -> None:
        self.IISCON = value & 0x3F

    @IISFIFO.read
    def _read_sample(self) -> int:
        return 0

    @IISFIFO.write
    def _write_sample(self, value: int) -> None:
        pass
