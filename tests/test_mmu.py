"""Translation, domains, permissions and precise data aborts (ARM920T TRM chapter 3)."""

from __future__ import annotations

import pytest

from dbgemu.engine.cpu import TranslationFault
from dbgemu.target.arm.state import F, I, Mode, N, T, Z
from tests.arm_programs import (
    CLIENT,
    CODE,
    DATA,
    MANAGER,
    NO_ACCESS,
    RAM,
    SVC_MASKED,
    Guest,
    PageTables,
)

USER = Mode.USR
#: virtual addresses that tests map as they need
VA = 0x80000000
ALIGNMENT, SYSTEM, ROM = 1 << 1, 1 << 8, 1 << 9


@pytest.fixture
def guest() -> Guest:
    return Guest()


@pytest.fixture
def tables(guest: Guest) -> PageTables:
    return PageTables(guest)


def access(
    guest: Guest, instruction: str, *, cpsr: int = SVC_MASKED, thumb: bool = False, **regs: int
) -> bool:
    """Execute one instruction; whether it went through, that is: made no data abort."""
    guest.start(instruction, cpsr=cpsr, thumb=thumb, **regs)
    guest.step()
    return guest.mode != Mode.ABT


# -- mapping -------------------------------------------------------------------------------------


def map_section(tables: PageTables, ap: int, domain: int = 0) -> None:
    tables.section(VA, RAM, ap, domain=domain)


def map_small(tables: PageTables, ap: int, domain: int = 0) -> None:
    tables.small(VA + (DATA - RAM), DATA, ap, domain=domain)


def map_large(tables: PageTables, ap: int, domain: int = 0) -> None:
    tables.large(VA + (DATA - RAM), DATA, ap, domain=domain)


def map_tiny(tables: PageTables, ap: int, domain: int = 0) -> None:
    tables.tiny(VA + (DATA - RAM), DATA, ap, domain=domain)


def map_small_in_fine(tables: PageTables, ap: int, domain: int = 0) -> None:
    tables.small(VA + (DATA - RAM), DATA, ap, fine=True, domain=domain)


def map_large_in_fine(tables: PageTables, ap: int, domain: int = 0) -> None:
    tables.large(VA + (DATA - RAM), DATA, ap, fine=True, domain=domain)


MAPPERS = (map_section, map_small, map_large, map_tiny, map_small_in_fine, map_large_in_fine)
MAPPED = VA + (DATA - RAM)


@pytest.mark.parametrize("mapper", MAPPERS)
def test_every_kind_of_page_translates_to_its_physical_address(guest, tables, mapper) -> None:
    mapper(tables, 3)
    tables.enable()
    guest.put(DATA + 0x3FC, 0x12345678)
    guest.start("ldr r0, [r1]; str r1, [r1, #-4]", r1=MAPPED + 0x3FC)
    guest.run()
    assert guest["r0"] == 0x12345678
    assert guest.word(DATA + 0x3F8) == MAPPED + 0x3FC
    assert guest.cpu.translate(MAPPED + 0x3FC) == DATA + 0x3FC


def test_neighbouring_pages_of_every_size_are_told_apart(guest, tables) -> None:
    for k, size in ((0, 1 << 10), (1, 1 << 12), (2, 1 << 16)):
        add = (tables.tiny, tables.small, tables.large)[k]
        for page in range(4):
            # in reverse order, so that no address translates to itself
            kwargs = {"fine": True} if k else {}
            add(VA + (k << 18) + page * size, DATA + (k << 18) + (3 - page) * size, 3, **kwargs)
    tables.enable()
    for k, size in ((0, 1 << 10), (1, 1 << 12), (2, 1 << 16)):
        for page in range(4):
            va, pa = VA + (k << 18) + page * size, DATA + (k << 18) + (3 - page) * size
            assert access(guest, "str r1, [r0]", r0=va + size - 4, r1=va)
            assert guest.word(pa + size - 4) == va


def test_with_the_mmu_off_addresses_are_physical_and_nothing_is_refused(guest) -> None:
    assert access(guest, "str r1, [r0]", cpsr=USER, r0=DATA, r1=5)
    assert guest.word(DATA) == 5


