"""What a user network is like: the part of ``-net user`` that needs no library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Forward:
    """A port of the host that leads into the guest. Empty addresses: loopback, and what DHCP gives."""

    udp: bool
    host: str
    host_port: int
    guest: str
    guest_port: int

    def __str__(self) -> str:
        kind = "udp" if self.udp else "tcp"
        return f"{kind}:{self.host}:{self.host_port}-{self.guest}:{self.guest_port}"


@dataclass(frozen=True)
class UserSettings:
    """QEMU's keys of ``-net user``. Empty addresses are numbers 2, 3 and 15 of the network."""

    network: str = "10.0.2.0/24"
    gateway: str = ""
    dns: str = ""
    dhcp_start: str = ""
    #: the name that DHCP gives the guest
    hostname: str = ""
    domain: str = ""
    search: tuple[str, ...] = ()
    #: nothing but the forwards leads out of it
    restricted: bool = False
    #: IPv6 routers announce themselves, at times that differ from run to run
    ipv6: bool = False
    tftp: str = ""
    tftp_name: str = ""
    boot_file: str = ""
    forwards: tuple[Forward, ...] = ()
