"""Break- and watchpoints on physical addresses: they hold under every virtual address."""

from __future__ import annotations

import pytest
from debugged_program import DATA as FREE
from debugged_program import debugged_program

from dbgemu.debug.events import StopKind
from dbgemu.debug.session import DebugSession
from dbgemu.debug.watchpoints import WatchKind
from dbgemu.engine.cpu import WatchHit
from dbgemu.target.arm.state import StopCode, T
from tests.arm_programs import CODE, DATA, RAM, Guest, PageTables

ALIAS = 0x80000000
ALIAS_CODE, ALIAS_DATA = CODE - RAM + ALIAS, DATA - RAM + ALIAS


@pytest.fixture
def guest() -> Guest:
    guest = Guest()
    tables = PageTables(guest)
    tables.section(ALIAS, RAM)
    tables.section(0x90000000, RAM)
    tables.enable()
    return guest


def test_a_physical_breakpoint_stops_under_every_alias(guest) -> None:
    guest.start("mov r0, #1; mov r0, #2; mov r0, #3")
    guest.cpu.add_breakpoint(CODE + 4, physical=True)
    for base in (CODE, ALIAS_CODE, CODE - RAM + 0x90000000):
        guest["pc"] = base
        assert guest.step(3) is StopCode.BREAKPOINT
        assert (guest["pc"], guest["r0"]) == (base + 4, 1)
        assert guest.step(1) is StopCode.LIMIT
        assert guest["r0"] == 2
    guest.cpu.remove_breakpoint(CODE + 4, physical=True)
    guest["pc"] = ALIAS_CODE
    assert guest.step(3) is StopCode.LIMIT


def test_a_virtual_breakpoint_is_not_a_physical_one(guest) -> None:
    guest.start("mov r0, #1; mov r0, #2; mov r0, #3")
    guest.cpu.add_breakpoint(CODE + 4)
    guest.cpu.add_breakpoint(CODE + 8, physical=True)
    guest["pc"] = ALIAS_CODE
    assert guest.step(5) is StopCode.BREAKPOINT
    assert guest["pc"] == ALIAS_CODE + 8
    guest["pc"] = CODE
    assert guest.step(5) is StopCode.BREAKPOINT
    assert guest["pc"] == CODE + 4


def test_a_physical_breakpoint_in_thumb_code(guest) -> None:
    guest.start("movs r0, #1; movs r0, #2; movs r0, #3", thumb=True)
    guest.cpu.add_breakpoint(CODE + 2, physical=True)
    guest["pc"] = ALIAS_CODE
    assert guest["cpsr"] & T
    assert guest.step(3) is StopCode.BREAKPOINT
    assert guest["pc"] == ALIAS_CODE + 2


@pytest.mark.parametrize("warm", [False, True])
def test_a_physical_watchpoint_stops_under_every_alias(guest, warm) -> None:
    for base in (DATA, ALIAS_DATA):
        guest.start("nop; str r1, [r0]; ldr r2, [r0]", r0=base, r1=7)
        if warm:
            guest.run()
            guest["pc"] = CODE
        guest.cpu.add_watchpoint(DATA, 4, read=False, write=True, physical=True)
        assert guest.step(5) is StopCode.WATCHPOINT
        assert guest.cpu.watch_hit == WatchHit(base, 4, True, 7)
        assert guest.cpu.watch_hit.physical == DATA
        assert guest.step(1) is StopCode.LIMIT
        guest.run()
        guest.cpu.remove_watchpoint(DATA, 4, read=False, write=True, physical=True)


def test_a_virtual_watchpoint_does_not_see_an_alias(guest) -> None:
    guest.start("nop; str r1, [r0]", r0=ALIAS_DATA, r1=7)
    guest.cpu.add_watchpoint(DATA, 4, read=False, write=True)
    guest.run()


def test_physical_points_of_a_session() -> None:
    """Under the MMU with a table that the program makes itself: 1 MiB sections, one of them doubled."""
    with debugged_program(
        """
        ldr r0, =0x30200000         @ the table: everything where it is
        mov r1, #0
        ldr r2, =0xc12
    1:  orr r3, r2, r1, lsl #20
        str r3, [r0, r1, lsl #2]
        add r1, r1, #1
        cmp r1, #0x1000
        bne 1b
        orr r3, r2, #0x30000000
        orr r3, r3, #0x00100000
        ldr r4, =0x30203004
        str r3, [r4]                @ 0xc0100000 is FREE, too
        orr r3, r2, #0x30000000
        str r3, [r4, #-4]           @ and 0xc0000000 is where this program is
        mov r3, #1
        mcr p15, 0, r3, c3, c0, 0
        mcr p15, 0, r0, c2, c0, 0
        mrc p15, 0, r3, c1, c0, 0
        orr r3, r3, #1
        mcr p15, 0, r3, c1, c0, 0
        ldr r5, =0xc0100000
        mov r6, #9
        str r6, [r5, #8]
        ldr pc, =high + 0x90000000
    high: mov r0, #1
        b .
        """
    ) as guest:
        session = guest.session
        watch = session.add_watchpoint(None, FREE + 8, 4, WatchKind.CHANGE, physical=True)
        high = session.add_breakpoint(None, guest.program["high"], physical=True)
        event = guest.run()
        assert (event.kind, event.watchpoints) == (StopKind.WATCHPOINT, (watch,))
        assert event.hit is not None
        assert (event.hit.address, event.hit.physical) == (0xC0100008, FREE + 8)
        assert watch.first_byte(event.hit) == 0xC0100008
        event = guest.run()
        assert (event.kind, event.breakpoints) == (StopKind.BREAKPOINT, (high,))
        assert event.pc == guest.program["high"] + 0x90000000
        step = session.step()
        assert step.kind is StopKind.STEP
        session.remove_breakpoint(high)
        assert guest.machine.cpu.state.physical_breakpoints == 0


def test_a_step_onto_a_physical_breakpoint_names_it() -> None:
    with debugged_program("nop; nop") as guest:
        point = guest.session.add_breakpoint(None, 0x30008004, physical=True)
        assert guest.session.step().breakpoints == (point,)


def test_both_kinds_at_one_place_are_counted_each() -> None:
    with debugged_program("nop; nop") as guest:
        session: DebugSession = guest.session
        physical = session.add_breakpoint(None, 0x30008004, physical=True)
        virtual = session.add_breakpoint(None, 0x30008004)
        assert guest.run().breakpoints == (virtual, physical)
        session.remove_breakpoint(virtual)
        guest.machine.cpu.write_register("pc", 0x30008000)
        assert guest.run().breakpoints == (physical,)
        assert (virtual.hits, physical.hits) == (1, 2)
