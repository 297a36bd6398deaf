"""``dump``: memories as text and files; NAND pages checked against their error correction code."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from dbgemu.debug.hexdump import hexdump
from dbgemu.debug.nand_check import Ecc, read_page
from dbgemu.debug.session import DebugSession
from dbgemu.machine import Machine
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.monitor import Monitor
from dbgemu.target.chips.nand_parts import PARTS, NandPart
from dbgemu.target.mini2440 import Mini2440
from dbgemu.target.s3c2440.nand import NandController


def make(part: NandPart) -> Monitor:
    return Monitor(DebugSession(Machine(Mini2440(nand_part=part), warp=True)))


@pytest.fixture(scope="module")
def small() -> Monitor:
    return make(PARTS["K9F1208"])


def controller_code(nand: NandController, data: bytes) -> bytes:
    """What the controller computes when ``data`` passes: the three bytes that Linux stores."""
    nand._settle_ecc()
    nand._main.clear()
    nand._main.feed(data)
    code = nand.peek(NandController.NFMECC0.offset, 4)
    nand._main.clear()
    return code.to_bytes(4, "little")[:3]


def contents(page: int, size: int) -> bytes:
    return random.Random(page).randbytes(size)


def program(monitor: Monitor, page: int, damage: Callable[[bytearray], None] | None = None) -> None:
    """A page as Linux's driver leaves it, then damaged."""
    board = monitor.session.machine.board
    part = board.nand_chip.part
    main = contents(page, part.page_size)
    step = 256 if part.large_page else 512
    codes = b"".join(
        controller_code(board.nand, main[place : place + step]) for place in range(0, len(main), step)
    )
    spare = bytearray(b"\xff" * part.spare_size)
    place = part.spare_size - len(codes) if part.large_page else 0
    spare[place : place + len(codes)] = codes
    raw = bytearray(main + spare)
    if damage is not None:
        damage(raw)
    board.nand_chip.cells.write(page, bytes(raw))


def flip(*places: tuple[int, int]) -> Callable[[bytearray], None]:
    def damage(raw: bytearray) -> None:
        for byte, bit in places:
            raw[byte] ^= 1 << bit

    return damage


def steps(monitor: Monitor, page: int) -> list[tuple[Ecc, int | None, int | None]]:
    found = read_page(monitor.session.machine.board.nand_chip, page)
    return [(step.result, step.byte, step.bit) for step in found.steps]


def test_a_good_page_and_an_erased_one(small: Monitor) -> None:
    program(small, 5)
    assert steps(small, 5) == [(Ecc.OK, None, None)]
    assert steps(small, 6) == [(Ecc.BLANK, None, None)]


@pytest.mark.parametrize(("byte", "bit"), [(0, 0), (77, 3), (255, 7), (256, 1), (511, 7)])
def test_one_wrong_bit_is_named(small: Monitor, byte: int, bit: int) -> None:
    program(small, 7, flip((byte, bit)))
    assert steps(small, 7) == [(Ecc.CORRECTABLE, byte, bit)]


def test_two_wrong_bits_a_wrong_code_and_no_code(small: Monitor) -> None:
    program(small, 8, flip((3, 0), (9, 4)))
    program(small, 9, flip((512 + 1, 2)))
    assert steps(small, 8) == [(Ecc.UNCORRECTABLE, None, None)]
    assert steps(small, 9) == [(Ecc.CODE_WRONG, None, None)]
    small.session.machine.board.nand_chip.cells.write(10, contents(10, 512) + b"\xff" * 16)
    assert steps(small, 10) == [(Ecc.NO_CODE, None, None)]


def test_large_pages_have_eight_codes_at_the_end_of_the_spare_bytes() -> None:
    monitor = make(PARTS["K9F2G08"])
    program(monitor, 3, flip((2047, 6)))
    assert steps(monitor, 3) == [(Ecc.OK, None, None)] * 7 + [(Ecc.CORRECTABLE, 2047, 6)]


