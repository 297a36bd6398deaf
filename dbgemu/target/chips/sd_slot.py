"""The slot for SD and MMC cards, with its two switches: card detect and write protect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dbgemu.target.chips.memory_card import MemoryCard
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.s3c2440.gpio_ports import Pin
from dbgemu.target.s3c2440.sdi import Sdi


class SdSlot(Device):
    """Joins a card with the controller. ``detect`` is low with a card; ``protect`` high when locked."""

    title = "SD card slot"

    def __init__(
        self, name: str, *, controller: Sdi, detect: Pin, protect: Pin, log: GuestLog | None = None
    ) -> None:
        super().__init__(name, log)
        self._controller = controller
        self._detect = detect
        self._protect = protect
        detect.wired_to = "SD card detect, 0 with a card"
        protect.wired_to = "SD write protect, 1 when locked"
        detect.pull(1)
        self._drive()

    @property
    def card(self) -> MemoryCard | None:
        """What is in the slot."""
        return self._controller.card

    def insert(self, card: MemoryCard) -> None:
        """Put a card in; one that is there comes out first."""
        if self.card is not None:
            self.eject()
        self._controller.insert(card)
        self._drive()

    def eject(self) -> MemoryCard | None:
        """Pull the card out, and give it back."""
        card = self.card
        self._controller.insert(None)
        self._drive()
        return card

    def _drive(self) -> None:
        card = self.card
        self._protect.drive(int(card is not None and card.medium.read_only))
        self._detect.drive(0 if card is not None else None)

    def facts(self) -> Iterator[Fact]:
        """What the card tells."""
        if self.card is None:
            yield Fact("card", "none")
        else:
            yield from self.card.facts()

    def save(self) -> dict[str, Any]:
        """The state of the card, in a list of none or one; its blocks are in its image."""
        card = self.card
        cards = [] if card is None else [{"kind": card.title, "size": card.medium.size, **card.save()}]
        return {"cards": cards}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave. Another card than the saved one counts as just put in."""
        card = self.card
        for saved in state["cards"]:
            if card is not None and (saved["kind"], saved["size"]) == (card.title, card.medium.size):
                card.load({name: value for name, value in saved.items() if name not in ("kind", "size")})
        self._drive()
