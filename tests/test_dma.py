"""The DMA channels' registers, used the way Linux's s3c24xx-dma.c does."""

import pytest

from dbgemu.target.s3c2440.dma import Dma

DISRC, DISRCC, DIDST, DIDSTC, DCON, DSTAT, DCSRC, DCDST, DMASKTRIG = range(0x00, 0x24, 4)
NAMES = ("DISRC", "DISRCC", "DIDST", "DIDSTC", "DCON", "DSTAT", "DCSRC", "DCDST", "DMASKTRIG")
BUSY, STOP, ON = 1 << 20, 4, 2


@pytest.fixture
def dma() -> Dma:
    return Dma("dma")


def start(dma: Dma, base: int) -> None:
    """s3c24xx_dma_start_next_sg() for 512 bytes to the SD interface."""
    dma.write(base + DISRC, 4, 0x30001000)
    dma.write(base + DISRCC, 4, 0)
    dma.write(base + DIDST, 4, 0x5A000040)
    dma.write(base + DIDSTC, 4, 3)
    dma.write(base + DCON, 4, 0xA2C00000 | 128)
    dma.write(base + DMASKTRIG, 4, dma.read(base + DMASKTRIG, 4) & ~STOP | ON)


@pytest.mark.parametrize("channel", range(4))
def test_each_channel_has_nine_registers_0x40_apart_that_reset_to_zero(dma: Dma, channel: int) -> None:
    for i, name in enumerate(NAMES):
        assert dma.registers[f"{name}{channel}"].offset == 0x40 * channel + 4 * i
        assert dma.read(0x40 * channel + 4 * i, 4) == 0


@pytest.mark.parametrize("channel", range(4))
def test_turning_a_channel_on_loads_its_current_values(dma: Dma, channel: int) -> None:
    base = 0x40 * channel
    start(dma, base)
    assert dma.read(base + DCSRC, 4) == 0x30001000
    assert dma.read(base + DCDST, 4) == 0x5A000040
    assert dma.read(base + DSTAT, 4) == 128, "none of the 128 words has moved, and not busy"
    assert dma.read(base + DMASKTRIG, 4) == ON
    others = [dma.read(0x40 * other + DSTAT, 4) for other in range(4) if other != channel]
    assert others == [0, 0, 0]


def test_stop_turns_a_channel_off_at_once(dma: Dma) -> None:
    start(dma, 0)
    dma.write(DMASKTRIG, 4, STOP)
    assert dma.read(DMASKTRIG, 4) == 0
    assert dma.read(DSTAT, 4) == 0
    start(dma, 0)
    assert dma.read(DSTAT, 4) == 128


def test_a_channel_that_is_on_is_not_loaded_again(dma: Dma) -> None:
    start(dma, 0)
    dma.write(DISRC, 4, 0x31000000)
    dma.write(DMASKTRIG, 4, ON)
    assert dma.read(DCSRC, 4) == 0x30001000


def test_addresses_have_31_bits(dma: Dma) -> None:
    dma.write(DISRC, 4, 0xFFFFFFFF)
    assert dma.read(DISRC, 4) == 0x7FFFFFFF


def test_the_request_sources_of_each_channel_are_named(dma: Dma) -> None:
    # the SD interface is source 2 of channels 0 and 2, 6 of 1, 1 of 3 (as in Linux's s3c2440 tables)
    for channel, source in ((0, 2), (1, 6), (2, 2), (3, 1)):
        field = dma.registers[f"DCON{channel}"]["HWSRCSEL"]
        assert field.describe(source << 24) == f"HWSRCSEL={source:#x} (SDI)"


def test_current_values_cannot_be_written(dma: Dma) -> None:
    dma.write(DCSRC, 4, 1)
    assert dma.read(DCSRC, 4) == 0
    assert dma.log.count == 1
