"""Compiling and caching the interpreter's machine code."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dbgemu.engine import native
from dbgemu.engine.interpreter import emit_module
from dbgemu.engine.object_linker import LinkedObject, LinkError

SMALL = "define i32 @answer() {\n  ret i32 42\n}"


def compiled() -> bytes:
    return native.compile_ir(SMALL, native.target_machine())


def test_an_object_runs_after_the_cache_gave_it_back(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "small.o"
    native.write_cached(path, compiled())
    contents = native.read_cached(path)
    assert contents is not None
    code = native.NativeCode(contents, native.target_machine())
    assert code.function("answer", ctypes.c_int)() == 42


@pytest.mark.parametrize("place", [0, 20, 60, -1])
def test_a_damaged_cache_entry_is_not_trusted(tmp_path: Path, place: int) -> None:
    path = tmp_path / "small.o"
    native.write_cached(path, compiled())
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    assert native.read_cached(path) is None


def test_a_truncated_or_absent_cache_entry_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "small.o"
    assert native.read_cached(path) is None
    native.write_cached(path, compiled())
    os.truncate(path, 100)
    assert native.read_cached(path) is None


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a folder cannot be made in here")
    native.write_cached(file / "small.o", compiled())
    assert file.read_text() == "a folder cannot be made in here"


def test_a_damaged_interpreter_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBGEMU_CACHE", str(tmp_path))
    monkeypatch.setattr("dbgemu.engine.interpreter.emit_module", lambda progress: SMALL)
    progress: list[str] = []
    native.load_interpreter(progress.append)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(b"not an object")
    progress.clear()
    code = native.load_interpreter(progress.append)
    assert code.function("answer", ctypes.c_int)() == 42
    assert any("built in" in line for line in progress)
    progress.clear()
    native.load_interpreter(progress.append)
    assert progress == []


def test_a_name_that_the_object_has_not_is_an_error() -> None:
    code = native.NativeCode(compiled(), native.target_machine())
    with pytest.raises(LookupError, match="no symbol 'question'"):
        code.address("question")


def test_a_later_object_finds_the_symbols_of_those_before_and_of_the_c_library() -> None:
    code = native.NativeCode(compiled())
    text = """
declare i32 @answer()
declare i32 @abs(i32)
@twice = global i32 2
define i32 @product() {
  %a = call i32 @answer()
  %b = load volatile i32, ptr @twice
  store volatile i32 3, ptr @twice
  %c = mul i32 %a, %b
  %d = sub i32 0, %c
  %e = call i32 @abs(i32 %d)
  ret i32 %e
}"""
    code.add(native.compile_ir(text, native.target_machine()))
    product = code.function("product", ctypes.c_int)
    assert [product(), product()] == [84, 126]
    with pytest.raises(LinkError, match="'nowhere'"):
        LinkedObject(
            native.compile_ir(
                "declare void @nowhere()\ndefine void @f() {\n  call void @nowhere()\n  ret void\n}",
                native.target_machine(),
            ),
            {},
        )


def test_what_the_linker_does_not_know_is_left_to_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: LinkedObject, contents: bytes, known: object) -> None:
        raise LinkError("not known")

    monkeypatch.setattr(LinkedObject, "__init__", refuse)
    assert native.NativeCode(compiled()).function("answer", ctypes.c_int)() == 42


def test_a_start_with_compiled_code_imports_neither_llvm_nor_what_few_runs_need() -> None:
    native.load_interpreter()
    script = (
        "import sys; import dbgemu.emulator, dbgemu.engine.translator.jit;"
        "from dbgemu.engine.native import load_interpreter; load_interpreter();"
        "print([m for m in ('llvmlite.binding', 'dbgemu.debug.linux', 'dbgemu.gdbstub.server',"
        " 'dbgemu.engine.interpreter', 'dbgemu.engine.translator.region_core', 'dbgemu.debug.agent',"
        " 'dbgemu.debug.tracepoints', 'tempfile') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert output == "[]\n"


def test_the_interpreter_compiles_for_aarch64_too() -> None:
    contents = native.compile_ir(emit_module(), native.target_machine("aarch64-unknown-linux-gnu", level=0))
    assert contents.startswith(b"\x7fELF")
    machine = int.from_bytes(contents[18:20], "little")
    assert machine == 183  # EM_AARCH64
