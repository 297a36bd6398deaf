"""Registers and packet memory of the DM9000 (Davicom data sheets of DM9000E and DM9000A)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dbgemu.target.chips import dm9000_checksum
from dbgemu.target.chips.dm9000_phy import Dm9000Phy
from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, reads, writes

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
LINK_CHANGED, OVERFLOWED_COUNT, OVERFLOWED, SENT, RECEIVED = 0x20, 0x08, 0x04, 0x02, 0x01
RELOAD, EEPROM_WRITE_ENABLE, SELECT_PHY, READ, WRITE, BUSY = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01

# Only a power-on reset changes these.
_KEPT = ("GPCR", "GPR", "INTCR", *(f"PAR{i}" for i in range(6)), *(f"MAR{i}" for i in range(8)))


class Dm9000Mac(Device):
    """The chip behind its two ports: a register at each index, 8 bits wide (see Dm9000)."""

    title = "DM9000 registers"
    size = 0x100
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
    )

    NCR = Register(
        0x00,
        width=8,
        doc="Network control",
        fields=(
            Field("EXT_PHY", 7, doc="external PHY"),
            Field("WAKEEN", 6, doc="wake-up events"),
            Field("FCOL", 4, doc="force collision"),
            Field("FDX", 3, doc="full duplex"),
            Field("LBK", 2, 1, "loopback", {0: "normal", 1: "MAC", 2: "PHY digital", 3: "PHY analog"}),
            Field("RST", 0, doc="software reset, clears itself after 10 us"),
        ),
    )
    NSR = Register(
        0x01,
        width=8,
        doc="Network status",
        fields=(
            Field("SPEED", 7, values={0: "100 Mbit/s", 1: "10 Mbit/s"}),
            Field("LINKST", 6, doc="link is up"),
            Field("WAKEST", 5, doc="wake-up event"),
            Field("TX2END", 3, doc="packet II sent; cleared by reading"),
            Field("TX1END", 2, doc="packet I sent; cleared by reading"),
            Field("RXOV", 1, doc="receive memory overflowed"),
        ),
    )
    TCR = Register(
        0x02,
        width=8,
        doc="Transmit control",
        fields=(
            Field("TJDIS", 6, doc="no jabber control"),
            Field("EXCECM", 5, doc="keep trying after 15 collisions"),
            Field("PAD_DIS2", 4, doc="packet II is not padded"),
            Field("CRC_DIS2", 3, doc="packet II without checksum"),
            Field("PAD_DIS1", 2, doc="packet I is not padded"),
            Field("CRC_DIS1", 1, doc="packet I without checksum"),
            Field("TXREQ", 0, doc="send; clears itself when sent"),
        ),
    )
    TSR1 = Register(0x03, width=8, access="ro", doc="Status of packet I (bit 5: no carrier)")
    TSR2 = Register(0x04, width=8, access="ro", doc="Status of packet II (bit 5: no carrier)")
    RCR = Register(
        0x05,
        width=8,
        doc="Receive control",
        fields=(
            Field("WTDIS", 6, doc="no watchdog for packets over 2048 bytes"),
            Field("DIS_LONG", 5, doc="drop packets over 1522 bytes"),
            Field("DIS_CRC", 4, doc="drop packets with a wrong checksum"),
            Field("ALL", 3, doc="pass all multicast"),
            Field("RUNT", 2, doc="pass packets under 64 bytes"),
            Field("PRMSC", 1, doc="promiscuous"),
            Field("RXEN", 0, doc="receiver on"),
        ),
    )
    RSR = Register(0x06, width=8, access="ro", doc="Status of the last received packet (bit 6: multicast)")
    ROCR = Register(0x07, width=8, access="ro", doc="Packets lost to overflows; bit 7: counter wrapped")
    BPTR = Register(0x08, width=8, reset=0x37, doc="Back pressure threshold")
    FCTR = Register(0x09, width=8, reset=0x38, doc="Flow control thresholds, in KB")
    FCR = Register(0x0A, width=8, doc="Flow control")
    EPCR = Register(
        0x0B,
        width=8,
        doc="EEPROM and PHY control",
        fields=(
            Field("REEP", 5, doc="load the node address from the EEPROM"),
            Field("WEP", 4, doc="EEPROM write enable"),
            Field("EPOS", 3, values={0: "EEPROM", 1: "PHY"}),
            Field("ERPRR", 2, doc="read"),
            Field("ERPRW", 1, doc="write"),
            Field("ERRE", 0, doc="busy"),
        ),
    )
    EPAR = Register(
        0x0C,
        width=8,
        reset=0x40,
        doc="EEPROM or PHY address",
        fields=(Field("PHY_ADR", 7, 6, "PHY address"), Field("EROA", 5, 0, "word or register")),
    )
    EPDRL = Register(0x0D, width=8, doc="EEPROM or PHY data, low")
    EPDRH = Register(0x0E, width=8, doc="EEPROM or PHY data, high")
    WCR = Register(0x0F, width=8, doc="Wake-up control")
    PAR0 = Register(0x10, width=8, doc="Node address, first byte")
    PAR1 = Register(0x11, width=8, doc="Node address")
    PAR2 = Register(0x12, width=8, doc="Node address")
    PAR3 = Register(0x13, width=8, doc="Node address")
    PAR4 = Register(0x14, width=8, doc="Node address")
    PAR5 = Register(0x15, width=8, doc="Node address, last byte")
    MAR0 = Register(0x16, width=8, doc="Multicast hash table, bits 7 to 0")
    MAR1 = Register(0x17, width=8, doc="Multicast hash table")
    MAR2 = Register(0x18, width=8, doc="Multicast hash table")
    MAR3 = Register(0x19, width=8, doc="Multicast hash table")
    MAR4 = Register(0x1A, width=8, doc="Multicast hash table")
    MAR5 = Register(0x1B, width=8, doc="Multicast hash table")
    MAR6 = Register(0x1C, width=8, doc="Multicast hash table")
    MAR7 = Register(0x1D, width=8, doc="Multicast hash table, bits 63 (broadcast) to 56")
    GPCR = Register(0x1E, width=8, reset=0x01, doc="General purpose pins: 1 is output")
    GPR = Register(
        0x1F,
        width=8,
        reset=0x01,
        doc="General purpose pins",
        fields=(Field("PHYPD", 0, doc="the internal PHY is off"),),
    )
    TRPAL = Register(0x22, width=8, access="ro", volatile=True, doc="Transmit read pointer, low")
    TRPAH = Register(0x23, width=8, access="ro", volatile=True, doc="Transmit read pointer, high")
    RWPAL = Register(0x24, width=8, access="ro", volatile=True, doc="Receive write pointer, low")
    RWPAH = Register(0x25, width=8, access="ro", volatile=True, doc="Receive write pointer, high")
    VIDL = Register(0x28, width=8, reset=0x46, access="ro", doc="Vendor 0A46, low")
    VIDH = Register(0x29, width=8, reset=0x0A, access="ro", doc="Vendor 0A46, high")
    PIDL = Register(0x2A, width=8, reset=0x00, access="ro", doc="Product 9000, low")
    PIDH = Register(0x2B, width=8, reset=0x90, access="ro", doc="Product 9000, high")
    CHIPR = Register(0x2C, width=8, access="ro", doc="Chip revision: 19 is DM9000A, 1A is DM9000B")
    TCR2 = Register(0x2D, width=8, doc="Transmit control 2")
    OCR = Register(0x2E, width=8, doc="Operation control")
    SMCR = Register(0x2F, width=8, doc="Special mode control")
    ETXCSR = Register(0x30, width=8, doc="Early transmit control")
    TCSCR = Register(
        0x31,
        width=8,
        doc="Transmit checksum insertion",
        fields=(Field("UDPCSE", 2, doc="UDP"), Field("TCPCSE", 1, doc="TCP"), Field("IPCSE", 0, doc="IP")),
    )
    RCSCSR = Register(
        0x32,
        width=8,
        writable=0x03,
        doc="Receive checksum status",
        fields=(
            Field("UDPS", 7, doc="wrong UDP checksum"),
            Field("TCPS", 6, doc="wrong TCP checksum"),
            Field("IPS", 5, doc="wrong IP checksum"),
            Field("UDPP", 4, doc="UDP"),
            Field("TCPP", 3, doc="TCP"),
            Field("IPP", 2, doc="IP"),
            Field("RCSEN", 1, doc="check received packets"),
            Field("DCSE", 0, doc="drop those with wrong checksums"),
        ),
    )
    BUSCR = Register(0x38, width=8, reset=0x61, doc="Bus control")
    INTCR = Register(
        0x39,
        width=8,
        doc="Interrupt pin",
        fields=(Field("TYPE", 1, doc="open collector"), Field("POL", 0, doc="active low")),
    )
    MRCMDX = Register(0xF0, width=16, access="ro", doc="Read memory, pointer stays")
    MRCMDX1 = Register(0xF1, width=16, access="ro", doc="Read memory, pointer stays")
    MRCMD = Register(0xF2, width=16, access="ro", doc="Read memory, pointer moves on")
    MRRL = Register(0xF4, width=8, volatile=True, doc="Memory read pointer, low")
    MRRH = Register(0xF5, width=8, volatile=True, doc="Memory read pointer, high")
    MWCMDX = Register(0xF6, width=16, access="wo", doc="Write memory, pointer stays")
    MWCMD = Register(0xF8, width=16, access="wo", doc="Write memory, pointer moves on")
    MWRL = Register(0xFA, width=8, volatile=True, doc="Memory write pointer, low")
    MWRH = Register(0xFB, width=8, volatile=True, doc="Memory write pointer, high")
    TXPLL = Register(0xFC, width=8, doc="Length of the packet to send, low")
    TXPLH = Register(0xFD, width=8, doc="Length of the packet to send, high")
    ISR = Register(
        0xFE,
        width=8,
        doc="Interrupt status; write 1 to clear",
        fields=(
            Field("IOMODE", 7, 6, "data width", {0: "16 bits", 1: "32 bits", 2: "8 bits"}),
            Field("LNKCHG", 5, doc="link changed (not DM9000E)"),
            Field("UDRUN", 4, doc="transmit underrun (not DM9000E)"),
            Field("ROO", 3, doc="overflow counter overflowed"),
            Field("ROS", 2, doc="receive overflow"),
            Field("PT", 1, doc="packet sent"),
            Field("PR", 0, doc="packet received"),
        ),
    )
    IMR = Register(
        0xFF,
        width=8,
        doc="Interrupt mask: 1 is on",
        fields=(
            Field("PAR", 7, doc="pointers wrap at the ends of their memory"),
            Field("LNKCHGI", 5, doc="link changed"),
            Field("UDRUNI", 4, doc="transmit underrun"),
            Field("ROOI", 3, doc="overflow counter overflowed"),
            Field("ROI", 2, doc="receive overflow"),
            Field("PTI", 1, doc="packet sent"),
            Field("PRI", 0, doc="packet received"),
        ),
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
        self.transmit: Callable[[bytes], None] | None = None
        self.eeprom = eeprom
        self.sram = bytearray(SRAM_SIZE)
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
        self._tx_timer.cancel()
        self._tx_second = False
        self._tx_length = 0
        self._write_pointer = self._tx_pointer = 0
        self._read_pointer = self._rx_pointer = RX_START
        self.sram[RX_START] = 0

    def _load_node_address(self) -> None:
        # The EEPROM's word 3 says in its two low bits whether words 0 to 2 are meant (01) or blank.
        if self.eeprom[3] & 3 == 1:
            for i in range(6):
                self.__dict__[f"PAR{i}"] = self.eeprom[i >> 1] >> 8 * (i & 1) & 0xFF

    def save(self) -> dict[str, Any]:
        """The complete state as plain data, the PHY's included."""
        return {**super().save(), "phy": self.phy.save()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, the interrupt pin included."""
        super().load({name: value for name, value in state.items() if name != "phy"})
        self.phy.load(state["phy"])
        self._update()

    def facts(self) -> Iterator[Fact]:
        """Address, link, and the pointers into packet memory."""
        yield Fact("node address", ":".join(f"{self.__dict__[f'PAR{i}']:02x}" for i in range(6)))
        yield Fact("cable", "in" if self.phy.cable else "out")
        yield Fact("PHY", "powered" if self.phy.powered else "off")
        yield Fact("link", "up, 100 Mbit/s, full duplex" if self.phy.link else "down")
        yield Fact("receiver", "on" if self.RCR & RX_ENABLE else "off")
        yield Fact("sending", self._tx_timer.deadline is not None)
        yield Fact("received up to, read up to", f"0x{self._rx_pointer:04x}, 0x{self._read_pointer:04x}")

    # -- control and status -------------------------------------------------------------------

    @NCR.read
    def _read_control(self) -> int:
        value = self.NCR
        if self.clock.now < self._reset_until:
            value |= SOFT_RESET
        return value | FULL_DUPLEX if self.phy.link and not value & EXT_PHY else value

    @NCR.write
    def _write_control(self, value: int) -> None:
        if value & SOFT_RESET:
            self._soft_reset()
        else:
            self.NCR = value & 0xDE

    @NSR.read
    def _read_status(self) -> int:
        value = self._peek_status()
        self.NSR &= ~(TX1_END | TX2_END)
        return value

    @NSR.peek
    def _peek_status(self) -> int:
        return self.NSR | LINK_UP if self.phy.link else self.NSR

    @NSR.write
    def _write_status(self, value: int) -> None:
        self.NSR &= ~(value & (WAKE | TX1_END | TX2_END))

    @ISR.write
    def _clear_interrupts(self, value: int) -> None:
        self.ISR &= ~(value & 0x3F)
        self._update()

    @writes(IMR, INTCR)
    def _write_interrupt_setup(self, register: Register, value: int) -> None:
        self.__dict__[register.name] = value
        self._update()

    def _raise(self, cause: int) -> None:
        self.ISR |= cause
        self._update()

    def _update(self) -> None:
        self.interrupt.set(bool(self.ISR & self.IMR & 0x3F) ^ (self.INTCR & 1))

    def _link_changed(self, up: bool) -> None:
        if self.revision:
            self._raise(LINK_CHANGED)

    @GPR.write
    def _write_pins(self, value: int) -> None:
        self.GPR = value
        self.phy.set_power(not value & 1)

    # -- EEPROM and PHY -----------------------------------------------------------------------

    @EPCR.write
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

    @reads(TRPAL, TRPAH, RWPAL, RWPAH, MRRL, MRRH, MWRL, MWRH)
    def _read_address(self, register: Register) -> int:
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

    @writes(MRRL, MRRH, MWRL, MWRH)
    def _write_address(self, register: Register, value: int) -> None:
        name = "_read_pointer" if register.name.startswith("MRR") else "_write_pointer"
        old: int = self.__dict__[name]
        new = value << 8 | old & 0xFF if register.name[-1] == "H" else old & 0xFF00 | value
        self.__dict__[name] = new & (SRAM_SIZE - 1)

    def _word(self) -> int:
        at = self._read_pointer
        return self.sram[at] | self.sram[at + 1 & SRAM_SIZE - 1] << 8

    @reads(MRCMDX, MRCMDX1)
    def _peek_memory(self, register: Register) -> int:
        return self._word()

    @MRCMD.peek
    def _peek_next(self) -> int:
        return self._word()

    @MRCMD.read
    def _read_memory(self) -> int:
        value = self._word()
        self._read_pointer += 2
        if self._read_pointer >= SRAM_SIZE:
            self._read_pointer = RX_START
        return value

    @MWCMDX.write
    def _write_memory_here(self, value: int) -> None:
        at = self._write_pointer
        self.sram[at] = value & 0xFF
        self.sram[at + 1 & SRAM_SIZE - 1] = value >> 8 & 0xFF

    @MWCMD.write
    def _write_memory(self, value: int) -> None:
        self._write_memory_here(value)
        at = self._write_pointer + 2
        if at >= SRAM_SIZE:
            at = RX_START
        elif at - 2 < RX_START <= at:
            at = 0
        self._write_pointer = at

    # -- transmission -------------------------------------------------------------------------

    @TCR.write
    def _write_transmit(self, value: int) -> None:
        running = self.TCR & TX_REQUEST
        self.TCR = value & 0x7F | running
        if value & TX_REQUEST and not running:
            self._tx_length = (self.TXPLH << 8 | self.TXPLL) % RX_START
            self._tx_timer.start_in(BYTE_NS * (max(self._tx_length, 60) + FRAME_OVERHEAD))

    def _sent(self) -> None:
        """The packet at the transmit pointer has left."""
        length = self._tx_length
        memory = self.sram[:RX_START]
        frame = bytes((memory + memory)[self._tx_pointer : self._tx_pointer + length])
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
        elif self.transmit is not None:
            self.transmit(frame)

    # -- reception ----------------------------------------------------------------------------

    def store(self, frame: bytes) -> bool:
        """A frame without its checksum comes in. False when there was no room for it."""
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
        capacity = SRAM_SIZE - RX_START
        used = (self._rx_pointer - self._read_pointer) % capacity
        # the next header's first byte must stay 0, and full must not look like empty
        if used + len(data) + 4 >= capacity:
            self._overflow()
            return False
        self.NSR &= ~RX_OVERFLOW
        at = self._rx_pointer
        first = min(len(data), SRAM_SIZE - at)
        self.sram[at : at + first] = data[:first]
        self.sram[RX_START : RX_START + len(data) - first] = data[first:]
        self._rx_pointer = RX_START + (at - RX_START + len(data)) % capacity
        self.sram[self._rx_pointer] = 0
        self._raise(RECEIVED)
        return True

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
        return frame[:6] == bytes(self.__dict__[f"PAR{i}"] for i in range(6))

    def _overflow(self) -> None:
        self.NSR |= RX_OVERFLOW
        lost = (self.ROCR & 0x7F) + 1
        self.ROCR = self.ROCR & 0x80 | (0x80 if lost > 0x7F else 0) | lost & 0x7F
        self._raise(OVERFLOWED | (OVERFLOWED_COUNT if lost > 0x7F else 0))
