"""Symbols and source lines from ELF files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from real_gdb import GCC, compile_program, guest_file, needs_gcc

from dbgemu.debug.symbols import SourceLine, Symbols, SymbolsError

_SOURCE = """
int counter;
static int helper(int x) {
    return x + 1;
}
__attribute__((target("thumb"))) int thumb_code(int x) { return x; }
int main(void) {
    counter = helper(2);
    return counter + thumb_code(1);
}
__attribute__((naked)) void _start(void) { asm("b main; inside: nop; nop"); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("symbols"), _SOURCE)


def loaded(path: Path, offset: int = 0) -> Symbols:
    symbols = Symbols()
    symbols.add(path, offset)
    return symbols


def test_without_files_nothing_has_a_name() -> None:
    symbols = Symbols()
    assert (symbols.lookup(0), symbols.describe(5), symbols.find("x"), symbols.line(0)) == (
        None,
        "",
        None,
        None,
    )


@needs_gcc
def test_names_and_addresses(program) -> None:
    symbols = loaded(program)
    main = symbols.find("main")
    assert main is not None
    assert main.is_function
    assert symbols.address("main") == main.address
    assert symbols.lookup(main.address + 4) == (main, 4)
    assert symbols.describe(main.address) == "main"
    assert symbols.describe(main.address + 0x8) == "main+0x8"
    assert symbols.complete("hel") == ["helper"]
    counter = symbols.find("counter")
    assert counter is not None
    assert (counter.size, counter.is_function) == (4, False)


@needs_gcc
def test_mapping_symbols_are_left_out_and_thumb_functions_have_even_addresses(program) -> None:
    symbols = loaded(program)
    assert [name for name in symbols.complete("") if name.startswith("$")] == []
    address = symbols.address("thumb_code")
    assert address is not None
    assert address % 2 == 0
    assert symbols.describe(address + 2) == "thumb_code+0x2"


@needs_gcc
def test_a_label_inside_of_a_function_has_its_name_from_there_on(program) -> None:
    symbols = loaded(program)
    inside = symbols.address("inside")
    assert inside is not None
    assert symbols.describe(inside + 4) == "inside+0x4"
    start = symbols.address("_start")
    assert symbols.describe(start) == "_start"


@needs_gcc
def test_an_offset_moves_symbols_and_lines(program) -> None:
    plain, moved = loaded(program), loaded(program, 0x1000)
    main = plain.address("main")
    assert main is not None
    assert moved.address("main") == main + 0x1000
    assert moved.describe(main + 0x1004) == "main+0x4"
    assert moved.line(main + 0x1000) == plain.line(main)
    assert moved.line(main) != plain.line(main)


@needs_gcc
def test_source_lines_of_functions(program) -> None:
    symbols = loaded(program)
    for name, line in (("helper", 3), ("main", 7), ("thumb_code", 6)):
        address = symbols.address(name)
        assert address is not None
        found = symbols.line(address)
        assert isinstance(found, SourceLine)
        assert (Path(found.file).name, found.line) == ("program.c", line)
        assert str(found).endswith(f"program.c:{line}")
    assert symbols.line(0x10) is None
    assert symbols.line(0xFFFFFFF0) is None


@needs_gcc
def test_lines_agree_with_addr2line(program) -> None:
    assert GCC is not None
    symbols = loaded(program)
    start, end = symbols.address("helper"), symbols.address("_start")
    assert start is not None
    assert end is not None
    addresses = range(start, end, 2)
    command = [GCC.replace("gcc", "addr2line"), "-e", str(program), *map(hex, addresses)]
    judged = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    for address, line in zip(addresses, judged, strict=False):
        found = symbols.line(address)
        assert found is not None
        assert f"{Path(found.file).name}:{found.line}" == Path(line.split(" ")[0]).name, hex(address)


