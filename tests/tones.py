"""Tones for tests of sound: made, and found again by their spectrum."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence


class Tone:
    """A source that always gives a sine of ``frequency`` Hz, on all channels."""

    def __init__(self, frequency: float, amplitude: int = 10000) -> None:
        self.frequency = frequency
        self.amplitude = amplitude
        self.place = 0

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        samples = array("h")
        for place in range(self.place, self.place + frames):
            value = round(self.amplitude * math.sin(2 * math.pi * self.frequency * place / rate))
            samples.extend([value] * channels)
        self.place += frames
        return samples.tobytes()


class Tape:
    """A sink that keeps what it gets: stereo at one rate."""

    def __init__(self) -> None:
        self.samples = array("h")
        self.rate = 0

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        assert channels == 2
        self.rate = rate
        self.samples.frombytes(samples)

    @property
    def left(self) -> array[int]:
        return self.samples[::2]

    @property
    def right(self) -> array[int]:
        return self.samples[1::2]


def strength(samples: Sequence[float], rate: int, frequency: float) -> float:
    """The amplitude of the part of ``samples`` that is a sine of ``frequency`` Hz: Goertzel's algorithm."""
    count = len(samples)
    coefficient = 2 * math.cos(2 * math.pi * frequency / rate)
    before, last = 0.0, 0.0
    for place, sample in enumerate(samples):
        # a window, so that other frequencies do not leak in
        window = 1 - math.cos(2 * math.pi * (place + 0.5) / count)
        before, last = last, sample * window + coefficient * last - before
    power = last * last + before * before - coefficient * last * before
    return 2 * math.sqrt(max(0.0, power)) / count


def is_tone(samples: Sequence[float], rate: int, frequency: float, tolerance: float = 0.01) -> bool:
    """Whether most of what is heard is a tone of ``frequency`` Hz, within a share ``tolerance`` of it."""
    mean = sum(samples) / len(samples)
    heard = [sample - mean for sample in samples]
    power = sum(sample * sample for sample in heard) / len(heard)
    candidates = [frequency * (1 + tolerance * step / 4) for step in range(-4, 5)]
    best = max(strength(heard, rate, candidate) for candidate in candidates)
    return power > 0 and best * best / 2 > 0.6 * power
