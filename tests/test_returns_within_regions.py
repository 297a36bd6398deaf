"""A function that is called from its own region returns within it, exactly as tier 0 does it."""

from __future__ import annotations

import pytest

from dbgemu.engine.translator.assembly import AssembleAtOnce
from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.regions import find_region
from dbgemu.engine.translator.stencils import StencilStores
from dbgemu.engine.translator.translator import Translator
from dbgemu.target.arm.assembler import assemble_program
from dbgemu.target.arm.state import StopCode
from tests.arm_programs import CODE, DATA, Guest

#: each calls itself twice for each bit of r0, from different places; r6 counts
_RETURNS = {
    "pop": "ldmfd sp!, {r0, pc}",
    "mov": "ldmfd sp!, {r0, lr}; mov pc, lr",
    "bx": "ldmfd sp!, {r0, lr}; bx lr",
    "conditional": "ldmfd sp!, {r0, lr}; tst r6, #1; bxne lr; add r7, r7, #1; mov pc, lr",
}
_ARM = """
again: mov r0, #31
bl tree
b again
tree: stmfd sp!, {{r0, lr}}
add r6, r6, #1
movs r0, r0, lsr #1
beq out
bl tree
add r5, r5, r6
bl tree
out: {leave}
"""
_THUMB = """
again: movs r0, #31
bl tree
b again
tree: push {{r0, lr}}
adds r6, #1
lsrs r0, r0, #1
beq out
bl tree
adds r5, r5, r6
bl tree
out: {leave}
"""
_THUMB_RETURNS = {"pop": "pop {r0, pc}", "bx": "pop {r0}; pop {r1}; bx r1"}
_PROGRAMS = [
    *(pytest.param(_ARM.format(leave=leave), False, id=f"ARM {name}") for name, leave in _RETURNS.items()),
    *(
        pytest.param(_THUMB.format(leave=leave), True, id=f"Thumb {name}")
        for name, leave in _THUMB_RETURNS.items()
    ),
]
_REGISTERS = ("r0", "r1", "r5", "r6", "r7", "sp", "lr", "pc", "cpsr")
#: instructions that any part of these programs takes, and more
_ROUNDS = 400


def _guest(source: str, thumb: bool) -> Guest:
    guest = Guest()
    guest.start(source, thumb=thumb, sp=DATA + 0x1000)
    return guest


def _translator(guest: Guest, *, assembled: bool = False) -> Translator:
    assembler = AssembleAtOnce(StencilStores(None)) if assembled else None
    return Translator(
        guest.cpu,
        AtOnce(level=0),
        threshold=2,
        again=2,
        patience=1,
        batch=1,
        assembler=assembler,
        promoted=1 << 60,
    )


@pytest.mark.parametrize("assembled", [False, True], ids=["compiled", "assembled"])
@pytest.mark.parametrize(("source", "thumb"), _PROGRAMS)
def test_after_any_number_of_instructions_all_is_as_in_tier_0(source, thumb, assembled) -> None:
    plain, guest = _guest(source, thumb), _guest(source, thumb)
    translator = _translator(guest, assembled=assembled)
    try:
        for count in (5000, *range(1, 60), 997, 3, 20_000):
            for other in (plain, guest):
                assert other.step(count) is StopCode.LIMIT
            assert guest.cpu.instructions == plain.cpu.instructions
            assert [guest[name] for name in _REGISTERS] == [plain[name] for name in _REGISTERS]
        assert translator.regions
    finally:
        translator.close()


@pytest.mark.parametrize(("source", "thumb"), _PROGRAMS)
def test_returns_to_calls_of_the_same_region_do_not_leave_it(source, thumb) -> None:
    guest = _guest(source, thumb)
    translator = _translator(guest)
    try:
        guest.step(5000)
        # all of it as one region
        translator.forget()
        guest.step(_ROUNDS)
        before = sum(region.hits for region in translator.regions), guest["r6"]
        guest.step(20_000)
        entered = sum(region.hits for region in translator.regions) - before[0]
        calls = guest["r6"] - before[1]
        assert calls > 1000
        assert entered < calls / 4, "each return entered a region"
    finally:
        translator.close()


def test_a_return_to_somewhere_else_leaves_the_region() -> None:
    """The same function, called from a region of its own and by a pointer."""
    source = """
    again: mov r0, #7
    bl tree
    mov r0, #7
    adr r2, tree
    mov lr, pc
    mov pc, r2
    add r8, r8, #1
    b again
    """ + _ARM.format(leave="ldmfd sp!, {r0, pc}").split("b again")[1]
    plain, guest = _guest(source, False), _guest(source, False)
    translator = _translator(guest)
    try:
        for count in (3000, *range(1, 40), 10_000):
            for other in (plain, guest):
                other.step(count)
            names = (*_REGISTERS, "r8")
            assert [guest[name] for name in names] == [plain[name] for name in names]
        assert guest["r8"] > 100
    finally:
        translator.close()


def test_a_breakpoint_behind_a_call_is_met_by_a_return_within_a_region() -> None:
    guest = _guest(_ARM.format(leave=_RETURNS["pop"]), False)
    translator = _translator(guest)
    try:
        guest.step(5000)
        behind = CODE + 0x20  # add r5, r5, r6
        guest.cpu.add_breakpoint(behind)
        for _ in range(5):
            assert guest.step(1000) is StopCode.BREAKPOINT
            assert guest["pc"] == behind
    finally:
        translator.close()


def test_a_region_knows_where_its_own_calls_return_to() -> None:
    program = assemble_program(_ARM.format(leave=_RETURNS["pop"]), CODE)
    tree, out = program["tree"], program["out"]

    def fetch(address: int, size: int) -> int | None:
        place = address - CODE
        return int.from_bytes(program.data[place : place + size], "little") if address <= out else None

    region = find_region(tree, False, fetch)
    assert region is not None
    assert region.blocks[out].returns == (tree + 0x14, out)
    assert set(region.blocks[out].returns) <= set(region.blocks[out].successors)
    assert not region.blocks[tree].returns


def test_a_small_region_takes_in_what_it_calls_even_where_that_is_a_region_itself() -> None:
    program = assemble_program("again: bl leaf; subs r0, r0, #1; bne again; swi 0; leaf: mov pc, lr", CODE)
    leaf = program["leaf"]

    def fetch(address: int, size: int) -> int | None:
        place = address - CODE
        return int.from_bytes(program.data[place : place + size], "little") if address <= leaf else None

    region = find_region(CODE, False, fetch, known=frozenset({leaf}))
    assert region is not None
    assert region.blocks[leaf].returns == (CODE + 4,)
    without = find_region(CODE, False, fetch, known=frozenset({leaf}), inner=False)
    assert without is not None
    assert leaf not in without.blocks
