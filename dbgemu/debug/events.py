"""What happens to a debugged machine, and whom it is told."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dbgemu.debug.breakpoints import Breakpoint
    from dbgemu.debug.catchpoints import Catchpoint
    from dbgemu.debug.semihosting.files import RemoteHost
    from dbgemu.debug.transactions import Transaction
    from dbgemu.debug.watchpoints import Watchpoint
    from dbgemu.engine.cpu import WatchHit


class StopKind(Enum):
    """Why the machine stands still."""

    RESET = "reset"
    PAUSE = "paused"
    STEP = "stepped"
    BREAKPOINT = "breakpoint"
    WATCHPOINT = "watchpoint"
    CATCHPOINT = "catchpoint"
    LIMIT = "ran as far as wanted"
    SHUTDOWN = "shutdown"
    ERROR = "emulator error"


class ChangeKind(Enum):
    """What a front end can change that others may show."""

    POINT_ADDED = "point added"
    POINT_REMOVED = "point removed"
    MEMORY = "memory written"
    REGISTERS = "registers written"
    STATE = "another state loaded"


class Change(NamedTuple):
    """One change, made by front end ``by`` (None: by a script, or the session itself)."""

    kind: ChangeKind
    by: FrontEnd | None
    #: of POINT_ADDED and POINT_REMOVED
    point: Breakpoint | Watchpoint | Catchpoint | None = None
    #: of MEMORY: so many bytes from there, virtual or physical
    address: int = 0
    length: int = 0
    physical: bool = False


class StopEvent(NamedTuple):
    """One stop. ``pc`` is the instruction that would execute next.

    ``number`` counts stops: a front end that resumed the machine when :attr:`DebugSession.last_stop`
    had number n waits for an event with a greater one.
    """

    kind: StopKind
    pc: int
    number: int
    #: those that caused it or, after a step, those that stand at ``pc``
    breakpoints: tuple[Breakpoint, ...] = ()
    watchpoints: tuple[Watchpoint, ...] = ()
    #: the access that a watchpoint stopped before it took effect
    hit: WatchHit | None = None
    message: str = ""
    #: the access in words, where it goes to a device; ``message`` has it too
    transaction: Transaction | None = None
    #: those that caused it
    catchpoints: tuple[Catchpoint, ...] = ()
    #: with SHUTDOWN: the exit status of a guest that told of its end
    status: int = 0
    #: a step that executed nothing: a semihosting call has to wait, which it must not do there
    waits: bool = False


class FrontEnd:
    """Someone who debugs: a GDB client, a monitor. Owns the break- and watchpoints it sets.

    The notifications come on whatever thread brought the change about, while the session is locked:
    they must only pass the news on.
    """

    #: how messages name this front end
    name = "debugger"

    @property
    def holding(self) -> bool:
        """True while someone behind this front end believes that the machine stands still."""
        return False

    @property
    def semihosting(self) -> RemoteHost | None:
        """Who executes semihosting calls on this front end's side, if it can just now. On any thread."""
        return None

    def stopped(self, event: StopEvent) -> None:
        """The machine stopped. Not told to the front end whose own step ended: it has the result."""

    def resumed(self, by: FrontEnd | None) -> None:
        """``by`` (another front end, or the program itself) let the machine run."""

    def changed(self, change: Change) -> None:
        """Another front end set or took away a point, or wrote memory or registers."""

    def was_reset(self, by: FrontEnd | None) -> None:
        """``by`` reset the board."""

    def quitting(self) -> None:
        """The emulator is to end."""

    def say(self, text: str) -> bool:
        """Show ``text``, whole lines that a point of somebody prints; False where nobody would see it."""
        return False
