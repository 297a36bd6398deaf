"""Code that is written while the machine runs is executed as it then is."""

from __future__ import annotations

import pytest

from dbgemu.target.arm.assembler import assemble
from dbgemu.target.arm.state import Mode
from tests.arm_programs import CODE, DATA, RAM, Guest, PageTables

MOV_R0_2 = int.from_bytes(assemble("mov r0, #2"), "little")
CLEAN = "mcr p15, 0, r3, c7, c10, 1; mcr p15, 0, r3, c7, c10, 4; mcr p15, 0, r3, c7, c5, 1"


@pytest.fixture
def guest() -> Guest:
    return Guest()


def test_a_function_is_changed_between_two_calls(guest) -> None:
    guest.start(
        f"""
        bl function
        mov r4, r0
        adr r3, function
        str r1, [r3]
        {CLEAN}
        bl function
        b done
        function: mov r0, #1
        mov pc, lr
        """,
        r1=MOV_R0_2,
    )
    guest.run()
    assert (guest["r4"], guest["r0"]) == (1, 2)


def test_a_loop_changes_its_own_body_each_time(guest) -> None:
    """An immediate that counts up, as in code that patches itself."""
    guest.start(
        f"""
        mov r5, #0
        1: adr r3, body
        ldr r2, [r3]
        add r2, r2, #1
        str r2, [r3]
        {CLEAN}
        body: mov r0, #0
        add r5, r5, r0
        cmp r0, #100
        bne 1b
        """
    )
    guest.run()
    assert guest["r5"] == sum(range(1, 101))


def test_an_instruction_far_enough_ahead_can_be_written_in_the_same_run_of_code(guest) -> None:
    guest.start("adr r3, 1f; str r1, [r3]; nop; nop; 1: mov r0, #1", r1=MOV_R0_2)
    guest.run()
    assert guest["r0"] == 2


def test_code_is_copied_to_fresh_memory_and_executed(guest) -> None:
    guest.start(
        """
        adr r0, start
        adr r2, end
        mov r1, r4
        1: ldr r3, [r0], #4
        str r3, [r1], #4
        cmp r0, r2
        bne 1b
        mov lr, pc
        mov pc, r4
        b done
        start: mov r7, #7
        add r7, r7, r7
        mov pc, lr
        end:
        """,
        r4=DATA,
    )
    guest.run()
    assert guest["r7"] == 14
    # again with other code in the same place
    guest.load("mov r7, #1; mov pc, lr", DATA)
    guest.start("mov lr, pc; mov pc, r4", r4=DATA)
    guest.run()
    assert guest["r7"] == 1


def test_thumb_code_is_changed(guest) -> None:
    patched = int.from_bytes(assemble("movs r0, #2", thumb=True), "little")
    guest.start(
        """
        bl function
        movs r4, r0
        adr r3, function
        strh r1, [r3]
        bl function
        b done
        .align 2
        function: movs r0, #1
        mov pc, lr
        """,
        thumb=True,
        r1=patched,
    )
    guest.run()
    assert (guest["r4"], guest["r0"]) == (1, 2)


def test_a_byte_of_an_instruction_is_changed_through_another_mapping(guest) -> None:
    tables = PageTables(guest)
    tables.small(0x80000000, CODE, 3)
    tables.enable()
    guest.start(
        "bl 1f; mov r4, r0; strb r1, [r2, #20]; bl 1f; b done; 1: mov r0, #1; mov pc, lr", r1=9, r2=0x80000000
    )
    guest.run()
    assert (guest["r4"], guest["r0"]) == (1, 9)


def test_a_remapped_page_has_other_code_at_the_same_address(guest) -> None:
    tables = PageTables(guest)
    table = tables.table(0x80000000)
    tables.small(0x80000000, DATA, 3)
    tables.enable()
    guest.load("mov r0, #1; mov pc, lr", DATA)
    guest.load("mov r0, #2; mov pc, lr", DATA + 0x1000)
    guest.start(
        """
        mov lr, pc
        mov pc, r5
        mov r4, r0
        str r1, [r2]
        mcr p15, 0, r5, c8, c5, 1
        mov lr, pc
        mov pc, r5
        """,
        r1=(DATA + 0x1000) | 0xFF2,
        r2=table,
        r5=0x80000000,
    )
    guest.run()
    assert (guest["r4"], guest["r0"]) == (1, 2)


def test_the_vectors_are_written_and_used_at_once(guest) -> None:
    handler = int.from_bytes(assemble("movs pc, lr"), "little")
    guest.start("str r1, [r2]; swi 0; mov r0, #3", cpsr=Mode.SYS, r1=handler, r2=8)
    guest.run()
    assert (guest["r0"], guest.mode) == (3, Mode.SYS)


def test_a_debuggers_write_is_executed(guest) -> None:
    guest.start("1: add r0, r0, #1; b 1b", r0=0)
    guest.step(10)
    guest.cpu.write_memory(CODE, assemble("add r0, r0, #64"))
    guest.step(2)
    assert guest["r0"] == 5 + 64


def test_memory_that_is_mapped_elsewhere_takes_its_code_along(guest) -> None:
    guest.load("mov r0, #1; mov pc, lr", RAM + 0x100000)
    guest.start("mov lr, pc; mov pc, r5", r5=RAM + 0x100000)
    guest.run()
    region = guest.bus.find(RAM)
    assert region is not None
    guest.bus.unmap(region)
    guest.bus.map(0x50000000, guest.ram)
    guest.start("mov lr, pc; mov pc, r5; mov r1, #4", base=0x50008000, r5=0x50100000, r0=0)
    guest.run()
    assert (guest["r0"], guest["r1"]) == (1, 4)
    guest["pc"] = CODE
    guest.step()
    assert (guest.mode, guest["pc"], guest["lr"]) == (Mode.ABT, 0x0C, CODE + 4)
