"""Native recording: executed blocks, exceptions and device accesses into rings in memory.

A **block** of a trace is a maximal run of instructions that were executed at consecutive addresses, in
one instruction set and one privilege. It starts where control was transferred to (a taken branch, an
exception, a return, wherever a debugger moved the pc) and ends in front of the next transfer. So the
sequence of blocks follows from the sequence of executed instructions alone: not from pages, budgets,
stops, the state of TLBs or the tier of the engine that executed them.

Blocks are predicted: a hash of the last few blocks chooses an entry of a table, which holds how long
the running block was and what followed when that path was last taken. When it comes true again, a
counter is all that changes; otherwise a record of 16 bytes is written. The reader has the same table
(:mod:`dbgemu.engine.trace_replay`), so the sequence is recovered exactly.

For whoever emits code (both tiers)
-----------------------------------
The word ``exit_request``/``interrupts`` of the state is not 0 while blocks are recorded: ``interrupts``
has the bit OBSERVED. In front of executing the instruction at ``pc`` after any transfer of control,
with ``count`` settled (the instructions executed before ``pc``) and ``control`` as that instruction will
find it, when that bit is set::

    %f = load ptr, ptr <state.trace_block>
    call void %f(ptr %s, i32 %pc_and_t)      ; ARM: pc, Thumb: pc | 1; C calling convention

Calls more than needed do no harm, wherever a block is entered by falling through: a call that
continues the running block records nothing. A call twice for the same ``count`` replaces the first, so
call it only where an instruction at ``pc`` is the next to be counted, after interrupts have been taken.
Never may a transfer be missed. The function may change nothing of the guest; it may call Python, which
may set ``exit_request``.

Translated code that records predicts by itself, and calls ``trace_transfer`` for what does not come true:
see :mod:`dbgemu.engine.traced_code`.

Exceptions call ``trace_exception`` and device accesses ``trace_access`` when ``trace_kinds`` says so.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial

from dbgemu.engine.ir import UNLIKELY
from dbgemu.engine.layout import (
    EVENT_EXCEPTION,
    EVENT_FAULT,
    EVENT_SWITCH,
    PHASE_BETWEEN,
    PHASE_INSIDE,
)
from dbgemu.engine.memory_paths import count_now
from dbgemu.engine.routines import RoutineCore
from dbgemu.target.arm.core import Vector
from dbgemu.target.arm.semantics.status import bank_of
from dbgemu.target.arm.state import EXIT_DEVICE, TRACE_EXCEPTIONS, TRACE_FAULTS, TRACE_INTERRUPTS, Mode, T
from dbgemu.target.arm.value import Value

#: entries of the tables that predict by the path of the last blocks, and by the running block alone
PATH_BITS, BLOCK_BITS = 15, 12
#: how far a new block shifts those before it out of the path
PATH_SHIFT = 2
#: of the hash: Knuth's, a prime near 2^32 times the golden ratio
MULTIPLIER = 2654435761

USER_BIT = 63
MAX_RANGES = 64
#: no record of a block is longer
BLOCK_RECORD_BYTES = 16
#: of a record's head byte (bit 0: predicted by the second table, bit 1: User mode), bits 7..2 are the
#: correct predictions before it, or say that these follow
HITS_SHIFT, MANY_HITS = 2, 63
#: length byte: the length follows as a word; a gap
LONG, GAP = 0, 255
UNLIMITED = 1 << 62
#: of ``trace_transfer``: the caller is translated code, and has its registers in use
TRANSFER_CONVENTION = "preserve_mostcc"
_OF_TRANSFERS = "i32 %pc, i64 %count"


class AddressRange(ctypes.Structure):
    """Addresses from ``first`` to ``last``."""

    _fields_ = (("first", ctypes.c_uint32), ("last", ctypes.c_uint32))


class TraceRing(ctypes.Structure):
    """What recording works on. ``place`` and ``event_place`` are host addresses in the buffers."""

    _fields_ = (
        # the running block: bits 31..0 its pc (bit 0: Thumb), bit 63 User mode; and its first instruction
        ("current", ctypes.c_uint64),
        ("start", ctypes.c_int64),
        ("path", ctypes.c_uint64),  # index into path_table
        ("hits", ctypes.c_uint64),  # correct predictions since the last record
        ("place", ctypes.c_uint64),
        ("place_end", ctypes.c_uint64),  # flush from there on
        ("event_place", ctypes.c_uint64),
        ("event_end", ctypes.c_uint64),
        ("flush", ctypes.c_uint64),  # address of a function that makes room
        ("blocks", ctypes.c_uint64),  # recorded in this chunk, but for ``hits``
        # what follows is of the selecting functions only
        ("instructions", ctypes.c_uint64),  # of the blocks recorded in this chunk
        ("left", ctypes.c_int64),  # how many events may still be recorded
        ("gap", ctypes.c_uint32),  # 1: the running block does not follow the last recorded one
        ("privileges", ctypes.c_uint32),  # bit 0: privileged, bit 1: User mode
        ("table_base", ctypes.c_uint32),  # TTB to record, or 1 for any
        ("block_base", ctypes.c_uint32),  # TTB at the running block's start
        ("ranges", ctypes.c_uint32),  # how many of code; 0: everywhere
        ("accesses", ctypes.c_uint32),  # how many of physical addresses of devices; 0: everywhere
        ("range", AddressRange * MAX_RANGES),
        ("access", AddressRange * MAX_RANGES),
        ("path_table", ctypes.c_uint64 * (1 << PATH_BITS)),
        ("block_table", ctypes.c_uint64 * (1 << BLOCK_BITS)),
    )


class RingCore(RoutineCore):
    """Emits functions that work on the ring of the state at ``%s``."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = self.get_pointer("trace")

    def place_of(self, field: str, index: Value | None = None, scale: int = 8) -> str:
        """The address of a field of the ring, or of an element."""
        base = self.op(f"getelementptr i8, ptr {self.ring}, i64 {getattr(TraceRing, field).offset}", 64)
        if index is None:
            return str(base)
        return str(self.op(f"getelementptr [{scale} x i8], ptr {base}, i64 {index}", 64))

    def load_ring(self, field: str, width: int = 64) -> Value:
        """The value of a field of the ring."""
        return self.op(f"load i{width}, ptr {self.place_of(field)}", width)

    def store_ring(self, field: str, value: Value) -> None:
        """Write a field of the ring."""
        self.line(f"store i{value.width} {value}, ptr {self.place_of(field)}")

    def hash_of(self, block: Value) -> Value:
        """The hash of a block's start, PATH_BITS wide."""
        return ((block.trunc(32) * MULTIPLIER) >> (32 - PATH_BITS)).zext(64)

    def put(self, place: str, value: Value) -> None:
        """Append ``value`` to what the pointer variable ``place`` points behind."""
        pointer = self.op(f"load ptr, ptr {place}", 64)
        self.line(f"store i{value.width} {value}, ptr {pointer}, align 1")
        after = self.op(f"getelementptr i8, ptr {pointer}, i64 {value.width // 8}", 64)
        self.line(f"store ptr {after}, ptr {place}")

    def flush_behind(self, field: str, end: str) -> None:
        """Make room when ``field`` has come to ``end``."""
        full = ~self.load_ring(field).ult(self.load_ring(end))
        then, after = self.name("L"), self.name("L")
        self.end(f"br i1 {full}, label %{then}, label %{after}, {UNLIKELY}")
        self.label(then)
        self.line(f"call {TRANSFER_CONVENTION} void @flush(ptr %s)")
        self.label(after)

    def in_ranges(self, field: str, count: str, first: Value, last: Value) -> Value:
        """Whether ``first`` to ``last`` touch one of the ranges, or there are none."""
        found = self.variable("i1", str(self.load_ring(count, 32).eq(0)))
        index = self.variable("i64", "0")
        test, body, after = (self.name("L") for _ in range(3))
        self.label(test)
        k = self.op(f"load i64, ptr {index}", 64)
        self.end(f"br i1 {k.ult(self.load_ring(count, 32).zext(64))}, label %{body}, label %{after}")
        self.label(body)
        entry = self.place_of(field, k)
        low = self.op(f"load i32, ptr {entry}", 32)
        high = self.op(f"load i32, ptr {self.op(f'getelementptr i8, ptr {entry}, i64 4', 64)}", 32)
        touches = ~last.ult(low) & ~first.ugt(high)
        self.line(f"store i1 {self.op(f'load i1, ptr {found}', 1) | touches}, ptr {found}")
        self.line(f"store i64 {k + 1}, ptr {index}")
        self.end(f"br label %{test}")
        self.label(after)
        return self.op(f"load i1, ptr {found}", 1)


