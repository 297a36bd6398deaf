"""The protocol of VNC, RFB 3.3 to 3.8 (RFC 6143): pixel formats, encodings, names of keys.

Pure functions and small codecs; :mod:`dbgemu.host.display.vnc` talks with the clients.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbgemu.target.s3c2440.lcd_frame import Pixels
from dbgemu.target.usb.keys import CHARACTERS

VERSION = b"RFB 003.008\n"
NO_SECURITY = 1

# from the client (RFC 6143 7.5)
SET_PIXEL_FORMAT, SET_ENCODINGS, UPDATE_REQUEST, KEY_EVENT, POINTER_EVENT, CUT_TEXT = 0, 2, 3, 4, 5, 6
# encodings: RFC 6143 7.7 and 7.8
RAW, ZLIB, ZRLE, DESKTOP_SIZE = 0, 6, 16, -223
#: the client's choice among these, the best first
BY_MERIT = (ZRLE, ZLIB, RAW)

#: pixels of a tile's side, and its subencodings (RFC 6143 7.7.6)
_TILE = 64
_RAW_TILE, _SOLID_TILE, _TWO_COLOURS = 0, 1, 2
_FORMAT = struct.Struct(">BBBBHHHBBB3x")
RECTANGLE = struct.Struct(">HHHHi")


@dataclass(frozen=True)
class PixelFormat:
    """How a client wants its pixels (RFC 6143 7.4)."""

    bits: int = 32
    depth: int = 24
    big_endian: bool = False
    maxima: tuple[int, int, int] = (255, 255, 255)
    shifts: tuple[int, int, int] = (16, 8, 0)

    def pack(self) -> bytes:
        """The 16 bytes of it."""
        return _FORMAT.pack(self.bits, self.depth, self.big_endian, 1, *self.maxima, *self.shifts)

    @property
    def is_ours(self) -> bool:
        """It is the one that pictures have here."""
        return (self.bits, self.maxima, self.shifts) == (32, (255, 255, 255), (16, 8, 0))

    @property
    def compact(self) -> slice | None:
        """Which bytes of a pixel ZRLE sends, where it leaves one out (RFC 6143 7.7.5, CPIXEL)."""
        if self.bits != 32 or self.depth > 24:
            return None
        used = sum(maximum << shift for maximum, shift in zip(self.maxima, self.shifts, strict=True))
        if used < 1 << 24:
            return slice(1, 4) if self.big_endian else slice(0, 3)
        if not used & 0xFF:
            return slice(0, 3) if self.big_endian else slice(1, 4)
        return None

    def encode(self, pixels: Pixels) -> NDArray[Any]:
        """The client's values of ``pixels``."""
        kind = np.dtype(f"{'>' if self.big_endian else '<'}u{self.bits // 8}")
        if self.is_ours:
            return pixels.astype(kind, copy=False)
        value = np.zeros(pixels.shape, np.uint32)
        for place, maximum, shift in zip((16, 8, 0), self.maxima, self.shifts, strict=True):
            channel = pixels >> np.uint32(place) & np.uint32(0xFF)
            value |= (channel * np.uint32(maximum) + np.uint32(127)) // np.uint32(255) << np.uint32(shift)
        return value.astype(kind)


def parse_pixel_format(data: bytes) -> PixelFormat:
    """Of 16 bytes. ValueError for one that cannot be served, with the reason."""
    bits, depth, big_endian, true_colour, *numbers = _FORMAT.unpack(data)
    if bits not in (8, 16, 32):
        raise ValueError(f"pixels of {bits} bits: 8, 16 and 32 can be sent")
    if not true_colour:
        raise ValueError("a colour map: only true colour can be sent")
    maxima, shifts = tuple(numbers[:3]), tuple(numbers[3:])
    if any(not maximum << shift < 1 << bits for maximum, shift in zip(maxima, shifts, strict=True)):
        raise ValueError(f"colours do not fit in pixels of {bits} bits")
    return PixelFormat(bits, depth, bool(big_endian), maxima, shifts)


class Encoder:
    """Rectangles for one client: the compressed encodings are one stream each from first to last."""

    def __init__(self) -> None:
        self._streams: dict[int, Any] = {}

    def rectangle(self, x: int, y: int, pixels: Pixels, form: PixelFormat, encoding: int) -> bytes:
        """The rectangle with header. ``encoding`` is one of :data:`BY_MERIT`."""
        height, width = pixels.shape
        header = RECTANGLE.pack(x, y, width, height, encoding)
        if encoding == ZRLE:
            return header + self._compress(ZRLE, b"".join(_tiles(form, pixels)))
        data = form.encode(pixels).tobytes()
        return header + (self._compress(ZLIB, data) if encoding == ZLIB else data)

    def _compress(self, encoding: int, data: bytes) -> bytes:
        stream = self._streams.get(encoding)
        if stream is None:
            stream = self._streams[encoding] = zlib.compressobj(1)
        packed = stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
        return struct.pack(">I", len(packed)) + packed


