"""Registers that count time: read so often that the engine computes them from the virtual clock itself.

Linux reads a timer's count for each look at the time, 17 000 times in a second of forks.
"""

from __future__ import annotations

from array import array
from math import gcd

from dbgemu.target.clock import VirtualClock
from dbgemu.target.stream import ANY_SIZE, COUNT_READS, Port

# More words of the description, behind those of every port: the host address of the clock's native words,
# or 0 while reads come to the handler; the board's time in ns from which on the count is known, and for how
# long; then (ns passed * COUNT_TICKS + COUNT_PHASE) // COUNT_NS are the ticks since; the count at first; and
# what the counter starts from again, plus 1, or 0 where it stays at 0
COUNT_CLOCK, COUNT_SINCE, COUNT_DURATION, COUNT_TICKS, COUNT_PHASE, COUNT_NS, COUNT_FIRST, COUNT_PERIOD = (
    range(6, 14)
)
_LARGEST = (1 << 63) - 1


class CountRegister(Port):
    """A down-counter as it is at the moment of each read, until :meth:`release`; writes go to its handler.

    Whatever the count follows from but the time itself must release it before it changes.
    """

    __slots__ = ("_clock", "_value")

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._value = array("I", [0])
        super().__init__(self._value.buffer_info()[0], ANY_SIZE | COUNT_READS, 0, *[0] * 8)
        clock.on_break.append(self.release)

    def hold(self, count: int, period: int, epoch: int, frequency: int, scale: int) -> None:
        """Count down from ``count`` from now on: once to 0, or again and again if ``period`` is not 0.

        Its ticks are those of ``(now - epoch) * frequency // scale``, in the clock's ns.
        """
        clock = self._clock
        if clock.native is None:
            return
        now = clock.now
        common = gcd(frequency, scale)
        ticks, ns = frequency // common, scale // common
        phase = (now - epoch) * ticks % ns
        words = self.words
        words[COUNT_CLOCK] = clock.native
        words[COUNT_SINCE] = now + clock.behind & (1 << 64) - 1
        words[COUNT_DURATION] = (_LARGEST - phase) // max(ticks, 1)
        words[COUNT_TICKS], words[COUNT_PHASE], words[COUNT_NS] = ticks, phase, ns
        words[COUNT_FIRST], words[COUNT_PERIOD] = count, period

    def release(self) -> None:
        """Let reads come to the register's handler."""
        self.words[COUNT_CLOCK] = 0

    def _describe_sizes(self) -> None:
        # without its clock the block's time stands, and goes on from where it stood
        super()._describe_sizes()
        self.release()
