"""The semantics run in plain Python, on concrete integers: for unit tests, and to explain an instruction.

The third of the three ways in which one description is executed (see docs/architecture.md). It is slow,
and shows every access and every change through the state and the memory that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from dbgemu.target.arm import a32, t16
from dbgemu.target.arm.core import Core, Routine, Vector
from dbgemu.target.arm.cp15 import CONTROL_ALIGNMENT
from dbgemu.target.arm.mmu import (
    ACCESS_USER,
    ACCESS_WRITE,
    FAULT_ALIGNMENT,
    RESULT_FAULT,
    RESULT_STATUS_SHIFT,
    modified_address,
    walk,
)
from dbgemu.target.arm.semantics.status import enter_exception
from dbgemu.target.arm.state import EXIT_IDLE, CpuState, F, I, Mode, T
from dbgemu.target.arm.value import Value

#: fault status of an access that memory refuses (ARM920T TRM table 3-9: external abort, of a section)
EXTERNAL_ABORT = 0x8


class ExternalAbortError(Exception):
    """Raised by a memory's functions: nothing answers at the address, the access is aborted."""


@dataclass(frozen=True)
class PhysicalMemory:
    """What a :class:`ConcreteCore` executes from and works on, by physical addresses.

    ``read(address, size)`` and ``write(address, size, value)`` take sizes of 1, 2 and 4 bytes and
    aligned addresses. They may raise :class:`ExternalAbortError`; any other exception ends :meth:`step`.
    """

    read: Callable[[int, int], int]
    write: Callable[[int, int, int], None]


class _DoneError(Exception):
    """The instruction at hand has ended."""


class _ReturnError(Exception):
    """The routine at hand has ended."""

    def __init__(self, value: Value | None) -> None:
        super().__init__()
        self.value = value


