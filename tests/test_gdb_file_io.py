"""Semihosting calls that GDB executes: the packets of the File-I/O extension, over real sockets."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from dbgemu.debug.events import StopKind
from dbgemu.debug.semihosting.config import Target
from dbgemu.debug.semihosting.errors import Errno
from dbgemu.gdbstub import arguments
from dbgemu.gdbstub.errors import PacketError
from dbgemu.gdbstub.server import GdbServer
from tests import semihosting_guest as sys
from tests.semihosting_guest import BLOCK, BUFFER, CODE, FAILED, STACK, TEXT, SemihostingGuest
from tests.support import RawClient, serve, until

_CALL = "svc #0x123456"


class Debugged:
    """A guest with a client that takes part in its calls."""

    def __init__(self, guest: SemihostingGuest, server: GdbServer) -> None:
        self.guest = guest
        self.server = server
        self.client = RawClient(server.endpoint)
        assert self.client.ask(b"Z0,%x,4" % guest.done) == b"OK"

    def begin(self, number: int, *words: int, resume: bytes = b"c") -> bytes:
        """Let the guest make a call with a block of words; what the client is asked for."""
        guest = self.guest
        guest.write(BLOCK, struct.pack(f"<{len(words)}I", *words))
        return self.begin_with(number, BLOCK, resume=resume)

    def begin_with(self, number: int, parameter: int, *, resume: bytes = b"c") -> bytes:
        self.guest.start(_CALL)
        self.guest.cpu.write_register("r0", number)
        self.guest.cpu.write_register("r1", parameter)
        self.client.send(resume)
        return self.client.receive_packet()

    def end(self, reply: bytes) -> int:
        """Reply; what the guest then finds in r0."""
        self.client.send(reply)
        assert self.client.receive_packet().startswith(b"T05")
        return self.guest.cpu.read_register("r0")

    def do(self, reply: bytes, number: int, *words: int) -> tuple[bytes, int]:
        """A whole call: the request, and r0."""
        request = self.begin(number, *words)
        return request, self.end(reply)

    def open(self, name: bytes, mode: int, reply: bytes) -> int:
        address, length = self.guest.text(name)
        return self.do(reply, sys.OPEN, address, mode, length)[1]


def debugged(target: Target) -> Iterator[Debugged]:
    guest = SemihostingGuest(target=target)
    with serve(guest.session) as server:
        debugged = Debugged(guest, server)
        yield debugged
        debugged.client.close()
    guest.close()


@pytest.fixture
def gdb() -> Iterator[Debugged]:
    yield from debugged(Target.GDB)


@pytest.fixture
def auto() -> Iterator[Debugged]:
    yield from debugged(Target.AUTO)


@pytest.mark.parametrize(
    ("mode", "flags"), [*enumerate((0, 0, 2, 2, 0x601, 0x601, 0x602, 0x602, 0x209, 0x209, 0x20A, 0x20A))]
)
def test_open_asks_for_the_file_with_gdbs_flags(gdb, mode, flags) -> None:
    address, length = gdb.guest.text(b"a/file")
    request, handle = gdb.do(b"F7", sys.OPEN, address, mode, length)
    assert request == b"Fopen,%x/7,%x,1b6" % (TEXT, flags)
    assert handle == 1


def test_a_file_is_used_by_its_descriptor(gdb) -> None:
    handle = gdb.open(b"f", 6, b"F2a")
    assert gdb.do(b"F5", sys.WRITE, handle, BUFFER, 8) == (b"Fwrite,2a,%x,8" % BUFFER, 3)
    assert gdb.do(b"F8", sys.READ, handle, BUFFER, 8) == (b"Fread,2a,%x,8" % BUFFER, 0)
    assert gdb.do(b"F0", sys.READ, handle, BUFFER, 8)[1] == 8
    assert gdb.do(b"F64", sys.SEEK, handle, 100) == (b"Flseek,2a,64,0", 0)
    assert gdb.do(b"F0", sys.ISTTY, handle) == (b"Fisatty,2a", 0)
    assert gdb.do(b"F1", sys.ISTTY, handle)[1] == 1
    assert gdb.do(b"F0", sys.CLOSE, handle) == (b"Fclose,2a", 0)
    assert gdb.guest.call(sys.CLOSE, handle) == FAILED


def test_what_gdb_reads_it_writes_to_the_guests_memory(gdb) -> None:
    handle = gdb.open(b"f", 0, b"F3")
    gdb.begin(sys.READ, handle, BUFFER, 4)
    assert gdb.client.ask(b"X%x,4:data" % BUFFER) == b"OK"
    assert gdb.client.ask(b"m%x,4" % BUFFER) == b"data".hex().encode()
    assert gdb.end(b"F4") == 0
    assert gdb.guest.read(BUFFER, 4) == b"data"


def test_the_length_comes_from_fstat_and_the_stack_stays_as_it_was(gdb) -> None:
    handle = gdb.open(b"f", 0, b"F3")
    below = gdb.guest.write(STACK - 64, bytes(range(64)))
    request = gdb.begin(sys.FLEN, handle)
    assert request == b"Ffstat,3,%x" % below
    stat = bytes(28) + (123456).to_bytes(8, "big") + bytes(28)
    assert gdb.client.ask(b"M%x,40:" % below + stat.hex().encode()) == b"OK"
    assert gdb.end(b"F0") == 123456
    assert gdb.guest.read(below, 64) == bytes(range(64))


def test_names_are_passed_where_they_are(gdb) -> None:
    guest = gdb.guest
    old, new = guest.text(b"old"), guest.text(b"newer", 1)
    assert gdb.do(b"F0", sys.REMOVE, *old) == (b"Funlink,%x/4" % old[0], 0)
    assert gdb.do(b"F0", sys.RENAME, *old, *new) == (b"Frename,%x/4,%x/6" % (old[0], new[0]), 0)
    assert gdb.do(b"F3", sys.SYSTEM, *old) == (b"Fsystem,%x/4" % old[0], 3)


def test_errors_reach_the_guest(gdb) -> None:
    assert gdb.open(b"f", 0, b"F-1,2") == FAILED
    assert gdb.guest.errno() == Errno.ENOENT
    assert gdb.open(b"f", 0, b"F-1,5b") == FAILED
    assert gdb.guest.errno() == Errno.ENAMETOOLONG
    assert gdb.open(b"f", 0, b"F-1") == FAILED
    assert gdb.guest.errno() == Errno.EIO


def test_a_count_that_is_too_large_is_an_error(gdb) -> None:
    handle = gdb.open(b"f", 0, b"F3")
    assert gdb.do(b"F9", sys.READ, handle, BUFFER, 8)[1] == FAILED


def test_a_bad_buffer_is_not_gdbs_affair(gdb) -> None:
    handle = gdb.open(b"f", 0, b"F3")
    for number in (sys.READ, sys.WRITE):
        assert gdb.begin(number, handle, sys.NOWHERE, 8).startswith(b"T05")
        assert gdb.guest.cpu.read_register("r0") == FAILED


@pytest.mark.parametrize("target", ["gdb", "auto"])
def test_the_console_is_gdbs_while_it_waits(request, target) -> None:
    both = request.getfixturevalue(target)
    both.guest.write(BUFFER, b"hello\0")
    assert both.begin_with(sys.WRITE0, BUFFER) == b"Fwrite,1,%x,5" % BUFFER
    both.end(b"F5")
    assert both.begin_with(sys.WRITEC, BUFFER) == b"Fwrite,1,%x,1" % BUFFER
    both.end(b"F1")
    address, length = both.guest.text(b":tt")
    for mode, descriptor in ((0, 0), (4, 1), (8, 2)):
        handle = both.guest.call(sys.OPEN, address, mode, length)
        name = sys.WRITE if descriptor else sys.READ
        verb = b"write" if descriptor else b"read"
        assert both.do(b"F3", name, handle, BUFFER, 3) == (b"F%b,%x,%x,3" % (verb, descriptor, BUFFER), 0)
    assert both.guest.written == []


def test_a_character_is_read_through_borrowed_memory(gdb) -> None:
    gdb.guest.write(STACK - 8, b"keep")
    request = gdb.begin_with(sys.READC, 0)
    assert request == b"Fread,0,%x,1" % (STACK - 8)
    assert gdb.client.ask(b"X%x,1:k" % (STACK - 8)) == b"OK"
    assert gdb.end(b"F1") == ord("k")
    assert gdb.guest.read(STACK - 8, 4) == b"keep"


def test_without_a_client_that_waits_the_console_is_the_emulators(auto) -> None:
    auto.guest.call_with(sys.WRITE0, auto.guest.text(b"hello")[0])
    assert auto.guest.written == [(1, b"hello")]


def test_without_a_client_calls_for_gdb_fail(gdb) -> None:
    gdb.client.close()
    until(lambda: gdb.server.client_count == 0)
    assert gdb.guest.open(b"f", 0) == FAILED
    assert gdb.guest.errno() == Errno.EIO
    assert gdb.guest.call_with(sys.WRITE0, gdb.guest.text(b"hello")[0]) == FAILED


def test_files_are_not_gdbs_unless_it_is_told_so(auto) -> None:
    address, length = auto.guest.text(b"f")
    assert auto.begin(sys.OPEN, address, 0, length).startswith(b"T05")
    assert auto.guest.errno() == Errno.EACCES


@pytest.mark.parametrize("resume", [b"s", b"vCont;s:1", b"vCont;r%x,%x" % (CODE, CODE + 4)])
def test_a_step_over_a_call_asks_too(auto, resume) -> None:
    auto.guest.write(BUFFER, b"x")
    auto.client.ask(b"z0,%x,4" % auto.guest.done)
    assert auto.begin_with(sys.WRITEC, BUFFER, resume=resume) == b"Fwrite,1,%x,1" % BUFFER
    auto.end(b"F1")
    assert auto.guest.cpu.pc == CODE + 4
    assert auto.guest.session.last_stop.kind is StopKind.STEP


def test_ctrl_c_before_the_call_stops_in_front_of_it(auto) -> None:
    auto.guest.write(BUFFER, b"x")
    auto.begin_with(sys.WRITEC, BUFFER)
    auto.client.send(b"F-1,4,C")
    assert auto.client.receive_packet().startswith(b"T02")
    assert auto.guest.cpu.pc == CODE
    auto.client.send(b"c")
    assert auto.client.receive_packet() == b"Fwrite,1,%x,1" % BUFFER
    auto.end(b"F1")


def test_ctrl_c_behind_the_call_stops_behind_it(auto) -> None:
    auto.guest.write(BUFFER, b"x")
    auto.guest.session.breakpoints.remove(next(iter(auto.guest.session.breakpoints)))
    auto.begin_with(sys.WRITEC, BUFFER)
    auto.client.send(b"F1,0,C")
    assert auto.client.receive_packet().startswith(b"T02")
    assert auto.guest.cpu.pc == auto.guest.done


def test_a_client_that_vanishes_leaves_the_call_to_others(auto) -> None:
    auto.guest.write(BUFFER, b"x")
    auto.begin_with(sys.WRITEC, BUFFER)
    auto.client.close()
    until(lambda: auto.guest.written == [(1, b"x")])


def test_a_client_that_does_not_reply_does_not_hold_up_others(auto) -> None:
    auto.guest.write(BUFFER, b"x")
    auto.begin_with(sys.WRITEC, BUFFER)
    other = RawClient(auto.server.endpoint)
    assert other.ask(b"?").startswith(b"T05")
    assert auto.guest.cpu.pc == CODE
    assert other.ask(b"m%x,1" % BUFFER) == b"78"
    # the silent one is told of the stop when it has replied, to a request that has been given up
    auto.client.send(b"F1")
    assert auto.client.receive_packet().startswith(b"T0")
    auto.client.send(b"c")
    assert auto.client.receive_packet() == b"Fwrite,1,%x,1" % BUFFER
    auto.end(b"F1")
    other.close()


def test_a_reply_that_nobody_asked_for_means_nothing(auto) -> None:
    auto.client.send(b"F5")
    auto.client.send(b"F-1,4,C")
    assert auto.client.ask(b"qC").startswith(b"QC")
    assert not auto.guest.session.running


def test_the_end_of_the_guest_is_told_with_its_status(auto) -> None:
    assert auto.begin(sys.EXIT_EXTENDED, 0x20026, 42) == b"W2a"
    assert auto.begin(sys.EXIT_EXTENDED, 0x20026, 7, resume=b"s") == b"W07"


def test_a_client_in_non_stop_mode_is_not_asked(auto) -> None:
    assert auto.client.ask(b"QNonStop:1") == b"OK"
    auto.guest.write(BUFFER, b"x")
    assert auto.begin_with(sys.WRITEC, BUFFER, resume=b"vCont;c") == b"OK"
    until(lambda: auto.guest.written == [(1, b"x")])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"0", (0, 0, False)),
        (b"-1,9", (-1, 9, False)),
        (b"-1,4,C", (-1, 4, True)),
        (b"5,0,C;attachment", (5, 0, True)),
        (b"123456789a", (0x123456789A, 0, False)),
        (b"1,", None),
        (b"", None),
        (b"-", None),
        (b"1,2,D", None),
        (b"x", None),
    ],
)
def test_replies_are_understood_or_refused(text, values) -> None:
    if values is not None:
        assert arguments.file_reply(text) == values
    else:
        with pytest.raises(PacketError):
            arguments.file_reply(text)


# -- vRun's arguments ----------------------------------------------------------------------------------


def test_the_program_is_told_the_arguments_it_is_run_with() -> None:
    guest = SemihostingGuest(command_line=b"prog given")

    def command_line() -> bytes:
        assert guest.call(sys.GET_CMDLINE, BUFFER, 80) == 0
        return guest.read(BUFFER, guest.words(BLOCK, 2)[1])

    def run(*words: bytes) -> None:
        packet = b"vRun;" + b";".join(word.hex().encode() for word in words)
        assert client.ask(packet).startswith(b"T05")

    with serve(guest.session) as server:
        client = RawClient(server.endpoint)
        client.ask(b"!")
        assert command_line() == b"prog given"
        run(b"other", b"-x", b"y z")
        assert command_line() == b"other -x y z"
        run(b"", b"a")
        assert command_line() == b"prog a"
        run(b"other")
        assert command_line() == b"prog given"
        client.close()
    guest.close()
