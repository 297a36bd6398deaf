"""What passes between a host and the device controller on the USB cable, a transaction at a time."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Protocol


class Answer(Enum):
    """How a device ends a transaction that brings the host no data (USB 2.0 chapter 8.4.6)."""

    ACK = "ack"
    NAK = "nak"
    STALL = "stall"
    #: no packet at all: there is no such device or endpoint
    NONE = "none"


class Packet(NamedTuple):
    """A data packet; ``toggle`` 0 is DATA0, 1 is DATA1."""

    toggle: int
    data: bytes


class DeviceSide(Protocol):
    """What a device controller offers to who has the other end of its cable."""

    #: called when a transaction that was not acknowledged may have another answer now
    on_change: Callable[[], None]
    #: called when the device, suspended, wants the bus to go on
    on_remote_wakeup: Callable[[], None]

    def signal_reset(self, level: int) -> None:
        """The host holds the bus in reset (1), or ends that (0)."""

    def start_frames(self) -> None:
        """Frames of 1 ms begin: the bus is in use."""

    def stop_frames(self) -> None:
        """The bus is idle from now on: suspended, or the cable is out."""

    def signal_resume(self) -> None:
        """The host ends the suspended state."""

    def setup(self, address: int, packet: bytes) -> Answer:
        """SETUP with its eight bytes, to endpoint 0."""

    def give(self, address: int, endpoint: int, packet: Packet) -> Answer:
        """OUT with a data packet."""

    def take(self, address: int, endpoint: int) -> Packet | Answer:
        """IN: the data packet that the device sends, acknowledged."""
