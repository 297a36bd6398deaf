"""The interpreter's native support: routines, the memory slow paths, and the way between blocks.

Functions of convention ``tailcc`` pass control on and never return to their caller: an instruction
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

from dbgemu.engine.ir import LIKELY, UNLIKELY, EmittingCore, field_size
from dbgemu.engine.layout import (
    ARM_KEYS_SLOT,
    CONDITIONS,
    PAGE_PRESENT,
    PAGE_WRITABLE,
    PHYSICAL_PAGE_BITS,
    THUMB_SLOT,
)
from dbgemu.target.arm.core import ROUTINES, Routine, Vector
from dbgemu.target.arm.cp15 import CONTROL_ALIGNMENT
from dbgemu.target.arm.mmu import (
    ACCESS_USER,
    ACCESS_WRITE,
    FAULT_ALIGNMENT,
    RESULT_FAULT,
    RESULT_READABLE,
    RESULT_STATUS_SHIFT,
    RESULT_WIDE,
    RESULT_WRITABLE,
    modified_address,
    walk,
)
from dbgemu.target.arm.semantics.conditions import condition_holds
from dbgemu.target.arm.semantics.status import enter_exception
from dbgemu.target.arm.state import (
    DATA_TLB_ENTRIES,
    FETCH_TLB_ENTRIES,
    NO_TAG,
    PAGE_BITS,
    PAGE_SIZE,
    WATCH_READ,
    WATCH_WRITE,
    F,
    Mode,
    StopCode,
    T,
)
from dbgemu.target.arm.value import Value

# Flags of a slow access beside its size: privilege of User mode, and a block transfer's word
SLOW_USER, SLOW_BLOCK = 16, 32
#: slow_read and slow_write give this bit with an abort or a watchpoint hit
SLOW_FAILED = 1 << 32

PASSED = "ptr %s, ptr %h, ptr %he, i64 %add, ptr %tab"
PARAMETERS = "ptr noalias %s, ptr %h, ptr %he, i64 %add, ptr %tab"
# The slow paths take a handler's arguments too, in their places, so that a call moves none of them
# away. The sixth is the address in bits 31..0 and the access's flags above; a value to write is in
# the state.
#: where a section that nothing maps, or a device, is fetched from: an external abort (TRM table 3-6)
EXTERNAL_ABORT_ON_FETCH = 0x8


class RoutineCore(EmittingCore):
    """Emits a routine as a function of its own."""

    def __init__(self, result: int | None = None) -> None:
        super().__init__()
        self._result = result

    def ret(self, value: Value | None = None) -> None:
        """See :class:`Core`, also for the following."""
        if self._result is None:
            self.end("ret void")
        else:
            assert value is not None
            self.end(f"ret i{self._result} {value}")

    def load_physical(self, address: Value) -> Value:
        """A word of a page table; where there is no memory it reads as 0, a fault."""
        result = self.variable("i32", "0")
        entry = self.physical_page(address)
        for _ in self.when((entry & PAGE_PRESENT).ne(0)):
            pointer = self.host_pointer(address.zext(64) + (entry & -4))
            self.line(f"store i32 {self.op(f'load i32, ptr {pointer}', 32)}, ptr {result}")
        return self.op(f"load i32, ptr {result}", 32)

    def physical_page(self, address: Value) -> Value:
        """The entry of ``physical_pages`` for a physical address."""
        pages = self.get_pointer("physical_pages")
        index = (address >> PHYSICAL_PAGE_BITS).zext(64)
        return self.op(f"load i64, ptr {self.op(f'getelementptr i64, ptr {pages}, i64 {index}', 64)}", 64)

    def flush_tlbs(self) -> None:
        """All four tables lie side by side in the state."""
        size = field_size("privileged_data", "user_fetch")
        start = self.address_of("privileged_data")
        self.line(f"call void @llvm.memset.p0.i64(ptr {start}, i8 -1, i64 {size}, i1 false)")
        self.set("wide_fills", self.const(0))

    def flush_tlb_page(self, address: Value) -> None:
        """Its four entries in each table; everything where a section or large page may be meant."""
        done = self.name("L")
        for _ in self.when(((self.get("wide_fills") >> (address >> 27)) & 1).ne(0)):
            self.flush_tlbs()
            self.end(f"br label %{done}")
        page = (address >> PAGE_BITS) & ~3
        for tables, entries, scale, tags in (
            (("privileged_data", "user_data"), DATA_TLB_ENTRIES, 16, (0, 4)),
            (("privileged_fetch", "user_fetch"), FETCH_TLB_ENTRIES, 32, (0,)),
        ):
            for table in tables:
                first = self.address_of(table, page & (entries - 1), scale)
                for place in (scale * k + tag for k in range(4) for tag in tags):
                    slot = self.op(f"getelementptr i8, ptr {first}, i64 {place}", 64)
                    self.line(f"store i32 {NO_TAG}, ptr {slot}")
        self.label(done)

    def select_privilege(self, user: Value) -> None:
        """Point to the tables of this privilege."""
        for pointer, ordinary, privileged in (
            ("data_tlb", "user_data", "privileged_data"),
            ("fetch_tlb", "user_fetch", "privileged_fetch"),
        ):
            chosen = self.op(
                f"select i1 {user}, ptr {self.address_of(ordinary)}, ptr {self.address_of(privileged)}", 64
            )
            self.line(f"store ptr {chosen}, ptr {self.address_of(pointer)}")

    # What only instructions do: a routine's caller sees to it

    def bits(self, high: int, low: int) -> Value:
        """See :class:`Core`, also for the following."""
        raise _NoInstructionError

    def jump(self, address: Value) -> None:
        """Not in a routine."""
        raise _NoInstructionError

    def jump_any(self, address: Value) -> None:
        """Not in a routine."""
        raise _NoInstructionError

    def exception(self, vector: Vector) -> None:
        """Not in a routine."""
        raise _NoInstructionError

    def end_block(self) -> None:
        """Not in a routine."""
        raise _NoInstructionError

    def wait_for_interrupt(self) -> None:
        """Not in a routine."""
        raise _NoInstructionError

    def load(
        self,
        address: Value,
        size: int,
        *,
        signed: bool = False,
        user: bool = False,
        block: bool = False,
        undo: Callable[[], None] | None = None,
    ) -> Value:
        """Not in a routine."""
        raise _NoInstructionError

    def store(self, address: Value, value: Value, size: int, *, user: bool = False) -> None:
        """Not in a routine."""
        raise _NoInstructionError


class _NoInstructionError(TypeError):
    """A routine asked for what only an instruction has."""


def emit_routine(routine: Routine) -> str:
    """The IR of a routine's function."""
    core = RoutineCore(routine.result)
    arguments = [Value(core, f"%a{k}", width) for k, width in enumerate(routine.arguments)]
    routine.function(core, *arguments)
    parameters = "".join(f", i{a.width} {a}" for a in arguments)
    result = "void" if routine.result is None else f"i{routine.result}"
    return f"define {result} @{routine.name}(ptr noalias %s{parameters}) {{\n{core.body()}\n}}"


