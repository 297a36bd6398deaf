"""Running as far as wanted, memory in every way, and front ends that hear of each other's changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from debugged_program import DATA, START, Debugged, debugged_program

from dbgemu.debug.events import Change, ChangeKind, FrontEnd, StopEvent, StopKind
from dbgemu.debug.run_control import Goal, instructions, steps, to_address, to_count, to_return, to_time
from dbgemu.debug.watchpoints import WatchKind
from dbgemu.engine.cpu import TranslationFault
from dbgemu.target.bus import BusError

_LOOP = "mov r0, #0; 1: add r0, r0, #1; b 1b"


@pytest.fixture
def loop() -> Iterator[Debugged]:
    with debugged_program(_LOOP) as guest:
        yield guest


def until(guest: Debugged, goal: Goal) -> StopEvent:
    guest.session.resume_until(goal)
    event = guest.session.wait(10)
    assert event is not None
    return event


# -- how far -----------------------------------------------------------------------------------------


def test_to_an_instruction_count_and_so_many_more(loop) -> None:
    assert until(loop, to_count(1001)).kind is StopKind.LIMIT
    assert (loop.machine.cpu.instructions, loop["r0"]) == (1001, 500)
    assert until(loop, instructions(50)).kind is StopKind.LIMIT
    assert loop.machine.cpu.instructions == 1051
    # a count that has passed is reached
    assert until(loop, to_count(1000)).kind is StopKind.LIMIT
    assert loop.machine.cpu.instructions == 1051


def test_to_a_virtual_time(loop) -> None:
    clock = loop.machine.board.clock
    event = until(loop, to_time(1_000_000))
    assert event.kind is StopKind.LIMIT
    assert 0 <= clock.now - 1_000_000 < 5
    until(loop, to_time(1_500_000))
    assert 0 <= clock.now - 1_500_000 < 5


def test_to_a_virtual_time_at_which_the_guest_idles() -> None:
    with debugged_program("mcr p15, 0, r0, c7, c0, 4; b .") as guest:
        assert until(guest, to_time(3_000_000_000)).kind is StopKind.LIMIT
        assert guest.machine.board.clock.now == 3_000_000_000


def test_a_breakpoint_on_the_way_stops_and_leaves_nothing_behind(loop) -> None:
    point = loop.session.add_breakpoint(None, START + 4)
    for goal in (to_count(10_000), to_time(10_000_000), to_address(START + 0x100)):
        event = until(loop, goal)
        assert (event.kind, event.breakpoints) == (StopKind.BREAKPOINT, (point,))
    loop.session.remove_breakpoint(point)
    assert loop.machine.board.clock.next_deadline() != 10_000_000
    assert len(loop.session.breakpoints) == 0


def test_a_breakpoint_where_the_count_ends_is_counted_once(loop) -> None:
    point = loop.session.add_breakpoint(None, START + 8)
    event = until(loop, to_count(2))
    assert (event.kind, event.breakpoints, point.hits) == (StopKind.BREAKPOINT, (point,), 1)
    loop.run()
    assert (point.hits, loop.machine.cpu.instructions) == (2, 4)


def test_to_an_address(loop) -> None:
    event = until(loop, to_address(START + 8))
    assert (event.kind, event.pc, event.breakpoints) == (StopKind.LIMIT, START + 8, ())


_RECURSION = f"""
    ldr sp, ={DATA}
    mov r0, #3
    bl f
back: b done
f:  stmfd sp!, {{r4, lr}}
    subs r0, r0, #1
    beq 1f
    bl f
