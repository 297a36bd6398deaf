"""Additions with flags, and the barrel shifter (ARM ARM A5.1)."""

from __future__ import annotations

from dbgemu.target.arm.core import Core
from dbgemu.target.arm.value import Value

LSL, LSR, ASR, ROR = range(4)


def add(m: Core, a: Value, b: Value, carry_in: Value | None, set_flags: bool) -> Value:
    """``a + b`` (+ carry); with ``set_flags`` also N Z C V."""
    result = a + b
    if carry_in is None:
        if set_flags:
            m.set_sum_flags(a, b, result)
        return result
    result = result + carry_in.zext(32)
    if set_flags:
        m.set_nz(result)
        m.set_carry((a.zext(64) + b.zext(64) + carry_in.zext(64)).bit(32))
        m.set_overflow((a ^ result) & (b ^ result))
    return result


def subtract(m: Core, a: Value, b: Value, set_flags: bool) -> Value:
    """``a - b``; with ``set_flags`` also N Z C V, where C means no borrow."""
    result = a - b
    if set_flags:
        m.set_difference_flags(a, b, result)
    return result


def subtract_with_carry(m: Core, a: Value, b: Value, set_flags: bool) -> Value:
    """``a - b - 1 + C``."""
    return add(m, a, ~b, m.carry, set_flags)


def shift_by_immediate(
    m: Core, kind: int, value: Value, amount: Value, need_carry: bool
) -> tuple[Value, Value | None]:
    """Shift by an encoded amount of 0 to 31: the result, and the carry out (None: C stays)."""
    zero = amount.eq(0)
    before = (amount - 1) & 31  # the last bit shifted out to the right; 31 for an amount of "32"
    match kind:
        case 0:  # LSL
            carry = None
            if need_carry and zero.constant != 1:
                carry = zero.select(m.carry, (value >> ((amount.like(32) - amount) & 31)).trunc(1))
            return value << amount, carry
        case 1:  # LSR, an encoded 0 means 32
            result = zero.select(0, value >> amount)
        case 2:  # ASR, an encoded 0 means 32
            result = value.sar(zero.select(31, amount))
        case _:  # ROR, an encoded 0 means RRX
            if zero.constant == 0:
                result = value.ror(amount)
            else:
                extended = (m.carry.zext(32) << 31) | (value >> 1)
                result = zero.select(extended, value.ror(amount))
                before = zero.select(0, before)
    return result, (value >> before).trunc(1) if need_carry else None


def shift_by_register(
    m: Core, kind: int, value: Value, amount: Value, need_carry: bool
) -> tuple[Value, Value | None]:
    """Shift by a register's low byte, ``amount`` 0 to 255: the result, and the carry out."""
    large = amount.ugt(31)
    within = amount & 31
    before = (amount - 1) & 31
    carry: Value | None = None
    match kind:
        case 0:  # LSL
            result = large.select(0, value << within)
            out = (value >> ((amount.like(32) - amount) & 31)).trunc(1)
            gone = amount.ugt(32)
        case 1:  # LSR
            result = large.select(0, value >> within)
            out = (value >> before).trunc(1)
            gone = amount.ugt(32)
        case 2:  # ASR
            result = value.sar(large.select(31, amount))
            out = (value >> large.select(31, before)).trunc(1)
            gone = m.const(0, 1)
        case _:  # ROR
            result = value.ror(within)
            out = (value >> before).trunc(1)
            gone = m.const(0, 1)
    if need_carry:
        carry = amount.eq(0).select(m.carry, out & ~gone)
    return result, carry
