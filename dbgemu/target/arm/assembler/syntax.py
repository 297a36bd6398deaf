"""Operands of an assembly statement: tokens, registers, lists and expressions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>0[xX][0-9a-fA-F]+|0[bB][01]+(?![0-9fb])|\d+[bf](?!\w)|\d+)
      | (?P<name>[A-Za-z_.$][\w.$]*)
      | (?P<char>'(?:\\.|[^\\'])'?)
      | (?P<mark><<|>>|[-+*/%&|^~()\[\]{},!\#=:])
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": 10, "r": 13, "t": 9, "b": 8, "f": 12, "0": 0, "\\": 92, "'": 39, '"': 34}

CONDITIONS: dict[str, int] = {
    "eq": 0,
    "ne": 1,
    "cs": 2,
    "hs": 2,
    "cc": 3,
    "lo": 3,
    "mi": 4,
    "pl": 5,
    "vs": 6,
    "vc": 7,
    "hi": 8,
    "ls": 9,
    "ge": 10,
    "lt": 11,
    "gt": 12,
    "le": 13,
    "al": 14,
}

REGISTERS: dict[str, int] = {
    **{f"r{n}": n for n in range(16)},
    **{f"a{n + 1}": n for n in range(4)},
    **{f"v{n + 1}": n + 4 for n in range(8)},
    "sb": 9,
    "sl": 10,
    "fp": 11,
    "ip": 12,
    "sp": 13,
    "lr": 14,
    "pc": 15,
}

#: binary operators: precedence (as in C) and meaning
_OPERATORS: dict[str, tuple[int, Callable[[int, int], int]]] = {
    "|": (1, lambda a, b: a | b),
    "^": (2, lambda a, b: a ^ b),
    "&": (3, lambda a, b: a & b),
    "<<": (4, lambda a, b: a << b),
    ">>": (4, lambda a, b: a >> b),
    "+": (5, lambda a, b: a + b),
    "-": (5, lambda a, b: a - b),
    "*": (6, lambda a, b: a * b),
    "/": (6, lambda a, b: a // b),
    "%": (6, lambda a, b: a % b),
}


class AssemblyError(ValueError):
    """Source that cannot be assembled; ``str()`` names the line and says why."""


class Scope(Protocol):
    """What an expression may ask for while it is evaluated."""

    #: the address of the statement
    here: int

    def lookup(self, name: str) -> int:
        """The value of a symbol or a local label (``1f``); AssemblyError when it has none."""

    def literal(self, tokens: tuple[str, ...]) -> int:
        """The address of the literal pool's word with the value of the expression ``tokens``."""


def tokenize(text: str) -> list[str]:
    """The tokens of ``text``."""
    tokens, position = [], 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise AssemblyError(f"{text[position:].strip()[0]!r} makes no sense here")
        tokens.append(match[0].strip())
        position = match.end()
    return tokens


