"""The benchmarks' arithmetic and output, and that what they run computes what it should."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmarks import mmio
from benchmarks.__main__ import main
from benchmarks.engine_speed import checksums
from benchmarks.guest_program import COMPILER, compile_kernels, run_on_board, run_on_engine
from benchmarks.remote_client import unescape
from benchmarks.report import Aim, Figure, as_json, table

FASTER = Figure("engine", "loop", "MIPS", [300.0, 200.0, 100.0], "QEMU", [600.0, 800.0, 1000.0])


def test_the_ratio_is_taken_pair_by_pair_and_then_the_median() -> None:
    assert FASTER.ratios == [0.5, 0.25, 0.1]
    assert FASTER.as_json()["ratio"] == 0.25
    assert FASTER.as_json()["median"] == 200.0


@pytest.mark.parametrize(
    ("aim", "met"),
    [
        (Aim(200.0), True),
        (Aim(201.0), False),
        (Aim(0.25, ratio=True), True),
        (Aim(0.3, ratio=True), False),
        (Aim(200.0, at_most=True), True),
        (Aim(199.0, at_most=True), False),
    ],
)
def test_an_aim_is_about_the_median_of_the_value_or_of_the_ratio(aim: Aim, met: bool) -> None:
    figure = Figure("g", "n", "u", FASTER.samples, "QEMU", FASTER.peer_samples, aim)
    assert figure.met is met


def test_an_aim_for_a_ratio_is_open_without_the_peer() -> None:
    assert Figure("g", "n", "u", [1.0], aim=Aim(1.0, ratio=True)).met is None


def test_the_table_groups_figures_and_aligns_columns() -> None:
    figures = [FASTER, Figure("Linux guest", "to the prompt", "s", [1234.5], aim=Aim(3.0, at_most=True))]
    assert table(figures).splitlines() == [
        "figure         unit  dbgemu  (min - max)  peer  value   ratio    (min - max)     aim",
        "",
        "engine",
        "loop           MIPS     200    100 - 300  QEMU    800  0.250x  0.100 - 0.500",
        "",
        "Linux guest",
        "to the prompt  s      1 234                                                   ≤ 3.00  MISSED",
    ]


def test_the_json_holds_every_sample_and_survives_a_round_trip() -> None:
    written = json.loads(json.dumps(as_json([FASTER], ["a note"], {"cores": 2})))
    assert written["environment"] == {"cores": 2}
    assert written["notes"] == ["a note"]
    assert written["figures"][0]["samples"] == [300.0, 200.0, 100.0]
    assert written["figures"][0]["peer_samples"] == [600.0, 800.0, 1000.0]


def test_an_unknown_group_is_refused_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "engines"])
    assert ended.value.code == 2
    assert "there is no group 'engines': there are engine, mmio," in capsys.readouterr().err


def test_the_raw_client_takes_escapes_out_of_a_binary_reply() -> None:
    assert unescape(b"bab}\x03c}]") == b"ab#c}"


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed")
@pytest.mark.parametrize("thumb", [False, True])
def test_the_cpu_bound_program_computes_on_dbgemu_what_it_computes_on_qemu(thumb: bool) -> None:
    # the lines that qemu-system-arm 7.2 -M versatilepb prints for the same files
    assert checksums(run_on_engine(compile_kernels(1, thumb=thumb))) == [
        "sort 0aaa51ef",
        "crc f5f637a0",
        "matrix ff1a2cdc",
        "copy 6088b35d",
        "bytecode d3286c9e",
        "calls cdf171a7",
        "float 00134407",
        "lists 9e5c6aed",
    ]


def test_the_register_loops_run_through_and_make_the_accesses_that_they_count() -> None:
    marks = run_on_board(mmio.program(mmio.BOARD_LOOPS[:1], 0x30008000))
    assert [mark.text for mark in marks] == ["start", "read INTMSK"]
    # 8 loads, a subtraction and a branch each round, and the few instructions around the loop
    assert 0 <= (marks[1].instructions or 0) - mmio.ACCESSES * 10 // 8 < 20
