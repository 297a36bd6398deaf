"""Tracepoints as a real gdb uses them: a small program in C, traced, looked through, saved, reopened."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_gdb import GDB, compile_program, machine_with, needs_gcc, needs_gdb
from support import serve, until

from dbgemu.debug.session import DebugSession

pytestmark = [needs_gdb, needs_gcc]

_SOURCE = """
volatile unsigned counter, turns;
char name[] = "mini2440";

__attribute__((naked)) void _start(void) { asm("ldr sp, =0x30200000; b main"); }

unsigned leaf(unsigned x) {
    unsigned twice = 2 * x;
    char *text = name;
    counter += x;
    return twice + *text;
}

void tick(void) { turns++; }

int main(void) {
    unsigned i;
    for (i = 0;; i++) {
        leaf(i & 7);
        tick();
    }
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("program"), _SOURCE)


class Target:
    """A machine that runs the program, and gdbs that are fed scripts."""

    def __init__(self, session: DebugSession, place: str, elf: Path) -> None:
        self.session, self.place, self.elf = session, place, elf

    def gdb(self, script: str, *, connect: bool = True) -> str:
        """What gdb prints for the commands in ``script``; errors are printed too and end nothing."""
        assert GDB is not None
        head = "set confirm off\nset pagination off\nset width 0\nset architecture armv4t\n"
        if connect:
            head += f"target remote {self.place}\n"
        done = subprocess.run(
            [GDB, "--nx", "--quiet", str(self.elf)],
            input=f"{head}{script}\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return re.sub(r"\(gdb\) |^[> ]*>", "", done.stdout, flags=re.MULTILINE)


@pytest.fixture
def target(program: Path, tmp_path: Path) -> Iterator[Target]:
    session = DebugSession(machine_with(program))
    try:
        with serve(session, trace_folder=tmp_path) as server:
            yield Target(session, f"{server.endpoint.host}:{server.endpoint.port}", program)
    finally:
        session.close()


def actions(*lines: str) -> str:
    return "\n".join(["actions", *lines, "end"])


def run(until_turn: int) -> str:
    """Start tracing and run until ``tick`` is entered with so many turns made."""
    return f"tstart\ntbreak tick if turns == {until_turn}\ncontinue\ntstop"


def printed(text: str, name: str) -> list[str]:
    """The values that ``print``, ``output`` or ``tdump`` showed for ``name``."""
    return re.findall(rf"^{re.escape(name)} = (.*)$", text, re.MULTILINE)


LEAF = "trace leaf\n" + actions("collect $regs, $args, counter") + "\n" + run(9) + "\n"


def test_registers_arguments_and_globals_of_each_hit_are_found_again(target) -> None:
    text = target.gdb(
        LEAF + "tstatus\ntfind start\ntdump\ntfind\ntfind\ntfind\ntdump\np/x $sp\ntfind none\np turns"
    )
    assert "Collected 10 trace frames." in text
    assert "Trace stopped by a tstop command ()." in text
    assert "Found trace frame 0, tracepoint 1\n#0  leaf (x=0) at" in text
    assert "Data collected at tracepoint 1, trace frame 3:" in text
    assert printed(text, "x") == ["0", "3"]
    # 0 + 1 + 2 had been added by then
    assert printed(text, "counter") == ["0", "3"]
    assert re.search(r"^cpsr .*M=svc", text, re.MULTILINE)
    assert "No longer looking at any trace frame" in text
    assert re.search(r"^\$\d+ = 9$", text, re.MULTILINE)


def test_what_was_not_collected_is_unavailable(target) -> None:
    text = target.gdb(LEAF + "tfind 2\np turns\np twice\np counter\nset var counter = 1\ntfind none\np turns")
    assert re.findall(r"\$\d+ = (.*)", text)[:3] == ["<unavailable>", "<unavailable>", "1"]
    assert re.findall(r"\$\d+ = (.*)", text)[-1] == "9"


def test_tfind_looks_by_number_tracepoint_address_range_and_outside(target) -> None:
    text = target.gdb(
        "trace leaf\n"
        + actions("collect $regs")
        + "\ntrace tick\n"
        + actions("collect $regs")
        + "\n"
        + run(4)
        + "\ntfind 3\ntfind tracepoint 2\ntfind start\ntfind pc &leaf\ntfind range tick, tick+40\n"
        + "tfind outside tick, tick+40\ntfind end\ntfind 100\ntfind start\ntfind line tick\ntfind -\n"
        + "tfind 2\ntfind"
    )
    assert re.findall(r"Found trace frame (\d+), tracepoint (\d)", text) == [
        ("3", "2"),
        ("5", "2"),
        ("0", "1"),
        ("1", "2"),
        ("2", "1"),
        ("0", "1"),
        ("1", "2"),
        ("0", "1"),
        ("2", "1"),
        ("3", "2"),
    ]
    assert text.count("Target failed to find requested trace frame.") == 2


def test_locals_and_strings_behind_pointers_are_collected(target) -> None:
    text = target.gdb(
        "trace 10\n"
        + actions("collect $locals", "collect/s text")
        + "\n"
        + run(4)
        + "\ntfind 3\ntdump\np text"
    )
    assert printed(text, "twice") == ["6"]
    assert re.search(r'\$\d+ = 0x\w+ <name"mini2440"', text.replace("> ", ""))


def test_a_condition_a_pass_count_and_variables(target) -> None:
    text = target.gdb(
        "tvariable $seen = 5\ntrace leaf if x == 3\n"
        + actions("teval $seen = $seen + 1", "collect $seen, x")
        + "\npasscount 2\n"
        + run(30)
        + "\ntstatus\ntfind start\ntdump\ntfind\ntdump\ntfind none\ninfo tvariables"
    )
    assert "Trace stopped by tracepoint 1." in text
    assert "Collected 2 trace frames." in text
    assert printed(text, "$seen") == ["6", "7"]
    assert printed(text, "x") == ["3", "3"]
    assert re.search(r"\$seen +5 +7", text)
    assert "$trace_timestamp" in text


def test_while_stepping_shows_the_next_instructions(target) -> None:
    text = target.gdb(
        "trace leaf\n"
        + actions("collect $regs", "while-stepping 3", "collect $regs", "end")
        + "\n"
        + run(1)
        + "\ntfind start\np/x $pc\ntfind\np/x $pc\ntfind\np/x $pc\ntfind\np/x $pc\ntfind"
    )
    pcs = [int(value, 16) for value in re.findall(r"\$\d+ = (0x\w+)", text)]
    assert pcs == [pcs[0] + 4 * n for n in range(4)]
    assert "Found trace frame 4, tracepoint 1\n8\t" in text


def test_a_trace_is_saved_and_looked_through_without_the_target(target, tmp_path) -> None:
    traced = "trace leaf\n" + actions("collect $regs, $args, counter, $trace_timestamp") + "\n" + run(9)
    text = target.gdb(f"{traced}\ntsave {tmp_path}/by-gdb\ntsave -r by-target\ntsave -r ../elsewhere")
    assert f"Trace data saved to file '{tmp_path}/by-gdb'." in text
    assert "Trace data saved to file 'by-target'." in text
    assert not (tmp_path.parent / "elsewhere").exists()
    for name in ("by-gdb", "by-target"):
        text = target.gdb(
            f"target tfile {tmp_path}/{name}\ntstatus\ntfind start\ntdump\ntfind 7\ntdump\nbt 1\n"
            + "tfind\ntfind\ntfind",
            connect=False,
        )
        assert "Collected 10 trace frames." in text
        assert printed(text, "x") == ["0", "7"]
        assert printed(text, "counter") == ["0", "21"]
        first, second = map(int, printed(text, "$trace_timestamp"))
        assert second > first
        assert "leaf (x=7)" in text
        assert text.count("Found trace frame") == 4
        assert text.count("Target failed to find requested trace frame.") == 1


def test_tracing_goes_on_without_gdb_and_another_one_takes_it_over(target, tmp_path) -> None:
    target.gdb("set disconnected-tracing on\ntrace leaf\n" + actions("collect $regs, x") + "\ntstart\ndetach")
    buffer = target.session.trace.buffer
    until(lambda: buffer.created > 1000)
    assert target.session.trace.running
    text = target.gdb(f"tstatus\ninfo tracepoints\ntstop\ntsave {tmp_path}/saved\ntfind 999\ntdump")
    assert "Trace is already running on the target." in text
    assert "Trace is running on the target." in text
    assert "collect $regs, x" in text
    assert printed(text, "x") == [str(999 & 7)]
    # This gdb had seen no register before it wrote the file.
    text = target.gdb(f"target tfile {tmp_path}/saved\ntfind 999\ntdump", connect=False)
    assert printed(text, "x") == [str(999 & 7)]


def test_a_trace_ends_with_its_gdb_otherwise(target) -> None:
    target.gdb("trace leaf\ntstart\ndetach")
    until(lambda: not target.session.trace.running)
    assert "Trace stopped because of disconnection." in target.gdb("tstatus")


def test_tracepoints_change_while_the_trace_runs(target) -> None:
    text = target.gdb(
        "trace leaf\ntstart\ntbreak tick if turns == 2\ncontinue\ndisable 1\ntrace tick\n"
        + "tbreak leaf if x == 5\ncontinue\nenable 1\n"
        + "tbreak tick if turns == 7\ncontinue\ntstop\ntstatus\ninfo tracepoints"
    )
    # leaf at turns 0 to 2, 6 and 7; tick at turns 3 to 7
    assert text.count("tracepoint already hit 5 times") == 2


@pytest.mark.parametrize("command", ["strace -m marker", "trace -m marker"])
def test_static_tracepoints_are_refused_and_the_rest_goes_on(target, command) -> None:
    text = target.gdb(f"{command}\n{LEAF}tstatus")
    assert "marker named marker" in text or "invalid explicit location" in text
    assert "Collected 10 trace frames." in text


def test_a_circular_buffer_of_a_chosen_size_keeps_the_last_frames(target) -> None:
    text = target.gdb(
        "set trace-buffer-size 1000\nset circular-trace-buffer on\nset trace-user me\nset trace-notes why\n"
        + LEAF
        + "tstatus\ntfind start\np x\ntfind 8"
    )
    assert "Buffer contains 9 trace frames (of 10 created total)." in text
    assert "Trace buffer has 55 bytes of 1000 bytes free" in text
    assert "Trace buffer is circular." in text
    assert "Trace user is me." in text
    assert "Trace notes: why." in text
    assert re.findall(r"^\$\d+ = (.*)", text, re.MULTILINE) == ["1"]
    assert "Found trace frame 8, tracepoint 1" in text


def test_a_condition_that_is_mostly_false_is_tested_without_stopping(target) -> None:
    text = target.gdb(
        "trace leaf if turns == 5 || turns == 20000\n"
        + actions("collect turns")
        + "\n"
        + run(20001)
        + "\ntstatus\ntfind start\np turns\ntfind\np turns"
    )
    assert "Collected 2 trace frames." in text
    assert re.findall(r"^\$\d+ = (.*)", text, re.MULTILINE) == ["5", "20000"]
