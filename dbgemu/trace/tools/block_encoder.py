"""Block streams of traces, made of blocks that were recorded before."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

from dbgemu.engine.trace_code import load_trace_code
from dbgemu.engine.trace_ring import BLOCK_RECORD_BYTES, UNLIMITED, USER_BIT, TraceRing
from dbgemu.target.arm.state import CpuState, Mode
from dbgemu.trace.format import STREAM_BYTES

#: an address that is none of an instruction
NOWHERE = 0xFFFFFFFE
#: blocks between two looks at how full the buffer is
_STRETCH = 1024

#: instruction count, pc, length, flags: as in :class:`dbgemu.trace.replay.BlockArrays`
Block = tuple[int, int, int, int]


@dataclass(frozen=True)
class EncodedBlocks:
    """A block stream, and the fields of a chunk's head that go with it."""

    stream: bytes
    current: int
    start: int
    end: int
    tail_hits: int
    blocks: int
    instructions: int


class BlockEncoder:
    """Makes block streams of blocks, with the recorder's own native code."""

    def __init__(self) -> None:
        self._state, self._ring = CpuState(), TraceRing()
        self._buffer = ctypes.create_string_buffer(STREAM_BYTES + 4 * BLOCK_RECORD_BYTES * _STRETCH)
        self._state.trace = ctypes.addressof(self._ring)
        self._ring.place_end = (1 << 63) - 1
        self._ring.left = UNLIMITED
        address = load_trace_code().address("record_block")
        self._record = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)(address)

    def encode(self, blocks: list[Block]) -> Iterator[EncodedBlocks]:
        """As many streams as are needed, each for a chunk of its own."""
        first = 0
        while first < len(blocks):
            self._begin(blocks[first])
            place = first
            while place < len(blocks) and self._size() < STREAM_BYTES:
                end = min(place + _STRETCH, len(blocks))
                self._add(blocks, first, place, end)
                place = end
            yield self._end(blocks[first:place])
            first = place

    def _size(self) -> int:
        return int(self._ring.place) - ctypes.addressof(self._buffer)

    def _begin(self, block: Block) -> None:
        ring = self._ring
        tables = TraceRing.path_table.size + TraceRing.block_table.size
        ctypes.memset(ctypes.addressof(ring) + TraceRing.path_table.offset, 0, tables)
        ring.path = ring.hits = ring.blocks = ring.instructions = 0
        ring.place = ctypes.addressof(self._buffer)
        ring.start, ring.current = block[0], _key(block)

    def _add(self, blocks: list[Block], first: int, place: int, end: int) -> None:
        state, ring, record = self._state, self._ring, self._record
        at = ctypes.addressof(state)
        for number in range(max(place, first + 1), end):
            icount, pc, _, flags = blocks[number]
            before = blocks[number - 1]
            state.control = Mode.USR if flags > 1 else Mode.SVC
            state.count = before[0] + before[2]
            if state.count != icount:
                # to nowhere, and from nowhere: what lies between is not recorded
                record(at, NOWHERE)
                state.count = ring.start = icount
            record(at, pc | flags & 1)

    def _end(self, blocks: list[Block]) -> EncodedBlocks:
        state, ring = self._state, self._ring
        last = blocks[-1]
        state.count = last[0] + last[2]
        self._record(ctypes.addressof(state), NOWHERE)
        return EncodedBlocks(
            stream=ctypes.string_at(self._buffer, self._size()),
            current=_key(blocks[0]),
            start=blocks[0][0],
            end=state.count,
            tail_hits=ring.hits,
            blocks=ring.blocks + ring.hits,
            instructions=sum(block[2] for block in blocks),
        )


def _key(block: Block) -> int:
    """As rings have the running block."""
    return block[1] | block[3] & 1 | (block[3] >> 1) << USER_BIT
