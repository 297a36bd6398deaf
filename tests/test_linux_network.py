"""Linux's dm9000 driver on a user network, and two boards on one cable."""

from __future__ import annotations

import hashlib
import random
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dpkt.pcap import Reader
from linux_guest import RTC_START, LinuxGuest

from dbgemu.host.iothread import IoThread
from dbgemu.host.net.capture import Capture
from dbgemu.host.net.hub import NetHub
from dbgemu.host.net.stream import StreamNetwork
from dbgemu.host.net.user import UserNetwork
from dbgemu.host.net.user_settings import Forward, UserSettings

PATIENCE = 40_000_000_000
WAIT_FOR_LINK = "while ! grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done"
FILE_SIZE, SENT = 2_000_003, 700_000


class NetworkedGuest:
    """Linux on a user network with everything captured; idle time passes as it does for people."""

    def __init__(self, folder: Path) -> None:
        self.linux = LinuxGuest()
        self.linux.boot()
        machine = self.linux.machine
        machine.warp = False
        self.network = UserNetwork("user.0", UserSettings(hostname="board", domain="lab"))
        self.hub = NetHub(machine.board.dm9000.port, machine.post)
        self.hub.add(self.network)
        self.capture = Capture(folder / "net.pcap", lambda: machine.board.clock.now, start=RTC_START)
        self.hub.watchers.append(self.capture.take)
        self(f"ifconfig eth0 up; {WAIT_FOR_LINK}")
        self.lease = self("udhcpc -n -q -i eth0")

    def __call__(self, line: str) -> str:
        return self.linux.command(line, PATIENCE)

    def close(self) -> None:
        self.network.close()
        self.capture.close()


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkedGuest]:
    guest = NetworkedGuest(tmp_path_factory.mktemp("network"))
    yield guest
    guest.close()


