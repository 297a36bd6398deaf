"""QEMU's own packets: the mode of single steps, and memory by physical addresses."""

from collections.abc import Iterator

import pytest
from gdb_wire import Wire, wire
from support import RAM_BASE, START, UNMAPPED


@pytest.fixture
def guest() -> Iterator[Wire]:
    with wire() as found:
        yield found


def test_what_is_supported_is_told_and_each_answers(guest) -> None:
    names = guest.client.ask(b"qqemu.Supported").split(b";")
    assert names == [b"sstepbits", b"sstep", b"PhyMemMode"]
    assert all(guest.client.ask(b"qqemu." + name) for name in names)


def test_steps_take_interrupts_or_not(guest) -> None:
    client = guest.client
    assert client.ask(b"qqemu.sstepbits") == b"ENABLE=1,NOIRQ=2"
    assert client.ask(b"qqemu.sstep") == b"0x3"
    client.ask(b"s")
    assert guest.machine.masked_steps == 1
    assert client.ask(b"Qqemu.sstep=0x1") == b"OK"
    assert client.ask(b"qqemu.sstep") == b"0x1"
    client.ask(b"s")
    assert guest.machine.masked_steps == 1
    assert client.ask(b"Qqemu.sstep=3") == b"OK"
    client.ask(b"s")
    assert guest.machine.masked_steps == 2


@pytest.mark.parametrize("packet", [b"=0", b"=7", b"=x", b":1", b"", b"="])
def test_other_step_bits_are_refused(guest, packet) -> None:
    assert guest.client.ask(b"Qqemu.sstep" + packet) == b"E22"
    assert guest.client.ask(b"qqemu.sstep") == b"0x3"


def test_memory_is_physical_for_the_client_that_wants_it(guest) -> None:
    guest.machine.cpu.translate = lambda address: (address - UNMAPPED + RAM_BASE) & 0xFFFFFFFF
    guest.machine.cpu.read_memory = lambda address, length: guest.machine.board.bus.peek(
        guest.machine.cpu.translate(address), length
    )
    client, other = guest.client, guest.connect()
    guest.machine.ram.data[:4] = b"here"
    assert client.ask(b"m%x,4" % UNMAPPED) == b"here".hex().encode()
    assert client.ask(b"m%x,4" % RAM_BASE) == b"E14"
    assert client.ask(b"qqemu.PhyMemMode") == b"0"
    assert client.ask(b"Qqemu.PhyMemMode:1") == b"OK"
    assert client.ask(b"qqemu.PhyMemMode") == b"1"
    assert client.ask(b"m%x,4" % RAM_BASE) == b"here".hex().encode()
    assert client.ask(b"x%x,4" % RAM_BASE) == b"bhere"
    assert client.ask(b"m%x,4" % UNMAPPED) == b"E14"
    end = RAM_BASE + guest.machine.ram.size
    assert client.ask(b"m%x,10" % (end - 4)) == b"00000000"
    assert client.ask(b"M%x,4:41424344" % START) == b"OK"
    assert bytes(guest.machine.ram.data[START - RAM_BASE :][:4]) == b"ABCD"
    assert client.ask(b"X%x,2:ab" % UNMAPPED) == b"E14"
    assert other.ask(b"qqemu.PhyMemMode") == b"0"
    assert other.ask(b"m%x,4" % UNMAPPED) == b"here".hex().encode()
    assert client.ask(b"Qqemu.PhyMemMode:0") == b"OK"
    assert client.ask(b"m%x,4" % UNMAPPED) == b"here".hex().encode()
    assert client.ask(b"Qqemu.PhyMemMode:2") == b"E22"
