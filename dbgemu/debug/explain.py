"""What an instruction would do with the machine as it stands: the shared semantics on a copy of the CPU.

Memory is peeked; what the instruction writes is kept beside it. Devices are not accessed, only told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbgemu.engine.cpu_registers import CpuRegisters
from dbgemu.target.arm import a32, t16
from dbgemu.target.arm.concrete import ConcreteCore, PhysicalMemory
from dbgemu.target.arm.core import Vector
from dbgemu.target.arm.mmu import FAULT_NAMES
from dbgemu.target.arm.state import EXIT_IDLE, CpuState, T
from dbgemu.target.arm.value import Value
from dbgemu.target.bus import BusError
from dbgemu.target.device import Device

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession

CONDITIONS = ("eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al", "nv")

_ALWAYS = 14


@dataclass(frozen=True)
class Access:
    """An access to memory: ``before`` is what is there now, ``value`` what it carries."""

    address: int
    physical: int
    size: int
    write: bool
    value: int
    before: int
    #: the device and register that it would go to: it is not accessed
    device: str = ""
    #: nothing answers there
    nothing: bool = False


@dataclass
class Explanation:
    """What :func:`explain` found out. Changes are (before, after)."""

    address: int
    word: int
    size: int
    thumb: bool
    #: the semantics' name, and the operand fields by name
    pattern: str
    fields: dict[str, int]
    condition: str
    holds: bool
    registers: dict[str, tuple[int, int]] = field(default_factory=dict)
    accesses: list[Access] = field(default_factory=list)
    exception: str = ""
    next_pc: int = 0
    branches: bool = False
    idles: bool = False


class _Core(ConcreteCore):
    """Keeps what the instruction accesses, and the exception that it takes."""

    def __init__(self, session: DebugSession, state: CpuState) -> None:
        super().__init__(state, PhysicalMemory(self._read, self._write))
        self._session = session
        self._bus = session.machine.board.bus
        self._written: dict[int, int] = {}
        self._walking = False
        self._virtual = 0
        self.accesses: list[Access] = []
        self.vector: Vector | None = None

    def _translate(self, address: int, size: int, *, write: bool, user: bool) -> int:
        self._virtual = address & -size
        self._walking = True
        try:
            return super()._translate(address, size, write=write, user=user)
        finally:
            self._walking = False

    def load_physical(self, address: Value) -> Value:
        """The words of translation tables are no accesses of the instruction's own."""
        walking, self._walking = self._walking, True
        try:
            return super().load_physical(address)
        finally:
            self._walking = walking

    def _enter(self, vector: Vector, return_address: int) -> None:
        self.vector = vector
        super()._enter(vector, return_address)

    def _present(self, address: int, size: int) -> tuple[int, str, bool]:
        """What is there, the device's register if it is one, and whether there is nothing."""
        region = self._bus.find(address)
        if region is None:
            return 0, "", True
        if isinstance(region.target, Device):
            place = self._session.devices.locate(address)
            name = place.name if place is not None else region.target.name
            return region.target.peek(address - region.base + region.offset, size), name, False
        try:
            data = bytearray(self._bus.peek(address, size))
        except BusError:
            return 0, "", True
        for place_ in range(size):
            data[place_] = self._written.get(address + place_, data[place_])
        return int.from_bytes(data, "little"), "", False

    def _read(self, address: int, size: int) -> int:
        value, device, nothing = self._present(address, size)
        if not self._walking:
            self.accesses.append(Access(self._virtual, address, size, False, value, value, device, nothing))
        return value

    def _write(self, address: int, size: int, value: int) -> None:
        before, device, nothing = self._present(address, size)
        place = self._session.devices.locate(address, write=True)
        if place is not None:
            device = place.name
        self.accesses.append(Access(self._virtual, address, size, True, value, before, device, nothing))
        if not device and not nothing:
            for offset, byte in enumerate(value.to_bytes(size, "little")):
                self._written[address + offset] = byte


def _register_names(session: DebugSession) -> Iterator[str]:
    yield from (f"r{number}" for number in range(15))
    yield from ("cpsr", "spsr")
    yield from session.cpu.cp15_registers


def _values(session: DebugSession, state: CpuState) -> dict[str, int]:
    registers = CpuRegisters(state)
    return {name: registers.read_register(name) for name in _register_names(session)}


def explain(session: DebugSession, word: int, address: int, *, thumb: bool) -> Explanation:
    """What the instruction ``word`` would do at ``address``, with all else as it is.

    For a machine that stands still, or on its thread.
    """
    state = CpuState.from_buffer_copy(session.cpu.state)
    state.control = state.control & ~T | (T if thumb else 0)
    state.exit_request[EXIT_IDLE] = 0
    state.pc = address
    size = 2 if thumb else 4
    pattern = (t16.T16 if thumb else a32.A32).find(word if thumb else word & 0x0FFFFFFF)
    fields = {name: word >> low & (2 << high - low) - 1 for name, (high, low) in pattern.places.items()}
    before = _values(session, state)
    core = _Core(session, state)
    number = _ALWAYS if thumb else word >> 28
    found = Explanation(
        address,
        word,
        size,
        thumb,
        pattern.name,
        fields,
        CONDITIONS[number],
        core.condition_holds(number),
    )
    core.execute(word, address)
    after = _values(session, state)
    found.registers = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    found.accesses = core.accesses
    found.next_pc = state.pc
    found.branches = state.pc != (address + size) & 0xFFFFFFFF
    found.idles = bool(state.exit_request[EXIT_IDLE])
    if core.vector is not None:
        found.exception = _exception(core.vector, state)
    return found


def _exception(vector: Vector, state: CpuState) -> str:
    name = vector.name.lower().replace("_", " ")
    if vector is Vector.DATA_ABORT:
        status = int(state.dfsr)
        what = FAULT_NAMES.get(status & 15, f"fault status 0x{status & 15:x}")
        return f"{name}: {what} (domain {status >> 4 & 15}) at 0x{state.far:08x}"
    return name
