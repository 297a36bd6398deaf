"""A host controller driver for tests: endpoints and transfers in memory, as OpenHCI 1.0a has them."""

from __future__ import annotations

import struct

from dbgemu.target.bus import Bus
from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.memory import Memory
from dbgemu.target.s3c2440.usb_host import UsbHost
from dbgemu.target.usb.device import UsbDevice

CONTROL, COMMAND, STATUS, ENABLE, HCCA = 0x04, 0x08, 0x0C, 0x10, 0x18
CONTROL_HEAD, BULK_HEAD, DONE_HEAD, INTERVAL, NUMBER, PERIODIC = 0x20, 0x28, 0x30, 0x34, 0x3C, 0x40
RH_STATUS, PORT1, PORT2 = 0x50, 0x54, 0x58
PLE, IE, CLE, BLE, OPERATIONAL = 4, 8, 0x10, 0x20, 0x80
CLF, BLF = 2, 4
MIE, SO, WDH, SF, UE, RHSC = 1 << 31, 1, 2, 4, 0x10, 0x40
SETUP, OUT, IN = 0, 1, 2
BASE, AREA = 0x30000000, 0x30000100
MS = 1_000_000

#: a transfer that the controller has not touched
UNTOUCHED = 15


class Endpoint:
    """An endpoint descriptor with an empty queue."""

    def __init__(self, driver: Driver, info: int) -> None:
        self.driver = driver
        self.address = driver.allocate(16, 16)
        self.tail = driver.allocate(32, 32)
        driver.poke(self.address, struct.pack("<4I", info, self.tail, self.tail, 0))

    @property
    def head(self) -> int:
        return self.driver.word(self.address + 8)

    @property
    def halted(self) -> bool:
        return bool(self.head & 1)

    @property
    def toggle(self) -> int:
        return self.head >> 1 & 1

    def rearm(self) -> None:
        """Clear the halt."""
        self.driver.poke_word(self.address + 8, self.head & ~1)

    def queue(
        self,
        direction: int,
        data: bytes | int = b"",
        *,
        toggle: int | None = None,
        rounding: bool = True,
        delay: int = 0,
        buffer: int = 0,
    ) -> Transfer:
        """Add a transfer: of these bytes, or with room for so many."""
        driver, length = self.driver, data if isinstance(data, int) else len(data)
        if length and not buffer:
            buffer = driver.allocate(length, 64 if length <= 64 else 4096)
        if not isinstance(data, int) and data:
            driver.poke(buffer, data)
        bits = 0 if toggle is None else 2 | toggle
        flags = UNTOUCHED << 28 | bits << 24 | delay << 21 | direction << 19 | rounding << 18
        end = buffer + length - 1 if length else 0
        return self._append(
            struct.pack("<II", flags, buffer if length else 0), end, Transfer(driver, self.tail, buffer)
        )

    def queue_isochronous(self, frame: int, lengths: list[int], data: bytes = b"") -> Transfer:
        driver = self.driver
        buffer = driver.allocate(max(1, sum(lengths)), 4096)
        driver.poke(buffer, data)
        flags = UNTOUCHED << 28 | len(lengths) - 1 << 24 | frame & 0xFFFF
        transfer = Transfer(driver, self.tail, buffer)
        place = 0
        for number, length in enumerate(lengths):
            driver.poke(transfer.address + 16 + 2 * number, struct.pack("<H", 0xE000 | place))
            place += length
        return self._append(struct.pack("<II", flags, buffer), buffer + place - 1, transfer)

    def _append(self, first: bytes, end: int, transfer: Transfer) -> Transfer:
        following = self.driver.allocate(32, 32)
        self.driver.poke(self.tail, first + struct.pack("<II", following, end))
        self.tail = following
        self.driver.poke_word(self.address + 4, following)
        return transfer


class Transfer:
    """A transfer descriptor."""

    def __init__(self, driver: Driver, address: int, buffer: int) -> None:
        self.driver, self.address, self.buffer = driver, address, buffer

    @property
    def code(self) -> int:
        return self.driver.word(self.address) >> 28

    @property
    def errors(self) -> int:
        return self.driver.word(self.address) >> 26 & 3

    @property
    def current(self) -> int:
        return self.driver.word(self.address + 4)

    def packet(self, number: int) -> tuple[int, int]:
        """Condition and size of an isochronous packet."""
        word = int.from_bytes(self.driver.peek(self.address + 16 + 2 * number, 2), "little")
        return word >> 12, word & 0x7FF

    def data(self, length: int) -> bytes:
        return self.driver.peek(self.buffer, length)


