"""Which files boot, where they and the tag list go, and what is said of those that do not."""

from __future__ import annotations

import gzip
import struct
import zlib
from itertools import product

import pytest

from dbgemu.errors import OptionError
from dbgemu.target.boot import BootPlan, atags, plan_boot
from dbgemu.target.images import parse_image, unwrap_ramdisk

MIB = 1 << 20


def zimage(size: int = 0x1000, magic: int = 0x016F2818, order: int = 0x04030201) -> bytes:
    return (bytes(0x24) + struct.pack("<4I", magic, 0, size, order)).ljust(size, b"\xaa")


def uimage(
    payload: bytes,
    *,
    load: int = 0x30008000,
    entry: int = 0x30008000,
    kind: int = 2,
    compression: int = 0,
    arch: int = 2,
) -> bytes:
    def header(crc: int) -> bytes:
        fields = (0x27051956, crc, 0, len(payload), load, entry, zlib.crc32(payload))
        return struct.pack(">7I4B32s", *fields, 5, arch, kind, compression, b"test")

    return header(zlib.crc32(header(0))) + payload


def elf(
    *segments: tuple[int, int, bytes, int], entry: int, machine: int = 40, kind: int = 2, data: int = 1
) -> bytes:
    """An ELF file of segments (virtual address, physical address, contents, size in memory)."""
    order = "<" if data == 1 else ">"
    offset = 52 + 32 * len(segments)
    ident = b"\x7fELF" + bytes((1, data, 1)) + bytes(9)
    header = ident + struct.pack(
        order + "2H5I6H", kind, machine, 1, entry, 52, 0, 0, 52, 32, len(segments), 40, 0, 0
    )
    body = b""
    for virtual, physical, contents, size in segments:
        header += struct.pack(
            order + "8I", 1, offset + len(body), virtual, physical, len(contents), size, 7, 4
        )
        body += contents
    return header + body


def plan(
    kernel: bytes, *, memory_size: int = 64 * MIB, command_line: str = "", initrd: bytes | None = None
) -> BootPlan:
    return plan_boot(
        kernel,
        "kernel.bin",
        memory_size=memory_size,
        command_line=command_line,
        initrd=initrd,
        initrd_name="disk.gz",
    )


def places(boot: BootPlan) -> dict[str, int]:
    return {load.what: load.address for load in boot.loads}


def tags_in(data: bytes) -> list[tuple[int, bytes]]:
    found, offset = [], 0
    while True:
        size, kind = struct.unpack_from("<2I", data, offset)
        found.append((kind, data[offset + 8 : offset + 4 * size]))
        if kind == 0:
            assert len(data) == offset + 8
            return found
        offset += 4 * size


def test_a_zimage_is_loaded_out_of_the_way_of_the_kernel_that_it_decompresses() -> None:
    boot = plan(zimage())
    assert (boot.kind, boot.pc, boot.thumb) == ("zImage", 0x31000000, False)
    assert (boot.r0, boot.r1, boot.r2) == (0, 1999, 0x30000100)


def test_a_zimage_on_a_board_with_little_memory_goes_where_the_kernel_runs() -> None:
    assert plan(zimage(), memory_size=16 * MIB).pc == 0x30008000


def test_a_raw_binary_starts_at_its_first_byte_at_the_address_of_a_linux_image() -> None:
    boot = plan(b"\x00\x00\xa0\xe1")
    assert (boot.kind, boot.pc) == ("raw", 0x30008000)
    assert places(boot)["'kernel.bin'"] == 0x30008000


def test_the_initrd_goes_32_mib_up_and_the_tags_tell_its_place_and_size() -> None:
    boot = plan(zimage(), initrd=b"disk")
    assert places(boot)["'disk.gz'"] == 0x32000000
    assert (0x54420005, struct.pack("<2I", 0x32000000, 4)) in tags_in(boot.loads[-1].data)


def test_the_initrd_goes_to_the_end_of_a_small_memory() -> None:
    boot = plan(zimage(), memory_size=32 * MIB, initrd=bytes(5000))
    assert places(boot)["'disk.gz'"] == 0x32000000 - 8192


def test_an_initrd_inside_a_uimage_is_taken_out_of_it() -> None:
    assert unwrap_ramdisk(uimage(b"disk", kind=3), "disk") == b"disk"
    assert plan(zimage(), initrd=uimage(b"disk", kind=3)).loads[1].data == b"disk"


