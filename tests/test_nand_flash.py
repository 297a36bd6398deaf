"""NAND chips on their pins: the data sheets' sequences."""

import random

import pytest

from dbgemu.target.chips.nand_flash import NandFlash
from dbgemu.target.chips.nand_parts import PARTS, NandPart, NandTiming
from dbgemu.target.clock import VirtualClock
from dbgemu.target.guest_log import GuestLog

ALL = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
LARGE = pytest.mark.parametrize(
    "part", [part for part in PARTS.values() if part.large_page], ids=lambda p: p.name
)


class Pins:
    def __init__(self, part: NandPart = PARTS["K9F1208"], **options: object) -> None:
        self.clock = VirtualClock()
        self.log = GuestLog()
        self.chip = NandFlash(clock=self.clock, part=part, log=self.log, **options)  # type: ignore[arg-type]

    def cmd(self, *values: int) -> None:
        for value in values:
            self.chip.command(value)

    def addr(self, *values: int) -> None:
        for value in values:
            self.chip.address(value)

    def wait(self) -> None:
        deadline = self.clock.next_deadline()
        if deadline is not None:
            self.clock.skip_to(deadline)
            self.clock.run_due()

    def put(self, data: bytes) -> None:
        for byte in data:
            self.chip.write_data(byte, 1)

    def get(self, count: int) -> bytes:
        return bytes(self.chip.read_data(1) for _ in range(count))

    def where(self, page: int, column: int = 0) -> tuple[int, ...]:
        part = self.chip.part
        return (
            *column.to_bytes(part.column_cycles, "little"),
            *page.to_bytes(part.row_cycles, "little"),
        )

    def row(self, page: int) -> tuple[int, ...]:
        return tuple(page.to_bytes(self.chip.part.row_cycles, "little"))

    def program(self, page: int, data: bytes, column: int = 0) -> int:
        self.cmd(0x80)
        self.addr(*self.where(page, column))
        self.put(data)
        self.cmd(0x10)
        self.wait()
        return self.status()

    def read(self, page: int, count: int, column: int = 0) -> bytes:
        self.cmd(0x00)
        self.addr(*self.where(page, column))
        if self.chip.part.large_page:
            self.cmd(0x30)
        self.wait()
        return self.get(count)

    def erase(self, page: int) -> int:
        self.cmd(0x60)
        self.addr(*self.row(page))
        self.cmd(0xD0)
        self.wait()
        return self.status()

    def status(self) -> int:
        self.cmd(0x70)
        return self.chip.read_data(1)


