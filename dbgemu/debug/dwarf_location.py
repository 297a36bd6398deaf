"""Where DWARF says that a value is: location expressions and lists, evaluated for one frame."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dbgemu.debug.unwind_tables import MASK, ReadWord, Registers


class NoValueError(Exception):
    """The value is nowhere at this place: the compiler has left it out, or only knew it."""


@dataclass(frozen=True)
class Piece:
    """A value, or a part of it: in memory at ``address``, or ``data`` itself, from a register or computed.

    ``size`` in bytes is None for a whole value.
    """

    address: int | None = None
    data: bytes = b""
    size: int | None = None


def _signed(value: int) -> int:
    return (value & MASK) - ((value & 0x80000000) << 1)


_BINARY: dict[str, Callable[[int, int], int]] = {
    "DW_OP_plus": operator.add,
    "DW_OP_minus": operator.sub,
    "DW_OP_mul": operator.mul,
    "DW_OP_and": operator.and_,
    "DW_OP_or": operator.or_,
    "DW_OP_xor": operator.xor,
    "DW_OP_shl": lambda a, b: a << b if b < 32 else 0,
    "DW_OP_shr": lambda a, b: a >> b if b < 32 else 0,
    "DW_OP_shra": lambda a, b: _signed(a) >> min(b, 31),
    "DW_OP_eq": lambda a, b: int(a == b),
    "DW_OP_ne": lambda a, b: int(a != b),
    "DW_OP_lt": lambda a, b: int(_signed(a) < _signed(b)),
    "DW_OP_le": lambda a, b: int(_signed(a) <= _signed(b)),
    "DW_OP_gt": lambda a, b: int(_signed(a) > _signed(b)),
    "DW_OP_ge": lambda a, b: int(_signed(a) >= _signed(b)),
}
_UNARY: dict[str, Callable[[int], int]] = {
    "DW_OP_neg": operator.neg,
    "DW_OP_not": operator.invert,
    "DW_OP_abs": lambda a: abs(_signed(a)),
}


class Evaluator:
    """Evaluates expressions for a frame with ``registers`` (by number, those that are known).

    ``frame_base`` and ``cfa`` give what their operations stand for, ``entry`` what a register was when the
    function began; ``offset`` is how far the file was moved from where it was linked to. They and the
    methods raise NoValueError; ``read`` raises MEMORY_ERRORS.
    """

    def __init__(
        self,
        registers: Registers,
        read: ReadWord,
        offset: int,
        cfa: Callable[[], int],
        frame_base: Callable[[], int],
        entry: Callable[[int], int],
    ) -> None:
        self._registers = registers
        self._read = read
        self._offset = offset
        self._cfa = cfa
        self._frame_base = frame_base
        self._entry = entry

    def register(self, number: int) -> int:
        """The register's value in this frame."""
        try:
            return self._registers[number]
        except KeyError:
            raise NoValueError from None

    def address(self, operations: list[Any]) -> int:
        """The number that an expression computes, as for a frame base; of one register its value."""
        (piece,) = self.pieces(operations)
        if piece.address is not None:
            return piece.address
        return int.from_bytes(piece.data[:4], "little")

    def pieces(self, operations: list[Any]) -> list[Piece]:
        """Where the value is, its parts in order. ``operations`` as pyelftools parses them."""
        if not operations:
            raise NoValueError
        found: list[Piece] = []
        stack: list[int] = []
        here: Piece | None = None
        for item in operations:
            name, arguments = item.op_name, item.args
            if name == "DW_OP_piece":
                part = here or (Piece(stack.pop()) if stack else None)
                if part is None:
                    raise NoValueError
                found.append(Piece(part.address, part.data[: arguments[0]], arguments[0]))
                here = None
            elif name.startswith("DW_OP_reg"):
                here = Piece(data=self.register(register_named([item])).to_bytes(4, "little"))
            elif name == "DW_OP_stack_value":
                here = Piece(data=(_pop(stack) & MASK).to_bytes(4, "little"))
            elif name == "DW_OP_implicit_value":
                here = Piece(data=bytes(arguments[0]))
            else:
                self._compute(name, arguments, stack)
        if found:
            return found
        return [here if here is not None else Piece(_pop(stack) & MASK)]

    def _compute(self, name: str, arguments: list[Any], stack: list[int]) -> None:
        """An operation on the stack: those that gcc and clang make for C."""
        if name in _BINARY:
            right, left = _pop(stack), _pop(stack)
            stack.append(_BINARY[name](left, right) & MASK)
        elif name in _UNARY:
            stack.append(_UNARY[name](_pop(stack)) & MASK)
        elif name.startswith("DW_OP_lit"):
            stack.append(int(name[9:]))
        elif name.startswith("DW_OP_const") and name[11:12] in "1248us" and len(name) <= 13:
            stack.append(arguments[0] & MASK)
        elif name.startswith("DW_OP_breg"):
            stack.append(self.register(int(name[10:])) + arguments[0] & MASK)
        else:
            self._other(name, arguments, stack)

    def _other(self, name: str, arguments: list[Any], stack: list[int]) -> None:
        match name:
            case "DW_OP_addr":
                stack.append(arguments[0] + self._offset & MASK)
            case "DW_OP_fbreg":
                stack.append(self._frame_base() + arguments[0] & MASK)
            case "DW_OP_bregx":
                stack.append(self.register(arguments[0]) + arguments[1] & MASK)
            case "DW_OP_call_frame_cfa":
                stack.append(self._cfa())
            case "DW_OP_plus_uconst":
                stack.append(_pop(stack) + arguments[0] & MASK)
            case "DW_OP_deref":
                stack.append(self._read(_pop(stack)))
            case "DW_OP_deref_size":
                stack.append(self._read(_pop(stack)) & (1 << 8 * arguments[0]) - 1)
            case "DW_OP_dup":
                stack.append(stack[-1] if stack else _pop(stack))
            case "DW_OP_drop":
                _pop(stack)
            case "DW_OP_over":
                stack.append(stack[-2] if len(stack) > 1 else _pop([]))
            case "DW_OP_swap":
                right, left = _pop(stack), _pop(stack)
                stack += [right, left]
            case "DW_OP_entry_value" | "DW_OP_GNU_entry_value":
                stack.append(self._entry(register_named(arguments[0])))
            case "DW_OP_nop":
                pass
            case _:  # types, calls of other expressions
                raise NoValueError


def register_named(operations: list[Any]) -> int:
    """The number of the register that is all of an expression. NoValueError for any other one."""
    if len(operations) != 1 or not operations[0].op_name.startswith("DW_OP_reg"):
        raise NoValueError
    name = operations[0].op_name
    return int(operations[0].args[0] if name == "DW_OP_regx" else name[9:])


def _pop(stack: list[int]) -> int:
    if not stack:
        raise NoValueError
    return stack.pop()
