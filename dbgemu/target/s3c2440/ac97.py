"""The AC97 controller (S3C2440A UM chapter 24)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register
from dbgemu.target.s3c2440.sample_fifo import PlayFifo, RecordFifo, SampleClock

#: frames of the link a second: a command and its answer take one
LINK_RATE = 48000
DEPTH = 16
CODEC_READY, OUT_UNDERRUN, IN_OVERRUN, MIC_OVERRUN = 1 << 22, 1 << 21, 1 << 20, 1 << 19
OUT_THRESHOLD, IN_THRESHOLD, MIC_THRESHOLD = 1 << 18, 1 << 17, 1 << 16
#: causes that are remembered until the driver clears them: UM 24, AC_GLBCTRL bit 30
STICKY = OUT_UNDERRUN | IN_OVERRUN | MIC_OVERRUN
CLEAR = 1 << 30
TRANSFER, LINK_ON, WARM_RESET, COLD_RESET = 8, 4, 2, 1
OFF, PIO, DMA = 0, 1, 2
IDLE, INIT, READY, ACTIVE, WARM = 0, 1, 2, 3, 5
DAC_RATE, ADC_RATE = 0x2C, 0x32
READ = 1 << 23

_MODE = {0: "off", 1: "PIO", 2: "DMA"}
_CAUSES = (
    Field("CODEC_READY", 22, doc="codec ready"),
    Field("PCM_OUT_UNDERRUN", 21, doc="PCM out FIFO ran empty"),
    Field("PCM_IN_OVERRUN", 20, doc="PCM in FIFO overflowed"),
    Field("MIC_IN_OVERRUN", 19, doc="microphone FIFO overflowed"),
    Field("PCM_OUT_THRESHOLD", 18, doc="PCM out FIFO is half empty"),
    Field("PCM_IN_THRESHOLD", 17, doc="PCM in FIFO is half full"),
    Field("MIC_IN_THRESHOLD", 16, doc="microphone FIFO is half full"),
)


class LinkCodec(Protocol):
    """What is at the other end of the link: its registers, by even offsets, and samples of 16 bits."""

    def read(self, offset: int, size: int) -> int:
        """Register ``offset``; ``size`` is 2."""

    def peek(self, offset: int, size: int) -> int:
        """The same, without side effects."""

    def write(self, offset: int, size: int, value: int) -> None:
        """Write a register."""

    def reset(self) -> None:
        """The cold reset."""

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        """Samples of the PCM out slots."""

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        """Samples for the PCM in slots (2 channels) or the microphone's (1)."""

    def stop(self) -> None:
        """No more samples go out."""


