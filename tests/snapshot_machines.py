"""Machines for the tests of snapshots, and the snapshots of several of them in one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dbgemu.debug.session import DebugSession
from dbgemu.debug.snapshots.book import Snapshots
from dbgemu.machine import Machine
from dbgemu.target.arm.assembler import assemble
from dbgemu.target.boot import BootPlan, Load
from dbgemu.target.mini2440 import Mini2440

START = 0x30008000
#: it counts in memory, and never waits
BUSY = """
    ldr r1, =0x30100000
loop:
    ldr r0, [r1]
    add r0, r0, #1
    str r0, [r1]
    b loop
"""
#: it waits for interrupts that do not come
IDLE = """
loop:
    mcr p15, 0, r0, c7, c0, 4
    b loop
"""
#: CLKCON's bit 3: the chip sleeps
SLEEP = """
    ldr r1, =0x4c00000c
    mov r0, #8
    str r0, [r1]
loop: b loop
"""


def machine_with(source: str = BUSY, **board: Any) -> Machine:
    """A machine that starts ``source`` as a bootloader would."""
    made = Mini2440(**board)
    program = Load(START, assemble(source, START), "the program")
    made.boot_plan = BootPlan("raw", (program,), START, False, 0, 1999, 0)
    return Machine(made, warp=True)


@contextmanager
def snapshots_in(folder: Path) -> Iterator[Callable[[Machine], Snapshots]]:
    """The snapshots in ``folder``, for any number of machines: each as in a process of its own."""
    sessions = []

    def make(machine: Machine) -> Snapshots:
        sessions.append(DebugSession(machine))
        return Snapshots(sessions[-1], folder)

    yield make
    for session in sessions:
        session.close()
