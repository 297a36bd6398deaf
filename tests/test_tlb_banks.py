"""Soft TLBs keep what was translated under two values of the DACR, and forget all that they must."""

from __future__ import annotations

import random

import pytest

from dbgemu.target.arm.state import FILLED
from tests.arm_programs import CLIENT, DATA, NO_ACCESS, RAM, Guest, PageTables

VA = 0x40000000
OPEN, CLOSED = CLIENT | CLIENT << 2, CLIENT | NO_ACCESS << 2
#: r1 and r2 are the values, r3 an address of domain 1
TOGGLE = """
again: mcr p15, 0, r1, c3, c0, 0
ldr r0, [r3]
mcr p15, 0, r2, c3, c0, 0
add r4, r4, r0
subs r5, r5, #1
bne again
"""


@pytest.fixture
def guest() -> Guest:
    made = Guest()
    made.tables = PageTables(made)
    made.tables.small(VA, DATA, domain=1)
    made.tables.enable(dacr=OPEN)
    made.put(DATA, 5)
    return made


def test_a_page_can_be_read_whenever_its_domain_is_open(guest) -> None:
    guest.start(TOGGLE, r1=OPEN, r2=CLOSED, r3=VA, r4=0, r5=100)
    guest.run()
    assert guest["r4"] == 500


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_closed_domain_aborts_although_the_page_was_read_before(guest, times) -> None:
    reads = "; ".join(["mcr p15, 0, r1, c3, c0, 0; ldr r0, [r3]; mcr p15, 0, r2, c3, c0, 0"] * times)
    guest.start(f"{reads}; ldr r0, [r3]", r1=OPEN, r2=CLOSED, r3=VA)
    guest.step(3 * times + 1)
    assert guest["pc"] == 0x10, "a data abort"
    assert guest["dfsr"] == 1 << 4 | 0xB, "a domain fault on a page of domain 1"


def test_a_third_value_of_the_dacr_is_heeded(guest) -> None:
    source = "mcr p15, 0, r1, c3, c0, 0; ldr r0, [r3]; mcr p15, 0, r2, c3, c0, 0; mcr p15, 0, r6, c3, c0, 0"
    guest.start(f"{source}; ldr r0, [r3]", r1=OPEN, r2=CLOSED, r3=VA, r6=CLIENT | CLIENT << 4)
    guest.step(5)
    assert guest["pc"] == 0x10


@pytest.mark.parametrize("flush", ["c8, c7, 0", "c8, c6, 1"])
def test_a_flush_under_one_value_is_one_for_the_other_too(guest, flush) -> None:
    second = guest.tables.table(VA)
    entry = DATA + 0x1000 | 0xFF2
    program = f"""
    ldr r0, [r3]
    mcr p15, 0, r2, c3, c0, 0
    str r6, [r7]
    mcr p15, 0, r3, {flush}
    mcr p15, 0, r1, c3, c0, 0
    ldr r0, [r3]
    """
    guest.put(DATA + 0x1000, 6)
    guest.start(program, r1=OPEN, r2=CLOSED, r3=VA, r6=entry, r7=second)
    guest.run()
    assert guest["r0"] == 6, "the new page"


@pytest.mark.parametrize("pages", [3, FILLED // 4, 2 * FILLED])
def test_a_flush_forgets_however_much_was_filled(guest, pages) -> None:
    """Pages of 1 KiB are read, then all are mapped to others, and read again."""
    for k in range(pages):
        guest.tables.tiny(VA + 0x100000 + 0x400 * k, RAM + 0x80000, domain=1)
    descriptors = [guest.tables.table(VA + 0x100000 + 0x400 * k) + (k & 0x3FF) * 4 for k in range(pages)]
    guest.put(RAM + 0x80000, 1)
    guest.put(RAM + 0x80400, 2)
    loop = "1: ldr r0, [r3], #0x400; add r4, r4, r0; subs r5, r5, #1; bne 1b"
    guest.start(loop, r3=VA + 0x100000, r4=0, r5=pages)
    guest.run(8 * pages)
    assert guest["r4"] == pages
    for place in descriptors:
        guest.put(place, RAM + 0x80400 | 0x33)
    guest.start(f"mcr p15, 0, r0, c8, c7, 0; {loop}", r3=VA + 0x100000, r4=0, r5=pages)
    guest.run(8 * pages)
    assert guest["r4"] == 2 * pages


def test_user_and_privileged_loads_agree_with_the_tables_under_any_sequence_of_values(guest) -> None:
    """LDR and LDRT of two pages under random values of the DACR, as a fresh CPU would do each."""
    guest.tables.small(VA + 0x100000, DATA + 0x1000, 1, domain=2)
    guest.put(DATA + 0x1000, 7)
    rng = random.Random(3)
    values = [CLIENT | a << 2 | b << 4 for a in (0, 1, 3) for b in (0, 1, 3)]
    for _ in range(300):
        dacr, page, user = rng.choice(values), rng.randrange(2), rng.randrange(2)
        guest.start(
            f"mcr p15, 0, r1, c3, c0, 0; {'ldrt r0, [r3]' if user else 'ldr r0, [r3]'}",
            r0=0,
            r1=dacr,
            r3=VA + 0x100000 * page,
        )
        guest.step(2)
        access = dacr >> 2 * (1 + page) & 3
        allowed = access == 3 or (access == 1 and not (page and user))
        assert (guest["pc"] == guest.done) == allowed, (hex(dacr), page, user)
        assert guest["r0"] == ((5, 7)[page] if allowed else 0)
