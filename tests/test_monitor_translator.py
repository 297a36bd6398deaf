"""The monitor's commands about translated code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from monitored_program import Monitored, monitored_program

from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.translator import Translator
from dbgemu.monitor.command import CommandError

PROGRAM = """
loop:
    add r0, r0, #1
    eor r1, r1, r0
    b loop
"""


@pytest.fixture
def program() -> Iterator[Monitored]:
    with monitored_program(PROGRAM) as program:
        yield program


def test_without_a_translator_the_commands_say_how_to_have_one(program: Monitored) -> None:
    for line in ("info jit", "info tb $pc"):
        with pytest.raises(CommandError, match="nothing is translated: start with -accel jit"):
            program(line)


def test_the_regions_and_their_code_are_shown(program: Monitored) -> None:
    session = program.debugged.session
    options = {"threshold": 2, "again": 2, "patience": 1, "batch": 1}
    translator = Translator(session.cpu, AtOnce(level=0), **options)
    try:
        program("until count 2000")
        loop = program["loop"]
        report = program("info jit")
        assert report.startswith("regions in use     1, of 3 guest instructions")
        assert f"{loop:08x}" in report
        shown = program("info tb $pc")
        assert shown.startswith(f"region of 0x{loop:08x}: 3 instructions")
        assert "eor r1, r1, r0" in shown
        for heading in ("guest code:", "LLVM IR:", "host code:"):
            assert heading in shown
        assert program("info tb 0x40000000") == "no translated code has the instruction at 0x40000000"
    finally:
        translator.close()
