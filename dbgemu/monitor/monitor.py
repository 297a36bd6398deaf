"""The monitor: the commands joined with a debug session, whoever types them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from dbgemu.debug.events import FrontEnd, StopEvent, StopKind
from dbgemu.monitor.command import CommandError, CommandSet, Report
from dbgemu.monitor.context import Context

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.monitor.history import History
    from dbgemu.monitor.services import Services

#: seconds that a prompt waits for the news of a stop, so that they come above it
_PATIENCE = 1.0
#: stops that whoever caused them shows: a line on each console for each step of GDB would be noise
_UNTOLD = frozenset((StopKind.STEP, StopKind.RESET))


class NewsReader(Protocol):
    """A console, as far as the monitor knows it."""

    @property
    def on_standard_error(self) -> bool:
        """It has the terminal that standard error goes to."""

    def tell(self, text: str) -> bool:
        """Show ``text``, whole lines, without breaking what is being typed. From any thread.

        False when nobody is there.
        """


class Monitor(FrontEnd):
    """One for each emulator: what is set on one console is listed on the others, and in GDB.

    ``on_stop`` are called for each stop but steps, after it was told on the consoles, on a thread of
    their own, so they may run commands and resume the machine; their context writes on all consoles.
    ``quiet`` decide whether a stop is told: one True keeps it untold. It is closed with the session, and
    ``on_close`` are called then.
    """

    name = "the monitor"

    def __init__(self, session: DebugSession, services: Services | None = None) -> None:
        self.session = session
        self._services = services
        self._commands: CommandSet | None = None
        self.on_stop: list[Callable[[StopEvent, Context], None]] = []
        self.quiet: list[Callable[[StopEvent], bool]] = []
        self.on_close: list[Callable[[], None]] = []
        self._consoles: list[NewsReader] = []
        #: None is the last
        self._news: queue.SimpleQueue[StopEvent | None] = queue.SimpleQueue()
        self._closed = False
        self._unsettled = 0
        self._settled = threading.Condition()
        self._reporter: threading.Thread | None = None
        self._history: History | None = None
        session.closing.append(self.close)

    def close(self) -> None:
        """Tell what there is to tell, and end the threads; no stop is told any more."""
        with self._settled:
            self._closed = True
            self._news.put(None)
        if self._reporter is not None and self._reporter is not threading.current_thread():
            self._reporter.join(_PATIENCE)
        while self.on_close:
            self.on_close.pop()()

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

    @property
    def history(self) -> History:
        """What was typed at prompts, in this run and those before."""
        if self._history is None:
            from dbgemu.monitor.history import History

            self._history = History()
        return self._history

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

    # -- consoles --------------------------------------------------------------------------------

    def attach_console(self, console: NewsReader) -> None:
        """Tell ``console`` of stops from now on."""
        if console not in self._consoles:
            self._consoles.append(console)
            self.session.attach(self)

    def tell(self, text: str) -> bool:
        """Show ``text``, whole lines, on every console; False when nobody is there. From any thread."""
        shown = [console.tell(text) for console in tuple(self._consoles)]
        return any(shown)

    def tell_standard_error(self, text: str) -> bool:
        """Show ``text`` on the console that has standard error's terminal; False when none has."""
        shown = [console.tell(text) for console in tuple(self._consoles) if console.on_standard_error]
        return any(shown)

    def say(self, text: str) -> bool:
        """See :class:`FrontEnd`."""
        return self.tell(text)

    def describe_stop(self, event: StopEvent) -> str:
        """``event`` in one line, as consoles show it: why, where, in which function and source line."""
        from dbgemu.monitor.stops import describe  # with a first stop

        return describe(self.session, event)

    def settle(self) -> None:
        """Wait, not for long, until the news of stops so far were told. Not on the reporter's thread."""
        if threading.current_thread() is not self._reporter:
            with self._settled:
                self._settled.wait_for(lambda: self._unsettled == 0, _PATIENCE)

    def _write(self, text: str) -> None:
        self.tell(text)

    # -- notifications of the session --------------------------------------------------------------

    def stopped(self, event: StopEvent) -> None:
        """Pass the news on: the session is locked."""
        if event.kind in _UNTOLD or not (self._consoles or self.on_stop):
            return
        with self._settled:
            if self._closed:
                return
            self._unsettled += 1
            if self._reporter is None:
                self._reporter = threading.Thread(target=self._report, name="monitor news", daemon=True)
                self._reporter.start()
            self._news.put(event)

    def _report(self) -> None:
        while (event := self._news.get()) is not None:
            try:
                if not any(quiet(event) for quiet in self.quiet):
                    self.tell(self.describe_stop(event) + "\n")
            finally:
                with self._settled:
                    self._unsettled -= 1
                    self._settled.notify_all()
            for hook in tuple(self.on_stop):
                try:
                    hook(event, self.context(self._write))
                except CommandError as error:
                    self.tell(f"{error}\n")
