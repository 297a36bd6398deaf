"""Whole random programs on Unicorn's ARM926: the same state must come out as on this engine.

Unicorn is ARMv5TEJ: :class:`tests.random_source.Writer` leaves out what the two are known to do differently
(docs/arm920t.md). SWI and undefined instructions Unicorn leaves to its user: here the manual is followed.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import unicorn
from unicorn import arm_const

from dbgemu.engine.cpu import Cpu
from dbgemu.target.arm.state import I, Mode, T
from tests.arm_programs import LOW_SIZE, RAM, RAM_SIZE

if TYPE_CHECKING:
    from tests.random_programs import End, Program

#: what an ARMv4T status register has
PSR_MASK = 0xF00000FF
#: by Unicorn's error: the exception's vector and mode
_EXCEPTIONS = {
    unicorn.UC_ERR_EXCEPTION: (0x08, Mode.SVC),
    unicorn.UC_ERR_INSN_INVALID: (0x04, Mode.UND),
}
_BANKED = {
    Mode.SYS: range(8, 15), Mode.FIQ: range(8, 15), Mode.IRQ: range(13, 15), Mode.SVC: range(13, 15),
    Mode.ABT: range(13, 15), Mode.UND: range(13, 15),
}  # fmt: skip
_CPSR, _SPSR, _PC = arm_const.UC_ARM_REG_CPSR, arm_const.UC_ARM_REG_SPSR, arm_const.UC_ARM_REG_PC
_R = [getattr(arm_const, f"UC_ARM_REG_R{number}") for number in range(15)]
#: name as the engine has it -> value
State = dict[str, int]


class Theirs:
    """Unicorn, with the memory of :class:`tests.arm_programs.Guest`."""

    def __init__(self) -> None:
        uc = self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_ARM)
        uc.ctl_set_cpu_model(arm_const.UC_CPU_ARM_926)
        uc.mem_map(0, LOW_SIZE)
        uc.mem_map(RAM, RAM_SIZE)
        uc.hook_add(unicorn.UC_HOOK_CODE, self._step)
        self._left = self._last = 0

    def _step(self, uc: unicorn.Uc, address: int, size: int, user: object) -> None:
        if not self._left:
            uc.emu_stop()
            return
        self._left -= 1
        self._last = address

    def run(self, low: bytes, ram: bytes, state: State, count: int) -> str:
        """Execute ``count`` instructions; what ended it before that, if anything did."""
        uc = self.uc
        uc.mem_write(0, low)
        uc.mem_write(RAM, ram)
        uc.ctl_flush_tb()
        self._write(state)
        self._left = count
        while True:
            try:
                uc.emu_start(uc.reg_read(_PC) | bool(uc.reg_read(_CPSR) & T), 0xFFFFFFFF)
            except unicorn.UcError as error:
                if error.errno not in _EXCEPTIONS:
                    return f"{error} at {self._last:#x}"
                self._enter(*_EXCEPTIONS[error.errno])
            if not self._left:
                return ""

    def _enter(self, vector: int, mode: Mode) -> None:
        """What the core does at SWI and at undefined instructions (ARM ARM A2.6.4, A2.6.5)."""
        uc = self.uc
        before = uc.reg_read(_CPSR)
        uc.reg_write(_CPSR, before & ~(T | 0x1F) | I | mode)
        uc.reg_write(_R[14], self._last + (2 if before & T else 4))
        uc.reg_write(_SPSR, before)
        uc.reg_write(_PC, vector)

    def _write(self, state: State) -> None:
        uc = self.uc
        for mode, numbers in _BANKED.items():
            uc.reg_write(_CPSR, 0xC0 | mode)
            for number in numbers:
                uc.reg_write(_R[number], state[_name(number, mode)])
            if mode is not Mode.SYS:
                uc.reg_write(_SPSR, state[f"spsr_{mode.name.lower()}"])
        uc.reg_write(_CPSR, state["cpsr"])
        for number in range(8):
            uc.reg_write(_R[number], state[f"r{number}"])
        uc.reg_write(_PC, state["pc"])

    def state(self) -> State:
        """All registers; it is changed by that."""
        uc = self.uc
        state = {"pc": uc.reg_read(_PC), "cpsr": uc.reg_read(_CPSR) & PSR_MASK}
        for number in range(8):
            state[f"r{number}"] = uc.reg_read(_R[number])
        for mode, numbers in _BANKED.items():
            uc.reg_write(_CPSR, 0xC0 | mode)
            for number in numbers:
                state[_name(number, mode)] = uc.reg_read(_R[number])
            if mode is not Mode.SYS:
                state[f"spsr_{mode.name.lower()}"] = uc.reg_read(_SPSR) & PSR_MASK
        return state


def _name(number: int, mode: Mode) -> str:
    return f"r{number}_{'usr' if mode is Mode.SYS else mode.name.lower()}"


def _state_of(cpu: Cpu) -> State:
    names = ["pc", "cpsr", *(f"r{number}" for number in range(8))]
    names += [_name(number, mode) for mode, numbers in _BANKED.items() for number in numbers]
    names += [f"spsr_{mode.name.lower()}" for mode in _BANKED if mode is not Mode.SYS]
    return {name: cpu.read_register(name) for name in names}


@cache
def _theirs() -> Theirs:
    return Theirs()


def foreign_difference(program: Program, cpu: Cpu, end: End) -> str:
    """What Unicorn's end of ``program`` and the engine's differ in; ``cpu`` is used to read states."""
    theirs, start = _theirs(), program.start
    assert start is not None
    cpu.load(start.cpu)
    stopped = theirs.run(start.low, start.ram, _state_of(cpu), program.length)
    if stopped:
        return f"Unicorn: {stopped}"
    cpu.load(end.cpu)
    ours, expected = _state_of(cpu), theirs.state()
    found = [
        f"{name} is {ours[name]:#x}, Unicorn has {value:#x}"
        for name, value in expected.items()
        if ours[name] != value
    ]
    for base, memory in ((0, end.low), (RAM, end.ram)):
        foreign = bytes(theirs.uc.mem_read(base, len(memory)))
        if memory != foreign:
            place = next(k for k, (a, b) in enumerate(zip(memory, foreign, strict=True)) if a != b)
            found.append(f"memory from {base + place:#x} on")
    return "; ".join(found)
