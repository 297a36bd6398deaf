"""The IIS interface with its FIFOs and DMA, and the codec behind it."""

from array import array

import pytest
from tones import Tape, Tone, is_tone
from virtual_time import advance

from dbgemu.target.audio_mixer import AudioMixer
from dbgemu.target.mini2440 import Mini2440

IISCON, IISMOD, IISPSR, IISFCON, IISFIFO = 0x00, 0x04, 0x08, 0x0C, 0x10
PCLK = 0x4C000014
ON, PRESCALER, TX_IDLE, RX_IDLE, TX_DMA, RX_DMA = 1, 2, 8, 4, 0x20, 0x10
TRANSMIT, RECEIVE, WIDE, SLAVE, FS384 = 0x80, 0x40, 8, 0x100, 4
FCON_TX, FCON_RX, FCON_TX_DMA, FCON_RX_DMA = 0x2000, 0x1000, 0x8000, 0x4000
RAM = 0x30000000
RATE = 12_000_000 // 256 // 3  # the clocks of a reset: the crystal is PCLK


class Board:
    def __init__(self) -> None:
        self.board = Mini2440()
        self.clock = self.board.clock
        self.iis = self.board.iis
        self.tape = Tape()
        self.iis.write(IISPSR, 4, 2 << 5 | 2)
        self.ends: list[int] = []
        for line in self.board.dma.interrupts:
            line.connect(lambda level: self.ends.append(self.clock.now) if level else None)

    def start(self, *, con: int = 0, mod: int = 0, fcon: int = 0) -> None:
        self.iis.write(IISMOD, 4, WIDE | mod)
        self.iis.write(IISFCON, 4, fcon)
        self.iis.write(IISCON, 4, ON | PRESCALER | con)

    def dma(
        self, channel: int, source: int, target: int, count: int, request: int, *, extra: int = 0
    ) -> None:
        """As Linux starts a period: half words, an interrupt at the end, no reload."""
        fixed = 3
        memory_first = source < 0x40000000
        control = 1 << 30 | 1 << 29 | request << 24 | 1 << 23 | 1 << 22 | 1 << 20 | count
        values = (source, 0 if memory_first else fixed, target, fixed if memory_first else 0, control | extra)
        for offset, value in zip((0, 4, 8, 12, 16, 0x20), (*values, 2), strict=True):
            self.board.dma.write(0x40 * channel + offset, 4, value)

    def play(self, frames: int, channel: int = 2) -> None:
        self.dma(channel, RAM, 0x55000010, 2 * frames, 0)

    def wait(self, seconds: float) -> None:
        advance(self.clock, round(seconds * 1e9))


@pytest.fixture
def rig() -> Board:
    return Board()


def sine(frequency: float, frames: int) -> bytes:
    return Tone(frequency).record(RATE, 2, frames)


@pytest.mark.parametrize(
    ("psr", "con", "mod", "rate"),
    [
        (2 << 5, PRESCALER, 0, 12_000_000 / 3 / 256),
        (2 << 5, PRESCALER, FS384, 12_000_000 / 3 / 384),
        (2 << 5, 0, 0, 12_000_000 / 256),
        (0, PRESCALER, 0x200, 12_000_000 / 256),
        (0, PRESCALER, SLAVE, 0),
    ],
)
def test_the_sample_rate_comes_from_prescaler_and_mode(
    rig: Board, psr: int, con: int, mod: int, rate: float
) -> None:
    rig.iis.write(IISPSR, 4, psr)
    rig.start(con=con & ~PRESCALER, mod=mod)
    rig.iis.write(IISCON, 4, ON | con)
    assert rig.iis.sample_rate() == int(rate)


def test_samples_written_by_the_cpu_leave_at_the_sample_rate(rig: Board) -> None:
    rig.board.connect_audio(rig.tape, rate=RATE)
    rig.start(mod=TRANSMIT, fcon=FCON_TX)
    for sample in range(32):
        rig.iis.write(IISFIFO, 2, sample * 100)
    assert rig.iis.peek(IISFCON, 4) >> 6 & 63 == 32
    rig.iis.write(IISFIFO, 2, 0x7FFF)
    assert rig.board.log.count == 1, "the FIFO was full"
    rig.wait(4.5 / RATE)
    assert rig.iis.read(IISFCON, 4) >> 6 & 63 == 24
    assert rig.iis.read(IISCON, 4) & 0x80
    rig.wait(0.01)
    assert not rig.iis.read(IISCON, 4) & 0x80
    assert list(rig.tape.samples[:32]) == [100 * n for n in range(32)]
    assert not any(rig.tape.samples[32:])


