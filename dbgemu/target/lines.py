"""Wires between blocks: a level that one side drives and others listen to."""

from __future__ import annotations

from collections.abc import Callable

Listener = Callable[[int], None]


class Line:
    """A wire with a level of 0 or 1: an interrupt request, a pin, a clock gate.

    Listeners are called with the new level, in the order they were connected, only when it changes.
    """

    __slots__ = ("level", "listeners", "name")

    def __init__(self, name: str, level: int = 0) -> None:
        self.name = name
        self.level = level
        self.listeners: list[Listener] = []

    def connect(self, listener: Listener) -> None:
        """Call ``listener(level)`` at each change from now on."""
        self.listeners.append(listener)

    def set(self, level: int | bool) -> None:
        """Drive the line to ``level``."""
        level = int(level)
        if level != self.level:
            self.level = level
            for listener in self.listeners:
                listener(level)

    def pulse(self) -> None:
        """Drive to 1 and back to 0: what an edge-triggered receiver needs."""
        self.set(1)
        self.set(0)

    def __repr__(self) -> str:
        return f"Line({self.name!r}, {self.level})"