class Operands:
    """A cursor over the operands of one statement. Its methods raise AssemblyError."""

    def __init__(self, text: str | tuple[str, ...], scope: Scope) -> None:
        self.tokens = tokenize(text) if isinstance(text, str) else list(text)
        self.position = 0
        self.scope = scope

    @property
    def next(self) -> str:
        """The token that comes, "" at the end."""
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        """The token that comes, which is passed."""
        token = self.next
        if not token:
            raise AssemblyError("an operand is missing")
        self.position += 1
        return token

    def accept(self, token: str) -> bool:
        """Pass ``token`` if it comes; whether it did."""
        if self.next.lower() != token:
            return False
        self.position += 1
        return True

    def expect(self, token: str) -> None:
        """Pass ``token``, which must come."""
        if not self.accept(token):
            raise AssemblyError(
                f"{token!r} is wanted before {self.next!r}" if self.next else f"{token!r} is missing"
            )

    def end(self) -> None:
        """Nothing may come any more."""
        if self.next:
            raise AssemblyError(f"{self.next!r} is too much")

    # -- registers ---------------------------------------------------------------------------

    @property
    def at_register(self) -> bool:
        """Whether a core register comes."""
        return self.next.lower() in REGISTERS

    def register(self) -> int:
        """A core register, 0 to 15."""
        token = self.take()
        number = REGISTERS.get(token.lower())
        if number is None:
            raise AssemblyError(f"{token!r} is not a register")
        return number

    def low(self) -> int:
        """A register that every Thumb instruction can reach, 0 to 7."""
        token = self.next
        number = self.register()
        if number > 7:
            raise AssemblyError(f"{token!r} is not one of r0 to r7")
        return number

    def numbered(self, letter: str) -> int:
        """A coprocessor (``p15``) or one of its registers (``c0``)."""
        token = self.take()
        match = re.fullmatch(rf"{letter}r?(\d+)", token.lower())
        if match is None or int(match[1]) > 15:
            raise AssemblyError(f"{token!r} is not one of {letter}0 to {letter}15")
        return int(match[1])

    def register_list(self) -> int:
        """``{r0, r4-r7, lr}`` as a mask."""
        self.expect("{")
        mask = 0
        while True:
            first = last = self.register()
            if self.accept("-"):
                last = self.register()
            if last < first:
                raise AssemblyError("the range in the register list runs backwards")
            mask |= (2 << last) - (1 << first)
            if not self.accept(","):
                break
        self.expect("}")
        return mask

    # -- expressions -------------------------------------------------------------------------

    def immediate(self, low: int | None = None, high: int | None = None) -> int:
        """``#expression``, within ``low`` to ``high`` where they are given."""
        self.expect("#")
        return self.value(low, high)

    def value(self, low: int | None = None, high: int | None = None) -> int:
        """An expression's value, within ``low`` to ``high`` where they are given."""
        number = self._binary(0)
        if low is not None and high is not None and not low <= number <= high:
            raise AssemblyError(f"{number} is out of range: {low} to {high}")
        return number

    def target(self, ahead: int) -> int:
        """How far an address is from the pc, which is ``ahead`` of the statement's address."""
        self.accept("#")
        distance = self.value() - (self.scope.here + ahead)
        return ((distance + (1 << 31)) & 0xFFFF_FFFF) - (1 << 31)

    def rest(self) -> tuple[str, ...]:
        """All tokens that come, which are passed."""
        tokens = tuple(self.tokens[self.position :])
        self.position = len(self.tokens)
        return tokens

    def _binary(self, level: int) -> int:
        left = self._unary()
        while (operator := _OPERATORS.get(self.next)) is not None and operator[0] > level:
            self.position += 1
            right = self._binary(operator[0])
            try:
                left = operator[1](left, right)
            except (ZeroDivisionError, ValueError):
                raise AssemblyError("the expression divides by 0 or shifts by less than 0") from None
        return left

    def _unary(self) -> int:
        token = self.take()
        match token:
            case "-":
                return -self._unary()
            case "+":
                return self._unary()
            case "~":
                return ~self._unary()
            case "(":
                inner = self._binary(0)
                self.expect(")")
                return inner
            case ".":
                return self.scope.here
        if token[0] == "'":
            return _character(token)
        prefixed = len(token) > 2 and token[:2].lower() in ("0x", "0b")
        if prefixed or (token[0].isdigit() and token[-1] not in "bf"):
            return _number(token)
        if token[0].isalnum() or token[0] in "_.$":
            if token.lower() in REGISTERS:
                raise AssemblyError(f"the register {token!r} has no value here")
            return self.scope.lookup(token)
        raise AssemblyError(f"{token!r} is not a value")


def _number(token: str) -> int:
    if token[0] == "0" and token.isdecimal():
        try:
            return int(token, 8)
        except ValueError:
            raise AssemblyError(f"{token!r} is not an octal number, as a leading 0 tells") from None
    return int(token, 0)


def _character(token: str) -> int:
    body = token[1:].removesuffix("'") if len(token) > 2 else token[1:]
    return unescape(body)[0]


def unescape(body: str) -> bytes:
    """The bytes of a string's inside, escapes such as ``\\n``, ``\\x1b`` and ``\\033`` replaced."""
    out, position = bytearray(), 0
    while position < len(body):
        match = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))", re.DOTALL).match(body, position)
        if match is None:
            out += body[position].encode()
            position += 1
            continue
        if match[1] is not None:
            out.append(int(match[1], 16))
        elif match[2] is not None:
            out.append(int(match[2], 8) & 0xFF)
        elif match[3] in _ESCAPES:
            out.append(_ESCAPES[match[3]])
        else:
            raise AssemblyError(f"'\\{match[3]}' is not a known escape")
        position = match.end()
    return bytes(out)
