"""The arguments of ``-net``, ``-netdev``, ``-nic`` and ``-object``, and what they come to together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from pathlib import Path
from typing import Any

from dbgemu.errors import OptionError
from dbgemu.host.net.user_settings import Forward, UserSettings
from dbgemu.option_values import existing_folder, writable_file
from dbgemu.target.chips.dm9000 import DEFAULT_ADDRESS

Converter = Callable[[str], Any]


@dataclass(frozen=True)
class NetSpec:
    """One of these options: what kind of thing it adds to the network, and its keys' values."""

    option: str
    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The name that the user gave it, or nothing."""
        return str(self.values.get("id", ""))


@dataclass(frozen=True)
class NetPlan:
    """What the board's network is made of. ``plugged``: the cable is in."""

    address: bytes = DEFAULT_ADDRESS
    backends: tuple[NetSpec, ...] = ()
    captures: tuple[NetSpec, ...] = ()
    plugged: bool = True


# -- values ----------------------------------------------------------------------------------------


def _text(value: str) -> str:
    return value


def _switch(value: str) -> bool:
    if value not in ("on", "off", "yes", "no", "y", "n"):
        raise OptionError(f"'{value}' is not understood: write on or off")
    return value in ("on", "yes", "y")


def _id(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][\w.-]*", value):
        raise OptionError(f"'{value}' cannot be an id: it is a letter, then letters, digits, '-', '.' or '_'")
    return value


def mac_address(value: str) -> bytes:
    """Six bytes in hexadecimal, with colons between; not a multicast address."""
    if not re.fullmatch(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}", value):
        raise OptionError(f"'{value}' is not a MAC address: write six bytes, as in 52:54:00:12:34:56")
    address = bytes.fromhex(re.sub("[:-]", "", value))
    if address[0] & 1 or not any(address):
        raise OptionError(
            f"'{value}' cannot be a card's own address: its first byte must be even, and not all 0"
        )
    return address


def _model(value: str) -> str:
    if value not in ("dm9000", "dm9000a"):
        raise OptionError(f"'{value}' is not on the board: its network chip is a dm9000")
    return value


def _address(value: str) -> str:
    try:
        return str(IPv4Address(value))
    except AddressValueError:
        raise OptionError(f"'{value}' is not an IPv4 address, as 10.0.2.2 is one") from None


def _network(value: str) -> str:
    try:
        network = IPv4Network(value if "/" in value else f"{value}/24", strict=False)
    except (AddressValueError, NetmaskValueError):
        raise OptionError(f"'{value}' is not an IPv4 network, as 10.0.2.0/24 is one") from None
    if network.prefixlen > 27:
        raise OptionError(
            f"'{value}' is too small: DHCP gives addresses from the network's 15th on, so /27 at most"
        )
    return str(network)


def _port(value: str, what: str) -> int:
    if not value.isdecimal() or not int(value) < 1 << 16:
        raise OptionError(f"'{value}' in '{what}' is not a port: it is a number up to 65535")
    return int(value)


def place(value: str) -> tuple[str, int]:
    """``HOST:PORT``; HOST may be left out. Raises OptionError."""
    host, colon, port = value.rpartition(":")
    if not colon:
        raise OptionError(f"'{value}' is not understood: write HOST:PORT or :PORT")
    return host, _port(port, value)


def _group(value: str) -> tuple[str, int]:
    host, port = place(value)
    if not IPv4Address(_address(host)).is_multicast:
        raise OptionError(f"'{host}' is not a multicast address: write one from 224.0.0.0 on, as 230.0.0.1")
    return host, port


def _number(value: str) -> int:
    if not value.isdecimal():
        raise OptionError(f"'{value}' is not a number")
    return int(value)


def _no(value: str) -> str:
    if value != "no":
        raise OptionError(f"'{value}' is not run: set the interface up before, and write no here")
    return value


_FORWARD = re.compile(r"(?:(tcp|udp)?:)?(?:([\d.]*):)?(\d+)-(?:([\d.]*):)?(\d+)")


def forward(value: str) -> Forward:
    """``[tcp|udp]:[HOSTADDRESS]:HOSTPORT-[GUESTADDRESS]:GUESTPORT``. Raises OptionError."""
    match = _FORWARD.fullmatch(value)
    if match is None:
        raise OptionError(
            f"'{value}' is not a forward: write tcp:[ADDRESS]:PORT-[GUESTADDRESS]:PORT, as tcp::2222-:22"
        )
    host, guest = (_address(address) if address else "" for address in (match[2], match[4]))
    if not int(match[5]):
        raise OptionError(f"'{value}' leads to port 0, where nobody can be")
    return Forward(match[1] == "udp", host, _port(match[3], value), guest, _port(match[5], value))


