"""Translated code that records its blocks: what it does where control is transferred.

Regions come in two flavours. While blocks are observed, only those are entered that record: in front of the
instruction that a transfer leads to, where it is sure to be executed next. What the ring's table predicts
(:mod:`.trace_ring`) is recorded in line; anything else by the function ``trace_transfer``. So the records are
the same, byte for byte, in both tiers.

The ring that predicts is the one that records, or one whose table predicts nothing
(:class:`UnpredictingRing`): for traces that select some of the blocks.
"""

from __future__ import annotations

from dbgemu.engine.ir import LIKELY, EmittingCore
from dbgemu.engine.routines import CONVENTION, PASSED, RoutineCore
from dbgemu.engine.trace_ring import MULTIPLIER, PATH_BITS, PATH_SHIFT, TRANSFER_CONVENTION, TraceRing
from dbgemu.target.arm.value import Value

#: where code that records goes on, for where other code does
TRACED_WAYS = {"go_arm": "go_traced_arm", "go_thumb": "go_traced_thumb", "go_any": "go_traced_any"}
#: the low word of a block that is none: ARM, but not at a multiple of 4
_NO_BLOCK = 2


class UnpredictingRing(TraceRing):
    """A ring in whose place each transfer looks new: each is for ``trace_transfer``."""

    def __init__(self) -> None:
        super().__init__()
        # nothing goes on from there, whatever the count is
        self.current = _NO_BLOCK
        self.path_table[0] = _NO_BLOCK


def _field(core: EmittingCore, ring: str, name: str, place: int = 0) -> str:
    return str(core.op(f"getelementptr i8, ptr {ring}, i64 {getattr(TraceRing, name).offset + place}", 64))


def emit_jump(
    core: EmittingCore, ring: str, new: Value, count: Value, again: tuple[int, str] | None = None
) -> None:
    """Record a transfer to ``new`` (bit 0: Thumb) at ``count``, in the privilege of the running block.

    With ``again``, a length and a label, go on at the label where the running block was the same one, of that
    length, and the path leads back to the same entry: then each further turn of the loop comes true as well.
    """
    # words of 32 bits: shifted to their place in a key they would be further variables of a loop
    start = core.op(f"load i32, ptr {_field(core, ring, 'start')}", 32)
    user = core.op(f"load i32, ptr {_field(core, ring, 'current', 4)}", 32)
    path_place = _field(core, ring, "path")
    path = core.op(f"load i32, ptr {path_place}", 32)
    table = _field(core, ring, "path_table")
    entry = core.op(f"getelementptr i64, ptr {table}, i64 {path.zext(64)}", 64)
    high = core.op(f"load i32, ptr {core.op(f'getelementptr i8, ptr {entry}, i64 4', 64)}", 32)
    low = core.op(f"load i32, ptr {entry}", 32)
    right, wrong, done = core.name("L"), core.name("L"), core.name("L")
    same = high.eq(count.trunc(32) - start | user) & low.eq(new)
    core.end(f"br i1 {same}, label %{right}, label %{wrong}, {LIKELY}")
    core.label(right)
    core.line(f"store i32 {new}, ptr {_field(core, ring, 'current')}")
    core.line(f"store i64 {count}, ptr {_field(core, ring, 'start')}")
    following = (path << PATH_SHIFT ^ new * MULTIPLIER >> 32 - PATH_BITS) & (1 << PATH_BITS) - 1
    core.line(f"store i64 {following.zext(64)}, ptr {path_place}")
    hits = _field(core, ring, "hits")
    core.line(f"store i64 {core.op(f'load i64, ptr {hits}', 64) + 1}, ptr {hits}")
    if again is None:
        core.end(f"br label %{done}")
    else:
        length, label = again
        steady = following.eq(path) & (count.trunc(32) - start).eq(length)
        core.end(f"br i1 {steady}, label %{label}, label %{done}")
    core.label(wrong)
    function = core.get_pointer("trace_transfer")
    core.line(f"call {TRANSFER_CONVENTION} void {function}(ptr %s, i32 {new}, i64 {count})")
    core.label(done)


def emit_turns(core: EmittingCore, ring: str, start: Value, turns: Value) -> None:
    """Record ``turns`` of a loop that came true, the last of which began at the count ``start``."""
    hits = _field(core, ring, "hits")
    core.line(f"store i64 {core.op(f'load i64, ptr {hits}', 64) + turns}, ptr {hits}")
    core.line(f"store i64 {start}, ptr {_field(core, ring, 'start')}")


def emit_go_traced(core: RoutineCore, thumb: bool) -> None:
    """From code that records to ``%pc``, the count settled: record the transfer, then as ``go_``."""
    pc, count = Value(core, "%pc"), core.get64("count")
    suffix = "thumb" if thumb else "arm"
    # where a region would leave at once, tier 0 is to stop in front of a block that is not recorded yet
    for _ in core.when(core.get64("fast_limit").slt(count)):
        core.line(f"musttail call {CONVENTION} void @missed_{suffix}({PASSED}, i32 {pc})")
        core.end("ret void")
    ring = core.get_pointer("trace_predicted")
    new = pc | int(thumb)
    current = core.op(f"load i32, ptr {_field(core, ring, 'current')}", 32)
    length = count.trunc(32) - core.op(f"load i32, ptr {_field(core, ring, 'start')}", 32)
    for _ in core.when(new.ne(current + (length << (1 if thumb else 2)))):
        emit_jump(core, ring, new, count)
    core.line(f"musttail call {CONVENTION} void @go_{suffix}({PASSED}, i32 {pc})")
    core.end("ret void")
