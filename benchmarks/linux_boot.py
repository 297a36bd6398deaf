"""The Linux guest: how long until its prompt, what happens until then, what it costs to idle there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT, Settings
from benchmarks.processes import EmulatorProcess, emulator
from benchmarks.report import Aim, BenchmarkError, Figure
from benchmarks.start_up import warm_up
from dbgemu.engine.native import load_interpreter

_GROUP = "Linux guest"
PROMPT = b"mini2440:~# "
_LONGEST = 180.0
_IDLE_SECONDS = 5.0
#: the prompt is there, but processes that the guest's init started still finish
_SETTLE_SECONDS = 1.0
#: the same moment in each run
RTC_BASE = "2026-01-01T00:00:00"


@dataclass(frozen=True)
class Guest:
    """The files of the guest."""

    kernel: Path
    initrd: Path
    command_line: str


def find_guest(settings: Settings) -> Guest:
    """The guest in the settings' folder; BenchmarkError when it is not there."""
    folder = settings.guest
    kernel, initrd = folder / "zImage", folder / "initramfs.cpio.gz"
    for path in (kernel, initrd):
        if not path.is_file():
            raise BenchmarkError(f"there is no '{path}': --guest or DBGEMU_GUEST names the guest's folder")
    try:
        command_line = (folder / "cmdline.txt").read_text().strip()
    except OSError:
        command_line = "console=ttySAC0,115200 mini2440=0tb rdinit=/init"
    return Guest(kernel, initrd, command_line)


def boot_options(guest: Guest) -> list[str]:
    """The options that boot it, always at the same moment."""
    files = ("-kernel", str(guest.kernel), "-initrd", str(guest.initrd), "-append", guest.command_line)
    return [*files, "-rtc", f"base={RTC_BASE}", "-nographic"]


def boot_command(settings: Settings, guest: Guest) -> list[str]:
    """What boots it."""
    return [*settings.command, *boot_options(guest)]


def wait_for_prompt(process: EmulatorProcess) -> float:
    """Wait for the prompt; the time (s) since exec."""
    return process.wait_for(PROMPT, _LONGEST)


def measure_boot(settings: Settings) -> list[Figure]:
    """Wall time from exec to the prompt through the command line, and the idle guest's CPU use."""
    guest = find_guest(settings)
    warm_up(settings)
    command = boot_command(settings, guest)
    seconds, cpu, idle = [], [], []
    for number in range(settings.runs):
        settings.progress(f"Linux guest: run {number + 1} of {settings.runs}")
        with emulator(command, settings.environment()) as process:
            seconds.append(wait_for_prompt(process))
            cpu.append(process.cpu_seconds())
            time.sleep(_SETTLE_SECONDS)
            before, started = process.cpu_seconds(), time.perf_counter()
            time.sleep(_IDLE_SECONDS)
            used = process.cpu_seconds() - before
            idle.append(100 * used / (time.perf_counter() - started))
    return [
        Figure(_GROUP, "exec to the prompt", "s", seconds, aim=Aim(3.0, at_most=True)),
        Figure(_GROUP, "CPU time of that", "s", cpu),
        Figure(_GROUP, "idle at the prompt", "% of a core", idle, aim=Aim(5.0, at_most=True)),
    ]


def measure_devices(settings: Settings) -> list[Figure]:
    """One boot in a process of its own, with what it does counted (see ``counted_boot``)."""
    guest = find_guest(settings)
    load_interpreter()
    settings.progress("Linux guest: counting")
    plain = [_counted(settings, guest, count=False) for _ in range(settings.runs)]
    counted = _counted(settings, guest, count=True)
    instructions = counted["instructions"]
    if {run["instructions"] for run in plain} != {instructions}:
        settings.note(
            "boots of the Linux guest differ in their instruction counts:"
            f" {sorted({instructions, *(run['instructions'] for run in plain)})}"
        )
    reads, writes = counted["reads"], counted["writes"]
    return [
        Figure(_GROUP, "guest instructions to the prompt", "million", [instructions / 1e6], details=counted),
        Figure(
            _GROUP,
            "speed, set-up left out",
            "MIPS",
            [run["instructions"] / run["seconds"] / 1e6 for run in plain],
        ),
        Figure(_GROUP, "device accesses", "thousand", [(reads + writes) / 1e3]),
        Figure(_GROUP, "time in devices (counting boot)", "s", [counted["device_seconds"]]),
        Figure(_GROUP, "time in the run loop and timers", "s", [counted["loop_seconds"]]),
        Figure(_GROUP, "time waiting while idle", "s", [counted["waiting_seconds"]]),
        Figure(_GROUP, "time in guest code", "s", [counted["guest_seconds"]]),
        Figure(_GROUP, "returns to the run loop", "thousand", [counted["slices"] / 1e3]),
    ]


def _counted(settings: Settings, guest: Guest, *, count: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.counted_boot", str(guest.kernel), str(guest.initrd)]
    done = subprocess.run(
        [*command, guest.command_line, "count" if count else "plain"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=settings.environment(),
        timeout=2 * _LONGEST,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise BenchmarkError(f"the counted boot failed: {lines[-1]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result
