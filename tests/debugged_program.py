"""A real machine under a debug session, with a small program in assembly: for tests of the debug core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dbgemu.debug.events import StopEvent, StopKind
from dbgemu.debug.session import DebugSession
from dbgemu.machine import Machine
from dbgemu.target.arm.assembler import Program, assemble_program
from dbgemu.target.boot import BootPlan, Load
from dbgemu.target.mini2440 import BootSwitch, Mini2440

START = 0x30008000
#: a place in SDRAM that programs may use
DATA = 0x30100000


@dataclass
class Debugged:
    """A session that stands at the first instruction of ``program``."""

    session: DebugSession
    machine: Machine
    program: Program

    def __getitem__(self, name: str) -> int:
        return self.machine.cpu.read_register(name)

    def run(self) -> StopEvent:
        """Continue to the next stop, which must come within seconds."""
        self.session.resume()
        event = self.session.wait(10)
        assert event is not None, f"the program runs on, at 0x{self['pc']:08x}"
        return event

    def run_to(self, label: str) -> StopEvent:
        """Continue to a label, with whatever is set; the stop must be there."""
        guard = self.session.add_breakpoint(None, self.program[label])
        event = self.run()
        self.session.remove_breakpoint(guard)
        assert event.pc == self.program[label], event
        assert event.kind is StopKind.BREAKPOINT
        return event

    def word(self, address: int) -> int:
        """A word of physical memory."""
        return int.from_bytes(self.machine.board.bus.peek(address, 4), "little")


@contextmanager
def debugged_program(source: str, *, warp: bool = True) -> Iterator[Debugged]:
    """``source``, followed by ``done: b done``, loaded at START; vectors are RAM and lead nowhere."""
    board = Mini2440(boot_switch=BootSwitch.NAND)
    program = assemble_program(f"{source}\ndone: b done\n", START)
    board.boot_plan = BootPlan("raw", (Load(START, program.data, "the program"),), START, False, 0, 1999, 0)
    machine = Machine(board, warp=warp)
    board.bus.poke(0, assemble_program("; ".join(["b ."] * 8), 0).data)
    session = DebugSession(machine)
    try:
        yield Debugged(session, machine, program)
    finally:
        session.close()
