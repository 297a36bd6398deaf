"""The S3C2440A's NAND controller, driven as Linux's s3c2410.c and boot loaders drive it."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbgemu.target.bus import Bus
from dbgemu.target.chips.nand_flash import NandFlash
from dbgemu.target.chips.nand_parts import PARTS
from dbgemu.target.clock import VirtualClock
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.nand import NandController

BASE = 0x4E000000
NFCONF, NFCONT, NFCMMD, NFADDR, NFDATA = 0x00, 0x04, 0x08, 0x0C, 0x10
NFMECCD0, NFMECCD1, NFSECCD, NFSTAT, NFESTAT0, NFESTAT1 = 0x14, 0x18, 0x1C, 0x20, 0x24, 0x28
NFMECC0, NFMECC1, NFSECC, NFSBLK, NFEBLK = 0x2C, 0x30, 0x34, 0x38, 0x3C

ENABLE, INIT_ECC, MAIN_LOCK, SPARE_LOCK = 0x01, 0x10, 0x20, 0x40


class Bench:
    def __init__(self, part: str = "K9F1208") -> None:
        self.clock = VirtualClock()
        self.log = GuestLog()
        self.irq = Line("INT_NFCON")
        self.chip = NandFlash(clock=self.clock, part=PARTS[part], log=self.log)
        self.nand = NandController(chip=self.chip, irq=self.irq, log=self.log)
        self.bus = Bus(self.log)
        self.bus.map(BASE, self.nand)

    def r(self, offset: int, size: int = 4) -> int:
        return self.bus.read(BASE + offset, size) & ((1 << 8 * size) - 1)

    def w(self, offset: int, value: int, size: int = 4) -> None:
        self.bus.write(BASE + offset, size, value)

    def enable(self, extra: int = 0) -> None:
        self.w(NFCONT, ENABLE | extra)

    def cmd(self, value: int) -> None:
        self.w(NFCMMD, value, 1)

    def addr(self, *values: int) -> None:
        for value in values:
            self.w(NFADDR, value, 1)

    def wait(self) -> None:
        if self.chip.busy_until is not None:
            self.clock.skip_to(self.chip.busy_until)
            self.clock.run_due()

    def data_in(self, data: bytes) -> None:
        whole = len(data) & ~3
        for i in range(0, whole, 4):
            self.w(NFDATA, int.from_bytes(data[i : i + 4], "little"))
        for byte in data[whole:]:
            self.w(NFDATA, byte, 1)

    def data_out(self, length: int) -> bytes:
        return b"".join(self.r(NFDATA).to_bytes(4, "little") for _ in range(length // 4)) + bytes(
            self.r(NFDATA, 1) for _ in range(length % 4)
        )

    def row(self, page: int) -> tuple[int, ...]:
        return tuple(page.to_bytes(self.chip.part.row_cycles, "little"))

    def program(self, page: int, data: bytes, command: int = 0x00) -> None:
        self.cmd(command)
        self.cmd(0x80)
        self.addr(0, *self.row(page))
        self.data_in(data)
        self.cmd(0x10)
        self.wait()

    def start_read(self, page: int, command: int = 0x00) -> None:
        self.cmd(command)
        self.addr(0, *self.row(page))
        self.wait()


def driver_correction(data: bytearray, stored: bytes, computed: bytes) -> int:
    """What s3c2410_nand_correct_data does, in other words; it decides whether our code is right."""
    if stored == computed:
        return 0
    if stored == b"\xff\xff\xff":
        return 0
    differences = [a ^ b for a, b in zip(stored, computed, strict=True)]
    if all((d ^ d >> 1) & 0x55 == 0x55 for d in differences):
        d0, d1, d2 = differences
        bit = (d2 >> 3 & 1) | (d2 >> 4 & 2) | (d2 >> 5 & 4)
        byte = d2 << 7 & 0x100
        byte |= (d1 & 0x80) | (d1 << 1 & 0x40) | (d1 << 2 & 0x20) | (d1 << 3 & 0x10)
        byte |= (d0 >> 4 & 8) | (d0 >> 3 & 4) | (d0 >> 2 & 2) | (d0 >> 1 & 1)
        data[byte] ^= 1 << bit
        return 1
    if sum(d.bit_count() for d in differences) == 1:
        return 1
    return -1


MAIN_PLACES = {8 << n: (2 * n if n < 9 else 28 + 2 * (n - 9)) for n in range(11)} | {1: 18, 2: 20, 4: 22}
SPARE_PLACES = {2: 0, 4: 2, 8: 4, 16: 6, 32: 10, 64: 12, 1: 14}


def code_by_the_book(data: bytes, places: dict[int, int] = MAIN_PLACES) -> int:
    """The tables of UM 6-7, bit by bit: P8 is bit 0 of a byte's number, ... P8192 bit 10."""
    word = 0
    for number, byte in enumerate(data):
        for bit in range(8):
            if byte >> bit & 1:
                for weight, place in places.items():
                    selected = number // (weight // 8) & 1 if weight >= 8 else bit // weight & 1
                    word ^= 1 << place + selected
    return word ^ 0xFFFFFFFF


