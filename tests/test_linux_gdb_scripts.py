"""The kernel's own GDB commands, loaded by scripts/linux-gdb.py, on a Linux guest at its prompt."""

import subprocess
from pathlib import Path

import pytest
from linux_guest import LinuxGuest, guest_folder
from real_gdb import GDB, needs_gdb
from support import serve

from dbgemu.debug.session import DebugSession

pytestmark = needs_gdb

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "linux-gdb.py"
_COMMANDS = ("lx-version", "lx-dmesg", "lx-ps", "lx-lsmod", "lx-mounts")


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    """What each command prints, and under 'guest ...' what the guest itself says."""
    assert GDB is not None
    guest = LinuxGuest()
    guest.boot()
    guest.command("mount -t tmpfs none /mnt; modprobe usb-storage")
    # Modules lie where each process gets its mappings as it needs them: the shell, by this.
    guest.command("read line < /proc/modules")
    found = {f"guest {name}": guest.command(name) for name in ("lsmod", "mount", "dmesg", "ps")}
    session = DebugSession(guest.machine)
    try:
        with serve(session) as server:
            lines = [
                "set pagination off",
                "set width 0",
                f"target remote {server.endpoint.host}:{server.endpoint.port}",
                f"source {SCRIPT}",
            ]
            for command in _COMMANDS:
                lines += [f"echo \\n=={command}==\\n", command]
            arguments = [word for line in lines for word in ("-ex", line)]
            done = subprocess.run(
                [GDB, "--nx", "--batch", "-iex", "set auto-load off", *arguments, guest_folder() / "vmlinux"],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
    finally:
        session.close()
    for command in _COMMANDS:
        text = done.stdout.partition(f"=={command}==\n")[2].partition("\n==lx-")[0]
        assert text, done.stdout + done.stderr
        found[command] = text
    return found


def test_lx_version_is_the_banner(answers) -> None:
    assert answers["lx-version"].startswith("Linux version 6.1.")
    assert answers["lx-version"].strip() in answers["guest dmesg"]


def test_lx_dmesg_is_the_whole_log(answers) -> None:
    def texts(log: str) -> list[str]:
        return [line.partition("] ")[2].rstrip() for line in log.splitlines() if "] " in line]

    expected = texts(answers["guest dmesg"])
    assert len(expected) > 100
    assert texts(answers["lx-dmesg"])[: len(expected)] == expected


def test_lx_ps_lists_the_guests_tasks(answers) -> None:
    tasks = [line.split() for line in answers["lx-ps"].splitlines()[1:]]
    names = {int(task[1]): task[2] for task in tasks if len(task) > 2}
    assert names[0].startswith("swapper")
    assert names[1] == "init"
    assert names[2] == "kthreadd"
    for line in answers["guest ps"].splitlines()[1:]:
        if "ps" not in line.split()[-1:]:
            assert int(line.split()[0]) in names, line


def test_lx_lsmod_lists_the_guests_modules(answers) -> None:
    ours = {line.split()[1] for line in answers["lx-lsmod"].splitlines() if line.startswith("0x")}
    theirs = {
        line.split()[0] for line in answers["guest lsmod"].splitlines() if line and "Module" not in line
    }
    assert "usb_storage" in theirs
    assert ours == theirs, repr(answers["lx-lsmod"])


def test_lx_mounts_lists_the_guests_mounts(answers) -> None:
    ours = {tuple(line.split()[3:5]) for line in answers["lx-mounts"].splitlines()[1:]}
    theirs = {(words[2], words[4]) for words in map(str.split, answers["guest mount"].splitlines())}
    assert ("/mnt", "tmpfs") in theirs
    assert theirs <= ours