def _put_head(core: RingCore, place: str, second: Value, user: Value) -> None:
    """The head byte, and the count of correct predictions where it has no room for it."""
    hits = core.load_ring("hits")
    few = hits.ult(MANY_HITS)
    shown = few.select(hits, core.const(MANY_HITS, 64))
    head = (shown << HITS_SHIFT) | (user << 1) | second.zext(64)
    core.put(place, head.trunc(8))
    for _ in core.when(~few):
        core.put(place, hits)
    core.store_ring("blocks", core.load_ring("blocks") + hits)
    core.store_ring("hits", core.const(0, 64))


def _put_gap(core: RingCore, start: Value, block: Value) -> None:
    """Append that ``block``, which starts at the count ``start``, is the running one."""
    place = core.variable("ptr", str(core.op(f"load ptr, ptr {core.place_of('place')}", 64)))
    _put_head(core, place, core.const(0, 1), block >> USER_BIT)
    core.put(place, core.const(GAP, 8))
    core.put(place, start)
    core.put(place, block.trunc(32))
    core.line(f"store ptr {core.op(f'load ptr, ptr {place}', 64)}, ptr {core.place_of('place')}")
    core.store_ring("path", core.hash_of(block))


def _record(core: RingCore, key: Value, current: Value, predicted: str) -> None:
    """Append what neither counter nor table says: ``key`` is the new block with the old one's length."""
    place = core.variable("ptr", str(core.op(f"load ptr, ptr {core.place_of('place')}", 64)))
    near = core.place_of("block_table", core.hash_of(current) & ((1 << BLOCK_BITS) - 1))
    second = core.op(f"load i64, ptr {near}", 64).eq(key)
    core.line(f"store i64 {key}, ptr {predicted}")
    core.line(f"store i64 {key}, ptr {near}")
    _put_head(core, place, second, key >> USER_BIT)
    core.store_ring("blocks", core.load_ring("blocks") + 1)
    length = (key >> 32).trunc(32) & 0x7FFFFFFF
    short = (length - 1).ult(GAP - 1)
    for _ in core.when(~second & ~short):
        core.put(place, core.const(LONG, 8))
        core.put(place, length)
        core.put(place, key.trunc(32))
        core.line(f"store ptr {core.op(f'load ptr, ptr {place}', 64)}, ptr {core.place_of('place')}")
        core.end("br label %recorded")
    # nobody could predict a branch here: what is written behind the record does not count
    behind = core.op(f"load i64, ptr {place}", 64)
    core.put(place, length.trunc(8))
    core.put(place, key.trunc(32))
    after = behind + second.select(core.const(0, 64), core.const(5, 64))
    core.line(f"store i64 {after}, ptr {core.place_of('place')}")
    core.label("recorded")


