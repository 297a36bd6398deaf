"""Emits a region: one native function, guest registers and flags as local values.

The function is of the convention and prototype of all that tail-call each other, with the state's
address, the number of the entry, and the address of the region's pages: words that the fetch TLB must
have for code in another page to be executed. It ends by storing what it changed and a tail call by way
of a pointer in the state, so that the machine code refers to nothing outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce

from dbgemu.engine.ir import LIKELY, UNLIKELY
from dbgemu.engine.layout import UNCHECKED
from dbgemu.engine.routines import CONVENTION
from dbgemu.engine.traced_code import TRACED_WAYS, emit_jump, emit_turns
from dbgemu.engine.translator.decoding import Flow, Instruction
from dbgemu.engine.translator.flags import Flags, Knowledge
from dbgemu.engine.translator.regions import MOST_INSTRUCTIONS, Block, Region
from dbgemu.engine.translator.translating_core import TranslatingCore
from dbgemu.target.arm.core import Fields
from dbgemu.target.arm.semantics.conditions import ALWAYS, condition_holds
from dbgemu.target.arm.state import (
    FETCH_TLB_ENTRIES,
    PAGE_BITS,
    PAGE_SIZE,
    offset,
)
from dbgemu.target.arm.value import Value

REGION_PARAMETERS = "ptr noalias %s, ptr %pages, ptr %u1, i64 %entry, ptr %u2, i32 %u3"
#: turns of a loop of one block that are emitted one after the other, at most
_MOST_TURNS = 4
_FLAGS = ("n", "z", "c", "v")
_TO_STATUS = ("move_register_to_status", "move_immediate_to_status")


class RegionCore(TranslatingCore):
    """Emits the body of one region's function."""

    def __init__(self, region: Region) -> None:
        super().__init__(region.thumb)
        self.region = region
        self._pages = {page: place for place, page in enumerate(region.pages)}
        self._used: set[str] = set()
        self._written: set[str] = set()
        #: what is known of a register or flag in the block at hand
        self._values: dict[str, Value] = {}
        self._flags = Flags(self, self._used)
        #: by block: what is known of the flags where each of its predecessors goes on there, None: an entry
        self._arrivals: dict[int, dict[int | None, Knowledge]] = {}
        self._predecessors: dict[int, set[int | None]] = {pc: {None} for pc in region.entries}
        for pc in region.entries:
            self._arrivals[pc] = {None: Flags.at_entry()}
        for block in region.blocks.values():
            for way in block.successors:
                self._predecessors.setdefault(way, set()).add(block.pc)
        self._instruction: Instruction
        self._block_at_hand: Block
        #: of a block that is a loop, and emitted several times: the label of the next time
        self._following_turn: str | None = None
        self._known_at_turn = Knowledge()
        #: of a region that records its blocks: addresses that it jumps to, and blocks that jump to themselves
        self._jumped_to: set[int] = set()
        self._repeated: set[int] = set()
        #: how many instructions ago the last jump was recorded at the latest, None outside of steady turns
        self._steady: int | None = None
        self._before: int = 0
        self._r15_loaded = False

    # -- the function ------------------------------------------------------------------------

    def emit(self, name: str) -> str:
        """The IR of the function ``name``."""
        blocks = self.region.blocks
        for pc in sorted(blocks):
            self._block(blocks[pc])
            if pc in self._repeated:
                self._steady_turns(blocks[pc])
        for pc in sorted(self._jumped_to):
            self._recorded_jump(pc, f"J{pc:x}")
        for pc in sorted(self._repeated):
            self._recorded_turn(blocks[pc])
        self._flags.emit_exits()
        if self._flags.written:
            self._written.update(f"f{flag}" for flag in _FLAGS)
        body = self.lines
        self.lines = []
        self.ended = False
        self._exit()
        exits = self.lines
        self.lines = []
        self.ended = False
        self._prologue()
        lines = "\n".join([*self.allocas, *self.lines, *body, *exits])
        return f"define {CONVENTION} void @{name}({REGION_PARAMETERS}) #0 {{\n{lines}\n}}"

    def _prologue(self) -> None:
        """Load what the region uses, and go to the block of the entry."""
        self.line("%tlb = load ptr, ptr " + self.address_of("data_tlb"))
        self.line("%fetch = load ptr, ptr " + self.address_of("fetch_tlb"))
        if self._jumped_to or self._repeated:
            self.allocas.append("  %since = alloca i64")
            self.line("%ring = load ptr, ptr " + self.address_of("trace_predicted"))
        for name in sorted(self._used | self._written):
            self.allocas.append(f"  %{name} = alloca i32")
            self.line(f"store i32 {super().get(*_field(name))}, ptr %{name}")
        self._flags.emit_entry()
        self.allocas += ["  %count = alloca i64", "  %xcount = alloca i64"]
        self.allocas += ["  %xpc = alloca i32", "  %xway = alloca i64"]
        self.line(f"store i64 {self.get64('count')}, ptr %count")
        entries = self.region.entries
        labels = [self._entry_label(pc) for pc in entries]
        cases = " ".join(f"i64 {k}, label %{label}" for k, label in enumerate(labels) if k)
        self.end(f"switch i64 %entry, label %{labels[0]} [ {cases} ]")
        for pc, label in zip(entries, labels, strict=True):
            if pc not in self.region.headers:
                self.label(label)
                self._check_budget(pc, self._counted())
                self.end(f"br label %B{pc:x}")

    def _entry_label(self, pc: int) -> str:
        return f"B{pc:x}" if pc in self.region.headers else f"E{pc:x}"

    def _exit(self) -> None:
        """Store what was changed and go where the way says."""
        self.label("exit")
        for name in sorted(self._written):
            super().set(_field(name)[0], self.op(f"load i32, ptr %{name}", 32), _field(name)[1])
        self.set64("count", self.op("load i64, ptr %xcount", 64))
        way = self.op("load i64, ptr %xway", 64)
        pc = self.op("load i32, ptr %xpc", 32)
        place = self.op(f"getelementptr i8, ptr %s, i64 {way}", 64)
        function = self.op(f"load ptr, ptr {place}", 64)
        arguments = f"ptr %s, ptr poison, ptr poison, i64 poison, ptr poison, i32 {pc}"
        self.line(f"musttail call {CONVENTION} void {function}({arguments})")
        self.end("ret void")

    def _here(self) -> int:
        return self._instruction.pc

    def _counted(self) -> Value:
        return self.op("load i64, ptr %count", 64)

    def _leave(self, way: str, pc: Value | int, executed: Value | int) -> None:
        count = self._counted() + executed
        self._record_turns()
        if self.region.traced:
            way = TRACED_WAYS.get(way, way)
        self.line(f"store i64 {count}, ptr %xcount")
        self.line(f"store i32 {pc}, ptr %xpc")
        self.line(f"store i64 {offset(way)}, ptr %xway")
        self.end(f"br label %{self._flags.exit_label()}")

    # -- blocks ------------------------------------------------------------------------------

    def _block(self, block: Block) -> None:
        self._block_at_hand = block
        arrivals = self._arrivals.get(block.pc, {})
        complete = arrivals.keys() == self._predecessors[block.pc]
        self._flags.known = reduce(Knowledge.common, arrivals.values()) if complete else Knowledge()
        self.ended = True  # nothing falls into a block: each is branched to
        self.label(f"B{block.pc:x}")
        if block.pc in self.region.headers:
            self._check_budget(block.pc, self._counted())
            if self.region.traced:
                self.label(f"N{block.pc:x}")
        self._emit_turns(block, f"B{block.pc:x}", 1 if self.region.traced else self._turns(block))

    def _emit_turns(self, block: Block, label: str, turns: int) -> None:
        for turn in range(turns):
            self._following_turn = f"{label}.{turn + 1}" if turn + 1 < turns else None
            self._body(block)
            if self._following_turn is not None:
                self.ended = True
                self.label(self._following_turn)
                self._flags.known = self._known_at_turn

    def _turns(self, block: Block) -> int:
        """How many turns of the loop that a block alone may be are emitted one after the other."""
        if block.pc not in block.successors:
            return 1
        return 1 + min(_MOST_TURNS - 1, (UNCHECKED - MOST_INSTRUCTIONS) // len(block))

    def _steady_turns(self, block: Block) -> None:
        """The loop of a block alone, when a turn came true that was like the one before: so do all others.

        They are recorded together, where the loop is left.
        """
        self.ended = True
        self._flags.known = Knowledge()
        self._steady = len(block)
        self.label(f"S{block.pc:x}")
        self._check_budget(block.pc, self._counted())
        self._steady = 0
        self.label(f"S{block.pc:x}.go")
        self._emit_turns(block, f"S{block.pc:x}", self._turns(block))
        self._steady = None

    def _record_turns(self) -> None:
        """Of steady turns, those that have come true: here they are left."""
        if self._steady is not None:
            start = self._counted() - self._steady
            passed = start - self.op("load i64, ptr %since", 64)
            emit_turns(
                self, "%ring", start, self.op(f"udiv exact i64 {passed}, {len(self._block_at_hand)}", 64)
            )

    def _body(self, block: Block) -> None:
        self._values.clear()
        for place, instruction in enumerate(block.instructions):
            self._instruction = instruction
            self.pattern = instruction.pattern
            self._before = place
            self._emit_instruction(instruction)
        if not self.ended:
            self._before = len(block)
            assert block.following is not None
            self._go(block.following, settle=0)

    def _emit_instruction(self, instruction: Instruction) -> None:
        self._r15_loaded = False
        condition = ALWAYS if self.thumb else instruction.word >> 28
        if instruction.pattern.name == "branch_conditional":
            code = instruction.word >> 8 & 15
            for _ in self.when(self._holds(code)):
                assert instruction.target is not None
                self.jump(self.const(instruction.target))
            return
        for _ in self.when(self._holds(condition)):
            if instruction.flow is Flow.TIER0:
                self._leave_to_interpreter()
            elif instruction.pattern.name in _TO_STATUS:
                self.move_to_status(Fields(self, instruction.pattern.places))
            else:
                instruction.pattern.run(self)

    def _holds(self, code: int) -> Value:
        holds = self._flags.compared(code) if code < ALWAYS else None
        return condition_holds(self, code) if holds is None else holds

    def _go(self, target: int, settle: int = 1) -> None:
        """Go on at ``target``, in the same instruction set; the block's instructions are counted here."""
        executed = self._before + settle
        if target not in self.region.blocks:
            self._leave(f"go_{self._suffix}", target, executed)
            return
        page = target & -PAGE_SIZE
        if page != self._instruction.pc & -PAGE_SIZE:
            index = (target >> PAGE_BITS) & (FETCH_TLB_ENTRIES - 1)
            entry = self.op(f"getelementptr i8, ptr %fetch, i64 {32 * index}", 64)
            present = self.op(f"load i64, ptr {entry}", 64)
            wanted = self.op(f"getelementptr i64, ptr %pages, i64 {self._pages[page]}", 64)
            same = present.eq(self.op(f"load i64, ptr {wanted}", 64))
            go, leave = self.name("L"), self.name("L")
            self.end(f"br i1 {same}, label %{go}, label %{leave}, {LIKELY}")
            self.label(leave)
            self._leave(f"go_{self._suffix}", target, executed)
            self.label(go)
        arrivals, known = self._arrivals.setdefault(target, {}), self._flags.known
        before = arrivals.get(self._block_at_hand.pc, known)
        arrivals[self._block_at_hand.pc] = known.common(before)
        count = self._counted()
        again = target == self._block_at_hand.pc
        if not again:
            self._record_turns()
        self.line(f"store i64 {count + executed}, ptr %count")
        if again and self._following_turn is not None:
            self._known_at_turn = self._flags.known.copy()
            self.end(f"br label %{self._following_turn}")
        elif again and self._steady is not None:
            self.end(f"br label %S{target:x}")
        elif again and self.region.traced:
            self._repeated.add(target)
            self.end(f"br label %J{target:x}.again")
        elif self.region.traced and settle and target != self._instruction.pc + self.instruction_size:
            self._jumped_to.add(target)
            self.end(f"br label %J{target:x}")
        else:
            self.end(f"br label %B{target:x}")

    def _recorded_jump(self, pc: int, label: str, again: tuple[int, str] | None = None) -> None:
        """The way of jumps to the block at ``pc``: recorded where that is sure to be executed next."""
        self.ended = True
        self._flags.known = Knowledge()
        self.label(label)
        if pc in self.region.headers:
            self._check_budget(pc, self._counted())
        emit_jump(self, "%ring", self.const(pc | int(self.thumb)), self._counted(), again)
        self.end(f"br label %{'N' if pc in self.region.headers else 'B'}{pc:x}")

    def _recorded_turn(self, block: Block) -> None:
        """The way of a block's jumps to itself: see :meth:`_steady_turns`."""
        pc, steady = block.pc, f"S{block.pc:x}.begin"
        self._recorded_jump(pc, f"J{pc:x}.again", (len(block), steady))
        self.label(steady)
        self.line(f"store i64 {self._counted()}, ptr %since")
        self.end(f"br label %S{pc:x}.go")

    # -- what semantics ask for ----------------------------------------------------------------

    def bits(self, high: int, low: int) -> Value:
        """See :class:`Core`, also for the following."""
        return self.const(self._instruction.word >> low & (2 << high - low) - 1)

    def when(self, condition: Value) -> Iterator[None]:
        """As everywhere; what is known of registers afterwards is what did not change inside."""
        if condition.constant is not None:
            yield from super().when(condition)
            return
        before, flags = dict(self._values), self._flags.known.copy()
        then, after = self.name("L"), self.name("L")
        self.end(f"br i1 {condition}, label %{then}, label %{after}")
        self.label(then)
        yield
        left = self.ended
        self.label(after)
        if left:
            self._values, self._flags.known = before, flags
            return
        inside = self._values
        self._values = {name: value for name, value in before.items() if inside.get(name) is value}
        self._flags.known = flags.common(self._flags.known)

    def get(self, field: str, index: Value | int | None = None) -> Value:
        """Registers and flags are local, all else is in the state."""
        if field in _FLAGS:
            return self._flags.get(field)
        name = self._local(field, index)
        if name is None:
            return super().get(field, index)
        if name == "r15" and not self._r15_loaded:
            return self.const(self._instruction.pc + 2 * self.instruction_size)
        value = self._values.get(name)
        if value is None:
            self._used.add(name)
            value = self._values[name] = self.op(f"load i32, ptr %{name}", 32)
        return value

    def set(self, field: str, value: Value, index: Value | int | None = None) -> None:
        """As :meth:`get`."""
        if field in _FLAGS:
            self._flags.set(field, value)
            return
        name = self._local(field, index)
        if name is None:
            super().set(field, value, index)
            return
        if name == "r15":
            self._r15_loaded = True
            self._values[name] = value
            return
        self._written.add(name)
        self._values[name] = value
        self.line(f"store i32 {value}, ptr %{name}")

    def _local(self, field: str, index: Value | int | None) -> str | None:
        if field != "r":
            return None
        number = index.constant if isinstance(index, Value) else index
        assert number is not None, "every register number is known in translated code"
        return f"r{number}"

    def set_nz(self, result: Value) -> None:
        """What flags follow from is kept, also in the following."""
        self._flags.set_nz(result)

    def set_difference_flags(self, a: Value, b: Value, result: Value) -> None:
        """As :meth:`set_nz`."""
        self._flags.set_difference(a, b, result)

    def set_sum_flags(self, a: Value, b: Value, result: Value) -> None:
        """As :meth:`set_nz`."""
        self._flags.set_sum(a, b, result)

    # -- control -----------------------------------------------------------------------------

    def jump(self, address: Value) -> None:
        """Go on at ``address``, its low bits cut."""
        aligned = address & -self.instruction_size
        if aligned.constant is not None and aligned.constant == self._instruction.target:
            self._go(aligned.constant)
        else:
            self._return(aligned, 0)
            self._leave(f"go_{self._suffix}", aligned, self._before + 1)

    def jump_any(self, address: Value) -> None:
        """As everywhere; a function that the region calls itself may return within it."""
        self._return(address, int(self.thumb))
        super().jump_any(address)

    def _return(self, address: Value, thumb: int) -> None:
        for pc in self._block_at_hand.returns:
            back, other = self.name("L"), self.name("L")
            self.end(f"br i1 {address.eq(pc | thumb)}, label %{back}, label %{other}")
            self.label(back)
            self._go(pc)
            self.label(other)

    # -- memory ------------------------------------------------------------------------------

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
        """A TLB look-up in line, or a constant from the page that is being executed."""
        place = address.constant
        if (
            place is not None
            and place & (size - 1) == 0
            and place & -PAGE_SIZE == self._instruction.pc & -PAGE_SIZE
            and not user
        ):
            literal = self.region.literal(place, size)
            if literal is not None:
                constant = self.const(literal, 8 * size)
                return constant.sext(32) if signed else constant.zext(32)
        host = self.host_pointer(self._look_up(address, size, write=False, user=user))
        loaded = self.op(f"load i{8 * size}, ptr {host}, align 1", 8 * size)
        return loaded.sext(32) if signed else loaded.zext(32)


def _field(name: str) -> tuple[str, int | None]:
    """The state's field and index of a local's name."""
    return ("r", int(name[1:])) if name[0] == "r" else (name[1:], None)


def emit_regions(regions: list[Region]) -> str:
    """A module of functions ``region_0``, ``region_1`` and so on."""
    functions = [RegionCore(region).emit(f"region_{k}") for k, region in enumerate(regions)]
    return "\n".join([REGION_DECLARATIONS, *functions])


# no jump tables, no vectors: their constants would lie outside the functions
REGION_DECLARATIONS = """
declare i32 @llvm.fshr.i32(i32, i32, i32)
declare i32 @llvm.ctpop.i32(i32)
declare i32 @llvm.cttz.i32(i32, i1)
attributes #0 = { nounwind noimplicitfloat "no-jump-tables"="true" "frame-pointer"="none" }
!1 = !{!"branch_weights", i32 1000, i32 1}
!2 = !{!"branch_weights", i32 1, i32 1000}
"""
assert LIKELY.endswith("!1") and UNLIKELY.endswith("!2")