def test_a_period_ends_when_its_last_sample_finds_room(rig: Board) -> None:
    rig.board.bus.poke(RAM, sine(1000, 2000))
    rig.play(2000)
    rig.start(con=TX_DMA, mod=TRANSMIT, fcon=FCON_TX | FCON_TX_DMA)
    begin = rig.clock.now
    rig.wait(2000 / RATE)
    # 16 frames are in the FIFO
    assert [end - begin for end in rig.ends] == [pytest.approx(1984 / RATE * 1e9, abs=2000)]


def test_the_position_of_dma_advances_with_each_frame(rig: Board) -> None:
    rig.play(2000)
    rig.start(con=TX_DMA, mod=TRANSMIT, fcon=FCON_TX | FCON_TX_DMA)
    places = []
    for _ in range(40):
        places.append((rig.board.dma.read(0x80 + 0x18, 4) - RAM) // 4)
        rig.wait(1.0001 / RATE)
    assert places == list(range(16, 56))


def test_a_tone_by_dma_in_restarted_periods_has_no_gap(rig: Board) -> None:
    rig.board.connect_audio(rig.tape)
    tone = sine(1000, 8000)
    rig.board.bus.poke(RAM, tone)
    rig.board.dma.interrupts[2].connect(lambda level: level and rig.play(4000))
    rig.play(4000)
    rig.start(con=TX_DMA, mod=TRANSMIT, fcon=FCON_TX | FCON_TX_DMA)
    rig.wait(0.5)
    assert rig.iis._transmit.underruns == 0
    assert rig.tape.rate == 44100
    assert len(rig.tape.left) == pytest.approx(0.5 * 44100, abs=400)
    assert is_tone(rig.tape.left, 44100, 1000)
    assert not is_tone(rig.tape.left, 44100, 1100)
    assert rig.tape.left == rig.tape.right
    assert max(rig.tape.left) == pytest.approx(10000, abs=400)


def test_eight_bit_samples_become_wide_ones(rig: Board) -> None:
    rig.board.connect_audio(rig.tape, rate=RATE)
    rig.board.bus.poke(RAM, bytes([0x10, 0xF0]) * 8)
    rig.dma(2, RAM, 0x55000010, 16, 0)
    rig.board.dma.write(0x80 + 0x10, 4, 0x60C00000 | 16)  # bytes
    rig.board.dma.write(0x80 + 0x20, 4, 2)
    rig.iis.write(IISMOD, 4, TRANSMIT)
    rig.iis.write(IISFCON, 4, FCON_TX | FCON_TX_DMA)
    rig.iis.write(IISCON, 4, ON | PRESCALER | TX_DMA)
    rig.wait(0.01)
    assert list(rig.tape.samples[:16]) == [0x1000, -0x1000] * 8


def test_a_late_restart_is_heard_as_silence_and_counted(rig: Board) -> None:
    rig.board.connect_audio(rig.tape, rate=RATE)
    rig.board.bus.poke(RAM, b"\x01\x10" * 64)
    rig.play(32)
    rig.start(con=TX_DMA, mod=TRANSMIT, fcon=FCON_TX | FCON_TX_DMA)
    rig.wait(64.5 / RATE)
    rig.play(32)
    rig.wait(0.02)
    assert rig.iis._transmit.underruns
    assert list(rig.tape.left[:96]) == [0x1001] * 32 + [0] * 32 + [0x1001] * 32


def test_a_slave_without_a_clock_moves_nothing(rig: Board) -> None:
    rig.play(2000)
    rig.start(con=TX_DMA, mod=TRANSMIT | SLAVE, fcon=FCON_TX | FCON_TX_DMA)
    rig.wait(1)
    assert rig.board.dma.read(0x80 + 0x18, 4) - RAM == 64, "the FIFO is full"
    rig.iis.external_rate = 8000
    rig.iis.write(IISCON, 4, ON | TX_DMA)
    rig.wait(0.1)
    assert rig.board.dma.read(0x80 + 0x18, 4) - RAM == 64 + 4 * 800


def test_received_samples_reach_memory_at_the_sample_rate(rig: Board) -> None:
    rig.board.connect_audio(None, Tone(440))
    rig.dma(1, 0x55000010, RAM, 4000, 2)
    rig.start(con=RX_DMA, mod=RECEIVE, fcon=FCON_RX | FCON_RX_DMA)
    begin = rig.clock.now
    rig.wait(0.5)
    assert [end - begin for end in rig.ends] == [pytest.approx(2000 / RATE * 1e9, abs=2000)]
    recorded = array("h", rig.board.bus.peek(RAM, 8000))
    assert recorded == array("h", Tone(440).record(RATE, 2, 2000))
    assert rig.iis._receive.overruns, "nobody took what came then"


def test_the_cpu_reads_received_samples_and_a_peek_leaves_them(rig: Board) -> None:
    rig.board.connect_audio(None, Tone(440))
    rig.start(mod=RECEIVE, fcon=FCON_RX)
    rig.wait(4.5 / RATE)
    assert rig.iis.read(IISFCON, 4) & 63 == 8
    expected = array("H", Tone(440).record(RATE, 2, 4))
    assert [rig.iis.peek(IISFIFO, 2) for _ in range(2)] == [expected[0]] * 2
    assert array("H", [rig.iis.read(IISFIFO, 2) for _ in range(8)]) == expected
    assert rig.iis.read(IISFCON, 4) & 63 == 0


def test_playing_goes_on_after_save_and_load(rig: Board) -> None:
    rig.board.bus.poke(RAM, sine(700, 8000))
    rig.play(8000)
    rig.start(con=TX_DMA, mod=TRANSMIT, fcon=FCON_TX | FCON_TX_DMA)
    rig.wait(0.1)
    other = Board()
    other.board.clock.load(rig.clock.save())
    other.board.bus.poke(RAM, sine(700, 8000))
    other.board.load(rig.board.save())
    tapes = []
    for board in (rig, other):
        board.ends.clear()
        board.board.connect_audio(board.tape)
        board.wait(1)
        tapes.append((board.tape.samples, board.ends))
    assert tapes[0] == tapes[1]
    assert len(tapes[0][1]) == 1


# -- the codec -------------------------------------------------------------------------------------


class L3:
    """The bus as Linux's sound/soc/codecs/l3.c drives it."""

    def __init__(self, board: Mini2440) -> None:
        self.board = board
        self.levels = 0
        board.gpio.write(0x10, 4, 0x1 << 4 | 0x1 << 6 | 0x1 << 8)

    def set(self, bit: int, level: int) -> None:
        self.levels = self.levels & ~(1 << bit) | level << bit
        self.board.gpio.write(0x14, 4, self.levels)

    def byte(self, value: int) -> None:
        for bit in range(8):
            self.set(4, 0)
            self.set(3, value >> bit & 1)
            self.set(4, 1)

    def write(self, address: int, value: int) -> None:
        for bit in (4, 3, 2):
            self.set(bit, 1)
        self.set(2, 0)
        self.byte(address)
        self.set(2, 1)
        self.byte(value)
        self.set(4, 1)
        self.set(3, 1)
        self.set(2, 0)

    def read(self, address: int) -> int:
        self.set(4, 1)
        self.set(2, 1)
        self.set(2, 0)
        self.byte(address)
        self.set(2, 1)
        self.board.gpio.write(0x10, 4, 0x1 << 4 | 0x1 << 8)  # data: input
        value = 0
        for bit in range(8):
            self.set(4, 0)
            value |= (self.board.gpio.read(0x14, 4) >> 3 & 1) << bit
            self.set(4, 1)
        self.set(2, 0)
        self.board.gpio.write(0x10, 4, 0x1 << 4 | 0x1 << 6 | 0x1 << 8)
        return value


@pytest.mark.parametrize(
    ("address", "value", "register", "stored"),
    [
        (0x16, 0x10, "STATUS0", 0x10),
        (0x16, 0x81, "STATUS1", 0x01),
        (0x14, 0x15, "VOLUME", 0x15),
        (0x14, 0x6B, "TONE", 0x2B),
        (0x14, 0x8C, "MODE", 0x0C),
    ],
)
def test_a_byte_on_the_l3_bus_sets_a_register(
    rig: Board, address: int, value: int, register: str, stored: int
) -> None:
    L3(rig.board).write(address, value)
    assert getattr(rig.board.codec, register) == stored


def test_extended_registers_are_written_in_two_steps(rig: Board) -> None:
    bus = L3(rig.board)
    bus.write(0x14, 0xC2)
    bus.write(0x14, 0xE0 | 0x13)
    assert rig.board.codec.EXTENDED2 == 0x13
    bus.write(0x14, 0xC3)
    bus.write(0x14, 0xFF)
    assert rig.board.codec.EXTENDED2 == 0x13, "there is no register 3"


def test_other_chips_addresses_and_the_reset_bit(rig: Board) -> None:
    bus = L3(rig.board)
    bus.write(0x14, 20)
    bus.write(0x54, 30)
    assert rig.board.codec.VOLUME == 20
    bus.write(0x16, 0x40)
    assert rig.board.codec.VOLUME == 0


@pytest.mark.parametrize(
    ("writes", "gain"),
    [
        ([], 1),
        ([(0x14, 1)], 1),
        ([(0x14, 7)], 0.5012),
        ([(0x14, 62)], 0),
        ([(0x14, 0x84)], 0),
        ([(0x16, 0x82)], 0),
        ([(0x16, 0xC3), (0x14, 7)], 1),
    ],
)
def test_volume_mute_and_power_are_applied(rig: Board, writes: list[tuple[int, int]], gain: float) -> None:
    bus = L3(rig.board)
    for address, value in writes:
        bus.write(address, value)
    rig.board.connect_audio(rig.tape, rate=8000)
    rig.board.codec.play(8000, 2, array("h", [10000, -10000] * 10).tobytes())
    assert list(rig.tape.samples[:2]) == pytest.approx([10000 * gain, -10000 * gain], abs=2)


def test_the_mixer_of_inputs_has_gains(rig: Board) -> None:
    bus = L3(rig.board)
    rig.board.connect_audio(None, Tone(440))
    bus.write(0x14, 0xC2)
    bus.write(0x14, 0xE3)
    bus.write(0x14, 0xC0)
    bus.write(0x14, 0xFF)
    bus.write(0x14, 0xC1)
    bus.write(0x14, 0xE0)
    loud = array("h", rig.board.codec.record(8000, 2, 400))
    assert max(loud) == pytest.approx(14125, abs=60), "6 dB of the mixer, -3 dB of the input's own gain"
    bus.write(0x16, 0x81)
    assert not any(rig.board.codec.record(8000, 2, 400)), "the ADC is off"


def test_the_peak_level_is_read_over_the_bus(rig: Board) -> None:
    bus = L3(rig.board)
    assert bus.read(0x15) == 0
    rig.board.codec.play(8000, 2, array("h", [0x4000, -0x4000]).tobytes())
    assert bus.read(0x15) == 59, "6 dB below the top"
    assert bus.read(0x15) == 0, "since it was read last"


# -- the mixer -------------------------------------------------------------------------------------


def test_two_voices_are_heard_together_and_clipped() -> None:
    mixer, tape = AudioMixer(), Tape()
    mixer.connect(tape, 8000)
    first, second = mixer.voice("first"), mixer.voice("second")
    first.play(8000, 1, array("h", [1000, 30000]).tobytes())
    second.play(8000, 1, array("h", [200, 30000, 7]).tobytes())
    assert list(tape.left) == [1000, 30000], "the second voice began when this was heard"
    first.play(8000, 1, array("h", [1, 30000, 1]).tobytes())
    assert list(tape.left) == [1000, 30000, 201, 32767, 8]
    first.stop()
    second.play(8000, 1, array("h", [5]).tobytes())
    assert list(tape.left)[-1] == 5


def test_a_voice_that_stalls_does_not_hold_the_others_up_for_ever() -> None:
    mixer, tape = AudioMixer(), Tape()
    mixer.connect(tape, 8000)
    stalled, other = mixer.voice("stalled"), mixer.voice("other")
    stalled.play(8000, 1, array("h", [1] * 10).tobytes())
    for _ in range(30):
        other.play(8000, 1, array("h", [2] * 800).tobytes())
    assert len(tape.left) > 8000


def test_resampling_goes_on_between_calls() -> None:
    mixer, tape = AudioMixer(), Tape()
    mixer.connect(tape, 44100)
    voice, tone = mixer.voice("voice"), Tone(500)
    for frames in (1, 7, 160, 3, 1000, 2000, 829):
        voice.play(8000, 2, tone.record(8000, 2, frames))
    assert len(tape.left) == 4000 * 44100 // 8000
    assert is_tone(tape.left, 44100, 500, 0.002)
    assert max(abs(b - a) for a, b in zip(tape.left, tape.left[1:], strict=False)) < 800, "no click"
