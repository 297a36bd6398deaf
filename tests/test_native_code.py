"""Compiling and caching the interpreter's machine code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dbgemu.engine import native
from dbgemu.engine.interpreter import emit_module

SMALL = "define i32 @answer() {\n  ret i32 42\n}"


def compiled() -> bytes:
    return native.compile_ir(SMALL, native.target_machine())


def test_an_object_runs_after_the_cache_gave_it_back(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "small.o"
    native.write_cached(path, compiled())
    contents = native.read_cached(path)
    assert contents is not None
    code = native.NativeCode(contents, native.target_machine())
    assert code.function("answer", native.ctypes.c_int)() == 42


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
    assert code.function("answer", native.ctypes.c_int)() == 42
    assert any("built in" in line for line in progress)
    progress.clear()
    native.load_interpreter(progress.append)
    assert progress == []


def test_a_name_that_the_object_has_not_is_an_error() -> None:
    code = native.NativeCode(compiled(), native.target_machine())
    with pytest.raises(LookupError, match="no symbol 'question'"):
        code.address("question")


def test_the_interpreter_compiles_for_aarch64_too() -> None:
    contents = native.compile_ir(emit_module(), native.target_machine("aarch64-unknown-linux-gnu", level=0))
    assert contents.startswith(b"\x7fELF")
    machine = int.from_bytes(contents[18:20], "little")
    assert machine == 183  # EM_AARCH64
