"""Reading traces: by event, by block, and whole boots in native code.

:func:`open_trace` gives a :class:`Trace`. Nothing here needs the machine that was traced.
"""

from __future__ import annotations

import heapq
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from dbgemu.engine.layout import PHASE_BLOCK
from dbgemu.trace.events import EVENTS, Event, TbExec, TbTranslate
from dbgemu.trace.format import (
    CHUNK_HEAD_BYTES,
    START_BYTES,
    ChunkHead,
    Header,
    TimeBase,
    TraceError,
    check_header,
    decode_head,
    decode_streams,
    decode_strings,
    read_header,
)
from dbgemu.trace.interpret import Interpreter
from dbgemu.trace.replay import BlockArrays, Tally, last_block, replay

__all__ = [
    "BlockArrays",
    "BlockCount",
    "ChunkInfo",
    "EdgeCount",
    "Header",
    "RawChunk",
    "Trace",
    "TraceError",
    "open_trace",
]

_FOREVER = 1 << 62


class ChunkInfo(NamedTuple):
    """A chunk of the file: what its head says. Counts are of instructions since power-on."""

    first_count: int
    end_count: int
    #: executed blocks that ended in it, their instructions, and records of other events
    blocks: int
    instructions: int
    events: int
    #: virtual time at its beginning (ns)
    time: int
    #: where it begins in the file, and how long it is (bytes)
    offset: int
    size: int


class BlockCount(NamedTuple):
    """A block, and how often it was executed."""

    pc: int
    length: int
    thumb: bool
    user: bool
    executions: int

    @property
    def instructions(self) -> int:
        """How many instructions were executed in it."""
        return self.length * self.executions


class EdgeCount(NamedTuple):
    """A transfer of control from the instruction at ``source_pc``, and how often it was made."""

    source_pc: int
    target_pc: int
    executions: int


class _Chunk(NamedTuple):
    """An entry of the index."""

    head: ChunkHead
    crc: int
    offset: int


class _Streams(NamedTuple):
    blocks: bytes
    events: bytes
    strings: list[str]


class RawChunk(NamedTuple):
    """A chunk as it is in the file, unpacked: what tools need that copy or count records."""

    head: ChunkHead
    #: the streams: of executed blocks, of other events (records of :data:`dbgemu.trace.format.EVENT`)
    blocks: bytes
    events: bytes
    #: what the records' texts are
    texts: list[str]


