"""Registers and packet memory of the DM9000 (Davicom data sheets of DM9000E and DM9000A)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dbgemu.target.chips import dm9000_checksum
from dbgemu.target.chips.dm9000_phy import Dm9000Phy
from dbgemu.target.chips.dm9000_registers import Dm9000Registers as Regs
from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Register, reads, writes
from dbgemu.target.stream import StreamPort

SRAM_SIZE, RX_START = 0x4000, 0x0C00
EEPROM_WORDS = 64

RESET_NS = 10_000
#: 64 bits of a management frame at 2.5 MHz, a read of the serial EEPROM, a write cycle of it
PHY_NS, EEPROM_READ_NS, EEPROM_WRITE_NS = 25_600, 150_000, 2_000_000
BYTE_NS = 80
#: preamble and start delimiter, checksum, and the gap between frames
FRAME_OVERHEAD = 8 + 4 + 12

EXT_PHY, FULL_DUPLEX, LOOPBACK, SOFT_RESET = 0x80, 0x08, 0x06, 0x01
LINK_UP, TX2_END, TX1_END, RX_OVERFLOW, WAKE = 0x40, 0x08, 0x04, 0x02, 0x20
TX_REQUEST, NO_CARRIER = 0x01, 0x20
RX_ENABLE, PROMISCUOUS, ALL_MULTICAST, DROP_LONG = 0x01, 0x02, 0x08, 0x20
#: indices of the ports into packet memory whose pointers move
READ_MEMORY, WRITE_MEMORY = Regs.MRCMD.offset, Regs.MWCMD.offset
WAKE_ENABLE, WAKE_BY_LINK, WAKE_BY_MAGIC, LINK_WOKE, MAGIC_WOKE = 0x40, 0x20, 0x08, 0x04, 0x01
PAUSE_BY_THRESHOLDS = 0x20
#: the longest pause: FFFF slots of 512 bits (IEEE 802.3 annex 31B)
PAUSE_NS = 0xFFFF * 512 * 10
LINK_CHANGED, OVERFLOWED_COUNT, OVERFLOWED, SENT, RECEIVED = 0x20, 0x08, 0x04, 0x02, 0x01
RELOAD, EEPROM_WRITE_ENABLE, SELECT_PHY, READ, WRITE, BUSY = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01

# Only a power-on reset changes these.
_KEPT = ("GPCR", "GPR", "INTCR", *(f"PAR{i}" for i in range(6)), *(f"MAR{i}" for i in range(8)))


class Dm9000Mac(Regs):
    """The chip behind its two ports (see Dm9000)."""

    STATE = (
        "sram",
        "eeprom",
        "_read_pointer",
        "_write_pointer",
        "_tx_pointer",
        "_rx_pointer",
        "_tx_timer",
        "_tx_length",
        "_tx_second",
        "_management",
        "_reset_until",
        "_paused_until",
    )

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        interrupt: Line,
        revision: int,
        eeprom: list[int],
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clock = clock
        self.interrupt = interrupt
        self.revision = revision
        self.phy = Dm9000Phy(f"{name}.phy", clock=clock, on_link=self._link_changed, log=log)
        #: takes the frames that are sent
        self.transmit: Callable[[bytes], None] = lambda frame: None
        self.eeprom = eeprom
        #: the data port while INDEX is MRCMD or MWCMD: packet memory itself, up to where a pointer wraps
        self.stream = StreamPort(SRAM_SIZE, sizes=2)
        self.sram = self.stream.buffer
        self._tx_timer = Timer(clock, self._sent)
        self._management = Timer(clock, self._managed)
        self._power_on()

    # -- resets and state ---------------------------------------------------------------------

    def reset(self) -> None:
        """The PWRST# pin."""
        self.phy.reset()
        super().reset()
        self._power_on()
        self._update()

    def _power_on(self) -> None:
        self.CHIPR = self.revision
        self._management.cancel()
        self._load_node_address()
        self._empty_memory()
        self._reset_until = 0

    def _soft_reset(self) -> None:
        kept = {name: self.__dict__[name] for name in _KEPT}
        self.reset_registers()
        self.__dict__.update(kept)
        self.CHIPR = self.revision
        self._management.cancel()
        self._empty_memory()
        self._reset_until = self.clock.now + RESET_NS
        self._update()

    def _empty_memory(self) -> None:
        self.close_stream()
        self._tx_timer.cancel()
        self._tx_second = False
        self._tx_length = 0
        self._write_pointer = self._tx_pointer = 0
        self._read_pointer = self._rx_pointer = RX_START
        self._paused_until = 0
        self.sram[RX_START] = 0

    def _load_node_address(self) -> None:
        # The EEPROM's word 3 says in its two low bits whether words 0 to 2 are meant (01) or blank.
        if self.eeprom[3] & 3 == 1:
            for i in range(6):
                self.__dict__[f"PAR{i}"] = self.eeprom[i >> 1] >> 8 * (i & 1) & 0xFF

    def save(self) -> dict[str, Any]:
        """The complete state as plain data, the PHY's included."""
        self.settle()
        return {**super().save(), "phy": self.phy.save()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, the interrupt pin included."""
        self.close_stream()
        super().load({name: value for name, value in state.items() if name not in ("phy", "sram")})
        self.sram[:] = state["sram"]
        self.phy.load(state["phy"])
        self._update()

    def facts(self) -> Iterator[Fact]:
        """Address, link, and the pointers into packet memory."""
        self.settle()
        yield Fact("node address", ":".join(f"{self.__dict__[f'PAR{i}']:02x}" for i in range(6)))
        yield Fact("cable", "in" if self.phy.cable else "out")
        yield Fact("PHY", "powered" if self.phy.powered else "off")
        yield Fact("link", "up, 100 Mbit/s, full duplex" if self.phy.link else "down")
        yield Fact("receiver", "on" if self.RCR & RX_ENABLE else "off")
        yield Fact("sending", self._tx_timer.deadline is not None)
        yield Fact("received up to, read up to", f"0x{self._rx_pointer:04x}, 0x{self._read_pointer:04x}")

    # -- control and status -------------------------------------------------------------------

    @Regs.NCR.read
    def _read_control(self) -> int:
        value = self.NCR
        if self.clock.now < self._reset_until:
            value |= SOFT_RESET
        return value | FULL_DUPLEX if self.phy.link and not value & EXT_PHY else value

    @Regs.NCR.write
    def _write_control(self, value: int) -> None:
        if value & SOFT_RESET:
            self._soft_reset()
        else:
            self.NCR = value & 0xDE
            if not value & WAKE_ENABLE:
                self.NSR &= ~WAKE

    @Regs.NSR.read
    def _read_status(self) -> int:
        value = self._peek_status()
        self.NSR &= ~(TX1_END | TX2_END)
        return value

    @Regs.NSR.peek
    def _peek_status(self) -> int:
        return self.NSR | LINK_UP if self.phy.link else self.NSR

    @Regs.NSR.write
    def _write_status(self, value: int) -> None:
        self.NSR &= ~(value & (WAKE | TX1_END | TX2_END))

    @Regs.ISR.write
    def _clear_interrupts(self, value: int) -> None:
        self.ISR &= ~(value & 0x3F)
        self._update()

    @writes(Regs.IMR, Regs.INTCR)
    def _write_interrupt_setup(self, register: Register, value: int) -> None:
        self.__dict__[register.name] = value
        self._update()

    def _raise(self, cause: int) -> None:
        self.ISR |= cause
        self._update()

    def _update(self) -> None:
        self.interrupt.set(bool(self.ISR & self.IMR & 0x3F) ^ (self.INTCR & 1))

    def _link_changed(self, up: bool) -> None:
        self._wake(WAKE_BY_LINK, LINK_WOKE)
        if self.revision:
            self._raise(LINK_CHANGED)

    def _wake(self, enable: int, cause: int) -> None:
        """Something happened that wakes, if it was asked for. The board does not use the pin PME."""
        if self.NCR & WAKE_ENABLE and self.WCR & enable:
            self.WCR |= cause
            self.NSR |= WAKE

    @Regs.WCR.read
    def _read_wake_up(self) -> int:
        value = self.WCR
        self.WCR &= ~(LINK_WOKE | MAGIC_WOKE)
        return value

    @Regs.WCR.peek
    def _peek_wake_up(self) -> int:
        return self.WCR

    @Regs.FCR.write
    def _write_flow_control(self, value: int) -> None:
        self.FCR = value & 0x39

    @Regs.GPR.write
    def _write_pins(self, value: int) -> None:
        self.GPR = value
        self.phy.set_power(not value & 1)

    # -- EEPROM and PHY -----------------------------------------------------------------------

    @Regs.EPCR.write
    def _write_management(self, value: int) -> None:
        self.EPCR = value & 0x3E
        self._management.cancel()
        if value & (READ | WRITE):
            self.EPCR |= BUSY
            if value & SELECT_PHY:
                self._management.start_in(PHY_NS)
            else:
                self._management.start_in(EEPROM_READ_NS if value & READ else EEPROM_WRITE_NS)
        elif value & RELOAD:
            self._load_node_address()

    def _managed(self) -> None:
        """The serial transfer is over."""
        control, place = self.EPCR, self.EPAR & 0x3F
        self.EPCR &= ~BUSY
        data = self.EPDRH << 8 | self.EPDRL
        if control & SELECT_PHY:
            # The internal PHY has address 1, of which EPAR holds the two low bits.
            present = self.EPAR >> 6 == 1
            if control & READ:
                data = self.phy.mii_read(place & 31) if present else 0xFFFF
            elif present:
                self.phy.mii_write(place & 31, data)
        elif control & READ:
            data = self.eeprom[place]
        elif control & EEPROM_WRITE_ENABLE:
            self.eeprom[place] = data
        self.EPDRH, self.EPDRL = data >> 8, data & 0xFF

    # -- packet memory, as the guest sees it --------------------------------------------------

    def open_stream(self, index: int) -> None:
        """The guest has chosen the port ``index``; only READ_MEMORY and WRITE_MEMORY make a stream.

        The word in front of a wrap is left to the handlers.
        """
        stream = self.stream
        if index == READ_MEMORY:
            stream.position = self._read_pointer
            stream.read_limit = SRAM_SIZE - 2
        elif index == WRITE_MEMORY:
            stream.position = self._write_pointer
            stream.write_limit = (RX_START if self._write_pointer < RX_START else SRAM_SIZE) - 2

    def settle(self) -> None:
        """Bring the pointers to where the stream is."""
        stream = self.stream
        if stream.read_limit:
            self._read_pointer = stream.position
        elif stream.write_limit:
            self._write_pointer = stream.position

    def close_stream(self) -> None:
        """Every access comes to the handlers, whose pointers are where the stream was."""
        self.settle()
        self.stream.read_limit = self.stream.write_limit = 0

    @reads(Regs.TRPAL, Regs.TRPAH, Regs.RWPAL, Regs.RWPAH, Regs.MRRL, Regs.MRRH, Regs.MWRL, Regs.MWRH)
    def _read_address(self, register: Register) -> int:
        self.settle()
        match register.name[:-1]:
            case "TRPA":
                address = self._tx_pointer
            case "RWPA":
                # behind the room that is kept for the next packet's header
                address = self._rx_pointer + 4
            case "MRR":
                address = self._read_pointer
            case _:
                address = self._write_pointer
        return address >> 8 if register.name[-1] == "H" else address & 0xFF

    @writes(Regs.MRRL, Regs.MRRH, Regs.MWRL, Regs.MWRH)
    def _write_address(self, register: Register, value: int) -> None:
        name = "_read_pointer" if register.name.startswith("MRR") else "_write_pointer"
        old: int = self.__dict__[name]
        new = value << 8 | old & 0xFF if register.name[-1] == "H" else old & 0xFF00 | value
        self.__dict__[name] = new & (SRAM_SIZE - 1)

    def _word(self) -> int:
        self.settle()
        at = self._read_pointer
        return self.sram[at] | self.sram[at + 1 & SRAM_SIZE - 1] << 8

    @reads(Regs.MRCMDX, Regs.MRCMDX1)
    def _peek_memory(self, register: Register) -> int:
        return self._word()

    @Regs.MRCMD.peek
    def _peek_next(self) -> int:
        return self._word()

    @Regs.MRCMD.read
    def _read_memory(self) -> int:
        value = self._word()
        self._read_pointer += 2
        if self._read_pointer >= SRAM_SIZE:
            self._read_pointer = RX_START
        return value

    @Regs.MWCMDX.write
    def _write_memory_here(self, value: int) -> None:
        at = self._write_pointer
        self.sram[at] = value & 0xFF
        self.sram[at + 1 & SRAM_SIZE - 1] = value >> 8 & 0xFF

    @Regs.MWCMD.write
    def _write_memory(self, value: int) -> None:
        self._write_memory_here(value)
        at = self._write_pointer + 2
        if at >= SRAM_SIZE:
            at = RX_START
        elif at - 2 < RX_START <= at:
            at = 0
        self._write_pointer = at

    # -- transmission -------------------------------------------------------------------------

    @Regs.TCR.write
    def _write_transmit(self, value: int) -> None:
        running = self.TCR & TX_REQUEST
        self.TCR = value & 0x7F | running
        if value & TX_REQUEST and not running:
            self._tx_length = (self.TXPLH << 8 | self.TXPLL) % RX_START
            self._tx_timer.start_in(BYTE_NS * (max(self._tx_length, 60) + FRAME_OVERHEAD))

    def _sent(self) -> None:
        """The packet at the transmit pointer has left."""
        length = self._tx_length
        start = self._tx_pointer
        frame = bytes(self.sram[start : min(start + length, RX_START)])
        frame += bytes(self.sram[: length - len(frame)])
        self._tx_pointer = (self._tx_pointer + length + (length & 1)) % RX_START
        second, self._tx_second = self._tx_second, not self._tx_second
        carried = self.phy.link or bool(self.NCR & LOOPBACK)
        self.__dict__["TSR2" if second else "TSR1"] = 0 if carried else NO_CARRIER
        self.NSR |= TX2_END if second else TX1_END
        self.TCR &= ~TX_REQUEST
        if carried and frame:
            self._put_on_the_wire(frame)
        self._raise(SENT)

    def _put_on_the_wire(self, frame: bytes) -> None:
        insertion = self.TCSCR
        if insertion & 7 and self.revision:
            frame = dm9000_checksum.insert(
                frame, ip=bool(insertion & 1), tcp=bool(insertion & 2), udp=bool(insertion & 4)
            )
        frame = frame.ljust(60, b"\0")
        if self.NCR & LOOPBACK:
            self.store(frame)
        else:
            self.transmit(frame)

    # -- reception ----------------------------------------------------------------------------

    def store(self, frame: bytes) -> bool:
        """A frame without its checksum comes in. False when there was no room for it."""
        if self.NCR & WAKE_ENABLE and self._is_magic(frame):
            self._wake(WAKE_BY_MAGIC, MAGIC_WOKE)
        if not self._wants(frame):
            return True
        frame = frame.ljust(60, b"\0")
        frame += zlib.crc32(frame).to_bytes(4, "little")
        self.RSR = 0x40 if frame[0] & 1 else 0
        ready = 0x01
        if self.RCSCSR & 2 and self.revision:
            status = dm9000_checksum.check(frame[:-4])
            self.RCSCSR = self.RCSCSR & 3 | status
            if status & 0xE0 and self.RCSCSR & 1:
                return True
            ready |= status
        header = bytes((ready, self.RSR)) + len(frame).to_bytes(2, "little")
        data = header + frame + b"\0" * (len(frame) & 1)
        # the next header's first byte must stay 0, and full must not look like empty
        if len(data) + 4 >= self._free():
            self._overflow()
            return False
        self.NSR &= ~RX_OVERFLOW
        at = self._rx_pointer
        first = min(len(data), SRAM_SIZE - at)
        self.sram[at : at + first] = data[:first]
        self.sram[RX_START : RX_START + len(data) - first] = data[first:]
        self._rx_pointer = RX_START + (at - RX_START + len(data)) % (SRAM_SIZE - RX_START)
        self.sram[self._rx_pointer] = 0
        self._raise(RECEIVED)
        return True

    def _free(self) -> int:
        """Bytes of receive memory that hold nothing."""
        self.settle()
        capacity = SRAM_SIZE - RX_START
        return capacity - (self._rx_pointer - self._read_pointer) % capacity

    def pauses(self) -> bool:
        """The partner was told to pause: memory fell below one threshold and is not above the other yet.

        DM9000A data sheet, FCTR: a pause of the longest time is sent below HWOT, one of no time above
        LWOT; HWOT of 0 is 1 KB.
        """
        if not self.FCR & PAUSE_BY_THRESHOLDS:
            return False
        free, now = self._free(), self.clock.now
        if self._paused_until:
            if free <= (self.FCTR & 15) << 10:
                if now < self._paused_until:
                    return True
                self._paused_until = 0
                return False  # the pause has run out: a frame comes, and is answered by another one
            self._paused_until = 0
        if free < max(self.FCTR >> 4, 1) << 10:
            self._paused_until = now + PAUSE_NS
            return True
        return False

    def node_address(self) -> bytes:
        """What PAR0 to PAR5 hold."""
        return bytes(self.__dict__[f"PAR{i}"] for i in range(6))

    def _is_magic(self, frame: bytes) -> bool:
        """AMD's Magic Packet: six bytes of FF, then the node address sixteen times."""
        return b"\xff" * 6 + self.node_address() * 16 in frame

    def _wants(self, frame: bytes) -> bool:
        """The address filter."""
        control = self.RCR
        if not control & RX_ENABLE or len(frame) < 14:
            return False
        if control & DROP_LONG and len(frame) + 4 > 1522:
            return False
        if control & PROMISCUOUS:
            return True
        if frame[0] & 1:
            # the hash is the low 6 bits of the CRC register, before its final inversion
            bit = ~zlib.crc32(frame[:6]) & 0x3F
            return bool(control & ALL_MULTICAST or self.__dict__[f"MAR{bit >> 3}"] >> (bit & 7) & 1)
        return frame[:6] == self.node_address()

    def _overflow(self) -> None:
        self.NSR |= RX_OVERFLOW
        lost = (self.ROCR & 0x7F) + 1
        self.ROCR = self.ROCR & 0x80 | (0x80 if lost > 0x7F else 0) | lost & 0x7F
        self._raise(OVERFLOWED | (OVERFLOWED_COUNT if lost > 0x7F else 0))
