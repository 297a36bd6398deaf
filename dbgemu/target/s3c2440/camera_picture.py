"""How the camera interface changes a picture: window, scaling, flips, and formats in memory.

A picture is three planes, red, green and blue, of a byte a pixel. Whole planes are handled at once: a byte
of each is looked up in a table, and bytes that cannot carry into the next are added as one long integer.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple


class Picture(NamedTuple):
    """``planes`` have ``width`` x ``height`` bytes each."""

    width: int
    height: int
    planes: tuple[bytes, ...]

    @classmethod
    def from_rgb(cls, width: int, height: int, data: bytes) -> Picture:
        """A picture of 3 bytes a pixel; what is missing is black."""
        size = 3 * width * height
        data = data[:size].ljust(size, b"\0")
        return cls(width, height, tuple(data[channel::3] for channel in range(3)))

    def pick(self, columns: Sequence[int], rows: Sequence[int]) -> Picture:
        """The pixels in ``columns`` and ``rows``, in that order; at least one of each."""
        planes = []
        take = itemgetter(*columns) if len(columns) > 1 else None
        for plane in self.planes:
            lines: dict[int, bytes] = {}
            for row in set(rows):
                line = plane[row * self.width : (row + 1) * self.width]
                lines[row] = bytes(take(line)) if take is not None else line[columns[0] : columns[0] + 1]
            planes.append(b"".join(lines[row] for row in rows))
        return Picture(len(columns), len(rows), tuple(planes))

    # -- formats -----------------------------------------------------------------------------------

    def rgb565(self) -> bytes:
        """Half words, red in the highest bits, little-endian."""
        red, green, blue = self.planes
        out = bytearray(2 * len(red))
        out[0::2] = _added(green.translate(_GREEN_LOW), blue.translate(_BLUE_5))
        out[1::2] = _added(red.translate(_RED_5), green.translate(_GREEN_HIGH))
        return bytes(out)

    def rgb888(self) -> bytes:
        """Words of 00RRGGBB, little-endian."""
        red, green, blue = self.planes
        out = bytearray(4 * len(red))
        out[0::4], out[1::4], out[2::4] = blue, green, red
        return bytes(out)

    def luma(self) -> bytes:
        """Y of each pixel, 16 to 235 (ITU-R BT.601)."""
        return _summed(self.planes, _LUMA)

    def chroma(self, *, half_height: bool) -> tuple[bytes, bytes]:
        """Cb and Cr, 16 to 240, of every second column, and row when ``half_height``."""
        rows = range(0, self.height, 2 if half_height else 1)
        small = self.pick(range(0, self.width, 2), rows)
        return _summed(small.planes, _CB), _summed(small.planes, _CR)


def _weights(weight: float) -> bytes:
    """A byte times ``weight``; for a negative one, the complement times its amount."""
    if weight < 0:
        return bytes(int(-weight * (255 - byte) + 0.5) for byte in range(256))
    return bytes(int(weight * byte + 0.5) for byte in range(256))


_RED_5 = bytes(byte & 0xF8 for byte in range(256))
_GREEN_HIGH = bytes(byte >> 5 for byte in range(256))
_GREEN_LOW = bytes(byte << 3 & 0xE0 for byte in range(256))
_BLUE_5 = bytes(byte >> 3 for byte in range(256))
#: BT.601 with 8 bits: the weights of red, green and blue, 219/255 and 224/255 of full scale
_LUMA = tuple(map(_weights, (0.2568, 0.5041, 0.0979)))
_CB = tuple(map(_weights, (-0.1482, -0.2910, 0.4392)))
_CR = tuple(map(_weights, (0.4392, -0.3678, -0.0714)))
#: what is added to each sum: black's Y, and the smallest Cb and Cr
_FOOT = bytes((16,))


def _added(first: bytes, second: bytes) -> bytes:
    total = int.from_bytes(first, "little") + int.from_bytes(second, "little")
    return total.to_bytes(len(first), "little")


def _summed(planes: tuple[bytes, ...], tables: tuple[bytes, ...]) -> bytes:
    """16 more than the sum of what the tables make of the planes: below 256, so that no byte carries."""
    total = _FOOT * len(planes[0])
    for plane, table in zip(planes, tables, strict=True):
        total = _added(total, plane.translate(table))
    return total
