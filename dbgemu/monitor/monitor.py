"""The monitor: the commands joined with a debug session, whoever types them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbgemu.debug.events import FrontEnd
from dbgemu.monitor.command import CommandError, CommandSet, Report
from dbgemu.monitor.context import Context

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.monitor.services import Services


class Monitor(FrontEnd):
    """One for each emulator: what is set on one console is listed on the others, and in GDB."""

    name = "the monitor"

    def __init__(self, session: DebugSession, services: Services | None = None) -> None:
        self.session = session
        self._services = services
        self._commands: CommandSet | None = None

    @property
    def services(self) -> Services:
        """What the emulator can do. CommandError where a script runs a machine without one."""
        if self._services is None:
            raise CommandError("that needs the emulator's program, not a machine alone")
        return self._services

    @property
    def commands(self) -> CommandSet:
        """All commands; made when the first is needed."""
        if self._commands is None:
            from dbgemu.monitor.commands import all_commands  # few starts of the emulator need them

            self._commands = all_commands()
            self.session.attach(self)
        return self._commands

    def context(self, write: Callable[[str], None], *, interactive: bool = False) -> Context:
        """A context for commands that print with ``write``."""
        return Context(self.session, self, write, interactive)

    def run(self, line: str, context: Context | None = None) -> Report:
        """Run one line. CommandError for one that cannot be obeyed."""
        return self.commands.run(context or self.context(lambda text: None), line)

    def execute(self, line: str) -> str:
        """What ``line`` prints, in one piece; an error as its sentence: for GDB's ``monitor``."""
        written: list[str] = []
        try:
            written.append(self.run(line, self.context(written.append)).text)
        except CommandError as error:
            written.append(str(error))
        return "".join(written)
