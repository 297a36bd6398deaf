"""SPI and AC97 driven by ARM programs and by DMA, with devices of a test's own."""

from array import array

import pytest
from bare_metal import BareMetal
from tones import Tape, Tone
from virtual_time import advance

from dbgemu.target.chips.ac97_codec import Ac97Codec
from dbgemu.target.mini2440 import Mini2440

RAM = 0x30000000
SPI0, SPI1 = 0x00, 0x20
CON, STA, PRE, TX, RX = 0x00, 0x04, 0x0C, 0x10, 0x14
POLLED, DMA_MASTER, TAGD = 0x18, 0x58, 1


class Memory:
    """An SPI memory: 3 and an address read, 2 and an address write; selected by 0."""

    def __init__(self) -> None:
        self.cells = bytearray(range(256))
        self.selected = False
        self.command = b""
        self.seen: list[bytes] = []

    def select(self, level: int) -> None:
        if level and self.command:
            self.seen.append(self.command)
        self.selected, self.command = not level, b""

    def transfer(self, byte: int) -> int:
        if not self.selected:
            return 0xFF
        self.command += bytes([byte])
        place = len(self.command) - 3
        if place < 0:
            return 0xFF
        address = self.command[1] + place & 0xFF
        if self.command[0] == 2:
            self.cells[address] = byte
        return self.cells[address]


def start_dma(board: Mini2440, channel: int, source: int, target: int, count: int, request: int) -> None:
    to_memory = target < 0x40000000
    control = 1 << 30 | 1 << 29 | request << 24 | 1 << 23 | 1 << 22 | count
    values = (source, 3 if to_memory else 0, target, 0 if to_memory else 3, control, 2)
    for offset, value in zip((0, 4, 8, 12, 16, 0x20), values, strict=True):
        board.dma.write(0x40 * channel + offset, 4, value)


# -- SPI -------------------------------------------------------------------------------------------


def test_a_program_reads_a_memory_over_spi() -> None:
    memory = Memory()
    guest = BareMetal(
        """
        ldr r0, =0x59000020
        mov r1, #0x18
        strb r1, [r0]               @ master, clock on, polling
        mov r1, #4
        strb r1, [r0, #0xc]
        ldr r6, =0x56000060
        mov r1, #0x10               @ GPG2: output, low
        str r1, [r6]
        mov r1, #0
        str r1, [r6, #4]
        ldr r1, =0x30020000
        ldr r2, =0x30021000
        mov r3, #34
    next:
        ldrb r4, [r1], #1
        strb r4, [r0, #0x10]
    wait:
        ldrb r5, [r0, #4]
        tst r5, #1
        beq wait
        ldrb r4, [r0, #0x14]
        strb r4, [r2], #1
        subs r3, r3, #1
        bne next
        mov r1, #4
        str r1, [r6, #4]            @ no longer selected
        """
    )
    guest.board.spi.attach(1, memory, guest.board.gpio.pin("GPG2"))
    guest.board.bus.poke(RAM + 0x20000, b"\x03\x40" + bytes(32))
    guest.run()
    assert guest.board.bus.peek(RAM + 0x21002, 32) == bytes(range(0x40, 0x60))
    assert memory.seen == [b"\x03\x40" + bytes(32)]


@pytest.mark.parametrize(("channel", "base", "dma"), [(0, SPI0, 1), (1, SPI1, 3)])
def test_dma_sends_a_buffer_in_the_time_that_its_bytes_take(channel: int, base: int, dma: int) -> None:
    board, memory = Mini2440(), Memory()
    pin = board.gpio.pin("GPG2")
    board.spi.attach(channel, memory, pin)
    board.gpio.write(0x60, 4, 1 << 4)
    ends: list[int] = []
    board.dma.interrupts[dma].connect(lambda level: ends.append(board.clock.now) if level else None)
    board.bus.poke(RAM, b"\x02\x10" + bytes(range(100, 200)))
    board.spi.write(base + PRE, 1, 5)
    start_dma(board, dma, RAM, 0x59000010 + base, 102, 3 if channel == 0 else 2)
    begin = board.clock.now
    board.spi.write(base + CON, 1, DMA_MASTER)
    advance(board.clock, 10_000_000)
    byte = 8 * 2 * 6 / 12e6 * 1e9
    # the last byte is still to be shifted when the transfer ends
    assert [end - begin for end in ends] == [pytest.approx(101 * byte, abs=20)]
    assert memory.cells[0x10 : 0x10 + 100] == bytes(range(100, 200))
    assert board.spi.read(base + STA, 1) == 1


