"""Kernel and firmware files: what kind a file is, and the bytes it wants where in memory.

Known are the Linux formats zImage, uImage and Image, ELF executables, and raw binaries (an Image has
no mark of its own: it is a raw binary that wants to be at SDRAM + 0x8000, as any other here).
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import NamedTuple

from dbgemu.errors import OptionError

_ELF_MAGIC = b"\x7fELF"
#: linux/arch/arm/boot/compressed/head.S: a word 0x24 bytes into the file, then start, end, byte order
_ZIMAGE_MAGIC, _ZIMAGE_OFFSET, _ZIMAGE_LITTLE_ENDIAN = 0x016F2818, 0x24, 0x04030201
_UIMAGE_MAGIC = 0x27051956
_FIT_MAGIC = 0xD00DFEED
_UIMAGE_HEADER = struct.Struct(">7I4B32s")
_UIMAGE_ARM = 2
#: the header's "type" byte (U-Boot's include/image.h)
_UIMAGE_TYPES = {1: "standalone", 2: "kernel", 3: "ramdisk", 4: "multi", 5: "firmware", 14: "kernel_noload"}
_UIMAGE_RUNNABLE = ("standalone", "kernel", "firmware", "kernel_noload")
#: the header's "compression" byte
_UIMAGE_COMPRESSION = {0: "none", 1: "gzip", 2: "bzip2", 3: "lzma", 4: "lzo", 5: "lz4", 6: "zstd"}
_ELF_LIMIT = 1 << 30


class Segment(NamedTuple):
    """``data`` for physical ``address``; None: wherever the loader puts a relocatable image."""

    address: int | None
    data: bytes


class Image(NamedTuple):
    """A file that has been understood.

    ``entry`` is a physical address, or None for the image's first byte; its bit 0 is not set for
    Thumb code: that is ``thumb``.
    """

    kind: str
    segments: tuple[Segment, ...]
    entry: int | None = None
    thumb: bool = False


class UImageHeader(NamedTuple):
    """The header of a legacy uImage, its fields as in U-Boot's ``image_header_t``."""

    magic: int
    header_crc: int
    time: int
    size: int
    load: int
    entry: int
    data_crc: int
    os: int
    arch: int
    type: int
    compression: int
    name: bytes


def parse_image(data: bytes, name: str) -> Image:
    """What the kernel or firmware file ``name`` with contents ``data`` is.

    Raises OptionError for a file that is damaged or for another machine.
    """
    if not data:
        raise OptionError(f"'{name}' is empty")
    if data.startswith(_ELF_MAGIC):
        return _parse_elf(data, name)
    magic = int.from_bytes(data[:4], "big")
    if magic == _UIMAGE_MAGIC:
        return _parse_uimage(data, name)
    if magic == _FIT_MAGIC:
        raise OptionError(f"'{name}' is a FIT image or a device tree, which cannot be booted: give a zImage")
    if _word(data, _ZIMAGE_OFFSET) == _ZIMAGE_MAGIC:
        _check_zimage(data, name)
        return Image("zImage", (Segment(None, data),))
    return Image("raw", (Segment(None, data),))


def unwrap_ramdisk(data: bytes, name: str) -> bytes:
    """The initial RAM disk in ``data``: as it is, or taken out of a uImage of type ramdisk."""
    if not data:
        raise OptionError(f"'{name}' is empty")
    if int.from_bytes(data[:4], "big") != _UIMAGE_MAGIC:
        return data
    header, payload = _open_uimage(data, name)
    if _UIMAGE_TYPES.get(header.type) != "ramdisk":
        raise OptionError(f"'{name}' is a uImage, but not of a RAM disk")
    return payload