def test_tags_come_in_the_order_that_linux_wants_and_end_with_none() -> None:
    tags = tags_in(atags(64 * MIB, b"console=x", (0x32000000, 77)))
    assert tags == [
        (0x54410001, b""),
        (0x54410002, struct.pack("<2I", 64 * MIB, 0x30000000)),
        (0x54420005, struct.pack("<2I", 0x32000000, 77)),
        (0x54410009, b"console=x\0\0\0"),
        (0, b""),
    ]


@pytest.mark.parametrize("length", range(1, 9))
def test_the_command_line_always_ends_with_a_nul_in_its_tag(length: int) -> None:
    _, payload = tags_in(atags(64 * MIB, b"x" * length))[2]
    assert payload.rstrip(b"\0") == b"x" * length
    assert payload.endswith(b"\0")
    assert len(payload) % 4 == 0


def test_without_command_line_and_initrd_their_tags_are_left_out() -> None:
    assert [kind for kind, _ in tags_in(atags(64 * MIB))] == [0x54410001, 0x54410002, 0]


def test_a_uimage_goes_where_its_header_says_and_starts_there() -> None:
    boot = plan(uimage(b"code", load=0x30100000, entry=0x30100002))
    assert (boot.kind, boot.pc, boot.thumb) == ("uImage", 0x30100002, False)
    assert (boot.loads[0].address, boot.loads[0].data) == (0x30100000, b"code")


def test_a_gzip_compressed_uimage_is_decompressed() -> None:
    assert plan(uimage(gzip.compress(b"code" * 1000), compression=1)).loads[0].data == b"code" * 1000


def test_a_kernel_noload_uimage_starts_at_its_payload() -> None:
    assert plan(uimage(b"code", kind=14, load=0, entry=0)).pc == 0x30008000


def test_an_elf_file_is_loaded_at_its_physical_addresses_with_its_bss_cleared() -> None:
    boot = plan(
        elf((0xC0100000, 0x30100000, b"code", 8), (0x30200000, 0x30200000, b"data", 4), entry=0x30200000)
    )
    assert boot.kind == "ELF"
    assert [(load.address, load.data) for load in boot.loads[:2]] == [
        (0x30100000, b"code\0\0\0\0"),
        (0x30200000, b"data"),
    ]
    assert boot.pc == 0x30200000


def test_the_entry_of_an_elf_file_with_virtual_addresses_is_where_it_is_loaded() -> None:
    assert plan(elf((0xD0000000, 0x30100000, b"codecode", 8), entry=0xD0000004)).pc == 0x30100004


def test_bit_0_of_an_elf_entry_starts_thumb_code() -> None:
    boot = plan(elf((0x30100000, 0x30100000, b"code", 4), entry=0x30100001))
    assert (boot.pc, boot.thumb) == (0x30100000, True)


def test_a_vmlinux_is_loaded_where_linux_maps_its_first_virtual_address() -> None:
    boot = plan(elf((0xC0008000, 0xC0008000, b"codecode", 8), entry=0xC0008000))
    assert boot.pc == boot.loads[0].address == 0x30008000


def test_an_elf_file_may_be_linked_into_the_steppingstone_sram() -> None:
    assert plan(elf((0, 0, b"code", 4), entry=0)).pc == 0


def test_firmware_that_lies_on_the_tag_list_starts_without_one() -> None:
    boot = plan(elf((0x30000000, 0x30000000, bytes(0x200), 0x200), entry=0x30000000))
    assert boot.r2 == 0
    assert len(boot.loads) == 1


def message(kernel: bytes, **options: object) -> str:
    with pytest.raises(OptionError) as error:
        plan(kernel, **options)  # type: ignore[arg-type]
    return str(error.value)


def test_a_kernel_that_is_too_big_for_the_memory_is_refused() -> None:
    assert message(bytes(2 * MIB), memory_size=2 * MIB) == (
        "'kernel.bin' does not fit: it would take 0x30008000 to 0x30207fff, but SDRAM is"
        " 0x30000000 to 0x301fffff"
    )


def test_an_initrd_that_is_too_big_for_the_memory_is_refused() -> None:
    assert message(zimage(), memory_size=2 * MIB, initrd=bytes(3 * MIB)) == (
        "'disk.gz' does not fit: it would take 0x30000000 to 0x302fffff, but SDRAM is"
        " 0x30000000 to 0x301fffff"
    )


def test_an_initrd_that_would_lie_on_the_kernel_is_refused() -> None:
    assert message(bytes(33 * MIB), initrd=b"disk") == (
        "'disk.gz' at 0x32000000 would overlap 'kernel.bin', which takes 0x30008000 to 0x32107fff"
    )


