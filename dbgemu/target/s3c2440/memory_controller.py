"""Memory controller (S3C2440A UM 5): bus width and timing of the eight banks, SDRAM refresh.

Memory answers at once whatever is set here; the registers hold what software writes.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.registers import Field, Register

_WIDTHS = {0: "8-bit", 1: "16-bit", 2: "32-bit"}
_CLOCKS = {0: "0 clocks", 1: "1 clock", 2: "2 clocks", 3: "4 clocks"}
_ACCESS_CLOCKS = {
    code: f"{clocks} clock{'s' * (clocks > 1)}" for code, clocks in enumerate((1, 2, 3, 4, 6, 8, 10, 14))
}


def _bank_width_fields() -> tuple[Field, ...]:
    fields = []
    for bank in range(7, 0, -1):
        low = 4 * bank
        fields += [
            Field(f"ST{bank}", low + 3, doc=f"bank {bank}: UB/LB for SRAM", values={0: "nWBE", 1: "nBE"}),
            Field(f"WS{bank}", low + 2, doc=f"bank {bank}: nWAIT is observed"),
            Field(f"DW{bank}", low + 1, low, f"bank {bank}: data bus width", values=_WIDTHS),
        ]
    fields.append(Field("DW0", 2, 1, "bank 0: data bus width, set by the OM pins", values=_WIDTHS))
    return tuple(fields)


_ROM_TIMING = (
    Field("TACS", 14, 13, "address set-up before nGCS", values=_CLOCKS),
    Field("TCOS", 12, 11, "chip select set-up before nOE", values=_CLOCKS),
    Field("TACC", 10, 8, "access cycle", values=_ACCESS_CLOCKS),
    Field("TCOH", 7, 6, "chip select hold after nOE", values=_CLOCKS),
    Field("TCAH", 5, 4, "address hold after nGCS", values=_CLOCKS),
    Field(
        "TACP", 3, 2, "page mode access cycle", {0: "2 clocks", 1: "3 clocks", 2: "4 clocks", 3: "6 clocks"}
    ),
    Field("PMC", 1, 0, "page mode", {0: "normal", 1: "4 data", 2: "8 data", 3: "16 data"}),
)

# TRCD and SCAN lie on TACP and PMC: which of them count depends on MT (S3C2440A UM 5, BANKCONn).
_SDRAM_TIMING = (
    Field("MT", 16, 15, "memory type", {0: "ROM or SRAM", 3: "SDRAM"}),
    *_ROM_TIMING,
    Field("TRCD", 3, 2, "SDRAM: RAS to CAS delay", {0: "2 clocks", 1: "3 clocks", 2: "4 clocks"}),
    Field("SCAN", 1, 0, "SDRAM: column address bits", {0: "8", 1: "9", 2: "10"}),
)

_MODE_FIELDS = (
    Field("WBL", 9, doc="write burst length", values={0: "burst"}),
    Field("TM", 8, 7, "test mode", {0: "mode register set"}),
    Field("CL", 6, 4, "CAS latency", {0: "1 clock", 2: "2 clocks", 3: "3 clocks"}),
    Field("BT", 3, doc="burst type", values={0: "sequential"}),
    Field("BL", 2, 0, "burst length", {0: "1"}),
)


def _rom_bank(bank: int) -> Register:
    doc = f"Bank {bank} (nGCS{bank}): access timing"
    return Register(4 + 4 * bank, reset=0x0700, fields=_ROM_TIMING, doc=doc)


def _sdram_bank(bank: int) -> Register:
    doc = f"Bank {bank} (nGCS{bank}): memory type and access timing"
    return Register(4 + 4 * bank, reset=0x18008, fields=_SDRAM_TIMING, doc=doc)


class MemoryController(Device):
    """The memory controller. ``om`` are the pins OM[1:0]: 0 boots from NAND, 1 from 16-bit NOR."""

    title = "Memory controller"

    BWSCON = Register(
        0x00, writable=0xFFFFFFF0, fields=_bank_width_fields(), doc="Bus width and wait control of the banks"
    )
    BANKCON0 = _rom_bank(0)
    BANKCON1 = _rom_bank(1)
    BANKCON2 = _rom_bank(2)
    BANKCON3 = _rom_bank(3)
    BANKCON4 = _rom_bank(4)
    BANKCON5 = _rom_bank(5)
    BANKCON6 = _sdram_bank(6)
    BANKCON7 = _sdram_bank(7)
    REFRESH = Register(
        0x24,
        reset=0x00AC0000,
        doc="SDRAM refresh",
        fields=(
            Field("REFEN", 23, doc="refresh runs"),
            Field("TREFMD", 22, doc="refresh mode", values={0: "auto refresh", 1: "self refresh"}),
            Field("TRP", 21, 20, "RAS precharge time", {0: "2 clocks", 1: "3 clocks", 2: "4 clocks"}),
            Field("TSRC", 19, 18, "row cycle", {0: "4 clocks", 1: "5 clocks", 2: "6 clocks", 3: "7 clocks"}),
            Field("COUNTER", 10, 0, "refresh period: 2**11 + 1 - HCLK * period"),
        ),
    )
    BANKSIZE = Register(
        0x28,
        doc="Size of banks 6 and 7, SDRAM power",
        fields=(
            Field("BURST_EN", 7, doc="the core may burst"),
            Field("SCKE_EN", 5, doc="SCKE may put the SDRAM into power down"),
            Field("SCLK_EN", 4, doc="SCLK is only active during accesses"),
            Field(
                "BK76MAP",
                2,
                0,
                "size of each of the banks 6 and 7",
                {0: "32 MB", 1: "64 MB", 2: "128 MB", 4: "2 MB", 5: "4 MB", 6: "8 MB", 7: "16 MB"},
            ),
        ),
    )
    MRSRB6 = Register(0x2C, fields=_MODE_FIELDS, doc="Mode register of the SDRAM in bank 6")
    MRSRB7 = Register(0x30, fields=_MODE_FIELDS, doc="Mode register of the SDRAM in bank 7")

    def __init__(self, name: str = "memc", *, om: int = 0, log: GuestLog | None = None) -> None:
        self.om = om & 3
        super().__init__(name, log)

    def reset_registers(self) -> None:
        """Reset values; DW0 shows the OM pins (S3C2440A UM 5, BWSCON)."""
        super().reset_registers()
        self.BWSCON = self.om << 1

    def facts(self) -> Iterator[Fact]:
        """What is set for each bank: 128 MB of address space behind one chip select."""
        for bank in range(8):
            width = MemoryController.BWSCON[f"DW{bank}"].get(self.BWSCON)
            kind = ""
            if bank >= 6:
                sdram = MemoryController.BANKCON6["MT"].get(self.__dict__[f"BANKCON{bank}"]) == 3
                size = MemoryController.BANKSIZE["BK76MAP"]
                kind = (
                    f", SDRAM, {size.values.get(size.get(self.BANKSIZE), 'reserved size')}"
                    if sdram
                    else ", ROM or SRAM"
                )
            yield Fact(f"bank {bank}, 0x{bank << 27:08x}", _WIDTHS.get(width, "reserved width") + kind)

    def set_bootloader_defaults(self) -> None:
        """What a mini2440's U-Boot leaves: 32-bit SDRAM, nWAIT on the 16-bit banks 3 and 4."""
        self.BWSCON = 0x221DD120 | self.om << 1
        self.BANKCON3 = self.BANKCON4 = 0x1F70
        self.BANKCON6 = self.BANKCON7 = 0x18005
        self.REFRESH = 0x009C0419
        self.BANKSIZE = 0x32
        self.MRSRB6 = self.MRSRB7 = 0x30
