"""Expressions of the monitor: addresses, values and conditions as a user types them.

    0x30008000  1M  'A'             numbers: 0x, 0b, 0o, decimal (k, M, G behind it), a character
    $pc  $r13_irq  $sctlr  $cpsr    registers of the CPU, banked ones and cp15 too
    do_fork  jiffies+4              symbols: their addresses (a name that is no symbol may be a register)
    nand.NFCONF  gpio.GPBCON.GPB1   device registers and fields: peeked, nothing is disturbed
    &nand.NFCONF                    the physical address of a device register
    *jiffies  [$sp+8]  {byte}$r0    what memory holds at a virtual address: a word, or {half} and {byte}
    - ~ ! * / % + - << >> < <= > >= == != & ^ | && || ( )     as in C, in C's order

Every value is an unsigned number of 32 bits, and so is each result: ``-1 == 0xffffffff`` is 1, ``1 - 2``
is 0xffffffff, ``/`` and ``<`` are unsigned, ``>>`` shifts zeros in, and shifts of 32 and more give 0.
``&&`` and ``||`` give 0 or 1 and look at their right side only where that matters.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.monitor.command import CommandError
from dbgemu.target.device import Device

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.target.registers import Field, Register

MASK = 0xFFFFFFFF

#: sizes that ``{...}`` takes, in bytes
SIZES = {"byte": 1, "half": 2, "word": 4}
_SUFFIXES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|\d+[kKmMgG]?)(?![\w.])"
    r"|(?P<character>'[^'\\]')"
    r"|(?P<register>\$\w+)"
    r"|(?P<name>[A-Za-z_.][\w.$]*)"
    r"|(?P<size>\{\s*\w+\s*\})"
    r"|(?P<operator><<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>()\[\]]))"
)


class Node(ABC):
    """A part of an expression. ``value`` is for a stopped machine, or its own thread. Raises CommandError."""

    @abstractmethod
    def value(self, session: DebugSession) -> int:
        """What it is now: 0 to 2^32 - 1."""


@dataclass(frozen=True)
class Number(Node):
    """A constant; ``name`` where it is a symbol's address."""

    number: int
    name: str = ""

    def value(self, session: DebugSession) -> int:
        """See :class:`Node`, also for the following."""
        return self.number


@dataclass(frozen=True)
class CpuRegister(Node):
    """A register of the CPU."""

    name: str

    def value(self, session: DebugSession) -> int:
        """Its value."""
        return session.cpu.read_register(self.name)


@dataclass(frozen=True)
class DeviceRegister(Node):
    """A register of a device, or a field of it."""

    device: Device
    register: Register
    field: Field | None = None

    @property
    def name(self) -> str:
        """``nand.NFCONF``."""
        return f"{self.device.name}.{self.register.name}"

    def value(self, session: DebugSession) -> int:
        """A peek."""
        register = self.register
        value = self.device.peek(register.offset, register.access_size)
        return value if self.field is None else self.field.get(value)


@dataclass(frozen=True)
class Memory(Node):
    """``size`` bytes of virtual memory."""

    address: Node
    size: int

    def value(self, session: DebugSession) -> int:
        """Little-endian, as the CPU is."""
        try:
            data = session.cpu.read_memory(self.address.value(session), self.size)
        except MEMORY_ERRORS as error:
            raise CommandError(str(error)) from None
        return int.from_bytes(data, "little")


@dataclass(frozen=True)
class Unary(Node):
    """``-``, ``~`` or ``!``."""

    operator: str
    operand: Node

    def value(self, session: DebugSession) -> int:
        """Of 32 bits."""
        return _UNARY[self.operator](self.operand.value(session)) & MASK


@dataclass(frozen=True)
class Binary(Node):
    """Two operands."""

    operator: str
    left: Node
    right: Node

    def value(self, session: DebugSession) -> int:
        """Of 32 bits."""
        left = self.left.value(session)
        if self.operator == "&&":
            return int(bool(left and self.right.value(session)))
        if self.operator == "||":
            return int(bool(left or self.right.value(session)))
        return _BINARY[self.operator](left, self.right.value(session)) & MASK


