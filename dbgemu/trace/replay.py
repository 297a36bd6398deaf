"""Executed blocks in arrays: the replay of a chunk's block stream, and counts over many blocks."""

from __future__ import annotations

import ctypes
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator

from dbgemu.engine.trace_code import load_trace_code
from dbgemu.engine.trace_replay import PADDING, BlockTable, ReplayState, TallyEntry
from dbgemu.trace.format import UNSELECTED, ChunkHead, TraceError

_FIRST_TALLY = 1 << 16


class BlockArrays:
    """Blocks side by side in four arrays of equal length, in order of execution."""

    __slots__ = ("flags", "icounts", "lengths", "pcs")

    def __init__(
        self,
        icounts: array[int] | None = None,
        pcs: array[int] | None = None,
        lengths: array[int] | None = None,
        flags: array[int] | None = None,
    ) -> None:
        #: instructions executed before the block (64 bits)
        self.icounts = array("Q") if icounts is None else icounts
        #: the address of its first instruction (32 bits)
        self.pcs = array("I") if pcs is None else pcs
        #: in instructions (32 bits)
        self.lengths = array("I") if lengths is None else lengths
        #: bit 0: Thumb, bit 1: User mode (8 bits)
        self.flags = array("B") if flags is None else flags

    def __len__(self) -> int:
        return len(self.icounts)

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        """(instructions executed before, pc, length, flags) of each block."""
        return zip(self.icounts, self.pcs, self.lengths, self.flags, strict=True)

    def part(self, first: int, end: int) -> BlockArrays:
        """The blocks with these places."""
        return BlockArrays(
            self.icounts[first:end], self.pcs[first:end], self.lengths[first:end], self.flags[first:end]
        )

    def between(self, low: int, high: int) -> BlockArrays:
        """The blocks that begin at instruction counts from ``low`` up to ``high`` - 1."""
        first, end = bisect_left(self.icounts, low), bisect_left(self.icounts, high)
        return self if (first, end) == (0, len(self)) else self.part(first, end)

    def last(self) -> BlockArrays:
        """The last block alone."""
        return self.part(len(self) - 1, len(self))

    def joined(self, other: BlockArrays) -> BlockArrays:
        """These blocks and, behind them, the first of ``other``."""
        if not len(other):
            return self
        return BlockArrays(
            self.icounts + other.icounts[:1],
            self.pcs + other.pcs[:1],
            self.lengths + other.lengths[:1],
            self.flags + other.flags[:1],
        )

    def table(self) -> BlockTable:
        """Where the arrays are, for native code: valid while they are not changed."""
        arrays = (self.icounts, self.pcs, self.lengths, self.flags)
        return BlockTable(*(item.buffer_info()[0] for item in arrays))


def _zeros(code: str, number: int) -> array[int]:
    return array(code, bytes(array(code).itemsize)) * number


def replay(head: ChunkHead, stream: bytes) -> BlockArrays:
    """The blocks that ended in the chunk. TraceError when the stream is not what its head says."""
    number = head.blocks
    if not number:
        return BlockArrays()
    blocks = BlockArrays(_zeros("Q", number), _zeros("I", number), _zeros("I", number), _zeros("B", number))
    data = ctypes.create_string_buffer(stream, len(stream) + PADDING)
    state = ReplayState()
    state.current, state.start = head.current, head.start
    state.place = ctypes.addressof(data)
    state.end = state.place + len(stream)
    # each record is a block or a gap, and has two bytes at least but for those that predict
    steps = number + len(stream) + 1
    done = _replay(state, blocks.table(), number, steps)
    if done < number and state.place >= state.end:
        state.hits = head.tail_hits
        rest = blocks.table()
        for name, item in (("icounts", 8), ("pcs", 4), ("lengths", 4), ("flags", 1)):
            setattr(rest, name, getattr(rest, name) + item * done)
        done += _replay(state, rest, number - done, steps)
    if done != number:
        raise TraceError("a chunk of the trace is damaged: it has fewer blocks than it says")
    return blocks