inner: add r4, r4, #1
1:  ldmfd sp!, {{r4, pc}}
"""


def test_until_a_function_returns() -> None:
    with debugged_program(_RECURSION) as guest:
        guest.run_to("f")
        event = until(guest, to_return())
        assert (event.kind, event.pc, guest["sp"]) == (StopKind.LIMIT, guest.program["back"], DATA)


def test_a_deeper_call_that_returns_to_the_same_place_is_not_the_end() -> None:
    with debugged_program(_RECURSION) as guest:
        guest.run_to("f")
        guest.run_to("f")
        stack = guest["sp"]
        arrivals = guest.session.add_breakpoint(None, guest.program["inner"])
        arrivals.ignore = 100
        event = until(guest, to_return())
        assert (event.kind, event.pc, guest["sp"]) == (StopKind.LIMIT, guest.program["inner"], stack)
        assert arrivals.hits == 2


def test_many_steps_and_a_breakpoint_among_them(loop) -> None:
    event = until(loop, steps(5))
    assert (event.kind, loop.machine.cpu.instructions, loop["r0"]) == (StopKind.STEP, 5, 2)
    point = loop.session.add_breakpoint(None, START + 8)
    event = until(loop, steps(5))
    assert (event.kind, event.breakpoints) == (StopKind.BREAKPOINT, (point,))
    assert loop.machine.cpu.instructions == 6


def test_steps_with_interrupts_let_in_or_held_back() -> None:
    with debugged_program("mrs r0, cpsr; bic r0, r0, #0x80; msr cpsr_c, r0; 1: b 1b") as guest:
        guest.machine.cpu.set_irq(1)
        until(guest, steps(10, interrupts=False))
        assert guest["pc"] == START + 12
        until(guest, steps(1, interrupts=True))
        assert guest["pc"] == 0x18
        assert not guest.session.step_interrupts


def test_a_pause_ends_a_long_way(loop) -> None:
    loop.session.resume_until(steps(1 << 40))
    loop.session.pause()
    event = loop.session.wait(10)
    assert event is not None
    assert event.kind is StopKind.PAUSE


# -- memory ------------------------------------------------------------------------------------------


def test_another_tables_mapping_is_read_and_written_without_a_trace(loop) -> None:
    machine, memory = loop.machine, loop.session.memory
    table = 0x30400000
    section = 0x30100000 | 0xC12
    memory.write_physical(table + 4 * 0xC00, section.to_bytes(4, "little"))
    machine.cpu.write_register("dacr", 1)
    memory.write_physical(DATA + 8, b"elsewhere")
    before = machine.digest()
    assert memory.read(0xC0000008, 9, table=table) == b"elsewhere"
    with pytest.raises(TranslationFault, match="section translation fault"):
        memory.read(0xC0100000, 1, table=table)
    with pytest.raises(BusError):
        memory.read(0xC0000008, 9)
    assert machine.digest() == before
    memory.write(0xC0000008, b"E", table=table)
    assert memory.read_physical(DATA + 8, 9) == b"Elsewhere"


def test_a_read_with_side_effects_pops_a_fifo_and_a_plain_one_does_not(loop) -> None:
    uart, memory = loop.machine.board.uarts[0], loop.session.memory
    uart.write(8, 4, 1)
    uart.write(4, 4, 0x45)
    uart.receive(b"ab")
    until(loop, to_time(10_000_000))
    assert memory.read(0x50000024, 1) == memory.read(0x50000024, 1) == b"a"
    assert memory.read_with_side_effects(0x50000024, 1) == ord("a")
    assert memory.read_with_side_effects(0x50000024, 1, physical=True) == ord("b")
    with pytest.raises(BusError, match="nothing answers at physical address 0x60000000"):
        memory.read_with_side_effects(0x60000000, 4)
    with pytest.raises(ValueError, match=r"^a read of 4 bytes at 0x50000022 is none that the CPU makes$"):
        memory.read_with_side_effects(0x50000022, 4)


def test_code_that_is_written_is_executed_at_once(loop) -> None:
    until(loop, instructions(1000))
    loop.session.memory.write(START + 4, bytes.fromhex("0a0080e2"))  # add r0, r0, #10
    before = loop["r0"]
    until(loop, instructions(2))
    assert loop["r0"] == before + 10
    loop.session.memory.write_physical(START + 4, bytes.fromhex("140080e2"))  # add r0, r0, #20
    until(loop, instructions(2))
    assert loop["r0"] == before + 30


# -- front ends --------------------------------------------------------------------------------------


class Watcher(FrontEnd):
    def __init__(self) -> None:
        self.changes: list[Change] = []

    def changed(self, change: Change) -> None:
        self.changes.append(change)


def test_front_ends_hear_of_each_others_changes_but_not_of_their_own(loop) -> None:
    session = loop.session
    mine, other = Watcher(), Watcher()
    session.attach(mine)
    session.attach(other)
    breakpoint_ = session.add_breakpoint(mine, START)
    watchpoint = session.add_watchpoint(mine, DATA, 4, WatchKind.WRITE)
    session.remove_watchpoint(watchpoint)
    session.memory.write(DATA, b"abc", by=mine)
    session.memory.write_physical(DATA, b"d", by=mine)
    session.write_registers({"r1": 5, "r2": 6}, by=mine)
    added, removed = ChangeKind.POINT_ADDED, ChangeKind.POINT_REMOVED
    assert other.changes == [
        Change(added, mine, breakpoint_),
        Change(added, mine, watchpoint),
        Change(removed, mine, watchpoint),
        Change(ChangeKind.MEMORY, mine, address=DATA, length=3),
        Change(ChangeKind.MEMORY, mine, address=DATA, length=1, physical=True),
        Change(ChangeKind.REGISTERS, mine),
    ]
    assert mine.changes == []
    assert (loop["r1"], loop["r2"]) == (5, 6)
    session.detach(mine)
    assert other.changes[-1] == Change(removed, mine, breakpoint_)


def test_the_cores_own_guards_are_not_told_of(loop) -> None:
    front_end = Watcher()
    loop.session.attach(front_end)
    until(loop, to_address(START + 8))
    assert front_end.changes == []
