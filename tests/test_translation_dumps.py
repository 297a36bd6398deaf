"""``info mmu``, ``info tlb``, ``info mem`` and ``walk``: the page tables as the hardware walks them."""

from __future__ import annotations

import random

import pytest

from dbgemu.debug.session import DebugSession
from dbgemu.debug.translation import Kind, Regime, joined, mappings, read_tables, walk
from dbgemu.engine.cpu import TranslationFault
from dbgemu.machine import Machine
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.monitor import Monitor
from dbgemu.target.mini2440 import Mini2440

TABLE, COARSE, FINE = 0x30004000, 0x30001000, 0x30002000
CLIENT, MANAGER = 1, 3
MMU, SYSTEM, ROM = 0x1, 0x100, 0x200


@pytest.fixture(scope="module")
def monitor() -> Monitor:
    return Monitor(DebugSession(Machine(Mini2440(), warp=True)))


def poke(monitor: Monitor, address: int, word: int) -> None:
    monitor.session.machine.board.bus.poke(address, word.to_bytes(4, "little"))


@pytest.fixture
def mapped(monitor: Monitor) -> Monitor:
    """A section, a large page, a small page with four permissions, and a tiny page."""
    board, cpu = monitor.session.machine.board, monitor.session.cpu
    board.bus.poke(TABLE, bytes(0x4000))
    board.bus.poke(COARSE, bytes(0x400))
    board.bus.poke(FINE, bytes(0x1000))
    poke(monitor, TABLE, 0x30000C0E)  # a section: AP 3, domain 0, C and B
    poke(monitor, TABLE + 4 * 0x001, COARSE | 1 << 5 | 1)
    poke(monitor, TABLE + 4 * 0x002, FINE | 2 << 5 | 3)
    for index in range(16):
        poke(monitor, COARSE + 4 * index, 0x30010AA1 | 0x4)
    poke(monitor, COARSE + 4 * 16, 0x30020000 | 0xE4 << 4 | 2)
    poke(monitor, FINE, 0x30030400 | 3 << 4 | 3)
    for name, value in (("ttbr", TABLE), ("dacr", 0x15), ("sctlr", MMU), ("fcseidr", 0)):
        cpu.write_register(name, value)
    return monitor


def test_the_ranges_are_joined_and_a_page_of_several_permissions_is_split(mapped: Monitor) -> None:
    data = mapped.run("info tlb").data
    rows = [
        (row["virtual"], row["physical"], row["size"], row["kind"], row["domain"], row["ap"]) for row in data
    ]
    assert rows == [
        (0x00000000, 0x30000000, 0x100000, "section", 0, 3),
        (0x00100000, 0x30010000, 0x10000, "large page", 1, 2),
        (0x00110000, 0x30020000, 0x400, "small page", 1, 0),
        (0x00110400, 0x30020400, 0x400, "small page", 1, 1),
        (0x00110800, 0x30020800, 0x400, "small page", 1, 2),
        (0x00110C00, 0x30020C00, 0x400, "small page", 1, 3),
        (0x00200000, 0x30030400, 0x400, "tiny page", 2, 3),
    ]
    assert [(row["privileged"], row["user"]) for row in data[2:6]] == [
        ("--", "--"),
        ("rw", "--"),
        ("rw", "r-"),
        ("rw", "rw"),
    ]


def test_info_mem_joins_what_is_allowed_alike_wherever_it_leads(mapped: Monitor) -> None:
    assert mapped.run("info mem").text.splitlines() == [
        "00000000-00100000 00100000 svc rw usr rw",
        "00100000-00110000 00010000 svc rw usr r-",
        "00110000-00110400 00000400 svc -- usr --",
        "00110400-00110800 00000400 svc rw usr --",
        "00110800-00110c00 00000400 svc rw usr r-",
        "00110c00-00111000 00000400 svc rw usr rw",
        "00200000-00200400 00000400 svc rw usr rw",
    ]


def test_a_walk_shows_each_step_and_what_answers_there(mapped: Monitor) -> None:
    assert mapped.run("walk 0x110804").text.splitlines() == [
        "virtual 0x00110804",
        "  table at 0x30004000",
        "  level 1: [0x30004004] = 0x30001021: coarse table at 0x30001000, domain 1",
        "  level 2: [0x30001040] = 0x30020e42: small page at 0x30020800, AP 0 1 2 3, "
        "not cached, not buffered",
        "  domain 1: client",
        "  privileged: read and write; user: read only",
        "physical 0x30020804: sdram+0x20804",
    ]


