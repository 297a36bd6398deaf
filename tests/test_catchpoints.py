"""Catchpoints: exceptions, changes of mode and mapping, interrupt sources, guest errors, system calls."""

from __future__ import annotations

import pytest
from debugged_program import DATA, Debugged, debugged_program

from dbgemu.debug.catchpoints import CatchKind
from dbgemu.debug.events import FrontEnd, StopEvent, StopKind
from dbgemu.debug.run_control import to_count

_TIMER = """
    mrs r0, cpsr
    bic r0, r0, #0x80
    msr cpsr_c, r0
    ldr r4, =0x51000000     @ timer 4, one shot
    ldr r0, =0x1800
    str r0, [r4]
    mov r0, #100
    str r0, [r4, #0x3c]
    ldr r5, =0x4a000000
    ldr r0, =~(1 << 14)
    str r0, [r5, #8]
    ldr r0, =0x00200000
    str r0, [r4, #8]
    ldr r0, =0x00100000
    str r0, [r4, #8]
    mov r7, #0
wait: add r7, r7, #1
    b wait
"""


def caught(guest: Debugged, kind: CatchKind, **options: object) -> StopEvent:
    """Catch ``kind`` and run to it."""
    point = guest.session.add_catchpoint(None, kind, **options)
    event = guest.run()
    assert (event.kind, event.catchpoints) == (StopKind.CATCHPOINT, (point,)), event
    assert point.hits == 1
    return event


@pytest.mark.parametrize(
    ("kind", "instruction", "vector", "executed", "text"),
    [
        (CatchKind.UNDEFINED, ".word 0xe7f000f0", 0x04, 3, "undefined instruction 0xe7f000f0 at 0x30008008"),
        (CatchKind.SWI, "swi #0x1234", 0x08, 3, "swi 0xef001234 at 0x30008008"),
        (
            CatchKind.DATA_ABORT,
            "ldr r1, [r0, #1]",
            0x10,
            3,
            "data abort at 0x30008008: alignment fault (domain 0) at 0x30100001",
        ),
        (
            CatchKind.PREFETCH_ABORT,
            "mov pc, #0x60000000",
            0x0C,
            4,
            "prefetch abort at 0x60000000: fault status 0x8 (domain 0)",
        ),
    ],
)
def test_an_exception_stops_before_the_first_instruction_of_its_vector(
    kind, instruction, vector, executed, text
) -> None:
    with debugged_program(f"ldr r0, ={DATA}; nop; {instruction}") as guest:
        cpu = guest.machine.cpu
        cpu.write_register("sctlr", cpu.read_register("sctlr") | 2)  # alignment faults
        before = cpu.instructions
        event = caught(guest, kind)
        assert event.pc == guest["pc"] == vector
        assert cpu.instructions - before == executed
        assert event.message == text
        # the vector's own instruction, a branch to itself, is the next one executed
        assert guest.session.step().kind is StopKind.STEP
        assert (guest["pc"], cpu.instructions - before) == (vector, executed + 1)


def test_a_step_into_an_exception_is_caught_too() -> None:
    with debugged_program("swi #1") as guest:
        point = guest.session.add_catchpoint(None, CatchKind.SWI)
        event = guest.session.step()
        assert (event.kind, event.pc, event.catchpoints) == (StopKind.CATCHPOINT, 8, (point,))


def test_exceptions_that_nobody_catches_stop_nothing() -> None:
    with debugged_program("swi #1") as guest:
        point = guest.session.add_catchpoint(None, CatchKind.SWI)
        guest.session.add_catchpoint(None, CatchKind.DATA_ABORT)
        guest.session.remove_catchpoint(point)
        assert guest.machine.cpu.state.catch_vectors == 1 << 4
        guest.session.add_breakpoint(None, 8)
        assert guest.run().kind is StopKind.BREAKPOINT


def test_an_irq_names_what_requests_it() -> None:
    with debugged_program(_TIMER) as guest:
        event = caught(guest, CatchKind.IRQ)
        assert event.pc == 0x18
        assert event.message == f"irq before 0x{guest['lr'] - 4:08x} by INT_TIMER4"
        assert guest["cpsr"] & 0x1F == 0x12


def test_a_fiq_is_caught() -> None:
    with debugged_program("mrs r0, cpsr; bic r0, r0, #0x40; msr cpsr_c, r0; nop") as guest:
        guest.machine.cpu.set_fiq(1)
        assert caught(guest, CatchKind.FIQ).message == "fiq before 0x3000800c"


