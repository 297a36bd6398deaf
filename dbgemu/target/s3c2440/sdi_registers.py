"""The registers of the SD/MMC/SDIO host interface (S3C2440A UM chapter 19)."""

from __future__ import annotations

from dbgemu.target.device import Device
from dbgemu.target.registers import Field, Register


class SdiRegisters(Device):
    """Their declarations; :mod:`dbgemu.target.s3c2440.sdi` says what they do."""

    title = "SD interface"

    SDICON = Register(
        0x00,
        writable=0x13D,
        doc="Control",
        fields=(
            Field("SDRESET", 8, doc="reset of the block, clears itself"),
            Field("CTYP", 5, doc="clock type", values={0: "SD", 1: "MMC"}),
            Field("BYTEORDER", 4, doc="order of the bytes in a FIFO word", values={0: "A", 1: "B"}),
            Field("RCVIOINT", 3, doc="receive interrupts of SDIO cards"),
            Field("RWAITEN", 2, doc="read wait requests"),
            Field("ENCLK", 0, doc="clock out"),
        ),
    )
    SDIPRE = Register(
        0x04,
        width=8,
        reset=0x01,
        doc="SDCLK = PCLK / (SDIPRE + 1)",
        fields=(Field("PRESCALER", 7, 0, "divider less 1"),),
    )
    SDICMDARG = Register(0x08, doc="Command argument", fields=(Field("CMDARG", 31, 0, "argument"),))
    SDICMDCON = Register(
        0x0C,
        width=13,
        doc="Command control",
        fields=(
            Field("ABTCMD", 12, doc="abort (CMD12, CMD52)"),
            Field("WITHDATA", 11, doc="command with data"),
            Field("LONGRSP", 10, doc="136-bit response"),
            Field("WAITRSP", 9, doc="wait for a response"),
            Field("CMST", 8, doc="start; clears itself"),
            Field("CMDINDEX", 7, 0, "start bits and index"),
        ),
    )
    SDICMDSTAT = Register(
        0x10,
        width=13,
        doc="Command status; write 1 to clear bits 12 to 9",
        fields=(
            Field("RSPCRC", 12, doc="response with wrong checksum"),
            Field("CMDSENT", 11, doc="command sent"),
            Field("CMDTOUT", 10, doc="no response within 64 clocks"),
            Field("RSPFIN", 9, doc="response received"),
            Field("CMDON", 8, doc="command in progress"),
            Field("RSPINDEX", 7, 0, "index of the response"),
        ),
    )
    SDIRSP0 = Register(
        0x14,
        access="ro",
        doc="Response, bits 31 to 0 (of long ones 127 to 96)",
        fields=(Field("RESPONSE0", 31, 0, "word of the response"),),
    )
    SDIRSP1 = Register(
        0x18,
        access="ro",
        doc="Response: checksum, or bits 95 to 64",
        fields=(Field("CRC", 31, 24, "short: checksum"), Field("RESPONSE1", 23, 0, "long: bits 87 to 64")),
    )
    SDIRSP2 = Register(
        0x1C,
        access="ro",
        doc="Response, bits 63 to 32",
        fields=(Field("RESPONSE2", 31, 0, "word of the response"),),
    )
    SDIRSP3 = Register(
        0x20,
        access="ro",
        doc="Response, bits 31 to 0",
        fields=(Field("RESPONSE3", 31, 0, "word of the response"),),
    )
    SDITIMER = Register(
        0x24,
        width=23,
        doc="Data and busy time-out, in SDCLK periods",
        fields=(Field("DATATIMER", 22, 0, "periods"),),
    )
    SDIBSIZE = Register(
        0x28, width=12, doc="Block size, in bytes", fields=(Field("BLKSIZE", 11, 0, "bytes"),)
    )
    SDIDCON = Register(
        0x2C,
        width=25,
        doc="Data control",
        fields=(
            Field("BURST4", 24, doc="DMA bursts of 4"),
            Field("DATASIZE", 23, 22, "unit of the FIFO", {0: "byte", 1: "half word", 2: "word"}),
            Field("PRDTYPE", 21, doc="SDIO interrupt period", values={0: "exactly 2 cycles", 1: "more"}),
            Field("TARSP", 20, doc="transmit after the response"),
            Field("RACMD", 19, doc="receive after the command"),
            Field("BACMD", 18, doc="busy check after the command"),
            Field("BLKMODE", 17, values={0: "stream", 1: "block"}),
            Field("WIDEBUS", 16, doc="4 data lines"),
            Field("ENDMA", 15, doc="DMA"),
            Field("DTST", 14, doc="data transfer start; clears itself"),
            Field("DATMODE", 13, 12, "mode", {0: "none", 1: "busy check", 2: "receive", 3: "transmit"}),
            Field("BLKNUM", 11, 0, "number of blocks"),
        ),
    )
    SDIDCNT = Register(
        0x30,
        access="ro",
        doc="Data still to be moved",
        fields=(Field("BLKNUMCNT", 23, 12, "blocks"), Field("BLKCNT", 11, 0, "bytes of the block")),
    )
    SDIDSTA = Register(
        0x34,
        width=12,
        doc="Data status; write 1 to clear bits 11 to 3",
        fields=(
            Field("NOBUSY", 11, doc="busy check found no busy"),
            Field("RWAITREQ", 10, doc="read wait request sent"),
            Field("IOINTDET", 9, doc="SDIO interrupt"),
            Field("CRCSTA", 7, doc="card found a wrong checksum"),
            Field("DATCRC", 6, doc="wrong checksum received"),
            Field("DATTOUT", 5, doc="data or busy time-out"),
            Field("DATFIN", 4, doc="all data moved"),
            Field("BUSYFIN", 3, doc="busy check finished"),
            Field("TXDATON", 1, doc="transmit in progress"),
            Field("RXDATON", 0, doc="receive in progress"),
        ),
    )
    SDIFSTA = Register(
        0x38,
        width=17,
        doc="FIFO status",
        fields=(
            Field("FRST", 16, doc="write 1: FIFO reset"),
            Field("FFFAIL", 15, 14, "FIFO error; write 1 to clear"),
            Field("TFDET", 13, doc="transmit: there is room"),
            Field("RFDET", 12, doc="receive: there is data"),
            Field("TFHALF", 11, doc="transmit: half empty"),
            Field("TFEMPTY", 10, doc="transmit: empty"),
            Field("RFLAST", 9, doc="receive: the last data is in"),
            Field("RFFULL", 8, doc="receive: full"),
            Field("RFHALF", 7, doc="receive: half full"),
            Field("FFCNT", 6, 0, "bytes in the FIFO"),
        ),
    )
    SDIIMSK = Register(
        0x3C,
        width=19,
        doc="Interrupt mask: 1 is on",
        fields=(
            Field("NOBUSYINT", 18, doc="busy check found no busy"),
            Field("RSPCRCINT", 17, doc="response with wrong checksum"),
            Field("CMDSENTINT", 16, doc="command sent"),
            Field("CMDTOUTINT", 15, doc="no response in time"),
            Field("RSPENDINT", 14, doc="response received"),
            Field("RWREQINT", 13, doc="read wait request"),
            Field("IOINTDET", 12, doc="SDIO interrupt"),
            Field("FFFAILINT", 11, doc="FIFO error"),
            Field("CRCSTAINT", 10, doc="card found a wrong checksum"),
            Field("DATCRCINT", 9, doc="wrong checksum received"),
            Field("DATTOUTINT", 8, doc="data time-out"),
            Field("DATFININT", 7, doc="all data moved"),
            Field("BUSYFININT", 6, doc="busy check finished"),
            Field("TFHALFINT", 4, doc="transmit FIFO half empty"),
            Field("TFEMPTINT", 3, doc="transmit FIFO empty"),
            Field("RFLASTINT", 2, doc="last data received"),
            Field("RFFULLINT", 1, doc="receive FIFO full"),
            Field("RFHALFINT", 0, doc="receive FIFO half full"),
        ),
    )
    SDIDAT = Register(
        0x40,
        sized=True,
        volatile=True,
        doc="Data FIFO, 64 bytes",
        fields=(Field("DATA", 31, 0, "next word of the FIFO"),),
    )
