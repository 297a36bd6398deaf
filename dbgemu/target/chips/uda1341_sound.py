"""What the UDA1341TS's digital part does to samples: tone, de-emphasis, automatic gain control.

Ranges, steps and times are the chip's, as Linux 2.6 told them (sound/i2c/l3/uda1341.c). The curves are not
known: bass and treble are shelving filters with their middles at :data:`BASS` and :data:`TREBLE` Hz.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

BASS, TREBLE = 250.0, 3000.0
#: what full scale is
FULL = 0x8000
#: what is remembered from one call to the next is whole numbers of 1 / UNIT: plain data
UNIT = 1 << 24
#: sound mode -> the largest bass boost in dB; mode 0 is flat
_MOST_BASS = {0: 0, 1: 18, 2: 18, 3: 24}
#: DE -> the rate in Hz that the filter is made for
DE_EMPHASIS_RATES = {1: 32000, 2: 44100, 3: 48000}
#: time constants of de-emphasis, in seconds (IEC 60908)
_PRE, _DE = 15e-6, 50e-6

#: MS -> sensitivity of the microphone amplifier in dB; 7 is not used
SENSITIVITY = (-3, 0, 3, 9, 15, 21, 27, 27)
#: AT -> attack and decay time in ms, AL -> dB below full scale
GAIN_TIMES = ((11, 100), (16, 100), (11, 200), (16, 200), (21, 200), (11, 400), (16, 400), (21, 400))
GAIN_LEVELS = (-9.0, -11.5, -15.0, -17.5)
#: what automatic gain control can add, in dB: the whole input has -3 to 60.5 dB, its amplifier -3 to 27
MOST_GAIN = 33.5

NO_CONTROL = (UNIT, 0)


def amplitude(decibels: float) -> float:
    """The factor."""
    return float(10 ** (decibels / 20))


def bass_boost(sound_mode: int, steps: int) -> int:
    """In dB."""
    return min(2 * steps, _MOST_BASS[sound_mode])


def treble_boost(sound_mode: int, steps: int) -> int:
    """In dB."""
    return 2 * steps if sound_mode else 0


class Section(NamedTuple):
    """A filter of second order: numerator and denominator, whose first coefficient is 1."""

    b0: float
    b1: float
    b2: float
    a1: float
    a2: float

    def run(self, samples: Iterable[float], memory: list[int]) -> tuple[list[float], list[int]]:
        """The filtered samples, and what to go on from: ``memory``, two numbers that are 0 at first."""
        b0, b1, b2, a1, a2 = self.b0, self.b1, self.b2, self.a1, self.a2
        first, second = memory[0] / UNIT, memory[1] / UNIT
        result = []
        for sample in samples:
            value = b0 * sample + first
            first = b1 * sample - a1 * value + second
            second = b2 * sample - a2 * value
            result.append(value)
        return result, [round(first * UNIT), round(second * UNIT)]


def _shelf(rate: int, middle: float, decibels: float, *, high: bool) -> Section:
    """Half of the dB at ``middle`` Hz, all of them far below it, or above it."""
    ratio = 10 ** (decibels / 40)
    angle = 2 * math.pi * min(middle, 0.45 * rate) / rate
    cosine, slope = math.cos(angle), math.sqrt(2 * ratio) * math.sin(angle)
    sign = -1 if high else 1
    plus, minus = ratio + 1, sign * (ratio - 1)
    scale = plus + minus * cosine + slope
    return Section(
        ratio * (plus - minus * cosine + slope) / scale,
        2 * ratio * (minus - plus * cosine) / scale,
        ratio * (plus - minus * cosine - slope) / scale,
        -2 * (minus + plus * cosine) / scale,
        (plus + minus * cosine - slope) / scale,
    )


def _de_emphasis(rate: int) -> Section:
    """(1 + s PRE) / (1 + s DE): pole and zero at the same places of time."""
    pole, zero = math.exp(-1 / (rate * _DE)), math.exp(-1 / (rate * _PRE))
    scale = (1 - pole) / (1 - zero)
    return Section(scale, -scale * zero, 0.0, -pole, 0.0)


@lru_cache(maxsize=16)
def sections(rate: int, de_emphasis: int, bass: int, treble: int) -> Mapping[str, Section]:
    """The filters that samples at ``rate`` Hz go through; ``bass`` and ``treble`` in dB. None when flat."""
    found = {}
    if de_emphasis:
        found["de-emphasis"] = _de_emphasis(DE_EMPHASIS_RATES[de_emphasis])
    if bass:
        found["bass"] = _shelf(rate, BASS, bass, high=False)
    if treble:
        found["treble"] = _shelf(rate, TREBLE, treble, high=True)
    return found


def nothing_remembered() -> dict[str, list[int]]:
    """What the filters of both channels remember at first: two numbers for each channel."""
    return {name: [0] * 4 for name in ("de-emphasis", "bass", "treble")}


def filtered(
    filters: Mapping[str, Section], memory: dict[str, list[int]], words: array[int], channels: int
) -> list[float]:
    """``words`` behind all ``filters``, channels interleaved; ``memory`` is what they remember."""
    result = [0.0] * len(words)
    memory.update((name, [0] * 4) for name in memory.keys() - filters.keys())
    for channel in range(channels):
        samples: Iterable[float] = words[channel::channels]
        for name, section in filters.items():
            samples, memory[name][2 * channel : 2 * channel + 2] = section.run(
                samples, memory[name][2 * channel : 2 * channel + 2]
            )
        result[channel::channels] = samples
    return result


def levelled(
    words: Iterable[float], *, rate: int, channels: int, times: int, target: int, state: list[int]
) -> list[float]:
    """Automatic gain control: ``words`` brought to a level.

    ``times`` and ``target`` are AT and AL. ``state`` is what is remembered, :data:`NO_CONTROL` at first:
    the gain, and how loud it is.
    """
    attack, decay = (1 - math.exp(-1000 / (rate * time)) for time in GAIN_TIMES[times])
    wanted, most = FULL * amplitude(GAIN_LEVELS[target]), amplitude(MOST_GAIN)
    gain, loudness = state[0] / UNIT, state[1] / UNIT
    result = []
    frames = zip(*[iter(words)] * channels, strict=True)
    for frame in frames:
        loudest = max(abs(word) for word in frame)
        loudness = loudest if loudest > loudness else loudness * (1 - decay)
        aim = min(most, max(1.0, wanted / loudness)) if loudness else most
        gain += (aim - gain) * (attack if aim < gain else decay)
        result += [word * gain for word in frame]
    state[:] = round(gain * UNIT), round(loudness * UNIT)
    return result


def clipped(values: Iterable[float], gain: float) -> bytes:
    """``values`` times ``gain`` as samples of 16 bits."""
    return array("h", [max(-FULL, min(FULL - 1, round(value * gain))) for value in values]).tobytes()
