"""What the guest did wrong: accesses that no driver should make. Reported, never fatal."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class GuestError(NamedTuple):
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


class Repeats:
    """How often the same place of the guest has done wrong: a loop must not flood a log.

    A place is a device and a pc, or a device and what was done where no pc is known.
    """

    #: so many lines from one place come without a pause
    ALWAYS = 5
    #: places that are remembered; then all are forgotten, and begin anew
    _MOST = 10_000

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int | str], int] = {}

    def note(self, error: GuestError) -> str | None:
        """What a log adds to the error's line; None for no line at all: one of many.

        Of many the first few have lines, then the 10th, the 100th and so on.
        """
        key = error.device, error.message if error.pc is None else error.pc
        count = self._counts.get(key, 0) + 1
        if count == 1 and len(self._counts) >= self._MOST:
            self._counts.clear()
        self._counts[key] = count
        if count < self.ALWAYS:
            return ""
        if count == self.ALWAYS:
            return " (again and again: the next line comes at 10 times, then at 100, ...)"
        return f" ({count} times)" if str(count).rstrip("0") == "1" else None
