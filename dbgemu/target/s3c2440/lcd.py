"""The LCD controller (S3C2440A UM chapter 15): registers, palette and the timing of frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dbgemu.target.bus import Bus
from dbgemu.target.chips.lcd_panel import LcdPanel
from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns, ns_to_cycles
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, writes
from dbgemu.target.s3c2440.clocks import Clocks
from dbgemu.target.s3c2440.lcd_scan import COLOUR_STN, MODES, Scan, fetch

if TYPE_CHECKING:
    from dbgemu.target.s3c2440.lcd_frame import Frame

PALETTE_BASE, PALETTE_ENTRIES = 0x400, 256
ENABLE, PANEL_MASK, PANEL_TFT = 0x01, 0x60, 0x60
FRAME_SYNC, FIFO_LEVEL = 0x02, 0x01
POWER_ENABLE, POWER_INVERTED, DATA_INVERTED = 0x08, 0x20, 0x80
IS_565, UPPER_BYTES, SWAP_MASK = 0x800, 0x1000, 0x03
SINGLE_COLOUR = 1 << 24
#: data lines of a panel, by PNRMODE (S3C2440A UM 15-28, HOZVAL)
_DATA_LINES = {0x00: 4, 0x20: 4, 0x40: 8}

# HSTATUS and VSTATUS
SYNC, BACK_PORCH, ACTIVE, FRONT_PORCH = 0, 1, 2, 3
_PARTS = {SYNC: "sync", BACK_PORCH: "back porch", ACTIVE: "active", FRONT_PORCH: "front porch"}
_BPP = {value: mode.name for value, mode in MODES.items()}
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
    """The controller.

    Nothing is fetched while nobody looks: :meth:`frame` reads ``bus`` when it is called. ``panel`` is what
    the picture goes to. ``power_enable`` is the output LCD_PWREN.
    """

    title = "LCD controller"
    STATE = ("palette", "_epoch", "_frame_timer", "_fifo_timer")

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
        bus: Bus | None = None,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clock = clock
        self.clocks = clocks
        self.interrupt = interrupt
        self.bus = bus if bus is not None else Bus(self.log)
        self.panel: LcdPanel | None = None
        self.power_enable = Line("LCD_PWREN")
        #: 256 colours of 16 bits, 5:6:5 or 5:5:5:1
        self.palette = [0] * PALETTE_ENTRIES
        #: when the first frame began, in ns; None while the output is off
        self._epoch: int | None = None
        self._frame_timer = Timer(clock, self._frame_ended)
        self._fifo_timer = Timer(clock, self._fifo_sank)
        clocks.on_change.append(self._arm)

    def reset(self) -> None:
        """Power-on or system reset; the palette is memory and keeps its contents."""
        super().reset()
        self._epoch = None
        self._arm()
        self._update()
        self._drive_power()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, the interrupt line included."""
        super().load(state)
        self._update()
        self._drive_power()

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
        self._drive_power()

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
        self._drive_power()

    def _drive_power(self) -> None:
        # UM 15-20, "LCD power control": while PWREN is set the output follows ENVID.
        on = self._epoch is not None and self.LCDCON5 & POWER_ENABLE
        self.power_enable.set(bool(on) ^ bool(self.LCDCON5 & POWER_INVERTED))

    @writes(LCDCON2, LCDCON3, LCDCON4)
    def _write_timing(self, register: Register, value: int) -> None:
        self.__dict__[register.name] = value
        self._arm()

    # -- interrupt ----------------------------------------------------------------------------

    def _arm(self) -> None:
        """Wait for the end of the frame and for the FIFO, if the guest wants to hear of them."""
        if self._epoch is None or self.LCDINTMSK & FRAME_SYNC:
            self._frame_timer.cancel()
        else:
            period = self.frame_period()
            self._frame_timer.start_in(period - (self.clock.now - self._epoch) % period)
        if self._epoch is None or self.LCDINTMSK & FIFO_LEVEL:
            self._fifo_timer.cancel()
        else:
            self._fifo_timer.start_in(self._time_to_fetch())

    def _time_to_fetch(self) -> int:
        """In ns, until the next visible line begins.

        The FIFO sinks to its trigger level all the time while a line is sent; one request a line is what
        a guest can tell apart from that.
        """
        line, cycle = self._position()
        line_cycles = self._line_cycles()
        vertical = self._vertical()
        part, _ = _part(line, vertical)
        cycles = line_cycles - cycle
        following = line + 1
        first = vertical[SYNC] + vertical[BACK_PORCH]
        if part < ACTIVE:
            cycles += max(0, first - following) * line_cycles
        elif following >= first + vertical[ACTIVE]:
            cycles += (sum(vertical) - following + first) * line_cycles
        return cycles_to_ns(cycles, self.clocks.hclk)

    def _frame_ended(self) -> None:
        self._request(FRAME_SYNC)

    def _fifo_sank(self) -> None:
        self._request(FIFO_LEVEL)

    def _request(self, source: int) -> None:
        self.LCDSRCPND |= source
        self.LCDINTPND |= source
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

    # -- the picture --------------------------------------------------------------------------

    def scan(self) -> Scan | None:
        """What a frame is made of now; None while the output is off or BPPMODE is a reserved value."""
        mode_number = self.LCDCON1 >> 1 & 15
        mode = MODES.get(mode_number)
        if self._epoch is None or mode is None:
            return None
        con5, panel = self.LCDCON5, self.LCDCON1 & PANEL_MASK
        width, height = (self.LCDCON3 >> 8 & 0x7FF) + 1, (self.LCDCON2 >> 14 & 0x3FF) + 1
        bank = self.LCDSADDR1 >> 21 << 22
        starts: tuple[int, ...] = (bank | self.LCDSADDR1 << 1 & 0x3FFFFE,)
        if panel != PANEL_TFT:
            dots = width * _DATA_LINES[panel]
            width = max(1, dots // 3) if mode_number in COLOUR_STN else dots
            if not panel:  # the lower half has an address of its own
                starts += (bank | self.LCDSADDR2 << 1 & 0x3FFFFE,)
                height *= 2
        single = self.TPAL & SINGLE_COLOUR and panel == PANEL_TFT
        return Scan(
            width,
            height,
            mode,
            starts,
            stride=2 * ((self.LCDSADDR3 & 0x7FF) + (self.LCDSADDR3 >> 11)),
            swap=con5 & SWAP_MASK,
            is_565=bool(con5 & IS_565),
            upper_bytes=bool(con5 & UPPER_BYTES),
            inverted=bool(con5 & DATA_INVERTED),
            single_colour=self.TPAL & 0xFFFFFF if single else None,
            palette=tuple(self.palette[: 1 << mode.bits]) if mode.kind == "palette" else (),
            lookup=(self.REDLUT, self.GREENLUT, self.BLUELUT),
        )

    def panel_size(self) -> tuple[int, int] | None:
        """Width and height in pixels of the panel, or of the picture on one that takes any; else None."""
        if self.panel is not None and self.panel.size is not None:
            return self.panel.size
        scan = self.scan()
        return None if scan is None else (scan.width, scan.height)

    def look(self) -> tuple[Scan, tuple[bytes, ...]] | None:
        """What :func:`lcd_frame.render` makes the picture of; None while nothing is sent (see frame)."""
        scan = self.scan()
        return None if scan is None else (scan, fetch(scan, self.bus))

    def frame(self) -> Frame | None:
        """The picture on the panel, whether its backlight is on or not; None while nothing is sent.

        To be called where the machine's state may be used.
        """
        seen = self.look()
        if seen is None:
            return None
        from dbgemu.target.s3c2440 import lcd_frame  # with NumPy, which takes its time

        pixels = lcd_frame.render(*seen)
        if self.panel is not None and self.panel.size is not None:
            pixels = lcd_frame.fit(pixels, *self.panel.size)
        return lcd_frame.to_frame(pixels)

    def why_dark(self) -> str:
        """Why :meth:`frame` gives nothing, as a clause."""
        if self._epoch is None:
            return "the LCD controller is off: ENVID in LCDCON1 is 0"
        return f"BPPMODE in LCDCON1 is {self.LCDCON1 >> 1 & 15}, a reserved value"

    # -- dumps --------------------------------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """What the panel is sent."""
        yield Fact("output", "on" if self._epoch is not None else "off")
        if self.panel is not None:
            yield Fact("panel", self.panel.model.name)
            yield Fact("backlight", "on" if self.panel.lit else f"off ({self.panel.light.name} is low)")
        if self._epoch is None:
            return
        scan = self.scan()
        if scan is not None:
            yield Fact("picture", f"{scan.width} x {scan.height}, {scan.mode.name}")
            if scan.single_colour is not None:
                yield Fact("one colour", f"0x{scan.single_colour:06x}")
            yield Fact("frame buffer", " and ".join(f"0x{start:08x}" for start in scan.starts))
            yield Fact("from line to line", scan.stride, "bytes")
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
