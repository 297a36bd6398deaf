"""Virtual times for instruction counts in any order."""

from __future__ import annotations

from bisect import bisect_right

from dbgemu.trace.interpret import Interpreter
from dbgemu.trace.reader import Trace


class Times:
    """The virtual time of every count of a trace; made by reading its other events once."""

    def __init__(self, trace: Trace, start: int | None = None, end: int | None = None) -> None:
        self._period = trace.header.period_ps
        self._counts: list[int] = [-1]
        self._skipped: list[int] = [0]
        interpreter = Interpreter(trace.header)
        low, high = start or 0, (1 << 62) if end is None else end
        for place, info in enumerate(trace.chunks):
            if info.end_count < low or info.first_count > high:
                continue
            raw = trace.raw_chunk(place)
            self._add(raw.head.first_count, raw.head.first_skipped)
            for count, skipped in interpreter.skips(raw.events):
                self._add(count, skipped)
        if len(self._skipped) > 1:
            self._skipped[0] = self._skipped[1]

    def _add(self, count: int, skipped: int) -> None:
        if skipped != self._skipped[-1]:
            self._counts.append(count)
            self._skipped.append(skipped)

    def __getitem__(self, icount: int) -> int:
        """In ns."""
        return icount * self._period // 1000 + self._skipped[bisect_right(self._counts, icount) - 1]
