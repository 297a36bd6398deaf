"""Character back ends: their spellings, and real sockets, pseudo terminals and files."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from chardev_ends import PATIENCE, Ear, Opener, ends, eventually, io, opened, port_of, read_until

from dbgemu.host.chardev import ChardevEvent, ChardevSpec, OptionError, parse_chardev
from dbgemu.host.iothread import IoThread
from dbgemu.host.stream import ABSENT_LIMIT, SLOW_LIMIT
from dbgemu.host.telnet import GREETING, TelnetFilter, escape

__all__ = ["io", "opened"]  # fixtures

# -- spellings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stdio", {"kind": "stdio"}),
        ("mon:stdio", {"kind": "stdio", "mux": True}),
        ("pty", {"kind": "pty"}),
        ("mon:pty", {"kind": "pty", "mux": True}),
        ("null", {"kind": "null"}),
        ("none", {"kind": "none"}),
        ("file:/tmp/a,b", {"kind": "file", "path": "/tmp/a,b"}),
        ("tcp:example:23", {"kind": "tcp", "host": "example", "port": 23}),
        ("tcp::4444,server", {"kind": "tcp", "port": 4444, "server": True, "wait": True}),
        ("tcp::4444,server,nowait", {"kind": "tcp", "port": 4444, "server": True}),
        ("tcp::4444,server=on,wait=off", {"kind": "tcp", "port": 4444, "server": True}),
        ("tcp::1,server=off,nodelay", {"kind": "tcp", "port": 1, "nodelay": True}),
        ("tcp:[::1]:5,server,wait", {"kind": "tcp", "host": "::1", "port": 5, "server": True, "wait": True}),
        ("telnet:0.0.0.0:0,server,nowait", {"kind": "telnet", "host": "0.0.0.0", "server": True}),
        ("unix:/tmp/s", {"kind": "unix", "path": "/tmp/s"}),
        ("unix:/tmp/s,server,wait=off", {"kind": "unix", "path": "/tmp/s", "server": True}),
        ("mon:telnet::5,server", {"kind": "telnet", "port": 5, "mux": True, "server": True, "wait": True}),
    ],
)
def test_qemus_spellings_are_understood(text: str, expected: dict[str, object]) -> None:
    assert parse_chardev(text) == ChardevSpec(text, **expected)  # type: ignore[arg-type]


FORMS = "stdio, mon:stdio, pty, tcp:HOST:PORT, telnet:HOST:PORT, unix:PATH, file:PATH, null or none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"'' is not a character device: choose {FORMS}"),
        ("studio", f"'studio' is not a character device: choose {FORMS}"),
        ("mon:", f"'mon:' is not a character device: choose {FORMS}"),
        ("vc", f"'vc' needs a graphical console, which dbgemu does not have: choose {FORMS}"),
        ("vc:80Cx24C", f"'vc:80Cx24C' needs a graphical console, which dbgemu does not have: choose {FORMS}"),
        ("stdio:x", "'stdio:x' has something behind stdio, which takes nothing"),
        ("file:", "'file:' names no file: write file:PATH"),
        ("unix:", "'unix:' names no socket: write unix:PATH[,server][,nowait]"),
        ("unix:,server", "'unix:,server' names no socket: write unix:PATH[,server][,nowait]"),
        ("tcp", "'tcp' lacks an address: write tcp:HOST:PORT[,server][,nowait]"),
        ("telnet:4444", "'telnet:4444' lacks an address: write telnet:HOST:PORT[,server][,nowait]"),
        ("tcp:::1:5", "'tcp:::1:5' has an IPv6 address without brackets: write tcp:[::1]:5"),
        ("tcp::http", "'tcp::http' has the port 'http', which is not a number from 0 to 65535"),
        ("tcp::65536", "'tcp::65536' has the port '65536', which is not a number from 0 to 65535"),
        ("tcp::-1", "'tcp::-1' has the port '-1', which is not a number from 0 to 65535"),
        ("tcp:h:0", "'tcp:h:0' has port 0, which only a server can use: it means any free port"),
        (
            "tcp:h:1,sever",
            "'tcp:h:1,sever' has the option 'sever': choose of server, wait, nowait, nodelay, delay",
        ),
        ("tcp:h:1,server=maybe", "'tcp:h:1,server=maybe' has 'server=maybe': server is on or off"),
        ("tcp:h:1,server=", "'tcp:h:1,server=' has 'server=': server is on or off"),
        ("tcp:h:1,wait", "'tcp:h:1,wait' would wait for a connection, which only a server does: add server"),
        ("mon:null", "'mon:null' cannot work: nothing could be typed into the monitor on null"),
    ],
)
def test_wrong_spellings_give_one_clear_sentence(text: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_chardev(text)
    assert str(caught.value) == message


def test_parsing_imports_no_network_and_no_event_loop() -> None:
    code = (
        "import sys; from dbgemu.host.chardev import parse_chardev; parse_chardev('tcp::1,server');"
        "print([m for m in ('asyncio', 'socket', 'termios', 'pty', 'selectors') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


# -- the I/O thread ----------------------------------------------------------------------------


def test_run_gives_the_result_or_raises_what_the_coroutine_raised(io: IoThread) -> None:
    async def double(value: int) -> int:
        return 2 * value

    async def fail() -> None:
        raise KeyError("x")

    assert io.run(double(21)) == 42
    with pytest.raises(KeyError):
        io.run(fail())


def test_run_gives_up_after_its_timeout(io: IoThread) -> None:
    with pytest.raises(TimeoutError):
        io.run(asyncio.sleep(60), timeout=0.01)


def test_run_refuses_where_it_would_wait_forever(io: IoThread) -> None:
    async def inner() -> None:
        pass

    async def outer() -> None:
        io.run(inner())

    with pytest.raises(RuntimeError, match="another thread"):
        io.run(outer())
    with pytest.raises(RuntimeError, match="I/O thread to run"):
        stopped = IoThread()
        try:
            stopped.run(inner())
        finally:
            stopped.stop()


def test_stop_ends_tasks_and_later_calls_do_nothing() -> None:
    io = IoThread().start()
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("cancelled")

    tasks: list[asyncio.Task[None]] = []

    async def begin() -> None:
        tasks.append(asyncio.create_task(forever()))
        await asyncio.sleep(0)

    io.run(begin())
    io.stop()
    assert ended == ["cancelled"]
    assert not io.running
    io.call_soon(ended.append, "late")
    io.stop()
    assert ended == ["cancelled"]


# -- files and nothing -------------------------------------------------------------------------


def test_a_file_gets_everything_in_order_and_at_once(opened: Opener, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old")
    backend = opened(f"file:{path}")
    for index in range(10_000):
        backend.write(b"%d\n" % index)
    expected = b"".join(b"%d\n" % index for index in range(10_000))
    eventually(lambda: path.read_bytes() == expected)
    backend.write(b"last")
    backend.close()
    backend.close()
    backend.write(b"too late")
    assert path.read_bytes() == expected + b"last"


def test_a_file_that_cannot_be_made_is_one_sentence(opened: Opener, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        opened(f"file:{tmp_path}/no/log")
    assert str(caught.value) == f"'file:{tmp_path}/no/log' cannot be opened: No such file or directory"


def test_null_and_none_swallow_everything(opened: Opener) -> None:
    for spec in ("null", "none"):
        backend = opened(spec)
        ear = Ear(backend)
        backend.write(b"x")
        backend.hold()
        backend.release()
        assert not ear.data
        assert not ear.events
        assert backend.monitor is None


# -- pseudo terminals --------------------------------------------------------------------------


def test_a_pty_works_both_ways_and_survives_its_users(opened: Opener) -> None:
    said: list[str] = []
    backend = opened("pty", announce=said.append, label="serial0")
    assert said == [f"serial0 is redirected to {backend.description}"]
    ear = Ear(backend)
    for round_number in range(3):
        user = os.open(backend.description, os.O_RDWR | os.O_NOCTTY)
        backend.write(b"hello\r\n%d" % round_number)
        assert read_until(user, b"%d" % round_number) == b"hello\r\n%d" % round_number
        os.write(user, b"typed\r%d" % round_number)
        eventually(partial(ends, ear.data, b"typed\r%d" % round_number))
        os.close(user)
    assert len(ear.data) == 3 * 7  # and no output came back as input


def test_output_that_nobody_reads_from_a_pty_is_bounded(opened: Opener) -> None:
    backend = opened("pty")
    for _ in range(64):
        backend.write(bytes(8192))
    eventually(lambda: backend.dropped > 64 * 8192 - ABSENT_LIMIT - 65536)


# -- sockets -----------------------------------------------------------------------------------


def test_a_server_listens_on_loopback_unless_told_otherwise(opened: Opener) -> None:
    assert opened("tcp::0,server,nowait").description.startswith("tcp:127.0.0.1:")
    assert opened("tcp:0.0.0.0:0,server,nowait").description.startswith("tcp:0.0.0.0:")


def test_a_server_serves_one_client_after_the_other(opened: Opener) -> None:
    backend = opened("tcp::0,server,nowait")
    ear = Ear(backend)
    backend.write(b"early")
    for round_number in range(4):
        with socket.create_connection(("127.0.0.1", port_of(backend)), timeout=PATIENCE) as client:
            if round_number == 0:
                assert read_until(client.fileno(), b"early") == b"early"
            client.sendall(b"in%d" % round_number)
            eventually(partial(ends, ear.data, b"in%d" % round_number))
            backend.write(b"out\xff%d" % round_number)
            assert read_until(client.fileno(), b"%d" % round_number) == b"out\xff%d" % round_number
    eventually(lambda: ear.events == [ChardevEvent.OPENED, ChardevEvent.CLOSED] * 4)


def test_a_second_client_waits_until_the_first_has_left(opened: Opener) -> None:
    backend = opened("tcp::0,server,nowait")
    ear = Ear(backend)
    address = ("127.0.0.1", port_of(backend))
    with socket.create_connection(address) as first, socket.create_connection(address) as second:
        first.sendall(b"1")
        eventually(lambda: ear.data == b"1")
        second.sendall(b"2")
        time.sleep(0.02)
        assert ear.data == b"1"
        first.close()
        eventually(lambda: ear.data == b"12")


def test_a_client_that_reads_nothing_blocks_nobody_and_the_oldest_is_dropped(opened: Opener) -> None:
    backend = opened("tcp::0,server,nowait")
    ear = Ear(backend)
    with socket.create_connection(("127.0.0.1", port_of(backend))) as client:
        eventually(lambda: ear.events)
        total = 0
        start = time.monotonic()
        while not backend.dropped:
            backend.write(b"%063d\n" % total * 1024)
            total += 1
            assert time.monotonic() - start < PATIENCE
        backend.write(b"the end")
        got = bytearray()
        while not got.endswith(b"the end"):
            got += client.recv(1 << 20)
    assert len(got) == total * 65536 + 7 - backend.dropped
    assert len(got) >= SLOW_LIMIT // 2


def test_a_client_that_resets_the_connection_does_no_harm(opened: Opener) -> None:
    backend = opened("tcp::0,server,nowait")
    ear = Ear(backend)
    client = socket.create_connection(("127.0.0.1", port_of(backend)))
    eventually(lambda: ear.events)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    for _ in range(10):
        backend.write(b"x" * 1000)
    eventually(lambda: ear.events[-1] is ChardevEvent.CLOSED)
    with socket.create_connection(("127.0.0.1", port_of(backend))) as client:
        client.sendall(b"again")
        eventually(lambda: ear.data == b"again")


def test_held_input_waits_in_the_socket(opened: Opener) -> None:
    backend = opened("tcp::0,server,nowait")
    ear = Ear(backend)
    with socket.create_connection(("127.0.0.1", port_of(backend))) as client:
        client.sendall(b"a")
        eventually(lambda: ear.data == b"a")
        backend.hold()
        time.sleep(0.02)
        client.sendall(b"b")
        time.sleep(0.05)
        assert ear.data == b"a"
        backend.release()
        eventually(lambda: ear.data == b"ab")


def test_input_that_comes_before_a_receiver_is_set_is_not_lost(opened: Opener) -> None:
    backend = opened("tcp::0,server,nowait")
    with socket.create_connection(("127.0.0.1", port_of(backend))) as client:
        client.sendall(b"early")
        time.sleep(0.05)
        ear = Ear(backend)
        eventually(lambda: ear.data == b"early")


def test_a_server_that_waits_opens_when_somebody_connects(opened: Opener, io: IoThread) -> None:
    said: list[str] = []
    clients: list[socket.socket] = []

    def announce(message: str) -> None:
        said.append(message)
        clients.append(socket.create_connection(("127.0.0.1", int(message.rpartition(":")[2]))))

    backend = opened("tcp::0,server", announce=announce)
    assert said == [f"waiting for a connection on {backend.description}"]
    ear = Ear(backend)
    clients[0].sendall(b"x")
    eventually(lambda: ear.data == b"x")
    clients[0].close()


def test_a_tcp_client_connects_and_sends_everything_before_close_returns(opened: Opener) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        backend = opened(f"tcp:127.0.0.1:{server.getsockname()[1]},nodelay")
        peer, _ = server.accept()
        with peer:
            ear = Ear(backend)
            peer.sendall(b"hi")
            eventually(lambda: ear.data == b"hi")
            backend.write(b"x" * 100_000)
            backend.write(b"end")
            received = bytearray()
            reader = threading.Thread(
                target=lambda: received.extend(b"".join(iter(lambda: peer.recv(4096), b"")))
            )
            reader.start()
            backend.close()
            reader.join(PATIENCE)
            assert received == b"x" * 100_000 + b"end"


def test_connection_refused_and_address_in_use_are_one_sentence(opened: Opener) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(OptionError) as caught:
            opened(f"tcp::{port},server,nowait")
        assert str(caught.value) == f"'tcp::{port},server,nowait' cannot be opened: Address already in use"
    with pytest.raises(OptionError) as caught:
        opened(f"tcp::{port}")
    assert str(caught.value) == f"'tcp::{port}' cannot be opened: Connection refused"


def test_a_unix_server_replaces_a_dead_socket_and_removes_its_own(opened: Opener, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    backend = opened(f"unix:{path},server,nowait")
    ear = Ear(backend)
    other = opened(f"unix:{path}")
    other_ear = Ear(other)
    other.write(b"ping")
    eventually(lambda: ear.data == b"ping")
    backend.write(b"pong")
    eventually(lambda: other_ear.data == b"pong")
    with pytest.raises(OptionError, match="Address already in use"):
        opened(f"unix:{path},server,nowait")
    backend.close()
    assert not path.exists()


def test_telnet_greets_escapes_and_understands_break(opened: Opener) -> None:
    backend = opened("telnet::0,server,nowait")
    ear = Ear(backend)
    with socket.create_connection(("127.0.0.1", port_of(backend))) as client:
        backend.write(b"a\xffb")
        assert read_until(client.fileno(), b"b") == GREETING + b"a\xff\xffb"
        client.sendall(b"x\xff\xfd\x01y\xff\xf3\r\0z\xff\xff")
        eventually(lambda: ear.data == b"xy\rz\xff")
        assert ear.events == [ChardevEvent.OPENED, ChardevEvent.BREAK]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_telnet_commands_are_removed_however_they_are_cut(size: int) -> None:
    data = b"a\xff\xfb\x03b\xff\xfa\x18\xff\xff\x00\xff\xf0c\r\0\rd\xff\xf1\xff\xf3\xff\xff\0e\r\n"
    telnet = TelnetFilter()
    parts = [telnet.feed(data[start : start + size]) for start in range(0, len(data), size)]
    assert b"".join(plain for plain, _ in parts) == b"abc\r\rd\xff\0e\r\n"
    assert sum(breaks for _, breaks in parts) == 1


def test_telnet_escape_can_be_undone() -> None:
    data = bytes(range(256)).replace(b"\r\0", b"")
    assert TelnetFilter().feed(escape(data)) == (data, 0)
