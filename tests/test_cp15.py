"""The system control coprocessor, and that no other coprocessor exists (ARM920T TRM 2.3)."""

from __future__ import annotations

import pytest

from dbgemu.target.arm.state import C, F, I, Mode, N, T, V, Z
from tests.arm_programs import CODE, SVC_MASKED, Guest


@pytest.fixture
def guest() -> Guest:
    return Guest()


def read(guest: Guest, register: str) -> int:
    """``mrc p15, 0, r0, <register>`` in the guest."""
    guest.start(f"mrc p15, 0, r0, {register}", r0=0xDEADBEEF)
    guest.run()
    return guest["r0"]


def write(guest: Guest, register: str, value: int) -> None:
    guest.start(f"mcr p15, 0, r0, {register}", r0=value)
    guest.run()


def test_the_identification_registers_are_those_of_an_arm920t(guest) -> None:
    assert read(guest, "c0, c0, 0") == 0x41129200
    assert read(guest, "c0, c0, 1") == 0x0D172172
    # reserved opcodes read as the main ID
    assert read(guest, "c0, c0, 2") == 0x41129200
    write(guest, "c0, c0, 0", 0)
    assert read(guest, "c0, c0, 0") == 0x41129200


def test_the_control_register_has_ones_that_cannot_be_cleared_and_zeros_that_cannot_be_set(guest) -> None:
    assert read(guest, "c1, c0, 0") == 0x78
    write(guest, "c1, c0, 0", 0)
    assert read(guest, "c1, c0, 0") == 0x78
    # all but the MMU: code must go on
    write(guest, "c1, c0, 0", 0xFFFFFFFE)
    assert read(guest, "c1, c0, 0") == 0xC00073FE
    assert guest["sctlr"] == 0xC00073FE


#: register -> what reads back after all ones were written
STORED = {
    "c2, c0, 0": 0xFFFFC000,
    "c3, c0, 0": 0xFFFFFFFF,
    "c5, c0, 0": 0xFFFFFFFF,
    "c5, c0, 1": 0xFFFFFFFF,
    "c6, c0, 0": 0xFFFFFFFF,
    "c9, c0, 0": 0xFFFFFFFF,
    "c9, c0, 1": 0xFFFFFFFF,
    "c10, c0, 0": 0xFFFFFFFF,
    "c10, c0, 1": 0xFFFFFFFF,
    "c13, c0, 0": 0xFE000000,
}
NAMES = {
    "c2, c0, 0": "ttbr",
    "c3, c0, 0": "dacr",
    "c5, c0, 0": "dfsr",
    "c5, c0, 1": "ifsr",
    "c6, c0, 0": "far",
    "c9, c0, 0": "dclr",
    "c9, c0, 1": "iclr",
    "c10, c0, 0": "dtlblr",
    "c10, c0, 1": "itlblr",
    "c13, c0, 0": "fcseidr",
}


@pytest.mark.parametrize("register", STORED)
def test_a_register_keeps_the_bits_that_it_has(guest, register) -> None:
    assert read(guest, register) == 0
    write(guest, register, 0xFFFFFFFF)
    others = [name for key, name in NAMES.items() if key != register]
    # FCSE would move the code that reads it
    assert guest[NAMES[register]] == STORED[register]
    assert all(guest[name] == 0 for name in others)
    guest[NAMES[register]] = 0
    assert read(guest, register) == 0


@pytest.mark.parametrize("register", [key for key in STORED if not key.startswith("c13")])
def test_data_and_instruction_registers_are_read_back_by_the_guest(guest, register) -> None:
    write(guest, register, 0x12345678)
    assert read(guest, register) == 0x12345678 & STORED[register]


def test_fcse_moves_the_code_that_sets_it() -> None:
    guest = Guest()
    guest.start("mcr p15, 0, r0, c13, c0, 0; mrc p15, 0, r1, c13, c0, 0", r0=0x03FFFFFF)
    guest.run()
    # code at 0x30008000 is above the 32 MiB that move
    assert guest["r1"] == 0x02000000


def test_reset_restores_the_control_register_and_the_state_of_the_core(guest) -> None:
    for name in NAMES.values():
        guest[name] = 0xFFFFFFFF
    guest["sctlr"] = 0x2002
    guest["cpsr"] = Mode.USR | T | N | Z | C | V
    guest["r5"] = 5
    count = guest.cpu.instructions
    guest.cpu.reset()
    assert guest["cpsr"] == SVC_MASKED
    assert guest["pc"] == 0
    assert guest["sctlr"] == 0x78
    assert all(guest[name] == 0 for name in NAMES.values())
    assert guest.cpu.instructions == count


