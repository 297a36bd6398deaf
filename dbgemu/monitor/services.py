"""What the monitor needs of the emulator around it, beside the debug session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dbgemu.debug.snapshots.book import Snapshots


@dataclass(frozen=True)
class Image:
    """A file behind a flash chip. ``snapshot``: it is not written to, changes are lost at the end."""

    device: str
    path: Path
    size: int
    snapshot: bool


@dataclass(frozen=True)
class Connection:
    """What a port, the monitor or the GDB server is connected to on the host."""

    name: str
    where: str


class Services(Protocol):
    """Implemented by the emulator; each error that a user can cause is a CommandError."""

    @property
    def name(self) -> str:
        """The machine's name (``-name``), or nothing."""

    @property
    def snapshots(self) -> Snapshots:
        """The saved states."""

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