def test_dma_receives_with_tagd() -> None:
    board, memory = Mini2440(), Memory()
    board.spi.attach(0, memory)
    memory.select(0)
    for byte in (3, 0x20):
        board.spi.write(CON, 1, POLLED)
        board.spi.write(TX, 1, byte)
        advance(board.clock, 1_000_000)
    board.spi.write(CON, 1, DMA_MASTER | TAGD)
    start_dma(board, 1, 0x59000014, RAM, 201, 3)
    advance(board.clock, 10_000_000)
    # first comes what was received before
    assert board.bus.peek(RAM, 201) == bytes([0xFF, *(0x20 + n & 0xFF for n in range(200))])
    assert not board.dma.read(0x40 + 0x20, 4), "the transfer has ended"


# -- AC97 ------------------------------------------------------------------------------------------

GLBCTRL, GLBSTAT, CMD, STAT, PCM, MIC = 0x00, 0x04, 0x08, 0x0C, 0x18, 0x1C
READY_CAUSE, ON, TRANSFER = 1 << 22, 4, 8
PIO_OUT, DMA_OUT, DMA_IN, DMA_MIC = 1 << 12, 2 << 12, 2 << 10, 2 << 8


class Link:
    """A board with a codec, brought up as a driver does."""

    def __init__(self) -> None:
        self.board = Mini2440()
        self.tape = Tape()
        self.codec = Ac97Codec("ac97codec", mixer=self.board.audio)
        self.ac97 = self.board.ac97
        self.ac97.attach(self.codec)
        for control in (1, 0, ON, ON | TRANSFER):
            self.ac97.write(GLBCTRL, 4, control)

    def wait(self, seconds: float) -> None:
        advance(self.board.clock, round(seconds * 1e9))

    def put(self, register: int, value: int) -> None:
        self.ac97.write(CMD, 4, register << 16 | value)
        assert not self.ac97.read(GLBSTAT, 4) & READY_CAUSE
        self.wait(0.0001)
        assert self.ac97.read(GLBSTAT, 4) & READY_CAUSE

    def get(self, register: int) -> int:
        self.ac97.write(CMD, 4, 1 << 23 | register << 16)
        self.wait(0.0001)
        status = self.ac97.read(STAT, 4)
        assert status >> 16 == register
        return status & 0xFFFF


@pytest.fixture
def link() -> Link:
    return Link()


def test_the_codec_becomes_ready_and_its_registers_answer(link: Link) -> None:
    assert link.ac97.read(GLBSTAT, 4) & 7 == 3
    assert (link.get(0x7C), link.get(0x26), link.get(0x02)) == (0x4442, 0x000F, 0x8000)
    link.put(0x02, 0x0404)
    assert link.get(0x02) == 0x0404
    link.put(0x2C, 8000)
    assert link.get(0x2C) == 48000, "without VRA the rate is fixed"
    link.put(0x2A, 1)
    link.put(0x2C, 8000)
    assert link.get(0x2C) == 8000
    link.ac97.write(GLBCTRL, 4, 1)
    link.ac97.write(GLBCTRL, 4, ON)
    assert link.ac97.read(GLBSTAT, 4) & 7 == 2
    assert link.get(0x02) == 0x8000


def test_the_codec_ready_interrupt_comes_after_each_command(link: Link) -> None:
    line = link.ac97.interrupt
    link.ac97.write(CMD, 4, 1 << 23 | 0x7E << 16)
    link.ac97.write(GLBCTRL, 4, ON | TRANSFER | READY_CAUSE)
    assert not line.level
    link.wait(1.1 / 48000)
    assert line.level
    link.ac97.write(GLBCTRL, 4, ON | TRANSFER)
    assert not line.level


