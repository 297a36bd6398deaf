"""Clock and power management (S3C2440A UM 7): the PLLs, the bus clocks made of them, idle and sleep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dbgemu.target.clock import VirtualClock, cycles_to_ns
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.registers import Field, Register, writes
from dbgemu.target.stream import HeldRegister

#: the crystal at XTIpll on a mini2440, in Hz
MINI2440_CRYSTAL = 12_000_000

IDLE = 1 << 2
SLEEP = 1 << 3

#: what ends SLEEP: EINT0 to EINT15 and the RTC's alarm (S3C2440A UM 7, Wake-Up from SLEEP mode)
WAKE_ALARM = 1 << 16
WAKE_SOURCES = 0xFFFF | WAKE_ALARM

#: CLKCON's gates: all but the power modes
_GATES = 0x1FFFF0

UPLL_OFF = 1 << 7
MPLL_OFF = 1 << 5
SLOW = 1 << 4

HCLK4_HALF = 1 << 9
HCLK3_HALF = 1 << 8
DVS_EN = 1 << 12
CAMCLK_SEL = 1 << 4

_PLL_FIELDS = (
    Field("MDIV", 19, 12, "main divider: m = MDIV + 8"),
    Field("PDIV", 9, 4, "pre-divider: p = PDIV + 2"),
    Field("SDIV", 1, 0, "post divider: s = SDIV"),
)

#: HDIVN: (divisor of FCLK, CAMDIVN bit that doubles it), S3C2440A UM 7, CLKDIVN
_HCLK_DIVISORS = ((1, 0), (2, 0), (4, HCLK4_HALF), (3, HCLK3_HALF))


def _do_nothing() -> None:
    pass


class ClockPower(Device):
    """The clock generator and power manager: a :class:`~dbgemu.target.s3c2440.clocks.Clocks`.

    Frequencies are in Hz. ``crystal`` is Fin. ``on_idle`` and ``on_sleep`` are called when the guest
    asks for these modes, from within its write to CLKCON. ``on_gates`` is called after the gates have
    changed, ``on_lock`` with the ns for which nothing has a clock since the main PLL is locking (UM 7,
    "PLL lock-time"). UCLK is there at once.
    """

    title = "Clock and power management"

    LOCKTIME = Register(
        0x00,
        reset=0xFFFFFFFF,
        doc="PLL lock time",
        fields=(
            Field("U_LTIME", 31, 16, "UPLL lock time in periods of Fin"),
            Field("M_LTIME", 15, 0, "MPLL lock time in periods of Fin"),
        ),
    )
    MPLLCON = Register(
        0x04, reset=0x00096030, fields=_PLL_FIELDS, doc="Main PLL: 2 * m * Fin / (p * 2**s), feeds FCLK"
    )
    UPLLCON = Register(
        0x08, reset=0x0004D030, fields=_PLL_FIELDS, doc="USB PLL: m * Fin / (p * 2**s), feeds UCLK"
    )
    CLKCON = Register(
        0x0C,
        reset=0x00FFFFF0,
        doc="Clock gates of the blocks, and the power modes",
        fields=(
            Field("AC97", 20, doc="PCLK into the AC97 controller"),
            Field("CAMERA", 19, doc="HCLK into the camera interface"),
            Field("SPI", 18, doc="PCLK into the SPI blocks"),
            Field("IIS", 17, doc="PCLK into the IIS block"),
            Field("IIC", 16, doc="PCLK into the IIC block"),
            Field("ADC", 15, doc="PCLK into the ADC and touch screen block"),
            Field("RTC", 14, doc="PCLK into the RTC's bus interface (the clock runs on)"),
            Field("GPIO", 13, doc="PCLK into the GPIO block"),
            Field("UART2", 12, doc="PCLK into UART2"),
            Field("UART1", 11, doc="PCLK into UART1"),
            Field("UART0", 10, doc="PCLK into UART0"),
            Field("SDI", 9, doc="PCLK into the SD interface"),
            Field("PWMTIMER", 8, doc="PCLK into the PWM timers"),
            Field("USB_DEVICE", 7, doc="PCLK into the USB device"),
            Field("USB_HOST", 6, doc="HCLK into the USB host"),
            Field("LCDC", 5, doc="HCLK into the LCD controller"),
            Field("NAND", 4, doc="HCLK into the NAND flash controller"),
            Field("SLEEP", 3, doc="write 1: enter SLEEP mode"),
            Field("IDLE", 2, doc="write 1: enter IDLE mode"),
        ),
    )
    CLKSLOW = Register(
        0x10,
        reset=0x00000004,
        doc="Slow clock: FCLK from Fin, without PLL",
        fields=(
            Field("UCLK_ON", 7, doc="USB PLL", values={0: "on", 1: "off"}),
            Field("MPLL_OFF", 5, doc="main PLL; only turned off in slow mode", values={0: "on", 1: "off"}),
            Field("SLOW_BIT", 4, doc="FCLK", values={0: "MPLL", 1: "Fin / (2 * SLOW_VAL)"}),
            Field("SLOW_VAL", 2, 0, "half the divisor of Fin in slow mode; 0 divides by 1"),
        ),
    )
    CLKDIVN = Register(
        0x14,
        doc="Dividers of the bus clocks",
        fields=(
            Field("DIVN_UPLL", 3, doc="UCLK", values={0: "UPLL", 1: "UPLL / 2"}),
            Field(
                "HDIVN",
                2,
                1,
                "HCLK",
                values={0: "FCLK", 1: "FCLK / 2", 2: "FCLK / 4 or 8", 3: "FCLK / 3 or 6"},
            ),
            Field("PDIVN", 0, doc="PCLK", values={0: "HCLK", 1: "HCLK / 2"}),
        ),
    )
    CAMDIVN = Register(
        0x18,
        doc="Camera clock divider, and halving of HCLK",
        fields=(
            Field("DVS_EN", 12, doc="core clock", values={0: "FCLK", 1: "HCLK"}),
            Field("HCLK4_HALF", 9, doc="HCLK with HDIVN = 2", values={0: "FCLK / 4", 1: "FCLK / 8"}),
            Field("HCLK3_HALF", 8, doc="HCLK with HDIVN = 3", values={0: "FCLK / 3", 1: "FCLK / 6"}),
            Field("CAMCLK_SEL", 4, doc="CAMCLK", values={0: "UPLL", 1: "UPLL / (2 * (CAMCLK_DIV + 1))"}),
            Field("CAMCLK_DIV", 3, 0, "divider of CAMCLK"),
        ),
    )

    STATE = ("asleep", "mpll_programmed", "upll_programmed", "woken_by", "_locked_at")

    def __init__(
        self,
        name: str = "clkpwr",
        *,
        crystal: int = MINI2440_CRYSTAL,
        on_idle: Callable[[], None] = _do_nothing,
        on_sleep: Callable[[], None] = _do_nothing,
        clock: VirtualClock | None = None,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self._clock = clock if clock is not None else VirtualClock()
        #: virtual time in ns from which the main PLL's output can be used
        self._locked_at = 0
        self.on_gates: Callable[[], None] = _do_nothing
        self.on_lock: Callable[[int], None] = lambda duration: None
        self.crystal = crystal
        self.on_idle = on_idle
        self.on_sleep = on_sleep
        self.on_change: list[Callable[[], None]] = []
        self.held_gates = HeldRegister()
        # S3C2440A UM 7, figure 7-1, note 1: Fin is the clock until software writes MPLLCON,
        # if only its reset value.
        self.mpll_programmed = False
        self.upll_programmed = False
        #: in SLEEP: only the RTC, the GPIO block and the SDRAM have power
        self.asleep = False
        #: what ended the last SLEEP, or is about to end this one: a sum of 1 << n for EINTn and WAKE_ALARM
        self.woken_by = 0
        self._compute()

    def _compute(self) -> None:
        slow = self.CLKSLOW
        fin = self.crystal
        #: output of the main PLL; Fin while it is not programmed
        self.mpll = self._pll_output(2, self.MPLLCON) if self.mpll_programmed else fin
        # S3C2440A UM 7, USB clock control: UCLK is Fin after reset and while the UPLL is off.
        upll_runs = self.upll_programmed and not slow & UPLL_OFF
        #: output of the USB PLL; Fin while it is not programmed or off
        self.upll = self._pll_output(1, self.UPLLCON) if upll_runs else fin
        #: the system clock
        self.fclk = fin // (2 * (slow & 7) or 1) if slow & SLOW else self.mpll
        divisor, halved = _HCLK_DIVISORS[self.CLKDIVN >> 1 & 3]
        #: the AHB clock
        self.hclk = self.fclk // (2 * divisor if self.CAMDIVN & halved else divisor)
        #: the APB clock
        self.pclk = self.hclk >> (self.CLKDIVN & 1)
        #: the USB clock
        self.uclk = self.upll >> (self.CLKDIVN >> 3 & 1)
        #: what the ARM920T runs at: FCLK, or HCLK under dynamic voltage scaling
        self.armclk = self.hclk if self.CAMDIVN & DVS_EN else self.fclk
        #: the clock for a camera, CAMCLKOUT
        self.camclk = self.upll // (2 * ((self.CAMDIVN & 15) + 1)) if self.CAMDIVN & CAMCLK_SEL else self.upll

    def _pll_output(self, factor: int, control: int) -> int:
        m = (control >> 12 & 0xFF) + 8
        p = (control >> 4 & 0x3F) + 2
        return factor * m * self.crystal // (p << (control & 3))

    def _frequencies(self) -> tuple[int, ...]:
        return self.fclk, self.hclk, self.pclk, self.uclk, self.armclk, self.camclk, self.upll

    def _update(self) -> None:
        before = self._frequencies()
        self._compute()
        if self._frequencies() != before:
            for listener in self.on_change:
                listener()

    @MPLLCON.write
    def _write_mpll(self, value: int) -> None:
        self.MPLLCON = value
        self.mpll_programmed = True
        self._lock()
        self._update()

    def _lock(self) -> None:
        """The main PLL has another frequency to find, or was turned on."""
        self._locked_at = self._clock.now + cycles_to_ns(self.LOCKTIME & 0xFFFF, self.crystal)
        self._await_lock()

    def _await_lock(self) -> None:
        # UM 7, figures 7-4 to 7-7: in slow mode the PLL locks while FCLK comes from Fin.
        left = self._locked_at - self._clock.now
        if left > 0 and self.mpll_programmed and not self.CLKSLOW & SLOW:
            self.on_lock(left)

    @UPLLCON.write
    def _write_upll(self, value: int) -> None:
        self.UPLLCON = value
        self.upll_programmed = True
        self._update()

    @writes(CLKDIVN, CAMDIVN)
    def _write_divider(self, register: Register, value: int) -> None:
        self.__dict__[register.name] = value
        self._update()

    @CLKSLOW.write
    def _write_slow(self, value: int) -> None:
        if value & MPLL_OFF and not value & SLOW:
            self.guest_error("the main PLL is turned off outside of slow mode, which has no effect")
        before, self.CLKSLOW = self.CLKSLOW, value
        if before & MPLL_OFF and before & SLOW and not (value & MPLL_OFF and value & SLOW):
            self._lock()
        else:
            self._await_lock()
        self._update()

    @CLKCON.read
    def _read_gates(self) -> int:
        # The core cannot read while it idles: a read shows that it has woken up.
        self.CLKCON &= ~IDLE
        self.held_gates.hold(self.CLKCON)  # Linux reads it fifty times behind each wake-up
        return self.CLKCON

    @CLKCON.peek
    def _peek_gates(self) -> int:
        return self.CLKCON

    @CLKCON.write
    def _write_gates(self, value: int) -> None:
        self.held_gates.release()
        changed = value ^ self.CLKCON
        self.CLKCON = value
        if changed & _GATES:
            self.on_gates()
        if value & SLEEP:
            self.asleep = True
            self.woken_by = 0
            self.on_sleep()
        elif value & IDLE:
            self.on_idle()

    def enabled(self, block: str) -> bool:
        """Whether CLKCON lets the clock of ``block`` through, by its field's name (KeyError if none)."""
        return bool(ClockPower.CLKCON[block].get(self.CLKCON))

    def facts(self) -> Iterator[Fact]:
        """The frequencies that follow from the registers."""
        for name, value in (
            ("Fin", self.crystal),
            ("MPLL", self.mpll),
            ("UPLL", self.upll),
            ("FCLK", self.fclk),
            ("HCLK", self.hclk),
            ("PCLK", self.pclk),
            ("UCLK", self.uclk),
            ("core clock", self.armclk),
            ("CAMCLK", self.camclk),
        ):
            yield Fact(name, value, "Hz")

    def wake_event(self, sources: int) -> None:
        """Something came that can end SLEEP: external interrupts (1 << n), the RTC's alarm (WAKE_ALARM)."""
        if self.asleep:
            self.woken_by |= sources & WAKE_SOURCES

    def wake_up(self) -> None:
        """The core runs again after IDLE or SLEEP: their bits read as 0."""
        self.held_gates.release()
        self.CLKCON &= ~(IDLE | SLEEP)

    def set_bootloader_defaults(self) -> None:
        """What a mini2440's U-Boot leaves: FCLK 405, HCLK 101.25, PCLK 50.625 and UCLK 48 MHz."""
        self.LOCKTIME = 0x00FFFFFF
        self.CLKDIVN = 2 << 1 | 1
        self.UPLLCON = 0x38 << 12 | 2 << 4 | 2
        self.MPLLCON = 0x7F << 12 | 2 << 4 | 1
        self.mpll_programmed = self.upll_programmed = True
        self._update()

    def reset(self) -> None:
        """Back to Fin, undivided, with the PLLs not programmed. What ended SLEEP is kept, for people."""
        self.held_gates.release()
        super().reset()
        self.asleep = False
        self.mpll_programmed = self.upll_programmed = False
        self._locked_at = 0
        self._update()
        self.on_gates()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave; listeners hear of it when frequencies differ."""
        self.held_gates.release()
        super().load(state)
        self._update()
        self.on_gates()
