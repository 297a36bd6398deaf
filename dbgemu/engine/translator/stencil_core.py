"""Emits stencils: functions of one instruction each, whose operands are left open.

A stencil follows from an example: an instruction word. Register numbers, immediates and addresses
become holes (late values, see :mod:`~dbgemu.engine.translator.late`). Where semantics ask what a field
is, the example answers, and the answer becomes a guard: the stencil serves all words for which its
guards hold.

Guest registers and flags are in the state. A stencil ends in a tail call of ``@next``: the code that
will be put behind it; what branches leads to ``@aside``. The count of instructions is an argument,
settled at the end of blocks and where code is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from dbgemu.engine.ir import LIKELY
from dbgemu.engine.routines import CONVENTION
from dbgemu.engine.traced_code import TRACED_WAYS, emit_jump
from dbgemu.engine.translator import late
from dbgemu.engine.translator.decoding import Instruction
from dbgemu.engine.translator.late import Late, LateBuilder
from dbgemu.engine.translator.stencils import fixed_bits
from dbgemu.engine.translator.translating_core import TranslatingCore
from dbgemu.target.arm.core import Fields
from dbgemu.target.arm.semantics.conditions import condition_holds
from dbgemu.target.arm.state import FETCH_TLB_ENTRIES, PAGE_BITS, PAGE_SIZE, offset
from dbgemu.target.arm.value import Value

_PARAMETERS = "ptr noalias %s, ptr %pages, ptr %tlb, i64 %count, ptr %u, i32 %x"
_SETS_STATUS = ("move_register_to_status", "move_immediate_to_status")

DECLARATIONS = f"""
declare i32 @llvm.fshr.i32(i32, i32, i32)
declare i32 @llvm.ctpop.i32(i32)
declare i32 @llvm.cttz.i32(i32, i1)
declare {CONVENTION} void @next(ptr, ptr, ptr, i64, ptr, i32)
declare {CONVENTION} void @aside(ptr, ptr, ptr, i64, ptr, i32)
attributes #0 = {{ nounwind optsize noimplicitfloat "no-jump-tables"="true" "frame-pointer"="none" }}
!1 = !{{!"branch_weights", i32 1000, i32 1}}
!2 = !{{!"branch_weights", i32 1, i32 1000}}
!3 = !{{i64 0, i64 {1 << 31}}}
!4 = !{{i64 0, i64 {1 << 32}}}
"""


class StencilCore(TranslatingCore, LateBuilder):
    """Emits one stencil, by the example of ``instruction`` or as one of the pieces between instructions."""

    _before: Value

    def __init__(
        self, name: str, thumb: bool, example: Mapping[str, object], *, traced: bool = False
    ) -> None:
        super().__init__(thumb)
        self._traced = traced
        self._function = name
        self.example = example
        #: what has to hold of a word for this stencil to be its
        self.guards: dict[str, int] = {}
        #: by the text of a late value: its number among the holes
        self.holes: dict[str, int] = {}
        self._small: set[str] = set()
        self._before = Late(self, "n")
        self._next_pc: Value | None = None
        self._count: Value = Value(self, "%count", 64)
        self._table = "%tlb"
        self._pattern_mask = 0

    # -- late values -------------------------------------------------------------------------

    def hole(self, value: Late) -> str:
        """The operand that stands for ``value``."""
        if value.width == 64 and value.text not in self._small:
            # or LLVM makes it a displacement, which is extended by its sign
            number = Late(self, value.text, 32)
            return str(self.op(f'call i32 asm "", "=r,0"(i32 {number})', 32).zext(64))
        place = self.holes.setdefault(value.text, len(self.holes))
        # LLVM has no other way to name a constant of later
        return f"ptrtoint (ptr @{self._function}_{place} to i{value.width})"

    def _small_hole(self, text: str) -> str:
        """An operand of 64 bits for a value below 2^31."""
        self._small.add(text)
        return self.hole(Late(self, text, 64))

    def _decide(self, value: Value) -> int:
        if not isinstance(value, Late):
            constant = value.constant
            assert constant is not None
            return constant
        return self.guards.setdefault(value.text, value.decide())

    def known(self, value: Value) -> int:
        """What the example has; others that have the same share the stencil."""
        return self._decide(value)

    def binary(self, operation: str, a: Value, b: Value) -> Value:
        """See :class:`~dbgemu.target.arm.value.Builder`, also for the following."""
        known = late.binary(operation, a, b)
        if known is not None:
            return known
        if a.width == 1:
            a, b = (self.const(self._decide(v), 1) if isinstance(v, Late) else v for v in (a, b))
        if operation in ("shl", "lshr", "ashr") and isinstance(b, Late) and self._decide(b.eq(0)):
            return a
        return super().binary(operation, a, b)

    def compare(self, predicate: str, a: Value, b: Value) -> Value:
        """A comparison."""
        return late.compare(predicate, a, b) or super().compare(predicate, a, b)

    def cast(self, operation: str, a: Value, width: int) -> Value:
        """A change of width."""
        return late.cast(operation, a, width) or super().cast(operation, a, width)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """A choice; the example makes it where it can."""
        if isinstance(condition, Late):
            return a if self._decide(condition) else b
        return super().select(condition, a, b)

    def funnel_right(self, high: Value, low: Value, amount: Value) -> Value:
        """A rotation."""
        known = late.rotate(low, amount)
        if known is not None:
            return known
        return super().funnel_right(high, low, amount)

    def count(self, operation: str, a: Value) -> Value:
        """Bits set, or trailing zeros."""
        return late.count(operation, a) or super().count(operation, a)

    def when(self, condition: Value) -> Iterator[None]:
        """The example decides what it can."""
        if isinstance(condition, Late):
            if self._decide(condition):
                yield
            return
        yield from super().when(condition)

    def each_register(self, registers: Value) -> Iterator[tuple[Value, Value]]:
        """Unrolled: a stencil is for one list of registers."""
        return super().each_register(self.const(self._decide(registers)))

    # -- registers ---------------------------------------------------------------------------

    def bits(self, high: int, low: int) -> Value:
        """Known where they are among those that are decoded by, else late."""
        mask = (2 << high - low) - 1
        if self._pattern_mask >> low & mask == mask:
            word = self.example["w"]
            assert isinstance(word, int)
            return self.const(word >> low & mask)
        return Late(self, f"(w>>{low}&{mask})")

    def address_of(self, field: str, index: Value | int | None = None, scale: int = 4) -> str:
        """Where a register's number is late, so is its place in the state."""
        if isinstance(index, Late):
            place = self._small_hole(f"({offset(field)}+{scale}*{index.text})")
            return str(self.op(f"getelementptr i8, ptr %s, i64 {place}", 64))
        return super().address_of(field, index, scale)

    def _is_pc(self, index: Value | int | None) -> bool:
        number = self.const(index) if isinstance(index, int) else index
        return number is not None and bool(self._decide(number.eq(15)))

    def get(self, field: str, index: Value | int | None = None) -> Value:
        """From the state; r15 follows from the address."""
        if field == "r" and self._is_pc(index):
            return self._next_pc or self._here() + 2 * self.instruction_size
        return super().get(field, index)

    def set(self, field: str, value: Value, index: Value | int | None = None) -> None:
        """To the state; r15 is where a jump will lead."""
        if field == "r" and self._is_pc(index):
            self._next_pc = value
        else:
            super().set(field, value, index)

    def set_reg(self, number: Value | int, value: Value) -> None:
        """A register, r15 with a jump."""
        if self._is_pc(number):
            self.jump(value)
        else:
            self.set("r", value, number)

    # -- going on ----------------------------------------------------------------------------

    def _here(self) -> Value:
        return Late(self, "pc")

    def _leave(self, way: str, pc: Value | int, executed: Value | int) -> None:
        done = executed if isinstance(executed, Value) else self.const(executed)
        self.set64("count", self._count + self._wide(done))
        function = self.get_pointer(TRACED_WAYS.get(way, way) if self._traced else way)
        arguments = f"ptr %s, ptr poison, ptr poison, i64 poison, ptr poison, i32 {pc}"
        self.line(f"musttail call {CONVENTION} void {function}({arguments})")
        self.end("ret void")

    def _wide(self, value: Value) -> Value:
        """A small late value as one of 64 bits."""
        if not isinstance(value, Late):
            return value.zext(64)
        self._small.add(value.text)
        return Late(self, value.text, 64)

    def jump(self, address: Value) -> None:
        """Go on at an address that the instruction computes."""
        self._leave(f"go_{self._suffix}", address & -self.instruction_size, self._before + 1)

    def _go_on(self, function: str = "next") -> None:
        arguments = f"ptr %s, ptr %pages, ptr {self._table}, i64 {self._count}, ptr poison, i32 poison"
        self.line(f"musttail call {CONVENTION} void @{function}({arguments})")
        self.end("ret void")

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
        # a word that is not aligned, or of another page, is no constant
        if isinstance(address, Late) and not user and self._decide(self._has(address, size)):
            constant = Late(self, f"literal({address.text},{size})", 8 * size)
            return constant.sext(32) if signed else constant.zext(32)
        host = self.host_pointer(self._look_up(address, size, write=False, user=user))
        loaded = self.op(f"load i{8 * size}, ptr {host}, align 1", 8 * size)
        return loaded.sext(32) if signed else loaded.zext(32)

    def _has(self, address: Late, size: int) -> Value:
        return Late(self, f"has({address.text},{size},pc)", 1)

    # -- stencils ----------------------------------------------------------------------------

    def _finish(self) -> str:
        if not self.ended:
            self._go_on()
        lines = [f"define {CONVENTION} void @{self._function}({_PARAMETERS}) #0 {{"]
        lines += [*self.allocas, *self.lines, "}"]
        for text, number in self.holes.items():
            size = "!3" if text in self._small else "!4"
            name = f"@{self._function}_{number}"
            lines.append(f"{name} = external hidden global i8, !absolute_symbol {size}")
        return "\n".join(lines)

    def instruction(self, instruction: Instruction) -> str:
        """An instruction that translated code executes, without its condition."""
        self.pattern = instruction.pattern
        self._pattern_mask = fixed_bits(instruction.pattern, self.thumb)
        if instruction.pattern.name in _SETS_STATUS:
            self.move_to_status(Fields(self, instruction.pattern.places))
        else:
            instruction.pattern.run(self)
        return self._finish()

    def condition(self, code: int) -> str:
        """Go on where a condition holds, else aside."""
        for _ in self.when(condition_holds(self, code)):
            self._go_on()
        self._go_on("aside")
        return self._finish()

    def entry(self) -> str:
        """The way into a region at ``pc``: the budget is looked at."""
        self._table = self.get_pointer("data_tlb")
        self._count = self.get64("count")
        self._check_budget(self._here(), self._count)
        return self._finish()

    def loop(self) -> str:
        """The head of a loop at ``pc``: counted, and the budget is looked at."""
        place = str(self.op("getelementptr i8, ptr %pages, i64 -8", 64))
        self.line(f"store i64 {self.op(f'load i64, ptr {place}', 64) + 1}, ptr {place}")
        self._check_budget(self._here(), self._count)
        return self._finish()

    def settle(self) -> str:
        """The end of a block of ``n`` instructions: what follows is in the region."""
        self._count = self._count + self._wide(self._before)
        return self._finish()

    def record(self) -> str:
        """Code that records its blocks is about to jump to ``pc``, whose budget has been looked at."""
        emit_jump(self, self.get_pointer("trace_predicted"), self._here() | int(self.thumb), self._count)
        return self._finish()

    def cross(self) -> str:
        """As :meth:`settle`, where the way leads to ``pc`` in another page, the one at ``w`` in the table."""
        fetch = self.get_pointer("fetch_tlb")
        entry = self.op(
            f"getelementptr i8, ptr {fetch}, i64 "
            + self._small_hole(f"((pc>>{PAGE_BITS}&{FETCH_TLB_ENTRIES - 1})*32)"),
            64,
        )
        wanted = self.op(f"getelementptr i8, ptr %pages, i64 {self._small_hole('(8*w)')}", 64)
        same = self.op(f"load i64, ptr {entry}", 64).eq(self.op(f"load i64, ptr {wanted}", 64))
        go, leave = self.name("L"), self.name("L")
        self.end(f"br i1 {same}, label %{go}, label %{leave}, {LIKELY}")
        self.label(leave)
        self._leave(f"go_{self._suffix}", self._here(), self._before)
        self.label(go)
        return self.settle()

    def link(self) -> str:
        """A call's return address."""
        self.set("r", Late(self, "pc"), 14)
        return self._finish()

    def leave(self) -> str:
        """Go on at ``pc``, outside the region."""
        self._leave(f"go_{self._suffix}", self._here(), self._before)
        return self._finish()

    def interpret(self) -> str:
        """Let tier 0 execute the instruction."""
        self._leave_to_interpreter()
        return self._finish()


assert PAGE_SIZE == 1 << PAGE_BITS
