"""CLKCON's gates: a block without clock stands still, and goes on where it stood; the PLL's lock time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from bare_metal import BareMetal
from virtual_time import SteppedInstructions, advance

from dbgemu.machine import Machine
from dbgemu.target.block_clock import BlockClock
from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.guest_log import GuestError
from dbgemu.target.mini2440 import Mini2440
from dbgemu.target.s3c2440.clock_gates import GATES
from dbgemu.target.s3c2440.clock_power import ClockPower
from tests.arm_programs import interpreter

CLKCON, LOCKTIME, MPLLCON, CLKSLOW = 0x4C00000C, 0x4C000000, 0x4C000004, 0x4C000010
ALL_ON = 0x00FFFFF0
PWM, UART0, I2C, IIS, ADC, SPI, SDI, LCD, OHCI = (
    *(0x51000000, 0x50000000, 0x54000000, 0x55000000, 0x58000000, 0x59000000, 0x5A000000),
    *(0x4D000000, 0x49000000),
)


class Bench:
    """A board at 50 MHz PCLK without a CPU, and what it reports."""

    def __init__(self) -> None:
        self.board = board = Mini2440()
        board.clkpwr.set_bootloader_defaults()
        board.wdt.set_bootloader_defaults()
        self.errors: list[GuestError] = []
        board.log.listeners.append(self.errors.append)

    def write(self, address: int, value: int, size: int = 4) -> None:
        self.board.bus.write(address, size, value)

    def read(self, address: int, size: int = 4) -> int:
        return self.board.bus.read(address, size) & (1 << 8 * size) - 1

    def word(self, address: int) -> int:
        """A peek."""
        return int.from_bytes(self.board.bus.peek(address, 4), "little")

    def gate(self, *names: str) -> None:
        """Let every block have its clock but these."""
        self.write(CLKCON, ALL_ON & ~sum(ClockPower.CLKCON[GATES[name]].mask for name in names))

    def advance(self, duration: int) -> None:
        advance(self.board.clock, duration)


def set_registers(bench: Bench, base: int, *values: tuple[int, int]) -> None:
    for offset, value in values:
        bench.write(base + offset, value)


class Work(NamedTuple):
    """What a block does that takes time."""

    begin: Callable[[Bench], None]
    done: Callable[[Bench], bool]


def count_down(bench: Bench) -> None:
    set_registers(bench, PWM, (0x3C, 1000), (0x08, 1 << 21), (0x08, 1 << 20))


def convert(bench: Bench) -> None:
    bench.write(ADC, 1 << 14 | 49 << 6 | 1)


def call_slave(bench: Bench) -> None:
    set_registers(bench, I2C, (0, 0xEF), (0x0C, 0xA0), (4, 0xF0))


def shift_byte(bench: Bench) -> None:
    set_registers(bench, SPI, (0, 0x18), (0x0C, 200), (0x10, 0x55))


def send_command(bench: Bench) -> None:
    set_registers(bench, SDI, (4, 126), (0, 1), (0x0C, 0x140))


def play(bench: Bench) -> None:
    set_registers(bench, IIS, (8, 7 << 5 | 7), (4, 0x88), (0x0C, 0x2000))
    for _ in range(32):
        bench.write(IIS + 0x10, 1, 2)
    bench.write(IIS, 0x03)


def send(bench: Bench) -> None:
    set_registers(bench, UART0, (0, 3), (4, 0x245), (0x28, 26))
    bench.write(UART0 + 0x20, 0x41, 1)


def scan(bench: Bench) -> None:
    set_registers(bench, LCD, (4, 239 << 14), (8, 319 << 8), (0, 4 << 8 | 3 << 5 | 12 << 1 | 1))


def make_frames(bench: Bench) -> None:
    bench.write(OHCI + 4, 0x80)


WORK = {
    "pwm": Work(count_down, lambda bench: bench.word(PWM + 0x40) < 100),
    "adc": Work(convert, lambda bench: bool(bench.word(ADC) & 1 << 15)),
    "i2c": Work(call_slave, lambda bench: bool(bench.word(I2C) & 0x10)),
    "spi": Work(shift_byte, lambda bench: bool(bench.word(SPI + 4) & 1)),
    "sdi": Work(send_command, lambda bench: bool(bench.word(SDI + 0x10) & 1 << 11)),
    # a peek would not let samples move
    "iis": Work(play, lambda bench: bench.board.iis.read(0x0C, 4) >> 6 & 0x3F < 16),
    "uart0": Work(send, lambda bench: bool(bench.word(UART0 + 0x10) & 4)),
    "lcd": Work(scan, lambda bench: 0 < bench.word(LCD) >> 18 < 100),
    "ohci": Work(make_frames, lambda bench: bench.word(OHCI + 0x3C) > 4),
}
STEP = 1000


def time_to_finish(bench: Bench, work: Work) -> int:
    """In ns, to within a step."""
    assert not work.done(bench)
    for count in range(1, 50_000):
        bench.advance(STEP)
        if work.done(bench):
            return count * STEP
    raise AssertionError("it never ends")


@pytest.mark.parametrize("name", WORK)
def test_a_gated_block_stands_still_and_goes_on_where_it_stood(name: str) -> None:
    work = WORK[name]
    freely = Bench()
    work.begin(freely)
    takes = time_to_finish(freely, work)
    bench = Bench()
    work.begin(bench)
    half = takes // (2 * STEP) * STEP
    bench.advance(half)
    bench.gate(name)
    for _ in range(5):
        bench.advance(takes)
        assert not work.done(bench)
    bench.gate()
    assert time_to_finish(bench, work) == takes - half
    assert not bench.errors


@pytest.mark.parametrize("name", WORK)
def test_a_block_that_stands_is_saved_and_goes_on_in_another_board(name: str) -> None:
    work, bench, other = WORK[name], Bench(), Bench()
    work.begin(bench)
    bench.advance(20 * STEP)
    bench.gate(name)
    bench.advance(123 * STEP)
    state, clock = bench.board.save(), bench.board.clock.save()
    other.board.clock.load(clock)
    other.board.load(state)
    assert other.board.save() == state
    other.advance(10_000_000)
    bench.advance(10_000_000)
    assert other.board.save() == bench.board.save()
    bench.gate()
    rest = time_to_finish(bench, work)
    other.gate()
    assert time_to_finish(other, work) == rest
    back = Bench()
    back.board.clock.load(other.board.clock.save())
    back.board.load(other.board.save())  # it runs, behind the board's time
    assert back.board.save() == other.board.save()
    assert back.board.devices[name].save() == bench.board.devices[name].save()


def test_what_arrives_at_a_gated_uart_waits() -> None:
    bench = Bench()
    set_registers(bench, UART0, (0, 3), (4, 0x245), (8, 1), (0x28, 26))
    bench.gate("uart0")
    bench.board.uarts[0].receive(b"x")
    bench.advance(1_000_000)
    bench.write(UART0 + 0x20, 0x42, 1)
    assert bench.word(UART0 + 0x10) == 6
    bench.gate()
    bench.advance(1_000_000)
    assert bench.read(UART0 + 0x24, 1) == ord("x")
    assert [str(error) for error in bench.errors] == [
        "uart0: write of 0x42 (1 bytes) at offset 0x20 while CLKCON gates its clock"
    ]


def test_registers_of_each_gated_block_are_held(name: str = "") -> None:
    bench = Bench()
    bench.gate(*GATES)
    before = {name: bench.board.devices[name].save() for name in GATES}
    for region in list(bench.board.bus.regions()):
        if region.target.name in GATES:
            for offset in range(0, 0x180, 4):
                bench.write(region.base + offset, 0xFFFFFFFF)
                assert bench.read(region.base + offset) == bench.word(region.base + offset)
    assert {name: bench.board.devices[name].save() for name in GATES} == before
    assert {error.device for error in bench.errors} == set(GATES)
    bench.errors.clear()
    bench.gate()
    bench.write(PWM, 5)
    assert (bench.read(PWM), bench.errors) == (5, [])


def test_every_gate_of_clkcon_has_its_block_and_every_block_is_on_the_board() -> None:
    fields = {field.name for field in ClockPower.CLKCON.fields} - {"SLEEP", "IDLE"}
    assert {field.rstrip("0123456789") for field in fields} == {
        field.rstrip("0123456789") for field in GATES.values()
    }
    assert len(set(GATES.values())) == len(GATES)
    assert GATES.keys() <= Mini2440().devices.keys()


def test_a_reset_gives_every_block_its_clock_back() -> None:
    bench = Bench()
    count_down(bench)
    bench.gate(*GATES)
    bench.board.reset()
    count_down(bench)
    bench.advance(2000 * STEP)
    assert bench.word(PWM + 0x40) < 900
    assert not bench.errors


def test_the_nand_controllers_ports_are_shut_while_it_has_no_clock() -> None:
    bench = Bench()
    ports = [port for _, port in bench.board.nand.ports()]
    bench.gate("nand")
    assert all(port.gated for port in ports)
    bench.gate()
    assert not any(port.gated for port in ports)


def test_a_program_sees_a_gated_timer_stand() -> None:
    guest = BareMetal(
        """
        ldr r0, =0x51000000
        ldr r1, =0x4c00000c
        mov r2, #0xff00
        str r2, [r0, #0x3c]
        mov r2, #0x200000
        str r2, [r0, #8]
        mov r2, #0x100000
        str r2, [r0, #8]
        ldr r3, =0x00fffef0         @ without bit 8
        str r3, [r1]
        ldr r4, [r0, #0x40]
        mov r9, #0x4000
    1:  subs r9, r9, #1
        bne 1b
        ldr r5, [r0, #0x40]
        orr r3, r3, #0x100
        str r3, [r1]
        mov r9, #0x4000
    2:  subs r9, r9, #1
        bne 2b
        ldr r6, [r0, #0x40]
        """
    )
    guest.run()
    first, second, third = (guest.machine.cpu.read_register(f"r{n}") for n in (4, 5, 6))
    assert first == second
    assert third < second


# -- the block's clock -----------------------------------------------------------------------------


class Clocks:
    """A board's clock that a test moves, a block's, and the calls of two timers of the block."""

    def __init__(self) -> None:
        self.board = VirtualClock()
        self.board.attach(SteppedInstructions())
        self.block = BlockClock(self.board)
        self.calls: list[tuple[str, int]] = []
        self.early, self.late = (
            Timer(self.block, lambda name=name: self.calls.append((name, self.block.now)))
            for name in ("early", "late")
        )


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_a_clock_that_never_stood_shows_the_boards_time(clocks: Clocks) -> None:
    clocks.early.start_in(50)
    assert (clocks.early.deadline, clocks.board.next_deadline(), clocks.block.next_deadline()) == (50, 50, 50)
    advance(clocks.board, 70)
    assert (clocks.block.now, clocks.calls) == (70, [("early", 50)])


def test_timers_keep_their_deadlines_in_the_blocks_time(clocks: Clocks) -> None:
    clocks.late.start_in(100)
    clocks.early.start_in(50)
    advance(clocks.board, 20)
    clocks.block.stop()
    clocks.block.stop()
    assert clocks.board.next_deadline() is None
    advance(clocks.board, 1000)
    assert (clocks.block.now, clocks.early.deadline, clocks.late.deadline) == (20, 50, 100)
    clocks.block.start()
    clocks.block.start()
    assert (clocks.block.now, clocks.early.deadline, clocks.board.next_deadline()) == (20, 50, 1050)
    advance(clocks.board, 100)
    assert clocks.calls == [("early", 50), ("late", 100)]


def test_timers_are_armed_moved_and_cancelled_while_time_stands(clocks: Clocks) -> None:
    clocks.late.start_in(100)
    clocks.block.stop()
    clocks.early.start_in(10)
    clocks.early.start_in(30)
    clocks.late.cancel()
    advance(clocks.board, 500)
    assert (clocks.calls, clocks.early.deadline, clocks.late.deadline) == ([], 30, None)
    clocks.block.start()
    advance(clocks.board, 500)
    assert clocks.calls == [("early", 30)]


def test_a_block_skips_time_for_the_board_unless_it_stands(clocks: Clocks) -> None:
    clocks.block.stop()
    clocks.block.skip_to(300)
    assert (clocks.board.now, clocks.block.next_deadline()) == (0, None)
    clocks.board.skip(40)
    clocks.block.start()
    clocks.block.skip_to(300)
    assert (clocks.board.now, clocks.block.now) == (340, 300)


def test_a_blocks_time_is_put_back_running_or_standing(clocks: Clocks) -> None:
    clocks.early.start_in(50)
    clocks.block.time = {"behind": 0, "stands_at": 7}
    assert (clocks.block.now, clocks.block.runs, clocks.board.next_deadline()) == (7, False, None)
    assert clocks.block.time == {"behind": 0, "stands_at": 7}
    clocks.board.skip(100)
    clocks.block.time = {"behind": 90, "stands_at": None}
    assert (clocks.block.now, clocks.early.deadline, clocks.board.next_deadline()) == (10, 50, 140)
    assert clocks.block.time == {"behind": 90, "stands_at": None}


# -- lock time -------------------------------------------------------------------------------------


def test_the_core_and_the_timers_stand_while_the_pll_locks() -> None:
    bench = Bench()
    count_down(bench)
    bench.advance(2000)
    before, count = bench.board.clock.now, bench.word(PWM + 0x40)
    bench.write(LOCKTIME, 0xFFFF_0000 | 1200)
    bench.write(MPLLCON, 0x7F021)
    assert bench.board.clock.now - before == 100_000
    assert bench.word(PWM + 0x40) == count


def test_the_longest_lock_time_is_the_one_after_reset() -> None:
    board = Mini2440()
    board.bus.write(MPLLCON, 4, 0x7F021)
    assert board.clock.now == 5_461_250
    assert board.clkpwr.fclk == 405_000_000


def test_in_slow_mode_the_pll_locks_beside_the_running_core() -> None:
    bench = Bench()
    clock = bench.board.clock
    bench.write(LOCKTIME, 1200)
    bench.write(CLKSLOW, 1 << 4)
    bench.write(MPLLCON, 0x7F021)
    assert clock.now == 0
    clock.skip(30_000)
    bench.write(CLKSLOW, 0)  # the rest of it
    assert clock.now == 100_000
    bench.write(CLKSLOW, 1 << 4 | 1 << 5)
    clock.skip(50_000)
    bench.write(CLKSLOW, 0)  # on again, all of it
    assert clock.now == 250_000
    bench.write(CLKSLOW, 1 << 4 | 1 << 5)
    bench.write(CLKSLOW, 1 << 4)
    clock.skip(500_000)
    bench.write(CLKSLOW, 0)
    assert clock.now == 750_000
    bench.write(CLKSLOW, 4)
    assert clock.now == 750_000


def test_a_board_whose_pll_is_not_programmed_needs_no_lock() -> None:
    board = Mini2440()
    board.bus.write(CLKSLOW, 4, 1 << 4 | 1 << 5)
    board.bus.write(CLKSLOW, 4, 0)
    assert board.clock.now == 0


def test_a_program_that_sets_the_pll_continues_after_the_lock_time() -> None:
    guest = BareMetal("ldr r0, =0x4c000000; ldr r1, =0x7f021; str r1, [r0, #4]; nop")
    machine: Machine = guest.machine
    assert machine.cpu is not None and interpreter() is not None
    before = guest.board.clock.now
    guest.run()
    assert 5_461_250 <= guest.board.clock.now - before < 5_463_000