class Trace:
    """An open trace. A context manager; what iterators give is only valid while it is open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        length, crc = read_header(file.read(START_BYTES))
        self.header = check_header(file.read(length), length, crc)
        self._index: list[_Chunk] = []
        #: why reading ended before the end of the trace, as a sentence
        self.damage: str | None = None
        #: the trace was ended properly, not cut off
        self.complete = False
        self._read_index(START_BYTES + length)
        self._firsts = [entry.head.first_count for entry in self._index]
        self._interpreter = Interpreter(self.header)
        self._cached: tuple[int, _Streams] | None = None

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_index(self, offset: int) -> None:
        while offset < self._size and not self.complete:
            self._file.seek(offset)
            try:
                head, crc = decode_head(self._file.read(CHUNK_HEAD_BYTES))
            except TraceError as error:
                self.damage = str(error)
                return
            end = offset + CHUNK_HEAD_BYTES + head.stored
            if end > self._size:
                self.damage = "the trace ends within a chunk"
                return
            self._index.append(_Chunk(head, crc, offset))
            offset = end
            self.complete = head.final
        if not self.complete:
            self.damage = "the trace was cut off"

    # -- what the heads say ----------------------------------------------------------------------------

    @property
    def chunks(self) -> list[ChunkInfo]:
        """The chunks, in order."""
        return [
            ChunkInfo(
                head.first_count,
                head.end_count,
                head.blocks,
                head.instructions,
                head.events,
                head.base.at(head.first_count),
                offset,
                CHUNK_HEAD_BYTES + head.stored,
            )
            for head, _, offset in self._index
        ]

    @property
    def first_count(self) -> int:
        """The instruction count at the beginning."""
        return self._index[0].head.first_count if self._index else self.header.start_count

    @property
    def end_count(self) -> int:
        """The instruction count at the end of what can be read."""
        return self._index[-1].head.end_count if self._index else self.header.start_count

    @property
    def blocks(self) -> int:
        """How many executed blocks the trace holds."""
        return sum(entry.head.blocks for entry in self._index) + len(self._tail())

    @property
    def instructions(self) -> int:
        """How many instructions these blocks have."""
        return sum(entry.head.instructions for entry in self._index) + sum(self._tail().lengths)

    def _tail(self) -> BlockArrays:
        """The block that was running where a trace was cut off."""
        return last_block(self._index[-1].head) if self._index and not self.complete else BlockArrays()

    def time_at(self, icount: int) -> int:
        """The virtual time (ns) before the instruction with that count."""
        return self.time_base_at(icount).at(icount)

    def time_base_at(self, icount: int) -> TimeBase:
        """How virtual time goes on from the instruction with that count."""
        place = max(0, bisect_right(self._firsts, icount) - 1)
        if not self._index:
            return TimeBase(0, self.header.period_ps)
        base = self._index[place].head.base
        for at, new in self._interpreter.time_changes(self._streams(place).events):
            if at > icount:
                break
            base = new
        return base

    # -- events ------------------------------------------------------------------------------------------

    def events(
        self, kinds: Iterable[str] | None = None, *, start: int | None = None, end: int | None = None
    ) -> Iterator[Event]:
        """The events with these names, or all; of instruction counts from ``start`` up to ``end`` - 1.

        In order of count, then as they happened. ValueError for a name that no event has. TraceError when
        a chunk is damaged: what came before it has been given.
        """
        wanted = set(self.header.kinds) if kinds is None else set(kinds)
        for name in wanted:
            if name not in EVENTS:
                raise ValueError(f"there is no event '{name}': the events are {', '.join(EVENTS)}")
        wanted &= set(self.header.kinds)
        low, high = start or 0, _FOREVER if end is None else end
        streams: list[Iterator[tuple[int, Event]]] = []
        if "tb_translate" in wanted and "tb_exec" in self.header.kinds:
            streams.append(self._first_executions(low, high))
        if "tb_exec" in wanted:
            streams.append(self._block_events(low, high))
        others = wanted - {"tb_exec"}
        if others:
            streams.append(self._other_events(others, low, high))
        merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_position)
        return (event for _, event in merged)

    def blocks_between(self, start: int | None = None, end: int | None = None) -> Iterator[TbExec]:
        """The executed blocks that begin at counts from ``start`` up to ``end`` - 1."""
        low, high = start or 0, _FOREVER if end is None else end
        for _, event in self._block_events(low, high):
            assert isinstance(event, TbExec)
            yield event

    def runs(self, start: int | None = None, end: int | None = None) -> Iterator[BlockArrays]:
        """The executed blocks that begin at such counts, in arrays: one object a chunk."""
        low, high = start or 0, _FOREVER if end is None else end
        for place in self._places(low, high):
            blocks = self._blocks_of(place).between(low, high)
            if len(blocks):
                yield blocks

    def profile(self, start: int | None = None, end: int | None = None) -> list[BlockCount]:
        """How often each block was executed, in no order."""
        tally = Tally()
        for blocks in self.runs(start, end):
            tally.add_blocks(blocks)
        return [
            BlockCount(key & 0xFFFFFFFE, key >> 32 & 0x7FFFFFFF, bool(key & 1), bool(key >> 63), number)
            for key, number in tally.items()
        ]

    def edges(self, start: int | None = None, end: int | None = None) -> list[EdgeCount]:
        """How often control went from where to where, in no order; nothing across gaps."""
        tally = Tally()
        last: BlockArrays | None = None
        for blocks in self.runs(start, end):
            if last is not None:
                tally.add_edges(last.joined(blocks))
            tally.add_edges(blocks)
            last = blocks.last()
        return [EdgeCount(key >> 32, key & 0xFFFFFFFF, number) for key, number in tally.items()]

    # -- chunks --------------------------------------------------------------------------------------------

    def raw_chunk(self, place: int) -> RawChunk:
        """The chunk at ``place`` in :attr:`chunks`. TraceError when it is damaged."""
        return RawChunk(self._index[place].head, *self._streams(place))

    def chunk_blocks(self, place: int) -> BlockArrays:
        """The blocks that ended in the chunk at ``place``; where a trace was cut off, the last too."""
        return self._blocks_of(place)

    def fingerprints(self) -> list[tuple[ChunkHead, int]]:
        """The head and checksum of each chunk: equal where chunks are equal. Nothing is unpacked."""
        return [(entry.head, entry.crc) for entry in self._index]

    def _places(self, low: int, high: int) -> Iterator[int]:
        """The chunks that may have blocks beginning, or events, at counts from ``low`` up to ``high`` - 1."""
        for place, (head, _, _) in enumerate(self._index):
            if head.start < high and head.end_count >= low:
                yield place

    def _streams(self, place: int) -> _Streams:
        if self._cached is not None and self._cached[0] == place:
            return self._cached[1]
        head, crc, offset = self._index[place]
        self._file.seek(offset + CHUNK_HEAD_BYTES)
        blocks, events, strings = decode_streams(head, crc, self._file.read(head.stored))
        streams = _Streams(blocks, events, decode_strings(strings))
        self._cached = place, streams
        return streams

    def _blocks_of(self, place: int) -> BlockArrays:
        head = self._index[place].head
        blocks = replay(head, self._streams(place).blocks)
        if place == len(self._index) - 1 and not self.complete:
            return blocks.joined(last_block(head))
        return blocks

    def _block_events(self, low: int, high: int) -> Iterator[tuple[int, Event]]:
        clock = _Clock()
        for place in self._places(low, high):
            clock.add(self._index[place].head, self._interpreter.time_changes(self._streams(place).events))
            for icount, pc, length, flags in self._blocks_of(place).between(low, high):
                event = TbExec(icount, clock.time(icount), pc, length, bool(flags & 1), flags > 1)
                yield icount << 2 | PHASE_BLOCK, event

    def _first_executions(self, low: int, high: int) -> Iterator[tuple[int, Event]]:
        """What was interpreted comes into use when it is executed for the first time."""
        clock, tally = _Clock(), Tally()
        for place in self._places(0, high):
            clock.add(self._index[place].head, self._interpreter.time_changes(self._streams(place).events))
            blocks = self._blocks_of(place).between(0, high)
            for new in tally.first_executions(blocks):
                icount = blocks.icounts[new]
                time = clock.time(icount)
                if icount >= low:
                    pc, length, thumb = blocks.pcs[new], blocks.lengths[new], bool(blocks.flags[new] & 1)
                    yield icount << 2 | PHASE_BLOCK, TbTranslate(icount, time, pc, length, thumb, 0)

    def _other_events(self, wanted: set[str], low: int, high: int) -> Iterator[tuple[int, Event]]:
        for place in self._places(low, high):
            head = self._index[place].head
            streams = self._streams(place)
            for item in self._interpreter.events(streams.events, streams.strings, head.base, wanted):
                if low <= item[1].icount < high:
                    yield item


class _Clock:
    """Virtual time for ascending instruction counts."""

    def __init__(self) -> None:
        self._base: TimeBase | None = None
        self._changes: deque[tuple[int, TimeBase]] = deque()

    def add(self, head: ChunkHead, changes: Iterable[tuple[int, TimeBase]]) -> None:
        """Take in a chunk: (instruction count from which it holds, virtual time) of each change."""
        if self._base is None:
            self._base = head.base
        # a block of this chunk may have begun before it
        self._changes.append((head.first_count, head.base))
        self._changes.extend(changes)

    def time(self, icount: int) -> int:
        """In ns; no later call may ask for a smaller count."""
        changes = self._changes
        while changes and changes[0][0] <= icount:
            self._base = changes.popleft()[1]
        return self._base.at(icount) if self._base is not None else 0


def _position(item: tuple[int, Event]) -> int:
    return item[0]


def open_trace(path: str | Path) -> Trace:
    """Open a trace; a cut off one too (see :attr:`Trace.complete`). TraceError with one sentence."""
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - the trace closes it
    except OSError as error:
        raise TraceError(f"'{path}' cannot be read: {error.strerror}") from None
    try:
        return Trace(file)
    except TraceError as error:
        file.close()
        raise TraceError(f"'{path}' cannot be read: {error}") from None
    except OSError as error:
        file.close()
        raise TraceError(f"'{path}' cannot be read: {error.strerror}") from None
