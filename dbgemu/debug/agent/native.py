"""Agent expressions as native code: what a breakpoint's condition costs at each hit, without Python.

The evaluation in :mod:`dbgemu.debug.agent.operations` is the reference; what cannot be computed here
(a fault, a division by zero, a device's register) is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dbgemu.debug.agent.bytecode import AgentExpression, Instruction
from dbgemu.engine.condition_table import FALSE, TRUE
from dbgemu.engine.conditions import ConditionCore, UntranslatableError
from dbgemu.target.arm.value import Value

#: jumps back in one evaluation, before the reference takes over
_MAX_JUMPS_BACK = 1000

Binary = Callable[[ConditionCore, Value, Value], Value]


def _flag(value: Value) -> Value:
    return value.zext(64)


def _number(core: ConditionCore, value: int) -> Value:
    return core.const(value, 64)


def _shift_left(core: ConditionCore, a: Value, b: Value) -> Value:
    return b.ult(64).select(a << (b & 63), _number(core, 0))


def _shift_right_signed(core: ConditionCore, a: Value, b: Value) -> Value:
    return a.sar(b.ult(64).select(b, _number(core, 63)))


def _shift_right_unsigned(core: ConditionCore, a: Value, b: Value) -> Value:
    return b.ult(64).select(a >> (b & 63), _number(core, 0))


def _divided(operation: str) -> Binary:
    def divide(core: ConditionCore, a: Value, b: Value) -> Value:
        core.give_up_when(b.eq(0))
        if operation.startswith("u"):
            return core.binary(operation, a, b)
        # the smallest number divided by -1 overflows: LLVM leaves that undefined
        minus_one = b.eq(-1)
        result = core.binary(operation, a, minus_one.select(_number(core, 1), b))
        by_minus_one = _number(core, 0) - a if operation == "sdiv" else _number(core, 0)
        return minus_one.select(by_minus_one, result)

    return divide


_BINARY: dict[str, Binary] = {
    "add": lambda core, a, b: a + b,
    "sub": lambda core, a, b: a - b,
    "mul": lambda core, a, b: a * b,
    "div_signed": _divided("sdiv"),
    "div_unsigned": _divided("udiv"),
    "rem_signed": _divided("srem"),
    "rem_unsigned": _divided("urem"),
    "lsh": _shift_left,
    "rsh_signed": _shift_right_signed,
    "rsh_unsigned": _shift_right_unsigned,
    "bit_and": lambda core, a, b: a & b,
    "bit_or": lambda core, a, b: a | b,
    "bit_xor": lambda core, a, b: a ^ b,
    "equal": lambda core, a, b: _flag(a.eq(b)),
    "less_signed": lambda core, a, b: _flag(a.slt(b)),
    "less_unsigned": lambda core, a, b: _flag(a.ult(b)),
}

_UNARY: dict[str, Callable[[ConditionCore, Value, int], Value]] = {
    "log_not": lambda core, a, _: _flag(a.eq(0)),
    "bit_not": lambda core, a, _: ~a,
    "ext": lambda core, a, width: a.trunc(width).sext(64) if width < 64 else a,
    "zero_ext": lambda core, a, width: a.trunc(width).zext(64) if width < 64 else a,
    "ref8": lambda core, a, _: core.look(a.trunc(32), 1),
    "ref16": lambda core, a, _: core.look(a.trunc(32), 2),
    "ref32": lambda core, a, _: core.look(a.trunc(32), 4),
    "ref64": lambda core, a, _: core.look(a.trunc(32), 8),
}

_CONSTANTS = frozenset({"const8", "const16", "const32", "const64"})


class _Translation:
    """One expression being emitted; what it computes ends in a jump to ``done`` or a return of TRUE."""

    def __init__(self, core: ConditionCore, expression: AgentExpression, names: Mapping[int, str]) -> None:
        self._core = core
        self._code = expression.instructions
        self._names = names
        self._done = core.name("done")
        jumps = [(place, item.operand) for place, item in enumerate(self._code) if item.operation.jump]
        self._labels = {target: core.name("at") for _, target in jumps}
        #: the stack between blocks: its height at each place is known
        highest = max(item.height for item in self._code)
        self._slots = [core.variable("i64", "0") for _ in range(highest + 1)]
        backward = any(target <= place for place, target in jumps)
        self._jumps_back = core.variable("i32", "0") if backward else ""
        self._stack: list[Value] = []

    def emit(self) -> None:
        core = self._core
        for place, item in enumerate(self._code):
            if item.height < 0:
                continue
            if place in self._labels:
                self._spill()
                core.label(self._labels[place])
                self._stack = [core.op(f"load i64, ptr {slot}", 64) for slot in self._slots[: item.height]]
            self._instruction(place, item)
        core.label(self._done)

    def _spill(self) -> None:
        for slot, value in zip(self._slots, self._stack, strict=False):
            self._core.line(f"store i64 {value}, ptr {slot}")

    def _instruction(self, place: int, item: Instruction) -> None:
        core, stack, name = self._core, self._stack, item.operation.name
        if name in _BINARY:
            b = stack.pop()
            stack[-1] = _BINARY[name](core, stack[-1], b)
        elif name in _UNARY:
            stack[-1] = _UNARY[name](core, stack[-1], item.operand)
        elif name in _CONSTANTS:
            stack.append(_number(core, item.operand))
        elif name in _OTHERS:
            _OTHERS[name](self, place, item)
        else:
            raise UntranslatableError(f"{name} is not for native code")

    # -- the operations that are no computation ----------------------------------------------------

    def register(self, place: int, item: Instruction) -> None:
        name = self._names.get(item.operand)
        if name is None:
            raise UntranslatableError(f"there is no register {item.operand}")
        self._stack.append(self._core.named_register(name).zext(64))

    def go(self, place: int, item: Instruction) -> None:
        self._spill()
        self._count_jump(place, item)
        self._core.end(f"br label %{self._labels[item.operand]}")

    def go_if(self, place: int, item: Instruction) -> None:
        taken = self._stack.pop().ne(0)
        self._spill()
        self._count_jump(place, item)
        following = self._core.name("L")
        self._core.end(f"br i1 {taken}, label %{self._labels[item.operand]}, label %{following}")
        self._core.label(following)

    def _count_jump(self, place: int, item: Instruction) -> None:
        if item.operand <= place:
            done = self._core.op(f"load i32, ptr {self._jumps_back}", 32)
            self._core.give_up_when(done.ugt(_MAX_JUMPS_BACK))
            self._core.line(f"store i32 {done + 1}, ptr {self._jumps_back}")

    def end(self, place: int, item: Instruction) -> None:
        if self._stack:
            for _ in self._core.when(self._stack[-1].ne(0)):
                self._core.ret(self._core.const(TRUE))
        self._core.end(f"br label %{self._done}")

    def duplicate(self, place: int, item: Instruction) -> None:
        self._stack.append(self._stack[-1])

    def pop(self, place: int, item: Instruction) -> None:
        self._stack.pop()

    def swap(self, place: int, item: Instruction) -> None:
        self._stack[-2:] = self._stack[-1], self._stack[-2]

    def pick(self, place: int, item: Instruction) -> None:
        self._stack.append(self._stack[-1 - item.operand])

    def rotate(self, place: int, item: Instruction) -> None:
        a, b, c = self._stack[-3:]
        self._stack[-3:] = c, a, b


_OTHERS: dict[str, Callable[[_Translation, int, Instruction], None]] = {
    "reg": _Translation.register,
    "goto": _Translation.go,
    "if_goto": _Translation.go_if,
    "end": _Translation.end,
    "dup": _Translation.duplicate,
    "pop": _Translation.pop,
    "swap": _Translation.swap,
    "pick": _Translation.pick,
    "rot": _Translation.rotate,
}


def emitter(
    expressions: Sequence[AgentExpression], names: Mapping[int, str]
) -> Callable[[ConditionCore], None]:
    """What emits a condition that is true when one of ``expressions`` is not 0.

    ``names`` are the registers by the numbers that the expressions use. Emitting raises
    UntranslatableError for an expression that does more than compute, or looks elsewhere.
    """

    def emit(core: ConditionCore) -> None:
        for expression in expressions:
            _Translation(core, expression, names).emit()
        core.ret(core.const(FALSE))

    return emit
