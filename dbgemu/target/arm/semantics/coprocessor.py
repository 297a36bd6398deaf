"""Coprocessor instructions: cp15's register transfers; everything else is undefined on the ARM920T."""

from __future__ import annotations

from dbgemu.target.arm.core import Core, Fields, Vector, routine
from dbgemu.target.arm.cp15 import (
    CACHE_TYPE,
    CONTROL_READ_AS_ONE,
    CONTROL_WRITABLE,
    FCSE_PID_MASK,
    MAIN_ID,
    TTB_MASK,
)
from dbgemu.target.arm.state import CATCH_CONTROL, CATCH_DOMAINS, CATCH_FCSE, CATCH_TTB, Mode
from dbgemu.target.arm.value import Value

# An access is named by CRn, CRm and opcode 2 together: what the routines get as one number.
CACHES = 7
WAIT_FOR_INTERRUPT = CACHES << 8 | 0x0 << 4 | 4


def coprocessor_transfer(m: Core, i: Fields) -> None:
    """MCR and MRC: cp15 from privileged modes."""
    for _ in m.when(i.coprocessor.ne(15)):
        m.exception(Vector.UNDEFINED)
    for _ in m.when((m.get("control") & 0x1F).eq(Mode.USR)):
        m.exception(Vector.UNDEFINED)
    place = (i.crn << 8) | (i.crm << 4) | i.opcode2
    if m.known(i.load):
        value = m.call(read_cp15, place)
        to_flags = i.rd.eq(15)  # MRC to r15 sets the flags (ARM ARM A4.1.32)
        for _ in m.when(to_flags):
            m.write_flags(value)
        for _ in m.when(~to_flags):
            m.set_base(i.rd, value)
    else:
        waits = place.eq(WAIT_FOR_INTERRUPT)
        for _ in m.when(i.crn.ne(CACHES) | waits):  # no cache is modelled
            for _ in m.when(waits):
                m.wait_for_interrupt()
            m.call(write_cp15, place, m.reg(i.rd))
            m.end_block()


def coprocessor_other(m: Core, i: Fields) -> None:
    """CDP, LDC and STC: no coprocessor of the ARM920T has them."""
    m.exception(Vector.UNDEFINED)


@routine(32, returns=32)
def read_cp15(m: Core, place: Value) -> None:
    """ARM920T TRM 2.3: the value of the register at CRn, CRm, opcode 2; reserved ones read as 0."""
    crn, opcode2 = place >> 8, place & 7
    second = opcode2.eq(1)
    for _ in m.when(crn.eq(0)):
        m.ret(second.select(CACHE_TYPE, MAIN_ID))
    for _ in m.when(crn.eq(1)):
        m.ret(m.get("cp15_control"))
    for number, name in ((2, "ttb"), (3, "dacr"), (6, "far"), (13, "fcse_pid"), (15, "test_state")):
        for _ in m.when(crn.eq(number)):
            m.ret(m.get(name))
    for number, data, instruction in _PAIRS:
        for _ in m.when(crn.eq(number)):
            m.ret(second.select(m.get(instruction), m.get(data)))
    m.ret(m.const(0))


# CRn with a data register at opcode 2 = 0 and an instruction register at 1
_PAIRS = (
    (5, "dfsr", "ifsr"),
    (9, "dcache_lockdown", "icache_lockdown"),
    (10, "dtlb_lockdown", "itlb_lockdown"),
)


def _write_noticed(m: Core, event: int, field: str, value: Value) -> None:
    changed = m.get(field).ne(value)
    m.set(field, value)
    m.notice(event, changed)


@routine(32, 32)
def write_cp15(m: Core, place: Value, value: Value) -> None:
    """ARM920T TRM 2.3: write the register, or do the cache or TLB operation.

    No cache is modelled, so cache operations (c7) have nothing to do.
    """
    crn, opcode2 = place >> 8, place & 7
    second = opcode2.eq(1)
    for _ in m.when(crn.eq(CACHES)):
        m.ret()
    for _ in m.when(crn.eq(8)):
        # opcode 2 = 1 names one entry by its modified virtual address: as good as virtual without FCSE
        for _ in m.when(second & m.get("fcse_pid").eq(0)):
            m.flush_tlb_page(value)
            m.ret()
        m.flush_tlbs()
        m.ret()
    for _ in m.when(crn.eq(1)):
        _write_noticed(m, CATCH_CONTROL, "cp15_control", (value & CONTROL_WRITABLE) | CONTROL_READ_AS_ONE)
        m.flush_tlbs()
        m.ret()
    for _ in m.when(crn.eq(2)):
        _write_noticed(m, CATCH_TTB, "ttb", value & TTB_MASK)
        m.ret()
    for _ in m.when(crn.eq(3)):
        m.switch_domains(value)
        _write_noticed(m, CATCH_DOMAINS, "dacr", value)
        m.ret()
    for _ in m.when(crn.eq(13)):
        _write_noticed(m, CATCH_FCSE, "fcse_pid", value & FCSE_PID_MASK)
        m.flush_tlbs()
        m.ret()
    for _ in m.when(crn.eq(6)):
        m.set("far", value)
        m.ret()
    for _ in m.when(crn.eq(15)):
        m.set("test_state", value)
        m.ret()
    for number, data, instruction in _PAIRS:
        for _ in m.when(crn.eq(number)):
            for _ in m.when(second):
                m.set(instruction, value)
                m.ret()
            m.set(data, value)
            m.ret()
    m.ret()
