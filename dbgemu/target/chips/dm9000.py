"""Davicom DM9000: the Ethernet controller on the mini2440's nGCS4, with its 16-bit bus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dbgemu.target.chips.dm9000_mac import (
    BYTE_NS,
    EEPROM_WORDS,
    FRAME_OVERHEAD,
    READ_MEMORY,
    WRITE_MEMORY,
    Dm9000Mac,
)
from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.net import NetPort
from dbgemu.target.registers import Field, Register, RegisterValue

#: values of the chip revision register, by which Linux tells the variants apart
DM9000E, DM9000A, DM9000B = 0x00, 0x19, 0x1A

#: what QEMU gives its first network card
DEFAULT_ADDRESS = bytes.fromhex("525400123456")

#: frames that wait in front of a chip that has paused its partner; more are lost
QUEUED_FRAMES = 1024
#: how often the partner looks whether it may go on
PAUSE_POLL_NS = 20_000

#: where the ports are declared; the pin CMD is address line 2 and the chip sees no other one
PORTS = 0x300

#: what INDEX holds while DATA is a stream
_STREAMED = (READ_MEMORY, WRITE_MEMORY)


def wire_time(frame: bytes) -> int:
    """How long a frame without its checksum takes at 100 Mbit/s, in ns, padding and gap included."""
    return BYTE_NS * (max(len(frame), 60) + FRAME_OVERHEAD)


class Dm9000(Device):
    """The two ports of the chip. What is behind them is in ``mac``, whose index INDEX holds.

    ``port`` is its plug: what is sent goes there, padded to 60 bytes or more, and what comes in takes
    its time on the wire and waits while the chip pauses its partner. ``mac`` is the node address in the
    chip's EEPROM (6 bytes; None: the EEPROM is blank). ValueError for any other length.
    """

    title = "DM9000 Ethernet controller"
    STATE = ("_incoming", "_wire")

    INDEX = Register(
        PORTS, width=16, doc="Index port", fields=(Field("INDEX", 7, 0, "register that DATA reaches"),)
    )
    DATA = Register(
        PORTS + 4,
        width=16,
        sized=True,
        volatile=True,
        doc="Data port",
        fields=(Field("DATA", 15, 0, "the register at INDEX"),),
    )

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        interrupt: Line,
        mac: bytes | None = None,
        revision: int = DM9000A,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        eeprom = [0xFFFF] * EEPROM_WORDS
        if mac is not None:
            if len(mac) != 6:
                raise ValueError(f"a MAC address has 6 bytes, not {len(mac)}")
            eeprom[:4] = [*(int.from_bytes(mac[i : i + 2], "little") for i in (0, 2, 4)), 1]
        self.mac = Dm9000Mac(
            f"{name}.mac", clock=clock, interrupt=interrupt, revision=revision, eeprom=eeprom, log=log
        )
        self.port = NetPort()
        self.port.on_receive = self._arrive
        self.port.on_link = self.mac.phy.set_cable
        self.mac.transmit = self._send
        self._incoming: list[bytes] = []
        self._wire = Timer(clock, self._arrived)
        chip = self.mac
        self._at_index = {register.offset: register for register in chip.registers.values()}
        self._readers = {index: chip.reader(r) for index, r in self._at_index.items()}
        self._writers = {index: (chip.writer(r), r.mask) for index, r in self._at_index.items()}

    @property
    def address(self) -> bytes:
        """The node address that the chip has at present, 6 bytes."""
        return self.mac.node_address()

    def _send(self, frame: bytes) -> None:
        self.port.transmit(frame)

    def _arrive(self, frame: bytes) -> None:
        """The partner starts to send a frame, behind those that it is sending already."""
        if len(self._incoming) < QUEUED_FRAMES:
            self._incoming.append(frame)
            if self._wire.deadline is None:
                self._wire.start_in(wire_time(frame))

    def _arrived(self) -> None:
        """The first frame is through, if there was no pause."""
        if self.mac.pauses():
            self._wire.start_in(PAUSE_POLL_NS)
            return
        self.receive(self._incoming.pop(0))
        if self._incoming:
            self._wire.start_in(wire_time(self._incoming[0]))

    def receive(self, frame: bytes) -> bool:
        """A frame arrives, from its destination address on and without checksum.

        False when the chip had no room for it (it is lost, as on the wire); frames that the chip's
        filter or a link that is down keeps out count as received.
        """
        return self.mac.store(frame) if self.mac.phy.link else True

    def reset(self) -> None:
        """The PWRST# pin."""
        super().reset()
        self._incoming.clear()
        self._wire.cancel()
        self.mac.reset()

    def save(self) -> dict[str, Any]:
        """The complete state as plain data, of all parts of the chip."""
        return {**super().save(), "mac": self.mac.save()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, the interrupt line included."""
        super().load({name: value for name, value in state.items() if name != "mac"})
        self.mac.load(state["mac"])
        self.mac.open_stream(self.INDEX)
        self.port.link = self.mac.phy.cable

    def dump(self) -> Iterator[RegisterValue]:
        """The ports, then the registers behind them, then the PHY's."""
        yield from super().dump()
        yield from self.mac.dump()
        yield from self.mac.phy.dump()

    def facts(self) -> Iterator[Fact]:
        """Who the chip is on the network, and where its packets are."""
        yield from self.mac.facts()

    def read(self, offset: int, size: int) -> int:
        """A guest's read: only address line 2 is connected, as CMD."""
        value = self._read_data(size) if offset & 4 else self.INDEX
        return value >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def peek(self, offset: int, size: int) -> int:
        """What a read would give, without side effects."""
        return super().peek(PORTS | offset & 7, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """A guest's write: only address line 2 is connected, as CMD."""
        if offset & 4:
            self._write_data(value, size)
        else:
            self._write_index(value)

    @INDEX.write
    def _write_index(self, value: int) -> None:
        if self.INDEX in _STREAMED:
            self.mac.close_stream()
        self.INDEX = index = value & 0xFF
        if index in _STREAMED:
            self.mac.open_stream(index)

    @DATA.peek
    def _peek_data(self) -> int:
        register = self._at_index.get(self.INDEX)
        return self.mac.peeker(register)() if register is not None else 0

    @DATA.read
    def _read_data(self, size: int) -> int:
        reader = self._readers.get(self.INDEX)
        if reader is None:
            self.guest_error(f"read of register 0x{self.INDEX:02x}, which does not exist")
            return 0
        if self.INDEX not in _STREAMED:
            # A 32-bit access is two 16-bit ones on this bus.
            return reader() | reader() << 16 if size == 4 else reader()
        self.mac.close_stream()
        value = reader() | reader() << 16 if size == 4 else reader()
        self.mac.open_stream(self.INDEX)
        return value

    @DATA.write
    def _write_data(self, value: int, size: int) -> None:
        found = self._writers.get(self.INDEX)
        if found is None:
            self.guest_error(f"write of 0x{value:x} to register 0x{self.INDEX:02x}, which does not exist")
            return
        writer, mask = found
        if self.INDEX in _STREAMED:
            self.mac.close_stream()
        writer(value & mask)
        if size == 4:
            writer(value >> 16 & mask)
        if self.INDEX in _STREAMED:
            self.mac.open_stream(self.INDEX)
