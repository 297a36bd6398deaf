"""What the guest did wrong: accesses that no driver should make. Reported, never fatal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class GuestError:
    """One wrong access: which device saw it and, where known, the guest's pc."""

    device: str
    message: str
    pc: int | None

    def __str__(self) -> str:
        where = f" at pc 0x{self.pc:08x}" if self.pc is not None else ""
        return f"{self.device}: {self.message}{where}"


class GuestLog:
    """Collects guest errors and hands each to its listeners (``-d guest_errors``, traces)."""

    def __init__(self) -> None:
        self.count = 0
        self.listeners: list[Callable[[GuestError], None]] = []
        self.current_pc: Callable[[], int | None] = lambda: None

    def error(self, device: str, message: str) -> None:
        """Report that the guest did ``message`` (a clause without full stop) to ``device``."""
        self.count += 1
        if self.listeners:
            entry = GuestError(device, message, self.current_pc())
            for listener in self.listeners:
                listener(entry)
