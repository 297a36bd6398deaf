"""Where the members of the kernel's structures are, from the DWARF of its ELF file.

A kernel's debug information is far too large to read whole. Any compilation unit that uses a structure
describes it, so only the units of a few functions ("anchors") are looked through, and of these only the
outermost entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbgemu.debug.linux.errors import LinuxError

#: typedefs, const and so on between a member and the structure that it is
_MOST_NAMES = 16


@dataclass(frozen=True)
class Member:
    """A member of a structure: ``offset`` and ``size`` in bytes; ``shift`` and ``bits`` of a bit field."""

    offset: int
    size: int
    shift: int = 0
    #: 0 for what is no bit field
    bits: int = 0

    def of(self, data: bytes, base: int = 0) -> int:
        """The member's value, as an unsigned number, in a structure that starts at ``data[base]``."""
        value = int.from_bytes(data[base + self.offset : base + self.offset + self.size], "little")
        return value >> self.shift & (1 << self.bits) - 1 if self.bits else value

    def signed(self, data: bytes, base: int = 0) -> int:
        """As :meth:`of`, as a signed number."""
        value = self.of(data, base)
        return value - (1 << 8 * self.size) if value >> 8 * self.size - 1 else value

    def text(self, data: bytes, base: int = 0) -> str:
        """The string in an array of characters."""
        raw = data[base + self.offset : base + self.offset + self.size]
        return raw.partition(b"\0")[0].decode("utf-8", "replace")


class Layout:
    """The structures of the kernel in the ELF file ``path``.

    ``anchors`` are addresses, as linked, of functions whose files use them. Raises LinuxError, also
    later, for debug information that is not there or is damaged.
    """

    def __init__(self, path: Path, anchors: Iterable[int]) -> None:
        self._path = path
        self._units = self._find_units(anchors)
        #: structures of the units looked through so far
        self._structures: dict[str, Any] = {}
        self._members: dict[tuple[str, str], Member | None] = {}

    def size(self, structure: str) -> int:
        """The number of bytes of ``structure``."""
        die = self._structure(structure)
        if die is None:
            raise self._without(f"struct {structure}")
        return int(die.attributes["DW_AT_byte_size"].value)

    def has(self, structure: str) -> bool:
        """Whether this kernel has such a structure."""
        return self._structure(structure) is not None

    def member(self, structure: str, *paths: str) -> Member:
        """The first of ``paths`` that this kernel has: ``tasks``, or ``thread_info.cpu_context.sp``."""
        for path in paths:
            found = self.find(structure, path)
            if found is not None:
                return found
        raise self._without(f"struct {structure} with '{paths[0]}'")

    def find(self, structure: str, path: str) -> Member | None:
        """As :meth:`member`, or None."""
        key = structure, path
        if key not in self._members:
            try:
                self._members[key] = self._resolve(structure, path)
            except LinuxError:
                raise
            except Exception as error:  # damaged DWARF fails in many ways
                raise self._damaged() from error
        return self._members[key]

    def _without(self, what: str) -> LinuxError:
        return LinuxError(
            f"the debug information of '{self._path}' has no {what}: it is no kernel known here"
        )

    def _damaged(self) -> LinuxError:
        return LinuxError(f"the debug information of '{self._path}' cannot be read: it is damaged")

    def _find_units(self, anchors: Iterable[int]) -> list[Any]:
        from elftools.elf.elffile import ELFFile  # only now: most runs look into no kernel

        try:
            with self._path.open("rb") as file:
                elf = ELFFile(file)
                if not elf.has_dwarf_info(strict=True):
                    raise LinuxError(
                        f"'{self._path}' has no debug information, which tells where things are in the "
                        "kernel's structures: build the kernel with CONFIG_DEBUG_INFO"
                    )
                dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)
                table = dwarf.get_aranges()
                offsets = [] if table is None else [table.cu_offset_at_addr(address) for address in anchors]
                return [dwarf.get_CU_at(place) for place in dict.fromkeys(offsets) if place is not None][::-1]
        except OSError as error:
            raise LinuxError(f"'{self._path}' cannot be read: {error.strerror}") from None
        except LinuxError:
            raise
        except Exception as error:  # as in find
            raise self._damaged() from error

    def _structure(self, name: str) -> Any:
        while name not in self._structures and self._units:
            try:
                self._read_unit(self._units.pop())
            except Exception as error:  # as in find
                raise self._damaged() from error
        return self._structures.get(name)

    def _read_unit(self, unit: Any) -> None:
        for die in unit.get_top_DIE().iter_children():
            attributes = die.attributes
            if die.tag != "DW_TAG_structure_type" or "DW_AT_name" not in attributes:
                continue
            if "DW_AT_byte_size" in attributes:  # not only declared
                self._structures.setdefault(attributes["DW_AT_name"].value.decode(), die)

    def _resolve(self, structure: str, path: str) -> Member | None:
        die = self._structure(structure)
        base, member = 0, None
        for name in path.split("."):
            found = _child(die, name) if die is not None else None
            if found is None:
                return None
            base += found[0]
            member = found[1]
            die = _type_of(member)
        return None if member is None else _measure(member, base, die)


def _child(die: Any, name: str) -> tuple[int, Any] | None:
    """The member ``name`` and its offset; those of members without a name count as its own."""
    for item in die.iter_children():
        if item.tag != "DW_TAG_member":
            continue
        offset = item.attributes["DW_AT_data_member_location"].value if _is_placed(item) else 0
        if "DW_AT_name" not in item.attributes:
            inner = _child(_type_of(item), name)
            if inner is not None:
                return offset + inner[0], inner[1]
        elif item.attributes["DW_AT_name"].value.decode() == name:
            return offset, item
    return None


def _is_placed(member: Any) -> bool:
    return "DW_AT_data_member_location" in member.attributes


def _type_of(die: Any) -> Any:
    """What ``die`` is, behind the names that it has."""
    for _ in range(_MOST_NAMES):
        if "DW_AT_type" not in die.attributes:
            return None
        die = die.get_DIE_from_attribute("DW_AT_type")
        if die.tag not in ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type"):
            return die
    return None


def _size(die: Any) -> int:
    if die is None:
        return 0
    if die.tag == "DW_TAG_array_type":
        count = 1
        for bounds in die.iter_children():
            upper = bounds.attributes.get("DW_AT_upper_bound")
            count *= 0 if upper is None else upper.value + 1
        return count * _size(_type_of(die))
    size = die.attributes.get("DW_AT_byte_size")
    return 4 if size is None else int(size.value)


def _measure(member: Any, offset: int, kind: Any) -> Member:
    attributes = member.attributes
    size = _size(kind)
    if "DW_AT_bit_size" not in attributes:
        return Member(offset, size)
    bits = attributes["DW_AT_bit_size"].value
    if "DW_AT_data_bit_offset" in attributes:  # DWARF 5, 5.7.6: from the start of the structure
        first = attributes["DW_AT_data_bit_offset"].value
        return Member(offset + first // 8, size, first % 8, bits)
    # DWARF 3, 5.6.6: from the most significant bit of a unit of this size
    if "DW_AT_byte_size" in attributes:
        size = attributes["DW_AT_byte_size"].value
    return Member(offset, size, 8 * size - attributes["DW_AT_bit_offset"].value - bits, bits)
