"""What the blocks need to know of the clock tree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Clocks(Protocol):
    """The chip's clocks in Hz, and who wants to hear when they change."""

    @property
    def fclk(self) -> int:
        """The core clock."""

    @property
    def hclk(self) -> int:
        """The AHB clock: memory, LCD, DMA, NAND, USB host."""

    @property
    def pclk(self) -> int:
        """The APB clock: timers, UARTs and the other slow blocks."""

    @property
    def uclk(self) -> int:
        """The USB clock."""

    @property
    def on_change(self) -> list[Callable[[], None]]:
        """Called after any of them has changed."""


@dataclass
class FixedClocks:
    """The clocks that a mini2440's bootloader sets up, for a block that is run alone."""

    fclk: int = 405_000_000
    hclk: int = 101_250_000
    pclk: int = 50_625_000
    uclk: int = 48_000_000
    on_change: list[Callable[[], None]] = field(default_factory=list)
