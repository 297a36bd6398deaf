#!/usr/bin/env python3
"""Boot Linux and tell which driver touched device registers first: where, when, called by whom.

.venv/bin/python scripts/first_access.py nand.NFCONF sdi.SDICON uart1
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from linux_board import PROMPT, arguments_for, find_guest, linux_board, run

import dbgemu


def watch(arguments: argparse.Namespace) -> None:
    """Boot, with a hook on each register that goes with its first access."""
    hooks: dict[str, dbgemu.Hook] = {}
    with linux_board(find_guest(arguments.guest)) as board:

        def first_access(name: str) -> Callable[[dbgemu.Access], object]:
            def touched(access: dbgemu.Access) -> object:
                print(describe(board, access), flush=True)
                hooks.pop(name).remove()
                return None if hooks else dbgemu.STOP

            return touched

        # What the decompressor does before the kernel runs has no names.
        board.run_until("start_kernel")
        for name in dict.fromkeys(arguments.registers):
            hooks[name] = board.on_access(name, first_access(name), read=not arguments.writes)
        board.run_until(text=arguments.until)
    for name in hooks:
        print(f"{name}: nobody touched it")


def describe(board: dbgemu.Board, access: dbgemu.Access) -> str:
    """The access, its source line, and the functions that led to it."""
    verb, arrow = ("writes", "<-") if access.write else ("reads", "->")
    # the function's own line: that of the access may be in a header
    found = board.symbols.lookup(access.pc)
    line = board.symbols.line(found[0].address) if found else None
    where = str(line).rpartition("linux-source-6.1/")[2] if line else f"0x{access.pc:08x}"
    callers = "\n".join(f"    {name}" for name in board.callers(12)[1:])
    return (
        f"{access.place}: {access.symbol} {verb} it {arrow} 0x{access.value:x}"
        f" at {access.time / 1e6:.3f} ms\n  {where}, called from\n{callers}"
    )


def main(words: Sequence[str] | None = None) -> int:
    """Understand the arguments; the exit status."""
    parser = arguments_for(__doc__)
    parser.add_argument("registers", nargs="+", metavar="DEVICE[.REGISTER]", help="nand.NFCONF, uart1")
    parser.add_argument("--writes", action="store_true", help="reads do not count")
    parser.add_argument("--until", default=PROMPT, metavar="TEXT", help="the console's last words")
    arguments = parser.parse_args(words)
    return run("first_access", lambda: watch(arguments))


if __name__ == "__main__":
    sys.exit(main())
