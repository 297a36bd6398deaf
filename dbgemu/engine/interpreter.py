"""Tier 0: a handler for each decode key, made from the instruction semantics."""

from __future__ import annotations

from collections.abc import Callable

from dbgemu.engine.flow import FlowCore, emit_flow
from dbgemu.engine.ir import DECLARATIONS, LIKELY
from dbgemu.engine.layout import ARM_KEYS, BRANCH_KEYS, CONDITIONS, THUMB_KEYS
from dbgemu.engine.memory_paths import SLOW_BLOCK, SLOW_FAILED, SLOW_QUIET, SLOW_USER, emit_memory
from dbgemu.engine.routines import CONVENTION, PARAMETERS, PASSED, emit_routine
from dbgemu.target.arm import a32, t16
from dbgemu.target.arm.core import ROUTINES, Vector
from dbgemu.target.arm.decode import Pattern
from dbgemu.target.arm.semantics.conditions import condition_holds
from dbgemu.target.arm.state import DATA_TLB_ENTRIES, EXIT_IDLE, PAGE_BITS, PAGE_SIZE
from dbgemu.target.arm.value import Value


class HandlerCore(FlowCore):
    """Emits the handler of one key: bits in ``key_mask`` are known, the others are in ``%w``."""

    def __init__(self, word: int, key_mask: int, thumb: bool) -> None:
        super().__init__(thumb)
        self._known_bits = word
        self._key_mask = key_mask
        self._word = Value(self, "%w")
        self._end = self.variable("ptr", "%he")

    def bits(self, high: int, low: int) -> Value:
        """Known where all of them are in the key."""
        mask = (2 << high - low) - 1
        if self._key_mask >> low & mask == mask:
            return self.const(self._known_bits >> low & mask)
        field = self._word >> low
        return field if high == 31 else field & mask

    def jump(self, address: Value) -> None:
        """Go on at ``address``, its low bits cut."""
        self.tail(f"@enter_{self.suffix}", f", i32 {address & -self.instruction_size}")

    def jump_any(self, address: Value) -> None:
        """Go on in the instruction set that ``control`` says."""
        self.tail(f"@enter_any_from_{self.suffix}", f", i32 {address}")

    def exception(self, vector: Vector) -> None:
        """Take it."""
        self.tail(f"@raise_{self.suffix}", f", i32 {vector.mode << 8 | vector.offset}")

    def _end_block_unless(self, quiet: Value) -> None:
        following = self.op(f"getelementptr i8, ptr %h, i64 {self.instruction_size}", 64)
        end = self.op(f"load ptr, ptr {self._end}", 64)
        chosen = self.op(f"select i1 {quiet}, ptr {end}, ptr {following}", 64)
        self.line(f"store ptr {chosen}, ptr {self._end}")

    def end_block(self) -> None:
        """The run of instructions ends behind this one."""
        following = self.op(f"getelementptr i8, ptr %h, i64 {self.instruction_size}", 64)
        self.line(f"store ptr {following}, ptr {self._end}")

    def wait_for_interrupt(self) -> None:
        """Ask to stop at the end of the block."""
        place = self.address_of("exit_request", EXIT_IDLE, scale=1)
        self.line(f"store i8 1, ptr {place}")

    def _tlb_entry(self, address: Value, user: bool) -> str:
        table = self.get_pointer("user_tlb") if user else self.get_pointer("data_tlb")
        index = ((address >> PAGE_BITS) & (DATA_TLB_ENTRIES - 1)).zext(64)
        return str(self.op(f"getelementptr [16 x i8], ptr {table}, i64 {index}", 64))

    def _host(self, entry: str, address: Value) -> str:
        place = self.op(f"getelementptr i8, ptr {entry}, i64 8", 64)
        return self.host_pointer(self.op(f"load i64, ptr {place}", 64) + address.zext(64))

    def _probe(self, entry: str, tag_place: int, address: Value, size: int) -> tuple[str, str]:
        """Branch by whether the TLB entry's tag matches; gives the labels (hit, miss)."""
        place = self.op(f"getelementptr i8, ptr {entry}, i64 {tag_place}", 64)
        tag = self.op(f"load i32, ptr {place}", 32)
        # the low bits that make an access unaligned are compared too: tags have them clear
        matches = tag.eq(address & (-PAGE_SIZE | (size - 1)))
        hit, miss = self.name("L"), self.name("L")
        self.end(f"br i1 {matches}, label %{hit}, label %{miss}, {LIKELY}")
        return hit, miss

    def _slow(self, function: str, address: Value, flags: int) -> Value:
        access = address.zext(64) | (flags << 32)
        return self.op(f"call preserve_mostcc i64 @{function}({PASSED}, i64 {access})", 64)

    def _check_failed(self, failed: Value, undo: Callable[[], None] | None) -> None:
        for _ in self.when(failed):
            if undo is not None:
                undo()
            self.tail(f"@abort_{self.suffix}")

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
        """A TLB look-up with the slow path out of line; after that, the block ends, unless it was quiet."""
        kind = f"i{8 * size}"
        result = self.variable(kind, "0")
        entry = self._tlb_entry(address, user)
        hit, miss = self._probe(entry, 0, address, size)
        join = self.name("L")
        self.label(hit)
        loaded = self.op(f"load {kind}, ptr {self._host(entry, address)}", 8 * size)
        self.line(f"store {kind} {loaded}, ptr {result}")
        self.end(f"br label %{join}")
        self.label(miss)
        flags = size | (SLOW_USER if user else 0) | (SLOW_BLOCK if block else 0)
        answer = self._slow("slow_read", address, flags)
        self._check_failed((answer & SLOW_FAILED).ne(0), undo)
        self.line(f"store {kind} {answer.trunc(8 * size)}, ptr {result}")
        self._end_block_unless((answer & SLOW_QUIET).ne(0))
        self.label(join)
        value = self.op(f"load {kind}, ptr {result}", 8 * size)
        return value.sext(32) if signed else value.zext(32)

    def store(self, address: Value, value: Value, size: int, *, user: bool = False) -> None:
        """As :meth:`load`."""
        entry = self._tlb_entry(address, user)
        hit, miss = self._probe(entry, 4, address, size)
        join = self.name("L")
        self.label(hit)
        self.line(f"store i{8 * size} {value.trunc(8 * size)}, ptr {self._host(entry, address)}")
        self.end(f"br label %{join}")
        self.label(miss)
        flags = size | (SLOW_USER if user else 0)
        self.set("slow_value", value)
        answer = self._slow("slow_write", address, flags)
        self._check_failed((answer & SLOW_FAILED).ne(0), None)
        self._end_block_unless((answer & SLOW_QUIET).ne(0))
        self.label(join)

    def _block_pointer(self, registers: Value, address: Value, tag_place: int) -> tuple[str, str, str]:
        """Look up a block transfer's page once: gives the host pointer and the labels (hit, miss).

        It hits where all words lie in one page that the TLB has.
        """
        entry = self._tlb_entry(address, user=False)
        place = self.op(f"getelementptr i8, ptr {entry}, i64 {tag_place}", 64)
        tag = self.op(f"load i32, ptr {place}", 32)
        last = address + (registers.popcount() << 2) - 4
        within = ((address ^ last) >> PAGE_BITS).eq(0)
        matches = tag.eq(address & (-PAGE_SIZE | 3)) & within
        hit, miss = self.name("L"), self.name("L")
        host = self._host(entry, address)
        self.end(f"br i1 {matches}, label %{hit}, label %{miss}, {LIKELY}")
        return host, hit, miss

    def _word_of_block(self, host: str, before: Value) -> Value:
        return self.op(f"getelementptr i32, ptr {host}, i64 {before.zext(64)}", 64)

    def load_block(
        self,
        registers: Value,
        address: Value,
        assign: Callable[[Value, Value], None],
        undo: Callable[[], None] | None = None,
    ) -> None:
        """One look-up for all words of a page; word by word otherwise."""
        host, hit, miss = self._block_pointer(registers, address, 0)
        join = self.name("L")
        self.label(miss)
        super().load_block(registers, address, assign, undo)
        self.end(f"br label %{join}")
        self.label(hit)
        for number, before in self.each_register(registers):
            assign(number, self.op(f"load i32, ptr {self._word_of_block(host, before)}", 32))
        self.label(join)

    def store_block(self, registers: Value, address: Value, value_of: Callable[[Value], Value]) -> None:
        """As :meth:`load_block`."""
        host, hit, miss = self._block_pointer(registers, address, 4)
        join = self.name("L")
        self.label(miss)
        super().store_block(registers, address, value_of)
        self.end(f"br label %{join}")
        self.label(hit)
        for number, before in self.each_register(registers):
            value = value_of(number)
            self.line(f"store i32 {value}, ptr {self._word_of_block(host, before)}")
        self.label(join)

    def finish(self) -> str:
        """Go on to the next instruction; the handler's body."""
        if not self.ended:
            self.next(str(self.op(f"load ptr, ptr {self._end}", 64)))
        return self.body()


