"""Names that users give to commands, and the names of system calls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from monitored_program import Monitored, monitored_program

from dbgemu.debug.linux.syscall_names import NAMES, NUMBERS, describe_call
from dbgemu.monitor.completion import complete

#: where Debian's gdb has its own table
_GDB_TABLE = Path("/usr/share/gdb/syscalls/arm-linux.xml")


@pytest.fixture
def program() -> Iterator[Monitored]:
    with monitored_program("here: mov r0, #5\n mov r1, #6\n b here\n") as made:
        yield made


def candidates(program: Monitored, line: str) -> list[str]:
    return [item.text for item in complete(program.monitor, line).candidates]


def test_an_alias_stands_for_a_command_and_takes_its_arguments(program: Monitored) -> None:
    assert program("alias say = echo") == ""
    assert program("say 'two  blanks' here") == program("echo 'two  blanks' here")
    program("alias two = x/2xw")
    assert program("two $pc") == program("x/2xw $pc")
    program("alias once = tbreak $pc + 4")
    assert program.data("once")[0]["address"] == program["here"] + 4
    assert program.data("json two $pc")


def test_an_alias_may_have_several_words_and_be_made_of_another_one(program: Monitored) -> None:
    program("alias info where = info registers")
    program("alias iw = info where")
    assert program("iw") == program("info registers")
    program("alias info where = info status")
    assert program("info where") == program("info status")
    assert program("iw") == program("info registers"), "what it stood for when it was made"


def test_aliases_are_listed_described_completed_and_taken_away(program: Monitored) -> None:
    assert program("alias") == "there are no aliases"
    program("alias ir = info registers")
    program("alias -a say=echo hello")
    assert program("alias") == "ir = info registers\nsay = echo hello"
    assert program.data("alias") == {"ir": "info registers", "say": "echo hello"}
    assert program("alias ir") == "ir = info registers"
    help_text = program("help ir")
    assert help_text.startswith("ir is an alias of 'info registers'\n\ninfo registers")
    assert "say" in candidates(program, "sa")
    assert candidates(program, "alias") == ["alias"]
    program("alias stopat = break")
    assert candidates(program, "stopat her") == candidates(program, "break her")
    program("unalias say")
    assert program.error("say").startswith("there is no command 'say'")
    assert program.error("unalias say") == "there is no alias 'say'"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("alias b = info status", "'b' cannot be an alias: 'b' is a command"),
        ("alias info = echo", "is a command"),
        ("alias echo loud = echo", "'echo loud' cannot be an alias: 'echo' is a command"),
        ("alias x/2 = echo", "'x/2' cannot be the name of a command: letters, digits, '-' and '_' can"),
        ("alias = echo", "'' cannot be the name of a command"),
        ("alias new = nosuch 5", "there is no command 'nosuch'"),
        ("alias new =", "a command is expected behind 'new ='"),
        ("alias new", "there is no alias 'new': 'alias new = COMMAND' makes it one"),
        ("alias new = new", "there is no command 'new'"),
    ],
)
def test_an_alias_that_cannot_be_is_refused(program: Monitored, line: str, error: str) -> None:
    assert error in program.error(line)
    assert program("alias") == "there are no aliases"


def test_an_alias_that_changes_says_so(program: Monitored) -> None:
    program("alias say = echo one")
    assert program("alias say = echo one") == ""
    told = program("alias say = echo two")
    assert told == "'say' was an alias of 'echo one' and is one of 'echo two' now"
    assert program("say") == "two\n"


def test_aliases_of_a_script_stay(program: Monitored, tmp_path: Path) -> None:
    script = tmp_path / "init"
    script.write_text("alias say = echo\nsay from the script\n")
    program(f"source {script}")
    assert program("say later") == "later\n"


# -- system calls -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not _GDB_TABLE.exists(), reason="gdb's own table of system calls is not installed")
def test_system_calls_have_the_names_that_gdb_gives_them() -> None:
    table = re.findall(r'name="(\w+)" number="(\d+)"', _GDB_TABLE.read_text())
    assert len(table) > 300
    for name, number in table:
        assert NAMES[int(number)] == name


def test_every_system_call_has_one_name_and_one_number() -> None:
    assert len(NAMES) == len(NUMBERS) > 440
    assert [NUMBERS[name] for name in ("read", "openat", "futex_time64", "set_mempolicy_home_node")] == [
        3, 322, 422, 450,
    ]  # fmt: skip
    assert describe_call(0xF0002) == "983042 (ARM_cacheflush)"
    assert describe_call(12345) == "12345"


def test_a_system_call_that_linux_does_not_have_is_refused_with_the_nearest(program: Monitored) -> None:
    assert program.error("catch syscall wirte") == "Linux has no system call 'wirte': did you mean write?"
    assert program.data("catch syscall openat 1+2 if $r0")[0]["where"] == "syscall 3 (read), 322 (openat)"
    assert program.data("tcatch syscall")[0]["temporary"] is True
    assert candidates(program, "catch sys") == ["syscall"]
    assert "openat2" in candidates(program, "catch syscall opena")
    assert candidates(program, "catch ir") == ["irq"]
