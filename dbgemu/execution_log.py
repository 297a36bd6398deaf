"""Logging what a machine executes: ``-d in_asm,exec,cpu,int,mmu``, with QEMU's names.

It executes one instruction at a time, which costs nothing to a :class:`Machine` that is not logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import capstone

from dbgemu.engine.cpu import TranslationFault
from dbgemu.machine import Machine
from dbgemu.target.arm.core import Vector
from dbgemu.target.arm.cp15 import CONTROL_MMU
from dbgemu.target.arm.mmu import FAULT_NAMES
from dbgemu.target.arm.state import F, I, StopCode, T
from dbgemu.target.bus import BusError

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


class ExecutionLog:
    """Hands a line to ``write`` for each event of ``items`` that ``machine`` executes, until closed."""

    def __init__(self, machine: Machine, items: Iterable[str], write: Callable[[str], None]) -> None:
        self._machine = machine
        self.cpu = machine.cpu
        self._write = write
        chosen = set(items)
        self._exec, self._cpu, self._int = ("exec" in chosen, "cpu" in chosen, "int" in chosen)
        self._asm, self._mmu = "in_asm" in chosen, "mmu" in chosen
        self._seen: set[tuple[int, bytes]] = set()
        self._arm = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM)
        self._thumb = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB)
        #: a trace may be recorded at the same time
        self._beneath = machine.execute
        self._closed = False
        machine.execute = self._execute

    def close(self) -> None:
        """Log nothing more."""
        self._closed = True
        if self._machine.execute == self._execute:
            self._machine.execute = self._beneath

    def _execute(self, limit: int, resume: bool) -> StopCode:
        if self._closed:  # somebody else stands in front
            return self._beneath(limit, resume)
        cpu = self.cpu
        pc, before, interrupt = cpu.pc, cpu.instructions, cpu.state.interrupts & (I | F)
        mapping = self._mapping()
        self._before(pc)
        code = self._beneath(min(limit, before + 1), resume)
        if cpu.instructions != before:
            if self._int or self._mmu:
                self._after(pc, interrupt)
            if self._mmu and (changed := self._mapping()) != mapping:
                base, enabled = changed
                self._write(f"MMU {'on' if enabled else 'off'}, tables at 0x{base:08x}, by pc 0x{pc:08x}")
        return code

    def _mapping(self) -> tuple[int, bool]:
        state = self.cpu.state
        return state.ttb, bool(state.cp15_control & CONTROL_MMU)

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
            if self._int:
                self._write(f"Taking exception {what} at pc 0x{pc:08x}")
            return
        base = 0xFFFF_0000 if cpu.state.cp15_control & _HIGH_VECTORS else 0
        vector, what = _SYNCHRONOUS.get(cpu.pc - base, (None, ""))
        if vector is None or cpu.state.control & 0x1F != vector.mode or cpu.pc == pc + 4:
            return
        if self._int:
            self._write(f"Taking exception {what} at pc 0x{pc:08x}")
        if self._mmu and vector in (Vector.DATA_ABORT, Vector.PREFETCH_ABORT):
            data = vector is Vector.DATA_ABORT
            status = cpu.state.dfsr if data else cpu.state.ifsr
            address = cpu.state.far if data else pc
            fault = FAULT_NAMES.get(status & 0xF, "external abort")
            self._write(f"MMU: {fault}, status 0x{status:02x}, address 0x{address:08x}, at pc 0x{pc:08x}")
