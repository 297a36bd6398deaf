"""What CLKCON's gates do to the blocks, and the time that the main PLL takes to lock."""

from __future__ import annotations

from collections.abc import Mapping

from dbgemu.target.block_clock import BlockClock, BlockTime
from dbgemu.target.bus import Bus
from dbgemu.target.clock import VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.s3c2440.clock_power import ClockPower

#: the CLKCON bit that lets the bus clock through to each block (S3C2440A UM 7, CLKCON)
GATES = {
    "ac97": "AC97",
    "camif": "CAMERA",
    "spi": "SPI",
    "iis": "IIS",
    "i2c": "IIC",
    "adc": "ADC",
    "rtc": "RTC",
    "gpio": "GPIO",
    "uart2": "UART2",
    "uart1": "UART1",
    "uart0": "UART0",
    "sdi": "SDI",
    "pwm": "PWMTIMER",
    "udc": "USB_DEVICE",
    "ohci": "USB_HOST",
    "lcd": "LCDC",
    "nand": "NAND",
}
_MASKS = {name: ClockPower.CLKCON[field].mask for name, field in GATES.items()}


class ClockGates:
    """Who stands still: each block that CLKCON gates, and all of them while the PLL locks.

    Nothing of it is looked at in an access: it acts when CLKCON changes.
    """

    def __init__(self, clock: VirtualClock, bus: Bus) -> None:
        self._clock = clock
        self._bus = bus
        self._clocks: dict[str, BlockClock] = {}
        self._gated: set[str] = set()

    def clock(self, name: str) -> BlockClock:
        """The clock for the block ``name``, made when it is first asked for."""
        return self._clocks.setdefault(name, BlockClock(self._clock))

    def apply(self, devices: Mapping[str, Device], control: int) -> None:
        """``control`` is the value of CLKCON now."""
        for name, mask in _MASKS.items():
            gated = not control & mask
            if gated == (name in self._gated):
                continue
            self._bus.gate(devices[name], gated)
            (self._gated.add if gated else self._gated.remove)(name)
            clock = self._clocks.get(name)
            if clock is not None:
                (clock.stop if gated else clock.start)()

    def stand_still(self, duration: int) -> None:
        """Let ``duration`` ns pass in which neither the core nor the blocks have a clock."""
        running = [clock for clock in self._clocks.values() if clock.runs]
        for clock in running:
            clock.stop()
        self._clock.skip(duration)
        for clock in running:
            clock.start()

    def save(self) -> dict[str, BlockTime]:
        """The time of each block."""
        return {name: clock.time for name, clock in self._clocks.items()}

    def load(self, state: Mapping[str, BlockTime]) -> None:
        """Put back what :meth:`save` gave. The blocks' own state and CLKCON's have to follow."""
        for name, clock in self._clocks.items():
            clock.time = state[name]