def test_reset_values_are_the_manual_s_and_the_pins_show_the_chip_s_geometry() -> None:
    for part, pins in (("K9F1208", 0x6), ("K9F1G08", 0xC), ("K9F2G08", 0xE)):
        bench = Bench(part)
        assert bench.r(NFCONF) == 0x1000 | pins
        assert bench.r(NFCONT) == 0x0384
        assert bench.r(NFSTAT) == 1
        bench.w(NFCONF, 0x3770)
        assert bench.r(NFCONF) == 0x3770 | pins


def test_a_disabled_or_deselecting_controller_passes_nothing_to_the_chip() -> None:
    for control in (0, 2, 3):
        bench = Bench()
        bench.w(NFCONT, control)
        bench.cmd(0x90)
        bench.addr(0)
        assert bench.r(NFDATA, 1) == 0xFF
        assert bench.log.count == 3


def test_what_a_bootloader_leaves_lets_linux_find_the_chip() -> None:
    bench = Bench()
    bench.nand.set_bootloader_defaults()
    assert bench.r(NFCONT) == 3
    assert bench.r(NFCONF) == 0x3776
    bench.w(NFCONT, bench.r(NFCONT) & ~2)
    bench.cmd(0xFF)
    bench.wait()
    bench.cmd(0x90)
    bench.addr(0)
    assert bench.data_out(8) == bytes.fromhex("EC 76 A5 C0 00 00 00 00")
    assert bench.log.count == 0


