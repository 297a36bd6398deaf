"""The devices' registers as GDB sees them: a feature and a register group for each device.

``info registers nand`` lists one device, ``p/x $nand_NFCONF[0]`` shows one register and
``set $nand_NFCONF[0] = 7`` writes it as the CPU would. Reads are peeks, without side effects.

Plain ``info registers`` shows all that is no vector and no floating-point number, whatever its group
(gdb/reggroups.c, default_register_reggroup_p). So these are vectors of one element, which keeps them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbgemu.gdbstub.errors import MALFORMED, PacketError
from dbgemu.target.device import Device

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client
    from dbgemu.target.bus import Bus
    from dbgemu.target.registers import Register


@dataclass(frozen=True)
class DeviceRow:
    """A register of ``device`` with its number in packets and its physical address."""

    number: int
    device: Device
    register: Register
    address: int

    @property
    def name(self) -> str:
        """The device's name and the manual's: registers of different devices have equal names."""
        return f"{self.device.name}_{self.register.name}"

    @property
    def size(self) -> int:
        """Bytes of the smallest access that reaches all of the register: 1, 2 or 4."""
        return next(size for size in (1, 2, 4) if self.register.width <= 8 * size)


def device_rows(bus: Bus, first: int) -> dict[int, DeviceRow]:
    """The registers of everything on ``bus``, by number; numbers go up from ``first``."""
    found = [
        (region.target, register, region.base + register.offset)
        for region in bus.regions()
        if isinstance(region.target, Device)
        for register in region.target.registers.values()
    ]
    return {number: DeviceRow(number, *parts) for number, parts in enumerate(found, first)}


def describe(rows: dict[int, DeviceRow]) -> Iterator[str]:
    """The features of the target description, line by line."""
    device = None
    for row in rows.values():
        if row.device is not device:
            if device is not None:
                yield "</feature>"
            device = row.device
            yield f'<feature name="org.dbgemu.{device.name}">'
            yield from (f'<vector id="one{bits}" type="uint{bits}" count="1"/>' for bits in (8, 16, 32))
        bits = 8 * row.size
        yield (
            f'<reg name="{row.name}" bitsize="{bits}" regnum="{row.number}" type="one{bits}"'
            f' group="{row.device.name}" save-restore="no"/>'
        )
    if device is not None:
        yield "</feature>"


def _row(client: Client, number: int) -> DeviceRow:
    row = client.stub.registers.devices.get(number)
    if row is None:
        raise PacketError(f"there is no register number {number}")
    return row


def read(client: Client, number: int) -> bytes:
    """``p`` of a device's register."""
    row = _row(client, number)
    value = client.session.call(row.device.peeker(row.register))
    return (value & row.register.mask).to_bytes(row.size, "little").hex().encode()


def write(client: Client, number: int, data: bytes) -> bytes:
    """``P`` of a device's register."""
    row = _row(client, number)
    if len(data) != row.size:
        raise PacketError(f"register {row.name} has {row.size} bytes, not {len(data)}", MALFORMED)
    if row.register.access == "ro" and row.register.write_handler is None:
        raise PacketError(f"register {row.name} is read-only")
    bus, value = client.session.machine.board.bus, int.from_bytes(data, "little")
    client.session.call(lambda: bus.write(row.address, row.size, value))
    return b"OK"
