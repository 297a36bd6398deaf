"""What a start does to be short."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbgemu.engine
from dbgemu import cli
from dbgemu.emulator import Emulator
from dbgemu.engine.native import PORT_MODULES, source_digest


@pytest.fixture
def collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("collector")
def test_garbage_is_collected_again_once_everything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []

    def run(emulator: Emulator) -> int:
        seen.append((gc.isenabled(), gc.get_freeze_count() > 0))
        return 7

    monkeypatch.setattr(Emulator, "run", run)
    assert cli.main(["-demo", "-serial", "null", "-monitor", "none", "-accel", "interp"]) == 7
    assert seen == [(True, True)]
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, 0)


@pytest.mark.usefixtures("collector")
def test_a_wrong_command_line_leaves_the_collector_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-nonsense"]) == cli.USAGE_ERROR
    assert gc.isenabled()
    assert "-nonsense" in capsys.readouterr().err


def test_the_digest_covers_all_modules_whose_constants_native_code_has() -> None:
    """Else an interpreter would be taken from the cache that was made with others."""
    folder = Path(dbgemu.engine.__file__).parent
    emitting = [path for path in folder.rglob("*.py") if path.name != "cpu.py"]
    used = {
        module.rpartition(".")[2]
        for path in emitting
        for module in re.findall(r"^from (dbgemu\.target\.\w+) import", path.read_text(), re.MULTILINE)
    }
    assert used - {"arm"} == set(PORT_MODULES)


def test_the_digest_is_the_same_each_time_and_another_with_the_translator() -> None:
    assert source_digest() == source_digest()
    assert source_digest(everything=True) == source_digest(everything=True) != source_digest()
