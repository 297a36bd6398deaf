"""Declared registers on the bus: dispatch, sizes, side effects, guest errors."""

from __future__ import annotations

from typing import Any

import pytest

from dbgemu.target.bus import Bus, BusError, Region
from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.guest_log import GuestError, GuestLog
from dbgemu.target.memory import Memory
from dbgemu.target.registers import Field, Register, reads, writes
from dbgemu.target.stream import HeldRegister

BASE = 0x50000000


class Example(Device):
    """One register of each kind."""

    PLAIN = Register(0x00, reset=0x12345678)
    HALF = Register(0x04, width=16, writable=0x00FF)
    STATUS = Register(
        0x08,
        access="ro",
        reset=3,
        fields=(Field("READY", 0), Field("MODE", 2, 1, values={1: "fast"})),
    )
    FIFO = Register(0x0C, width=8, volatile=True)
    COMMAND = Register(0x10, access="wo", width=8)
    DATA = Register(0x14, sized=True)
    ONE = Register(0x18)
    TWO = Register(0x1C)
    STATE = ("queue", "timer")

    def __init__(self, log: GuestLog | None = None) -> None:
        self.queue = [1, 2, 3]
        self.calls: list[Any] = []
        self.timer = Timer(VirtualClock(), lambda: None)
        super().__init__("example", log)

    @FIFO.read
    def _pop(self) -> int:
        return self.queue.pop(0) if self.queue else 0

    @FIFO.peek
    def _peek(self) -> int:
        return self.queue[0] if self.queue else 0

    @FIFO.write
    def _push(self, value: int) -> None:
        self.queue.append(value)

    @COMMAND.write
    def _command(self, value: int) -> None:
        self.calls.append(value)

    @DATA.read
    def _data(self, size: int) -> int:
        self.calls.append(("read", size))
        return 0xAABBCCDD

    @DATA.write
    def _set_data(self, value: int, size: int) -> None:
        self.calls.append((value, size))

    @reads(ONE, TWO)
    def _which(self, register: Register) -> int:
        return register.offset

    @writes(ONE, TWO)
    def _written(self, register: Register, value: int) -> None:
        self.calls.append((register.name, value))


class Board:
    def __init__(self) -> None:
        self.log = GuestLog()
        self.errors: list[GuestError] = []
        self.log.listeners.append(self.errors.append)
        self.bus = Bus(self.log)
        self.device = Example(self.log)
        self.bus.map(BASE, self.device)


@pytest.fixture
def board() -> Board:
    return Board()


def read(board: Board, offset: int, size: int = 4) -> int:
    return board.bus.read(BASE + offset, size) & (1 << 8 * size) - 1


def test_a_plain_register_reads_its_reset_value_and_holds_what_is_written(board: Board) -> None:
    assert read(board, 0) == 0x12345678
    board.bus.write(BASE, 4, 0xCAFEF00D)
    assert read(board, 0) == board.device.PLAIN == 0xCAFEF00D
    board.device.reset()
    assert read(board, 0) == 0x12345678


def test_a_narrow_read_gives_its_lane_and_is_a_guest_error(board: Board) -> None:
    assert [read(board, offset, 1) for offset in range(4)] == [0x78, 0x56, 0x34, 0x12]
    assert read(board, 2, 2) == 0x1234
    assert len(board.errors) == 5
    assert str(board.errors[0]) == (
        "example: read of 1 bytes at offset 0x0: the register PLAIN has 32 bits at offset 0x0"
    )


@pytest.mark.parametrize("offset", range(4))
def test_a_byte_is_written_to_all_lanes_of_a_register(board: Board, offset: int) -> None:
    board.bus.write(BASE + offset, 1, 0xEE)
    assert read(board, 0) == 0xEEEEEEEE
    assert [error.message for error in board.errors] == [
        f"write of 0xee (1 bytes) at offset 0x{offset:x}: the register PLAIN has 32 bits at offset 0x0"
    ]


@pytest.mark.parametrize("offset", [0, 2])
def test_a_halfword_is_written_to_both_halves_of_a_register(board: Board, offset: int) -> None:
    board.bus.write(BASE + offset, 2, 0x1122)
    assert read(board, 0) == 0x11221122
    assert len(board.errors) == 1


