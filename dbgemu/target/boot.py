"""What a bootloader leaves in memory and registers: kernel, RAM disk and ATAGs, or bare firmware.

A :class:`BootPlan` only describes; the board writes it into memory after each reset. Rules:
linux/Documentation/arm/booting.rst: r0 = 0, r1 = the machine's number, r2 = the tags' physical address;
MMU and caches off, SVC mode, interrupts masked.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import NamedTuple

from dbgemu.errors import OptionError
from dbgemu.target.images import Image, parse_image, unwrap_ramdisk

SDRAM_BASE = 0x3000_0000
STEPPINGSTONE_SIZE = 4096
#: linux/arch/arm/tools/mach-types: mini2440
MACHINE_ID = 1999

_TAGS_OFFSET = 0x100
#: where a kernel image runs (TEXT_OFFSET), and where anything that is not linked to an address goes
_KERNEL_OFFSET = 0x8000
# A zImage decompresses to _KERNEL_OFFSET: it moves itself first unless it lies out of the way.
_ZIMAGE_OFFSET = 0x100_0000
_INITRD_OFFSET = 0x200_0000
_PAGE = 4096
#: linux/arch/arm/include/uapi/asm/setup.h: COMMAND_LINE_SIZE, with the final NUL
_COMMAND_LINE_SIZE = 1024
#: where Linux puts SDRAM in its virtual addresses; its vmlinux is linked there, physically too
_LINUX_PAGE_OFFSET = 0xC000_0000

_ATAG_NONE, _ATAG_CORE, _ATAG_MEM, _ATAG_INITRD2, _ATAG_CMDLINE = (
    0x0000_0000,
    0x5441_0001,
    0x5441_0002,
    0x5442_0005,
    0x5441_0009,
)


class Load(NamedTuple):
    """``data`` for physical ``address``; ``what`` names it in messages ("the initrd")."""

    address: int
    data: bytes
    what: str

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + len(self.data)


class BootPlan(NamedTuple):
    """What to put into memory, and the registers that the CPU starts with."""

    kind: str
    loads: tuple[Load, ...]
    pc: int
    thumb: bool
    r0: int
    r1: int
    r2: int


def atags(memory_size: int, command_line: bytes = b"", initrd: tuple[int, int] | None = None) -> bytes:
    """The tag list for Linux: SDRAM of ``memory_size`` bytes, ``initrd`` as (address, size) or None."""
    tags = _tag(_ATAG_CORE) + _tag(_ATAG_MEM, struct.pack("<2I", memory_size, SDRAM_BASE))
    if initrd is not None:
        tags += _tag(_ATAG_INITRD2, struct.pack("<2I", *initrd))
    if command_line:
        padding = bytes(4 - len(command_line) % 4)
        tags += _tag(_ATAG_CMDLINE, command_line + padding)
    return tags + struct.pack("<2I", 0, _ATAG_NONE)


def _tag(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack("<2I", 2 + len(payload) // 4, kind) + payload


def plan_boot(
    kernel: bytes,
    kernel_name: str,
    *,
    memory_size: int,
    command_line: str = "",
    initrd: bytes | None = None,
    initrd_name: str = "initrd",
) -> BootPlan:
    """How to start the kernel or firmware file ``kernel`` on a board with ``memory_size`` bytes of SDRAM.

    The names are the files', for messages. Raises OptionError for a file that cannot be used, and for
    parts that do not fit into memory or onto each other.
    """
    image = parse_image(kernel, kernel_name)
    memory = range(SDRAM_BASE, SDRAM_BASE + memory_size)
    loads = [
        Load(_place(image, address, memory), data, f"'{kernel_name}'") for address, data in image.segments
    ]
    entry = loads[0].address if image.entry is None else _physical(image.entry, memory)
    if initrd is not None:
        contents = unwrap_ramdisk(initrd, initrd_name)
        loads.append(Load(_initrd_address(len(contents), memory), contents, f"'{initrd_name}'"))
    disk = (loads[-1].address, len(loads[-1].data)) if initrd is not None else None
    tags = Load(SDRAM_BASE + _TAGS_OFFSET, atags(memory_size, _encode(command_line), disk), "the tag list")
    # Firmware may be linked to where the tags would be: then it has no use for them.
    wanted = bool(command_line) or disk is not None
    if wanted or not any(load.address < tags.end and tags.address < load.end for load in loads):
        loads.append(tags)
    plan = BootPlan(
        kind=image.kind,
        loads=tuple(loads),
        pc=entry,
        thumb=image.thumb,
        r0=0,
        r1=MACHINE_ID,
        r2=tags.address if tags in loads else 0,
    )
    _check_places(plan, memory)
    if not any(load.address <= entry < load.end for load in loads):
        raise OptionError(f"'{kernel_name}' starts at 0x{entry:08x}, where it loads nothing")
    return plan


def _place(image: Image, address: int | None, memory: range) -> int:
    if address is not None:
        return _physical(address, memory)
    if image.kind == "zImage" and len(memory) > _ZIMAGE_OFFSET + len(image.segments[0].data):
        return SDRAM_BASE + _ZIMAGE_OFFSET
    return SDRAM_BASE + _KERNEL_OFFSET


def _physical(address: int, memory: range) -> int:
    """``address``, or where it is in SDRAM when it is one of Linux's virtual addresses (vmlinux)."""
    offset = address - _LINUX_PAGE_OFFSET
    return SDRAM_BASE + offset if 0 <= offset < len(memory) else address


def _initrd_address(size: int, memory: range) -> int:
    if _INITRD_OFFSET + size <= len(memory):
        return SDRAM_BASE + _INITRD_OFFSET
    return max(memory.start, (memory.stop - size) & -_PAGE)


def _encode(command_line: str) -> bytes:
    encoded = command_line.encode("utf-8", "surrogateescape")
    if len(encoded) >= _COMMAND_LINE_SIZE:
        raise OptionError(
            f"the kernel's command line is {len(encoded)} bytes long, but Linux takes up to"
            f" {_COMMAND_LINE_SIZE - 1}"
        )
    return encoded


def _check_places(plan: BootPlan, memory: range) -> None:
    # Bare-metal firmware may also be linked into the 4 KiB of SRAM that a NAND boot starts in.
    for load in plan.loads:
        in_sdram = memory.start <= load.address and load.end <= memory.stop
        in_sram = load.end <= STEPPINGSTONE_SIZE
        if not in_sdram and not in_sram:
            raise OptionError(
                f"{load.what} does not fit: it would take 0x{load.address:08x} to 0x{load.end - 1:08x}, but"
                f" SDRAM is 0x{memory.start:08x} to 0x{memory.stop - 1:08x}"
            )
    for first, second in pairwise(sorted(plan.loads, key=lambda load: load.address)):
        if second.address < first.end:
            raise OptionError(
                f"{second.what} at 0x{second.address:08x} would overlap {first.what}, which takes"
                f" 0x{first.address:08x} to 0x{first.end - 1:08x}"
            )