def test_an_interrupt_source_is_caught_at_the_instruction_at_which_it_rises_though_masked() -> None:
    with debugged_program(_TIMER.replace("bic r0, r0, #0x80", "nop")) as guest:
        event = caught(guest, CatchKind.INTERRUPT, names=["INT_TIMER4"])
        assert event.message == "INT_TIMER4 is requested"
        assert guest.program["wait"] <= event.pc <= guest.program["done"]
        count = guest.machine.cpu.instructions
    with debugged_program(_TIMER.replace("bic r0, r0, #0x80", "nop")) as guest:
        # the same in single steps
        guest.session.add_catchpoint(None, CatchKind.INTERRUPT)
        while (event := guest.session.step()).kind is StopKind.STEP:
            pass
        assert (event.message, guest.machine.cpu.instructions) == ("INT_TIMER4 is requested", count)


def test_an_idle_machine_is_stopped_by_an_interrupt_source() -> None:
    source = _TIMER.replace("bic r0, r0, #0x80", "nop").replace("add r7, r7, #1", "mcr p15, 0, r0, c7, c0, 4")
    with debugged_program(source.replace("str r0, [r5, #8]", "nop")) as guest:
        caught(guest, CatchKind.INTERRUPT, names=["INT_TIMER4"])


def test_listening_ends_with_the_last_catchpoint() -> None:
    with debugged_program("nop") as guest:
        board = guest.machine.board
        line = board.intc.source("INT_TIMER4")
        before = len(line.listeners), len(board.log.listeners), len(guest.machine.on_guest_reset)
        points = [
            guest.session.add_catchpoint(None, CatchKind.INTERRUPT),
            guest.session.add_catchpoint(None, CatchKind.INTERRUPT, names=["INT_TIMER4"]),
            guest.session.add_catchpoint(None, CatchKind.GUEST_ERROR),
            guest.session.add_catchpoint(None, CatchKind.RESET),
        ]
        assert len(line.listeners) == before[0] + 1
        for point in points:
            guest.session.remove_catchpoint(point)
        assert (len(line.listeners), len(board.log.listeners), len(guest.machine.on_guest_reset)) == before


def test_guest_errors_are_caught_behind_the_access_by_device() -> None:
    with debugged_program(
        "ldr r0, =0x4a000f00; ldr r1, [r0]; ldr r0, =0x53000f00; str r1, [r0]; nop"
    ) as guest:
        event = caught(guest, CatchKind.GUEST_ERROR, names=["wdt"])
        assert event.pc == 0x30008010
        assert event.message == (
            "guest error: wdt: write of 0x0 (4 bytes) at offset 0xf00, where no register is at pc 0x3000800c"
        )


def test_a_change_of_mode_is_caught_behind_the_instruction() -> None:
    with debugged_program(
        "msr cpsr_c, #0xd3; mov r0, #1; msr cpsr_c, #0xdf; mov r0, #2; mov r0, #3"
    ) as guest:
        event = caught(guest, CatchKind.MODE)
        assert (event.pc, guest["r0"], event.message) == (0x3000800C, 1, "the mode is now sys")
        guest.run_to("done")


def test_a_debuggers_change_of_mode_is_not_caught() -> None:
    with debugged_program("nop") as guest:
        guest.session.add_catchpoint(None, CatchKind.MODE)
        guest.session.call(lambda: guest.machine.cpu.write_register("cpsr", 0xDF))
        guest.run_to("done")


@pytest.mark.parametrize(
    ("kind", "register", "value", "text"),
    [
        (CatchKind.TTB, "c2, c0, 0", 0x30104000, "ttbr is now 0x30104000"),
        (CatchKind.DOMAINS, "c3, c0, 0", 0x55, "dacr is now 0x00000055"),
        (CatchKind.FCSE, "c13, c0, 0", 0x02000000, "fcseidr is now 0x02000000"),
        (CatchKind.CONTROL, "c1, c0, 0", 0x107A, "sctlr is now 0x0000107a"),
    ],
)
def test_changes_of_the_mapping_are_caught_and_writes_of_the_same_are_not(
    kind, register, value, text
) -> None:
    write = f"mcr p15, 0, r0, {register}"
    with debugged_program(f"ldr r0, ={value:#x}; nop; {write}; {write}; nop") as guest:
        event = caught(guest, kind)
        assert (event.pc, event.message) == (0x3000800C, text)
        guest.run_to("done")


def test_system_calls_are_caught_by_number_of_either_abi() -> None:
    with debugged_program("mov r7, #3; swi #0; mov r7, #4; swi #0") as guest:
        guest.machine.board.bus.poke(8, bytes.fromhex("0ef0b0e1"))  # movs pc, lr
        event = caught(guest, CatchKind.SYSCALL, numbers=[4, 5])
        assert (event.message, guest["lr"]) == ("system call 4 (write)", 0x30008010)
    with debugged_program("mov r7, #3; swi #0x900005") as guest:
        assert caught(guest, CatchKind.SYSCALL, numbers=[5]).message == "system call 5 (open)"


