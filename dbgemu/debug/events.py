"""What happens to a debugged machine, and whom it is told."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dbgemu.debug.breakpoints import Breakpoint
    from dbgemu.debug.watchpoints import Watchpoint
    from dbgemu.engine.cpu import WatchHit


class StopKind(Enum):
    """Why the machine stands still."""

    RESET = "reset"
    PAUSE = "paused"
    STEP = "stepped"
    BREAKPOINT = "breakpoint"
    WATCHPOINT = "watchpoint"
    SHUTDOWN = "shutdown"
    ERROR = "emulator error"


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

    def stopped(self, event: StopEvent) -> None:
        """The machine stopped. Not told to the front end whose own step ended: it has the result."""

    def resumed(self, by: FrontEnd | None) -> None:
        """``by`` (another front end, or the program itself) let the machine run."""

    def was_reset(self, by: FrontEnd | None) -> None:
        """``by`` reset the board."""

    def quitting(self) -> None:
        """The emulator is to end."""