@needs_gcc
@pytest.mark.parametrize("flags", [("-gdwarf-2",), ("-gdwarf-4",), ("-gdwarf-5", "-ffunction-sections")])
def test_lines_of_every_dwarf_and_without_aranges(tmp_path, flags) -> None:
    elf = compile_program(tmp_path, _SOURCE, *flags)
    assert GCC is not None
    bare = tmp_path / "bare.elf"
    objcopy = GCC.replace("gcc", "objcopy")
    subprocess.run([objcopy, "--remove-section=.debug_aranges", str(elf), str(bare)], check=True)
    for path in (elf, bare):
        symbols = loaded(path)
        address = symbols.address("main")
        assert address is not None
        found = symbols.line(address)
        assert found is not None
        assert (Path(found.file).name, found.line) == ("program.c", 7)


@needs_gcc
def test_a_second_file_adds_names_and_the_first_keeps_its_own(program, tmp_path) -> None:
    symbols = loaded(program)
    other = compile_program(
        tmp_path, "int extra(void){return 0;} int main(void){return 1;} void _start(void){}"
    )
    main = symbols.address("main")
    symbols.add(other, 0x100000)
    assert symbols.address("main") == main
    extra = symbols.address("extra")
    assert extra is not None
    assert extra > 0x30100000
    assert symbols.describe(extra) == "extra"
    line = symbols.line(extra)
    assert line is not None
    assert line.line == 1


@needs_gcc
def test_a_file_without_lines_has_symbols_and_no_lines(program, tmp_path) -> None:
    assert GCC is not None
    bare = tmp_path / "bare.elf"
    subprocess.run([GCC.replace("gcc", "strip"), "-g", "-o", str(bare), str(program)], check=True)
    symbols = loaded(bare)
    main = symbols.address("main")
    assert main is not None
    assert symbols.line(main) is None


def test_files_that_cannot_be_used_are_refused_in_one_sentence(tmp_path) -> None:
    symbols = Symbols()
    missing, text, host = tmp_path / "missing", tmp_path / "text", Path(sys.executable)
    text.write_text("hello")
    with pytest.raises(SymbolsError, match=r"missing' cannot be read: No such file or directory$"):
        symbols.add(missing)
    with pytest.raises(SymbolsError, match=r"text' is not an ELF file that can be used"):
        symbols.add(text)
    with pytest.raises(SymbolsError, match=r"is no program for this board: not 32-bit little-endian ARM$"):
        symbols.add(host.resolve())
    assert len(symbols) == 0


@needs_gcc
def test_damaged_files_are_refused_or_have_fewer_names_but_never_crash(program, tmp_path) -> None:
    image = program.read_bytes()
    path = tmp_path / "damaged.elf"
    for cut in (10, 52, 100, len(image) // 2, len(image) - 300):
        path.write_bytes(image[:cut])
        with pytest.raises(SymbolsError):
            loaded(path)
    for place in range(0, len(image), 97):
        path.write_bytes(image[:place] + b"\xff" + image[place + 1 :])
        try:
            symbols = loaded(path)
        except SymbolsError:
            continue
        symbols.line(0x30008004)
        symbols.describe(0x30008004)


def test_a_kernels_symbols_are_read_in_few_steps_and_its_lines_unit_by_unit() -> None:
    path = guest_file("vmlinux")
    symbols = Symbols()
    calls = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(note)
    symbols.add(path)
    sys.setprofile(None)
    assert calls < 400_000, "a few for each of the 100 000 symbols, not dozens"
    address = symbols.address("start_kernel")
    assert address is not None
    line = symbols.line(address)
    assert line is not None
    assert line.file.endswith("init/main.c")
    assert symbols.describe(address + 4) == "start_kernel+0x4"


@needs_gcc
def test_addresses_behind_a_section_or_between_functions_have_no_name(program) -> None:
    symbols = loaded(program)
    assert symbols.describe(0x3FFFFFFF) == ""
    counter = symbols.address("counter")
    assert counter is not None
    assert symbols.describe(counter + 0x100000) == ""