def test_dump_nand_page_shows_data_spare_bytes_and_the_verdict(small: Monitor) -> None:
    program(small, 33, flip((1, 5)))
    report = small.run("dump nand page 33")
    lines = report.text.splitlines()
    assert lines[0] == "page 33 (page 1 of block 1, offset 0x4200): one wrong bit"
    data = bytearray(contents(33, 512))
    data[1] ^= 1 << 5
    assert lines[1].startswith(f"00000000  {data[:8].hex(' ')}  {data[8:16].hex(' ')}  |")
    assert lines[-1].startswith("ECC, bytes 0 to 511: one wrong bit, bit 5 of byte 1 (stored code ")
    assert (report.data["ecc"][0]["result"], report.data["ecc"][0]["byte"]) == ("one wrong bit", 1)


def test_bad_blocks_are_those_that_carry_a_mark(small: Monitor) -> None:
    chip = small.session.machine.board.nand_chip
    assert small.run("dump nand bad").text == "none of the 4096 blocks is marked bad"
    raw = bytearray(b"\xff" * 528)
    raw[512 + 5] = 0
    chip.cells.write(32 * 40 + 1, bytes(raw))
    assert small.run("dump nand bad").text == "block 40 (offset 0xa0000): mark 00"
    assert "marked bad" in small.run("dump nand page 1281").text
    chip.cells.erase(32 * 40, 32)


def test_a_range_of_each_memory_is_shown(small: Monitor) -> None:
    board = small.session.machine.board
    board.eeprom.contents[0x40:0x46] = b"dbgemu"
    assert small.run("dump eeprom 0x40 16").text.splitlines() == [
        "00000040  64 62 67 65 6d 75 ff ff  ff ff ff ff ff ff ff ff  |dbgemu..........|",
        "00000050",
    ]
    board.nor.memory.data[0x1FFFF0:0x200000] = bytes(range(16))
    assert small.run("dump nor 0x1ffff0").data["data"] == bytes(range(16)).hex()
    program(small, 0)
    program(small, 1)
    data = bytes.fromhex(small.run("dump nand 510 4").data["data"])
    assert data == contents(0, 512)[510:] + contents(1, 512)[:2]


def test_files_get_everything_or_the_range(small: Monitor, tmp_path: Path) -> None:
    board = small.session.machine.board
    assert small.run(f"dump eeprom to {tmp_path}/e").text == f"1024 bytes written to {tmp_path}/e"
    assert (tmp_path / "e").read_bytes() == bytes(board.eeprom.contents)
    small.run(f"dump sram 0x10 0x20 to {tmp_path}/s")
    assert (tmp_path / "s").read_bytes() == bytes(board.sram.data[0x10:0x30])
    small.run(f"dump nand page 1 to {tmp_path}/p")
    assert (tmp_path / "p").stat().st_size == 528
    small.run(f"dump nand block 1 to {tmp_path}/b")
    assert (tmp_path / "b").stat().st_size == 16384


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dump nand page 131072", "K9F1208 has pages 0 to 131071, not 131072"),
        ("dump nand block 4096", "K9F1208 has blocks 0 to 4095, not 4096"),
        ("dump eeprom 1024", "offset 0x400 is behind the end of eeprom, which has 0x400 bytes"),
        ("dump eeprom 0 1025", "1025 bytes from 0x0 do not lie in eeprom, which has 0x400 bytes"),
        ("dump eeprom to", "'to' is followed by the name of one file"),
        ("dump eeprom to /nowhere/at/all", "'/nowhere/at/all' cannot be written: No such file or directory"),
        ("dump nand page", "'dump nand page' is used as: dump nand page page [to] [file]"),
    ],
)
def test_what_cannot_be_dumped_makes_one_sentence(small: Monitor, line: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        small.run(line)
    assert str(caught.value) == message


def test_repeated_lines_are_folded_but_the_end_is_shown() -> None:
    data = b"A" * 16 + bytes(64) + b"B" * 3
    assert list(hexdump(data)) == [
        "00000000  41 41 41 41 41 41 41 41  41 41 41 41 41 41 41 41  |AAAAAAAAAAAAAAAA|",
        "00000010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|",
        "*",
        "00000050  42 42 42                                          |BBB|",
        "00000053",
    ]
