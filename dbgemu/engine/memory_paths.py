"""The memory slow paths: what the soft TLBs do not answer, from faults to device registers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dbgemu.engine.ir import LIKELY
from dbgemu.engine.layout import (
    EVENT_READ,
    EVENT_WRITE,
    FILL_MEMORY,
    FILL_WRITE,
    PAGE_PRESENT,
    PAGE_WRITABLE,
)
from dbgemu.engine.port_routines import PORT_COUNT, PORT_READ, PORT_WRITE, emit_ports
from dbgemu.engine.routines import PARAMETERS, RoutineCore, emit_function, emit_routine
from dbgemu.target.arm.core import Routine
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
from dbgemu.target.arm.state import (
    DATA_TLB_ENTRIES,
    FETCH_TLB_ENTRIES,
    NO_TAG,
    PAGE_BITS,
    PAGE_SIZE,
    TRACE_READS,
    TRACE_WRITES,
    WATCH_PHYSICAL,
    WATCH_READ,
    WATCH_WRITE,
    Mode,
    StopCode,
    T,
)
from dbgemu.target.arm.value import Value
from dbgemu.target.stream import (
    CODE_READS,
    COUNT_READS,
    POSTS_WRITES,
    STREAM_ACCESS,
    STREAM_CURSOR,
    STREAM_NEXT,
    STREAM_READ_END,
    STREAM_SIZES_SHIFT,
    STREAM_STEP,
    STREAM_WRITE_END,
)

# Flags of a slow access beside its size: privilege of User mode, and a block transfer's word
SLOW_USER, SLOW_BLOCK = 16, 32
#: slow_read and slow_write give this bit with an abort or a watchpoint hit
SLOW_FAILED = 1 << 32
#: or this one where nothing but the access has happened: the block need not end
SLOW_QUIET = 1 << 33
#: where a device, or nothing, is fetched from: an external abort (ARM920T TRM, table of fault sources)
EXTERNAL_ABORT_ON_FETCH = 0x8


def _access_of(core: RoutineCore, flags: Value, write: bool) -> Value:
    """The walk's access: User's rights for LDRT and STRT, else those of the mode."""
    user_mode = (core.get("control") & 0x1F).eq(Mode.USR)
    user = (flags & SLOW_USER).ne(0) | user_mode
    return user.select(ACCESS_USER, 0) | (ACCESS_WRITE if write else 0)


def _fail(core: RoutineCore, status: Value, address: Value) -> None:
    core.set("dfsr", status)
    core.set("far", modified_address(core, address))
    core.ret(core.const(SLOW_FAILED, 64))


def count_now(core: RoutineCore) -> Value:
    """Instructions executed before the one at hand, whose address is in r15 (plus 8, or 4 in Thumb)."""
    shift = (core.get("control") & T).ne(0).select(1, 2)
    done = (_address_now(core) - core.get("block_pc")) >> shift
    return core.get64("count") + done.zext(64)


def _address_now(core: RoutineCore) -> Value:
    """The address of the instruction at hand."""
    return core.get("r", 15) - (core.get("control") & T).ne(0).select(4, 8)


def resuming(core: RoutineCore, resume_count: str = "resume_count") -> Value:
    """Whether the instruction at hand is the one that this run started with, and may be passed.

    The count alone would tell it from none of an interrupt's that is taken before it.
    """
    started = _address_now(core).eq(core.get("pc"))
    return started & count_now(core).eq(core.get64(resume_count))


def _check_watches(
    core: RoutineCore, address: Value, physical: Value, size: Value, kind: int, value: Value
) -> None:
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

        first = (word(8) & WATCH_PHYSICAL).ne(0).select(physical, address)
        last = first + size - 1
        hit = ~last.ult(word(0)) & ~first.ugt(word(4)) & (word(8) & kind).ne(0)
        key = (address.zext(64) << 2) + kind  # as access_key does it
        passed = resuming(core, "watch_resume_count") & ~key.ugt(core.get64("watch_resume_key"))
        for _ in core.when(hit & ~passed):
            core.set("watch_address", address)
            core.set("watch_physical", physical)
            core.set("watch_value", value)
            core.set("watch_size", size)
            core.set("watch_kind", core.const(kind))
            core.set("stop_reason", core.const(StopCode.WATCHPOINT))
            core.ret(core.const(SLOW_FAILED, 64))
        core.label(following)
        core.line(f"store i32 {k + 1}, ptr {index}")
        core.end(f"br label %{test}")
        core.label(after)


def bit_of(core: RoutineCore, bitmap: str, number: Value) -> Value:
    """Bit ``number`` (32 bits wide) of the bitmap that a field of the state points to."""
    place = f"getelementptr i8, ptr {core.get_pointer(bitmap)}, i64 {(number >> 3).zext(64)}"
    byte = core.op(f"load i8, ptr {core.op(place, 64)}", 8).zext(32)
    return (byte >> (number & 7)).trunc(1)


def _note_wide(core: RoutineCore, address: Value, result: Value) -> None:
    """Remember for flush_tlb_page that this part of a section or large page is in the TLBs."""
    for _ in core.when((result & RESULT_WIDE).ne(0)):
        bit = core.const(1) << (address >> 27)
        core.set("wide_fills", core.get("wide_fills") | bit)


def _fill_data_tlb(
    core: RoutineCore, address: Value, flags: Value, page: Value, result: Value
) -> tuple[Value, Value, Value]:
    """Remember where the 1 KiB page of ``address`` is, unless a watchpoint lies in it.

    To where code is translated, writes are not remembered. Gives the tags, for reads and writes, and
    the addend.
    """
    physical = result.trunc(32)
    _note_wide(core, address, result)
    table = core.variable("ptr", core.get_pointer("data_tlb"))
    for _ in core.when((flags & SLOW_USER).ne(0)):
        core.line(f"store ptr {core.get_pointer('user_tlb')}, ptr {table}")
    index = ((address >> PAGE_BITS) & (DATA_TLB_ENTRIES - 1)).zext(64)
    base = core.op(f"load ptr, ptr {table}", 64)
    entry = core.op(f"getelementptr [16 x i8], ptr {base}, i64 {index}", 64)
    core.note_filled(entry)
    addend_place = core.op(f"getelementptr i8, ptr {entry}, i64 8", 64)
    tag = address & -PAGE_SIZE
    readable = (result & RESULT_READABLE).ne(0)
    writable = (result & RESULT_WRITABLE).ne(0) & (page & PAGE_WRITABLE).ne(0)
    writable = writable & ~bit_of(core, "code_pages", physical >> PAGE_BITS)
    watched = core.variable("i32", "0")
    for _ in core.when(core.get("watch_count").ne(0)):
        kinds = core.call(WATCHED_KINDS, tag, physical & -PAGE_SIZE)
        core.line(f"store i32 {kinds}, ptr {watched}")
    kinds = core.op(f"load i32, ptr {watched}", 32)
    read_tag = (readable & (kinds & WATCH_READ).eq(0)).select(tag, core.const(NO_TAG))
    write_tag = (writable & (kinds & WATCH_WRITE).eq(0)).select(tag, core.const(NO_TAG))
    core.line(f"store i32 {read_tag}, ptr {entry}")
    write_place = core.op(f"getelementptr i8, ptr {entry}, i64 4", 64)
    core.line(f"store i32 {write_tag}, ptr {write_place}")
    addend = (page & -4) + physical.zext(64) - address.zext(64)
    core.line(f"store i64 {addend}, ptr {addend_place}")
    return read_tag, write_tag, addend


def _watched_kinds(core: RoutineCore, tag: Value, physical: Value) -> None:
    """The kinds of the watchpoints that touch the 1 KiB page at virtual ``tag``, ``physical``."""
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

    page = (word(8) & WATCH_PHYSICAL).ne(0).select(physical, tag)
    touches = ~(page + (PAGE_SIZE - 1)).ult(word(0)) & ~page.ugt(word(4))
    more = core.op(f"load i32, ptr {kinds}", 32) | touches.select(word(8), 0)
    core.line(f"store i32 {more}, ptr {kinds}")
    core.line(f"store i32 {k + 1}, ptr {index}")
    core.end(f"br label %{test}")
    core.label(after)
    core.ret(core.op(f"load i32, ptr {kinds}", 32))


WATCHED_KINDS = Routine("watched_kinds", _watched_kinds, (32, 32), 32)


def _sized(core: RoutineCore, size: Value, emit: Callable[[int], None]) -> None:
    for width in (1, 2, 4):
        for _ in core.when(size.eq(width)):
            emit(width)


def _slow_access(core: RoutineCore) -> tuple[Value, Value]:
    access = Value(core, "%access", 64)
    return access.trunc(32), (access >> 32).trunc(32)


def _trace_access(
    core: RoutineCore, wanted: int, kind: int, physical: Value, size: Value, value: Value
) -> None:
    """Tell of a device access, if somebody wants to know."""
    for _ in core.when((core.get("trace_kinds") & wanted).ne(0)):
        arguments = f"ptr %s, i32 {size << 8 | kind}, i32 {physical}, i32 {value}"
        core.line(f"call void {core.get_pointer('trace_access')}({arguments})")


def _stream(
    core: RoutineCore,
    page: Value,
    physical: Value,
    size: Value,
    end: int,
    value: Value | None = None,
    *,
    timed: bool = True,
) -> Value:
    """Take the next bytes of the port at ``physical``, if there is one that serves this access.

    Gives their host address, or 0. ``page`` is the page's entry, ``end`` where in the description its limit
    is: STREAM_READ_END or STREAM_WRITE_END. ``value`` is what will be written, where that is known; without
    ``timed`` the state does not hold the present count.
    """
    place = core.variable("i64", "0")
    # a write also comes here where there is memory that is only read
    port = core.variable("i64", str((page & PAGE_PRESENT).ne(0).select(core.const(0, 64), page)))
    test, body, after = (core.name("L") for _ in range(3))
    core.label(test)
    here = core.op(f"load i64, ptr {port}", 64)
    core.end(f"br i1 {here.ne(0)}, label %{body}, label %{after}")
    core.label(body)

    def word(number: int) -> str:
        return core.host_pointer(here + 8 * number)

    access = core.op(f"load i64, ptr {word(STREAM_ACCESS)}", 64)
    core.line(f"store i64 {core.op(f'load i64, ptr {word(STREAM_NEXT)}', 64)}, ptr {port}")
    for _ in core.when(access.trunc(32).ne(physical)):
        core.end(f"br label %{test}")
    cursor = core.op(f"load i64, ptr {word(STREAM_CURSOR)}", 64)
    room = ~(cursor + size.zext(64)).ugt(core.op(f"load i64, ptr {word(end)}", 64))
    served = (access >> STREAM_SIZES_SHIFT).trunc(32)
    for _ in core.when(room & (served & size).ne(0)):
        step = core.op(f"load i64, ptr {word(STREAM_STEP)}", 64) & size.zext(64)
        core.line(f"store i64 {cursor + step}, ptr {word(STREAM_CURSOR)}")
        core.line(f"store i64 {cursor}, ptr {place}")
        core.end(f"br label %{after}")
    if end == STREAM_READ_END:
        for _ in core.when((served & CODE_READS).ne(0) & (served & size).ne(0)):
            core.line(f"store i64 {core.call(PORT_READ, here)}, ptr {place}")
        if timed:
            for _ in core.when((served & COUNT_READS).ne(0) & (served & size).ne(0)):
                core.line(f"store i64 {core.call(PORT_COUNT, here)}, ptr {place}")
    elif value is not None:
        for _ in core.when((served & POSTS_WRITES).ne(0) & (served & size).ne(0)):
            core.line(f"store i64 {core.call(PORT_WRITE, here, value)}, ptr {place}")
    core.end(f"br label %{after}")
    core.label(after)
    return core.op(f"load i64, ptr {place}", 64)


def _slow_read(core: RoutineCore) -> None:
    """A read that the TLB does not answer: gives the value, or SLOW_FAILED; SLOW_QUIET."""
    address, flags = _slow_access(core)
    size = flags & 7
    low = address & (size - 1)
    for _ in core.when(low.ne(0) & (core.get("cp15_control") & CONTROL_ALIGNMENT).ne(0)):
        _fail(core, core.const(FAULT_ALIGNMENT), address)
    aligned = address & ~(size - 1)
    result = core.call(walk, aligned, _access_of(core, flags, write=False))
    for _ in core.when((result & RESULT_FAULT).ne(0)):
        _fail(core, (result >> RESULT_STATUS_SHIFT).trunc(32), address)
    physical = result.trunc(32)
    _check_watches(core, aligned, physical, size, WATCH_READ, core.const(0))
    page = core.physical_page(physical)
    value = core.variable("i32", "0")
    quiet = core.variable("i64", "0")
    memory, device, done = (core.name("L") for _ in range(3))
    core.end(f"br i1 {(page & PAGE_PRESENT).ne(0)}, label %{memory}, label %{device}, {LIKELY}")
    core.label(memory)
    _fill_data_tlb(core, aligned, flags, page, result)
    pointer = core.host_pointer(physical.zext(64) + (page & -4))

    def read(width: int, pointer: str = pointer) -> None:
        loaded = core.op(f"load i{8 * width}, ptr {pointer}, align 1", 8 * width).zext(32)
        core.line(f"store i32 {loaded}, ptr {value}")

    _sized(core, size, read)
    core.end(f"br label %{done}")
    core.label(device)
    core.set64("count_now", count_now(core))
    # the bus is told of an unaligned address, and aligns it
    accessed = physical | low
    streamed = _stream(core, page, accessed, size, STREAM_READ_END)
    for _ in core.when(streamed.ne(0)):
        _sized(core, size, partial(read, pointer=core.host_pointer(streamed)))
        given = core.op(f"load i32, ptr {value}", 32)
        _trace_access(core, TRACE_READS, EVENT_READ, physical, size, given)
        core.line(f"store i64 {SLOW_QUIET}, ptr {quiet}")
        core.end(f"br label %{done}")
    function = core.get_pointer("mmio_read")
    core.set("in_device", core.const(1))
    answer = core.op(f"call i32 {function}(i32 {accessed}, i32 {size})", 32)
    core.set("in_device", core.const(0))
    kept = answer & size.eq(4).select(-1, size.eq(2).select(0xFFFF, 0xFF))
    _trace_access(core, TRACE_READS, EVENT_READ, physical, size, kept)
    core.line(f"store i32 {answer}, ptr {value}")
    core.label(done)
    loaded = core.op(f"load i32, ptr {value}", 32)
    # an unaligned word comes rotated (ARM ARM A2.7.3), but for those of block transfers
    rotation = (size.eq(4) & (flags & SLOW_BLOCK).eq(0)).select(low << 3, 0)
    core.ret(loaded.ror(rotation).zext(64) | core.op(f"load i64, ptr {quiet}", 64))


def _slow_write(core: RoutineCore) -> None:
    """A write that the TLB does not answer: gives 0, SLOW_FAILED or SLOW_QUIET."""
    address, flags = _slow_access(core)
    value = core.get("slow_value")
    size = flags & 7
    low = address & (size - 1)
    for _ in core.when(low.ne(0) & (core.get("cp15_control") & CONTROL_ALIGNMENT).ne(0)):
        _fail(core, core.const(FAULT_ALIGNMENT), address)
    aligned = address & ~(size - 1)
    result = core.call(walk, aligned, _access_of(core, flags, write=True))
    for _ in core.when((result & RESULT_FAULT).ne(0)):
        _fail(core, (result >> RESULT_STATUS_SHIFT).trunc(32), address)
    kept = value & size.eq(4).select(-1, size.eq(2).select(0xFFFF, 0xFF))
    physical = result.trunc(32)
    _check_watches(core, aligned, physical, size, WATCH_WRITE, kept)
    page = core.physical_page(physical)
    present = (page & (PAGE_PRESENT | PAGE_WRITABLE)).eq(PAGE_PRESENT | PAGE_WRITABLE)
    memory, device, done = (core.name("L") for _ in range(3))
    core.end(f"br i1 {present}, label %{memory}, label %{device}, {LIKELY}")
    core.label(memory)
    _fill_data_tlb(core, aligned, flags, page, result)
    for _ in core.when(bit_of(core, "code_pages", physical >> PAGE_BITS)):
        for _ in core.when(bit_of(core, "code_words", physical >> 2)):
            core.line(f"call void {core.get_pointer('code_written')}(i32 {physical}, i32 {size})")
    pointer = core.host_pointer(physical.zext(64) + (page & -4))

    def write(width: int, pointer: str = pointer) -> None:
        core.line(f"store i{8 * width} {value.trunc(8 * width)}, ptr {pointer}, align 1")

    _sized(core, size, write)
    core.end(f"br label %{done}")
    core.label(device)
    core.set64("count_now", count_now(core))
    accessed = physical | low
    streamed = _stream(core, page, accessed, size, STREAM_WRITE_END, kept)
    for _ in core.when(streamed.ne(0)):
        _trace_access(core, TRACE_WRITES, EVENT_WRITE, physical, size, kept)
        _sized(core, size, partial(write, pointer=core.host_pointer(streamed)))
        core.ret(core.const(SLOW_QUIET, 64))
    function = core.get_pointer("mmio_write")
    _trace_access(core, TRACE_WRITES, EVENT_WRITE, physical, size, kept)
    core.set("in_device", core.const(1))
    core.line(f"call void {function}(i32 {accessed}, i32 {size}, i32 {kept})")
    core.set("in_device", core.const(0))
    core.label(done)
    core.ret(core.const(0, 64))


def _fill(core: RoutineCore) -> None:
    """For translated code: what to add to the address for its host address; 0: tier 0 has to do it.

    Nothing is changed but the TLB: an access that would fault, reach a device, hit a watchpoint or
    write code is left alone. Where a stream serves the access it has moved on.
    """
    address, flags = _slow_access(core)
    size = flags & 7
    nothing = core.const(0, 64)
    for _ in core.when((address & (size - 1)).ne(0)):
        core.ret(nothing)
    write = (flags & FILL_WRITE).ne(0)
    access = _access_of(core, flags, write=False) | write.select(ACCESS_WRITE, 0)
    result = core.call(walk, address, access)
    physical = result.trunc(32)
    page = core.physical_page(physical)
    for _ in core.when((result & RESULT_FAULT).ne(0)):
        core.ret(nothing)
    for _ in core.when((page & PAGE_PRESENT).eq(0)):
        observed = core.get("watch_count") | (core.get("trace_kinds") & (TRACE_READS | TRACE_WRITES))
        for _ in core.when(observed.ne(0) | (flags & FILL_MEMORY).ne(0)):
            core.ret(nothing)
        streamed = core.variable("i64", "0")
        for end, wanted in ((STREAM_READ_END, ~write), (STREAM_WRITE_END, write)):
            for _ in core.when(wanted):
                core.line(
                    f"store i64 {_stream(core, page, physical, size, end, timed=False)}, ptr {streamed}"
                )
        place = core.op(f"load i64, ptr {streamed}", 64)
        core.ret(place.ne(0).select(place - address.zext(64), nothing))
    read_tag, write_tag, addend = _fill_data_tlb(core, address, flags, page, result)
    tag = write.select(write_tag, read_tag)
    core.ret(tag.eq(address & -PAGE_SIZE).select(addend, nothing))


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
    core.note_filled(entry)
    core.line(f"store i32 {address & -PAGE_SIZE}, ptr {entry}")
    addend = (page & -4) + physical.zext(64) - address.zext(64)
    core.line(f"store i64 {addend}, ptr {core.op(f'getelementptr i8, ptr {entry}, i64 8', 64)}")
    marked = core.variable("i1", str(bit_of(core, "breakpoint_pages", address >> PAGE_BITS)))
    for _ in core.when(core.get("physical_breakpoints").ne(0)):
        too = bit_of(core, "physical_breakpoint_pages", physical >> PAGE_BITS)
        core.line(f"store i1 {core.op(f'load i1, ptr {marked}', 1) | too}, ptr {marked}")
    debugged = core.op(f"load i1, ptr {marked}", 1)
    page_place = core.op(f"getelementptr i8, ptr {entry}, i64 4", 64)
    # no translated code is entered where there are breakpoints: none is for such an address
    core.line(f"store i32 {(physical & -PAGE_SIZE) | debugged.zext(32)}, ptr {page_place}")
    table = core.op(
        f"select i1 {debugged}, ptr {core.get_pointer('debug_table')}, ptr {core.get_pointer('tables')}",
        64,
    )
    core.line(f"store ptr {table}, ptr {core.op(f'getelementptr i8, ptr {entry}, i64 16', 64)}")
    core.ret(core.const(0, 64))


def emit_memory() -> list[str]:
    """The IR of the slow paths.

    They take a handler's arguments, in their places, so that a call moves none of them away. The sixth
    is the address in bits 31..0 and the access's flags above; a value to write is in the state.
    """
    head = "define preserve_mostcc i64"
    return [
        emit_routine(WATCHED_KINDS),
        *emit_ports(),
        emit_function(f"{head} @slow_read({PARAMETERS}, i64 %access) noinline", _slow_read, 64),
        emit_function(f"{head} @slow_write({PARAMETERS}, i64 %access) noinline", _slow_write, 64),
        emit_function(f"{head} @fill(ptr noalias %s, i64 %access) noinline", _fill, 64),
        emit_function(f"{head} @slow_fetch(ptr noalias %s, i32 %address) noinline", _slow_fetch, 64),
    ]
