"""Which part of a trace a tool is to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from dbgemu.trace.events import EVENTS, Event
from dbgemu.trace.format import TraceError
from dbgemu.trace.reader import Trace
from dbgemu.trace.spec import kinds_of


@dataclass(frozen=True)
class Selection:
    """Instruction counts from ``start`` up to ``end`` - 1, these kinds, at most ``limit`` events."""

    start: int | None = None
    end: int | None = None
    #: names of events; None for all that the trace has
    kinds: frozenset[str] | None = None
    limit: int | None = None

    def wants(self, kind: str) -> bool:
        """Events of this kind are selected."""
        return self.kinds is None or kind in self.kinds

    def events(self, trace: Trace, *others: str) -> Iterator[Event]:
        """The events; with ``others`` only those of these names."""
        kinds = set(self.kinds or trace.header.kinds)
        if others:
            kinds &= set(others)
        return islice(trace.events(sorted(kinds), start=self.start, end=self.end), self.limit)


def parse_kinds(text: str, trace: Trace) -> frozenset[str]:
    """From names of events and groups with commas between; TraceError where the trace has none of them."""
    wanted = {kind for name in filter(None, text.split(",")) for kind in kinds_of(name.strip())}
    if not wanted:
        raise TraceError(f"no event is named: there are {', '.join(EVENTS)}")
    if not wanted & set(trace.header.kinds):
        raise TraceError(
            f"the trace has no {' or '.join(sorted(wanted))}: it was recorded with "
            f"{', '.join(trace.header.kinds) or 'nothing'}"
        )
    return frozenset(wanted)


def need_blocks(trace: Trace, what: str) -> None:
    """TraceError when the trace has no executed blocks, which ``what`` is made of."""
    if not trace.blocks:
        raise TraceError(f"{what} is made of executed blocks, and the trace has none: record tb_exec")