def test_a_reset_by_the_guest_is_caught_and_one_by_a_debugger_is_not() -> None:
    with debugged_program(
        "ldr r0, =0x53000000; mov r1, #1; str r1, [r0, #4]; str r1, [r0, #8]; "
        "ldr r1, =0x8021; str r1, [r0]; b ."
    ) as guest:
        point = guest.session.add_catchpoint(None, CatchKind.RESET)
        guest.session.reset()
        event = guest.run()
        assert (event.kind, event.catchpoints, event.pc) == (StopKind.CATCHPOINT, (point,), 0x30008000)
        assert event.message == "the guest reset the board"


def test_ignore_counts_conditions_and_actions() -> None:
    seen = []
    with debugged_program("mov r7, #0; 1: add r7, r7, #1; swi #0; cmp r7, #20; bne 1b") as guest:
        guest.machine.board.bus.poke(8, bytes.fromhex("0ef0b0e1"))
        point = guest.session.add_catchpoint(None, CatchKind.SWI)
        point.condition = lambda: guest["r7"] % 2 == 0
        point.ignore = 3
        point.action = lambda: not seen.append(guest["r7"]) and guest["r7"] == 12
        assert guest.run().catchpoints == (point,)
        assert (guest["r7"], seen, point.hits) == (12, [8, 10, 12], 6)


def test_a_temporary_catchpoint_is_gone_after_its_first_stop_and_a_disabled_one_costs_nothing() -> None:
    with debugged_program("swi #0") as guest:
        guest.session.add_catchpoint(None, CatchKind.SWI, temporary=True)
        disabled = guest.session.add_catchpoint(None, CatchKind.IRQ)
        guest.session.catchpoints.enable(disabled, False)
        assert guest.machine.cpu.state.catch_vectors == 1 << 2
        guest.run()
        assert guest.machine.cpu.state.catch_vectors == 0


def test_a_breakpoint_at_the_vector_is_told_of_with_the_catch_and_not_hit_twice() -> None:
    with debugged_program("swi #0") as guest:
        breakpoint_ = guest.session.add_breakpoint(None, 8)
        event = caught(guest, CatchKind.SWI)
        assert (event.breakpoints, breakpoint_.hits) == ((breakpoint_,), 1)


def test_a_leaving_front_end_takes_its_catchpoints_away() -> None:
    with debugged_program("swi #0") as guest:
        front_end = FrontEnd()
        guest.session.attach(front_end)
        guest.session.add_catchpoint(front_end, CatchKind.SWI)
        guest.session.detach(front_end)
        assert (len(guest.session.catchpoints), guest.machine.cpu.state.catch_vectors) == (0, 0)


def test_names_of_nothing_are_refused_in_one_sentence() -> None:
    with debugged_program("nop") as guest:
        add = guest.session.add_catchpoint
        with pytest.raises(ValueError, match=r"^there is no interrupt source 'INT_FOO'$"):
            add(None, CatchKind.INTERRUPT, names=["INT_FOO"])
        with pytest.raises(
            ValueError, match=r"^there is no device 'foo' whose guest errors could be caught$"
        ):
            add(None, CatchKind.GUEST_ERROR, names=["foo"])
        with pytest.raises(
            ValueError, match=r"^'irq' cannot be narrowed down: it is caught always or never$"
        ):
            add(None, CatchKind.IRQ, names=["INT_TIMER4"])
        assert len(guest.session.catchpoints) == 0


def test_stops_at_catchpoints_change_nothing_of_what_the_guest_does() -> None:
    handler = """
        b start
    handler: ldr r8, =0x4a000000
        ldr r9, [r8, #0x14]         @ INTOFFSET
        mov r10, #1
        mov r10, r10, lsl r9
        str r10, [r8]
        str r10, [r8, #0x10]
        subs pc, lr, #4
    start:
    """
    source = handler + _TIMER.replace("0x00100000", "0x00500000")  # reloads itself
    digests = []
    for kinds in ((), (CatchKind.IRQ, CatchKind.MODE, CatchKind.INTERRUPT, CatchKind.GUEST_ERROR)):
        with debugged_program(source) as guest:
            guest.machine.board.bus.poke(0x18, bytes.fromhex("04f01fe5"))  # ldr pc, [pc, #-4]
            guest.machine.board.bus.poke(0x1C, guest.program["handler"].to_bytes(4, "little"))
            points = [guest.session.add_catchpoint(None, kind) for kind in kinds]
            while guest.machine.cpu.instructions < 2_000_000:
                guest.session.resume_until(to_count(2_000_000))
                assert guest.session.wait(10) is not None
            assert all(point.hits > 5 for point in points[:3])
            digests.append(guest.machine.digest())
    assert digests[0] == digests[1]
