"""The operations of agent expressions: one table, and what each does to the stack.

GDB manual, "Bytecode Descriptions". Stack elements are unsigned 64-bit integers here; operations of
the manual that are signed look at them as two's complement. Operands in the bytecode are big-endian.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dbgemu.debug.agent.printf import Format

MASK = (1 << 64) - 1
_SIGN = 1 << 63


class AgentError(ValueError):
    """An agent expression is malformed, or cannot be evaluated here. One sentence."""


class Context(Protocol):
    """What an expression is evaluated in: a machine that stands still, and a trace frame to fill.

    ``register`` and ``memory`` raise :class:`AgentError` for what cannot be read; nothing here may
    disturb a device.
    """

    def register(self, number: int) -> int:
        """The unsigned value of a register, by its number in the target description."""

    def memory(self, address: int, length: int) -> bytes:
        """``length`` bytes from virtual ``address``."""

    def variable(self, number: int) -> int:
        """The value of a trace state variable."""

    def set_variable(self, number: int, value: int) -> None:
        """Set a trace state variable to ``value``, a signed 64-bit integer."""

    def collect_memory(self, address: int, length: int) -> None:
        """Record ``length`` bytes from virtual ``address`` in the trace frame."""

    def collect_register(self, number: int) -> None:
        """Record a register in the trace frame."""

    def collect_variable(self, number: int) -> None:
        """Record a trace state variable in the trace frame."""

    def printf(self, text: str) -> None:
        """Show ``text`` to the user."""


class Evaluation:
    """One run of an expression: its stack, and the index of the instruction that comes next."""

    __slots__ = ("context", "next", "stack")

    def __init__(self, context: Context) -> None:
        self.context = context
        self.stack: list[int] = []
        self.next: int | None = 0


#: what an instruction does: it is given the run and its operand, already decoded
Action = Callable[[Evaluation, int], None]


@dataclass(frozen=True)
class Operation:
    """One row of the table.

    ``operand`` is the width of the immediate operand in bytes, ``needs`` how many elements must be on
    the stack, ``change`` what the stack grows by. ``effect``: it does more than compute a value.
    """

    code: int
    name: str
    needs: int
    change: int
    action: Action
    operand: int = 0
    effect: bool = False
    #: a 16-bit operand that is the place of another instruction
    jump: bool = False
    #: the instruction behind it is not what comes next
    final: bool = False


def signed(value: int) -> int:
    """A stack element as two's complement."""
    return value - (1 << 64) if value & _SIGN else value


def _binary(compute: Callable[[int, int], int]) -> Action:
    def action(run: Evaluation, _: int) -> None:
        stack = run.stack
        b = stack.pop()
        stack[-1] = compute(stack[-1], b) & MASK

    return action


def _unary(compute: Callable[[int], int]) -> Action:
    def action(run: Evaluation, _: int) -> None:
        run.stack[-1] = compute(run.stack[-1]) & MASK

    return action


def _divided(compute: Callable[[int, int], int]) -> Action:
    def divide(a: int, b: int) -> int:
        if b == 0:
            raise AgentError("the expression divides by zero")
        return compute(a, b)

    return _binary(divide)


def _quotient(a: int, b: int) -> int:
    """As in C: towards zero."""
    x, y = signed(a), signed(b)
    magnitude = abs(x) // abs(y)
    return magnitude if (x < 0) == (y < 0) else -magnitude


def _remainder(a: int, b: int) -> int:
    """As in C: with the sign of the dividend."""
    x, y = signed(a), signed(b)
    magnitude = abs(x) % abs(y)
    return -magnitude if x < 0 else magnitude


# A shift by 64 or more shifts everything out: C leaves it open, and no two hosts agree.


def _shift_left(a: int, b: int) -> int:
    return a << b if b < 64 else 0


def _shift_right_signed(a: int, b: int) -> int:
    return signed(a) >> min(b, 63)


def _shift_right_unsigned(a: int, b: int) -> int:
    return a >> b if b < 64 else 0


def _reference(length: int) -> Action:
    def action(run: Evaluation, _: int) -> None:
        address = run.stack[-1] & 0xFFFFFFFF
        run.stack[-1] = int.from_bytes(run.context.memory(address, length), "little")

    return action


