"""What can be on an SPI bus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class SpiDevice(Protocol):
    """A device that an SPI master selects and exchanges bytes with; scripts bring their own."""

    def select(self, level: int) -> None:
        """The chip select line has this level from now on: 0 usually means selected."""

    def transfer(self, byte: int) -> int:
        """The master sends ``byte`` and gets the returned one, both 0 to 255."""


class SelectLine(Protocol):
    """The line that selects a device: a pin of the chip, or any Line."""

    @property
    def level(self) -> int:
        """Its level now, 0 or 1."""

    def connect(self, listener: Callable[[int], None]) -> None:
        """Call ``listener(level)`` at each change."""
