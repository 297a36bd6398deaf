"""Device registers, declared: from one declaration come dispatch, reset, dumps, names and docs.

A device is a class with :class:`Register` attributes::

    class Watchdog(Device):
        WTCON = Register(0x00, reset=0x8021, width=16, doc="Control", fields=(
            Field("PRESCALER", 15, 8, "prescaler value"),
            Field("ENABLE", 5, doc="the counter runs"),
        ))
        WTCNT = Register(0x08, reset=0x8000, width=16, doc="Counter")

        @WTCON.write
        def _write_control(self, value: int) -> None:
            self.WTCON = value
            self._restart()

        @WTCNT.read            # also used as peek, so it must have no side effects
        def _read_counter(self) -> int: ...

On the class, ``Watchdog.WTCON`` is the declaration; on an instance, ``wdt.WTCON`` is the stored value, a
plain int. ``WTCON["ENABLE"].get(value)`` extracts a field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])

_NO_VALUES: Mapping[int, str] = MappingProxyType({})


class Field:
    """Bits ``high`` to ``low`` (inclusive; one bit when ``low`` is left out) of a register."""

    __slots__ = ("doc", "high", "low", "name", "values")

    def __init__(
        self,
        name: str,
        high: int,
        low: int | None = None,
        doc: str = "",
        values: Mapping[int, str] = _NO_VALUES,
    ) -> None:
        self.name = name
        self.high = high
        self.low = high if low is None else low
        self.doc = doc
        self.values = values

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((2 << (self.high - self.low)) - 1) << self.low

    def get(self, word: int) -> int:
        """The field's value in the register value ``word``."""
        return (word & self.mask) >> self.low

    def put(self, word: int, value: int) -> int:
        """``word`` with the field set to ``value`` (cut to the field's width)."""
        return (word & ~self.mask) | (value << self.low & self.mask)

    def describe(self, word: int) -> str:
        """``NAME=value`` with the value's meaning where one is declared."""
        value = self.get(word)
        meaning = self.values.get(value)
        return f"{self.name}={value:#x} ({meaning})" if meaning else f"{self.name}={value:#x}"


class Register:
    """One register of a device.

    ``offset`` is in bytes from the device's base, ``width`` in bits (8, 16 or 32; what is above
    reads as 0), ``access`` one of "rw", "ro", "wo". ``writable`` masks the bits that a write without
    handler changes (all by default).
    """

    def __init__(
        self,
        offset: int,
        *,
        width: int = 32,
        reset: int = 0,
        access: str = "rw",
        writable: int | None = None,
        sized: bool = False,
        volatile: bool = False,
        fields: tuple[Field, ...] = (),
        doc: str = "",
    ) -> None:
        if access not in ("rw", "ro", "wo"):
            raise ValueError(f"access is {access!r}, not one of 'rw', 'ro', 'wo'")
        self.name = ""
        self.offset = offset
        self.width = width
        self.mask = (1 << width) - 1
        self.reset = reset
        self.access = access
        self.writable = self.mask if writable is None else writable
        #: handlers also get the access size in bytes: ``read(self, size)``, ``write(self, value, size)``
        self.sized = sized
        #: the value is not state: not compared or saved (a counter computed from the clock)
        self.volatile = volatile
        self.fields = fields
        self.doc = doc
        self.read_handler: str | None = None
        self.peek_handler: str | None = None
        self.write_handler: str | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    # A non-data descriptor: the instance's __dict__ entry of the same name, the stored value,
    # hides it, so that handlers read and write registers at the speed of plain attributes.
    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> int: ...
    def __get__(self, instance: object | None, owner: type) -> Self | int:
        return self if instance is None else self.reset

    if TYPE_CHECKING:

        def __set__(self, instance: object, value: int) -> None: ...

    def __getitem__(self, field: str) -> Field:
        """The declared field of that name; KeyError when there is none."""
        for candidate in self.fields:
            if candidate.name == field:
                return candidate
        raise KeyError(f"register {self.name} has no field {field!r}")

    def read(self, handler: F) -> F:
        """Decorator: ``handler(self) -> int`` gives the value of a guest's read.

        It also serves as peek, unless a :meth:`peek` is declared: then it may have side effects.
        """
        self.read_handler = handler.__name__
        return handler

    def peek(self, handler: F) -> F:
        """Decorator: ``handler(self) -> int`` gives what a read would, without side effects."""
        self.peek_handler = handler.__name__
        return handler

    def write(self, handler: F) -> F:
        """Decorator: ``handler(self, value)`` takes a guest's write, instead of storing it."""
        self.write_handler = handler.__name__
        return handler

    @property
    def access_size(self) -> int:
        """Bytes of an access that covers all of it: 1, 2 or 4."""
        return 1 if self.width <= 8 else 2 if self.width <= 16 else 4

    def describe(self, value: int) -> str:
        """The value's fields, decoded, on one line; empty where the value is all that there is to say."""
        if len(self.fields) == 1 and not self.fields[0].low and not self.fields[0].values:
            return ""
        return " ".join(field.describe(value) for field in reversed(self.fields))


def reads(*registers: Register) -> Callable[[F], F]:
    """Decorator: one ``handler(self, register) -> int`` for the reads of several registers."""

    def decorate(handler: F) -> F:
        for register in registers:
            register.read_handler = f"{handler.__name__}:"
        return handler

    return decorate


def peeks(*registers: Register) -> Callable[[F], F]:
    """Decorator: one ``handler(self, register) -> int`` for the peeks of several registers."""

    def decorate(handler: F) -> F:
        for register in registers:
            register.peek_handler = f"{handler.__name__}:"
        return handler

    return decorate


def writes(*registers: Register) -> Callable[[F], F]:
    """Decorator: one ``handler(self, register, value)`` for the writes of several registers."""

    def decorate(handler: F) -> F:
        for register in registers:
            register.write_handler = f"{handler.__name__}:"
        return handler

    return decorate


@dataclass(frozen=True)
class RegisterValue:
    """A register and its value at one moment, for dumps."""

    register: Register
    value: int

    def __iter__(self) -> Iterator[tuple[Field, int]]:
        return ((field, field.get(self.value)) for field in self.register.fields)