def emit_handler(pattern: Pattern, word: int, key_mask: int, thumb: bool) -> str:
    """The body of the handler for the instructions that share ``word``'s key bits."""
    core = HandlerCore(word, key_mask, thumb)
    pattern.run(core)
    return core.finish()


def emit_conditional_branch(pattern: Pattern, link: int, condition: int) -> str:
    """The body of the handler of B or BL with a condition."""
    core = HandlerCore(a32.word_of(BRANCH_KEYS[link][0]), a32.KEY_MASK, thumb=False)
    for _ in core.when(condition_holds(core, condition)):
        pattern.run(core)
    return core.finish()


def emit_module(progress: Callable[[int, int], None] | None = None) -> str:
    """The whole interpreter as one module of LLVM IR, without triple and data layout.

    ``progress(done, total)`` is called as keys are emitted. Keys whose handlers come out equal
    share one function.
    """
    keys = [(a32.A32, a32.word_of(key), a32.KEY_MASK, False) for key in range(ARM_KEYS)]
    keys += [(t16.T16, t16.word_of(key), t16.KEY_MASK, True) for key in range(THUMB_KEYS)]
    functions: dict[str, str] = {}
    table = []
    for done, (decoder, word, key_mask, thumb) in enumerate(keys):
        pattern = decoder.find(word)
        body = emit_handler(pattern, word, key_mask, thumb)
        table.append(functions.setdefault(body, f"{pattern.name}_{'thumb' if thumb else 'arm'}_{word:x}"))
        if progress is not None and done % 256 == 0:
            progress(done, len(keys))
    handlers = [_define(name, body) for body, name in functions.items()]
    for link, (first, _) in enumerate(BRANCH_KEYS):
        pattern = a32.A32.find(a32.word_of(first))
        for condition in CONDITIONS:
            body = emit_conditional_branch(pattern, link, condition)
            handlers.append(_define(f"branch_{condition}_{link}", body))
    entries = ", ".join(f"ptr @{name}" for name in table)
    handlers.append(f"@handlers = constant [{len(table)} x ptr] [{entries}]")
    routines = [emit_routine(routine) for routine in ROUTINES.values()]
    return "\n".join([DECLARATIONS, *routines, *emit_memory(), *emit_flow(), *handlers])


def _define(name: str, body: str) -> str:
    return f"define {CONVENTION} void @{name}({PARAMETERS}, i32 %w) {{\n{body}\n}}"
