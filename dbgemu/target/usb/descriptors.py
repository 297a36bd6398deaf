"""USB descriptors, declared (USB 2.0 specification chapter 9.6; HID 1.11 chapter 6.2)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

# Descriptor types (table 9-5; HID 7.1)
DEVICE, CONFIGURATION, STRING, INTERFACE, ENDPOINT = 1, 2, 3, 4, 5
HID, HID_REPORT = 0x21, 0x22

#: bit 7 of an endpoint's address: to the host
IN = 0x80

_ENGLISH = 0x0409
#: the indices of the strings that a device has
MANUFACTURER, PRODUCT, SERIAL = 1, 2, 3


class Endpoint(NamedTuple):
    """One endpoint. ``address`` has bit 7 set to the host; ``packet`` in bytes, ``interval`` in frames."""

    address: int
    #: "isochronous", "bulk" or "interrupt"
    transfer: str
    packet: int
    interval: int = 0

    def pack(self) -> bytes:
        """The descriptor (table 9-13)."""
        kind = ("control", "isochronous", "bulk", "interrupt").index(self.transfer)
        return struct.pack("<BBBBHB", 7, ENDPOINT, self.address, kind, self.packet, self.interval)


class Interface(NamedTuple):
    """One interface: class codes, what is peculiar to the class, endpoints."""

    number: int
    #: class, subclass, protocol
    codes: tuple[int, int, int]
    endpoints: tuple[Endpoint, ...]
    #: descriptors of the class, which come between
    extra: bytes = b""

    def pack(self) -> bytes:
        """The descriptors of the interface and its endpoints (table 9-12)."""
        own = struct.pack("<BBBBBBBBB", 9, INTERFACE, self.number, 0, len(self.endpoints), *self.codes, 0)
        return own + self.extra + b"".join(endpoint.pack() for endpoint in self.endpoints)


class Descriptors(NamedTuple):
    """What a device tells of itself. ``current`` is in mA."""

    vendor: int
    product: int
    manufacturer_name: str
    product_name: str
    serial_number: str
    interfaces: tuple[Interface, ...]
    #: bytes of a packet of endpoint 0
    packet: int = 8
    #: binary coded decimal
    release: int = 0x0100
    current: int = 100
    remote_wakeup: bool = False
    #: report descriptors, by interface
    reports: Mapping[int, bytes] = MappingProxyType({})

    def device(self) -> bytes:
        """Table 9-8."""
        return struct.pack(
            "<BBHBBBBHHHBBBB",
            18,
            DEVICE,
            0x0110,
            0,  # the class is each interface's
            0,
            0,
            self.packet,
            self.vendor,
            self.product,
            self.release,
            MANUFACTURER,
            PRODUCT,
            SERIAL,
            1,
        )

    def configuration(self) -> bytes:
        """The configuration with all that belongs to it (table 9-10)."""
        rest = b"".join(interface.pack() for interface in self.interfaces)
        attributes = 0x80 | self.remote_wakeup << 5
        return (
            struct.pack(
                "<BBHBBBBB",
                9,
                CONFIGURATION,
                9 + len(rest),
                len(self.interfaces),
                1,
                0,
                attributes,
                self.current // 2,
            )
            + rest
        )

    def string(self, index: int) -> bytes | None:
        """A string's descriptor, or that of the languages; None where there is none (table 9-15)."""
        if index == 0:
            content = struct.pack("<H", _ENGLISH)
        elif index <= SERIAL:
            text = (self.manufacturer_name, self.product_name, self.serial_number)[index - 1]
            content = text.encode("utf-16-le")
        else:
            return None
        return bytes((2 + len(content), STRING)) + content

    def hid(self, interface: int) -> bytes | None:
        """The HID descriptor, as it stands in the interface too (HID 6.2.1)."""
        report = self.reports.get(interface)
        return None if report is None else hid_descriptor(len(report))

    def endpoints(self) -> dict[int, Endpoint]:
        """All but endpoint 0, by address."""
        return {
            endpoint.address: endpoint for interface in self.interfaces for endpoint in interface.endpoints
        }


def hid_descriptor(report_length: int) -> bytes:
    """The HID descriptor of an interface with one report descriptor (HID 6.2.1)."""
    return struct.pack("<BBHBBBH", 9, HID, 0x0111, 0, 1, HID_REPORT, report_length)
