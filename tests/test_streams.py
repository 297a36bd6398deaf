"""Streams: data registers that the engine serves from a buffer, with nothing that tells it from asking."""

from __future__ import annotations

import random
from typing import Any

import pytest

from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.translator import Translator
from dbgemu.target.arm.state import StopCode
from dbgemu.target.bus import Bus
from dbgemu.target.device import Device
from dbgemu.target.registers import Register
from dbgemu.target.stream import HeldRegister, StreamPort
from tests.arm_programs import CODE, DATA, Guest

BASE = 0x5A000000
DATA_PORT, STATUS, PLAIN = BASE + 0x10, BASE + 0x14, BASE + 0x18
CAPACITY = 24


class Fifo(Device):
    """Reads of DATA give bytes that count up; what is written is kept. STATUS: how often it was written."""

    DATA = Register(0x10, sized=True, volatile=True)
    STATUS = Register(0x14)
    PLAIN = Register(0x18)

    def __init__(self, *, writing: bool = False) -> None:
        super().__init__("fifo")
        self.stream, self.held = StreamPort(CAPACITY), HeldRegister()
        self.writing = writing
        self.next = 0
        self.written = bytearray()
        #: accesses that came to the handlers
        self.calls = 0
        self.status_calls = 0
        self.held.hold(0)
        self._open()

    def _open(self) -> None:
        if self.writing:
            self.stream.accept(CAPACITY)
        else:
            self.stream.offer(bytes((self.next + k) & 0xFF for k in range(CAPACITY)))

    def settle(self) -> None:
        if self.writing:
            self.written += self.stream.received()
        else:
            self.next += self.stream.withdraw()

    @DATA.read
    def _read(self, size: int) -> int:
        self.calls += 1
        self.settle()
        value = bytes((self.next + k) & 0xFF for k in range(size))
        self.next += size
        self._open()
        return int.from_bytes(value, "little")

    @DATA.peek
    def _peek(self) -> int:
        first = self.next + (0 if self.writing else self.stream.position)
        return int.from_bytes(bytes((first + k) & 0xFF for k in range(4)), "little")

    @DATA.write
    def _write(self, value: int, size: int) -> None:
        self.calls += 1
        self.settle()
        self.written += value.to_bytes(size, "little")
        self._open()

    @STATUS.read
    def _read_status(self) -> int:
        self.status_calls += 1
        return self.STATUS

    @STATUS.write
    def _write_status(self, value: int) -> None:
        self.STATUS = value
        self.held.hold(value)


def make(*, streams: bool = True, writing: bool = False) -> tuple[Guest, Fifo]:
    fifo = Fifo(writing=writing)
    guest = Guest((BASE, fifo))
    if streams:
        guest.bus.register_stream(DATA_PORT, fifo.stream)
        guest.bus.register_stream(STATUS, fifo.held)
    return guest, fifo


# -- the port ------------------------------------------------------------------------------------


def test_an_offer_is_taken_from_its_start_and_withdrawing_tells_how_much_was() -> None:
    port = StreamPort(8)
    port.offer(b"abcdef")
    assert (port.position, port.read_limit, port.write_limit) == (0, 6, 0)
    port.position = 4
    assert (port.withdraw(), port.read_limit, port.position) == (4, 0, 0)


def test_what_was_received_is_given_once() -> None:
    port = StreamPort(8)
    port.accept(5)
    port.buffer[:3] = b"xyz"
    port.position = 3
    assert (port.received(), port.received()) == (b"xyz", b"")


def test_more_than_the_capacity_is_refused() -> None:
    port = StreamPort(4)
    with pytest.raises(ValueError, match="5 bytes do not fit into a buffer of 4"):
        port.offer(b"12345")
    with pytest.raises(ValueError, match="limit 5 is not within a buffer of 4 bytes"):
        port.accept(5)


def test_a_register_has_one_port() -> None:
    bus = Bus()
    bus.register_stream(BASE, StreamPort(4))
    with pytest.raises(ValueError, match="a port for the register at 0x5a000000 already"):
        bus.register_stream(BASE, HeldRegister())


# -- served by the engine ------------------------------------------------------------------------


def test_reads_are_served_without_the_device_until_the_limit() -> None:
    guest, fifo = make()
    guest.start("ldr r0, [r4]; ldrh r1, [r4]; ldrb r2, [r4]; ldrb r3, [r4]", r4=DATA_PORT)
    guest.run()
    assert [guest[name] for name in ("r0", "r1", "r2", "r3")] == [0x03020100, 0x0504, 6, 7]
    assert (fifo.calls, fifo.stream.position) == (0, 8)


def test_writes_are_collected_without_the_device_until_the_limit() -> None:
    guest, fifo = make(writing=True)
    guest.start("str r0, [r4]; strh r0, [r4]; strb r0, [r4]", r4=DATA_PORT, r0=0x44332211)
    guest.run()
    assert fifo.calls == 0
    fifo.settle()
    assert fifo.written == bytes.fromhex("11223344 1122 11")


def test_an_access_over_the_limit_comes_to_the_handler_as_a_whole() -> None:
    guest, fifo = make()
    fifo.stream.offer(b"\0\1\2\3\4\5")
    guest.start("ldr r0, [r4]; ldr r1, [r4]", r4=DATA_PORT)
    guest.run()
    assert (guest["r1"], fifo.calls) == (0x07060504, 1)


