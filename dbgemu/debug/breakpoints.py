"""The book of breakpoints: who set which, at what address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from dbgemu.debug.native_filter import Conditional, NativeFilter
from dbgemu.debug.points import Point
from dbgemu.engine.cpu import TranslationFault

if TYPE_CHECKING:
    from dbgemu.debug.events import FrontEnd
    from dbgemu.engine.cpu import Cpu


#: marks the physical addresses among the keys of the book
_PHYSICAL = 1 << 32


@dataclass(eq=False, kw_only=True)
class Breakpoint(Point):
    """A stop before the instruction at virtual ``address``, or a ``physical`` one under any other.

    A software and a hardware breakpoint do the same here (neither changes memory); the kind is kept
    because debuggers ask to be told which one was hit.
    """

    address: int
    hardware: bool = False
    #: it stays, with its action, when its owner leaves
    persistent: bool = False
    physical: bool = False

    @property
    def key(self) -> int:
        """Where the book keeps it: physical addresses come behind the virtual ones."""
        return self.address | (_PHYSICAL if self.physical else 0)


class BreakpointBook:
    """Every breakpoint of every front end. Used only while the machine stands still, or on its thread.

    Several may stand at one address: the CPU's is set with the first and taken away with the last.
    """

    def __init__(self, cpu: Cpu, numbers: Iterator[int]) -> None:
        self._cpu = cpu
        self._by_id: dict[int, Breakpoint] = {}
        #: called with a point and whether it was added, or else removed
        self.on_change: Callable[[Breakpoint, bool], None] = lambda point, added: None
        self._at: dict[int, tuple[Breakpoint, ...]] = {}
        #: addresses where the CPU stops for someone who keeps books of their own
        self._claims: Counter[int] = Counter()
        #: gives the conditions of those that claim an address
        self.claimants: Callable[[int], tuple[Conditional, ...]] = lambda address: ()
        self._filter = NativeFilter(cpu)
        self._numbers = numbers
        self._internal_numbers = count(-1, -1)
        self._physical = 0

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

    def here(self, pc: int) -> tuple[Breakpoint, ...]:
        """Those at virtual address ``pc``, and at the physical address that it is mapped to now."""
        found = self._at.get(pc, ())
        if self._physical:
            try:
                physical = self._cpu.translate(pc)
            except TranslationFault:
                return found
            found += self._at.get(physical | _PHYSICAL, ())
        return found

    def add(
        self,
        owner: FrontEnd | None,
        address: int,
        *,
        hardware: bool = False,
        temporary: bool = False,
        physical: bool = False,
        internal: bool = False,
    ) -> Breakpoint:
        """Set a breakpoint at virtual ``address``, or a ``physical`` one.

        An ``internal`` one, of a step for example, has a number below 0: users do not see it.
        """
        number = next(self._internal_numbers if internal else self._numbers)
        breakpoint_ = Breakpoint(
            id=number,
            owner=owner,
            temporary=temporary,
            address=address,
            hardware=hardware,
            physical=physical,
        )
        self._by_id[breakpoint_.id] = breakpoint_
        here = self._at.get(breakpoint_.key, ())
        self._at[breakpoint_.key] = (*here, breakpoint_)
        if physical:
            self._physical += 1
            if not here:
                self._cpu.add_breakpoint(address, physical=True)
        else:
            self._filter.changed(address)
            if not here and not self._claims[address]:
                self._cpu.add_breakpoint(address)
        self.on_change(breakpoint_, True)
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
        address, key = breakpoint_.address, breakpoint_.key
        left = tuple(other for other in self._at[key] if other is not breakpoint_)
        if left:
            self._at[key] = left
        else:
            del self._at[key]
        if breakpoint_.physical:
            self._physical -= 1
            if not left:
                self._cpu.remove_breakpoint(address, physical=True)
        else:
            self._filter.changed(address)
            if not left and not self._claims[address]:
                self._cpu.remove_breakpoint(address)
        self.on_change(breakpoint_, False)

    def remove_owned(self, owner: FrontEnd) -> None:
        """Take away all that ``owner`` set; persistent ones stay, and are nobody's."""
        for breakpoint_ in [item for item in self._by_id.values() if item.owner is owner]:
            if breakpoint_.persistent:
                breakpoint_.owner = None
            else:
                self.remove(breakpoint_)

    def set_condition(self, breakpoint_: Breakpoint, condition: Callable[[], bool] | None) -> None:
        """Let ``breakpoint_`` stop only when ``condition`` is true; always with None."""
        breakpoint_.condition = condition
        self._filter.changed(breakpoint_.address)

    def passed_by(self, address: int) -> None:
        """The machine came by ``address`` and no breakpoint there was a reason to stop."""
        points: tuple[Conditional, ...] = self.at(address)
        if address in self._claims:
            points += self.claimants(address)
        self._filter.passed(address, points)

    def claim(self, address: int) -> None:
        """Let the CPU stop in front of virtual ``address`` for something that is no breakpoint."""
        self._filter.changed(address)
        self._claims[address] += 1
        if self._claims[address] == 1 and address not in self._at:
            self._cpu.add_breakpoint(address)

    def disclaim(self, address: int) -> None:
        """Take one claim of ``address`` back."""
        self._filter.changed(address)
        self._claims[address] -= 1
        if not self._claims[address]:
            del self._claims[address]
            if address not in self._at:
                self._cpu.remove_breakpoint(address)
