"""A device on the USB: control requests, endpoints, and what all devices answer (USB 2.0 chapter 9).

A host controller speaks with a device in packets. :meth:`UsbDevice.setup`, :meth:`UsbDevice.give` and
:meth:`UsbDevice.take` are what it calls; several packets of one transfer may go in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, ClassVar, NamedTuple, TypeVar

from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.usb import descriptors
from dbgemu.target.usb.descriptors import IN, Descriptors

# bmRequestType (table 9-2)
STANDARD, CLASS = 0x00, 0x20
TO_DEVICE, TO_INTERFACE, TO_ENDPOINT = 0, 1, 2

_REMOTE_WAKEUP, _ENDPOINT_HALT = 1, 0


class Handshake(Enum):
    """What a device answers instead of data."""

    NAK = "nak"
    STALL = "stall"


NAK, STALL = Handshake.NAK, Handshake.STALL


class Setup(NamedTuple):
    """The eight bytes of a request (9.3)."""

    kind: int
    request: int
    value: int
    target: int
    length: int


#: gets the request and, where the host sends some, its data; what the device sends, if anything
Handler = Callable[[Any, Setup, bytes], "bytes | Handshake | None"]
H = TypeVar("H", bound=Handler)


def request(kind: int, number: int) -> Callable[[H], H]:
    """Decorator: the handler of a control request, by bmRequestType and bRequest."""

    def decorate(handler: H) -> H:
        entries = getattr(handler, "requests", ())
        handler.requests = (*entries, (kind, number))  # type: ignore[attr-defined]
        return handler

    return decorate


class UsbDevice(Device):
    """What every device does. ``notify`` is called when one has something to say that it had not before."""

    title = "USB device"
    #: the name of the kind in options and commands
    kind: ClassVar[str] = ""
    low_speed: ClassVar[bool] = False
    STATE: ClassVar[tuple[str, ...]] = (
        "address",
        "configured",
        "toggles",
        "_halted",
        "_remote_wakeup",
        "_setup",
        "_control_data",
        "_control_done",
        "_new_address",
    )
    _requests: ClassVar[dict[tuple[int, int], str]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found = dict(cls._requests)
        for base in reversed(cls.__mro__):
            for name, item in vars(base).items():
                for entry in getattr(item, "requests", ()):
                    found[entry] = name
        cls._requests = found

    def __init__(self, name: str, description: Descriptors, log: GuestLog | None = None) -> None:
        self.descriptors = description
        self.endpoints = description.endpoints()
        self.notify: Callable[[], None] = lambda: None
        self._clear()
        super().__init__(name, log)

    def _clear(self) -> None:
        self.address = 0
        self.configured = 0
        #: the next packet's DATA0 or DATA1, a bit for each endpoint address (IN: 16 bits higher)
        self.toggles = 0
        #: endpoint addresses that answer STALL until the host clears that
        self._halted: list[int] = []
        self._remote_wakeup = False
        #: the request that endpoint 0 is at: five numbers, or none
        self._setup: list[int] = []
        #: what endpoint 0 still has to send, or what it has received; None: it answers STALL
        self._control_data: bytes | None = None
        self._control_done = True
        self._new_address = -1

    def reset(self) -> None:
        """A reset on the bus (9.1.1.3), or the loss of power."""
        super().reset()
        self._clear()

    # -- what the host controller calls -----------------------------------------------------

    def setup(self, packet: bytes) -> None:
        """A SETUP packet of 8 bytes, which a device always takes (8.5.3)."""
        self.toggles |= 1 | 1 << 16
        fields = Setup(
            packet[0],
            packet[1],
            int.from_bytes(packet[2:4], "little"),
            int.from_bytes(packet[4:6], "little"),
            int.from_bytes(packet[6:8], "little"),
        )
        self._setup = list(fields)
        self._control_done = False
        self._new_address = -1
        if fields.length and not fields.kind & IN:
            self._control_data = b""  # executed when the data are here
            return
        self._execute(fields, b"")

    def give(self, endpoint: int, length: int) -> bytes | Handshake:
        """IN: up to ``length`` bytes of packets; one that is not full is the last. ``length`` may be 0."""
        if endpoint == 0:
            return self._give_control(length)
        address = endpoint | IN
        if not self.configured or address not in self.endpoints or address in self._halted:
            return STALL
        return self.give_data(address, length)

    def take(self, endpoint: int, data: bytes) -> int | Handshake:
        """OUT: how many of the bytes were taken: whole packets, at least one."""
        if endpoint == 0:
            return self._take_control(data)
        if not self.configured or endpoint not in self.endpoints or endpoint in self._halted:
            return STALL
        return self.take_data(endpoint, data)

    # -- endpoint 0 -------------------------------------------------------------------------

    def _execute(self, fields: Setup, data: bytes) -> None:
        name = self._requests.get((fields.kind, fields.request))
        answer = STALL if name is None else getattr(self, name)(fields, data)
        if isinstance(answer, Handshake):
            self._control_data = None
        else:
            self._control_data = (answer or b"")[: fields.length] if fields.kind & IN else b""
            self._control_done = True

    def _give_control(self, length: int) -> bytes | Handshake:
        if not self._setup:
            return STALL
        kind, _, _, _, wanted = self._setup
        if kind & IN and wanted:
            if self._control_data is None:
                return STALL
            part, self._control_data = self._control_data[:length], self._control_data[length:]
            return part
        # the status stage of a request with data for the device, or without any
        if not self._control_done:
            self._execute(Setup(*self._setup), self._control_data or b"")
        if self._control_data is None:
            return STALL
        if self._new_address >= 0:
            self.address, self._new_address = self._new_address, -1
        return b""

    def _take_control(self, data: bytes) -> int | Handshake:
        if not self._setup:
            return STALL
        kind, _, _, _, wanted = self._setup
        if self._control_data is None:
            return STALL
        if kind & IN or not wanted:
            return len(data)  # the status stage
        if len(self._control_data) + len(data) > wanted:
            self._control_data = None
            return STALL
        self._control_data += data
        return len(data)

    # -- standard requests (9.4) ------------------------------------------------------------

    @request(0x80, 6)
    @request(0x81, 6)
    def _get_descriptor(self, setup: Setup, data: bytes) -> bytes | Handshake:
        kind, index, own = setup.value >> 8, setup.value & 0xFF, self.descriptors
        found: bytes | None = None
        match kind:
            case descriptors.DEVICE if index == 0:
                found = own.device()
            case descriptors.CONFIGURATION if index == 0:
                found = own.configuration()
            case descriptors.STRING:
                found = own.string(index)
            case descriptors.HID:
                found = own.hid(setup.target)
            case descriptors.HID_REPORT:
                found = own.reports.get(setup.target)
        return STALL if found is None else found

    @request(0x00, 5)
    def _set_address(self, setup: Setup, data: bytes) -> Handshake | None:
        if setup.value > 127:
            return STALL
        self._new_address = setup.value  # after the status stage: 9.4.6
        return None

    @request(0x80, 8)
    def _get_configuration(self, setup: Setup, data: bytes) -> bytes:
        return bytes((self.configured,))

    @request(0x00, 9)
    def _set_configuration(self, setup: Setup, data: bytes) -> Handshake | None:
        if setup.value > 1:
            return STALL
        self.configured = setup.value
        self.toggles &= 1 | 1 << 16
        self._halted = []
        self.started()
        return None

    @request(0x81, 10)
    def _get_interface(self, setup: Setup, data: bytes) -> bytes | Handshake:
        return b"\0" if self._has_interface(setup.target) else STALL

    @request(0x01, 11)
    def _set_interface(self, setup: Setup, data: bytes) -> Handshake | None:
        if setup.value or not self._has_interface(setup.target):
            return STALL
        self.toggles &= 1 | 1 << 16
        self._halted = []
        return None

    def _has_interface(self, number: int) -> bool:
        return bool(self.configured) and number < len(self.descriptors.interfaces)

    @request(0x80, 0)
    @request(0x81, 0)
    @request(0x82, 0)
    def _get_status(self, setup: Setup, data: bytes) -> bytes | Handshake:
        match setup.kind & 0x1F:
            case 0:
                return bytes((self._remote_wakeup << 1, 0))
            case 1:
                return b"\0\0" if self._has_interface(setup.target) else STALL
        if setup.target & 0x7F and setup.target not in self.endpoints:
            return STALL
        return bytes((setup.target in self._halted, 0))

    @request(0x00, 1)
    @request(0x00, 3)
    def _change_device_feature(self, setup: Setup, data: bytes) -> Handshake | None:
        if setup.value != _REMOTE_WAKEUP or not self.descriptors.remote_wakeup:
            return STALL
        self._remote_wakeup = setup.request == 3
        return None

    @request(0x02, 1)
    @request(0x02, 3)
    def _change_endpoint_feature(self, setup: Setup, data: bytes) -> Handshake | None:
        address = setup.target
        if setup.value != _ENDPOINT_HALT or (address & 0x7F and address not in self.endpoints):
            return STALL
        if not address & 0x7F:
            return None
        if setup.request == 3:
            self.halt(address)
        else:
            if address in self._halted:
                self._halted.remove(address)
            self.toggles &= ~(1 << ((address & 15) + (16 if address & IN else 0)))  # 9.4.5
            self.halt_cleared(address)
        return None

    # -- what a kind of device has of its own -----------------------------------------------

    def give_data(self, endpoint: int, length: int) -> bytes | Handshake:
        """IN of an endpoint that is there (its address, with bit 7) and not halted; see :meth:`give`."""
        return STALL

    def take_data(self, endpoint: int, data: bytes) -> int | Handshake:
        """OUT of an endpoint that is there and not halted; see :meth:`take`."""
        return STALL

    def started(self) -> None:
        """The host has chosen a configuration, or none."""

    def halt_cleared(self, endpoint: int) -> None:
        """The host lets a halted endpoint go on."""

    def halt(self, endpoint: int) -> None:
        """Let an endpoint answer STALL from now on."""
        if endpoint not in self._halted:
            self._halted.append(endpoint)

    def halted(self, endpoint: int) -> bool:
        """Whether an endpoint answers STALL."""
        return endpoint in self._halted

    @property
    def may_wake(self) -> bool:
        """The host allows it to wake what is suspended (9.4.9, remote wake-up)."""
        return self._remote_wakeup and bool(self.configured)

    @property
    def identity(self) -> str:
        """What tells it from another of its kind, so that a saved state is put into none but this."""
        return ""

    # -- for people -------------------------------------------------------------------------

    @property
    def speed(self) -> str:
        """In Mbit/s, as USB has it."""
        return "1.5" if self.low_speed else "12"

    def facts(self) -> Iterator[Fact]:
        """How far the host is with it."""
        yield Fact("product", self.descriptors.product_name)
        yield Fact("address", self.address)
        yield Fact("configured", bool(self.configured))
