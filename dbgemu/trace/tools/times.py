"""Virtual times for instruction counts in any order."""

from __future__ import annotations

from bisect import bisect_right

from dbgemu.trace.format import TimeBase
from dbgemu.trace.interpret import Interpreter
from dbgemu.trace.reader import Trace


class Times:
    """The virtual time of every count of a trace; made by reading its other events once."""

    def __init__(self, trace: Trace, start: int | None = None, end: int | None = None) -> None:
        self._counts: list[int] = [-1]
        self._bases = [TimeBase(0, trace.header.period_ps)]
        interpreter = Interpreter(trace.header)
        low, high = start or 0, (1 << 62) if end is None else end
        for place, info in enumerate(trace.chunks):
            if info.end_count < low or info.first_count > high:
                continue
            raw = trace.raw_chunk(place)
            self._add(raw.head.first_count, raw.head.base)
            for count, base in interpreter.time_changes(raw.events):
                self._add(count, base)
        if len(self._bases) > 1:
            self._bases[0] = self._bases[1]

    def _add(self, count: int, base: TimeBase) -> None:
        if base != self._bases[-1]:
            self._counts.append(count)
            self._bases.append(base)

    def __getitem__(self, icount: int) -> int:
        """In ns."""
        return self._bases[bisect_right(self._counts, icount) - 1].at(icount)
