"""The interrupt controller: requests are latched, masked, arbitrated and passed to the core.

S3C2440A UM chapter 14. A request goes source -> SRCPND -> INTMSK -> INTMOD and from there either to
FIQ directly or through the arbiters to INTPND and IRQ. Fifteen sub-sources are latched in SUBSRCPND
first, masked by INTSUBMSK and folded into their parents in SRCPND.

When does a request latch, once software has cleared its pending bit and the line is still up?

* A *level* source latches again at once. The parents of sub-sources and EINT4_7 and EINT8_23 are ORs
  of several requests: Linux's chained handlers acknowledge the parent before they serve a child
  (irq-s3c24xx.c: s3c_irq_demux), so a second child that is already up would never make another edge,
  and would be lost. USB, SDI and the NAND controller are ORs of status bits too. It is also why
  programmers of this chip clear SUBSRCPND and EINTPEND before SRCPND: in the other order the
  interrupt comes twice.
* An *edge* source stands for one event (timer, DMA, IIC, SPI, RTC, a conversion done). Linux
  acknowledges it before its handler (handle_edge_irq), while the block may well hold its request, and
  a second call would do harm: i2c-s3c2410 would take it for the next byte. Such a source latches only
  when its line rises.

Which is which follows the types in irq-s3c24xx.c, with EINT0-3, INT_SDI, INT_USBD and INT_USBH being
level here for the reason above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register

EDGE, LEVEL = False, True

_ACTIVE = ("idle", "requesting")


class Source(NamedTuple):
    """A request input: ``bit`` in SRCPND, or in SUBSRCPND when it has a ``parent`` source."""

    name: str
    bit: int
    level: bool
    doc: str
    parent: str | None = None

    @property
    def mask(self) -> int:
        """The source's bit, in place."""
        return 1 << self.bit


#: S3C2440A UM chapter 14: the bits of SRCPND, INTMOD, INTMSK and INTPND
SOURCES = (
    Source("EINT0", 0, LEVEL, "external interrupt 0"),
    Source("EINT1", 1, LEVEL, "external interrupt 1"),
    Source("EINT2", 2, LEVEL, "external interrupt 2"),
    Source("EINT3", 3, LEVEL, "external interrupt 3"),
    Source("EINT4_7", 4, LEVEL, "external interrupts 4 to 7"),
    Source("EINT8_23", 5, LEVEL, "external interrupts 8 to 23"),
    Source("INT_CAM", 6, LEVEL, "camera interface"),
    Source("nBATT_FLT", 7, EDGE, "battery fault"),
    Source("INT_TICK", 8, EDGE, "RTC time tick"),
    Source("INT_WDT_AC97", 9, LEVEL, "watchdog timer and AC97"),
    Source("INT_TIMER0", 10, EDGE, "PWM timer 0"),
    Source("INT_TIMER1", 11, EDGE, "PWM timer 1"),
    Source("INT_TIMER2", 12, EDGE, "PWM timer 2"),
    Source("INT_TIMER3", 13, EDGE, "PWM timer 3"),
    Source("INT_TIMER4", 14, EDGE, "PWM timer 4"),
    Source("INT_UART2", 15, LEVEL, "UART 2"),
    Source("INT_LCD", 16, EDGE, "LCD FIFO and frame"),
    Source("INT_DMA0", 17, EDGE, "DMA channel 0"),
    Source("INT_DMA1", 18, EDGE, "DMA channel 1"),
    Source("INT_DMA2", 19, EDGE, "DMA channel 2"),
    Source("INT_DMA3", 20, EDGE, "DMA channel 3"),
    Source("INT_SDI", 21, LEVEL, "SD/MMC host"),
    Source("INT_SPI0", 22, EDGE, "SPI 0"),
    Source("INT_UART1", 23, LEVEL, "UART 1"),
    Source("INT_NFCON", 24, LEVEL, "NAND flash controller"),
    Source("INT_USBD", 25, LEVEL, "USB device"),
    Source("INT_USBH", 26, LEVEL, "USB host"),
    Source("INT_IIC", 27, EDGE, "IIC"),
    Source("INT_UART0", 28, LEVEL, "UART 0"),
    Source("INT_SPI1", 29, EDGE, "SPI 1"),
    Source("INT_RTC", 30, EDGE, "RTC alarm"),
    Source("INT_ADC", 31, LEVEL, "ADC and touch screen"),
)

