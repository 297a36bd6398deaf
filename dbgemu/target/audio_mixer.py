"""Where all sound of the board comes together: voices of different rates, mixed for one sink."""

from __future__ import annotations

from array import array

from dbgemu.target.audio import AudioSink, AudioSource

STEREO = 2
#: seconds that one voice may be ahead of another
_PATIENCE = 1


class Voice:
    """A part that makes sound. It plays from when it begins until :meth:`stop`."""

    def __init__(self, mixer: AudioMixer, name: str) -> None:
        self.name = name
        self._mixer = mixer
        #: samples at the mixer's rate that wait for other voices, channels interleaved
        self.waiting: array[int] = array("h")
        self.active = False
        self._last = [0, 0]
        #: where the next sample is, behind the last one: in sample periods / the mixer's rate
        self._phase = 0

    @property
    def listening(self) -> bool:
        """Whether anybody hears it."""
        return self._mixer.sink is not None

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        """See AudioSink; ``channels`` is 1 or 2."""
        if self._mixer.sink is None:
            return
        words = array("h", samples)
        left = words[::channels]
        right = words[1::2] if channels == STEREO else left
        self.active = True
        if rate != self._mixer.rate:
            phase = self._phase
            converted = self._resample(0, left, rate, phase)
            right = converted if channels == 1 else self._resample(1, right, rate, phase)
            left = converted
        frames = array("h", bytes(2 * STEREO * len(left)))
        frames[::2], frames[1::2] = left, right
        self.waiting += frames
        self._mixer.mix()

    def _resample(self, channel: int, words: array[int], rate: int, phase: int) -> array[int]:
        """Linear interpolation; goes on where the last call ended."""
        if not words:
            return words
        out = self._mixer.rate
        source = array("h", [self._last[channel]]) + words
        end = len(words) * out
        self._last[channel] = words[-1]
        positions = range(phase, end, rate)
        self._phase = phase + len(positions) * rate - end
        return array(
            "h",
            [
                (source[p // out] * (out - p % out) + source[p // out + 1] * (p % out)) // out
                for p in positions
            ],
        )

    def stop(self) -> None:
        """Fall silent; what was played so far is heard."""
        if self.active:
            self.active = False
            self._last, self._phase = [0, 0], 0
            self._mixer.mix()


class AudioMixer:
    """Takes what the voices play and gives it to :attr:`sink`, while there is one.

    Silence is not played: where no voice is active, nothing is heard and the next sound follows.
    """

    def __init__(self) -> None:
        self.sink: AudioSink | None = None
        #: what is recorded; None: silence
        self.source: AudioSource | None = None
        #: samples a second that the sink gets, in stereo
        self.rate = 44100
        self.voices: list[Voice] = []

    def voice(self, name: str) -> Voice:
        """A new voice."""
        voice = Voice(self, name)
        self.voices.append(voice)
        return voice

    def connect(self, sink: AudioSink | None, rate: int = 44100) -> None:
        """Let ``sink`` get what is played, at ``rate`` Hz in stereo; None: nobody hears it."""
        self.sink, self.rate = sink, rate
        for voice in self.voices:
            voice.waiting = array("h")
            voice.stop()

    def mix(self) -> None:
        """Give the sink what all active voices have played."""
        voices = [voice for voice in self.voices if voice.active or voice.waiting]
        if self.sink is None or not voices:
            return
        longest = max(len(voice.waiting) for voice in voices)
        ready = min((len(voice.waiting) for voice in voices if voice.active), default=longest)
        if longest - ready > STEREO * self.rate * _PATIENCE:
            ready = longest
        if not ready:
            return
        parts = [voice.waiting[:ready] for voice in voices]
        for voice in voices:
            del voice.waiting[:ready]
        mixed = parts[0]
        if len(parts) > 1 or len(mixed) < ready:
            for part in parts:
                part.extend([0] * (ready - len(part)))
            mixed = array("h", [max(-0x8000, min(0x7FFF, sum(frame))) for frame in zip(*parts, strict=True)])
        self.sink.play(self.rate, STEREO, mixed.tobytes())