@contextmanager
def web_server(folder: Path) -> Iterator[int]:
    """A web server for ``folder``, in a process of its own; gives its port."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        match = re.search(r"port (\d+)", server.stdout.readline())
        assert match is not None
        try:
            yield int(match[1])
        finally:
            server.kill()


def test_dhcp_gives_the_guest_an_address_and_a_route(guest: NetworkedGuest) -> None:
    assert "lease of 10.0.2.15 obtained from 10.0.2.2" in guest.lease
    assert "inet addr:10.0.2.15" in guest("ifconfig eth0")
    assert re.search(r"^0\.0\.0\.0 +10\.0\.2\.2 ", guest("route -n"), re.MULTILINE)
    assert "nameserver 10.0.2.3" in guest("cat /tmp/resolv.conf")


def test_the_gateway_answers_pings_of_all_sizes(guest: NetworkedGuest) -> None:
    assert "3 packets received, 0% packet loss" in guest("ping -c 3 -i 0.1 10.0.2.2")
    assert "2 packets received, 0% packet loss" in guest("ping -c 2 -i 0.1 -s 1472 10.0.2.2")


def test_a_file_from_a_web_server_on_the_host_arrives_whole(guest: NetworkedGuest, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(FILE_SIZE)
    (tmp_path / "file").write_bytes(content)
    with web_server(tmp_path) as port:
        assert guest(f"wget -q -O /tmp/file http://10.0.2.2:{port}/file") == ""
    assert hashlib.md5(content).hexdigest() in guest("md5sum /tmp/file")
    statistics = guest("ifconfig eth0")
    assert "errors:0 dropped:0 overruns:0" in statistics
    assert not re.search(r"(errors|dropped|overruns|carrier|collisions|frame):[1-9]", statistics)


def test_what_the_guest_sends_arrives_whole(guest: NetworkedGuest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        received = bytearray()

        def take() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(60)
                # nc ends when the other end does, not with its input
                while len(received) < SENT and (data := connection.recv(65536)):
                    received.extend(data)

        taker = threading.Thread(target=take, daemon=True)
        taker.start()
        port = server.getsockname()[1]
        wanted = guest(f"head -c {SENT} /bin/busybox > /tmp/up; md5sum /tmp/up")
        guest(f"nc 10.0.2.2 {port} < /tmp/up")
        taker.join(60)
    assert len(received) == SENT
    assert hashlib.md5(received).hexdigest() in wanted


def test_a_port_of_the_host_leads_into_the_guest(guest: NetworkedGuest) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    guest.network.add_forward(Forward(False, "", port, "", 80))
    guest("mkdir /tmp/www; echo from the guest > /tmp/www/file; httpd -h /tmp/www")
    answer = ""

    def call() -> None:
        nonlocal answer
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/file", timeout=60) as page:
                answer = page.read().decode()
        finally:
            guest.linux.machine.request_stop()

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    guest.linux.machine.run()
    caller.join(60)
    assert answer == "from the guest\n"
    assert guest.network.remove_forward(udp=False, host="127.0.0.1", host_port=port)
    guest("killall httpd")


def test_the_link_follows_the_cable(guest: NetworkedGuest) -> None:
    port = guest.linux.machine.board.dm9000.port
    port.set_link(False)
    guest("while grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done; usleep 200000")
    port.set_link(True)
    # the kernel prints its line a little after this file has changed
    guest(f"{WAIT_FOR_LINK}; usleep 200000")
    log = guest("dmesg | grep 'eth0: link' | tail -n 2")
    assert "link down" in log.splitlines()[0]
    assert "link up, 100Mbps, full-duplex, lpa 0x45E1" in log.splitlines()[1]


def test_the_driver_sets_the_chips_filter(guest: NetworkedGuest) -> None:
    port = guest.linux.machine.board.dm9000.port

    def taken(destination: str) -> int:
        """How many frames the driver counts of one that is sent there."""
        read = "usleep 30000; cat /sys/class/net/eth0/statistics/rx_packets"
        before = int(guest(read))
        port.receive((bytes.fromhex(destination) + bytes(6) + b"\x88\xb5").ljust(60, b"\0"))
        return int(guest(read)) - before

    # every host is in 224.0.0.1
    assert taken("01005e000001") == 1
    assert taken("01005e010203") == taken("020000000099") == 0
    guest("ifconfig eth0 allmulti")
    assert (taken("01005e010203"), taken("020000000099")) == (1, 0)
    guest("ifconfig eth0 -allmulti promisc")
    assert taken("01005e010203") == taken("020000000099") == 1
    guest("ifconfig eth0 -promisc")
    assert taken("020000000099") == 0


def test_no_driver_complained_about_the_network(guest: NetworkedGuest) -> None:
    log = guest("dmesg | grep -i -E 'dm9000|eth0' | tail -n +3")
    assert not re.search(r"(?i)error|fail|timeout|timed out|watchdog|status check", log)


def test_the_capture_tells_the_same_story(guest: NetworkedGuest) -> None:
    guest("ping -c 1 10.0.2.2")
    with guest.capture.path.open("rb") as file:
        packets = list(Reader(file))
    assert len(packets) == guest.capture.frames
    moments = [moment for moment, _ in packets]
    assert moments == sorted(moments)
    assert abs(moments[-1] - RTC_START - guest.linux.machine.board.clock.now / 1e9) < 5
    echoes = [data for _, data in packets if data[12:14] == b"\x08\x00" and data[23] == 1]
    assert [data[34] for data in echoes[-2:]] == [8, 0], "a request, then its answer"


def test_two_boards_on_one_cable_ping_each_other(guest: NetworkedGuest) -> None:
    io = IoThread().start()
    listening = StreamNetwork("a", io, listen=True, host="", port=0)
    connected = StreamNetwork("b", io, listen=False, host="", port=listening.port)
    other = LinuxGuest()
    other.boot()
    other.machine.warp = False
    NetHub(other.machine.board.dm9000.port, other.machine.post).add(connected)
    other.command(f"ifconfig eth0 hw ether 02:00:00:00:00:02; ifconfig eth0 192.168.5.2 up; {WAIT_FOR_LINK}")
    guest.hub.backends.clear()
    guest.hub.add(listening)
    guest("ifconfig eth0 192.168.5.1")
    runner = threading.Thread(target=other.machine.run, daemon=True)
    runner.start()
    try:
        assert "3 packets received, 0% packet loss" in guest("ping -c 3 -i 0.2 192.168.5.2")
        assert "02:00:00:00:00:02" in guest("arp -an | grep 192.168.5.2").lower()
    finally:
        other.machine.request_stop()
        runner.join(60)
        guest.hub.backends.clear()
        guest.hub.add(guest.network)
        connected.close()
        listening.close()
        io.stop()
