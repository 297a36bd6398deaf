"""The A/D converter and touch screen interface (S3C2440A UM chapter 16)."""

from __future__ import annotations

from collections.abc import Iterator

from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register
from dbgemu.target.s3c2440.clocks import Clocks

CHANNELS = 8
FULL_SCALE = 0x3FF
#: the start delay counts this crystal
CRYSTAL_HZ = 12_000_000
#: a conversion takes this many clocks of PCLK / (PRSCVL + 1)
CONVERSION_CLOCKS = 5

FINISHED, PRESCALER_ENABLE, STANDBY, READ_START, START = 0x8000, 0x4000, 0x04, 0x02, 0x01
DETECT_UP, AUTO, POSITION_MASK = 0x100, 0x04, 0x03
MEASURE_X, MEASURE_Y, WAIT_FOR_PEN = 1, 2, 3
PEN_UP, STYLUS_UP, STYLUS_DOWN = 0x8000, 0x02, 0x01

_POSITION = {0: "none", 1: "X", 2: "Y", 3: "waiting for the pen"}
_DATA = (
    Field("UPDOWN", 15, values={0: "pen down", 1: "pen up"}),
    Field("AUTO_PST", 14, doc="automatic X and Y"),
    Field("XY_PST", 13, 12, "manual measurement", _POSITION),
    Field("DATA", 9, 0, "converted value"),
)


