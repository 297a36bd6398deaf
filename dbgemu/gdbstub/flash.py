"""Handlers: the NOR flash programmed by GDB's ``load``, and its place in the memory map.

GDB manual, "Memory Map Format" and packets ``vFlash…``. What is written is in the chip, and in its
image file, with the reply. The NAND chip is not in the address space, so it is not in the map either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dbgemu.engine.cpu import TranslationFault
from dbgemu.gdbstub.errors import GENERAL, PacketError
from dbgemu.target.chips.nor_flash import ERASE_REGIONS, SECTOR_STARTS, NorFlash

if TYPE_CHECKING:
    from dbgemu.engine.cpu import Cpu
    from dbgemu.gdbstub.client import Client
    from dbgemu.target.bus import Region

#: the reply, in these very letters, to an address that is no flash
_NOT_FLASH = b"E.memtype"


def flash_chip(region: Region) -> NorFlash | None:
    """The NOR chip that answers in ``region``, in whatever mode it is."""
    for target in (region.writes_to, region.target):
        if isinstance(target, NorFlash):
            return target
    return None


def seen_where_it_is(region: Region, cpu: Cpu) -> bool:
    """The region's addresses mean the region itself: the MMU is off, or maps it so."""
    try:
        return all(cpu.translate(address) == address for address in (region.base, region.end - 1))
    except TranslationFault:
        return False


def describe(base: int) -> Iterator[str]:
    """The memory map's lines for a chip at ``base``: one element for sectors of one size."""
    for count, size in ERASE_REGIONS:
        yield (
            f'<memory type="flash" start="0x{base:x}" length="0x{count * size:x}">'
            f'<property name="blocksize">0x{size:x}</property></memory>'
        )
        base += count * size


def _find(client: Client, address: int, length: int) -> tuple[NorFlash, int] | None:
    """The chip that all of the range lies in, and the offset in it."""
    region = client.session.machine.board.bus.find(address)
    if region is None or address + length > region.end or not seen_where_it_is(region, client.session.cpu):
        return None
    chip = flash_chip(region)
    return None if chip is None else (chip, address - region.base + region.offset)


def _erase(client: Client, address: int, length: int) -> bytes:
    found = _find(client, address, length)
    if found is None:
        return _NOT_FLASH
    chip, offset = found
    if offset not in SECTOR_STARTS or offset + length not in SECTOR_STARTS:
        raise PacketError(f"0x{address:08x} to 0x{address + length - 1:08x} are not whole sectors", GENERAL)
    chip.erase(offset, length)
    return b"OK"


def erase(client: Client, address: int, length: int) -> bytes:
    """``vFlashErase``: whole sectors."""
    return client.session.call(lambda: _erase(client, address, length))


def _write(client: Client, address: int, data: bytes) -> bytes:
    found = _find(client, address, len(data))
    if found is None:
        return _NOT_FLASH
    chip, offset = found
    if not chip.program(offset, data):
        raise PacketError(f"flash from 0x{address:08x} is not erased: only an erase sets bits", GENERAL)
    return b"OK"


def write(client: Client, address: int, data: bytes) -> bytes:
    """``vFlashWrite``: bytes that were erased before."""
    return client.session.call(lambda: _write(client, address, data))


def done(client: Client) -> bytes:
    """``vFlashDone``: it was done at once."""
    return b"OK"
