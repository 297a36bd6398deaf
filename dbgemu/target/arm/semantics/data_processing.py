"""ARM data-processing instructions and multiplies (ARM ARM A3.4, A3.5)."""

from __future__ import annotations

from dbgemu.target.arm.core import Core, Fields
from dbgemu.target.arm.semantics.arithmetic import (
    add,
    shift_by_immediate,
    shift_by_register,
    subtract,
    subtract_with_carry,
)
from dbgemu.target.arm.semantics.status import return_from_exception
from dbgemu.target.arm.value import Value

AND, EOR, SUB, RSB, ADD, ADC, SBC, RSC, TST, TEQ, CMP, CMN, ORR, MOV, BIC, MVN = range(16)
LOGICAL = {AND, EOR, TST, TEQ, ORR, MOV, BIC, MVN}
COMPARES = {TST, TEQ, CMP, CMN}
UNARY = {MOV, MVN}


def data_processing_immediate(m: Core, i: Fields) -> None:
    """``op{S} Rd, Rn, #rotated``."""
    rotation = i.rotate << 1
    operand = i.imm.ror(rotation)
    carry = None
    if _carry_wanted(m, i):
        carry = rotation.eq(0).select(m.carry, operand.bit(31))
    _compute(m, i, operand, carry)


def data_processing_shift_immediate(m: Core, i: Fields) -> None:
    """``op{S} Rd, Rn, Rm, shift #amount``."""
    operand, carry = shift_by_immediate(m, m.known(i.shift), m.reg(i.rm), i.amount, _carry_wanted(m, i))
    _compute(m, i, operand, carry)


def data_processing_shift_register(m: Core, i: Fields) -> None:
    """``op{S} Rd, Rn, Rm, shift Rs``: r15 as an operand is unpredictable, here it reads as plus 8."""
    operand, carry = shift_by_register(
        m, m.known(i.shift), m.reg(i.rm), m.reg(i.rs) & 255, _carry_wanted(m, i)
    )
    _compute(m, i, operand, carry)


def _carry_wanted(m: Core, i: Fields) -> bool:
    return bool(m.known(i.s)) and m.known(i.opcode) in LOGICAL


def _compute(m: Core, i: Fields, operand: Value, shifter_carry: Value | None) -> None:
    opcode, s = m.known(i.opcode), bool(m.known(i.s))
    rn = m.const(0) if opcode in UNARY else m.reg(i.rn)
    match opcode:
        case 0 | 8:  # AND, TST
            result = rn & operand
        case 1 | 9:  # EOR, TEQ
            result = rn ^ operand
        case 2 | 10:  # SUB, CMP
            result = subtract(m, rn, operand, s)
        case 3:  # RSB
            result = subtract(m, operand, rn, s)
        case 4 | 11:  # ADD, CMN
            result = add(m, rn, operand, None, s)
        case 5:  # ADC
            result = add(m, rn, operand, m.carry, s)
        case 6:  # SBC
            result = subtract_with_carry(m, rn, operand, s)
        case 7:  # RSC
            result = subtract_with_carry(m, operand, rn, s)
        case 12:  # ORR
            result = rn | operand
        case 13:  # MOV
            result = operand
        case 14:  # BIC
            result = rn & ~operand
        case _:  # MVN
            result = ~operand
    if s and opcode in LOGICAL:
        m.set_nz(result)
        if shifter_carry is not None:
            m.set_carry(shifter_carry)
    if opcode in COMPARES:
        return
    if s:
        for _ in m.when(i.rd.eq(15)):
            return_from_exception(m, result)
    m.set_reg(i.rd, result)


def multiply(m: Core, i: Fields) -> None:
    """MUL and MLA: C is left as it is (ARM ARM: its value is meaningless on v4)."""
    result = m.reg(i.rm) * m.reg(i.rs)
    if m.known(i.accumulate):
        result = result + m.reg(i.rd)
    m.set_reg(i.rn, result)  # the destination is in bits 19..16
    if m.known(i.s):
        m.set_nz(result)


def multiply_long(m: Core, i: Fields) -> None:
    """UMULL, UMLAL, SMULL and SMLAL: RdHi is in bits 19..16, RdLo in bits 15..12."""
    if m.known(i.signed):
        product = m.reg(i.rm).sext(64) * m.reg(i.rs).sext(64)
    else:
        product = m.reg(i.rm).zext(64) * m.reg(i.rs).zext(64)
    if m.known(i.accumulate):
        product = product + ((m.reg(i.rn).zext(64) << 32) | m.reg(i.rd).zext(64))
    low, high = product.trunc(32), (product >> 32).trunc(32)
    m.set_reg(i.rd, low)
    m.set_reg(i.rn, high)
    if m.known(i.s):
        m.set("n", high)
        m.set("z", low | high)
