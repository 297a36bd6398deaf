"""From source text to bytes at addresses: labels, directives, literal pools.

Two passes. The first one walks the statements and gives each its address: that needs no values but
those of directives that take room (``.space``), so these must be known by then. The second one makes
the bytes, when every label has its address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dbgemu.target.arm.assembler import a32, t16
from dbgemu.target.arm.assembler.syntax import AssemblyError, Operands, tokenize, unescape

_PIECE = re.compile(
    r"""(?P<quoted>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])'?)
      | (?P<comment>@[^\n]*|//[^\n]*|/\*.*?\*/|(?m:^[ \t]*\#[^\n]*))
      | (?P<end>[;\n])
      | [^"'@/\#;\n]+
      | .""",
    re.VERBOSE | re.DOTALL,
)
_NAME = r"[A-Za-z_.$][\w.$]*"
_LABEL = re.compile(rf"({_NAME}|\d+)\s*:\s*")
_ASSIGNMENT = re.compile(rf"({_NAME})\s*=\s*(.*)", re.DOTALL)
_STRING = re.compile(r'\s*"((?:\\.|[^"\\])*)"\s*(,?)')
_LOCAL = re.compile(r"(\d+)([bf])")

_ARM_NOP, _THUMB_NOP = b"\x00\x00\xa0\xe1", b"\xc0\x46"


class Symbol(NamedTuple):
    """A label: its address, without the Thumb bit, and whether Thumb code follows.

    ``data_size`` is how many bytes each value of the ``.word`` or the like has that follows; 0 for none.
    """

    name: str
    address: int
    thumb: bool
    data_size: int = 0


@dataclass
class Program:
    """Assembled source. Addresses are absolute."""

    base: int
    data: bytes = b""
    #: labels and assigned names but for local ones (numbers and ``.L...``)
    symbols: dict[str, int] = field(default_factory=dict)
    labels: list[Symbol] = field(default_factory=list)
    #: address and source line (from 1) of each instruction
    lines: list[tuple[int, int]] = field(default_factory=list)
    #: where ARM code ("a"), Thumb code ("t") or data ("d") starts
    regions: list[tuple[int, str]] = field(default_factory=list)

    def __getitem__(self, name: str) -> int:
        """A symbol's value; KeyError when there is none."""
        return self.symbols[name]


def assemble(source: str, base: int = 0, *, thumb: bool = False) -> bytes:
    """The machine code of ``source`` for the address ``base``, in ARM state unless ``thumb``.

    Raises AssemblyError, which names the line.
    """
    return assemble_program(source, base, thumb=thumb).data


def assemble_program(source: str, base: int = 0, *, thumb: bool = False) -> Program:
    """Like :func:`assemble`, with symbols and source lines."""
    return Assembler(base, thumb).run(source)


def _statements(source: str) -> Iterator[tuple[int, str]]:
    """Line number and text of each statement, comments taken out."""
    line, text = 1, ""
    for match in _PIECE.finditer(source + "\n"):
        piece = match[0]
        if match["end"]:
            yield line, text.strip()
            text = ""
        elif match["comment"]:
            text += " "
        else:
            text += piece
        line += piece.count("\n")


@dataclass
class _Item:
    """Something with an address, whose bytes come in the second pass; the scope of its expressions."""

    assembler: Assembler
    line: int
    text: str
    order: int
    size: int
    emit: Callable[[_Item], bytes]
    here: int
    literals: dict[tuple[object, ...], _Item] = field(default_factory=dict)

    def lookup(self, name: str) -> int:
        """The value of a symbol or local label."""
        return self.assembler.lookup(name, self)

    def literal(self, tokens: tuple[str, ...]) -> int:
        """The address of the pool's word for ``tokens``."""
        return self.literals[self.literal_key(tokens)].here

    def literal_key(self, tokens: tuple[str, ...]) -> tuple[object, ...]:
        """What tells literals apart: those that depend on where they are used are not shared."""
        bound = any(token == "." or _LOCAL.fullmatch(token) for token in tokens)
        return (*tokens, self.order) if bound else tokens


class Assembler:
    """One run over one source text."""

    def __init__(self, base: int, thumb: bool) -> None:
        self.program = Program(base)
        self.here = base
        self.thumb = thumb
        self._items: list[_Item] = []
        self._pool: dict[tuple[object, ...], _Item] = {}
        #: number of a local label -> (statement, address) of each definition
        self._local: dict[str, list[tuple[int, int]]] = {}
        self._values: dict[str, int] = {}
        self._addresses: set[str] = set()
        self._functions: set[str] = set()
        self._thumb_labels: set[str] = set()
        self._next_is_function = False
        self._order = 0
        #: address -> bytes of each value of the data there
        self._data_sizes: dict[int, int] = {}
        self._line, self._text = 0, ""
        self._first_pass = True

    def run(self, source: str) -> Program:
        """Assemble; AssemblyError with the line when that cannot be done."""
        try:
            for self._line, self._text in _statements(source):
                self._order += 1
                self._statement(self._text)
            self._place_pool()
            self._first_pass = False
            return self._emit()
        except AssemblyError as error:
            raise AssemblyError(f"line {self._line}: {self._text}: {error}") from None

    def _emit(self) -> Program:
        program, out = self.program, bytearray()
        for item in self._items:
            self._line, self._text = item.line, item.text
            out += item.emit(item)
        program.data = bytes(out)
        program.labels = [
            label._replace(data_size=self._data_sizes.get(label.address, 0)) for label in program.labels
        ]
        program.symbols = {name: v for name, v in self._values.items() if not name.startswith(".L")}
        return program

    def lookup(self, name: str, item: _Item) -> int:
        """The value of ``name`` as ``item`` sees it."""
        local = _LOCAL.fullmatch(name)
        if local is not None:
            places = self._local.get(local[1], [])
            if local[2] == "b":
                found = [address for order, address in places if order <= item.order][-1:]
            else:
                found = [address for order, address in places if order > item.order][:1]
            if found:
                return found[0]
        elif name in self._values:
            return self._values[name]
        when = (
            "is not known yet, where its value decides how much room is taken"
            if self._first_pass
            else "is not defined"
        )
        raise AssemblyError(f"{name!r} {when}")

    def data_value(self, operands: Operands, low: int, high: int) -> int:
        """A value for data: the address of a Thumb function has bit 0 set, as BX wants it."""
        start = operands.position
        value = operands.value(low, high)
        names = [token for token in operands.tokens[start : operands.position] if token in self._addresses]
        return value | (len(names) == 1 and names[0] in self._functions & self._thumb_labels)

    # -- first pass --------------------------------------------------------------------------

    def _statement(self, text: str) -> None:
        while (label := _LABEL.match(text)) is not None:
            self._define_label(label[1])
            text = text[label.end() :]
        if not text:
            return
        assignment = _ASSIGNMENT.fullmatch(text)
        if assignment is not None:
            self._assign(assignment[1], assignment[2])
            return
        mnemonic, _, operands = text.replace("\t", " ").partition(" ")
        mnemonic = mnemonic.lower()
        if not mnemonic.startswith("."):
            self._instruction(mnemonic, operands.strip())
            return
        directive = _DIRECTIVES.get(mnemonic)
        if directive is None:
            raise AssemblyError(f"{mnemonic!r} is not a known directive")
        directive(self, operands.strip())

    def _define_label(self, name: str) -> None:
        if name.isdecimal():
            self._local.setdefault(name, []).append((self._order, self.here))
            return
        self._set(name, self.here)
        self._addresses.add(name)
        if self.thumb:
            self._thumb_labels.add(name)
        if self._next_is_function:
            self._functions.add(name)
            self._next_is_function = False
        if not name.startswith(".L"):
            self.program.labels.append(Symbol(name, self.here, self.thumb))

    def _set(self, name: str, value: int) -> None:
        if name in self._values:
            raise AssemblyError(f"{name!r} is defined already")
        self._values[name] = value

    def _assign(self, name: str, expression: str) -> None:
        self._set(name, self._number(expression))

    def _item(self, size: int, emit: Callable[[_Item], bytes], region: str = "") -> _Item:
        """Room for ``size`` bytes here, given by ``emit`` in the second pass."""
        regions = self.program.regions
        if size and region and (not regions or regions[-1][1] != region):
            regions.append((self.here, region))
        item = _Item(self, self._line, self._text, self._order, size, emit, self.here, literals=self._pool)
        self._items.append(item)
        self.here += size
        return item

    def _bytes(self, data: bytes, region: str = "d") -> None:
        self._item(len(data), lambda item: data, region)

    def _operands(self, text: str) -> Operands:
        """Operands of a directive, whose values must be known in the first pass."""
        scope = _Item(self, self._line, self._text, self._order, 0, lambda item: b"", self.here)
        return Operands(text, scope)

    def _number(self, text: str) -> int:
        operands = self._operands(text)
        value = operands.value()
        operands.end()
        return value

    def _instruction(self, mnemonic: str, text: str) -> None:
        thumb = self.thumb
        if self.here & (1 if thumb else 3):
            unit = 2 if thumb else 4
            raise AssemblyError(
                f"an instruction cannot be at 0x{self.here:x}, no multiple of {unit}: use .align"
            )
        size = t16.size(mnemonic) if thumb else 4
        encode = t16.encode if thumb else a32.encode

        def emit(item: _Item) -> bytes:
            return encode(mnemonic, Operands(text, item)).to_bytes(size, "little")

        self.program.lines.append((self.here, self._line))
        item = self._item(size, emit, "t" if thumb else "a")
        if mnemonic.startswith("ldr") and "=" in text:
            tokens = tuple(tokenize(text.partition("=")[2]))
            self._pool.setdefault(item.literal_key(tokens), _word(item, tokens))

    def _place_pool(self) -> None:
        if self._pool:
            self._align(4)
        for literal in self._pool.values():
            placed = self._item(4, literal.emit, "d")
            literal.here = placed.here
        self._pool = {}

    def _align(self, boundary: int, fill: int | None = None) -> None:
        if boundary <= 0 or boundary & (boundary - 1):
            raise AssemblyError(f"{boundary} is not a power of two")
        gap = -self.here % boundary
        region = self.program.regions[-1][1] if self.program.regions else "d"
        nop = _ARM_NOP if region == "a" else _THUMB_NOP
        if fill is not None or region == "d":
            self._bytes(bytes([fill or 0]) * gap, region)
        else:
            self._bytes(bytes(gap % len(nop)) + nop * (gap // len(nop)), region)

    # -- directives --------------------------------------------------------------------------

    def _data(self, text: str, size: int) -> None:
        tokens = tokenize(text)
        if not tokens:
            raise AssemblyError("a value is missing")
        depth = count = 0
        for token in tokens:
            depth += (token == "(") - (token == ")")
            count += token == "," and not depth

        def emit(item: _Item) -> bytes:
            operands, out = Operands(tuple(tokens), item), b""
            while not out or operands.accept(","):
                value = self.data_value(operands, -(1 << 8 * size - 1), (1 << 8 * size) - 1)
                out += (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
            operands.end()
            return out

        self._data_sizes[self.here] = size
        self._item((count + 1) * size, emit, "d")

    def _strings(self, text: str, tail: bytes) -> None:
        position, more = 0, True
        while more:
            match = _STRING.match(text, position)
            if match is None:
                raise AssemblyError("a string in double quotes is wanted")
            self._bytes(unescape(match[1]) + tail)
            position, more = match.end(), bool(match[2])
        if text[position:].strip():
            raise AssemblyError(f"{text[position:].strip()!r} is too much")

    def _space(self, text: str) -> None:
        operands = self._operands(text)
        size = operands.value(0, 1 << 28)
        fill = operands.value(-128, 255) if operands.accept(",") else 0
        operands.end()
        self._bytes(bytes([fill & 0xFF]) * size)

    def _fill(self, text: str) -> None:
        operands = self._operands(text)
        count, size, value = operands.value(0, 1 << 28), 1, 0
        if operands.accept(","):
            size = operands.value(1, 8)
        if operands.accept(","):
            value = operands.value() & ((1 << 8 * size) - 1)
        operands.end()
        self._bytes(value.to_bytes(size, "little") * count)

    def _align_to(self, text: str, *, power: bool) -> None:
        operands = self._operands(text)
        boundary = operands.value(0, 28 if power else 1 << 28) if operands.next else 2 if power else 4
        fill = operands.value(0, 255) if operands.accept(",") else None
        operands.end()
        self._align(1 << boundary if power else boundary, fill)

    def _instruction_word(self, text: str) -> None:
        size = 2 if self.thumb else 4
        self._bytes(self._number(text).to_bytes(size, "little"), "t" if self.thumb else "a")

    def _code(self, text: str) -> None:
        width = self._number(text)
        if width not in (16, 32):
            raise AssemblyError(f"code is 16 or 32 bits wide, not {width}")
        self.thumb = width == 16

    def _thumb_function(self, text: str) -> None:
        self.thumb = self._next_is_function = True

    def _type(self, text: str) -> None:
        name, _, kind = (part.strip() for part in text.partition(","))
        if kind in ("%function", "@function", "#function"):
            self._functions.add(name)

    def _assign_directive(self, text: str) -> None:
        name, comma, expression = text.partition(",")
        if not comma or not re.fullmatch(_NAME, name.strip()):
            raise AssemblyError("a name, a comma and a value are wanted")
        self._assign(name.strip(), expression)

    def _pool_here(self, text: str) -> None:
        self._place_pool()

    def _neutral(self, text: str) -> None:
        """Say nothing: there is one section, one architecture and one syntax."""


def _word(user: _Item, tokens: tuple[str, ...]) -> _Item:
    """A pool's literal; its expression is evaluated where its first user is."""

    def emit(placed: _Item) -> bytes:
        operands = Operands(tokens, user)
        value = user.assembler.data_value(operands, -(1 << 31), (1 << 32) - 1)
        operands.end()
        return (value & 0xFFFF_FFFF).to_bytes(4, "little")

    return _Item(user.assembler, user.line, user.text, user.order, 4, emit, 0)


Directive = Callable[[Assembler, str], None]


def _data_of(size: int) -> Directive:
    return lambda assembler, text: assembler._data(text, size)


def _neutral_names() -> tuple[str, ...]:
    return (".text", ".global", ".globl", ".syntax", ".arch", ".cpu", ".size", ".func", ".endfunc", ".end")


_DIRECTIVES: dict[str, Directive] = {
    **{name: _data_of(1) for name in (".byte", ".1byte")},
    **{name: _data_of(2) for name in (".hword", ".short", ".2byte")},
    **{name: _data_of(4) for name in (".word", ".long", ".int", ".4byte")},
    **{name: _data_of(8) for name in (".quad", ".8byte")},
    ".ascii": lambda assembler, text: assembler._strings(text, b""),
    ".asciz": lambda assembler, text: assembler._strings(text, b"\0"),
    ".string": lambda assembler, text: assembler._strings(text, b"\0"),
    ".space": Assembler._space,
    ".skip": Assembler._space,
    ".zero": Assembler._space,
    ".fill": Assembler._fill,
    ".align": lambda assembler, text: assembler._align_to(text, power=True),
    ".p2align": lambda assembler, text: assembler._align_to(text, power=True),
    ".balign": lambda assembler, text: assembler._align_to(text, power=False),
    ".inst": Assembler._instruction_word,
    ".arm": lambda assembler, text: assembler._code("32"),
    ".thumb": lambda assembler, text: assembler._code("16"),
    ".code": Assembler._code,
    ".thumb_func": Assembler._thumb_function,
    ".type": Assembler._type,
    ".equ": Assembler._assign_directive,
    ".set": Assembler._assign_directive,
    ".ltorg": Assembler._pool_here,
    ".pool": Assembler._pool_here,
    **dict.fromkeys(_neutral_names(), Assembler._neutral),
}
