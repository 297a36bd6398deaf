"""The registers of the DM9000 (Davicom data sheets of DM9000E and DM9000A), declared."""

from __future__ import annotations

from dbgemu.target.device import Device
from dbgemu.target.registers import Field, Register


class Dm9000Registers(Device):
    """A register at each index of the chip, 8 bits wide but for those that reach packet memory."""

    title = "DM9000 registers"
    size = 0x100

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
    FCTR = Register(
        0x09,
        width=8,
        reset=0x38,
        doc="Flow control thresholds",
        fields=(
            Field("HWOT", 7, 4, "pause the partner when less than this is free, in KB"),
            Field("LWOT", 3, 0, "let it go on when more than this is free, in KB"),
        ),
    )
    FCR = Register(
        0x0A,
        width=8,
        doc="Flow control",
        fields=(
            Field("TXP0", 7, doc="send a pause of no time; clears itself"),
            Field("TXPF", 6, doc="send the longest pause; clears itself"),
            Field("TXPEN", 5, doc="pause the partner by the thresholds in FCTR"),
            Field("BKPA", 4, doc="back pressure at half duplex, for all packets"),
            Field("BKPM", 3, doc="back pressure at half duplex, for packets to this node"),
            Field("RXPS", 2, doc="a pause was received; cleared by reading"),
            Field("RXPCS", 1, doc="paused by the partner"),
            Field("FLCE", 0, doc="obey the partner's pauses"),
        ),
    )
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
    WCR = Register(
        0x0F,
        width=8,
        writable=0x38,
        doc="Wake-up control",
        fields=(
            Field("LINKEN", 5, doc="wake when the link changes"),
            Field("SAMPLEEN", 4, doc="wake by a sample frame"),
            Field("MAGICEN", 3, doc="wake by a Magic Packet"),
            Field("LINKST", 2, doc="the link has changed; cleared by reading"),
            Field("SAMPLEST", 1, doc="a sample frame came"),
            Field("MAGICST", 0, doc="a Magic Packet came; cleared by reading"),
        ),
    )
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
