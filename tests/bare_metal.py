"""A program of a test's own on the whole board, without an operating system."""

from __future__ import annotations

from arm_programs import SVC_MASKED, interpreter

from dbgemu.machine import Machine, StopReason
from dbgemu.target.arm.assembler import assemble_program
from dbgemu.target.mini2440 import Mini2440

CODE = 0x30008000


class BareMetal:
    """The board with ``source`` in its SDRAM, the watchdog off."""

    def __init__(self, source: str) -> None:
        self.board = Mini2440()
        self.machine = Machine(self.board, warp=True, code=interpreter())
        self.board.bus.write(0x53000000, 4, 0)
        program = assemble_program(f"{source}\ndone: b done\n", CODE)
        self.board.bus.poke(CODE, program.data)
        self._done = program["done"]
        self.machine.cpu.write_register("cpsr", SVC_MASKED)
        self.machine.cpu.write_register("pc", CODE)

    def run(self, instructions: int = 100_000_000) -> None:
        """Execute until the program has ended; AssertionError when it does not."""
        self.machine.cpu.add_breakpoint(self._done)
        stop = self.machine.run(instructions)
        assert stop.reason is StopReason.BREAKPOINT, stop
