"""The plug between a network chip and whatever network it is on."""

from __future__ import annotations

from collections.abc import Callable


class NetPort:
    """Ethernet frames without preamble and checksum, 14 to 1518 bytes, both ways.

    The chip calls ``transmit`` and sets ``on_receive`` and ``on_link``; the network's side sets
    ``transmit`` and calls :meth:`receive` and :meth:`set_link`, on the machine's thread.
    """

    def __init__(self) -> None:
        self.transmit: Callable[[bytes], None] = lambda frame: None
        self.on_receive: Callable[[bytes], None] = lambda frame: None
        self.on_link: Callable[[bool], None] = lambda up: None
        #: the cable is plugged in
        self.link = True

    def receive(self, frame: bytes) -> None:
        """A frame comes in from the network."""
        if self.link:
            self.on_receive(frame)

    def set_link(self, up: bool) -> None:
        """Plug the cable in, or pull it out."""
        if up != self.link:
            self.link = up
            self.on_link(up)
