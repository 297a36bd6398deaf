"""Exception entry and return, banked registers, interrupts (ARM ARM A2.2 to A2.6)."""

from __future__ import annotations

import pytest

from dbgemu.target.arm.state import C, F, I, Mode, N, StopCode, T, V, Z
from tests.arm_programs import CODE, DATA, RAM, SVC_MASKED, Guest

MODES = (Mode.USR, Mode.FIQ, Mode.IRQ, Mode.SVC, Mode.ABT, Mode.UND, Mode.SYS)
WITH_SPSR = (Mode.FIQ, Mode.IRQ, Mode.SVC, Mode.ABT, Mode.UND)
FLAGS = N | C


@pytest.fixture
def guest() -> Guest:
    return Guest()


def spsr_name(mode: int) -> str:
    return f"spsr_{Mode(mode).name.lower()}"


# -- entry ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectors", [0, 0xFFFF0000], ids=["low", "high"])
@pytest.mark.parametrize("thumb", [False, True], ids=["arm", "thumb"])
@pytest.mark.parametrize("old", [Mode.USR | F, Mode.SYS, Mode.FIQ | F, Mode.UND | I])
@pytest.mark.parametrize(
    ("arm", "thumb_code", "offset", "mode"),
    [
        ("swi 0x123456", "swi 0x12", 0x08, Mode.SVC),
        (".word 0xe7ffffff", ".short 0xde00", 0x04, Mode.UND),
        ("mrc p14, 0, r0, c0, c0, 0", ".short 0xe800", 0x04, Mode.UND),
    ],
)
def test_swi_and_undefined_enter_their_mode(
    guest, arm, thumb_code, offset, mode, old, thumb, vectors
) -> None:
    if vectors:
        guest["sctlr"] = 1 << 13
    cpsr = old | FLAGS | (T if thumb else 0)
    guest.start(thumb_code if thumb else arm, cpsr=cpsr, thumb=thumb, r0=5, r8=8, r12=12)
    before = guest.cpu.instructions
    guest.step()
    assert guest.cpu.instructions == before + 1
    assert guest["pc"] == vectors + offset
    assert guest["cpsr"] == mode | I | old & F | FLAGS
    assert guest["spsr"] == cpsr
    assert guest["lr"] == CODE + (2 if thumb else 4)
    assert guest["r0"] == 5
    if old & 0x1F != Mode.FIQ:
        assert (guest["r8"], guest["r12"]) == (8, 12)


@pytest.mark.parametrize("thumb", [False, True], ids=["arm", "thumb"])
@pytest.mark.parametrize(
    ("line", "offset", "mode", "masked"), [("irq", 0x18, Mode.IRQ, I), ("fiq", 0x1C, Mode.FIQ, I | F)]
)
def test_interrupts_are_taken_between_instructions(guest, line, offset, mode, masked, thumb) -> None:
    guest.start(
        "mov r0, #1; mov r1, #2" if not thumb else "movs r0, #1; movs r1, #2", cpsr=Mode.USR | C, thumb=thumb
    )
    cpsr = Mode.USR | C | (T if thumb else 0)
    guest.step()
    assert guest["r0"] == 1
    size = 2 if thumb else 4
    getattr(guest.cpu, f"set_{line}")(1)
    guest["r1"] = 0
    guest.step()
    assert guest["r1"] == 0
    # the vector's branch to itself was executed
    assert guest["pc"] == offset
    assert guest["cpsr"] & ~(Z | N) == mode | masked | C
    assert guest["spsr"] & ~(Z | N) == cpsr
    assert guest["lr"] == CODE + size + 4


def test_fiq_comes_before_irq_and_masks_it(guest) -> None:
    guest.start("nop", cpsr=Mode.SYS)
    guest.cpu.set_irq(1)
    guest.cpu.set_fiq(1)
    guest.step()
    assert guest.mode == Mode.FIQ
    assert guest["cpsr"] & (I | F) == I | F