class Adc(Device):
    """The converter.

    ``inputs`` holds the 10-bit values that AIN0 to AIN7 convert to; :meth:`touch` and
    :meth:`release` move the pen. ``conversion_done`` is INT_ADC_S, ``pen_moved`` INT_TC.
    """

    title = "ADC and touch screen"
    STATE = ("_timer", "inputs", "pen")

    ADCCON = Register(
        0x00,
        width=16,
        reset=0x3FC4,
        doc="Control",
        fields=(
            Field("ECFLG", 15, doc="conversion finished"),
            Field("PRSCEN", 14, doc="prescaler"),
            Field("PRSCVL", 13, 6, "prescaler value"),
            Field("SEL_MUX", 5, 3, "input AIN0 to AIN7"),
            Field("STDBM", 2, doc="standby"),
            Field("READ_START", 1, doc="reading the data starts a conversion"),
            Field("ENABLE_START", 0, doc="start; clears itself"),
        ),
    )
    ADCTSC = Register(
        0x04,
        width=9,
        reset=0x58,
        doc="Touch screen control",
        fields=(
            Field("UD_SEN", 8, doc="detect", values={0: "pen down", 1: "pen up"}),
            Field("YM_SEN", 7, doc="YM is ground"),
            Field("YP_SEN", 6, doc="YP is an input"),
            Field("XM_SEN", 5, doc="XM is ground"),
            Field("XP_SEN", 4, doc="XP is an input"),
            Field("PULL_UP", 3, doc="XP pull-up off"),
            Field("AUTO_PST", 2, doc="X and Y in one go"),
            Field("XY_PST", 1, 0, "measurement", _POSITION),
        ),
    )
    ADCDLY = Register(
        0x08,
        width=16,
        reset=0xFF,
        doc="Start delay, in crystal clocks",
        fields=(Field("DELAY", 15, 0, "crystal clocks"),),
    )
    ADCDAT0 = Register(0x0C, width=16, access="ro", doc="Converted input, or X", fields=_DATA)
    ADCDAT1 = Register(0x10, width=16, access="ro", doc="Y", fields=_DATA)
    ADCUPDN = Register(
        0x14,
        width=2,
        doc="Pen interrupts",
        fields=(Field("TSC_UP", 1, doc="pen went up"), Field("TSC_DN", 0, doc="pen went down")),
    )

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        clocks: Clocks,
        conversion_done: Line,
        pen_moved: Line,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clocks = clocks
        self.conversion_done = conversion_done
        self.pen_moved = pen_moved
        self.inputs = [0] * CHANNELS
        #: where the pen is, as converted values (x, y), or None
        self.pen: tuple[int, int] | None = None
        self._timer = Timer(clock, self._converted)

    def reset(self) -> None:
        """Power-on or system reset; inputs and pen are outside."""
        super().reset()
        self._timer.cancel()

    def facts(self) -> Iterator[Fact]:
        """The clock of conversions, the inputs, and the pen."""
        divider = (self.ADCCON >> 6 & 0xFF) + 1 if self.ADCCON & PRESCALER_ENABLE else 1
        yield Fact("conversion clock", self.clocks.pclk // divider, "Hz")
        yield Fact("converting", self._timer.deadline is not None)
        yield Fact("AIN0 to AIN7", " ".join(map(str, self.inputs)))
        yield Fact("pen", "up" if self.pen is None else f"down at {self.pen[0]}, {self.pen[1]}")

    # -- outside world ------------------------------------------------------------------------

    def touch(self, x: int, y: int) -> None:
        """Put the pen at, or move it to, the converted values ``x`` and ``y`` (0 to 1023)."""
        was_up = self.pen is None
        self.pen = (x & FULL_SCALE, y & FULL_SCALE)
        if was_up:
            self._detect()

    def release(self) -> None:
        """Lift the pen."""
        if self.pen is not None:
            self.pen = None
            self._detect()

    def _detect(self) -> None:
        """INT_TC, when the guest waits for the state that the pen is in."""
        control = self.ADCTSC
        if control & POSITION_MASK == WAIT_FOR_PEN and bool(control & DETECT_UP) == (self.pen is None):
            self.ADCUPDN |= STYLUS_UP if self.pen is None else STYLUS_DOWN
            self.pen_moved.pulse()

    # -- conversions --------------------------------------------------------------------------

    @ADCCON.write
    def _write_control(self, value: int) -> None:
        self.ADCCON = value & 0x7FFE | self.ADCCON & FINISHED
        if value & START and not value & READ_START:
            self._start()

    def _start(self) -> None:
        if self.ADCCON & STANDBY:
            return
        self.ADCCON &= ~FINISHED
        divider = (self.ADCCON >> 6 & 0xFF) + 1 if self.ADCCON & PRESCALER_ENABLE else 1
        axes = 2 if self.ADCTSC & AUTO else 1
        conversion = cycles_to_ns(CONVERSION_CLOCKS * divider, self.clocks.pclk)
        self._timer.start_in(axes * (conversion + cycles_to_ns(self.ADCDLY, CRYSTAL_HZ)))

    def _converted(self) -> None:
        control = self.ADCTSC
        x, y = self.pen if self.pen is not None else (FULL_SCALE, FULL_SCALE)
        status = (control & AUTO) << 12 | (control & POSITION_MASK) << 12
        measured = control & POSITION_MASK
        if control & AUTO:
            self.ADCDAT0, self.ADCDAT1 = status | x, status | y
        elif measured == MEASURE_X:
            self.ADCDAT0 = status | x
        elif measured == MEASURE_Y:
            self.ADCDAT1 = status | y
        else:
            self.ADCDAT0 = status | self.inputs[self.ADCCON >> 3 & 7] & FULL_SCALE
        self.ADCCON |= FINISHED
        self.conversion_done.pulse()

    @ADCTSC.write
    def _write_touch_control(self, value: int) -> None:
        self.ADCTSC = value
        self._detect()

    def _with_pen(self, data: int) -> int:
        return data & ~PEN_UP | (PEN_UP if self.pen is None else 0)

    @ADCDAT0.read
    def _read_x(self) -> int:
        value = self._peek_x()
        self._read_starts()
        return value

    @ADCDAT0.peek
    def _peek_x(self) -> int:
        return self._with_pen(self.ADCDAT0)

    @ADCDAT1.read
    def _read_y(self) -> int:
        value = self._peek_y()
        self._read_starts()
        return value

    @ADCDAT1.peek
    def _peek_y(self) -> int:
        return self._with_pen(self.ADCDAT1)

    def _read_starts(self) -> None:
        if self.ADCCON & READ_START and self._timer.deadline is None:
            self._start()
