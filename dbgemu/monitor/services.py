"""What the monitor needs of the emulator around it, beside the debug session."""

from __future__ import annotations

from typing import Protocol


class Services(Protocol):
    """Implemented by the emulator; each error that a user can cause is a CommandError."""
