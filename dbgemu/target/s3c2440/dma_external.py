"""Requests for DMA from outside the chip: the pins nXDREQ0, nXDREQ1, and nXDACK0, nXDACK1 that answer."""

from __future__ import annotations

from collections.abc import Callable

from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.dma_port import DmaPort


def _nobody() -> None:
    pass


class ExternalRequest(DmaPort):
    """A pair of pins. Both are active low: ``acknowledge`` is nXDACK.

    :attr:`level` is whether a request waits to be served: in handshake mode it is taken when service
    begins, and the next one comes with the next falling edge of nXDREQ (S3C2440A UM 8, "External DMA
    DREQ/DACK protocol").
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"nXDREQ{number}")
        self.acknowledge = Line(f"nXDACK{number}", 1)
        #: nXDREQ is low
        self.asserted = False
        #: called when nXDREQ goes up
        self.on_release: Callable[[], None] = _nobody

    def drive(self, level: int) -> None:
        """Take the level that nXDREQ has now."""
        asserted = not level
        if asserted == self.asserted:
            return
        self.asserted = asserted
        if asserted:
            self.request(1)
        else:
            self.level = 0
            self.on_release()

    def take(self) -> None:
        """The request is being served."""
        self.level = 0

    def reset(self) -> None:
        """Nothing is served; what the pin says stays."""
        self.level = int(self.asserted)
        self.acknowledge.set(1)

    def save(self) -> list[int]:
        """State as plain data."""
        return [int(self.asserted), self.level, self.acknowledge.level]

    def load(self, state: list[int]) -> None:
        """Put back what :meth:`save` gave; nothing is asked for."""
        asserted, self.level, acknowledge = state
        self.asserted = bool(asserted)
        self.acknowledge.set(acknowledge)