# -- faults --------------------------------------------------------------------------------------

FAULTS = {
    # name: (what maps, dacr, control bits, mode, offset to MAPPED, expected status)
    "alignment": (lambda t: map_section(t, 3), CLIENT, ALIGNMENT, Mode.SVC, 1, 0x01),
    "section translation": (lambda t: None, CLIENT, 0, Mode.SVC, 0, 0x05),
    "page translation, coarse": (lambda t: t.table(VA, domain=7), CLIENT << 14, 0, Mode.SVC, 0, 0x77),
    "page translation, fine": (lambda t: t.table(VA, fine=True, domain=2), CLIENT << 4, 0, Mode.SVC, 0, 0x27),
    "section domain": (lambda t: map_section(t, 3, 5), CLIENT, 0, Mode.SVC, 0, 0x59),
    "section domain, reserved": (lambda t: map_section(t, 3, 5), CLIENT | 2 << 10, 0, Mode.SVC, 0, 0x59),
    "page domain, small": (lambda t: map_small(t, 3, 15), CLIENT, 0, Mode.SVC, 0, 0xFB),
    "page domain, tiny": (lambda t: map_tiny(t, 3, 1), CLIENT, 0, Mode.SVC, 0, 0x1B),
    "section permission": (lambda t: map_section(t, 0, 3), CLIENT | CLIENT << 6, 0, Mode.SVC, 0, 0x3D),
    "section permission, user": (lambda t: map_section(t, 1), CLIENT, 0, Mode.USR, 0, 0x0D),
    "page permission, small": (lambda t: map_small(t, 0, 4), CLIENT | CLIENT << 8, 0, Mode.SVC, 0, 0x4F),
    "page permission, large": (lambda t: map_large(t, 1), CLIENT, 0, Mode.USR, 0, 0x0F),
    "page permission, tiny": (lambda t: map_tiny(t, 1), CLIENT, 0, Mode.USR, 0, 0x0F),
}


@pytest.mark.parametrize("instruction", ["ldr r0, [r1]", "str r0, [r1]"])
@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_sets_status_address_link_and_saved_status(guest, tables, name, instruction) -> None:
    mapper, dacr, control, mode, offset, status = FAULTS[name]
    mapper(tables)
    tables.enable(dacr=dacr | CLIENT, control=control)
    cpsr = mode | F | N | Z
    assert not access(guest, instruction, cpsr=cpsr, r0=1, r1=MAPPED + offset)
    assert guest["dfsr"] == status
    assert guest["far"] == MAPPED + offset
    assert guest["pc"] == 0x10
    assert guest["cpsr"] == Mode.ABT | I | F | N | Z
    assert guest["spsr"] == cpsr
    assert guest["lr"] == CODE + 8
    assert (guest["r0"], guest["r1"]) == (1, MAPPED + offset)
    assert guest["ifsr"] == 0


def test_a_tiny_page_in_a_coarse_table_does_not_exist(guest, tables) -> None:
    table = tables.table(VA)
    guest.put(table, DATA | 0x33)
    tables.enable()
    assert not access(guest, "ldr r0, [r1]", r1=VA)
    assert guest["dfsr"] == 0x07


def test_alignment_comes_before_translation_and_translation_before_domain(guest, tables) -> None:
    tables.enable(control=ALIGNMENT)
    assert not access(guest, "ldr r0, [r1]", r1=VA + 2)
    assert guest["dfsr"] == 0x01
    tables.table(VA, domain=9)  # no access
    assert not access(guest, "ldr r0, [r1]", r1=VA)
    assert guest["dfsr"] == 0x97


