"""Thumb instructions (ARM ARM A7), by their formats."""

from __future__ import annotations

from dbgemu.target.arm.core import Core, Fields, Vector
from dbgemu.target.arm.semantics.arithmetic import (
    add,
    shift_by_immediate,
    shift_by_register,
    subtract,
    subtract_with_carry,
)
from dbgemu.target.arm.semantics.branch import exchange
from dbgemu.target.arm.semantics.conditions import condition_holds
from dbgemu.target.arm.value import Value


def shift_immediate(m: Core, i: Fields) -> None:
    """LSL, LSR and ASR by an immediate."""
    result, carry = shift_by_immediate(m, m.known(i.op), m.reg(i.rm), i.amount, True)
    m.set_nz(result)
    if carry is not None:
        m.set_carry(carry)
    m.set_reg(i.rd, result)


def add_subtract(m: Core, i: Fields) -> None:
    """ADD and SUB of a register or a 3-bit immediate."""
    operand = i.rm if m.known(i.immediate) else m.reg(i.rm)
    operation = subtract if m.known(i.op) else _add_plain
    m.set_reg(i.rd, operation(m, m.reg(i.rn), operand, True))


def _add_plain(m: Core, a: Value, b: Value, set_flags: bool) -> Value:
    return add(m, a, b, None, set_flags)


def immediate(m: Core, i: Fields) -> None:
    """MOV, CMP, ADD and SUB of an 8-bit immediate."""
    match m.known(i.op):
        case 0:
            m.set_nz(i.imm)
            m.set_reg(i.rd, i.imm)
        case 1:
            subtract(m, m.reg(i.rd), i.imm, True)
        case 2:
            m.set_reg(i.rd, add(m, m.reg(i.rd), i.imm, None, True))
        case _:
            m.set_reg(i.rd, subtract(m, m.reg(i.rd), i.imm, True))


_SHIFTS = {2: 0, 3: 1, 4: 2, 7: 3}  # LSL, LSR, ASR, ROR by a register


def register_operation(m: Core, i: Fields) -> None:
    """The sixteen operations of two low registers."""
    op = m.known(i.op)
    rd, rm = m.reg(i.rd), m.reg(i.rm)
    if op in _SHIFTS:
        result, carry = shift_by_register(m, _SHIFTS[op], rd, rm & 255, True)
        assert carry is not None
        m.set_carry(carry)
        m.set_nz(result)
        m.set_reg(i.rd, result)
        return
    match op:
        case 5:  # ADC
            result = add(m, rd, rm, m.carry, True)
        case 6:  # SBC
            result = subtract_with_carry(m, rd, rm, True)
        case 9:  # NEG
            result = subtract(m, m.const(0), rm, True)
        case 10:  # CMP
            result = subtract(m, rd, rm, True)
        case 11:  # CMN
            result = add(m, rd, rm, None, True)
        case _:
            result = {
                0: rd & rm,  # AND
                1: rd ^ rm,  # EOR
                8: rd & rm,  # TST
                12: rd | rm,  # ORR
                13: rd * rm,  # MUL
                14: rd & ~rm,  # BIC
                15: ~rm,  # MVN
            }[op]
            m.set_nz(result)
    if op not in (8, 10, 11):
        m.set_reg(i.rd, result)


def high_register_operation(m: Core, i: Fields) -> None:
    """ADD, CMP and MOV that reach r8 to r15."""
    rd = (i.high << 3) | i.rd
    match m.known(i.op):
        case 0:
            m.set_reg(rd, m.reg(rd) + m.reg(i.rm))
        case 1:
            subtract(m, m.reg(rd), m.reg(i.rm), True)
        case _:
            m.set_reg(rd, m.reg(i.rm))


def branch_exchange(m: Core, i: Fields) -> None:
    """BX."""
    exchange(m, m.reg(i.rm))


def load_literal(m: Core, i: Fields) -> None:
    """LDR relative to r15, whose bit 1 counts as 0."""
    m.set_reg(i.rd, m.load((m.reg(15) & ~3) + (i.imm << 2), 4))


#: STR STRH STRB LDRSB LDR LDRH LDRB LDRSH: (load, size, signed)
_REGISTER_OFFSET = (
    (False, 4, False),
    (False, 2, False),
    (False, 1, False),
    (True, 1, True),
    (True, 4, False),
    (True, 2, False),
    (True, 1, False),
    (True, 2, True),
)