def _function(head: str, emit: Callable[[RoutineCore], None], result: int | None = None) -> str:
    core = RoutineCore(result)
    emit(core)
    return f"{head} {{\n{core.body()}\n}}"


# -- memory ------------------------------------------------------------------------------------


def _access_of(core: RoutineCore, flags: Value, write: bool) -> Value:
    """The walk's access: User's rights for LDRT and STRT, else those of the mode."""
    user_mode = (core.get("control") & 0x1F).eq(Mode.USR)
    user = (flags & SLOW_USER).ne(0) | user_mode
    return user.select(ACCESS_USER, 0) | (ACCESS_WRITE if write else 0)


def _fail(core: RoutineCore, status: Value, address: Value) -> None:
    core.set("dfsr", status)
    core.set("far", modified_address(core, address))
    core.ret(core.const(SLOW_FAILED, 64))


def _count_now(core: RoutineCore) -> Value:
    """Instructions executed before the one at hand, whose address is in r15 (plus 8, or 4 in Thumb)."""
    shift = (core.get("control") & T).ne(0).select(1, 2)
    done = (_address_now(core) - core.get("block_pc")) >> shift
    return core.get64("count") + done.zext(64)


def _address_now(core: RoutineCore) -> Value:
    """The address of the instruction at hand."""
    return core.get("r", 15) - (core.get("control") & T).ne(0).select(4, 8)


