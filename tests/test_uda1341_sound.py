"""Tone controls, de-emphasis, polarity and automatic gain control of the UDA1341, by what is heard."""

import math
from array import array
from collections.abc import Iterator

import pytest
from tones import Tape, Tone, strength

from dbgemu.debug.snapshots.codec import decode, encode
from dbgemu.target.chips import uda1341_sound
from dbgemu.target.chips.uda1341 import Uda1341
from dbgemu.target.mini2440 import Mini2440

RATE = 44100
QUIET = 300
FLAT, MINIMUM, MAXIMUM = 0, 1, 3
INVERT_OUTPUT, INVERT_INPUT, GAIN_CONTROL, INPUT_2, BOTH = 0x08, 0x10, 0x10, 2, 3


class Rig:
    def __init__(self) -> None:
        self.board = Mini2440()
        self.tape = Tape()
        self.board.connect_audio(self.tape, rate=RATE)

    @property
    def codec(self) -> Uda1341:
        return self.board.codec

    def gain(self, frequency: float) -> float:
        """By how many dB a tone is louder at the output; the first tenth of a second does not count."""
        begin = len(self.tape.left)
        self.codec.play(RATE, 2, Tone(frequency, QUIET).record(RATE, 2, RATE // 2))
        heard = strength(self.tape.left[begin + RATE // 10 :], RATE, frequency)
        assert heard == pytest.approx(strength(self.tape.right[begin + RATE // 10 :], RATE, frequency))
        return 20 * math.log10(heard / QUIET)

    def recorded(self, amplitude: int, seconds: float = 1.5) -> list[int]:
        """What the codec makes of a tone of 440 Hz, the last tenth of a second."""
        self.board.connect_audio(self.tape, Tone(440, amplitude))
        samples = array("h", self.codec.record(8000, 2, round(8000 * seconds)))
        return list(samples[-1600:])


@pytest.fixture
def rig() -> Iterator[Rig]:
    yield Rig()


@pytest.mark.parametrize(
    ("mode", "steps", "decibels"),
    [(FLAT, 12, 0), (MINIMUM, 5, 10), (2, 12, 18), (MAXIMUM, 12, 24), (MAXIMUM, 15, 24)],
)
def test_bass_is_boosted_and_treble_is_not(rig: Rig, mode: int, steps: int, decibels: int) -> None:
    rig.codec.MODE, rig.codec.TONE = mode, steps << 2
    assert rig.gain(30) == pytest.approx(decibels, abs=0.2)
    assert rig.gain(5000) == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize(("mode", "steps"), [(FLAT, 3), (MINIMUM, 1), (MAXIMUM, 3)])
def test_treble_is_boosted_and_bass_is_not(rig: Rig, mode: int, steps: int) -> None:
    rig.codec.MODE, rig.codec.TONE = mode, steps
    assert rig.gain(16000) == pytest.approx(2 * steps if mode else 0, abs=0.2)
    assert rig.gain(100) == pytest.approx(0, abs=0.2)


def test_de_emphasis_lowers_high_tones_as_a_cd_wants_it(rig: Rig) -> None:
    assert rig.gain(10000) == pytest.approx(0, abs=0.1)
    rig.codec.MODE = 2 << 3
    for frequency in (100, 1000, 5000, 10000):
        angle = 2 * math.pi * frequency
        wanted = 20 * math.log10(math.hypot(1, angle * 15e-6) / math.hypot(1, angle * 50e-6))
        assert rig.gain(frequency) == pytest.approx(wanted, abs=0.3)


def test_volume_and_clipping_come_behind_the_tone_controls(rig: Rig) -> None:
    rig.codec.MODE, rig.codec.TONE, rig.codec.VOLUME = MAXIMUM, 12 << 2, 25
    assert rig.gain(30) == pytest.approx(0, abs=0.2)
    rig.codec.VOLUME = 0
    rig.codec.play(RATE, 2, Tone(30, 20000).record(RATE, 2, RATE // 2))
    assert (min(rig.tape.left), max(rig.tape.left)) == (-0x8000, 0x7FFF)


def test_both_polarities_are_inverted(rig: Rig) -> None:
    rig.codec.STATUS1 |= INVERT_OUTPUT
    rig.codec.play(RATE, 2, array("h", [5, 5, -0x8000, 0x7FFF]).tobytes())
    assert list(rig.tape.samples) == [-5, -5, 0x7FFF, -0x7FFF]
    upright = rig.recorded(1000, 0.1)
    rig.codec.STATUS1 |= INVERT_INPUT
    assert rig.recorded(1000, 0.1) == [-sample for sample in upright]


def test_the_peak_is_that_before_or_behind_the_tone_controls(rig: Rig) -> None:
    rig.codec.TONE = 12 << 2
    tone = Tone(30, QUIET).record(RATE, 2, RATE // 2)
    for mode, most in ((MAXIMUM, QUIET), (0x20 | MAXIMUM, 16 * QUIET)):
        rig.codec.MODE, rig.codec._peak = mode, 0
        rig.codec.play(RATE, 2, tone)
        assert rig.codec._peak == pytest.approx(most, rel=0.05)


def test_flat_sound_goes_through_no_filter(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.codec.MODE, rig.codec.TONE = MAXIMUM, 4
    rig.gain(100)
    assert any(rig.codec._filters["bass"])
    rig.codec.MODE, rig.codec.TONE = FLAT, 0x3F
    monkeypatch.setattr(uda1341_sound, "filtered", None)
    rig.gain(100)
    assert not any(rig.codec._filters["bass"])


def test_filters_and_gain_control_go_on_after_save_and_load(rig: Rig) -> None:
    rig.codec.MODE, rig.codec.TONE = MAXIMUM | 1 << 3, 0x1F
    rig.codec.EXTENDED2, rig.codec.EXTENDED4 = INPUT_2, GAIN_CONTROL
    source, tone = Tone(200, 900), Tone(200, 5000)
    rig.board.connect_audio(rig.tape, source)
    tone.record(RATE, 2, 50)
    rig.codec.play(RATE, 2, tone.record(RATE, 2, 300))
    rig.codec.record(RATE, 2, 700)
    saved, places, begin = decode(encode(rig.codec.save())), (source.place, tone.place), len(rig.tape.samples)
    results = []
    for _ in range(2):
        rig.codec.load(saved)
        source.place, tone.place = places
        begin = len(rig.tape.samples)
        rig.codec.play(RATE, 2, tone.record(RATE, 2, 300))
        results.append((rig.tape.samples[begin:], rig.codec.record(RATE, 2, 700)))
    assert results[0] == results[1]
    rig.codec._filters, rig.codec._control = uda1341_sound.nothing_remembered(), [1 << 24, 0]
    source.place, tone.place = places
    begin = len(rig.tape.samples)
    rig.codec.play(RATE, 2, tone.record(RATE, 2, 300))
    assert rig.tape.samples[begin:] != results[0][0], "what they remember is heard"
    assert rig.codec.record(RATE, 2, 700) != results[0][1]


@pytest.mark.parametrize(("level", "decibels"), list(enumerate((-9, -11.5, -15, -17.5))))
def test_gain_control_brings_quiet_and_loud_sound_to_its_level(rig: Rig, level: int, decibels: float) -> None:
    rig.codec.EXTENDED2, rig.codec.EXTENDED4, rig.codec.EXTENDED6 = 1 << 2 | INPUT_2, GAIN_CONTROL, level
    for amplitude in (400, 2000):
        heard = max(rig.recorded(amplitude))
        assert 20 * math.log10(heard / 0x8000) == pytest.approx(decibels, abs=0.5)
    # it adds no more than 33.5 dB, and takes nothing away
    assert max(rig.recorded(20)) == pytest.approx(20 * 10 ** (33.5 / 20), rel=0.05)
    assert max(rig.recorded(30000)) == pytest.approx(30000, rel=0.01)


def test_gain_control_attacks_faster_than_it_decays(rig: Rig) -> None:
    rig.codec.EXTENDED2, rig.codec.EXTENDED4 = 1 << 2 | INPUT_2, GAIN_CONTROL
    rig.recorded(1000)
    quiet_gain = rig.codec._control[0]
    rig.recorded(10000, 0.05)
    assert rig.codec._control[0] < quiet_gain / 8
    rig.recorded(1000, 0.05)
    assert rig.codec._control[0] < quiet_gain / 2
    rig.codec.EXTENDED4 = 0
    rig.recorded(1000, 0.01)
    assert rig.codec._control == [1 << 24, 0]


@pytest.mark.parametrize(
    ("registers", "gain"),
    [
        ({}, 1),
        ({"EXTENDED2": 1, "EXTENDED4": 3, "EXTENDED5": 31}, 1),
        ({"EXTENDED2": INPUT_2}, 10 ** (-3 / 20)),
        ({"EXTENDED2": INPUT_2, "EXTENDED4": 2, "EXTENDED5": 4}, 10 ** (6 / 20)),
        ({"EXTENDED2": 1, "STATUS1": 0x23}, 2),
        ({"EXTENDED2": INPUT_2, "EXTENDED4": 2, "EXTENDED5": 1, "STATUS1": 0x23}, 1),
        ({"EXTENDED2": BOTH, "EXTENDED0": 8, "EXTENDED1": 31}, 10 ** (-6 / 20)),
        ({"EXTENDED2": BOTH, "EXTENDED0": 4, "EXTENDED1": 4, "EXTENDED4": 2, "EXTENDED5": 1}, 2),
    ],
)
def test_each_input_has_its_own_gain(rig: Rig, registers: dict[str, int], gain: float) -> None:
    for name, value in registers.items():
        setattr(rig.codec, name, value)
    assert max(rig.recorded(1000, 0.2)) == pytest.approx(1000 * gain, rel=0.01)


def test_info_tells_what_is_applied(rig: Rig) -> None:
    codec = rig.codec
    codec.MODE, codec.TONE, codec.STATUS1 = MAXIMUM | 2 << 3, 0x3F, 0x5B
    codec.EXTENDED2, codec.EXTENDED4, codec.EXTENDED6 = 5 << 2 | BOTH, GAIN_CONTROL, 3 << 2 | 1
    facts = {fact.name: str(fact.value) for fact in codec.facts()}
    assert facts["output"] == "0 dB and 6 dB, inverted"
    assert facts["bass and treble"] == "+24 dB, +6 dB"
    assert facts["de-emphasis"] == "44.1 kHz"
    assert facts["recorded from"] == "both, inverted"
    assert facts["input gains"] == "1: 0.0 dB, 2: 21.0 dB"
    assert facts["automatic gain control of input 2"] == "to -11.5 dB, attack 16 ms, decay 200 ms"
    codec.MODE = FLAT
    assert {fact.name: fact.value for fact in codec.facts()}["bass and treble"] == "flat, flat"
