"""The I/O ports and external interrupts: S3C2440A UM chapter 9."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import IntFlag
from typing import Any

from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, writes
from dbgemu.target.s3c2440.gpio_pins import PORTS, PortDescription
from dbgemu.target.s3c2440.gpio_ports import Pin, PinState, Port

EINTS = 24

#: the interrupt lines that the block drives, as the interrupt controller names them
EINT_LINES = ("EINT0", "EINT1", "EINT2", "EINT3", "EINT4_7", "EINT8_23")

#: S3C2440A UM chapter 9, EXTINTn: the signaling methods
_SIGNALING = {
    0: "low level",
    1: "high level",
    2: "falling edge",
    3: "falling edge",
    4: "rising edge",
    5: "rising edge",
    6: "both edges",
    7: "both edges",
}
_LOW = frozenset({0})
_HIGH = frozenset({1})
_FALLING = frozenset({2, 3, 6, 7})
_RISING = frozenset({4, 5, 6, 7})

_LEVELS = {0: "low", 1: "high"}
_PULLS = {0: "on", 1: "off"}

#: S3C2440A UM chapter 9, DSCn
_STRENGTHS = {0: "12 mA", 1: "10 mA", 2: "8 mA", 3: "6 mA"}
_CONTROL_STRENGTHS = {0: "10 mA", 1: "8 mA", 2: "6 mA", 3: "4 mA"}

_CLKOUT = {0: "MPLL", 1: "UPLL", 2: "FCLK", 3: "HCLK", 4: "PCLK", 5: "DCLK"}


class ResetCause(IntFlag):
    """What reset the chip: the bits of GSTATUS2."""

    POWER_ON = 1
    SLEEP = 2
    WATCHDOG = 4


def _port_registers(port: PortDescription) -> tuple[Register, Register, Register]:
    """GPxCON, GPxDAT and GPxUP of a port."""
    bits, pins = port.control_bits, list(enumerate(port.pins))
    control = Register(
        port.offset,
        reset=port.control_reset,
        writable=(1 << bits * len(pins)) - 1,
        fields=tuple(
            Field(pin.name, bits * n + bits - 1, bits * n, "function", dict(enumerate(port.functions(n))))
            for n, pin in reversed(pins)
        ),
        doc=f"Port {port.letter}: functions of the pins",
    )
    levels = tuple(Field(pin.name, n, doc="level", values=_LEVELS) for n, pin in reversed(pins))
    pulls = tuple(Field(pin.name, n, doc="pull-up", values=_PULLS) for n, pin in reversed(pins))
    data = Register(port.offset + 4, fields=levels, doc=f"Port {port.letter}: levels of the pins")
    pull = Register(
        port.offset + 8,
        reset=port.pull_reset,
        writable=port.mask,
        fields=pulls,
        doc=f"Port {port.letter}: 1 turns the pull-up off",
    )
    return control, data, pull


def _nothing() -> None:
    pass


def _eint_control(number: int) -> Register:
    """EXTINT0 to EXTINT2. EINT0 to EINT7 have no filter, so no FLTEN bit."""
    fields = []
    for lane in reversed(range(8)):
        eint = 8 * number + lane
        if number:
            fields.append(Field(f"FLTEN{eint}", 4 * lane + 3, doc="noise filter on"))
        fields.append(Field(f"EINT{eint}", 4 * lane + 2, 4 * lane, "signaling method", _SIGNALING))
    return Register(
        0x88 + 4 * number,
        writable=0xFFFF_FFFF if number else 0x7777_7777,
        fields=tuple(fields),
        doc=f"External interrupts {8 * number} to {8 * number + 7}: what triggers them",
    )


def _eint_filter(number: int) -> Register:
    """EINTFLT2 and EINTFLT3. The filter is some clocks long: nothing that virtual time would show."""
    fields = []
    for lane in reversed(range(4)):
        eint = 16 + 4 * (number - 2) + lane
        fields.append(Field(f"FLTCLK{eint}", 8 * lane + 7, values={0: "PCLK", 1: "EXTCLK or OSC"}))
        fields.append(Field(f"EINTFLT{eint}", 8 * lane + 6, 8 * lane, "filter width in clocks"))
    return Register(0x94 + 4 * number, fields=tuple(fields), doc="External interrupt filter")


_EINT_FIELDS = tuple(Field(f"EINT{n}", n, doc=f"external interrupt {n}") for n in reversed(range(4, EINTS)))


class Gpio(Device):
    """Ports A to J, external interrupts, and the miscellaneous registers among them.

    ``eint`` maps each name in :data:`EINT_LINES` to the line that the block drives (its own lines
    when left out). EINT0 to EINT3 go straight to the interrupt controller: a level is held, an edge
    is a pulse. EINT4 to EINT23 are latched in EINTPEND, masked by EINTMASK and ORed into two lines;
    one whose level still triggers latches again as soon as it is cleared.
    """

    title = "I/O ports"

    GPACON, GPADAT, _ = _port_registers(PORTS["A"])
    GPBCON, GPBDAT, GPBUP = _port_registers(PORTS["B"])
    GPCCON, GPCDAT, GPCUP = _port_registers(PORTS["C"])
    GPDCON, GPDDAT, GPDUP = _port_registers(PORTS["D"])
    GPECON, GPEDAT, GPEUP = _port_registers(PORTS["E"])
    GPFCON, GPFDAT, GPFUP = _port_registers(PORTS["F"])
    GPGCON, GPGDAT, GPGUP = _port_registers(PORTS["G"])
    GPHCON, GPHDAT, GPHUP = _port_registers(PORTS["H"])
    GPJCON, GPJDAT, GPJUP = _port_registers(PORTS["J"])
    del _  # port A has no pull-ups

    MISCCR = Register(
        0x80,
        reset=0x0001_0020,
        writable=0x007F_377B,
        fields=(
            Field("BATT_FUNC", 22, 20, "what nBATT_FLT does"),
            Field("OFFREFRESH", 19, doc="SDRAM self refresh is kept after wake-up"),
            Field("nEN_SCLK1", 18, doc="SCLK1 is held at 0"),
            Field("nEN_SCLK0", 17, doc="SCLK0 is held at 0"),
            Field("nRSTCON", 16, doc="level of nRSTOUT"),
            Field("SEL_SUSPND1", 13, doc="USB port 1 is suspended"),
            Field("SEL_SUSPND0", 12, doc="USB port 0 is suspended"),
            Field("CLKSEL1", 10, 8, "clock on CLKOUT1", _CLKOUT),
            Field("CLKSEL0", 6, 4, "clock on CLKOUT0", _CLKOUT),
            Field("SEL_USBPAD", 3, doc="USB pad 1", values={0: "device", 1: "host"}),
            Field("SPUCR1", 1, doc="pull-up of DATA[31:16] is off"),
            Field("SPUCR0", 0, doc="pull-up of DATA[15:0] is off"),
        ),
        doc="Miscellaneous control",
    )
    DCLKCON = Register(
        0x84,
        writable=0x0FF3_0FF3,
        fields=(
            Field("DCLK1CMP", 27, 24, "DCLK1's low time in source clocks, minus 1"),
            Field("DCLK1DIV", 23, 20, "DCLK1's divider, minus 1"),
            Field("DCLK1SelCK", 17, values={0: "PCLK", 1: "UCLK"}),
            Field("DCLK1EN", 16, doc="DCLK1 runs"),
            Field("DCLK0CMP", 11, 8, "DCLK0's low time in source clocks, minus 1"),
            Field("DCLK0DIV", 7, 4, "DCLK0's divider, minus 1"),
            Field("DCLK0SelCK", 1, values={0: "PCLK", 1: "UCLK"}),
            Field("DCLK0EN", 0, doc="DCLK0 runs"),
        ),
        doc="DCLK0 and DCLK1 control",
    )
    EXTINT0 = _eint_control(0)
    EXTINT1 = _eint_control(1)
    EXTINT2 = _eint_control(2)
    EINTFLT0 = Register(0x94, doc="Reserved", fields=(Field("RESERVED", 31, 0, "nothing"),))
    EINTFLT1 = Register(0x98, doc="Reserved", fields=(Field("RESERVED", 31, 0, "nothing"),))
    EINTFLT2 = _eint_filter(2)
    EINTFLT3 = _eint_filter(3)
    EINTMASK = Register(0xA4, reset=0x000F_FFFF, fields=_EINT_FIELDS, doc="External interrupt mask: 1 is off")
    EINTPEND = Register(0xA8, fields=_EINT_FIELDS, doc="External interrupt pending; write 1 to clear")
    GSTATUS0 = Register(
        0xAC,
        access="ro",
        volatile=True,
        fields=tuple(
            Field(name, bit, doc="the pin's level", values=_LEVELS)
            for bit, name in ((3, "nWAIT"), (2, "NCON"), (1, "RnB"), (0, "nBATT_FLT"))
        ),
        doc="Levels of some pins",
    )
    GSTATUS1 = Register(
        0xB0,
        reset=0x3244_0001,
        access="ro",
        doc="Chip identification",
        fields=(Field("CHIP", 31, 0, "chip and revision", {0x3244_0001: "S3C2440A"}),),
    )
    GSTATUS2 = Register(
        0xB4,
        reset=ResetCause.POWER_ON.value,
        fields=(
            Field("WDTRST", 2, doc="reset by the watchdog"),
            Field("SLEEPRST", 1, doc="reset by waking up from sleep"),
            Field("PWRST", 0, doc="reset by power on"),
        ),
        doc="Cause of the last reset; write 1 to clear",
    )
    GSTATUS3 = Register(
        0xB8,
        doc="Inform register: kept over all resets but power on",
        fields=(Field("INFORM", 31, 0, "the guest's own"),),
    )
    GSTATUS4 = Register(
        0xBC,
        doc="Inform register: kept over all resets but power on",
        fields=(Field("INFORM", 31, 0, "the guest's own"),),
    )
    DSC0 = Register(
        0xC4,
        writable=0x8000_03FF,
        fields=(
            Field("nEN_DSC", 31, doc="drive strength control is off"),
            Field("DSC_ADR", 9, 8, values=_STRENGTHS),
            Field("DSC_DATA3", 7, 6, values=_STRENGTHS),
            Field("DSC_DATA2", 5, 4, values=_STRENGTHS),
            Field("DSC_DATA1", 3, 2, values=_STRENGTHS),
            Field("DSC_DATA0", 1, 0, values=_STRENGTHS),
        ),
        doc="Drive strength of address and data pins",
    )
    DSC1 = Register(
        0xC8,
        writable=0x3FFF_FFFF,
        fields=(
            Field("DSC_SCK1", 29, 28, values=_STRENGTHS),
            Field("DSC_SCK0", 27, 26, values=_STRENGTHS),
            Field("DSC_SCKE", 25, 24, values=_CONTROL_STRENGTHS),
            Field("DSC_SDR", 23, 22, values=_CONTROL_STRENGTHS),
            Field("DSC_NFC", 21, 20, values=_CONTROL_STRENGTHS),
            Field("DSC_BE", 19, 18, values=_CONTROL_STRENGTHS),
            Field("DSC_WOE", 17, 16, values=_CONTROL_STRENGTHS),
            *(Field(f"DSC_CS{n}", 2 * n + 1, 2 * n, values=_CONTROL_STRENGTHS) for n in reversed(range(8))),
        ),
        doc="Drive strength of memory control pins",
    )
    MSLCON = Register(
        0xCC,
        writable=0xFFF,
        fields=(
            Field("PSC_DATA", 11, doc="what DATA[31:0] does in sleep mode"),
            Field("PSC_WAIT", 10, doc="what nWAIT does in sleep mode"),
            Field("PSC_RnB", 9, doc="what RnB does in sleep mode"),
            Field("PSC_NF", 8, doc="what the NAND flash pins does in sleep mode"),
            Field("PSC_SDR", 7, doc="what nSRAS and nSCAS does in sleep mode"),
            Field("PSC_DQM", 6, doc="what DQM[3:0] and nWE[3:0] does in sleep mode"),
            Field("PSC_OE", 5, doc="what nOE does in sleep mode"),
            Field("PSC_WE", 4, doc="what nWE does in sleep mode"),
            Field("PSC_GCS0", 3, doc="what nGCS0 does in sleep mode"),
            Field("PSC_GCS51", 2, doc="what nGCS5 to nGCS1 does in sleep mode"),
            Field("PSC_GCS6", 1, doc="what nGCS6 does in sleep mode"),
            Field("PSC_GCS7", 0, doc="what nGCS7 does in sleep mode"),
        ),
        doc="Memory pins in sleep mode",
    )

    def __init__(
        self, name: str = "gpio", *, eint: Mapping[str, Line] | None = None, log: GuestLog | None = None
    ) -> None:
        super().__init__(name, log)
        self.eint = {line: Line(line) for line in EINT_LINES} if eint is None else dict(eint)
        missing = [line for line in EINT_LINES if line not in self.eint]
        if missing:
            raise ValueError(
                f"{name} has no line for {', '.join(missing)}: it drives {', '.join(EINT_LINES)}"
            )
        #: what GSTATUS0 shows
        self.status = {field.name: Line(field.name, 1) for field in Gpio.GSTATUS0.fields}
        #: called before GSTATUS0 is read: lets levels that are only derived when wanted be right
        self.before_status: Callable[[], None] = _nothing
        #: called with each pin whose level changes, for traces
        self.on_change: list[Callable[[Pin], None]] = []
        #: what the next :meth:`reset` is; the board sets it before it resets the chip
        self.reset_cause = ResetCause.POWER_ON
        #: told of external interrupts that come, masked or not, as a sum of 1 << n: they end SLEEP
        self.on_eint: Callable[[int], None] | None = None
        *self._direct, self._eint4_7, self._eint8_23 = (self.eint[line] for line in EINT_LINES)
        self._low = self._high = self._falling = self._rising = 0
        self._sensitive = 0  # external interrupts whose pins are in EINT function
        self._held = 0  # those of EINT0 to EINT3 whose level holds their line up
        self.ports = {
            letter: Port(port, self.__dict__, self._levels_changed) for letter, port in PORTS.items()
        }
        self._by_register = {
            f"GP{letter}{suffix}": port
            for letter, port in self.ports.items()
            for suffix in ("CON", "DAT", "UP")
        }
        self._pins = {pin.name: pin for port in self.ports.values() for pin in port.pins}
        self._update_triggers()

    def pin(self, name: str) -> Pin:
        """The pin of that name (``GPB5``). KeyError when the chip has no such pin."""
        pin = self._pins.get(name)
        if pin is None:
            letters = ", ".join(f"{port.pins[0].name}-{len(port.pins) - 1}" for port in self.ports.values())
            raise KeyError(f"the S3C2440A has no pin {name!r}: its pins are {letters}")
        return pin

    def facts(self) -> Iterator[Fact]:
        """The external interrupts whose pins are in that function."""
        controls = (self.EXTINT0, self.EXTINT1, self.EXTINT2)
        for number in range(EINTS):
            if not self._sensitive >> number & 1:
                continue
            words = [_SIGNALING[controls[number >> 3] >> 4 * (number & 7) & 7]]
            if number >= len(self._direct):
                words.append("masked" if self.EINTMASK >> number & 1 else "enabled")
                words += ["pending"] if self.EINTPEND >> number & 1 else []
            pin = f"GPF{number}" if number < 8 else f"GPG{number - 8}"
            yield Fact(f"EINT{number} on {pin}", ", ".join(words))

    def describe(self) -> Iterator[PinState]:
        """Every pin's state, port by port."""
        return (pin.state() for pin in self._pins.values())

    # -- ports -----------------------------------------------------------------------------------

    @writes(GPADAT, GPBDAT, GPCDAT, GPDDAT, GPEDAT, GPFDAT, GPGDAT, GPHDAT, GPJDAT)
    def _write_data(self, register: Register, value: int) -> None:
        self._by_register[register.name].write_latch(value)

    @writes(GPACON, GPBCON, GPCCON, GPDCON, GPECON, GPFCON, GPGCON, GPHCON, GPJCON)
    def _write_control(self, register: Register, value: int) -> None:
        self.__dict__[register.name] = value & register.writable
        port = self._by_register[register.name]
        if port.description.first_eint is None:
            port.configure()
            return
        # Making a pin an EINT or something else is no edge, even where it changes the level.
        self._sensitive = 0
        port.configure()
        self._update_sensitive()

    @writes(GPBUP, GPCUP, GPDUP, GPEUP, GPFUP, GPGUP, GPHUP, GPJUP)
    def _write_pull(self, register: Register, value: int) -> None:
        self.__dict__[register.name] = value & register.writable
        self._by_register[register.name].configure()

    def _levels_changed(self, port: Port, changed: int) -> None:
        first = port.description.first_eint
        if first is not None:
            seen = changed << first & self._sensitive
            if seen:
                levels = port.levels << first
                self._update_eint((seen & levels & self._rising) | (seen & ~levels & self._falling))
        if self.on_change:
            for pin in port.pins:
                if changed & pin.bit:
                    for listener in self.on_change:
                        listener(pin)
        port.notify(changed)

    # -- external interrupts -----------------------------------------------------------------

    def _update_sensitive(self) -> None:
        self._sensitive = self.ports["F"].selected[0] | self.ports["G"].selected[0] << 8
        self._update_eint(0)

    def _update_triggers(self) -> None:
        controls = (self.EXTINT0, self.EXTINT1, self.EXTINT2)
        methods = [controls[n >> 3] >> 4 * (n & 7) & 7 for n in range(EINTS)]
        self._low, self._high, self._falling, self._rising = (
            sum(1 << n for n, method in enumerate(methods) if method in kind)
            for kind in (_LOW, _HIGH, _FALLING, _RISING)
        )
        self._update_sensitive()

    @writes(EXTINT0, EXTINT1, EXTINT2)
    def _write_triggers(self, register: Register, value: int) -> None:
        self.__dict__[register.name] = value & register.writable
        self._update_triggers()

    def _update_eint(self, edges: int) -> None:
        """Latch new ``edges`` and present levels, and drive the lines to the interrupt controller."""
        levels = self.GPFDAT | self.GPGDAT << 8
        active = self._sensitive & ((levels & self._high) | (~levels & self._low))
        self.EINTPEND |= (edges | active) & 0xFF_FFF0
        if (edges or active) and self.on_eint is not None:
            self.on_eint(edges | active)
        pending = self.EINTPEND & ~self.EINTMASK
        self._eint4_7.set(pending & 0x0000F0 != 0)
        self._eint8_23.set(pending & 0xFFFF00 != 0)
        direct = (active | edges | self._held) & 0xF
        if direct:
            self._held = active & 0xF
            for number, line in enumerate(self._direct):
                line.set(active >> number & 1)
                if edges >> number & 1:
                    line.pulse()

    def eint_pins(self) -> int:
        """The external interrupts whose pins are in that function, as a sum of 1 << n."""
        return self._sensitive

    def report_levels(self) -> None:
        """Tell :attr:`on_eint` of the interrupts whose levels are active."""
        self._update_eint(0)

    @EINTPEND.write
    def _clear_eint(self, value: int) -> None:
        self.EINTPEND &= ~value
        self._update_eint(0)

    @EINTMASK.write
    def _write_eint_mask(self, value: int) -> None:
        self.EINTMASK = value & 0xFF_FFFF
        self._update_eint(0)

    # -- status ------------------------------------------------------------------------------

    @GSTATUS0.read
    def _read_status(self) -> int:
        self.before_status()
        return sum(self.status[field.name].level << field.low for field in Gpio.GSTATUS0.fields)

    @GSTATUS2.write
    def _clear_reset_cause(self, value: int) -> None:
        self.GSTATUS2 &= ~value

    # -- reset and snapshots -----------------------------------------------------------------

    def reset(self) -> None:
        """Make every pin an input with its reset pull-up; what is driven from outside stays.

        ``reset_cause`` says which reset it is (it becomes POWER_ON again): one other than power on
        keeps GSTATUS3 and GSTATUS4 (S3C2440A UM chapter 9, GSTATUSn). The one that ends SLEEP also keeps
        EINTPEND, in which resuming systems find what woke them (Linux, arch/arm/mach-s3c/pm-core-s3c24xx.h).
        """
        kept = self.GSTATUS3, self.GSTATUS4
        pending = self.EINTPEND if self.reset_cause is ResetCause.SLEEP else 0
        levels = self._levels()
        super().reset()
        if self.reset_cause is not ResetCause.POWER_ON:
            self.GSTATUS3, self.GSTATUS4 = kept
        self.EINTPEND = pending
        self.GSTATUS2 = self.reset_cause.value
        self.reset_cause = ResetCause.POWER_ON
        self.__dict__.update(levels)
        for port in self.ports.values():
            port.latch = 0
        self._reconfigure()

    def save(self) -> dict[str, Any]:
        """The complete state, what is driven onto the pins included."""
        return super().save() | {"pins": {letter: port.save() for letter, port in self.ports.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back a saved state; listeners of pins hear of levels that it changes."""
        levels = self._levels()
        super().load({name: value for name, value in state.items() if name != "pins"})
        self.__dict__.update(levels)
        for letter, port in self.ports.items():
            port.load(state["pins"][letter])
        self._reconfigure()

    def _levels(self) -> dict[str, int]:
        return {f"GP{letter}DAT": port.levels for letter, port in self.ports.items()}

    def _reconfigure(self) -> None:
        self._sensitive = 0
        for port in self.ports.values():
            port.configure()
        self._update_triggers()
