"""The UDA1341TS audio codec: its L3 bus on three pins, its registers, and what they do to samples."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from dbgemu.target.audio_mixer import AudioMixer
from dbgemu.target.chips import uda1341_sound as sound
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
MUTE, PEAK_BEHIND, INPUT_INVERTED, OUTPUT_INVERTED, GAIN_CONTROL = 0x04, 0x20, 0x10, 0x08, 0x10
BOTH_INPUTS, INPUT_2 = 3, 2
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
    STATE = (
        *("_mode", "_clock", "_shift", "_bits", "_address", "_extended", "_peak", "_driven"),
        *("_filters", "_control"),
    )

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
        fields=(
            Field("BB", 5, 2, "bass boost, steps of 2 dB up to 18 (minimum), 24 (maximum)"),
            Field("TR", 1, 0, "treble, steps of 2 dB"),
        ),
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
        fields=(
            Field("MS", 4, 2, "sensitivity", {n: f"{gain} dB" for n, gain in enumerate(sound.SENSITIVITY)}),
            Field("MM", 1, 0, "mixer", _MIXER),
        ),
    )
    EXTENDED4 = Register(
        0x30,
        width=5,
        doc="Extended: gain control, low input gain bits",
        fields=(Field("AG", 4, doc="automatic gain control"), Field("IG_LOW", 1, 0, "IG, bits 1 and 0")),
    )
    EXTENDED5 = Register(
        0x34,
        width=5,
        doc="Extended: high input gain bits",
        fields=(Field("IG_HIGH", 4, 0, "IG, bits 6 to 2: input 2's gain, -3 dB and 0.5 a step"),),
    )
    EXTENDED6 = Register(
        0x38,
        width=5,
        doc="Extended: automatic gain control",
        fields=(
            Field(
                "AT", 4, 2, "attack, decay", {n: f"{a}, {d} ms" for n, (a, d) in enumerate(sound.GAIN_TIMES)}
            ),
            Field("AL", 1, 0, "level", {n: f"{dB} dB" for n, dB in enumerate(sound.GAIN_LEVELS)}),
        ),
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
        #: what the filters and the automatic gain control remember of the samples before
        self._filters = sound.nothing_remembered()
        self._control = list(sound.NO_CONTROL)
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
        """By what samples are multiplied on their way out, the tone controls left out."""
        volume = self.VOLUME
        if self.MODE & MUTE or volume >= SILENT_VOLUME or not self.STATUS1 & DAC_POWER:
            return 0.0
        gain = sound.amplitude(1 - max(1, volume) + (6 if self.STATUS1 & OUTPUT_GAIN else 0))
        return -gain if self.STATUS1 & OUTPUT_INVERTED else gain

    def bass(self) -> int:
        """The bass boost in dB."""
        return sound.bass_boost(self.MODE & 3, self.TONE >> 2)

    def treble(self) -> int:
        """The treble boost in dB."""
        return sound.treble_boost(self.MODE & 3, self.TONE & 3)

    def input_gains(self) -> tuple[float, float]:
        """By what inputs 1 and 2 are multiplied before they are added; both hear the same.

        With automatic gain control, the second without what that adds.
        """
        mixer = self.EXTENDED2 & 3
        first = 2.0 if self.STATUS1 & INPUT_GAIN else 1.0
        if self.EXTENDED4 & GAIN_CONTROL:
            second = sound.amplitude(sound.SENSITIVITY[self.EXTENDED2 >> 2])
        else:
            second = sound.amplitude((self.EXTENDED5 << 2 | self.EXTENDED4 & 3) / 2 - 3)
        if mixer == BOTH_INPUTS:
            first, second = (
                0.0 if steps >= SILENT_GAIN else gain * sound.amplitude(6 - 1.5 * steps)
                for gain, steps in ((first, self.EXTENDED0), (second, self.EXTENDED1))
            )
        else:
            first, second = (0.0, second) if mixer == INPUT_2 else (first, 0.0)
        return (-first, -second) if self.STATUS1 & INPUT_INVERTED else (first, second)

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        """Samples from the link go out."""
        behind = self.MODE & PEAK_BEHIND
        if not behind:
            self._note_peak(samples)
        if self._voice.listening or behind:
            samples = self._played(rate, channels, samples)
            if behind:
                self._note_peak(samples)
            self._voice.play(rate, channels, samples)

    def _note_peak(self, samples: bytes) -> None:
        words = array("h", samples)
        if words:
            self._peak = max(self._peak, max(words), -min(words))

    def _played(self, rate: int, channels: int, samples: bytes) -> bytes:
        gain, words = self.output_gain(), array("h", samples)
        filters = sound.sections(rate, self.MODE >> 3 & 3, self.bass(), self.treble())
        if not filters:
            self._filters = sound.nothing_remembered()
            return samples if gain == 1 else _scaled(words, gain)
        return sound.clipped(sound.filtered(filters, self._filters, words, channels), gain)

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        """Samples for the link."""
        source, (first, second) = self._mixer.source, self.input_gains()
        if source is None or not self.STATUS1 & ADC_POWER or not (first or second):
            return bytes(2 * channels * frames)
        samples = source.record(rate, channels, frames)
        if not (second and self.EXTENDED4 & GAIN_CONTROL):
            self._control = list(sound.NO_CONTROL)
            gain = first + second
            return samples if gain == 1 else _scaled(array("h", samples), gain)
        words, times = array("h", samples), self.EXTENDED6
        sensitivity = sound.amplitude(sound.SENSITIVITY[self.EXTENDED2 >> 2])
        levelled = sound.levelled(
            [word * sensitivity for word in words],
            rate=rate,
            channels=channels,
            times=times >> 2,
            target=times & 3,
            state=self._control,
        )
        share = second / sensitivity
        return sound.clipped((first * a + share * b for a, b in zip(words, levelled, strict=True)), 1)

    def stop(self) -> None:
        """Nothing more is played."""
        self._voice.stop()

    # -- the whole chip ----------------------------------------------------------------------------

    def reset(self) -> None:
        """The board's reset does not reach it: it has none but its power and its own bit."""

    def facts(self) -> Iterator[Fact]:
        """What is heard."""
        gain, inverted = self.output_gain(), ", inverted"
        level = "0 dB" if self.VOLUME < 2 else f"-{self.VOLUME - 1} dB"
        if self.STATUS1 & OUTPUT_GAIN:
            level += " and 6 dB"
        if self.STATUS1 & OUTPUT_INVERTED:
            level += inverted
        yield Fact("output", level if gain else "muted" if self.MODE & MUTE else "silent")
        yield Fact("bass and treble", f"{_boost(self.bass())}, {_boost(self.treble())}")
        yield Fact("de-emphasis", _DE_EMPHASIS[self.MODE >> 3 & 3])
        recorded = _MIXER[self.EXTENDED2 & 3] if self.STATUS1 & ADC_POWER else "nothing: the ADC is off"
        yield Fact("recorded from", recorded + (inverted if self.STATUS1 & INPUT_INVERTED else ""))
        gains = zip((1, 2), self.input_gains(), strict=True)
        yield Fact("input gains", ", ".join(f"{number}: {_decibels(gain)}" for number, gain in gains))
        control = "off"
        if self.EXTENDED4 & GAIN_CONTROL:
            (attack, decay), place = sound.GAIN_TIMES[self.EXTENDED6 >> 2], self.EXTENDED6 & 3
            control = f"to {sound.GAIN_LEVELS[place]} dB, attack {attack} ms, decay {decay} ms"
        yield Fact("automatic gain control of input 2", control)
        yield Fact("L3 address", f"0x{self._address:02x}")

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave."""
        super().load(state)
        self._data.drive(self._driven)


def _scaled(words: array[int], gain: float) -> bytes:
    if not gain:
        return bytes(2 * len(words))
    factor = round(gain * 65536)
    if -65536 < factor <= 65536:
        return array("h", [word * factor >> 16 for word in words]).tobytes()
    return array("h", [max(-0x8000, min(0x7FFF, word * factor >> 16)) for word in words]).tobytes()


def _boost(decibels: int) -> str:
    return f"+{decibels} dB" if decibels else "flat"


def _decibels(gain: float) -> str:
    return f"{20 * math.log10(abs(gain)):.1f} dB" if gain else "silent"


def _peak_level(peak: int) -> int:
    """A largest sample as the chip tells it: 63 for full scale, about 1.5 dB a step (6 dB are 4 steps)."""
    return max(0, 63 + round(4 * math.log2(peak / 0x8000))) if peak else 0
