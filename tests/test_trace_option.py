"""The option -trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbgemu.emulator import Emulator
from dbgemu.errors import OptionError
from dbgemu.options import parse_command_line
from dbgemu.trace.reader import open_trace


def test_several_options_and_qemus_words_make_one_specification() -> None:
    options = parse_command_line(["-demo", "-trace", "enable=mmio_write", "-trace", "tb", "-trace", "file=x"])
    assert options.trace == ("mmio_write", "tb", "file=x")


def test_help_lists_the_events() -> None:
    answer = parse_command_line(["-trace", "help"]).answer
    assert answer is not None
    assert "mmio_write" in answer


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("mmoi", "-trace: there is no event 'mmoi': is it 'mmio'?"),
        ("flie=x", "-trace: 'flie' is no option of a trace: is it 'file'?"),
        (
            "tb:x",
            "-trace: 'tb:x': tb_exec takes no pattern; those that do are mmio_read, mmio_write, irq, gpio, ",
        ),
    ],
)
def test_wrong_specifications_are_refused_in_a_sentence(argument: str, message: str) -> None:
    with pytest.raises(OptionError) as error:
        parse_command_line(["-demo", "-trace", argument])
    assert str(error.value).startswith(message)


def test_the_emulator_records_from_the_first_instruction_and_ends_the_trace(tmp_path: Path) -> None:
    path = tmp_path / "demo.dbgtrace"
    words = ["-demo", "-S", "-serial", "null", "-monitor", "none", "-trace", f"tb,mmio,file={path}"]
    with Emulator(parse_command_line(words)) as emulator:
        emulator.session.machine.run(5000)
    with open_trace(path) as trace:
        assert trace.complete
        assert (trace.first_count, trace.end_count, trace.instructions) == (0, 5000, 5000)
        assert trace.header.rtc_start is not None


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    words = ["-demo", "-S", "-serial", "null", "-monitor", "none"]
    with pytest.raises(
        OptionError, match=r"-trace: '/nowhere/x' cannot be written: No such file or directory"
    ):
        Emulator(parse_command_line([*words, "-trace", "tb,file=/nowhere/x"]))