def test_a_walk_that_fails_says_where(mapped: Monitor) -> None:
    assert mapped.run("walk 0x300000").text.splitlines()[-2:] == [
        "  level 1: [0x3000400c] = 0x00000000: fault: nothing is mapped",
        "section translation fault",
    ]
    assert mapped.run("walk 0x120000").data["fault"] == "page translation fault"


def test_another_table_can_be_named(mapped: Monitor) -> None:
    other = 0x30008000
    mapped.session.machine.board.bus.poke(other, bytes(0x4000))
    poke(mapped, other + 4 * 0xC00, 0x50000C02)
    found = mapped.run(f"walk 0xc0000020 ttb={other}").data
    assert (found["physical"], found["place"]) == (0x50000020, "uart0.UTXH")
    assert [row["physical"] for row in mapped.run(f"info tlb ttb={other}").data] == [0x50000000]
    with pytest.raises(CommandError, match="0x30008004 is no table's address"):
        mapped.run("walk 0 ttb=0x30008004")


def test_the_process_of_fcse_is_taken_into_account(mapped: Monitor) -> None:
    mapped.session.cpu.write_register("fcseidr", 0x02000000)
    found = mapped.run("walk 0x1234").data
    assert (found["modified"], found["physical"]) == (0x02001234, None)


def test_with_the_mmu_off_addresses_are_physical(mapped: Monitor) -> None:
    mapped.session.cpu.write_register("sctlr", 0)
    assert mapped.run("info tlb").text == "the MMU is off: virtual addresses are physical ones"
    assert mapped.run("walk 0x4e000004").data["place"] == "nand.NFCONT"


def test_a_table_where_nothing_is_makes_one_sentence(mapped: Monitor) -> None:
    mapped.session.cpu.write_register("ttbr", 0xE0000000)
    with pytest.raises(CommandError, match="nothing answers at physical address 0xe0000000"):
        mapped.run("info tlb")
    assert "the table cannot be read" in mapped.run("walk 0").text


def test_info_mmu_names_every_bit_and_domain(mapped: Monitor) -> None:
    mapped.session.cpu.write_register("dacr", 0x0000001D)
    report = mapped.run("info mmu")
    assert "  M   1  MMU: on" in report.text
    assert report.data["domains"][:4] == ["client", "manager", "client", "no access"]


@pytest.mark.parametrize("seed", range(4))
def test_random_tables_agree_with_the_engines_walk(monitor: Monitor, seed: int) -> None:
    source = random.Random(seed)
    board, cpu = monitor.session.machine.board, monitor.session.cpu
    words = [0] * 4096
    for index in range(64):
        kind = source.randrange(4)
        base = {0: 0, 1: COARSE | 1, 2: source.getrandbits(12) << 20 | 2, 3: FINE | 3}[kind]
        words[index] = base | source.randrange(16) << 5
        if kind == 2:
            words[index] |= source.randrange(4) << 10
    board.bus.poke(TABLE, b"".join(word.to_bytes(4, "little") for word in words))
    for table, count in ((COARSE, 256), (FINE, 1024)):
        board.bus.poke(table, source.randbytes(4 * count))
    cpu.write_register("ttbr", TABLE)
    cpu.write_register("fcseidr", 0)
    for control in (MMU, MMU | SYSTEM, MMU | ROM, MMU | SYSTEM | ROM):
        cpu.write_register("sctlr", control)
        cpu.write_register("dacr", source.getrandbits(32))
        regime = Regime.of(cpu)
        ranges = list(joined(mappings(read_tables(board.bus.peek, TABLE))))
        for _ in range(500):
            address = source.getrandbits(26)
            found = walk(board.bus, regime, address)
            for user, allowed in enumerate(found.allowed):
                expected: int | None
                try:
                    expected = cpu.translate(address, user=bool(user))
                except TranslationFault:
                    expected = None
                assert (found.physical if allowed != "--" else None) == expected, hex(address)
            home = [each for each in ranges if each.virtual <= address < each.virtual + each.size]
            physical = [each.physical + address - each.virtual for each in home]
            assert physical == ([] if found.physical is None else [found.physical])


def test_kinds_have_the_names_of_the_manual() -> None:
    assert [kind.value for kind in Kind] == ["section", "large page", "small page", "tiny page"]
