"""Memory searched and checked on the server's side: qSearch:memory and qCRC."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from gdb_wire import Wire, wire
from real_gdb import compile_program, debugged, machine_with, needs_gcc, needs_gdb
from support import RAM_BASE, UNMAPPED

from dbgemu.gdbstub.framing import escape
from dbgemu.machine import Machine
from dbgemu.target.mini2440 import Mini2440


@pytest.fixture
def guest() -> Iterator[Wire]:
    with wire() as found:
        yield found


def search(guest: Wire, address: int, length: int, pattern: bytes) -> bytes:
    return guest.client.ask(b"qSearch:memory:%x;%x;%b" % (address, length, escape(pattern)))


@pytest.mark.parametrize("offset", [0, 1, (1 << 18) - 3, (1 << 18) - 1, 1 << 18, 0x7FFFA])
def test_a_pattern_is_found_wherever_it_lies(guest, offset) -> None:
    pattern = b"#$}*;\0x"
    guest.machine.ram.data[offset : offset + len(pattern)] = pattern
    assert search(guest, RAM_BASE, 1 << 20, pattern) == b"1,%x" % (RAM_BASE + offset)
    assert search(guest, RAM_BASE, offset + len(pattern), pattern) == b"1,%x" % (RAM_BASE + offset)
    assert search(guest, RAM_BASE, offset + len(pattern) - 1, pattern) == b"0"
    assert search(guest, RAM_BASE + offset + 1, 1000, pattern) == b"0"


def test_the_first_of_several_places_is_told(guest) -> None:
    guest.machine.ram.data[0x300:0x304] = guest.machine.ram.data[0x40300:0x40304] = b"here"
    assert search(guest, RAM_BASE, 1 << 20, b"here") == b"1,%x" % (RAM_BASE + 0x300)
    assert search(guest, RAM_BASE + 0x301, 1 << 19, b"here") == b"1,%x" % (RAM_BASE + 0x40300)


def test_a_search_that_leaves_memory_is_an_error_unless_it_ends_before(guest) -> None:
    end = RAM_BASE + guest.machine.ram.size
    guest.machine.ram.data[-0x50000:-0x4FFFC] = b"here"
    assert search(guest, end - 0x60000, 0x100000, b"here") == b"1,%x" % (end - 0x50000)
    assert search(guest, end - 0x1000, 0x2000, b"here") == b"E14"
    assert search(guest, UNMAPPED, 4, b"x") == b"E14"


@pytest.mark.parametrize("packet", [b"", b":0;4", b":0;4;", b":0,4;x", b":0;;x", b":g;4;x"])
def test_malformed_searches_are_errors(guest, packet) -> None:
    assert guest.client.ask(b"qSearch:memory" + packet) == b"E22"


def reference_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


@pytest.mark.parametrize("length", [0, 1, 3, 1000, (1 << 18) + 5])
def test_the_crc_is_gdbs(guest, length) -> None:
    data = random.Random(length).randbytes(length)
    guest.machine.ram.data[0x100 : 0x100 + length] = data
    assert guest.client.ask(b"qCRC:%x,%x" % (RAM_BASE + 0x100, length)) == b"C%08x" % reference_crc(data)


def test_a_crc_of_what_is_not_there_is_an_error(guest) -> None:
    assert guest.client.ask(b"qCRC:%x,10" % UNMAPPED) == b"E14"
    assert guest.client.ask(b"qCRC:30000000") == b"E22"


def test_searching_device_registers_or_all_of_sdram_changes_nothing() -> None:
    machine = Machine(Mini2440())
    machine.board.uarts[0].UCON = 0x245  # both directions by interrupt or polling
    machine.board.uarts[0].receive(b"abc")
    with wire(machine) as guest:
        before = machine.digest()
        assert search(guest, 0x50000000, 0x100, b"no such bytes") == b"0"
        assert search(guest, 0x30000000, 64 << 20, b"no such bytes") == b"0"
        assert machine.digest() == before


_SOURCE = """
const char text[] = "a needle in SDRAM";
__attribute__((naked)) void _start(void) { asm("b ."); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("search"), _SOURCE)


@needs_gdb
@needs_gcc
def test_gdb_finds_and_compares_sections_without_reading_memory(program) -> None:
    with debugged(machine_with(program), program) as (gdb, session, _):
        gdb.execute("set debug remote 1")
        found = gdb.execute("find 0x30000000, +0x400000, 'n', 'e', 'e', 'd', 'l', 'e'")
        assert "1 pattern found" in found
        assert f"0x{gdb.value('(unsigned) &text') + 2:x}" in found
        assert "Sending packet: $m" not in "".join(gdb.log)
        compared = gdb.execute("compare-sections")
        gdb.execute("set debug remote 0")
        assert "matched" in compared
        assert "MIS-MATCHED" not in compared
        session.memory.write(gdb.value("(unsigned) &text"), b"X")
        assert "MIS-MATCHED" in gdb.execute("compare-sections .rodata")
