"""The UDA1341TS audio codec: its L3 bus on three pins, its registers, and what they do to samples."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from dbgemu.target.audio_mixer import AudioMixer
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.registers import Field, Register
from dbgemu.target.s3c2440.gpio_ports import Pin

#: what the chip answers to: bits 7 to 2 of an address on the L3 bus
ADDRESS = 5
#: bits 1 and 0 of the address: what follows
DATA0, DATA1, STATUS = 0, 1, 2
RESET, DAC_POWER, ADC_POWER, OUTPUT_GAIN, INPUT_GAIN = 0x40, 0x01, 0x02, 0x40, 0x20
MUTE = 0x04
#: a volume's or a mixer gain's last steps are silence
SILENT_VOLUME, SILENT_GAIN = 62, 31

_DE_EMPHASIS = {0: "none", 1: "32 kHz", 2: "44.1 kHz", 3: "48 kHz"}
_SOUND = {0: "flat", 1: "minimum", 2: "minimum", 3: "maximum"}
_MIXER = {0: "double differential", 1: "input 1", 2: "input 2", 3: "both"}


def _mixer_gain(place: int, number: int) -> Register:
    return Register(
        place,
        width=5,
        reset=4,
        doc=f"Extended: input {number}'s gain",
        fields=(Field(f"M{'AB'[number - 1]}", 4, 0, "steps of -1.5 dB from 6 dB; 31: silent"),),
    )


class Uda1341(Device):
    """The codec as the slave of a link. ``mixer`` gets what it plays and gives what it records.

    The registers have no addresses of the CPU's: their offsets are only for dumps.
    """

    title = "UDA1341TS audio codec"
    STATE = ("_mode", "_clock", "_shift", "_bits", "_address", "_extended", "_peak", "_driven")

    STATUS0 = Register(
        0x00,
        width=7,
        doc="Status: system clock and data format",
        fields=(
            Field("RST", 6, doc="reset"),
            Field("SC", 5, 4, "system clock", {0: "512 fs", 1: "384 fs", 2: "256 fs"}),
            Field("IF", 3, 1, "format", {0: "IIS", 1: "LSB 16", 2: "LSB 18", 3: "LSB 20", 4: "MSB"}),
            Field("DC", 0, doc="DC filter"),
        ),
    )
    STATUS1 = Register(
        0x04,
        width=7,
        reset=3,
        doc="Status: gains and power",
        fields=(
            Field("OGS", 6, doc="output gain", values={0: "0 dB", 1: "6 dB"}),
            Field("IGS", 5, doc="input gain", values={0: "0 dB", 1: "6 dB"}),
            Field("PAD", 4, doc="input inverted"),
            Field("PDA", 3, doc="output inverted"),
            Field("DS", 2, doc="double speed"),
            Field("PC", 1, 0, "power", {0: "off", 1: "DAC", 2: "ADC", 3: "both"}),
        ),
    )
    VOLUME = Register(
        0x08,
        width=6,
        doc="Data 0: volume",
        fields=(Field("VC", 5, 0, "0 and 1: 0 dB, then -1 dB a step; 62, 63: silent"),),
    )
    TONE = Register(
        0x0C,
        width=6,
        doc="Data 0: bass boost and treble",
        fields=(Field("BB", 5, 2, "bass boost, steps of 2 dB"), Field("TR", 1, 0, "treble, steps of 2 dB")),
    )
    MODE = Register(
        0x10,
        width=6,
        doc="Data 0: mute, de-emphasis, sound mode",
        fields=(
            Field("PP", 5, doc="peak is detected", values={0: "before tone", 1: "behind tone"}),
            Field("DE", 4, 3, "de-emphasis", _DE_EMPHASIS),
            Field("MT", 2, doc="mute"),
            Field("M", 1, 0, "sound mode", _SOUND),
        ),
    )
    EXTENDED0 = _mixer_gain(0x20, 1)
    EXTENDED1 = _mixer_gain(0x24, 2)
    EXTENDED2 = Register(
        0x28,
        width=5,
        reset=4,
        doc="Extended: microphone sensitivity and mixer mode",
        fields=(Field("MS", 4, 2, "sensitivity"), Field("MM", 1, 0, "mixer", _MIXER)),
    )
    EXTENDED4 = Register(
        0x30,
        width=5,
        doc="Extended: gain control, low input gain bits",
        fields=(Field("AG", 4, doc="automatic gain control"), Field("IG_LOW", 1, 0, "input 2's gain")),
    )
    EXTENDED5 = Register(
        0x34,
        width=5,
        doc="Extended: high input gain bits",
        fields=(Field("IG_HIGH", 4, 0, "input 2's gain"),),
    )
    EXTENDED6 = Register(
        0x38,
        width=5,
        doc="Extended: automatic gain control",
        fields=(Field("AT", 4, 2, "time constants"), Field("AL", 1, 0, "level")),
    )

    def __init__(
        self, name: str, *, mode: Pin, data: Pin, clock: Pin, mixer: AudioMixer, log: GuestLog | None = None
    ) -> None:
        """``mode``, ``data`` and ``clock`` are the pins that L3MODE, L3DATA and L3CLOCK are at."""
        super().__init__(name, log)
        self._mixer = mixer
        self._voice = mixer.voice(name)
        self._data = data
        self._mode, self._clock = mode.level, clock.level
        #: bits of the present byte, the latest on top, and how many
        self._shift = self._bits = 0
        #: the address that was sent last, and which extended register data is for
        self._address = self._extended = 0
        #: the largest sample since the peak was read last
        self._peak = 0
        #: the level that the chip drives on L3DATA, None while it listens
        self._driven: int | None = None
        mode.connect(self._mode_changed)
        clock.connect(self._clock_changed)

    # -- the L3 bus --------------------------------------------------------------------------------

    def _mode_changed(self, level: int) -> None:
        # a byte begins at each change: an address while low, data while high
        self._mode = level
        self._shift = self._bits = 0
        if self._driven is not None:
            self._drive(None)

    def _drive(self, level: int | None) -> None:
        self._driven = level
        self._data.drive(level)

    def _clock_changed(self, level: int) -> None:
        self._clock = level
        if self._mode and self._address == ADDRESS << 2 | DATA1:
            self._send_peak(level)
        elif level:
            self._shift |= self._data.level << self._bits
            self._bits += 1
            if self._bits == 8:
                value, self._shift, self._bits = self._shift, 0, 0
                if self._mode:
                    self._received(value)
                else:
                    self._address = value

    def _send_peak(self, level: int) -> None:
        """The peak level, 6 bits, is shifted out, the lowest first, changing when the clock falls."""
        if level:
            self._bits += 1
        else:
            if not self._bits:
                self._shift, self._peak = _peak_level(self._peak), 0
            self._drive(self._shift >> self._bits & 1 if self._bits < 8 else None)

    def _received(self, value: int) -> None:
        if self._address == ADDRESS << 2 | STATUS:
            if value & 0x80:
                self.STATUS1 = value & 0x7F
            else:
                if value & RESET:
                    self.reset_registers()
                self.STATUS0 = value
        elif self._address == ADDRESS << 2 | DATA0:
            if value < 0x40:
                self.VOLUME = value
            elif value < 0x80:
                self.TONE = value & 0x3F
            elif value < 0xC0:
                self.MODE = value & 0x3F
            elif value < 0xE0:
                self._extended = value & 7
            elif f"EXTENDED{self._extended}" in self.registers:
                self.__dict__[f"EXTENDED{self._extended}"] = value & 0x1F

    # -- samples -----------------------------------------------------------------------------------

    def output_gain(self) -> float:
        """By what samples are multiplied on their way out."""
        volume = self.VOLUME
        if self.MODE & MUTE or volume >= SILENT_VOLUME or not self.STATUS1 & DAC_POWER:
            return 0.0
        decibels = 1 - max(1, volume) + (6 if self.STATUS1 & OUTPUT_GAIN else 0)
        return float(10 ** (decibels / 20))

    def input_gain(self) -> float:
        """By what samples are multiplied on their way in; both inputs hear the same."""
        if not self.STATUS1 & ADC_POWER:
            return 0.0
        first, second = (
            0.0 if gain >= SILENT_GAIN else float(10 ** ((6 - 1.5 * gain) / 20))
            for gain in (self.EXTENDED0, self.EXTENDED1)
        )
        mixed = first + second if self.EXTENDED2 & 3 == 3 else 1.0
        return mixed * (2.0 if self.STATUS1 & INPUT_GAIN else 1.0)

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        """Samples from the link go out."""
        words = array("h", samples)
        if words:
            self._peak = max(self._peak, max(words), -min(words))
        if self._voice.listening:
            gain = self.output_gain()
            self._voice.play(rate, channels, samples if gain == 1 else _scaled(words, gain))

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        """Samples for the link."""
        source, gain = self._mixer.source, self.input_gain()
        if source is None or not gain:
            return bytes(2 * channels * frames)
        samples = source.record(rate, channels, frames)
        return samples if gain == 1 else _scaled(array("h", samples), gain)

    def stop(self) -> None:
        """Nothing more is played."""
        self._voice.stop()

    # -- the whole chip ----------------------------------------------------------------------------

    def reset(self) -> None:
        """The board's reset does not reach it: it has none but its power and its own bit."""

    def facts(self) -> Iterator[Fact]:
        """What is heard."""
        gain = self.output_gain()
        level = "0 dB" if self.VOLUME < 2 else f"-{self.VOLUME - 1} dB"
        yield Fact("output", level if gain else "muted" if self.MODE & MUTE else "silent")
        yield Fact("bass and treble", f"+{2 * (self.TONE >> 2)} dB, +{2 * (self.TONE & 3)} dB (not applied)")
        yield Fact("de-emphasis", f"{_DE_EMPHASIS[self.MODE >> 3 & 3]} (not applied)")
        yield Fact("recorded from", _MIXER[self.EXTENDED2 & 3])
        yield Fact("L3 address", f"0x{self._address:02x}")

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave."""
        super().load(state)
        self._data.drive(self._driven)


def _scaled(words: array[int], gain: float) -> bytes:
    if not gain:
        return bytes(2 * len(words))
    factor = round(gain * 65536)
    if factor <= 65536:
        return array("h", [word * factor >> 16 for word in words]).tobytes()
    return array("h", [max(-0x8000, min(0x7FFF, word * factor >> 16)) for word in words]).tobytes()


def _peak_level(peak: int) -> int:
    """A largest sample as the chip tells it: 63 for full scale, about 1.5 dB a step (6 dB are 4 steps)."""
    return max(0, 63 + round(4 * math.log2(peak / 0x8000))) if peak else 0