def _word(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def _check_zimage(data: bytes, name: str) -> None:
    start, end = _word(data, _ZIMAGE_OFFSET + 4), _word(data, _ZIMAGE_OFFSET + 8)
    order = _word(data, _ZIMAGE_OFFSET + 12)
    if order == int.from_bytes(_ZIMAGE_LITTLE_ENDIAN.to_bytes(4, "little"), "big"):
        raise OptionError(f"'{name}' is a big-endian zImage: the board is little-endian")
    if end - start > len(data):
        raise OptionError(
            f"'{name}' is cut short: its header tells of {end - start} bytes, it has {len(data)}"
        )


def _open_uimage(data: bytes, name: str) -> tuple[UImageHeader, bytes]:
    """The header and the payload, checked but not decompressed."""
    if len(data) < _UIMAGE_HEADER.size:
        raise OptionError(f"'{name}' is cut short: a uImage has a header of 64 bytes, it has {len(data)}")
    header = UImageHeader(*_UIMAGE_HEADER.unpack_from(data))
    blanked = data[:4] + bytes(4) + data[8 : _UIMAGE_HEADER.size]
    if zlib.crc32(blanked) != header.header_crc:
        raise OptionError(f"'{name}' is damaged: the checksum of its uImage header is wrong")
    if header.arch != _UIMAGE_ARM:
        raise OptionError(f"'{name}' is a uImage for another processor than ARM (architecture {header.arch})")
    payload = data[_UIMAGE_HEADER.size : _UIMAGE_HEADER.size + header.size]
    if len(payload) < header.size:
        raise OptionError(
            f"'{name}' is cut short: its header tells of {header.size} bytes, it has {len(payload)}"
        )
    if zlib.crc32(payload) != header.data_crc:
        raise OptionError(f"'{name}' is damaged: the checksum of its uImage data is wrong")
    return header, payload


def _parse_uimage(data: bytes, name: str) -> Image:
    header, payload = _open_uimage(data, name)
    kind = _UIMAGE_TYPES.get(header.type, f"number {header.type}")
    if kind not in _UIMAGE_RUNNABLE:
        raise OptionError(f"'{name}' is a uImage of type {kind}, which cannot be booted: it takes a kernel")
    compression = _UIMAGE_COMPRESSION.get(header.compression, f"number {header.compression}")
    match compression:
        case "none":
            pass
        case "gzip":
            try:
                payload = zlib.decompress(payload, wbits=zlib.MAX_WBITS | 16)
            except zlib.error:
                raise OptionError(f"'{name}' is damaged: its data does not decompress") from None
        case _:
            raise OptionError(
                f"'{name}' is a uImage compressed with {compression}: only gzip and none are known"
            )
    if kind == "kernel_noload":
        return Image("uImage", (Segment(None, payload),))
    return Image("uImage", (Segment(header.load, payload),), header.entry & ~1, bool(header.entry & 1))


def _parse_elf(data: bytes, name: str) -> Image:
    # Imported here because a run that boots no ELF file should not wait for it (50 ms).
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(io.BytesIO(data))
        machine, kind = elf["e_machine"], elf["e_type"]
        entry: int = elf["e_entry"]
        headers = [segment.header for segment in elf.iter_segments("PT_LOAD")]
    except (ELFError, ValueError, TypeError, KeyError, AttributeError):
        raise OptionError(f"'{name}' is damaged: its ELF headers make no sense") from None
    if machine != "EM_ARM" or elf.elfclass != 32:
        raise OptionError(f"'{name}' is an ELF file for another processor than 32-bit ARM")
    if not elf.little_endian:
        raise OptionError(f"'{name}' is a big-endian ELF file: the board is little-endian")
    if kind != "ET_EXEC":
        raise OptionError(f"'{name}' is an ELF file that is not linked to run at fixed addresses")
    segments: list[Segment] = []
    for header in headers:
        if not header.p_memsz:
            continue
        contents = data[header.p_offset : header.p_offset + header.p_filesz]
        if len(contents) < header.p_filesz or header.p_memsz > _ELF_LIMIT or header.p_filesz > header.p_memsz:
            raise OptionError(f"'{name}' is damaged: an ELF segment is not all there")
        segments.append(Segment(header.p_paddr, contents.ljust(header.p_memsz, b"\0")))
        # An entry that is a virtual address of the segment means the physical one: the MMU is off.
        offset = (entry & ~1) - header.p_vaddr
        if header.p_vaddr != header.p_paddr and 0 <= offset < header.p_memsz:
            entry = (header.p_paddr + offset) | entry & 1
    if not segments:
        raise OptionError(f"'{name}' is an ELF file with nothing to load")
    return Image("ELF", tuple(segments), entry & ~1, bool(entry & 1))
