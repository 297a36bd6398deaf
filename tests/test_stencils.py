"""Stencils: late constants, what a stencil serves, regions put together from them, and their file."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbgemu.engine.translator.assembly import AssembleAtOnce, Assembly, make_from_stencils
from dbgemu.engine.translator.background import Background
from dbgemu.engine.translator.cache import RegionCache
from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.finding import find
from dbgemu.engine.translator.late import Late
from dbgemu.engine.translator.requests import ASSEMBLE, Request
from dbgemu.engine.translator.stencil_core import StencilCore
from dbgemu.engine.translator.stencils import StencilStore, StencilStores
from dbgemu.engine.translator.translator import Translator
from dbgemu.target.arm.assembler import assemble_program
from dbgemu.target.arm.state import PAGE_SIZE, Mode, StopCode
from dbgemu.target.arm.value import Value
from tests.arm_programs import CODE, DATA, Guest
from tests.support import until

STORES = StencilStores()
STORE = STORES.of(False)
#: adds up r0 + ... + 1 in r1, over and over
SUM = """
again: mov r0, r5
mov r1, #0
loop: add r1, r1, r0
subs r0, r0, #1
bne loop
add r6, r6, #1
b again
"""


class Assembled(Guest):
    """A guest whose code is put together from stencils as soon as a block is entered twice."""

    def __init__(self, *, promoted: int = 1 << 60, cache: RegionCache | None = None) -> None:
        super().__init__()
        self.translator = Translator(
            self.cpu,
            AtOnce(level=0),
            cache=cache,
            threshold=2,
            again=2,
            patience=1,
            batch=1,
            assembler=AssembleAtOnce(STORES),
            promoted=promoted,
            look=0,
        )

    def kinds(self) -> dict[str, int]:
        """How many regions there are of each kind, and how often they were entered or looped."""
        kinds = {"assembled": 0, "compiled": 0}
        for region in self.translator.regions:
            kinds["assembled" if region.made.starts else "compiled"] += region.hits
        return kinds


@pytest.fixture
def guest() -> Iterator[Assembled]:
    made = Assembled()
    yield made
    made.translator.close()


def _region(source: str, thumb: bool = False) -> Assembly:
    program = assemble_program(source, CODE, thumb=thumb)
    page = program.data.ljust(PAGE_SIZE, b"\0")
    region = find(Request(CODE | int(thumb), {CODE: page}))
    assert region is not None
    return Assembly(region, STORE)


def _words(count: int, template: str, numbers: list[tuple[int, ...]]) -> int:
    """How many new stencils it takes for some instructions of one shape."""
    stores = StencilStores()
    made = []
    for chosen in numbers[:count]:
        page = assemble_program(template.format(*chosen) + "; b .", CODE).data.ljust(PAGE_SIZE, b"\0")
        make_from_stencils([Request(CODE, {CODE: page})], stores)
        made.append(len(stores.of(False)))
    return made[-1] - made[0]


# -- late values -----------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_a_late_value_is_what_the_constant_would_have_been(word, rng) -> None:
    core = StencilCore("f0", False, {"w": word, "pc": CODE})
    late, plain = core.bits(15, 0), core.const(word & 0xFFFF)
    values = [(Late(core, "w"), core.const(word)), (late, plain)]
    for _ in range(12):
        (a, x), (b, y) = rng.choice(values), rng.choice(values)
        shift = rng.randrange(32)
        operation = rng.choice(
            [
                lambda p, q, n: p + q,
                lambda p, q, n: p - q,
                lambda p, q, n: p * q,
                lambda p, q, n: p & ~q,
                lambda p, q, n: (p | q) ^ n,
                lambda p, q, n: (p << n) + (q >> n),
                lambda p, q, n: p.sar(n),
                lambda p, q, n: p.ror(n),
                lambda p, q, n: p.eq(q).select(p, q),
                lambda p, q, n: p.ult(q).zext(32) + p.slt(q).zext(32),
                lambda p, q, n: (p.sext(64) * q.zext(64) >> n).trunc(32),
                lambda p, q, n: p.popcount() + q.trunc(8).sext(32),
            ]
        )
        values.append((operation(a, b, shift), operation(x, y, shift)))
    for a, x in values:
        assert isinstance(a, Late)
        assert a.decide() == x.constant, a.text


# -- what a stencil serves -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "numbers"),
    [
        ("add r{0}, r{1}, r{2}", [(0, 1, 2), (3, 3, 3), (12, 14, 13), (7, 0, 7)]),
        ("subs r{0}, r{1}, #{2}", [(0, 1, 1), (5, 5, 255), (14, 2, 0x3F)]),
        ("ldr r{0}, [r{1}, #{2}]", [(0, 1, 4), (2, 2, 4092), (14, 13, 0)]),
        ("mov r{0}, r{1}, lsl #{2}", [(0, 1, 1), (2, 2, 31), (9, 8, 17)]),
        ("strb r{0}, [r{1}], #{2}", [(0, 1, 4), (2, 3, 1), (14, 13, 0)]),
    ],
)
def test_one_stencil_serves_all_registers_and_immediates(template, numbers) -> None:
    assert _words(len(numbers), template, numbers) == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("add r0, r1, r2", "add r0, pc, r2"),
        ("mov r0, r1", "mov r0, r1, lsl #3"),
        ("ldmia r0!, {r1, r2}", "ldmia r0!, {r1, r2, r3}"),
        ("ands r0, r1, #1", "ands r0, r1, #0x80000000"),
    ],
)
def test_what_makes_other_code_takes_another_stencil(first, second) -> None:
    assert _words(2, "{0}", [(first,), (second,)]) == 1  # type: ignore[list-item]


def test_no_instruction_is_missing_once_it_was_made() -> None:
    rng = random.Random(1)
    for _ in range(60):
        lines = []
        for _ in range(12):
            rd, rn, rm = (rng.randrange(13) for _ in range(3))
            lines.append(
                rng.choice(
                    [
                        f"adcs r{rd}, r{rn}, r{rm}, ror #{rng.randrange(1, 32)}",
                        f"ldrneh r{rd}, [r{rn}, #-{rng.randrange(256)}]",
                        f"smull r{rd}, r{(rd + 1) % 13}, r{rn}, r{rm}",
                        f"stmdb sp!, {{r{rd}, lr}}",
                        f"ldr r{rd}, [pc, #4]",
                        f"rsbs r{rd}, r{rn}, r{rm}, asr r{rd}",
                    ]
                )
            )
        assembly = _region("\n".join([*lines, "b ."]))
        missing = assembly.missing()
        if missing or not len(STORE):
            STORE.make(missing, assembly.has, assembly.literal)
        assert not assembly.missing()


# -- regions from stencils --------------------------------------------------------------------------------


def test_assembled_code_does_the_work(guest) -> None:
    guest.start(SUM, r5=10, r6=0)
    guest.step(100_000)
    kinds = guest.kinds()
    assert kinds["assembled"] > 20_000, "each turn of the loop is counted"
    assert not kinds["compiled"]
    assert guest["r6"] == 100_000 // 34


def test_every_limit_in_assembled_code_is_met_exactly(guest) -> None:
    guest.start(SUM, r5=10)
    guest.step(1000)
    for count in range(1, 60):
        before = guest.cpu.instructions
        assert guest.step(count) is StopCode.LIMIT
        assert guest.cpu.instructions == before + count


def test_what_stays_hot_is_compiled_and_takes_over() -> None:
    guest = Assembled(promoted=1000)
    try:
        guest.start(SUM, r5=10, r6=0)
        for _ in range(20):
            guest.step(17_000)
        kinds = guest.kinds()
        assert kinds["compiled"] > 0
        before = kinds["assembled"]
        guest.step(170_000)
        assert guest.kinds()["assembled"] < before + 100, "of 5000 turns nearly none is in what was replaced"
        assert guest["r6"] == (20 * 17_000 + 170_000) // 34
    finally:
        guest.translator.close()
    assert not guest.translator.regions


def test_assembled_regions_come_back_from_the_cache(tmp_path) -> None:
    cache = tmp_path / "regions.cache"
    page = assemble_program(SUM, CODE).data.ljust(PAGE_SIZE, b"\0")
    made = make_from_stencils([Request(CODE, {CODE: page}), Request(CODE + 8, {CODE: page})], STORES).made
    assert all(len(region.starts) == len(region.entries) for region in made)
    RegionCache(cache).add(made)
    guest = Assembled(cache=RegionCache(cache))
    try:
        guest.start(SUM, r5=10, r6=0)
        guest.step(34_000)
        assert guest.translator.statistics["recalled"] > 0
        assert guest.translator.statistics["assembled"] == 0
        assert guest["r6"] == 1000
    finally:
        guest.translator.close()


def test_code_is_compiled_when_the_assembling_process_has_died(tmp_path) -> None:
    guest = Guest()
    assembler = Background(tmp_path / "x.cache", guest.cpu.interrupt_for_translation, ASSEMBLE)
    options = {"threshold": 2, "again": 2, "patience": 1, "batch": 1}
    translator = Translator(guest.cpu, AtOnce(level=0), assembler=assembler, **options)
    try:
        guest.start(SUM, r5=10, r6=0)
        guest.step(340)
        assert translator.waiting > 0
        assembler._process.kill()
        until(lambda: assembler.ended)
        guest.step(34_000)
        assert sum(region.hits for region in translator.regions) > 0
        assert guest["r6"] == 1010
    finally:
        translator.close()


def test_a_store_to_assembled_code_takes_effect(guest) -> None:
    guest.start("again: ldr r0, [r2]; str r0, target; target: add r1, r1, #1; b again", r1=0, r2=DATA)
    guest.put(DATA, guest.word(CODE + 8))
    guest.step(400)
    guest.put(DATA, 0xE2811002)  # add r1, r1, #2
    before = guest["r1"]
    guest.step(400)
    assert guest["r1"] == before + 200


# -- cp15 in translated code ----------------------------------------------------------------------------


@pytest.mark.parametrize("promoted", [1 << 60, 20])
def test_cache_operations_and_reads_of_cp15_stay_in_translated_code(promoted) -> None:
    guest = Assembled(promoted=promoted)
    try:
        source = "1: mcr p15, 0, r0, c7, c14, 2; mrc p15, 0, r1, c0, c0, 0; mrc p15, 0, r3, c6, c0, 0; b 1b"
        guest.start(source, r0=0x40)
        guest.cpu.write_register("far", 0x1234)
        guest.step(4000)
        assert sum(guest.kinds().values()) > 900
        assert (guest["r1"], guest["r3"]) == (0x41129200, 0x1234)
    finally:
        guest.translator.close()


def test_cp15_is_undefined_in_user_mode_in_translated_code(guest) -> None:
    guest.vector(4, CODE + 0x100)
    guest.load("add r6, r6, #1; movs pc, lr", CODE + 0x100)
    guest.start("1: mcr p15, 0, r0, c7, c14, 2; mrc p15, 0, r1, c0, c0, 0; b 1b", r6=0, r1=9, cpsr=Mode.USR)
    guest.step(9 * 700)  # four instructions for each of the two that are undefined, and the branch
    assert guest["r6"] == 2 * 700
    assert guest["r1"] == 9


def test_waiting_for_an_interrupt_is_left_to_tier_0(guest) -> None:
    guest.start("1: mcr p15, 0, r0, c7, c0, 4; add r1, r1, #1; b 1b", r1=0)
    for _ in range(40):
        guest.cpu.run(guest.cpu.instructions + 1000)
        guest.cpu.take_requests()
    assert guest["r1"] < 45, "each wait ends the run"


# -- the file of stencils ----------------------------------------------------------------------------------


def _make(path) -> StencilStore:
    stores = StencilStores(path)
    page = assemble_program(SUM, CODE).data.ljust(PAGE_SIZE, b"\0")
    made = make_from_stencils([Request(CODE, {CODE: page})], stores).made
    again = make_from_stencils([Request(CODE, {CODE: page})], STORES).made
    assert made[0].native == again[0].native
    return stores.of(False)


def test_stencils_are_found_on_disk(tmp_path) -> None:
    path = tmp_path / "stencils"
    known = len(_make(path))
    size = path.stat().st_size
    assert len(StencilStore(path)) == known
    _make(path)
    assert path.stat().st_size == size, "nothing was compiled again"


@pytest.mark.parametrize("place", [0, 21, 500, 3000, 9000, -1])
def test_a_damaged_file_of_stencils_is_made_good(tmp_path, place) -> None:
    path = tmp_path / "stencils"
    known = len(_make(path))
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(content)
    assert len(StencilStore(path)) < known
    _make(path)
    assert len(StencilStore(path)) == known, "also for the next start"


def test_a_value_stays_a_value() -> None:
    """Arithmetic of late and other values is code, not late."""
    core = StencilCore("f0", False, {"w": 0, "pc": CODE})
    mixed = Value(core, "%x") + core.bits(7, 0)
    assert not isinstance(mixed, Late)
    assert any("ptrtoint (ptr @f0_0 to i32)" in line for line in core.lines)