def _tiles(form: PixelFormat, pixels: Pixels) -> Iterable[bytes]:
    """ZRLE's tiles of 64 x 64 pixels (RFC 6143 7.7.6), row by row; zlib does the rest.

    A row of tiles in two colours, as text is, is packed as a whole: that costs a fraction of what zlib
    takes for its pixels.
    """
    height, width = pixels.shape
    for top in range(0, height, _TILE):
        row = np.ascontiguousarray(pixels[top : top + _TILE])
        packed = _packed_tiles(form, row)
        if packed is not None:
            yield from packed
            continue
        for left in range(0, width, _TILE):
            tile = np.ascontiguousarray(row[:, left : left + _TILE])
            packed = _packed_tiles(form, tile)
            yield from packed if packed is not None else (bytes([_RAW_TILE]) + _pixels(form, tile),)


def _packed_tiles(form: PixelFormat, row: Pixels) -> list[bytes] | None:
    """Tiles side by side as bits, or as one colour each; None where there are more than two colours."""
    first = row[0, 0]
    others = row != first
    second = row.reshape(-1)[others.argmax()]
    seconds = row == second
    if first != second and not np.array_equal(others, seconds):
        return None
    one, two = _pixels(form, first.reshape(1, 1)), _pixels(form, second.reshape(1, 1))
    bits = np.packbits(others, axis=1)
    edges = np.arange(0, row.shape[1], _TILE)
    any_two = np.logical_or.reduceat(others.any(axis=0), edges).tolist()
    all_two = np.logical_and.reduceat(others.all(axis=0), edges).tolist()
    found = []
    for place, (some, every) in enumerate(zip(any_two, all_two, strict=True)):
        if some and not every:
            octets = bits[:, place * _TILE // 8 : (place + 1) * _TILE // 8].tobytes()
            found.append(bytes([_TWO_COLOURS]) + one + two + octets)
        else:
            found.append(bytes([_SOLID_TILE]) + (two if some else one))
    return found


def _pixels(form: PixelFormat, pixels: Pixels) -> bytes:
    """``pixels`` as ZRLE sends them (CPIXELs)."""
    values = form.encode(pixels)
    if form.compact is None:
        return values.tobytes()
    return values.view(np.uint8).reshape(-1, form.bits // 8)[:, form.compact].tobytes()


def desktop_size(width: int, height: int) -> bytes:
    """The rectangle that tells a client the picture's new size."""
    return RECTANGLE.pack(0, 0, width, height, DESKTOP_SIZE)


#: X keysyms of keys that type no character -> QEMU's names
_KEYSYMS = {
    0xFF08: "backspace",
    0xFF09: "tab",
    0xFF0D: "ret",
    0xFF13: "pause",
    0xFF14: "scroll_lock",
    0xFF1B: "esc",
    0xFF50: "home",
    0xFF51: "left",
    0xFF52: "up",
    0xFF53: "right",
    0xFF54: "down",
    0xFF55: "pgup",
    0xFF56: "pgdn",
    0xFF57: "end",
    0xFF61: "sysrq",
    0xFF63: "insert",
    0xFF67: "menu",
    0xFF7F: "num_lock",
    0xFF8D: "kp_enter",
    **{0xFFBD + number: f"f{number}" for number in range(1, 13)},
    0xFFE1: "shift",
    0xFFE2: "shift_r",
    0xFFE3: "ctrl",
    0xFFE4: "ctrl_r",
    0xFFE5: "caps_lock",
    0xFFE9: "alt",
    0xFFEA: "alt_r",
    0xFFEB: "meta_l",
    0xFFEC: "meta_r",
    0xFFFF: "delete",
    0xFE03: "alt_r",
}


def key_name(keysym: int) -> str | None:
    """QEMU's name of the key with that X keysym, None for one that no keyboard here has.

    Clients press shift as a key of its own, so that the capital letter is its small one's key.
    """
    if keysym in _KEYSYMS:
        return _KEYSYMS[keysym]
    keys = CHARACTERS.get(chr(keysym)) if 0x20 <= keysym < 0x7F else None
    return keys[-1] if keys else None
