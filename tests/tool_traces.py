"""What the tests of ``dbgemu-trace`` share: a small program with symbols and source, and traces of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path, PurePath
from unittest.mock import patch

from dbgemu.demo.elf import write_elf
from dbgemu.machine import Machine
from dbgemu.target.arm.assembler import Program, assemble_program
from dbgemu.target.boot import BootPlan, Load
from dbgemu.target.mini2440 import Mini2440
from dbgemu.trace.cli import main
from dbgemu.trace.tracer import Tracer

START = 0x30008000

SOURCE = """\
start:
    ldr sp, =0x30200000
    ldr r4, =0x56000010         @ GPBCON
    ldr r0, =0x00000400         @ GPB5 is an output
    str r0, [r4]
    mov r6, #0
1:  add r6, r6, #1
    and r0, r6, #1
    mov r0, r0, lsl #5
    str r0, [r4, #4]
    bl outer
    cmp r6, #TURNS
    bne 1b
    bl speak
    ldr r4, =0x51000000         @ timer 4
    mov r0, #20
    str r0, [r4, #0x3c]
    ldr r0, =0x00200000
    str r0, [r4, #8]
    ldr r0, =0x00100000
    str r0, [r4, #8]
stop:
    b stop
outer:
    push {lr}
    bl inner
    bl inner
    cmp r6, #300
    blgt never
    pop {pc}
inner:
    add r7, r7, #1
    mov pc, lr
never:
    mov pc, lr
speak:
    ldr r5, =0x50000000         @ UART 0
    mov r0, #3
    str r0, [r5]
    mov r0, #5
    str r0, [r5, #4]
    adr r1, 3f
2:  ldrb r0, [r1], #1
    cmp r0, #0
    moveq pc, lr
    strb r0, [r5, #0x20]
1:  ldr r0, [r5, #0x10]         @ UTRSTAT: until it has left
    tst r0, #4
    beq 1b
    b 2b
3:  .asciz "Hi there\\n"
    .align 2
    .ltorg
"""
TURNS = 12


@dataclass
class Traced:
    """A trace of the program, and what it is of."""

    path: Path
    elf: Path
    source: Path
    program: Program
    machine: Machine

    @property
    def symbols(self) -> list[str]:
        """The options that name the symbol file."""
        return ["--symbols", str(self.elf)]


def record(folder: Path, spec: str = "all", turns: int = TURNS, instructions: int = 60_000) -> Traced:
    """Run the program, ``turns`` times round its loop, and trace it."""
    folder.mkdir(exist_ok=True)
    text = SOURCE.replace("TURNS", str(turns))
    source, elf, path = folder / "small.s", folder / "small.elf", folder / "small.dbgtrace"
    source.write_text(text)
    program = assemble_program(text, START)
    elf.write_bytes(write_elf(program, START, [(PurePath(source), text.count("\n"))]))
    board = Mini2440()
    load = Load(START, program.data, "the program")
    board.boot_plan = BootPlan("raw", (load,), START, False, 0, 1999, 0)
    machine = Machine(board, warp=True)
    tracer = Tracer(machine)
    tracer.start(spec, path)
    machine.run(instructions)
    tracer.stop()
    return Traced(path, elf, source, program, machine)


@dataclass
class Result:
    """How a command ended."""

    status: int
    data: bytes
    error: str

    @property
    def text(self) -> str:
        """What it printed."""
        return self.data.decode()

    @property
    def lines(self) -> list[str]:
        """The same by line."""
        return self.text.splitlines()


def run(*arguments: object) -> Result:
    """``dbgemu-trace`` in this process."""
    out, error = BytesIO(), StringIO()
    wrapped = TextIOWrapper(out, "utf-8", write_through=True)
    with redirect_stdout(wrapped), redirect_stderr(error), patch.object(sys, "argv", ["dbgemu-trace"]):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        wrapped.flush()
    return Result(status, out.getvalue(), error.getvalue())


def done(*arguments: object) -> Result:
    """The same of a command that must succeed."""
    result = run(*arguments)
    assert (result.status, result.error) == (0, ""), result
    return result


def piped(*arguments: object) -> subprocess.Popen[bytes]:
    """``dbgemu-trace`` as a process of its own."""
    command = [sys.executable, "-m", "dbgemu.trace", *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def numbers(lines: list[str]) -> Iterator[list[str]]:
    """Rows of tables, split at blanks."""
    for line in lines:
        yield line.split()
