"""What the monitor needs of the emulator around it, beside the debug session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from dbgemu.debug.snapshots.book import Snapshots


class Image(NamedTuple):
    """A file behind a flash chip. ``snapshot``: it is not written to, changes are lost at the end."""

    device: str
    path: Path
    size: int
    snapshot: bool


class Connection(NamedTuple):
    """What a port, the monitor or the GDB server is connected to on the host."""

    name: str
    where: str


class NetworkEnd(NamedTuple):
    """Something on the board's network; frames from it and to it are counted."""

    name: str
    where: str
    link: bool
    received: int
    sent: int


class NetworkServices(Protocol):
    """The board's network; each error that a user can cause is a CommandError."""

    def ends(self) -> Sequence[NetworkEnd]:
        """What the board's chip is on a network with."""

    def set_link(self, name: str, up: bool) -> None:
        """Plug an end in, or pull it out."""

    def add_forward(self, network: str | None, rule: str) -> str:
        """Let a port of the host lead into the guest; what is forwarded then."""

    def remove_forward(self, network: str | None, rule: str) -> str:
        """Let it lead there no more; where it was."""

    def connections(self) -> Sequence[tuple[str, str]]:
        """Each user network's name, and its connections as text."""


class MediaServices(Protocol):
    """What can be put in and pulled out; each error that a user can cause is a CommandError."""

    def change(self, device: str, file: str, *, read_only: bool = False) -> None:
        """Put another card into the slot."""

    def eject(self, device: str) -> None:
        """Pull the card out."""

    def add_drive(self, text: str) -> str:
        """Make a drive of what an argument of ``-drive`` says; its name."""

    def usb_add(self, text: str, *, old: bool) -> str:
        """Plug in what an argument of ``-usbdevice`` (``old``) or ``-device`` says; its name."""

    def usb_remove(self, name: str) -> None:
        """Pull out a device by its name or its port."""


class Services(Protocol):
    """Implemented by the emulator; each error that a user can cause is a CommandError."""

    @property
    def name(self) -> str:
        """The machine's name (``-name``), or nothing."""

    @property
    def snapshots(self) -> Snapshots:
        """The saved states."""

    @property
    def network(self) -> NetworkServices:
        """The board's network."""

    @property
    def media(self) -> MediaServices:
        """The card slot and the USB."""

    def images(self) -> Sequence[Image]:
        """The image files that are in use."""

    def connections(self) -> Sequence[Connection]:
        """Everything that has a character back end, the GDB server too."""

    @property
    def log_items(self) -> frozenset[str]:
        """What is logged: names of :data:`dbgemu.options.LOG_ITEMS`."""

    def log(self, items: Iterable[str]) -> None:
        """Log these from now on, and nothing else."""

    def log_to(self, path: Path | None) -> None:
        """Log to a file from now on; None: to the terminal."""

    def serve_gdb(self, where: str | None) -> str | None:
        """Serve GDB there, and not where it was served before; where that is. None: not at all."""
