#!/usr/bin/env python3
"""Boot Linux twice with different command lines, and tell where the two first part.

    .venv/bin/python scripts/compare_boots.py --append "loglevel=4"

Two boots that are given the same are the same to the instruction: so the first difference is what the
command line brought about.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from linux_board import arguments_for, find_guest, linux_board, run

import dbgemu
from dbgemu.trace.tools.comparing import common_kinds, first_divergence, report
from dbgemu.trace.tools.names import Names


def compare(arguments: argparse.Namespace) -> None:
    """Boot twice and print the differences."""
    guest, consoles = find_guest(arguments.guest), []
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.dbgtrace" for number in range(2)]
        for path, extra in zip(paths, (arguments.base, arguments.append), strict=True):
            with linux_board(guest, extra) as board, board.trace("tb_exec,exception,irq", path):
                if arguments.to.isdigit():
                    board.run_until(count=int(arguments.to))
                else:
                    board.run_until(arguments.to)
                consoles.append(board.console.text.splitlines())
                names = Names(board.symbols)
        with dbgemu.open_trace(paths[0]) as left, dbgemu.open_trace(paths[1]) as right:
            kinds = common_kinds(left, right)
            found = first_divergence(left, right, kinds)
            if found is None:
                print(f"both boots execute the same {left.instructions} instructions")
                return
            print("\n".join(report(left, right, kinds, found, (names, names), arguments.context)))
    for one, other in zip_longest(*consoles, fillvalue=""):
        if one != other:
            print(f"\nthe console differs from there on:\n- {one}\n+ {other}")
            break


def main(words: Sequence[str] | None = None) -> int:
    """Understand the arguments; the exit status."""
    parser = arguments_for(__doc__)
    parser.add_argument("--append", default="loglevel=4", help="what the second boot has on its command line")
    parser.add_argument("--base", default="", metavar="APPEND", help="what the first one has")
    parser.add_argument(
        "--to",
        default="run_init_process",
        metavar="SYMBOL|COUNT",
        help="boot so far: to a symbol, or so many instructions",
    )
    parser.add_argument("--context", type=int, default=5, metavar="N", help="so many events around it")
    arguments = parser.parse_args(words)
    return run("compare_boots", lambda: compare(arguments))


if __name__ == "__main__":
    sys.exit(main())