@pytest.mark.parametrize(
    "operation",
    [
        "c7, c7, 0",
        "c7, c5, 0",
        "c7, c5, 1",
        "c7, c6, 0",
        "c7, c6, 1",
        "c7, c10, 1",
        "c7, c10, 2",
        "c7, c14, 1",
        "c7, c14, 2",
        "c7, c13, 1",
        "c7, c10, 4",
        "c8, c7, 0",
        "c8, c5, 0",
        "c8, c5, 1",
        "c8, c6, 0",
        "c8, c6, 1",
        "c15, c1, 2",
    ],
)
def test_cache_and_tlb_operations_change_nothing_that_can_be_seen(guest, operation) -> None:
    before = {name: guest[name] for name in (*NAMES.values(), "sctlr")}
    write(guest, operation, 0x30008000)
    assert {name: guest[name] for name in before} == before
    assert guest["cpsr"] == SVC_MASKED


def test_mrc_to_the_pc_sets_the_flags_only(guest) -> None:
    guest["dacr"] = 0xA0000013
    guest.start(".word 0xee13ff10", cpsr=SVC_MASKED | Z | V)  # mrc p15, 0, r15, c3, c0, 0
    guest.run()
    assert guest["cpsr"] == SVC_MASKED | N | C


@pytest.mark.parametrize(
    "instruction",
    [
        "mrc p15, 0, r0, c0, c0, 0",
        "mrc p15, 0, r0, c1, c0, 0",
        "mcr p15, 0, r0, c1, c0, 0",
        "mcr p15, 0, r0, c7, c0, 4",
        "mcr p15, 0, r0, c8, c7, 0",
    ],
)
def test_user_code_has_no_cp15(guest, instruction) -> None:
    guest.start(instruction, cpsr=Mode.USR | F | Z, r0=0x2001)
    guest.step()
    assert (guest.mode, guest["pc"], guest["lr"]) == (Mode.UND, 0x04, CODE + 4)
    assert guest["spsr"] == Mode.USR | F | Z
    assert guest["cpsr"] == Mode.UND | I | F | Z
    assert (guest["r0"], guest["sctlr"]) == (0x2001, 0x78)
    assert guest.cpu.take_requests() == (False, False)


@pytest.mark.parametrize(
    "instruction",
    [
        "mrc p14, 0, r0, c0, c0, 0",
        "mcr p14, 0, r0, c1, c0, 0",
        "mrc p10, 7, r0, c0, c0, 0",
        "mcr p0, 0, r0, c0, c0, 0",
        "cdp p15, 0, c0, c0, c0, 0",
        "cdp p11, 0, c0, c0, c0, 0",
        "ldc p1, c0, [r1]",
        "stc p15, c0, [r1], #4",
        ".word 0xec510f10",  # mrrc p15, 1, r0, r1, c0
        "ldr r0, [r1]; .word 0xe7f000f0",
    ],
)
def test_no_other_coprocessor_instruction_exists(guest, instruction) -> None:
    guest.start(instruction, r1=CODE)
    count = instruction.count(";") + 1
    guest.step(count)
    assert (guest.mode, guest["pc"], guest["lr"]) == (Mode.UND, 0x04, CODE + 4 * count)
    assert guest["r1"] == CODE


def test_a_coprocessor_instruction_whose_condition_fails_is_no_exception(guest) -> None:
    guest.start("mrceq p14, 0, r0, c0, c0, 0; mcreq p15, 0, r0, c1, c0, 0", cpsr=Mode.USR)
    guest.run()
    assert guest["cpsr"] == Mode.USR


@pytest.mark.parametrize(
    "word",
    [
        0xE16F0F11,  # CLZ
        0xE12FFF31,  # BLX r1
        0xE1200070,  # BKPT
        0xE1000052,  # QADD
        0xE1000082,  # SMLABB
        0xE1C000D0,  # LDRD
        0xE1C000F0,  # STRD
        0xE1910F9F,  # LDREX
        0xE3000001,  # MOVW
        0xE6BF0070,  # SXTH
        0xE0400291,  # UMAAL
    ],
)
def test_instructions_of_later_architectures_are_undefined(guest, word) -> None:
    guest.start(f".word {word:#x}", r1=CODE)
    guest.step()
    assert (guest.mode, guest["pc"], guest["lr"]) == (Mode.UND, 0x04, CODE + 4)


@pytest.mark.parametrize(
    "halfword",
    [
        0x4788,  # BLX r1
        0xBE00,  # BKPT
        0xE800,  # BLX's second half
        0xB108,  # CBZ
        0xBF08,  # IT
        0xBF00,  # NOP
        0xB240,  # SXTB
        0xBA00,  # REV
        0xB672,  # CPSID
        0xDE00,
    ],
)
def test_thumb_instructions_of_later_architectures_are_undefined(guest, halfword) -> None:
    guest.start(f".short {halfword:#x}", thumb=True, r0=0, r1=CODE)
    guest.step()
    assert (guest.mode, guest["pc"], guest["lr"]) == (Mode.UND, 0x04, CODE + 2)


def test_the_condition_never_executes_nothing(guest) -> None:
    """ARMv4's NV, where ARMv5 has BLX and PLD."""
    guest.start(".word 0xf3a00001; .word 0xfa000010; .word 0xf5d1f000", r0=9)
    guest.run()
    assert guest["r0"] == 9
