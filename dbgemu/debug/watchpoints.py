"""The book of watchpoints: who watches which bytes, for which accesses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbgemu.debug.events import FrontEnd
    from dbgemu.engine.cpu import Cpu, WatchHit


class WatchKind(Enum):
    """Which accesses a watchpoint stops: (reads, writes)."""

    WRITE = (False, True)
    READ = (True, False)
    ACCESS = (True, True)

    @property
    def reads(self) -> bool:
        """It stops reads."""
        return self.value[0]

    @property
    def writes(self) -> bool:
        """It stops writes."""
        return self.value[1]


@dataclass(eq=False)
class Watchpoint:
    """A stop before an access to any of ``length`` bytes from virtual ``address``."""

    id: int
    owner: FrontEnd | None
    address: int
    length: int
    kind: WatchKind
    enabled: bool = True
    hits: int = 0

    def matches(self, hit: WatchHit) -> bool:
        """The access ``hit`` touches a watched byte in the watched way."""
        return (
            self.enabled
            and hit.address < self.address + self.length
            and self.address < hit.address + hit.size
            and (self.kind.writes if hit.write else self.kind.reads)
        )

    def first_byte(self, hit: WatchHit) -> int:
        """The lowest watched address that the access touches."""
        return max(self.address, hit.address)


class WatchpointBook:
    """Every watchpoint of every front end. Used only while the machine stands still, or on its thread."""

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._by_id: dict[int, Watchpoint] = {}
        self._uses: Counter[tuple[int, int, WatchKind]] = Counter()
        self._last_id = 0

    def __iter__(self) -> Iterator[Watchpoint]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, number: int) -> Watchpoint | None:
        """The watchpoint with that id."""
        return self._by_id.get(number)

    def add(self, owner: FrontEnd | None, address: int, length: int, kind: WatchKind) -> Watchpoint:
        """Watch ``length`` (> 0) bytes from virtual ``address``."""
        if length <= 0:
            raise ValueError(f"a watchpoint of {length} bytes watches nothing: give at least 1")
        self._last_id += 1
        watchpoint = Watchpoint(self._last_id, owner, address, length, kind)
        self._by_id[watchpoint.id] = watchpoint
        key = (address, length, kind)
        self._uses[key] += 1
        if self._uses[key] == 1:
            self._cpu.add_watchpoint(address, length, read=kind.reads, write=kind.writes)
        return watchpoint

    def find(self, owner: FrontEnd | None, address: int, length: int, kind: WatchKind) -> Watchpoint | None:
        """The owner's watchpoint with exactly these properties."""
        for candidate in self._by_id.values():
            if (
                candidate.owner is owner
                and candidate.address == address
                and candidate.length == length
                and candidate.kind is kind
            ):
                return candidate
        return None

    def remove(self, watchpoint: Watchpoint) -> None:
        """Take the watchpoint away; nothing happens when it is gone already."""
        if self._by_id.pop(watchpoint.id, None) is None:
            return
        kind = watchpoint.kind
        key = (watchpoint.address, watchpoint.length, kind)
        self._uses[key] -= 1
        if not self._uses[key]:
            del self._uses[key]
            self._cpu.remove_watchpoint(
                watchpoint.address, watchpoint.length, read=kind.reads, write=kind.writes
            )

    def remove_owned(self, owner: FrontEnd) -> None:
        """Take away all that ``owner`` set."""
        for watchpoint in [item for item in self._by_id.values() if item.owner is owner]:
            self.remove(watchpoint)

    def matching(self, hit: WatchHit) -> tuple[Watchpoint, ...]:
        """Those that the access ``hit`` falls under."""
        return tuple(item for item in self._by_id.values() if item.matches(hit))
