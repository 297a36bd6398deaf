"""The way between blocks: entering, leaving, interrupts, exceptions, breakpoints.

Functions of convention ``preserve_nonecc`` pass control on and never return to their caller: an instruction
handler ends in a tail call of the next one. Their arguments stay in host registers:

=======  =====================================================================================
``%s``    the CPU's state
``%h``    host address of the instruction at hand
``%he``   where the run of instructions ends: the page's end, or where the budget does
``%add``  what to subtract from the host address for what r15 reads as (address plus 8, or plus 4)
``%tab``  the handler table
=======  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dbgemu.engine.condition_table import FALSE
from dbgemu.engine.conditions import emit_lookup
from dbgemu.engine.dispatch import emit_count, emit_go, emit_go_any, emit_hot, emit_probe
from dbgemu.engine.ir import LIKELY, UNLIKELY
from dbgemu.engine.layout import (
    ARM_KEYS_SLOT,
    CONDITIONS,
    THUMB_SLOT,
)
from dbgemu.engine.memory_paths import bit_of, resuming
from dbgemu.engine.routines import CONVENTION, PARAMETERS, PASSED, RoutineCore, emit_function
from dbgemu.engine.traced_code import emit_go_traced
from dbgemu.target.arm.core import Vector
from dbgemu.target.arm.mmu import walk
from dbgemu.target.arm.semantics.conditions import condition_holds
from dbgemu.target.arm.semantics.status import enter_exception
from dbgemu.target.arm.state import (
    FETCH_TLB_ENTRIES,
    OBSERVED,
    PAGE_BITS,
    PAGE_SIZE,
    SEMIHOSTING_ARM,
    SEMIHOSTING_PRIVILEGED,
    SEMIHOSTING_THUMB,
    SEMIHOSTING_USER,
    TRACE_EXCEPTIONS,
    TRACE_FAULTS,
    TRACE_INTERRUPTS,
    F,
    I,
    Mode,
    StopCode,
    T,
)
from dbgemu.target.arm.value import Value

#: events that exceptions are
_TRACED = TRACE_EXCEPTIONS | TRACE_INTERRUPTS | TRACE_FAULTS


class FlowCore(RoutineCore):
    """Emits the tail-called functions; ``thumb`` tells which instruction set they serve."""

    def __init__(self, thumb: bool) -> None:
        super().__init__()
        self.thumb = thumb
        self.suffix = "thumb" if thumb else "arm"
        self.instruction_size = 2 if thumb else 4

    def tail(self, function: str, extra: str = ", i32 poison") -> None:
        """End in a tail call."""
        self.line(f"musttail call {CONVENTION} void {function}({PASSED}{extra})")
        self.end("ret void")

    def here(self) -> Value:
        """The guest address of the instruction at hand."""
        host = self.op("ptrtoint ptr %h to i64", 64)
        return (host - Value(self, "%add", 64)).trunc(32) - 2 * self.instruction_size

    def account(self, executed: int) -> Value:
        """Count the block's instructions up to the one at hand, with it (1) or not (0)."""
        here = self.here()
        done = (here - self.get("block_pc")) >> (1 if self.thumb else 2)
        self.set64("count", self.get64("count") + (done + executed).zext(64))
        return here

    def stop(self, pc: Value, reason: StopCode) -> None:
        """Leave generated code; the count is settled."""
        self.set("pc", pc)
        self.set("stop_reason", self.const(reason))
        self.set64("count_now", self.get64("count"))
        self.end("ret void")

    def dispatch(self, host: str = "%h", end: str = "%he", add: str = "%add", table: str = "%tab") -> None:
        """Fetch the instruction at ``host``, decode its key and go to its handler."""
        passed = f"ptr %s, ptr {host}, ptr {end}, i64 {add}, ptr {table}"
        address = self.op(f"ptrtoint ptr {host} to i64", 64)
        self.set("r", (address - Value(self, add, 64)).trunc(32), 15)
        if self.thumb:
            word = self.op(f"load i16, ptr {host}", 16).zext(32)
        else:
            word = self.op(f"load i32, ptr {host}", 32)
        self.go(self.slot(word), word, table, passed)

    def slot(self, word: Value) -> Value:
        """The place in the handler table of the instruction ``word``."""
        if self.thumb:
            return (word >> 6).zext(64) + THUMB_SLOT
        return (((word >> 16) & 0xFFF0) | ((word >> 4) & 15)).zext(64)

    def go(self, slot: Value, word: Value, table: str = "%tab", passed: str = PASSED) -> None:
        """Go to the handler in ``slot`` of ``table``."""
        place = self.op(f"getelementptr ptr, ptr {table}, i64 {slot}", 64)
        function = self.op(f"load ptr, ptr {place}", 64)
        self.line(f"musttail call {CONVENTION} void {function}({passed}, i32 {word})")
        self.end("ret void")

    def next(self, end: str = "%he") -> None:
        """Go on behind the instruction at hand, unless the run ends there."""
        following = self.op(f"getelementptr i8, ptr %h, i64 {self.instruction_size}", 64)
        refill, go = self.name("L"), self.name("L")
        self.end(
            f"br i1 {self.op(f'icmp eq ptr {following}, {end}', 1)}, label %{refill}, label %{go}, {UNLIKELY}"
        )
        self.label(refill)
        passed = f"ptr %s, ptr {following}, ptr {end}, i64 %add, ptr %tab"
        self.line(f"musttail call {CONVENTION} void @refill_{self.suffix}({passed}, i32 poison)")
        self.end("ret void")
        self.label(go)
        self.dispatch(host=str(following), end=end)

    def run_from(self, pc: Value, host: Value, left: Value, bias: str, table: str) -> None:
        """Execute from ``host`` on, to the end of the page or of the budget ``left``."""
        shift = 1 if self.thumb else 2
        room = ((self.const(PAGE_SIZE) - (pc & (PAGE_SIZE - 1))) >> shift).zext(64)
        run = self.op(f"call i64 @llvm.umin.i64(i64 {room}, i64 {left})", 64) << shift
        self.dispatch(self.host_pointer(host), self.host_pointer(host + run), bias, table)

    def enter_any(self, pc: Value) -> None:
        """Begin a block in the instruction set that ``control`` says; the count is settled."""
        for _ in self.when((self.get("control") & T).ne(0)):
            self.tail("@begin_thumb", f", i32 {pc & ~1}")
        self.tail("@begin_arm", f", i32 {pc & ~3}")


