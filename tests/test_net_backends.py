"""The back ends of the network, without a guest: frames go in at one end and come out at others."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dpkt.pcap import Reader

from dbgemu.errors import OptionError
from dbgemu.host.iothread import IoThread
from dbgemu.host.net.backend import NetBackend
from dbgemu.host.net.capture import Capture
from dbgemu.host.net.datagram import MulticastNetwork, UdpNetwork
from dbgemu.host.net.hub import WAITING_FRAMES, NetHub
from dbgemu.host.net.stream import StreamNetwork
from dbgemu.host.net.tap import TapNetwork
from dbgemu.host.net.user import UserNetwork
from dbgemu.host.net.user_settings import Forward, UserSettings
from dbgemu.target.net import NetPort

OURS = bytes.fromhex("525400123456")


def frame(number: int, length: int = 60) -> bytes:
    return (b"\xff" * 6 + OURS + b"\x88\xb5" + bytes([number])).ljust(length, b".")


class Board:
    """A board's end of a network: a port, a hub, and a machine's thread that the test itself is."""

    def __init__(self, *backends: NetBackend) -> None:
        self.port = NetPort()
        self.received: list[bytes] = []
        self.port.on_receive = self.received.append
        self.posted: list[Callable[[], None]] = []
        self.came = threading.Event()
        self.hub = NetHub(self.port, self.post)
        for backend in backends:
            self.hub.add(backend)

    def post(self, action: Callable[[], None]) -> None:
        self.posted.append(action)
        self.came.set()

    def run(self) -> None:
        self.came.clear()
        while self.posted:
            self.posted.pop(0)()

    def wait_for(self, count: int, send: Callable[[], None] = lambda: None) -> list[bytes]:
        """Run until ``count`` frames have come in; ``send`` is called again and again until then."""
        end = time.monotonic() + 30
        while len(self.received) < count and time.monotonic() < end:
            send()
            self.came.wait(0.2)
            self.run()
        return self.received


class Recorder(NetBackend):
    """Keeps what it is sent; answers each frame with ``answers``."""

    kind = "recorder"

    def __init__(self, name: str, answers: tuple[bytes, ...] = ()) -> None:
        super().__init__(name)
        self.frames: list[bytes] = []
        self.answers = answers

    def send(self, frame: bytes) -> tuple[bytes, ...]:
        self.frames.append(frame)
        return self.answers


@pytest.fixture
def io() -> Iterator[IoThread]:
    thread = IoThread().start()
    yield thread
    thread.stop()


def test_a_frame_goes_to_all_ends_but_its_own() -> None:
    one, two = Recorder("one"), Recorder("two")
    board = Board(one, two)
    board.port.transmit(frame(1))
    one.on_frames([frame(2)])
    assert board.received == [], "not before the machine's thread takes it"
    board.run()
    assert one.frames == [frame(1)]
    assert two.frames == [frame(1), frame(2)]
    assert board.received == [frame(2)]
    assert [(end.received, end.sent) for end in (one, two)] == [(1, 1), (0, 2)]


def test_an_answer_that_comes_at_once_is_received_at_once() -> None:
    board = Board(Recorder("one", (frame(9),)))
    board.port.transmit(frame(1))
    assert board.received == [frame(9)]


def test_nothing_passes_a_link_that_is_off() -> None:
    one = Recorder("one")
    board = Board(one)
    one.link = False
    board.port.transmit(frame(1))
    one.on_frames([frame(2)])
    board.run()
    assert one.frames == board.received == []
    one.link = True
    board.port.set_link(False)
    one.on_frames([frame(2)])
    board.run()
    assert board.received == []


def test_frames_of_impossible_lengths_are_not_let_in() -> None:
    one = Recorder("one")
    board = Board(one)
    one.on_frames([b"", bytes(13), bytes(1519), frame(1)])
    board.run()
    assert board.received == [frame(1)]


def test_a_machine_that_stands_still_does_not_gather_frames_without_end() -> None:
    one = Recorder("one")
    board = Board(one)
    for _ in range(WAITING_FRAMES + 50):
        one.on_frames([frame(1)])
    board.run()
    assert len(board.received) == WAITING_FRAMES


def test_two_emulators_are_joined_by_tcp(io: IoThread) -> None:
    listening = StreamNetwork("a", io, listen=True, host="", port=0)
    assert listening.description.startswith("type=socket,listen=127.0.0.1:")
    connected = StreamNetwork("b", io, listen=False, host="127.0.0.1", port=listening.port)
    here, there = Board(listening), Board(connected)
    # the one that listens may not know yet that somebody is there, and loses frames until then
    there.wait_for(1, lambda: here.port.transmit(frame(0)))
    there.received.clear()
    for number in range(20):
        here.port.transmit(frame(number, 60 + 70 * number))
        there.port.transmit(frame(100 + number))
    assert there.wait_for(20)[-20:] == [frame(number, 60 + 70 * number) for number in range(20)]
    assert here.wait_for(20) == [frame(100 + number) for number in range(20)]
    connected.close()
    listening.close()


def test_a_stream_that_makes_no_sense_is_cut_off(io: IoThread) -> None:
    network = StreamNetwork("a", io, listen=True, host="", port=0)
    with socket.create_connection(("127.0.0.1", network.port)) as client:
        client.settimeout(30)
        client.sendall(b"\xff\xff\xff\xff" + bytes(100))
        with pytest.raises(ConnectionResetError):
            while client.recv(100):
                pass
            raise ConnectionResetError
    network.close()


def test_connecting_to_nobody_is_one_clear_sentence(io: IoThread) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(OptionError, match=f"'127.0.0.1:{port}' cannot be connected to: .*"):
            StreamNetwork("a", io, listen=False, host="", port=port)
        with pytest.raises(OptionError, match=f"'127.0.0.1:{port}' cannot be listened at: "):
            StreamNetwork("a", io, listen=True, host="", port=port)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_two_emulators_are_joined_by_udp(io: IoThread) -> None:
    one, two = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
    first, second = UdpNetwork("a", io, here=one, there=two), UdpNetwork("b", io, here=two, there=one)
    here, there = Board(first), Board(second)
    there.wait_for(1, lambda: here.port.transmit(frame(1, 1514)))
    here.wait_for(1, lambda: there.port.transmit(frame(2)))
    assert (here.received[0], there.received[0]) == (frame(2), frame(1, 1514))
    first.close()
    second.close()


def test_a_multicast_group_joins_all_who_use_it_and_gives_nobody_his_own_frames(io: IoThread) -> None:
    port = free_port()
    networks = [
        MulticastNetwork(name, io, group="230.0.0.1", port=port, interface="127.0.0.1") for name in "abc"
    ]
    boards = [Board(network) for network in networks]
    for other in boards[1:]:
        assert set(other.wait_for(1, lambda: boards[0].port.transmit(frame(1)))) == {frame(1)}
    boards[0].run()
    assert boards[0].received == []
    for network in networks:
        network.close()


def test_a_tap_device_carries_frames_both_ways(io: IoThread) -> None:
    # a TAP device's file gives and takes a frame at a time, as these sockets do
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.settimeout(30)
    network = TapNetwork("tap.0", io, fd=ours.detach())
    board = Board(network)
    board.port.transmit(frame(1))
    assert theirs.recv(2000) == frame(1)
    theirs.send(frame(2, 1514))
    theirs.send(frame(3))
    assert board.wait_for(2) == [frame(2, 1514), frame(3)]
    network.close()
    network.close()
    theirs.close()


def test_a_tap_device_that_cannot_be_is_one_clear_sentence(io: IoThread) -> None:
    with pytest.raises(OptionError, match=r"the file descriptor 99999 cannot be used: "):
        TapNetwork("tap.0", io, fd=99999)
    with pytest.raises(
        OptionError, match=r"^(the TAP device 'lo' cannot be used|there is no TAP device): ?.*"
    ):
        TapNetwork("tap.0", io, interface="lo")


# -- the user network ------------------------------------------------------------------------------


def arp_request(address: str) -> bytes:
    target = socket.inet_aton(address)
    source = socket.inet_aton("10.0.2.15")
    request = bytes.fromhex("0001 0800 0604 0001") + OURS + source + bytes(6) + target
    return (b"\xff" * 6 + OURS + b"\x08\x06" + request).ljust(60, b"\0")


def test_the_gateway_answers_inside_the_call_that_asks() -> None:
    board = Board(network := UserNetwork("user.0", UserSettings()))
    board.port.transmit(arp_request("10.0.2.2"))
    (answer,) = board.received
    assert answer[:6] == OURS
    assert answer[12:14] == b"\x08\x06"
    assert answer[28:32] == socket.inet_aton("10.0.2.2")
    network.close()
    network.close()


def test_another_network_has_another_gateway() -> None:
    board = Board(network := UserNetwork("user.0", UserSettings(network="192.168.9.0/24")))
    board.port.transmit(arp_request("10.0.2.2"))
    assert board.received == []
    board.port.transmit(arp_request("192.168.9.2"))
    assert len(board.received) == 1
    network.close()


def test_a_forward_is_there_at_once_and_ends_when_it_is_removed() -> None:
    port = free_port()
    network = UserNetwork("user.0", UserSettings(forwards=(Forward(False, "", port, "", 22),)))
    board = Board(network)
    assert f"hostfwd=tcp::{port}-:22" in network.description
    with socket.create_connection(("127.0.0.1", port), 30):
        # somebody knocks, and the network looks for the guest
        assert board.wait_for(1)[0][12:14] == b"\x08\x06"
    assert "HOST_FORWARD" in network.connections()
    with pytest.raises(OptionError, match=f"'tcp::{port}-:23' cannot be forwarded: Address already in use"):
        network.add_forward(Forward(False, "", port, "", 23))
    assert network.remove_forward(udp=False, host="127.0.0.1", host_port=port)
    assert not network.remove_forward(udp=False, host="127.0.0.1", host_port=port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 30)
    network.close()


def test_a_host_without_libslirp_has_no_network_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise OptionError("the user network needs the library libslirp")

    monkeypatch.setattr("dbgemu.host.net.user.slirp_library", missing)
    network = UserNetwork("user.0", UserSettings())
    told: list[str] = []
    network.on_problem = told.append
    board = Board(network)
    board.port.transmit(arp_request("10.0.2.2"))
    board.port.transmit(arp_request("10.0.2.2"))
    assert board.received == []
    assert told == ["user.0: the user network needs the library libslirp"]
    network.close()
    with pytest.raises(OptionError, match="needs the library"):
        UserNetwork("user.1", UserSettings(forwards=(Forward(False, "", 0, "", 22),)))


# -- captures --------------------------------------------------------------------------------------


def test_a_capture_has_every_frame_with_the_guests_time(tmp_path: Path) -> None:
    now = 0
    path = tmp_path / "net.pcap"
    one = Recorder("one", (frame(9),))
    board = Board(one)
    capture = Capture(path, lambda: now, start=1_795_344_335)
    board.hub.watchers.append(capture.take)
    now = 1_234_567_890
    board.port.transmit(frame(1, 1514))
    with path.open("rb") as file:
        packets = list(Reader(file))
    assert [data for _, data in packets] == [frame(1, 1514), frame(9)]
    assert [f"{moment:.6f}" for moment, _ in packets] == ["1795344336.234567"] * 2
    capture.close()
    capture.take(frame(2))


def test_a_capture_is_cut_where_that_is_asked_for(tmp_path: Path) -> None:
    capture = Capture(tmp_path / "net.pcap", lambda: 0, longest=64)
    capture.take(frame(1, 1514))
    capture.close()
    with capture.path.open("rb") as file:
        assert [len(data) for _, data in Reader(file)] == [64]


def test_a_capture_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be written: Is a directory"):
        Capture(tmp_path, lambda: 0)


@pytest.mark.skipif(not shutil.which("tshark") and not os.environ.get("CI"), reason="tshark is not installed")
def test_tshark_reads_a_capture(tmp_path: Path) -> None:
    path = tmp_path / "net.pcap"
    board = Board(network := UserNetwork("user.0", UserSettings()))
    capture = Capture(path, lambda: 5_000, start=1_795_344_335)
    board.hub.watchers.append(capture.take)
    board.port.transmit(arp_request("10.0.2.2"))
    capture.close()
    network.close()
    command = [
        "tshark",
        "-n",
        "-r",
        str(path),
        "-T",
        "fields",
        "-e",
        "frame.time_epoch",
        "-e",
        "_ws.col.Info",
    ]
    read = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    moment = "1795344335.000005000"
    assert read.stdout.splitlines() == [
        f"{moment}\tWho has 10.0.2.2? Tell 10.0.2.15",
        f"{moment}\t10.0.2.2 is at 52:55:0a:00:02:02",
    ]