#: S3C2440A UM chapter 14: the bits of SUBSRCPND and INTSUBMSK
SUB_SOURCES = (
    Source("INT_RXD0", 0, LEVEL, "UART 0 receive", "INT_UART0"),
    Source("INT_TXD0", 1, LEVEL, "UART 0 transmit", "INT_UART0"),
    Source("INT_ERR0", 2, LEVEL, "UART 0 error", "INT_UART0"),
    Source("INT_RXD1", 3, LEVEL, "UART 1 receive", "INT_UART1"),
    Source("INT_TXD1", 4, LEVEL, "UART 1 transmit", "INT_UART1"),
    Source("INT_ERR1", 5, LEVEL, "UART 1 error", "INT_UART1"),
    Source("INT_RXD2", 6, LEVEL, "UART 2 receive", "INT_UART2"),
    Source("INT_TXD2", 7, LEVEL, "UART 2 transmit", "INT_UART2"),
    Source("INT_ERR2", 8, LEVEL, "UART 2 error", "INT_UART2"),
    Source("INT_TC", 9, EDGE, "touch screen: pen up or down", "INT_ADC"),
    Source("INT_ADC_S", 10, EDGE, "A/D conversion done", "INT_ADC"),
    Source("INT_CAM_C", 11, LEVEL, "camera codec path", "INT_CAM"),
    Source("INT_CAM_P", 12, LEVEL, "camera preview path", "INT_CAM"),
    Source("INT_WDT", 13, LEVEL, "watchdog timer", "INT_WDT_AC97"),
    Source("INT_AC97", 14, LEVEL, "AC97", "INT_WDT_AC97"),
)

_BY_NAME = {source.name: source for source in SOURCES + SUB_SOURCES}
_RELATCH = sum(source.mask for source in SOURCES if source.level)
_SUB_RELATCH = sum(source.mask for source in SUB_SOURCES if source.level)


def _fold(sources: Iterable[Source]) -> tuple[int, ...]:
    """The SRCPND bits that unmasked sub-sources request, by which of ``sources`` these are."""
    table = [0]
    for source in sources:
        parent = _BY_NAME[source.parent].mask if source.parent else 0
        table += [parents | parent for parents in table]
    return tuple(table)


# The fold as two table look-ups: it runs at each access to SUBSRCPND or INTSUBMSK.
_FOLD_LOW, _FOLD_HIGH = _fold(SUB_SOURCES[:9]), _fold(SUB_SOURCES[9:])

#: S3C2440A UM figure 14-2: which source is which REQ of arbiters 0 to 5; these are REQ0-5 of arbiter 6
ARBITERS: tuple[Mapping[int, str], ...] = (
    {1: "EINT0", 2: "EINT1", 3: "EINT2", 4: "EINT3"},
    {0: "EINT4_7", 1: "EINT8_23", 2: "INT_CAM", 3: "nBATT_FLT", 4: "INT_TICK", 5: "INT_WDT_AC97"},
    {0: "INT_TIMER0", 1: "INT_TIMER1", 2: "INT_TIMER2", 3: "INT_TIMER3", 4: "INT_TIMER4", 5: "INT_UART2"},
    {0: "INT_LCD", 1: "INT_DMA0", 2: "INT_DMA1", 3: "INT_DMA2", 4: "INT_DMA3", 5: "INT_SDI"},
    {0: "INT_SPI0", 1: "INT_UART1", 2: "INT_NFCON", 3: "INT_USBD", 4: "INT_USBH", 5: "INT_IIC"},
    {1: "INT_UART0", 2: "INT_SPI1", 3: "INT_RTC", 4: "INT_ADC"},
)
_TOP = 6

