"""DMA that a part outside asks for by nXDREQ0 and nXDREQ1, and hears of by nXDACK0 and nXDACK1."""

from __future__ import annotations

import pytest
from bare_metal import BareMetal
from virtual_time import advance

from dbgemu.target.mini2440 import Mini2440

RAM, TARGET = 0x30000000, 0x30010000
GPBCON, DMA = 0x56000010, 0x4B000000
HANDSHAKE, INTERRUPT, WHOLE, HARDWARE, ONCE, WORD = 1 << 31, 1 << 29, 1 << 27, 1 << 23, 1 << 22, 2 << 20
#: GPB7 to GPB10 in their DMA functions
PINS = 0b10_10_10_10 << 14
UNIT_NS = 40  # 4 cycles of HCLK at 101.25 MHz, rounded up


class Bench:
    """A board with words to copy, and a part at the pins of a channel."""

    def __init__(self, channel: int) -> None:
        self.channel = channel
        self.board = board = Mini2440()
        board.clkpwr.set_bootloader_defaults()
        board.wdt.set_bootloader_defaults()
        board.bus.poke(RAM, bytes(range(1, 129)))
        self.request = board.gpio.pin(("GPB10", "GPB8")[channel])
        self.acknowledge = board.gpio.pin(("GPB9", "GPB7")[channel])
        self.request.drive(1)
        board.bus.write(GPBCON, 4, PINS)
        self.answers: list[int] = []
        self.acknowledge.connect(self.answers.append)
        self.interrupts = 0
        board.intc.source(f"INT_DMA{channel}").connect(self._interrupted)

    def _interrupted(self, level: int) -> None:
        self.interrupts += level

    def start(self, control: int, count: int) -> None:
        values = (RAM, 0, TARGET, 0, control | INTERRUPT | HARDWARE | WORD | count)
        for number, value in enumerate(values):
            self.board.bus.write(DMA + 0x40 * self.channel + 4 * number, 4, value)
        self.board.bus.write(DMA + 0x40 * self.channel + 0x20, 4, 2)

    def pulse(self) -> None:
        self.request.drive(0)
        self.request.drive(1)

    def advance(self, units: int) -> None:
        advance(self.board.clock, units * UNIT_NS)

    @property
    def copied(self) -> int:
        """Words, which the guest finds copied when it looks at the controller."""
        self.board.bus.read(DMA + 0x40 * self.channel + 0x14, 4)
        data = self.board.bus.peek(TARGET, 128)
        count = sum(1 for place in range(0, 128, 4) if data[place])
        assert data[: 4 * count] == bytes(range(1, 4 * count + 1))
        return count


@pytest.fixture(params=[0, 1])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(request.param)


def test_each_falling_edge_moves_one_unit_in_handshake_mode(bench: Bench) -> None:
    bench.start(HANDSHAKE | ONCE, 3)
    assert (bench.copied, bench.answers) == (0, [])
    bench.request.drive(0)
    bench.advance(100)
    assert (bench.copied, bench.answers) == (1, [0])  # acknowledged until the part lets go
    bench.request.drive(1)
    assert bench.answers == [0, 1]
    bench.pulse()
    assert (bench.copied, bench.interrupts) == (2, 0)
    bench.pulse()
    assert (bench.copied, bench.interrupts, bench.answers) == (3, 1, [0, 1] * 3)
    bench.pulse()
    assert (bench.copied, bench.answers) == (3, [0, 1] * 3)


def test_a_low_level_moves_unit_after_unit_in_demand_mode(bench: Bench) -> None:
    bench.start(ONCE, 32)
    bench.request.drive(0)
    bench.advance(10)
    moved = bench.copied
    assert 9 <= moved <= 10
    assert bench.answers == [0]
    bench.request.drive(1)
    bench.advance(100)
    assert (bench.copied, bench.answers, bench.interrupts) == (moved, [0, 1], 0)
    bench.request.drive(0)
    bench.advance(100)
    assert (bench.copied, bench.answers, bench.interrupts) == (32, [0, 1, 0, 1], 1)


@pytest.mark.parametrize("mode", [0, HANDSHAKE])
def test_a_whole_service_goes_on_without_the_pin(bench: Bench, mode: int) -> None:
    bench.start(mode | WHOLE | ONCE, 32)
    bench.pulse()
    bench.advance(10)
    assert 9 <= bench.copied <= 10
    assert bench.answers == [0]
    bench.advance(100)
    assert (bench.copied, bench.answers, bench.interrupts) == (32, [0, 1], 1)


def test_a_whole_service_by_handshake_waits_for_the_next_edge(bench: Bench) -> None:
    bench.start(HANDSHAKE | WHOLE, 4)
    bench.request.drive(0)
    bench.advance(1000)
    assert (bench.interrupts, bench.answers) == (1, [0])
    bench.request.drive(1)
    assert bench.answers == [0, 1]
    bench.pulse()
    bench.advance(1000)
    assert bench.interrupts == 2


