"""Breakpoint conditions through a real gdb: in the target, in turns with QEMU, for which gdb does it."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.guest_program import QEMU, QEMU_ENVIRONMENT, have_qemu, make_elf
from benchmarks.harness import Settings
from benchmarks.processes import EmulatorProcess, emulator, free_port
from benchmarks.report import Aim, BenchmarkError, Figure
from dbgemu.engine.native import load_interpreter
from dbgemu.target.arm.assembler import assemble_program

_GROUP = "breakpoint conditions, gdb"
#: a condition is false so often before it is true
_HITS = 5000
#: dbgemu alone: enough hits to see what one costs
_MANY_HITS = 5_000_000
_PRINTS = 1000
_LONGEST = 300.0
_GDB = next((path for path in map(shutil.which, ("gdb-multiarch", "arm-none-eabi-gdb")) if path), None)

#: r0 counts the rounds and memory at r2 holds the count too; what is run in between is the guest's work
_PROGRAM = """
start:
    ldr r2, ={counter:#x}
    mov r0, #0
loop:
    add r0, r0, #1
    str r0, [r2]
    mov r1, #{work}
work:
    subs r1, r1, #1
    bne work
    b loop
"""


class GdbProcess:
    """A gdb that is told lines and asked for what it prints."""

    def __init__(self, port: int) -> None:
        if _GDB is None:
            raise BenchmarkError("no gdb for ARM is installed (Debian: apt install gdb-multiarch)")
        self._process = subprocess.Popen(
            [_GDB, "--nx", "--quiet"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        for line in ("confirm off", "pagination off", "architecture armv4t", "breakpoint pending off"):
            self.ask(f"set {line}")
        self.ask(f"target remote :{port}")

    def ask(self, line: str) -> str:
        """What gdb prints for ``line``."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{line}\necho <done>\\n\n".encode())
        text, deadline = b"", time.monotonic() + _LONGEST
        while b"<done>\n" not in text:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
            if not data:
                raise BenchmarkError(f"gdb does not answer {line!r}: {text[-200:]!r}")
            text += data
        return text.decode("utf-8", "replace").replace("<done>\n", "")

    def run_to(self, place: int, condition: str) -> float:
        """Seconds from ``continue`` to the stop at the breakpoint at ``place`` with ``condition``."""
        self.ask(f"tbreak *{place:#x} if {condition}")
        started = time.perf_counter()
        text = self.ask("continue")
        taken = time.perf_counter() - started
        if "reakpoint" not in text:
            raise BenchmarkError(f"gdb did not come to the breakpoint: {text.strip()[-200:]!r}")
        return taken

    def print_at(self, place: int, condition: str) -> None:
        """Let the target print r0 when it comes to ``place`` and ``condition`` holds."""
        self.ask("set dprintf-style agent")
        number = re.search(r"Dprintf (\d+)", self.ask(f'dprintf *{place:#x},"round %d\\n",$r0'))
        if number is None:
            raise BenchmarkError("gdb sets no dprintf")
        self.ask(f"condition {number[1]} {condition}")

    def value(self, expression: str) -> int:
        """An integer."""
        match = re.search(r"-?\d+", self.ask(f"output/d {expression}").replace("(gdb)", ""))
        if match is None:
            raise BenchmarkError(f"gdb knows no {expression}")
        return int(match[0])

    def close(self) -> None:
        """End gdb."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()


class Side:
    """An emulator with the counting program, under a gdb of its own."""

    def __init__(
        self, stack: ExitStack, folder: Path, command: list[str], environment: dict[str, str], base: int
    ) -> None:
        source = _PROGRAM.format(counter=base + 0x1000, work=4)
        program = assemble_program(source, base)
        image, port = folder / f"{base:x}.elf", free_port()
        image.write_bytes(make_elf({base: program.data}, base))
        arguments = ["-nographic", "-kernel", str(image), "-S", "-gdb", f"tcp::{port}"]
        process: EmulatorProcess = stack.enter_context(emulator([*command, *arguments], environment))
        process.wait_for_port(port)[0].close()
        self._gdb = GdbProcess(port)
        stack.callback(self._gdb.close)
        self._place = program["work"] - 4
        self._other_place = program["loop"]
        self._counter = base + 0x1000
        self._gdb.run_to(self._place, "$r0 == 1")

    def speed_while_printing(self) -> float:
        """Speed left (%) with a thousand dprintfs a second, of that with a dprintf that never prints."""
        self._gdb.print_at(self._other_place, "$r0 == 0xffffffff")
        taken = self.hits(_MANY_HITS, memory=True)
        self._gdb.ask("delete")
        interval = 1 << max(1, int(_MANY_HITS / taken / _PRINTS - 1).bit_length())
        rounds = int(_MANY_HITS * interval / (_MANY_HITS / taken / _PRINTS))
        self._gdb.print_at(self._other_place, f"($r0 & {interval - 1}) == 0")
        printing = self.hits(rounds, memory=True)
        self._gdb.ask("delete")
        # the interval is a power of two: what the prints took, for as many as a thousand a second
        per_print = max(0.0, printing - taken * rounds / _MANY_HITS) / (rounds / interval)
        return 100 / (1 + per_print * _PRINTS)

    def hits(self, count: int, *, memory: bool) -> float:
        """Seconds for ``count`` hits of a false condition, of a register or of a word in memory."""
        target = self._gdb.value("$r0") + count
        counter = f"*(int *) {self._counter:#x}" if memory else "$r0"
        taken = self._gdb.run_to(self._place, f"{counter} == {target}")
        if self._gdb.value("$r0") != target:
            raise BenchmarkError("the guest stopped where the condition does not hold")
        return taken


def measure(settings: Settings) -> list[Figure]:
    """Figures of conditions that dbgemu evaluates, with QEMU as peer."""
    load_interpreter()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        own = Side(stack, folder, settings.command, settings.environment(), 0x30008000)
        sides = {"dbgemu": own}
        if have_qemu():
            sides["QEMU"] = Side(stack, folder, [QEMU, "-M", "versatilepb"], QEMU_ENVIRONMENT, 0x8000)
        else:
            settings.note("qemu-system-arm is not installed, so there is no comparison with it")
        figures = []
        for name, memory in (("a register", False), ("a word in memory", True)):
            what = f"{_HITS} false conditions on {name}"
            runs = settings.interleave(
                {side: partial(_rate, machine, memory) for side, machine in sides.items()}, what
            )
            peer = runs.get("QEMU", [])
            aim = Aim(100.0, ratio=True)
            figures.append(Figure(_GROUP, what, "hits/s", runs["dbgemu"], "QEMU" if peer else "", peer, aim))
        many = settings.interleave({"dbgemu": partial(_cost, own)}, "the cost of a hit")["dbgemu"]
        figures.append(Figure(_GROUP, "a round with a false hit", "ns", many, aim=Aim(1000.0, at_most=True)))
        left = settings.interleave({"dbgemu": own.speed_while_printing}, "dprintf")["dbgemu"]
        name = f"speed left at {_PRINTS} dprintfs a second"
        figures.append(Figure(_GROUP, name, "%", left, aim=Aim(80.0)))
        return figures


def _rate(side: Side, memory: bool) -> float:
    return _HITS / side.hits(_HITS, memory=memory)


def _cost(side: Side) -> float:
    """Nanoseconds of a round of the loop, with its hit: an upper bound."""
    return side.hits(_MANY_HITS, memory=True) / _MANY_HITS * 1e9
