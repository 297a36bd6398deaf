#!/usr/bin/env python3
"""Collect a trace of a piece of Linux's boot with a real GDB, driven through pygdbmi.

    .venv/bin/python scripts/gdb_trace.py --from start_kernel --to rest_init

GDB says where the trace begins and ends: it stops at two functions, and starts and ends the trace with
``monitor trace``. The script serves GDB itself, and reads the trace when GDB has let go.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from boot_trace import accesses, functions
from linux_board import ScriptError, arguments_for, find_guest, linux_board, run, table, writable

import dbgemu

#: any single answer of GDB (s), reading the symbols included
_PATIENCE = 120


class Gdb:
    """A GDB process."""

    def __init__(self, program: str, symbols: Path) -> None:
        try:
            from pygdbmi.gdbcontroller import GdbController
        except ImportError:
            raise ScriptError("pygdbmi is not installed: run scripts/setup --test") from None
        command = [program, "--nx", "--quiet", "--interpreter=mi4", str(symbols)]
        self._controller = GdbController(command, time_to_check_for_additional_output_sec=0)
        self._unread: deque[dict[str, Any]] = deque()

    def execute(self, command: str) -> None:
        """Have a console command executed. ScriptError when GDB refuses it."""
        quoted = command.replace("\\", "\\\\").replace('"', '\\"')
        self._controller.write(f'-interpreter-exec console "{quoted}"', read_response=False)
        for item in self._answers(command):
            if item["type"] == "result":
                if item["message"] == "error":
                    raise ScriptError(f"gdb refuses '{command}': {item['payload']['msg']}")
                return

    def resume(self) -> dict[str, Any]:
        """Continue to the next stop: what MI tells of its frame."""
        self.execute("continue")
        for item in self._answers("continue"):
            if item["message"] == "stopped":
                frame: dict[str, Any] = item["payload"]["frame"]
                return frame
        raise AssertionError("answers end with an error only")

    def _answers(self, command: str) -> Iterator[dict[str, Any]]:
        """What GDB says, in order."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            while self._unread:
                yield self._unread.popleft()
            if time.monotonic() > deadline:
                raise ScriptError(f"gdb did not answer '{command}' within {_PATIENCE} seconds")
            self._unread += self._controller.get_gdb_response(timeout_sec=0.2, raise_error_on_timeout=False)

    def close(self) -> None:
        """End it."""
        process = self._controller.gdb_process
        self._controller.exit()
        if process is not None:
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def collect(arguments: argparse.Namespace) -> None:
    """Serve GDB, have it collect the trace, and print what is in it."""
    guest, output = find_guest(arguments.guest), writable(arguments.output).resolve()
    names = [arguments.gdb] if arguments.gdb else ["gdb-multiarch", "arm-none-eabi-gdb"]
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        raise ScriptError(f"there is no {' or '.join(names)}: install one, or name yours with --gdb")
    with linux_board(guest) as board:
        place = board.serve_gdb().removeprefix("tcp:")
        gdb = Gdb(program, guest / "vmlinux")
        try:
            for setting in ("confirm off", "pagination off", "breakpoint pending off"):
                gdb.execute(f"set {setting}")
            gdb.execute(f"target remote {place}")
            # The kernel is not unpacked yet: nothing can be written where it will be.
            gdb.execute(f"hbreak {arguments.first}")
            frame = gdb.resume()
            print(f"gdb: {frame['func']} at {frame['addr']}")
            gdb.execute(f"monitor trace start tb_exec,mmio,file={output}")
            gdb.execute(f"tbreak {arguments.last}")
            frame = gdb.resume()
            print(f"gdb: {frame['func']} at {frame['addr']}")
            gdb.execute("monitor trace stop")
            gdb.execute("detach")
        finally:
            gdb.close()
            board.halt()
        with dbgemu.open_trace(output) as trace:
            print(f"{trace.instructions} instructions in {trace.blocks} blocks: {arguments.output}\n")
            print(table(functions(trace, board)[:10], ("instructions", "function")))
            print()
            print(table(accesses(trace), ("reads", "writes", "device")))


def main(words: Sequence[str] | None = None) -> int:
    """Understand the arguments; the exit status."""
    parser = arguments_for(__doc__)
    parser.add_argument("--from", dest="first", default="start_kernel", metavar="FUNCTION")
    parser.add_argument("--to", dest="last", default="rest_init", metavar="FUNCTION")
    parser.add_argument("--output", type=Path, metavar="FILE", help="keep the trace")
    parser.add_argument("--gdb", metavar="COMMAND", help="GDB 13 or later (default: gdb-multiarch)")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.output is None:
            arguments.output = Path(folder) / "gdb.dbgtrace"
        return run("gdb_trace", lambda: collect(arguments))


if __name__ == "__main__":
    sys.exit(main())