def test_irq_leaves_fiq_unmasked(guest) -> None:
    guest.start("nop", cpsr=Mode.SYS)
    guest.cpu.set_irq(1)
    guest.step()
    assert guest.mode == Mode.IRQ
    guest.cpu.set_fiq(1)
    guest.step()
    assert guest.mode == Mode.FIQ
    assert guest["spsr"] & 0x1F == Mode.IRQ
    assert guest["lr"] == 0x18 + 4, "the IRQ handler's instruction is the one to return to"


@pytest.mark.parametrize(("bit", "line"), [(I, "irq"), (F, "fiq")])
def test_a_masked_interrupt_waits_until_msr_unmasks_it(guest, bit, line) -> None:
    guest.start("nop; nop; msr cpsr_c, #0x1f; nop; nop", cpsr=Mode.SYS | I | F)
    getattr(guest.cpu, f"set_{line}")(1)
    guest.step(3)
    assert (guest["pc"], guest.mode) == (CODE + 12, Mode.SYS)
    guest.step()
    assert guest["lr"] == CODE + 12 + 4
    assert guest.mode == (Mode.IRQ if bit == I else Mode.FIQ)


def test_msr_masks_an_interrupt_in_time(guest) -> None:
    guest.start("msr cpsr_c, #0xdf; nop; nop", cpsr=Mode.SYS)
    guest.step()
    guest.cpu.set_irq(1)
    guest.cpu.set_fiq(1)
    guest.step(2)
    assert (guest["pc"], guest.mode) == (CODE + 12, Mode.SYS)


def test_a_line_that_falls_before_it_was_seen_interrupts_nothing(guest) -> None:
    guest.start("nop; nop")
    guest.cpu.set_irq(1)
    guest.cpu.set_irq(0)
    guest["cpsr"] = Mode.SYS
    guest.run()


