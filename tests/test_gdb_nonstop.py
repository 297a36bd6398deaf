"""Non-stop mode, several processes' thread ids, and starting the board anew."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gdb_wire import Wire, fetch_xml, wire
from real_gdb import Gdb, compile_program, debugged, machine_with, needs_gcc, needs_gdb
from support import RAM_BASE, START, RawClient, serve, until

from dbgemu.debug.session import DebugSession
from dbgemu.gdbstub.framing import checksum
from dbgemu.gdbstub.nonstop import StopNotifications


@pytest.fixture
def guest() -> Iterator[Wire]:
    with wire() as found:
        yield found


@pytest.fixture
def client(guest: Wire) -> RawClient:
    assert guest.client.ask(b"QNonStop:1") == b"OK"
    return guest.client


def notification(client: RawClient) -> bytes:
    """The next thing that arrives, which must be a notification."""
    while b"#" not in client.buffer or len(client.buffer) < client.buffer.index(b"#") + 3:
        client._fill()
    end = client.buffer.index(b"#")
    text, client.buffer = client.buffer[:end], client.buffer[end:]
    assert text[:1] == b"%", text
    assert int(client.buffer[1:3], 16) == checksum(text[1:])
    client.buffer = client.buffer[3:]
    return text[1:]


def no_more_arrives(client: RawClient) -> bool:
    client.socket.settimeout(0.1)
    try:
        client._fill()
    except TimeoutError:
        return True
    finally:
        client.socket.settimeout(5)
    return False


# -- notifications -----------------------------------------------------------------------------------


def test_a_second_stop_waits_until_the_first_is_taken() -> None:
    sent: list[bytes] = []
    stops = StopNotifications(sent.append)
    stops.add(b"T05")
    stops.add(b"T02")
    assert sent == [b"Stop:T05"]
    assert [stops.next(), stops.next(), stops.next()] == [b"T02", b"OK", b"OK"]
    stops.add(b"T00")
    assert sent == [b"Stop:T05", b"Stop:T00"]
    assert stops.restart(b"T11", b"T12") == b"T11"
    assert [stops.next(), stops.next()] == [b"T12", b"OK"]


# -- non-stop ----------------------------------------------------------------------------------------


def test_resuming_is_answered_at_once_and_the_stop_is_notified(client) -> None:
    assert client.ask(b"Z0,%x,4" % (START + 8)) == b"OK"
    assert client.ask(b"vCont;c:1") == b"OK"
    assert notification(client).startswith(b"Stop:T05thread:1;")
    assert client.ask(b"vStopped") == b"OK"
    assert client.ask(b"vCont;s:1") == b"OK"
    assert re.search(rb"0f:0c800030;", notification(client))
    assert client.ask(b"vStopped") == b"OK"
    assert client.ask(b"vCont;r%x,%x:1" % (START, START + 20)) == b"OK"
    assert re.search(rb"0f:14800030;", notification(client))


def test_a_stop_that_was_asked_for_has_no_signal_and_ctrl_c_has_one(client, guest) -> None:
    for packet, stop in ((b"vCont;t:1", b"Stop:T00"), (b"vCtrlC", b"Stop:T02"), (b"\x03", b"Stop:T02")):
        assert client.ask(b"vCont;c") == b"OK"
        until(lambda: guest.session.running)
        if packet == b"\x03":
            client.send_bytes(packet)
        else:
            assert client.ask(packet) == b"OK"
        assert notification(client).startswith(stop)
        assert client.ask(b"vStopped") == b"OK"


def test_a_breakpoint_that_comes_before_the_stop_asked_for_keeps_its_signal(client, guest) -> None:
    client.ask(b"Z0,%x,4" % (START + 8))
    assert client.ask(b"vCont;c") == b"OK"
    until(lambda: not guest.session.running)
    client.send(b"vCont;t")
    while client.buffer.count(b"#") < 2:
        client._fill()
    # the news and the answer may cross
    assert re.fullmatch(rb"(\$OK#..)?%Stop:T05thread[^#]*#..(\$OK#..)?", client.buffer)


def test_stopping_what_stands_still_and_resuming_what_runs_is_fine(client, guest) -> None:
    assert client.ask(b"vCont;t") == b"OK"
    assert no_more_arrives(client)
    assert client.ask(b"vCont;c") == b"OK"
    assert client.ask(b"vCont;c") == b"OK"
    assert client.ask(b"vCont;s") == b"OK"
    assert guest.session.running
    assert no_more_arrives(client)


def test_the_question_mark_stops_nothing(client, guest) -> None:
    assert client.ask(b"?").startswith(b"T05thread:1;")
    assert client.ask(b"vStopped") == b"OK"
    client.ask(b"vCont;c")
    until(lambda: guest.session.running)
    assert client.ask(b"?") == b"OK"
    assert guest.session.running
    client.ask(b"vCont;t")
    assert notification(client).startswith(b"Stop:T0")


def test_a_client_that_comes_to_a_running_machine_is_told_of_its_next_stop(client, guest) -> None:
    client.ask(b"vCont;c")
    other = guest.connect()
    assert other.ask(b"QNonStop:1") == b"OK"
    assert other.ask(b"?") == b"OK"
    client.ask(b"vCont;t")
    assert notification(other).startswith(b"Stop:T0")
    assert notification(client).startswith(b"Stop:T00")


def test_memory_is_read_and_breakpoints_are_set_while_the_guest_runs(client, guest) -> None:
    client.ask(b"vCont;c")
    assert client.ask(b"M%x,4:01020304" % RAM_BASE) == b"OK"
    assert client.ask(b"m%x,4" % RAM_BASE) == b"01020304"
    assert guest.session.running
    client.send(b"Z0,%x,4" % (START + 8))
    assert client.receive() == b"OK"
    assert notification(client).startswith(b"Stop:T05")


def test_all_stop_is_as_before_after_non_stop_is_turned_off(client) -> None:
    assert client.ask(b"QNonStop:0") == b"OK"
    client.ask(b"Z0,%x,4" % (START + 8))
    assert client.ask(b"vCont;c").startswith(b"T05")
    assert client.ask(b"QNonStop:2") == b"E22"


def test_the_end_is_notified_too(client, guest) -> None:
    client.ask(b"vCont;c")
    until(lambda: guest.session.running)
    guest.session.quit()
    assert notification(client) == b"Stop:W00"
    assert no_more_arrives(client), "a client that sees the end at once loses the notification"
    assert client.ask(b"vStopped") == b"OK"
    assert client.closed()


def test_a_client_that_does_not_take_the_end_is_let_go(client, guest) -> None:
    client.ask(b"vCont;c")
    until(lambda: guest.session.running)
    guest.session.quit()
    assert notification(client) == b"Stop:W00"
    assert client.closed()


# -- processes ---------------------------------------------------------------------------------------


def test_thread_ids_name_the_process_for_clients_that_know_several(guest) -> None:
    client = guest.connect("multiprocess+;swbreak+")
    assert client.ask(b"qC") == b"QCp1.1"
    assert client.ask(b"qfThreadInfo") == b"mp1.1"
    assert client.ask(b"vCont;s:p1.1;c:p1.-1").startswith(b"T05thread:p1.1;")
    assert client.ask(b"Hgp1.1") == b"OK"
    assert client.ask(b"Hgp2.1") == b"E01"
    assert client.ask(b"qAttached:1") == b"1"
    assert guest.client.ask(b"qC") == b"QC1"
    client.send(b"c")
    until(lambda: guest.session.running)
    guest.session.quit()
    assert client.receive() == b"W00;process:1"


def test_the_list_of_threads_comes_as_a_document_too(guest) -> None:
    for client, name in ((guest.client, "1"), (guest.connect("multiprocess+"), "p1.1")):
        client.ask(b"!")
        found = [thread.attrib for thread in fetch_xml(client, "threads").iter("thread")]
        assert found == [{"id": name, "core": "0", "name": "ARM920T"}]
        client.ask(b"D;1")
        assert list(fetch_xml(client, "threads")) == []
    assert guest.client.ask(b"qXfer:threads:read:x:0,10")[:1] == b"E"


@pytest.mark.parametrize("packet", [b"D;2", b"vKill;2", b"vAttach;2"])
def test_there_is_no_process_but_the_board(guest, packet) -> None:
    client = guest.connect("error-message+")
    assert client.ask(packet) == b"E.there is no process 2: the board is process 1"
    assert client.ask(b"D;x")[:1] == b"E"
    assert not guest.session.running


def test_a_client_leaves_the_board_and_attaches_to_it_again(guest) -> None:
    client = guest.client
    client.ask(b"!")
    assert client.ask(b"D;1") == b"OK"
    assert guest.session.running
    assert client.ask(b"qfThreadInfo") == b"l"
    assert client.ask(b"vAttach;1").startswith(b"T05")
    assert not guest.session.running
    assert client.ask(b"qfThreadInfo") == b"m1"


def test_attaching_in_non_stop_mode_stops_nothing(client, guest) -> None:
    client.ask(b"!")
    assert client.ask(b"vAttach;1") == b"OK"
    assert notification(client).startswith(b"Stop:T05")
    assert client.ask(b"vStopped") == b"OK"
    client.ask(b"D;1")
    assert client.ask(b"vAttach;1") == b"OK"
    assert guest.session.running
    client.ask(b"vCont;t")
    assert notification(client).startswith(b"Stop:T00")


def test_running_resets_the_board_and_stops_at_its_first_instruction(guest) -> None:
    client = guest.client
    client.ask(b"!")
    client.ask(b"s")
    assert b"0f:00000000;" in client.ask(b"vRun;")
    assert guest.machine.resets == 1
    assert client.ask(b"vKill;1") == b"OK"
    assert client.ask(b"qfThreadInfo") == b"l"
    assert client.ask(b"vRun;%b" % b"vmlinux".hex().encode()).startswith(b"T05")
    assert guest.machine.resets == 3
    assert client.ask(b"vRun;61;62") == b"E01"
    assert client.ask(b"vRun;6") == b"E22"


# -- gdb ---------------------------------------------------------------------------------------------

_SOURCE = """
volatile unsigned counter;
__attribute__((naked)) void _start(void) { asm("ldr sp, =0x30200000; b main"); }
void tick(void) { counter++; }
int main(void) { for (;;) tick(); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("nonstop"), _SOURCE)