def _resuming(core: RoutineCore) -> Value:
    """Whether the instruction at hand is the one that this run started with, and may be passed.

    The count alone would tell it from none of an interrupt's that is taken before it.
    """
    started = _address_now(core).eq(core.get("pc"))
    return started & _count_now(core).eq(core.get64("resume_count"))


def _check_watches(core: RoutineCore, address: Value, size: Value, kind: int, value: Value) -> None:
    """Stop before an access that a watchpoint covers, except when resuming from just that stop."""
    for _ in core.when(core.get("watch_count").ne(0)):
        index = core.variable("i32", "0")
        test, body, following, after = (core.name("L") for _ in range(4))
        core.label(test)
        k = core.op(f"load i32, ptr {index}", 32)
        core.end(f"br i1 {k.ult(core.get('watch_count'))}, label %{body}, label %{after}")
        core.label(body)
        entry = core.address_of("watches", k, scale=16)

        def word(place: int, entry: str = entry) -> Value:
            pointer = core.op(f"getelementptr i8, ptr {entry}, i64 {place}", 64)
            return core.op(f"load i32, ptr {pointer}", 32)

        last = address + size - 1
        hit = ~last.ult(word(0)) & ~address.ugt(word(4)) & (word(8) & kind).ne(0)
        for _ in core.when(hit & ~_resuming(core)):
            core.set("watch_address", address)
            core.set("watch_value", value)
            core.set("watch_size", size)
            core.set("watch_kind", core.const(kind))
            core.set("stop_reason", core.const(StopCode.WATCHPOINT))
            core.ret(core.const(SLOW_FAILED, 64))
        core.label(following)
        core.line(f"store i32 {k + 1}, ptr {index}")
        core.end(f"br label %{test}")
        core.label(after)


def _note_wide(core: RoutineCore, address: Value, result: Value) -> None:
    """Remember for flush_tlb_page that this part of a section or large page is in the TLBs."""
    for _ in core.when((result & RESULT_WIDE).ne(0)):
        bit = core.const(1) << (address >> 27)
        core.set("wide_fills", core.get("wide_fills") | bit)


def _fill_data_tlb(core: RoutineCore, address: Value, flags: Value, page: Value, result: Value) -> None:
    """Remember where the 1 KiB page of ``address`` is, unless a watchpoint lies in it."""
    physical = result.trunc(32)
    _note_wide(core, address, result)
    table = core.variable("ptr", core.get_pointer("data_tlb"))
    for _ in core.when((flags & SLOW_USER).ne(0)):
        core.line(f"store ptr {core.address_of('user_data')}, ptr {table}")
    index = ((address >> PAGE_BITS) & (DATA_TLB_ENTRIES - 1)).zext(64)
    base = core.op(f"load ptr, ptr {table}", 64)
    entry = core.op(f"getelementptr [16 x i8], ptr {base}, i64 {index}", 64)
    addend_place = core.op(f"getelementptr i8, ptr {entry}, i64 8", 64)
    tag = address & -PAGE_SIZE
    readable = (result & RESULT_READABLE).ne(0)
    writable = (result & RESULT_WRITABLE).ne(0) & (page & PAGE_WRITABLE).ne(0)
    watched = core.variable("i32", "0")
    for _ in core.when(core.get("watch_count").ne(0)):
        kinds = core.call(_WATCHED_KINDS, tag)
        core.line(f"store i32 {kinds}, ptr {watched}")
    kinds = core.op(f"load i32, ptr {watched}", 32)
    read_tag = (readable & (kinds & WATCH_READ).eq(0)).select(tag, core.const(NO_TAG))
    write_tag = (writable & (kinds & WATCH_WRITE).eq(0)).select(tag, core.const(NO_TAG))
    core.line(f"store i32 {read_tag}, ptr {entry}")
    write_place = core.op(f"getelementptr i8, ptr {entry}, i64 4", 64)
    core.line(f"store i32 {write_tag}, ptr {write_place}")
    addend = (page & -4) + physical.zext(64) - address.zext(64)
    core.line(f"store i64 {addend}, ptr {addend_place}")