def test_a_disabled_port_and_other_sizes_come_to_the_handler() -> None:
    guest, fifo = make()
    fifo.stream.enabled = False
    guest.start("ldr r0, [r4]", r4=DATA_PORT)
    guest.run()
    assert (fifo.calls, fifo.stream.enabled) == (1, False)
    fifo = Fifo()
    fifo.stream = StreamPort(CAPACITY, sizes=4)
    fifo.stream.offer(bytes(range(CAPACITY)))
    guest = Guest((BASE, fifo))
    guest.bus.register_stream(DATA_PORT, fifo.stream)
    guest.start("ldr r0, [r4]; ldrb r1, [r4]", r4=DATA_PORT)
    guest.run()
    assert (guest["r1"], fifo.calls) == (4, 1)


def test_a_held_register_reads_without_the_device_what_was_written_last() -> None:
    guest, fifo = make()
    program = "ldr r0, [r4]; str r5, [r4]; ldr r1, [r4]; ldrb r2, [r4]"
    guest.start(program, r4=STATUS, r5=0x12345678)
    guest.run()
    assert [guest[name] for name in ("r0", "r1", "r2")] == [0, 0x12345678, 0x78]
    assert fifo.status_calls == 0
    fifo.held.release()
    guest.start("ldr r0, [r4]", r4=STATUS)
    guest.run()
    assert (guest["r0"], fifo.status_calls) == (0x12345678, 1)


def test_a_peek_shows_the_next_bytes_and_takes_none() -> None:
    guest, fifo = make()
    guest.start("ldr r0, [r4]", r4=DATA_PORT)
    guest.run()
    assert guest.word(DATA_PORT) == guest.word(DATA_PORT) == 0x07060504
    assert fifo.stream.position == 4


def test_a_watchpoint_on_a_streamed_register_stops_in_front_of_each_access() -> None:
    guest, fifo = make()
    guest.start("ldr r0, [r4]; ldr r1, [r4]", r4=DATA_PORT)
    guest.cpu.add_watchpoint(DATA_PORT, 4, read=True, write=False)
    assert guest.step(10) is StopCode.WATCHPOINT
    assert (fifo.stream.position, guest["pc"]) == (0, CODE)
    assert guest.step(10) is StopCode.WATCHPOINT
    assert (fifo.stream.position, guest["r0"], guest["pc"]) == (4, 0x03020100, CODE + 4)


# -- nothing tells the difference ------------------------------------------------------------------


def _random_program(seed: int) -> tuple[str, bool]:
    """A loop with accesses of all kinds to the port, to memory, and to other registers of the device."""
    random_ = random.Random(seed)
    writing = bool(random_.randrange(2))
    reads = ["ldr r0, [r4]", "ldrb r1, [r4]", "ldrh r2, [r4]", "ldrsb r1, [r4]", "ldm r4, {r3}"]
    reads += ["swp r0, r3, [r4]", "ldr r0, [r5]", "ldm r4, {r0, r1}", "ldr r2, [r4], #0"]
    writes = ["str r0, [r4]", "strb r1, [r4]", "strh r2, [r4]", "stm r4, {r3}", "str r7, [r5]"]
    writes += ["swpb r0, r3, [r4]", "stm r4, {r0, r1}", "ldr r0, [r5]"]
    both = ["add r7, r7, r0", "str r2, [r6], #4", "eor r3, r3, r1, ror #7", "ldr r2, [r6]"]
    lines = random_.choices([*(writes if writing else reads), *both], k=12)
    return "\n".join(["again:", *lines, "subs r8, r8, #1", "bne again"]), writing


def _outcome(seed: int, *, streams: bool, translated: bool) -> tuple[Any, ...]:
    source, writing = _random_program(seed)
    guest, fifo = make(streams=streams, writing=writing)
    translator = None
    if translated:
        translator = Translator(guest.cpu, AtOnce(0), threshold=2, patience=1, batch=1)
    guest.start(source, r4=DATA_PORT, r5=STATUS, r6=DATA, r8=200)
    guest.run()
    if translator is not None:
        assert translator.statistics["installed"]
        translator.close()
    fifo.settle()
    return guest.cpu.save(), bytes(guest.ram.data), fifo.next, bytes(fifo.written), fifo.STATUS, fifo.PLAIN


@pytest.mark.parametrize("seed", range(12))
def test_programs_do_the_same_with_and_without_streams_in_both_tiers(seed: int) -> None:
    expected = _outcome(seed, streams=False, translated=False)
    assert _outcome(seed, streams=True, translated=False) == expected
    assert _outcome(seed, streams=True, translated=True) == expected


def test_translated_code_takes_from_a_stream_without_the_device() -> None:
    guest, fifo = make()
    translator = Translator(guest.cpu, AtOnce(0), threshold=2, patience=1, batch=1)
    guest.start("again: ldrb r0, [r4]; subs r8, r8, #1; bne again", r4=DATA_PORT, r8=2500)
    guest.run()
    translator.close()
    # one of 25 comes to the handler, which gives that byte and lays the next 24 ready
    assert (fifo.calls, guest["r0"]) == (100, 2499 & 0xFF)
