"""What ``-d`` logs of the MMU and of translated code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dbgemu.emulator import Emulator
from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.translator import Translator
from dbgemu.errors import OptionError
from dbgemu.execution_log import ExecutionLog
from dbgemu.monitor.command import CommandError
from dbgemu.options import parse_command_line
from dbgemu.translation_log import TranslationLog
from tests.test_machine import START, machine_with

LOOP = "1: add r0, r0, #1; eor r1, r1, r0; b 1b"


def logged_translation(*items: str) -> list[str]:
    """What is logged while a loop is translated."""
    machine = machine_with(LOOP, warp=True)
    translator = Translator(machine.cpu, AtOnce(level=0), threshold=2, again=2, patience=1, batch=1)
    lines: list[str] = []
    log = TranslationLog(translator, items, lines.append)
    machine.run(1000)
    log.close()
    before = list(lines)
    translator.forget()
    machine.run(1000)
    assert translator.regions
    translator.close()
    assert lines == before, "a closed log should stay as it is"
    return lines


def test_the_ir_of_regions_is_logged_when_they_come_into_use() -> None:
    (entry,) = logged_translation("op")
    head, body = entry.split("\n", 1)
    assert head == f"OP: 0x{START:08x}, 3 instructions"
    assert "define preserve_nonecc void @region_0(" in body
    assert "xor i32" in body


def test_the_host_code_of_regions_is_logged_when_they_come_into_use() -> None:
    (entry,) = logged_translation("out_asm")
    head, *body = entry.split("\n")
    assert re.fullmatch(rf"OUT: 0x{START:08x}, 3 instructions \[size=\d+\]", head)
    assert all(re.match(r"  [0-9a-f]{8,}  [a-z]", line) for line in body)
    assert any("xor" in line or "eor" in line for line in body)


def test_faults_and_changes_of_the_mapping_are_logged() -> None:
    machine = machine_with(
        """
        ldr r0, =0x30004000
        mcr p15, 0, r0, c2, c0, 0
        mrc p15, 0, r1, c1, c0, 0
        orr r1, r1, #2
        mcr p15, 0, r1, c1, c0, 0
        ldr r2, [r0, #1]
        """
    )
    lines: list[str] = []
    log = ExecutionLog(machine, ["mmu"], lines.append)
    machine.run(6)
    log.close()
    assert lines == [
        f"MMU off, tables at 0x30004000, by pc 0x{START + 4:08x}",
        f"MMU: alignment fault, status 0x01, address 0x30004001, at pc 0x{START + 20:08x}",
    ]


def test_translated_code_is_logged_only_where_there_is_some(tmp_path: Path) -> None:
    sentence = "'op' and 'out_asm' show translated code: there is none with -accel interp"
    arguments = ["-demo", "-serial", "null", "-D", str(tmp_path / "log"), "-accel", "interp"]
    with pytest.raises(OptionError, match=f"-d: {sentence}"):
        Emulator(parse_command_line([*arguments, "-d", "out_asm"]))
    with Emulator(parse_command_line(arguments)) as emulator:
        with pytest.raises(CommandError, match=sentence):
            emulator.services.log(["op", "guest_errors"])
        assert emulator.services.log_items == set()


def test_the_option_logs_translated_code(tmp_path: Path) -> None:
    arguments = ["-demo", "-serial", "null", "-D", str(tmp_path / "log"), "-d", "op,out_asm"]
    with Emulator(parse_command_line(arguments)) as emulator:
        assert emulator.services.log_items == {"op", "out_asm"}
        translator = emulator.session.cpu.translation
        assert isinstance(translator, Translator)
        assert translator.on_install is not None
        emulator.services.log([])
        assert translator.on_install is None