def _watched_kinds(core: RoutineCore, tag: Value) -> None:
    """The kinds of the watchpoints that touch the 1 KiB page at ``tag``."""
    kinds = core.variable("i32", "0")
    index = core.variable("i32", "0")
    test, body, after = (core.name("L") for _ in range(3))
    core.label(test)
    k = core.op(f"load i32, ptr {index}", 32)
    core.end(f"br i1 {k.ult(core.get('watch_count'))}, label %{body}, label %{after}")
    core.label(body)
    entry = core.address_of("watches", k, scale=16)

    def word(place: int) -> Value:
        pointer = core.op(f"getelementptr i8, ptr {entry}, i64 {place}", 64)
        return core.op(f"load i32, ptr {pointer}", 32)

    touches = ~(tag + (PAGE_SIZE - 1)).ult(word(0)) & ~tag.ugt(word(4))
    more = core.op(f"load i32, ptr {kinds}", 32) | touches.select(word(8), 0)
    core.line(f"store i32 {more}, ptr {kinds}")
    core.line(f"store i32 {k + 1}, ptr {index}")
    core.end(f"br label %{test}")
    core.label(after)
    core.ret(core.op(f"load i32, ptr {kinds}", 32))


_WATCHED_KINDS = Routine("watched_kinds", _watched_kinds, (32,), 32)


def _sized(core: RoutineCore, size: Value, emit: Callable[[int], None]) -> None:
    for width in (1, 2, 4):
        for _ in core.when(size.eq(width)):
            emit(width)


def _slow_access(core: RoutineCore) -> tuple[Value, Value]:
    access = Value(core, "%access", 64)
    return access.trunc(32), (access >> 32).trunc(32)


def _slow_read(core: RoutineCore) -> None:
    """A read that the TLB does not answer: gives the value, or SLOW_FAILED."""
    address, flags = _slow_access(core)
    size = flags & 7
    low = address & (size - 1)
    for _ in core.when(low.ne(0) & (core.get("cp15_control") & CONTROL_ALIGNMENT).ne(0)):
        _fail(core, core.const(FAULT_ALIGNMENT), address)
    aligned = address & ~(size - 1)
    result = core.call(walk, aligned, _access_of(core, flags, write=False))
    for _ in core.when((result & RESULT_FAULT).ne(0)):
        _fail(core, (result >> RESULT_STATUS_SHIFT).trunc(32), address)
    _check_watches(core, aligned, size, WATCH_READ, core.const(0))
    physical = result.trunc(32)
    page = core.physical_page(physical)
    value = core.variable("i32", "0")
    memory, device, done = (core.name("L") for _ in range(3))
    core.end(f"br i1 {(page & PAGE_PRESENT).ne(0)}, label %{memory}, label %{device}, {LIKELY}")
    core.label(memory)
    _fill_data_tlb(core, aligned, flags, page, result)
    pointer = core.host_pointer(physical.zext(64) + (page & -4))

    def read(width: int) -> None:
        loaded = core.op(f"load i{8 * width}, ptr {pointer}", 8 * width).zext(32)
        core.line(f"store i32 {loaded}, ptr {value}")

    _sized(core, size, read)
    core.end(f"br label %{done}")
    core.label(device)
    core.set64("count_now", _count_now(core))
    function = core.get_pointer("mmio_read")
    answer = core.op(f"call i32 {function}(i32 {physical}, i32 {size})", 32)
    core.line(f"store i32 {answer}, ptr {value}")
    core.label(done)
    loaded = core.op(f"load i32, ptr {value}", 32)
    # an unaligned word comes rotated (ARM ARM A2.7.3), but for those of block transfers
    rotation = (size.eq(4) & (flags & SLOW_BLOCK).eq(0)).select(low << 3, 0)
    core.ret(loaded.ror(rotation).zext(64))


