"""What -net, -netdev, -nic and -object are understood as, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbgemu.errors import OptionError
from dbgemu.host.net.user_settings import Forward
from dbgemu.option_net import NetPlan, forward, forward_end, mac_address, net_plan, user_settings
from dbgemu.options import parse_command_line
from dbgemu.target.chips.dm9000 import DEFAULT_ADDRESS


def plan(line: str) -> NetPlan:
    return net_plan(parse_command_line(["-S", *line.split()]).net)


def test_without_an_option_the_board_is_on_a_user_network() -> None:
    found = plan("")
    assert [spec.kind for spec in found.backends] == ["user"]
    assert found.plugged
    assert found.address == DEFAULT_ADDRESS == bytes.fromhex("525400123456")


def test_none_pulls_the_cable() -> None:
    assert plan("-net none") == NetPlan(backends=(), plugged=False)
    assert plan("-nic none") == NetPlan(backends=(), plugged=False)


@pytest.mark.parametrize(
    "line",
    [
        "-net nic,macaddr=02:00:00:00:00:07 -net user,hostname=board,hostfwd=tcp::2222-:22",
        "-nic user,mac=02-00-00-00-00-07,hostname=board,hostfwd=tcp::2222-:22",
        "-netdev user,id=n0,hostname=board,hostfwd=tcp::2222-:22 "
        "-net nic,model=dm9000,netdev=n0,macaddr=02:00:00:00:00:07",
    ],
)
def test_three_spellings_of_one_network(line: str) -> None:
    found = plan(line)
    assert found.address == bytes.fromhex("020000000007")
    settings = user_settings(found.backends[0].values)
    assert settings.hostname == "board"
    assert settings.forwards == (Forward(False, "", 2222, "", 22),)


def test_everything_that_a_user_network_can_be_told(tmp_path: Path) -> None:
    line = (
        "-net user,net=192.168.7.0/24,host=192.168.7.1,dhcpstart=192.168.7.50,dns=192.168.7.9,restrict=on,"
        f"domainname=lab,dnssearch=a.lab,dnssearch=b.lab,ipv6=on,tftp={tmp_path},bootfile=zImage,"
        "hostfwd=udp:127.0.0.1:69-192.168.7.51:69"
    )
    settings = user_settings(plan(line).backends[0].values)
    assert (settings.network, settings.gateway) == ("192.168.7.0/24", "192.168.7.1")
    assert (settings.dhcp_start, settings.dns) == ("192.168.7.50", "192.168.7.9")
    assert (settings.restricted, settings.ipv6, settings.domain) == (True, True, "lab")
    assert settings.search == ("a.lab", "b.lab")
    assert (settings.tftp, settings.boot_file) == (str(tmp_path), "zImage")
    assert settings.forwards == (Forward(True, "127.0.0.1", 69, "192.168.7.51", 69),)


def test_captures_are_asked_for_in_two_ways(tmp_path: Path) -> None:
    file = tmp_path / "x.pcap"
    found = plan(f"-net user -net dump,file={file},len=96")
    assert [(spec.values["file"], spec.values["len"]) for spec in found.captures] == [(file, 96)]
    found = plan(f"-netdev user,id=a -net nic,netdev=a -object filter-dump,id=f,netdev=a,file={file}")
    assert [spec.values["netdev"] for spec in found.captures] == ["a"]


def test_a_capture_alone_leaves_the_user_network_there(tmp_path: Path) -> None:
    assert [spec.kind for spec in plan(f"-net dump,file={tmp_path / 'x'}").backends] == ["user"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tcp::2222-:22", Forward(False, "", 2222, "", 22)),
        (":2222-:22", Forward(False, "", 2222, "", 22)),
        ("udp:0.0.0.0:69-10.0.2.20:6969", Forward(True, "0.0.0.0", 69, "10.0.2.20", 6969)),
    ],
)
def test_forwards(text: str, wanted: Forward) -> None:
    assert forward(text) == wanted
    assert forward(str(wanted)) == wanted


def test_the_host_end_of_a_forward() -> None:
    assert forward_end("tcp::2222") == (False, "127.0.0.1", 2222)
    assert forward_end("udp:0.0.0.0:69") == (True, "0.0.0.0", 69)
    with pytest.raises(OptionError, match="'tcp' is not a port of the host"):
        forward_end("tcp")


def test_a_mac_address_with_capitals() -> None:
    assert mac_address("AA:bb:CC:00:11:22") == bytes.fromhex("aabbcc001122")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-net usr", "-net: 'usr' is not a kind of network: it is none, nic, user, tap, socket, dump"),
        ("-net user,hostfw=1", "-net: 'hostfw=1' is not understood for user: did you mean hostfwd"),
        (
            "-net user,hostfwd=2222",
            "-net: hostfwd: '2222' is not a forward: write tcp:[ADDRESS]:PORT-[GUESTADDRESS]:PORT, "
            "as tcp::2222-:22",
        ),
        ("-net user,hostfwd=tcp::99999-:22", "-net: hostfwd: '99999' in 'tcp::99999-:22' is not a port"),
        ("-net user,hostfwd=tcp::1-:0", "-net: hostfwd: 'tcp::1-:0' leads to port 0"),
        ("-net user,hostfwd=tcp:1.2.3:1-:1", "-net: hostfwd: '1.2.3' is not an IPv4 address"),
        ("-net user,net=10.0.0.0/29", "-net: net: '10.0.0.0/29' is too small"),
        ("-net user,net=tomato", "-net: net: 'tomato' is not an IPv4 network"),
        ("-net user,dns=192.168.1.1", "-net: dns=192.168.1.1 is not in the network 10.0.2.0/24"),
        ("-net user,restrict=maybe", "-net: restrict: 'maybe' is not understood: write on or off"),
        ("-net user,smb=/tmp", "-net: 'smb=/tmp' is not understood for user: share files by"),
        ("-net user,hostname=a,hostname=b", "-net: hostname is given twice"),
        ("-net user,hostname", "-net: 'hostname' needs a value: hostname=..."),
        ("-net nic,macaddr=1:2:3", "-net: macaddr: '1:2:3' is not a MAC address"),
        ("-net nic,macaddr=01:00:00:00:00:01", "-net: macaddr: '01:00:00:00:00:01' cannot be a card's"),
        (
            "-net nic,model=rtl8139",
            "-net: model: 'rtl8139' is not on the board: its network chip is a dm9000",
        ),
        ("-net nic -net nic", "the board has one network chip: give one of -net nic and -nic, once"),
        ("-net none -net user", "-net none is for a board that is on no network"),
        ("-net socket", "-net: socket needs one of listen=, connect=, mcast= and udp="),
        ("-net socket,udp=:1", "-net: udp= needs localaddr=HOST:PORT"),
        ("-net socket,listen=1234", "-net: listen: '1234' is not understood: write HOST:PORT or :PORT"),
        ("-net socket,mcast=10.0.0.1:1", "-net: mcast: '10.0.0.1' is not a multicast address"),
        ("-net tap,script=/etc/up", "-net: script: '/etc/up' is not run"),
        ("-net tap,ifname=abcdefghijklmnop", "-net: 'abcdefghijklmnop' is too long for an interface's name"),
        ("-net dump", "-net: dump needs file=FILE to write to"),
        ("-netdev user", "-netdev: it needs an id="),
        ("-netdev user,id=a", "-netdev 'a' is connected to nothing: add -net nic,netdev=a"),
        ("-net nic,netdev=b -net user", "there is no network 'b': -netdev user,id=b would be one"),
        ("-net user,id=a -net user,id=a", "two parts of the network have the id 'a'"),
        ("-object rng-random,id=r", "-object: 'rng-random' is not an object that this emulator has"),
        ("-nic nic", "-nic: 'nic' is not a kind of network: it is none, user, tap, socket"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(line: str, message: str) -> None:
    with pytest.raises(OptionError) as refused:
        parse_command_line(["-S", *line.split()])
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_help_lists_the_kinds() -> None:
    answer = parse_command_line(["-net", "help"]).answer
    assert answer is not None
    assert "user" in answer
    assert "hostfwd" in answer