def _selected(core: RingCore, current: Value, length: Value) -> Value:
    """Whether the block that ends, of ``length`` instructions, is to be recorded."""
    pc = current.trunc(32) & -2
    last = pc + ((length.trunc(32) << (current.trunc(32) & 1).ne(0).select(1, 2)) - 1)
    base = core.load_ring("table_base", 32)
    privilege = core.load_ring("privileges", 32) >> (current >> USER_BIT).trunc(32)
    return (
        core.in_ranges("range", "ranges", pc, last)
        & length.ne(0)
        & ~core.load_ring("left").slt(1)
        & (privilege & 1).ne(0)
        & (base.eq(1) | base.eq(core.load_ring("block_base", 32)))
    )


def _block(core: RingCore, *, selecting: bool) -> None:
    """See the module: a block begins at ``%pc``, bit 0 of which says Thumb."""
    count = core.get64("count")
    start, current = core.load_ring("start"), core.load_ring("current")
    length = count - start
    user = (core.get("control") & 0x1F).eq(Mode.USR).zext(64) << USER_BIT
    new = Value(core, "%pc").zext(64) | user
    following = current + (length << ((current & 1) ^ 1) << 1)
    goes_on = core.name("L")
    begins = core.name("L")
    core.end(f"br i1 {new.eq(following)}, label %{goes_on}, label %{begins}")
    core.label(goes_on)
    core.end("ret void")
    core.label(begins)
    core.store_ring("current", new)
    core.store_ring("start", count)
    if selecting:
        selected = _selected(core, current, length)
        core.store_ring("block_base", core.get("ttb"))
        for _ in core.when(~selected):
            core.store_ring("gap", core.const(1))
            core.end("ret void")
        _count_down(core)
        core.store_ring("instructions", core.load_ring("instructions") + length)
        for _ in core.when(core.load_ring("gap", 32).ne(0)):
            _put_gap(core, start, current)
            core.store_ring("gap", core.const(0))
    else:
        # nothing was executed there after all: a debugger moved the pc, or an interrupt came first
        for _ in core.when(length.eq(0)):
            _put_gap(core, count, new)
            core.flush_behind("place", "place_end")
            core.end("ret void")
    key = new | (length << 32)
    path = core.load_ring("path")
    predicted = core.place_of("path_table", path)
    core.store_ring("path", _following_path(core, path, new))
    right, wrong = core.name("L"), core.name("L")
    core.end(f"br i1 {core.op(f'load i64, ptr {predicted}', 64).eq(key)}, label %{right}, label %{wrong}")
    core.label(right)
    core.store_ring("hits", core.load_ring("hits") + 1)
    core.end("ret void")
    core.label(wrong)
    _record(core, key, current, predicted)
    core.flush_behind("place", "place_end")
    core.ret()