def _slow_write(core: RoutineCore) -> None:
    """A write that the TLB does not answer: gives 0 or SLOW_FAILED."""
    address, flags = _slow_access(core)
    value = core.get("slow_value")
    size = flags & 7
    for _ in core.when((address & (size - 1)).ne(0) & (core.get("cp15_control") & CONTROL_ALIGNMENT).ne(0)):
        _fail(core, core.const(FAULT_ALIGNMENT), address)
    aligned = address & ~(size - 1)
    result = core.call(walk, aligned, _access_of(core, flags, write=True))
    for _ in core.when((result & RESULT_FAULT).ne(0)):
        _fail(core, (result >> RESULT_STATUS_SHIFT).trunc(32), address)
    kept = value & size.eq(4).select(-1, size.eq(2).select(0xFFFF, 0xFF))
    _check_watches(core, aligned, size, WATCH_WRITE, kept)
    physical = result.trunc(32)
    page = core.physical_page(physical)
    present = (page & (PAGE_PRESENT | PAGE_WRITABLE)).eq(PAGE_PRESENT | PAGE_WRITABLE)
    memory, device, done = (core.name("L") for _ in range(3))
    core.end(f"br i1 {present}, label %{memory}, label %{device}, {LIKELY}")
    core.label(memory)
    _fill_data_tlb(core, aligned, flags, page, result)
    pointer = core.host_pointer(physical.zext(64) + (page & -4))

    def write(width: int) -> None:
        core.line(f"store i{8 * width} {value.trunc(8 * width)}, ptr {pointer}")

    _sized(core, size, write)
    core.end(f"br label %{done}")
    core.label(device)
    core.set64("count_now", _count_now(core))
    function = core.get_pointer("mmio_write")
    core.line(f"call void {function}(i32 {physical}, i32 {size}, i32 {kept})")
    core.label(done)
    core.ret(core.const(0, 64))


def _slow_fetch(core: RoutineCore) -> None:
    """Fill the fetch TLB for ``%address``: gives 0, or SLOW_FAILED with the status in ``ifsr``."""
    address = Value(core, "%address")
    access = _access_of(core, core.const(0), write=False)
    result = core.call(walk, address, access)
    for _ in core.when((result & RESULT_FAULT).ne(0)):
        core.set("ifsr", (result >> RESULT_STATUS_SHIFT).trunc(32))
        core.ret(core.const(SLOW_FAILED, 64))
    physical = result.trunc(32)
    page = core.physical_page(physical)
    for _ in core.when((page & PAGE_PRESENT).eq(0)):
        core.set("ifsr", core.const(EXTERNAL_ABORT_ON_FETCH))
        core.ret(core.const(SLOW_FAILED, 64))
    _note_wide(core, address, result)
    index = ((address >> PAGE_BITS) & (FETCH_TLB_ENTRIES - 1)).zext(64)
    entry = core.op(f"getelementptr [32 x i8], ptr {core.get_pointer('fetch_tlb')}, i64 {index}", 64)
    core.line(f"store i32 {address & -PAGE_SIZE}, ptr {entry}")
    addend = (page & -4) + physical.zext(64) - address.zext(64)
    core.line(f"store i64 {addend}, ptr {core.op(f'getelementptr i8, ptr {entry}, i64 8', 64)}")
    number = address >> PAGE_BITS
    byte = core.op(
        f"getelementptr i8, ptr {core.get_pointer('breakpoint_pages')}, i64 {(number >> 3).zext(64)}", 64
    )
    marked = core.op(f"load i8, ptr {byte}", 8).zext(32) >> (number & 7)
    table = core.op(
        f"select i1 {marked.trunc(1)}, ptr {core.get_pointer('debug_table')}, "
        f"ptr {core.get_pointer('tables')}",
        64,
    )
    core.line(f"store ptr {table}, ptr {core.op(f'getelementptr i8, ptr {entry}, i64 16', 64)}")
    core.ret(core.const(0, 64))


