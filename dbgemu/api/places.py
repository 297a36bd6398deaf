"""What a script reads and writes: memory, the CPU's registers, devices' registers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from dbgemu.api.errors import AddressError, UnknownNameError
from dbgemu.debug.device_state import DeviceState, device_state
from dbgemu.debug.memory import MEMORY_ERRORS

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.target.device import Device
    from dbgemu.target.registers import Register

T = TypeVar("T")

#: an address, or the name of a symbol with what is to be added to it: ``"jiffies+4"``
Where = int | str

_LONGEST_STRING = 1 << 16
_PIECE = 64


def no_such(what: str, name: str, names: Iterator[str] | list[str]) -> UnknownNameError:
    """There is no ``what`` called ``name``; the nearest of ``names`` is suggested."""
    near = get_close_matches(name, list(names), n=1)
    return UnknownNameError(f"there is no {what} '{name}'" + (f": did you mean '{near[0]}'?" if near else ""))


def resolve(session: DebugSession, where: Where) -> int:
    """The address that ``where`` means. UnknownNameError for a symbol that is not known."""
    if isinstance(where, int):
        return where & 0xFFFFFFFF
    name, plus, offset = where.partition("+")
    address = session.symbols.address(name.strip())
    if address is None:
        if not session.symbols.files:
            raise UnknownNameError(f"there is no symbol '{name}': no symbols are loaded (symbols=)")
        raise no_such("symbol", name, session.symbols.complete(name[:2]))
    try:
        return address + (int(offset, 0) if plus else 0) & 0xFFFFFFFF
    except ValueError:
        raise UnknownNameError(f"'{where}' is no address: '{offset}' is no number") from None


class Memory:
    """Memory as the CPU sees it now (virtual addresses), or physical memory. Little-endian.

    Reads disturb nothing: a device's register is peeked. A write to a device is what the CPU's would be.
    Raises AddressError where nothing answers, UnknownNameError for an unknown symbol.
    """

    def __init__(self, session: DebugSession, *, physical: bool = False) -> None:
        self._session = session
        self._physical = physical

    def read(self, where: Where, length: int) -> bytes:
        """``length`` bytes from ``where``."""
        address, memory = resolve(self._session, where), self._session.memory
        try:
            return (memory.read_physical if self._physical else memory.read)(address, length)
        except MEMORY_ERRORS as error:
            raise AddressError(str(error)) from None

    def write(self, where: Where, data: bytes) -> None:
        """Put ``data`` from ``where`` on; code that is changed is executed so from the next instruction."""
        address, memory = resolve(self._session, where), self._session.memory
        try:
            if self._physical:
                memory.write_physical(address, data)
            else:
                memory.write(address, data)
        except MEMORY_ERRORS as error:
            raise AddressError(str(error)) from None

    def read_word(self, where: Where, size: int = 4) -> int:
        """A number of ``size`` bytes."""
        return int.from_bytes(self.read(where, size), "little")

    def write_word(self, where: Where, value: int, size: int = 4) -> None:
        """Write a number of ``size`` bytes; what has more bits is cut."""
        self.write(where, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def read_string(self, where: Where, limit: int = _LONGEST_STRING) -> str:
        """The text up to its zero byte, at most ``limit`` bytes; what is not UTF-8 is replaced."""
        address, found = resolve(self._session, where), bytearray()
        while len(found) < limit:
            # never over the end of a page while the text may end in front of it
            piece = self.read(address, min(limit - len(found), _PIECE - address % _PIECE))
            end = piece.find(0)
            found += piece if end < 0 else piece[:end]
            if end >= 0:
                break
            address += len(piece)
        return found.decode("utf-8", "replace")


class CpuRegisters(MutableMapping[str, int]):
    """The CPU's registers by name: ``r0`` to ``r15``, ``pc``, ``cpsr``, ``r13_irq``, ``ttbr`` and so on.

    Iteration gives r0 to r15 and cpsr. UnknownNameError for a name that does not exist.
    """

    _CORE = (*(f"r{number}" for number in range(16)), "cpsr")

    def __init__(self, session: DebugSession) -> None:
        self._session = session

    def __getitem__(self, name: str) -> int:
        read = self._session.cpu.read_register
        return self._checked(name, lambda: self._session.call(lambda: read(name)))

    def __setitem__(self, name: str, value: int) -> None:
        self._checked(name, lambda: self._session.write_registers({name: value & 0xFFFFFFFF}))

    def _checked(self, name: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except KeyError:
            raise no_such("register", name, [*self._CORE, *self._session.cpu.cp15_registers]) from None

    def __delitem__(self, name: str) -> None:
        raise TypeError("a register cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(self._CORE)

    def __len__(self) -> int:
        return len(self._CORE)


class DeviceView(MutableMapping[str, int]):
    """A device's registers by the manual's names: ``board.devices["nand"]["NFCONF"]``.

    Reads are peeks; a write is what the CPU's would be, through the device's address.
    """

    def __init__(self, session: DebugSession, device: Device) -> None:
        self._session = session
        self._device = device

    @property
    def name(self) -> str:
        """As in the monitor: ``nand``."""
        return self._device.name

    @property
    def state(self) -> DeviceState:
        """Everything about it at this moment; ``state.data()`` is what JSON can say."""
        board = self._session.machine.board
        return self._session.call(lambda: device_state(board, self._device.name))

    def fields(self, register: str) -> dict[str, int]:
        """A register's fields by name."""
        value = self[register]
        return {field.name: field.get(value) for field in self._register(register).fields}

    def _register(self, name: str) -> Register:
        for register in self._device.registers.values():
            if register.name == name.upper():
                return register
        raise no_such(f"register of {self.name}", name, list(self))

    def __getitem__(self, name: str) -> int:
        register = self._register(name)
        return self._session.call(lambda: self._device.peeker(register)()) & register.mask

    def __setitem__(self, name: str, value: int) -> None:
        register = self._register(name)
        size = register.access_size
        self._session.call(lambda: self._device.write(register.offset, size, value & register.mask))

    def __delitem__(self, name: str) -> None:
        raise TypeError("a register cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter([register.name for register in self._device.registers.values()])

    def __len__(self) -> int:
        return len(self._device.registers)


class Devices(Mapping[str, DeviceView]):
    """The board's devices by name."""

    def __init__(self, session: DebugSession) -> None:
        self._session = session
        self._devices = session.machine.board.devices

    def __getitem__(self, name: str) -> DeviceView:
        if name not in self._devices:
            raise no_such("device", name, list(self._devices))
        return DeviceView(self._session, self._devices[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._devices)

    def __len__(self) -> int:
        return len(self._devices)
