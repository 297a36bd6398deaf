"""The USB device controller (S3C2440A UM chapter 13), with no host at the other end of the cable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, reads, writes

ENDPOINTS = 5
#: bytes: endpoint 0 has a small FIFO of its own
FIFO_SIZES = (16, 128, 128, 128, 128)

EP0_OUT_READY, EP0_IN_READY, EP0_SENT_STALL, EP0_DATA_END = 0x01, 0x02, 0x04, 0x08
EP0_SETUP_END, EP0_SEND_STALL, EP0_SERVICED_OUT, EP0_SERVICED_END = 0x10, 0x20, 0x40, 0x80
IN_READY, IN_UNDERRUN, IN_FLUSH, IN_SEND_STALL, IN_SENT_STALL = 0x01, 0x04, 0x08, 0x10, 0x20
OUT_READY, OUT_OVERRUN, OUT_FLUSH, OUT_SEND_STALL, OUT_SENT_STALL = 0x01, 0x04, 0x10, 0x20, 0x40

_ENDPOINTS = tuple(Field(f"EP{n}", n, doc=f"endpoint {n}") for n in reversed(range(ENDPOINTS)))
_EVENTS = (
    Field("RESET", 2, doc="the bus was reset"),
    Field("RESUME", 1, doc="the bus is resumed"),
    Field("SUSPEND", 0, doc="the bus is suspended"),
)

# Bits that a plain write changes, and bits that a write of 0 clears, in each banked register.
_PLAIN = {
    "MAXP_REG": 0xFF,
    "IN_CSR1_REG": 0x10,
    "IN_CSR2_REG": 0xF0,
    "OUT_CSR1_REG": 0x20,
    "OUT_CSR2_REG": 0xE0,
}
_CLEARED_BY_0 = {"IN_CSR1_REG": 0x24, "OUT_CSR1_REG": 0x45}
#: reset values of the banked registers, for each endpoint
_BANK_RESET = {
    "MAXP_REG": 0x01,
    "IN_CSR1_REG": 0x00,
    "IN_CSR2_REG": 0x20,
    "OUT_CSR1_REG": 0x00,
    "OUT_CSR2_REG": 0x00,
}


_COUNT = (Field("COUNT", 7, 0, "bytes, or eight bits of their number"),)
_FIFO = (Field("DATA", 7, 0, "next byte"),)


def _dma_registers(base: int, endpoint: int) -> tuple[Register, ...]:
    """The six DMA registers of an endpoint: control, unit, FIFO count and total count."""
    return (
        Register(
            base,
            width=8,
            doc=f"Endpoint {endpoint} DMA control",
            fields=(
                Field("IN_RUN_OB", 7, doc="in run observation"),
                Field("STATE", 6, 4, "state"),
                Field("DEMAND", 3, doc="demand mode"),
                Field("OUT_RUN", 2, doc="out DMA run"),
                Field("IN_RUN", 1, doc="in DMA run"),
                Field("DMA_MODE", 0, doc="DMA mode"),
            ),
        ),
        Register(base + 0x04, width=8, doc=f"Endpoint {endpoint} DMA unit count", fields=_COUNT),
        Register(base + 0x08, width=8, doc=f"Endpoint {endpoint} DMA FIFO count", fields=_COUNT),
        Register(base + 0x0C, width=8, doc=f"Endpoint {endpoint} DMA total count, low", fields=_COUNT),
        Register(base + 0x10, width=8, doc=f"Endpoint {endpoint} DMA total count, middle", fields=_COUNT),
        Register(
            base + 0x14,
            width=8,
            writable=0x0F,
            doc=f"Endpoint {endpoint} DMA total count, high",
            fields=_COUNT,
        ),
    )


class UsbDevice(Device):
    """The controller. INDEX_REG chooses the endpoint whose bank is at 0x180 to 0x19C."""

    title = "USB device controller"
    STATE = ("banks", "ep0_csr", "in_fifos")

    FUNC_ADDR_REG = Register(
        0x140,
        width=8,
        doc="Function address",
        fields=(
            Field("ADDR_UPDATE", 7, doc="a new address is in"),
            Field("ADDR", 6, 0, "address that the host gave"),
        ),
    )
    PWR_REG = Register(
        0x144,
        width=8,
        writable=0x85,
        doc="Power management",
        fields=(
            Field("ISO_UPDATE", 7, doc="isochronous packets wait for the next frame"),
            Field("USB_RESET", 3, doc="the host signals a reset"),
            Field("MCU_RESUME", 2, doc="signal a resume"),
            Field("SUSPEND_MODE", 1, doc="suspended"),
            Field("SUSPEND_EN", 0, doc="suspend enable"),
        ),
    )
    EP_INT_REG = Register(0x148, width=8, doc="Endpoint interrupts; write 1 to clear", fields=_ENDPOINTS)
    USB_INT_REG = Register(0x158, width=8, doc="Bus interrupts; write 1 to clear", fields=_EVENTS)
    EP_INT_EN_REG = Register(0x15C, width=8, reset=0xFF, doc="Endpoint interrupts enable", fields=_ENDPOINTS)
    USB_INT_EN_REG = Register(
        0x16C,
        width=8,
        reset=0x04,
        doc="Bus interrupts enable (resume follows suspend)",
        fields=(Field("RESET", 2, doc="the bus was reset"), Field("SUSPEND", 0, doc="the bus is suspended")),
    )
    FRAME_NUM1_REG = Register(
        0x170, width=8, access="ro", doc="Frame number, low", fields=(Field("FRAME", 7, 0, "bits 7 to 0"),)
    )
    FRAME_NUM2_REG = Register(
        0x174, width=8, access="ro", doc="Frame number, high", fields=(Field("FRAME", 7, 0, "bits 15 to 8"),)
    )
    INDEX_REG = Register(0x178, width=8, doc="Bank selection", fields=(Field("INDEX", 7, 0, "endpoint"),))

    MAXP_REG = Register(
        0x180,
        width=8,
        reset=0x01,
        volatile=True,
        doc="Largest packet (banked)",
        fields=(Field("MAXP", 3, 0, "in 8 bytes"),),
    )
    IN_CSR1_REG = Register(
        0x184,
        width=8,
        volatile=True,
        doc="IN control and status 1 (banked), EP0_CSR for endpoint 0",
        fields=(
            Field("CLR_DATA_TOGGLE", 6, doc="write 1: next is DATA0"),
            Field("SENT_STALL", 5, doc="write 0 to clear"),
            Field("SEND_STALL", 4, doc="answer with STALL"),
            Field("FIFO_FLUSH", 3, doc="write 1"),
            Field("UNDER_RUN", 2, doc="write 0 to clear"),
            Field("IN_PKT_RDY", 0, doc="a packet is there; write 1 to set"),
        ),
    )
    IN_CSR2_REG = Register(
        0x188,
        width=8,
        reset=0x20,
        volatile=True,
        doc="IN control and status 2 (banked)",
        fields=(
            Field("AUTO_SET", 7, doc="full packets are ready by themselves"),
            Field("ISO", 6, doc="isochronous"),
            Field("MODE_IN", 5, values={0: "OUT", 1: "IN"}),
            Field("IN_DMA_INT_EN", 4, doc="1 is off"),
        ),
    )
    OUT_CSR1_REG = Register(
        0x190,
        width=8,
        volatile=True,
        doc="OUT control and status 1 (banked)",
        fields=(
            Field("CLR_DATA_TOGGLE", 7, doc="write 1: next is DATA0"),
            Field("SENT_STALL", 6, doc="write 0 to clear"),
            Field("SEND_STALL", 5, doc="answer with STALL"),
            Field("FIFO_FLUSH", 4, doc="write 1"),
            Field("DATA_ERROR", 3, doc="isochronous packet with an error"),
            Field("OVER_RUN", 2, doc="write 0 to clear"),
            Field("OUT_PKT_RDY", 0, doc="a packet came; write 0 to clear"),
        ),
    )
    OUT_CSR2_REG = Register(
        0x194,
        width=8,
        volatile=True,
        doc="OUT control and status 2 (banked)",
        fields=(
            Field("AUTO_CLR", 7, doc="reading the packet clears OUT_PKT_RDY"),
            Field("ISO", 6, doc="isochronous"),
            Field("OUT_DMA_INT_MASK", 5, doc="1 is off"),
        ),
    )
    OUT_FIFO_CNT1_REG = Register(
        0x198, width=8, access="ro", doc="Bytes of the packet that came, low", fields=_COUNT
    )
    OUT_FIFO_CNT2_REG = Register(
        0x19C, width=8, access="ro", doc="Bytes of the packet that came, high", fields=_COUNT
    )

    EP0_FIFO_REG = Register(0x1C0, width=8, volatile=True, doc="Endpoint 0 FIFO", fields=_FIFO)
    EP1_FIFO_REG = Register(0x1C4, width=8, volatile=True, doc="Endpoint 1 FIFO", fields=_FIFO)
    EP2_FIFO_REG = Register(0x1C8, width=8, volatile=True, doc="Endpoint 2 FIFO", fields=_FIFO)
    EP3_FIFO_REG = Register(0x1CC, width=8, volatile=True, doc="Endpoint 3 FIFO", fields=_FIFO)
    EP4_FIFO_REG = Register(0x1D0, width=8, volatile=True, doc="Endpoint 4 FIFO", fields=_FIFO)

    (EP1_DMA_CON, EP1_DMA_UNIT, EP1_DMA_FIFO, EP1_DMA_TTC_L, EP1_DMA_TTC_M, EP1_DMA_TTC_H) = _dma_registers(
        0x200, 1
    )
    (EP2_DMA_CON, EP2_DMA_UNIT, EP2_DMA_FIFO, EP2_DMA_TTC_L, EP2_DMA_TTC_M, EP2_DMA_TTC_H) = _dma_registers(
        0x218, 2
    )
    (EP3_DMA_CON, EP3_DMA_UNIT, EP3_DMA_FIFO, EP3_DMA_TTC_L, EP3_DMA_TTC_M, EP3_DMA_TTC_H) = _dma_registers(
        0x240, 3
    )
    (EP4_DMA_CON, EP4_DMA_UNIT, EP4_DMA_FIFO, EP4_DMA_TTC_L, EP4_DMA_TTC_M, EP4_DMA_TTC_H) = _dma_registers(
        0x258, 4
    )

    def __init__(self, name: str, *, interrupt: Line, log: GuestLog | None = None) -> None:
        super().__init__(name, log)
        self.interrupt = interrupt
        self._empty()

    def _empty(self) -> None:
        self.banks = {name: [value] * ENDPOINTS for name, value in _BANK_RESET.items()}
        self.ep0_csr = 0
        # what the guest has put into each endpoint for a host to fetch
        self.in_fifos = [bytearray() for _ in range(ENDPOINTS)]

    def reset(self) -> None:
        """Power-on or system reset."""
        super().reset()
        self._empty()
        self._update()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, the interrupt line included."""
        super().load(state)
        self._update()

    @writes(EP_INT_REG, USB_INT_REG)
    def _clear_interrupts(self, register: Register, value: int) -> None:
        self.__dict__[register.name] &= ~value
        self._update()

    @writes(EP_INT_EN_REG, USB_INT_EN_REG)
    def _enable_interrupts(self, register: Register, value: int) -> None:
        self.__dict__[register.name] = value
        self._update()

    def _update(self) -> None:
        # A resume interrupt goes with the enable of the suspend one: USB_INT_EN has no bit for it.
        events = self.USB_INT_EN_REG & 5 | (self.USB_INT_EN_REG & 1) << 1
        self.interrupt.set(bool(self.EP_INT_REG & self.EP_INT_EN_REG or self.USB_INT_REG & events))

    def facts(self) -> Iterator[Fact]:
        """Every endpoint's bank, whichever INDEX_REG selects."""
        yield Fact("endpoint 0", f"EP0_CSR=0x{self.ep0_csr:02x}, {len(self.in_fifos[0])} bytes to send")
        for endpoint in range(1, ENDPOINTS):
            bank = " ".join(f"{name}=0x{values[endpoint]:02x}" for name, values in self.banks.items())
            yield Fact(f"endpoint {endpoint}", f"{bank}, {len(self.in_fifos[endpoint])} bytes to send")

    # -- the bank that INDEX_REG selects -------------------------------------------------------

    @reads(MAXP_REG, IN_CSR1_REG, IN_CSR2_REG, OUT_CSR1_REG, OUT_CSR2_REG)
    def _read_bank(self, register: Register) -> int:
        endpoint = self.INDEX_REG
        if endpoint >= ENDPOINTS:
            return 0
        if endpoint == 0 and register.offset == 0x184:
            return self.ep0_csr
        return self.banks[register.name][endpoint]

    @writes(MAXP_REG, IN_CSR1_REG, IN_CSR2_REG, OUT_CSR1_REG, OUT_CSR2_REG)
    def _write_bank(self, register: Register, value: int) -> None:
        endpoint, name = self.INDEX_REG, register.name
        if endpoint >= ENDPOINTS:
            self.guest_error(f"write of 0x{value:x} to {name} with INDEX_REG {endpoint}: no such endpoint")
            return
        if endpoint == 0 and name == "IN_CSR1_REG":
            self._write_ep0(value)
            return
        bank, plain = self.banks[name], _PLAIN[name]
        state = bank[endpoint] & ~plain | value & plain
        state &= value | ~_CLEARED_BY_0.get(name, 0)
        if name == "IN_CSR1_REG":
            state |= value & IN_READY
            if value & IN_FLUSH:
                state &= ~IN_READY
                self.in_fifos[endpoint].clear()
        elif name == "OUT_CSR1_REG" and value & OUT_FLUSH:
            state &= ~OUT_READY
        bank[endpoint] = state & 0xFF

    def _write_ep0(self, value: int) -> None:
        """EP0_CSR has bits to set, bits that acknowledge others, and SENT_STALL, which a 0 clears."""
        state = self.ep0_csr & ~EP0_SEND_STALL | value & (EP0_IN_READY | EP0_DATA_END | EP0_SEND_STALL)
        if value & EP0_SERVICED_OUT:
            state &= ~EP0_OUT_READY
        if value & EP0_SERVICED_END:
            state &= ~EP0_SETUP_END
        if not value & EP0_SENT_STALL:
            state &= ~EP0_SENT_STALL
        self.ep0_csr = state

    # -- FIFOs --------------------------------------------------------------------------------

    @reads(EP0_FIFO_REG, EP1_FIFO_REG, EP2_FIFO_REG, EP3_FIFO_REG, EP4_FIFO_REG)
    def _read_fifo(self, register: Register) -> int:
        # Only a host could have put something there.
        return 0

    @writes(EP0_FIFO_REG, EP1_FIFO_REG, EP2_FIFO_REG, EP3_FIFO_REG, EP4_FIFO_REG)
    def _write_fifo(self, register: Register, value: int) -> None:
        endpoint = (register.offset - 0x1C0) >> 2
        if len(self.in_fifos[endpoint]) < FIFO_SIZES[endpoint]:
            self.in_fifos[endpoint].append(value)