#: S3C2440A UM 14-6: the order in which an arbiter looks at its requests, by ARB_SEL
_ORDER = ((0, 1, 2, 3, 4, 5), (0, 2, 3, 4, 1, 5), (0, 3, 4, 1, 2, 5), (0, 4, 1, 2, 3, 5))

_GROUPS = tuple(sum(_BY_NAME[name].mask for name in requests.values()) for requests in ARBITERS)


def _sel_shift(arbiter: int) -> int:
    return 7 + 2 * arbiter


# For arbiters 0 to 6: REQ number -> the SRCPND bits behind it.
_WIRES: tuple[Mapping[int, int], ...] = (
    *({req: _BY_NAME[name].mask for req, name in requests.items()} for requests in ARBITERS),
    dict(enumerate(_GROUPS)),
)

# For each arbiter and ARB_SEL, those bits in order of urgency.
_CHOICES = tuple(
    tuple(tuple(wires[req] for req in order if req in wires) for order in _ORDER) for wires in _WIRES
)


def _rotations(source: Source) -> tuple[tuple[int, int, int], ...]:
    """What serving ``source`` does to PRIORITY: (ARB_MODE bit, ARB_SEL mask, new ARB_SEL) an arbiter.

    The served one of REQ1 to REQ4 becomes the least urgent; REQ0 and REQ5 change nothing.
    """
    arbiter, request = next(
        (index, req)
        for index, requests in enumerate(ARBITERS)
        for req, name in requests.items()
        if name == source.name
    )
    steps = ((arbiter, request), (_TOP, arbiter))
    return tuple(
        (1 << index, 3 << _sel_shift(index), (req & 3) << _sel_shift(index))
        for index, req in steps
        if 1 <= req <= 4
    )


_ROTATIONS = tuple(_rotations(source) for source in SOURCES)


def _source_fields(sources: tuple[Source, ...], verb: str) -> tuple[Field, ...]:
    return tuple(Field(source.name, source.bit, doc=f"{source.doc} {verb}") for source in sources)


def _priority_fields() -> tuple[Field, ...]:
    orders = {sel: "REQ " + "-".join(map(str, order)) for sel, order in enumerate(_ORDER)}
    return tuple(
        Field(f"ARB_SEL{n}", _sel_shift(n) + 1, _sel_shift(n), f"order of arbiter {n}", orders)
        for n in reversed(range(_TOP + 1))
    ) + tuple(
        Field(f"ARB_MODE{n}", n, doc=f"arbiter {n} rotates", values={0: "fixed", 1: "rotates"})
        for n in reversed(range(_TOP + 1))
    )


class SourceState(NamedTuple):
    """One source at one moment, for ``info irq``: ``level`` is that of its line."""

    source: Source
    level: int
    pending: bool
    masked: bool
    fiq: bool


