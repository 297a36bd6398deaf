"""What tracing costs: the Linux boot and a CPU-bound program, with a trace to a file and without."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.counted_boot import make_board, run_to_prompt
from benchmarks.engine_speed import kernel_marks
from benchmarks.guest_program import (
    Mark,
    Program,
    compile_kernels,
    have_qemu,
    run_on_engine,
    run_on_qemu,
)
from benchmarks.harness import Settings
from benchmarks.linux_boot import find_guest
from benchmarks.report import Aim, BenchmarkError, Figure
from dbgemu.engine.cpu import Cpu
from dbgemu.engine.native import NativeCode, load_interpreter
from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.translator import Translator
from dbgemu.machine import Machine
from dbgemu.target.clock import VirtualClock
from dbgemu.trace.format import Header
from dbgemu.trace.reader import open_trace
from dbgemu.trace.recorder import Recorder
from dbgemu.trace.sinks import FileSink
from dbgemu.trace.tracer import Tracer

_GROUP = "tracing"
#: millions of instructions, roughly, of each kernel; QEMU writes some 100 bytes for each block
_SCALE, _LOGGED_SCALE = 40, 1


def measure(settings: Settings) -> list[Figure]:
    """Figures of the boot, then of the program."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        return [*_boot(settings, path), *_program(settings, path), *_translated(settings, path)]


def _boot(settings: Settings, folder: Path) -> list[Figure]:
    guest = find_guest(settings)
    code = load_interpreter()
    path = folder / "boot.dbgtrace"
    executed: set[int] = set()

    def boot(spec: str) -> float:
        machine = Machine(make_board(guest.kernel, guest.initrd, guest.command_line), warp=True, code=code)
        tracer = Tracer(machine)
        if spec:
            tracer.start(spec, path)
        seconds = run_to_prompt(machine)
        tracer.stop()
        executed.add(machine.cpu.instructions)
        return seconds

    specs = {"plain": "", "mmio": "mmio", "tb_exec": "tb_exec"}
    runs = settings.interleave({name: partial(boot, spec) for name, spec in specs.items()}, "boot")
    if len(executed) != 1:
        settings.note(f"boots differ in their instruction counts: {sorted(executed)}")
    boot("tb_exec")  # the file of the last run may be of another kind
    with open_trace(path) as trace:
        blocks, instructions = trace.blocks, trace.instructions
    if instructions not in executed:
        raise BenchmarkError(f"the trace has {instructions} instructions, executed were {sorted(executed)}")
    size = path.stat().st_size
    details = {"blocks": blocks, "instructions": instructions, "bytes": size}
    plain = runs["plain"]
    within = partial(Aim, at_most=True, ratio=True)
    return [
        Figure(_GROUP, "boot with tb_exec to a file", "s", runs["tb_exec"], "no trace", plain, within(2.0)),
        Figure(_GROUP, "boot with all mmio events", "s", runs["mmio"], "no trace", plain, within(1.5)),
        Figure(
            _GROUP, "size of a block", "bytes", [size / blocks], aim=Aim(3.0, at_most=True), details=details
        ),
    ]


def _program(settings: Settings, folder: Path) -> list[Figure]:
    code = load_interpreter()
    program = compile_kernels(settings.scale or _SCALE, thumb=False)
    small = compile_kernels(_LOGGED_SCALE, thumb=False)
    total = _instructions(run_on_engine(program, code))
    few = _instructions(run_on_engine(small, code))
    sides: dict[str, Callable[[], float]] = {
        "plain": lambda: _seconds(run_on_engine(program, code)) / total,
        "traced": lambda: _traced(program, code, folder / "program.dbgtrace") / total,
    }
    if have_qemu():
        log = folder / "qemu.log"
        sides["qemu"] = lambda: _seconds(run_on_qemu(program)) / total
        sides["qemu logs"] = lambda: _seconds(run_on_qemu(small, "-d", "exec,nochain", "-D", str(log))) / few
    else:
        settings.note("qemu-system-arm is not installed, so there is no comparison with it")
    runs = settings.interleave(sides, "CPU-bound program")
    nanoseconds = {name: [1e9 * value for value in values] for name, values in runs.items()}

    def added(name: str, base: str) -> list[float]:
        if name not in nanoseconds:
            return []
        return [one - other for one, other in zip(nanoseconds[name], nanoseconds[base], strict=True)]

    peer = "QEMU's -d exec,nochain" if "qemu" in sides else ""
    slower = [one / other for one, other in zip(runs["traced"], runs["plain"], strict=True)]
    return [
        Figure(
            _GROUP,
            "added to an instruction of the CPU-bound program",
            "ns",
            added("traced", "plain"),
            peer,
            added("qemu logs", "qemu"),
            Aim(1 / 50, at_most=True, ratio=True) if peer else None,
            {"ns_an_instruction": nanoseconds},
        ),
        Figure(_GROUP, "time of it, traced, against untraced", "x", slower),
    ]


def _translated(settings: Settings, folder: Path) -> list[Figure]:
    """The CPU-bound program in steady state: all of it is translated.

    By CPU time of the thread that executes; what packs the file runs on another one beside it.
    """
    code = load_interpreter()
    figures = []
    for state in ("ARM", "Thumb"):
        elf = compile_kernels(settings.scale or _SCALE, thumb=state == "Thumb")
        programs, translators = [], []
        sink = FileSink(folder / f"{state}.dbgtrace", Header(spec="tb_exec", kinds=("tb_exec",)))
        for traced in (False, True):
            program = Program(elf, code)
            translators.append(
                Translator(program.cpu, AtOnce(), threshold=100, again=100, patience=1, batch=1)
            )
            if traced:
                recorder = Recorder(program.cpu, VirtualClock(), sink)
                recorder.start(blocks=True, kinds=0)
            program.run()
            programs.append(program)

        def run(program: Program) -> tuple[float, float]:
            before, all_before = time.thread_time(), time.process_time()
            program.run()
            return time.thread_time() - before, time.process_time() - all_before

        sides = {
            name: partial(run, program) for name, program in zip(("plain", "traced"), programs, strict=True)
        }
        runs = settings.interleave(sides, f"translated CPU-bound program, {state}")
        recorder.stop()
        sink.close()
        for translator in translators:
            translator.close()
        plain, traced_runs = runs["plain"], runs["traced"]
        figures.append(
            Figure(
                _GROUP,
                f"translated CPU-bound program with tb_exec, {state}",
                "s",
                [own for own, _ in traced_runs],
                "no trace",
                [own for own, _ in plain],
                Aim(1.5, at_most=True, ratio=True),
                {"with_packing": [a[1] / b[1] for a, b in zip(traced_runs, plain, strict=True)]},
            )
        )
    return figures


def _instructions(marks: list[Mark]) -> int:
    return sum(mark.instructions or 0 for mark in kernel_marks(marks).values())


def _seconds(marks: list[Mark]) -> float:
    return sum(mark.seconds for mark in kernel_marks(marks).values())


def _traced(program: bytes, code: NativeCode, path: Path) -> float:
    sink = FileSink(path, Header(spec="tb_exec", kinds=("tb_exec",)))
    recorders: list[Recorder] = []

    def prepare(cpu: Cpu) -> None:
        recorder = Recorder(cpu, VirtualClock(), sink)
        recorder.start(blocks=True, kinds=0)
        recorders.append(recorder)

    seconds = _seconds(run_on_engine(program, code, prepare))
    recorders[0].stop()
    sink.close()
    return seconds