class Driver:
    """The controller in operation, with 1 MiB of memory."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.line = Line("INT_USBH")
        self.bus = Bus()
        self.bus.map(BASE, Memory("ram", 1 << 20))
        self.ohci = UsbHost("ohci", clock=self.clock, interrupt=self.line, bus=self.bus)
        self._free = BASE + 0x1000
        self.write(HCCA, AREA)
        self.write(INTERVAL, 0x27782EDF)
        self.write(PERIODIC, 0x2A2F)
        self.write(RH_STATUS, 1 << 16)
        self.write(CONTROL, OPERATIONAL)
        self.write(ENABLE, MIE | WDH | UE)

    def read(self, register: int) -> int:
        return self.ohci.read(register, 4)

    def write(self, register: int, value: int) -> None:
        self.ohci.write(register, 4, value)

    def allocate(self, length: int, alignment: int) -> int:
        start = -(-self._free // alignment) * alignment
        self._free = start + length
        return start

    def poke(self, address: int, data: bytes) -> None:
        self.bus.poke(address, data)

    def peek(self, address: int, length: int) -> bytes:
        return self.bus.peek(address, length)

    def word(self, address: int) -> int:
        return int.from_bytes(self.peek(address, 4), "little")

    def poke_word(self, address: int, value: int) -> None:
        self.poke(address, value.to_bytes(4, "little"))

    def wait(self, ns: int) -> int:
        """Let time pass; how often something was due."""
        end, count = self.clock.now + ns, 0
        while (deadline := self.clock.next_deadline()) is not None and deadline <= end:
            self.clock.skip_to(deadline)
            self.clock.run_due()
            count += 1
        self.clock.skip_to(end)
        return count

    def plug(self, device: UsbDevice) -> UsbDevice:
        """Plug in, reset the port: the device is at address 0."""
        port = self.ohci.plug(device)
        self.write(PORT1 + 4 * (port - 1), 0x10)
        self.wait(10 * MS)
        assert self.read(PORT1 + 4 * (port - 1)) & 2
        return device

    def finished(self) -> list[int]:
        """Take the done queue: addresses of the transfers, the first that ended first."""
        if not self.read(STATUS) & WDH:
            return []
        place, found = self.word(AREA + 0x84) & ~1, []
        while place:
            found.insert(0, place)
            place = self.word(place + 8)
        self.poke_word(AREA + 0x84, 0)
        self.write(STATUS, WDH)
        return found

    def control_endpoint(self, device: UsbDevice, address: int | None = None) -> Endpoint:
        info = (device.address if address is None else address) | device.descriptors.packet << 16
        return Endpoint(self, info | (1 << 13 if device.low_speed else 0))

    def control(self, device: UsbDevice, setup: bytes, data: bytes = b"") -> tuple[int, bytes]:
        """A control transfer; the condition code, and what the device sent."""
        endpoint = self.control_endpoint(device)
        length = int.from_bytes(setup[6:8], "little")
        to_host = bool(setup[0] & 0x80) and length > 0
        stages = [endpoint.queue(SETUP, setup, toggle=0)]
        if to_host:
            stages.append(endpoint.queue(IN, length, toggle=1))
        elif data:
            stages.append(endpoint.queue(OUT, data, toggle=1))
        stages.append(endpoint.queue(OUT if to_host else IN, toggle=1))
        self.start(CLE, CONTROL_HEAD, endpoint)
        for _ in range(50):
            self.wait(MS)
            if self.finished() and (endpoint.halted or stages[-1].code != UNTOUCHED):
                break
        codes = [stage.code for stage in stages if stage.code != UNTOUCHED]
        if not to_host or codes[-1]:
            return codes[-1], b""
        current = stages[1].current
        received = current - stages[1].buffer if current else length
        return 0, stages[1].data(received)

    def start(self, list_enable: int, head: int, endpoint: Endpoint) -> None:
        """Make ``endpoint`` the control or bulk list."""
        control = self.read(CONTROL)
        self.write(CONTROL, control & ~list_enable)
        self.write(head, endpoint.address)
        self.write(head + 4, 0)
        self.write(CONTROL, control | list_enable)
        self.write(COMMAND, CLF if list_enable == CLE else BLF)

    def set_up(self, device: UsbDevice, address: int = 5) -> UsbDevice:
        """Give the device an address and its configuration."""
        assert self.control(device, struct.pack("<BBHHH", 0, 5, address, 0, 0))[0] == 0
        assert device.address == address
        assert self.control(device, struct.pack("<BBHHH", 0, 9, 1, 0, 0))[0] == 0
        assert device.configured == 1
        return device

    def endpoint(self, device: UsbDevice, address: int, *, isochronous: bool = False) -> Endpoint:
        described = device.endpoints[address]
        direction = 2 if address & 0x80 else 1
        info = device.address | (address & 15) << 7 | direction << 11 | described.packet << 16
        return Endpoint(self, info | (1 << 13 if device.low_speed else 0) | isochronous << 15)

    def schedule(self, endpoint: Endpoint, frames: range = range(32), enable: int = PLE) -> None:
        """Put ``endpoint`` into the periodic lists of these frames."""
        for frame in frames:
            self.poke_word(AREA + 4 * frame, endpoint.address)
        self.write(CONTROL, self.read(CONTROL) | enable)
