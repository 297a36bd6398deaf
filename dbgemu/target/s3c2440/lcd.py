"""The LCD controller (S3C2440A UM chapter 15): registers, palette and the timing of frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns, ns_to_cycles
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, writes
from dbgemu.target.s3c2440.clocks import Clocks

PALETTE_BASE, PALETTE_ENTRIES = 0x400, 256
ENABLE, PANEL_MASK, PANEL_TFT = 0x01, 0x60, 0x60
FRAME_SYNC = 0x02

# HSTATUS and VSTATUS
SYNC, BACK_PORCH, ACTIVE, FRONT_PORCH = 0, 1, 2, 3
_PARTS = {SYNC: "sync", BACK_PORCH: "back porch", ACTIVE: "active", FRONT_PORCH: "front porch"}
_BPP = {
    0: "STN 1 bpp",
    1: "STN 2 bpp",
    2: "STN 4 bpp",
    3: "STN 8 bpp",
    4: "STN 12 bpp",
    8: "TFT 1 bpp",
    9: "TFT 2 bpp",
    10: "TFT 4 bpp",
    11: "TFT 8 bpp",
    12: "TFT 16 bpp",
    13: "TFT 24 bpp",
}
_POLARITY = {0: "normal", 1: "inverted"}
_INTERRUPTS = (Field("FRSYN", 1, doc="end of a frame"), Field("FICNT", 0, doc="FIFO level"))


def _part(position: int, lengths: tuple[int, int, int, int]) -> tuple[int, int]:
    """Which of sync, back porch, active, front porch ``position`` is in, and how far."""
    for part, length in enumerate(lengths):
        if position < length:
            return part, position
        position -= length
    return FRONT_PORCH, lengths[FRONT_PORCH] - 1


def _lookup(levels: int) -> tuple[Field, ...]:
    return tuple(
        Field(f"LEVEL{n}", 4 * n + 3, 4 * n, f"shade of intensity {n}") for n in reversed(range(levels))
    )


class LcdController(Device):
    """The controller. It does not fetch pixels: who shows the screen reads frame memory itself."""

    title = "LCD controller"
    STATE = ("palette", "_epoch", "_frame_timer")

    LCDCON1 = Register(
        0x00,
        width=28,
        doc="Control 1",
        fields=(
            Field("LINECNT", 27, 18, "lines to go, down to 0"),
            Field("CLKVAL", 17, 8, "clock divider"),
            Field("MMODE", 7, values={0: "each frame", 1: "by MVAL"}),
            Field("PNRMODE", 6, 5, "panel", {0: "STN dual 4", 1: "STN 4", 2: "STN 8", 3: "TFT"}),
            Field("BPPMODE", 4, 1, "bits of a pixel", _BPP),
            Field("ENVID", 0, doc="video output and signals"),
        ),
    )
    LCDCON2 = Register(
        0x04,
        doc="Control 2: lines of a frame",
        fields=(
            Field("VBPD", 31, 24, "back porch, less 1"),
            Field("LINEVAL", 23, 14, "visible lines, less 1"),
            Field("VFPD", 13, 6, "front porch, less 1"),
            Field("VSPW", 5, 0, "sync, less 1"),
        ),
    )
    LCDCON3 = Register(
        0x08,
        width=26,
        doc="Control 3: VCLKs of a line",
        fields=(
            Field("HBPD", 25, 19, "TFT: back porch, less 1; STN: WDLY"),
            Field("HOZVAL", 18, 8, "visible, less 1"),
            Field("HFPD", 7, 0, "TFT: front porch, less 1; STN: LINEBLANK"),
        ),
    )
    LCDCON4 = Register(
        0x0C,
        width=16,
        doc="Control 4",
        fields=(Field("MVAL", 15, 8, "rate of VM"), Field("HSPW", 7, 0, "TFT: sync, less 1; STN: WLH")),
    )
    LCDCON5 = Register(
        0x10,
        width=17,
        doc="Control 5",
        fields=(
            Field("VSTATUS", 16, 15, "vertical status", _PARTS),
            Field("HSTATUS", 14, 13, "horizontal status", _PARTS),
            Field("BPP24BL", 12, doc="24 bpp", values={0: "LSB valid", 1: "MSB valid"}),
            Field("FRM565", 11, doc="16 bpp", values={0: "5:5:5:1", 1: "5:6:5"}),
            Field("INVVCLK", 10, doc="data is taken at VCLK's", values={0: "falling edge", 1: "rising edge"}),
            Field("INVVLINE", 9, doc="HSYNC", values=_POLARITY),
            Field("INVVFRAME", 8, doc="VSYNC", values=_POLARITY),
            Field("INVVD", 7, doc="the data lines", values=_POLARITY),
            Field("INVVDEN", 6, doc="VDEN", values=_POLARITY),
            Field("INVPWREN", 5, doc="PWREN", values=_POLARITY),
            Field("INVLEND", 4, doc="LEND", values=_POLARITY),
            Field("PWREN", 3, doc="LCD_PWREN output"),
            Field("ENLEND", 2, doc="LEND output"),
            Field("BSWP", 1, doc="swap bytes"),
            Field("HWSWP", 0, doc="swap half words"),
        ),
    )
    LCDSADDR1 = Register(
        0x14,
        width=30,
        doc="Frame buffer start",
        fields=(Field("LCDBANK", 29, 21, "address bits 30 to 22"), Field("LCDBASEU", 20, 0, "bits 21 to 1")),
    )
    LCDSADDR2 = Register(
        0x18,
        width=21,
        doc="Frame buffer end, address bits 21 to 1",
        fields=(Field("LCDBASEL", 20, 0, "address bits 21 to 1"),),
    )
    LCDSADDR3 = Register(
        0x1C,
        width=22,
        doc="Virtual screen, in half words",
        fields=(Field("OFFSIZE", 21, 11, "between lines"), Field("PAGEWIDTH", 10, 0, "of a line")),
    )
    REDLUT = Register(0x20, doc="STN: red lookup table", fields=_lookup(8))
    GREENLUT = Register(0x24, doc="STN: green lookup table", fields=_lookup(8))
    BLUELUT = Register(0x28, width=16, doc="STN: blue lookup table", fields=_lookup(4))
    DITHMODE = Register(
        0x4C,
        width=19,
        doc="STN: dithering mode",
        fields=(Field("DITHMODE", 18, 0, "0, or 12210h for better colours"),),
    )
    TPAL = Register(
        0x50,
        width=25,
        doc="Temporary palette",
        fields=(Field("TPALEN", 24, doc="show one colour"), Field("TPALVAL", 23, 0, "the colour, 8:8:8")),
    )
    LCDINTPND = Register(0x54, width=2, doc="Interrupt pending; write 1 to clear", fields=_INTERRUPTS)
    LCDSRCPND = Register(0x58, width=2, doc="Source pending; write 1 to clear", fields=_INTERRUPTS)
    LCDINTMSK = Register(
        0x5C,
        width=3,
        reset=0x3,
        doc="Interrupt mask: 1 is off",
        fields=(Field("FIWSEL", 2, doc="FIFO trigger", values={0: "4 words", 1: "8 words"}), *_INTERRUPTS),
    )
    TCONSEL = Register(
        0x60,
        width=12,
        reset=0xF84,
        doc="LPC3600/LCC3600 timing control",
        fields=(
            Field("LCC_TEST2", 11, doc="LCC3600 test mode 2"),
            Field("LCC_TEST1", 10, doc="LCC3600 test mode 1"),
            Field("LCC_SEL5", 9, doc="LCC3600 selection 5"),
            Field("LCC_SEL4", 8, doc="LCC3600 selection 4"),
            Field("LCC_SEL3", 7, doc="LCC3600 selection 3"),
            Field("LCC_SEL2", 6, doc="LCC3600 selection 2"),
            Field("LCC_SEL1", 5, doc="LCC3600 selection 1"),
            Field("LCC_EN", 4, doc="LCC3600 enabled"),
            Field("CPV_SEL", 3, doc="CPV pulse, low width"),
            Field("MODE_SEL", 2, doc="DE or sync mode", values={0: "sync", 1: "DE"}),
            Field("RES_SEL", 1, doc="output resolution", values={0: "320 x 240", 1: "240 x 320"}),
            Field("LPC_EN", 0, doc="LPC3600 enabled"),
        ),
    )

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        clocks: Clocks,
        interrupt: Line,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clock = clock
        self.clocks = clocks
        self.interrupt = interrupt
        #: 256 colours of 16 bits, 5:6:5 or 5:5:5:1
        self.palette = [0] * PALETTE_ENTRIES
        #: when the first frame began, in ns; None while the output is off
        self._epoch: int | None = None
        self._frame_timer = Timer(clock, self._frame_ended)
        clocks.on_change.append(self._arm)

    def reset(self) -> None:
        """Power-on or system reset; the palette is memory and keeps its contents."""
        super().reset()
        self._epoch = None
        self._arm()
        self._update()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, the interrupt line included."""
        super().load(state)
        self._update()

    # -- timing -------------------------------------------------------------------------------

    def _horizontal(self) -> tuple[int, int, int, int]:
        """VCLKs of sync, back porch, active part and front porch of a line."""
        c3, c4 = self.LCDCON3, self.LCDCON4
        if self.LCDCON1 & PANEL_MASK == PANEL_TFT:
            return (c4 & 0xFF) + 1, (c3 >> 19) + 1, (c3 >> 8 & 0x7FF) + 1, (c3 & 0xFF) + 1
        return 0, 0, (c3 >> 8 & 0x7FF) + 1, 0

    def _vertical(self) -> tuple[int, int, int, int]:
        """Lines of sync, back porch, active part and front porch of a frame."""
        c2 = self.LCDCON2
        lines = (c2 >> 14 & 0x3FF) + 1
        if self.LCDCON1 & PANEL_MASK == PANEL_TFT:
            return (c2 & 0x3F) + 1, (c2 >> 24) + 1, lines, (c2 >> 6 & 0xFF) + 1
        return 0, 0, lines, 0

    def _line_cycles(self) -> int:
        """HCLKs of a line: VCLK is HCLK / 2 / (CLKVAL + 1) for TFT, HCLK / 2 / CLKVAL for STN."""
        divider = self.LCDCON1 >> 8 & 0x3FF
        if self.LCDCON1 & PANEL_MASK == PANEL_TFT:
            return sum(self._horizontal()) * 2 * (divider + 1)
        # STN adds, in HCLKs, the pulse (WLH), the delay (WDLY) and the blank (LINEBLANK).
        pulse, delay = 16 << (self.LCDCON4 & 3), 16 << (self.LCDCON3 >> 19 & 3)
        return sum(self._horizontal()) * 2 * max(1, divider) + pulse + delay + 8 * (self.LCDCON3 & 0xFF)

    def frame_period(self) -> int:
        """Duration of a frame, in ns."""
        return cycles_to_ns(self._line_cycles() * sum(self._vertical()), self.clocks.hclk)

    def _position(self) -> tuple[int, int]:
        """(line of the frame, HCLK of the line) that the output is at now."""
        if self._epoch is None:
            return 0, 0
        line_cycles = self._line_cycles()
        cycles = ns_to_cycles(self.clock.now - self._epoch, self.clocks.hclk)
        line, cycle = divmod(cycles % (line_cycles * sum(self._vertical())), line_cycles)
        return line, cycle

    @LCDCON1.read
    def _read_control1(self) -> int:
        if self._epoch is None:
            return self.LCDCON1
        vertical = self._vertical()
        part, line = _part(self._position()[0], vertical)
        left = vertical[ACTIVE] - 1 - line if part == ACTIVE else 0
        return self.LCDCON1 | left << 18

    @LCDCON1.write
    def _write_control1(self, value: int) -> None:
        was_on = self.LCDCON1 & ENABLE
        self.LCDCON1 = value & 0x3FFFF
        if value & ENABLE and not was_on:
            self._epoch = self.clock.now
        elif not value & ENABLE:
            self._epoch = None
        self._arm()

    @LCDCON5.read
    def _read_control5(self) -> int:
        if self._epoch is None:
            return self.LCDCON5
        line, cycle = self._position()
        horizontal = self._horizontal()
        vclk = cycle * sum(horizontal) // self._line_cycles()
        return self.LCDCON5 | _part(line, self._vertical())[0] << 15 | _part(vclk, horizontal)[0] << 13

    @LCDCON5.write
    def _write_control5(self, value: int) -> None:
        self.LCDCON5 = value & 0x1FFF

    @writes(LCDCON2, LCDCON3, LCDCON4)
    def _write_timing(self, register: Register, value: int) -> None:
        self.__dict__[register.name] = value
        self._arm()

    # -- interrupt ----------------------------------------------------------------------------

    def _arm(self) -> None:
        """Wait for the end of the frame, if the guest wants to hear of it."""
        if self._epoch is None or self.LCDINTMSK & FRAME_SYNC:
            self._frame_timer.cancel()
            return
        period = self.frame_period()
        self._frame_timer.start_in(period - (self.clock.now - self._epoch) % period)

    def _frame_ended(self) -> None:
        self.LCDSRCPND |= FRAME_SYNC
        self.LCDINTPND |= FRAME_SYNC
        self._update()
        self._arm()

    @writes(LCDINTPND, LCDSRCPND)
    def _clear_pending(self, register: Register, value: int) -> None:
        self.__dict__[register.name] &= ~value
        self._update()

    @LCDINTMSK.write
    def _write_mask(self, value: int) -> None:
        self.LCDINTMSK = value
        self._arm()
        self._update()

    def _update(self) -> None:
        self.interrupt.set(bool(self.LCDINTPND & ~self.LCDINTMSK & 3))

    # -- dumps --------------------------------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """What the panel is sent."""
        yield Fact("output", "on" if self._epoch is not None else "off")
        if self._epoch is not None:
            width, height = self._horizontal()[ACTIVE], self._vertical()[ACTIVE]
            kind = _BPP.get(self.LCDCON1 >> 1 & 15, "reserved")
            yield Fact("picture", f"{width} x {height}, {kind}")
            yield Fact("frame buffer", f"0x{self.LCDSADDR1 << 1 & 0x7FFFFFFF:08x}")
            yield Fact("frame", self.frame_period(), "ns")
            yield Fact("line", self._position()[0])

    # -- palette memory -----------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """A guest's read of a register or of palette memory."""
        return super().read(offset, size) if offset < PALETTE_BASE else self._read_palette(offset, size)

    def peek(self, offset: int, size: int) -> int:
        """What a read would give, without side effects."""
        return super().peek(offset, size) if offset < PALETTE_BASE else self._read_palette(offset, size)

    def _read_palette(self, offset: int, size: int) -> int:
        index = offset - PALETTE_BASE >> 2
        if index >= PALETTE_ENTRIES:
            return 0
        return self.palette[index] >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """A guest's write to a register or to palette memory."""
        index = offset - PALETTE_BASE >> 2
        if index < 0:
            super().write(offset, size, value)
        elif index >= PALETTE_ENTRIES:
            self.guest_error(
                f"write of 0x{value:x} ({size} bytes) at offset 0x{offset:x}, behind the palette"
            )
        else:
            lane = 8 * (offset & 3)
            mask = (1 << 8 * size) - 1 << lane
            self.palette[index] = (self.palette[index] & ~mask | value << lane) & 0xFFFF
