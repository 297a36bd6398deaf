"""``info tasks``, ``dmesg`` and ``lsmod`` on a booted guest; the tasks' tables can be looked into."""

from __future__ import annotations

import pytest
from linux_guest import LinuxGuest, guest_folder

from dbgemu.debug.session import DebugSession
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.monitor import Monitor


@pytest.fixture(scope="module")
def monitor() -> Monitor:
    guest = LinuxGuest()
    guest.boot()
    session = DebugSession(guest.machine)
    monitor = Monitor(session)
    with pytest.raises(CommandError, match="no kernel symbols are loaded"):
        monitor.run("info tasks")
    session.symbols.add(guest_folder() / "vmlinux")
    return monitor


def test_tasks_are_listed_and_one_has_the_cpu(monitor: Monitor) -> None:
    report = monitor.run("info tasks")
    tasks = {task["pid"]: task for task in report.data["tasks"]}
    assert (tasks[1]["comm"], tasks[2]["comm"]) == ("init", "kthreadd")
    assert "[kthreadd]" in report.text
    assert sum(task["current"] for task in tasks.values()) == 1
    assert report.data["problem"] == ""


def test_a_tasks_table_is_one_that_walk_takes(monitor: Monitor) -> None:
    tasks = {task["pid"]: task for task in monitor.run("info tasks").data["tasks"]}
    table = tasks[1]["table"]
    user = [row for row in monitor.run(f"info tlb ttb={table}").data if row["virtual"] < 0xC0000000]
    assert user
    found = monitor.run(f"walk {user[0]['virtual']} ttb={table}").data
    assert found["physical"] == user[0]["physical"]


def test_the_log_is_the_whole_one_or_its_end(monitor: Monitor) -> None:
    lines = monitor.run("dmesg").text.splitlines()
    assert lines[0].endswith("Booting Linux on physical CPU 0x0")
    assert monitor.run("dmesg 2").text.splitlines() == lines[-2:]
    with pytest.raises(CommandError, match="at least 1 record"):
        monitor.run("dmesg 0")


def test_lsmod_of_a_kernel_without_modules_is_a_heading(monitor: Monitor) -> None:
    report = monitor.run("lsmod")
    assert report.text == "module                    size  base      state      used by"
    assert report.data == {"modules": [], "problem": ""}
