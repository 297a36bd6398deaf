"""The MMU as the guest has set it: page tables decoded, without side effects (ARM ARM B3, ARM920T TRM 3).

Everything is read from the tables in physical memory and from cp15, as the hardware's walk would.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dbgemu.target.arm.cp15 import CONTROL_MMU, CONTROL_ROM, CONTROL_SYSTEM, TTB_MASK
from dbgemu.target.bus import Bus, BusError
from dbgemu.target.registers import Field

if TYPE_CHECKING:
    from dbgemu.engine.cpu import Cpu

#: gives ``length`` bytes at a physical address; BusError
Peek = Callable[[int, int], bytes]

#: ARM920T TRM 2.3.3: cp15 c1
CONTROL_FIELDS = (
    Field("iA", 31, doc="clocking, with nF", values={0: "", 1: "asynchronous with nF"}),
    Field("nF", 30, doc="clocking", values={0: "fast bus", 1: "synchronous, asynchronous with iA"}),
    Field("RR", 14, doc="cache replacement", values={0: "random", 1: "round robin"}),
    Field("V", 13, doc="exception vectors", values={0: "at 0x00000000", 1: "at 0xffff0000"}),
    Field("I", 12, doc="instruction cache", values={0: "off", 1: "on"}),
    Field("R", 9, doc="ROM protection", values={0: "off", 1: "on"}),
    Field("S", 8, doc="system protection", values={0: "off", 1: "on"}),
    Field("B", 7, doc="byte order", values={0: "little-endian", 1: "big-endian"}),
    Field("C", 2, doc="data cache", values={0: "off", 1: "on"}),
    Field("A", 1, doc="alignment faults", values={0: "off", 1: "on"}),
    Field("M", 0, doc="MMU", values={0: "off", 1: "on"}),
)

#: TRM table 3-2, by the domain's two bits in DACR
DOMAIN_ACCESS = ("no access", "client", "reserved, no access", "manager")
_CLIENT, _MANAGER = 1, 3

#: TRM table 3-3: what (privileged, user) may, by AP; where AP is 0 by the bits S (1) and R (2)
_BY_AP = {1: ("rw", "--"), 2: ("rw", "r-"), 3: ("rw", "rw")}
_BY_SR = {0: ("--", "--"), 1: ("r-", "--"), 2: ("r-", "r-"), 3: ("--", "--")}


class Kind(Enum):
    """What maps a piece of memory: ARM ARM B3.3."""

    SECTION = "section"
    LARGE = "large page"
    SMALL = "small page"
    TINY = "tiny page"


@dataclass(frozen=True)
class Regime:
    """What of cp15 decides about an access: table base, DACR and the control register's bits."""

    table: int
    dacr: int
    control: int
    process: int

    @classmethod
    def of(cls, cpu: Cpu) -> Regime:
        """The CPU's present one."""
        read = cpu.read_register
        return cls(read("ttbr") & TTB_MASK, read("dacr"), read("sctlr"), read("fcseidr"))

    @property
    def on(self) -> bool:
        """The MMU is on."""
        return bool(self.control & CONTROL_MMU)

    def domain(self, number: int) -> int:
        """Domain ``number``'s two bits."""
        return self.dacr >> 2 * number & 3

    def permissions(self, domain: int, ap: int) -> tuple[str, str]:
        """What privileged and user accesses may: ``rw``, ``r-`` or ``--`` each."""
        access = self.domain(domain)
        if access == _MANAGER:
            return "rw", "rw"
        if access != _CLIENT:
            return "--", "--"
        bits = bool(self.control & CONTROL_SYSTEM) | bool(self.control & CONTROL_ROM) << 1
        return _BY_AP[ap] if ap else _BY_SR[bits]

    def modified(self, address: int) -> int:
        """The modified virtual address: the lowest 32 MB belong to the process of FCSE."""
        return address | self.process if address < 1 << 25 else address


@dataclass(frozen=True)
class Mapping:
    """``size`` bytes from ``virtual`` at ``physical``, all with the same attributes."""

    virtual: int
    physical: int
    size: int
    kind: Kind
    domain: int
    ap: int
    cacheable: bool
    bufferable: bool

    def joins(self, other: Mapping) -> bool:
        """``other`` goes on where this ends, alike in everything."""
        return (
            other.virtual == self.virtual + self.size
            and other.physical == self.physical + self.size
            and other.kind is self.kind
            and other.ap == self.ap
            and other.domain == self.domain
            and other.cacheable == self.cacheable
            and other.bufferable == self.bufferable
        )


@dataclass(frozen=True)
class Tables:
    """The contents of a first-level table and, by address, of the second-level ones that it names."""

    first: bytes
    second: dict[int, bytes]


