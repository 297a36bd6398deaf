"""Abstract integers: what instruction semantics compute with.

A :class:`Value` is either a constant, a Python int, or a name that a builder knows. Operations on
constants fold here, in Python; all others are handed to the builder, which appends code. So the
same semantics run in plain Python, become an interpreter's handlers, or straight translated code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Builder(Protocol):
    """Appends code for operations on values that are not all constant. Widths are in bits."""

    def binary(self, operation: str, a: Value, b: Value) -> Value:
        """One of add sub mul and or xor shl lshr ashr; both operands and the result of one width."""

    def compare(self, predicate: str, a: Value, b: Value) -> Value:
        """One of eq ne ult ule ugt uge slt sgt sle sge; gives a value of width 1."""

    def cast(self, operation: str, a: Value, width: int) -> Value:
        """One of trunc zext sext, to ``width``."""

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """``a`` where ``condition`` (width 1) is 1, else ``b``."""

    def funnel_right(self, high: Value, low: Value, amount: Value) -> Value:
        """The low half of (high:low) shifted right by ``amount`` modulo the width."""

    def count(self, operation: str, a: Value) -> Value:
        """One of ctpop (bits set) and cttz (trailing zeros; unspecified for 0)."""


def _signed(x: int, width: int) -> int:
    return x - (1 << width) if x >> width - 1 else x


_FOLD: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda a, b, w: a + b,
    "sub": lambda a, b, w: a - b,
    "mul": lambda a, b, w: a * b,
    "and": lambda a, b, w: a & b,
    "or": lambda a, b, w: a | b,
    "xor": lambda a, b, w: a ^ b,
    "shl": lambda a, b, w: a << b if b < w else 0,
    "lshr": lambda a, b, w: a >> b,
    "ashr": lambda a, b, w: _signed(a, w) >> b,
}
_COMPARE: dict[str, Callable[[int, int, int], bool]] = {
    "eq": lambda a, b, w: a == b,
    "ne": lambda a, b, w: a != b,
    "ult": lambda a, b, w: a < b,
    "uge": lambda a, b, w: a >= b,
    "ugt": lambda a, b, w: a > b,
    "slt": lambda a, b, w: _signed(a, w) < _signed(b, w),
}


class Value:
    """An unsigned integer of ``width`` bits: ``x`` is its constant, or the builder's name for it.

    Arithmetic wraps. A Python int as the other operand is cut to the width. Shift amounts must be
    below the width.
    """

    __slots__ = ("builder", "width", "x")

    def __init__(self, builder: Builder, x: int | str, width: int = 32) -> None:
        self.builder = builder
        self.x = x & ((1 << width) - 1) if isinstance(x, int) else x
        self.width = width

    @property
    def constant(self) -> int | None:
        """The value where it is known now, else None."""
        return self.x if isinstance(self.x, int) else None

    def __str__(self) -> str:
        return str(self.x)

    def __repr__(self) -> str:
        return f"Value({self.x}, {self.width})"

    def like(self, x: int) -> Value:
        """A constant of this value's width."""
        return Value(self.builder, x, self.width)

    def _binary(self, operation: str, other: Value | int) -> Value:
        b = self.like(other) if isinstance(other, int) else other
        if isinstance(self.x, int) and isinstance(b.x, int):
            return self.like(_FOLD[operation](self.x, b.x, self.width))
        if b.x == 0 and operation not in ("and", "mul"):
            return self
        return self.builder.binary(operation, self, b)

    def __add__(self, other: Value | int) -> Value:
        return self._binary("add", other)

    def __sub__(self, other: Value | int) -> Value:
        return self._binary("sub", other)

    def __mul__(self, other: Value | int) -> Value:
        return self._binary("mul", other)

    def __and__(self, other: Value | int) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Value | int) -> Value:
        return self._binary("or", other)

    def __xor__(self, other: Value | int) -> Value:
        return self._binary("xor", other)

    def __invert__(self) -> Value:
        return self ^ -1

    def __lshift__(self, other: Value | int) -> Value:
        return self._binary("shl", other)

    def __rshift__(self, other: Value | int) -> Value:
        """Logical shift right."""
        return self._binary("lshr", other)

    def sar(self, other: Value | int) -> Value:
        """Arithmetic shift right."""
        return self._binary("ashr", other)

    def ror(self, amount: Value | int) -> Value:
        """Rotated right by ``amount`` modulo the width."""
        n = self.like(amount) if isinstance(amount, int) else amount
        if isinstance(n.x, int):
            k = n.x % self.width
            if k == 0:
                return self
            if isinstance(self.x, int):
                return self.like(self.x >> k | self.x << self.width - k)
        return self.builder.funnel_right(self, self, n)

    def _compare(self, predicate: str, other: Value | int) -> Value:
        b = self.like(other) if isinstance(other, int) else other
        if isinstance(self.x, int) and isinstance(b.x, int):
            return Value(self.builder, int(_COMPARE[predicate](self.x, b.x, self.width)), 1)
        return self.builder.compare(predicate, self, b)

    def eq(self, other: Value | int) -> Value:
        """Width 1: equal."""
        return self._compare("eq", other)

    def ne(self, other: Value | int) -> Value:
        """Width 1: not equal."""
        return self._compare("ne", other)

    def ult(self, other: Value | int) -> Value:
        """Width 1: below, unsigned."""
        return self._compare("ult", other)

    def uge(self, other: Value | int) -> Value:
        """Width 1: above or equal, unsigned."""
        return self._compare("uge", other)

    def ugt(self, other: Value | int) -> Value:
        """Width 1: above, unsigned."""
        return self._compare("ugt", other)

    def slt(self, other: Value | int) -> Value:
        """Width 1: less, signed."""
        return self._compare("slt", other)

    def bits(self, high: int, low: int) -> Value:
        """Bits ``high`` to ``low``, moved down, in this value's width."""
        return (self >> low) & ((2 << high - low) - 1)

    def bit(self, n: int) -> Value:
        """Bit ``n``, of width 1."""
        return (self >> n).trunc(1)

    def trunc(self, width: int) -> Value:
        """The low ``width`` bits."""
        if width == self.width:
            return self
        if isinstance(self.x, int):
            return Value(self.builder, self.x, width)
        return self.builder.cast("trunc", self, width)

    def zext(self, width: int) -> Value:
        """Widened with zeros."""
        if width == self.width:
            return self
        if isinstance(self.x, int):
            return Value(self.builder, self.x, width)
        return self.builder.cast("zext", self, width)

    def sext(self, width: int) -> Value:
        """Widened with copies of the sign bit."""
        if width == self.width:
            return self
        if isinstance(self.x, int):
            return Value(self.builder, _signed(self.x, self.width), width)
        return self.builder.cast("sext", self, width)

    def select(self, a: Value | int, b: Value | int) -> Value:
        """``a`` where this (of width 1) is 1, else ``b``; ints are of width 32."""
        va = Value(self.builder, a) if isinstance(a, int) else a
        vb = Value(self.builder, b) if isinstance(b, int) else b
        if isinstance(self.x, int):
            return va if self.x else vb
        if va.x == vb.x:
            return va
        return self.builder.select(self, va, vb)

    def popcount(self) -> Value:
        """How many bits are 1."""
        if isinstance(self.x, int):
            return self.like(self.x.bit_count())
        return self.builder.count("ctpop", self)

    def trailing_zeros(self) -> Value:
        """The number of the lowest bit that is 1; the value must not be 0."""
        if isinstance(self.x, int):
            return self.like((self.x & -self.x).bit_length() - 1)
        return self.builder.count("cttz", self)