@pytest.mark.parametrize(
    ("instruction", "offset", "faults"),
    [
        ("ldr r0, [r1]", 2, True),
        ("str r0, [r1]", 3, True),
        ("ldrh r0, [r1]", 1, True),
        ("strh r0, [r1]", 3, True),
        ("ldrsh r0, [r1]", 1, True),
        ("ldrh r0, [r1]", 2, False),
        ("ldrb r0, [r1]", 3, False),
        ("strb r0, [r1]", 1, False),
        ("ldrsb r0, [r1]", 1, False),
        ("ldmia r1, {r2, r3}", 2, True),
        ("stmia r1, {r2, r3}", 1, True),
        ("swp r0, r2, [r1]", 1, True),
        ("swpb r0, r2, [r1]", 1, False),
    ],
)
def test_alignment_is_checked_by_the_size_of_the_access(guest, instruction, offset, faults) -> None:
    guest["sctlr"] = ALIGNMENT
    assert access(guest, instruction, r1=DATA + offset) is not faults
    if faults:
        assert (guest["dfsr"], guest["far"]) == (0x01, DATA + offset)


# -- permissions ---------------------------------------------------------------------------------

#: ARM920T TRM table 3-3: AP, control bits -> what privileged and user code may do
RIGHTS = {
    (0, 0): ("", ""),
    (0, SYSTEM): ("r", ""),
    (0, ROM): ("r", "r"),
    (1, 0): ("rw", ""),
    (1, SYSTEM): ("rw", ""),
    (1, ROM): ("rw", ""),
    (2, 0): ("rw", "r"),
    (2, SYSTEM): ("rw", "r"),
    (2, ROM): ("rw", "r"),
    (3, 0): ("rw", "rw"),
    (3, SYSTEM): ("rw", "rw"),
    (3, ROM): ("rw", "rw"),
}


@pytest.mark.parametrize("mapper", [map_section, map_small, map_tiny])
@pytest.mark.parametrize(("ap", "control"), RIGHTS)
def test_permissions_follow_ap_s_and_r(guest, tables, mapper, ap, control) -> None:
    mapper(tables, ap)
    tables.enable(control=control)
    privileged, user = RIGHTS[ap, control]
    for mode in (Mode.SVC, Mode.SYS, Mode.FIQ):
        assert access(guest, "ldr r0, [r1]", cpsr=mode, r1=MAPPED) is ("r" in privileged)
        assert access(guest, "str r0, [r1]", cpsr=mode, r1=MAPPED) is ("w" in privileged)
    assert access(guest, "ldr r0, [r1]", cpsr=USER, r1=MAPPED) is ("r" in user)
    assert access(guest, "str r0, [r1]", cpsr=USER, r1=MAPPED) is ("w" in user)
    # LDRT and STRT have user rights in every mode
    for suffix in ("", "b"):
        assert access(guest, f"ldr{suffix}t r0, [r1], #4", r1=MAPPED) is ("r" in user)
        assert access(guest, f"str{suffix}t r0, [r1], #4", r1=MAPPED) is ("w" in user)
    # again: the TLB's entry of the one privilege must not serve the other
    assert access(guest, "ldr r0, [r1]", r1=MAPPED) is ("r" in privileged)


@pytest.mark.parametrize(("adder", "step"), [("small", 0x400), ("large", 0x4000)])
@pytest.mark.parametrize("fine", [False, True])
def test_each_subpage_has_its_own_permission(guest, tables, adder, step, fine) -> None:
    getattr(tables, adder)(VA, DATA, 0, 1, 2, 3, fine=fine)
    tables.enable()
    for k, (user_reads, user_writes, privileged_writes) in enumerate(
        [(False, False, False), (False, False, True), (True, False, True), (True, True, True)]
    ):
        for place in (VA + k * step, VA + (k + 1) * step - 4):
            assert access(guest, "ldr r0, [r1]", cpsr=USER, r1=place) is user_reads
            assert access(guest, "str r0, [r1]", cpsr=USER, r1=place) is user_writes
            assert access(guest, "str r0, [r1]", r1=place) is privileged_writes


def test_a_manager_of_the_domain_is_not_asked_for_permissions(guest, tables) -> None:
    map_section(tables, 0, domain=6)
    tables.enable(dacr=CLIENT | MANAGER << 12)
    assert access(guest, "str r0, [r1]", cpsr=USER, r1=MAPPED)
    guest["dacr"] = CLIENT | CLIENT << 12
    assert not access(guest, "str r0, [r1]", cpsr=USER, r1=MAPPED)