def _second_base(descriptor: int) -> int:
    return descriptor & (0xFFFFFC00 if descriptor & 3 == 1 else 0xFFFFF000)


def read_tables(peek: Peek, table: int) -> Tables:
    """All tables as they are now: quick, so that a running guest is not held up by what is made of them.

    BusError where the first-level table is nowhere; a second-level one that is nowhere maps nothing.
    """
    first = peek(table, 4 * 4096)
    second: dict[int, bytes] = {}
    for descriptor in set(struct.unpack("<4096I", first)):
        if descriptor & 1:
            base, length = _second_base(descriptor), 1024 if descriptor & 3 == 1 else 4096
            try:
                second[base] = max(second.get(base, b""), peek(base, length), key=len)
            except BusError:
                continue
    return Tables(first, second)


def mappings(tables: Tables) -> Iterator[Mapping]:
    """Everything that the tables map, piece by piece, by virtual address."""
    for index, first in enumerate(struct.unpack("<4096I", tables.first)):
        kind = first & 3
        if kind == 2:
            yield Mapping(
                index << 20,
                first & 0xFFF00000,
                1 << 20,
                Kind.SECTION,
                first >> 5 & 15,
                first >> 10 & 3,
                bool(first & 8),
                bool(first & 4),
            )
        elif kind:
            yield from _second_level(tables.second.get(_second_base(first), b""), index << 20, first)


def _second_level(data: bytes, virtual: int, first: int) -> Iterator[Mapping]:
    coarse = first & 3 == 1
    count, step = (256, 4096) if coarse else (1024, 1024)
    if not data.strip(b"\0"):
        return
    domain = first >> 5 & 15
    for index, second in enumerate(struct.unpack_from(f"<{count}I", data)):
        if second & 3:
            yield from _pieces(virtual + index * step, step, second, domain, coarse)


def _pieces(virtual: int, step: int, second: int, domain: int, coarse: bool) -> Iterator[Mapping]:
    """What one entry maps: one piece for each stretch of the same permission."""
    kind = (None, Kind.LARGE, Kind.SMALL, Kind.TINY)[second & 3]
    if kind is None or (kind is Kind.TINY and coarse):
        return
    mask = {Kind.LARGE: 0xFFFF, Kind.SMALL: 0xFFF, Kind.TINY: 0x3FF}[kind]
    cacheable, bufferable = bool(second & 8), bool(second & 4)
    permissions = second >> 4 & 0xFF
    size = step
    if kind is Kind.SMALL and step == 4096 and permissions not in (0, 0x55, 0xAA, 0xFF):
        size = 1024
    for place in range(virtual, virtual + step, size):
        ap = permission_of(kind, second, place)
        physical = (second & ~mask & 0xFFFFFFFF) | (place & mask)
        yield Mapping(place, physical, size, kind, domain, ap, cacheable, bufferable)


def permission_of(kind: Kind, second: int, address: int) -> int:
    """AP of the subpage that ``address`` lies in: large and small pages have four of them."""
    subpage = {Kind.LARGE: address >> 14 & 3, Kind.SMALL: address >> 10 & 3}.get(kind, 0)
    return second >> 4 + 2 * subpage & 3


def joined(pieces: Iterator[Mapping]) -> Iterator[Mapping]:
    """``pieces``, with those that go on from each other made one."""
    held: Mapping | None = None
    for piece in pieces:
        if held is not None and held.joins(piece):
            held = replace(held, size=held.size + piece.size)
        else:
            if held is not None:
                yield held
            held = piece
    if held is not None:
        yield held


@dataclass(frozen=True)
class Protection:
    """``size`` bytes of virtual addresses that privileged and user accesses may use alike."""

    virtual: int
    size: int
    privileged: str
    user: str


def protections(ranges: Iterator[Mapping], regime: Regime) -> Iterator[Protection]:
    """Mapped virtual addresses by what is allowed there, wherever they lead."""

    def key(item: tuple[int, Mapping]) -> tuple[int, str, str]:
        return (item[0], *regime.permissions(item[1].domain, item[1].ap))

    for (_, privileged, user), group in groupby(_stretches(ranges), key=key):
        members = [mapping for _, mapping in group]
        size = sum(mapping.size for mapping in members)
        yield Protection(members[0].virtual, size, privileged, user)


def _stretches(ranges: Iterator[Mapping]) -> Iterator[tuple[int, Mapping]]:
    """Each mapping with the number of the gapless stretch that it is in."""
    stretch, end = 0, None
    for mapping in ranges:
        stretch += mapping.virtual != end
        end = mapping.virtual + mapping.size
        yield stretch, mapping


# -- one walk, step by step ----------------------------------------------------------------------


