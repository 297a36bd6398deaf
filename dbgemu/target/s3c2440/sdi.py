"""The SD/MMC/SDIO host interface (S3C2440A UM chapter 19), with an empty card slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns
from dbgemu.target.device import Device
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register
from dbgemu.target.s3c2440.clocks import Clocks

FIFO_SIZE = 64
FIFO_HALF = 32

CLOCK_ENABLE, SD_RESET = 0x001, 0x100
COMMAND_START, WAIT_RESPONSE, ABORT = 0x100, 0x200, 0x1000
COMMAND_ON, SENT, TIMED_OUT = 0x100, 0x800, 0x400
DATA_START, DATA_MODE, TRANSMITTING, RECEIVING = 0x4000, 0x3000, 0x3000, 0x2000
RX_ON, TX_ON = 0x01, 0x02
DATA_TIMED_OUT, DATA_FINISHED = 0x20, 0x10

#: a command is 48 bits long, and a card has 64 clocks to begin its answer
COMMAND_BITS, ANSWER_BITS = 48, 64

# Where each status bit asks for an interrupt in SDIIMSK: (status bit, mask bit).
_COMMAND_CAUSES = ((1 << 12, 1 << 17), (SENT, 1 << 16), (TIMED_OUT, 1 << 15), (1 << 9, 1 << 14))
_DATA_CAUSES = (
    (1 << 11, 1 << 18),
    (1 << 10, 1 << 13),
    (1 << 9, 1 << 12),
    (1 << 7, 1 << 10),
    (1 << 6, 1 << 9),
    (DATA_TIMED_OUT, 1 << 8),
    (DATA_FINISHED, 1 << 7),
    (1 << 3, 1 << 6),
)
_FIFO_CAUSES = (
    (3 << 14, 1 << 11),
    (1 << 11, 1 << 4),
    (1 << 10, 1 << 3),
    (1 << 9, 1 << 2),
    (1 << 8, 1 << 1),
    (1 << 7, 1 << 0),
)


class Sdi(Device):
    """The controller. Commands are sent, but nobody answers."""

    title = "SD interface"
    STATE = ("_command_timer", "_data_timer", "_fifo")

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
    SDIPRE = Register(0x04, width=8, reset=0x01, doc="SDCLK = PCLK / (SDIPRE + 1)")
    SDICMDARG = Register(0x08, doc="Command argument")
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
    SDIRSP0 = Register(0x14, access="ro", doc="Response, bits 31 to 0 (of long ones 127 to 96)")
    SDIRSP1 = Register(0x18, access="ro", doc="Response: checksum, or bits 95 to 64")
    SDIRSP2 = Register(0x1C, access="ro", doc="Response, bits 63 to 32")
    SDIRSP3 = Register(0x20, access="ro", doc="Response, bits 31 to 0")
    SDITIMER = Register(0x24, width=23, doc="Data and busy time-out, in SDCLK periods")
    SDIBSIZE = Register(0x28, width=12, doc="Block size, in bytes")
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
            Field("NOBUSYINT", 18),
            Field("RSPCRCINT", 17),
            Field("CMDSENTINT", 16),
            Field("CMDTOUTINT", 15),
            Field("RSPENDINT", 14),
            Field("RWREQINT", 13),
            Field("IOINTDET", 12),
            Field("FFFAILINT", 11),
            Field("CRCSTAINT", 10),
            Field("DATCRCINT", 9),
            Field("DATTOUTINT", 8),
            Field("DATFININT", 7),
            Field("BUSYFININT", 6),
            Field("TFHALFINT", 4),
            Field("TFEMPTINT", 3),
            Field("RFLASTINT", 2),
            Field("RFFULLINT", 1),
            Field("RFHALFINT", 0),
        ),
    )
    SDIDAT = Register(0x40, sized=True, volatile=True, doc="Data FIFO, 64 bytes")

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        clocks: Clocks,
        interrupt: Line,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clocks = clocks
        self.interrupt = interrupt
        self._fifo = bytearray()
        self._command_timer = Timer(clock, self._command_done)
        self._data_timer = Timer(clock, self._data_timed_out)

    def reset(self) -> None:
        """Power-on or SDRESET: all registers and the FIFO."""
        super().reset()
        self._command_timer.cancel()
        self._data_timer.cancel()
        self._fifo = bytearray()
        self._update()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, the interrupt line included."""
        super().load(state)
        self._update()

    def _after(self, timer: Timer, periods: int) -> None:
        timer.start_in(cycles_to_ns(periods * (self.SDIPRE + 1), self.clocks.pclk))

    # -- commands -----------------------------------------------------------------------------

    @SDICON.write
    def _write_control(self, value: int) -> None:
        if value & SD_RESET:
            self.reset()
        self.SDICON = value & 0x3D
        if not value & CLOCK_ENABLE:
            self._command_timer.cancel()
        elif self.SDICMDSTAT & COMMAND_ON and self._command_timer.deadline is None:
            self._send()

    @SDICMDCON.write
    def _write_command(self, value: int) -> None:
        self.SDICMDCON = value & ~COMMAND_START
        if value & COMMAND_START:
            self.SDICMDSTAT = self.SDICMDSTAT & ~0xFF | COMMAND_ON
            self._send()

    def _send(self) -> None:
        # Without SDCLK nothing leaves; enabling the clock sends what waits.
        if self.SDICON & CLOCK_ENABLE:
            answer = ANSWER_BITS if self.SDICMDCON & WAIT_RESPONSE else 0
            self._after(self._command_timer, COMMAND_BITS + answer)

    def _command_done(self) -> None:
        """The command has left, and the time for its response is over."""
        status = self.SDICMDSTAT & ~COMMAND_ON | SENT
        if self.SDICMDCON & WAIT_RESPONSE:
            status |= TIMED_OUT
        self.SDICMDSTAT = status
        self._update()

    @SDICMDSTAT.write
    def _clear_command_status(self, value: int) -> None:
        self.SDICMDSTAT &= ~(value & 0x1E00)
        self._update()

    # -- data ---------------------------------------------------------------------------------

    @SDIDCON.write
    def _write_data_control(self, value: int) -> None:
        self.SDIDCON = value & ~DATA_START
        mode = value & DATA_MODE
        self.SDIDSTA &= ~(RX_ON | TX_ON)
        self._data_timer.cancel()
        if value & DATA_START and mode in (RECEIVING, TRANSMITTING):
            self.SDIDSTA |= RX_ON if mode == RECEIVING else TX_ON
            self.SDIDCNT = (value & 0xFFF) << 12 | self.SDIBSIZE
            # What follows the answer to a command begins with that answer, which does not come.
            follows = value & (1 << 19 if mode == RECEIVING else 1 << 20)
            if not follows:
                self._after(self._data_timer, max(1, self.SDITIMER))
        self._update()

    def _data_timed_out(self) -> None:
        self.SDIDSTA = self.SDIDSTA & ~(RX_ON | TX_ON) | DATA_TIMED_OUT
        self._update()

    @SDIDSTA.write
    def _clear_data_status(self, value: int) -> None:
        self.SDIDSTA &= ~(value & 0xFF8)
        self._update()

    @SDIFSTA.read
    def _fifo_status(self) -> int:
        count = len(self._fifo)
        status = self.SDIFSTA | count
        mode = self.SDIDCON & DATA_MODE
        if mode == TRANSMITTING:
            status |= (count < FIFO_SIZE) << 13 | (count <= FIFO_HALF) << 11 | (not count) << 10
        elif mode == RECEIVING:
            status |= bool(count) << 12 | (count == FIFO_SIZE) << 8 | (count > FIFO_HALF) << 7
        return status

    @SDIFSTA.write
    def _write_fifo_status(self, value: int) -> None:
        self.SDIFSTA &= ~(value & 0xC000)
        if value & 0x10000:
            self._fifo.clear()
        self._update()

    @SDIDAT.peek
    def _peek_data(self) -> int:
        return int.from_bytes(self._fifo[:4], "little")

    @SDIDAT.read
    def _read_data(self, size: int) -> int:
        value = int.from_bytes(self._fifo[:size], "little")
        del self._fifo[:size]
        self._update()
        return value

    @SDIDAT.write
    def _write_data(self, value: int, size: int) -> None:
        if self.SDIDCON & DATA_MODE == TRANSMITTING and len(self._fifo) + size <= FIFO_SIZE:
            self._fifo += value.to_bytes(size, "little")
            self._update()

    # -- interrupt ----------------------------------------------------------------------------

    @SDIIMSK.write
    def _write_mask(self, value: int) -> None:
        self.SDIIMSK = value
        self._update()

    def _update(self) -> None:
        mask = self.SDIIMSK
        causes = (
            (self.SDICMDSTAT, _COMMAND_CAUSES),
            (self.SDIDSTA, _DATA_CAUSES),
            (self._fifo_status(), _FIFO_CAUSES),
        )
        request = any(status & bit and mask & enable for status, table in causes for bit, enable in table)
        self.interrupt.set(bool(mask) and request)