@pytest.mark.parametrize("size", [1, 2, 4])
def test_each_access_size_of_nfdata_reads_that_many_bytes_lowest_first(size: int) -> None:
    bench = Bench()
    content = bytes(range(256)) * 2 + b"spare bytes here"
    bench.chip.cells.write(7, content)
    bench.enable()
    bench.start_read(7)
    got = b"".join(bench.r(NFDATA, size).to_bytes(size, "little") for _ in range(528 // size))
    assert got == content


def test_a_program_through_the_controller_reads_back_with_its_spare_bytes() -> None:
    bench = Bench()
    bench.enable()
    content = random.Random(1).randbytes(528)
    bench.program(33, content)
    bench.start_read(33)
    assert bench.data_out(528) == content
    bench.start_read(33, 0x50)
    assert bench.data_out(15) == content[512:527]
    bench.start_read(33, 0x01)
    assert bench.data_out(10) == content[256:266]
    assert bench.log.count == 0


def test_the_code_of_a_written_page_is_the_manual_s() -> None:
    bench = Bench()
    bench.enable()
    for seed, length in ((1, 512), (2, 512), (3, 256), (4, 11)):
        data = random.Random(seed).randbytes(length)
        bench.cmd(0x80)
        bench.addr(0, 0, 0, 0)
        bench.enable(INIT_ECC)
        bench.data_in(data)
        assert bench.r(NFMECC0) == code_by_the_book(data)


def test_the_code_of_a_large_page_counts_all_2048_bytes() -> None:
    bench = Bench("K9F2G08")
    bench.enable()
    singles = [bytes(number) + b"\x01" + bytes(2047 - number) for number in (0, 600, 1100)]
    for data in (random.Random(9).randbytes(2048), *singles):
        bench.cmd(0x80)
        bench.addr(0, 0, 5, 0, 0)
        bench.enable(INIT_ECC)
        bench.data_in(data)
        assert bench.r(NFMECC0) == code_by_the_book(data)


def test_linux_s_correction_repairs_any_single_flipped_bit_of_a_page() -> None:
    bench = Bench()
    bench.enable()
    good = random.Random(2).randbytes(512)
    bench.cmd(0x80)
    bench.addr(0, 0, 0, 0)
    bench.enable(INIT_ECC)
    bench.data_in(good)
    stored = bench.r(NFMECC0).to_bytes(4, "little")[:3]
    for position in range(4096):
        bad = bytearray(good)
        bad[position >> 3] ^= 1 << (position & 7)
        bench.chip.cells.write(3, bytes(bad) + bytes(16))
        bench.start_read(3)
        bench.enable(INIT_ECC)
        data = bytearray(bench.data_out(512))
        assert data == bad
        assert driver_correction(data, stored, bench.r(NFMECC0).to_bytes(4, "little")[:3]) == 1
        assert data == good


def test_two_flipped_bits_are_beyond_linux_s_correction() -> None:
    bench = Bench()
    bench.enable()
    good = b"\x10" + bytes(511)
    bad = b"\x13" + bytes(511)
    codes = []
    for data in (good, bad):
        bench.cmd(0x80)
        bench.addr(0, 0, 0, 0)
        bench.enable(INIT_ECC)
        bench.data_in(data)
        codes.append(bench.r(NFMECC0).to_bytes(4, "little")[:3])
    assert driver_correction(bytearray(bad), codes[0], codes[1]) == -1


@pytest.mark.parametrize("length", [256, 512])
def test_an_erased_page_has_the_code_that_its_erased_spare_bytes_hold(length: int) -> None:
    bench = Bench()
    bench.enable()
    bench.start_read(100)
    bench.enable(INIT_ECC)
    data = bytearray(bench.data_out(length))
    computed = bench.r(NFMECC0).to_bytes(4, "little")
    assert computed == b"\xff\xff\xff\xff"
    assert driver_correction(data, b"\xff\xff\xff", computed[:3]) == 0
    bench.start_read(100, 0x50)
    assert bench.data_out(16) == b"\xff" * 16


def test_nfestat_names_the_bad_byte_and_bit_or_the_kind_of_error() -> None:
    bench = Bench()
    bench.enable()
    good = random.Random(5).randbytes(512)
    code = code_by_the_book(good)
    for byte, bit in ((0, 0), (511, 7), (300, 4)):
        bad = bytearray(good)
        bad[byte] ^= 1 << bit
        bench.chip.cells.write(3, bytes(bad) + bytes(16))
        bench.start_read(3)
        bench.enable(INIT_ECC)
        bench.data_out(512)
        bench.enable(MAIN_LOCK)
        bench.w(NFMECCD0, code & 0xFF | (code >> 8 & 0xFF) << 16)
        bench.w(NFMECCD1, code >> 16 & 0xFF | code >> 24 << 16)
        status = bench.r(NFESTAT0)
        assert (status & 3, status >> 7 & 0x7FF, status >> 4 & 7) == (1, byte, bit)
    bench.w(NFMECCD0, bench.r(NFMECC0) & 0xFF | (bench.r(NFMECC0) >> 8 & 0xFF) << 16)
    bench.w(NFMECCD1, bench.r(NFMECC0) >> 16 & 0xFF | bench.r(NFMECC0) >> 24 << 16)
    assert bench.r(NFESTAT0) & 3 == 0
    bench.w(NFMECCD0, bench.r(NFMECCD0) ^ 0x10)
    assert bench.r(NFESTAT0) & 3 == 3
    bench.w(NFMECCD0, bench.r(NFMECCD0) ^ 0x23)
    assert bench.r(NFESTAT0) & 3 == 2
    assert bench.r(NFESTAT1) == 0


def test_the_spare_code_finds_a_bad_bit_among_sixteen_bytes() -> None:
    bench = Bench()
    bench.enable()
    good = bytes(range(50, 66))

    def code_of(spare: bytes) -> int:
        bench.chip.cells.write(3, bytes(512) + spare)
        bench.start_read(3, 0x50)
        bench.enable(INIT_ECC | MAIN_LOCK)
        bench.data_out(16)
        bench.enable(MAIN_LOCK | SPARE_LOCK)
        return bench.r(NFSECC)

    for number in range(16):
        single = bytes(number) + b"\x20" + bytes(15 - number)
        assert code_of(single) == code_by_the_book(single, SPARE_PLACES)
    code = code_of(good)
    bench.w(NFSECCD, code & 0xFF | (code >> 8 & 0xFF) << 16)
    assert bench.r(NFESTAT0) >> 2 & 3 == 0
    for byte in range(16):
        for bit in range(8):
            bad = bytearray(good)
            bad[byte] ^= 1 << bit
            code_of(bytes(bad))
            status = bench.r(NFESTAT0)
            assert (status >> 2 & 3, status >> 21 & 15, status >> 18 & 7) == (1, byte, bit)
    assert code_of(b"\xff" * 16) == 0xFFFFFFFF


def test_locked_codes_do_not_change_and_init_starts_over() -> None:
    bench = Bench()
    bench.chip.cells.write(0, bytes(range(256)) * 2 + bytes(16))
    bench.chip.cells.write(1, b"\x01" + bytes(527))
    bench.enable(INIT_ECC)
    bench.start_read(1)
    bench.data_out(4)
    bench.enable(MAIN_LOCK)
    locked = bench.r(NFMECC0)
    spare = bench.r(NFSECC)
    bench.start_read(0)
    bench.data_out(5)
    assert bench.r(NFMECC0) == locked == code_by_the_book(b"\x01\0\0\0")
    assert bench.r(NFSECC) != spare
    assert bench.r(NFCONT) & INIT_ECC == 0
    bench.enable(INIT_ECC)
    assert bench.r(NFMECC0) == 0xFFFFFFFF


def test_bytes_of_any_access_pattern_give_the_same_code() -> None:
    content = random.Random(8).randbytes(512)
    codes = set()
    for sizes in ((4,), (1,), (2, 4, 1, 1), (1, 1, 2)):
        bench = Bench()
        bench.chip.cells.write(0, content + bytes(16))
        bench.enable(INIT_ECC)
        bench.start_read(0)
        done = 0
        while done < 512:
            for size in sizes:
                bench.r(NFDATA, size)
                done += size
                if done % 64 == 0:
                    bench.r(NFMECC0)
        codes.add(bench.r(NFMECC0))
    assert codes == {code_by_the_book(content)}


def test_rnb_is_low_for_the_busy_time_and_the_transition_is_detected() -> None:
    bench = Bench()
    bench.enable()
    bench.cmd(0x00)
    bench.addr(0, 0, 0)
    assert bench.r(NFSTAT, 1) == 1
    bench.addr(0)
    assert bench.r(NFSTAT, 1) & 5 == 0
    bench.wait()
    assert bench.r(NFSTAT, 1) & 5 == 5
    bench.w(NFSTAT, 4, 1)
    assert bench.r(NFSTAT, 1) & 5 == 1


def test_a_rising_rnb_requests_an_interrupt_until_the_bit_is_cleared() -> None:
    bench = Bench()
    bench.enable(1 << 9)
    bench.cmd(0xFF)
    assert bench.irq.level == 0
    bench.wait()
    assert bench.irq.level == 1
    bench.w(NFSTAT, 4, 1)
    assert bench.irq.level == 0


def test_enabling_the_interrupt_for_a_transition_already_seen_requests_it() -> None:
    bench = Bench()
    bench.enable()
    bench.cmd(0xFF)
    bench.wait()
    assert bench.irq.level == 0
    bench.enable(1 << 9)
    assert bench.irq.level == 1
    bench.nand.reset()
    assert bench.irq.level == 0


def test_data_read_before_ready_is_in_the_code_once() -> None:
    bench = Bench()
    content = random.Random(6).randbytes(512)
    bench.chip.cells.write(0, content + bytes(16))
    bench.enable(INIT_ECC)
    bench.cmd(0x00)
    bench.addr(0, 0, 0, 0)
    assert bench.data_out(512) == content
    assert bench.r(NFMECC0) == code_by_the_book(content)


def test_a_state_saved_while_busy_is_busy_when_loaded() -> None:
    bench = Bench()
    bench.enable()
    bench.cmd(0xFF)
    nand, chip = bench.nand.save(), bench.chip.save()
    other = Bench()
    other.nand.load(nand)
    other.chip.load(chip)
    assert other.r(NFSTAT) & 1 == 0
    other.wait()
    assert other.r(NFSTAT) & 5 == 5


def test_the_falling_transition_can_be_chosen() -> None:
    bench = Bench()
    bench.enable(1 << 9 | 1 << 8)
    bench.cmd(0xFF)
    assert bench.irq.level == 1


def test_commands_while_busy_are_reported_and_ignored() -> None:
    bench = Bench()
    bench.enable()
    bench.cmd(0xFF)
    bench.cmd(0x90)
    assert bench.log.count == 1
    bench.wait()
    assert bench.data_out(1) == b"\xff"


def erase(bench: Bench, page: int) -> None:
    bench.cmd(0x60)
    bench.addr(*bench.row(page))
    bench.cmd(0xD0)
    bench.wait()


@pytest.mark.parametrize("lock", [1 << 12, 1 << 13], ids=["soft", "tight"])
def test_a_lock_protects_all_but_the_area_from_nfsblk_to_before_nfeblk(lock: int) -> None:
    bench = Bench()
    bench.enable()
    for block in range(4):
        bench.program(32 * block, bytes(528))
    bench.w(NFSBLK, 32)
    bench.w(NFEBLK, 96)
    bench.enable(lock | 1 << 10)
    for block, survives in ((1, False), (2, False), (0, True), (3, True)):
        erase(bench, 32 * block)
        assert (bench.chip.cells.read(32 * block) == bytes(528)) is survives
        assert bench.r(NFSTAT) >> 3 & 1 == survives == bench.irq.level
        bench.w(NFSTAT, 8)
        assert bench.irq.level == 0
    bench.program(3 * 32 + 1, bytes(528))
    assert bench.r(NFSTAT) & 8
    assert bench.chip.cells.read(3 * 32 + 1) == b"\xff" * 528
    bench.program(32 + 1, bytes(528))
    assert bench.chip.cells.read(32 + 1) == bytes(528)


def test_a_refused_erase_does_not_come_back_with_the_next_one() -> None:
    bench = Bench()
    bench.enable()
    bench.program(0, bytes(528))
    bench.program(32, bytes(528))
    bench.w(NFSBLK, 32)
    bench.w(NFEBLK, 64)
    bench.enable(1 << 12)
    erase(bench, 0)
    bench.w(NFSTAT, 8)
    erase(bench, 32)
    assert bench.r(NFSTAT) & 8 == 0
    assert bench.chip.cells.read(0) == bytes(528)
    assert bench.chip.cells.read(32) == b"\xff" * 528


def test_lock_tight_stays_until_reset_and_freezes_the_area() -> None:
    bench = Bench()
    bench.enable(1 << 13)
    bench.enable()
    bench.w(NFEBLK, 64)
    assert bench.r(NFCONT) == ENABLE | 1 << 13
    assert bench.r(NFEBLK) == 0
    bench.nand.reset()
    assert bench.r(NFCONT) == 0x384


def test_peek_of_nfdata_does_not_move_on() -> None:
    bench = Bench()
    bench.chip.cells.write(0, bytes(range(16)) * 33)
    bench.enable()
    bench.start_read(0)
    assert bench.nand.peek(NFDATA, 4) == bench.nand.peek(NFDATA, 4) == 0x03020100
    assert bench.r(NFDATA) == 0x03020100
    assert bench.r(NFDATA, 1) == 4


@pytest.mark.parametrize("at", [0, 4, 100, 511, 526])
def test_a_saved_state_continues_in_the_middle_of_a_page(at: int) -> None:
    content = random.Random(4).randbytes(528)

    def begin() -> Bench:
        bench = Bench()
        bench.enable(INIT_ECC)
        bench.program(5, content)
        bench.enable(INIT_ECC)
        bench.start_read(5)
        return bench

    bench = begin()
    bench.data_out(at)
    nand, chip = bench.nand.save(), bench.chip.save()
    rest = bench.data_out(528 - at)
    other = Bench()
    other.nand.load(nand)
    other.chip.load(chip)
    assert other.data_out(528 - at) == rest == content[at:]
    assert other.r(NFMECC0) == bench.r(NFMECC0)
    assert other.chip.cells.read(5) == content


OFFSETS = st.integers(0, 0x43)
COMMANDS = bytes.fromhex("00 01 50 80 10 11 15 60 D0 70 90 FF 30 35 05 E0 85 8A 81 33")
ACCESS = st.one_of(
    st.tuples(st.just("cmd"), st.sampled_from(COMMANDS)),
    st.tuples(st.just("addr"), st.integers(0, 255)),
    st.tuples(st.just("read"), OFFSETS, st.sampled_from((1, 2, 4))),
    st.tuples(st.just("write"), OFFSETS, st.sampled_from((1, 2, 4)), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("data"), st.integers(0, 2**32 - 1), st.integers(1, 150)),
    st.tuples(st.just("out"), st.integers(1, 600)),
    st.tuples(st.just("enable"), st.sampled_from((0, 0x10, 0x20, 0x40, 0x1000, 0x600))),
    st.tuples(st.just("wait")),
    st.tuples(st.just("reset")),
)


def perform(bench: Bench, access: Any) -> Any:
    kind, *arguments = access
    if kind == "read":
        offset, size = arguments
        return bench.r(offset & ~(size - 1), size)
    if kind == "write":
        offset, size, value = arguments
        return bench.w(offset & ~(size - 1), value & ((1 << 8 * size) - 1), size)
    if kind == "data":
        value, count = arguments
        return bench.data_in(value.to_bytes(4, "little") * count)
    if kind == "out":
        return bench.data_out(arguments[0])
    if kind == "reset":
        bench.chip.reset()
        return bench.nand.reset()
    return getattr(bench, kind)(*arguments)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(("K9F1208", "K9F1G08", "K9F2G08")),
    st.lists(ACCESS, max_size=40),
    st.lists(ACCESS, max_size=15),
)
def test_any_accesses_are_survived_peeks_change_nothing_and_a_saved_state_goes_on_alike(
    part: str, before: list[Any], after: list[Any]
) -> None:
    bench = Bench(part)
    bench.enable()
    for access in before:
        perform(bench, access)
    state = bench.clock.save(), bench.nand.save(), bench.chip.save()
    for offset in range(0x44):
        bench.nand.peek(offset, 1)
    list(bench.nand.dump())
    assert (bench.clock.save(), bench.nand.save(), bench.chip.save()) == state
    other = Bench(part)
    other.clock.load(state[0])
    other.nand.load(state[1])
    other.chip.load(state[2])
    assert (other.clock.save(), other.nand.save(), other.chip.save()) == state
    for access in after:
        assert perform(bench, access) == perform(other, access)
    assert (bench.nand.save(), bench.chip.save()) == (other.nand.save(), other.chip.save())
    assert bench.irq.level == other.irq.level
