"""Devices as they stand at one moment: registers and fields with their meanings, and facts.

Collected at a safe moment (:meth:`DebugSession.call`) and formatted at leisure: everything here is plain
data, and nothing of it disturbs the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbgemu.target.bus import Bus
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.registers import Field, Register, RegisterValue

if TYPE_CHECKING:
    from dbgemu.target.mini2440 import Mini2440


@dataclass(frozen=True)
class FieldState:
    """A field and its value; ``meaning`` is what that value stands for, or empty."""

    field: Field
    value: int
    meaning: str

    @property
    def bits(self) -> str:
        """Where it is: ``[15:8]``, or ``[5]``."""
        high, low = self.field.high, self.field.low
        return f"[{high}]" if high == low else f"[{high}:{low}]"

    def data(self) -> dict[str, Any]:
        """For JSON."""
        field = self.field
        known = {"meaning": self.meaning} if self.meaning else {}
        return {
            "name": field.name,
            "high": field.high,
            "low": field.low,
            "value": self.value,
            **known,
            "doc": field.doc,
        }


@dataclass(frozen=True)
class RegisterState:
    """A register and its value; ``address`` is physical, None for one that is not on the bus."""

    register: Register
    value: int
    address: int | None

    @property
    def fields(self) -> Iterator[FieldState]:
        """Its fields, from the highest bits down."""
        for field in sorted(self.register.fields, key=lambda field: -field.high):
            value = field.get(self.value)
            yield FieldState(field, value, field.values.get(value, ""))

    @property
    def hexadecimal(self) -> str:
        """The value with as many digits as the register has."""
        return f"0x{self.value:0{(self.register.width + 3) // 4}x}"

    def data(self) -> dict[str, Any]:
        """For JSON."""
        register = self.register
        return {
            "name": register.name,
            "address": self.address,
            "offset": register.offset,
            "width": register.width,
            "access": register.access,
            "reset": register.reset,
            "value": self.value,
            "doc": register.doc,
            "fields": [field.data() for field in self.fields],
        }


@dataclass(frozen=True)
class DeviceState:
    """A device: where it answers (physical addresses), what it is doing, and its registers."""

    name: str
    title: str
    bases: tuple[int, ...]
    facts: tuple[Fact, ...]
    registers: tuple[RegisterState, ...]

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "bases": list(self.bases),
            "facts": [{"name": each.name, "value": each.value, "unit": each.unit} for each in self.facts],
            "registers": [register.data() for register in self.registers],
        }


def bases(bus: Bus, device: Device) -> tuple[int, ...]:
    """Where ``device`` answers, or takes the writes for a memory: physical addresses."""
    return tuple(
        region.base - region.offset for region in bus.regions() if device in (region.target, region.writes_to)
    )


def device_state(board: Mini2440, name: str) -> DeviceState:
    """The device of that name as it stands now. KeyError when there is none."""
    device = board.devices[name]
    where = bases(board.bus, device)
    registers = tuple(_registers(device, where))
    return DeviceState(device.name, device.title, where, tuple(device.facts()), registers)


def _registers(device: Device, where: tuple[int, ...]) -> Iterator[RegisterState]:
    own = device.registers
    for each in device.dump():
        # a chip may show registers that it keeps behind its ports
        on_bus = where and own.get(each.register.name) is each.register
        yield _register_state(each, where[0] + each.register.offset if on_bus else None)


def _register_state(each: RegisterValue, address: int | None) -> RegisterState:
    return RegisterState(each.register, each.value & each.register.mask, address)
