"""The book of watchpoints: who watches which bytes, for which accesses and values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from dbgemu.debug.points import Point
from dbgemu.target.arm.state import MAX_WATCHPOINTS

if TYPE_CHECKING:
    from dbgemu.debug.events import FrontEnd
    from dbgemu.debug.transactions import DeviceMap
    from dbgemu.engine.cpu import Cpu, WatchHit


class WatchKind(Enum):
    """Which accesses a watchpoint stops: (reads, writes, only writes that change the bytes)."""

    WRITE = (False, True, False)
    READ = (True, False, False)
    ACCESS = (True, True, False)
    CHANGE = (False, True, True)

    @property
    def reads(self) -> bool:
        """It stops reads."""
        return self.value[0]

    @property
    def writes(self) -> bool:
        """It stops writes."""
        return self.value[1]

    @property
    def changes(self) -> bool:
        """It stops only writes that change what is watched."""
        return self.value[2]


@dataclass(eq=False, kw_only=True)
class Watchpoint(Point):
    """A stop before an access to any of ``length`` bytes from ``address``.

    With ``value``, only one that carries it, as far as ``mask`` has bits: the value written, or the one
    that would be read, of the whole access.
    """

    address: int
    length: int
    kind: WatchKind
    #: ``address`` is physical: it counts under whatever virtual address it is accessed
    physical: bool = False
    value: int | None = None
    mask: int = 0xFFFFFFFF

    def _start(self, hit: WatchHit) -> int:
        return hit.physical if self.physical and hit.physical is not None else hit.address

    def matches(self, hit: WatchHit) -> bool:
        """The access ``hit`` touches a watched byte in the watched way."""
        start = self._start(hit)
        return (
            self.enabled
            and start < self.address + self.length
            and self.address < start + hit.size
            and (self.kind.writes if hit.write else self.kind.reads)
        )

    def wants(self, hit: WatchHit, devices: DeviceMap) -> bool:
        """The access, which matches, carries a value that is waited for."""
        if self.value is not None:
            carried = devices.value(hit)
            if carried is None or (carried ^ self.value) & self.mask:
                return False
        if self.kind.changes and hit.value is not None:
            present = devices.present(hit)
            if present is None:
                return True
            start = self._start(hit)
            changed = (present ^ hit.value).to_bytes(4, "little")
            return any(
                changed[byte]
                for byte in range(hit.size)
                if self.address <= start + byte < self.address + self.length
            )
        return True

    def first_byte(self, hit: WatchHit) -> int:
        """The lowest watched byte that the access touches: its virtual address."""
        start = self._start(hit)
        return hit.address + max(self.address, start) - start


class _Range(NamedTuple):
    """What the CPU is told to watch."""

    physical: bool
    reads: bool
    writes: bool
    first: int
    end: int


class WatchpointBook:
    """Every watchpoint of every front end. Used only while the machine stands still, or on its thread.

    The CPU watches few ranges: where there are more, those that lie nearest to each other become one,
    and which access counts is decided here.
    """

    def __init__(self, cpu: Cpu, devices: DeviceMap, numbers: Iterator[int]) -> None:
        self._cpu = cpu
        self._devices = devices
        self._numbers = numbers
        self._by_id: dict[int, Watchpoint] = {}
        #: called with a point and whether it was added, or else removed
        self.on_change: Callable[[Watchpoint, bool], None] = lambda point, added: None
        self._watched: list[_Range] = []

    def __iter__(self) -> Iterator[Watchpoint]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, number: int) -> Watchpoint | None:
        """The watchpoint with that id."""
        return self._by_id.get(number)

    def add(
        self,
        owner: FrontEnd | None,
        address: int,
        length: int,
        kind: WatchKind,
        *,
        physical: bool = False,
        value: int | None = None,
        mask: int = 0xFFFFFFFF,
        temporary: bool = False,
    ) -> Watchpoint:
        """Watch ``length`` (> 0) bytes from virtual ``address``, or a ``physical`` one."""
        if length <= 0:
            raise ValueError(f"a watchpoint of {length} bytes watches nothing: give at least 1")
        watchpoint = Watchpoint(
            id=next(self._numbers),
            owner=owner,
            temporary=temporary,
            address=address,
            length=length,
            kind=kind,
            physical=physical,
            value=value,
            mask=mask,
        )
        self._by_id[watchpoint.id] = watchpoint
        self._tell()
        self.on_change(watchpoint, True)
        return watchpoint

    def find(self, owner: FrontEnd | None, address: int, length: int, kind: WatchKind) -> Watchpoint | None:
        """The owner's unconditional watchpoint of virtual addresses with exactly these properties."""
        for candidate in self._by_id.values():
            if (
                candidate.owner is owner
                and candidate.address == address
                and candidate.length == length
                and candidate.kind is kind
                and not candidate.physical
                and candidate.value is None
            ):
                return candidate
        return None

    def remove(self, watchpoint: Watchpoint) -> None:
        """Take the watchpoint away; nothing happens when it is gone already."""
        if self._by_id.pop(watchpoint.id, None) is not None:
            self._tell()
            self.on_change(watchpoint, False)

    def remove_owned(self, owner: FrontEnd) -> None:
        """Take away all that ``owner`` set."""
        for watchpoint in [item for item in self._by_id.values() if item.owner is owner]:
            self.remove(watchpoint)

    def enable(self, watchpoint: Watchpoint, enabled: bool) -> None:
        """Let it stop the machine, or not; a disabled one costs nothing."""
        watchpoint.enabled = enabled
        self._tell()

    def reached(self, hit: WatchHit) -> tuple[Watchpoint, ...]:
        """Those that are a reason to stop in front of the access ``hit``; it is counted."""
        found = tuple(
            item
            for item in list(self._by_id.values())
            if item.matches(hit) and item.wants(hit, self._devices) and item.reached()
        )
        for item in found:
            if item.temporary:
                self.remove(item)
        return found

    def _tell(self) -> None:
        """Let the CPU watch what is wanted now."""
        wanted = _ranges(self._by_id.values(), MAX_WATCHPOINTS)
        kept = [item for item in self._watched if item in wanted]
        for item in self._watched:
            if item not in kept:
                self._set(self._cpu.remove_watchpoint, item)
        for item in wanted:
            if item not in kept:
                self._set(self._cpu.add_watchpoint, item)
        self._watched = wanted

    @staticmethod
    def _set(change: Callable[..., None], item: _Range) -> None:
        where = {"physical": True} if item.physical else {}
        change(item.first, item.end - item.first, read=item.reads, write=item.writes, **where)


def _ranges(points: Iterable[Watchpoint], most: int) -> list[_Range]:
    """At most ``most`` ranges that cover what ``points`` watch, and as little else as possible."""
    ranges = sorted(
        {
            _Range(item.physical, item.kind.reads, item.kind.writes, item.address, item.address + item.length)
            for item in points
            if item.enabled
        }
    )
    while len(ranges) > most:
        gaps = {
            place: other.first - one.end
            for place, (one, other) in enumerate(pairwise(ranges))
            if one.physical == other.physical and (one.reads, one.writes) == (other.reads, other.writes)
        }
        nearest = set(sorted(gaps, key=gaps.__getitem__)[: len(ranges) - most])
        joined: list[_Range] = []
        for place, item in enumerate(ranges):
            if place - 1 in nearest:
                joined[-1] = joined[-1]._replace(end=max(joined[-1].end, item.end))
            else:
                joined.append(item)
        ranges = joined
    return ranges
