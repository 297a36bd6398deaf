"""The four DMA channels (S3C2440A UM chapter 8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from dbgemu.target.bus import Bus
from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns, ns_to_cycles
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, peeks, reads, writes
from dbgemu.target.s3c2440.clocks import Clocks
from dbgemu.target.s3c2440.dma_external import ExternalRequest
from dbgemu.target.s3c2440.dma_mover import Mover
from dbgemu.target.s3c2440.dma_port import DmaPort

CHANNELS = 4
STRIDE = 0x40
STOP, ON, SOFTWARE_TRIGGER = 4, 2, 1
FIXED = 1
INTERRUPT, BURST, WHOLE, HARDWARE, NO_RELOAD = 1 << 29, 1 << 28, 1 << 27, 1 << 23, 1 << 22
HANDSHAKE = 1 << 31
BUSY = 1 << 20
#: HCLK cycles that a unit takes to be read and written: two each, as for SDRAM in a burst
UNIT_CYCLES = 4
#: units after which a long whole service gives the guest a turn
SLICE_UNITS = 1 << 14
COUNT_MASK, ADDRESS_MASK = 0xF_FFFF, 0x7FFF_FFFF

#: what requests service on each channel, by DCON's HWSRCSEL
SOURCES = (
    ("nXDREQ0", "UART0", "SDI", "Timer", "USB EP1", "I2SSDO", "PCMIN"),
    ("nXDREQ1", "UART1", "I2SSDI", "SPI0", "USB EP2", "PCMOUT", "SDI"),
    ("I2SSDO", "I2SSDI", "SDI", "Timer", "USB EP3", "PCMIN", "MICIN"),
    ("UART2", "SDI", "SPI1", "Timer", "USB EP4", "MICIN", "PCMOUT"),
)
_BUS = {0: "AHB", 1: "APB"}
_ADDRESS = (Field("ADDR", 30, 0, "physical address"),)
_STEP = {0: "increment", 1: "fixed"}


def _address(channel: int, offset: int, doc: str) -> Register:
    return Register(
        STRIDE * channel + offset, writable=ADDRESS_MASK, doc=f"Channel {channel}: {doc}", fields=_ADDRESS
    )


def _source_control(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x04,
        width=2,
        doc=f"Channel {channel}: source control",
        fields=(Field("LOC", 1, values=_BUS), Field("INC", 0, values=_STEP)),
    )


def _destination_control(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x0C,
        width=3,
        doc=f"Channel {channel}: destination control",
        fields=(
            Field("CHK_INT", 2, doc="interrupt", values={0: "when TC is 0", 1: "after auto-reload"}),
            Field("LOC", 1, values=_BUS),
            Field("INC", 0, values=_STEP),
        ),
    )


def _control(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x10,
        doc=f"Channel {channel}: control",
        fields=(
            Field("DMD_HS", 31, values={0: "demand", 1: "handshake"}),
            Field("SYNC", 30, doc="requests follow", values={0: "PCLK", 1: "HCLK"}),
            Field("INT", 29, doc="interrupt at the end"),
            Field("TSZ", 28, values={0: "unit", 1: "burst of 4"}),
            Field("SERVMODE", 27, values={0: "single", 1: "whole"}),
            Field("HWSRCSEL", 26, 24, "request source", dict(enumerate(SOURCES[channel]))),
            Field("SWHW_SEL", 23, values={0: "software", 1: "hardware"}),
            Field("RELOAD", 22, values={0: "auto-reload", 1: "off at the end"}),
            Field("DSZ", 21, 20, "data size", {0: "byte", 1: "half word", 2: "word"}),
            Field("TC", 19, 0, "transfer count"),
        ),
    )


def _status(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x14,
        access="ro",
        doc=f"Channel {channel}: status",
        fields=(
            Field("STAT", 21, 20, values={0: "ready", 1: "busy"}),
            Field("CURR_TC", 19, 0, "transfers left"),
        ),
    )


def _current(channel: int, offset: int, doc: str) -> Register:
    return Register(STRIDE * channel + offset, access="ro", doc=f"Channel {channel}: {doc}", fields=_ADDRESS)


def _trigger(channel: int) -> Register:
    return Register(
        STRIDE * channel + 0x20,
        width=3,
        doc=f"Channel {channel}: mask and trigger",
        fields=(
            Field("STOP", 2, doc="stop after the present transfer"),
            Field("ON_OFF", 1, doc="channel is on"),
            Field("SW_TRIG", 0, doc="software request"),
        ),
    )


class Dma(Device):
    """The four channels, 0x40 bytes apart."""

    title = "DMA"
    size = 0x1000
    STATE = ("_left", "_since", "_timer0", "_timer1", "_timer2", "_timer3")

    DISRC0, DISRCC0 = _address(0, 0x00, "initial source"), _source_control(0)
    DIDST0, DIDSTC0 = _address(0, 0x08, "initial destination"), _destination_control(0)
    DCON0, DSTAT0, DMASKTRIG0 = _control(0), _status(0), _trigger(0)
    DCSRC0, DCDST0 = _current(0, 0x18, "current source"), _current(0, 0x1C, "current destination")

    DISRC1, DISRCC1 = _address(1, 0x00, "initial source"), _source_control(1)
    DIDST1, DIDSTC1 = _address(1, 0x08, "initial destination"), _destination_control(1)
    DCON1, DSTAT1, DMASKTRIG1 = _control(1), _status(1), _trigger(1)
    DCSRC1, DCDST1 = _current(1, 0x18, "current source"), _current(1, 0x1C, "current destination")

    DISRC2, DISRCC2 = _address(2, 0x00, "initial source"), _source_control(2)
    DIDST2, DIDSTC2 = _address(2, 0x08, "initial destination"), _destination_control(2)
    DCON2, DSTAT2, DMASKTRIG2 = _control(2), _status(2), _trigger(2)
    DCSRC2, DCDST2 = _current(2, 0x18, "current source"), _current(2, 0x1C, "current destination")

    DISRC3, DISRCC3 = _address(3, 0x00, "initial source"), _source_control(3)
    DIDST3, DIDSTC3 = _address(3, 0x08, "initial destination"), _destination_control(3)
    DCON3, DSTAT3, DMASKTRIG3 = _control(3), _status(3), _trigger(3)
    DCSRC3, DCDST3 = _current(3, 0x18, "current source"), _current(3, 0x1C, "current destination")

    def __init__(
        self,
        name: str,
        *,
        bus: Bus,
        clock: VirtualClock,
        clocks: Clocks,
        interrupts: Sequence[Line],
        log: GuestLog | None = None,
    ) -> None:
        """``interrupts`` are pulsed, by channel."""
        super().__init__(name, log)
        self._clock = clock
        self._clocks = clocks
        self.interrupts = interrupts
        self._mover = Mover(bus, self.log)
        #: by channel: the request sources that are connected, by HWSRCSEL
        self._ports: list[dict[int, DmaPort]] = [{} for _ in range(CHANNELS)]
        #: by channel: bytes to go, and since when (ns) they move without further requests
        self._left = [0] * CHANNELS
        self._since = [-1] * CHANNELS
        #: channels that are in the middle of moving: a FIFO that is served may ask again
        self._busy = [False] * CHANNELS
        self._timer0, self._timer1, self._timer2, self._timer3 = self._timers = [
            Timer(clock, partial(self._whole_service_goes_on, channel)) for channel in range(CHANNELS)
        ]
        #: the pins nXDREQ0 and nXDREQ1, sources of the channels 0 and 1
        self.external = ExternalRequest(0), ExternalRequest(1)
        for channel, port in enumerate(self.external):
            self.connect(channel, port.name, port)
            port.on_release = partial(self._released, channel)

    def connect(self, channel: int, source: str, port: DmaPort) -> None:
        """Let ``port`` be the request source of that name in :data:`SOURCES`. ValueError for a wrong one."""
        number = SOURCES[channel].index(source)
        self._ports[channel][number] = port
        port.listeners.append(partial(self._requested, channel, number))

    def reset(self) -> None:
        """All channels off."""
        super().reset()
        self._left = [0] * CHANNELS
        self._since = [-1] * CHANNELS
        for timer in self._timers:
            timer.cancel()
        for port in self.external:
            port.reset()

    def save(self) -> dict[str, Any]:
        """The complete state as plain data."""
        return {**super().save(), "external": [port.save() for port in self.external]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave; nothing moves by that."""
        super().load({name: value for name, value in state.items() if name != "external"})
        for port, pins in zip(self.external, state["external"], strict=True):
            port.load(pins)

    # -- what a channel is set to ------------------------------------------------------------------

    def _unit(self, channel: int) -> int:
        """Bytes of a unit."""
        return min(4, 1 << (self._get(channel, "DCON") >> 20 & 3))

    def _transfer(self, channel: int) -> int:
        """Bytes of an atomic transfer, by which the count goes down by one."""
        return self._unit(channel) * (4 if self._get(channel, "DCON") & BURST else 1)

    def _get(self, channel: int, name: str) -> int:
        value: int = self.__dict__[name + str(channel)]
        return value

    def _put(self, channel: int, name: str, value: int) -> None:
        self.__dict__[name + str(channel)] = value

    def _steps(self, channel: int) -> tuple[bool, bool]:
        return not self._get(channel, "DISRCC") & FIXED, not self._get(channel, "DIDSTC") & FIXED

    def _load(self, channel: int) -> None:
        """Take over the initial addresses and the count (UM 8, "DMA operation": state 2)."""
        self._put(channel, "DCSRC", self._get(channel, "DISRC"))
        self._put(channel, "DCDST", self._get(channel, "DIDST"))
        self._left[channel] = (self._get(channel, "DCON") & COUNT_MASK) * self._transfer(channel)

    # -- registers -----------------------------------------------------------------------------------

    @writes(DMASKTRIG0, DMASKTRIG1, DMASKTRIG2, DMASKTRIG3)
    def _write_trigger(self, register: Register, value: int) -> None:
        channel = register.offset // STRIDE
        self._catch_up_port(channel)
        was_on = self._get(channel, "DMASKTRIG") & ON
        if value & STOP or not value & ON:
            if was_on:
                self._catch_up(channel)
            self._turn_off(channel)
            if value & STOP:
                # UM 8, DMASKTRIG: the current values become 0
                self._left[channel] = 0
                self._put(channel, "DCSRC", 0)
                self._put(channel, "DCDST", 0)
            return
        self._put(channel, "DMASKTRIG", ON)
        if not was_on:
            self._load(channel)
        if self._get(channel, "DCON") & HARDWARE:
            self._serve(channel)
        elif value & SOFTWARE_TRIGGER:
            self._start(channel)

    @peeks(DSTAT0, DSTAT1, DSTAT2, DSTAT3)
    def _status(self, register: Register) -> int:
        channel = register.offset // STRIDE
        left = self._left[channel] - self._moved(channel)
        busy = BUSY if self._since[channel] >= 0 else 0
        return busy | -(-left // self._transfer(channel)) & COUNT_MASK

    @reads(DSTAT0, DSTAT1, DSTAT2, DSTAT3)
    def _read_status(self, register: Register) -> int:
        # who sees the count go down may look at the data
        self._catch_up(register.offset // STRIDE)
        return self._status(register)

    @peeks(DCSRC0, DCSRC1, DCSRC2, DCSRC3, DCDST0, DCDST1, DCDST2, DCDST3)
    def _current(self, register: Register) -> int:
        channel = register.offset // STRIDE
        steps = self._steps(channel)["DST" in register.name]
        stored: int = self.__dict__[register.name]
        return stored + self._moved(channel) * steps & ADDRESS_MASK

    @reads(DCSRC0, DCSRC1, DCSRC2, DCSRC3, DCDST0, DCDST1, DCDST2, DCDST3)
    def _read_current(self, register: Register) -> int:
        self._catch_up(register.offset // STRIDE)
        return self._current(register)

    # -- requests ------------------------------------------------------------------------------------

    def _requested(self, channel: int, source: int) -> None:
        if self._get(channel, "DCON") >> 24 & 7 == source:
            self._serve(channel)

    def _serve(self, channel: int) -> None:
        """Move what the selected source asks for."""
        if self._busy[channel]:
            return
        self._busy[channel] = True
        try:
            while (port := self._requesting(channel)) is not None:
                if isinstance(port, ExternalRequest):
                    if not self._serve_external(channel, port):
                        break
                elif self._get(channel, "DCON") & WHOLE:
                    self._start(channel)
                elif self._uses(port, channel):
                    if not self._move(channel, self._left[channel], port):
                        break
                else:  # one transfer for each request
                    self._move(channel, 0)
                    break
        finally:
            self._busy[channel] = False

    def _serve_external(self, channel: int, port: ExternalRequest) -> bool:
        """Serve a pin; whether another request may be there already."""
        control = self._get(channel, "DCON")
        if control & HANDSHAKE:
            port.take()
        port.acknowledge.set(0)
        if control & WHOLE or (not control & HANDSHAKE and port.asserted):
            # in demand mode transfers follow each other as long as the pin is low
            self._since[channel] = self._clock.now
            self._wait(channel)
            return False
        left = self._left[channel]
        self._move(channel, 0)
        if not (control & HANDSHAKE and port.asserted):
            port.acknowledge.set(1)
        return self._left[channel] < left  # else the count has begun anew: time passes first

    def _released(self, channel: int) -> None:
        """The pin nXDREQ went up."""
        if self._busy[channel] or self._requesting_port(channel) is not self.external[channel]:
            return
        if self._since[channel] >= 0 and not self._get(channel, "DCON") & WHOLE:
            self._catch_up(channel)
            self._since[channel] = -1
            self._timers[channel].cancel()
        if self._since[channel] < 0:
            self.external[channel].acknowledge.set(1)

    def _external(self, channel: int) -> ExternalRequest | None:
        """The pin that the channel serves, if it does."""
        port = self._requesting_port(channel) if self._get(channel, "DCON") & HARDWARE else None
        return port if isinstance(port, ExternalRequest) else None

    def _uses(self, port: DmaPort, channel: int) -> bool:
        """Whether the transfer goes through the FIFO of ``port``: from or to what is not memory."""
        addresses, unit = (self._get(channel, "DCSRC"), self._get(channel, "DCDST")), self._unit(channel)
        return (port.read is not None and not self._mover.is_memory(addresses[0], unit)) or (
            port.write is not None and not self._mover.is_memory(addresses[1], unit)
        )

    def _requesting(self, channel: int) -> DmaPort | None:
        """The source whose request the channel may serve now."""
        control = self._get(channel, "DCON")
        if not self._get(channel, "DMASKTRIG") & ON or not control & HARDWARE or self._since[channel] >= 0:
            return None
        port = self._requesting_port(channel)
        return port if port is not None and port.level else None

    def _requesting_port(self, channel: int) -> DmaPort | None:
        return self._ports[channel].get(self._get(channel, "DCON") >> 24 & 7)

    def _start(self, channel: int) -> None:
        """Software's request, or one for whole service."""
        if self._since[channel] >= 0:
            return
        if self._get(channel, "DCON") & WHOLE:
            self._since[channel] = self._clock.now
            self._wait(channel)
        else:
            self._move(channel, 0)

    # -- whole service: the bytes move as time passes, and are copied when somebody could look -----------

    def _rate(self) -> int:
        """Units a second."""
        return max(1, self._clocks.hclk // UNIT_CYCLES)

    def _wait(self, channel: int) -> None:
        units = min(-(-self._left[channel] // self._unit(channel)), SLICE_UNITS)
        self._timers[channel].start_at(self._since[channel] + cycles_to_ns(max(1, units), self._rate()))

    def _moved(self, channel: int) -> int:
        """Bytes that have moved since the last were copied."""
        since = self._since[channel]
        if since < 0:
            return 0
        passed = ns_to_cycles(self._clock.now - since, self._rate()) * self._unit(channel)
        left = self._left[channel]
        # what is left may be less than a transfer, where DCON was changed meanwhile
        return left if passed >= left else passed - passed % self._transfer(channel)

    def _catch_up(self, channel: int) -> None:
        self._catch_up_port(channel)
        if (moved := self._moved(channel)) and not self._busy[channel]:
            units = moved // self._unit(channel)
            self._since[channel] += cycles_to_ns(units, self._rate())
            self._busy[channel] = True
            try:
                self._move(channel, moved)
            finally:
                self._busy[channel] = False

    def _catch_up_port(self, channel: int) -> None:
        port = self._requesting_port(channel)
        if port is not None and port.catch_up is not None and not self._busy[channel]:
            port.catch_up()

    def _whole_service_goes_on(self, channel: int) -> None:
        self._catch_up(channel)
        if self._since[channel] >= 0:
            if self._left[channel]:
                self._wait(channel)
            else:  # a count of 0
                self._finish(channel)
        self._serve(channel)

    # -- moving --------------------------------------------------------------------------------------

    def _move(self, channel: int, length: int, port: DmaPort | None = None) -> int:
        """Move ``length`` bytes (0: one transfer), and end what is complete; how many were moved."""
        length = min(length or self._transfer(channel), self._left[channel])
        source, target = self._get(channel, "DCSRC"), self._get(channel, "DCDST")
        steps, unit = self._steps(channel), self._unit(channel)
        aligned = -unit
        moved = 0
        if length:
            moved = self._mover.move(source & aligned, target & aligned, length, unit, steps=steps, port=port)
        self._left[channel] -= moved
        self._put(channel, "DCSRC", source + moved * steps[0] & ADDRESS_MASK)
        self._put(channel, "DCDST", target + moved * steps[1] & ADDRESS_MASK)
        if self._left[channel] <= 0:
            self._finish(channel)
        return moved

    def _finish(self, channel: int) -> None:
        """The count has become 0."""
        self._since[channel] = -1
        self._timers[channel].cancel()
        if self._get(channel, "DCON") & NO_RELOAD:
            self._turn_off(channel)
        else:
            self._load(channel)
        external = self._external(channel)
        if external is not None:
            if not (self._get(channel, "DCON") & HANDSHAKE and external.asserted):
                external.acknowledge.set(1)
            if self._requesting(channel) is not None:
                self._timers[channel].start_in(cycles_to_ns(1, self._rate()))
        if self._get(channel, "DCON") & INTERRUPT:
            self.interrupts[channel].pulse()

    def _turn_off(self, channel: int) -> None:
        self._put(channel, "DMASKTRIG", 0)
        self._since[channel] = -1
        self._timers[channel].cancel()
        external = self._external(channel)
        if external is not None:
            external.acknowledge.set(1)

    def facts(self) -> Iterator[Fact]:
        """Each channel: off, or what it moves on whose request."""
        stored = self.__dict__
        for channel in range(CHANNELS):
            if not stored[f"DMASKTRIG{channel}"] & ON:
                yield Fact(f"channel {channel}", "off")
                continue
            control = stored[f"DCON{channel}"]
            sources = dict(enumerate(SOURCES[channel]))
            who = sources.get(control >> 24 & 7, "reserved") if control & 1 << 23 else "software"
            left = self._status(self.registers[f"DSTAT{channel}"]) & COUNT_MASK
            source, target = stored[f"DCSRC{channel}"], stored[f"DCDST{channel}"]
            text = f"on, 0x{source:08x} -> 0x{target:08x}, {left} to go, requests by {who}"
            yield Fact(f"channel {channel}", text)