def test_a_byte_beside_a_byte_register_writes_it_too(board: Board) -> None:
    board.bus.write(BASE + 0x13, 1, 7)
    assert board.device.calls == [7]
    assert board.errors[0].message == (
        "write of 0x7 (1 bytes) at offset 0x13: the register COMMAND has 8 bits at offset 0x10"
    )


def test_accesses_as_wide_as_the_register_or_wider_are_no_errors(board: Board) -> None:
    for size in (1, 2, 4):
        board.bus.write(BASE + 0x10, size, 5)
        read(board, 0x0C, size)
    board.bus.write(BASE + 4, 2, 0xFFFF)
    assert not board.errors


def test_an_unaligned_access_is_a_guest_error_and_goes_to_the_aligned_address(board: Board) -> None:
    assert read(board, 1) == 0x12345678
    board.bus.write(BASE + 3, 4, 0xCAFEF00D)
    assert read(board, 0) == 0xCAFEF00D
    board.bus.write(BASE + 5, 2, 9)
    assert read(board, 4) == 9
    board.bus.read(0x60000002, 4)
    assert [str(error) for error in board.errors] == [
        "example: unaligned read of 4 bytes at 0x50000001",
        "example: unaligned write of 0xcafef00d (4 bytes) at 0x50000003",
        "example: unaligned write of 0x9 (2 bytes) at 0x50000005",
        "bus: unaligned read of 4 bytes at 0x60000002",
        "bus: read of 4 bytes at 0x60000000, where nothing is",
    ]


def test_a_gated_device_holds_its_registers_and_has_no_side_effects(board: Board) -> None:
    held = HeldRegister()
    board.bus.register_stream(BASE, held)
    board.bus.gate(board.device, True)
    board.bus.gate(board.device, True)
    board.bus.write(BASE, 4, 1)
    assert [read(board, 0), read(board, 0x0C), read(board, 0x0C)] == [0x12345678, 1, 1]
    assert read(board, 0x14, 4) == 0
    assert board.device.calls == []
    assert [error.message for error in board.errors[:2]] == [
        "write of 0x1 (4 bytes) at offset 0x0 while CLKCON gates its clock",
        "read of 4 bytes at offset 0x0 while CLKCON gates its clock",
    ]
    assert (held.gated, held.enabled, len(board.errors)) == (True, True, 5)
    board.bus.map(0x30000000, Memory("ram", 4096))
    board.bus.unmap(next(board.bus.regions()))  # makes the dispatch anew
    assert read(board, 0x0C) == 1
    board.bus.gate(board.device, False)
    board.bus.write(BASE, 4, 2)
    assert [read(board, 0), read(board, 0x0C), read(board, 0x0C)] == [2, 1, 2]
    assert (held.gated, len(board.errors)) == (False, 6)


def test_what_is_not_on_the_bus_cannot_be_gated() -> None:
    with pytest.raises(ValueError, match="example is not on the bus"):
        Bus().gate(Example(), True)


def test_bits_that_are_not_writable_stay(board: Board) -> None:
    board.bus.write(BASE + 4, 4, 0xFFFFFFFF)
    assert read(board, 4) == 0xFF


def test_reading_a_fifo_pops_it_but_peek_does_not(board: Board) -> None:
    assert board.bus.peek(BASE + 0x0C, 4) == b"\x01\0\0\0"
    assert [value.value for value in board.device.dump() if value.register.name == "FIFO"] == [1]
    assert [read(board, 0x0C) for _ in range(4)] == [1, 2, 3, 0]


def test_one_handler_serves_several_registers(board: Board) -> None:
    assert (read(board, 0x18), read(board, 0x1C)) == (0x18, 0x1C)
    board.bus.write(BASE + 0x1C, 4, 7)
    assert board.device.calls == [("TWO", 7)]


def test_a_sized_register_is_told_the_size(board: Board) -> None:
    assert read(board, 0x14, 2) == 0xCCDD
    board.bus.write(BASE + 0x14, 1, 5)
    assert board.device.calls == [("read", 2), (5, 1)]
    board.bus.peek(BASE + 0x14, 4)
    assert len(board.device.calls) == 2