def _transfer(core: RingCore) -> None:
    """As _block, for regions: ``%pc`` is not what was predicted, nor does it go on with the running block."""
    count, new = Value(core, "%count", 64), Value(core, "%pc")
    # by halves, as regions write the first
    current = core.op(f"load i32, ptr {core.place_of('current')}", 32)
    high = core.op(f"load i32, ptr {core.op(f'getelementptr i8, ptr {core.ring}, i64 4', 64)}", 32)
    length = (count - core.load_ring("start")).trunc(32)
    core.store_ring("current", new)
    core.store_ring("start", count)
    path = core.load_ring("path")
    core.store_ring("path", _following_path(core, path, new))
    key = new.zext(64) | ((length | high).zext(64) << 32)
    _record(core, key, current, core.place_of("path_table", path))
    core.flush_behind("place", "place_end")
    core.ret()


def _select_transfer(core: RingCore) -> None:
    core.set64("count", Value(core, "%count", 64))
    core.line("call void @select_block(ptr %s, i32 %pc)")
    core.ret()


def _following_path(core: RingCore, path: Value, new: Value) -> Value:
    return ((path << PATH_SHIFT) ^ core.hash_of(new)) & ((1 << PATH_BITS) - 1)


def _count_down(core: RingCore) -> None:
    """One event less may follow; with the last one the run is interrupted, so that Python sees it."""
    left = core.load_ring("left") - 1
    core.store_ring("left", left)
    for _ in core.when(left.eq(0)):
        core.line(f"store i8 1, ptr {core.address_of('exit_request', EXIT_DEVICE, scale=1)}")


def _event(core: RingCore, position: Value, kind: Value, pc: Value, address: Value, value: Value) -> None:
    """Append a record to the event stream."""
    place = core.variable("ptr", str(core.op(f"load ptr, ptr {core.place_of('event_place')}", 64)))
    for item in (position, kind, pc, address, value):
        core.put(place, item)
    core.line(f"store ptr {core.op(f'load ptr, ptr {place}', 64)}, ptr {core.place_of('event_place')}")
    _count_down(core)
    core.flush_behind("event_place", "event_end")


def _wanted(core: RingCore, pc: Value, control: Value) -> Value:
    """Whether an event of the instruction at ``pc`` is selected."""
    user = (control & 0x1F).eq(Mode.USR).select(1, 0)
    base = core.load_ring("table_base", 32)
    return (
        core.in_ranges("range", "ranges", pc, pc)
        & ~core.load_ring("left").slt(1)
        & ((core.load_ring("privileges", 32) >> user) & 1).ne(0)
        & (base.eq(1) | base.eq(core.get("ttb")))
    )


