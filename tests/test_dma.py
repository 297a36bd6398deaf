"""The DMA channels, used the way Linux's s3c24xx-dma.c does, and as bare-metal programs may."""

import pytest
from virtual_time import advance

from dbgemu.target.bus import Bus
from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.memory import Memory
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.dma import Dma
from dbgemu.target.s3c2440.dma_port import DmaPort

DISRC, DISRCC, DIDST, DIDSTC, DCON, DSTAT, DCSRC, DCDST, DMASKTRIG = range(0x00, 0x24, 4)
SWTRIG, HW, WHOLE, INTERRUPT, NO_RELOAD, WORD, BURST = 1, 1 << 23, 1 << 27, 1 << 29, 1 << 22, 2 << 20, 1 << 28
RAM = 0x30000000
NAMES = ("DISRC", "DISRCC", "DIDST", "DIDSTC", "DCON", "DSTAT", "DCSRC", "DCDST", "DMASKTRIG")
BUSY, STOP, ON = 1 << 20, 4, 2


class Bench:
    """The controller on a bus with a memory, and the interrupts it raised."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.bus = Bus()
        self.ram = Memory("ram", 1 << 20)
        self.bus.map(RAM, self.ram)
        self.interrupts: list[int] = []
        lines = [Line(f"INT_DMA{n}") for n in range(4)]
        for number, line in enumerate(lines):
            line.connect(lambda level, number=number: self.interrupts.append(number) if level else None)
        self.dma = Dma(
            "dma", bus=self.bus, clock=self.clock, clocks=FixedClocks(), interrupts=lines, log=self.bus.log
        )
        self.bus.map(0x4B000000, self.dma)

    def set_up(self, source: int, target: int, control: int, *, fixed: tuple[int, int] = (0, 0)) -> None:
        for offset, value in (
            (DISRC, source),
            (DISRCC, fixed[0]),
            (DIDST, target),
            (DIDSTC, fixed[1]),
            (DCON, control),
        ):
            self.dma.write(offset, 4, value)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def dma(bench: Bench) -> Dma:
    return bench.dma


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


# -- moving ------------------------------------------------------------------------------------------


def test_a_software_request_for_whole_service_copies_and_interrupts_once(bench: Bench) -> None:
    text = bytes(range(256)) * 16
    bench.ram.data[: len(text)] = text
    bench.set_up(RAM, RAM + 0x8000, INTERRUPT | WHOLE | NO_RELOAD | WORD | len(text) // 4)
    bench.dma.write(DMASKTRIG, 4, ON | SWTRIG)
    assert bench.dma.read(DSTAT, 4) & BUSY
    advance(bench.clock, 1_000_000)
    assert bench.ram.data[0x8000 : 0x8000 + len(text)] == text
    assert bench.interrupts == [0]
    assert bench.dma.read(DMASKTRIG, 4) == 0, "without auto-reload the channel goes off"
    assert bench.dma.read(DSTAT, 4) == 0
    assert bench.dma.read(DCDST, 4) == RAM + 0x8000 + len(text)


def test_who_reads_the_count_finds_the_bytes_that_it_says_have_moved(bench: Bench) -> None:
    bench.ram.data[:4000] = b"x" * 4000
    bench.set_up(RAM, RAM + 0x8000, WHOLE | NO_RELOAD | WORD | 1000)
    bench.dma.write(DMASKTRIG, 4, ON | SWTRIG)
    advance(bench.clock, 10_000)
    assert bench.ram.data[0x8000] == 0, "a peek moves nothing"
    seen = bench.dma.peek(DSTAT, 4) & 0xFFFFF
    left = bench.dma.read(DSTAT, 4) & 0xFFFFF
    assert 0 < left < 1000
    assert left == seen
    moved = 4 * (1000 - left)
    assert bytes(bench.ram.data[0x8000 : 0x8000 + moved]) == b"x" * moved
    assert bench.ram.data[0x8000 + moved] == 0


def test_stop_in_the_middle_leaves_the_rest_alone(bench: Bench) -> None:
    bench.ram.data[:4000] = b"x" * 4000
    bench.set_up(RAM, RAM + 0x8000, INTERRUPT | WHOLE | WORD | 1000)
    bench.dma.write(DMASKTRIG, 4, ON | SWTRIG)
    advance(bench.clock, 10_000)
    bench.dma.write(DMASKTRIG, 4, STOP)
    moved = bytes(bench.ram.data[0x8000:0x9000]).count(b"x")
    assert 0 < moved < 4000
    advance(bench.clock, 1_000_000)
    assert bytes(bench.ram.data[0x8000:0x9000]).count(b"x") == moved
    assert bench.interrupts == []
    assert bench.dma.read(DMASKTRIG, 4) == 0


def test_single_service_moves_one_transfer_for_each_software_request(bench: Bench) -> None:
    bench.ram.data[:32] = bytes(range(32))
    bench.set_up(RAM, RAM + 0x100, INTERRUPT | NO_RELOAD | WORD | BURST | 2)
    bench.dma.write(DMASKTRIG, 4, ON | SWTRIG)
    assert bytes(bench.ram.data[0x100:0x120]) == bytes(range(16)) + bytes(16), "a burst of four words"
    assert bench.dma.read(DSTAT, 4) == 1
    bench.dma.write(DMASKTRIG, 4, ON | SWTRIG)
    assert bytes(bench.ram.data[0x100:0x120]) == bytes(range(32))
    assert bench.interrupts == [0]


def test_auto_reload_starts_over_at_the_initial_addresses(bench: Bench) -> None:
    bench.ram.data[:4] = b"abcd"
    bench.set_up(RAM, RAM + 0x100, INTERRUPT | 2)
    for _ in range(3):
        bench.dma.write(DMASKTRIG, 4, ON | SWTRIG)
    assert bytes(bench.ram.data[0x100:0x103]) == b"ab\0"
    assert bench.interrupts == [0]
    assert bench.dma.read(DSTAT, 4) == 1
    assert bench.dma.read(DMASKTRIG, 4) == ON


def test_a_fixed_source_fills_memory_and_a_fixed_target_keeps_the_last(bench: Bench) -> None:
    bench.ram.data[:8] = b"abcdefgh"
    bench.set_up(RAM, RAM + 0x100, WHOLE | NO_RELOAD | 8, fixed=(1, 0))
    bench.dma.write(DMASKTRIG, 4, ON | SWTRIG)
    advance(bench.clock, 100_000)
    assert bytes(bench.ram.data[0x100:0x109]) == b"a" * 8 + b"\0"
    bench.set_up(RAM, RAM + 0x200, WHOLE | NO_RELOAD | 8, fixed=(0, 1))
    bench.dma.write(DMASKTRIG, 4, ON | SWTRIG)
    advance(bench.clock, 100_000)
    assert bytes(bench.ram.data[0x200:0x202]) == b"h\0"


def test_a_copy_onto_its_own_source_spreads_the_pattern_as_unit_by_unit(bench: Bench) -> None:
    bench.ram.data[:8] = b"abcd1234"
    bench.set_up(RAM, RAM + 4, WHOLE | NO_RELOAD | WORD | 4)
    bench.dma.write(DMASKTRIG, 4, ON | SWTRIG)
    advance(bench.clock, 100_000)
    assert bytes(bench.ram.data[:20]) == b"abcd" * 5


# -- requests ----------------------------------------------------------------------------------------


class Fifo:
    """A peripheral that takes and gives bytes, eight at a time."""

    def __init__(self) -> None:
        self.taken = bytearray()
        self.given = bytearray()
        self.room = 8
        self.port = DmaPort("fifo", read=self.read, write=self.write)

    def read(self, unit: int, maximum: int) -> bytes:
        data = bytes(self.given[:maximum])
        del self.given[:maximum]
        self.port.request(bool(self.given))
        return data

    def write(self, unit: int, data: bytes) -> int:
        count = min(len(data), self.room)
        self.taken += data[:count]
        self.room -= count
        self.port.request(self.room > 0)
        return count


def test_a_fifo_is_fed_as_far_as_it_has_room(bench: Bench) -> None:
    fifo = Fifo()
    bench.dma.connect(0, "SDI", fifo.port)
    bench.ram.data[:20] = bytes(range(20))
    bench.set_up(RAM, 0x5A000040, INTERRUPT | HW | NO_RELOAD | 2 << 24 | WORD | 5, fixed=(0, 3))
    fifo.port.request(1)
    assert not fifo.taken, "the channel is off"
    bench.dma.write(DMASKTRIG, 4, ON)
    assert fifo.taken == bytes(range(8)), "what asked before the channel was on is served"
    assert bench.dma.read(DSTAT, 4) == 3
    assert bench.dma.read(DCSRC, 4) == RAM + 8
    assert bench.dma.read(DCDST, 4) == 0x5A000040
    fifo.room = 100
    fifo.port.request(1)
    assert fifo.taken == bytes(range(20))
    assert bench.interrupts == [0]
    assert bench.dma.read(DMASKTRIG, 4) == 0


def test_a_fifo_is_emptied_into_memory_and_only_its_own_source_counts(bench: Bench) -> None:
    fifo = Fifo()
    bench.dma.connect(0, "SDI", fifo.port)
    bench.set_up(0x5A000040, RAM, HW | NO_RELOAD | 1 << 24 | WORD | 4, fixed=(3, 0))
    bench.dma.write(DMASKTRIG, 4, ON)
    fifo.given += bytes(range(16))
    fifo.port.request(1)
    assert len(fifo.given) == 16, "the channel listens to UART 0"
    bench.dma.write(DMASKTRIG, 4, STOP)
    bench.set_up(0x5A000040, RAM, HW | NO_RELOAD | 2 << 24 | WORD | 4, fixed=(3, 0))
    bench.dma.write(DMASKTRIG, 4, ON)
    assert bytes(bench.ram.data[:16]) == bytes(range(16))


def test_a_pulse_without_data_moves_one_transfer(bench: Bench) -> None:
    timer = DmaPort("timer")
    bench.dma.connect(0, "Timer", timer)
    bench.ram.data[:4] = b"abcd"
    bench.set_up(RAM, RAM + 0x100, HW | NO_RELOAD | 3 << 24 | 4)
    bench.dma.write(DMASKTRIG, 4, ON)
    timer.pulse()
    timer.pulse()
    assert bytes(bench.ram.data[0x100:0x104]) == b"ab\0\0"


def test_a_state_saved_in_the_middle_goes_on_elsewhere(bench: Bench) -> None:
    bench.ram.data[:4000] = b"x" * 4000
    bench.set_up(RAM, RAM + 0x8000, INTERRUPT | WHOLE | NO_RELOAD | WORD | 1000)
    bench.dma.write(DMASKTRIG, 4, ON | SWTRIG)
    advance(bench.clock, 10_000)
    other = Bench()
    other.ram.data[:] = bench.ram.data
    other.clock.skip_to(bench.clock.now)
    other.dma.load(bench.dma.save())
    advance(other.clock, 1_000_000)
    assert other.interrupts == [0]
    assert bytes(other.ram.data[0x8000:0x9000]).count(b"x") == 4000


def test_addresses_where_nothing_is_are_guest_errors_not_hangs(bench: Bench) -> None:
    bench.set_up(0x70000000, 0x71000000, WHOLE | NO_RELOAD | WORD | 16)
    bench.dma.write(DMASKTRIG, 4, ON | SWTRIG)
    advance(bench.clock, 1_000_000)
    assert bench.dma.read(DMASKTRIG, 4) == 0
    assert bench.bus.log.count > 0
