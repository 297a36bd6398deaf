"""The resistive touch screen that lies on the panel: from pixels to what the converter measures."""

from __future__ import annotations

from collections.abc import Callable

from dbgemu.target.s3c2440.adc import Adc

#: Converted values at the panel's first and last pixel, the same for both axes: the films' electrodes take
#: some of the voltage, so that the visible part does not reach 0 and 1023. Systems calibrate this away.
FIRST, LAST = 80, 943
#: pixels of the panel while nobody knows them
_DEFAULT_SIZE = (240, 320)


class TouchPanel:
    """What a finger does. ``size`` gives the panel's width and height in pixels, None while unknown.

    X grows to the right and Y downwards, in pixels and in converted values alike.
    """

    def __init__(self, adc: Adc, size: Callable[[], tuple[int, int] | None]) -> None:
        self._adc = adc
        self._size = size
        #: where the finger is, or was
        self.x = self.y = 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._size() or _DEFAULT_SIZE

    @property
    def pressed(self) -> bool:
        """The panel is touched."""
        return self._adc.pen is not None

    def set(self, x: int, y: int, pressed: bool) -> None:
        """Put the finger on pixel (``x``, ``y``) from the upper left, or hold it above that.

        Places beside the panel count as its nearest pixel.
        """
        width, height = self.size
        self.x, self.y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        if pressed:
            self._adc.touch(_measured(self.x, width), _measured(self.y, height))
        else:
            self._adc.release()


def _measured(place: int, length: int) -> int:
    return FIRST + round(place * (LAST - FIRST) / max(1, length - 1))
