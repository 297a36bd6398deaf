"""QCatchSyscalls: stops at system calls of programs, and at their returns."""

import re
from collections.abc import Iterator

import pytest
from debugged_program import debugged_program
from gdb_wire import Wire, wire
from real_gdb import Gdb, needs_gdb
from support import RawClient

from dbgemu.gdbstub.arguments import system_calls
from dbgemu.gdbstub.errors import PacketError

# A program in user mode with two calls of the new ABI (r7) and one of the old (in the instruction)
_PROGRAM = """
    swi #1                  @ from supervisor mode: none of a program's
    ldr sp, =0x30200000
    mov r0, #0x10
    msr cpsr_c, r0
    ldr sp, =0x30300000
again:
    mov r7, #4
    swi #0
first:
    swi #0x900005
second:
    mov r7, #0xfc
    swi #0
third:
    b again
"""


@pytest.fixture
def guest() -> Iterator[Wire]:
    with debugged_program(_PROGRAM) as program:
        # the vector returns at once: movs pc, lr
        program.machine.board.bus.poke(8, bytes.fromhex("0ef0b0e1"))
        with wire(program.machine) as found:
            found.label = program.program  # type: ignore[attr-defined]
            yield found


def stop(guest: Wire) -> tuple[str, int]:
    """Continue: the reason of the stop and the pc."""
    guest.client.send(b"c")
    while (reply := guest.client.receive().decode()).startswith("O"):
        pass  # the same in words
    found = re.fullmatch(r"T05(syscall_\w+:\w+|\w*);?.*?thread:1;.*0f:(\w{8});.*", reply)
    assert found, reply
    return found[1], int.from_bytes(bytes.fromhex(found[2]), "little")


def test_every_call_stops_where_it_begins_and_where_it_returns(guest) -> None:
    assert guest.client.ask(b"QCatchSyscalls:1") == b"OK"
    label = guest.label
    for number, after in (("4", "first"), ("5", "second"), ("fc", "third"), ("4", "first")):
        assert stop(guest) == (f"syscall_entry:{number}", 8)
        assert stop(guest) == (f"syscall_return:{number}", label[after])


def test_only_the_calls_that_are_asked_for_stop(guest) -> None:
    assert guest.client.ask(b"QCatchSyscalls:1;fc;5") == b"OK"
    assert [stop(guest)[0] for _ in range(6)] == [
        "syscall_entry:5", "syscall_return:5", "syscall_entry:fc", "syscall_return:fc",
        "syscall_entry:5", "syscall_return:5",
    ]  # fmt: skip


def test_catching_is_turned_off_with_its_returns(guest) -> None:
    guest.client.ask(b"QCatchSyscalls:1")
    assert stop(guest)[0] == "syscall_entry:4"
    assert guest.client.ask(b"QCatchSyscalls:0") == b"OK"
    assert guest.machine.cpu.state.catch_vectors == 0
    assert len(guest.session.breakpoints) == 0
    guest.client.ask(b"Z0,%x,4" % guest.label["third"])
    assert stop(guest)[1] == guest.label["third"]


def test_a_call_returns_though_catching_was_off_while_the_machine_stood_still(guest) -> None:
    guest.client.ask(b"QCatchSyscalls:1;4")
    assert stop(guest)[0] == "syscall_entry:4"
    guest.client.ask(b"QCatchSyscalls:0")
    guest.client.ask(b"QCatchSyscalls:1;4")
    assert stop(guest) == ("syscall_return:4", guest.label["first"])


def test_a_call_that_returned_while_catching_was_off_is_forgotten(guest) -> None:
    guest.client.ask(b"QCatchSyscalls:1;4")
    assert stop(guest)[0] == "syscall_entry:4"
    guest.client.ask(b"QCatchSyscalls:0")
    guest.client.ask(b"Z0,%x,4" % guest.label["third"])
    for _ in range(4):
        assert stop(guest) == ("", guest.label["third"])
    guest.client.ask(b"z0,%x,4" % guest.label["third"])
    guest.client.ask(b"QCatchSyscalls:1;4")
    assert stop(guest)[0] == "syscall_entry:4"


def test_another_clients_calls_are_none_of_ones_business(guest) -> None:
    other = guest.connect()
    assert other.ask(b"QCatchSyscalls:1") == b"OK"
    assert stop(guest) == ("", 8)
    other.ask(b"D")
    assert len(guest.session.catchpoints) == 0


def test_a_return_counts_for_the_thread_that_called(guest) -> None:
    guest.client.ask(b"QCatchSyscalls:1;4")
    assert stop(guest)[0] == "syscall_entry:4"
    # another thread comes by where the first will return
    guest.machine.cpu.write_register("r13_usr", 0x30380000)
    guest.client.ask(b"Z0,%x,4" % guest.label["second"])
    assert stop(guest) == ("", guest.label["second"])


def test_what_a_step_prints_comes_behind_the_acknowledgement(guest) -> None:
    client = RawClient(guest.server.endpoint, acks=True)
    assert client.ask(b"QCatchSyscalls:1") == b"OK"
    client.send_bytes(b"+")
    replies = []
    while not replies or not replies[-1].startswith(b"O"):
        assert len(replies) < 20
        replies.append(client.ask(b"s"))  # takes the '+' first
        client.send_bytes(b"+")
    assert b"syscall_entry" in client.receive_packet()
    client.close()


@pytest.mark.parametrize("packet", [b"R00", b"vRun;"])
def test_a_reset_ends_the_calls_that_have_begun(guest, packet) -> None:
    client, other = guest.client, guest.connect()
    for each in (client, other):
        assert each.ask(b"QCatchSyscalls:1;4") == b"OK"
    assert stop(guest)[0] == "syscall_entry:4"
    assert len(guest.session.breakpoints) == 2
    client.ask(b"!")
    client.send(packet)
    if packet == b"vRun;":
        assert client.receive().startswith(b"T05")
    assert client.ask(b"qC") == other.ask(b"qC") == b"QC1"
    assert len(guest.session.breakpoints) == 0
    # catching goes on
    assert len(guest.session.catchpoints) == 2


@needs_gdb
def test_gdb_catches_system_calls_by_name(guest) -> None:
    gdb = Gdb()
    try:
        gdb.execute("set osabi GNU/Linux")
        gdb.execute(f"target remote {guest.server.endpoint.host}:{guest.server.endpoint.port}")
        gdb.stop()
        gdb.execute("catch syscall write")
        assert gdb.run("continue")["reason"] == "syscall-entry"
        stop = gdb.run("continue")
        assert (stop["reason"], stop["syscall-name"]) == ("syscall-return", "write")
        assert int(stop["frame"]["addr"], 16) == guest.label["first"]
        gdb.execute("delete")
        gdb.execute("catch syscall 0xfc")
        assert gdb.run("continue")["syscall-name"] == "epoll_wait"
    finally:
        gdb.close()


@pytest.mark.parametrize(
    ("text", "calls"), [(b"0", None), (b"1", ()), (b"1;4", (4,)), (b"1;4;fc", (4, 0xFC))]
)
def test_valid_calls(text, calls) -> None:
    assert system_calls(text) == (calls,)


@pytest.mark.parametrize("text", [b"", b"2", b"0;4", b"1;", b"1;x", b"14"])
def test_invalid_calls(text) -> None:
    with pytest.raises(PacketError, match="expected"):
        system_calls(text)
