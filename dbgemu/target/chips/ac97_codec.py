"""An AC97 codec as the standard describes it: its registers, and what its volumes do to samples."""

from __future__ import annotations

from array import array

from dbgemu.target.audio_mixer import AudioMixer
from dbgemu.target.device import Device
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.registers import Field, Register, writes

MUTE, VARIABLE_RATE, ADC_OFF, DAC_OFF = 0x8000, 0x0001, 0x0100, 0x0200
#: Hz, unless the variable rate is on
FIXED_RATE = 48000


def _volume(offset: int, doc: str, reset: int = 0x8000, top: int = 5) -> Register:
    return Register(
        offset,
        width=16,
        reset=reset,
        doc=doc,
        fields=(
            Field("MUTE", 15, doc="silent"),
            Field("LEFT", 8 + top - 1, 8, "steps of -1.5 dB"),
            Field("RIGHT", top - 1, 0, "steps of -1.5 dB"),
        ),
    )


class Ac97Codec(Device):
    """A codec with a DAC, an ADC and variable rates (AC'97 component specification 2.3, section 5.7).

    ``mixer`` gets what it plays and gives what it records. Its registers are reached over the link only.
    """

    title = "AC97 codec"
    size = 0x80

    RESET = Register(0x00, width=16, reset=0x0000, doc="Reset at a write; features")
    MASTER = _volume(0x02, "Master volume", top=6)
    HEADPHONE = _volume(0x04, "Headphone volume", top=6)
    MONO = Register(0x06, width=16, reset=0x8000, doc="Mono volume")
    PC_BEEP = Register(0x0A, width=16, doc="PC beep volume")
    PHONE = Register(0x0C, width=16, reset=0x8008, doc="Phone volume")
    MICROPHONE = Register(0x0E, width=16, reset=0x8008, doc="Microphone volume")
    LINE_IN = _volume(0x10, "Line in volume", 0x8808)
    CD = _volume(0x12, "CD volume", 0x8808)
    VIDEO = _volume(0x14, "Video volume", 0x8808)
    AUX = _volume(0x16, "Aux volume", 0x8808)
    PCM_OUT = _volume(0x18, "PCM out volume; 8 is 0 dB", 0x8808)
    RECORD_SELECT = Register(0x1A, width=16, writable=0x0707, doc="What is recorded")
    RECORD_GAIN = Register(
        0x1C,
        width=16,
        reset=0x8000,
        writable=0x8F0F,
        doc="Record gain",
        fields=(
            Field("MUTE", 15, doc="silent"),
            Field("LEFT", 11, 8, "steps of 1.5 dB"),
            Field("RIGHT", 3, 0, "steps of 1.5 dB"),
        ),
    )
    GENERAL = Register(0x20, width=16, doc="General purpose")
    CONTROL_3D = Register(0x22, width=16, doc="3D control")
    POWER = Register(
        0x26,
        width=16,
        reset=0x000F,
        writable=0xFF00,
        doc="Power down, and what is ready",
        fields=(
            Field("PR", 15, 8, "power down"),
            Field("REF", 3, doc="reference is up"),
            Field("ANL", 2, doc="analog part is ready"),
            Field("DAC", 1, doc="DAC is ready"),
            Field("ADC", 0, doc="ADC is ready"),
        ),
    )
    EXTENDED_ID = Register(0x28, width=16, reset=0x0001, access="ro", doc="Extended features: variable rate")
    EXTENDED = Register(
        0x2A,
        width=16,
        writable=0x0001,
        doc="Extended status and control",
        fields=(Field("VRA", 0, doc="variable rate"),),
    )
    DAC_RATE = Register(0x2C, width=16, reset=0xBB80, doc="Front DAC rate, in Hz")
    ADC_RATE = Register(0x32, width=16, reset=0xBB80, doc="ADC rate, in Hz")
    VENDOR1 = Register(0x7C, width=16, reset=0x4442, access="ro", doc="Vendor: DB")
    VENDOR2 = Register(0x7E, width=16, reset=0x4701, access="ro", doc="Vendor: G, device 1")

    def __init__(self, name: str, *, mixer: AudioMixer, log: GuestLog | None = None) -> None:
        super().__init__(name, log)
        self._mixer = mixer
        self._voice = mixer.voice(name)

    @RESET.write
    def _reset(self, value: int) -> None:
        self.reset_registers()

    @writes(DAC_RATE, ADC_RATE)
    def _set_rate(self, register: Register, value: int) -> None:
        rate = max(8000, min(FIXED_RATE, value)) if self.EXTENDED & VARIABLE_RATE else FIXED_RATE
        self.__dict__[register.name] = rate

    @EXTENDED.write
    def _set_extended(self, value: int) -> None:
        self.EXTENDED = value & VARIABLE_RATE
        if not self.EXTENDED:
            self.DAC_RATE = self.ADC_RATE = FIXED_RATE

    def _gains(self) -> tuple[float, float]:
        """What left and right samples are multiplied by on their way out."""
        if (self.MASTER | self.PCM_OUT) & MUTE or self.POWER & DAC_OFF:
            return 0.0, 0.0
        left, right = (
            float(10 ** (-1.5 * ((self.MASTER >> side & 0x3F) + (self.PCM_OUT >> side & 0x1F) - 8) / 20))
            for side in (8, 0)
        )
        return left, right

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        """Samples from the link go out; see AudioSink."""
        if self._voice.listening:
            words, gains = array("h", samples), self._gains()
            for channel in range(channels):
                gain = gains[channel]
                if gain != 1:
                    words[channel::channels] = array(
                        "h",
                        [max(-0x8000, min(0x7FFF, round(word * gain))) for word in words[channel::channels]],
                    )
            self._voice.play(rate, channels, words.tobytes())

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        """Samples for the link; see AudioSource. The gain applies in stereo."""
        source = self._mixer.source
        if source is None or self.RECORD_GAIN & MUTE or self.POWER & ADC_OFF:
            return bytes(2 * channels * frames)
        samples = source.record(rate, channels, frames)
        if not self.RECORD_GAIN:
            return samples
        words = array("h", samples)
        for channel in range(channels):
            steps = self.RECORD_GAIN >> (0 if channel else 8) & 15
            gain = 10 ** (1.5 * steps / 20)
            words[channel::channels] = array(
                "h", [max(-0x8000, min(0x7FFF, round(word * gain))) for word in words[channel::channels]]
            )
        return words.tobytes()

    def stop(self) -> None:
        """Nothing more is played."""
        self._voice.stop()