# -- between blocks ------------------------------------------------------------------------------


class FlowCore(RoutineCore):
    """Emits the tail-called functions; ``thumb`` tells which instruction set they serve."""

    def __init__(self, thumb: bool) -> None:
        super().__init__()
        self.thumb = thumb
        self.suffix = "thumb" if thumb else "arm"
        self.instruction_size = 2 if thumb else 4

    def tail(self, function: str, extra: str = "", convention: str = "tailcc") -> None:
        """End in a tail call."""
        self.line(f"musttail call {convention} void {function}({PASSED}{extra})")
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
        self.line(f"musttail call tailcc void {function}({passed}, i32 {word})")
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
        self.line(f"musttail call tailcc void @refill_{self.suffix}({passed})")
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
    pc = Value(core, "%pc")
    attention = core.op(f"load i64, ptr {core.address_of('exit_request')}", 64)
    left = core.get64("limit") - core.get64("count")
    slow, go, miss, hit = (core.name("L") for _ in range(4))
    core.end(f"br i1 {attention.ne(0) | left.slt(1)}, label %{slow}, label %{go}, {UNLIKELY}")
    core.label(slow)
    core.tail(f"@attend_{core.suffix}", f", i32 {pc}")
    core.label(go)
    index = ((pc >> PAGE_BITS) & (FETCH_TLB_ENTRIES - 1)).zext(64)
    entry = core.op(f"getelementptr [32 x i8], ptr {core.get_pointer('fetch_tlb')}, i64 {index}", 64)
    tag = core.op(f"load i32, ptr {entry}", 32)
    core.end(f"br i1 {tag.eq(pc & -PAGE_SIZE)}, label %{hit}, label %{miss}, {LIKELY}")
    core.label(miss)
    failed = core.op(f"call preserve_mostcc i64 @slow_fetch(ptr %s, i32 {pc})", 64)
    for _ in core.when(failed.ne(0)):
        core.tail("@prefetch_abort", f", i32 {pc}")
    core.label(hit)
    core.set("block_pc", pc)
    addend = core.op(f"load i64, ptr {core.op(f'getelementptr i8, ptr {entry}, i64 8', 64)}", 64)
    table = core.op(f"load ptr, ptr {core.op(f'getelementptr i8, ptr {entry}, i64 16', 64)}", 64)
    host = pc.zext(64) + addend
    bias = addend - 2 * core.instruction_size
    core.run_from(pc, host, left, str(bias), str(table))


def _attend(core: FlowCore) -> None:
    """Stop on request or at the limit; otherwise take the interrupt that is pending."""
    pc = Value(core, "%pc")
    request = core.op(f"load i32, ptr {core.address_of('exit_request')}", 32)
    for _ in core.when(request.ne(0)):
        core.stop(pc, StopCode.REQUEST)
    for _ in core.when((core.get64("limit") - core.get64("count")).slt(1)):
        core.stop(pc, StopCode.LIMIT)
    fiq = (core.get("interrupts") & F).ne(0)
    offset = fiq.select(Vector.FIQ.offset, Vector.IRQ.offset)
    mode = fiq.select(Vector.FIQ.mode, Vector.IRQ.mode)
    vector = core.call(enter_exception, offset, mode, pc + 4)
    core.tail("@begin_arm", f", i32 {vector}")


