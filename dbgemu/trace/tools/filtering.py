"""A part of a trace as a new trace."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from dbgemu.engine.trace_ring import USER_BIT
from dbgemu.target.arm.state import Mode
from dbgemu.trace.events import Kind
from dbgemu.trace.format import (
    EVENT,
    FINAL,
    UNSELECTED,
    ChunkHead,
    TraceError,
    encode_chunk,
    encode_strings,
)
from dbgemu.trace.interpret import Interpreter, time_base
from dbgemu.trace.reader import BlockArrays, RawChunk, Trace
from dbgemu.trace.tools.block_encoder import NOWHERE, Block, BlockEncoder

#: of which events a record may be
_NAMES: dict[int, tuple[str, ...]] = {
    Kind.MMIO_READ: ("mmio_read",),
    Kind.MMIO_WRITE: ("mmio_write",),
    Kind.EXCEPTION: ("exception", "irq"),
    Kind.MMU_FAULT: ("mmu",),
    Kind.MMU_SWITCH: ("mmu",),
    Kind.IRQ: ("irq",),
    Kind.GPIO: ("gpio",),
    Kind.SERIAL: ("serial",),
    Kind.BREAK: ("break",),
    Kind.WATCH: ("watch",),
    Kind.LOG: ("log",),
    Kind.TB_TRANSLATE: ("tb_translate",),
    Kind.TB_INVALIDATE: ("tb_invalidate",),
    Kind.TB_COMPILE: ("tb_compile",),
}


@dataclass(frozen=True)
class Criteria:
    """What is to stay: everything that fulfils all of them."""

    start: int | None = None
    end: int | None = None
    kinds: frozenset[str] | None = None
    #: (first, last) addresses of code
    ranges: tuple[tuple[int, int], ...] = ()
    #: of accesses: ``device.REGISTER`` with ``*`` and ``?``
    devices: tuple[str, ...] = ()
    user: bool | None = None
    text: str = ""

    @property
    def low(self) -> int:
        """The first instruction count."""
        return self.start or 0

    @property
    def high(self) -> int:
        """The first count behind."""
        return 1 << 62 if self.end is None else self.end

    @property
    def by_place(self) -> bool:
        """Blocks are chosen one by one."""
        return bool(self.ranges) or self.user is not None

    def has_address(self, first: int, last: int) -> bool:
        """Code from ``first`` to ``last`` is wanted, at least some of it."""
        return not self.ranges or any(first <= high and last >= low for low, high in self.ranges)


def filter_trace(trace: Trace, criteria: Criteria, path: Path) -> tuple[int, int]:
    """Write what fulfils ``criteria`` to ``path``; gives how many blocks and other records that are.

    TraceError when the trace is damaged or the file cannot be written.
    """
    kinds = set(trace.header.kinds) if criteria.kinds is None else criteria.kinds & set(trace.header.kinds)
    if criteria.user is not None and not trace.blocks:
        raise TraceError(
            "a filter by privilege needs executed blocks, and the trace has none: record tb_exec"
        )
    header = replace(
        trace.header,
        kinds=tuple(sorted(kinds)),
        spec=f"{trace.header.spec} (filtered: {criteria.text or 'everything'})",
    )
    blocks = records = 0
    waiting: _Piece | None = None
    try:
        with path.open("wb") as file:
            file.write(header.encode())
            for piece in _Filter(trace, criteria, kinds).pieces():
                if waiting is not None:
                    file.write(waiting.encode())
                waiting = piece
                blocks += piece.head.blocks
                records += piece.records
            last = waiting or _Piece(_empty_head(trace, criteria), b"", b"", [])
            file.write(replace(last, head=last.head._replace(flags=last.head.flags | FINAL)).encode())
    except TraceError:
        path.unlink()  # a part of it would look like the whole
        raise
    except OSError as error:
        raise TraceError(f"'{path}' cannot be written: {error.strerror}") from None
    return blocks, records


@dataclass(frozen=True)
class _Piece:
    """A chunk that is to be written."""

    head: ChunkHead
    blocks: bytes
    events: bytes
    texts: list[str]

    @property
    def records(self) -> int:
        """Events other than the passing of time."""
        return sum(record[1] != Kind.TIME for record in EVENT.iter_unpack(self.events))

    def encode(self) -> bytes:
        texts = encode_strings(self.texts) if self.events else b""
        return encode_chunk(self.head, self.blocks, self.events, texts)


def _empty_head(trace: Trace, criteria: Criteria) -> ChunkHead:
    count = min(max(criteria.low, trace.first_count), trace.end_count)
    skipped, period = trace.time_base_at(count)
    return ChunkHead(
        flags=UNSELECTED, stored=0, block_bytes=0, event_bytes=0, string_bytes=0, first_count=count,
        end_count=count, first_skipped=skipped, end_skipped=skipped, first_period=period,
        end_period=period, current=0, start=count, end_current=0, end_start=count, tail_hits=0, blocks=0,
        instructions=0,
    )  # fmt: skip


class _Filter:
    def __init__(self, trace: Trace, criteria: Criteria, kinds: Iterable[str]) -> None:
        self._trace = trace
        self._criteria = criteria
        self._kinds = frozenset(kinds)
        self._wanted = {kind for kind, names in _NAMES.items() if self._kinds & set(names)} | {int(Kind.TIME)}
        self._interpreter = Interpreter(trace.header)
        self._encoder = BlockEncoder()
        self._choices: dict[tuple[int, int, int], bool] = {}
        self._matches: dict[int, bool] = {}

    def pieces(self) -> Iterator[_Piece]:
        """What is to be written, in order."""
        low, high = self._criteria.low, self._criteria.high
        number = len(self._trace.chunks)
        for place in range(number):
            raw = self._trace.raw_chunk(place)
            head = raw.head
            # its blocks begin between head.start and its end, its events from first_count on
            if min(head.start, head.first_count) >= high or head.end_count < low:
                continue
            cut_off = place == number - 1 and not self._trace.complete
            inside = low <= min(head.start, head.first_count) and head.end_count < high
            yield from self._chunk(
                place, raw, verbatim=inside and not cut_off and not self._criteria.by_place
            )

    def _chunk(self, place: int, raw: RawChunk, *, verbatim: bool) -> Iterator[_Piece]:
        head = raw.head
        low, high = self._criteria.low, self._criteria.high
        time = head.base
        for at, new in self._interpreter.time_changes(raw.events):
            if at <= low:
                time = new
        first, end = max(head.first_count, min(low, head.end_count)), min(head.end_count, high)
        with_blocks = bool(self._kinds & {"tb_exec", "tb_translate"})
        events = self._events(place, raw)
        base = head._replace(
            flags=head.flags & ~FINAL if with_blocks else UNSELECTED,
            first_count=first,
            end_count=max(first, end),
            first_skipped=time.skipped,
            first_period=time.period_ps,
        )
        if verbatim and with_blocks:
            yield _Piece(base, raw.blocks, b"".join(data for _, data in events), raw.texts)
            return
        nothing = base._replace(
            flags=UNSELECTED, current=0, start=first, end_current=0, end_start=first, tail_hits=0, blocks=0,
            instructions=0,
        )  # fmt: skip
        chosen = self._blocks(place) if with_blocks else []
        if not chosen:
            if events:
                yield _Piece(nothing, b"", b"".join(data for _, data in events), raw.texts)
            return
        parts = list(self._encoder.encode(chosen))
        taken = 0
        for number, part in enumerate(parts):
            until = parts[number + 1].start if number + 1 < len(parts) else 1 << 62
            before = taken
            while taken < len(events) and events[taken][0] < until:
                taken += 1
            own = b"".join(data for _, data in events[before:taken])
            count = first if number == 0 else part.start
            # TIME records of earlier parts have already passed
            for data_count, data in events[:before]:
                record = EVENT.unpack(data)
                if record[1] == Kind.TIME and data_count <= count:
                    time = time_base(*record[4:7])
            yield _Piece(
                nothing._replace(
                    first_count=count,
                    end_count=max(count, min(nothing.end_count, until)),
                    first_skipped=time.skipped,
                    first_period=time.period_ps,
                    current=part.current,
                    start=part.start,
                    end_current=NOWHERE,
                    end_start=part.end,
                    tail_hits=part.tail_hits,
                    blocks=part.blocks,
                    instructions=part.instructions,
                ),
                part.stream,
                own,
                raw.texts,
            )

    def _blocks(self, place: int) -> list[Block]:
        blocks = self._trace.chunk_blocks(place).between(self._criteria.low, self._criteria.high)
        if not self._criteria.by_place:
            return list(blocks)
        choices, choose = self._choices, self._choose
        chosen = []
        for block in blocks:
            key = block[1:]
            wanted = choices.get(key)
            if wanted is None:
                wanted = choices[key] = choose(*key)
            if wanted:
                chosen.append(block)
        return chosen

    def _choose(self, pc: int, length: int, flags: int) -> bool:
        criteria = self._criteria
        last = pc + length * (2 if flags & 1 else 4) - 1
        return criteria.has_address(pc, last) and (criteria.user is None or criteria.user == (flags > 1))

    def _events(self, place: int, raw: RawChunk) -> list[tuple[int, bytes]]:
        """(instruction count, record) of each that stays."""
        criteria = self._criteria
        low, high = criteria.low, criteria.high
        blocks = self._trace.chunk_blocks(place) if criteria.user is not None else BlockArrays()
        kept = []
        data, size = raw.events, EVENT.size
        for number, (position, kind, first, _, pc, address, _) in enumerate(EVENT.iter_unpack(data)):
            count = position >> 2
            if kind not in self._wanted or not low <= count < high:
                continue
            if kind != Kind.TIME:
                if not criteria.has_address(pc, pc):
                    continue
                if criteria.user is not None:
                    taken = kind == Kind.EXCEPTION
                    user = (first & 0x1F) == Mode.USR if taken else _is_user(blocks, raw.head, count)
                    if user != criteria.user:
                        continue
                if kind <= Kind.MMIO_WRITE and criteria.devices and not self._matches_device(address):
                    continue
            kept.append((count, data[number * size : (number + 1) * size]))
        return kept

    def _matches_device(self, address: int) -> bool:
        found = self._matches.get(address)
        if found is None:
            name = ".".join(self._interpreter.name_of(address)).lower()
            found = any(
                fnmatchcase(name, pattern) or fnmatchcase(name.partition("+")[0], pattern)
                for pattern in (
                    item.lower() if "." in item else f"{item.lower()}.*" for item in self._criteria.devices
                )
            )
            self._matches[address] = found
        return found


def _is_user(blocks: BlockArrays, head: ChunkHead, count: int) -> bool:
    if count >= head.end_start:
        return bool(head.end_current >> USER_BIT)
    place = bisect_right(blocks.icounts, count) - 1
    return place >= 0 and blocks.flags[place] > 1