def _sign_extend(run: Evaluation, width: int) -> None:
    if width < 64:
        value = run.stack[-1] & (1 << width) - 1
        sign = 1 << width - 1
        run.stack[-1] = ((value ^ sign) - sign) & MASK


def _zero_extend(run: Evaluation, width: int) -> None:
    if width < 64:
        run.stack[-1] &= (1 << width) - 1


def _constant(run: Evaluation, value: int) -> None:
    run.stack.append(value)


def _register(run: Evaluation, number: int) -> None:
    run.stack.append(run.context.register(number) & MASK)


def _get_variable(run: Evaluation, number: int) -> None:
    run.stack.append(run.context.variable(number) & MASK)


def _set_variable(run: Evaluation, number: int) -> None:
    run.context.set_variable(number, signed(run.stack[-1]))


def _trace_variable(run: Evaluation, number: int) -> None:
    run.context.collect_variable(number)


def _trace(run: Evaluation, _: int) -> None:
    length = run.stack.pop()
    run.context.collect_memory(run.stack.pop() & 0xFFFFFFFF, length)


def _trace_quick(run: Evaluation, length: int) -> None:
    run.context.collect_memory(run.stack[-1] & 0xFFFFFFFF, length)


#: strings are looked for in pieces that do not cross from one page into another
_STRING_PIECE = 64


def read_string(context: Context, address: int, limit: int) -> bytes:
    """The bytes from ``address`` through the first zero, at most ``limit``."""
    text = bytearray()
    while len(text) < limit:
        place = (address + len(text)) & 0xFFFFFFFF
        count = min(limit - len(text), _STRING_PIECE - place % _STRING_PIECE)
        piece = context.memory(place, count)
        end = piece.find(0)
        if end >= 0:
            return bytes(text + piece[: end + 1])
        text += piece
    return bytes(text)


def _trace_string(run: Evaluation, _: int) -> None:
    limit = run.stack.pop()
    address = run.stack.pop() & 0xFFFFFFFF
    length = len(read_string(run.context, address, limit))
    run.context.collect_memory(address, length)


def _go_if(run: Evaluation, target: int) -> None:
    if run.stack.pop():
        run.next = target


def _go(run: Evaluation, target: int) -> None:
    run.next = target


def _end(run: Evaluation, _: int) -> None:
    run.next = None


def _duplicate(run: Evaluation, _: int) -> None:
    run.stack.append(run.stack[-1])


def _pop(run: Evaluation, _: int) -> None:
    run.stack.pop()


def _swap(run: Evaluation, _: int) -> None:
    run.stack[-2:] = run.stack[-1], run.stack[-2]


def _pick(run: Evaluation, depth: int) -> None:
    run.stack.append(run.stack[-1 - depth])


def _rotate(run: Evaluation, _: int) -> None:
    """With c on top, the stack a b c becomes c a b."""
    a, b, c = run.stack[-3:]
    run.stack[-3:] = c, a, b


#: a %s shows no more of a string that does not end
_STRING_LIMIT = 4096


def show(run: Evaluation, form: Format) -> None:
    """What ``printf`` does: its function and channel are on top, below them the arguments, first on top."""
    stack = run.stack
    del stack[-2:]
    values: list[int | str] = []
    for conversion in form.conversions:
        value = stack.pop()
        if conversion.letter == "s":
            raw = read_string(run.context, value & 0xFFFFFFFF, _STRING_LIMIT)
            values.append(raw.rstrip(b"\0").decode("utf-8", "replace"))
        else:
            values.append(value)
    run.context.printf(form.fill(values))


def _printf(run: Evaluation, _: int) -> None:
    raise AssertionError("printf is given its format by the parser")


def _bool(compute: Callable[[int, int], bool]) -> Action:
    return _binary(lambda a, b: int(compute(a, b)))


