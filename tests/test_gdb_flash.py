"""The NOR flash programmed through GDB: vFlashErase, vFlashWrite, and the memory map."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gdb_wire import Wire, fetch_xml, wire
from real_gdb import compile_program, debugged, needs_gcc, needs_gdb

from dbgemu.gdbstub.framing import escape
from dbgemu.host.flash_image import open_nor_image
from dbgemu.machine import Machine
from dbgemu.target.chips.nor_flash import SECTOR_STARTS, SIZE
from dbgemu.target.mini2440 import BootSwitch, Mini2440


@pytest.fixture
def guest() -> Iterator[Wire]:
    with wire(Machine(Mini2440())) as found:
        yield found


def nor(guest: Wire) -> memoryview:
    data: memoryview = guest.machine.board.nor.memory.data
    return data


def flash_sectors(guest: Wire) -> list[int]:
    """The first byte of each sector of flash in the memory map."""
    starts = []
    for memory in fetch_xml(guest.client, "memory-map").iter("memory"):
        if memory.get("type") == "flash":
            start, length = (int(memory.get(name) or "", 16) for name in ("start", "length"))
            size = memory.find("property")
            assert size is not None
            assert size.get("name") == "blocksize"
            starts += range(start, start + length, int(size.text or "", 16))
    return starts


def test_the_memory_map_has_each_sector_of_the_chip_and_all_addresses(guest) -> None:
    assert flash_sectors(guest) == list(SECTOR_STARTS[:-1])
    position = 0
    for memory in fetch_xml(guest.client, "memory-map").iter("memory"):
        assert int(memory.get("start") or "", 16) == position
        position += int(memory.get("length") or "", 16)
    assert position == 1 << 32


def test_there_is_no_flash_in_the_map_when_the_board_boots_from_nand_or_the_mmu_hides_it(guest) -> None:
    guest.machine.cpu.translate = lambda address: address ^ 0x1000
    assert flash_sectors(guest) == []
    assert guest.client.ask(b"vFlashErase:0,4000") == b"E.memtype"
    with wire(Machine(Mini2440(boot_switch=BootSwitch.NAND))) as other:
        assert flash_sectors(other) == []
        assert other.client.ask(b"vFlashErase:0,4000") == b"E.memtype"


def test_sectors_are_erased_and_written(guest) -> None:
    nor(guest)[:0x10000] = bytes(0x10000)
    data = bytes(range(256)) + b"#$}*:;"
    assert guest.client.ask(b"vFlashErase:4000,4000") == b"OK"
    assert bytes(nor(guest)[:0xC000]) == bytes(0x4000) + b"\xff" * 0x4000 + bytes(0x4000)
    assert guest.client.ask(b"vFlashWrite:4100:" + escape(data)) == b"OK"
    assert guest.client.ask(b"vFlashDone") == b"OK"
    assert bytes(nor(guest)[0x4100 : 0x4100 + len(data)]) == data


def test_what_is_not_erased_cannot_be_written(guest) -> None:
    client = guest.connect("error-message+")
    assert client.ask(b"vFlashWrite:0:\x0f\x0f") == b"OK"
    assert client.ask(b"vFlashWrite:0:\x0f\x0e") == b"OK"
    refused = client.ask(b"vFlashWrite:0:\x0f\x0f")
    assert refused == b"E.flash from 0x00000000 is not erased: only an erase sets bits"
    assert bytes(nor(guest)[:2]) == b"\x0f\x0e"


def test_a_part_of_a_sector_cannot_be_erased(guest) -> None:
    client = guest.connect("error-message+")
    nor(guest)[:4] = b"keep"
    for packet in (b"vFlashErase:0,2000", b"vFlashErase:2000,2000", b"vFlashErase:0,8001"):
        assert client.ask(packet).endswith(b"are not whole sectors")
    assert bytes(nor(guest)[:4]) == b"keep"


@pytest.mark.parametrize(
    "packet", [b"vFlashErase:30000000,10000", b"vFlashWrite:30000000:ab", b"vFlashErase:1f0000,20000"]
)
def test_what_is_no_flash_is_told_so(guest, packet) -> None:
    assert guest.client.ask(packet) == b"E.memtype"


@pytest.mark.parametrize("packet", [b"vFlashErase:0", b"vFlashErase:x,1", b"vFlashWrite:0"])
def test_malformed_flash_packets_are_errors(guest, packet) -> None:
    assert guest.client.ask(packet)[:1] == b"E"


_SOURCE = """
const char text[0x5000] = "in flash";
__attribute__((naked)) void _start(void) { asm("b ."); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("flash"), _SOURCE, "-Ttext=0x2000")


@needs_gdb
@needs_gcc
def test_gdbs_load_programs_the_chip_and_its_image_file(program, tmp_path) -> None:
    path = tmp_path / "nor.bin"
    path.write_bytes(b"old." * 0x4000)
    image = open_nor_image(path, SIZE, snapshot=False)
    machine = Machine(Mini2440(nor_image=image))
    with debugged(machine, program) as (gdb, _, _):
        assert "Transfer rate" in gdb.execute("load")
        assert "MIS-MATCHED" not in gdb.execute("compare-sections")
        place = gdb.value("(unsigned) &text")
    image.close()
    stored = path.read_bytes()
    assert stored[place : place + 8] == b"in flash"
    # load erases the sectors that it writes to, and no others
    assert stored[:4] == b"\xff" * 4
    assert stored[-4:] == b"old."
