"""The base of every device on the bus: register dispatch, reset, dumps, save and load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from dbgemu.target.clock import Timer
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.registers import Register, RegisterValue

Reader = Callable[[], int]
Writer = Callable[[int], None]


class Device:
    """A block of registers. Subclasses declare them (see :mod:`dbgemu.target.registers`).

    ``STATE`` names the attributes that are state beside the registers: plain data (int, str, bytes,
    bool, None, and lists, tuples and dicts of these) or :class:`Timer`. They are what is saved.
    """

    #: what the block is, for dumps: the heading of its chapter in the manual
    title: ClassVar[str] = ""
    #: bytes of address space
    size: ClassVar[int] = 0x1000
    STATE: ClassVar[tuple[str, ...]] = ()
    registers: ClassVar[Mapping[str, Register]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found: dict[str, Register] = dict(cls.registers)
        found.update((name, item) for name, item in vars(cls).items() if isinstance(item, Register))
        cls.registers = dict(sorted(found.items(), key=lambda item: item[1].offset))

    def __init__(self, name: str, log: GuestLog | None = None) -> None:
        self.name = name
        self.log = log if log is not None else GuestLog()
        self._by_offset = {register.offset: register for register in self.registers.values()}
        self.reset_registers()

    def reset_registers(self) -> None:
        """Give every register its reset value."""
        self.__dict__.update((name, reg.reset) for name, reg in self.registers.items())

    def reset(self) -> None:
        """What the block's reset line does. Subclasses extend it (and call it first)."""
        self.reset_registers()

    def guest_error(self, message: str) -> None:
        """Report that the guest did something no driver should (see :class:`GuestLog`)."""
        self.log.error(self.name, message)

    # -- what the bus calls ------------------------------------------------------------------

    def reader(self, register: Register) -> Reader:
        """The function that a guest's read of ``register`` calls (not for sized registers)."""
        name = register.read_handler
        if register.access == "wo" and name is None:

            def refuse() -> int:
                self.guest_error(f"read of the write-only register {register.name}")
                return 0

            return refuse
        return self._getter(register, name)

    def peeker(self, register: Register) -> Reader:
        """The function that gives the value of ``register`` without side effects."""
        if register.peek_handler is None and register.sized:
            return self._getter(register, None)
        return self._getter(register, register.peek_handler or register.read_handler)

    def _getter(self, register: Register, handler: str | None) -> Reader:
        if handler is None:
            stored, name = self.__dict__, register.name
            return lambda: stored[name]
        if handler.endswith(":"):
            shared = getattr(self, handler[:-1])
            return lambda: shared(register)
        return getattr(self, handler)  # type: ignore[no-any-return]

    def writer(self, register: Register) -> Writer:
        """The function that a guest's write to ``register`` calls (not for sized registers)."""
        handler = register.write_handler
        if handler is not None:
            if handler.endswith(":"):
                shared = getattr(self, handler[:-1])
                return lambda value: shared(register, value)
            return getattr(self, handler)  # type: ignore[no-any-return]
        if register.access == "ro":
            return lambda value: self.guest_error(
                f"write of 0x{value:x} to the read-only register {register.name}"
            )
        stored, name, mask = self.__dict__, register.name, register.writable & register.mask
        if mask == register.mask:
            return lambda value: stored.__setitem__(name, value & mask)
        return lambda value: stored.__setitem__(name, (stored[name] & ~mask) | (value & mask))

    def locate(self, offset: int) -> Register | None:
        """The register that covers byte ``offset``: within its own word, or None.

        A register narrower than a word answers in the whole word that it lies in.
        """
        exact = self._by_offset.get(offset)
        return exact if exact is not None else self._by_offset.get(offset & ~3)

    def read(self, offset: int, size: int) -> int:
        """A guest's read of ``size`` bytes (1, 2, 4) at byte ``offset``, aligned to its size."""
        register = self.locate(offset)
        if register is None:
            self.guest_error(f"read of {size} bytes at offset 0x{offset:x}, where no register is")
            return 0
        if register.sized and register.read_handler:
            value: int = getattr(self, register.read_handler)(size)
        else:
            if offset != register.offset or 8 * size < register.width:
                self.guest_error(f"read of {size} bytes at offset 0x{offset:x}: {_of(register)}")
            value = self.reader(register)()
        return value >> 8 * (offset - register.offset) & ((1 << 8 * size) - 1)

    def peek(self, offset: int, size: int) -> int:
        """What :meth:`read` would give, without side effects; 0 where no register is."""
        register = self.locate(offset)
        if register is None:
            return 0
        return self.peeker(register)() >> 8 * (offset - register.offset) & ((1 << 8 * size) - 1)

    def write(self, offset: int, size: int, value: int) -> None:
        """A guest's write of ``size`` bytes at byte ``offset``, aligned to its size.

        A write narrower than the register, or beside its first byte, writes all of it: the core repeats a
        byte or halfword on all lanes of the bus (S3C2440A UM 3-30), and the APB has no byte strobes. Most
        registers are to be accessed as words (UM 1, "Important notes about special registers").
        """
        register = self.locate(offset)
        if register is None:
            self.guest_error(
                f"write of 0x{value:x} ({size} bytes) at offset 0x{offset:x}, where no register is"
            )
            return
        if register.sized and register.write_handler:
            getattr(self, register.write_handler)(value, size)
            return
        if offset != register.offset or 8 * size < register.width:
            self.guest_error(f"write of 0x{value:x} ({size} bytes) at offset 0x{offset:x}: {_of(register)}")
            value *= _ON_ALL_LANES[size]
        self.writer(register)(value & register.mask)

    # -- what debuggers and snapshots call ---------------------------------------------------

    def dump(self) -> Iterator[RegisterValue]:
        """Every register with its present value, by offset; no side effects."""
        for register in self.registers.values():
            yield RegisterValue(register, self.peeker(register)())

    def facts(self) -> Iterator[Fact]:
        """What the block is doing, where its registers alone do not tell; no side effects."""
        return iter(())

    def save(self) -> dict[str, Any]:
        """The complete state as plain data."""
        state: dict[str, Any] = {
            name: self.__dict__[name] for name, reg in self.registers.items() if not reg.volatile
        }
        for name in self.STATE:
            value = getattr(self, name)
            state[name] = value.deadline if isinstance(value, Timer) else _copy(value)
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave. Subclasses re-drive their lines (and call it first)."""
        for name, value in state.items():
            current = self.__dict__.get(name)
            if isinstance(current, Timer):
                current.load(value)
            else:
                self.__dict__[name] = _copy(value)


#: what makes a word of a value of that many bytes
_ON_ALL_LANES = {1: 0x01010101, 2: 0x00010001, 4: 1}


def _of(register: Register) -> str:
    width, offset = 8 * register.access_size, register.offset
    return f"the register {register.name} has {width} bits at offset 0x{offset:x}"


def _copy(value: Any) -> Any:
    """A deep copy of plain data, so that a saved state never changes afterwards."""
    match value:
        case list():
            return [_copy(item) for item in value]
        case tuple():
            return tuple(_copy(item) for item in value)
        case dict():
            return {key: _copy(item) for key, item in value.items()}
        case bytearray():
            return bytearray(value)
        case _:
            return value
