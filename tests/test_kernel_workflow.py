"""scripts/kernel_workflow.py, end to end: Linux boots under a real gdb, and a report tells of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from linux_guest import guest_folder
from real_gdb import GDB, needs_gdb

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "kernel_workflow.py"

#: what drives the devices of the board
_DRIVERS = {
    "samsung-uart": ["s3c2440-uart.0", "s3c2440-uart.1", "s3c2440-uart.2"],
    "s3c24xx-nand": ["s3c2440-nand"],
    "dm9000": ["dm9000"],
}


def workflow(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def _rows(report: str, heading: str) -> list[list[str]]:
    """The cells of the table under ``heading``, without its head."""
    section = report.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The report of a boot, and the trace that was saved."""
    folder = tmp_path_factory.mktemp("workflow")
    report, trace = folder / "boot.md", folder / "boot.trace"
    done = workflow("--report", report, "--save", trace)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return report.read_text(encoding="utf-8"), trace


@needs_gdb
def test_the_report_tells_kernel_state_and_conditions(boot) -> None:
    report, _ = boot
    symbols = dict(
        reversed(line.split()[::2]) for line in (guest_folder() / "System.map").read_text().splitlines()
    )
    assert "Linux version 6.1" in report
    registers = dict(_rows(report, "At start_kernel"))
    assert int(registers["pc"], 16) == int(symbols["start_kernel"], 16)
    assert int(registers["sctlr"], 16) & 1 == 1
    assert "evaluated by the emulator" in report
    found = {row[0]: row for row in _rows(report, "Breakpoints")}
    initcall = found["do_one_initcall if fn == populate_rootfs"]
    assert int(initcall[1], 16) == int(symbols["do_one_initcall"], 16)
    assert re.fullmatch(r"init/main\.c:\d+", initcall[2])
    assert initcall[3] == "1"
    assert initcall[4].startswith("do_one_initcall < do_initcall_level")
    network = found["register_netdevice if dev->name[0] == 'e'"]
    assert (network[3], network[4]) == ("1", "register_netdevice < register_netdev < dm9000_probe")
    assert found["run_init_process"][3] == "1"


@needs_gdb
def test_the_report_has_every_initcall_and_probe_in_order(boot) -> None:
    report, _ = boot
    initcalls, probes = _rows(report, "Initcalls"), _rows(report, "Drivers that met devices")
    for rows in (initcalls, probes):
        times = [float(row[1]) for row in rows]
        assert times == sorted(times)
        assert 0 < times[0] < times[-1] < 60_000
        assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    names = [row[2] for row in initcalls]
    assert len(names) > 200
    assert names.index("populate_rootfs") < names.index("dm9000_driver_init")
    for driver, devices in _DRIVERS.items():
        assert [row[3] for row in probes if row[2] == driver] == devices
    hits = {name: int(count) for name, count in _rows(report, "Tracepoints")}
    assert hits == {"do_one_initcall": len(initcalls), "really_probe": len(probes)}


@needs_gdb
def test_the_saved_trace_is_looked_at_without_the_emulator(boot) -> None:
    report, trace = boot
    assert GDB is not None
    first = _rows(report, "Drivers that met devices")[0]
    before = sum(float(row[1]) < float(first[1]) for row in _rows(report, "Initcalls"))
    commands = ["set width 0", f"target tfile {trace}", f"tfind {before}", "tdump"]
    arguments = [word for line in commands for word in ("-ex", line)]
    done = subprocess.run(
        [GDB, "--nx", "--batch", *arguments, str(guest_folder() / "vmlinux")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f'"{first[2]}"' in done.stdout, done.stdout + done.stderr
    assert f'"{first[3]}"' in done.stdout


def _refused(*arguments: object) -> str:
    done = workflow(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    return done.stderr


def test_a_folder_without_a_guest_is_one_sentence(tmp_path) -> None:
    assert _refused("--guest", tmp_path) == (
        f"kernel_workflow: there is no Linux guest (zImage, vmlinux, initramfs.cpio.gz) in '{tmp_path}'\n"
    )
    (tmp_path / "zImage").touch()
    assert _refused("--guest", tmp_path) == f"kernel_workflow: the guest in '{tmp_path}' has no 'vmlinux'\n"


def test_a_debugger_that_is_not_there_is_one_sentence() -> None:
    assert _refused("--gdb", "no-such-gdb") == (
        "kernel_workflow: there is no no-such-gdb: install one, or name yours with --gdb\n"
    )


def test_a_report_in_no_folder_is_one_sentence(tmp_path) -> None:
    path = tmp_path / "nowhere" / "boot.md"
    assert _refused("--report", path) == (
        f"kernel_workflow: there is no folder '{path.parent}' to write 'boot.md' in\n"
    )


@needs_gdb
def test_a_breakpoint_that_gdb_cannot_set_is_told_in_its_words() -> None:
    assert _refused("--break", "no_such_function if x == 1").splitlines()[-1] == (
        "kernel_workflow: gdb refuses 'break no_such_function if x == 1':"
        ' Function "no_such_function" not defined.'
    )