def _enter(core: FlowCore) -> None:
    """A jump to ``%pc``: count what was executed, and begin there.

    Within the page its mapping still holds: whatever changes one ends the block, and what comes next
    is looked up again.
    """
    pc = Value(core, "%pc")
    here = core.account(1)
    attention = core.op(f"load i64, ptr {core.address_of('exit_request')}", 64)
    left = core.get64("limit") - core.get64("count")
    near = ((pc ^ here) >> PAGE_BITS).eq(0) & attention.eq(0) & ~left.slt(1)
    for _ in core.when(~near):
        core.tail(f"@begin_{core.suffix}", ", i32 %pc")
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
    here = core.account(1)
    # offset and mode share an argument: with one more, some would leave the host's registers
    both = Value(core, "%vector")
    vector = core.call(enter_exception, both & 0xFF, both >> 8, here + core.instruction_size)
    core.tail("@begin_arm", f", i32 {vector}")


def _abort(core: FlowCore) -> None:
    """A data access at ``%h`` failed: a data abort, or a watchpoint that stops in front of it."""
    for _ in core.when(core.get("stop_reason").eq(StopCode.WATCHPOINT)):
        core.stop(core.account(0), StopCode.WATCHPOINT)
    here = core.account(1)
    vector = core.call(
        enter_exception, core.const(Vector.DATA_ABORT.offset), core.const(Vector.DATA_ABORT.mode), here + 8
    )
    core.tail("@begin_arm", f", i32 {vector}")


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
    core.tail("@begin_arm", f", i32 {vector}")


def _debug(core: FlowCore) -> None:
    """In a page with breakpoints: stop in front of one, else do what the ordinary table says."""
    here = core.here()
    number = here >> 1
    bits = core.get_pointer("breakpoint_bits")
    byte = core.op(f"getelementptr i8, ptr {bits}, i64 {(number >> 3).zext(64)}", 64)
    marked = (core.op(f"load i8, ptr {byte}", 8).zext(32) >> (number & 7)).trunc(1)
    for _ in core.when(marked):
        for _ in core.when(~_resuming(core)):
            core.stop(core.account(0), StopCode.BREAKPOINT)
    word = Value(core, "%w")
    core.go(core.slot(word), word, core.get_pointer("tables"))


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
        core.line(f"call tailcc void @begin_thumb{nothing} {pc})")
        core.end("ret void")
    core.line(f"call tailcc void @begin_arm{nothing} {pc})")
    core.end("ret void")


def emit_support() -> list[str]:
    """The IR of every function of this module."""
    slow = "define preserve_mostcc i64"
    parts = [emit_routine(routine) for routine in (*ROUTINES.values(), _WATCHED_KINDS)]
    parts += [
        _function(f"{slow} @slow_read({PARAMETERS}, i64 %access) noinline", _slow_read, 64),
        _function(f"{slow} @slow_write({PARAMETERS}, i64 %access) noinline", _slow_write, 64),
        _function(f"{slow} @slow_fetch(ptr noalias %s, i32 %address) noinline", _slow_fetch, 64),
        _function("define void @run(ptr %s)", _run),
    ]
    for thumb in (False, True):
        with_pc, with_word = ", i32 %pc", ", i32 %w"
        for name, extra, emit in (
            ("begin_", with_pc, _begin),
            ("attend_", with_pc, _attend),
            ("enter_", with_pc, _enter),
            ("enter_any_from_", with_pc, _enter_any),
            ("refill_", "", _refill),
            ("raise_", ", i32 %vector", _raise),
            ("abort_", "", _abort),
            ("debug_", with_word, _debug),
        ):
            parts.append(_flow(f"{name}{FlowCore(thumb).suffix}", extra, thumb, emit))
    parts.append(_flow("prefetch_abort", ", i32 %pc", False, _prefetch_abort))
    for condition in CONDITIONS:
        parts.append(
            _flow(f"condition_{condition}", ", i32 %w", False, partial(_conditional, condition=condition))
        )
    return parts


def _flow(name: str, extra: str, thumb: bool, emit: Callable[[FlowCore], None]) -> str:
    core = FlowCore(thumb)
    emit(core)
    return f"define tailcc void @{name}({PARAMETERS}{extra}) {{\n{core.body()}\n}}"
