"""Late constants: values that are known when a stencil is copied, not yet when it is compiled.

A :class:`Late` is an expression, as Python text, over the instruction at hand and its place. Operations on
late values and constants give late values again, so what semantics compute from an instruction's fields is
computed once, when code is made from it, and never in that code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from dbgemu.target.arm.value import Builder, Value

#: what expressions may refer to: the instruction word, its address, the instructions of its block before
#: it; ``has(address, size, pc)``: whether there is a constant in the code; ``literal(address, size)``: that
NAMES = ("w", "pc", "n", "has", "literal")

_OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^", "shl": "<<", "lshr": ">>",
}  # fmt: skip
_COMPARISONS = {"eq": "==", "ne": "!=", "ult": "<", "ule": "<=", "ugt": ">", "uge": ">="}
_SIGNED = {"slt": "<", "sle": "<=", "sgt": ">", "sge": ">="}


class LateBuilder(ABC):
    """Who compiles a stencil: gives late values a place in the code, and decides by an example."""

    #: the values of :data:`NAMES` in the example that the stencil is compiled from
    example: Mapping[str, object]

    @abstractmethod
    def hole(self, value: Late) -> str:
        """The operand in the compiled code that ``value`` is copied to."""


class Late(Value):
    """An expression over :data:`NAMES`, of a value from 0 to 2^width - 1."""

    __slots__ = ("text",)

    def __init__(self, builder: Builder, text: str, width: int = 32) -> None:
        super().__init__(builder, f"late {text}", width)
        self.text = text

    def __str__(self) -> str:
        assert isinstance(self.builder, LateBuilder)
        return self.builder.hole(self)

    def decide(self) -> int:
        """The value in the example."""
        assert isinstance(self.builder, LateBuilder)
        return int(eval(self.text, {"__builtins__": {}}, dict(self.builder.example)))


def text_of(value: Value) -> str | None:
    """The expression of a value that is late or constant; None for others."""
    if isinstance(value, Late):
        return value.text
    return None if value.constant is None else str(value.constant)


def _signed(text: str, width: int) -> str:
    return f"(({text}^{1 << width - 1})-{1 << width - 1})"


def binary(operation: str, a: Value, b: Value) -> Late | None:
    """The late result of a binary operation; None unless both operands are known in time."""
    x, y = text_of(a), text_of(b)
    if x is None or y is None:
        return None
    mask = (1 << a.width) - 1
    if operation == "ashr":
        text = f"({_signed(x, a.width)}>>{y}&{mask})"
    elif operation in ("and", "or", "xor", "lshr"):
        text = f"({x}{_OPERATORS[operation]}{y})"
    else:
        text = f"(({x}{_OPERATORS[operation]}{y})&{mask})"
    return Late(a.builder, text, a.width)


def compare(predicate: str, a: Value, b: Value) -> Late | None:
    """The late result of a comparison, of width 1."""
    x, y = text_of(a), text_of(b)
    if x is None or y is None:
        return None
    if predicate in _SIGNED:
        return Late(a.builder, f"({_signed(x, a.width)}{_SIGNED[predicate]}{_signed(y, a.width)})", 1)
    return Late(a.builder, f"({x}{_COMPARISONS[predicate]}{y})", 1)


def cast(operation: str, a: Value, width: int) -> Late | None:
    """The late result of a change of width."""
    if not isinstance(a, Late):
        return None
    if operation == "sext":
        return Late(a.builder, f"({_signed(a.text, a.width)}&{(1 << width) - 1})", width)
    text = a.text if operation == "zext" else f"({a.text}&{(1 << width) - 1})"
    return Late(a.builder, text, width)


def select(condition: Value, a: Value, b: Value) -> Late | None:
    """The late result of a choice."""
    c, x, y = text_of(condition), text_of(a), text_of(b)
    if c is None or x is None or y is None:
        return None
    return Late(a.builder, f"({x} if {c} else {y})", a.width)


def rotate(a: Value, amount: Value) -> Late | None:
    """The late result of a rotation to the right."""
    x, n = text_of(a), text_of(amount)
    if x is None or n is None:
        return None
    w = a.width
    return Late(a.builder, f"(({x}>>({n}&{w - 1})|{x}<<({w}-({n}&{w - 1})))&{(1 << w) - 1})", w)


def count(operation: str, a: Value) -> Late | None:
    """The late number of bits set, or of trailing zeros."""
    if not isinstance(a, Late):
        return None
    x = a.text
    text = f"({x}).bit_count()" if operation == "ctpop" else f"(({x}&-{x}).bit_length()-1)"
    return Late(a.builder, text, a.width)
