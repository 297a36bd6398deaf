"""The ARM920T's translation: FCSE, table walk, domains and permissions (ARM920T TRM 3, ARM ARM B3)."""

from __future__ import annotations

from typing import NamedTuple

from dbgemu.target.arm.core import Core, routine
from dbgemu.target.arm.cp15 import CONTROL_MMU
from dbgemu.target.arm.value import Value

# Result of the walk, 64 bits wide: the physical address in bits 31..0, and
RESULT_FAULT = 1 << 32
RESULT_READABLE = 1 << 33
RESULT_WRITABLE = 1 << 34
RESULT_WIDE = 1 << 35  # of a section or a large page
RESULT_STATUS_SHIFT = 40  # of a fault: the domain in bits 7..4, the fault in bits 3..0 (FSR)

FAULT_ALIGNMENT = 0x1
FAULT_SECTION_TRANSLATION = 0x5
FAULT_PAGE_TRANSLATION = 0x7
FAULT_SECTION_DOMAIN = 0x9
FAULT_PAGE_DOMAIN = 0xB
FAULT_SECTION_PERMISSION = 0xD
FAULT_PAGE_PERMISSION = 0xF

FAULT_NAMES = {
    FAULT_ALIGNMENT: "alignment fault",
    FAULT_SECTION_TRANSLATION: "section translation fault",
    FAULT_PAGE_TRANSLATION: "page translation fault",
    FAULT_SECTION_DOMAIN: "section domain fault",
    FAULT_PAGE_DOMAIN: "page domain fault",
    FAULT_SECTION_PERMISSION: "section permission fault",
    FAULT_PAGE_PERMISSION: "page permission fault",
}

#: the walk's ``access``: a sum of these
ACCESS_WRITE, ACCESS_USER = 1, 2

# Rights by AP, S and R (TRM table 3-3), two bits each: readable, writable. Index: AP << 2 | R << 1 | S
_NONE, _READ, _BOTH = 0, 1, 3
_PRIVILEGED = (_NONE, _READ, _READ, _NONE) + (_BOTH,) * 12
_USER = (_NONE, _NONE, _READ, _NONE) + (_NONE,) * 4 + (_READ,) * 4 + (_BOTH,) * 4


def _pack(rights: tuple[int, ...]) -> int:
    return sum(right << 2 * index for index, right in enumerate(rights))


def modified_address(m: Core, address: Value) -> Value:
    """The modified virtual address: the lowest 32 MiB move to the process that FCSE names."""
    return (address >> 25).eq(0).select(address | m.get("fcse_pid"), address)


@routine(32, 32, returns=64)
def walk(m: Core, address: Value, access: Value) -> None:
    """Translate a virtual ``address`` for ``access``: see ``RESULT_...`` for what comes back."""
    mva = modified_address(m, address)
    for _ in m.when((m.get("cp15_control") & CONTROL_MMU).eq(0)):
        m.ret(mva.zext(64) | (RESULT_READABLE | RESULT_WRITABLE))
    first = m.load_physical(m.get("ttb") | ((mva >> 20) << 2))
    kind = first & 3
    domain = first.bits(8, 5)
    for _ in m.when(kind.eq(0)):
        m.ret(_fault(m, FAULT_SECTION_TRANSLATION, m.const(0)))
    rights_of_domain = (m.get("dacr") >> (domain << 1)) & 3
    for _ in m.when(kind.eq(2)):
        physical = (first & 0xFFF00000) | (mva & 0x000FFFFF)
        _check_domain(m, rights_of_domain, FAULT_SECTION_DOMAIN, domain)
        wide = m.const(RESULT_WIDE, 64)
        rights = _Rights(first.bits(11, 10), rights_of_domain, domain, FAULT_SECTION_PERMISSION)
        _finish(m, physical.zext(64) | wide, rights, access)
    coarse = kind.eq(1)
    table = coarse.select(first & 0xFFFFFC00, first & 0xFFFFF000)
    entry = coarse.select(mva.bits(19, 12), mva.bits(19, 10))
    second = m.load_physical(table + (entry << 2))
    size = second & 3
    # a tiny page in a coarse table does not exist on ARMv4
    for _ in m.when(size.eq(0) | (size.eq(3) & coarse)):
        m.ret(_fault(m, FAULT_PAGE_TRANSLATION, domain))
    _check_domain(m, rights_of_domain, FAULT_PAGE_DOMAIN, domain)
    large, small = size.eq(1), size.eq(2)
    page_mask = large.select(0xFFFF, small.select(0xFFF, 0x3FF))
    physical = (second & ~page_mask) | (mva & page_mask)
    # large and small pages have four subpages with permissions of their own
    subpage = large.select(mva.bits(15, 14), small.select(mva.bits(11, 10), 0))
    permission = (second >> ((subpage << 1) + 4)) & 3
    wide = large.select(m.const(RESULT_WIDE, 64), m.const(0, 64))
    rights = _Rights(permission, rights_of_domain, domain, FAULT_PAGE_PERMISSION)
    _finish(m, physical.zext(64) | wide, rights, access)


def _fault(m: Core, fault: int, domain: Value) -> Value:
    status = (domain << 4) | fault
    return (status.zext(64) << RESULT_STATUS_SHIFT) | RESULT_FAULT


def _check_domain(m: Core, rights: Value, fault: int, domain: Value) -> None:
    # 00 is no access; 10 is reserved and behaves so (TRM table 3-2)
    for _ in m.when((rights & 1).eq(0)):
        m.ret(_fault(m, fault, domain))


class _Rights(NamedTuple):
    """What decides whether an access is allowed, and the fault when it is not."""

    permission: Value
    of_domain: Value
    domain: Value
    fault: int


def _finish(m: Core, result: Value, rights: _Rights, access: Value) -> None:
    for _ in m.when(rights.of_domain.eq(3)):  # manager: permissions are not looked at
        m.ret(result | (RESULT_READABLE | RESULT_WRITABLE))
    index = ((rights.permission << 2) | m.get("cp15_control").bits(9, 8)) << 1
    granted = (access & ACCESS_USER).ne(0).select(_pack(_USER), _pack(_PRIVILEGED)) >> index
    allowed = granted >> (access & ACCESS_WRITE)
    for _ in m.when((allowed & 1).eq(0)):
        m.ret(_fault(m, rights.fault, rights.domain))
    m.ret(result | (granted & 3).zext(64) << 33)