def test_tags_that_are_wanted_but_would_lie_on_the_kernel_are_refused() -> None:
    kernel = elf((0x30000000, 0x30000000, bytes(0x200), 0x200), entry=0x30000000)
    assert message(kernel, command_line="quiet") == (
        "the tag list at 0x30000100 would overlap 'kernel.bin', which takes 0x30000000 to 0x300001ff"
    )


def test_a_command_line_longer_than_linux_takes_is_refused() -> None:
    assert plan(zimage(), command_line="x" * 1023).r2
    assert message(zimage(), command_line="x" * 1024) == (
        "the kernel's command line is 1024 bytes long, but Linux takes up to 1023"
    )


def test_an_entry_outside_of_what_is_loaded_is_refused() -> None:
    assert message(elf((0x30100000, 0x30100000, b"code", 4), entry=0x30200000)) == (
        "'kernel.bin' starts at 0x30200000, where it loads nothing"
    )


DAMAGED = uimage(b"payload")
REFUSED = {
    "empty": (b"", "'k' is empty"),
    "cut zImage": (
        zimage(0x1000)[:0x800],
        "'k' is cut short: its header tells of 4096 bytes, it has 2048",
    ),
    "big-endian zImage": (
        zimage(order=0x01020304),
        "'k' is a big-endian zImage: the board is little-endian",
    ),
    "cut uImage header": (DAMAGED[:20], "'k' is cut short: a uImage has a header of 64 bytes, it has 20"),
    "cut uImage": (DAMAGED[:-1], "'k' is cut short: its header tells of 7 bytes, it has 6"),
    "changed uImage header": (
        DAMAGED[:40] + b"?" + DAMAGED[41:],
        "'k' is damaged: the checksum of its uImage header is wrong",
    ),
    "changed uImage data": (
        DAMAGED[:-1] + b"?",
        "'k' is damaged: the checksum of its uImage data is wrong",
    ),
    "uImage for PowerPC": (
        uimage(b"x", arch=7),
        "'k' is a uImage for another processor than ARM (architecture 7)",
    ),
    "uImage of a RAM disk": (
        uimage(b"x", kind=3),
        "'k' is a uImage of type ramdisk, which cannot be booted: it takes a kernel",
    ),
    "uImage with lzma": (
        uimage(b"x", compression=3),
        "'k' is a uImage compressed with lzma: only gzip and none are known",
    ),
    "uImage with bad gzip": (
        uimage(b"x", compression=1),
        "'k' is damaged: its data does not decompress",
    ),
    "FIT": (
        b"\xd0\x0d\xfe\xed" + bytes(60),
        "'k' is a FIT image or a device tree, which cannot be booted: give a zImage",
    ),
    "ELF for x86": (
        elf((0, 0, b"code", 4), entry=0, machine=3),
        "'k' is an ELF file for another processor than 32-bit ARM",
    ),
    "big-endian ELF": (
        elf((0, 0, b"code", 4), entry=0, data=2),
        "'k' is a big-endian ELF file: the board is little-endian",
    ),
    "relocatable ELF": (
        elf((0, 0, b"code", 4), entry=0, kind=1),
        "'k' is an ELF file that is not linked to run at fixed addresses",
    ),
    "ELF of nothing": (elf(entry=0), "'k' is an ELF file with nothing to load"),
    "cut ELF segment": (
        elf((0, 0, b"code", 4), entry=0)[:-1],
        "'k' is damaged: an ELF segment is not all there",
    ),
    "cut ELF header": (
        elf((0, 0, b"code", 4), entry=0)[:40],
        "'k' is damaged: its ELF headers make no sense",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_booted_is_refused_with_the_reason(case: str) -> None:
    data, expected = REFUSED[case]
    with pytest.raises(OptionError) as error:
        parse_image(data, "k")
    assert str(error.value) == expected


def test_no_damage_to_an_elf_header_is_worse_than_an_option_error() -> None:
    whole = elf((0x30100000, 0x30100000, b"code", 4), entry=0x30100000)
    refused = 0
    for position, byte in product(range(4, len(whole)), (0x00, 0x7F, 0xFF)):
        damaged = whole[:position] + bytes((byte,)) + whole[position + 1 :]
        try:
            plan(damaged)
        except OptionError as error:
            assert "kernel.bin" in str(error)
            refused += 1
    assert refused > 40
