"""Joins a serial port of the board with a back end on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dbgemu.host.backend import Chardev, ChardevEvent

_BYTES = tuple(bytes((value,)) for value in range(256))


class SerialPort(Protocol):
    """What a UART offers to the host (see :class:`dbgemu.target.s3c2440.uart.Uart`)."""

    on_transmit: Callable[[int], None]
    on_room: Callable[[], None]

    @property
    def can_receive(self) -> int:
        """Characters that it has room for."""

    def receive(self, data: bytes) -> None:
        """Give it characters."""

    def receive_break(self) -> None:
        """Give it a break."""


def join(
    port: SerialPort,
    backend: Chardev,
    post: Callable[[Callable[[], None]], None],
    on_event: Callable[[ChardevEvent], None] = lambda event: None,
) -> None:
    """Connect ``port`` and ``backend`` both ways.

    ``post`` runs an action on the machine's thread, where the port lives. Input is held while the
    port has no room, so a file piped into the console arrives whole, however slow the guest is. A
    break goes to the port; ``on_event`` gets all other events, on the I/O thread.
    """

    def receive(data: bytes) -> None:
        port.receive(data)
        if not port.can_receive:
            backend.hold()

    def event(what: ChardevEvent) -> None:
        if what is ChardevEvent.BREAK:
            post(port.receive_break)
        else:
            on_event(what)

    write = backend.write
    port.on_room = backend.release
    port.on_transmit = lambda character: write(_BYTES[character])
    backend.on_event = event
    backend.on_receive = lambda data: post(lambda: receive(data))