@dataclass(frozen=True)
class Descriptor:
    """An entry of a table: where it is (physical), its value, and what it says."""

    level: int
    address: int
    value: int
    text: str


@dataclass(frozen=True)
class Walk:
    """How an address is translated. ``fault`` is empty where a mapping was found.

    ``allowed`` has what privileged and user accesses may; ``place`` is what answers there.
    """

    address: int
    modified: int
    table: int | None
    descriptors: tuple[Descriptor, ...]
    mapping: Mapping | None
    fault: str
    physical: int | None
    domain_access: str
    allowed: tuple[str, str]
    place: str

    def data(self) -> dict[str, Any]:
        """For JSON."""
        data = asdict(self)
        if self.mapping is not None:
            data["mapping"]["kind"] = self.mapping.kind.value
        data["allowed"] = {"privileged": self.allowed[0], "user": self.allowed[1]}
        return data


def place_of(bus: Bus, physical: int) -> str:
    """What answers at a physical address: ``sdram+0x8000``, ``uart0.UTXH``, ``nothing``."""
    region = bus.find(physical)
    if region is None:
        return "nothing"
    offset = physical - region.base + region.offset
    locate = getattr(region.target, "locate", None)
    register = locate(offset) if locate is not None else None
    if register is None:
        return f"{region.target.name}+0x{offset:x}"
    inside = offset - register.offset
    return f"{region.target.name}.{register.name}" + (f"+{inside}" if inside else "")


def walk(bus: Bus, regime: Regime, address: int) -> Walk:
    """Translate ``address`` as ``regime`` does, MMU on or off."""
    modified = regime.modified(address)
    if not regime.on:
        place = place_of(bus, modified)
        return Walk(address, modified, None, (), None, "", modified, "", ("rw", "rw"), place)
    steps: list[Descriptor] = []
    try:
        mapping, fault, domain = _descend(bus.peek, regime.table, modified, steps)
    except BusError as error:
        mapping, fault, domain = None, f"the table cannot be read: {error}", None
    access = "" if domain is None else f"domain {domain}: {DOMAIN_ACCESS[regime.domain(domain)]}"
    if mapping is None:
        return Walk(
            address, modified, regime.table, tuple(steps), None, fault, None, access, ("--", "--"), ""
        )
    physical = mapping.physical + modified - mapping.virtual
    allowed = regime.permissions(mapping.domain, mapping.ap)
    place = place_of(bus, physical)
    return Walk(address, modified, regime.table, tuple(steps), mapping, "", physical, access, allowed, place)


def _descend(
    peek: Peek, table: int, address: int, steps: list[Descriptor]
) -> tuple[Mapping | None, str, int | None]:
    """The mapping, or why there is none, and the domain; ``steps`` gets each entry read."""
    where = table + (address >> 20) * 4
    first = int.from_bytes(peek(where, 4), "little")
    kind, domain = first & 3, first >> 5 & 15
    flags = _flags(first)
    if kind == 0:
        steps.append(Descriptor(1, where, first, "fault: nothing is mapped"))
        return None, "section translation fault", None
    if kind == 2:
        base, ap = first & 0xFFF00000, first >> 10 & 3
        text = f"section at 0x{base:08x}, domain {domain}, AP {ap}, {flags}"
        steps.append(Descriptor(1, where, first, text))
        virtual = address & 0xFFF00000
        mapping = Mapping(virtual, base, 1 << 20, Kind.SECTION, domain, ap, bool(first & 8), bool(first & 4))
        return mapping, "", domain
    coarse = kind == 1
    base = first & (0xFFFFFC00 if coarse else 0xFFFFF000)
    name = "coarse" if coarse else "fine"
    steps.append(Descriptor(1, where, first, f"{name} table at 0x{base:08x}, domain {domain}"))
    step = 4096 if coarse else 1024
    where = base + (address & 0xFFFFF) // step * 4
    second = int.from_bytes(peek(where, 4), "little")
    start = address & -step
    piece = next(
        (
            piece
            for piece in _pieces(start, step, second, domain, coarse)
            if piece.virtual <= address < piece.virtual + piece.size
        ),
        None,
    )
    if piece is None:
        steps.append(Descriptor(2, where, second, "fault: nothing is mapped"))
        return None, "page translation fault", domain
    aps = " ".join(str(second >> shift & 3) for shift in ((4,) if piece.kind is Kind.TINY else (4, 6, 8, 10)))
    text = f"{piece.kind.value} at 0x{piece.physical & -piece.size:08x}, AP {aps}, {_flags(second)}"
    steps.append(Descriptor(2, where, second, text))
    return piece, "", domain


def _flags(word: int) -> str:
    return {
        0: "not cached, not buffered",
        4: "buffered",
        8: "cached, write-through",
        12: "cached, write-back",
    }[word & 12]
