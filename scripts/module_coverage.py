#!/usr/bin/env python3
"""Load a kernel module in the Linux guest and tell which of its functions were executed, and how much.

    .venv/bin/python scripts/module_coverage.py scsi_common scsi_mod

Nothing is compiled into the module: the trace of what the CPU executed says it all.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from linux_board import PROMPT, ScriptError, arguments_for, find_guest, linux_board, run, table

import dbgemu

#: where modules are on ARM Linux: below the kernel (arch/arm/include/asm/memory.h, MODULES_VADDR)
_MODULES = "0xbf000000-0xbfffffff"


class Function(NamedTuple):
    """A function of the module, where it was loaded to."""

    name: str
    address: int
    size: int


def cover(arguments: argparse.Namespace) -> None:
    """Boot, load the modules, run the commands, and print each module's table."""
    guest = find_guest(arguments.guest)
    files = {name: guest / "modules" / f"{name}.ko" for name in arguments.modules}
    for path in files.values():
        if not path.is_file():
            raise ScriptError(f"the guest has no module '{path}'")
    with linux_board(guest) as board:
        board.run_until(text=PROMPT)
        with board.trace(f"tb_exec,range={_MODULES}") as recording:
            for name in arguments.modules:
                board.command(f"modprobe {name}", prompt=PROMPT)
            for line in arguments.commands:
                board.command(line, prompt=PROMPT)
        with recording.open() as trace:
            executed = addresses(trace)
        for name, path in files.items():
            # one function may have two names
            by_address = {item.address: item for item in functions(path, sections(board, name))}
            found = [by_address[address] for address in sorted(by_address)]
            report(name, found, executed, everything=arguments.all)


def sections(board: dbgemu.Board, module: str) -> dict[str, int]:
    """Where the sections of code of a loaded module are, as its kernel tells."""
    board.command(f"cd /sys/module/{module}/sections", prompt="# ")
    printed = board.command("grep -H . .*text", prompt="# ")
    board.command("cd", prompt=PROMPT)
    found = {name: int(address, 16) for name, address in re.findall(r"(\.\S+):(0x[0-9a-f]+)", printed)}
    if not found:
        raise ScriptError(f"the module '{module}' was not loaded: the guest says {printed.strip()!r}")
    return found


def functions(path: Path, places: dict[str, int]) -> Iterator[Function]:
    """The functions in a module's file, in the sections that were loaded."""
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            table_ = elf.get_section_by_name(".symtab")
            for symbol in table_.iter_symbols() if isinstance(table_, SymbolTableSection) else ():
                index = symbol["st_shndx"]
                if symbol["st_info"]["type"] != "STT_FUNC" or not isinstance(index, int):
                    continue
                base = places.get(elf.get_section(index).name)
                if base is not None and symbol["st_size"]:
                    yield Function(symbol.name, base + symbol["st_value"], symbol["st_size"])
    except ELFError as error:
        raise ScriptError(f"'{path}' is no module: {error}") from None


def addresses(trace: dbgemu.Trace) -> set[int]:
    """The address of each instruction that was executed."""
    found: set[int] = set()
    for block in trace.profile():
        found.update(range(block.pc, block.pc + 4 * block.length, 4))
    return found


def report(name: str, found: Sequence[Function], executed: set[int], *, everything: bool) -> None:
    """Print a module's table; without ``everything`` only the functions that were executed."""
    rows = []
    for item in found:
        places = range(item.address, item.address + item.size, 4)
        count = sum(address in executed for address in places)
        if count or everything:
            rows.append((count, len(places), item.name))
    reached = sum(bool(row[0]) for row in rows)
    print(f"{name}: {reached} of {len(found)} functions were executed")
    # Literals between the instructions are counted with them.
    if rows:
        print(table(rows, ("executed", "words", "function")))
    print()


def main(words: Sequence[str] | None = None) -> int:
    """Understand the arguments; the exit status."""
    parser = arguments_for(__doc__)
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="in the order they are loaded in")
    parser.add_argument(
        "--run", dest="commands", action="append", default=[], metavar="COMMAND", help="then run that, too"
    )
    parser.add_argument("--all", action="store_true", help="list what was not executed, too")
    arguments = parser.parse_args(words)
    return run("module_coverage", lambda: cover(arguments))


if __name__ == "__main__":
    sys.exit(main())
