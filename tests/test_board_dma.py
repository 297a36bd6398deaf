"""DMA between memory and the board's parts, programmed through the bus as a driver does."""

from __future__ import annotations

import pytest
from virtual_time import advance

from dbgemu.target.block import MemoryMedium
from dbgemu.target.chips.sd_card import SdCard
from dbgemu.target.mini2440 import Mini2440
from dbgemu.target.s3c2440.dma import SOURCES

DMA, SDI, UART = 0x4B000000, 0x5A000000, (0x50000000, 0x50004000, 0x50008000)
DISRC, DISRCC, DIDST, DIDSTC, DCON, DSTAT, DMASKTRIG = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x20
#: handshake, interrupt at the end, hardware's requests, no reload
CONTROL = 1 << 31 | 1 << 29 | 1 << 23 | 1 << 22
FIXED_ON_APB = 3
WORD = 2 << 20
MEMORY = 0x30100000


def source(name: str, channel: int) -> int:
    """DCON's HWSRCSEL for this request on this channel."""
    return SOURCES[channel].index(name) << 24


class Bench:
    def __init__(self) -> None:
        self.board = Mini2440()

    def write(self, address: int, value: int) -> None:
        self.board.bus.write(address, 4, value)

    def read(self, address: int) -> int:
        return self.board.bus.read(address, 4)

    def wait(self, milliseconds: float) -> None:
        advance(self.board.clock, round(milliseconds * 1e6))

    def channel(self, number: int, begin: int, target: int, control: int) -> None:
        """Let the channel move from ``begin`` to ``target``; the part's side stays at its address."""
        base = DMA + 0x40 * number
        for offset, value in (
            (DISRC, begin),
            (DISRCC, 0 if begin == MEMORY else FIXED_ON_APB),
            (DIDST, target),
            (DIDSTC, 0 if target == MEMORY else FIXED_ON_APB),
            (DCON, CONTROL | control),
            (DMASKTRIG, 2),
        ):
            self.write(base + offset, value)

    def done(self, number: int) -> bool:
        """Nothing is left, and the channel has asked for its interrupt."""
        left = self.read(DMA + 0x40 * number + DSTAT) & 0xFFFFF
        return left == 0 and bool(self.board.intc.SRCPND >> 17 + number & 1)

    def command(self, index: int, argument: int = 0, flags: int = 0x200) -> int:
        """Send a command to the card; the first word of its answer."""
        self.write(SDI + 0x08, argument)
        self.write(SDI + 0x0C, 0x140 | index | flags)
        self.wait(1)
        self.write(SDI + 0x10, 0x1E00)
        return self.read(SDI + 0x14)

    def insert(self) -> MemoryMedium:
        """A card in transfer state, with four data lines."""
        medium = MemoryMedium(4 << 20)
        self.board.sd_slot.insert(SdCard("card", medium, clock=self.board.clock))
        self.write(SDI + 0x00, 1)
        self.write(SDI + 0x04, 1)
        self.command(0, 0, 0)
        self.command(8, 0x1AA)
        for _ in range(10):
            self.command(55)
            if self.command(41, 0x40FF8000) >> 31:
                break
        self.command(2, 0, 0x600)
        address = self.command(3) & 0xFFFF0000
        self.command(7, address)
        self.command(55, address)
        self.command(6, 2)
        return medium


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("number", range(4))
def test_a_channel_reads_blocks_of_the_card_into_memory(bench: Bench, number: int) -> None:
    medium = bench.insert()
    medium.data[: 8 * 512] = bytes(place * 7 & 0xFF for place in range(8 * 512))
    bench.channel(number, SDI + 0x40, MEMORY, WORD | source("SDI", number) | 8 * 512 // 4)
    bench.write(SDI + 0x24, 0x7FFFFF)
    bench.write(SDI + 0x28, 512)
    # receive after the command, blocks, four lines, DMA, words
    bench.write(SDI + 0x2C, 1 << 19 | 2 << 22 | 1 << 17 | 1 << 16 | 1 << 15 | 1 << 14 | 2 << 12 | 8)
    bench.command(18, 0)
    bench.wait(20)
    assert bench.read(SDI + 0x34) & 0x7F0 == 0x10, "data finished, no error"
    assert bench.done(number)
    assert bench.board.bus.peek(MEMORY, 8 * 512) == bytes(medium.data[: 8 * 512])


def test_a_channel_writes_blocks_of_memory_to_the_card(bench: Bench) -> None:
    medium = bench.insert()
    data = bytes(place * 5 & 0xFF for place in range(4 * 512))
    bench.board.bus.poke(MEMORY, data)
    bench.channel(0, MEMORY, SDI + 0x40, WORD | source("SDI", 0) | 4 * 512 // 4)
    bench.write(SDI + 0x24, 0x7FFFFF)
    bench.write(SDI + 0x28, 512)
    # transmit after the response
    bench.write(SDI + 0x2C, 1 << 20 | 2 << 22 | 1 << 17 | 1 << 16 | 1 << 15 | 1 << 14 | 3 << 12 | 4)
    bench.command(25, 0x200)
    bench.wait(20)
    assert bench.read(SDI + 0x34) & 0x7F0 == 0x10
    assert bench.done(0)
    assert bytes(medium.data[0x200 : 0x200 + len(data)]) == data


@pytest.mark.parametrize(("port", "channel"), [(0, 0), (1, 1), (2, 3)])
def test_a_serial_port_sends_and_receives_by_dma(bench: Bench, port: int, channel: int) -> None:
    uart, base, sent = bench.board.uarts[port], UART[port], bytearray()
    uart.on_transmit = sent.append
    text = b"sent by the DMA controller, without a single access of the CPU's\n"
    bench.board.bus.poke(MEMORY, text)
    request = source(f"UART{port}", channel)
    dma_mode = 2 if port != 1 else 3  # UM 11, UCONn: DMA0 and DMA3, or DMA1
    for offset, value in ((0x00, 3), (0x08, 7), (0x28, 6), (0x04, dma_mode << 2)):
        bench.write(base + offset, value)
    bench.channel(channel, MEMORY, base + 0x20, request | len(text))
    bench.wait(20)
    assert bytes(sent) == text
    assert bench.done(channel)
    bench.board.bus.write(0x4A000000, 4, 0xFFFFFFFF)
    bench.write(base + 0x04, dma_mode)
    bench.channel(channel, base + 0x24, MEMORY, request | 10)
    uart.receive(b"0123456789")
    bench.wait(20)
    assert bench.board.bus.peek(MEMORY, 10) == b"0123456789"
    assert bench.done(channel)
