"""Atmel AT24C08: the 1024-byte serial EEPROM on the mini2440's I2C bus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dbgemu.target.chips.flash_array import Backing
from dbgemu.target.clock import VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog

SIZE = 1024
PAGE = 16
#: device address with A2 at ground; its two low bits choose a block of 256 bytes
ADDRESS = 0x50

#: tWR of the data sheet: while the array is written, the chip does not answer to its address
WRITE_CYCLE_NS = 5_000_000


class At24c08(Device):
    """An I2C slave (see :class:`dbgemu.target.s3c2440.i2c.I2cDevice`) at addresses 0x50 to 0x53.

    ``contents`` is the array, 1024 bytes, all FF when blank; ``backing`` keeps it. It has no registers.
    """

    title = "AT24C08 serial EEPROM"
    STATE = ("contents", "_pointer", "_latch", "_addressed", "_busy_until")

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        contents: bytearray | None = None,
        backing: Backing | None = None,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        if contents is None:
            contents = bytearray(backing.read(0, SIZE) if backing is not None else b"\xff" * SIZE)
        if len(contents) != SIZE:
            raise ValueError(f"the contents of {name} are {len(contents)} bytes, not {SIZE}")
        self.clock = clock
        self.contents = contents
        self._keeper = backing if backing is not None and backing.writable else None
        self._busy_until = 0
        self._pointer = 0
        self._to_idle()

    def _to_idle(self) -> None:
        # written bytes wait here, by their place in the page, for the STOP that starts the write
        self._latch: list[int | None] = [None] * PAGE
        self._addressed = False

    @property
    def writes_image(self) -> bool:
        """Whether what the guest changes goes to an image."""
        return self._keeper is not None

    def reset(self) -> None:
        """Power-on: the array keeps its contents, a write cycle that runs is not cut short."""
        super().reset()
        self._to_idle()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, the contents into the array that the chip was made with."""
        array = self.contents
        super().load(state)
        array[:] = self.contents
        self.contents = array
        if self._keeper is not None:
            self._keeper.write(0, bytes(array))

    def facts(self) -> Iterator[Fact]:
        """Where it is on the bus, and what it is doing."""
        yield Fact("size", SIZE, "bytes")
        yield Fact("addresses", f"0x{ADDRESS:02x} to 0x{ADDRESS + 3:02x}")
        yield Fact("address counter", f"0x{self._pointer:03x}")
        yield Fact("write cycle", self.clock.now < self._busy_until)
        yield Fact("bytes not FF", sum(byte != 0xFF for byte in self.contents))

    def start(self, address: int, read: bool) -> bool:
        """START: True when one of this chip's addresses is meant and no write cycle runs."""
        self._to_idle()
        if address & ~3 != ADDRESS or self.clock.now < self._busy_until:
            return False
        self._pointer = (address & 3) << 8 | self._pointer & 0xFF
        self._addressed = read
        return True

    def put(self, byte: int) -> bool:
        """The word address, then data: the latter go round within one page of 16 bytes."""
        if self._addressed:
            self._latch[self._pointer % PAGE] = byte
            self._pointer = self._pointer & ~(PAGE - 1) | (self._pointer + 1) % PAGE
        else:
            self._pointer = self._pointer & ~0xFF | byte
            self._addressed = True
        return True

    def get(self) -> int:
        """The byte at the address counter, which goes on through the whole array."""
        value = self.contents[self._pointer]
        self._pointer = (self._pointer + 1) % SIZE
        return value

    def stop(self) -> None:
        """STOP: latched bytes are written, which keeps the chip busy for 5 ms."""
        page = self._pointer & ~(PAGE - 1)
        written = [(place, byte) for place, byte in enumerate(self._latch) if byte is not None]
        for place, byte in written:
            self.contents[page + place] = byte
        if written:
            self._busy_until = self.clock.now + WRITE_CYCLE_NS
            if self._keeper is not None:
                self._keeper.write(page, bytes(self.contents[page : page + PAGE]))
        self._to_idle()
