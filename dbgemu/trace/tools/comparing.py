"""Where two traces part: the first event that differs.

Equal chunks are passed by their checksums, equal stretches of blocks by comparing arrays, so that two
boots take a second, and no memory to speak of. Events that depend on the host's speed are left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from dbgemu.trace.events import Event
from dbgemu.trace.format import TraceError
from dbgemu.trace.reader import BlockArrays, Trace
from dbgemu.trace.tools.names import Names
from dbgemu.trace.tools.text import describe

#: what translated when is no difference of the guests
_OF_THE_HOST = frozenset(("tb_translate", "tb_compile", "tb_invalidate"))
#: how far before a difference its context is looked for, in instructions
_BACK = 1 << 14


class Divergence(NamedTuple):
    """The first event of each trace that the other has not; None where a trace has ended."""

    left: Event | None
    right: Event | None

    @property
    def icount(self) -> int:
        """The smaller of both counts."""
        return min(event.icount for event in (self.left, self.right) if event is not None)


def common_kinds(left: Trace, right: Trace) -> frozenset[str]:
    """What is compared: what both have. TraceError when that is nothing."""
    kinds = frozenset(left.header.kinds) & frozenset(right.header.kinds) - _OF_THE_HOST
    if not kinds:
        raise TraceError("the two traces have no events in common that could be compared")
    return kinds


def first_divergence(left: Trace, right: Trace, kinds: frozenset[str]) -> Divergence | None:
    """Where events of these kinds differ first, or None."""
    start = _equal_until(left, right)
    blocks: Divergence | None = None
    if "tb_exec" in kinds:
        blocks = _first_block(left, right, start)
    others = sorted(kinds - {"tb_exec"})
    if not others:
        return blocks
    end = None if blocks is None else blocks.icount + 1
    left_events = left.events(others, start=start, end=end)
    right_events = right.events(others, start=start, end=end)
    while True:
        first, second = next(left_events, None), next(right_events, None)
        if first is None and second is None:
            return blocks
        if first != second:
            return _earlier(Divergence(first, second), blocks)


def _earlier(other: Divergence, blocks: Divergence | None) -> Divergence:
    # an event in front of a block's first instruction is the reason for it, not the other way round
    return other if blocks is None or other.icount <= blocks.icount else blocks


def _equal_until(left: Trace, right: Trace) -> int:
    """The instruction count up to which the chunks of both are equal."""
    until = 0
    if left.header.kinds != right.header.kinds or left.header.regions != right.header.regions:
        return until
    for first, second in zip(left.fingerprints(), right.fingerprints(), strict=False):
        if first != second:
            break
        until = first[0].end_start if first[0].blocks else first[0].end_count
    return until


def _first_block(left: Trace, right: Trace, start: int) -> Divergence | None:
    """The first block that differs, by comparing stretches of equal length."""
    sides = _Blocks(left, start), _Blocks(right, start)
    while True:
        length = min(len(side.rest) - side.place for side in sides)
        if length <= 0:
            if all(side.refill() for side in sides):
                continue
            events = [side.event() for side in sides]
            return None if events == [None, None] else Divergence(*events)
        parts = [side.take(length) for side in sides]
        if not _same(*parts):
            place = _first_difference(*parts)
            for side in sides:
                side.place += place - length
            return Divergence(*(side.event() for side in sides))


class _Blocks:
    """The blocks of a trace from a count on; ``place`` is the next one in ``rest``."""

    def __init__(self, trace: Trace, start: int) -> None:
        self._trace = trace
        self._runs = trace.runs(start)
        self.rest = BlockArrays()
        self.place = 0

    def refill(self) -> bool:
        """Have at least one block; False at the end."""
        while self.place >= len(self.rest):
            following = next(self._runs, None)
            if following is None:
                return False
            self.rest, self.place = following, 0
        return True

    def take(self, length: int) -> BlockArrays:
        part = self.rest.part(self.place, self.place + length)
        self.place += length
        return part

    def event(self) -> Event | None:
        """The next block, as an event."""
        if not self.refill():
            return None
        icount = self.rest.icounts[self.place]
        return next(self._trace.blocks_between(icount, icount + 1), None)


def _same(left: BlockArrays, right: BlockArrays) -> bool:
    return (
        left.pcs == right.pcs
        and left.lengths == right.lengths
        and left.icounts == right.icounts
        and left.flags == right.flags
    )


def _first_difference(left: BlockArrays, right: BlockArrays) -> int:
    """Between two unlike stretches of equal length, by halving."""
    low, high = 0, len(left)
    while high - low > 1:
        middle = (low + high) // 2
        if _same(left.part(low, middle), right.part(low, middle)):
            low = middle
        else:
            high = middle
    return low


def report(
    left: Trace,
    right: Trace,
    kinds: frozenset[str],
    found: Divergence,
    names: tuple[Names, Names],
    context: int,
) -> Iterator[str]:
    """The divergence in words: what both had before it, and how each went on."""
    count = found.icount
    yield f"the traces differ from instruction {count} on"
    before: deque[Event] = deque(maxlen=context)
    for event in left.events(sorted(kinds), start=max(0, count - _BACK), end=count + 1):
        if event == found.left or event.icount > count:
            break
        before.append(event)
    yield from (f"  {describe(event, names[0])}" for event in before)
    for mark, trace, first, known in (("-", left, found.left, names[0]), ("+", right, found.right, names[1])):
        if first is None:
            yield f"{mark} (the trace ends here)"
            continue
        following = trace.events(sorted(kinds), start=first.icount)
        shown = False
        for item in islice(_from(following, first), context + 1):
            shown = True
            yield f"{mark} {describe(item, known)}"
        if not shown:
            yield f"{mark} {describe(first, known)}"


def _from(events: Iterator[Event], first: Event) -> Iterator[Event]:
    begun = False
    for event in events:
        begun = begun or event == first
        if begun:
            yield event
