"""Conditions and commands of breakpoints as a real gdb hands them over, on a real machine."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_gdb import Gdb, compile_program, debugged, guest_file, machine_with, needs_gcc, needs_gdb
from support import until

from dbgemu.debug.session import DebugSession

pytestmark = [needs_gdb, needs_gcc]

_SOURCE = """
struct item { int kind; short weight; long long total; struct item *next; const char *name; };
struct item one = { 1, -7, 1LL << 40, 0, "one" }, two = { 2, 9, -5, &one, "two" };
volatile unsigned counter;
volatile int *nowhere = (volatile int *) 0x7fff0000;

__attribute__((naked)) void _start(void) { asm("ldr sp, =0x30200000; b main"); }

__attribute__((noinline)) unsigned f(unsigned x, struct item *item) {
    counter += x;
    return counter + item->kind;
}

__attribute__((noinline)) void g(void) { counter++; }

int main(void) {
    unsigned i;
    for (i = 0;; i++) {
        f(i & 15, i & 1 ? &two : &one);
        g();
    }
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("program"), _SOURCE)


@pytest.fixture
def target(program: Path) -> Iterator[tuple[Gdb, DebugSession, str]]:
    with debugged(machine_with(program), program) as everything:
        everything[0].execute("set breakpoint condition-evaluation target")
        yield everything


@pytest.fixture
def gdb(target: tuple[Gdb, DebugSession, str]) -> Gdb:
    return target[0]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("x == 5", "x == 5"),
        ("x == 5 || x == 6", "x == 5 || x == 6"),
        ("item->weight < 0 && x > 3", "item == &one && x >= 4"),
        ("item->total == -5 && x / 3 == 3", "item == &two && (x == 9 || x == 11)"),
        ("item->next && item->next->kind == 1 && (x ^ 7) == 0", "x == 7"),
        ("counter > 1000 && x == 2", "x == 2 && counter > 1000"),
        ("(short) (x << 13) == -24576", "x == 5 || x == 13"),
        ("$r0 == 11", "x == 11"),
        ("$sp < 0x30200000 && item->name[1] == 119", "item == &two"),
    ],
)
def test_the_guest_stops_where_the_condition_holds(gdb, condition: str, holds: str) -> None:
    gdb.execute(f"break f if {condition}")
    for _ in range(3):
        assert gdb.run("continue")["reason"] == "breakpoint-hit"
        assert gdb.value(holds) == 1
    assert "(target evals)" in gdb.execute("info breakpoints")


def test_the_target_and_not_gdb_evaluates_the_condition(target) -> None:
    gdb, session, _ = target
    gdb.execute("break f if x == 5 && counter > 100000")
    stops = session.last_stop.number
    gdb.run("continue")
    assert session.last_stop.number <= stops + 2
    assert "(target evals)" in gdb.execute("info breakpoints")
    assert gdb.value("x == 5 && counter > 100000") == 1


def test_a_condition_that_cannot_be_evaluated_stops_and_gdb_tells_why(gdb) -> None:
    gdb.execute("break f if *nowhere == 1")
    stop = gdb.run("continue")
    assert stop["frame"]["func"] == "f"
    assert re.search(r"Error in testing (breakpoint )?condition", "".join(gdb.log))
    assert "Cannot access memory at address 0x7fff0000" in "".join(gdb.log)


def test_another_condition_takes_the_place_of_the_first(gdb) -> None:
    gdb.execute("break f if x == 5")
    gdb.run("continue")
    gdb.execute("condition 1 x == 9")
    gdb.run("continue")
    assert gdb.value("x") == 9
    gdb.execute("condition 1")
    gdb.run("continue")
    assert gdb.value("x") == 10


def test_two_breakpoints_at_one_place_stop_where_either_holds(gdb) -> None:
    gdb.execute("break f if x == 5")
    gdb.execute("break f if x == 9")
    found = []
    for _ in range(4):
        gdb.run("continue")
        found.append(gdb.value("x"))
    assert found == [5, 9, 5, 9]


def test_an_agent_dprintf_prints_while_the_guest_runs(gdb) -> None:
    gdb.execute("set dprintf-style agent")
    gdb.execute(
        'dprintf f,"x is %d, \\"%s\\" weighs %hd (%#llx)\\n", x, item->name, item->weight, item->total'
    )
    gdb.execute("tbreak g if counter > 1000")
    gdb.run("continue")
    printed = re.findall(r'x is \d+, \\?"\w+\\?" weighs -?\d+ \(0x\w+\)', "".join(gdb.log))
    assert len(printed) > 50
    plain = [line.replace("\\", "") for line in printed]
    assert plain[:3] == [
        'x is 0, "one" weighs -7 (0x10000000000)',
        'x is 1, "two" weighs 9 (0xfffffffffffffffb)',
        'x is 2, "one" weighs -7 (0x10000000000)',
    ]


def test_a_dprintf_may_have_a_condition(gdb) -> None:
    gdb.execute("set dprintf-style agent")
    gdb.execute('dprintf f,"x is %d\\n", x')
    gdb.execute("condition 1 x == 3")
    gdb.execute("tbreak g if counter > 1000")
    gdb.run("continue")
    printed = re.findall(r"x is (\d+)", "".join(gdb.log))
    assert printed and set(printed) == {"3"}


def test_a_persistent_dprintf_prints_on_when_gdb_has_died(target, capfd) -> None:
    gdb, session, _ = target
    gdb.execute("set dprintf-style agent")
    gdb.execute("set disconnected-dprintf on")
    gdb.execute('dprintf f,"left %d\\n", x')
    gdb.execute("continue&")
    process = gdb._controller.gdb_process
    assert process is not None
    process.kill()
    until(lambda: [item.owner for item in session.breakpoints] == [None])
    assert session.running
    seen = []

    def printed() -> bool:
        seen.append(capfd.readouterr().err)
        return "left 15" in "".join(seen)

    until(printed)
    session.halt()


def test_a_running_linux_prints_at_dprintfs_and_stops_where_a_condition_holds() -> None:
    machine = machine_with(
        guest_file("zImage"),
        command_line="console=ttySAC0,115200 mini2440=0tb rdinit=/init",
        initrd=guest_file("initramfs.cpio.gz").read_bytes(),
    )
    machine.warp = True
    with debugged(machine, guest_file("vmlinux")) as (gdb, session, _):
        gdb.execute("set breakpoint condition-evaluation target")
        gdb.execute("set dprintf-style agent")
        gdb.execute("hbreak start_kernel")
        assert gdb.run("continue")["frame"]["func"] == "start_kernel"
        gdb.execute('dprintf register_filesystem,"filesystem %s at %p\\n", fs->name, fs')
        wanted = gdb.value("(unsigned) &populate_rootfs") & 0xFFFFFFFF
        gdb.execute(f"break do_one_initcall if fn == {wanted}")
        assert gdb.run("continue")["frame"]["func"] == "do_one_initcall"
        assert gdb.value("fn == populate_rootfs") == 1
        names = re.findall(r"filesystem (\w+) at 0xc", "".join(gdb.log))
        assert {"proc", "sysfs", "tmpfs", "rootfs"} & set(names)
        assert session.last_stop.number < 12
