"""The example scripts run as their texts say, and say in one sentence what is wrong with their input."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from linux_guest import guest_folder
from real_gdb import needs_gdb

import dbgemu
from tests.arm_programs import interpreter

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
EXAMPLES = ("boot_trace", "first_access", "compare_boots", "module_coverage", "gdb_trace")


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """The first start of a version says that it builds the interpreter: not here."""
    interpreter()


def example(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def output_of(name: str, *arguments: object) -> str:
    done = example(name, "--guest", guest_folder(), *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("boot_trace", ["--guest", "/nonexistent"], "there is no Linux guest"),
        ("boot_trace", ["--output", "/nonexistent/x"], "there is no folder '/nonexistent'"),
        ("boot_trace", ["--events", "blocks"], "blocks"),
        ("first_access", ["nand.NFCOMF"], "device nand has no register 'NFCOMF'"),
        ("compare_boots", ["--to", "run_init_proces"], "there is no symbol 'run_init_proces': did you mean"),
        ("module_coverage", ["no_such"], "the guest has no module"),
        ("gdb_trace", ["--gdb", "no-such-gdb"], "there is no no-such-gdb"),
    ],
)
def test_wrong_input_is_answered_with_a_sentence(
    name: str, arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    if name == "boot_trace" and "--output" not in arguments:
        arguments = [*arguments, "--output", str(tmp_path / "x.dbgtrace")]
    done = example(name, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{name}: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_says_what_a_script_does(name: str) -> None:
    done = example(name, "--help")
    assert done.returncode == 0
    assert "--guest DIR" in done.stdout


def test_a_boot_is_traced_and_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "boot.dbgtrace"
    text = output_of("boot_trace", "--output", path, "--until", "Calibrating delay loop")
    count = int(text.split()[0])
    with dbgemu.open_trace(path) as trace:
        assert trace.complete
        assert trace.instructions == count
        assert "Calibrating" not in trace.header.command_line
    assert "calibrate_delay" in text
    assert re.search(r"^ *\d+ +\d+  uart0$", text, re.MULTILINE)


def test_who_touched_a_register_first_is_told_with_source_and_callers() -> None:
    text = output_of("first_access", "uart1.UCON", "nand.NFCONF")
    nand = text[text.index("nand.NFCONF") :]
    assert nand.startswith("nand.NFCONF: s3c2410_nand_setrate+")
    assert "drivers/mtd/nand/raw/s3c2410.c:" in nand.splitlines()[1]
    assert [line.strip() for line in nand.splitlines()[2:5]] == [
        "s3c24xx_nand_probe",
        "platform_probe",
        "really_probe",
    ]
    assert "uart1.UCON: s3c24xx_serial_probe+" in text


def test_two_boots_part_where_the_command_line_is_read() -> None:
    text = output_of("compare_boots", "--append", "loglevel=4", "--to", "paging_init")
    assert text.startswith("the traces differ from instruction ")
    assert re.search(r"^\+ .*strlcpy", text, re.MULTILINE)


def test_equal_boots_are_equal() -> None:
    text = output_of("compare_boots", "--append", "", "--to", "1000000")
    assert text == "both boots execute the same 1000000 instructions\n"


def test_the_functions_of_a_module_that_ran_are_listed() -> None:
    text = output_of("module_coverage", "scsi_common", "scsi_mod")
    assert "scsi_common: 0 of " in text
    assert re.search(r"scsi_mod: \d+ of \d+ functions were executed", text)
    table = text.partition("scsi_mod: ")[2]
    executed, words = map(
        int, re.search(r"^ *(\d+) +(\d+)  (?:init_scsi|init_module)$", table, re.M).groups()
    )  # type: ignore[union-attr]
    assert 0 < executed < words, "the way out after an error was not taken"


@needs_gdb
def test_gdb_collects_the_same_kind_of_trace(tmp_path: Path) -> None:
    path = tmp_path / "gdb.dbgtrace"
    text = output_of("gdb_trace", "--from", "start_kernel", "--to", "setup_arch", "--output", path)
    assert "gdb: start_kernel at 0xc" in text
    assert "gdb: setup_arch at 0xc" in text
    with dbgemu.open_trace(path) as trace:
        assert f"{trace.instructions} instructions in {trace.blocks} blocks" in text
        assert 0 < trace.instructions < 1_000_000
