"""Fills one trace frame: the context in which actions and agent expressions are carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from dbgemu.debug.agent import AgentError
from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.debug.tracepoints.definitions import (
    Action,
    CollectMemory,
    CollectRegisters,
    Evaluate,
    Tracepoint,
    Variable,
)
from dbgemu.debug.tracepoints.frame import MAX_BLOCK, MEMORY_HEADER, REGISTERS, VARIABLE

if TYPE_CHECKING:
    from dbgemu.engine.cpu import Cpu

_CORE = {name: index for index, name in enumerate([*(f"r{n}" for n in range(16)), "cpsr"])}
_CORE |= {"sp": 13, "lr": 14, "pc": 15}

_SIGN = 1 << 63


class Collector:
    """The machine as it stands at a tracepoint, and the blocks that were recorded of it.

    ``variables`` are the trace state variables; one that nobody defined is made when it is used.
    ``limit`` gives the bytes that one block may have.
    """

    def __init__(self, cpu: Cpu, variables: dict[int, Variable], limit: Callable[[], int]) -> None:
        self._cpu = cpu
        self._read = cpu.read_memory
        self._variables = variables
        self._limit = limit
        self._blocks: list[bytes] = []
        self._core: tuple[int, ...] = ()
        self._tracepoint = Tracepoint(0, 0)

    def arrive(self) -> None:
        """The machine has moved: what was read of it does not hold any more."""
        self._core = ()

    def wanted(self, tracepoint: Tracepoint) -> bool:
        """The condition of ``tracepoint`` is true, or it has none. AgentError when it cannot be told."""
        if tracepoint.condition is None:
            return True
        self._tracepoint = tracepoint
        return bool(tracepoint.condition.evaluate(self))

    def collect(self, tracepoint: Tracepoint, actions: Iterable[Action]) -> tuple[bytes, str]:
        """The blocks that ``actions`` record and, when one failed, why; those behind it are left out."""
        self._tracepoint = tracepoint
        self._blocks.clear()
        try:
            for action in actions:
                _COLLECT[type(action)](self, action)
        except AgentError as error:
            return b"".join(self._blocks), str(error)
        return b"".join(self._blocks), ""

    # -- actions -----------------------------------------------------------------------------

    def _collect_registers(self, action: CollectRegisters) -> None:
        self._blocks.append(b"R" + REGISTERS.pack(*(self._core or self._read_core())))

    def _collect_memory(self, action: CollectMemory) -> None:
        base = 0 if action.base is None else self._register(action.base)
        self.collect_memory(base + action.offset & 0xFFFFFFFF, action.length)

    def _evaluate(self, action: Evaluate) -> None:
        action.expression.evaluate(self)

    def _read_core(self) -> tuple[int, ...]:
        self._core = self._cpu.read_core()
        return self._core

    def _register(self, name: str) -> int:
        index = _CORE.get(name)
        return self._cpu.read_register(name) if index is None else (self._core or self._read_core())[index]

    # -- the context of agent expressions ------------------------------------------------------

    def register(self, number: int) -> int:
        """A register by its number in the target description."""
        name = self._tracepoint.registers.get(number)
        if name is None:
            raise AgentError(f"there is no register number {number}")
        return self._register(name)

    def memory(self, address: int, length: int) -> bytes:
        """``length`` bytes from virtual ``address``."""
        try:
            return self._read(address, length)
        except MEMORY_ERRORS as error:
            raise AgentError(str(error)) from None

    def variable(self, number: int) -> int:
        """The value of a trace state variable."""
        variable = self._variables.get(number)
        return 0 if variable is None else variable.get()

    def set_variable(self, number: int, value: int) -> None:
        """Set a trace state variable; a built-in one stays as it is."""
        variable = self._variables.setdefault(number, Variable(number))
        variable.value = value

    def collect_memory(self, address: int, length: int) -> None:
        """Record memory. What cannot be read is left out: the frame then says that it was not there."""
        if length > self._limit():
            raise AgentError(f"{length} bytes do not fit in the trace buffer")
        while length > 0:
            count = min(length, MAX_BLOCK)
            try:
                data = self._read(address, count)
            except MEMORY_ERRORS:
                data = self._readable(address, count)
            if data:
                self._blocks.append(MEMORY_HEADER.pack(b"M", address, len(data)) + data)
            address, length = address + count & 0xFFFFFFFF, length - count

    def _readable(self, address: int, length: int) -> bytes:
        """What can be read up to the first page that cannot."""
        found = bytearray()
        end = address + length
        while address < end:
            stop = min(end, (address | _GRANULE - 1) + 1)
            try:
                found += self._read(address, stop - address)
            except MEMORY_ERRORS:
                break
            address = stop
        return bytes(found)

    def collect_register(self, number: int) -> None:
        """Record a register: registers come all together."""
        if not any(block[:1] == b"R" for block in self._blocks):
            self._blocks.append(b"R" + REGISTERS.pack(*(self._core or self._read_core())))

    def collect_variable(self, number: int) -> None:
        """Record a trace state variable."""
        value = (self.variable(number) + _SIGN) % (2 * _SIGN) - _SIGN
        self._blocks.append(VARIABLE.pack(b"V", number, value))

    def printf(self, text: str) -> None:
        """Nobody listens: tracepoints record."""


#: the smallest unit of mapping: a tiny page (ARM ARM B3.3.3)
_GRANULE = 1024

_COLLECT: dict[type[Action], Callable[..., None]] = {
    CollectRegisters: Collector._collect_registers,
    CollectMemory: Collector._collect_memory,
    Evaluate: Collector._evaluate,
}
