"""A small firmware for the USB device controller, in Python: endpoint 0, and an echo from 3 to 1.

It works as firmware does: through registers alone, whenever the interrupt line is high.
"""

from __future__ import annotations

import struct

from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.usb_device import UsbDevice
from dbgemu.target.usb.descriptors import Endpoint, Interface
from dbgemu.target.usb.host_model import UsbHostModel

(
    FUNC_ADDR,
    PWR,
    EP_INT,
    USB_INT,
    EP_INT_EN,
    USB_INT_EN,
    INDEX,
    MAXP,
    CSR1,
    CSR2,
    OUT_CSR1,
    OUT_CSR2,
    COUNT,
) = (
    *(0x140, 0x144, 0x148, 0x158, 0x15C, 0x16C),
    *(0x178, 0x180, 0x184, 0x188, 0x190, 0x194, 0x198),
)
EP0_FIFO, FIFO_STEP = 0x1C0, 4
INTERFACE = Interface(
    0,
    (0xFF, 0, 0),
    (
        Endpoint(0x81, "bulk", 64),
        Endpoint(0x03, "bulk", 64),
        Endpoint(0x82, "interrupt", 8, 10),
        Endpoint(0x04, "isochronous", 32, 1),
    ),
)
DEVICE = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0110, 0xFF, 0, 0, 8, 0x1234, 0x5678, 0x100, 0, 1, 0, 1)
CONFIGURATION = (
    struct.pack("<BBHBBBBB", 9, 2, 9 + len(INTERFACE.pack()), 1, 1, 0, 0xC0, 50) + INTERFACE.pack()
)
STRINGS = {0: b"\x04\x03\x09\x04", 1: bytes((2 + 2 * len("Echo"), 3)) + "Echo".encode("utf-16-le")}


class Firmware:
    """Serves ``udc``. ``echo`` off: what the host sends stays in the FIFO."""

    def __init__(self, udc: UsbDevice) -> None:
        self.udc = udc
        self.echo = True
        self.requests: list[bytes] = []
        self.to_send = b""
        self.received = b""
        self.left = 0
        self.write(USB_INT_EN, 5)
        self.write(EP_INT_EN, 0x1F)
        self.write(PWR, 1)

    def read(self, register: int) -> int:
        return self.udc.read(register, 1)

    def write(self, register: int, value: int) -> None:
        self.udc.write(register, 1, value)

    def service(self) -> None:
        """The interrupt routine."""
        events, endpoints = self.read(USB_INT), self.read(EP_INT)
        self.write(USB_INT, events)
        self.write(EP_INT, endpoints)
        if endpoints & 1:
            self.control()
        if endpoints & 8 and self.echo:
            self.echo_packet()

    def configure(self) -> None:
        for endpoint, size, direction, out in (
            (1, 8, 0x20, 0),
            (2, 1, 0x20, 0),
            (3, 8, 0, 0),
            (4, 4, 0, 0x40),
        ):
            self.write(INDEX, endpoint)
            self.write(MAXP, size)
            self.write(CSR2, direction)
            self.write(OUT_CSR2, out)
            self.write(CSR1, 0x40)
            self.write(OUT_CSR1, 0x80)

    def send(self, endpoint: int, data: bytes) -> None:
        """Make a packet ready."""
        for byte in data:
            self.write(EP0_FIFO + FIFO_STEP * endpoint, byte)
        self.write(INDEX, endpoint)
        self.write(CSR1, 1)

    def take(self, endpoint: int) -> bytes:
        """Unload the packet that came."""
        self.write(INDEX, endpoint)
        count = self.read(COUNT)
        data = bytes(self.read(EP0_FIFO + FIFO_STEP * endpoint) for _ in range(count))
        self.write(OUT_CSR1, 0)
        return data

    def echo_packet(self) -> None:
        data = self.take(3)
        self.received += data
        self.write(INDEX, 1)
        if not self.read(CSR1) & 1:
            self.send(1, data)

    def control(self) -> None:
        self.write(INDEX, 0)
        state = self.read(CSR1)
        if state & 0x04:
            self.write(CSR1, 0)
        if state & 0x10:
            self.write(CSR1, 0x80)
            self.to_send = b""
        if state & 0x01:
            data = bytes(self.read(EP0_FIFO) for _ in range(self.read(COUNT)))
            if self.left:
                self.requests[-1] += data
                self.left -= len(data)
                self.write(CSR1, 0x40 | (0 if self.left else 0x08))
            else:
                self.setup(data)
        elif self.to_send and not state & 0x02:
            self.next_part()

    def next_part(self) -> None:
        part, self.to_send = self.to_send[:8], self.to_send[8:]
        for byte in part:
            self.write(EP0_FIFO, byte)
        self.write(CSR1, 0x02 | (0 if self.to_send else 0x08))

    def setup(self, packet: bytes) -> None:
        self.requests.append(packet)
        kind, request, value, _, length = struct.unpack("<BBHHH", packet)
        if (kind, request) == (0, 5):
            self.write(FUNC_ADDR, 0x80 | value)
        if (kind, request) == (0, 9):
            self.configure()
            self.write(INDEX, 0)
        if kind & 0x80:
            number = value & 0xFF
            found = {1: DEVICE, 2: CONFIGURATION, 3: STRINGS.get(number, b"")}.get(value >> 8, b"")
            if request != 6 or not found:
                self.write(CSR1, 0x60)
                return
            self.to_send = found[:length]
            self.write(CSR1, 0x40)
            self.next_part()
        else:
            self.left = length
            self.write(CSR1, 0x40 | (0 if length else 0x08))


class Bench:
    """Controller, firmware, cable and host, and time."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.line, self.pull_up = Line("INT_USBD"), Line("pull-up", 1)
        self.udc = UsbDevice("udc", clock=self.clock, interrupt=self.line)
        self.host = UsbHostModel("usb_cable", clock=self.clock, device=self.udc, pull_up=self.pull_up)
        self.firmware: Firmware | None = Firmware(self.udc)

    def run(self, milliseconds: int) -> None:
        """Let time pass; the firmware needs 5 us for an interrupt."""
        end = self.clock.now + milliseconds * 1_000_000
        while (deadline := self.clock.next_deadline()) is not None and deadline <= end:
            self.clock.skip_to(deadline)
            self.clock.run_due()
            if self.line.level and self.firmware is not None:
                self.clock.skip(5_000)
                self.firmware.service()
        self.clock.skip_to(end)
