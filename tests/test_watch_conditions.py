"""Watchpoints that stop only for some accesses, and more of them than the CPU can look for."""

from __future__ import annotations

from debugged_program import DATA, debugged_program

from dbgemu.debug.events import StopKind
from dbgemu.debug.watchpoints import WatchKind
from dbgemu.target.arm.state import MAX_WATCHPOINTS

_COUNT_UP = f"""
    ldr r0, ={DATA}
    mov r1, #0
1:  add r1, r1, #1
    str r1, [r0]
    cmp r1, #100
    bne 1b
    ldr r2, [r0]
"""


def test_a_value_condition_stops_only_at_that_value() -> None:
    with debugged_program(_COUNT_UP) as guest:
        point = guest.session.add_watchpoint(None, DATA, 4, WatchKind.WRITE, value=42)
        event = guest.run()
        assert (event.watchpoints, guest["r1"], guest.word(DATA)) == ((point,), 42, 41)
        assert point.hits == 1
        guest.run_to("done")


def test_a_mask_leaves_bits_out_of_the_comparison() -> None:
    with debugged_program(_COUNT_UP) as guest:
        guest.session.add_watchpoint(None, DATA, 4, WatchKind.WRITE, value=0xF0, mask=0x1F)
        assert [guest.run() and guest["r1"] for _ in range(3)] == [0x10, 0x30, 0x50]
        guest.run_to("done")


def test_the_value_of_a_read_is_what_it_would_give() -> None:
    with debugged_program(_COUNT_UP) as guest:
        guest.session.add_watchpoint(None, DATA, 4, WatchKind.READ, value=99)
        guest.session.add_watchpoint(None, DATA, 4, WatchKind.READ, value=100)
        event = guest.run()
        assert event.hit is not None
        assert (event.hit.write, event.watchpoints[0].value) == (False, 100)


def test_a_change_watchpoint_passes_writes_of_what_is_there() -> None:
    with debugged_program(
        f"""
        ldr r0, ={DATA}
        mov r1, #7
        str r1, [r0]
    same: str r1, [r0]
        strb r1, [r0]
        ldr r2, [r0]
        mov r1, #0x700
        strh r1, [r0, #2]
        """
    ) as guest:
        guest.session.add_watchpoint(None, DATA, 4, WatchKind.CHANGE)
        event = guest.run()
        assert event.hit is not None
        assert (event.hit.address, event.hit.value) == (DATA, 7)
        event = guest.run()
        assert event.hit is not None
        assert (event.hit.address, event.hit.size, event.hit.value) == (DATA + 2, 2, 0x700)
        guest.run_to("done")


def test_a_change_outside_of_the_watched_bytes_does_not_count() -> None:
    with debugged_program(f"ldr r0, ={DATA}; ldr r1, =0xff00ff; str r1, [r0]; str r0, [r0]") as guest:
        point = guest.session.add_watchpoint(None, DATA + 1, 1, WatchKind.CHANGE)
        other = guest.session.add_watchpoint(None, DATA + 3, 1, WatchKind.CHANGE)
        assert guest.run().watchpoints == (other,)
        assert (guest.word(DATA), point.hits) == (0xFF00FF, 0)


def test_conditions_ignore_counts_and_actions_of_watchpoints() -> None:
    seen = []
    with debugged_program(_COUNT_UP) as guest:
        point = guest.session.add_watchpoint(None, DATA, 4, WatchKind.WRITE)
        point.condition = lambda: guest["r1"] % 10 == 0
        point.ignore = 2
        point.action = lambda: not seen.append(guest["r1"]) and guest["r1"] == 50
        assert guest.run().watchpoints == (point,)
        assert (guest["r1"], seen, point.hits) == (50, [30, 40, 50], 5)


def test_a_temporary_watchpoint_is_gone_after_its_first_stop() -> None:
    with debugged_program(_COUNT_UP) as guest:
        guest.session.add_watchpoint(None, DATA, 4, WatchKind.WRITE, value=5, temporary=True)
        guest.run()
        assert (guest["r1"], len(guest.session.watchpoints)) == (5, 0)
        guest.run_to("done")


def test_a_disabled_watchpoint_is_not_looked_for_until_it_is_enabled_again() -> None:
    with debugged_program(_COUNT_UP) as guest:
        point = guest.session.add_watchpoint(None, DATA, 4, WatchKind.WRITE, value=5)
        guest.session.watchpoints.enable(point, False)
        assert guest.machine.cpu.state.watch_count == 0
        other = guest.session.add_watchpoint(None, DATA, 4, WatchKind.WRITE, value=3)
        guest.run()
        guest.session.watchpoints.enable(point, True)
        guest.session.remove_watchpoint(other)
        assert guest.run().watchpoints == (point,)


def test_hundreds_of_watchpoints_stop_exactly_where_they_are() -> None:
    with debugged_program(
        f"""
        ldr r0, ={DATA}
        mov r1, #0
    1:  str r1, [r0, r1, lsl #2]
        add r1, r1, #1
        cmp r1, #1000
        bne 1b
        """
    ) as guest:
        session = guest.session
        points = [session.add_watchpoint(None, DATA + 4 * k, 4, WatchKind.WRITE) for k in range(0, 900, 3)]
        assert len(points) > MAX_WATCHPOINTS
        assert guest.machine.cpu.state.watch_count <= MAX_WATCHPOINTS
        for k, point in zip(range(0, 900, 3), points, strict=True):
            event = guest.run()
            assert (event.kind, event.watchpoints, guest["r1"]) == (StopKind.WATCHPOINT, (point,), k)
        guest.run_to("done")
        for point in points[: len(points) - 2]:
            session.remove_watchpoint(point)
        assert guest.machine.cpu.state.watch_count == 2


def test_every_word_of_a_block_transfer_is_judged() -> None:
    with debugged_program(
        f"ldr r0, ={DATA}; mov r1, #1; mov r2, #2; mov r3, #3; stmia r0, {{r1, r2, r3}}"
    ) as guest:
        third = guest.session.add_watchpoint(None, DATA, 12, WatchKind.WRITE, value=3)
        event = guest.run()
        assert event.hit is not None
        assert (event.watchpoints, event.hit.address) == ((third,), DATA + 8)
        guest.run_to("done")
        assert [guest.word(DATA + 4 * k) for k in range(3)] == [1, 2, 3]


def test_the_read_and_the_write_of_a_swap_are_judged_each() -> None:
    with debugged_program(f"ldr r0, ={DATA}; mov r1, #5; swp r2, r1, [r0]") as guest:
        point = guest.session.add_watchpoint(None, DATA, 4, WatchKind.ACCESS, value=5)
        event = guest.run()
        assert event.hit is not None
        assert (event.watchpoints, event.hit.write, event.hit.value) == ((point,), True, 5)
        guest.run_to("done")
        assert (guest["r2"], guest.word(DATA)) == (0, 5)


def test_a_watchpoint_on_the_access_that_is_next_stops_unless_it_has_just_stopped() -> None:
    with debugged_program(f"ldr r0, ={DATA}; store: str r0, [r0]") as guest:
        guest.run_to("store")
        guest.session.add_watchpoint(None, DATA, 4, WatchKind.WRITE)
        assert guest.session.step().kind is StopKind.WATCHPOINT
        assert guest.session.step().kind is StopKind.STEP
        assert guest.word(DATA) == DATA