def test_a_write_to_the_domain_register_counts_at_once(guest, tables) -> None:
    map_section(tables, 3, domain=1)
    tables.enable(dacr=CLIENT)
    guest.start(
        """
        mcr p15, 0, r2, c3, c0, 0
        ldr r0, [r1]
        mcr p15, 0, r3, c3, c0, 0
        ldr r4, [r1]
        """,
        r1=MAPPED,
        r2=CLIENT | CLIENT << 2,
        r3=CLIENT | NO_ACCESS << 2,
    )
    guest.put(DATA, 77)
    guest.step(4)
    assert guest["r0"] == 77
    assert (guest.mode, guest["lr"], guest["dfsr"]) == (Mode.ABT, CODE + 12 + 8, 0x19)


def test_a_read_only_page_may_be_read_after_a_refused_write(guest, tables) -> None:
    map_small(tables, 2)
    tables.enable()
    guest.put(DATA, 99)
    assert access(guest, "ldr r0, [r1]", cpsr=USER, r1=MAPPED)
    assert not access(guest, "str r0, [r1]", cpsr=USER, r1=MAPPED, r0=1)
    assert access(guest, "ldr r0, [r1]", cpsr=USER, r1=MAPPED)
    assert guest["r0"] == 99
    assert guest.word(DATA) == 99


@pytest.mark.parametrize("byte", ["", "b"])
def test_a_swap_needs_both_rights_and_changes_nothing_when_refused(guest, tables, byte) -> None:
    map_small(tables, 2)
    tables.enable()
    guest.put(DATA, 0x11223344)
    assert not access(guest, f"swp{byte} r0, r2, [r1]", cpsr=USER, r0=5, r1=MAPPED, r2=0xAA)
    assert (guest["r0"], guest.word(DATA)) == (5, 0x11223344)
    assert (guest["dfsr"], guest["far"]) == (0x0F, MAPPED)


# -- what is remembered ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flush", ["mcr p15, 0, r0, c8, c7, 0", "mcr p15, 0, r0, c8, c6, 0", "mcr p15, 0, r1, c8, c6, 1"]
)
@pytest.mark.parametrize("mapper", MAPPERS)
def test_a_changed_table_counts_after_the_tlb_was_told(guest, tables, mapper, flush) -> None:
    mapper(tables, 3)
    tables.enable()
    place = tables.base + (VA >> 20) * 4
    guest.put(DATA, 1)
    guest.start(
        f"""
        ldr r2, [r1]
        str r4, [r3]
        {flush}
        ldr r5, [r1]
        """,
        r1=MAPPED,
        r3=place,
        r4=0,
    )
    guest.step(4)
    assert guest["r2"] == 1
    assert (guest.mode, guest["dfsr"]) == (Mode.ABT, 0x05)


@pytest.mark.parametrize("mapper", [map_section, map_large, map_large_in_fine])
@pytest.mark.parametrize("other", [-0x400, -0x1000, 0x400, 0x1000, 0xC000])
def test_one_address_names_all_of_its_section_or_large_page(guest, tables, mapper, other) -> None:
    """The ARM920T holds it in one TLB entry; here it is many."""
    base = MAPPED + 0x2000
    mapper(tables, 3)
    tables.enable()
    guest.start(
        "ldr r2, [r6]; str r4, [r3]; mcr p15, 0, r1, c8, c6, 1; ldr r5, [r6]",
        r1=base,
        r3=tables.base + (VA >> 20) * 4,
        r4=0,
        r6=base + other,
    )
    guest.step(4)
    assert (guest.mode, guest["far"], guest["dfsr"]) == (Mode.ABT, base + other, 0x05)


