"""The registers of the USB device controller (S3C2440A UM chapter 13)."""

from __future__ import annotations

from dbgemu.target.device import Device
from dbgemu.target.registers import Field, Register

ENDPOINTS = 5

_ENDPOINTS = tuple(Field(f"EP{n}", n, doc=f"endpoint {n}") for n in reversed(range(ENDPOINTS)))
_EVENTS = (
    Field("RESET", 2, doc="the bus was reset"),
    Field("RESUME", 1, doc="the bus is resumed"),
    Field("SUSPEND", 0, doc="the bus is suspended"),
)

_COUNT = (Field("COUNT", 7, 0, "bytes, or eight bits of their number"),)
_FIFO = (Field("DATA", 7, 0, "next byte"),)


def _dma_registers(base: int, endpoint: int) -> tuple[Register, ...]:
    """The six DMA registers of an endpoint: control, unit, FIFO count and total count."""
    return (
        Register(
            base,
            width=8,
            writable=0x8F,
            doc=f"Endpoint {endpoint} DMA control",
            fields=(
                Field("IGNORE_TTC", 7, doc="the total count does not limit"),
                Field("STATE", 6, 4, "state"),
                Field("DEMAND", 3, doc="demand mode"),
                Field("OUT_RUN", 2, doc="packets from the host go to memory"),
                Field("IN_RUN", 1, doc="memory goes into packets to the host"),
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


class UsbDeviceRegisters(Device):
    """Their declarations; :mod:`dbgemu.target.s3c2440.usb_device` says what they do."""

    title = "USB device controller"

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
        0x170,
        width=8,
        access="ro",
        volatile=True,
        doc="Frame number, low",
        fields=(Field("FRAME", 7, 0, "bits 7 to 0"),),
    )
    FRAME_NUM2_REG = Register(
        0x174,
        width=8,
        access="ro",
        volatile=True,
        doc="Frame number, high",
        fields=(Field("FRAME", 7, 0, "bits 10 to 8"),),
    )
    INDEX_REG = Register(0x178, width=8, doc="Bank selection", fields=(Field("INDEX", 7, 0, "endpoint"),))

    MAXP_REG = Register(
        0x180,
        width=8,
        reset=0x01,
        volatile=True,
        doc="Largest packet (banked)",
        fields=(Field("MAXP", 4, 0, "in 8 bytes"),),
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
        0x198,
        width=8,
        access="ro",
        volatile=True,
        doc="Bytes of the packet that came, low",
        fields=_COUNT,
    )
    OUT_FIFO_CNT2_REG = Register(
        0x19C,
        width=8,
        access="ro",
        volatile=True,
        doc="Bytes of the packet that came, high",
        fields=_COUNT,
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


_ALL = UsbDeviceRegisters.registers
#: what there is of each endpoint, at one address
BANKED = tuple(
    _ALL[name] for name in ("MAXP_REG", "IN_CSR1_REG", "IN_CSR2_REG", "OUT_CSR1_REG", "OUT_CSR2_REG")
)
FIFOS = tuple(register for name, register in _ALL.items() if name.endswith("_FIFO_REG"))
DMA = tuple(register for name, register in _ALL.items() if "_DMA_" in name)