def _begin(core: FlowCore) -> None:
    """Begin a block at ``%pc``: see to requests, the budget and the fetch TLB. The count is settled."""
    pc, left = _heed(core, "attend_begin")
    _look_up(core, pc, left, lambda: emit_probe(core, pc, core.thumb))


def _interpret(core: FlowCore) -> None:
    """As _begin, but tier 0 executes the block."""
    _look_up(core, *_heed(core, "attend"))


def _missed(core: FlowCore) -> None:
    """As _begin, where the jump cache has just been looked at in vain."""
    pc, left = _heed(core, "attend_missed")
    _count(core, pc, left)


def _count(core: FlowCore, pc: Value, left: Value) -> None:
    """Execute from ``pc`` on, which is no entry of translated code, at most ``left`` instructions."""
    entry = _fetch_entry(core, pc)
    for _ in core.when(core.op(f"load i32, ptr {entry}", 32).ne(pc & -PAGE_SIZE)):
        # it was in vain because this translation was missing
        _fill(core, pc)
        core.tail(f"@begin_{core.suffix}", f", i32 {pc}")
    _look_up(core, pc, left, lambda: emit_count(core, pc, core.thumb))


def _heed(core: FlowCore, attend: str) -> tuple[Value, Value]:
    """See to requests and the budget in front of ``%pc``; gives it, and how many instructions are left.

    When there is something to see to, the function ``attend`` gets control.
    """
    pc = Value(core, "%pc")
    attention = core.op(f"load i64, ptr {core.address_of('exit_request')}", 64)
    left = _left(core)
    slow, go = core.name("L"), core.name("L")
    core.end(f"br i1 {attention.ne(0) | left.slt(1)}, label %{slow}, label %{go}, {UNLIKELY}")
    core.label(slow)
    core.tail(f"@{attend}_{core.suffix}", f", i32 {pc}")
    core.label(go)
    return pc, left


def _left(core: FlowCore) -> Value:
    return core.get64("limit") - core.get64("count")


def _fetch_entry(core: FlowCore, pc: Value) -> Value:
    index = ((pc >> PAGE_BITS) & (FETCH_TLB_ENTRIES - 1)).zext(64)
    return core.op(f"getelementptr [32 x i8], ptr {core.get_pointer('fetch_tlb')}, i64 {index}", 64)


def _fill(core: FlowCore, pc: Value) -> None:
    """Let the fetch TLB have the page of ``pc``, or take the abort."""
    failed = core.op(f"call preserve_mostcc i64 @slow_fetch(ptr %s, i32 {pc})", 64)
    for _ in core.when(failed.ne(0)):
        core.tail("@prefetch_abort", f", i32 {pc}")


