"""What a host has learnt of a device: its descriptors, taken apart (USB 2.0 chapter 9.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dbgemu.target.usb.descriptors import CONFIGURATION, DEVICE, ENDPOINT, IN, INTERFACE, STRING

DEVICE_SIZE, CONFIGURATION_SIZE, STRING_SIZE = 18, 9, 255
_KINDS = ("control", "isochronous", "bulk", "interrupt")
_VENDOR, _COMMUNICATIONS, _ABSTRACT = 0xFF, 2, 2
_ENGLISH = 0x0409
#: places of the device descriptor that are numbers of strings
_STRING_PLACES = {"manufacturer": 14, "product": 15, "serial": 16}


class EndpointView(NamedTuple):
    """One endpoint of an interface's setting. ``address`` has bit 7 set to the host."""

    address: int
    kind: str
    packet: int
    interval: int
    interface: int
    alternate: int


class InterfaceView(NamedTuple):
    """One setting of an interface: numbers, and class, subclass and protocol."""

    number: int
    alternate: int
    codes: tuple[int, int, int]


def parts(configuration: bytes) -> Iterator[bytes]:
    """The descriptors that follow each other in a configuration; ends where one is cut short."""
    place = 0
    while place + 2 <= len(configuration):
        size = configuration[place]
        if size < 2 or place + size > len(configuration):
            return
        yield configuration[place : place + size]
        place += size


def interfaces(configuration: bytes) -> Iterator[InterfaceView]:
    """The settings of all interfaces."""
    for part in parts(configuration):
        if part[1] == INTERFACE and len(part) >= 9:
            yield InterfaceView(part[2], part[3], (part[5], part[6], part[7]))


def endpoints(configuration: bytes) -> Iterator[EndpointView]:
    """The endpoints of all settings."""
    interface = alternate = 0
    for part in parts(configuration):
        if part[1] == INTERFACE and len(part) >= 9:
            interface, alternate = part[2], part[3]
        elif part[1] == ENDPOINT and len(part) >= 7:
            packet = (part[4] | part[5] << 8) & 0x7FF
            yield EndpointView(part[2], _KINDS[part[3] & 3], packet or 8, part[6], interface, alternate)


@dataclass
class View:
    """The descriptors as they came. ``todo`` are the steps that are left, the next one first."""

    device: bytes = b""
    configurations: list[bytes] = field(default_factory=list)
    strings: dict[str, str] = field(default_factory=dict)
    #: each is what to do and three numbers
    todo: list[tuple[str, int, int, int]] = field(
        default_factory=lambda: [
            ("read", DEVICE, 0, 8),
            ("address", 0, 0, 0),
            ("read", DEVICE, 0, DEVICE_SIZE),
        ]
    )

    def learn(self, kind: int, number: int, length: int, data: bytes) -> None:
        """Take the descriptor ``number`` of a ``kind`` and see what follows from it.

        Raises ValueError where the device did not say what a descriptor must say.
        """
        if kind != STRING and (len(data) < min(length, DEVICE_SIZE) or data[1] != kind):
            raise ValueError(f"{data.hex() or 'nothing'} is no descriptor of type {kind}")
        if kind == DEVICE:
            self.device = data
            if length >= DEVICE_SIZE:
                count = data[17]
                self.configurations = [b""] * count
                self.todo += [("read", CONFIGURATION, place, CONFIGURATION_SIZE) for place in range(count)]
                if any(data[place] for place in _STRING_PLACES.values()):
                    self.todo.append(("read", STRING, 0, STRING_SIZE))
                self.todo.append(("configure", 0, 0, 0))
        elif kind == CONFIGURATION:
            self.configurations[number] = data
            total = data[2] | data[3] << 8
            if length == CONFIGURATION_SIZE and total > length:
                self.todo.insert(0, ("read", CONFIGURATION, number, total))
        elif number == 0:
            used = {self.device[place] for place in _STRING_PLACES.values()} - {0}
            self.todo[:0] = [("read", STRING, place, STRING_SIZE) for place in sorted(used)]
        else:
            text = data[2:].decode("utf-16-le", errors="replace")
            for name, place in _STRING_PLACES.items():
                if self.device[place] == number:
                    self.strings[name] = text

    def choose(self) -> int:
        """The value of the configuration that a host takes by itself.

        The first that is neither the vendor's own nor RNDIS, else the first; 0 without any.
        """
        values = []
        for configuration in self.configurations:
            first = next(interfaces(configuration), None)
            codes = first.codes if first is not None else (0, 0, 0)
            strange = codes[0] == _VENDOR or codes == (_COMMUNICATIONS, _ABSTRACT, _VENDOR)
            values.append((strange, configuration[5]))
        return min(values, key=lambda item: item[0])[1] if values else 0

    def configuration(self, value: int) -> bytes:
        """The configuration of that value; nothing when there is none."""
        return next((item for item in self.configurations if len(item) > 5 and item[5] == value), b"")

    def packet(self) -> int:
        """Bytes of a full packet of endpoint 0."""
        return self.device[7] if len(self.device) > 7 and self.device[7] else 8

    def save(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "device": self.device,
            "configurations": list(self.configurations),
            "strings": dict(self.strings),
            "todo": [list(step) for step in self.todo],
        }

    @classmethod
    def load(cls, state: dict[str, Any]) -> View:
        """What :meth:`save` gave."""
        todo = [(step[0], step[1], step[2], step[3]) for step in state["todo"]]
        return cls(state["device"], list(state["configurations"]), dict(state["strings"]), todo)


def descriptor_request(kind: int, number: int, length: int) -> bytes:
    """The request for a descriptor (table 9-3)."""
    language = _ENGLISH if kind == STRING and number else 0
    return bytes((IN, 6, number, kind)) + language.to_bytes(2, "little") + length.to_bytes(2, "little")