def forward_end(value: str) -> tuple[bool, str, int]:
    """``[tcp|udp]:[HOSTADDRESS]:HOSTPORT``: (UDP, address, port). Raises OptionError."""
    match = re.fullmatch(r"(?:(tcp|udp)?:)?(?:([\d.]*):)?(\d+)", value)
    if match is None:
        raise OptionError(f"'{value}' is not a port of the host: write tcp::2222 or tcp:ADDRESS:2222")
    return match[1] == "udp", _address(match[2]) if match[2] else "127.0.0.1", _port(match[3], value)


# -- keys ------------------------------------------------------------------------------------------

#: what every kind has
_COMMON: dict[str, Converter] = {"id": _id, "name": _id}
_CARD: dict[str, Converter] = {"macaddr": mac_address, "model": _model}

#: kind -> key -> converter
KINDS: dict[str, dict[str, Converter]] = {
    "none": {},
    "nic": {**_COMMON, **_CARD, "netdev": _id},
    "user": {
        **_COMMON,
        "net": _network,
        "host": _address,
        "dhcpstart": _address,
        "dns": _address,
        "hostname": _text,
        "domainname": _text,
        "dnssearch": _text,
        "restrict": _switch,
        "ipv4": _switch,
        "ipv6": _switch,
        "tftp": existing_folder,
        "tftp-server-name": _text,
        "bootfile": _text,
        "hostfwd": forward,
    },
    "tap": {**_COMMON, "ifname": _text, "fd": _number, "script": _no, "downscript": _no},
    "socket": {
        **_COMMON,
        "listen": place,
        "connect": place,
        "mcast": _group,
        "udp": place,
        "localaddr": _text,
    },
    "dump": {**_COMMON, "file": writable_file, "len": _number},
}
#: keys that may come more than once
_REPEATED = frozenset(("hostfwd", "dnssearch"))
#: QEMU's kinds and keys that are not here
_MISSING = {
    "guestfwd": "use hostfwd, or the host's address 10.0.2.2",
    "smb": "share files by -net user,tftp=DIR or a web server on the host",
    "smbserver": "share files by -net user,tftp=DIR or a web server on the host",
}
_NOT_A_BACKEND = ("none", "nic", "dump")
_FILTER: dict[str, Converter] = {"id": _id, "netdev": _id, "file": writable_file, "maxlen": _number}


def _spec(option: str, argument: str, kinds: Iterable[str], extra: Mapping[str, Converter]) -> NetSpec:
    kind, *parts = (part.replace("\0", ",") for part in argument.replace(",,", "\0").split(","))
    if kind.startswith("type="):
        kind = kind.removeprefix("type=")
    if kind not in kinds:
        raise OptionError(f"'{kind}' is not a kind of network: it is {', '.join(kinds)}")
    return NetSpec(option, kind, _values(kind, parts, {**KINDS[kind], **extra}))


