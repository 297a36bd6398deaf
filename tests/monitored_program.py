"""A small program under a monitor, for tests of its commands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from debugged_program import Debugged, debugged_program

from dbgemu.monitor.command import CommandError
from dbgemu.monitor.monitor import Monitor


class Screen:
    """A console that keeps what it is told."""

    on_standard_error = False

    def __init__(self) -> None:
        self.text = ""
        self._changed = threading.Condition()

    def tell(self, text: str) -> bool:
        with self._changed:
            self.text += text
            self._changed.notify_all()
        return True

    def wait_for(self, text: str) -> str:
        """All that was told, once ``text`` was."""
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.text, 20), f"no {text!r} in {self.text!r}"
            return self.text


@dataclass
class Monitored:
    """The program and its monitor."""

    debugged: Debugged
    monitor: Monitor
    screen: Screen = field(default_factory=Screen)

    def __call__(self, line: str) -> str:
        """What ``line`` prints; CommandError as it comes."""
        return self.monitor.run(line).text

    def data(self, line: str) -> Any:
        """What ``line`` gives to scripts."""
        return self.monitor.run(line).data

    def error(self, line: str) -> str:
        """The sentence that refuses ``line``."""
        try:
            text = self.monitor.run(line).text
        except CommandError as error:
            return str(error)
        raise AssertionError(f"{line!r} was obeyed: {text!r}")

    def __getitem__(self, label: str) -> int:
        return self.debugged.program[label]


@contextmanager
def monitored_program(source: str) -> Iterator[Monitored]:
    """``source`` under a monitor; see :func:`debugged_program`."""
    with debugged_program(source) as debugged:
        monitored = Monitored(debugged, Monitor(debugged.session))
        monitored.monitor.attach_console(monitored.screen)
        assert monitored.monitor.commands
        yield monitored