def test_an_interrupt_is_taken_at_the_very_instruction_that_the_budget_ends_at(guest) -> None:
    """Also in the middle of straight code and of a loop."""
    guest.load("subs pc, lr, #4", 0x18)
    for at in range(1, 25):
        guest.start(
            "1: add r0, r0, #1; add r1, r1, #1; add r2, r2, #1; b 1b", cpsr=Mode.SYS, r0=0, r1=0, r2=0
        )
        guest.step(at)
        guest.cpu.set_irq(1)
        expected = guest["pc"]
        # nothing of the program is executed by a run that has no budget left
        guest.step(0)
        assert guest["pc"] == expected
        guest.step(0 + 1)
        guest.cpu.set_irq(0)
        assert (guest["pc"], guest.mode) == (expected, Mode.SYS), "the handler returned"
        counts = [guest["r0"], guest["r1"], guest["r2"]]
        assert counts == [(at + 3) // 4, (at + 2) // 4, (at + 1) // 4]


@pytest.mark.parametrize("register", ["cpsr", "write"])
def test_a_debugger_that_unmasks_interrupts_lets_one_through(guest, register) -> None:
    guest.start("nop", cpsr=Mode.SYS | I)
    guest.cpu.set_irq(1)
    if register == "cpsr":
        guest.cpu.cpsr = Mode.SYS
    else:
        guest.cpu.write_register("cpsr", Mode.SYS)
    guest.step()
    assert guest.mode == Mode.IRQ


def test_interrupts_that_are_held_back_for_a_step_come_after_it(guest) -> None:
    guest.start("mov r0, #1; mov r1, #1", cpsr=Mode.SYS, r0=0, r1=0)
    guest.cpu.mask_interrupts(True)
    guest.cpu.set_irq(1)  # a line that rises meanwhile is held back too
    guest.step()
    assert (guest["r0"], guest.mode) == (1, Mode.SYS)
    guest.cpu.mask_interrupts(False)
    guest.step()
    assert (guest["r1"], guest.mode) == (0, Mode.IRQ)


# -- waiting -------------------------------------------------------------------------------------


def test_wait_for_interrupt_stops_behind_itself_and_asks_for_idling(guest) -> None:
    guest.start("mov r0, #1; mcr p15, 0, r0, c7, c0, 4; mov r0, #2")
    assert guest.step(100) is StopCode.REQUEST
    assert guest["pc"] == CODE + 8
    assert guest["r0"] == 1
    assert guest.cpu.take_requests() == (False, True)
    guest.run()
    assert guest["r0"] == 2


def test_a_masked_interrupt_ends_waiting_without_being_taken(guest) -> None:
    guest.start("mcr p15, 0, r0, c7, c0, 4; mov r0, #2")
    guest.step(100)
    assert not guest.cpu.interrupt_requested
    guest.cpu.set_irq(1)
    assert guest.cpu.interrupt_requested
    guest.cpu.take_requests()
    guest.run()
    assert (guest["r0"], guest.mode) == (2, Mode.SVC)


# -- return --------------------------------------------------------------------------------------

RETURNS = [
    # what ends in the pc, from r14 = target and r0 = 0
    ("movs pc, lr", 0),
    ("subs pc, lr, #4", 4),
    ("subs pc, lr, #8", 8),
    ("adds pc, lr, r0", 0),
    ("orrs pc, lr, r0", 0),
    ("eors pc, lr, r0", 0),
    ("bics pc, lr, r0", 0),
    ("ands pc, lr, lr", 0),
    ("rsbs pc, r0, lr", 0),
    ("movs pc, lr, lsl r0", 0),
    ("ldmia r1, {pc}^", 0),
    ("ldmib r2!, {pc}^", 0),
]


@pytest.mark.parametrize("thumb", [False, True], ids=["arm", "thumb"])
@pytest.mark.parametrize("mode", WITH_SPSR)
@pytest.mark.parametrize(("instruction", "extra"), RETURNS)
def test_a_return_restores_status_and_mode(guest, instruction, extra, mode, thumb) -> None:
    target = CODE + 0x102
    new = Mode.USR | N | V | F | (T if thumb else 0)
    guest.start(instruction, cpsr=mode | Z | I, r0=0, r1=DATA, r2=DATA - 4, spsr=new)
    guest["lr"] = target + extra
    guest["r13_usr"], guest["r14_usr"] = 0x1313, 0x1414
    guest.put(DATA, target)
    guest.step()
    assert guest["pc"] == (target if thumb else target & ~3)
    assert guest["cpsr"] == new
    assert (guest["sp"], guest["lr"]) == (0x1313, 0x1414)


def test_a_return_that_unmasks_is_interrupted_at_its_target(guest) -> None:
    guest.start("movs pc, lr", cpsr=SVC_MASKED, spsr=Mode.USR, lr=CODE + 0x100)
    guest.cpu.set_irq(1)
    guest.step()
    assert (guest["pc"], guest.mode) == (CODE + 0x100, Mode.USR)
    guest.step()
    assert (guest.mode, guest["lr"], guest["spsr"]) == (Mode.IRQ, CODE + 0x104, Mode.USR)


def test_a_conditional_return_whose_condition_fails_does_nothing(guest) -> None:
    guest.start("moveqs pc, lr; ldmneia r0, {pc}^", cpsr=Mode.SVC, spsr=Mode.USR, lr=0)
    guest["cpsr"] = Mode.SVC
    guest.step()
    assert (guest["pc"], guest.mode) == (CODE + 4, Mode.SVC)


def test_nested_exceptions_come_back_in_order(guest) -> None:
    guest.load("stmfd sp!, {r0, lr}; mov r0, #77; swi 0; ldmfd sp!, {r0, pc}^", RAM + 0x4000)
    guest.vector(0x04, RAM + 0x4000)
    guest.load("add r5, r5, #1; movs pc, lr", RAM + 0x5000)
    guest.vector(0x08, RAM + 0x5000)
    guest["r13_und"] = RAM + 0x3000
    guest.start("mov r0, #1; .word 0xe7f000f0; mov r4, #4", cpsr=Mode.USR | C, r5=0)
    guest.run()
    assert [guest[f"r{n}"] for n in (0, 4, 5)] == [1, 4, 1]
    assert guest["cpsr"] == Mode.USR | C


@pytest.mark.parametrize("mode", [Mode.USR, Mode.SYS])
def test_user_code_cannot_raise_its_privilege_through_a_saved_status_it_does_not_have(guest, mode) -> None:
    """MSR SPSR is unpredictable in these modes; it must not be a way to another one."""
    guest.start("msr spsr_cxsf, r0; movs pc, lr", cpsr=mode, r0=Mode.SVC, lr=CODE + 0x100)
    guest.step(2)
    assert guest.mode == Mode.USR


# -- banked registers ------------------------------------------------------------------------------


def test_each_mode_has_its_own_registers(guest) -> None:
    """Written through MSR in the guest, read by name from outside."""
    parts = []
    for k, mode in enumerate(MODES):
        parts.append(f"msr cpsr_c, #{0xC0 | mode}")
        parts += [f"mov r{n}, #{(k + 1) * 16 + n - 8}" for n in range(8, 15)]
        if mode in WITH_SPSR:
            parts.append(f"msr spsr_cxsf, #{0xC0 | mode}")
        parts.append("mov r0, #5")
    parts.remove("msr cpsr_c, #208")  # the program starts in System mode: User's cannot be left
    guest.start("; ".join(parts), cpsr=Mode.SYS | I | F)
    guest.run()
    rank = {mode: k + 1 for k, mode in enumerate(MODES)}
    for mode in WITH_SPSR:
        name = mode.name.lower()
        assert guest[f"r13_{name}"] == rank[mode] * 16 + 5
        assert guest[f"r14_{name}"] == rank[mode] * 16 + 6
        assert guest[spsr_name(mode)] == 0xC0 | mode
    for n in range(8, 13):
        assert guest[f"r{n}_fiq"] == rank[Mode.FIQ] * 16 + n - 8
        assert guest[f"r{n}_usr"] == rank[Mode.SYS] * 16 + n - 8
    for n in (13, 14):
        assert guest[f"r{n}_usr"] == rank[Mode.SYS] * 16 + n - 8


@pytest.mark.parametrize("mode", MODES)
def test_every_register_can_be_written_and_read_by_name_in_every_mode(guest, mode) -> None:
    names = [f"r{n}_{bank}" for bank in ("usr", "fiq") for n in range(8, 15)]
    names += [f"r{n}_{bank}" for bank in ("irq", "svc", "abt", "und") for n in (13, 14)]
    names += [f"spsr_{bank}" for bank in ("fiq", "irq", "svc", "abt", "und")]
    names += [f"r{n}" for n in range(8)]
    guest["cpsr"] = mode
    for k, name in enumerate(names):
        guest[name] = 0x1000 + k
    for k, name in enumerate(names):
        assert guest[name] == 0x1000 + k, name
    # and they stay where they are when the mode changes
    for other in MODES:
        guest["cpsr"] = other
        for k, name in enumerate(names):
            assert guest[name] == 0x1000 + k, (name, other)
        bank = "usr" if other == Mode.SYS else other.name.lower()
        assert guest["sp"] == guest[f"r13_{bank}"]
        assert guest["lr"] == guest[f"r14_{bank}"]
        assert guest["r8"] == guest["r8_fiq" if other == Mode.FIQ else "r8_usr"]
        if other in WITH_SPSR:
            assert guest["spsr"] == guest[f"spsr_{bank}"]


@pytest.mark.parametrize(
    "name", ["r16", "r8_irq", "r0_usr", "r15_usr", "spsr_usr", "spsr_sys", "x", "", "r", "cpsr_irq"]
)
def test_a_register_that_does_not_exist_is_refused(guest, name) -> None:
    with pytest.raises(KeyError):
        guest.cpu.read_register(name)
    with pytest.raises(KeyError):
        guest.cpu.write_register(name, 1)


def test_the_pc_that_was_written_is_aligned_to_the_instruction_set_when_it_runs(guest) -> None:
    guest.start("mov r0, #1; mov r0, #2", cpsr=SVC_MASKED, r0=0)
    guest["pc"] = CODE + 3
    guest.step()
    assert (guest["r0"], guest["pc"]) == (1, CODE + 4)
    guest["cpsr"] = SVC_MASKED | T
    guest["pc"] = CODE + 3
    assert guest["pc"] == CODE + 2


@pytest.mark.parametrize("mode", WITH_SPSR)
def test_block_transfers_reach_user_registers_from_every_mode(guest, mode) -> None:
    guest.start(
        "stmia r0, {r1, r8-r14}^; nop; ldmia r2, {r1, r8-r14}^; nop",
        cpsr=mode,
        r0=DATA,
        r1=1,
        r2=DATA + 0x100,
    )
    for n in range(8, 15):
        guest[f"r{n}_usr"] = 0x100 + n
        if mode == Mode.FIQ:
            guest[f"r{n}_fiq"] = 0x200 + n
    guest["sp"], guest["lr"] = 0x300, 0x301
    own = [guest[f"r{n}"] for n in range(8, 15)]
    guest.put(DATA + 0x100, *range(0x500, 0x508))
    guest.run()
    assert [guest.word(DATA + 4 * k) for k in range(8)] == [1, *range(0x108, 0x10F)]
    assert guest["r1"] == 0x500
    assert [guest[f"r{n}_usr"] for n in range(8, 15)] == list(range(0x501, 0x508))
    if mode == Mode.FIQ:
        assert [guest[f"r{n}"] for n in range(8, 15)] == own
    assert (guest["sp"], guest["lr"]) == (0x300, 0x301)


# -- status registers --------------------------------------------------------------------------------


def test_user_code_changes_its_flags_only(guest) -> None:
    guest.start("msr cpsr_cxsf, r0; mrs r1, cpsr", cpsr=Mode.USR | F, r0=N | V | I | Mode.SVC)
    guest.run()
    assert guest["r1"] == guest["cpsr"] == N | V | F | Mode.USR


@pytest.mark.parametrize(
    ("fields", "mask"), [("f", 0xF0000000), ("c", 0xFF & ~T), ("s", 0), ("x", 0), ("cxsf", 0xF00000FF & ~T)]
)
def test_msr_writes_the_fields_that_it_names_and_never_the_thumb_bit(guest, fields, mask) -> None:
    old, new = SVC_MASKED | Z, N | C | V | T | Mode.SYS
    guest.start(f"msr cpsr_{fields}, r0", cpsr=old, r0=new)
    guest.run()
    assert guest["cpsr"] == old & ~mask | new & mask


def test_a_mode_without_bit_4_gets_it_because_there_are_no_26_bit_modes(guest) -> None:
    guest.start("msr cpsr_c, #0x03", cpsr=SVC_MASKED)
    guest.run()
    assert guest.mode == Mode.SVC


# -- Thumb state ---------------------------------------------------------------------------------------


def test_bx_changes_the_instruction_set_and_back(guest) -> None:
    guest.start(
        """
        adr r0, thumb_code + 1
        mov lr, pc
        bx r0
        mov r2, #3
        b done
        .thumb
        thumb_code:
        movs r1, #7
        bx lr
        .align 2
        .arm
        """
    )
    guest.run()
    assert (guest["r1"], guest["r2"]) == (7, 3)


def test_bl_in_thumb_links_with_the_thumb_bit_over_both_directions(guest) -> None:
    guest.start(
        """
        b main
        sub1: adds r0, #1
        mov pc, lr
        main: bl sub1
        bl sub2
        1: b 1b
        .space 0x1000
        sub2: adds r0, #2
        mov r7, lr
        bx lr
        .align 2
        """,
        thumb=True,
        r0=0,
    )
    guest.step(100)
    assert guest["r0"] == 3
    assert guest["r7"] & 1 == 1
    assert guest["cpsr"] & T


@pytest.mark.parametrize("instruction", ["mov pc, r0", "ldr pc, [r1]", "ldmia r1, {pc}", "add pc, r0, #0"])
def test_other_writes_of_the_pc_stay_in_arm_state(guest, instruction) -> None:
    """Interworking by loads came with ARMv5."""
    guest.start(instruction, r0=CODE + 0x103, r1=DATA)
    guest.put(DATA, CODE + 0x103)
    guest.step()
    assert guest["pc"] == CODE + 0x100
    assert not guest["cpsr"] & T


@pytest.mark.parametrize("instruction", ["mov pc, r0", "pop {pc}"])
def test_other_writes_of_the_pc_stay_in_thumb_state(guest, instruction) -> None:
    guest.start(instruction, thumb=True, r0=CODE + 0x102, sp=DATA)
    guest.put(DATA, CODE + 0x102)
    guest.step()
    assert guest["pc"] == CODE + 0x102
    assert guest["cpsr"] & T
