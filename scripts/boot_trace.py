#!/usr/bin/env python3
"""Boot Linux, record a trace of it, and tell where the time went.

    .venv/bin/python scripts/boot_trace.py --output boot.dbgtrace

The trace is for ``dbgemu-trace`` and for scripts (``dbgemu.open_trace``).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from linux_board import PROMPT, arguments_for, find_guest, linux_board, run, table, writable

import dbgemu


def boot(arguments: argparse.Namespace) -> None:
    """Record the boot and print the summary."""
    output = writable(arguments.output)
    with linux_board(find_guest(arguments.guest), arguments.append) as board:
        with board.trace(arguments.events, output):
            stop = board.run_until(text=arguments.until)
        print(f"{stop.instructions} instructions, {stop.time / 1e9:.3f} s of the board's time: {output}")
        with dbgemu.open_trace(output) as trace:
            print(f"{trace.blocks} blocks, {output.stat().st_size} bytes\n")
            print(table(functions(trace, board)[: arguments.top], ("instructions", "function")))
            print()
            print(table(accesses(trace), ("reads", "writes", "device")))


def functions(trace: dbgemu.Trace, board: dbgemu.Board) -> list[tuple[int, str]]:
    """Instructions executed in each function, the most first."""
    counts: Counter[str] = Counter()
    for block in trace.profile():
        found = board.symbols.lookup(block.pc)
        counts[found[0].name if found else "(no symbol)"] += block.instructions
    return [(count, name) for name, count in counts.most_common()]


def accesses(trace: dbgemu.Trace) -> list[tuple[int, int, str]]:
    """Accesses to each device."""
    reads: Counter[str] = Counter()
    writes: Counter[str] = Counter()
    for event in trace.events(("mmio_read", "mmio_write")):
        if isinstance(event, dbgemu.MmioRead):
            reads[event.device] += 1
        elif isinstance(event, dbgemu.MmioWrite):
            writes[event.device] += 1
    names = sorted({*reads, *writes}, key=lambda name: -(reads[name] + writes[name]))
    return [(reads[name], writes[name], name) for name in names]


def main(words: Sequence[str] | None = None) -> int:
    """Understand the arguments; the exit status."""
    parser = arguments_for(__doc__)
    parser.add_argument("--output", type=Path, default=Path("boot.dbgtrace"), metavar="FILE")
    parser.add_argument("--events", default="tb_exec,mmio", help="as 'trace start' takes them")
    parser.add_argument("--append", default="", help="more of the kernel's command line")
    parser.add_argument("--until", default=PROMPT, metavar="TEXT", help="the console's last words")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="so many functions")
    arguments = parser.parse_args(words)
    return run("boot_trace", lambda: boot(arguments))


if __name__ == "__main__":
    sys.exit(main())
