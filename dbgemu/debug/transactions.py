"""Accesses to devices in words: who accessed which register, with what value, and what that means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from dbgemu.target.bus import Bus, BusError
from dbgemu.target.device import Device
from dbgemu.target.memory import Memory
from dbgemu.target.registers import Register

if TYPE_CHECKING:
    from dbgemu.debug.symbols import Symbols
    from dbgemu.engine.cpu import Cpu, WatchHit

#: as accesses are shown: digits by size in bytes
_DIGITS = {1: 2, 2: 4, 4: 8}


@dataclass(frozen=True)
class Place:
    """What answers at a physical address: a device, its register there if any, and the byte in it."""

    device: Device
    register: Register | None
    offset: int

    @property
    def name(self) -> str:
        """``nand.NFCMMD``, ``uart0.UTXH+1`` inside a register, ``nor+0xaaa`` where none is declared."""
        if self.register is None:
            return f"{self.device.name}+{self.offset:#x}"
        inside = self.offset - self.register.offset
        return f"{self.device.name}.{self.register.name}" + (f"+{inside}" if inside else "")


class Transaction(NamedTuple):
    """One access to a device: ``value`` is what is being written, or what a read would give (a peek).

    ``address`` is virtual; ``size`` is in bytes; ``fields`` is the value decoded, or empty.
    """

    pc: int
    symbol: str
    place: str
    address: int
    physical: int
    size: int
    write: bool
    value: int
    fields: str

    def __str__(self) -> str:
        where = f"0x{self.pc:08x}" + (f" <{self.symbol}>" if self.symbol else "")
        verb, arrow = ("writes", "<-") if self.write else ("reads", "->")
        value = f"0x{self.value:0{_DIGITS[self.size]}x}"
        decoded = f" ({self.fields})" if self.fields else ""
        return f"{where} {verb} {self.place} {arrow} {value}{decoded}"


class DeviceMap:
    """Finds the register behind an address, and what an access to it carries. Nothing is disturbed."""

    def __init__(self, bus: Bus, cpu: Cpu, symbols: Symbols) -> None:
        self._bus = bus
        self._cpu = cpu
        self._symbols = symbols

    def locate(self, physical: int, *, write: bool = False) -> Place | None:
        """The device at a ``physical`` address, for writes too where they go elsewhere; None for memory."""
        region = self._bus.find(physical)
        if region is None:
            return None
        target = region.writes_to if write and region.writes_to is not None else region.target
        if not isinstance(target, Device):
            return None
        offset = physical - region.base + region.offset
        return Place(target, target.locate(offset), offset)

    def physical(self, hit: WatchHit) -> int:
        """Where the access goes."""
        return self._cpu.translate(hit.address) if hit.physical is None else hit.physical

    def present(self, hit: WatchHit) -> int | None:
        """What the bytes that the access goes to hold now; None where nothing answers."""
        physical = self.physical(hit)
        region = self._bus.find(physical)
        if region is None:
            return None
        if isinstance(region.target, Device):
            return region.target.peek(physical - region.base + region.offset, hit.size)
        try:
            return int.from_bytes(self._bus.peek(physical, hit.size), "little")
        except BusError:
            return None

    def value(self, hit: WatchHit) -> int | None:
        """What the access carries: the value being written, or what the read would give."""
        return self.present(hit) if hit.value is None else hit.value

    def transaction(self, pc: int, hit: WatchHit) -> Transaction | None:
        """The access ``hit`` of the instruction at ``pc`` in words; None when it goes to plain memory."""
        physical = self.physical(hit)
        place = self.locate(physical, write=hit.write)
        value = self.value(hit)
        if place is None or value is None:
            return None
        fields = ""
        if place.register is not None:
            # the fields of a narrow access to a wide register are where the access puts them
            lane = 8 * (place.offset - place.register.offset)
            whole = 8 * hit.size >= place.register.width and not lane
            fields = place.register.describe(value) if whole else ""
        return Transaction(
            pc,
            self._symbols.describe(pc),
            place.name,
            hit.address,
            physical,
            hit.size,
            hit.write,
            value,
            fields,
        )


def device_ranges(bus: Bus, name: str) -> list[tuple[int, int]]:
    """Physical (address, length) of what ``name`` means: ``nand``, ``nand.*`` or ``nand.NFCMMD``.

    ValueError, one sentence, for a name that is none.
    """
    device_name, dot, wanted = name.partition(".")
    homes = [region for region in bus.regions() if region.target.name == device_name]
    if not homes:
        raise ValueError(f"there is no device '{device_name}' on the bus")
    if not dot or wanted == "*":
        return [(region.base, region.size) for region in homes]
    ranges = []
    for region in homes:
        target = region.target
        if isinstance(target, Memory):
            continue
        register = next((item for item in target.registers.values() if item.name == wanted.upper()), None)
        if register is not None:
            # a word access is one to a narrower register too (see Device.locate)
            ranges.append((region.base + register.offset - region.offset, max(4, register.access_size)))
    if not ranges:
        raise ValueError(f"device {device_name} has no register '{wanted}'")
    return ranges
