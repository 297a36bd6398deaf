"""From frame memory to colours: what a panel shows of what the LCD controller reads.

All formats are those of S3C2440A UM chapter 15. A word's pixels go from its most significant bits down,
after BSWP has swapped its bytes and HWSWP its half words.

On an STN panel a pixel's shade is the share of frames in which it is driven; here 1 (and shade 15) is
bright. Dithering is not seen: a shade is shown as an even colour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from dbgemu.target.s3c2440.lcd_scan import Scan

#: pixels as 0xRRGGBB, rows of them
Pixels = NDArray[np.uint32]
Bytes = NDArray[np.uint8]

BSWP, HWSWP = 2, 1
#: from a shade of 16 to one of 256
_SHADE = 17


@dataclass(frozen=True)
class Frame:
    """A picture: ``rgb`` holds 3 bytes a pixel, red first, from the upper left by rows."""

    width: int
    height: int
    rgb: bytes


def render(scan: Scan, memory: tuple[bytes, ...]) -> Pixels:
    """The colours of ``scan``, whose :func:`fetch` gave ``memory``."""
    if scan.single_colour is not None:
        pixels = np.full((scan.height, scan.width), scan.single_colour, np.uint32)
    else:
        convert = _CONVERTERS[scan.mode.kind]
        parts = [convert(scan, part, start & 3) for start, part in zip(scan.starts, memory, strict=True)]
        pixels = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return pixels ^ np.uint32(0xFFFFFF) if scan.inverted else pixels


def changed_lines(scan: Scan, before: tuple[bytes, ...], now: tuple[bytes, ...]) -> tuple[int, int]:
    """The first line that may look different and the one behind the last, of two fetches of ``scan``.

    No line does where the second is not larger. Comparing memory costs a fraction of converting it.
    """
    if len(now) != 1 or scan.stride % 4 or scan.stride < scan.line_bytes:
        return 0, scan.height  # two halves, or lines that share words
    different = (np.frombuffer(before[0], np.uint32) != np.frombuffer(now[0], np.uint32)).tobytes()
    first, last = different.find(1), different.rfind(1)
    if first < 0:
        return 0, 0
    # with an odd start a line's last pixel shares its word with the next line's first
    lead = scan.starts[0] & 3
    top, bottom = (4 * first - lead) // scan.stride, (4 * last + 3 - lead) // scan.stride + 1
    return max(0, top), min(scan.height, bottom)


def render_lines(scan: Scan, memory: tuple[bytes, ...], top: int, bottom: int) -> Pixels:
    """Lines ``top`` to ``bottom`` of what :func:`render` gives, where :func:`changed_lines` told of them."""
    if bottom - top == scan.height:
        return render(scan, memory)
    part = scan._replace(height=bottom - top, starts=(scan.starts[0] + top * scan.stride,))
    offset = top * scan.stride
    return render(part, (memory[0][offset : offset + part.part_bytes],))


def fit(pixels: Pixels, width: int, height: int) -> Pixels:
    """``pixels`` on a panel of that size: cut off, or with black to the right and below."""
    if pixels.shape == (height, width):
        return pixels
    panel = np.zeros((height, width), np.uint32)
    part = pixels[:height, :width]
    panel[: part.shape[0], : part.shape[1]] = part
    return panel


def to_frame(pixels: Pixels) -> Frame:
    """The same as bytes."""
    height, width = pixels.shape
    little = np.ascontiguousarray(pixels, "<u4").view(np.uint8).reshape(height, width, 4)
    rgb = np.empty((height, width, 3), np.uint8)
    for place in range(3):
        rgb[:, :, place] = little[:, :, 2 - place]
    return Frame(width, height, rgb.tobytes())


# -- from memory to the pixels' bits ----------------------------------------------------------


def _half_words(scan: Scan, memory: bytes, lead: int) -> NDArray[np.uint16]:
    words = np.frombuffer(memory, ">u2" if scan.swap & BSWP else "<u2")
    if bool(scan.swap & BSWP) == bool(scan.swap & HWSWP):  # the upper half word comes first
        words = words.reshape(-1, 2)[:, ::-1].reshape(-1)
    shape, strides = (scan.lines, scan.width), (scan.stride, 2)
    return as_strided(words[lead // 2 :], shape, strides, writeable=False)


def _bytes(scan: Scan, memory: bytes, lead: int, length: int) -> Bytes:
    """``length`` bytes of each line, in the order of its pixels."""
    if scan.swap == 0:
        stream = np.frombuffer(memory, np.uint32).byteswap().view(np.uint8)
    elif scan.swap == HWSWP:
        stream = np.frombuffer(memory, np.uint16).byteswap().view(np.uint8)
    elif scan.swap == BSWP:
        stream = np.frombuffer(memory, np.uint8)
    else:
        halves = np.frombuffer(memory, np.uint16).reshape(-1, 2)
        stream = np.ascontiguousarray(halves[:, ::-1]).reshape(-1).view(np.uint8)
    missing = lead + (scan.lines - 1) * scan.stride + length - stream.size
    if missing > 0:
        stream = np.concatenate((stream, np.zeros(missing, np.uint8)))
    shape, strides = (scan.lines, length), (scan.stride, 1)
    return as_strided(stream[lead:], shape, strides, writeable=False)


def _indices(scan: Scan, memory: bytes, lead: int) -> Bytes:
    """Pixels of 1, 2, 4 or 8 bits."""
    data = _bytes(scan, memory, lead, scan.line_bytes)
    bits = scan.mode.bits
    if bits == 8:
        return data
    if bits == 1:
        return np.unpackbits(data, axis=1)[:, : scan.width]
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    several = data[:, :, np.newaxis] >> shifts & np.uint8((1 << bits) - 1)
    return several.reshape(scan.lines, -1)[:, : scan.width]


# -- from a pixel's bits to its colour --------------------------------------------------------


def _pick(colours: NDArray[np.uint32], values: NDArray[Any]) -> Pixels:
    """``colours[values]``, in half the time: every value has a colour."""
    return np.take(colours, values, mode="wrap")


def _join(red: Any, green: Any, blue: Any) -> NDArray[np.uint32]:
    red, green, blue = (np.asarray(value, np.uint32) for value in (red, green, blue))
    joined: NDArray[np.uint32] = red << 16 | green << 8 | blue
    return joined


def _widen(value: Any, bits: int) -> NDArray[np.uint32]:
    """To 8 bits, so that all ones are 255: the upper bits again below."""
    widened: NDArray[np.uint32] = value << (8 - bits) | value >> (2 * bits - 8)
    return widened


@lru_cache(maxsize=2)
def _colours(is_565: bool) -> NDArray[np.uint32]:
    """The colour of each 16-bit value. 5:5:5:1: the last bit is the lowest of all three colours."""
    value = np.arange(1 << 16, dtype=np.uint32)
    if is_565:
        return _join(_widen(value >> 11, 5), _widen(value >> 5 & 63, 6), _widen(value & 31, 5))
    low = value & 1
    return _join(*(_widen(value >> place & 62 | low, 6) for place in (10, 5, 0)))


def _nibbles(word: int, count: int) -> NDArray[np.uint32]:
    return np.array([(word >> 4 * n & 15) * _SHADE for n in range(count)], np.uint32)


def _true_colour(scan: Scan, memory: bytes, lead: int) -> Pixels:
    return _pick(_colours(scan.is_565), _half_words(scan, memory, lead))


def _full_colour(scan: Scan, memory: bytes, lead: int) -> Pixels:
    if scan.swap:
        data = _bytes(scan, memory, 0, 4 * scan.width)
        words: NDArray[Any] = np.ascontiguousarray(data).view(">u4")
    else:
        raw = np.frombuffer(memory, "<u4")
        words = as_strided(raw, (scan.lines, scan.width), (scan.stride & ~3, 4), writeable=False)
    pixels = words.astype(np.uint32)
    if scan.upper_bytes:
        pixels >>= np.uint32(8)
    else:
        pixels &= np.uint32(0xFFFFFF)
    return pixels


def _palette(scan: Scan, memory: bytes, lead: int) -> Pixels:
    colours = _pick(_colours(scan.is_565), np.array(scan.palette, np.uint16))
    return _pick(colours, _indices(scan, memory, lead))


def _grey(levels: Callable[[Scan], NDArray[np.uint32]]) -> Callable[[Scan, bytes, int], Pixels]:
    def convert(scan: Scan, memory: bytes, lead: int) -> Pixels:
        shades = levels(scan)
        return _pick(_join(shades, shades, shades), _indices(scan, memory, lead))

    return convert


def _three_three_two(scan: Scan, memory: bytes, lead: int) -> Pixels:
    red, green, blue = scan.lookup
    value = np.arange(256)
    colours = _join(
        _nibbles(red, 8)[value >> 5], _nibbles(green, 8)[value >> 2 & 7], _nibbles(blue, 4)[value & 3]
    )
    return _pick(colours, _indices(scan, memory, lead))


def _shades(red: Any, green: Any, blue: Any) -> Pixels:
    return _join(*(np.asarray(value & 15, np.uint32) * _SHADE for value in (red, green, blue)))


def _packed_12(scan: Scan, memory: bytes, lead: int) -> Pixels:
    pairs = -(-scan.width // 2)
    data = _bytes(scan, memory, lead, 3 * pairs).reshape(scan.lines, pairs, 3)
    first, second, third = data[:, :, 0], data[:, :, 1], data[:, :, 2]
    left = _shades(first >> 4, first, second >> 4)
    right = _shades(second, third >> 4, third)
    return np.stack((left, right), axis=2).reshape(scan.lines, -1)[:, : scan.width]


def _unpacked_12(scan: Scan, memory: bytes, lead: int) -> Pixels:
    value = _half_words(scan, memory, lead)
    return _shades(value >> 8, value >> 4, value)


def _upper_12_of_16(scan: Scan, memory: bytes, lead: int) -> Pixels:
    value = _half_words(scan, memory, lead)
    return _shades(value >> 12, value >> 7, value >> 1)


_CONVERTERS: dict[str, Callable[[Scan, bytes, int], Pixels]] = {
    "mono": _grey(lambda scan: np.array([0, 255], np.uint32)),
    "4 greys": _grey(lambda scan: _nibbles(scan.lookup[2], 4)),
    "16 greys": _grey(lambda scan: np.arange(16, dtype=np.uint32) * _SHADE),
    "256 colours": _three_three_two,
    "4096 colours": _packed_12,
    "4096 colours unpacked": _unpacked_12,
    "4096 colours of 16 bpp": _upper_12_of_16,
    "palette": _palette,
    "5:6:5": _true_colour,
    "8:8:8": _full_colour,
}