def load_store_register(m: Core, i: Fields) -> None:
    """Loads and stores with a register offset."""
    load, size, signed = _REGISTER_OFFSET[m.known(i.op)]
    _transfer(m, i.rd, m.reg(i.rn) + m.reg(i.rm), load, size, signed)


def load_store_immediate(m: Core, i: Fields) -> None:
    """LDR, STR, LDRB, STRB with a 5-bit offset, in units of the size."""
    size, scale = (1, 0) if m.known(i.byte) else (4, 2)
    _transfer(m, i.rd, m.reg(i.rn) + (i.amount << scale), bool(m.known(i.load)), size)


def load_store_half(m: Core, i: Fields) -> None:
    """LDRH and STRH with a 5-bit offset in halfwords."""
    _transfer(m, i.rd, m.reg(i.rn) + (i.amount << 1), bool(m.known(i.load)), 2)


def load_store_sp(m: Core, i: Fields) -> None:
    """LDR and STR relative to r13."""
    _transfer(m, i.rd, m.reg(13) + (i.imm << 2), bool(m.known(i.load)), 4)


def _transfer(m: Core, rd: Value, address: Value, load: bool, size: int, signed: bool = False) -> None:
    if load:
        m.set_reg(rd, m.load(address, size, signed=signed))
    else:
        m.store(address, m.reg(rd), size)


def add_to_pc(m: Core, i: Fields) -> None:
    """ADD Rd, PC, #offset."""
    m.set_reg(i.rd, (m.reg(15) & ~3) + (i.imm << 2))


def add_to_sp(m: Core, i: Fields) -> None:
    """ADD Rd, SP, #offset."""
    m.set_reg(i.rd, m.reg(13) + (i.imm << 2))


def adjust_sp(m: Core, i: Fields) -> None:
    """ADD and SUB of a 7-bit immediate in words to SP."""
    amount = i.imm << 2
    m.set_reg(13, m.reg(13) - amount if m.known(i.op) else m.reg(13) + amount)


def push(m: Core, i: Fields) -> None:
    """PUSH, with LR when the R bit says so."""
    registers = i.registers | (i.extra << 14)
    address = m.reg(13) - (registers.popcount() << 2)
    m.store_block(registers, address, m.reg)
    m.set_reg(13, address)


def pop(m: Core, i: Fields) -> None:
    """POP, with PC when the R bit says so: on ARMv4T it stays in Thumb."""
    registers, base = i.registers, m.reg(13)
    with_pc = i.extra
    length = (registers.popcount() + with_pc) << 2
    m.load_block(registers, base, m.set_base)
    if m.known(with_pc):
        target = m.load(base + length - 4, 4, block=True)
        m.set_reg(13, base + length)
        m.jump(target)
    m.set_reg(13, base + length)


def block_transfer(m: Core, i: Fields) -> None:
    """LDMIA and STMIA: a base in LDMIA's list is not written back, in STMIA's its old value is stored."""
    base, registers = m.reg(i.rn), i.registers
    final = base + (registers.popcount() << 2)
    if m.known(i.load):

        def restore() -> None:
            m.set_base(i.rn, base)

        m.load_block(registers, base, m.set_base, restore)
        for _ in m.when(((registers >> i.rn) & 1).eq(0)):
            m.set_base(i.rn, final)
    else:
        m.store_block(registers, base, m.reg)
        m.set_base(i.rn, final)


def branch_conditional(m: Core, i: Fields) -> None:
    """B<cond>."""
    for _ in m.when(condition_holds(m, m.known(i.condition))):
        m.jump(m.reg(15) + (i.imm << 24).sar(23))


def branch(m: Core, i: Fields) -> None:
    """B."""
    m.jump(m.reg(15) + (i.offset << 21).sar(20))


def branch_link_prefix(m: Core, i: Fields) -> None:
    """The first half of BL: LR is the high part of the target."""
    m.set_reg(14, m.reg(15) + (i.offset << 21).sar(9))


def branch_link_suffix(m: Core, i: Fields) -> None:
    """The second half of BL."""
    target = m.reg(14) + (i.offset << 1)
    m.set_reg(14, (m.reg(15) - 2) | 1)
    m.jump(target)


def software_interrupt(m: Core, i: Fields) -> None:
    """SWI."""
    m.exception(Vector.SWI)


def undefined(m: Core, i: Fields) -> None:
    """An encoding that no Thumb instruction of ARMv4T has."""
    m.exception(Vector.UNDEFINED)
