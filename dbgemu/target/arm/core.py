"""What the semantics of an instruction may do: the abstract ARM core that they are written over.

Back ends (see DESIGN's three ways) implement :class:`Core`: the engine's interpreter generator and
translator emit code for each call, :class:`dbgemu.target.arm.concrete.ConcreteCore` just does it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

from dbgemu.target.arm.state import N, V, Z
from dbgemu.target.arm.value import Value

#: how the flags n, z, c and v of the state follow from an operation's operands and result
FlagsOfOperands = dict[str, Callable[[Value, Value, Value], Value]]
DIFFERENCE_FLAGS: FlagsOfOperands = {
    "n": lambda a, b, result: result,
    "z": lambda a, b, result: result,
    "c": lambda a, b, result: a.uge(b).zext(32),  # no borrow
    "v": lambda a, b, result: (a ^ b) & (a ^ result),
}
SUM_FLAGS: FlagsOfOperands = {
    "n": lambda a, b, result: result,
    "z": lambda a, b, result: result,
    "c": lambda a, b, result: result.ult(a).zext(32),
    "v": lambda a, b, result: (a ^ result) & (b ^ result),
}


class Vector(Enum):
    """The exceptions: (vector's offset, index, mode entered), ARM ARM A2.6."""

    RESET = (0x00, 0, 0x13)
    UNDEFINED = (0x04, 1, 0x1B)
    SWI = (0x08, 2, 0x13)
    PREFETCH_ABORT = (0x0C, 3, 0x17)
    DATA_ABORT = (0x10, 4, 0x17)
    IRQ = (0x18, 6, 0x12)
    FIQ = (0x1C, 7, 0x11)

    @property
    def offset(self) -> int:
        """Bytes from the vectors' base."""
        return self.value[0]

    @property
    def mode(self) -> int:
        """The mode entered."""
        return self.value[2]


class Fields:
    """The operand fields of the instruction at hand, by the names that its pattern gives them."""

    __slots__ = ("_core", "_places")

    def __init__(self, core: Core, places: dict[str, tuple[int, int]]) -> None:
        self._core = core
        self._places = places

    def __getattr__(self, name: str) -> Value:
        try:
            high, low = self._places[name]
        except KeyError:
            raise AttributeError(f"the instruction's pattern has no field {name!r}") from None
        return self._core.bits(high, low)


Semantics = Callable[["Core", Fields], None]


class Routine(NamedTuple):
    """Shared semantics that back ends may compile once and call: widths of arguments and result."""

    name: str
    function: Callable[..., None]
    arguments: tuple[int, ...]
    result: int | None


ROUTINES: dict[str, Routine] = {}


def routine(*arguments: int, returns: int | None = None) -> Callable[[Callable[..., None]], Routine]:
    """Decorator: make ``function(m, *values)`` a :class:`Routine`; it ends in ``m.ret(value)``."""

    def declare(function: Callable[..., None]) -> Routine:
        ROUTINES[function.__name__] = Routine(function.__name__, function, arguments, returns)
        return ROUTINES[function.__name__]

    return declare


class Core(ABC):
    """An ARM core as semantics see it. Register numbers may be known or not; so may everything.

    Control flow: ``for _ in m.when(condition):`` is this language's ``if``; the body may end in
    :meth:`jump`, :meth:`ret` or an exception. Nothing that was stored is undone by these, so
    semantics read and load first, commit afterwards.
    """

    #: bytes of the instruction: 4, or 2 in Thumb
    instruction_size: int = 4

    # -- values ------------------------------------------------------------------------------

    @abstractmethod
    def const(self, x: int, width: int = 32) -> Value:
        """A constant."""

    @abstractmethod
    def bits(self, high: int, low: int) -> Value:
        """Bits ``high`` to ``low`` of the instruction, as a 32-bit value."""

    @abstractmethod
    def when(self, condition: Value) -> Iterator[None]:
        """Run the loop's body, once, if ``condition`` (width 1) holds."""

    @abstractmethod
    def each_register(self, registers: Value) -> Iterator[tuple[Value, Value]]:
        """For each bit set in ``registers``, upwards: its number, and how many came before it."""

    # -- state -------------------------------------------------------------------------------

    @abstractmethod
    def get(self, field: str, index: Value | int | None = None) -> Value:
        """A 32-bit field of :class:`CpuState`, an array's element with ``index``."""

    @abstractmethod
    def set(self, field: str, value: Value, index: Value | int | None = None) -> None:
        """Write a 32-bit field of :class:`CpuState`."""

    @abstractmethod
    def reg(self, number: Value | int) -> Value:
        """A register of the present mode; r15 is the instruction's address plus 8 (4 in Thumb)."""

    @abstractmethod
    def set_reg(self, number: Value | int, value: Value) -> None:
        """Write a register; writing r15 jumps, in the present instruction set."""

    @abstractmethod
    def set_base(self, number: Value | int, value: Value) -> None:
        """Write back a base register; r15 as a base that is written back is unpredictable."""

    # -- control -----------------------------------------------------------------------------

    @abstractmethod
    def jump(self, address: Value) -> None:
        """Go on at ``address`` in the present instruction set; ends the instruction."""

    @abstractmethod
    def jump_any(self, address: Value) -> None:
        """Go on at ``address`` in the instruction set that ``control`` says; ends the instruction."""

    @abstractmethod
    def exception(self, vector: Vector) -> None:
        """Take UNDEFINED or SWI for this instruction; ends it."""

    @abstractmethod
    def end_block(self) -> None:
        """What follows may see another mode, mapping or interrupt mask: check before going on."""

    @abstractmethod
    def call(self, routine: Routine, *arguments: Value) -> Value:
        """Run a routine; its result (a constant 0 of width 1 when it has none)."""

    @abstractmethod
    def ret(self, value: Value | None = None) -> None:
        """End the routine at hand."""

    # -- memory ------------------------------------------------------------------------------

    @abstractmethod
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
        """Load ``size`` bytes (1, 2, 4), extended to 32 bits; an abort ends the instruction.

        An unaligned word is rotated, unless it is of a ``block`` transfer. ``user``: with user
        privilege. ``undo`` is run before an abort is taken.
        """

    @abstractmethod
    def store(
        self,
        address: Value,
        value: Value,
        size: int,
        *,
        user: bool = False,
    ) -> None:
        """Store the low ``size`` bytes of ``value``; an abort ends the instruction."""

    def load_block(
        self,
        registers: Value,
        address: Value,
        assign: Callable[[Value, Value], None],
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Load consecutive words from ``address``: ``assign(number, word)`` for each register."""
        for number, before in self.each_register(registers):
            assign(number, self.load(address + (before << 2), 4, block=True, undo=undo))

    def store_block(self, registers: Value, address: Value, value_of: Callable[[Value], Value]) -> None:
        """Store ``value_of(number)`` for each register to consecutive words from ``address``."""
        for number, before in self.each_register(registers):
            self.store(address + (before << 2), value_of(number), 4)

    @abstractmethod
    def load_physical(self, address: Value) -> Value:
        """The word at a physical address (a page table's), 0 where there is no memory."""

    @abstractmethod
    def flush_tlbs(self) -> None:
        """Forget every translation."""

    @abstractmethod
    def switch_domains(self, value: Value) -> None:
        """The DACR, which is still the old one, is about to become ``value``."""

    @abstractmethod
    def flush_tlb_page(self, address: Value) -> None:
        """Forget the translation of the 4 KiB page at virtual ``address``; more is allowed."""

    @abstractmethod
    def select_privilege(self, user: Value) -> None:
        """From now on accesses have user privilege (width 1: 1) or not."""

    @abstractmethod
    def notice(self, event: int, changed: Value) -> None:
        """Where ``changed`` (width 1) holds, debuggers may have asked to stop behind this instruction.

        ``event`` is one of ``CATCH_MODE`` and so on. The instruction ends its block anyway.
        """

    @abstractmethod
    def wait_for_interrupt(self) -> None:
        """Idle after this instruction, until an interrupt is requested."""

    # -- what follows from the above -----------------------------------------------------------

    def known(self, value: Value) -> int:
        """The constant that ``value`` is: a field that decides what the instruction does."""
        constant = value.constant
        assert constant is not None, "this field must be among the decoded bits"
        return constant

    def stored_reg(self, number: Value) -> Value:
        """A register as STR and STM store it: r15 is the address plus 12 on the ARM9TDMI."""
        return self.reg(number) + number.eq(15).select(4, 0)

    @property
    def carry(self) -> Value:
        """The C flag, of width 1."""
        return self.get("c").trunc(1)

    def set_carry(self, value: Value) -> None:
        """Set the C flag from a value of width 1."""
        self.set("c", value.zext(32))

    def set_nz(self, result: Value) -> None:
        """Set the N and Z flags by a 32-bit result."""
        self.set("n", result)
        self.set("z", result)

    def set_overflow(self, bit31: Value) -> None:
        """Set the V flag from bit 31 of a value."""
        self.set("v", bit31)

    def set_difference_flags(self, a: Value, b: Value, result: Value) -> None:
        """Set all flags by ``a - b``, which is ``result``."""
        self.set_flags(DIFFERENCE_FLAGS, a, b, result)

    def set_sum_flags(self, a: Value, b: Value, result: Value) -> None:
        """Set all flags by ``a + b``, which is ``result``."""
        self.set_flags(SUM_FLAGS, a, b, result)

    def set_flags(self, how: FlagsOfOperands, a: Value, b: Value, result: Value) -> None:
        """Set all flags by an operation on ``a`` and ``b``."""
        for flag, made in how.items():
            self.set(flag, made(a, b, result))

    def read_cpsr(self) -> Value:
        """The CPSR put together."""
        return (
            (self.get("n") & N)
            | self.get("z").eq(0).select(Z, 0)
            | (self.get("c") << 29)
            | ((self.get("v") >> 3) & V)
            | self.get("control")
        )

    def write_flags(self, cpsr: Value) -> None:
        """Set N Z C V from a CPSR value."""
        self.set("n", cpsr)
        self.set("z", ~cpsr & Z)
        self.set("c", cpsr.bits(29, 29))
        self.set("v", cpsr << 3)