def _look_up(core: FlowCore, pc: Value, left: Value, found: Callable[[], None] | None = None) -> None:
    """Execute from ``pc`` on, at most ``left`` instructions, where the fetch TLB finds it.

    ``found`` emits what is to be done once it has.
    """
    miss, hit = core.name("L"), core.name("L")
    entry = _fetch_entry(core, pc)
    tag = core.op(f"load i32, ptr {entry}", 32)
    core.end(f"br i1 {tag.eq(pc & -PAGE_SIZE)}, label %{hit}, label %{miss}, {LIKELY}")
    core.label(miss)
    _fill(core, pc)
    core.label(hit)
    if found is not None:
        found()
    core.set("block_pc", pc)
    addend = core.op(f"load i64, ptr {core.op(f'getelementptr i8, ptr {entry}, i64 8', 64)}", 64)
    table = core.op(f"load ptr, ptr {core.op(f'getelementptr i8, ptr {entry}, i64 16', 64)}", 64)
    host = pc.zext(64) + addend
    bias = addend - 2 * core.instruction_size
    core.run_from(pc, host, left, str(bias), str(table))


def _execute(core: FlowCore) -> None:
    """Go on at ``%pc``, whose block has been seen; the count is settled and below the limit."""
    _look_up(core, Value(core, "%pc"), _left(core))


def _probe_observed(core: FlowCore) -> None:
    """As _execute, but there may be translated code that records its blocks."""
    pc = Value(core, "%pc")
    _look_up(core, pc, _left(core), lambda: emit_probe(core, pc, core.thumb))


def _count_observed(core: FlowCore) -> None:
    """As _probe_observed, where the jump cache has just been looked at in vain."""
    _count(core, Value(core, "%pc"), _left(core))


def _attend_observer(core: FlowCore, then: str) -> None:
    """If all that is to be seen to is an observer: tell it, and go on with the function ``then``."""
    pc = Value(core, "%pc")
    attention = core.op(f"load i64, ptr {core.address_of('exit_request')}", 64)
    predicted = core.get64("trace_predicted").ne(0)
    for _ in core.when(attention.eq(OBSERVED << 32) & ~_left(core).slt(1) & predicted):
        _observe(core, pc)
        core.tail(f"@{then}_{core.suffix}", f", i32 {pc}")
    core.tail(f"@attend_{core.suffix}", f", i32 {pc}")


def _observe(core: FlowCore, pc: Value) -> None:
    core.line(f"call void {core.get_pointer('trace_block')}(ptr %s, i32 {pc | int(core.thumb)})")


def _attend(core: FlowCore) -> None:
    """Stop on request or at the limit; take the interrupt that is pending; else somebody observes."""
    pc = Value(core, "%pc")
    request = core.op(f"load i32, ptr {core.address_of('exit_request')}", 32)
    for _ in core.when(request.ne(0)):
        for _ in core.when(core.get("caught").ne(0)):
            core.stop(pc, StopCode.CATCH)
        core.stop(pc, StopCode.REQUEST)
    for _ in core.when(_left(core).slt(1)):
        core.stop(pc, StopCode.LIMIT)
    for _ in core.when((core.get("interrupts") & (I | F)).eq(0)):
        _observe(core, pc)
        core.tail(f"@execute_{core.suffix}", f", i32 {pc}")
    fiq = (core.get("interrupts") & F).ne(0)
    offset = fiq.select(Vector.FIQ.offset, Vector.IRQ.offset)
    mode = fiq.select(Vector.FIQ.mode, Vector.IRQ.mode)
    vector = core.call(enter_exception, offset, mode, pc + 4)
    _begin_exception(core, vector, offset)


def _begin_exception(core: FlowCore, vector: Value, offset: Value) -> None:
    """Go on at the vector, unless debuggers catch this exception; the count is settled."""
    for _ in core.when((core.get("trace_kinds") & _TRACED).ne(0)):
        core.line(f"call void {core.get_pointer('trace_exception')}(ptr %s, i32 {offset}, i32 {vector})")
    bit = core.const(1) << (offset >> 2)
    for _ in core.when((core.get("catch_vectors") & bit).ne(0)):
        core.set("caught", core.get("caught") | bit)
        core.stop(vector, StopCode.CATCH)
    core.tail("@begin_arm", f", i32 {vector}")


