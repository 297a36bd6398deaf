"""MemoryController: reset values, the OM pins, what a bootloader leaves."""

from __future__ import annotations

from dbgemu.target.s3c2440.memory_controller import MemoryController


def values(memc: MemoryController) -> list[int]:
    return [entry.value for entry in memc.dump()]


def test_registers_have_the_reset_values_of_the_manual() -> None:
    assert values(MemoryController()) == [0, *[0x700] * 6, 0x18008, 0x18008, 0xAC0000, 0, 0, 0]


def test_thirteen_registers_fill_consecutive_words() -> None:
    assert [register.offset for register in MemoryController.registers.values()] == list(range(0, 0x34, 4))


def test_dw0_shows_the_om_pins_and_cannot_be_written() -> None:
    memc = MemoryController(om=1)
    assert memc.read(0, 4) == 0b010
    memc.write(0, 4, 0xFFFFFFFF)
    assert memc.read(0, 4) == 0xFFFFFFF2
    memc.reset()
    assert memc.read(0, 4) == 0b010
    nand_boot = MemoryController(om=0)
    nand_boot.write(0, 4, 0x22011116)
    assert nand_boot.read(0, 4) == 0x22011110


def test_registers_hold_what_is_written_and_reset_restores_them() -> None:
    memc = MemoryController()
    before = values(memc)
    for offset in range(4, 0x34, 4):
        memc.write(offset, 4, 0x1000 + offset)
        assert memc.read(offset, 4) == 0x1000 + offset
    memc.reset()
    assert values(memc) == before


def test_bootloader_defaults_describe_a_mini2440s_sdram() -> None:
    memc = MemoryController(om=1)
    memc.set_bootloader_defaults()
    cls = MemoryController
    assert cls.BWSCON["DW6"].get(memc.BWSCON) == cls.BWSCON["DW7"].get(memc.BWSCON) == 2
    assert cls.BWSCON["DW4"].get(memc.BWSCON) == cls.BWSCON["WS4"].get(memc.BWSCON) == 1
    assert cls.BWSCON["DW0"].get(memc.BWSCON) == 1
    assert cls.BANKCON6["MT"].get(memc.BANKCON6) == 3
    assert cls.BANKCON6["SCAN"].get(memc.BANKCON6) == 1
    assert cls.BANKCON4["TCOS"].get(memc.BANKCON4) == 3
    assert cls.BANKCON4["TACC"].get(memc.BANKCON4) == 7
    assert cls.REFRESH["REFEN"].get(memc.REFRESH) == 1
    assert cls.REFRESH["COUNTER"].get(memc.REFRESH) == 1049
    assert cls.BANKSIZE["BK76MAP"].get(memc.BANKSIZE) == 2
    assert cls.MRSRB6["CL"].get(memc.MRSRB6) == 3


def test_fields_are_decoded_in_dumps() -> None:
    memc = MemoryController()
    assert "TACC=0x7 (14 clocks)" in MemoryController.BANKCON0.describe(memc.BANKCON0)
    assert "MT=0x3 (SDRAM)" in MemoryController.BANKCON7.describe(memc.BANKCON7)


def test_a_saved_state_comes_back() -> None:
    memc = MemoryController()
    memc.set_bootloader_defaults()
    other = MemoryController()
    other.load(memc.save())
    assert values(other) == values(memc)
