"""A machine that logs what it executes: ``-d in_asm,exec,cpu,int``, with QEMU's names.

It executes one instruction at a time, which costs nothing to a :class:`Machine` that logs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import capstone

from dbgemu.engine.cpu import TranslationFault
from dbgemu.machine import Machine
from dbgemu.target.arm.core import Vector
from dbgemu.target.arm.state import F, StopCode, T
from dbgemu.target.bus import BusError
from dbgemu.target.mini2440 import Mini2440

#: the items that need this machine
EXECUTION_ITEMS = frozenset(("in_asm", "exec", "cpu", "int"))

_HIGH_VECTORS = 1 << 13  # cp15 c1, bit V
_SYNCHRONOUS = {
    vector.offset: (vector, what)
    for vector, what in (
        (Vector.UNDEFINED, "undefined instruction"),
        (Vector.SWI, "SWI"),
        (Vector.PREFETCH_ABORT, "prefetch abort"),
        (Vector.DATA_ABORT, "data abort"),
    )
}


class LoggedMachine(Machine):
    """A machine that hands a line to ``write`` for each event of the ``items`` that it executes."""

    def __init__(
        self, board: Mini2440, *, items: Iterable[str], write: Callable[[str], None], warp: bool = False
    ) -> None:
        self._write = write
        chosen = set(items)
        self._exec, self._cpu, self._int = ("exec" in chosen, "cpu" in chosen, "int" in chosen)
        self._asm = "in_asm" in chosen
        self._seen: set[tuple[int, bytes]] = set()
        self._arm = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM)
        self._thumb = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB)
        super().__init__(board, warp=warp)

    def _execute(self, limit: int, resume: bool) -> StopCode:
        cpu = self.cpu
        pc, before, interrupt = cpu.pc, cpu.instructions, cpu.state.interrupts
        self._before(pc)
        code = super()._execute(min(limit, before + 1), resume)
        if self._int and cpu.instructions != before:
            self._after(pc, interrupt)
        return code

    def _before(self, pc: int) -> None:
        if self._cpu:
            self._write(self._registers())
        if self._exec:
            self._write(f"Trace {self.cpu.instructions}: 0x{pc:08x}")
        if self._asm:
            self._disassemble(pc)

    def _registers(self) -> str:
        read = self.cpu.read_register
        lines = [
            " ".join(f"R{number:02}={read(f'r{number}'):08x}" for number in range(first, first + 4))
            for first in range(0, 16, 4)
        ]
        return "\n".join([*lines, f"PSR={read('cpsr'):08x}"])

    def _disassemble(self, pc: int) -> None:
        thumb = bool(self.cpu.state.control & T)
        try:
            code = self.cpu.read_memory(pc, 2 if thumb else 4)
        except (TranslationFault, BusError):
            return  # its fetch will abort
        if (pc, code) in self._seen:
            return
        self._seen.add((pc, code))
        decoded = next((self._thumb if thumb else self._arm).disasm_lite(code, pc), None)
        text = f"{decoded[2]} {decoded[3]}".rstrip() if decoded else "(undefined)"
        self._write(f"0x{pc:08x}:  {int.from_bytes(code, 'little'):0{2 * len(code)}x}  {text}")

    def _after(self, pc: int, interrupt: int) -> None:
        """Log the exception, if one was taken: ``interrupt`` are the lines that were not masked."""
        cpu = self.cpu
        if interrupt:
            what = "FIQ" if interrupt & F else "IRQ"
            self._write(f"Taking exception {what} at pc 0x{pc:08x}")
            return
        base = 0xFFFF_0000 if cpu.state.cp15_control & _HIGH_VECTORS else 0
        vector, what = _SYNCHRONOUS.get(cpu.pc - base, (None, ""))
        if vector is not None and cpu.state.control & 0x1F == vector.mode and cpu.pc != pc + 4:
            self._write(f"Taking exception {what} at pc 0x{pc:08x}")