def _enter(core: FlowCore) -> None:
    """A jump to ``%pc``: count what was executed, and begin there.

    Within the page its mapping still holds: whatever changes one ends the block, and what comes next
    is looked up again.
    """
    pc = Value(core, "%pc")
    here = core.account(1)
    attention = core.op(f"load i64, ptr {core.address_of('exit_request')}", 64)
    left = _left(core)
    near = ((pc ^ here) >> PAGE_BITS).eq(0) & attention.eq(0) & ~left.slt(1)
    for _ in core.when(~near):
        core.tail(f"@begin_{core.suffix}", ", i32 %pc")
    emit_probe(core, pc, core.thumb)
    core.set("block_pc", pc)
    bias = Value(core, "%add", 64)
    host = pc.zext(64) + bias + 2 * core.instruction_size
    core.run_from(pc, host, left, str(bias), "%tab")


def _enter_any(core: FlowCore) -> None:
    core.account(1)
    core.enter_any(Value(core, "%pc"))


def _refill(core: FlowCore) -> None:
    """The run ended in front of ``%h``: count, and begin there."""
    core.tail(f"@begin_{core.suffix}", f", i32 {core.account(0)}")


def _raise(core: FlowCore) -> None:
    """UNDEFINED or SWI at ``%h``: the return address is behind the instruction."""
    _stop_at_semihosting(core)
    here = core.account(1)
    # offset and mode share an argument: with one more, some would leave the host's registers
    both = Value(core, "%vector")
    vector = core.call(enter_exception, both & 0xFF, both >> 8, here + core.instruction_size)
    _begin_exception(core, vector, both & 0xFF)


def _stop_at_semihosting(core: FlowCore) -> None:
    """Stop in front of an SWI that is a semihosting call, if such are taken."""
    swi = (Value(core, "%vector") & 0xFF).eq(Vector.SWI.offset)
    for _ in core.when(core.get("semihosting").ne(0) & swi):
        if core.thumb:
            comment = core.op("load i16, ptr %h", 16).zext(32) & 0xFF
            called = comment.eq(SEMIHOSTING_THUMB)
        else:
            called = (core.op("load i32, ptr %h", 32) & 0xFFFFFF).eq(SEMIHOSTING_ARM)
        user = (core.get("control") & 0x1F).eq(Mode.USR)
        taken = core.get("semihosting") & user.select(SEMIHOSTING_USER, SEMIHOSTING_PRIVILEGED)
        for _ in core.when(called & taken.ne(0)):
            core.stop(core.account(0), StopCode.SEMIHOSTING)


def _abort(core: FlowCore) -> None:
    """A data access at ``%h`` failed: a data abort, or a watchpoint that stops in front of it."""
    for _ in core.when(core.get("stop_reason").eq(StopCode.WATCHPOINT)):
        here = core.account(0)
        core.set64("watch_resume_count", core.get64("count"))
        core.set64("watch_resume_key", core.const(-1, 64))
        core.stop(here, StopCode.WATCHPOINT)
    here = core.account(1)
    vector = core.call(
        enter_exception, core.const(Vector.DATA_ABORT.offset), core.const(Vector.DATA_ABORT.mode), here + 8
    )
    _begin_exception(core, vector, core.const(Vector.DATA_ABORT.offset))


def _prefetch_abort(core: FlowCore) -> None:
    """Nothing can be fetched at ``%pc``; the count is settled, nothing was executed."""
    vector = core.call(
        enter_exception,
        core.const(Vector.PREFETCH_ABORT.offset),
        core.const(Vector.PREFETCH_ABORT.mode),
        Value(core, "%pc") + 4,
    )
    # counted as an instruction: a vector that cannot be fetched must not hang the machine
    core.set64("count", core.get64("count") + 1)
    _begin_exception(core, vector, core.const(Vector.PREFETCH_ABORT.offset))


def _physical_page(core: FlowCore, here: Value) -> Value:
    """The physical address of the 1 KiB page that is being executed at ``here``.

    From the fetch TLB; its entry may have gone since the block began: then what the tables say now.
    """
    index = ((here >> PAGE_BITS) & (FETCH_TLB_ENTRIES - 1)).zext(64)
    entry = core.op(f"getelementptr [32 x i8], ptr {core.get_pointer('fetch_tlb')}, i64 {index}", 64)
    place = core.op(f"getelementptr i8, ptr {entry}, i64 4", 64)
    page = core.variable("i32", str(core.op(f"load i32, ptr {place}", 32)))
    for _ in core.when(core.op(f"load i32, ptr {entry}", 32).ne(here & -PAGE_SIZE)):
        walked = core.call(walk, here, core.const(0)).trunc(32)
        core.line(f"store i32 {walked & -PAGE_SIZE}, ptr {page}")
    return core.op(f"load i32, ptr {page}", 32)


