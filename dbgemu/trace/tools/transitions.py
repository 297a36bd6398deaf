"""The few blocks of a trace at which a call stack can change, found by native code."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable

from dbgemu.engine.trace_code import load_trace_code
from dbgemu.engine.trace_transitions import MARK_BITS, Before, Found, mark_of
from dbgemu.trace.replay import BlockArrays

#: blocks of one search. A place that a frame returns to stays marked until its end: in a loop that an
#: interrupt came into, each turn is looked at until then
_BATCH = 1 << 14

#: the exception vectors are cells of their own, so that coming there is seen
_VECTOR_EDGES = (0, 0x20, 0xFFFF0000, 0xFFFF0020)

#: no instruction's count
NEVER = (1 << 64) - 1


class Transitions:
    """Searches arrays of blocks; see :mod:`dbgemu.engine.trace_transitions` for what it finds.

    ``edges`` are the addresses at which functions begin and end, in any order.
    """

    def __init__(self, edges: Iterable[int]) -> None:
        self._edges = array("I", sorted({*_VECTOR_EDGES, *(edge & 0xFFFFFFFF for edge in edges)}))
        self._marks = bytearray(1 << MARK_BITS - 3)
        self._native_marks = (ctypes.c_uint8 * len(self._marks)).from_buffer(self._marks)
        self._nothing = bytes(len(self._marks))
        self._before = Before(count=NEVER)
        self._found = tuple(array(code, bytes(array(code).itemsize * _BATCH)) for code in "QIBQI")
        self._table = Found(*(item.buffer_info()[0] for item in self._found))
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._function = load_trace_code().function(
            "transitions", number, pointer, number, number, pointer, pointer, number, pointer, pointer
        )

    @property
    def end(self) -> int:
        """The instruction count behind the block that came last; NEVER before the first one."""
        return int(self._before.count)

    def find(
        self, blocks: BlockArrays, first: int, expected: Iterable[int]
    ) -> tuple[Iterable[tuple[int, int, int, int, int]], int]:
        """The next blocks to look at, of those in ``blocks`` from ``first`` on; and where to search next.

        Each is (instruction count, pc, flags, count behind the block before, address behind that block).
        In the flags, bits 0 and 1 are those of :class:`BlockArrays`, bits 2 and 3 those of the block before.
        The address is 0 after a gap. ``expected`` are the addresses at which every block is wanted.
        """
        end = min(len(blocks), first + _BATCH)
        marks = self._marks
        marks[:] = self._nothing
        for address in expected:
            bit = mark_of(address)
            marks[bit >> 3] |= 1 << (bit & 7)
        blocks_table = blocks.table()
        number = self._function(
            ctypes.addressof(blocks_table),
            first,
            end,
            ctypes.addressof(self._before),
            self._edges.buffer_info()[0],
            len(self._edges),
            ctypes.addressof(self._native_marks),
            ctypes.addressof(self._table),
        )
        return zip(*(item[:number].tolist() for item in self._found), strict=True), end
