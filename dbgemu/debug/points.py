"""What break-, watch- and catchpoints have in common: when they count, and when they stop the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbgemu.debug.events import FrontEnd


@dataclass(eq=False, kw_only=True)
class Point:
    """A reason to stop that somebody has set."""

    id: int
    owner: FrontEnd | None
    enabled: bool = True
    #: removed by its first stop
    temporary: bool = False
    #: pass by this many times before stopping
    ignore: int = 0
    #: stop only when this gives True
    condition: Callable[[], bool] | None = None
    #: run at each hit that is a reason to stop; the machine runs on when it gives False
    action: Callable[[], bool] | None = None
    #: how often it happened with the condition true
    hits: int = 0

    def reached(self) -> bool:
        """Count what just happened; True when it is a reason to stop."""
        if not self.enabled or (self.condition is not None and not self.condition()):
            return False
        self.hits += 1
        if self.ignore:
            self.ignore -= 1
            return False
        return self.action is None or self.action()
