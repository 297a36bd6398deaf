"""One register group a device in GDB's target description."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from gdb_wire import Wire, fetch_xml, wire
from real_gdb import compile_program, debugged, machine_with, needs_gcc, needs_gdb

from dbgemu.machine import Machine
from dbgemu.target.mini2440 import Mini2440


@pytest.fixture(scope="module")
def board() -> Machine:
    return Machine(Mini2440())


@pytest.fixture
def guest(board: Machine) -> Iterator[Wire]:
    board.reset()
    with wire(board) as found:
        yield found


@pytest.fixture
def numbers(guest: Wire) -> dict[str, int]:
    return {reg.get("name") or "": int(reg.get("regnum") or "") for reg in registers(guest)}


def registers(guest: Wire) -> list[ElementTree.Element]:
    return list(fetch_xml(guest.client, "features", "target.xml").iter("reg"))


def test_every_register_of_every_device_is_there_under_a_name_of_its_own(guest, board) -> None:
    found = registers(guest)
    names = [reg.get("name") for reg in found]
    assert len(set(names)) == len(names)
    assert {"nand_NFCONF", "uart0_ULCON", "uart2_ULCON", "intc_SRCPND", "rtc_BCDSEC"} <= set(names)
    on_bus = {region.target.name for region in board.board.bus.regions() if _registers_of(region.target)}
    assert {reg.get("group") for reg in found} == {None, "banked", "cp15"} | on_bus


def _registers_of(target: object) -> object:
    return getattr(target, "registers", None)


def test_a_read_is_a_peek_and_a_write_is_what_the_cpu_does(guest, board, numbers) -> None:
    uart = board.board.uarts[0]
    uart.receive(b"abc")
    before = uart.save()
    for name in ("uart0_URXH", "uart0_UERSTAT", "uart0_UFSTAT"):
        assert re.fullmatch(rb"([0-9a-f]{2}){1,4}", guest.client.ask(b"p%x" % numbers[name]))
    assert uart.save() == before
    assert guest.client.ask(b"P%x=3412" % numbers["uart0_UBRDIV"]) == b"OK"
    assert uart.UBRDIV == 0x1234
    board.board.intc.source("INT_TIMER0").pulse()
    assert guest.client.ask(b"p%x" % numbers["intc_SRCPND"]) == b"00040000"
    # a pending bit is cleared by writing 1: a side effect of the CPU's write
    assert guest.client.ask(b"P%x=00040000" % numbers["intc_SRCPND"]) == b"OK"
    assert guest.client.ask(b"p%x" % numbers["intc_SRCPND"]) == b"00000000"


def test_what_cannot_be_written_is_one_sentence(guest, numbers) -> None:
    client = guest.connect("error-message+")
    number = numbers["uart0_UTRSTAT"]
    width = len(client.ask(b"p%x" % number))
    refused = client.ask(b"P%x=%b" % (number, b"0" * width))
    assert refused == b"E.register uart0_UTRSTAT is read-only"
    assert client.ask(b"P%x=00" % numbers["intc_INTMSK"]) == b"E.register intc_INTMSK has 4 bytes, not 1"
    last = max(numbers.values())
    assert client.ask(b"p%x" % (last + 1)) == b"E.there is no register number %d" % (last + 1)


def test_registers_are_read_while_the_guest_runs(guest, numbers) -> None:
    guest.machine.cpu.write_register("pc", 0x30000000)
    guest.machine.board.sdram.write(0, 4, 0xEAFFFFFE)  # b .
    other = guest.connect()
    other.send(b"c")
    assert guest.client.ask(b"p%x" % numbers["intc_INTMSK"]) == b"ffffffff"
    assert guest.session.running


def test_the_core_packet_stays_small(guest) -> None:
    assert len(guest.client.ask(b"g")) == 17 * 8


_SOURCE = """
__attribute__((naked)) void _start(void) { asm("ldr sp, =0x30200000; b main"); }
int twice(int x) { return 2 * x; }
int main(void) { for (;;) twice(3); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("registers"), _SOURCE)


@needs_gdb
@needs_gcc
def test_gdb_lists_a_device_and_keeps_plain_info_registers_short(program) -> None:
    machine = machine_with(program)
    with debugged(machine, program) as (gdb, _, _):
        plain = gdb.execute("info registers")
        assert "cpsr" in plain
        assert "nand_" not in plain
        assert len(plain.splitlines()) < 80
        listed = gdb.execute("info registers nand")
        assert {line.split()[0].partition("_")[0] for line in listed.splitlines()} == {"nand"}
        assert f"nand_NFCONF {{{machine.board.nand.NFCONF:#x}}}" in re.sub(" +", " ", listed)
        gdb.execute("set $uart1_UBRDIV[0] = 0x35")
        assert machine.board.uarts[1].UBRDIV == 0x35
        assert gdb.value("$uart1_UBRDIV[0]") == 0x35
        assert "uart1_UTRSTAT" in gdb.execute("set $uart1_UTRSTAT[0] = 1", fails=True)
        everything = gdb.execute("info all-registers")
        assert "rtc_BCDSEC" in everything
        assert "uart2_ULCON" in everything
        gdb.execute("tbreak main")
        gdb.run("continue")
        before = {name: device.save() for name, device in machine.board.devices.items()}
        assert gdb.value("twice(21)") == 42
        after = {name: device.save() for name, device in machine.board.devices.items()}
        assert after == before
