"""Loops of one block that come true turn after turn: recorded together, and the same file as one by one."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.translator import Translator
from dbgemu.target.device import Device
from dbgemu.target.registers import Register
from tests.arm_programs import CODE, DATA, Guest
from tests.traced_program import blocks_of, recorded

DEVICE = 0x50000000
STEPS = 30_000

#: loops of r5 turns, 1 to 150, one of which in 32 asks a device; what follows depends on the number of turns
ARM = """
again: add r5, r5, #37
cmp r5, #150
subhi r5, r5, #149
mov r1, r5
loop: tst r1, #31
ldreq r0, [r9]
ldrne r0, [r2]
add r7, r7, r0
subs r1, r1, #1
bne loop
tst r5, #3
bne again
mov r1, #20
copy: ldr r0, [r2, r1, lsl #2]
str r0, [r2, -r1, lsl #2]
subs r1, r1, #1
bpl copy
b again
"""
THUMB = """
again: adds r5, #37
cmp r5, #150
bls turn
subs r5, #149
turn: movs r1, r5
movs r3, r2
loop: ldr r0, [r3]
adds r7, r7, r0
adds r3, #4
subs r1, #1
bne loop
ldr r0, [r4]
b again
"""


class Answering(Device):
    """VALUE counts its reads."""

    VALUE = Register(0x00, volatile=True)
    reads = 0

    @VALUE.read
    def _read(self) -> int:
        self.reads += 1
        return self.reads


def trace(path: Path, source: str, slices: list[int], *, thumb: bool, translated: bool) -> bytes:
    """The file that records STEPS instructions, executed in slices."""
    guest = Guest((DEVICE, Answering("answering")))
    translator = None
    if translated:
        translator = Translator(guest.cpu, AtOnce(level=0), threshold=2, again=2, patience=1, batch=1)
    guest.start(source, thumb=thumb, r5=10, r2=DATA + 0x400, r4=DEVICE, r9=DEVICE)
    with recorded(guest, path):
        for count in slices:
            guest.step(count)
    assert guest.cpu.instructions == STEPS
    if translator is not None:
        assert sum(region.hits for region in translator.regions if region.made.traced) > 50
        translator.close()
    return path.read_bytes()


def slices_of(seed: int) -> list[int]:
    random_, slices = Random(seed), []
    while sum(slices) < STEPS:
        slices.append(random_.choice([1, 7, 100, 260, 300, 500, 5000]) + random_.randrange(20))
    return [*slices[:-1], STEPS - sum(slices[:-1])]


@pytest.mark.parametrize(("source", "thumb"), [(ARM, False), (THUMB, True)])
def test_turns_that_come_true_are_recorded_as_the_interpreter_does(
    source: str, thumb: bool, tmp_path: Path
) -> None:
    one_by_one = trace(tmp_path / "a", source, [STEPS], thumb=thumb, translated=False)
    blocks = blocks_of(tmp_path / "a")
    assert sum(length for _, length, _, _ in blocks) == STEPS
    assert len({length for pc, length, _, _ in blocks if pc > CODE}) >= 3
    for seed in range(6):
        slices = slices_of(seed) if seed else [STEPS]
        assert trace(tmp_path / "b", source, slices, thumb=thumb, translated=True) == one_by_one, seed