class InterruptController(Device):
    """Takes the blocks' requests on the lines of :meth:`source`, drives ``irq`` and ``fiq``.

    Resetting it forgets all pending requests. A line that is still up then latches again when it
    next rises: the blocks are reset together and have dropped theirs.
    """

    title = "Interrupt controller"
    STATE = ("asserted", "sub_asserted", "folded")

    SRCPND = Register(
        0x00, fields=_source_fields(SOURCES, "requests"), doc="Source pending; write 1 to clear"
    )
    INTMOD = Register(0x04, fields=_source_fields(SOURCES, "is FIQ"), doc="Interrupt mode: 1 is FIQ")
    INTMSK = Register(
        0x08, reset=0xFFFF_FFFF, fields=_source_fields(SOURCES, "is masked"), doc="Interrupt mask: 1 is off"
    )
    PRIORITY = Register(
        0x0C, reset=0x7F, writable=0x1F_FFFF, fields=_priority_fields(), doc="Arbiter control"
    )
    INTPND = Register(
        0x10,
        fields=_source_fields(SOURCES, "is being served"),
        doc="Interrupt pending (one); write 1 to clear",
    )
    INTOFFSET = Register(
        0x14,
        access="ro",
        doc="Number of the bit that is set in INTPND",
        fields=(Field("INTOFFSET", 4, 0, "source's number"),),
    )
    SUBSRCPND = Register(
        0x18, fields=_source_fields(SUB_SOURCES, "requests"), doc="Sub-source pending; write 1 to clear"
    )
    INTSUBMSK = Register(
        0x1C,
        reset=0xFFFF,
        writable=0xFFFF,
        fields=_source_fields(SUB_SOURCES, "is masked"),
        doc="Sub-source mask: 1 is off",
    )

    def __init__(self, name: str = "intc", *, log: GuestLog | None = None) -> None:
        super().__init__(name, log)
        self.irq = Line("nIRQ")
        self.fiq = Line("nFIQ")
        self.asserted = 0  # levels of the lines, as SRCPND bits
        self.sub_asserted = 0  # and as SUBSRCPND bits
        self.folded = 0  # what the sub-sources request of SRCPND
        #: by a source's bit in SRCPND: whom to tell when software has cleared it
        self._to_tell: dict[int, Callable[[], None]] = {}
        #: every source's line by name, for tracing
        self.lines: dict[str, Line] = {}
        for source in SOURCES:
            self._add_line(source.name).connect(partial(self._line_changed, source.mask))
        for source in SUB_SOURCES:
            self._add_line(source.name).connect(partial(self._sub_line_changed, source.mask))

    def _add_line(self, name: str) -> Line:
        line = self.lines[name] = Line(name)
        return line

    def source(self, name: str) -> Line:
        """The line on which a block requests interrupt ``name`` (a source or sub-source).

        KeyError when the chip has no such source.
        """
        line = self.lines.get(name)
        if line is None:
            raise KeyError(
                f"the S3C2440A has no interrupt source {name!r}: the sources are {', '.join(self.lines)}"
            )
        return line

    def pending(self, name: str) -> bool:
        """Whether request ``name`` is latched in SRCPND: as long as it is, another one changes nothing."""
        return self.SRCPND & _BY_NAME[name].mask != 0

    def when_cleared(self, name: str, tell: Callable[[], None]) -> None:
        """Call ``tell`` each time when software has cleared the source ``name`` of SRCPND."""
        self._to_tell[_BY_NAME[name].mask] = tell

    # -- requests ------------------------------------------------------------------------------

    def _line_changed(self, bit: int, level: int) -> None:
        if level:
            self.asserted |= bit
            self.SRCPND |= bit
            if bit & ~self.INTMSK:
                self._update()
        else:
            self.asserted &= ~bit

    def _sub_line_changed(self, bit: int, level: int) -> None:
        if level:
            self.sub_asserted |= bit
            self.SUBSRCPND |= bit
            if bit & ~self.INTSUBMSK:
                self._fold()
        else:
            self.sub_asserted &= ~bit

    def _fold(self) -> None:
        """Pass the unmasked sub-sources on to their parents in SRCPND."""
        pending = self.SUBSRCPND & ~self.INTSUBMSK
        folded = _FOLD_LOW[pending & 0x1FF] | _FOLD_HIGH[pending >> 9 & 0x3F]
        risen = folded & ~self.folded
        self.folded = folded
        if risen:
            self.SRCPND |= risen
            self._update()

    def _update(self) -> None:
        """Let the unmasked requests through to the core.

        INTPND holds one request until software clears it: a more urgent one has to wait for that.
        """
        pending = self.SRCPND & ~self.INTMSK
        mode = self.INTMOD
        if mode:
            self.fiq.set(pending & mode != 0)
            pending &= ~mode
        if pending and not self.INTPND:
            self._grant(pending)

    def _grant(self, pending: int) -> None:
        if pending & (pending - 1):
            priority = self.PRIORITY
            for group in _CHOICES[_TOP][priority >> 19 & 3]:
                if pending & group:
                    break
            arbiter = _GROUPS.index(group)
            for bit in _CHOICES[arbiter][priority >> _sel_shift(arbiter) & 3]:
                if pending & bit:
                    break
        else:
            bit = pending
        number = bit.bit_length() - 1
        self.INTPND = bit
        self.INTOFFSET = number
        for mode, mask, sel in _ROTATIONS[number]:
            if self.PRIORITY & mode:
                self.PRIORITY = (self.PRIORITY & ~mask) | sel
        self.irq.set(1)

    # -- registers -----------------------------------------------------------------------------

    @SRCPND.write
    def _clear_sources(self, value: int) -> None:
        before = self.SRCPND
        self.SRCPND = (before & ~value) | (self.asserted & _RELATCH) | self.folded
        # a line that was held through a reset is latched only here
        if self.INTMOD or self.SRCPND & ~before:
            self._update()
        value &= before
        if value & (value - 1):
            for bit, tell in self._to_tell.items():
                if value & bit:
                    tell()
        elif value in self._to_tell:
            self._to_tell[value]()

    @INTPND.write
    def _clear_pending(self, value: int) -> None:
        if value & self.INTPND:
            self.INTPND = 0
            self.INTOFFSET = 0
            self._update()
            if not self.INTPND:
                self.irq.set(0)

    @INTMSK.write
    def _write_mask(self, value: int) -> None:
        # A request that is in INTPND already stays there: the mask comes before it (figure 14-1).
        self.INTMSK = value
        self._update()

    @INTMOD.write
    def _write_mode(self, value: int) -> None:
        if value & (value - 1):
            self.guest_error(f"INTMOD = 0x{value:08x} makes more than one source FIQ")
        self.INTMOD = value
        if not value:
            self.fiq.set(0)
        self._update()

    @SUBSRCPND.write
    def _clear_sub_sources(self, value: int) -> None:
        self.SUBSRCPND = (self.SUBSRCPND & ~value) | (self.sub_asserted & _SUB_RELATCH)
        self._fold()

    @INTSUBMSK.write
    def _write_sub_mask(self, value: int) -> None:
        self.INTSUBMSK = value & 0xFFFF
        self._fold()

    # -- reset, snapshots, dumps ---------------------------------------------------------------

    def reset(self) -> None:
        """Mask everything and forget what is pending."""
        super().reset()
        self.folded = 0
        self.irq.set(0)
        self.fiq.set(0)

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back a saved state, the levels of the request lines included.

        The blocks drive their lines again when they are loaded: as these have their levels already,
        no request is latched twice, whichever is loaded first.
        """
        super().load(state)
        for source in SOURCES:
            self.lines[source.name].level = self.asserted >> source.bit & 1
        for source in SUB_SOURCES:
            self.lines[source.name].level = self.sub_asserted >> source.bit & 1
        self.irq.set(self.INTPND != 0)
        self.drive_fiq()

    def drive_fiq(self) -> None:
        """Put the FIQ line where the pending requests have it: after somebody else moved it."""
        self.fiq.set(self.SRCPND & ~self.INTMSK & self.INTMOD != 0)

    def facts(self) -> Iterator[Fact]:
        """Who is served, who waits, who is let through."""
        served = next((source.name for source in SOURCES if source.mask & self.INTPND), "nothing")
        yield Fact("serving", served)
        rows = list(self.describe())
        pending = [row for row in rows if row.pending]
        for title, names in (
            ("pending", [row.source.name for row in pending if not row.masked]),
            ("pending, masked", [row.source.name for row in pending if row.masked]),
            ("enabled", [row.source.name for row in rows if not row.masked]),
        ):
            yield Fact(title, " ".join(names) or "none")
        yield Fact("nIRQ, nFIQ", f"{_ACTIVE[self.irq.level]}, {_ACTIVE[self.fiq.level]}")

    def describe(self) -> Iterator[SourceState]:
        """Every source and sub-source with its state, sources first."""
        for source in SOURCES + SUB_SOURCES:
            sub = source.parent is not None
            pending, masked = (self.SUBSRCPND, self.INTSUBMSK) if sub else (self.SRCPND, self.INTMSK)
            main = _BY_NAME[source.parent] if source.parent else source
            yield SourceState(
                source,
                self.lines[source.name].level,
                bool(pending & source.mask),
                bool(masked & source.mask),
                bool(self.INTMOD & main.mask),
            )
