"""What the options make of the board before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbgemu.emulator import Emulator, boot_plan, boot_switch
from dbgemu.errors import OptionError
from dbgemu.options import parse_command_line
from dbgemu.target.mini2440 import BootSwitch

NAND_SIZE, NOR_SIZE = 64 << 20, 2 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.bin"
    path.write_bytes(b"\x00\x00\xa0\xe1" * 4)
    return path


@pytest.mark.parametrize(
    ("line", "switch"),
    [
        ("-mtdblock IMAGE", BootSwitch.NAND),
        ("-pflash IMAGE", BootSwitch.NOR),
        ("-pflash IMAGE -mtdblock IMAGE", BootSwitch.NOR),
        ("-kernel IMAGE", BootSwitch.NOR),
        ("-kernel IMAGE -mtdblock IMAGE", BootSwitch.NOR),
        ("-demo", BootSwitch.NOR),
        ("-S", BootSwitch.NOR),
    ],
)
def test_the_boot_switch_follows_what_is_to_be_booted(line: str, switch: BootSwitch, image: Path) -> None:
    options = parse_command_line(line.replace("IMAGE", str(image)).split())
    assert boot_switch(options, boot_plan(options)) is switch


def test_the_board_is_as_the_options_say(image: Path) -> None:
    line = f"-kernel {image} -m 32 -nand K9F1G08 -rtc base=2025-01-31T12:34:56 -icount shift=1 -serial null"
    with Emulator(parse_command_line([*line.split(), "-append", "quiet"])) as emulator:
        board = emulator.machine.board
        assert board.sdram.size == 32 << 20
        assert board.nand_chip.part.name == "K9F1G08"
        assert board.clock.period_ps == 2000
        second, minute, hour = (board.rtc.peek(offset, 1) for offset in (0x70, 0x74, 0x78))
        assert (hour, minute, second) == (0x12, 0x34, 0x56)
        assert emulator.machine.cpu.read_register("pc") == 0x30008000
        assert emulator.machine.cpu.read_register("r1") == 1999
        assert emulator.machine.cpu.read_memory(0x30008000, 4) == b"\x00\x00\xa0\xe1"
        assert b"quiet\0" in emulator.machine.cpu.read_memory(0x30000100, 64)


def test_a_reset_puts_back_what_was_loaded(image: Path) -> None:
    with Emulator(parse_command_line(["-kernel", str(image), "-serial", "null"])) as emulator:
        cpu = emulator.machine.cpu
        cpu.write_memory(0x30008000, b"\0" * 4)
        cpu.write_register("pc", 0)
        emulator.machine.reset()
        assert cpu.read_memory(0x30008000, 4) == b"\x00\x00\xa0\xe1"
        assert cpu.read_register("pc") == 0x30008000


def test_a_snapshot_leaves_the_image_as_it_is(image: Path) -> None:
    before = image.read_bytes()
    for option, changed in (("-snapshot", False), ("-warp", True)):
        with Emulator(
            parse_command_line(["-mtdblock", str(image), option, "-serial", "null", "-S"])
        ) as emulator:
            chip = emulator.machine.board.nand_chip
            page = bytearray(chip.read_pages(0, 1))
            assert bytes(page[:16]) == before
            erase_first_block(emulator)
        assert (image.read_bytes() != before) is changed


def erase_first_block(emulator: Emulator) -> None:
    """Erase block 0 as a driver does: through the controller's registers."""
    bus = emulator.machine.board.bus
    conf, cont, command, address, status = (0x4E000000 + offset for offset in (0, 4, 8, 12, 0x20))
    bus.write(conf, 4, 0x2330)
    bus.write(cont, 4, 1)
    bus.write(command, 1, 0x60)
    for _ in range(3):
        bus.write(address, 1, 0)
    bus.write(command, 1, 0xD0)
    emulator.machine.board.clock.skip(10_000_000)
    emulator.machine.board.clock.run_due()
    assert bus.read(status, 4) & 1


@pytest.mark.parametrize("option", ["-mtdblock", "-pflash"])
def test_an_image_larger_than_its_chip_is_refused(option: str, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2 * NAND_SIZE)
    with pytest.raises(OptionError, match="large has 134217728 bytes"):
        Emulator(parse_command_line([option, str(path), "-serial", "null"]))


def test_resources_are_given_back_when_something_fails(tmp_path: Path, image: Path) -> None:
    socket = tmp_path / "gdb"
    with pytest.raises(OptionError):
        Emulator(
            parse_command_line(
                ["-kernel", str(image), "-gdb", f"unix:{socket}", "-serial", f"unix:{tmp_path}/none"]
            )
        )
    assert not socket.exists()
