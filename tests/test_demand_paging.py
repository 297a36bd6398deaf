"""Aborts are precise: a handler that maps the page and returns leaves no trace in the program."""

from __future__ import annotations

import pytest

from dbgemu.target.arm.state import F, I, Mode
from tests.arm_programs import DATA, RAM, Guest, PageTables

#: two pages, mapped by the handler when they are first used; a block that lies in both starts here
VA = 0x80000000
MIDDLE = VA + 0x1000 - 8
ABORT_STACK = RAM + 0x3000
#: counts the handler's runs
COUNTER = RAM + 0x3100

# Maps the page at the fault address to DATA plus its offset, read only after a read translation fault,
# writable after that; returns to the instruction.
HANDLER = f"""
    push {{r0-r3}}
    mrc p15, 0, r0, c6, c0, 0
    ldr r1, ={COUNTER}
    ldr r2, [r1]
    add r2, r2, #1
    str r2, [r1]
    ldr r1, =table
    ldr r1, [r1]
    mov r2, r0, lsr #12
    and r2, r2, #0xff
    add r1, r1, r2, lsl #2
    ldr r3, [r1]
    cmp r3, #0
    ldreq r3, =0xAA2
    ldrne r3, =0xFF2
    orr r3, r3, r2, lsl #12
    ldr r2, ={DATA}
    orr r3, r3, r2
    str r3, [r1]
    mcr p15, 0, r0, c8, c6, 1
    pop {{r0-r3}}
    subs pc, lr, #8
    .ltorg
table: .word 0
"""


def prepare(*, mapped: bool) -> Guest:
    """A guest whose two pages are mapped, or will be by its handler."""
    guest = Guest()
    tables = PageTables(guest)
    table = tables.table(VA)
    if mapped:
        tables.small(VA, DATA, 3)
        tables.small(VA + 0x1000, DATA + 0x1000, 3)
    handler = guest.load(HANDLER, RAM + 0x4000)
    guest.put(handler["table"], table)
    guest.vector(0x10, RAM + 0x4000)
    tables.enable()
    guest["r13_abt"] = ABORT_STACK
    guest.put(DATA, *(0xA0000000 + offset * 0x10001 for offset in range(0, 0x2000, 4)))
    return guest


REGISTERS = {f"r{n}": 0x11110000 * n + n for n in range(13)} | {"sp": MIDDLE + 8, "lr": 0x99}
USER = Mode.USR | F | I

CASES = [
    "ldr r0, [r1], #4",
    "ldr r0, [r1, #4]!",
    "ldr r1, [r1]",
    "ldr r0, [r1], -r2, lsl #2",
    "ldrb r0, [r1, #-5]!",
    "ldrh r0, [r1], #2",
    "ldrsh r0, [r1, #-2]!",
    "ldrsb r0, [r1], #-1",
    "str r0, [r1], #4",
    "str r0, [r1, #4]!",
    "str r1, [r1, #8]!",
    "strb r0, [r1], #-1",
    "strh r0, [r1, #6]!",
    "ldrt r0, [r1], #8",
    "strt r0, [r1], #8",
    "strbt r0, [r1], #8",
    "ldmia r1, {r2-r5}",
    "ldmia r1!, {r2-r5}",
    "ldmib r1!, {r2-r5}",
    "ldmda r1!, {r2-r5, r8}",
    "ldmdb r1!, {r2-r5, r8}",
    "ldmia r1, {r0-r5}",
    "ldmia r1, {r1-r5}",
    "ldmia r1!, {r0, r1, r2, r3, r4}",
    "ldmdb r1, {r0-r12, lr}",
    "stmia r1, {r1-r5}",
    "stmia r1!, {r2-r5}",
    "stmib r1!, {r0, r2-r5}",
    "stmda r1!, {r2-r5, r8}",
    "stmdb r1!, {r1-r5, r8, pc}",
    "push {r0-r12, lr}",
    "sub sp, sp, #8; pop {r0-r12, lr}",
    "swp r0, r2, [r1]",
    "swpb r0, r2, [r1]",
    "swp r1, r1, [r1]",
]


def final_state(guest: Guest) -> tuple[list[int], bytes]:
    return [guest[f"r{n}"] for n in range(15)] + [guest["cpsr"]], guest.bus.peek(DATA, 0x2000)


