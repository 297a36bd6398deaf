"""The NOR flash on the bus: AMD's commands, status bits, CFI as Linux reads it."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbgemu.host.flash_image import open_nor_image
from dbgemu.target.bus import Bus
from dbgemu.target.chips.flash_array import Backing
from dbgemu.target.chips.nor_flash import (
    ARRAY,
    CFI,
    ERASE_WINDOW_NS,
    ERASING,
    FAILED,
    SECTOR_ERASE_NS,
    SECTOR_STARTS,
    SIZE,
    SUSPENDED,
    NorFlash,
)
from dbgemu.target.clock import VirtualClock
from dbgemu.target.guest_log import GuestLog


class Board:
    def __init__(self, base: int = 0, backing: Backing | None = None) -> None:
        self.clock = VirtualClock()
        self.log = GuestLog()
        self.bus = Bus(self.log)
        self.nor = NorFlash(clock=self.clock, backing=backing, log=self.log)
        self.nor.map(self.bus, base)
        self.base = base

    def read(self, word: int) -> int:
        return self.bus.read(self.base + 2 * word, 2) & 0xFFFF

    def write(self, word: int, value: int) -> None:
        self.bus.write(self.base + 2 * word, 2, value)

    def unlock(self, command: int) -> None:
        self.write(0x555, 0xAA)
        self.write(0x2AA, 0x55)
        self.write(0x555, command)

    def program(self, word: int, value: int) -> None:
        self.unlock(0xA0)
        self.write(word, value)

    def start_erase(self, word: int, command: int = 0x30) -> None:
        self.unlock(0x80)
        self.write(0x555, 0xAA)
        self.write(0x2AA, 0x55)
        self.write(word, command)

    def run(self) -> None:
        while (deadline := self.clock.next_deadline()) is not None:
            self.clock.skip_to(deadline)
            self.clock.run_due()

    def array(self, offset: int, length: int) -> bytes:
        return bytes(self.nor.memory.data[offset : offset + length])


def test_reads_in_array_mode_go_straight_to_the_memory() -> None:
    board = Board()
    region = board.bus.find(0x1000)
    assert region is not None
    assert region.target is board.nor.memory
    assert region.writes_to is board.nor
    assert board.read(0x800) == 0xFFFF


def test_autoselect_gives_amd_s_code_and_the_bottom_boot_device() -> None:
    board = Board()
    board.unlock(0x90)
    assert [board.read(word) for word in range(3)] == [0x0001, 0x2249, 0x0000]
    assert board.bus.read(0, 4) == 0x22490001
    board.write(0, 0xF0)
    assert board.read(0) == 0xFFFF
    assert board.log.count == 0


def test_linux_s_cfi_probe_finds_command_set_2_and_the_erase_regions() -> None:
    board = Board()
    board.write(0, 0xF0)
    board.write(0x55, 0x98)
    query = [board.read(word) for word in range(0x10, 0x50)]
    assert bytes(query[:3]) == b"QRY"
    assert query[3] | query[4] << 8 == 2
    extended = (query[5] | query[6] << 8) - 0x10
    assert bytes(query[extended : extended + 5]) == b"PRI10"
    assert query[extended + 6] == 2
    assert 1 << query[0x27 - 0x10] == SIZE
    regions = []
    for region in range(query[0x2C - 0x10]):
        low, high, size, size_high = query[0x2D - 0x10 + 4 * region :][:4]
        regions.append(((high << 8 | low) + 1, (size_high << 8 | size) * 256))
    assert regions == [(1, 16384), (2, 8192), (1, 32768), (31, 65536)]
    assert sum(count * size for count, size in regions) == SIZE
    board.write(0, 0xF0)
    board.write(0, 0xFF)
    assert board.nor.mode == ARRAY


def test_programming_clears_bits_and_is_at_once_readable() -> None:
    board = Board()
    board.program(0x1000, 0x12F4)
    assert board.read(0x1000) == board.read(0x1000) == 0x12F4
    board.program(0x1000, 0x1230)
    assert board.read(0x1000) == 0x1230
    assert board.nor.mode == ARRAY
    assert board.log.count == 0


def test_programming_a_one_over_a_zero_fails_with_dq5_until_the_reset_command() -> None:
    board = Board()
    board.program(0x10, 0x0000)
    board.program(0x10, 0x0080)
    first, second = board.read(0x10), board.read(0x10)
    assert first & 0xA0 == second & 0xA0 == 0x20
    assert first ^ second == 0x40
    board.unlock(0x90)
    assert board.nor.mode == FAILED
    board.write(0, 0xF0)
    assert board.read(0x10) == 0


def test_32_bit_accesses_are_two_of_16_bits() -> None:
    board = Board()
    board.program(0x20, 0x1122)
    board.program(0x21, 0x3344)
    assert board.bus.read(0x40, 4) == 0x33441122
    board.write(0x55, 0x98)
    assert board.bus.read(0x20, 4) == 0x00520051
    assert board.bus.read(0x22, 1) & 0xFF == ord("R")


def test_byte_writes_reach_no_command() -> None:
    board = Board()
    board.bus.write(0xAA, 1, 0x98)
    assert board.nor.mode == ARRAY
    assert board.log.count == 1


@pytest.mark.parametrize("sector", [0, 1, 2, 3, 4, 34])
def test_a_sector_erase_sets_its_sector_only_and_shows_its_progress(sector: int) -> None:
    board = Board()
    board.nor.memory.data[:] = bytes(SIZE)
    start, end = SECTOR_STARTS[sector], SECTOR_STARTS[sector + 1]
    word = start // 2 + 5
    board.start_erase(word)
    seen = [board.read(word) for _ in range(2)]
    assert [value & 0xA8 for value in seen] == [0, 0]
    assert seen[0] ^ seen[1] == 0x44
    elsewhere = (end if end < SIZE else 0) // 2
    assert board.read(elsewhere) ^ board.read(elsewhere) == 0x40
    board.clock.skip(ERASE_WINDOW_NS)
    board.clock.run_due()
    assert board.read(word) & 0xA8 == 0x08
    board.clock.skip(SECTOR_ERASE_NS)
    board.clock.run_due()
    assert board.read(word) == 0xFFFF
    assert board.array(0, SIZE) == bytes(start) + b"\xff" * (end - start) + bytes(SIZE - end)
    assert board.log.count == 0


def test_more_sectors_join_an_erase_within_its_window() -> None:
    board = Board()
    board.nor.memory.data[:] = bytes(SIZE)
    board.start_erase(0x10000 // 2)
    board.write(0x30000 // 2, 0x30)
    board.run()
    erased = [start for start in SECTOR_STARTS[:-1] if board.array(start, 1) == b"\xff"]
    assert erased == [0x10000, 0x30000]


def test_another_command_within_the_window_calls_the_erase_off() -> None:
    board = Board()
    board.nor.memory.data[:] = bytes(SIZE)
    board.start_erase(0x10000 // 2)
    board.write(0, 0xF0)
    board.run()
    assert board.array(0, SIZE) == bytes(SIZE)
    assert board.nor.mode == ARRAY


def test_a_chip_erase_erases_all() -> None:
    board = Board()
    board.nor.memory.data[:] = bytes(SIZE)
    board.start_erase(0x555, 0x10)
    assert board.nor.mode == ERASING
    board.run()
    assert board.array(0, SIZE) == b"\xff" * SIZE
    assert board.read(0) == 0xFFFF


def test_a_suspended_erase_lets_other_sectors_be_read_and_programmed() -> None:
    board = Board()
    board.nor.memory.data[:] = bytes(SIZE)
    board.nor.memory.data[0:2] = b"\xff\xff"
    inside = 0x20000 // 2
    board.start_erase(inside)
    board.clock.skip(ERASE_WINDOW_NS)
    board.clock.run_due()
    board.write(inside, 0xB0)
    assert board.nor.mode == SUSPENDED
    board.run()
    assert board.read(0x8000) == board.read(0x8000) == 0
    first, second = board.read(inside), board.read(inside)
    assert (first & 0x80, first ^ second) == (0x80, 0x04)
    board.program(0, 0x4321)
    assert board.read(0) == 0x4321
    board.write(0x55, 0x98)
    assert board.read(0x10) == ord("Q")
    board.write(0, 0xF0)
    assert board.nor.mode == SUSPENDED
    board.write(inside, 0x30)
    assert board.nor.mode == ERASING
    assert board.clock.next_deadline() == board.clock.now + SECTOR_ERASE_NS
    board.run()
    assert board.read(inside) == 0xFFFF
    assert board.array(0x20000, 0x10000) == b"\xff" * 0x10000
    assert board.log.count == 0


def test_an_erase_suspended_within_its_window_takes_its_whole_time_after_it() -> None:
    board = Board()
    board.start_erase(0)
    board.clock.skip(ERASE_WINDOW_NS // 2)
    board.write(0, 0xB0)
    assert board.clock.next_deadline() is None
    board.write(0, 0x30)
    assert board.clock.next_deadline() == board.clock.now + SECTOR_ERASE_NS


def test_unlock_bypass_programs_in_two_cycles_until_its_reset() -> None:
    board = Board()
    board.unlock(0x20)
    for word in range(3):
        board.write(0, 0xA0)
        board.write(word, 0x1000 + word)
    assert [board.read(word) for word in range(3)] == [0x1000, 0x1001, 0x1002]
    board.write(0, 0x90)
    board.write(0, 0x00)
    board.write(0, 0xA0)
    board.write(3, 0x5555)
    assert board.read(3) == 0xFFFF


def test_a_wrong_cycle_goes_back_to_reading() -> None:
    board = Board()
    board.write(0x555, 0xAA)
    board.write(0x2AB, 0x55)
    board.write(0x555, 0x90)
    assert board.nor.mode == ARRAY
    board.unlock(0x90)
    board.write(0, 0x1234)
    assert board.nor.mode == ARRAY


def test_peek_toggles_nothing_and_pokes_change_the_array_only() -> None:
    board = Board()
    board.bus.poke(0x100, b"breakpoint")
    assert board.bus.peek(0x100, 10) == b"breakpoint"
    board.start_erase(0)
    assert board.bus.peek(0, 8) == board.bus.peek(0, 8)
    first = board.read(0)
    assert board.bus.peek(0, 2) == (first ^ 0x44).to_bytes(2, "little")


def test_reset_calls_an_erase_off_and_reads_the_array() -> None:
    board = Board()
    board.nor.memory.data[:] = bytes(SIZE)
    board.start_erase(0)
    board.nor.reset()
    assert board.read(0) == 0
    assert board.clock.next_deadline() is None


def test_the_chip_can_be_seen_at_two_addresses_and_be_taken_off() -> None:
    board = Board()
    board.nor.map(board.bus, 0x08000000)
    board.write(0x55, 0x98)
    assert board.bus.read(0x08000020, 2) & 0xFFFF == ord("Q")
    board.bus.write(0x08000000, 2, 0xF0)
    assert board.read(0x10) == 0xFFFF
    board.nor.unmap()
    assert list(board.bus.regions()) == []


def test_a_saved_state_holds_changed_pieces_and_goes_on_in_the_middle_of_an_erase() -> None:
    board = Board()
    board.program(0x1234, 0xBEEF)
    board.start_erase(0x10000 // 2)
    clock, state = board.clock.save(), board.nor.save()
    assert list(state["changed"]) == [0x2000]
    other = Board()
    other.program(0x4000, 0)
    other.clock.load(clock)
    other.nor.load(state)
    assert other.read(0) & 0x80 == 0
    other.run()
    assert other.read(0x1234) == 0xBEEF
    assert other.read(0x4000) == 0xFFFF


def test_programs_and_erases_persist_in_the_image(tmp_path: Path) -> None:
    path = tmp_path / "nor.bin"
    content = random.Random(1).randbytes(0x20000)
    path.write_bytes(content)
    image = open_nor_image(path, SIZE)
    board = Board(backing=image)
    assert board.array(0, 0x20000) == content
    board.start_erase(0x10000 // 2)
    board.run()
    board.program(0x10000 // 2, 0x4142)
    board.bus.poke(0, b"\0\0")
    assert path.read_bytes() == content[:0x10000] + b"BA" + b"\xff" * 0xFFFE
    image.close()


def test_a_snapshot_s_image_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "nor.bin"
    path.write_bytes(b"\xff" * 4)
    image = open_nor_image(path, SIZE, snapshot=True)
    board = Board(backing=image)
    board.program(0, 0x1234)
    assert board.read(0) == 0x1234
    image.close()
    assert path.read_bytes() == b"\xff" * 4


def test_entering_and_leaving_query_mode_tells_the_engine_each_time() -> None:
    board = Board()
    changes = []
    board.bus.on_change.append(lambda: changes.append(board.nor.mode))
    board.write(0x55, 0x98)
    board.write(0, 0xF0)
    board.program(0, 0x1234)
    assert changes == [CFI, ARRAY]


WORDS = st.sampled_from((0, 1, 0x10, 0x55, 0x2AA, 0x555, 0x7000, 0x8000, 0x8555, SIZE // 2 - 2))
VALUES = st.one_of(
    st.sampled_from((0xAA, 0x55, 0xA0, 0x80, 0x90, 0x20, 0x10, 0x30, 0xB0, 0xF0, 0x98, 0xFF, 0)),
    st.integers(0, 0xFFFF),
)
STEP = st.one_of(
    st.tuples(st.just("write"), WORDS, VALUES),
    st.tuples(st.just("read"), WORDS),
    st.tuples(st.just("unlock"), VALUES),
    st.tuples(st.just("program"), WORDS, VALUES),
    st.tuples(st.just("start_erase"), WORDS, st.sampled_from((0x30, 0x10))),
    st.tuples(st.just("access"), WORDS, st.sampled_from((1, 4)), st.integers(0, 255)),
    st.tuples(st.just("run")),
    st.tuples(st.just("pass_time")),
)


def perform(board: Board, step: Any) -> Any:
    kind, *arguments = step
    if kind == "access":
        word, size, value = arguments
        board.bus.write(2 * word, size, value)
        return board.bus.read(2 * word, size)
    if kind == "pass_time":
        board.clock.skip(ERASE_WINDOW_NS)
        return board.clock.run_due()
    return getattr(board, kind)(*arguments)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=30), st.lists(STEP, max_size=10))
def test_any_accesses_are_survived_peeks_change_nothing_and_a_saved_state_goes_on_alike(
    before: list[Any], after: list[Any]
) -> None:
    board = Board()
    for step in before:
        perform(board, step)
    state = board.clock.save(), board.nor.save()
    for offset in range(0, 0x40, 4):
        board.bus.peek(offset, 4)
    assert (board.clock.save(), board.nor.save()) == state
    other = Board()
    other.clock.load(state[0])
    other.nor.load(state[1])
    for step in after:
        assert perform(board, step) == perform(other, step)
    assert board.nor.save() == other.nor.save()
