"""Where a peripheral and the DMA controller meet: a request, and the FIFO behind it."""

from __future__ import annotations

from collections.abc import Callable


class DmaPort:
    """One direction of a peripheral, as a source of DMA requests.

    A peripheral overrides (or passes) what moves data; it calls :meth:`request` whenever its FIFO
    begins or ceases to want service. A source without data of its own, such as a timer, only calls
    :meth:`pulse`.
    """

    def __init__(
        self,
        name: str,
        *,
        read: Callable[[int, int], bytes] | None = None,
        write: Callable[[int, bytes], int] | None = None,
        catch_up: Callable[[], None] | None = None,
    ) -> None:
        """``read``, ``write`` and ``catch_up`` are what the attributes of these names say."""
        self.name = name
        self.level = 0
        #: ``read(unit, maximum)``: up to ``maximum`` bytes that are there now, in whole units of
        #: ``unit`` bytes, taken out of the FIFO; None for a port that gives no data
        self.read = read
        #: ``write(unit, data)``: how many bytes of ``data``, whole units, the FIFO took
        self.write = write
        #: lets what should have moved until now move, before the guest looks at the channel's position;
        #: for a port that asks for data in batches
        self.catch_up = catch_up
        #: the channels that listen: called when the level rises, and for each pulse
        self.listeners: list[Callable[[], None]] = []

    def request(self, level: int | bool) -> None:
        """Want service (1) from now on, or no longer. Data may move before this returns."""
        level = int(level)
        rises = level > self.level
        self.level = level
        if rises:
            self._call()

    def pulse(self) -> None:
        """Ask for one transfer."""
        self.request(1)
        self.request(0)

    def _call(self) -> None:
        for listener in self.listeners:
            listener()