class _AbortError(Exception):
    """A data access is refused, with this fault status."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


def _status_of(refused: Exception) -> int:
    return refused.status if isinstance(refused, _AbortError) else EXTERNAL_ABORT


class _Constants:
    """The builder of values that are all known: operations fold before they ask it."""

    def _refuse(self, *operands: object) -> NoReturn:
        raise TypeError("a concrete core met a value that is not known")

    binary = compare = cast = select = funnel_right = count = _refuse


class ConcreteCore(Core):
    """Executes instructions one by one on a :class:`CpuState`, of which only the architecture's part is used.

    ``state.pc`` is the next instruction's address, before and after :meth:`step`.
    """

    def __init__(self, state: CpuState, memory: PhysicalMemory) -> None:
        self.state = state
        self.memory = memory
        self._builder = _Constants()
        self._word = 0

    # -- running -------------------------------------------------------------------------------

    def step(self) -> None:
        """Execute the instruction at ``state.pc``, or take the interrupt that is pending before it."""
        state = self.state
        pc = state.pc
        if pending := state.interrupt_lines & ~state.control & (I | F):
            self._enter(Vector.FIQ if pending & F else Vector.IRQ, pc + 4)
        thumb = bool(state.control & T)
        self.instruction_size = 2 if thumb else 4
        pc = state.pc = state.pc & -self.instruction_size
        try:
            word = self._fetch(pc)
        except ExternalAbortError:
            state.ifsr = EXTERNAL_ABORT
            word = None
        if word is None:
            self._enter(Vector.PREFETCH_ABORT, pc + 4)
        else:
            self.execute(word, pc)

    def execute(self, word: int, pc: int) -> None:
        """Execute ``word`` as the instruction at ``pc``, in the instruction set that is active."""
        state = self.state
        thumb = bool(state.control & T)
        self.instruction_size = 2 if thumb else 4
        state.r[15] = pc + 2 * self.instruction_size & 0xFFFFFFFF
        state.pc = pc + self.instruction_size & 0xFFFFFFFF
        if not thumb and not self.condition_holds(word >> 28):
            return
        self._word = word
        try:
            (t16.T16 if thumb else a32.A32).find(word if thumb else word & 0x0FFFFFFF).run(self)
        except _DoneError:
            return

    def condition_holds(self, condition: int) -> bool:
        """Whether an ARM condition (0 to 15) holds for the flags; 15, NV, never does (ARM ARM A3.2)."""
        state = self.state
        n, z, c, v = state.n >> 31 == 1, state.z == 0, state.c == 1, state.v >> 31 == 1
        holds = (z, c, n, v, c and not z, n == v, not z and n == v, True)[condition >> 1]
        return bool(holds) != bool(condition & 1)

    def _fetch(self, pc: int) -> int | None:
        result = self._walk(pc, write=False, user=False)
        if result & RESULT_FAULT:
            self.state.ifsr = result >> RESULT_STATUS_SHIFT
            return None
        return self.memory.read(result & 0xFFFFFFFF, self.instruction_size)

    def _enter(self, vector: Vector, return_address: int) -> None:
        address = self.call(
            enter_exception, self.const(vector.offset), self.const(vector.mode), self.const(return_address)
        )
        self.state.pc = self._int(address)

    @staticmethod
    def _int(value: Value) -> int:
        constant = value.constant
        assert constant is not None
        return constant

    # -- values --------------------------------------------------------------------------------

    def const(self, x: int, width: int = 32) -> Value:
        """See :class:`Core`, also for the following."""
        return Value(self._builder, x, width)

    def bits(self, high: int, low: int) -> Value:
        """Every bit is known."""
        return self.const(self._word >> low & (2 << high - low) - 1)

    def when(self, condition: Value) -> Iterator[None]:
        """An ``if``."""
        if condition.constant:
            yield

    def each_register(self, registers: Value) -> Iterator[tuple[Value, Value]]:
        """A loop."""
        numbers = [n for n in range(16) if self._int(registers) >> n & 1]
        for place, number in enumerate(numbers):
            yield self.const(number), self.const(place)

    # -- state ---------------------------------------------------------------------------------

    def get(self, field: str, index: Value | int | None = None) -> Value:
        """A field; the two-dimensional one is counted through."""
        array, place = self._place(field, index)
        return self.const(getattr(self.state, field) if array is None else array[place])

    def set(self, field: str, value: Value, index: Value | int | None = None) -> None:
        """As :meth:`get`."""
        array, place = self._place(field, index)
        if array is None:
            setattr(self.state, field, value.constant)
        else:
            array[place] = self._int(value)

    def _place(self, field: str, index: Value | int | None) -> tuple[list[int] | None, int]:
        if index is None:
            return None, 0
        place = index if isinstance(index, int) else self._int(index)
        array = getattr(self.state, field)
        if field == "r8_r12":
            return array[place // 5], place % 5
        return array, place

    def reg(self, number: Value | int) -> Value:
        """A register."""
        return self.get("r", number)

    def set_reg(self, number: Value | int, value: Value) -> None:
        """A register, r15 with a jump."""
        self.set("r", value, number)
        if (number if isinstance(number, int) else number.constant) == 15:
            self.jump(value)

    def set_base(self, number: Value | int, value: Value) -> None:
        """A register, plainly."""
        self.set("r", value, number)

    # -- control -------------------------------------------------------------------------------

    def jump(self, address: Value) -> None:
        """Go on there, low bits cut."""
        self.state.pc = self._int(address) & -self.instruction_size
        raise _DoneError

    def jump_any(self, address: Value) -> None:
        """Go on in the instruction set that ``control`` says."""
        self.state.pc = self._int(address) & (-2 if self.state.control & T else -4)
        raise _DoneError

    def exception(self, vector: Vector) -> None:
        """Return addresses are behind the instruction."""
        self._enter(vector, self.state.pc)
        raise _DoneError

    def end_block(self) -> None:
        """There are no blocks."""

    def call(self, routine: Routine, *arguments: Value) -> Value:
        """A call of the routine's Python function."""
        try:
            routine.function(self, *arguments)
        except _ReturnError as returned:
            return self.const(0, 1) if returned.value is None else returned.value
        raise AssertionError(f"routine {routine.name} ended without a return")

    def ret(self, value: Value | None = None) -> None:
        """See :class:`Core`."""
        raise _ReturnError(value)

    # -- memory --------------------------------------------------------------------------------

    def _walk(self, address: int, *, write: bool, user: bool) -> int:
        user = user or self.state.control & 0x1F == Mode.USR
        access = (ACCESS_USER if user else 0) | (ACCESS_WRITE if write else 0)
        return self._int(self.call(walk, self.const(address), self.const(access)))

    def _translate(self, address: int, size: int, *, write: bool, user: bool) -> int:
        """The physical address, aligned."""
        if address & (size - 1) and self.state.cp15_control & CONTROL_ALIGNMENT:
            raise _AbortError(FAULT_ALIGNMENT)
        result = self._walk(address & -size, write=write, user=user)
        if result & RESULT_FAULT:
            raise _AbortError(result >> RESULT_STATUS_SHIFT)
        return result & 0xFFFFFFFF

    def _data_abort(self, address: int, status: int) -> NoReturn:
        state = self.state
        state.dfsr = status
        state.far = self._int(modified_address(self, self.const(address)))
        # the instruction's address plus 8 in ARM and Thumb
        self._enter(Vector.DATA_ABORT, state.pc - self.instruction_size + 8)
        raise _DoneError

    def load(
        self,
        address: Value,
        size: int,
        *,
        signed: bool = False,
        user: bool = False,
        block: bool = False,
        undo: Callable[[], None] | None = None,
    ) -> Value:
        """A read, or an abort."""
        place = self._int(address)
        try:
            number = self.memory.read(self._translate(place, size, write=False, user=user), size)
        except (_AbortError, ExternalAbortError) as refused:
            if undo is not None:
                undo()
            self._data_abort(place, _status_of(refused))
        value = self.const(number, 8 * size)
        if size == 4 and not block:
            value = value.ror((place & 3) * 8)
        return value.sext(32) if signed else value.zext(32)

    def store(self, address: Value, value: Value, size: int, *, user: bool = False) -> None:
        """A write, or an abort."""
        place, kept = self._int(address), self._int(value.trunc(8 * size))
        try:
            self.memory.write(self._translate(place, size, write=True, user=user), size, kept)
        except (_AbortError, ExternalAbortError) as refused:
            self._data_abort(place, _status_of(refused))

    def load_physical(self, address: Value) -> Value:
        """A page table's word, 0 where memory refuses."""
        try:
            return self.const(self.memory.read(self._int(address), 4))
        except ExternalAbortError:
            return self.const(0)

    def flush_tlbs(self) -> None:
        """There are none: each access walks the tables."""

    def switch_domains(self, value: Value) -> None:
        """As :meth:`flush_tlbs`."""

    def flush_tlb_page(self, address: Value) -> None:
        """As :meth:`flush_tlbs`."""

    def select_privilege(self, user: Value) -> None:
        """Each access looks at the mode."""

    def notice(self, event: int, changed: Value) -> None:
        """Nobody debugs this."""

    def wait_for_interrupt(self) -> None:
        """Ask for it, as generated code does."""
        self.state.exit_request[EXIT_IDLE] = 1
