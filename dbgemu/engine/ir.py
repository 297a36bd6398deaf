"""LLVM IR as text: a builder for :class:`~dbgemu.target.arm.value.Value`, and cores that emit."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from dbgemu.target.arm.core import Core, Routine
from dbgemu.target.arm.state import CpuState, offset
from dbgemu.target.arm.value import Value

LIKELY, UNLIKELY = "!prof !1", "!prof !2"

#: Module head: what emitted code refers to.
DECLARATIONS = """
declare i32 @llvm.fshr.i32(i32, i32, i32)
declare i32 @llvm.ctpop.i32(i32)
declare i32 @llvm.cttz.i32(i32, i1)
declare i64 @llvm.umin.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
!1 = !{!"branch_weights", i32 1000, i32 1}
!2 = !{!"branch_weights", i32 1, i32 1000}
"""


class IrBuilder:
    """Appends lines of one function's body. Lines after a terminator, up to a label, are dropped."""

    def __init__(self) -> None:
        self.allocas: list[str] = []
        self.lines: list[str] = []
        self.ended = False
        self._names = 0

    def name(self, prefix: str = "t") -> str:
        """A fresh name, without its sigil."""
        self._names += 1
        return f"{prefix}{self._names}"

    def line(self, text: str) -> None:
        """Append an instruction that gives no value."""
        if not self.ended:
            self.lines.append(f"  {text}")

    def end(self, text: str) -> None:
        """Append a terminator."""
        self.line(text)
        self.ended = True

    def label(self, label: str) -> None:
        """Begin a block; a block that has no terminator yet falls through."""
        self.line(f"br label %{label}")
        self.ended = False
        self.lines.append(f"{label}:")

    def op(self, text: str, width: int) -> Value:
        """Append an instruction that gives a value of ``width`` bits."""
        name = "%" + self.name()
        self.line(f"{name} = {text}")
        return Value(self, name, width)

    def variable(self, kind: str, initial: str) -> str:
        """A local variable of IR type ``kind``: the name of its address."""
        name = "%" + self.name("v")
        self.allocas.append(f"  {name} = alloca {kind}")
        self.line(f"store {kind} {initial}, ptr {name}")
        return name

    def body(self) -> str:
        """All lines, the variables' first."""
        return "\n".join(self.allocas + self.lines)

    # -- what Value asks for -----------------------------------------------------------------

    def binary(self, operation: str, a: Value, b: Value) -> Value:
        """See :class:`dbgemu.target.arm.value.Builder`, also for the following."""
        return self.op(f"{operation} i{a.width} {a}, {b}", a.width)

    def compare(self, predicate: str, a: Value, b: Value) -> Value:
        """A comparison."""
        return self.op(f"icmp {predicate} i{a.width} {a}, {b}", 1)

    def cast(self, operation: str, a: Value, width: int) -> Value:
        """A change of width."""
        return self.op(f"{operation} i{a.width} {a} to i{width}", width)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """A choice."""
        return self.op(f"select i1 {condition}, i{a.width} {a}, i{b.width} {b}", a.width)

    def funnel_right(self, high: Value, low: Value, amount: Value) -> Value:
        """A rotation when both halves are the same."""
        return self.op(f"call i32 @llvm.fshr.i32(i32 {high}, i32 {low}, i32 {amount})", 32)

    def count(self, operation: str, a: Value) -> Value:
        """Bits set, or trailing zeros."""
        poison = ", i1 true" if operation == "cttz" else ""
        return self.op(f"call i32 @llvm.{operation}.i32(i32 {a}{poison})", 32)