@pytest.mark.parametrize("thumb", [False, True], ids=["arm", "thumb"])
def test_a_block_over_two_pages_goes_to_both_wherever_they_are(guest, tables, thumb) -> None:
    """Warm: the first page's translation alone must not serve the words of the second."""
    tables.small(VA, DATA + 0x1000, 3)
    tables.small(VA + 0x1000, DATA, 3)
    tables.enable()
    source = "ldr r7, [r0]; ldr r7, [r6]; stmia r0!, {r1-r4}; ldmia r6!, {r1-r4}"
    words = {f"r{n}": 0x11 * n for n in range(1, 5)}
    for offset in range(0, 0x2000, 4):
        guest.put(DATA + offset, offset)
    guest.start(source, thumb=thumb, r0=VA + 0xFF8, r6=VA + 0xBF8 if thumb else VA + 0xFF8, **words)
    guest.step(3)
    assert [guest.word(DATA + place) for place in (0x1FF8, 0x1FFC, 0, 4)] == list(words.values())
    assert guest.word(DATA + 0x2000) == 0
    guest["r6"] = VA + 0xFF8
    for name in words:
        guest[name] = 0
    guest.step()
    assert {name: guest[name] for name in words} == words


def test_switching_the_tables_and_flushing_gives_another_address_space(guest, tables) -> None:
    other = PageTables(guest, tables.base + 0x10000)
    tables.small(VA, DATA, 3)
    other.small(VA, DATA + 0x1000, 3)
    other.enable()
    guest["ttbr"] = tables.base
    tables.enable()
    guest.start(
        """
        str r1, [r0]
        mcr p15, 0, r2, c2, c0, 0
        mcr p15, 0, r0, c8, c7, 0
        str r3, [r0]
        """,
        r0=VA,
        r1=1,
        r2=other.base,
        r3=2,
    )
    guest.run()
    assert (guest.word(DATA), guest.word(DATA + 0x1000)) == (1, 2)


def test_a_guest_switches_the_mmu_on_and_off(guest, tables) -> None:
    tables.section(VA, RAM)
    tables.section(RAM, RAM)
    guest["dacr"] = CLIENT
    guest.put(DATA, 3)
    guest.start(
        """
        mrc p15, 0, r0, c1, c0, 0
        orr r0, r0, #1
        mcr p15, 0, r0, c1, c0, 0
        ldr r2, [r1]
        bic r0, r0, #1
        mcr p15, 0, r0, c1, c0, 0
        ldr r3, [r4]
        """,
        r1=MAPPED,
        r4=DATA,
    )
    guest.run()
    assert (guest["r2"], guest["r3"]) == (3, 3)


def test_fcse_moves_the_lowest_32_mib_and_the_fault_address_tells_the_moved_one(guest, tables) -> None:
    pid = 3 << 25
    tables.section(pid, RAM)
    tables.section(pid + 0x01F00000, RAM)
    tables.enable()
    guest["fcseidr"] = pid
    guest.put(DATA, 5)
    # a handler's vector is moved too
    assert access(guest, "ldr r0, [r1]", r1=DATA - RAM)
    assert guest["r0"] == 5
    assert access(guest, "ldr r0, [r1]", r1=0x01F00000 + DATA - RAM)
    guest.start("ldr r0, [r1]", r1=0x00500000)
    guest.step()
    assert (guest.mode, guest["far"], guest["dfsr"]) == (Mode.ABT, pid + 0x00500000, 0x05)
    guest.start("ldr r0, [r1]", r1=0x02000000)
    guest.step()
    assert (guest.mode, guest["far"]) == (Mode.ABT, 0x02000000)


# -- fetches ---------------------------------------------------------------------------------------


def test_a_fetch_fault_comes_when_the_page_is_entered_not_before(guest, tables) -> None:
    tables.tiny(VA, DATA, 3)
    tables.enable()
    # the last two instructions of the page; the next page is not mapped
    guest.load("mov r0, #1; mov r1, #2", DATA + 0x3F8)
    guest["pc"] = VA + 0x3F8
    guest.step(2)
    assert (guest["r0"], guest["r1"], guest["pc"]) == (1, 2, VA + 0x400)
    cpsr = guest["cpsr"]
    guest.step()
    assert (guest.mode, guest["pc"], guest["lr"]) == (Mode.ABT, 0x0C, VA + 0x400 + 4)
    assert (guest["spsr"], guest["ifsr"]) == (cpsr, 0x07)
    assert (guest["dfsr"], guest["far"]) == (0, 0)