@pytest.fixture
def fresh(program: Path) -> Iterator[tuple[Gdb, DebugSession, str]]:
    """A gdb that is not connected yet, the session, and where its server is."""
    session = DebugSession(machine_with(program))
    try:
        with serve(session) as server:
            gdb = Gdb(program)
            try:
                yield gdb, session, f"{server.endpoint.host}:{server.endpoint.port}"
            finally:
                gdb.close()
    finally:
        session.close()


@needs_gdb
@needs_gcc
def test_gdb_in_non_stop_mode_looks_at_a_running_guest(fresh) -> None:
    gdb, session, place = fresh
    gdb.execute("set non-stop on")
    gdb.execute(f"target extended-remote {place}")
    until(lambda: "Thread 1.1" in gdb.execute("info threads"))
    gdb._pending.clear()
    gdb.execute("continue &")
    until(lambda: session.running)
    first = gdb.value("counter")
    time.sleep(0.05)
    assert gdb.value("counter") > first
    gdb.execute("break tick")
    assert gdb.stop()["reason"] == "breakpoint-hit"
    gdb.execute("delete")
    assert gdb.run("stepi")["reason"] == "end-stepping-range"
    gdb._pending.clear()
    gdb.execute("continue &")
    until(lambda: session.running)
    gdb.execute("interrupt")
    assert gdb.stop()["reason"] == "signal-received"
    assert not session.running


@needs_gdb
@needs_gcc
def test_gdb_runs_kills_detaches_and_attaches(fresh) -> None:
    gdb, session, place = fresh
    gdb.execute(f"target extended-remote {place}")
    gdb.stop()
    gdb.execute("break tick")
    gdb.run("continue")
    gdb.run("continue")
    assert gdb.value("counter") == 1
    gdb.execute("tbreak main")
    assert gdb.run("run")["frame"]["func"] == "main"
    assert gdb.value("counter") == 0
    gdb.execute("kill")
    assert "No threads" in gdb.execute("info threads")
    assert gdb.run("starti")["frame"]["func"] == "_start"
    gdb.execute("delete")
    gdb.execute("detach")
    until(lambda: session.running)
    gdb._pending.clear()
    gdb.execute("attach 1")
    gdb.stop()
    assert not session.running


@needs_gdb
@needs_gcc
def test_gdb_numbers_the_board_as_process_one(program) -> None:
    with debugged(machine_with(program), program) as (gdb, _, _):
        assert "process 1" in gdb.execute("info inferiors")
        assert 'Thread 1.1 "ARM920T"' in gdb.execute("info threads")