def _function(name: str, result: object, *arguments: object) -> Callable[..., int]:
    return load_trace_code().function(name, result, *arguments)


def _replay(state: ReplayState, table: BlockTable, room: int, steps: int) -> int:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function = _function("replay", number, pointer, pointer, number, number)
    return function(ctypes.addressof(state), ctypes.addressof(table), room, steps)


def last_block(head: ChunkHead) -> BlockArrays:
    """The block that was running at the end of the chunk, as far as it had come."""
    length = head.end_count - head.end_start
    if length <= 0 or head.flags & UNSELECTED:
        return BlockArrays()
    current = head.end_current
    flags = (current & 1) | (current >> 63) << 1
    return BlockArrays(
        array("Q", [head.end_start]),
        array("I", [current & 0xFFFFFFFE]),
        array("I", [length & 0xFFFFFFFF]),
        array("B", [flags]),
    )


def _block_keys(blocks: BlockArrays, mask: int) -> array[int]:
    keys = _zeros("Q", len(blocks))
    table, pointer, number = blocks.table(), ctypes.c_void_p, ctypes.c_int64
    function = _function("block_keys", None, pointer, number, pointer, number)
    function(ctypes.addressof(table), len(blocks), keys.buffer_info()[0], mask)
    return keys


class Tally:
    """Counts of 64-bit keys, kept in native memory."""

    def __init__(self) -> None:
        self._entries = (TallyEntry * _FIRST_TALLY)()
        self._used = ctypes.c_uint64(0)

    def items(self) -> Iterator[tuple[int, int]]:
        """(key, count) of each key."""
        words = memoryview(self._entries).cast("B").cast("Q")
        for place in range(0, len(words), 2):
            if words[place + 1]:
                yield words[place], words[place + 1]

    def add_blocks(self, blocks: BlockArrays) -> None:
        """Count each block: pc and bit 0 for Thumb, length from bit 32, bit 63 for User mode."""
        self._add(_block_keys(blocks, -1), len(blocks))

    def add_edges(self, blocks: BlockArrays) -> None:
        """Count each transfer: the last instruction's address in the high half, the target in the low."""
        keys = _zeros("Q", len(blocks))
        table, pointer = blocks.table(), ctypes.c_void_p
        function = _function("edge_keys", ctypes.c_int64, pointer, ctypes.c_int64, pointer)
        number = function(ctypes.addressof(table), len(blocks), keys.buffer_info()[0])
        self._add(keys, number)

    def first_executions(self, blocks: BlockArrays) -> list[int]:
        """Count the blocks' starts; gives the places of those that had not been there."""
        keys = _block_keys(blocks, 0xFFFFFFFF)
        return self._add(keys, len(keys), tell=True)

    def _add(self, keys: array[int], number: int, *, tell: bool = False) -> list[int]:
        """Count the first ``number`` keys; the places of new ones are given when ``tell`` is set."""
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        function = _function("tally", size, pointer, size, pointer, size, pointer, pointer)
        places = _zeros("Q", number if tell else 0)
        found: list[int] = []
        done = 0
        while done < number:
            place = keys.buffer_info()[0] + 8 * done
            entries = ctypes.addressof(self._entries)
            before, mask = self._used.value, len(self._entries) - 1
            told = places.buffer_info()[0] if tell else None
            counted = function(place, number - done, entries, mask, ctypes.addressof(self._used), told)
            if tell:
                found += [done + new for new in places[: self._used.value - before]]
            done += counted
            if done < number:
                self._grow()
        return found

    def _grow(self) -> None:
        old = list(self.items())
        self._entries = (TallyEntry * (4 * len(self._entries)))()
        self._used = ctypes.c_uint64(0)
        self._add(array("Q", [key for key, _ in old]), len(old))
        counts = dict(old)
        words = memoryview(self._entries).cast("B").cast("Q")
        for place in range(0, len(words), 2):
            if words[place + 1]:
                words[place + 1] = counts[words[place]]