def test_samples_of_dma_are_played_at_the_codecs_rate_and_volume(link: Link) -> None:
    link.board.connect_audio(link.tape, rate=48000)
    link.put(0x02, 0x0000)
    link.put(0x18, 0x0C08)  # left: -6 dB
    samples = Tone(1000).record(48000, 2, 4800)
    link.board.bus.poke(RAM, samples)
    ends: list[int] = []
    link.board.dma.interrupts[1].connect(lambda level: ends.append(link.board.clock.now) if level else None)
    start_dma(link.board, 1, RAM, 0x5B000018, 2 << 20 | 4800, 5)
    begin = link.board.clock.now
    link.ac97.write(GLBCTRL, 4, ON | TRANSFER | DMA_OUT)
    link.wait(0.2)
    assert [end - begin for end in ends] == [pytest.approx((4800 - 16) / 48000 * 1e9, abs=100)]
    expected = array("h", samples)
    assert link.tape.right[:4800] == expected[1::2]
    assert max(link.tape.left) == pytest.approx(5012, abs=5)
    assert link.ac97.read(GLBSTAT, 4) & 1 << 21, "then it ran empty"
    link.ac97.write(GLBCTRL, 4, ON | TRANSFER | 1 << 30)
    assert not link.ac97.read(GLBSTAT, 4) & 1 << 21


def test_samples_come_in_by_dma_in_stereo_and_from_the_microphone(link: Link) -> None:
    link.board.connect_audio(None, Tone(440))
    link.put(0x1C, 0)
    start_dma(link.board, 2, 0x5B000018, RAM, 2 << 20 | 1000, 5)
    link.ac97.write(GLBCTRL, 4, ON | TRANSFER | DMA_IN)
    link.wait(0.05)
    assert link.board.bus.peek(RAM, 4000) == Tone(440).record(48000, 2, 1000)
    link.ac97.write(GLBCTRL, 4, ON | TRANSFER)
    link.board.connect_audio(None, Tone(440))
    start_dma(link.board, 3, 0x5B00001C, RAM, 1 << 20 | 1000, 5)
    link.ac97.write(GLBCTRL, 4, ON | TRANSFER | DMA_MIC)
    link.wait(0.05)
    assert link.board.bus.peek(RAM, 2000) == Tone(440).record(48000, 1, 1000)


def test_by_pio_the_threshold_tells_that_the_fifo_is_half_empty(link: Link) -> None:
    link.ac97.write(GLBCTRL, 4, ON | TRANSFER | PIO_OUT | 1 << 18)
    assert link.ac97.interrupt.level
    for sample in range(16):
        link.ac97.write(PCM, 4, sample)
    assert not link.ac97.interrupt.level
    assert not link.ac97.read(GLBSTAT, 4) & 1 << 18
    link.wait(8.5 / 48000)
    assert link.ac97.read(GLBSTAT, 4) & 1 << 18


def test_the_codecs_registers_are_saved_and_put_back(link: Link) -> None:
    link.put(0x02, 0x0404)
    link.put(0x2A, 1)
    link.put(0x2C, 8000)
    link.ac97.write(GLBCTRL, 4, ON | TRANSFER | DMA_OUT)
    state = link.board.save()
    link.ac97.write(GLBCTRL, 4, 1)
    assert link.codec.MASTER == 0x8000
    link.board.load(state)
    assert (link.codec.MASTER, link.codec.DAC_RATE) == (0x0404, 8000)
    assert link.ac97._out_clock.rate == 8000
    assert link.get(0x02) == 0x0404


def test_a_state_with_a_codec_fits_a_board_without_and_the_other_way_round(link: Link) -> None:
    other = Mini2440()
    with_codec, without = link.board.save(), other.save()
    link.put(0x02, 0x0404)
    other.load(with_codec)
    assert other.ac97.read(GLBSTAT, 4) & 7 == 1, "nobody answers"
    link.board.load(without)
    assert link.codec.MASTER == 0x0404


def test_the_state_of_another_kind_of_codec_is_left_alone(link: Link) -> None:
    class Other(Ac97Codec):
        title = "another codec"

    state = link.board.save()
    link.ac97.attach(other := Other("other", mixer=link.board.audio))
    link.put(0x02, 0x0404)
    link.board.load(state)
    assert other.MASTER == 0x0404