def _values(kind: str, parts: Iterable[str], keys: Mapping[str, Converter]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for part in parts:
        key, equals, text = part.partition("=")
        if key == "mac" and "macaddr" in keys:
            key = "macaddr"
        if key not in keys:
            near = get_close_matches(key, keys, n=1)
            hint = _MISSING.get(key) or (
                f"did you mean {near[0]}" if near else f"it has {', '.join(keys) or 'no keys'}"
            )
            raise OptionError(f"'{part}' is not understood for {kind}: {hint}")
        if not equals or not text:
            raise OptionError(f"'{part}' needs a value: {key}=...")
        try:
            value = keys[key](text)
        except OptionError as error:
            raise OptionError(f"{key}: {error}") from None
        if key in _REPEATED:
            value = (*values.get(key, ()), value)
        elif key in values:
            raise OptionError(f"{key} is given twice")
        values["id" if key == "name" else key] = value
    _check(kind, values)
    return values


def _check(kind: str, values: Mapping[str, Any]) -> None:
    """Refuse keys that do not go together, or are missing."""
    if kind == "socket":
        ways = [key for key in ("listen", "connect", "mcast", "udp") if key in values]
        if len(ways) != 1:
            raise OptionError("socket needs one of listen=, connect=, mcast= and udp=")
        if ways == ["udp"] and "localaddr" not in values:
            raise OptionError("udp= needs localaddr=HOST:PORT, where the answers come to")
        if ways[0] not in ("udp", "mcast") and "localaddr" in values:
            raise OptionError("localaddr= is only for udp= and mcast=")
    elif kind == "tap" and "ifname" in values and "fd" in values:
        raise OptionError("tap is given by ifname= or by fd=, not both")
    elif kind == "tap" and len(values.get("ifname", "").encode()) > 15:
        raise OptionError(
            f"'{values['ifname']}' is too long for an interface's name: it has 15 characters at most"
        )
    elif kind in ("dump", "filter-dump") and "file" not in values:
        raise OptionError(f"{kind} needs file=FILE to write to")
    elif kind == "user":
        if values.get("ipv4") is False:
            raise OptionError("ipv4=off is not possible: the user network always has IPv4")
        network = IPv4Network(values.get("net", UserSettings.network))
        for key in ("host", "dhcpstart", "dns"):
            if key in values and IPv4Address(values[key]) not in network:
                raise OptionError(f"{key}={values[key]} is not in the network {network}")


# -- options ---------------------------------------------------------------------------------------

_BACKENDS = tuple(kind for kind in KINDS if kind not in _NOT_A_BACKEND)


def net(argument: str) -> NetSpec:
    """``-net``: a part of the one network that the board is on."""
    return _spec("net", argument, KINDS, {})


def netdev(argument: str) -> NetSpec:
    """``-netdev``: a back end that ``-net nic,netdev=ID`` refers to."""
    spec = _spec("netdev", argument, _BACKENDS, {})
    if not spec.id:
        raise OptionError("it needs an id=, which -net nic,netdev=ID then has")
    return spec


def nic(argument: str) -> NetSpec:
    """``-nic``: the board's card and its back end in one."""
    return _spec("nic", argument, ("none", *_BACKENDS), _CARD)


def net_object(argument: str) -> NetSpec:
    """``-object filter-dump,id=...,netdev=ID,file=FILE``: the only object that there is."""
    kind, *parts = (part.replace("\0", ",") for part in argument.replace(",,", "\0").split(","))
    if kind.removeprefix("qom-type=") != "filter-dump":
        raise OptionError(f"'{kind}' is not an object that this emulator has: it is filter-dump")
    return NetSpec("object", "dump", _values("filter-dump", parts, _FILTER))


def help_text() -> str:
    """What ``-net help`` prints."""
    lines = ["Networks (-net KIND,KEY=VALUE,...; without one: -net user):"]
    lines += [f"  {kind:<8} {', '.join(keys)}".rstrip() for kind, keys in KINDS.items()]
    return "\n".join(lines)


def net_plan(specs: Sequence[NetSpec]) -> NetPlan:
    """What the options come to; nothing given is a user network. Raises OptionError."""
    captures = tuple(spec for spec in specs if spec.kind == "dump")
    parts = [spec for spec in specs if spec.kind != "dump"]
    cards = [spec for spec in parts if spec.kind == "nic" or spec.option == "nic"]
    if len(cards) > 1:
        raise OptionError("the board has one network chip: give one of -net nic and -nic, once")
    given = [spec.id for spec in (*parts, *captures) if spec.id]
    for name in given:
        if given.count(name) > 1:
            raise OptionError(f"two parts of the network have the id '{name}'")
    if any(spec.kind == "none" for spec in parts):
        if any(spec.kind not in ("none", "nic") for spec in parts):
            raise OptionError("-net none is for a board that is on no network: take it or the others away")
        backends: list[NetSpec] = []
    else:
        backends = [spec for spec in parts if spec.kind not in _NOT_A_BACKEND]
        _check_references(backends, cards, captures)
        if not parts:
            backends = [NetSpec("net", "user")]
    address = next((card.values["macaddr"] for card in cards if "macaddr" in card.values), DEFAULT_ADDRESS)
    plugged = all(spec.kind != "none" for spec in parts)
    return NetPlan(address, tuple(backends), captures, plugged)


def _check_references(
    backends: Sequence[NetSpec], cards: Sequence[NetSpec], captures: Sequence[NetSpec]
) -> None:
    wanted = next((card.values["netdev"] for card in cards if "netdev" in card.values), None)
    names = [spec.id for spec in backends if spec.id]
    for spec in backends:
        if spec.option == "netdev" and spec.id != wanted:
            raise OptionError(f"-netdev '{spec.id}' is connected to nothing: add -net nic,netdev={spec.id}")
    for name in (wanted, *(spec.values.get("netdev") for spec in captures)):
        if name is not None and name not in names:
            raise OptionError(f"there is no network '{name}': -netdev user,id={name} would be one")


def user_settings(values: Mapping[str, Any]) -> UserSettings:
    """The settings that the keys of ``user`` say."""
    tftp: Path | None = values.get("tftp")
    return UserSettings(
        network=values.get("net", UserSettings.network),
        gateway=values.get("host", ""),
        dns=values.get("dns", ""),
        dhcp_start=values.get("dhcpstart", ""),
        hostname=values.get("hostname", ""),
        domain=values.get("domainname", ""),
        search=values.get("dnssearch", ()),
        restricted=values.get("restrict", False),
        ipv6=values.get("ipv6", False),
        tftp=str(tftp.resolve()) if tftp else "",
        tftp_name=values.get("tftp-server-name", ""),
        boot_file=values.get("bootfile", ""),
        forwards=values.get("hostfwd", ()),
    )
