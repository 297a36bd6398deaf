"""From tier 0 into translated code, and from there to other translated code or back.

The jump cache is a table of :class:`~dbgemu.engine.layout.JumpEntry`, found by a hash of the address in
up to four neighbouring slots. An entry holds only while the fetch TLB has its page as it was when it
was made: so neither a change of the mapping nor a breakpoint in the page needs the cache to be
looked through. Tier 0 looks at the first slot at each block's entry, and counts the entries that are
not there; code that is entered often is put into a ring for whoever translates.
"""

from __future__ import annotations

from dbgemu.engine.ir import LIKELY, UNLIKELY, EmittingCore
from dbgemu.engine.layout import (
    HOT_COUNTERS,
    JUMP_ENTRY_SIZE,
    JUMP_SLOTS,
    JUMP_WAYS,
    UNCHECKED,
)
from dbgemu.engine.routines import CONVENTION, PASSED, RoutineCore
from dbgemu.target.arm.state import FETCH_TLB_ENTRIES, PAGE_BITS, T
from dbgemu.target.arm.value import Value

_PLACE, _WORD, _ENTRY, _FUNCTION, _PAGES = 0, 8, 12, 16, 24


def jump_slot(pc: Value) -> Value:
    """The first slot of the jump cache for an address."""
    return ((pc >> 2) ^ (pc >> 16)) & (JUMP_SLOTS - 1)


def _at(core: EmittingCore, pointer: str | Value, place: int) -> Value:
    return core.op(f"getelementptr i8, ptr {pointer}, i64 {place}", 64)


def _slot(core: EmittingCore, pc: Value) -> Value:
    table = core.get_pointer("jump_cache")
    index = jump_slot(pc).zext(64)
    return core.op(f"getelementptr [{JUMP_ENTRY_SIZE} x i8], ptr {table}, i64 {index}", 64)


def _fetch_entry(core: EmittingCore, pc: Value) -> Value:
    index = ((pc >> PAGE_BITS) & (FETCH_TLB_ENTRIES - 1)).zext(64)
    return core.op(f"getelementptr [32 x i8], ptr {core.get_pointer('fetch_tlb')}, i64 {index}", 64)


def _enter_region(core: EmittingCore, slot: Value) -> None:
    """Tail-call the region of a jump cache entry."""
    pages = core.op(f"load ptr, ptr {_at(core, slot, _PAGES)}", 64)
    hits = _at(core, pages, -8)
    core.line(f"store i64 {core.op(f'load i64, ptr {hits}', 64) + 1}, ptr {hits}")
    entry = core.op(f"load i32, ptr {_at(core, slot, _ENTRY)}", 32).zext(64)
    function = core.op(f"load ptr, ptr {_at(core, slot, _FUNCTION)}", 64)
    arguments = f"ptr %s, ptr {pages}, ptr poison, i64 {entry}, ptr poison, i32 poison"
    core.line(f"musttail call {CONVENTION} void {function}({arguments})")
    core.end("ret void")


def emit_probe(core: RoutineCore, pc: Value, thumb: bool) -> None:
    """At a block's entry in tier 0: go to the region that the first slot has, or count the entry.

    The fetch TLB has the block's page, and ``count`` is settled.
    """
    slot = _slot(core, pc)
    word = core.op(f"load i32, ptr {_at(core, slot, _WORD)}", 32)
    for _ in core.when(word.eq(pc | int(thumb))):
        core.line(f"musttail call {CONVENTION} void @go_{'thumb' if thumb else 'arm'}({PASSED}, i32 {pc})")
        core.end("ret void")
    emit_count(core, pc, thumb)