class EmittingCore(IrBuilder, Core):
    """What all emitters have in common: the state is memory at ``%s``, routines are functions."""

    def const(self, x: int, width: int = 32) -> Value:
        """See :class:`Core`, also for the following."""
        return Value(self, x, width)

    def when(self, condition: Value) -> Iterator[None]:
        """A branch around the body, or none where the condition is known."""
        if condition.constant is not None:
            if condition.constant:
                yield
            return
        then, after = self.name("L"), self.name("L")
        self.end(f"br i1 {condition}, label %{then}, label %{after}")
        self.label(then)
        yield
        self.label(after)

    def each_register(self, registers: Value) -> Iterator[tuple[Value, Value]]:
        """A loop over the bits set, unrolled where they are known."""
        if registers.constant is not None:
            numbers = [n for n in range(16) if registers.constant >> n & 1]
            for place, number in enumerate(numbers):
                yield self.const(number), self.const(place)
            return
        rest = self.variable("i32", str(registers))
        done = self.variable("i32", "0")
        test, body, after = self.name("L"), self.name("L"), self.name("L")
        self.label(test)
        left = self.op(f"load i32, ptr {rest}", 32)
        self.end(f"br i1 {left.eq(0)}, label %{after}, label %{body}")
        self.label(body)
        before = self.op(f"load i32, ptr {done}", 32)
        yield left.trailing_zeros(), before
        self.line(f"store i32 {left & (left - 1)}, ptr {rest}")
        self.line(f"store i32 {before + 1}, ptr {done}")
        self.end(f"br label %{test}")
        self.label(after)

    def address_of(self, field: str, index: Value | int | None = None, scale: int = 4) -> str:
        """The IR name of the address of a state field or of an array's element."""
        place = offset(field)
        if isinstance(index, Value) and index.constant is not None:
            index = index.constant
        if isinstance(index, int):
            place += scale * index
        base = self.op(f"getelementptr i8, ptr %s, i64 {place}", 64)
        if isinstance(index, Value):
            wide = index.zext(64)
            base = self.op(f"getelementptr [{scale} x i8], ptr {base}, i64 {wide}", 64)
        return str(base)

    def get(self, field: str, index: Value | int | None = None) -> Value:
        """A load from the state."""
        return self.op(f"load i32, ptr {self.address_of(field, index)}", 32)

    def set(self, field: str, value: Value, index: Value | int | None = None) -> None:
        """A store to the state."""
        self.line(f"store i32 {value}, ptr {self.address_of(field, index)}")

    def get64(self, field: str) -> Value:
        """A 64-bit field."""
        return self.op(f"load i64, ptr {self.address_of(field)}", 64)

    def set64(self, field: str, value: Value) -> None:
        """Write a 64-bit field."""
        self.line(f"store i64 {value}, ptr {self.address_of(field)}")

    def get_pointer(self, field: str) -> str:
        """A field that is an address."""
        return str(self.op(f"load ptr, ptr {self.address_of(field)}", 64))

    def reg(self, number: Value | int) -> Value:
        """A register: all are in the state, r15 too while an instruction executes."""
        return self.get("r", number)

    def set_reg(self, number: Value | int, value: Value) -> None:
        """A register, r15 with a jump."""
        self.set_base(number, value)
        if isinstance(number, Value):
            for _ in self.when(number.eq(15)):
                self.jump(value)
        elif number == 15:
            self.jump(value)

    def set_base(self, number: Value | int, value: Value) -> None:
        """A register, plainly."""
        self.set("r", value, number)

    def call(self, routine: Routine, *arguments: Value) -> Value:
        """A call of the routine's function."""
        passed = "".join(f", i{a.width} {a}" for a in arguments)
        if routine.result is None:
            self.line(f"call void @{routine.name}(ptr %s{passed})")
            return self.const(0, 1)
        return self.op(f"call i{routine.result} @{routine.name}(ptr %s{passed})", routine.result)

    def host_pointer(self, address: Value) -> str:
        """A 64-bit host address as an IR pointer."""
        return str(self.op(f"inttoptr i64 {address} to ptr", 64))


def field_size(first: str, last: str) -> int:
    """Bytes from the start of field ``first`` to the end of field ``last`` of the state."""
    field = getattr(CpuState, last)
    return int(field.offset) + int(field.size) - offset(first)


assert ctypes.sizeof(ctypes.c_void_p) == 8, "the engine needs a 64-bit host"
