"""Going on from a stop: the instruction at the pc is executed first, whatever came in meanwhile."""

from __future__ import annotations

import pytest

from dbgemu.machine import Machine, StopReason
from dbgemu.target.arm.assembler import assemble
from dbgemu.target.arm.state import Mode, StopCode
from dbgemu.target.boot import BootPlan, Load
from dbgemu.target.clock import Timer
from dbgemu.target.mini2440 import Mini2440

START = 0x30008000


@pytest.fixture
def machine() -> Machine:
    board = Mini2440()
    source = "1: add r0, r0, #1; str r0, [sp]; b 1b"
    board.boot_plan = BootPlan(
        "raw", (Load(START, assemble(source, START), "the program"),), START, False, 0, 0, 0
    )
    machine = Machine(board, warp=True)
    machine.cpu.write_register("r0", 0)
    machine.cpu.write_register("sp", START + 0x1000)
    return machine


def test_input_that_was_posted_does_not_make_a_breakpoint_stop_twice(machine) -> None:
    machine.cpu.add_breakpoint(START)
    seen = []
    for round_ in range(3):
        assert machine.run(100).reason is StopReason.BREAKPOINT
        assert machine.cpu.read_register("r0") == round_ + 1
        machine.post(lambda: seen.append(1))
    assert len(seen) == 2


def test_input_that_was_posted_does_not_make_a_watchpoint_stop_twice(machine) -> None:
    machine.cpu.add_watchpoint(START + 0x1000, 4, read=False, write=True)
    for round_ in range(3):
        stop = machine.run(100)
        assert stop.watch is not None
        assert (stop.reason, stop.watch.value) == (StopReason.WATCHPOINT, round_ + 1)
        machine.post(lambda: None)


def test_an_interrupt_that_a_timer_raises_as_a_step_begins_is_held_back(machine) -> None:
    machine.cpu.write_register("cpsr", Mode.SYS)
    machine.cpu.write_register("sp", START + 0x1000)
    timer = Timer(machine.board.clock, lambda: machine.board.irq.set(1))
    timer.start_in(0)
    assert machine.step().pc == START + 4
    assert machine.cpu.read_register("cpsr") & 0x1F == Mode.SYS
    machine.run(1)
    assert machine.cpu.read_register("cpsr") & 0x1F in (Mode.IRQ, Mode.ABT)


class Vectors:
    """NOR flash whose interrupt handler wastes time, until the request is over, and returns."""

    writable = False
    code = bytes(0x18) + assemble("nop; " * 8 + "subs pc, lr, #4", 0x18)

    def read(self, offset: int, length: int) -> bytes:
        return self.code[offset : offset + length].ljust(length, b"\xff")

    def write(self, offset: int, data: bytes) -> None:
        raise AssertionError("it is not writable")

    def flush(self) -> None:
        pass


def test_an_interrupt_that_comes_in_at_a_breakpoint_is_taken_first_and_the_stop_comes_once() -> None:
    board = Mini2440(nor_image=Vectors())
    program = assemble("nop; nop; nop; add r0, r0, #1; 1: b 1b", START)
    board.boot_plan = BootPlan("raw", (Load(START, program, "the program"),), START, False, 0, 0, 0)
    machine = Machine(board, warp=True)
    machine.cpu.write_register("cpsr", Mode.SYS)
    machine.cpu.write_register("r0", 0)
    machine.cpu.add_breakpoint(START + 12)
    dropped = Timer(board.clock, lambda: board.irq.set(0))
    execute, posted = machine.execute, []

    def request() -> None:
        board.irq.set(1)
        dropped.start_in(8)

    def execute_and_post(limit: int, resume: bool) -> StopCode:
        code = execute(limit, resume)
        if code is StopCode.BREAKPOINT and not posted:  # as another thread may do at that moment
            posted.append(True)
            machine.post(request)
        return code

    machine.execute = execute_and_post
    stop = machine.run(100)
    assert (stop.reason, stop.pc) == (StopReason.BREAKPOINT, START + 12)
    assert machine.cpu.instructions == 3 + 9, "behind the handler"
    assert machine.cpu.read_register("r0") == 0
    assert machine.run(100).reason is StopReason.LIMIT
    assert machine.cpu.read_register("r0") == 1
