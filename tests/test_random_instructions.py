"""Single instructions do what they do on Unicorn's ARM926, but for the documented differences."""

from __future__ import annotations

import random

import pytest

from dbgemu.target.arm.state import C, F, I, Mode, N, T, V, Z
from tests.random_instructions import Judge, run
from tests.random_words import DATA, SLOTS, Case, make_case


def test_random_instructions_do_what_unicorn_says() -> None:
    seed = random.randrange(1 << 32)
    report = run(20_000, seed)
    assert not report.failures, "\n".join([str(report), *report.failures])
    assert report.compared.total() > 19_500, f"{report}: too few found memory"
    assert len(report.repeated) <= 1, "\n".join([str(report), *report.repeated])


def test_every_class_of_instruction_is_among_the_random_ones() -> None:
    rng = random.Random(1)
    cases = [make_case(rng) for _ in range(5000)]
    kinds = {case.kind for case in cases}
    assert {f"thumb_{k:04b}" for k in range(16)} <= kinds
    assert len(kinds) == 16 + 13
    opcodes = {case.word >> 21 & 15 for case in cases if case.kind == "data_processing"}
    assert opcodes == set(range(16))
    modes = {case.cpsr & 0x1F for case in cases}
    assert len(modes) == 7
    assert {case.word >> 28 for case in cases if not case.thumb} == set(range(15))


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(2440)


#: words with corners that random ones meet rarely, and what r1 to r4 are
ARM = {
    "lsl #32 by register": (0xE1B00211, [0x80000001, 32]),
    "lsl #33 by register": (0xE1B00211, [0x80000001, 33]),
    "lsr #32 by register": (0xE1B00231, [0x80000001, 32]),
    "asr #200 by register": (0xE1B00251, [0x80000001, 200]),
    "ror #32 by register": (0xE1B00271, [0x80000001, 32]),
    "ror #0x100 by register": (0xE1B00271, [0x80000001, 0x100]),
    "lsr #32": (0xE1B00021, [0x80000001]),
    "asr #32": (0xE1B00041, [0x80000001]),
    "rrx": (0xE1B00061, [0x80000001]),
    "rotated immediate sets C": (0xE3B004FF, []),
    "immediate without rotation leaves C": (0xE3B000FF, []),
    "adcs wraps": (0xE0B10002, [0xFFFFFFFF, 0]),
    "adcs overflows": (0xE0B10002, [0x7FFFFFFF, 0]),
    "sbcs borrows": (0xE0D10002, [0, 0]),
    "rscs overflows": (0xE0F10002, [1, 0x80000000]),
    "cmn of the most negative": (0xE1710002, [0x80000000, 0x80000000]),
    "cmp of equal": (0xE1510002, [5, 5]),
    "teq": (0xE1310002, [0x80000000, 1]),
    "mlas": (0xE0314392, [0, 0xFFFF, 0xFFFF, 3]),
    "umlals carries": (0xE0B21493, [0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF]),
    "smulls of the most negative": (0xE0D21493, [0, 0, 0x80000000, 0x80000000]),
    "umulls of 0": (0xE0921493, [1, 1, 0, 5]),
    "mul into its operand": (0xE0010191, [3]),
    "unaligned ldr": (0xE5910000, [DATA + 1]),
    "unaligned ldr at 3": (0xE5910000, [DATA + 3]),
    "unaligned str": (0xE5810000, [DATA + 2]),
    "unaligned ldrh": (0xE1D100B0, [DATA + 1]),
    "unaligned ldrsh": (0xE1D100F0, [DATA + 3]),
    "unaligned strh": (0xE1C100B0, [DATA + 1]),
    "ldr of the base, post": (0xE4911004, [DATA]),
    "ldr of the base, pre": (0xE5B11004, [DATA]),
    "str of the base, pre": (0xE5A11004, [DATA]),
    "str pc": (0xE581F000, [DATA]),
    "ldr pc": (0xE591F000, [DATA]),
    "ldr with asr #32 offset": (0xE7910042, [DATA, 0]),
    "ldm of the base, first": (0xE8B1000E, [DATA]),
    "ldm of the base, last": (0xE8B2000E, [0, DATA]),
    "ldmdb": (0xE932000B, [0, DATA + 64]),
    "stm of the base, first": (0xE8A1000E, [DATA]),
    "stm of the base, later": (0xE8A2000E, [1, DATA]),
    "stm with pc": (0xE8A1C001, [DATA]),
    "ldm with pc": (0xE8B18001, [DATA]),
    "swp of itself": (0xE1011091, [DATA]),
    "mov pc": (0xE1A0F001, [0x30003007]),
    "add pc, pc": (0xE08FF10F, []),
    "bx to thumb": (0xE12FFF11, [0x30003007]),
    "bx pc": (0xE12FFF1F, []),
    "bl backwards": (0xEBFFFF00, []),
}


@pytest.mark.parametrize("flags", [0, C, N | Z | C | V])
@pytest.mark.parametrize("name", ARM)
def test_corners_of_arm_instructions(judge: Judge, name: str, flags: int) -> None:
    word, values = ARM[name]
    r = [0x10 * n for n in range(15)]
    r[1 : 1 + len(values)] = values
    for mode in (Mode.USR, Mode.SVC, Mode.FIQ):
        case = Case(name, word, False, SLOTS, list(r), flags | mode, N | Mode.USR)
        assert judge.judge(case) is None


THUMB = {
    "lsls #0": (0x0008, [0x80000000]),
    "lsrs #32": (0x0808, [0x80000000]),
    "asrs #32": (0x1008, [0x80000000]),
    "lsls by 32": (0x4091, [32, 3]),
    "lsrs by 33": (0x40D1, [0x80000000, 33]),
    "rors by 32": (0x41D1, [0x80000000, 32]),
    "negs of the most negative": (0x4248, [0x80000000]),
    "muls": (0x4348, [0x80000001]),
    "adcs": (0x4148, [0xFFFFFFFF]),
    "cmp of high registers": (0x4588, [5]),
    "add pc": (0x448F, [0x100]),
    "mov pc": (0x468F, [0x30003001]),
    "add of sp": (0xB07F, []),
    "sub of sp": (0xB0FF, []),
    "adr": (0xA0FF, []),
    "unaligned ldr": (0x6808, [DATA + 2]),
    "unaligned str": (0x6008, [DATA + 1]),
    "unaligned ldrsh": (0x5E88, [DATA, 1]),
    "ldmia with its base": (0xC906, [DATA]),
    "stmia with its base": (0xC106, [DATA]),
    "stmia with its base later": (0xC203, [1, DATA]),
    "bl": (0xF7FF, []),
    "bl's second half": (0xF801, []),
    "bx to arm": (0x4708, [0x30003000]),
    "swi": (0xDFAB, []),
    "undefined": (0xDEAB, []),
}


@pytest.mark.parametrize("flags", [0, C, N | Z | C | V])
@pytest.mark.parametrize("name", THUMB)
def test_corners_of_thumb_instructions(judge: Judge, name: str, flags: int) -> None:
    word, values = THUMB[name]
    r = [0x10 * n for n in range(13)] + [DATA + 0x800, SLOTS]
    r[1 : 1 + len(values)] = values
    pair = {"steps": 2, "following": 0xFFFE} if name == "bl" else {}
    for mode in (Mode.USR, Mode.IRQ | I | F):
        case = Case(name, word, True, SLOTS + 2, list(r), flags | mode | T, Mode.USR, **pair)
        assert judge.judge(case) is None
