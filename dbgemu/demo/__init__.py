"""The demo firmware: what ``dbgemu -demo`` boots. ``firmware.s`` beside this file is all of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from dbgemu.demo.elf import write_elf
from dbgemu.target.arm.assembler import Program, assemble_program

SOURCE = Path(__file__).with_name("firmware.s")
#: where a raw kernel image is loaded, so that it boots anywhere that Linux does
BASE = 0x3000_8000


@cache
def demo_program() -> Program:
    """The firmware, assembled."""
    return assemble_program(SOURCE.read_text(), BASE)


def demo_elf() -> bytes:
    """The firmware as an ELF file with symbols and source lines, for a debugger."""
    program = demo_program()
    return write_elf(program, program["start"], SOURCE)
