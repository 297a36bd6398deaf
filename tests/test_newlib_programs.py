"""Programs of newlib, compiled with ``--specs=rdimon.specs``, under the emulator and a real gdb."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from real_gdb import GCC, Gdb, needs_gdb

ROOT = Path(__file__).parents[1]

needs_newlib = pytest.mark.skipif(
    GCC is None,
    reason="arm-none-eabi-gcc and newlib are not installed (gcc-arm-none-eabi libnewlib-arm-none-eabi)",
)
pytestmark = [needs_newlib]

_SOURCE = r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

volatile int total;
char buffer[64] = "find the needle here";

int __attribute__((noinline)) add(int a, int b) {
    int sum = a + b;
    total += sum;
    return sum;
}

int __attribute__((noinline)) show(int n) {
    return printf("shown: %d\n", n);
}

int __attribute__((noinline)) make(void) {
    return fopen("by-gdb.txt", "w") != 0;
}

int __attribute__((noinline)) outer(int n) {
    int result = 0;
    for (int i = 0; i < n; i++)
        result += add(i, 1);
    return result;
}

static int files(void) {
    char line[32];
    FILE *file = fopen("made.txt", "w+");
    if (!file) {
        printf("fopen failed: %d\n", errno);
        return 3;
    }
    fputs("first\nsecond\n", file);
    fseek(file, 6, SEEK_SET);
    fgets(line, sizeof line, file);
    fclose(file);
    printf("read %s", line);
    if (fopen("../outside.txt", "w"))
        return 4;
    fclose(fopen("gone.txt", "w"));
    return remove("gone.txt") || !remove("gone.txt") || errno != ENOENT;
}

int main(int argc, char **argv) {
    char name[16];
    if (argc > 1 && !strcmp(argv[1], "files"))
        return files();
    if (argc > 1 && !strcmp(argv[1], "exit"))
        exit(atoi(argv[2]));
    if (argc > 1 && !strcmp(argv[1], "abort"))
        abort();
    if (argc > 1 && !strcmp(argv[1], "ask")) {
        printf("who? ");
        fflush(stdout);
        if (scanf("%15s", name) != 1)
            return 5;
        printf("hello %s\n", name);
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "time"))
        return time(NULL) != 978307200;
    printf("pid %d tty %d\n", argc, isatty(1));
    int value = outer(10);
    printf("outer gave %d of %d\n", value, total);
    fprintf(stderr, "to stderr\n");
    return 42;
}
"""


def _compile(folder: Path, *options: str) -> Path:
    assert GCC is not None
    source, elf = folder / "prog.c", folder / "prog.elf"
    source.write_text(_SOURCE)
    flags = ["-mcpu=arm920t", "-g", "-O0", "--specs=rdimon.specs", "-Wl,-Ttext-segment=0x30008000", *options]
    subprocess.run([GCC, *flags, "-o", str(elf), str(source)], check=True)
    return elf


