"""Random programs: what is kept from one run to the next, Unicorn beside the tiers, the command."""

from __future__ import annotations

import random
import re

import pytest

from dbgemu.engine.translator.translator import Translator
from dbgemu.target.arm.assembler import assemble
from dbgemu.target.arm.state import Mode
from tests import random_programs
from tests.arm_programs import RAM
from tests.random_compiling import Remembering
from tests.random_programs import CODE, Bench, Tools, main, make_program, unicorn_difference
from tests.random_unicorn import foreign_difference


@pytest.fixture(scope="module")
def tools() -> Tools:
    return Tools()


def translate(bench: Bench, compiler: Remembering, seed: int) -> Translator:
    """Run a program with what ``compiler`` makes."""
    program = make_program(seed)
    bench.prepare(program)
    translator = Translator(
        bench.guest.cpu, compiler, threshold=2, again=2, patience=1, batch=1, promoted=1 << 60
    )
    bench.execute(program, None, translator)
    translator.close()
    return translator


@pytest.mark.parametrize("first", range(1, 33, 8))
def test_random_programs_end_on_unicorn_as_in_every_tier(first: int) -> None:
    differences = [found for seed in range(first, first + 8) if (found := unicorn_difference(seed))]
    assert not differences


def test_programs_for_unicorn_meet_exceptions_thumb_and_changed_code(tools: Tools) -> None:
    programs = [make_program(seed, comparable=True) for seed in range(1, 33)]
    ends = [tools.plain(program) for program in programs]
    starts = [program.start for program in programs]
    code = slice(CODE - RAM, CODE - RAM + 0x1000)
    changed = [a.ram[code] != b.ram[code] for a, b in zip(starts, ends, strict=True) if a is not None]
    assert sum(changed) > 8
    assert sum(program.thumb_entry & 1 for program in programs) > 8
    for link, mode in (("r14_und", Mode.UND), ("r14_svc", Mode.SVC)):
        entered = 0
        for program, end in zip(programs, ends, strict=True):
            tools.bench.guest.cpu.load(end.cpu)
            entered += program.cpsr & 0x1F != mode and tools.bench.guest[link] != 0
        assert entered > 1, link


@pytest.mark.parametrize("place", ["r3", "r13_irq", "spsr_svc", "cpsr", "memory"])
def test_each_part_of_the_end_is_compared_with_unicorn(tools: Tools, place: str) -> None:
    program = make_program(5, comparable=True)
    end, cpu = tools.plain(program), tools.bench.guest.cpu
    assert not foreign_difference(program, cpu, end)
    if place == "memory":
        end.ram = end.ram[:-1] + bytes([end.ram[-1] ^ 1])
    else:
        cpu.load(end.cpu)
        cpu.write_register(place, cpu.read_register(place) ^ 1 << 28)
        end.cpu = cpu.save()
    found = foreign_difference(program, cpu, end)
    assert place in found
    assert ";" not in found, "only what differs is named"


def test_a_wrong_instruction_is_found_by_unicorn(tools: Tools) -> None:
    program = make_program(5, comparable=True)
    expected = tools.plain(program)
    right = assemble("eor r8, r8, r8, lsr #17")
    program.start = None
    program.source = program.source.replace(right, assemble("eor r8, r8, r8, lsr #18"), 1)
    wrong = tools.plain(program)
    program.source, program.start = make_program(5, comparable=True).source, None
    tools.bench.prepare(program)
    assert not foreign_difference(program, tools.bench.guest.cpu, expected)
    assert foreign_difference(program, tools.bench.guest.cpu, wrong)


def test_a_bench_that_was_used_leaves_nothing_to_the_next_program(tools: Tools) -> None:
    for seed in random.Random(7).sample(range(1000, 2000), 8):
        assert tools.plain(make_program(seed)) == end_alone(seed)


def end_alone(seed: int) -> random_programs.End:
    bench, program = Bench(), make_program(seed)
    bench.prepare(program)
    return bench.execute(program)


def test_a_region_that_was_compiled_is_given_again_and_compiled_anew_when_its_code_is_another() -> None:
    bench, compiler = Bench(), Remembering(0)
    first = translate(bench, compiler, 3).statistics["installed"]
    compiled = compiler.compiled
    assert compiled
    assert compiled + compiler.repeated >= first
    translate(bench, compiler, 3)
    assert compiler.compiled == compiled
    compiler.forget()
    translate(bench, compiler, 3)
    assert compiler.compiled == 2 * compiled


def test_a_difference_is_told_with_the_command_that_repeats_it(monkeypatch, capsys) -> None:
    monkeypatch.setattr(random_programs, "difference", lambda seed, level: f"seed {seed}, x" * (seed == 12))
    assert main(["--count", "5", "--seed", "10", "--level", "1"]) == 1
    said = capsys.readouterr().out
    assert "seed 12, x\n" in said
    assert "again: python -m tests.random_programs --count 1 --seed 12 --level 1\n" in said
    assert re.search(r"^5 programs from seed 10: 1 differ;", said, re.MULTILINE)


def test_ten_differences_are_enough(monkeypatch, capsys) -> None:
    monkeypatch.setattr(random_programs, "difference", lambda seed, level: f"seed {seed}, x")
    assert main(["--count", "50"]) == 1
    assert "10 programs from seed 1: 10 differ;" in capsys.readouterr().out


def test_several_processes_find_what_one_finds(capsys) -> None:
    said = []
    for jobs in ("1", "2"):
        assert main(["--count", "4", "--seed", "40", "--jobs", jobs]) == 0
        said.append(capsys.readouterr().out.rpartition(";")[0])
    assert said[0] == said[1]
    assert re.fullmatch(r"4 programs from seed 40: 0 differ; \d+ regions, entered \d+ times", said[0])
