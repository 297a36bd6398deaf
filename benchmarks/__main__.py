"""``python -m benchmarks``: measures, prints a table, writes JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    boot_parts,
    conditions,
    engine_speed,
    gdb_server,
    linux_boot,
    memory,
    mmio,
    start_up,
    tracing,
    translator,
    warm_start,
)
from benchmarks.harness import Settings, split_command
from benchmarks.report import BenchmarkError, Figure, as_json, environment, table

#: what can be measured, in this order
GROUPS: dict[str, tuple[Callable[[Settings], list[Figure]], str]] = {
    "engine": (engine_speed.measure, "a CPU-bound program, against QEMU and Unicorn"),
    "mmio": (mmio.measure, "accesses to device registers, against QEMU"),
    "start": (start_up.measure, "from exec to the first guest output and to the GDB port, against QEMU"),
    "gdb": (gdb_server.measure, "steps, registers and memory through the GDB server, against QEMU"),
    "conditions": (conditions.measure, "false breakpoint conditions through gdb, against QEMU"),
    "tracing": (tracing.measure, "what recording executed blocks and device accesses costs, against QEMU"),
    "translator": (translator.measure, "translated code: against QEMU, and the Linux guest's user space"),
    "boot-parts": (boot_parts.measure, "where the Linux boot's time goes, by tier, devices and translation"),
    "memory": (memory.measure, "what the translator takes of memory while Linux boots"),
    "warm-start": (warm_start.measure, "what the translator adds to a start, with a full cache too"),
    "boot": (linux_boot.measure_boot, "the Linux guest to its prompt, then idle"),
    "devices": (linux_boot.measure_devices, "the same boot with every device access counted"),
}


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    lines = "\n".join(f"  {name:<10} {text}" for name, (_, text) in GROUPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure dbgemu. Groups of figures:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="GROUP,...", help="measure these groups alone")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="runs of each side (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    parser.add_argument("--scale", type=int, default=0, metavar="N", help="size of the CPU-bound program")
    parser.add_argument("--guest", type=Path, metavar="DIR", help="the Linux guest ($DBGEMU_GUEST)")
    parser.add_argument("--dbgemu", metavar="COMMAND", help="starts dbgemu (default: this Python -m dbgemu)")
    found = parser.parse_args(words)
    found.groups = list(GROUPS) if found.only is None else found.only.split(",")
    for name in found.groups:
        if name not in GROUPS:
            parser.error(f"there is no group '{name}': there are {', '.join(GROUPS)}")
    if found.runs < 1:
        parser.error(f"--runs is {found.runs}: at least one is needed")
    if found.json is not None and not found.json.resolve().parent.is_dir():
        parser.error(f"there is no folder '{found.json.parent}' to write '{found.json.name}' in")
    return found


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmarks; 1 when a group could not be measured."""
    arguments = _arguments(words)
    settings = Settings(runs=arguments.runs, scale=arguments.scale, progress=_progress)
    if arguments.guest is not None:
        settings.guest = arguments.guest
    if arguments.dbgemu is not None:
        settings.command = split_command(arguments.dbgemu)
    about = environment()
    figures: list[Figure] = []
    failed = False
    for name in arguments.groups:
        measure, _ = GROUPS[name]
        try:
            figures += measure(settings)
        except BenchmarkError as error:
            settings.note(f"{name}: {error}")
            failed = True
    _progress("")
    if figures:
        print(table(figures))
    for note in settings.notes:
        print(f"note: {note}")
    if arguments.json is not None:
        text = json.dumps(as_json(figures, settings.notes, about), indent=2)
        arguments.json.write_text(text + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
