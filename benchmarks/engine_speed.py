"""The engine on a CPU-bound program: dbgemu, QEMU and Unicorn in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from benchmarks.guest_program import (
    Mark,
    compile_kernels,
    have_qemu,
    have_unicorn,
    run_on_engine,
    run_on_qemu,
    run_on_unicorn,
)
from benchmarks.harness import Settings
from benchmarks.report import Aim, BenchmarkError, Figure
from dbgemu.engine.native import load_interpreter

#: millions of instructions, roughly, of each kernel
SCALE = 80
_GROUP = "engine: CPU-bound program"
#: dbgemu's speed over each peer's, with the interpreter alone
_AIMS = {"QEMU": 0.2, "Unicorn": 1.5}

Runner = Callable[[bytes], list[Mark]]


def kernel_marks(marks: Sequence[Mark]) -> dict[str, Mark]:
    """The marks of the measured kernels by name: all behind the line that says ``start``."""
    named = [(mark.text.partition(" ")[0], mark) for mark in marks]
    names = [name for name, _ in named]
    if "start" not in names:
        raise BenchmarkError(f"the program did not run: {' / '.join(mark.text for mark in marks)}")
    return dict(named[names.index("start") + 1 :])


def checksums(marks: Sequence[Mark]) -> list[str]:
    """What each kernel computed."""
    return [mark.text for mark in kernel_marks(marks).values()]


def measure(settings: Settings) -> list[Figure]:
    """Figures for ARM and for Thumb."""
    code = load_interpreter()
    runners: dict[str, Runner] = {"dbgemu": lambda elf: run_on_engine(elf, code)}
    if have_qemu():
        runners["QEMU"] = run_on_qemu
    else:
        settings.note("qemu-system-arm is not installed, so there is no comparison with it")
    if have_unicorn():
        runners["Unicorn"] = run_on_unicorn
    else:
        settings.note("Unicorn is not installed, so there is no comparison with it")
    figures = []
    for state in ("ARM", "Thumb"):
        elf = compile_kernels(settings.scale or SCALE, thumb=state == "Thumb")
        runs = settings.interleave(
            {name: partial(run, elf) for name, run in runners.items()}, f"engine, {state}"
        )
        figures += _figures(state, runs)
    return figures


def _figures(state: str, runs: dict[str, list[list[Mark]]]) -> list[Figure]:
    first = checksums(runs["dbgemu"][0])
    for name, results in runs.items():
        for marks in results:
            if checksums(marks) != first:
                raise BenchmarkError(f"{name} computes {checksums(marks)}, dbgemu {first}")
    counts = {name: mark.instructions or 0 for name, mark in kernel_marks(runs["dbgemu"][0]).items()}
    total = sum(counts.values())

    def mips(name: str) -> list[float]:
        marks = [kernel_marks(result).values() for result in runs[name]]
        return [total / sum(mark.seconds for mark in run) / 1e6 for run in marks]

    def by_kernel(name: str) -> dict[str, float]:
        marks = [kernel_marks(result) for result in runs[name]]
        return {
            kernel: round(count / median(run[kernel].seconds for run in marks) / 1e6, 1)
            for kernel, count in counts.items()
        }

    return [
        Figure(
            _GROUP,
            f"{state}, against {peer}" if peer else state,
            "MIPS",
            mips("dbgemu"),
            peer,
            mips(peer) if peer else (),
            Aim(_AIMS[peer], ratio=True) if peer else None,
            {
                "instructions": counts,
                "mips_by_kernel": by_kernel("dbgemu"),
                "peer_mips_by_kernel": by_kernel(peer) if peer else {},
            },
        )
        for peer in [name for name in runs if name != "dbgemu"] or [""]
    ]