def emit_count(core: RoutineCore, pc: Value, thumb: bool) -> None:
    """Count a block's entry in tier 0."""
    counters = core.get_pointer("hot_counters")
    index = (jump_slot(pc) & (HOT_COUNTERS - 1)).zext(64)
    counter = core.op(f"getelementptr i16, ptr {counters}, i64 {index}", 64)
    left = core.op(f"load i16, ptr {counter}", 16) - 1
    core.line(f"store i16 {left}, ptr {counter}")
    cold, hot = core.name("L"), core.name("L")
    core.end(f"br i1 {left.eq(0)}, label %{hot}, label %{cold}, {UNLIKELY}")
    core.label(hot)
    core.line(f"musttail call {CONVENTION} void @hot_{'thumb' if thumb else 'arm'}({PASSED}, i32 {pc})")
    core.end("ret void")
    core.label(cold)


def _find(core: RoutineCore, pc: Value, thumb: bool) -> None:
    """Go to the region of ``pc`` if there is one; it moves to the first slot."""
    place = core.op(f"load i64, ptr {_fetch_entry(core, pc)}", 64)
    first = _slot(core, pc)
    wanted = pc | int(thumb)
    for way in range(JUMP_WAYS):
        slot = _at(core, first, way * JUMP_ENTRY_SIZE) if way else first
        same = core.op(f"load i32, ptr {_at(core, slot, _WORD)}", 32).eq(wanted)
        same = same & core.op(f"load i64, ptr {_at(core, slot, _PLACE)}", 64).eq(place)
        found, following = core.name("L"), core.name("L")
        core.end(f"br i1 {same}, label %{found}, label %{following}, {UNLIKELY if way else LIKELY}")
        core.label(found)
        if way:
            for k in range(0, JUMP_ENTRY_SIZE, 8):
                ours, theirs = _at(core, slot, k), _at(core, first, k)
                a, b = (core.op(f"load i64, ptr {p}", 64) for p in (ours, theirs))
                core.line(f"store i64 {a}, ptr {theirs}")
                core.line(f"store i64 {b}, ptr {ours}")
        _enter_region(core, first)
        core.label(following)


def _begin(core: RoutineCore, pc: Value, thumb: bool, function: str) -> None:
    core.line(
        f"musttail call {CONVENTION} void @{function}_{'thumb' if thumb else 'arm'}({PASSED}, i32 {pc})"
    )
    core.end("ret void")


def emit_go(core: RoutineCore, thumb: bool) -> None:
    """From translated code to ``%pc``, the count settled: to a region, or to tier 0."""
    pc = Value(core, "%pc")
    _find(core, pc, thumb)
    _begin(core, pc, thumb, "missed")


def emit_go_any(core: RoutineCore, go: str = "go") -> None:
    """As :func:`emit_go`, in the instruction set that ``control`` says."""
    pc = Value(core, "%pc")
    for _ in core.when((core.get("control") & T).ne(0)):
        core.line(f"musttail call {CONVENTION} void @{go}_thumb({PASSED}, i32 {pc & ~1})")
        core.end("ret void")
    core.line(f"musttail call {CONVENTION} void @{go}_arm({PASSED}, i32 {pc & ~3})")
    core.end("ret void")


def emit_hot(core: RoutineCore, thumb: bool) -> None:
    """``%pc`` was entered often by tier 0: put it into the ring, and have that seen to when it fills."""
    pc = Value(core, "%pc")
    counters = core.get_pointer("hot_counters")
    index = (jump_slot(pc) & (HOT_COUNTERS - 1)).zext(64)
    counter = core.op(f"getelementptr i16, ptr {counters}, i64 {index}", 64)
    core.line(f"store i16 {core.get('hot_threshold').trunc(16)}, ptr {counter}")
    _find(core, pc, thumb)
    used = core.get("hot_used")
    for _ in core.when(used.ult(core.get("hot_batch"))):
        core.set("hot_ring", pc | int(thumb), used)
        core.set("hot_used", used + 1)
        for _ in core.when(~(used + 1).ult(core.get("hot_batch"))):
            # the run ends at the next block, as if its budget did
            count = core.get64("count")
            core.set64("limit", count)
            core.set64("fast_limit", count - UNCHECKED)
    _begin(core, pc, thumb, "interpret")