@ALL
def test_the_ids_tell_linux_the_part_s_geometry(part: NandPart) -> None:
    pins = Pins(part)
    pins.cmd(0x90)
    pins.addr(0)
    ids = pins.get(8)
    assert ids.rstrip(b"\0") == part.ids
    # nand_ids.c: MiB by device code.
    assert part.size >> 20 == {0x76: 64, 0xF1: 128, 0xDA: 256, 0xDC: 512, 0xD3: 1024}[ids[1]]
    if part.large_page:
        # nand_base.c, nand_decode_ext_id.
        assert part.page_size == 1024 << (ids[3] & 3)
        assert part.spare_size == (8 << (ids[3] >> 2 & 1)) * (part.page_size // 512)
        assert part.pages_per_block * part.page_size == 65536 << (ids[3] >> 4 & 3)


@ALL
def test_a_blank_chip_is_erased_everywhere(part: NandPart) -> None:
    pins = Pins(part)
    for page in (0, 1, part.pages - 1):
        assert pins.read(page, part.raw_page) == b"\xff" * part.raw_page


@ALL
def test_programming_only_clears_bits_and_erasing_sets_a_whole_block(part: NandPart) -> None:
    pins = Pins(part)
    block = part.blocks - 1
    page = block * part.pages_per_block + 3
    first, second = random.Random(1).randbytes(200), random.Random(2).randbytes(200)
    assert pins.program(page, first) & 1 == 0
    pins.program(page, second)
    pins.program(page - part.pages_per_block, first)
    both = bytes(a & b for a, b in zip(first, second, strict=True))
    assert pins.read(page, 201) == both + b"\xff"
    assert pins.erase(page + 5) & 0xC1 == 0xC0
    assert pins.read(page, 200) == b"\xff" * 200
    assert pins.read(page - part.pages_per_block, 200) == first
    assert pins.log.count == 0


@ALL
def test_a_partial_program_leaves_the_rest_of_the_page_alone(part: NandPart) -> None:
    pins = Pins(part)
    pins.program(9, b"head")
    if not part.large_page:
        pins.cmd(0x50)
    pins.program(9, b"SPARE", 0 if not part.large_page else part.page_size)
    pins.cmd(0x00)
    raw = pins.read(9, part.raw_page)
    assert raw[:4] == b"head"
    assert raw[part.page_size : part.page_size + 5] == b"SPARE"
    assert raw.count(0xFF) == part.raw_page - 9


def test_the_pointer_commands_choose_the_area_of_a_small_page() -> None:
    pins = Pins()
    content = bytes(i % 251 for i in range(528))
    pins.chip.cells.write(4, content)
    for command, start in ((0x00, 10), (0x01, 266), (0x50, 522)):
        pins.cmd(command)
        pins.addr(10, 4, 0, 0)
        pins.wait()
        assert pins.get(6) == content[start : start + 6]


def test_01h_holds_for_one_operation_and_50h_until_changed() -> None:
    pins = Pins()
    pins.cmd(0x01)
    pins.program(0, b"B")
    pins.program(1, b"A")
    pins.cmd(0x50)
    pins.program(2, b"C")
    pins.program(3, b"C")
    cells = pins.chip.cells
    assert [cells.read(page).find(b"BACC"[page : page + 1]) for page in range(4)] == [256, 0, 512, 512]


def test_reading_on_at_the_page_s_end_gives_the_next_page_up_to_the_block_s_end() -> None:
    pins = Pins()
    pins.chip.cells.write(30, b"a" * 528)
    pins.chip.cells.write(31, b"b" * 528)
    assert pins.read(30, 530) == b"a" * 528 + b"b" * 2
    assert pins.chip.rnb.level == 0
    pins.wait()
    assert pins.get(530) == b"b" * 526 + b"\xff" * 4


def test_busy_is_on_rnb_and_in_the_status_for_the_operation_s_time() -> None:
    timing = NandTiming(read=100, program=200, erase=300, reset=50)
    pins = Pins(timing=timing)

    def busy_time() -> int:
        start = pins.clock.now
        assert pins.chip.rnb.level == 0
        assert pins.status() & 0x40 == 0
        pins.wait()
        assert pins.chip.rnb.level == 1
        assert pins.status() & 0x40 == 0x40
        return pins.clock.now - start

    pins.cmd(0xFF)
    assert busy_time() == 50
    pins.cmd(0x00)
    pins.addr(0, 0, 0, 0)
    assert busy_time() == 100
    pins.cmd(0x80)
    pins.addr(0, 0, 0, 0)
    pins.cmd(0x10)
    assert busy_time() == 200
    pins.cmd(0x60)
    pins.addr(0, 0, 0)
    pins.cmd(0xD0)
    assert busy_time() == 300


@ALL
def test_00h_after_a_status_read_goes_back_to_the_page(part: NandPart) -> None:
    pins = Pins(part)
    pins.chip.cells.write(0, b"hello" + b"\0" * (part.raw_page - 5))
    pins.cmd(0x00)
    pins.addr(*pins.where(0))
    if part.large_page:
        pins.cmd(0x30)
    pins.wait()
    assert pins.status() & 0x40
    pins.cmd(0x00)
    assert pins.get(5) == b"hello"


@LARGE
def test_random_data_output_and_input_move_within_the_page(part: NandPart) -> None:
    pins = Pins(part)
    pins.cmd(0x80)
    pins.addr(*pins.where(70, 100))
    pins.put(b"one")
    pins.cmd(0x85)
    pins.addr(*(2050).to_bytes(2, "little"))
    pins.put(b"two")
    pins.cmd(0x10)
    pins.wait()
    assert pins.read(70, 3, 100) == b"one"
    pins.cmd(0x05)
    pins.addr(*(2050).to_bytes(2, "little"))
    pins.cmd(0xE0)
    assert pins.get(3) == b"two"
    assert pins.log.count == 0


@LARGE
def test_copy_back_programs_a_page_from_the_page_register(part: NandPart) -> None:
    pins = Pins(part)
    content = random.Random(3).randbytes(part.raw_page)
    pins.chip.cells.write(64, content)
    pins.cmd(0x00)
    pins.addr(*pins.where(64))
    pins.cmd(0x35)
    pins.wait()
    pins.cmd(0x85)
    pins.addr(*pins.where(130, 2))
    pins.put(b"\0\0")
    pins.cmd(0x10)
    pins.wait()
    assert pins.chip.cells.read(130) == content[:2] + b"\0\0" + content[4:]


def test_copy_back_on_a_small_page() -> None:
    pins = Pins()
    content = random.Random(3).randbytes(528)
    pins.chip.cells.write(64, content)
    pins.read(64, 0)
    pins.cmd(0x8A)
    pins.addr(0, 200, 0, 0)
    pins.cmd(0x10)
    pins.wait()
    assert pins.chip.cells.read(200) == content


def test_several_blocks_are_erased_by_one_confirmation() -> None:
    pins = Pins()
    for block in range(3):
        pins.program(32 * block, b"\0")
    for block in (0, 2):
        pins.cmd(0x60)
        pins.addr(*pins.row(32 * block))
    pins.cmd(0xD0)
    pins.wait()
    assert [pins.chip.cells.read(32 * block)[0] for block in range(3)] == [0xFF, 0, 0xFF]


def test_a_failing_plane_shows_in_the_status_of_the_whole_program() -> None:
    pins = Pins(bad_blocks=[1])
    pins.cmd(0x80)
    pins.addr(*pins.where(32))
    pins.cmd(0x11)
    pins.wait()
    assert pins.program(64, b"x") & 1 == 1
    assert pins.program(65, b"x") & 1 == 0


@ALL
def test_a_bad_block_shows_its_mark_and_refuses_program_and_erase(part: NandPart) -> None:
    pins = Pins(part, bad_blocks=[2])
    first = 2 * part.pages_per_block
    assert [pins.read(first + i, part.raw_page)[part.bad_mark] for i in range(3)] == [0, 0, 0xFF]
    assert pins.read(first - 1, part.raw_page)[part.bad_mark] == 0xFF
    assert pins.program(first + 4, b"x") & 1 == 1
    assert pins.erase(first) & 1 == 1
    assert pins.erase(0) & 1 == 0
    assert pins.chip.cells.save() == {}


def test_write_protection_keeps_the_cells_and_shows_in_the_status() -> None:
    pins = Pins()
    pins.program(0, b"keep")
    pins.chip.write_protected = True
    assert pins.program(1, b"new") & 0x80 == 0
    assert pins.erase(0) & 0x80 == 0
    assert pins.read(0, 4) == b"keep"
    assert pins.read(1, 3) == b"\xff\xff\xff"


def test_a_reset_command_forgets_a_program_that_was_not_confirmed() -> None:
    pins = Pins()
    pins.cmd(0x80)
    pins.addr(0, 0, 0, 0)
    pins.put(b"x")
    pins.cmd(0xFF)
    pins.wait()
    pins.cmd(0x10)
    assert pins.log.count == 1
    assert pins.chip.cells.save() == {}


def test_reading_before_ready_gives_the_data_and_is_reported_once() -> None:
    pins = Pins()
    pins.chip.cells.write(0, bytes(range(16)) * 33)
    pins.cmd(0x00)
    pins.addr(0, 0, 0, 0)
    assert pins.get(3) == b"\0\1\2"
    assert pins.log.count == 1


def test_boot_code_is_read_straight_from_the_cells() -> None:
    for part in PARTS.values():
        pins = Pins(part)
        content = random.Random(5).randbytes(4096)
        for page in range(4096 // part.page_size):
            data = content[page * part.page_size :][: part.page_size]
            pins.chip.cells.write(page, data + b"\0" * part.spare_size)
        assert pins.chip.read_pages(0, 4096 // part.page_size) == content


def test_a_loaded_state_restores_pages_changed_since_also_to_erased() -> None:
    pins = Pins()
    pins.program(0, b"first")
    state = pins.chip.save()
    pins.program(0, b"\0\0\0\0\0")
    pins.program(1, b"second")
    pins.chip.load(state)
    assert pins.read(0, 5) == b"first"
    assert pins.read(1, 6) == b"\xff" * 6
    assert pins.chip.cells.save() == state["cells"]


def test_reset_keeps_the_cells_and_ends_being_busy() -> None:
    pins = Pins()
    pins.program(0, b"kept")
    pins.cmd(0xFF)
    pins.chip.reset()
    assert pins.chip.rnb.level == 1
    assert pins.clock.next_deadline() is None
    assert pins.read(0, 4) == b"kept"
