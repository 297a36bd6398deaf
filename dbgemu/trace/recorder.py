"""The engine's side of a running trace: the native ring, and the chunks that are cut from it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from dbgemu.engine.cpu import Cpu
from dbgemu.engine.layout import EVENT_BYTES, PHASE_BETWEEN, PHASE_INSIDE
from dbgemu.engine.trace_code import load_trace_code
from dbgemu.engine.trace_ring import (
    BLOCK_RECORD_BYTES,
    MAX_RANGES,
    UNLIMITED,
    USER_BIT,
    AddressRange,
    TraceRing,
)
from dbgemu.engine.traced_code import UnpredictingRing
from dbgemu.target.arm.state import Mode, T
from dbgemu.target.clock import VirtualClock
from dbgemu.trace.events import Kind
from dbgemu.trace.format import (
    CHUNK_INSTRUCTIONS,
    EVENT,
    FINAL,
    STREAM_BYTES,
    UNSELECTED,
    ChunkHead,
    encode_strings,
)
from dbgemu.trace.sinks import Chunk, Sink

#: an address that is none of an instruction: what ends the last block of a trace
_NOWHERE = 0xFFFFFFFE
_PATH_TABLE = TraceRing.path_table.offset
_TABLES = TraceRing.path_table.size + TraceRing.block_table.size


class Recorder:
    """Records a CPU's blocks and events into chunks for ``sink``. Made and used while the CPU stands still.

    Only inside a device access, and between two runs, events may be added.
    """

    def __init__(self, cpu: Cpu, clock: VirtualClock, sink: Sink) -> None:
        self._cpu = cpu
        self._clock = clock
        self.sink = sink
        self._code = load_trace_code()
        self._ring = TraceRing()
        self._blocks = ctypes.create_string_buffer(STREAM_BYTES + 4 * BLOCK_RECORD_BYTES)
        self._events = ctypes.create_string_buffer(STREAM_BYTES + 4 * EVENT_BYTES)
        self._events_at = ctypes.addressof(self._events)
        self._view = memoryview(self._events).cast("B")
        self._strings: dict[str, int] = {}
        self._flush = ctypes.CFUNCTYPE(None)(self.cut)
        self._selecting = False
        #: what translated code has for a ring while blocks are selected
        self._unpredicting: UnpredictingRing | None = None
        self._records_blocks = False
        # totals of the chunks that have been cut
        self._blocks_cut = self._instructions_cut = self._events_cut = 0
        #: records that are no events but say that time was skipped
        self._times = 0
        ring = self._ring
        ring.place_end = ctypes.addressof(self._blocks) + STREAM_BYTES
        ring.event_end = self._events_at + STREAM_BYTES
        ring.flush = ctypes.cast(self._flush, ctypes.c_void_p).value
        ring.left = UNLIMITED
        ring.privileges = 3
        ring.table_base = 1

    def select(
        self,
        *,
        ranges: Iterable[tuple[int, int]] = (),
        accesses: Iterable[tuple[int, int]] = (),
        privileges: int = 3,
        table_base: int | None = None,
        most: int | None = None,
    ) -> None:
        """What to record: of code (first, last) addresses, of devices physical ones; empty: everything.

        ``privileges``: bit 0 privileged, bit 1 User mode; ``most`` events altogether. ValueError when
        there are too many ranges.
        """
        ring = self._ring
        for name, count, given in (("range", "ranges", ranges), ("access", "accesses", accesses)):
            listed = list(given)
            if len(listed) > MAX_RANGES:
                raise ValueError(f"a trace can select {MAX_RANGES} ranges of addresses, not {len(listed)}")
            array = getattr(ring, name)
            for place, (first, last) in enumerate(listed):
                array[place] = AddressRange(first, last)
            setattr(ring, count, len(listed))
        ring.privileges = privileges
        ring.table_base = 1 if table_base is None else table_base
        ring.left = UNLIMITED if most is None else most
        self._selecting = bool(ring.ranges) or privileges != 3 or table_base is not None or most is not None

    @property
    def exhausted(self) -> bool:
        """As many events as were wanted have been recorded."""
        return bool(self._ring.left <= 0)

    def start(self, *, blocks: bool, kinds: int) -> None:
        """Begin: ``blocks`` or not, and of the events that generated code records a sum of TRACE_...."""
        state, code, ring = self._cpu.state, self._code, self._ring
        ring.start = self._cpu.instructions
        ring.current = self._running()
        ring.gap = 0
        ring.block_base = state.ttb
        self._begin_chunk()
        state.trace = ctypes.addressof(ring)
        state.trace_access = code.address("record_access")
        state.trace_exception = code.address("record_exception")
        state.trace_switch = code.address("record_switch")
        state.trace_kinds = kinds
        self._records_blocks = blocks
        if blocks:
            verb = "select" if self._selecting else "record"
            function, transfer = code.address(f"{verb}_block"), code.address(f"{verb}_transfer")
            self._cpu.observe_blocks(function, transfer, self._predicted())

    def _predicted(self) -> int:
        """What translated code predicts with; 0: what the last of many events ends is tier 0's."""
        if self._ring.left != UNLIMITED:
            return 0
        if self._selecting:
            if self._unpredicting is None:
                self._unpredicting = UnpredictingRing()
            return ctypes.addressof(self._unpredicting)
        return ctypes.addressof(self._ring)

    def _running(self) -> int:
        state = self._cpu.state
        user = (state.control & 0x1F) == Mode.USR
        return int(state.pc | (1 if state.control & T else 0) | user << USER_BIT)

    def stop(self) -> None:
        """End, with the last block as far as it has come; the sink is not closed."""
        self.pause(FINAL)
        state = self._cpu.state
        state.trace = 0
        state.trace_access = state.trace_exception = state.trace_switch = 0

    def pause(self, flags: int = 0) -> None:
        """As :meth:`stop`, but :meth:`start` may follow, with another selection."""
        state = self._cpu.state
        if self._records_blocks:
            # a transfer to nowhere ends the running block, and selects it or not
            function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)(int(state.trace_block))
            function(ctypes.addressof(state), _NOWHERE)
        state.trace_kinds = 0
        self._cpu.ignore_blocks()
        self.cut(flags)

    def restart(self) -> None:
        """Begin anew where the CPU is now: its count and its pc are not where it was left."""
        ring = self._ring
        self._write(0, max(self._first_count, int(ring.start)))
        ring.start, ring.current, ring.gap = self._cpu.instructions, self._running(), 0
        self._begin_chunk()

    def totals(self) -> tuple[int, int, int]:
        """Executed blocks, their instructions, and other events, recorded since the first start."""
        ring = self._ring
        if not ring.place:
            return 0, 0, 0
        blocks = ring.blocks + ring.hits
        events = (ring.event_place - self._events_at) // EVENT_BYTES - self._times
        return (
            self._blocks_cut + blocks,
            self._instructions_cut + self._instructions(),
            self._events_cut + events,
        )

    # -- events from Python ------------------------------------------------------------------------

    def add(
        self,
        kind: int,
        first: int = 0,
        second: int = 0,
        address: int = 0,
        value: int = 0,
        pc: int | None = None,
    ) -> None:
        """Append an event of the present moment; ``first`` has 8 bits, ``second`` 16, the others 32."""
        ring = self._ring
        if ring.left > 0:
            self._append(kind, first, second, address, value, pc)
            ring.left -= 1
            if ring.left == 0:
                self._cpu.request_attention()

    def add_text(
        self, kind: int, text: str, *, source: str | None = None, first: int = 0, address: int = 0
    ) -> None:
        """Append an event whose value is a text, and whose address is one if there is a ``source``."""
        ring = self._ring
        if ring.event_place + 2 * EVENT_BYTES >= ring.event_end:
            self.cut()  # the texts of an event are in its own chunk
        if source is not None:
            address = self._text(source)
        self.add(kind, first, 0, address, self._text(text))

    def add_time(self) -> None:
        """Virtual time was skipped, or goes at another rate from now on; it counts as no event."""
        self._times += 1
        skipped = self._clock.skipped
        self._append(Kind.TIME, 0, 0, skipped & 0xFFFFFFFF, skipped >> 32, self._clock.period_ps)

    def add_while_storing(self, kind: int, address: int, value: int) -> None:
        """Append an event of the store that tier 0 is executing: the CPU's count is that of its block."""
        state = self._cpu.state
        thumb = bool(state.control & T)
        pc = self._cpu.current_pc
        count = state.count + ((pc - state.block_pc & 0xFFFFFFFF) >> (1 if thumb else 2))
        self._put(count << 2 | PHASE_INSIDE, kind, 0, 0, pc, address, value)

    def _append(self, kind: int, first: int, second: int, address: int, value: int, pc: int | None) -> None:
        cpu = self._cpu
        state = cpu.state
        if state.in_device:
            position = cpu.instructions << 2 | PHASE_INSIDE
            pc = cpu.current_pc if pc is None else pc
        else:
            position = cpu.instructions << 2 | PHASE_BETWEEN
            pc = state.pc if pc is None else pc
        self._put(position, kind, first, second, pc, address, value & 0xFFFFFFFF)

    def _put(
        self, position: int, kind: int, first: int, second: int, pc: int, address: int, value: int
    ) -> None:
        ring = self._ring
        place = ring.event_place
        EVENT.pack_into(
            self._view, place - self._events_at, position, kind, first, second, pc, address, value
        )
        ring.event_place = place + EVENT_BYTES
        if place + EVENT_BYTES >= ring.event_end:
            self.cut()

    def _text(self, text: str) -> int:
        """The number of a text in the present chunk."""
        return self._strings.setdefault(text, len(self._strings))

    # -- chunks --------------------------------------------------------------------------------------

    @property
    def next_cut(self) -> int:
        """The instruction count at which a chunk is to end at the latest."""
        return self._next_cut

    def _begin_chunk(self) -> None:
        ring, count = self._ring, self._count()
        self._first_count, self._first_skipped = count, self._clock.skipped
        self._first_period = self._clock.period_ps
        self._current, self._start = ring.current, ring.start
        self._next_cut = (count // CHUNK_INSTRUCTIONS + 1) * CHUNK_INSTRUCTIONS
        ctypes.memset(ctypes.addressof(ring) + _PATH_TABLE, 0, _TABLES)
        ring.path = ring.hits = ring.blocks = ring.instructions = 0
        ring.place = ctypes.addressof(self._blocks)
        ring.event_place = self._events_at
        self._strings.clear()

    def _count(self) -> int:
        # inside native code only one of the two is up to date
        return max(self._cpu.instructions, int(self._ring.start))

    def _instructions(self) -> int:
        """Those of the chunk's blocks."""
        ring = self._ring
        return int(ring.instructions if self._selecting else ring.start - self._start)

    def cut(self, flags: int = 0) -> None:
        """End the chunk, hand it to the sink and begin another; an empty one only if it is the last."""
        self._write(flags, self._count())
        self._begin_chunk()

    def _write(self, flags: int, end_count: int) -> None:
        ring = self._ring
        size = ring.place - ctypes.addressof(self._blocks)
        events = ring.event_place - self._events_at
        if not (size or events or ring.hits or flags):
            return
        head = ChunkHead(
            flags=flags | (0 if self._records_blocks and not self._selecting else UNSELECTED),
            stored=0,
            block_bytes=0,
            event_bytes=0,
            string_bytes=0,
            first_count=self._first_count,
            end_count=end_count,
            first_skipped=self._first_skipped,
            end_skipped=self._clock.skipped,
            first_period=self._first_period,
            end_period=self._clock.period_ps,
            current=self._current,
            start=self._start,
            end_current=ring.current,
            end_start=ring.start,
            tail_hits=ring.hits,
            blocks=ring.blocks + ring.hits,
            instructions=self._instructions(),
        )
        self.sink.put(
            Chunk(
                head,
                ctypes.string_at(self._blocks, size),
                ctypes.string_at(self._events, events),
                encode_strings(list(self._strings)),
            )
        )
        self._blocks_cut += head.blocks
        self._instructions_cut += head.instructions
        self._events_cut += events // EVENT_BYTES
