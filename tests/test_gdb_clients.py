"""Several clients of one server, hostile clients, and where the server listens."""

import socket
import struct
import threading
import time

import pytest
from gdb_values import registers_in, word
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import RAM_BASE, START, FakeMachine, serve, until

from dbgemu.debug.session import DebugSession
from dbgemu.errors import OptionError
from dbgemu.gdbstub import arguments
from dbgemu.gdbstub.client import Client, Stub
from dbgemu.gdbstub.endpoint import parse_endpoint
from dbgemu.gdbstub.errors import PacketError
from dbgemu.gdbstub.framing import frame
from dbgemu.gdbstub.packets import CAPABILITIES, parse
from dbgemu.gdbstub.server import GdbServer
from dbgemu.gdbstub.target_xml import RegisterFile
from dbgemu.monitor.monitor import Monitor

pytest_plugins = ["gdb_fixtures"]


# -- several clients, hostile clients ------------------------------------------------------------------


def test_a_stop_is_told_to_every_client_that_waits(connect, server, client, session) -> None:
    other = connect(server.endpoint)
    other.ask(b"qSupported:swbreak+;hwbreak+")
    client.ask(b"qSupported:swbreak+;hwbreak+")
    client.ask(b"Z0,%x,4" % (START + 8))
    other.send(b"c")
    until(lambda: session.running or machine_stopped(session))
    client.send(b"c")
    assert client.receive().startswith(b"T05")
    assert other.receive().startswith(b"T05thread")


def machine_stopped(session: DebugSession) -> bool:
    return session.last_stop.number > 0


def test_a_step_of_one_client_stops_the_others_run(connect, server, client, session, machine) -> None:
    other = connect(server.endpoint)
    client.send(b"c")
    until(lambda: machine.cpu.instructions > 10)
    assert other.ask(b"s").startswith(b"T05")
    assert client.receive().startswith(b"T02")
    assert not session.running


def test_one_client_reads_memory_and_sets_breakpoints_while_anothers_guest_runs(
    connect, server, client, session, machine
) -> None:
    other = connect(server.endpoint)
    client.send(b"c")
    until(lambda: machine.cpu.instructions > 10)
    assert other.ask(b"M30000000,4:01020304") == b"OK"
    assert other.ask(b"m30000000,4") == b"01020304"
    assert len(other.ask(b"g")) == 136
    assert session.running
    assert other.ask(b"Z0,%x,4" % (START + 8)) == b"OK"
    assert client.receive().startswith(b"T05")


def test_removing_ones_breakpoint_leaves_the_others(connect, server, client, machine) -> None:
    other = connect(server.endpoint)
    for each in (client, other):
        each.ask(b"Z0,%x,4" % (START + 8))
    client.ask(b"z0,%x,4" % (START + 8))
    assert machine.cpu.breakpoints == {START + 8}
    assert registers_in(other.ask(b"c"))[15] == START + 8


def test_a_client_that_detaches_does_not_resume_what_another_holds(connect, server, client, session) -> None:
    other = connect(server.endpoint)
    other.ask(b"?")
    assert client.ask(b"D") == b"OK"
    assert not session.running
    assert other.ask(b"D") == b"OK"
    until(lambda: session.running)


def test_a_client_that_vanishes_leaves_no_points_and_does_not_stop_the_guest(
    connect, server, session, machine
) -> None:
    client = connect(server.endpoint)
    client.ask(b"Z0,%x,4" % (START + 8))
    client.ask(b"Z2,%x,4" % RAM_BASE)
    other = connect(server.endpoint)
    client.ask(b"z0,%x,4" % (START + 8))
    client.ask(b"Z0,%x,4" % 0x1000)
    client.send(b"c")
    until(lambda: machine.cpu.instructions > 10)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    until(lambda: server.client_count == 1)
    assert machine.cpu.breakpoints == set()
    assert machine.cpu.watchpoints == []
    assert session.running
    assert other.ask(b"?").startswith(b"T05")


def test_a_client_that_vanishes_in_the_middle_of_a_packet_disturbs_nobody(connect, server, client) -> None:
    half = connect(server.endpoint)
    half.send_bytes(b"$m3000")
    half.close()
    until(lambda: server.client_count == 1)
    assert client.ask(b"qC") == b"QC1"


def test_a_client_that_asks_without_a_pause_leaves_others_their_turns(connect, server, client) -> None:
    ended = threading.Event()
    busy = connect(server.endpoint)

    def ask() -> None:
        while not ended.is_set():
            busy.ask(b"qC")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(200):
            assert client.ask(b"qC") == b"QC1"
    finally:
        ended.set()
        asking.join()


def test_a_client_that_does_not_read_takes_little_room_and_disturbs_nobody(
    connect, server, client, machine
) -> None:
    greedy = connect(server.endpoint)
    machine.ram.data[:] = b"\x55" * machine.ram.size
    greedy.socket.settimeout(0.2)
    request = frame(b"m30000000,ffff") * 500
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            greedy.send_bytes(request)
    assert client.ask(b"qC") == b"QC1"
    connection = max(server._connections, key=lambda item: len(item._output))
    assert len(connection._output) < 16 << 20
    greedy.socket.settimeout(5)
    assert len(greedy.receive()) == 2 * 0xFFFC
    greedy.close()
    until(lambda: server.client_count == 1)