def _divided(compute: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def divide(a: int, b: int) -> int:
        if b == 0:
            raise CommandError("the expression divides by zero")
        return compute(a, b)

    return divide


_UNARY: dict[str, Callable[[int], int]] = {"-": lambda a: -a, "~": lambda a: ~a, "!": lambda a: not a}

_BINARY: dict[str, Callable[[int, int], int]] = {
    "*": lambda a, b: a * b,
    "/": _divided(lambda a, b: a // b),
    "%": _divided(lambda a, b: a % b),
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "<<": lambda a, b: a << b if b < 32 else 0,
    ">>": lambda a, b: a >> b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "&": lambda a, b: a & b,
    "^": lambda a, b: a ^ b,
    "|": lambda a, b: a | b,
}

#: how tightly an operator binds, as in C
_LEVELS = {
    operator: level
    for level, operators in enumerate(
        ("||", "&&", "|", "^", "&", "== !=", "< <= > >=", "<< >>", "+ -", "* / %")
    )
    for operator in operators.split()
}


class _Token(NamedTuple):
    kind: str
    text: str


def _tokens(text: str) -> Iterator[_Token]:
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise CommandError(f"'{text[place:].strip()}' in '{text.strip()}' is no expression")
        place = match.end()
        kind = match.lastgroup or ""
        yield _Token(kind, match[kind])


class _Parser:
    """A parser of one text, by precedence."""

    def __init__(self, session: DebugSession, text: str) -> None:
        self._session = session
        self._text = text.strip()
        self._tokens = [*_tokens(text), _Token("end", "")]
        self._place = 0

    def whole(self) -> Node:
        if not self._text:
            raise CommandError("an expression is expected, not nothing")
        node = self._binary(0)
        left = self._tokens[self._place]
        if left.kind != "end":
            raise CommandError(f"'{left.text}' is not expected where it is in '{self._text}'")
        return node

    def _next(self) -> _Token:
        token = self._tokens[self._place]
        self._place += 1
        return token

    def _binary(self, lowest: int) -> Node:
        node = self._unary()
        while (level := _LEVELS.get(self._tokens[self._place].text, -1)) >= lowest:
            operator = self._next().text
            node = Binary(operator, node, self._binary(level + 1))
        return node

    def _unary(self) -> Node:
        token = self._next()
        if token.kind in _LEAVES:
            return _LEAVES[token.kind](self._session, token.text)
        if token.kind == "size":
            return Memory(self._unary(), size_named(token.text.strip("{} \t")))
        match token.text:
            case "-" | "~" | "!":
                return Unary(token.text, self._unary())
            case "+":
                return self._unary()
            case "*":
                return Memory(self._unary(), 4)
            case "&":
                return self._address()
            case "(":
                return self._closed(")")
            case "[":
                return Memory(self._closed("]"), 4)
            case "":
                raise CommandError(f"'{self._text}' is cut off: a value is missing at its end")
        raise CommandError(f"'{token.text}' is not expected where it is in '{self._text}'")

    def _closed(self, closing: str) -> Node:
        node = self._binary(0)
        if self._next().text != closing:
            raise CommandError(f"a '{closing}' is missing in '{self._text}'")
        return node

    def _address(self) -> Node:
        node = self._unary()
        match node:
            case DeviceRegister(field=None):
                return Number(register_address(self._session, node), f"&{node.name}")
            case Memory(address=address):
                return address
            case Number(name=name) if name:
                return node
        raise CommandError(f"'&' takes the address of a device's register or of memory, in '{self._text}'")


def size_named(name: str) -> int:
    """Bytes of ``byte``, ``half`` or ``word``. CommandError."""
    size = SIZES.get(name)
    if size is None:
        raise CommandError(f"'{{{name}}}' is no size: {', '.join(f'{{{item}}}' for item in SIZES)} are")
    return size


def _number(session: DebugSession, text: str) -> Node:
    digits = text[:-1] if text[-1] in "kKmMgG" else text
    number = int(digits, 0 if text[:2].lower() in ("0x", "0b", "0o") else 10)
    number *= _SUFFIXES[text[len(digits) :].lower()]
    if number > MASK:
        raise CommandError(f"{text} does not fit in 32 bits")
    return Number(number)


def _character(session: DebugSession, text: str) -> Node:
    return Number(ord(text[1]) & MASK)


def cpu_register(session: DebugSession, name: str) -> CpuRegister | None:
    """The CPU's register ``name``, in small letters or large; None when there is none."""
    name = name.lower()
    try:
        session.cpu.read_register(name)
    except KeyError:
        return None
    return CpuRegister(name)


def _register(session: DebugSession, text: str) -> Node:
    node = cpu_register(session, text[1:])
    if node is None:
        raise CommandError(f"the CPU has no register '{text}'")
    return node


def _name(session: DebugSession, text: str) -> Node:
    address = session.symbols.address(text)
    if address is not None:
        return Number(address, text)
    if "." in text:
        return device_register(session, text)
    node = cpu_register(session, text)
    if node is None:
        kinds = "symbol, register or number" if len(session.symbols) else "register or number"
        hint = "" if len(session.symbols) else " (and no symbols are loaded)"
        raise CommandError(f"'{text}' is no {kinds}{hint}")
    return node


_LEAVES: dict[str, Callable[[DebugSession, str], Node]] = {
    "number": _number,
    "character": _character,
    "register": _register,
    "name": _name,
}


def device_register(session: DebugSession, text: str) -> DeviceRegister:
    """``device.REGISTER`` or ``device.REGISTER.FIELD``. CommandError."""
    device_name, _, rest = text.partition(".")
    register_name, _, field_name = rest.partition(".")
    device = session.machine.board.devices.get(device_name.lower())
    if device is None:
        raise CommandError(f"'{text}': there is no symbol and no device '{device_name}'")
    register = next((item for item in device.registers.values() if item.name == register_name.upper()), None)
    if register is None:
        raise CommandError(f"device {device.name} has no register '{register_name}'")
    if not field_name:
        return DeviceRegister(device, register)
    field = next((item for item in register.fields if item.name.lower() == field_name.lower()), None)
    if field is None:
        names = ", ".join(item.name for item in register.fields)
        which = f": it has {names}" if names else ""
        raise CommandError(f"register {device.name}.{register.name} has no field '{field_name}'{which}")
    return DeviceRegister(device, register, field)


def register_address(session: DebugSession, node: DeviceRegister) -> int:
    """The physical address of a device's register. CommandError for a device that is not on the bus."""
    for region in session.machine.board.bus.regions():
        if node.device in (region.target, region.writes_to):
            return region.base + node.register.offset - region.offset
    raise CommandError(f"device {node.device.name} is not on the bus: its registers have no addresses")


class Expression:
    """A parsed expression: it can be evaluated many times. ``str()`` is its text."""

    def __init__(self, text: str, node: Node) -> None:
        self.text = text.strip()
        self.node = node

    def __str__(self) -> str:
        return self.text

    def value(self, session: DebugSession) -> int:
        """What it is, for a stopped machine or on the machine's thread. CommandError."""
        return self.node.value(session)

    def evaluate(self, session: DebugSession) -> int:
        """What it is now, from any thread: 0 to 2^32 - 1. CommandError."""
        return session.call(lambda: self.node.value(session))


def parse(session: DebugSession, text: str) -> Expression:
    """Parse ``text``; names are looked up now. CommandError names the part that is wrong."""
    return Expression(text, _Parser(session, text).whole())


def evaluate(session: DebugSession, text: str) -> int:
    """The value of ``text`` now: 0 to 2^32 - 1. CommandError names the part that is wrong."""
    return parse(session, text).evaluate(session)


def names(session: DebugSession) -> Iterator[str]:
    """What expressions can start with, beside symbols: for completion."""
    for number in range(16):
        yield f"$r{number}"
    yield from ("$sp", "$lr", "$pc", "$cpsr", "$spsr")
    yield from (f"${name}" for name in session.cpu.cp15_registers)
    for device in session.machine.board.devices.values():
        yield from (f"{device.name}.{register}" for register in device.registers)
