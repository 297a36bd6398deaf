"""A UART on a bus of its own, for the tests of the UART."""

from __future__ import annotations

from functools import partial

from dbgemu.target.bus import Bus
from dbgemu.target.clock import VirtualClock
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.uart import Uart

ULCON, UCON, UFCON, UMCON, UTRSTAT, UERSTAT, UFSTAT, UMSTAT, UTXH, URXH, UBRDIV = range(0, 0x2C, 4)
#: what Linux writes: level interrupts, receive time-out
LINUX_UCON = 0x385
#: 10 bits at 50.625 MHz / 16 / 27
CHAR = 85334
BASE = 0x5000_0000


class Port:
    """A UART on a bus of its own."""

    def __init__(self, clocks: FixedClocks | None = None, **options: object) -> None:
        self.clock = VirtualClock()
        self.clocks = clocks or FixedClocks()
        self.log = GuestLog()
        self.errors: list[str] = []
        self.log.listeners.append(lambda entry: self.errors.append(str(entry)))
        self.rxd, self.txd, self.err, self.dma = (Line(name) for name in ("rxd", "txd", "err", "dma"))
        self.pulses = {"rxd": 0, "txd": 0, "err": 0}
        for line in (self.rxd, self.txd, self.err):
            line.connect(partial(self.count, line.name))
        self.uart = Uart(
            "uart0",
            clock=self.clock,
            clocks=self.clocks,
            rxd=self.rxd,
            txd=self.txd,
            err=self.err,
            dma=self.dma,
            log=self.log,
            **options,  # type: ignore[arg-type]
        )
        self.sent = bytearray()
        self.uart.on_transmit = self.sent.append
        self.bus = Bus(self.log)
        self.bus.map(BASE, self.uart)

    def count(self, name: str, level: int) -> None:
        self.pulses[name] += level

    def read(self, register: int, size: int = 4) -> int:
        return self.bus.read(BASE + register, size)

    def write(self, register: int, value: int, size: int = 4) -> None:
        self.bus.write(BASE + register, size, value)

    def peek(self, register: int) -> int:
        return self.uart.peek(register, 4)

    def pass_time(self, duration: int) -> None:
        """Let time pass as the engine does: from deadline to deadline."""
        end = self.clock.now + duration
        while (deadline := self.clock.next_deadline()) is not None and deadline <= end:
            self.clock.skip_to(deadline)
            self.clock.run_due()
        self.clock.skip_to(end)

    def setup(self, ucon: int = LINUX_UCON, ufcon: int = 0x11, ulcon: int = 3) -> None:
        self.write(ULCON, ulcon)
        self.write(UCON, ucon)
        self.write(UFCON, ufcon | 6)
        self.write(UFCON, ufcon)
        self.write(UBRDIV, 26)
