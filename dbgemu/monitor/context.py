"""What a command has at hand when it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbgemu.monitor.command import CommandError

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.monitor.monitor import Monitor
    from dbgemu.monitor.services import Services

#: seconds between two looks at :attr:`Context.cancelled` while something else is waited for
_LOOK = 0.1


@dataclass
class ConsoleSettings:
    """What a user can change about one console."""

    #: long output stops after each page
    pagination: bool = True
    #: escape sequences, keys and colours: on, off, or as the other side is (None)
    terminal: bool | None = None


class Cancelled(CommandError):
    """The user pressed Ctrl-C: the command ends here, in order."""

    def __init__(self) -> None:
        super().__init__("interrupted")


@dataclass(frozen=True)
class Context:
    """Where a command runs: on a console, from GDB, or from Python.

    ``monitor`` owns the points that commands set, whoever typed them. ``interactive``: a person is at
    the other end, so that a command may ask, page or wait for keys.

    **Printing.** What a handler returns is printed when it ends; a short command only returns. One
    that takes long prints as it goes with ``write``, which may be called from any thread, any number of
    times, also with parts of lines; it takes text with plain newlines. On a console it is shown at once,
    above the prompt when the command has ended by then; for GDB and Python it is collected.

    **Being interrupted.** Commands run on the console's own thread, not on the machine's and not on the
    I/O thread, so they may wait. Ctrl-C sets ``cancelled``. A command that loops calls
    :meth:`check_cancelled` each round, as often as it likes (it costs 0.1 us or so); one that waits uses
    :meth:`wait`; both raise :class:`Cancelled`, which a handler lets pass, after ``finally`` has undone
    what must not stay. A command that lets the machine run and waits for its stop halts the machine
    when it is interrupted, as gdb does.

    **Going on.** ``repeated``: an empty line runs the command once more, with the same arguments; a
    ``repeatable`` command then goes on from where it was (``x``, ``list``, ``disassemble``).

    **Asking for more lines.** :meth:`block` reads lines up to ``end``: from the script that the command
    stands in, or from the person, as gdb's ``commands`` does.
    """

    session: DebugSession
    monitor: Monitor
    write: Callable[[str], None]
    interactive: bool = False
    #: set by Ctrl-C; never set where nobody can press it
    cancelled: threading.Event = field(default_factory=threading.Event)
    #: an empty line ran the last command again
    repeated: bool = False
    #: gives the next line; EOFError when there is none. None where nobody can give any (GDB, Python)
    more: Callable[[], str] | None = None
    #: how this console behaves, which some commands change; None where there is none
    settings: ConsoleSettings | None = None
    #: how many ``source`` are around this command
    depth: int = 0

    @property
    def services(self) -> Services:
        """What the emulator around the machine can do. CommandError where there is none."""
        return self.monitor.services

    def block(self) -> list[str]:
        """The lines that follow, up to ``end``. CommandError where none can follow, or ``end`` is missing."""
        if self.more is None:
            raise CommandError("the lines of that command can be given on a console or in a script only")
        lines: list[str] = []
        try:
            while (line := self.more().strip()) != "end":
                lines.append(line)
        except EOFError:
            raise CommandError("the line 'end' is missing") from None
        return lines

    def check_cancelled(self) -> None:
        """Raise Cancelled once Ctrl-C was pressed."""
        if self.cancelled.is_set():
            raise Cancelled

    def wait(self, condition: Callable[[float], object]) -> None:
        """Wait until ``condition(seconds)`` is true, which itself waits that long: ``Event.wait`` for one.

        Raises Cancelled.
        """
        while not condition(_LOOK):
            self.check_cancelled()
