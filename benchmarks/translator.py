"""Translated code: CPU-bound programs against QEMU, and the Linux guest with and without it."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.counted_boot import make_board, run_to_prompt
from benchmarks.engine_speed import SCALE, checksums, kernel_marks
from benchmarks.guest_program import Mark, Program, compile_kernels, have_qemu, run_on_qemu
from benchmarks.harness import Settings
from benchmarks.linux_boot import PROMPT, find_guest
from benchmarks.report import Aim, BenchmarkError, Figure
from dbgemu.engine.native import NativeCode, load_interpreter
from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.jit import accelerate
from dbgemu.engine.translator.translator import Translator
from dbgemu.machine import Machine

_GROUP = "translator"
#: so often is the guest booted for the cache to become warm
_WARMING = 6
#: and each command is run so often before it is measured
_UNMEASURED = 3
#: name, command, MIPS that were to be reached
_COMMANDS = (
    ("dd | md5sum", "dd if=/dev/zero bs=64k count=1000 2>/dev/null | md5sum", 774),
    ("dd | gzip -9", "dd if=/dev/zero bs=64k count=1000 2>/dev/null | gzip -9 | wc -c", 957),
    ("shell loop", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done", 690),
    ("300 forks and execs", "i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done", 195),
)


def measure(settings: Settings) -> list[Figure]:
    """All figures of the group."""
    return [*measure_programs(settings), *measure_guest(settings)]


def measure_programs(settings: Settings) -> list[Figure]:
    """Each kernel's speed, and the geometric mean of the ratios, in steady state: all is compiled."""
    if not have_qemu():
        raise BenchmarkError("qemu-system-arm is not installed, and translated code is measured against it")
    code = load_interpreter()
    figures = []
    for state in ("ARM", "Thumb"):
        elf = compile_kernels(settings.scale or SCALE, thumb=state == "Thumb")
        sides: dict[str, Callable[[], list[Mark]]] = {
            "dbgemu": lambda elf=elf: _run_translated(elf, code),  # type: ignore[misc]
            "QEMU": lambda elf=elf: run_on_qemu(elf),  # type: ignore[misc]
        }
        runs = settings.interleave(sides, f"translator, {state}")
        if checksums(runs["dbgemu"][0]) != checksums(runs["QEMU"][0]):
            raise BenchmarkError("QEMU computes something else")
        ours = [kernel_marks(marks) for marks in runs["dbgemu"]]
        theirs = [kernel_marks(marks) for marks in runs["QEMU"]]
        ratios = []
        for name, mark in ours[0].items():
            count = (mark.instructions or 0) / 1e6
            own = [count / run[name].seconds for run in ours]
            peer = [count / run[name].seconds for run in theirs]
            aim = Aim(0.8, ratio=True)
            figure = Figure(_GROUP, f"{name}, {state}", "MIPS", own, "QEMU", peer, aim)
            ratios.append(median(figure.ratios))
            figures.append(figure)
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        figures.append(Figure(_GROUP, f"geometric mean of the ratios, {state}", "x", [mean], aim=Aim(1.3)))
    return figures


def _run_translated(elf: bytes, code: NativeCode) -> list[Mark]:
    """The program's second run on a CPU that has translated it in the first."""
    program = Program(elf, code)
    translator = Translator(program.cpu, AtOnce(), threshold=100, again=100, patience=1, batch=1)
    try:
        program.run()
        return program.run()
    finally:
        translator.close()


def measure_guest(settings: Settings) -> list[Figure]:
    """The Linux guest in this process: boots with tier 0 alone, a cold and a warm cache; user space."""
    guest = find_guest(settings)
    code = load_interpreter()

    def boot(cache: Path | None) -> tuple[Machine, Translator | None, float]:
        machine = Machine(make_board(guest.kernel, guest.initrd, guest.command_line), warp=True, code=code)
        translator = None
        if cache is not None:
            translator = accelerate(machine.cpu, cache)
        return machine, translator, run_to_prompt(machine)

    def timed(cache: Path | None) -> float:
        _, translator, seconds = boot(cache)
        if translator is not None:
            translator.close()
        return seconds

    with tempfile.TemporaryDirectory() as folder:
        warm = Path(folder) / "warm"
        for number in range(_WARMING):
            settings.progress(f"translator, warming the cache: boot {number + 1} of {_WARMING}")
            timed(warm)

        def cold() -> float:
            path = Path(folder) / "cold"
            path.unlink(missing_ok=True)
            return timed(path)

        runs = settings.interleave(
            {"tier 0": lambda: timed(None), "cold": cold, "warm": lambda: timed(warm)}, "translator, boot"
        )
        figures = [
            Figure(_GROUP, f"boot in process, {name}", "s", runs[name], "tier 0", runs["tier 0"], aim)
            for name, aim in (
                ("cold", Aim(1.0, at_most=True, ratio=True)),
                ("warm", Aim(0.59, at_most=True, ratio=True)),
            )
        ]
        machine, translator, _ = boot(warm)
        try:
            for name, command, aim_mips in _COMMANDS:
                settings.progress(f"translator, {name}")
                # some times unmeasured: the code is translated meanwhile
                mips = [_command(machine, command) for _ in range(_UNMEASURED + settings.runs)][_UNMEASURED:]
                figures.append(Figure(_GROUP, name, "MIPS", mips, aim=Aim(aim_mips)))
        finally:
            assert translator is not None
            translator.close()
    return figures


def _command(machine: Machine, command: str) -> float:
    """Type a command, run to the next prompt: million instructions a second of the host's time."""
    uart, output = machine.board.uarts[0], bytearray()

    def sent(character: int) -> None:
        output.append(character)
        if output.endswith(PROMPT):
            machine.request_stop()

    uart.on_transmit = sent
    before, started = machine.cpu.instructions, time.perf_counter()
    uart.receive(command.encode() + b"\r")
    machine.run()
    return (machine.cpu.instructions - before) / (time.perf_counter() - started) / 1e6
