"""The command line: what it gives, and the one sentence for each way it can be wrong."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dbgemu.errors import OptionError
from dbgemu.option_values import RtcBase
from dbgemu.options import LOG_ITEMS, ROWS, Options, help_text, parse_command_line
from dbgemu.options_refused import MEANINGLESS, MISSING

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "image.bin"
    path.write_bytes(b"x")
    return str(path)


def parse(*arguments: str) -> Options:
    """Options of a command line that also has something to boot."""
    return parse_command_line(["-demo", *arguments])


def refused(*arguments: str) -> str:
    with pytest.raises(OptionError) as error:
        parse_command_line(arguments)
    return str(error.value)


def test_a_command_line_of_the_old_fork_is_understood(image: str) -> None:
    words = (
        f"-M mini2440 -cpu arm920t -m 64 -kernel {image} -initrd {image} -mtdblock {image} -serial stdio"
        " -monitor null -S -s -snapshot -name board -nographic"
    ).split()
    options = parse_command_line([*words, "-append", "a b"])
    assert (options.machine, options.cpu, options.memory, options.name) == (
        "mini2440",
        "arm920t",
        64 * MIB,
        "board",
    )
    assert options.kernel == options.initrd == options.mtdblock == Path(image)
    assert options.append == "a b"
    assert options.gdb == "tcp::1234"
    assert options.stopped and options.snapshot and options.nographic
    assert [str(spec) for spec in options.serial] == ["stdio"]


def test_two_dashes_are_as_good_as_one() -> None:
    assert parse("--m", "32").memory == 32 * MIB


def test_the_last_of_several_counts_but_serial_ports_gather() -> None:
    options = parse("-m", "32", "-m", "128", "-serial", "null", "-serial", "stdio")
    assert options.memory == 128 * MIB
    assert [spec.kind for spec in options.serial] == ["null", "stdio"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("64", 64), ("32M", 32), ("128m", 128), ("size=16", 16), ("65536K", 64), ("2MB", 2)],
)
def test_memory_sizes_are_mib_or_have_a_unit(text: str, size: int) -> None:
    assert parse("-m", text).memory == size * MIB


@pytest.mark.parametrize("argument", ["-h", "-help", "--help"])
def test_help_lists_every_option_with_its_argument(argument: str) -> None:
    text = parse_command_line([argument]).answer
    assert text is not None
    for row in ROWS.values():
        assert re.search(rf"^  -{row.name} {re.escape(row.argument)}\s", text + "\n", re.MULTILINE), row


def test_help_fits_into_a_terminal() -> None:
    assert max(map(len, help_text().splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("-version", "dbgemu 0.1.0"),
        ("-M ?", "Supported machines are:\nmini2440             FriendlyARM mini2440 (S3C2440A) (default)"),
        ("-cpu ?", "Available CPUs:\n  arm920t"),
        ("-cpu help", "Available CPUs:\n  arm920t"),
        ("-m 64 -version -m bad", "dbgemu 0.1.0"),
    ],
)
def test_a_question_is_answered(arguments: str, answer: str) -> None:
    assert parse_command_line(arguments.split()).answer == answer


def test_log_items_can_be_listed() -> None:
    answer = parse_command_line(["-d", "help"]).answer
    assert answer is not None
    assert all(item in answer for item in LOG_ITEMS)
    assert parse("-d", "int,exec").log_items == {"int", "exec"}


def test_defaults_are_a_board_on_the_terminal() -> None:
    options = parse()
    assert options.memory == 64 * MIB
    assert options.nand.name == "K9F1208"
    serial, monitor = options.ports()
    assert [str(spec) for spec in serial] == ["mon:stdio", "null", "null"]
    assert monitor.kind == "none"


@pytest.mark.parametrize(
    ("arguments", "serial", "monitor"),
    [
        ("-nographic", "mon:stdio null null", "none"),
        ("-serial stdio", "stdio null null", "none"),
        ("-nographic -serial stdio", "stdio null null", "none"),
        ("-nographic -serial null", "null null null", "stdio"),
        ("-serial null -serial pty", "null pty null", "none"),
        ("-monitor stdio", "null null null", "stdio"),
        ("-monitor tcp::4444,server,nowait", "stdio null null", "tcp::4444,server,nowait"),
        ("-serial null -serial null -serial mon:stdio", "null null mon:stdio", "none"),
    ],
)
def test_what_is_not_connected_shares_the_terminal(arguments: str, serial: str, monitor: str) -> None:
    ports, console = parse(*arguments.split()).ports()
    assert (" ".join(map(str, ports)), str(console)) == (serial, monitor)


def test_the_clock_of_the_board_can_be_fixed() -> None:
    assert parse("-rtc", "base=2025-01-31T12:00:00").rtc.seconds() == 1738324800
    assert parse("-rtc", "base=2025-01-31").rtc.fixed == datetime(2025, 1, 31)
    assert parse("-rtc", "base=utc").rtc == RtcBase("utc")


def test_local_time_is_utc_shifted_as_the_clock_on_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-3")
    time.tzset()
    try:
        utc = datetime.now(UTC).timestamp()
        assert RtcBase("localtime").seconds() == pytest.approx(utc + 3 * 3600, abs=5)
        assert RtcBase("utc").seconds() == pytest.approx(utc, abs=5)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_clock_rate_is_two_to_the_shift_nanoseconds() -> None:
    assert parse("-icount", "shift=3").clock.period_ps == 8000
    assert parse("-icount", "0").clock.period_ps == 1000
    assert parse("-icount", "shift=auto").clock.period_ps is None
    assert not parse("-icount", "shift=auto,sleep=on").never_waits
    assert parse("-icount", "shift=auto,sleep=off").never_waits
    assert parse("-warp").never_waits


def test_nothing_to_boot_is_said_unless_a_debugger_may_load_it() -> None:
    assert refused() == "there is nothing to boot: give -kernel, -mtdblock, -pflash or -demo"
    assert parse_command_line(["-S", "-s"]).stopped


@pytest.mark.parametrize("name", sorted(MEANINGLESS))
def test_options_for_other_machines_are_refused_with_the_reason(name: str) -> None:
    assert refused(f"-{name}", "x") == f"-{name} means nothing on a mini2440: {MEANINGLESS[name]}"


@pytest.mark.parametrize("name", sorted(MISSING))
def test_options_of_later_versions_are_refused_honestly(name: str) -> None:
    assert refused(f"-{name}") == f"this version does not have {MISSING[name]}, so -{name} cannot be used"


def test_no_option_is_both_offered_and_refused() -> None:
    assert not ROWS.keys() & (MEANINGLESS.keys() | MISSING.keys())
    assert not MEANINGLESS.keys() & MISSING.keys()


def test_every_row_sets_an_option_that_there_is() -> None:
    names = set(Options._fields)
    assert {row.field for row in ROWS.values()} - {""} <= names


ERRORS = {
    "-kernle zImage": "there is no option '-kernle': did you mean -kernel?",
    "-smpp 2": "there is no option '-smpp': did you mean -smp?",
    "-x": "there is no option '-x': -h lists them",
    "-kernel=zImage": "there is no option '-kernel=zImage': write -kernel zImage",
    "zImage": "'zImage' is not an option: a kernel or firmware is given as -kernel FILE",
    "-kernel": "-kernel needs an argument: -kernel FILE",
    "-kernel none.bin": "-kernel: there is no file 'none.bin'",
    "-mtdblock none.bin": "-mtdblock: there is no file 'none.bin'",
    "-pflash /": "-pflash: '/' is a directory, not a file",
    "-D none/log": "-D: there is no directory 'none' to write 'log' in",
    "-m 65": "-m: the board cannot have '65' of SDRAM: a bank holds 2, 4, 8, 16, 32, 64, 128 MiB",
    "-m much": "-m: 'much' is not a size: write a number of MiB, or one with K, M or G (64M)",
    "-M virt": "-M: 'virt' is not a machine that this emulator has: it is a mini2440",
    "-cpu cortex-a8": "-cpu: 'cortex-a8' does not fit: the board's S3C2440A has an arm920t core",
    "-nand K9F1G8": "-nand: 'K9F1G8' is not a NAND chip that this emulator knows: did you mean K9F1G08",
    "-nand K9F1G08,bed=1": "-nand: 'bed' is not a property of a NAND chip: bad=N+N names its bad blocks",
    "-nand K9F1G08,bad=1+x": "-nand: '1+x' is not a list of blocks: 12 and 12+40 are",
    "-nand K9F1G08,bad=1024": "-nand: block 1024 cannot be bad: a K9F1G08 may have bad ones from 1 to 1023",
    "-gdb 1234": "-gdb: '1234' cannot carry GDB's protocol: write tcp::1234 or unix:PATH",
    "-display gtk": "-display: 'gtk' is no display: write none, sdl or vnc=:N",
    "-display vnc=5": "-display: '5' is no place for viewers: write [HOST]:N, which is port 5900 + N",
    "-vnc :70000": "-vnc: there is no display 70000: write 0 to 59635",
    "-vnc :1,to=9": "-vnc: 'to=9' cannot be used: write [HOST]:N alone, viewers need no password",
    "-panel 7in": "-panel: '7in' is no panel: did you mean 7inch",
    "-rtc 2025": "-rtc: '2025' is not understood: write base=utc, base=localtime or base=DATE",
    "-rtc base=soon": "-rtc: 'soon' is not a date: write 2025-01-31 or 2025-01-31T12:00:00",
    "-rtc base=1999-12-31": (
        "-rtc: '1999-12-31' is not in 2000 to 2099, the years that the board's clock can hold"
    ),
    "-rtc base=2025-01-31T12:00:00+01:00": (
        "-rtc: '2025-01-31T12:00:00+01:00' names a time zone, which the board's clock does not have"
    ),
    "-icount shift=11": "-icount: shift is '11': write a number from 0 to 10, or auto",
    "-icount rr=record": (
        "-icount: 'rr=record' is not understood: write shift=N or shift=auto, and sleep=on|off"
    ),
    "-d ints": "-d: 'ints' cannot be logged: did you mean int",
    "-name a=b": "-name: 'a=b' is not understood: write the machine's name, without '=' or ','",
    "-append quiet": "-append needs a kernel to give it to: add -kernel FILE",
    "-serial null -serial null -serial null -serial null": (
        "-serial is given 4 times, but the board has 3 serial ports"
    ),
    "-serial stdio -monitor stdio": (
        "the terminal can be used only once: give stdio to one of -serial and -monitor"
    ),
}


@pytest.mark.parametrize("line", ERRORS)
def test_a_wrong_command_line_is_told_in_one_sentence(line: str) -> None:
    assert refused(*line.split()) == ERRORS[line]


def test_a_file_that_cannot_be_read_is_told(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(self: Path, mode: str = "r") -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    assert refused("-kernel", image) == f"-kernel: '{image}' cannot be read: Permission denied"


def test_kernel_and_demo_exclude_each_other(image: str) -> None:
    assert refused("-demo", "-kernel", image) == (
        "-demo boots firmware of its own, so it cannot be used with -kernel"
    )


def test_symbols_take_an_offset_and_may_be_given_several_times(tmp_path: Path) -> None:
    first, second = tmp_path / "a.elf", tmp_path / "b@c.elf"
    first.touch()
    second.touch()
    options = parse_command_line(["-demo", "-symbols", f"{first}@0x1000", "-symbols", str(second)])
    assert options.symbols == ((first, 0x1000), (second, 0))


def test_symbols_of_an_absent_file_are_refused() -> None:
    with pytest.raises(OptionError, match="there is no file '/nowhere/vmlinux'"):
        parse_command_line(["-symbols", "/nowhere/vmlinux"])
