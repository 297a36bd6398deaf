"""Program status registers: modes and their banks, MRS, MSR, exception entry and return."""

from __future__ import annotations

from dbgemu.target.arm.core import Core, Fields, Vector, routine
from dbgemu.target.arm.state import BANK_OF_MODE, CATCH_MODE, FIQ_BANK, OBSERVED, F, I, Mode, T
from dbgemu.target.arm.value import Value

_BANKS_PACKED = sum(bank << 4 * mode for mode, bank in enumerate(BANK_OF_MODE))
_VECTORS_HIGH = 1 << 13  # cp15 control: V


def bank_of(m: Core, control: Value) -> Value:
    """The bank of r13, r14 and SPSR that the mode in ``control`` uses."""
    nibble = (control & 15).zext(64) << 2
    return (m.const(_BANKS_PACKED, 64) >> nibble).trunc(32) & 15


@routine(32)
def write_control(m: Core, new: Value) -> None:
    """Write CPSR bits 7..0: exchange the banked registers, follow interrupt masks and privilege."""
    new = (new & 0xFF) | 0x10  # the ARM920T has no 26-bit modes: M4 is always 1
    old = m.get("control")
    old_bank, new_bank = bank_of(m, old), bank_of(m, new)
    for _ in m.when(old_bank.ne(new_bank)):
        m.set("r13", m.reg(13), old_bank)
        m.set("r14", m.reg(14), old_bank)
        m.set_reg(13, m.get("r13", new_bank))
        m.set_reg(14, m.get("r14", new_bank))
        was_fiq, is_fiq = old_bank.eq(FIQ_BANK), new_bank.eq(FIQ_BANK)
        for _ in m.when(was_fiq | is_fiq):
            for k in range(5):
                m.set("r8_r12", m.reg(8 + k), was_fiq.select(5, 0) + k)
                m.set_reg(8 + k, m.get("r8_r12", is_fiq.select(5, 0) + k))
    m.notice(CATCH_MODE, ((old ^ new) & 0x1F).ne(0))
    m.set("control", new)
    m.set("interrupts", (m.get("interrupts") & OBSERVED) | (m.get("interrupt_lines") & ~new & (I | F)))
    m.select_privilege((new & 0x1F).eq(Mode.USR))
    m.ret()


@routine(32, returns=32)
def user_register(m: Core, number: Value) -> None:
    """The User mode's register ``number`` (0 to 15), whatever the present mode is."""
    bank = bank_of(m, m.get("control"))
    for _ in m.when(number.eq(13) & bank.ne(0)):
        m.ret(m.get("r13", 0))
    for _ in m.when(number.eq(14) & bank.ne(0)):
        m.ret(m.get("r14", 0))
    for _ in m.when(bank.eq(FIQ_BANK) & (number - 8).ult(5)):
        m.ret(m.get("r8_r12", number - 8))
    m.ret(m.get("r", number))


@routine(32, 32)
def write_user_register(m: Core, number: Value, value: Value) -> None:
    """Write the User mode's register ``number`` (0 to 14)."""
    bank = bank_of(m, m.get("control"))
    for _ in m.when(number.eq(13) & bank.ne(0)):
        m.set("r13", value, 0)
        m.ret()
    for _ in m.when(number.eq(14) & bank.ne(0)):
        m.set("r14", value, 0)
        m.ret()
    for _ in m.when(bank.eq(FIQ_BANK) & (number - 8).ult(5)):
        m.set("r8_r12", value, number - 8)
        m.ret()
    m.set("r", value, number)
    m.ret()


@routine(32, 32, 32, returns=32)
def enter_exception(m: Core, offset: Value, mode: Value, return_address: Value) -> None:
    """ARM ARM A2.6: save the CPSR, change mode, mask interrupts; gives the vector's address."""
    cpsr = m.read_cpsr()
    # IRQs are masked by every exception, FIQs by Reset and FIQ only
    masks = (mode.eq(Mode.FIQ) | offset.eq(Vector.RESET.offset)).select(I | F, I)
    m.call(write_control, (cpsr & (0xFF & ~T & ~0x1F)) | masks | mode)
    m.set("spsr", cpsr, bank_of(m, mode))
    m.set_reg(14, return_address)
    high = (m.get("cp15_control") & _VECTORS_HIGH).ne(0)
    m.ret(high.select(0xFFFF0000, 0) + offset)


def return_from_exception(m: Core, address: Value) -> None:
    """Restore the CPSR from the SPSR and go on at ``address``; ends the instruction."""
    spsr = m.get("spsr", bank_of(m, m.get("control")))
    m.write_flags(spsr)
    m.call(write_control, spsr)
    m.jump_any(address)


def move_from_status(m: Core, i: Fields) -> None:
    """``MRS Rd, CPSR|SPSR``."""
    if m.known(i.spsr):
        m.set_reg(i.rd, m.get("spsr", bank_of(m, m.get("control"))))
    else:
        m.set_reg(i.rd, m.read_cpsr())


def move_register_to_status(m: Core, i: Fields) -> None:
    """``MSR CPSR|SPSR_fields, Rm``."""
    _write_status(m, i, m.reg(i.rm))


def move_immediate_to_status(m: Core, i: Fields) -> None:
    """``MSR CPSR|SPSR_fields, #rotated``."""
    _write_status(m, i, i.imm.ror(i.rotate << 1))


def _write_status(m: Core, i: Fields, operand: Value) -> None:
    flags, control = (i.mask & 8).ne(0), (i.mask & 1).ne(0)
    if m.known(i.spsr):
        bank = bank_of(m, m.get("control"))
        wanted = flags.select(0xF0000000, 0) | control.select(0xFF, 0)
        # User and System mode have none; could they write what is in its place, MOVS pc would raise privilege
        for _ in m.when(bank.ne(0)):
            m.set("spsr", (m.get("spsr", bank) & ~wanted) | (operand & wanted), bank)
        return
    for _ in m.when(flags):
        m.write_flags(operand)
    present = m.get("control")
    privileged = (present & 0x1F).ne(Mode.USR)
    for _ in m.when(control & privileged):
        # changing T by MSR is unpredictable: it stays
        m.call(write_control, (operand & (0xFF & ~T)) | (present & T))
    m.end_block()


def software_interrupt(m: Core, i: Fields) -> None:
    """SWI: the handler finds the comment field in the instruction."""
    m.exception(Vector.SWI)


def undefined(m: Core, i: Fields) -> None:
    """An encoding that no ARMv4T instruction has."""
    m.exception(Vector.UNDEFINED)
