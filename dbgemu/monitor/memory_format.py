"""The formats of x, xp, print, i and o: QEMU's letters, and how values look in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from dbgemu.monitor.command import CommandError

if TYPE_CHECKING:
    import capstone

#: bytes by letter
SIZES = {"b": 1, "h": 2, "w": 4, "g": 8}
#: what a size is called in a sentence
SIZE_NAMES = {1: "byte", 2: "half word", 4: "word", 8: "double word"}

FORMAT_HELP = """\
FORMAT is a count, a letter for how and a letter for the size, each of which may be left out:
  x hexadecimal, d signed, u unsigned, o octal, c characters, i instructions
  b 1 byte, h 2, w 4, g 8"""

_FORMAT = re.compile(r"(\d*)([xduoci]?)([bhwg]?)([xduoci]?)")
#: values of a size in a line
_IN_A_LINE = {1: 8, 2: 8, 4: 4, 8: 2}
_MAX_BYTES = 1 << 16
_OCTAL_DIGITS = {1: 3, 2: 6, 4: 11, 8: 22}
_DECIMAL_DIGITS = {1: 3, 2: 5, 4: 10, 8: 20}


@dataclass(frozen=True)
class Format:
    """``count`` values of ``size`` bytes each, shown as ``letter`` says (i: instructions)."""

    count: int = 1
    letter: str = "x"
    size: int = 4

    def __str__(self) -> str:
        size = next(letter for letter, size in SIZES.items() if size == self.size)
        return f"{self.count}{self.letter}{size}"

    @property
    def length(self) -> int:
        """Bytes that the values take; for instructions as many as they may."""
        return self.count * (4 if self.letter == "i" else self.size)

    def show(self, value: int) -> str:
        """One value of this format (not i)."""
        bits = 8 * self.size
        value &= (1 << bits) - 1
        match self.letter:
            case "d":
                return str(value - (1 << bits) if value >> bits - 1 else value)
            case "u":
                return str(value)
            case "o":
                return f"0{value:0{_OCTAL_DIGITS[self.size]}o}"
            case "c":
                return _character(value)
            case _:
                return f"0x{value:0{2 * self.size}x}"

    def show_padded(self, value: int) -> str:
        """One value as wide as the widest, for columns."""
        if self.letter in "du":
            return self.show(value).rjust(_DECIMAL_DIGITS[self.size] + (self.letter == "d"))
        return self.show(value)


def _character(value: int) -> str:
    named = {0x00: "\\0", 0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r", 0x27: "\\'", 0x5C: "\\\\"}
    if value > 0xFF:
        return f"0x{value:x}"
    if value in named:
        return f"'{named[value]}'"
    return f"'{chr(value)}'" if 0x20 <= value < 0x7F else f"'\\x{value:02x}'"


def parse_format(text: str, default: Format) -> Format:
    """The format that ``text`` (what stands behind the slash) says; CommandError where it says none."""
    match = _FORMAT.fullmatch(text)
    if match is None or (match[2] and match[4]):
        raise CommandError(f"'/{text}' is no format: it is a count, one of x d u o c i, one of b h w g")
    letter = match[2] or match[4]
    found = default
    if letter:
        found = replace(found, letter=letter, size=1 if letter == "c" else found.size)
    if match[3]:
        found = replace(found, size=SIZES[match[3]])
    found = replace(found, count=int(match[1][:8]) if match[1] else 1)
    if not 0 < found.length <= _MAX_BYTES:
        raise CommandError(f"'/{text}' is no format: it shows 1 byte to {_MAX_BYTES >> 10} KiB at once")
    return found


@dataclass(frozen=True)
class Line:
    """What stands behind an address: text, and the values or the instruction for scripts."""

    address: int
    text: str
    data: dict[str, Any]
    #: bytes of memory that it shows
    length: int


def value_lines(form: Format, address: int, data: bytes) -> Iterator[Line]:
    """``data`` from ``address`` on as lines of values."""
    row = _IN_A_LINE[form.size] * form.size
    for start in range(0, len(data), row):
        part = data[start : start + row]
        pieces = (part[place : place + form.size] for place in range(0, len(part), form.size))
        values = [int.from_bytes(piece, "little") for piece in pieces]
        text = " ".join(map(form.show_padded, values))
        yield Line(address + start, text, {"values": values}, len(part))


def instruction_lines(count: int, address: int, data: bytes, *, thumb: bool) -> Iterator[Line]:
    """Up to ``count`` instructions from ``address`` on."""
    decoder = _decoder(thumb)
    place, unit = 0, 2 if thumb else 4
    for _ in range(count):
        if place + unit > len(data):
            return
        decoded = next(decoder.disasm_lite(data[place : place + 4], address + place, 1), None)
        size = decoded[1] if decoded else unit
        code = int.from_bytes(data[place : place + unit], "little")
        digits = f"{code:0{2 * unit}x}"
        if size > unit:
            digits += f" {int.from_bytes(data[place + 2 : place + 4], 'little'):04x}"
        text = f"{decoded[2]} {decoded[3]}".rstrip() if decoded else f"(undefined: 0x{digits})"
        padded = digits.ljust(9) if thumb else digits
        yield Line(address + place, f"{padded}  {text}", {"code": digits, "text": text}, size)
        place += size


@cache
def _decoder(thumb: bool) -> capstone.Cs:
    import capstone  # which takes its time

    return capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB if thumb else capstone.CS_MODE_ARM)
