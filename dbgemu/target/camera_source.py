"""What the camera interface sees: frames of pictures, from scripts or made by the interface itself."""

from __future__ import annotations

from typing import Protocol


class CameraSource(Protocol):
    """A camera."""

    def frame(self, width: int, height: int) -> bytes:
        """The next picture: red, green and blue of each pixel, one byte each, line by line from the top."""


#: white, yellow, cyan, green, magenta, red, blue, black
_BARS = tuple(bytes((red, green, blue)) for green in (255, 0) for red in (255, 0) for blue in (255, 0))


def pattern(number: int, width: int, height: int) -> bytes:
    """The pattern of CIGCTRL's TESTPATTERN 1 (colour bars), 2 (grey from left to right), 3 (downwards)."""
    if number == 1:
        line = b"".join(_BARS[x * len(_BARS) // width] for x in range(width))
        return line * height
    if number == 2:
        line = bytes(byte for x in range(width) for byte in (x & 0xFF,) * 3)
        return line * height
    return b"".join(bytes((y & 0xFF,)) * (3 * width) for y in range(height))
