"""All line programs of a file: the same rows as pyelftools gives, from every DWARF version."""

from __future__ import annotations

import shutil
import subprocess
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from dbgemu.debug.line_program import LineProgram, Row, line_programs
from dbgemu.demo import demo_elf
from tests.linux_guest import guest_folder

_SOURCE = """
int total;
static int twice(int x)
{
    return x + x;
}
void _start(void)
{
    for (int i = 0; i < 10; i++)
        total += twice(i);
}
"""


def expected(path: Path, units: int) -> list[list[Row]]:
    """The rows of the first units, by pyelftools."""
    with path.open("rb") as file:
        dwarf = ELFFile(file).get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)
        programs: list[Any] = [dwarf.line_program_for_CU(unit) for unit in islice(dwarf.iter_CUs(), units)]
        return [
            [
                (entry.state.address, entry.state.file, *_line(entry.state))
                for entry in program.get_entries()
                if entry.state is not None
            ]
            for program in programs
            if program is not None
        ]


def _line(state: Any) -> tuple[int, bool]:
    return (0, False) if state.end_sequence else (state.line, bool(state.is_stmt))


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed")
@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_programs_of_each_dwarf_version_are_read(tmp_path: Path, version: int) -> None:
    source, elf = tmp_path / "small.c", tmp_path / "small.elf"
    source.write_text(_SOURCE)
    flags = [f"-gdwarf-{version}", "-O1", "-mcpu=arm920t", "-nostdlib"]
    subprocess.run(["arm-none-eabi-gcc", *flags, str(source), "-o", str(elf)], check=True, cwd=tmp_path)
    (program,) = line_programs(elf)
    assert [program.rows] == expected(elf, 1)
    assert any(Path(tmp_path, name) == source for name in program.files.values())
    files = {Path(program.files[number]).name for _, number, line, _ in program.rows if line}
    assert files == {"small.c"}
    lines = {line for _, _, line, _ in program.rows if line}
    assert {5, 9, 10} & lines


def test_the_programs_of_a_kernel_are_read() -> None:
    vmlinux = guest_folder() / "vmlinux"
    wanted = expected(vmlinux, 2)
    assert all(wanted)
    found = [program.rows for program in islice(line_programs(vmlinux), 6)]
    for rows in wanted:
        assert rows in found


def test_a_damaged_program_ends_the_iteration(tmp_path: Path) -> None:
    path = tmp_path / "demo.elf"
    path.write_bytes(demo_elf())
    whole: list[LineProgram] = list(line_programs(path))
    assert len(whole) == 1
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".debug_line")
        offset, size = section["sh_offset"], section["sh_size"]
    for place in range(0, size, 7):
        data = bytearray(path.read_bytes())
        data[offset + place] ^= 0xFF
        (tmp_path / "damaged.elf").write_bytes(data)
        for program in line_programs(tmp_path / "damaged.elf"):
            assert program.rows is not None


def test_a_file_that_is_no_elf_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("no ELF file")
    assert list(line_programs(path)) == []
    assert list(line_programs(tmp_path / "missing")) == []