@pytest.mark.parametrize("thumb", [False, True])
def test_a_branch_over_a_bad_page_is_no_fault_and_one_into_it_is(guest, tables, thumb) -> None:
    tables.small(VA, DATA, 3)
    tables.small(VA + 0x2000, DATA + 0x1000, 3)
    tables.enable()
    size = 2 if thumb else 4
    guest.load("b . + 0x400" if thumb else "b . + 0x1004", DATA + 0x1000 - size, thumb=thumb)
    guest["cpsr"] = SVC_MASKED | (T if thumb else 0)
    guest["pc"] = VA + 0x1000 - size
    guest.step()
    target = VA + 0x1000 - size + (0x400 if thumb else 0x1004)
    assert guest["pc"] == target
    if thumb:
        guest.step()
        assert (guest.mode, guest["lr"], guest["ifsr"]) == (Mode.ABT, target + 4, 0x07)
    else:
        guest.load("mov r0, #9", DATA + 0x1000)
        guest.step()
        assert guest["r0"] == 9


@pytest.mark.parametrize(
    ("ap", "domain_access", "mode", "status"),
    [(1, CLIENT, Mode.USR, 0x0D), (0, CLIENT, Mode.SVC, 0x0D), (3, NO_ACCESS, Mode.SVC, 0x09)],
)
def test_fetches_are_refused_like_reads(guest, tables, ap, domain_access, mode, status) -> None:
    tables.section(VA, RAM, ap, domain=2)
    tables.enable(dacr=CLIENT | domain_access << 4)
    guest["cpsr"] = mode
    guest["pc"] = MAPPED
    guest.step()
    assert (guest.mode, guest["pc"], guest["lr"]) == (Mode.ABT, 0x0C, MAPPED + 4)
    assert guest["ifsr"] == 0x20 | status


def test_user_code_cannot_use_the_privileged_translation_of_a_code_page(guest, tables) -> None:
    tables.section(VA, RAM, 1)
    tables.enable()
    guest.start("mov r0, #1", base=DATA)
    guest["pc"] = MAPPED
    guest.step()
    assert guest["r0"] == 1
    guest["cpsr"] = USER
    guest["pc"] = MAPPED
    guest.step()
    assert (guest.mode, guest["pc"]) == (Mode.ABT, 0x0C)


def test_a_vector_that_cannot_be_fetched_does_not_hang_the_machine(guest, tables) -> None:
    tables.enable()
    guest.put(tables.base, 0)
    guest.cpu.flush_tlbs()
    guest["pc"] = VA
    guest.step(1000)
    assert (guest["pc"], guest.mode, guest["lr"]) == (0x0C, Mode.ABT, 0x0C + 4)


# -- the debugger's view -----------------------------------------------------------------------------


def test_translating_for_a_debugger_changes_nothing_and_names_the_fault(guest, tables) -> None:
    tables.small(VA, DATA, 1, domain=0)
    tables.enable()
    assert guest.cpu.translate(VA + 0xABC) == DATA + 0xABC
    with pytest.raises(
        TranslationFault, match=r"page permission fault \(domain 0\) at virtual address 0x80000010"
    ):
        guest.cpu.translate(VA + 0x10, user=True)
    with pytest.raises(TranslationFault, match="section translation fault"):
        guest.cpu.read_memory(VA + 0x100000, 4)
    assert (guest["dfsr"], guest["far"]) == (0, 0)


def test_a_debugger_reads_and_writes_across_pages_or_not_at_all(guest, tables) -> None:
    tables.small(VA, DATA + 0x1000, 3)
    tables.small(VA + 0x1000, DATA, 3)
    tables.enable()
    guest.cpu.write_memory(VA + 0xFFE, b"abcd")
    assert guest.cpu.read_memory(VA + 0xFFE, 4) == b"abcd"
    assert guest.bus.peek(DATA + 0x1FFE, 2) == b"ab"
    assert guest.bus.peek(DATA, 2) == b"cd"
    with pytest.raises(TranslationFault):
        guest.cpu.write_memory(VA + 0x1FFE, b"wxyz")
    assert guest.cpu.read_memory(VA + 0x1FFE, 2) == b"\0\0"
