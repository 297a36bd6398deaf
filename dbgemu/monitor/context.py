"""What a command has at hand when it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.monitor.monitor import Monitor
    from dbgemu.monitor.services import Services


@dataclass(frozen=True)
class Context:
    """Where a command runs: on a console, from GDB, or from Python.

    ``monitor`` owns the points that commands set, whoever typed them. ``write`` prints text at once,
    before the command ends. ``interactive``: a person is at the other end, so that a command may ask,
    page or wait for keys.
    """

    session: DebugSession
    monitor: Monitor
    write: Callable[[str], None]
    interactive: bool = False

    @property
    def services(self) -> Services:
        """What the emulator around the machine can do. CommandError where there is none."""
        return self.monitor.services