@pytest.fixture(scope="module", params=["arm", "thumb"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _compile(tmp_path_factory.mktemp("newlib"), f"-m{request.param}")


def emulator(elf: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "dbgemu", "-semihosting", "-kernel", str(elf), "-serial", "null"]
    return [*command, *options]


def run(elf: Path, *options: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        emulator(elf, *options), input=text, capture_output=True, text=True, timeout=60, cwd=ROOT
    )


# -- without a debugger --------------------------------------------------------------------------


def test_a_program_prints_and_ends_with_its_status(program) -> None:
    done = run(program)
    assert done.stdout == "pid 1 tty 1\nouter gave 55 of 55\n"
    assert done.stderr == "to stderr\n"
    assert done.returncode == 42


@pytest.mark.parametrize("status", [0, 1, 200])
def test_exit_codes_come_through(program, status) -> None:
    assert run(program, "-append", f"exit {status}").returncode == status


def test_a_program_that_aborts_fails(program) -> None:
    assert run(program, "-append", "abort").returncode not in (0, 42)


def test_files_stay_in_the_folder(program, tmp_path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    done = run(program, "-append", "files", "-semihosting-dir", str(folder))
    assert (done.stdout, done.returncode) == ("read second\n", 0)
    assert [path.name for path in tmp_path.rglob("*.txt")] == ["made.txt"]
    assert (folder / "made.txt").read_text() == "first\nsecond\n"


def test_without_a_folder_there_are_no_files(program) -> None:
    done = run(program, "-append", "files")
    assert (done.stdout, done.returncode) == ("fopen failed: 13\n", 3)


def test_standard_input_is_read(program) -> None:
    done = run(program, "-semihosting-config", "arg=prog,arg=ask", text="Ada\n")
    assert (done.stdout, done.returncode) == ("who? hello Ada\n", 0)
    assert run(program, "-append", "ask").returncode == 5


def test_time_is_the_boards_clock(program) -> None:
    assert run(program, "-append", "time", "-rtc", "base=2001-01-01").returncode == 0


def test_the_console_can_be_a_file(program, tmp_path) -> None:
    place = tmp_path / "console"
    done = run(program, "-semihosting-config", f"chardev=file:{place}")
    assert (done.stdout, done.returncode) == ("", 42)
    assert place.read_text() == "pid 1 tty 1\nouter gave 55 of 55\nto stderr\n"


# -- under gdb -----------------------------------------------------------------------------------


@contextmanager
def debugging(
    elf: Path, *options: str, cwd: Path = ROOT, non_stop: bool = False
) -> Iterator[tuple[Gdb, subprocess.Popen[str]]]:
    """A gdb on an emulator that stands at the program's entry point."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    command = emulator(elf, "-S", "-gdb", f"tcp:{place}", *options)
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)
    try:
        gdb = Gdb(elf)
        try:
            gdb.execute(f"cd {cwd}")
            gdb.execute("set tcp connect-timeout 15")
            gdb.execute(f"set non-stop {'on' if non_stop else 'off'}")
            gdb.execute(f"target remote {place}")
            gdb.stop()
            yield gdb, process
        finally:
            gdb.close()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def gdb(program) -> Iterator[Gdb]:
    """Stopped in main."""
    with debugging(program, "-semihosting-config", "target=native,arg=prog") as (gdb, _):
        gdb.execute("break main")
        assert gdb.run("continue")["frame"]["func"] == "main"
        yield gdb


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(_SOURCE.splitlines(), 1) if text in line)


@needs_gdb
def test_a_program_stops_at_its_entry_before_the_first_instruction(program) -> None:
    with debugging(program) as (gdb, _):
        assert gdb.value("(unsigned) $pc == (unsigned) &_start") == 1
        assert gdb.value("$cpsr & 0x3f") == 0x13
        assert "_start" in gdb.execute("info symbol $pc")


@needs_gdb
def test_output_appears_in_gdb_and_the_status_ends_both(program) -> None:
    with debugging(program) as (gdb, process):
        stop = gdb.run("continue")
        assert stop["reason"] == "exited"
        assert int(stop["exit-code"], 8) == 42
        printed = "".join(gdb.log)
        assert "outer gave 55 of 55" in printed
        assert process.wait(10) == 42
        assert process.communicate()[0] == ""


@needs_gdb
def test_output_stays_with_the_emulator_when_it_is_told_so(program) -> None:
    with debugging(program, "-semihosting-config", "target=native") as (gdb, process):
        assert gdb.run("continue")["reason"] == "exited"
        assert process.communicate(timeout=10)[0] == "pid 1 tty 1\nouter gave 55 of 55\n"
        assert process.returncode == 42


@needs_gdb
def test_files_are_gdbs_when_it_is_the_target(program, tmp_path) -> None:
    options = ("-semihosting-config", "target=gdb,arg=prog,arg=exit,arg=9")
    with debugging(program, *options, cwd=tmp_path) as (gdb, process):
        gdb.execute("break main")
        gdb.run("continue")
        assert gdb.value("make()") == 1
        assert (tmp_path / "by-gdb.txt").exists()
        stop = gdb.run("continue")
        assert (stop["reason"], int(stop.get("exit-code", "0"), 8)) == ("exited", 9), gdb.log
        assert process.wait(10) == 9


@needs_gdb
def test_in_non_stop_mode_output_stays_with_the_emulator(program) -> None:
    """GDB's manual has no File-I/O requests in non-stop mode: nobody waits for them."""
    with debugging(program, non_stop=True) as (gdb, process):
        gdb.execute("break add")
        stop = gdb.run("continue&")
        assert (stop["reason"], stop["frame"]["func"]) == ("breakpoint-hit", "add")
        gdb.execute("delete")
        assert gdb.value("show(7)") == len("shown: 7\n"), "a call in the middle of a program that stands"
        stop = gdb.run("continue&")
        assert (stop["reason"], int(stop["exit-code"], 8)) == ("exited", 42)
        assert process.communicate(timeout=10)[0] == "pid 1 tty 1\nshown: 7\nouter gave 55 of 55\n"


@needs_gdb
def test_in_non_stop_mode_files_that_are_gdbs_cannot_be_had(program, tmp_path) -> None:
    options = ("-semihosting-config", "target=gdb,arg=prog,arg=exit,arg=9")
    with debugging(program, *options, cwd=tmp_path, non_stop=True) as (gdb, process):
        gdb.execute("break main")
        assert gdb.run("continue&")["frame"]["func"] == "main"
        assert gdb.value("make()") == 0, "fopen tells the program"
        assert not (tmp_path / "by-gdb.txt").exists()
        stop = gdb.run("continue&")
        assert (stop["reason"], int(stop.get("exit-code", "0"), 8)) == ("exited", 9), gdb.log
        assert process.wait(10) == 9


@needs_gdb
def test_functions_are_called_that_call_the_host(gdb) -> None:
    assert gdb.value("add(20, 22)") == 42
    assert gdb.value("total") == 42
    assert gdb.value("show(7)") == len("shown: 7\n")


@needs_gdb
def test_finish_return_until_and_advance(gdb) -> None:
    gdb.execute("break add")
    assert gdb.run("continue")["frame"]["func"] == "add"
    stop = gdb.run("finish")
    assert stop["frame"]["func"] == "outer"
    assert stop["return-value"] == "1"
    gdb.run("continue")
    gdb.execute("return 100")
    assert gdb.execute("bt 1").startswith("#0  ") and "outer" in gdb.execute("bt 1")
    gdb.execute("delete")
    assert gdb.run(f"advance {line_of('return result;')}")["frame"]["func"] == "outer"
    # the call that was returned from gave 100 instead of 2
    assert gdb.value("result") == 55 - 2 + 100


@needs_gdb
def test_until_leaves_a_loop(gdb) -> None:
    gdb.execute(f"tbreak {line_of('result += add')}")
    assert gdb.run("continue")["frame"]["func"] == "outer"
    gdb.run("next")
    stop = gdb.run(f"until {line_of('return result;')}")
    assert (stop["frame"]["func"], int(stop["frame"]["line"])) == ("outer", line_of("return result;"))
    assert gdb.value("result") == 55


@needs_gdb
def test_next_runs_over_calls_and_loops(gdb) -> None:
    gdb.execute(f"tbreak {line_of('int value = outer')}")
    gdb.run("continue")
    stop = gdb.run("next")
    assert int(stop["frame"]["line"]) == line_of("outer gave")
    assert gdb.value("value") == 55
    assert int(gdb.run("next")["frame"]["line"]) == line_of("to stderr")
    assert int(gdb.run("next")["frame"]["line"]) == line_of("return 42")


@needs_gdb
def test_hardware_and_software_watchpoints_see_the_same(gdb) -> None:
    seen = {}
    for hardware in (1, 0):
        gdb.execute(f"set can-use-hw-watchpoints {hardware}")
        gdb.execute("set var total = 0")
        gdb.execute("tbreak add" if hardware else "advance add")
        if hardware:
            gdb.run("continue")
        gdb.execute("watch total")
        stop = gdb.run("continue")
        assert stop["reason"] == "watchpoint-trigger"
        seen[hardware] = stop["frame"]["func"]
        gdb.execute("delete")
    assert seen == {1: "add", 0: "add"}


@needs_gdb
def test_memory_is_dumped_restored_and_searched(gdb, tmp_path) -> None:
    dump = tmp_path / "dump.bin"
    gdb.execute(f"dump binary value {dump} buffer")
    assert dump.read_bytes() == b"find the needle here".ljust(64, b"\0")
    dump.write_bytes(b"a needle restored".ljust(64, b"\0"))
    gdb.execute(f"restore {dump} binary &buffer")
    assert "a needle restored" in gdb.execute("print buffer")
    found = gdb.execute("find &buffer, +sizeof(buffer), 'n', 'e', 'e', 'd', 'l', 'e'")
    assert "1 pattern found" in found
    assert re.search(r"<buffer\+2>", found)


@needs_gdb
def test_a_permanent_breakpoint_is_the_guests_exception(program) -> None:
    """ARMv4T has no BKPT: its encoding is undefined, and goes to the guest's vector."""
    with debugging(program) as (gdb, _):
        gdb.execute("set {unsigned} $pc = 0xe1200070")
        gdb.run("stepi")
        assert gdb.value("(unsigned) $pc") == 4
        assert gdb.value("$cpsr & 0x1f") == 0x1B


@needs_gdb
@pytest.mark.parametrize("non_stop", [False, True])
@pytest.mark.parametrize(("system", "instruction"), [("none", 0xE7FFDEFE), ("GNU/Linux", 0xE7F001F0)])
def test_a_breakpoint_on_gdbs_own_breakpoint_instruction_stops_and_is_passed(
    program, system, instruction, non_stop
) -> None:
    """The program's own, to GDB: "permanent". It goes on behind it; without a breakpoint it is undefined."""
    code = (0xE3A00001, instruction, 0xE2800004, 0xEAFFFFFE)  # mov r0, #1; it; add r0, r0, #4; b .
    with debugging(program, non_stop=non_stop) as (gdb, _):
        gdb.execute(f"set osabi {system}")
        for place, word in enumerate(code):
            gdb.execute(f"set {{unsigned}} {0x33000000 + 4 * place:#x} = {word:#x}")
        gdb.execute("set $pc = 0x33000000")
        gdb.execute("break *0x33000004")
        gdb.execute("break *0x3300000c")
        for address, value in ((0x33000004, 1), (0x3300000C, 5)):
            assert gdb.run("continue&" if non_stop else "continue")["reason"] == "breakpoint-hit"
            assert (gdb.value("(unsigned) $pc"), gdb.value("$r0")) == (address, value)
        gdb.execute("delete")
        gdb.execute("set $pc = 0x33000004")
        gdb.run("stepi")
        assert (gdb.value("(unsigned) $pc"), gdb.value("(unsigned) $lr")) == (4, 0x33000008)


@needs_gdb
def test_ctrl_c_stops_a_program_that_waits_for_input(program) -> None:
    with debugging(program, "-semihosting-config", "target=native,arg=prog,arg=ask") as (gdb, process):
        gdb.execute("continue")
        assert process.stdout is not None
        assert process.stdout.read(4) == "who?"
        assert gdb.interrupt()["signal-name"] == "SIGINT"
        assert "main" in gdb.execute("bt")
        assert process.stdin is not None
        process.stdin.write("Ada\n")
        process.stdin.flush()
        assert gdb.run("continue")["reason"] == "exited-normally"
        assert process.stdout.read() == " hello Ada\n"