#: The manual's list, floating point apart: GDB does not generate it and the manual keeps it undefined.
OPERATIONS = (
    Operation(0x02, "add", 2, -1, _binary(lambda a, b: a + b)),
    Operation(0x03, "sub", 2, -1, _binary(lambda a, b: a - b)),
    Operation(0x04, "mul", 2, -1, _binary(lambda a, b: a * b)),
    Operation(0x05, "div_signed", 2, -1, _divided(_quotient)),
    Operation(0x06, "div_unsigned", 2, -1, _divided(lambda a, b: a // b)),
    Operation(0x07, "rem_signed", 2, -1, _divided(_remainder)),
    Operation(0x08, "rem_unsigned", 2, -1, _divided(lambda a, b: a % b)),
    Operation(0x09, "lsh", 2, -1, _binary(_shift_left)),
    Operation(0x0A, "rsh_signed", 2, -1, _binary(_shift_right_signed)),
    Operation(0x0B, "rsh_unsigned", 2, -1, _binary(_shift_right_unsigned)),
    Operation(0x0C, "trace", 2, -2, _trace, effect=True),
    Operation(0x0D, "trace_quick", 1, 0, _trace_quick, operand=1, effect=True),
    Operation(0x0E, "log_not", 1, 0, _unary(lambda a: int(a == 0))),
    Operation(0x0F, "bit_and", 2, -1, _binary(lambda a, b: a & b)),
    Operation(0x10, "bit_or", 2, -1, _binary(lambda a, b: a | b)),
    Operation(0x11, "bit_xor", 2, -1, _binary(lambda a, b: a ^ b)),
    Operation(0x12, "bit_not", 1, 0, _unary(lambda a: ~a)),
    Operation(0x13, "equal", 2, -1, _bool(lambda a, b: a == b)),
    Operation(0x14, "less_signed", 2, -1, _bool(lambda a, b: signed(a) < signed(b))),
    Operation(0x15, "less_unsigned", 2, -1, _bool(lambda a, b: a < b)),
    Operation(0x16, "ext", 1, 0, _sign_extend, operand=1),
    Operation(0x17, "ref8", 1, 0, _reference(1)),
    Operation(0x18, "ref16", 1, 0, _reference(2)),
    Operation(0x19, "ref32", 1, 0, _reference(4)),
    Operation(0x1A, "ref64", 1, 0, _reference(8)),
    Operation(0x20, "if_goto", 1, -1, _go_if, operand=2, jump=True),
    Operation(0x21, "goto", 0, 0, _go, operand=2, jump=True, final=True),
    Operation(0x22, "const8", 0, 1, _constant, operand=1),
    Operation(0x23, "const16", 0, 1, _constant, operand=2),
    Operation(0x24, "const32", 0, 1, _constant, operand=4),
    Operation(0x25, "const64", 0, 1, _constant, operand=8),
    Operation(0x26, "reg", 0, 1, _register, operand=2),
    Operation(0x27, "end", 0, 0, _end, final=True),
    Operation(0x28, "dup", 1, 1, _duplicate),
    Operation(0x29, "pop", 1, -1, _pop),
    Operation(0x2A, "zero_ext", 1, 0, _zero_extend, operand=1),
    Operation(0x2B, "swap", 2, 0, _swap),
    Operation(0x2C, "getv", 0, 1, _get_variable, operand=2),
    Operation(0x2D, "setv", 1, 0, _set_variable, operand=2, effect=True),
    Operation(0x2E, "tracev", 0, 0, _trace_variable, operand=2, effect=True),
    Operation(0x2F, "tracenz", 2, -2, _trace_string, effect=True),
    Operation(0x30, "trace16", 1, 0, _trace_quick, operand=2, effect=True),
    Operation(0x32, "pick", 1, 1, _pick, operand=1),
    Operation(0x33, "rot", 3, 0, _rotate),
    # Its operand is the number of arguments; the parser takes the format behind it.
    Operation(0x34, "printf", 2, -2, _printf, operand=1, effect=True),
)

BY_CODE = {operation.code: operation for operation in OPERATIONS}

#: codes of the manual that stand for floating point
FLOATING_POINT = {
    0x01: "float",
    0x1B: "ref_float",
    0x1C: "ref_double",
    0x1D: "ref_long_double",
    0x1E: "l_to_d",
    0x1F: "d_to_l",
}
