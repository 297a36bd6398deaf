"""ARM loads, stores, swaps and block transfers (ARM ARM A3.11 to A3.13, A5.2 to A5.4)."""

from __future__ import annotations

from dbgemu.target.arm.core import Core, Fields
from dbgemu.target.arm.semantics.arithmetic import shift_by_immediate
from dbgemu.target.arm.semantics.status import return_from_exception, user_register, write_user_register
from dbgemu.target.arm.value import Value


def load_store_immediate(m: Core, i: Fields) -> None:
    """LDR, STR, LDRB, STRB with a 12-bit offset."""
    _transfer(m, i, i.imm, 1 if m.known(i.byte) else 4, signed=False)


def load_store_register(m: Core, i: Fields) -> None:
    """LDR, STR, LDRB, STRB with a shifted register offset."""
    offset, _ = shift_by_immediate(m, m.known(i.shift), m.reg(i.rm), i.amount, False)
    _transfer(m, i, offset, 1 if m.known(i.byte) else 4, signed=False)


def load_store_half_immediate(m: Core, i: Fields) -> None:
    """LDRH, STRH, LDRSB, LDRSH with an 8-bit offset."""
    _transfer_half(m, i, (i.immhigh << 4) | i.immlow)


def load_store_half_register(m: Core, i: Fields) -> None:
    """LDRH, STRH, LDRSB, LDRSH with a register offset."""
    _transfer_half(m, i, m.reg(i.rm))


def _transfer_half(m: Core, i: Fields, offset: Value) -> None:
    kind = m.known(i.kind)  # 01 unsigned halfword, 10 signed byte, 11 signed halfword
    _transfer(m, i, offset, 2 if kind & 1 else 1, signed=bool(kind & 2))


def _transfer(m: Core, i: Fields, offset: Value, size: int, signed: bool) -> None:
    pre, writeback = m.known(i.pre), m.known(i.writeback)
    base = m.reg(i.rn)
    indexed = base + offset if m.known(i.up) else base - offset
    address = indexed if pre else base
    user = not pre and bool(writeback)  # LDRT, STRT and their byte forms
    if m.known(i.load):
        value = m.load(address, size, signed=signed, user=user)
        if not pre or writeback:
            m.set_base(i.rn, indexed)
        m.set_reg(i.rd, value)
    else:
        m.store(address, m.stored_reg(i.rd), size, user=user)
        if not pre or writeback:
            m.set_base(i.rn, indexed)


def swap(m: Core, i: Fields) -> None:
    """SWP and SWPB."""
    size = 1 if m.known(i.byte) else 4
    address = m.reg(i.rn)
    value = m.load(address, size)
    m.store(address, m.reg(i.rm), size)
    m.set_reg(i.rd, value)


def block_transfer(m: Core, i: Fields) -> None:
    """LDM and STM in all modes.

    Choices where the architecture has none: with the base in the list, LDM's loaded value stays
    and STM stores the old base; an empty list transfers nothing and leaves the base.
    """
    load, pre, up = m.known(i.load), m.known(i.pre), m.known(i.up)
    registers, base = i.registers, m.reg(i.rn)
    length = registers.popcount() << 2
    final = base + length if up else base - length
    address = base if up else final
    if pre == up:
        address = address + 4
    if m.known(i.user):
        for _ in m.when(registers.bit(15) if load else m.const(0, 1)):
            _load_block(m, i, registers, address, base, final)
            return_from_exception(m, m.reg(15))
        _transfer_user_block(m, i, registers, address, base, final)
    elif load:
        _load_block(m, i, registers, address, base, final)
        for _ in m.when(registers.bit(15)):
            m.jump(m.reg(15))
    else:
        m.store_block(registers, address, m.stored_reg)
        if m.known(i.writeback):
            m.set_base(i.rn, final)


def _load_block(m: Core, i: Fields, registers: Value, address: Value, base: Value, final: Value) -> None:
    """Load the registers, r15 like the others: the caller jumps; write back before them."""

    def restore() -> None:
        m.set_base(i.rn, base)  # it may have been loaded already

    writeback = m.known(i.writeback)
    m.load_block(registers, address, m.set_base, restore)
    if writeback:
        in_list = ((registers >> i.rn) & 1).ne(0)
        for _ in m.when(~in_list):
            m.set_base(i.rn, final)


def _transfer_user_block(
    m: Core, i: Fields, registers: Value, address: Value, base: Value, final: Value
) -> None:
    """LDM and STM of the User mode's registers; writeback with it is unpredictable."""
    load = m.known(i.load)

    def restore() -> None:
        m.set_base(i.rn, base)  # it may be one of the User mode's, and loaded already

    for number, before in m.each_register(registers):
        place = address + (before << 2)
        if load:
            m.call(write_user_register, number, m.load(place, 4, block=True, undo=restore))
        else:
            pc_extra = number.eq(15).select(4, 0)
            m.store(place, m.call(user_register, number) + pc_extra, 4)
    if m.known(i.writeback):
        m.set_base(i.rn, final)
