"""The book of breakpoints: who set which, at what address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbgemu.debug.events import FrontEnd
    from dbgemu.engine.cpu import Cpu


@dataclass(eq=False)
class Breakpoint:
    """A stop before the instruction at virtual ``address``.

    A software and a hardware breakpoint do the same here (neither changes memory); the kind is kept
    because debuggers ask to be told which one was hit.
    """

    id: int
    owner: FrontEnd | None
    address: int
    hardware: bool = False
    #: removed by its first stop
    temporary: bool = False
    enabled: bool = True
    #: pass by this many times before stopping
    ignore: int = 0
    #: stop only when this gives True
    condition: Callable[[], bool] | None = None
    #: how often it was reached with its condition true
    hits: int = 0

    def reached(self) -> bool:
        """Count one arrival; True when it is a reason to stop."""
        if not self.enabled or (self.condition is not None and not self.condition()):
            return False
        self.hits += 1
        if self.ignore:
            self.ignore -= 1
            return False
        return True


class BreakpointBook:
    """Every breakpoint of every front end. Used only while the machine stands still, or on its thread.

    Several may stand at one address: the CPU's is set with the first and taken away with the last.
    """

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._by_id: dict[int, Breakpoint] = {}
        self._at: dict[int, tuple[Breakpoint, ...]] = {}
        self._last_id = 0

    def __iter__(self) -> Iterator[Breakpoint]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, number: int) -> Breakpoint | None:
        """The breakpoint with that id."""
        return self._by_id.get(number)

    def at(self, address: int) -> tuple[Breakpoint, ...]:
        """Those at ``address``, in the order they were set; disabled ones too."""
        return self._at.get(address, ())

    def add(
        self,
        owner: FrontEnd | None,
        address: int,
        *,
        hardware: bool = False,
        temporary: bool = False,
    ) -> Breakpoint:
        """Set a breakpoint at virtual ``address``."""
        self._last_id += 1
        breakpoint_ = Breakpoint(self._last_id, owner, address, hardware, temporary)
        self._by_id[breakpoint_.id] = breakpoint_
        here = self._at.get(address, ())
        self._at[address] = (*here, breakpoint_)
        if not here:
            self._cpu.add_breakpoint(address)
        return breakpoint_

    def find(self, owner: FrontEnd | None, address: int, hardware: bool) -> Breakpoint | None:
        """The owner's breakpoint of that kind at ``address``."""
        for candidate in self._at.get(address, ()):
            if candidate.owner is owner and candidate.hardware == hardware:
                return candidate
        return None

    def remove(self, breakpoint_: Breakpoint) -> None:
        """Take the breakpoint away; nothing happens when it is gone already."""
        if self._by_id.pop(breakpoint_.id, None) is None:
            return
        address = breakpoint_.address
        left = tuple(other for other in self._at[address] if other is not breakpoint_)
        if left:
            self._at[address] = left
        else:
            del self._at[address]
            self._cpu.remove_breakpoint(address)

    def remove_owned(self, owner: FrontEnd) -> None:
        """Take away all that ``owner`` set."""
        for breakpoint_ in [item for item in self._by_id.values() if item.owner is owner]:
            self.remove(breakpoint_)