def test_a_low_level_keeps_a_reloading_channel_going_in_demand_mode(bench: Bench) -> None:
    bench.start(0, 4)
    bench.request.drive(0)
    bench.advance(40)
    assert 7 <= bench.interrupts <= 10
    bench.request.drive(1)
    before = bench.interrupts
    bench.advance(40)
    assert bench.interrupts == before


def test_a_request_waits_for_the_channel_to_be_turned_on(bench: Bench) -> None:
    bench.request.drive(0)
    bench.start(HANDSHAKE | ONCE, 2)
    assert bench.copied == 1
    bench.board.bus.write(DMA + 0x40 * bench.channel + 0x20, 4, 2)
    assert bench.copied == 1


def test_a_part_that_answers_the_acknowledge_gets_one_unit_an_edge(bench: Bench) -> None:
    left = [20]

    def answer(level: int) -> None:
        if not level:
            bench.request.drive(1)
        elif left[0]:
            left[0] -= 1
            bench.request.drive(0)

    bench.acknowledge.connect(answer)
    bench.start(HANDSHAKE | ONCE, 32)
    bench.request.drive(0)
    assert (bench.copied, left, bench.acknowledge.level) == (21, [0], 1)


def test_a_part_that_never_stops_asking_does_not_stop_time(bench: Bench) -> None:
    bench.acknowledge.connect(lambda level: bench.request.drive(1 - level))
    bench.start(HANDSHAKE, 4)
    bench.request.drive(0)
    bench.advance(20)
    assert bench.interrupts in range(5, 30)


@pytest.mark.parametrize("control", [0, 1])
def test_the_pins_ask_only_in_their_function(bench: Bench, control: int) -> None:
    bench.board.bus.write(GPBCON, 4, 0x155555 * control)
    bench.start(HANDSHAKE | ONCE, 3)
    bench.pulse()
    assert bench.copied == 0
    bench.request.drive(0)
    bench.board.bus.write(GPBCON, 4, PINS)  # now the controller sees it
    assert bench.copied == 1


def test_another_source_does_not_look_at_the_pin(bench: Bench) -> None:
    bench.start(HANDSHAKE | ONCE | 3 << 24, 3)
    bench.pulse()
    assert (bench.copied, bench.answers) == (0, [])


def test_stopping_the_channel_takes_the_acknowledge_away(bench: Bench) -> None:
    bench.start(ONCE, 32)
    bench.request.drive(0)
    bench.advance(5)
    bench.board.bus.write(DMA + 0x40 * bench.channel + 0x20, 4, 4)
    assert bench.answers == [0, 1]
    bench.advance(100)
    assert bench.interrupts == 0


@pytest.mark.parametrize("mode", [ONCE, HANDSHAKE | ONCE])
def test_a_loaded_board_serves_on_and_serves_nothing_twice(bench: Bench, mode: int) -> None:
    bench.start(mode, 32)
    bench.request.drive(0)
    bench.advance(5)
    moved = bench.copied
    other = Bench(bench.channel)
    other.board.clock.load(bench.board.clock.save())
    other.board.bus.poke(TARGET, bench.board.bus.peek(TARGET, 128))
    other.board.load(bench.board.save())
    assert other.board.save() == bench.board.save()
    assert (other.copied, other.acknowledge.level, other.request.level) == (moved, 0, 0)
    for each in (bench, other):
        each.advance(3)
        each.request.drive(1)
        each.pulse()
    assert other.copied == bench.copied > moved
    assert other.board.save() == bench.board.save()


def test_a_program_gets_a_word_for_each_edge_from_outside() -> None:
    guest = BareMetal(
        """
        ldr r0, =0x56000010
        ldr r1, =0x2a8000
        str r1, [r0]
        ldr r0, =0x4b000000
        ldr r1, =0x30020000
        str r1, [r0]
        mov r2, #0
        str r2, [r0, #4]
        add r1, r1, #0x100
        str r1, [r0, #8]
        str r2, [r0, #0xc]
        ldr r1, =0x80e00002         @ handshake, hardware, no reload, words, 2 of them
        str r1, [r0, #0x10]
        mov r1, #2
        str r1, [r0, #0x20]
    1:  ldr r1, [r0, #0x20]
        tst r1, #2
        bne 1b
        ldr r2, =0x30020104
        ldr r2, [r2]
        """
    )
    guest.board.bus.poke(0x30020004, (0x12345678).to_bytes(4, "little"))
    pin = guest.board.gpio.pin("GPB10")
    pin.drive(1)
    guest.machine.run(1000)
    for _ in range(2):
        pin.drive(0)
        pin.drive(1)
        guest.machine.run(10)
    guest.run(1000)
    assert guest.machine.cpu.read_register("r2") == 0x12345678
