"""Settings of a benchmark run, and taking turns."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dbgemu.engine.native import cache_folder

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent


def _own_command() -> list[str]:
    return [sys.executable, "-m", "dbgemu"]


def _default_guest() -> Path:
    return Path(os.environ.get("DBGEMU_GUEST", ROOT.parent / "shared" / "guest"))


@dataclass
class Settings:
    """How to measure."""

    runs: int = 5
    #: the command that starts dbgemu
    command: list[str] = field(default_factory=_own_command)
    #: the folder of the Linux guest
    guest: Path = field(default_factory=_default_guest)
    #: size of the CPU-bound program, 0 for the usual one
    scale: int = 0
    notes: list[str] = field(default_factory=list)
    progress: Callable[[str], None] = lambda text: None

    def note(self, text: str) -> None:
        """Keep a sentence for the report."""
        if text not in self.notes:
            self.notes.append(text)

    def interleave(self, sides: Mapping[str, Callable[[], T]], what: str) -> dict[str, list[T]]:
        """Run each side ``runs`` times in turns, back and forth, so that all see the same weather."""
        results: dict[str, list[T]] = {name: [] for name in sides}
        for number in range(self.runs):
            order = list(sides) if number % 2 == 0 else list(sides)[::-1]
            for name in order:
                self.progress(f"{what}: run {number + 1} of {self.runs}, {name}")
                results[name].append(sides[name]())
        return results

    def environment(self) -> dict[str, str]:
        """Environment of processes that run dbgemu: from this checkout, wherever they start.

        Python's bytecode is cached as in an installation, but beside the engine's cache: a checkout
        that may not be written to would be compiled at each start.
        """
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        own = {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(cache_folder() / "bytecode")}
        inherited = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        return inherited | own


def split_command(text: str) -> list[str]:
    """The words of a command, as a shell takes them."""
    return shlex.split(text)
