"""The Linux guest as text: what commands of a monitor print. Errors are their sentences."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

from dbgemu.debug.linux.errors import LinuxError
from dbgemu.debug.symbols import SymbolsError

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession

_OFFSET = re.compile(r"[+-]?(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})")


def _sentence(function: Callable[[DebugSession], str]) -> Callable[[DebugSession], str]:
    @wraps(function)
    def call(session: DebugSession) -> str:
        try:
            return function(session)
        except LinuxError as error:
            return str(error)

    return call


@_sentence
def tasks(session: DebugSession) -> str:
    """A line for each task; ``*`` marks the one that has the CPU. Names of kernel threads are in brackets."""
    found, problem = session.linux.tasks()
    lines = ["   PID  PPID STATE         TABLE       PC          NAME"]
    for task in found:
        table = f"0x{task.table:08x}" if task.table is not None else "-"
        pc = session.cpu.read_register("pc") if task.current else task.registers["r15"]
        name = f"[{task.comm}]" if task.kernel_thread else task.comm
        mark = "*" if task.current else " "
        state = f"{task.state} {task.state_name}"
        place = session.symbols.describe(pc)
        line = f"{mark} {task.pid:4} {task.parent:5} {state:<13} {table:<10}  0x{pc:08x}  {name}"
        lines.append(f"{line}  {place}" if place else line)
    return "\n".join([*lines, problem] if problem else lines)


@_sentence
def dmesg(session: DebugSession) -> str:
    """The kernel's log as ``dmesg`` prints it."""
    return "\n".join(map(str, session.linux.log()))


@_sentence
def lsmod(session: DebugSession) -> str:
    """The modules as ``lsmod`` prints them, and where they are."""
    found, problem = session.linux.modules()
    lines = ["Module                  Size  Address     State      Used by"]
    for module in found:
        users = ",".join(module.users)
        line = f"{module.name:<20} {module.size:7}  0x{module.base:08x}  {module.state:<9}  "
        lines.append((line + f"{module.references} {users}").rstrip())
    return "\n".join([*lines, problem] if problem else lines)


def symbol_file(session: DebugSession, name: str, offset: str = "0") -> str:
    """Load the symbols of the ELF file ``name``, moved by ``offset`` bytes (decimal, or 0x…)."""
    if not _OFFSET.fullmatch(offset):
        return f"'{offset}' is no offset: write a number of bytes, decimal or with 0x"
    try:
        added = session.symbols.add(Path(name).expanduser(), int(offset, 0))
    except SymbolsError as error:
        return str(error)
    text = f"{len(added.symbols)} symbols of '{added.path}'"
    return text + (", a Linux kernel" if session.linux.known else "")
