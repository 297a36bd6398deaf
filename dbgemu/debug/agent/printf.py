"""Format strings of agent expressions: C's printf, as far as integers and strings go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_CONVERSION = re.compile(
    r"%(?P<flags>[-+ #0']*)(?P<width>\d*)(?:\.(?P<precision>\d*))?(?P<size>hh|h|ll|l|j|z|t)?(?P<letter>.?)",
    re.DOTALL,
)
_LETTERS = "diuoxXcsp"
#: bits of a value by its size modifier: the guest's types
_BITS = {"hh": 8, "h": 16, "ll": 64, "j": 64}
_ESCAPES = {"a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
#: wider fields are no use to anyone and would take memory
_MAX_WIDTH = 4096


@dataclass(frozen=True)
class Conversion:
    """One conversion specification: its flags, sizes and letter."""

    flags: str
    width: int
    precision: int | None
    bits: int
    letter: str

    def apply(self, value: int | str) -> str:
        """The text for ``value``: a str for %s, else a stack element."""
        if isinstance(value, str):
            text = value if self.precision is None else value[: self.precision]
        elif self.letter == "c":
            text = chr(value & 0xFF)
        else:
            text = self._number(value & (1 << self.bits) - 1)
        return text.ljust(self.width) if "-" in self.flags else text.rjust(self.width)

    def _number(self, value: int) -> str:
        sign = ""
        if self.letter in "di":
            if value >> self.bits - 1:
                value, sign = (1 << self.bits) - value, "-"
            elif "+" in self.flags:
                sign = "+"
            elif " " in self.flags:
                sign = " "
        base = {"o": "o", "x": "x", "X": "X", "p": "x"}.get(self.letter, "d")
        digits = "" if self.precision == 0 and value == 0 else format(value, base)
        if self.letter == "p" or ("#" in self.flags and base in "xX" and value):
            sign = "0X" if base == "X" else "0x"
        digits = digits.rjust(self.precision or 0, "0")
        if "#" in self.flags and base == "o" and not digits.startswith("0"):
            digits = "0" + digits
        if "0" in self.flags and "-" not in self.flags and self.precision is None:
            digits = digits.rjust(self.width - len(sign), "0")
        return sign + digits


@dataclass(frozen=True)
class Format:
    """A format string taken apart: text before, between and after the conversions."""

    text: tuple[str, ...]
    conversions: tuple[Conversion, ...]

    def fill(self, values: Sequence[int | str]) -> str:
        """The output for ``values``, one for each conversion."""
        parts = [self.text[0]]
        for conversion, value, text in zip(self.conversions, values, self.text[1:], strict=True):
            parts += (conversion.apply(value), text)
        return "".join(parts)


def parse_format(source: str) -> Format:
    """Take ``source`` apart, which has its escape sequences as in C. ValueError when it is none."""
    text, conversions = [""], []
    place = 0
    for match in _CONVERSION.finditer(source):
        text[-1] += _unescape(source[place : match.start()])
        place = match.end()
        if match["letter"] == "%" and match[0] == "%%":
            text[-1] += "%"
            continue
        conversions.append(_conversion(match))
        text.append("")
    text[-1] += _unescape(source[place:])
    return Format(tuple(text), tuple(conversions))


def _conversion(match: re.Match[str]) -> Conversion:
    letter = match["letter"]
    if letter not in _LETTERS or not letter:
        raise ValueError(f"the format string's conversion {match[0]!r} is not supported")
    width, precision = int(match["width"] or 0), match["precision"]
    digits = None if precision is None else int(precision or 0)
    if width > _MAX_WIDTH or (digits or 0) > _MAX_WIDTH:
        raise ValueError(f"the format string's conversion {match[0]!r} is wider than {_MAX_WIDTH} characters")
    return Conversion(match["flags"], width, digits, _BITS.get(match["size"] or "", 32), letter)


def _unescape(source: str) -> str:
    def character(match: re.Match[str]) -> str:
        octal, digits, letter = match.groups()
        if octal:
            return chr(int(octal, 8) & 0xFF)
        if digits:
            return chr(int(digits, 16))
        return _ESCAPES.get(letter, letter)

    return _ESCAPE.sub(character, source)