@pytest.mark.parametrize("cpsr", [USER, Mode.SVC | I | F], ids=["user", "svc"])
@pytest.mark.parametrize("instruction", CASES)
def test_an_arm_instruction_is_restarted_as_if_nothing_had_happened(instruction: str, cpsr: int) -> None:
    """Once with mapped pages, once with pages that come and become writable on demand."""
    check(instruction, cpsr, thumb=False, base=MIDDLE)
    check(instruction, cpsr, thumb=False, base=VA + 0x1000)


THUMB_CASES = [
    "ldr r0, [r1, #4]",
    "ldrb r0, [r1, r2]",
    "ldrsh r1, [r1, r2]",
    "str r0, [r1]",
    "strh r0, [r1, #2]",
    "ldmia r1!, {r0, r2-r5}",
    "ldmia r1!, {r0-r5}",
    "ldmia r1!, {r1-r5}",
    "stmia r1!, {r0-r5}",
    "stmia r1!, {r2-r7}",
    "push {r0-r7, lr}",
    "push {r0-r3}",
    "sub sp, #8; pop {r0-r7}",
    "str r0, [sp, #8]",
    "ldr r0, [sp]",
]


@pytest.mark.parametrize("instruction", THUMB_CASES)
def test_a_thumb_instruction_is_restarted_as_if_nothing_had_happened(instruction: str) -> None:
    check(instruction, USER, thumb=True, base=MIDDLE, r2=4)


def check(instruction: str, cpsr: int, *, thumb: bool, base: int, **more: int) -> None:
    results = []
    for mapped in (True, False):
        guest = prepare(mapped=mapped)
        guest.start(instruction, cpsr=cpsr, thumb=thumb, **(REGISTERS | {"r1": base} | more))
        guest.run()
        results.append(final_state(guest))
        assert (guest.word(COUNTER) == 0) is mapped
    assert results[0] == results[1]


@pytest.mark.parametrize("instruction", ["ldmia r1, {r1-r5}^", "ldmdb r1, {r0-r5, r13, r14}^"])
def test_a_load_of_user_registers_is_restarted_with_its_base(instruction: str) -> None:
    results = []
    for mapped in (True, False):
        guest = prepare(mapped=mapped)
        guest.start(instruction, **(REGISTERS | {"r1": MIDDLE + 8 * ("db" in instruction)}))
        guest.run()
        results.append((final_state(guest), guest["r13_usr"], guest["r14_usr"]))
    assert results[0] == results[1]


def test_a_load_of_the_pc_from_an_absent_page_jumps_after_it_came() -> None:
    guest = prepare(mapped=False)
    program = guest.start("ldmia r1, {r2, pc}; mov r5, #1; target: mov r6, #2", r1=MIDDLE + 4, r5=0)
    guest.put(DATA + 0x1000, program["target"])
    guest.run()
    assert (guest["r5"], guest["r6"]) == (0, 2)
    assert guest.word(COUNTER) == 2


def test_a_return_from_exception_from_an_absent_page_restores_the_status_after_it_came() -> None:
    guest = prepare(mapped=False)
    program = guest.start(
        "msr spsr_cxsf, r0; ldmia r1, {r2, pc}^; nop; target: mov r6, #2", r0=0x80000010, r1=MIDDLE + 4
    )
    guest.put(DATA + 0x1000, program["target"])
    guest.run()
    assert guest["r6"] == 2
    assert guest["cpsr"] == 0x80000010


def test_the_program_runs_on_when_its_own_pages_come_on_demand() -> None:
    """Prefetch aborts: user code across three absent pages, each mapped when it is reached."""
    guest = Guest()
    tables = PageTables(guest)
    table = tables.table(VA)
    handler = guest.load(
        f"""
        push {{r0-r2}}
        sub r0, lr, #4
        mov r1, r0, lsr #12
        and r1, r1, #0xff
        ldr r2, =0x{table:x}
        add r2, r2, r1, lsl #2
        ldr r0, =0x{DATA | 0xAA2:x}
        orr r0, r0, r1, lsl #12
        str r0, [r2]
        pop {{r0-r2}}
        subs pc, lr, #4
        """,
        RAM + 0x4000,
    )
    assert handler.base == RAM + 0x4000
    guest.vector(0x0C, RAM + 0x4000)
    tables.enable()
    guest["r13_abt"] = ABORT_STACK
    count = 0x2800 // 4
    guest.load("\n".join(["add r0, r0, #1"] * count) + "\ndone: b done", DATA + 0x400)
    guest["cpsr"] = USER
    guest["r0"] = 0
    guest["pc"] = VA + 0x400
    guest.step(5000)
    assert guest["pc"] == VA + 0x400 + 4 * count
    assert guest["r0"] == count
    assert guest["ifsr"] == 0x07