class Ac97(Device):
    """The controller. Without a :attr:`codec` nothing answers on the link, which stays in its first state.

    The mini2440 has its UDA1341 on these pins instead: scripts attach a codec.
    """

    title = "AC97 controller"
    STATE = ("_causes", "_command")

    AC_GLBCTRL = Register(
        0x00,
        width=31,
        doc="Global control (interrupt enables in bits 22 to 16)",
        fields=(
            Field("CLEAR", 30, doc="forget underruns and overruns; reads as 0"),
            *_CAUSES,
            Field("PCM_OUT_MODE", 13, 12, values=_MODE),
            Field("PCM_IN_MODE", 11, 10, values=_MODE),
            Field("MIC_IN_MODE", 9, 8, values=_MODE),
            Field("TRANSFER_EN", 3, doc="transfer data on the link"),
            Field("LINK_ON", 2, doc="the link is on"),
            Field("WARM_RESET", 1, doc="wake the codec up"),
            Field("COLD_RESET", 0, doc="reset the codec"),
        ),
    )
    AC_GLBSTAT = Register(
        0x04,
        width=23,
        reset=0x1,
        access="ro",
        doc="Global status",
        fields=(
            *_CAUSES,
            Field(
                "STATE",
                2,
                0,
                "state",
                {0: "idle", 1: "init", 2: "ready", 3: "active", 4: "low power", 5: "warm"},
            ),
        ),
    )
    AC_CODEC_CMD = Register(
        0x08,
        width=24,
        doc="Codec command",
        fields=(
            Field("READ", 23, values={0: "write", 1: "read"}),
            Field("ADDRESS", 22, 16, "codec register"),
            Field("DATA", 15, 0, "data"),
        ),
    )
    AC_CODEC_STAT = Register(
        0x0C,
        width=23,
        access="ro",
        doc="Codec status",
        fields=(Field("ADDRESS", 22, 16, "codec register"), Field("DATA", 15, 0, "data")),
    )
    AC_PCMADDR = Register(
        0x10,
        access="ro",
        doc="PCM FIFO addresses",
        fields=(
            Field("OUT_READ", 27, 24, "out: where the link reads"),
            Field("IN_READ", 19, 16, "in: where the core reads"),
            Field("OUT_WRITE", 11, 8, "out: where the core writes"),
            Field("IN_WRITE", 3, 0, "in: where the link writes"),
        ),
    )
    AC_MICADDR = Register(
        0x14,
        access="ro",
        doc="Microphone FIFO addresses",
        fields=(
            Field("READ", 19, 16, "where the core reads"),
            Field("WRITE", 3, 0, "where the link writes"),
        ),
    )
    AC_PCMDATA = Register(
        0x18,
        doc="PCM FIFO",
        fields=(
            Field("RIGHT", 31, 16, "right channel's sample"),
            Field("LEFT", 15, 0, "left channel's sample"),
        ),
    )
    AC_MICDATA = Register(0x1C, width=16, doc="Microphone FIFO", fields=(Field("MONO", 15, 0, "sample"),))

    def __init__(
        self, name: str, *, clock: VirtualClock, interrupt: Line, log: GuestLog | None = None
    ) -> None:
        super().__init__(name, log)
        self.codec: LinkCodec | None = None
        self.interrupt = interrupt
        #: sticky causes that have come
        self._causes = 0
        self._command = Timer(clock, self._commanded)
        self._out = PlayFifo("ac97.out", DEPTH, 4)
        self._in = RecordFifo("ac97.in", DEPTH, 4)
        self._mic = RecordFifo("ac97.mic", DEPTH, 2)
        #: DMA sources PCMOUT, PCMIN and MICIN
        self.dma_out, self.dma_in, self.dma_mic = self._out.port, self._in.port, self._mic.port
        self._out_clock = SampleClock(clock, self._frames_out)
        self._in_clock = SampleClock(clock, self._frames_in)
        for fifo, link in (
            (self._out, self._out_clock),
            (self._in, self._in_clock),
            (self._mic, self._in_clock),
        ):
            fifo.port.catch_up = fifo.on_service = link.catch_up
            fifo.on_left = partial(self._wake_at_end, fifo, link)

    def _wake_at_end(self, fifo: PlayFifo | RecordFifo, link: SampleClock) -> None:
        if fifo.left:
            link.wake_after(fifo.left // fifo.width)

    # -- the link ----------------------------------------------------------------------------------

    def attach(self, codec: LinkCodec | None) -> None:
        """Put ``codec`` on the link; None takes it away."""
        self.codec = codec
        self._configure()

    def _state(self) -> int:
        control = self.AC_GLBCTRL
        if control & COLD_RESET or not control & (LINK_ON | WARM_RESET) or self.codec is None:
            return INIT
        if not control & LINK_ON:
            return WARM
        return ACTIVE if control & TRANSFER else READY

    def _mode(self, low: int) -> int:
        return self.AC_GLBCTRL >> low & 3

    def _configure(self) -> None:
        """The registers have changed: what moves, how fast, and who is asked for data."""
        codec, active = self.codec, self._state() == ACTIVE
        for fifo, low in ((self._out, 12), (self._in, 10), (self._mic, 8)):
            fifo.dma = active and self._mode(low) == DMA
            if self._mode(low) == OFF:
                fifo.data.clear()
        out, into = 0, 0
        if codec is not None and active:
            if self._mode(12):
                out = codec.peek(DAC_RATE, 2)
            if self._mode(10) or self._mode(8):
                into = codec.peek(ADC_RATE, 2)
        if codec is not None and not out:
            codec.stop()
        self._out_clock.run(out, 1)
        self._in_clock.run(into, 1)
        for fifo in (self._out, self._in, self._mic):
            fifo.request()
        self._update()

    def _catch_up(self) -> None:
        self._out_clock.catch_up()
        self._in_clock.catch_up()

    def _frames_out(self, count: int) -> None:
        late = self._out.underruns
        samples = self._out.take(count)
        if self._out.underruns != late:
            self._causes |= OUT_UNDERRUN
        if self.codec is not None:
            self.codec.play(self._out_clock.rate, 2, samples)
        self._update()

    def _frames_in(self, count: int) -> None:
        codec = self.codec
        for fifo, low, channels, cause in (
            (self._in, 10, 2, IN_OVERRUN),
            (self._mic, 8, 1, MIC_OVERRUN),
        ):
            if self._mode(low) and codec is not None:
                lost = fifo.overruns
                fifo.put(codec.record(self._in_clock.rate, channels, count))
                if fifo.overruns != lost:
                    self._causes |= cause
        self._update()

    def _status(self) -> int:
        status = self._causes | self._state()
        if self._state() in (READY, ACTIVE) and self._command.deadline is None:
            status |= CODEC_READY
        if self._mode(12) == PIO and self._out.count <= DEPTH // 2:
            status |= OUT_THRESHOLD
        if self._in.count >= DEPTH // 2:
            status |= IN_THRESHOLD
        if self._mic.count >= DEPTH // 2:
            status |= MIC_THRESHOLD
        return status

    def _update(self) -> None:
        enabled = self.AC_GLBCTRL & 0x7F0000
        self.interrupt.set(bool(enabled and self._status() & enabled))

    def _commanded(self) -> None:
        """The codec has got the command, and the answer is here."""
        codec, command = self.codec, self.AC_CODEC_CMD
        if codec is not None and self._state() in (READY, ACTIVE):
            offset = command >> 16 & 0x7E
            if command & READ:
                self.AC_CODEC_STAT = offset << 16 | codec.read(offset, 2)
            else:
                self._catch_up()
                codec.write(offset, 2, command & 0xFFFF)
                self._configure()
        self._update()

    # -- registers ---------------------------------------------------------------------------------

    @AC_GLBCTRL.write
    def _write_control(self, value: int) -> None:
        self._catch_up()
        if value & CLEAR:
            self._causes = 0
        self.AC_GLBCTRL = value & 0x7FFFFF
        if value & COLD_RESET and self.codec is not None:
            self.codec.reset()
        self._configure()

    @AC_GLBSTAT.peek
    def _peek_status(self) -> int:
        return self._status()

    @AC_GLBSTAT.read
    def _read_status(self) -> int:
        self._catch_up()
        return self._status()

    @AC_CODEC_CMD.write
    def _write_command(self, value: int) -> None:
        self.AC_CODEC_CMD = value & 0xFFFFFF
        if self._state() in (READY, ACTIVE):
            self._command.start_in(cycles_to_ns(1, LINK_RATE))
            self._update()

    @AC_PCMDATA.peek
    def _peek_pcm(self) -> int:
        return self._in.peek()

    @AC_PCMDATA.read
    def _read_pcm(self) -> int:
        self._in_clock.catch_up()
        value = self._in.take()
        self._update()
        return value

    @AC_PCMDATA.write
    def _write_pcm(self, value: int) -> None:
        self._out_clock.catch_up()
        if self._mode(12) and not self._out.put(value):
            self.guest_error("a sample is written to the full PCM out FIFO and lost")
        self._update()

    @AC_MICDATA.peek
    def _peek_microphone(self) -> int:
        return self._mic.peek()

    @AC_MICDATA.read
    def _read_microphone(self) -> int:
        self._in_clock.catch_up()
        value = self._mic.take()
        self._update()
        return value

    # -- the whole block ---------------------------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """The codec, the link, and what moves."""
        yield Fact("codec", "none" if self.codec is None else type(self.codec).__name__)
        yield Fact("PCM out", self._out_clock.rate, "Hz")
        yield Fact("PCM and microphone in", self._in_clock.rate, "Hz")
        for name, fifo in (("out", self._out), ("in", self._in), ("microphone", self._mic)):
            yield Fact(f"{name} FIFO", fifo.count, f"of {DEPTH} samples")

    def reset(self) -> None:
        """Link off, FIFOs empty."""
        super().reset()
        self._causes = 0
        self._command.cancel()
        for part in (self._out, self._in, self._mic, self._out_clock, self._in_clock):
            part.reset()
        if self.codec is not None:
            self.codec.stop()
        self.interrupt.set(0)

    _PARTS = ("_out", "_in", "_mic", "_out_clock", "_in_clock")

    def save(self) -> dict[str, Any]:
        """The complete state as plain data; the codec's with it, where it is a :class:`Device`."""
        codec: object = self.codec  # of whichever class
        return {
            **super().save(),
            "parts": {name: getattr(self, name).save() for name in self._PARTS},
            "codecs": [[codec.title, codec.save()]] if isinstance(codec, Device) else [],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, and drive the interrupt; a codec that was not saved stays as it is."""
        state = dict(state)
        codec: object = self.codec  # of whichever class
        for title, registers in state.pop("codecs"):
            if isinstance(codec, Device) and codec.title == title:
                codec.load(registers)
        for name, saved in state.pop("parts").items():
            getattr(self, name).load(saved)
        super().load(state)
        if self.codec is not None and not self._out_clock.frequency:
            self.codec.stop()
        self._update()