def _access(core: RingCore) -> None:
    """A device access: physical ``%address``; ``%what`` is the kind, and the size in bits 15..8."""
    address = Value(core, "%address")
    control = core.get("control")
    pc = core.get("r", 15) - (control & T).ne(0).select(4, 8)
    wanted = _wanted(core, pc, control) & core.in_ranges("access", "accesses", address, address)
    for _ in core.when(wanted):
        position = (count_now(core) << 2) | PHASE_INSIDE
        _event(core, position, Value(core, "%what"), pc, address, Value(core, "%value"))
    core.ret()


def _exception(core: RingCore) -> None:
    """An exception has been entered: ``%offset`` of its vector, which is at ``%vector``."""
    offset, vector = Value(core, "%offset"), Value(core, "%vector")
    spsr = core.get("spsr", bank_of(core, core.get("control")))
    back = core.get("r", 14)
    after = (spsr & T).ne(0).select(2, 4)
    called = offset.eq(Vector.UNDEFINED.offset) | offset.eq(Vector.SWI.offset)
    data = offset.eq(Vector.DATA_ABORT.offset)
    pc = back - data.select(8, called.select(after, core.const(4)))
    for _ in core.when(_wanted(core, pc, spsr)):
        position = (core.get64("count") << 2) | PHASE_BETWEEN
        interrupt = offset.eq(Vector.IRQ.offset) | offset.eq(Vector.FIQ.offset)
        kinds = core.get("trace_kinds")
        wanted = (kinds & (interrupt.select(TRACE_INTERRUPTS, 0) | TRACE_EXCEPTIONS)).ne(0)
        for _ in core.when(wanted):
            what = ((spsr & 0xFF) << 8) | (offset << 16) | EVENT_EXCEPTION
            _event(core, position, what, pc, vector, back)
        faulted = data | offset.eq(Vector.PREFETCH_ABORT.offset)
        for _ in core.when(faulted & (core.get("trace_kinds") & TRACE_FAULTS).ne(0)):
            address = data.select(core.get("far"), pc)
            status = data.select(core.get("dfsr"), core.get("ifsr"))
            what = (offset << 16) | EVENT_FAULT
            _event(core, position, what, pc, address, status)
    core.ret()


def _switch(core: RingCore) -> None:
    """The translation table base has been written."""
    control = core.get("control")
    pc = core.get("r", 15) - (control & T).ne(0).select(4, 8)
    for _ in core.when(_wanted(core, pc, control)):
        position = (count_now(core) << 2) | PHASE_INSIDE
        _event(core, position, core.const(EVENT_SWITCH), pc, core.get("ttb"), core.const(0))
    core.ret()


def emit_recording() -> list[str]:
    """The IR of the functions that record."""
    functions: tuple[tuple[str, str, Callable[[RingCore], None]], ...] = (
        ("record_block", "i32 %pc", partial(_block, selecting=False)),
        ("select_block", "i32 %pc", partial(_block, selecting=True)),
        ("record_access", "i32 %what, i32 %address, i32 %value", _access),
        ("record_exception", "i32 %offset, i32 %vector", _exception),
        ("record_switch", "", _switch),
        ("record_transfer", _OF_TRANSFERS, _transfer),
        ("select_transfer", _OF_TRANSFERS, _select_transfer),
    )
    parts = []
    for name, parameters, emit in functions:
        core = RingCore()
        emit(core)
        given = f", {parameters}" if parameters else ""
        convention = TRANSFER_CONVENTION if parameters is _OF_TRANSFERS else "ccc"
        parts.append(f"define {convention} void @{name}(ptr %s{given}) {{\n{core.body()}\n}}")
    flush = RingCore()
    function = flush.op(f"load ptr, ptr {flush.place_of('flush')}", 64)
    flush.line(f"call void {function}()")
    flush.ret()
    parts.append(f"define {TRANSFER_CONVENTION} void @flush(ptr %s) noinline cold {{\n{flush.body()}\n}}")
    return parts
