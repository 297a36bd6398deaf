"""C's types in DWARF: how they are written, and how values of theirs are shown, as gdb shows them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

#: elements of an array, characters of a text, and levels of structures that are shown
_MOST, _MOST_TEXT, _DEEPEST = 200, 200, 6
#: so many equal elements and more are put together
_REPEATS = 10

_QUALIFIERS = {
    "DW_TAG_const_type": "const",
    "DW_TAG_volatile_type": "volatile",
    "DW_TAG_restrict_type": "restrict",
    "DW_TAG_atomic_type": "_Atomic",
}
_KEYWORDS = {
    "DW_TAG_structure_type": "struct",
    "DW_TAG_class_type": "class",
    "DW_TAG_union_type": "union",
    "DW_TAG_enumeration_type": "enum",
}
#: DWARF 5, 7.8: encodings of base types
_BOOLEAN, _FLOAT, _SIGNED, _SIGNED_CHAR, _UNSIGNED_CHAR = 0x02, 0x04, 0x05, 0x06, 0x08
POINTERS = ("DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type")
#: names behind names: more are damage
_LONGEST_CHAIN = 64


def type_of(die: Any) -> Any:
    """The type that ``die`` refers to; None for void."""
    return die.get_DIE_from_attribute("DW_AT_type") if "DW_AT_type" in die.attributes else None


def name_of(die: Any) -> str:
    """The name that ``die`` has; the empty string for none."""
    found = die.attributes.get("DW_AT_name")
    return "" if found is None else found.value.decode("utf-8", "replace")


def number_of(die: Any, attribute: str) -> int | None:
    """The number that an attribute is; None where there is none, or it has to be computed."""
    found = die.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else None


def plain(kind: Any) -> Any:
    """The type behind typedefs, const and so on; None for void."""
    for _ in range(_LONGEST_CHAIN):
        if kind is None or (kind.tag != "DW_TAG_typedef" and kind.tag not in _QUALIFIERS):
            return kind
        kind = type_of(kind)
    return None


def declaration(kind: Any, name: str = "") -> str:
    """How C declares ``name`` to be of a type: ``int (*name)(void *)``; without a name, the type itself."""
    for _ in range(_LONGEST_CHAIN):
        if kind is None:
            return f"void {name}".rstrip()
        if kind.tag in POINTERS:
            name = ("*" if kind.tag == "DW_TAG_pointer_type" else "&") + name
            inner = type_of(kind)
            if inner is not None and inner.tag in ("DW_TAG_array_type", "DW_TAG_subroutine_type"):
                name = f"({name})"
            kind = inner
        elif kind.tag == "DW_TAG_array_type":
            name += "".join("[]" if count is None else f"[{count}]" for count in dimensions(kind))
            kind = type_of(kind)
        elif kind.tag == "DW_TAG_subroutine_type":
            name += f"({_parameters(kind)})"
            kind = type_of(kind)
        elif kind.tag in _QUALIFIERS:
            inner = type_of(kind)
            if inner is not None and inner.tag in POINTERS:
                name = f" {_QUALIFIERS[kind.tag]} {name}".rstrip() if name else f" {_QUALIFIERS[kind.tag]}"
                kind = inner
                continue
            return f"{_QUALIFIERS[kind.tag]} {declaration(inner, name)}"
        else:
            words = _KEYWORDS.get(kind.tag, ""), name_of(kind) or ("{...}" if kind.tag in _KEYWORDS else "?")
            return " ".join(word for word in (*words, name) if word)
    return f"? {name}".rstrip()


def _parameters(kind: Any) -> str:
    found = [
        declaration(type_of(child)) if child.tag == "DW_TAG_formal_parameter" else "..."
        for child in kind.iter_children()
    ]
    return ", ".join(found) or "void"


def dimensions(kind: Any) -> list[int | None]:
    """The numbers of elements of an array; None where that is not told."""
    found: list[int | None] = []
    for child in kind.iter_children():
        if child.tag == "DW_TAG_subrange_type":
            count, upper = number_of(child, "DW_AT_count"), number_of(child, "DW_AT_upper_bound")
            # a flexible member of gcc's has an upper bound of -1, or none
            found.append(count if count is not None else None if upper is None else upper + 1 & 0xFFFFFFFF)
    return found or [None]


def size_of(kind: Any) -> int:
    """The bytes of a type; 0 where that is not told."""
    kind = plain(kind)
    if kind is None:
        return 0
    if kind.tag == "DW_TAG_array_type" and "DW_AT_byte_size" not in kind.attributes:
        size = size_of(type_of(kind))
        for count in dimensions(kind):
            size *= count or 0
        return size
    found = number_of(kind, "DW_AT_byte_size")
    return found if found is not None else 4 if kind.tag in POINTERS else 0


class Values:
    """Shows values. ``symbol`` describes an address, ``text`` reads what is there, or gives None."""

    def __init__(self, symbol: Callable[[int], str], text: Callable[[int, int], bytes | None]) -> None:
        self._symbol = symbol
        self._text = text

    def show(self, kind: Any, data: bytes, depth: int = 0) -> str:
        """The value of a type that is ``data``."""
        kind = plain(kind)
        if kind is None or len(data) < size_of(kind):
            return "?"
        match kind.tag:
            case "DW_TAG_base_type":
                return _base(kind, data)
            case "DW_TAG_enumeration_type":
                return _enumerator(kind, data)
            case "DW_TAG_structure_type" | "DW_TAG_union_type" | "DW_TAG_class_type":
                return self._structure(kind, data, depth)
            case "DW_TAG_array_type":
                return self._array(type_of(kind), dimensions(kind), data, depth)
        if kind.tag in POINTERS:
            return self._pointer(plain(type_of(kind)), data)
        return f"0x{int.from_bytes(data, 'little'):x}"

    def _pointer(self, target: Any, data: bytes) -> str:
        address = int.from_bytes(data[:4], "little")
        shown = f"0x{address:08x}"
        if not address:
            return shown
        if _is_character(target):
            raw = self._text(address, _MOST_TEXT + 1)
            return shown if raw is None else f"{shown} {_quoted(raw, bounded=False)}"
        symbol = self._symbol(address)
        return f"{shown} <{symbol}>" if symbol else shown

    def _structure(self, kind: Any, data: bytes, depth: int) -> str:
        if depth >= _DEEPEST:
            return "{...}"
        shown = []
        for member in kind.iter_children():
            if member.tag != "DW_TAG_member" or "DW_AT_external" in member.attributes:
                continue
            value = self.show(type_of(member), member_data(member, data), depth + 1)
            name = name_of(member)
            shown.append(f"{name} = {value}" if name else value)
        return "{" + ", ".join(shown) + "}"

    def _array(self, element: Any, counts: list[int | None], data: bytes, depth: int) -> str:
        count = counts[0] or 0
        if len(counts) == 1 and _is_character(plain(element)):
            return _quoted(data[:count])
        if depth >= _DEEPEST:
            return "{...}"
        size = len(data) // count if count else 0
        parts = [data[place * size : (place + 1) * size] for place in range(min(count, _MOST))]
        shown: list[str] = []
        place = 0
        while place < len(parts):
            end = place
            while end < len(parts) and parts[end] == parts[place]:
                end += 1
            if len(counts) > 1:
                value = self._array(element, counts[1:], parts[place], depth + 1)
            else:
                value = self.show(element, parts[place], depth + 1)
            many = end - place >= _REPEATS
            shown += [f"{value} <repeats {end - place} times>"] if many else [value] * (end - place)
            place = end
        return "{" + ", ".join(shown) + ("..." if count > _MOST else "") + "}"


def _is_character(kind: Any) -> bool:
    return (
        kind is not None
        and kind.tag == "DW_TAG_base_type"
        and number_of(kind, "DW_AT_encoding") in (_SIGNED_CHAR, _UNSIGNED_CHAR)
        and size_of(kind) == 1
    )


def _base(kind: Any, data: bytes) -> str:
    size, encoding = size_of(kind), number_of(kind, "DW_AT_encoding")
    data = data[:size]
    if encoding == _FLOAT and size in (4, 8):
        return f"{struct.unpack('<f' if size == 4 else '<d', data)[0]:.9g}"
    value = int.from_bytes(data, "little", signed=encoding in (_SIGNED, _SIGNED_CHAR))
    if encoding == _BOOLEAN:
        return {0: "false", 1: "true"}.get(value, str(value))
    if encoding in (_SIGNED_CHAR, _UNSIGNED_CHAR) and size == 1:
        return f"{value} {_character(value & 0xFF)}"
    return str(value)


_ESCAPES = {0x07: "\\a", 0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x1B: "\\033"}


def _escaped(byte: int, quote: str) -> str:
    if byte in _ESCAPES:
        return _ESCAPES[byte]
    character = chr(byte)
    if character in ("\\", quote):
        return f"\\{character}"
    return character if 0x20 <= byte < 0x7F else f"\\{byte:03o}"


def _character(byte: int) -> str:
    return f"'{_escaped(byte, chr(39))}'"


def _quoted(raw: bytes, *, bounded: bool = True) -> str:
    """A text up to its end; dots behind it where that is not in ``raw``."""
    text, end, rest = raw.partition(b"\0")
    if bounded and rest.strip(b"\0"):
        text, end = raw.rstrip(b"\0"), b""  # what is behind the end is data too
    shown = "".join(_escaped(byte, '"') for byte in text[:_MOST_TEXT])
    return f'"{shown}"' + ("..." if len(text) > _MOST_TEXT or (not end and not bounded) else "")


def _enumerator(kind: Any, data: bytes) -> str:
    size = size_of(kind)
    value = int.from_bytes(data[:size], "little")
    mask = (1 << 8 * size) - 1
    named = {
        (number_of(child, "DW_AT_const_value") or 0) & mask: name_of(child)
        for child in kind.iter_children()
        if child.tag == "DW_TAG_enumerator"
    }
    if value in named:
        return named[value]
    flags = [bit for bit in named if bit and bit & value == bit]
    covered = 0
    for bit in flags:
        covered |= bit
    if covered == value and value and all(bit & bit - 1 == 0 for bit in named):
        return "(" + " | ".join(named[bit] for bit in sorted(flags)) + ")"
    return str(value)


def member_data(member: Any, data: bytes) -> bytes:
    """What a member is, of its structure's ``data``; a bit field with the bits in their own places."""
    size = size_of(type_of(member))
    offset = number_of(member, "DW_AT_data_member_location") or 0
    bits = number_of(member, "DW_AT_bit_size")
    if bits is None:
        return data[offset : offset + size]
    place = number_of(member, "DW_AT_data_bit_offset")
    if place is None:  # DWARF 3: counted from the most significant bit of the storage unit
        unit = number_of(member, "DW_AT_byte_size") or size
        place = 8 * offset + 8 * unit - bits - (number_of(member, "DW_AT_bit_offset") or 0)
    value = int.from_bytes(data, "little") >> place & (1 << bits) - 1
    if _is_signed(type_of(member)) and value >> bits - 1:
        value -= 1 << bits
    return (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def _is_signed(kind: Any) -> bool:
    kind = plain(kind)
    return (
        kind is not None
        and kind.tag == "DW_TAG_base_type"
        and number_of(kind, "DW_AT_encoding") in (_SIGNED, _SIGNED_CHAR)
    )
