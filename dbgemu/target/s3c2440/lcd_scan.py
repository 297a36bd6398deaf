"""What the LCD controller reads in a frame: where, how it is laid out, and the bytes themselves."""

from __future__ import annotations

from typing import NamedTuple

from dbgemu.target.bus import Bus
from dbgemu.target.memory import Memory

#: the address counter wraps within this: LCDBANK does not count (S3C2440A UM 15-33, LCDSADDR1)
BANK_SIZE = 1 << 22


class Mode(NamedTuple):
    """A value of BPPMODE: ``bits`` of a pixel in memory, and what they mean (see lcd_frame)."""

    name: str
    bits: int
    kind: str


#: BPPMODE -> mode (S3C2440A UM 15-26); the other values are reserved
MODES = {
    0: Mode("STN 1 bpp", 1, "mono"),
    1: Mode("STN 2 bpp", 2, "4 greys"),
    2: Mode("STN 4 bpp", 4, "16 greys"),
    3: Mode("STN 8 bpp", 8, "256 colours"),
    4: Mode("STN 12 bpp packed", 12, "4096 colours"),
    5: Mode("STN 12 bpp unpacked", 16, "4096 colours unpacked"),
    6: Mode("STN 16 bpp", 16, "4096 colours of 16 bpp"),
    8: Mode("TFT 1 bpp", 1, "palette"),
    9: Mode("TFT 2 bpp", 2, "palette"),
    10: Mode("TFT 4 bpp", 4, "palette"),
    11: Mode("TFT 8 bpp", 8, "palette"),
    12: Mode("TFT 16 bpp", 16, "5:6:5"),
    13: Mode("TFT 24 bpp", 32, "8:8:8"),
}
#: in these a pixel is three dots of an STN panel
COLOUR_STN = frozenset((3, 4, 5, 6))


class Scan(NamedTuple):
    """One frame as the registers describe it. Sizes are in pixels, ``stride`` in bytes.

    ``starts`` are the physical addresses of the first line, and of the lower half's where an STN panel
    is scanned in two halves. ``swap`` is BSWP, HWSWP as in LCDCON5.
    """

    width: int
    height: int
    mode: Mode
    starts: tuple[int, ...]
    stride: int
    swap: int
    #: 16 bits are 5:6:5, else 5:5:5:1 (in the palette too)
    is_565: bool
    #: a 24-bit pixel is in the word's upper bytes
    upper_bytes: bool
    #: the data lines are inverted (INVVD)
    inverted: bool
    #: the one colour 8:8:8 that is shown instead of memory (TPAL)
    single_colour: int | None = None
    palette: tuple[int, ...] = ()
    #: REDLUT, GREENLUT, BLUELUT
    lookup: tuple[int, int, int] = (0, 0, 0)

    @property
    def lines(self) -> int:
        """Lines of each of the parts that :attr:`starts` begin."""
        return self.height // len(self.starts)

    @property
    def line_bytes(self) -> int:
        """Bytes of memory that hold a line's pixels."""
        return -(-self.width * self.mode.bits // 8)

    @property
    def part_bytes(self) -> int:
        """Bytes to read from a part's first word, so that its last pixel is in them."""
        return (self.lines - 1) * self.stride + self.line_bytes + 7 & ~3


def fetch(scan: Scan, bus: Bus) -> tuple[bytes, ...]:
    """The memory behind each part of ``scan``, from a word boundary on; nothing where TPAL hides it.

    What is no memory reads as zeros.
    """
    if scan.single_colour is not None:
        return ()
    return tuple(_read(bus, start & ~3, scan.part_bytes) for start in scan.starts)


def _read(bus: Bus, address: int, length: int) -> bytes:
    bank = address & -BANK_SIZE
    parts = []
    while length:
        count = min(length, bank + BANK_SIZE - address)
        region = bus.find(address)
        if region is None:
            parts.append(bytes(count))
        else:
            count = min(count, region.end - address)
            if isinstance(region.target, Memory):
                offset = address - region.base + region.offset
                parts.append(bytes(region.target.data[offset : offset + count]))
            else:
                parts.append(bytes(count))
        length -= count
        address += count
        if address == bank + BANK_SIZE:
            address = bank
    return parts[0] if len(parts) == 1 else b"".join(parts)
