"""A real gdb, driven through its machine interface, and real machines for it to debug."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from linux_guest import guest_folder
from pygdbmi.gdbcontroller import GdbController
from support import serve

from dbgemu.debug.session import DebugSession
from dbgemu.machine import Machine
from dbgemu.monitor.monitor import Monitor
from dbgemu.target.boot import plan_boot
from dbgemu.target.mini2440 import Mini2440

GDB = next((path for path in map(shutil.which, ("gdb-multiarch", "arm-none-eabi-gdb")) if path), None)
GCC = shutil.which("arm-none-eabi-gcc")

needs_gdb = pytest.mark.skipif(GDB is None, reason="no gdb for ARM is installed")
needs_gcc = pytest.mark.skipif(GCC is None, reason="arm-none-eabi-gcc is not installed")

#: what a test may take for one answer of gdb (s)
_PATIENCE = 20


def guest_file(name: str) -> Path:
    """A file of the Linux guest (see :func:`linux_guest.guest_folder`)."""
    return guest_folder() / name


def compile_program(folder: Path, source: str, *options: str) -> Path:
    """An ELF file for address 0x30008000, with line numbers."""
    assert GCC is not None
    c_file, elf = folder / "program.c", folder / "program.elf"
    c_file.write_text(source)
    flags = ["-mcpu=arm920t", "-g", "-O0", "-ffreestanding", "-nostdlib", "-Ttext=0x30008000", *options]
    subprocess.run([GCC, *flags, "-o", str(elf), str(c_file)], check=True)
    return elf


def machine_with(kernel: Path, **options: Any) -> Machine:
    """A board that has ``kernel`` loaded and stands at its first instruction."""
    board = Mini2440()
    board.boot_plan = plan_boot(kernel.read_bytes(), kernel.name, memory_size=64 << 20, **options)
    return Machine(board)


class Gdb:
    """One gdb process. ``commands`` gives what a command prints; stops are waited for."""

    def __init__(self, elf: Path | None = None) -> None:
        assert GDB is not None
        command = [GDB, "--nx", "--quiet", "--interpreter=mi3"]
        self._controller = GdbController(command if elf is None else [*command, str(elf)])
        self._pending: list[dict[str, Any]] = []
        #: all that was printed so far: for messages of failed tests
        self.log: list[str] = []
        for line in ("set confirm off", "set pagination off", "set architecture armv4t", "set width 0"):
            self.execute(line)

    def _read(self) -> list[dict[str, Any]]:
        found = self._controller.get_gdb_response(timeout_sec=0.05, raise_error_on_timeout=False)
        self.log += [str(item["payload"]) for item in found]
        return found

    def execute(self, command: str, *, fails: bool = False) -> str:
        """Run a command; what it prints (and its error, which must come when it ``fails``)."""
        quoted = command.replace("\\", "\\\\").replace('"', '\\"')
        self._controller.write(f'-interpreter-exec console "{quoted}"', read_response=False)
        text = ""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            items = self._read()
            for place, item in enumerate(items):
                if item["type"] in ("console", "target"):
                    text += item["payload"]
                elif item["type"] == "notify" and item["message"] == "stopped":
                    self._pending.append(item["payload"])
                elif item["type"] == "result":
                    error = item["payload"]["msg"] if item["message"] == "error" else ""
                    assert bool(error) == fails, f"{command}: {error or text}"
                    self._pending += [
                        later["payload"] for later in items[place:] if later["message"] == "stopped"
                    ]
                    return text + error
        raise AssertionError(f"gdb does not answer {command!r}: {self.log[-20:]}")

    def stop(self) -> dict[str, Any]:
        """The next stop: MI's reason, frame and so on."""
        deadline = time.monotonic() + _PATIENCE
        while not self._pending:
            assert time.monotonic() < deadline, f"gdb sees no stop: {self.log[-20:]}"
            self._pending += [item["payload"] for item in self._read() if item["message"] == "stopped"]
        return self._pending.pop(0)

    def run(self, command: str) -> dict[str, Any]:
        """Run a command that resumes the guest, and wait for the stop."""
        self._pending.clear()
        self.execute(command)
        return self.stop()

    def interrupt(self) -> dict[str, Any]:
        """Press ctrl-C and wait for the stop."""
        assert self._controller.gdb_process is not None
        self._controller.gdb_process.send_signal(signal.SIGINT)
        return self.stop()

    def value(self, expression: str) -> int:
        """The value of an expression."""
        return int(self.execute(f"output/d {expression}"))

    def close(self) -> None:
        """End gdb."""
        process = self._controller.gdb_process
        self._controller.exit()
        if process is not None:
            process.wait(10)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


@contextmanager
def debugged(machine: Machine, elf: Path | None = None) -> Iterator[tuple[Gdb, DebugSession, str]]:
    """A gdb that is connected to ``machine``, the session, and where its server listens (for gdb)."""
    session = DebugSession(machine)
    try:
        with serve(session, monitor=Monitor(session).execute) as server:
            place = f"{server.endpoint.host}:{server.endpoint.port}"
            gdb = Gdb(elf)
            try:
                gdb.execute(f"target remote {place}")
                gdb.stop()
                yield gdb, session, place
            finally:
                gdb.close()
    finally:
        session.close()