def test_a_slow_reader_gets_every_reply_in_order(connect, server, machine) -> None:
    slow = connect(server.endpoint)
    machine.ram.data[: 64 << 4] = b"".join(struct.pack("<I", n) for n in range(256))
    count = 2000
    sender = threading.Thread(
        target=lambda: [slow.send(b"m%x,4" % (RAM_BASE + 4 * (n % 256))) for n in range(count)]
    )
    sender.start()
    time.sleep(0.1)
    for n in range(count):
        assert slow.receive() == word(n % 256)
    sender.join()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            # a kill ends the emulator, for everyone
            st.binary(max_size=20).filter(lambda packet: packet[:1] != b"k").map(frame),
            st.sampled_from(
                [b"$", b"#", b"\x03", b"$vCont;c#a8", b"$?#3f", b"$g#67", b"$D#44", b"$m30000000,10#00"]
            ),
        ),
        max_size=12,
    )
)
def test_hostile_bytes_from_one_client_disturb_no_other(connect, server, client, pieces) -> None:
    hostile = connect(server.endpoint, acks=True)
    for piece in pieces:
        hostile.send_bytes(piece)
    hostile.close()
    assert client.ask(b"qC") == b"QC1"


_PACKET = st.builds(
    lambda name, rest: name + rest,
    st.sampled_from(
        [row.name.encode() for item in CAPABILITIES for row in item.packets if row.name not in ("k", "vKill")]
    ),
    st.one_of(st.binary(max_size=30), st.text("0123456789abcdef,:;=-p.", max_size=30).map(str.encode)),
)


@settings(max_examples=1500, deadline=None)
@given(st.one_of(_PACKET, st.binary(max_size=60)))
def test_any_packet_is_parsed_or_refused(packet: bytes) -> None:
    try:
        row, found = parse(packet)
    except PacketError as error:
        assert str(error)
    else:
        assert isinstance(found, tuple)
        assert row is None or packet.startswith(row.name.encode())


@settings(max_examples=300, deadline=None)
@given(st.lists(_PACKET, max_size=20))
def test_any_packets_are_answered_without_a_failure(packets: list[bytes]) -> None:
    session = DebugSession(FakeMachine())
    client = Client(
        Stub(session, RegisterFile(session.cpu), Monitor(session).execute),
        send=lambda packet: None,
        schedule=lambda action: None,
        disconnect=lambda: None,
    )
    for packet in packets:
        reply = client.handle(packet)
        assert reply is None or isinstance(reply, bytes)
    client.detach(resume=False)
    session.close()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"1", 1),
        (b"0", 0),
        (b"-1", -1),
        (b"1f", 31),
        (b"p1.1", 1),
        (b"p1", -1),
        (b"p1.-1", -1),
        (b"p-1", -1),
        (b"p0.0", 0),
        (b"p2.1", None),
        (b"p1.2", 2),
    ],
)
def test_valid_thread_ids_name_a_thread_any_all_or_one_of_no_process_there_is(text, number) -> None:
    assert arguments.thread_number(text) == number


@pytest.mark.parametrize("text", [b"", b"p", b"p.1", b"x", b"-2", b"1.1", b"p1.", b" 1"])
def test_invalid_thread_ids_are_refused(text) -> None:
    with pytest.raises(PacketError, match="thread-id expected"):
        arguments.thread_number(text)


def test_valid_features_are_understood() -> None:
    found = {"a": "+", "b": "-", "c": "?", "d": "x86", "e": ""}
    assert arguments.features(b"a+;b-;c?;d=x86;e=") == (found,)
    assert arguments.features(b"") == ({},)


@pytest.mark.parametrize("text", [b"a", b"+", b"a+b", b"=1"])
def test_invalid_features_are_refused(text) -> None:
    with pytest.raises(PacketError, match="feature expected"):
        arguments.features(text)


# -- where the server listens ----------------------------------------------------------------------------


def test_a_server_on_a_unix_socket_serves_and_cleans_up(connect, session, tmp_path) -> None:
    path = tmp_path / "gdb.sock"
    with serve(session, f"unix:{path}") as server:
        assert connect(server.endpoint).ask(b"qC") == b"QC1"
        with pytest.raises(OptionError, match=r"gdb\.sock: Address already in use"):
            GdbServer(session, f"unix:{path}").start(None)
    assert not path.exists()


def test_a_socket_file_left_by_a_dead_process_is_replaced(connect, session, tmp_path) -> None:
    path = tmp_path / "gdb.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serve(session, f"unix:{path}") as server:
        assert connect(server.endpoint).ask(b"qC") == b"QC1"


def test_a_file_that_is_no_socket_is_not_replaced(session, tmp_path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OptionError, match="cannot listen at"):
        GdbServer(session, f"unix:{path}").start(None)
    assert path.read_text() == "data"


def test_a_port_in_use_is_one_clear_sentence(session, server) -> None:
    with pytest.raises(OptionError) as caught:
        GdbServer(session, str(server.endpoint)).start(None)
    assert str(caught.value) == f"cannot listen at {server.endpoint}: Address already in use"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp::1234", "tcp:127.0.0.1:1234"),
        ("tcp:0.0.0.0:1", "tcp:0.0.0.0:1"),
        ("tcp:localhost:1234,server,nowait", "tcp:localhost:1234"),
        ("tcp:[::1]:1234", "tcp:[::1]:1234"),
        ("unix:/tmp/x,server=on,wait=off", "unix:/tmp/x"),
    ],
)
def test_endpoints_are_loopback_unless_told_otherwise(text, endpoint) -> None:
    assert str(parse_endpoint(text)) == endpoint


@pytest.mark.parametrize(
    "text", ["", "1234", "tcp:1234", "tcp::", "tcp::99999", "unix:", "udp::1", "tcp::12x"]
)
def test_a_bad_endpoint_is_one_clear_sentence(text) -> None:
    with pytest.raises(OptionError) as caught:
        parse_endpoint(text)
    assert str(caught.value) == f"'{text}' is no place to listen at: write tcp:HOST:PORT or unix:PATH"
