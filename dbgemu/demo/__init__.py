"""The demo firmware: what ``dbgemu -demo`` boots. The assembly files beside this one are all of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from dbgemu.demo.elf import write_elf
from dbgemu.target.arm.assembler import Program, assemble_program

#: in this order, they are one source
SOURCES = tuple(
    Path(__file__).with_name(f"{name}.s")
    for name in ("board", "start", "exceptions", "prompt", "commands", "text", "data")
)
#: where a raw kernel image is loaded, so that it boots anywhere that Linux does
BASE = 0x3000_8000


@cache
def demo_program() -> Program:
    """The firmware, assembled. Its lines count through all of :data:`SOURCES`."""
    return assemble_program("".join(path.read_text() for path in SOURCES), BASE)


def demo_elf() -> bytes:
    """The firmware as an ELF file with symbols and source lines, for a debugger."""
    program = demo_program()
    lengths = [(path, path.read_text().count("\n")) for path in SOURCES]
    return write_elf(program, program["start"], lengths)
