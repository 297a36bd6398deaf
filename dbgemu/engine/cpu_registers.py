"""The CPU's registers by name, as debuggers read and write them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from dbgemu.target.arm.cp15 import CP15_REGISTERS, Cp15Register
from dbgemu.target.arm.state import BANK_NAMES, BANK_OF_MODE, FIQ_BANK, C, CpuState, N, T, V, Z

_ALIASES = {"sp": "r13", "lr": "r14"}


class CpuRegisters:
    """What of the CPU is registers. The CPU says how a mode is switched and TLBs are flushed."""

    #: the routine write_control: address of the state, CPSR bits 7..0
    _write_control: Callable[[int, int], int]

    def __init__(self, state: CpuState) -> None:
        self.state = state
        self._state_address = ctypes.addressof(state)

    def take_caught(self) -> int:
        """See :class:`Cpu`, also for the following."""
        raise NotImplementedError

    def flush_tlbs(self) -> None:
        """Forget every translation."""
        raise NotImplementedError

    @property
    def cp15_registers(self) -> dict[str, Cp15Register]:
        """The system control registers, by the names that read_register takes."""
        return CP15_REGISTERS

    @property
    def pc(self) -> int:
        """The address of the next instruction."""
        return int(self.state.pc)

    @property
    def current_pc(self) -> int:
        """Inside a device access: the address of the instruction that makes it."""
        return int(self.state.r[15]) - (4 if self.state.control & T else 8) & 0xFFFFFFFF

    @property
    def cpsr(self) -> int:
        """The CPSR put together."""
        state = self.state
        flags = (state.n & N) | (Z if state.z == 0 else 0) | (C if state.c else 0)
        return int(flags | (V if state.v >> 31 else 0) | state.control)

    @cpsr.setter
    def cpsr(self, value: int) -> None:
        state = self.state
        state.n = value & N
        state.z = 0 if value & Z else 1
        state.c = 1 if value & C else 0
        state.v = N if value & V else 0
        self._write_control(self._state_address, value & 0xFF)
        self.take_caught()  # a debugger's change of mode is none of the guest's

    def _place(self, name: str) -> tuple[Any, int]:
        """The array and index in the state of a core or banked register."""
        state = self.state
        base, _, mode = name.partition("_")
        present = BANK_OF_MODE[state.control & 15]
        if base == "spsr" and mode != "usr":
            return state.spsr, BANK_NAMES.index(mode) if mode else present
        if not base.startswith("r") or not base[1:].isdigit() or int(base[1:]) > 15:
            raise KeyError(f"there is no register {name!r}")
        number = int(base[1:])
        if not mode:
            return state.r, number
        bank = BANK_NAMES.index(mode)
        if number in (13, 14):
            return (state.r, number) if bank == present else ((state.r13, state.r14)[number - 13], bank)
        if 8 <= number <= 12 and bank in (0, FIQ_BANK):
            active = (bank == FIQ_BANK) == (present == FIQ_BANK)
            return (state.r, number) if active else (state.r8_r12[bank], number - 8)
        raise KeyError(f"register {name!r} is not banked")

    def read_register(self, name: str) -> int:
        """A register by name: r0 to r15, sp, lr, pc, cpsr, spsr, r13_irq, spsr_irq, r8_fiq, dfsr, ...

        KeyError when there is no such register.
        """
        if name in ("pc", "r15"):
            return self.pc
        if name == "cpsr":
            return self.cpsr
        if name in CP15_REGISTERS:
            register = CP15_REGISTERS[name]
            return register.constant if register.field is None else int(getattr(self.state, register.field))
        array_, index = self._find(name)
        return int(array_[index])

    def read_core(self) -> tuple[int, ...]:
        """r0 to r14, the pc and the CPSR: what debuggers ask for at each stop, at once."""
        state = self.state
        return (*state.r[:15], state.pc, self.cpsr)

    def write_register(self, name: str, value: int) -> None:
        """Write a register by name; a constant one (midr) stays. KeyError as for reading."""
        value &= 0xFFFFFFFF
        if name in ("pc", "r15"):
            # bit 1 too: a debugger may write the pc first, and only then the CPSR with its T bit
            self.state.pc = value & ~1
        elif name == "cpsr":
            self.cpsr = value
        elif name in CP15_REGISTERS:
            register = CP15_REGISTERS[name]
            if register.field is not None:
                value = (value & register.writable) | register.read_as_one
                setattr(self.state, register.field, value)
                self.flush_tlbs()
        else:
            array_, index = self._find(name)
            array_[index] = value

    def _find(self, name: str) -> tuple[Any, int]:
        try:
            return self._place(_ALIASES.get(name, name))
        except ValueError:
            raise KeyError(f"there is no register {name!r}") from None
