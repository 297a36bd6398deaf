"""The monitor's commands about the network, and networks as options make them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from dbgemu.emulator import Emulator
from dbgemu.errors import OptionError
from dbgemu.monitor.command import CommandError
from dbgemu.options import parse_command_line


def emulator(line: str) -> Emulator:
    return Emulator(parse_command_line(["-S", "-serial", "null", "-monitor", "null", *line.split()]))


def test_the_network_that_nobody_asked_for_is_a_user_network() -> None:
    with emulator("") as it:
        report = it.monitor.run("info network")
        assert report.text.splitlines() == [
            "dm9000: address 52:54:00:12:34:56, cable plugged in, PHY is switched off",
            "  user.0: type=user,net=10.0.2.0/24,restrict=off; 0 frames from it, 0 to it",
        ]
        assert report.data["ends"][0]["name"] == "user.0"
        assert it.monitor.execute("info usernet") == "user.0:\n  not in use"


def test_a_board_on_no_network_has_no_cable() -> None:
    with emulator("-net nic,macaddr=02:00:00:00:00:09 -net none") as it:
        assert it.monitor.run("info network").text.splitlines() == [
            "dm9000: address 02:00:00:00:00:09, no cable, PHY is switched off",
            "  nobody else is on the network",
        ]
        with pytest.raises(CommandError, match=r"there is no user network \(-net user\)"):
            it.monitor.run("hostfwd_add tcp::2222-:22")
        assert "there is no user network" in it.monitor.run("info usernet").text


def test_links_are_switched_by_name() -> None:
    with emulator("-netdev user,id=lab -net nic,netdev=lab") as it:
        it.monitor.run("set_link lab off")
        assert "restrict=off, link off; 0 frames" in it.monitor.run("info network").text
        it.monitor.run("set_link dm9000 off")
        assert "no cable" in it.monitor.run("info network").text
        it.monitor.run("set_link dm9000 on")
        assert "cable plugged in" in it.monitor.run("info network").text
        with pytest.raises(
            CommandError, match="nothing on the network is called 'eth0': there is dm9000, lab"
        ):
            it.monitor.run("set_link eth0 on")
        with pytest.raises(CommandError, match="'up' is not understood: a link is on or off"):
            it.monitor.run("set_link lab up")


def test_ports_of_the_host_are_forwarded_and_no_more() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with emulator("-net user") as it:
        assert it.monitor.execute(f"hostfwd_add tcp::{port}-:22") == f"forwarded: tcp::{port}-:22"
        assert f"hostfwd=tcp::{port}-:22" in it.monitor.run("info network").text
        assert f"127.0.0.1 {port}" in " ".join(it.monitor.run("info usernet").text.split())
        socket.create_connection(("127.0.0.1", port), 30).close()
        with pytest.raises(CommandError, match="cannot be forwarded: Address already in use"):
            it.monitor.run(f"hostfwd_add user.0 tcp::{port}-:23")
        with pytest.raises(CommandError, match="there is no user network 'lab'"):
            it.monitor.run(f"hostfwd_remove lab tcp::{port}")
        assert it.monitor.execute(f"hostfwd_remove tcp::{port}").startswith("forwarded no more")
        with pytest.raises(CommandError, match=r"nothing is forwarded from tcp:127\.0\.0\.1:"):
            it.monitor.run(f"hostfwd_remove tcp::{port}")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 30)


def test_a_forward_that_cannot_be_ends_the_start_with_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OptionError) as refused:
            emulator(f"-net user,hostfwd=tcp::{port}-:22")
    assert str(refused.value) == f"-net: 'tcp::{port}-:22' cannot be forwarded: Address already in use"


def test_parts_of_one_network_are_all_there(tmp_path: Path) -> None:
    file = tmp_path / "net.pcap"
    with emulator(f"-net nic -net user -net socket,listen=:0 -net dump,file={file}") as it:
        text = it.monitor.run("info network").text
        assert "user.0: type=user" in text
        assert "socket.0: type=socket,listen=127.0.0.1:" in text
        assert "(nobody is there)" in text
        assert file.stat().st_size == 24


def test_the_first_frame_of_the_guest_makes_the_default_network() -> None:
    with emulator("") as it:
        port = it.machine.board.dm9000.port
        received: list[bytes] = []
        port.on_receive = received.append
        ours, asked = bytes.fromhex("525400123456"), socket.inet_aton("10.0.2.2")
        request = (
            bytes.fromhex("0001 0800 0604 0001") + ours + socket.inet_aton("10.0.2.15") + bytes(6) + asked
        )
        it.session.call(lambda: port.transmit((b"\xff" * 6 + ours + b"\x08\x06" + request).ljust(60, b"\0")))
        assert [frame[:6] for frame in received] == [ours]
        assert "1 frames from it, 1 to it" in it.monitor.run("info network").text