def _debug(core: FlowCore) -> None:
    """In a page with breakpoints: stop in front of one, else do what the ordinary table says."""
    here = core.here()
    marked = core.variable("i1", str(bit_of(core, "breakpoint_bits", here >> 1)))
    for _ in core.when(core.get("physical_breakpoints").ne(0)):
        physical = _physical_page(core, here) | (here & (PAGE_SIZE - 1))
        too = bit_of(core, "physical_breakpoint_bits", physical >> 1)
        core.line(f"store i1 {core.op(f'load i1, ptr {marked}', 1) | too}, ptr {marked}")
    for _ in core.when(core.op(f"load i1, ptr {marked}", 1)):
        for _ in core.when(~resuming(core)):
            # a function of its own: instructions without a breakpoint need not save what a call takes
            core.tail(f"@breakpoint_{core.suffix}", ", i32 %w")
    word = Value(core, "%w")
    core.go(core.slot(word), word, core.get_pointer("tables"))


def _breakpoint(core: FlowCore) -> None:
    """In front of a breakpoint: stop, unless its native condition is false.

    Where there are physical breakpoints, which may be meant too, somebody else has to judge.
    """
    for _ in core.when(core.get("physical_breakpoints").eq(0)):
        verdict = core.op(f"call i32 @condition_at(ptr %s, i32 {core.here()})", 32)
        for _ in core.when(verdict.eq(FALSE)):
            word = Value(core, "%w")
            core.go(core.slot(word), word, core.get_pointer("tables"))
    core.stop(core.account(0), StopCode.BREAKPOINT)


def _conditional(core: FlowCore, condition: int) -> None:
    """An instruction with a condition: if that holds, what the always executed one does."""
    word = Value(core, "%w")
    for _ in core.when(condition_holds(core, condition)):
        always = core.slot(word & 0x0FFFFFFF) + ARM_KEYS_SLOT
        # not from the debug table: its handler would come here again
        core.go(always, word, core.get_pointer("tables"))
    core.next()


def _run(core: RoutineCore) -> None:
    """Execute from ``pc`` until a stop."""
    core.set("stop_reason", core.const(0))
    pc = core.get("pc")
    nothing = "(ptr %s, ptr null, ptr null, i64 0, ptr null, i32"
    for _ in core.when((core.get("control") & T).ne(0)):
        core.line(f"call {CONVENTION} void @begin_thumb{nothing} {pc})")
        core.end("ret void")
    core.line(f"call {CONVENTION} void @begin_arm{nothing} {pc & ~3})")
    core.end("ret void")


def emit_flow() -> list[str]:
    """The IR of the functions between blocks, and of ``run``."""
    parts = [emit_function("define void @run(ptr %s)", _run), emit_lookup()]
    for thumb in (False, True):
        with_pc, with_word = ", i32 %pc", ", i32 %w"
        for name, extra, emit in (
            ("begin_", with_pc, _begin),
            ("attend_", with_pc, _attend),
            ("attend_begin_", with_pc, partial(_attend_observer, then="probe_observed")),
            ("attend_missed_", with_pc, partial(_attend_observer, then="count_observed")),
            ("execute_", with_pc, _execute),
            ("probe_observed_", with_pc, _probe_observed),
            ("count_observed_", with_pc, _count_observed),
            ("interpret_", with_pc, _interpret),
            ("missed_", with_pc, _missed),
            ("go_", with_pc, partial(emit_go, thumb=thumb)),
            ("go_traced_", with_pc, partial(emit_go_traced, thumb=thumb)),
            ("hot_", with_pc, partial(emit_hot, thumb=thumb)),
            ("enter_", with_pc, _enter),
            ("enter_any_from_", with_pc, _enter_any),
            ("refill_", with_word, _refill),
            ("raise_", ", i32 %vector", _raise),
            ("abort_", with_word, _abort),
            ("debug_", with_word, _debug),
            ("breakpoint_", with_word, _breakpoint),
        ):
            parts.append(_flow(f"{name}{FlowCore(thumb).suffix}", extra, thumb, emit))
    parts.append(_flow("prefetch_abort", ", i32 %pc", False, _prefetch_abort))
    parts.append(_flow("go_any", ", i32 %pc", False, emit_go_any))
    parts.append(_flow("go_traced_any", ", i32 %pc", False, partial(emit_go_any, go="go_traced")))
    for condition in CONDITIONS:
        parts.append(
            _flow(f"condition_{condition}", ", i32 %w", False, partial(_conditional, condition=condition))
        )
    return parts


def _flow(name: str, extra: str, thumb: bool, emit: Callable[[FlowCore], None]) -> str:
    core = FlowCore(thumb)
    emit(core)
    return f"define {CONVENTION} void @{name}({PARAMETERS}{extra}) {{\n{core.body()}\n}}"
