"""Emits a region: one native function, guest registers and flags as local values.

The function is of the convention and prototype of all that tail-call each other, with the state's
address, the number of the entry, and the address of the region's pages: words that the fetch TLB must
have for code in another page to be executed. It ends by storing what it changed and a tail call by way
of a pointer in the state, so that the machine code refers to nothing outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dbgemu.engine.ir import LIKELY, UNLIKELY
from dbgemu.engine.routines import CONVENTION
from dbgemu.engine.traced_code import TRACED_WAYS, emit_jump
from dbgemu.engine.translator.decoding import Flow, Instruction
from dbgemu.engine.translator.regions import Block, Region
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
_FLAGS = ("n", "z", "c", "v")
_TO_STATUS = ("move_register_to_status", "move_immediate_to_status")
#: conditions that a compare decides by one comparison of its operands, for the even code of each pair
_BY_COMPARE = {0: "eq", 2: "uge", 8: "ugt", 10: "sge", 12: "sgt"}


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
        #: operands of the compare or subtraction that made the flags
        self._compared: tuple[Value, Value] | None = None
        self._pending: tuple[Value, Value] | None = None
        self._no_borrow: dict[str, tuple[Value, Value]] = {}
        self._instruction: Instruction
        #: of a region that records its blocks: addresses that it jumps to
        self._jumped_to: set[int] = set()
        self._before: int = 0
        self._r15_loaded = False

    # -- the function ------------------------------------------------------------------------

    def emit(self, name: str) -> str:
        """The IR of the function ``name``."""
        blocks = self.region.blocks
        for pc in sorted(blocks):
            self._block(blocks[pc])
        for pc in sorted(self._jumped_to):
            self._recorded_jump(pc)
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
        if self._jumped_to:
            self.line("%ring = load ptr, ptr " + self.address_of("trace_predicted"))
        for name in sorted(self._used | self._written):
            self.allocas.append(f"  %{name} = alloca i32")
            self.line(f"store i32 {super().get(*_field(name))}, ptr %{name}")
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
                self._check_budget(pc)
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

    def _leave(self, way: str, pc: Value | int, executed: Value | int) -> None:
        count = self.op("load i64, ptr %count", 64) + executed
        if self.region.traced:
            way = TRACED_WAYS.get(way, way)
        self.line(f"store i64 {count}, ptr %xcount")
        self.line(f"store i32 {pc}, ptr %xpc")
        self.line(f"store i64 {offset(way)}, ptr %xway")
        self.end("br label %exit")

    def _check_budget(self, pc: int) -> None:
        """Leave to tier 0 where the budget may end before it is looked at again."""
        count = self.op("load i64, ptr %count", 64)
        limit = self.op(f"load volatile i64, ptr {self.address_of('fast_limit')}", 64)
        enough = ~limit.slt(count + self.region.distances[pc])
        near, go = self.name("L"), self.name("L")
        self.end(f"br i1 {enough}, label %{go}, label %{near}, {LIKELY}")
        self.label(near)
        self._leave(f"interpret_{self._suffix}", pc, 0)
        self.label(go)

    # -- blocks ------------------------------------------------------------------------------

    def _block(self, block: Block) -> None:
        self._values.clear()
        self._compared = self._pending = None
        self.ended = True  # nothing falls into a block: each is branched to
        self.label(f"B{block.pc:x}")
        if block.pc in self.region.headers:
            self._check_budget(block.pc)
            if self.region.traced:
                self.label(f"N{block.pc:x}")
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
        compared = self._compared
        predicate = _BY_COMPARE.get(code & ~1)
        if code >= ALWAYS or compared is None or predicate is None:
            return condition_holds(self, code)
        a, b = compared
        holds = self.op(f"icmp {predicate} i32 {a}, {b}", 1)
        return ~holds if code & 1 else holds

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
        count = self.op("load i64, ptr %count", 64)
        self.line(f"store i64 {count + executed}, ptr %count")
        if self.region.traced and settle and target != self._instruction.pc + self.instruction_size:
            self._jumped_to.add(target)
            self.end(f"br label %J{target:x}")
        else:
            self.end(f"br label %B{target:x}")

    def _recorded_jump(self, pc: int) -> None:
        """The way of jumps to the block at ``pc``: recorded where that is sure to be executed next."""
        self.ended = True
        self.label(f"J{pc:x}")
        if pc in self.region.headers:
            self._check_budget(pc)
        count = self.op("load i64, ptr %count", 64)
        emit_jump(self, "%ring", self.const(pc | int(self.thumb)), count)
        self.end(f"br label %{'N' if pc in self.region.headers else 'B'}{pc:x}")

    # -- what semantics ask for ----------------------------------------------------------------

    def bits(self, high: int, low: int) -> Value:
        """See :class:`Core`, also for the following."""
        return self.const(self._instruction.word >> low & (2 << high - low) - 1)

    def when(self, condition: Value) -> Iterator[None]:
        """As everywhere; what is known of registers afterwards is what did not change inside."""
        if condition.constant is not None:
            yield from super().when(condition)
            return
        before, compared = dict(self._values), self._compared
        then, after = self.name("L"), self.name("L")
        self.end(f"br i1 {condition}, label %{then}, label %{after}")
        self.label(then)
        yield
        left = self.ended
        self.label(after)
        if left:
            self._values, self._compared = before, compared
            return
        inside = self._values
        self._values = {name: value for name, value in before.items() if inside.get(name) is value}
        if self._compared is not compared:
            self._compared = None
        self._pending = None

    def get(self, field: str, index: Value | int | None = None) -> Value:
        """Registers and flags are local, all else is in the state."""
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
        name = self._local(field, index)
        if name is None:
            super().set(field, value, index)
            return
        if name == "r15":
            self._r15_loaded = True
            self._values[name] = value
            return
        if field in _FLAGS:
            self._compared = None
        self._written.add(name)
        self._values[name] = value
        self.line(f"store i32 {value}, ptr %{name}")

    def _local(self, field: str, index: Value | int | None) -> str | None:
        if field == "r":
            number = index.constant if isinstance(index, Value) else index
            assert number is not None, "every register number is known in translated code"
            return f"r{number}"
        return f"f{field}" if field in _FLAGS else None

    # a subtraction tells itself by its flags, in the order in which its semantics set them

    def compare(self, predicate: str, a: Value, b: Value) -> Value:
        """Remember which values are the carries of subtractions."""
        result = super().compare(predicate, a, b)
        if predicate == "uge":
            self._no_borrow[str(result)] = (a, b)
        return result

    def set_carry(self, value: Value) -> None:
        """The C flag."""
        super().set_carry(value)
        self._pending = self._no_borrow.get(str(value))

    def set_overflow(self, bit31: Value) -> None:
        """The V flag, the last that a subtraction sets."""
        super().set_overflow(bit31)
        self._compared, self._pending = self._pending, None

    # -- control -----------------------------------------------------------------------------

    def jump(self, address: Value) -> None:
        """Go on at ``address``, its low bits cut."""
        aligned = address & -self.instruction_size
        if aligned.constant is not None and aligned.constant == self._instruction.target:
            self._go(aligned.constant)
        else:
            self._leave(f"go_{self._suffix}", aligned, self._before + 1)

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
