"""Two devices on one back end, and a serial port joined with one."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from chardev_ends import Ear, Opener, eventually, io, opened, port_of, read_until

from dbgemu.host.chardev import ChardevEvent
from dbgemu.host.serial_link import join

__all__ = ["io", "opened"]  # fixtures

# -- the multiplexer ---------------------------------------------------------------------------


class Muxed:
    """A multiplexer on a TCP server, with a client."""

    def __init__(self, opened: Opener) -> None:
        self.serial = opened("mon:tcp::0,server,nowait")
        assert self.serial.monitor is not None
        self.monitor = self.serial.monitor
        self.client = socket.create_connection(("127.0.0.1", port_of(self.serial)))
        self.serial_ear, self.monitor_ear = Ear(self.serial), Ear(self.monitor)


@pytest.fixture
def muxed(opened: Opener) -> Iterator[Muxed]:
    made = Muxed(opened)
    yield made
    made.client.close()


def test_ctrl_a_c_switches_between_serial_and_monitor(muxed: Muxed) -> None:
    muxed.client.sendall(b"one\x01ctwo\x01cthree")
    eventually(lambda: muxed.serial_ear.data == b"onethree")
    assert muxed.monitor_ear.data == b"two"
    assert ChardevEvent.FOCUSED in muxed.monitor_ear.events


def test_ctrl_a_twice_sends_one_and_unknown_keys_nothing(muxed: Muxed) -> None:
    for byte in b"a\x01\x01b\x01qc\x01":
        muxed.client.sendall(bytes((byte,)))
    eventually(lambda: muxed.serial_ear.data == b"a\x01bc")


def test_ctrl_a_b_breaks_and_ctrl_a_x_quits(muxed: Muxed) -> None:
    muxed.client.sendall(b"\x01b\x01x.")
    eventually(lambda: muxed.serial_ear.data == b".")
    assert muxed.serial_ear.events[-2:] == [ChardevEvent.BREAK, ChardevEvent.QUIT]


def test_ctrl_a_h_helps_and_both_ends_write(muxed: Muxed) -> None:
    muxed.client.sendall(b"\x01h")
    assert b"Ctrl-A x       leave the emulator\r\n" in read_until(muxed.client.fileno(), b"Ctrl-A itself")
    muxed.serial.write(b"S")
    muxed.monitor.write(b"M")
    assert read_until(muxed.client.fileno(), b"SM")


def test_keys_of_the_multiplexer_work_while_the_serial_port_is_held(muxed: Muxed) -> None:
    muxed.serial.hold()
    time.sleep(0.02)
    muxed.client.sendall(b"typed\x01cinfo\x01c more")
    eventually(lambda: muxed.monitor_ear.data == b"info")
    assert muxed.serial_ear.data == b""
    muxed.serial.release()
    eventually(lambda: muxed.serial_ear.data == b"typed more")


def test_a_held_serial_port_holds_the_sender_in_the_end(muxed: Muxed) -> None:
    muxed.serial.hold()
    muxed.client.settimeout(0.2)
    data = bytes(range(2, 256)) * 200_000
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < len(data):
            sent += muxed.client.send(data[sent : sent + 65536])
    assert sent < len(data)
    muxed.serial.release()
    eventually(lambda: len(muxed.serial_ear.data) == sent)
    assert muxed.serial_ear.data == data[:sent]


# -- the link to a port ------------------------------------------------------------------------


class FakePort:
    """A serial port with room for ten characters."""

    def __init__(self) -> None:
        self.on_transmit: Callable[[int], None] = lambda character: None
        self.on_room: Callable[[], None] = lambda: None
        self.got = bytearray()
        self.taken = 0
        self.breaks = 0

    @property
    def can_receive(self) -> int:
        return max(0, self.taken + 10 - len(self.got))

    def receive(self, data: bytes) -> None:
        self.got += data

    def receive_break(self) -> None:
        self.breaks += 1


def test_a_joined_port_transmits_receives_breaks_and_holds(opened: Opener) -> None:
    backend = opened("telnet::0,server,nowait")
    port = FakePort()
    events: list[ChardevEvent] = []
    join(port, backend, lambda action: action(), events.append)
    with socket.create_connection(("127.0.0.1", port_of(backend))) as client:
        for character in b"out":
            port.on_transmit(character)
        assert read_until(client.fileno(), b"out").endswith(b"out")
        client.sendall(b"0123456789" + b"\xff\xf3")
        eventually(lambda: port.got == b"0123456789" and port.breaks == 1)
        time.sleep(0.02)
        client.sendall(b"abc")
        time.sleep(0.05)
        assert port.got == b"0123456789"
        port.taken = 10
        port.on_room()
        eventually(lambda: port.got == b"0123456789abc")
        assert events == [ChardevEvent.OPENED]
