"""Translated code records the blocks that it executes exactly as the interpreter does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dbgemu.engine.native import target_machine
from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.machine_code import compile_regions, text_of
from dbgemu.engine.translator.region_core import emit_regions
from dbgemu.engine.translator.regions import find_region
from dbgemu.engine.translator.report import jit_report, region_report
from dbgemu.engine.translator.translator import Translator
from dbgemu.target.arm.assembler import assemble
from dbgemu.target.arm.state import StopCode
from dbgemu.trace.reader import open_trace
from dbgemu.trace.tracer import Tracer
from tests.arm_programs import CODE, DATA, Guest
from tests.linux_guest import LinuxGuest
from tests.random_programs import trace_difference
from tests.traced_program import blocks_by_hand, blocks_of, everything, recorded

#: a loop, with a call and a return in it, and a branch to the very next instruction
CALLS = """
again: mov r0, r5
loop: bl leaf
subs r0, r0, #1
beq next
next: cmp r0, #0
bne loop
b again
leaf: tst r0, #1
addne r6, r6, #1
bxeq lr
add r7, r7, #1
mov pc, lr
"""


class Traced(Guest):
    """A guest whose code is translated at once, with a recorder to ``path``."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.translator = Translator(self.cpu, AtOnce(level=0), threshold=2, again=2, patience=1, batch=1)
        self.start(CALLS, r5=10, r2=DATA)

    def entered(self, *, traced: bool) -> int:
        """How often regions of a flavour were entered."""
        return sum(region.hits for region in self.translator.regions if region.made.traced == traced)


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Traced]:
    traced = Traced(tmp_path / "a.dbgtrace")
    yield traced
    if traced.cpu.translation is not None:
        traced.translator.close()


@pytest.mark.parametrize("first", range(1, 33, 8))
def test_random_programs_have_the_same_trace_in_every_tier(first: int, tmp_path: Path) -> None:
    differences = [found for seed in range(first, first + 8) if (found := trace_difference(seed, tmp_path))]
    assert not differences


def test_only_code_that_records_is_entered_while_blocks_are_recorded(guest: Traced) -> None:
    guest.step(1000)
    plain = guest.entered(traced=False)
    assert plain
    with recorded(guest, guest.path):
        guest.step(1000)
    traced = guest.entered(traced=True)
    assert (guest.entered(traced=False), traced > 0) == (plain, True)
    asked = guest.translator.statistics["asked"]
    guest.step(1000)
    assert guest.entered(traced=False) > plain
    assert guest.entered(traced=True) == traced
    assert guest.translator.statistics["asked"] == asked, "code of both kinds should have been kept"


def test_translated_code_records_what_single_steps_show(guest: Traced) -> None:
    with recorded(guest, guest.path):
        guest.step(1000)
    assert guest.entered(traced=True)
    other = Guest()
    other.start(CALLS, r5=10, r2=DATA)
    plain = guest.path.with_name("b.dbgtrace")
    with recorded(other, plain):
        for _ in range(1000):
            other.step()
    assert plain.read_bytes() == guest.path.read_bytes()


def test_every_kind_of_transfer_is_recorded_by_translated_code(tmp_path: Path) -> None:
    guest, path = everything(), tmp_path / "a.dbgtrace"
    translator = Translator(guest.cpu, AtOnce(level=0), threshold=2, again=2, patience=1, batch=1)
    with recorded(guest, path):
        while guest["pc"] != guest.done:
            guest.step(100)
    assert sum(region.hits for region in translator.regions) > 100
    translator.close()
    # what is executed behind the end is the jump to itself
    expected = blocks_by_hand(everything())
    assert blocks_of(path)[: len(expected)] == expected


def test_a_limit_inside_a_traced_region_is_met_exactly(guest: Traced) -> None:
    with recorded(guest, guest.path):
        guest.step(1000)
        for count in range(1, 40):
            before = guest.cpu.instructions
            assert guest.step(count) is StopCode.LIMIT
            assert guest.cpu.instructions == before + count
    with open_trace(guest.path) as trace:
        assert trace.instructions == guest.cpu.instructions


def test_code_that_records_goes_when_it_is_written(guest: Traced) -> None:
    with recorded(guest, guest.path):
        guest.step(1000)
        regions = len(guest.translator.regions)
        guest.cpu.write_memory(CODE, guest.cpu.read_memory(CODE, 4))
        assert len(guest.translator.regions) < regions


@pytest.mark.parametrize("selection", [{"privileges": 1}, {"ranges": [(CODE + 28, CODE + 44)]}])
def test_translated_code_records_a_selection(guest: Traced, selection: dict[str, object]) -> None:
    paths = guest.path, guest.path.with_name("b.dbgtrace")
    other = Guest()
    other.start(CALLS, r5=10, r2=DATA)
    for one, path in zip((guest, other), paths, strict=True):
        with recorded(one, path, **selection):
            one.step(3000)
    assert guest.entered(traced=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert blocks_of(paths[0])


def test_a_number_of_events_is_counted_by_the_interpreter(guest: Traced) -> None:
    with recorded(guest, guest.path, most=100):
        assert guest.step(100_000) is StopCode.REQUEST
    assert not guest.entered(traced=True)
    assert len(blocks_of(guest.path)) == 100


@pytest.mark.parametrize("triple", ["aarch64-unknown-linux-gnu", None])
def test_code_that_records_compiles_to_code_that_refers_to_nothing(triple: str | None) -> None:
    code = assemble(CALLS, CODE)

    def fetch(address: int, size: int) -> int | None:
        place = address - CODE
        return int.from_bytes(code[place : place + size], "little") if 0 <= place < len(code) else None

    region = find_region(CODE, False, fetch)
    assert region is not None
    region.traced = True
    text = emit_regions([region])
    assert text_of(compile_regions(text, target_machine(triple, level=1)), 1).code
    # jumps to "loop", "leaf", behind the call and "again", to "next" only where it falls through
    assert text.count("call preserve_mostcc void") == 4


def test_reports_tell_which_code_records(guest: Traced) -> None:
    with recorded(guest, guest.path):
        guest.step(1000)
    assert ", traced" in jit_report(guest.translator)
    report = region_report(guest.translator, CODE + 4)
    assert "traced" in report.splitlines()[0]
    assert "%ring" in report


def test_the_trace_of_linux_is_the_same_file_in_both_tiers(tmp_path: Path) -> None:
    paths = []
    for name in ("interp", "jit"):
        guest, path = LinuxGuest(), tmp_path / f"{name}.dbgtrace"
        translator = Translator(guest.machine.cpu, AtOnce(), batch=8) if name == "jit" else None
        tracer = Tracer(guest.machine)
        tracer.start("tb,exception,mmio", path)
        guest.machine.run(40_000_000)
        tracer.stop()
        if translator is not None:
            assert sum(region.hits for region in translator.regions if region.made.traced) > 100
            translator.close()
        paths.append(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
