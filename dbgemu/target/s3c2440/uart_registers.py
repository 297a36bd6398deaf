"""What a UART's registers hold, and the FCLK/n divider that the three ports share (UM chapter 11)."""

from __future__ import annotations

from collections.abc import Callable

from dbgemu.target.device import Device
from dbgemu.target.registers import Field, Register

#: characters in each of the two FIFOs
FIFO_SIZE = 64

#: error bits of a character, as in UERSTAT
OVERRUN, PARITY, FRAME, BREAK = 1, 2, 4, 8

#: bits 4 to 9 of UCON
SBREAK, LOOPBACK, ERROR_ENABLE, TIMEOUT_ENABLE, RX_LEVEL, TX_LEVEL = (1 << bit for bit in range(4, 10))

_MODES = {0: "disabled", 1: "interrupt or polling", 2: "DMA0/DMA3", 3: "DMA1"}
_TYPES = {0: "pulse", 1: "level"}


class FclkDivider:
    """FCLK/n: one divider for all three ports, set by fields of their three UCONs (UM 11-11)."""

    #: what is added to the field of UCON0, UCON1 and UCON2 to give n
    _BASES = (6, 21, 36)

    def __init__(self) -> None:
        self._fields = [0, 0, 0]
        self._enabled = False
        #: whom :meth:`notify` calls
        self.listeners: list[Callable[[], None]] = []

    def set(self, port: int, control: int) -> bool:
        """Port ``port`` (0 to 2) has ``control`` in its UCON; True when that changes the divider."""
        before = (*self._fields, self._enabled)
        field = control >> 12 & 15
        if port == 2:
            field, self._enabled = field & 7, bool(control & 0x8000)
        self._fields[port] = field
        return before != (*self._fields, self._enabled)

    def notify(self) -> None:
        """Tell the ports that :meth:`set` has changed the frequency."""
        for listener in self.listeners:
            listener()

    def frequency(self, fclk: int) -> int:
        """FCLK/n in Hz; 0 while UCON2[15] keeps it off."""
        if not self._enabled:
            return 0
        for field, base in zip(self._fields, self._BASES, strict=True):
            if field:
                return fclk // (field + base)
        return fclk // 44


class UartRegisters(Device):
    """The declarations, without behaviour: that is :class:`dbgemu.target.s3c2440.uart.Uart`."""

    title = "UART"

    ULCON = Register(
        0x00,
        width=8,
        fields=(
            Field("INFRARED", 6, doc="IrDA framing"),
            Field("PARITY", 5, 3, "parity mode", {4: "odd", 5: "even", 6: "forced 1", 7: "forced 0"}),
            Field("STOP", 2, doc="stop bits", values={0: "1", 1: "2"}),
            Field("WORD", 1, 0, "data bits", {0: "5", 1: "6", 2: "7", 3: "8"}),
        ),
        doc="Line control",
    )
    UCON = Register(
        0x04,
        width=16,
        fields=(
            Field("FCLK_DIV", 15, 12, "n of FCLK/n; bit 15 of UCON2 enables it"),
            Field("CLOCK", 11, 10, "baud clock", {0: "PCLK", 1: "UEXTCLK", 2: "PCLK", 3: "FCLK/n"}),
            Field("TX_TYPE", 9, doc="type of the transmit interrupt", values=_TYPES),
            Field("RX_TYPE", 8, doc="type of the receive interrupt", values=_TYPES),
            Field("RX_TIMEOUT", 7, doc="receive time-out interrupt"),
            Field("RX_ERROR", 6, doc="receive error interrupt"),
            Field("LOOPBACK", 5, doc="the receiver gets what the transmitter sends"),
            Field("BREAK", 4, doc="send a break of one frame; clears itself"),
            Field("TX_MODE", 3, 2, "who writes UTXH", _MODES),
            Field("RX_MODE", 1, 0, "who reads URXH", _MODES),
        ),
        doc="Control",
    )
    UFCON = Register(
        0x08,
        width=8,
        fields=(
            Field("TX_TRIGGER", 7, 6, "transmit FIFO trigger", {0: "empty", 1: "16", 2: "32", 3: "48"}),
            Field("RX_TRIGGER", 5, 4, "receive FIFO trigger", {0: "1", 1: "8", 2: "16", 3: "32"}),
            Field("TX_RESET", 2, doc="empties the transmit FIFO; clears itself"),
            Field("RX_RESET", 1, doc="empties the receive FIFO; clears itself"),
            Field("ENABLE", 0, doc="FIFO mode"),
        ),
        doc="FIFO control",
    )
    UMCON = Register(
        0x0C,
        width=8,
        fields=(
            Field("AFC", 4, doc="automatic flow control by nRTS and nCTS"),
            Field("RTS", 0, doc="nRTS is active, without AFC"),
        ),
        doc="Modem control",
    )
    UTRSTAT = Register(
        0x10,
        width=8,
        reset=0x6,
        access="ro",
        volatile=True,
        fields=(
            Field("TX_EMPTY", 2, doc="transmit buffer and shifter are empty"),
            Field("TX_BUFFER_EMPTY", 1, doc="transmit buffer is empty"),
            Field("RX_READY", 0, doc="a received character waits"),
        ),
        doc="Transmit and receive status",
    )
    UERSTAT = Register(
        0x14,
        width=8,
        access="ro",
        volatile=True,
        fields=(
            Field("BREAK", 3, doc="break received"),
            Field("FRAME", 2, doc="frame error"),
            Field("PARITY", 1, doc="parity error"),
            Field("OVERRUN", 0, doc="overrun error"),
        ),
        doc="Errors of the next character in URXH; reading clears",
    )
    UFSTAT = Register(
        0x18,
        width=16,
        access="ro",
        volatile=True,
        fields=(
            Field("TX_FULL", 14, doc="transmit FIFO is full"),
            Field("TX_COUNT", 13, 8, "characters in the transmit FIFO"),
            Field("RX_FULL", 6, doc="receive FIFO is full"),
            Field("RX_COUNT", 5, 0, "characters in the receive FIFO"),
        ),
        doc="FIFO status",
    )
    UMSTAT = Register(
        0x1C,
        width=8,
        access="ro",
        volatile=True,
        fields=(
            Field("DELTA_CTS", 4, doc="nCTS changed since the last read"),
            Field("CTS", 0, doc="nCTS is active"),
        ),
        doc="Modem status",
    )
    UTXH = Register(
        0x20,
        width=8,
        access="wo",
        doc="Transmit buffer",
        fields=(Field("TXDATA", 7, 0, "character to send"),),
    )
    URXH = Register(
        0x24,
        width=8,
        access="ro",
        volatile=True,
        doc="Receive buffer",
        fields=(Field("RXDATA", 7, 0, "next received character"),),
    )
    UBRDIV = Register(
        0x28,
        width=16,
        doc="Baud rate divisor: clock / (16 * baud) - 1",
        fields=(Field("UBRDIV", 15, 0, "divisor less 1"),),
    )