def test_wrong_accesses_are_guest_errors_and_change_nothing(board: Board) -> None:
    board.log.current_pc = lambda: 0x30008000
    board.bus.write(BASE + 8, 4, 0)
    assert read(board, 8) == 3
    assert read(board, 0x10) == 0
    assert read(board, 0x40) == 0
    board.bus.write(BASE + 0x40, 2, 9)
    board.bus.read(0x60000000, 4)
    board.bus.write(0x60000000, 1, 1)
    assert [str(error) for error in board.errors] == [
        "example: write of 0x0 to the read-only register STATUS at pc 0x30008000",
        "example: read of the write-only register COMMAND at pc 0x30008000",
        "example: read of 4 bytes at offset 0x40, where no register is at pc 0x30008000",
        "example: write of 0x9 (2 bytes) at offset 0x40, where no register is at pc 0x30008000",
        "bus: read of 4 bytes at 0x60000000, where nothing is at pc 0x30008000",
        "bus: write of 0x1 (1 bytes) at 0x60000000, where nothing is at pc 0x30008000",
    ]
    assert board.log.count == 6


def test_fields_are_decoded(board: Board) -> None:
    assert Example.STATUS.describe(3) == "MODE=0x1 (fast) READY=0x1"
    assert Example.STATUS["MODE"].put(0, 3) == 6
    with pytest.raises(KeyError, match="register STATUS has no field 'SPEED'"):
        Example.STATUS["SPEED"]


def test_a_saved_state_does_not_change_with_the_device_and_comes_back(board: Board) -> None:
    board.device.timer.start_at(55)
    saved = board.device.save()
    assert "FIFO" not in saved
    board.device.queue.append(9)
    board.device.PLAIN = 1
    board.device.timer.cancel()
    board.device.load(saved)
    assert board.device.queue == [1, 2, 3]
    assert board.device.PLAIN == 0x12345678
    assert board.device.timer.deadline == 55


def test_regions_do_not_overlap(board: Board) -> None:
    with pytest.raises(ValueError, match="ram at 0x50000000 would overlap example at 0x50000000"):
        board.bus.map(BASE, Memory("ram", 4096))


def test_memory_is_peeked_and_poked_across_regions(board: Board) -> None:
    for number in range(2):
        board.bus.map(0x30000000 + 4096 * number, Memory(f"ram{number}", 4096))
    board.bus.poke(0x30000FFE, b"abcd")
    assert board.bus.peek(0x30000FFE, 4) == b"abcd"
    assert board.bus.read(0x30001000, 2) == int.from_bytes(b"cd", "little")


def test_nothing_is_poked_where_a_part_has_no_place(board: Board) -> None:
    ram = Memory("ram", 4096)
    board.bus.map(0x30000000, ram)
    with pytest.raises(BusError, match="nothing answers at physical address 0x30001000"):
        board.bus.poke(0x30000FFE, b"abcd")
    assert ram.read(4094, 2) == 0
    with pytest.raises(BusError):
        board.bus.peek(0x30000FFE, 4)


def test_the_guest_cannot_write_read_only_memory_but_a_debugger_can(board: Board) -> None:
    board.bus.map(0, Memory("rom", 4096), writable=False)
    board.bus.write(0, 4, 5)
    assert board.bus.read(0, 4) == 0
    assert board.errors[-1].message == "write of 0x5 to read-only 0x00000000"
    board.bus.poke(0, b"\x07")
    assert board.bus.read(0, 4) == 7


def test_writes_to_a_flash_memory_go_to_its_chip(board: Board) -> None:
    memory = Memory("array", 4096)
    region = board.bus.map(0, memory, writes_to=board.device, size=4096)
    board.bus.write(0x10, 1, 0xAA)
    assert board.device.calls == [0xAA]
    changes: list[int] = []
    board.bus.on_change.append(lambda: changes.append(1))
    board.bus.replace(region, Region(0, 4096, board.device))
    assert board.bus.read(0, 4) == 0x12345678
    assert changes == [1]


def test_memory_comes_in_whole_pages() -> None:
    with pytest.raises(ValueError, match="memory 'odd' of 100 bytes: not a multiple of 4096"):
        Memory("odd", 100)
