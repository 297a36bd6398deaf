"""Virtual times for instruction counts in any order."""

from __future__ import annotations

from bisect import bisect_right

from dbgemu.trace.format import TimeBase
from dbgemu.trace.interpret import Interpreter
from dbgemu.trace.reader import Trace

_NEVER = 1 << 62


class Times:
    """The virtual time of every count of a trace; made by reading its other events once."""

    def __init__(self, trace: Trace, start: int | None = None, end: int | None = None) -> None:
        self._counts: list[int] = [-1]
        self._bases = [TimeBase(0, trace.header.period_ps)]
        interpreter = Interpreter(trace.header)
        low, high = start or 0, _NEVER if end is None else end
        for place, info in enumerate(trace.chunks):
            if info.end_count < low or info.first_count > high:
                continue
            raw = trace.raw_chunk(place)
            self._add(raw.head.first_count, raw.head.base)
            for count, base in interpreter.time_changes(raw.events):
                self._add(count, base)
        if len(self._bases) > 1:
            self._bases[0] = self._bases[1]
        #: what holds from one count to another
        self._low = self._high = self._skipped = self._period = 0

    def _add(self, count: int, base: TimeBase) -> None:
        if base != self._bases[-1]:
            self._counts.append(count)
            self._bases.append(base)

    def __getitem__(self, icount: int) -> int:
        """In ns."""
        # those who ask stay near where they were
        if not self._low <= icount < self._high:
            place = bisect_right(self._counts, icount)
            self._low = self._counts[place - 1]
            self._high = self._counts[place] if place < len(self._counts) else _NEVER
            self._skipped, self._period = self._bases[place - 1]
        return icount * self._period // 1000 + self._skipped
