"""The program as a file for GDB: qXfer:exec-file and vFile."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from gdb_wire import Wire, fetch, wire
from real_gdb import Gdb, compile_program, machine_with, needs_gcc, needs_gdb
from support import serve

from dbgemu.debug.session import DebugSession
from dbgemu.gdbstub.framing import unescape


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    path = tmp_path / "a program.elf"
    path.write_bytes(b"\x7fELF" + bytes(range(256)) * 1000)
    return path


@pytest.fixture
def guest(elf: Path) -> Iterator[Wire]:
    with wire(program=elf) as found:
        yield found


def name_of(path: Path) -> bytes:
    return str(path).encode().hex().encode()


def test_the_path_is_told_and_the_file_is_read_in_pieces(guest, elf) -> None:
    client = guest.client
    assert fetch(client, "exec-file").decode() == str(elf)
    assert fetch(client, "exec-file", "1", 7).decode() == str(elf)
    assert client.ask(b"vFile:setfs:0") == b"F0"
    assert client.ask(b"vFile:open:%b,0,0" % name_of(elf)) == b"F3"
    contents = b""
    while True:
        head, _, data = client.ask(b"vFile:pread:3,ffff,%x" % len(contents)).partition(b";")
        assert head == b"F%x" % len(unescape(data))
        if head == b"F0":
            break
        contents += unescape(data)
    assert contents == elf.read_bytes()
    assert client.ask(b"vFile:close:3") == b"F0"
    assert client.ask(b"vFile:pread:3,1,0") == b"F-1,9"


def test_size_and_type_are_told(guest, elf) -> None:
    guest.client.ask(b"vFile:open:%b,0,0" % name_of(elf))
    head, _, data = guest.client.ask(b"vFile:fstat:3").partition(b";")
    found = struct.unpack(">7I3Q3I", unescape(data))
    assert head == b"F40"
    assert found[2] == 0o100444
    assert found[7] == elf.stat().st_size
    assert found[11] == int(elf.stat().st_mtime)


@pytest.mark.parametrize(
    ("packet", "reply"),
    [
        (b"vFile:open:%b,0,0" % b"/etc/passwd".hex().encode(), b"F-1,2"),
        (b"vFile:fstat:3", b"F-1,9"),
        (b"vFile:close:0", b"F-1,9"),
        (b"vFile:pread:3,1,ffffffffffffffff", b"F-1,16"),
        (b"vFile:readlink:2f", b"F-1,16"),
        (b"vFile:pread:3,1", b"E22"),
        (b"vFile:open:2f", b"E22"),
        (b"vFile:unlink:2f", b""),
        (b"vFile:pwrite:3,0,a", b""),
        (b"qXfer:exec-file:read:2:0,10", b"E01"),
    ],
)
def test_nothing_else_can_be_opened_read_or_changed(guest, packet, reply) -> None:
    assert guest.client.ask(packet) == reply


def test_the_file_is_not_opened_for_writing_and_not_without_end(guest, elf) -> None:
    for flags in (b"1", b"2", b"201"):
        assert guest.client.ask(b"vFile:open:%b,%b,1ff" % (name_of(elf), flags)) == b"F-1,d"
    replies = [guest.client.ask(b"vFile:open:%b,0,0" % name_of(elf)) for _ in range(17)]
    assert replies == [b"F%x" % number for number in range(3, 19)] + [b"F-1,18"]


@pytest.mark.parametrize("contents", [None, b"raw"])
def test_what_is_no_elf_is_not_offered(tmp_path, contents) -> None:
    path = tmp_path / "image"
    if contents is not None:
        path.write_bytes(contents)
    with wire(program=path) as guest:
        assert guest.client.ask(b"qXfer:exec-file:read::0,10") == b"E01"
        assert guest.client.ask(b"vFile:open:%b,0,0" % name_of(path)) == b"F-1,2"


_SOURCE = """
__attribute__((naked)) void _start(void) { asm("ldr sp, =0x30200000; b main"); }
int main(void) { for (;;); }
"""


@needs_gdb
@needs_gcc
def test_gdb_finds_the_symbols_by_itself(tmp_path) -> None:
    program = compile_program(tmp_path, _SOURCE)
    session = DebugSession(machine_with(program))
    try:
        with serve(session, program=program) as server:
            gdb = Gdb()
            try:
                gdb.execute(f"target remote {server.endpoint.host}:{server.endpoint.port}")
                assert gdb.stop()["frame"]["func"] == "_start"
                assert f"target:{program}" in gdb.execute("info files")
                gdb.execute("tbreak main")
                assert gdb.run("continue")["frame"]["func"] == "main"
            finally:
                gdb.close()
    finally:
        session.close()
