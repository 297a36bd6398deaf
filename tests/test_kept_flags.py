"""Compiled code keeps what flags follow from: at each way out they are what tier 0 makes of them."""

from __future__ import annotations

import random

import pytest

from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.translator import Translator
from dbgemu.target.arm.state import StopCode
from tests.arm_programs import DATA, Guest

#: in ARM and in Thumb: all ways to set flags, all of them or some
_ARM = (
    "cmp r0, r1", "cmn r0, r1", "cmp r2, #7", "cmn r2, #0", "subs r3, r0, r1", "rsbs r3, r1, #0",
    "adds r3, r0, r1", "adcs r3, r0, r1", "sbcs r3, r1, r0", "rscs r3, r0, #9", "tst r0, r1", "teq r0, r1",
    "movs r3, r0, lsr #3", "movs r3, r0, rrx", "ands r3, r0, r1, lsl #5", "mvns r3, r1", "muls r3, r1, r0",
    "umulls r3, r4, r0, r1", "smulls r3, r4, r0, r1", "movs r3, r0, lsl r2", "msr cpsr_f, r0",
)  # fmt: skip
_THUMB = (
    "cmp r0, r1", "cmn r0, r1", "cmp r2, #7", "subs r3, r0, r1", "adds r3, r0, r1", "adcs r3, r1",
    "sbcs r3, r0", "negs r3, r1", "tst r0, r1", "lsrs r3, r0, #3", "lsls r3, r0, #7", "asrs r3, r2",
    "ands r3, r1", "mvns r3, r1", "muls r3, r1", "movs r3, #0", "adds r3, #200", "subs r3, #1",
)  # fmt: skip
#: what reads flags, or leaves the region where they have to be right
_ARM_READERS = (
    "addge r5, r5, #1", "addhi r5, r5, #2", "addvs r5, r5, #4", "addmi r5, r5, #8", "addle r5, r5, #16",
    "addcs r5, r5, #32", "addne r5, r5, r0", "mrs r6, cpsr", "ldr r7, [r8]", "cmpne r5, r1", "cmpcs r1, r0",
    "tsteq r1, r5", "bl leaf",
)  # fmt: skip
_THUMB_READERS = ("adcs r5, r1", "ldr r7, [r6]", "sbcs r5, r0", "bl leaf")
_BRANCHES = ["eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le"]
_REGISTERS = (*(f"r{n}" for n in range(13)), "lr", "pc", "cpsr")


def _program(seed: int, thumb: bool) -> str:
    choose = random.Random(seed)
    writers, readers = (_THUMB, _THUMB_READERS) if thumb else (_ARM, _ARM_READERS)
    address = "ldr r6, =" if thumb else "ldr r8, ="
    lines = [f"{address}{DATA}", "again:"]
    for block in range(choose.randrange(2, 6)):
        for _ in range(choose.randrange(1, 4)):
            lines.append(choose.choice(writers))
            lines += choose.sample(readers, choose.randrange(3))
        lines += [f"b{choose.choice(_BRANCHES)} place{block}", choose.choice(writers), f"place{block}:"]
    step = ("adds r0, r1", "adds r1, #77") if thumb else ("add r0, r0, r1, ror #3", "add r1, r1, #77")
    leaf = ("b again", "leaf: bx lr") if thumb else ("b again", "leaf: mov pc, lr")
    return "\n".join(
        [*lines, choose.choice(readers), *step, "eors r2, r0" if thumb else "eor r2, r2, r0", *leaf]
    )


def _guests(source: str, thumb: bool) -> tuple[Guest, Guest]:
    guests = Guest(), Guest()
    for guest in guests:
        guest.start(
            source, thumb=thumb, sp=DATA + 0x1000, r0=0x7FFFFFF0, r1=0x80000003, r2=5, r3=1, r4=0, r5=0
        )
    return guests


def _compare(source: str, thumb: bool, counts: list[int]) -> Translator:
    plain, guest = _guests(source, thumb)
    translator = Translator(guest.cpu, AtOnce(level=0), threshold=2, again=2, patience=1, batch=1)
    try:
        for count in counts:
            for other in (plain, guest):
                assert other.step(count) is StopCode.LIMIT
            assert [guest[name] for name in _REGISTERS] == [plain[name] for name in _REGISTERS], source
        assert sum(region.hits for region in translator.regions)
    finally:
        translator.close()
    return translator


@pytest.mark.parametrize("thumb", [False, True], ids=["ARM", "Thumb"])
@pytest.mark.parametrize("seed", range(12))
def test_flags_are_right_at_each_way_out(seed: int, thumb: bool) -> None:
    _compare(_program(seed, thumb), thumb, [3000, *range(300, 360), 10_000])


@pytest.mark.parametrize("length", [1, 2, 5, 12, 17, 30, 60])
def test_a_loop_of_one_block_takes_the_same_turns(length: int) -> None:
    """Loops of one block are emitted several times over; the last turn may be any of them."""
    body = "\n".join("add r1, r1, r0, ror #1" for _ in range(length))
    source = f"again: add r4, r4, #1\nand r0, r4, #15\nloop: {body}\nsubs r0, r0, #1\nbpl loop\nb again"
    _compare(source, False, [5000, *range(300, 340), 20_000])
