"""The buzzer: timer 0's output, or the pin in software's hands, as sound."""

import pytest
from tones import Tape, is_tone
from virtual_time import advance

from dbgemu.target.mini2440 import Mini2440

GPBCON, GPBDAT = 0x10, 0x14
TCFG0, TCFG1, TCON, TCNTB0, TCMPB0 = 0x00, 0x04, 0x08, 0x0C, 0x10


class Bench:
    def __init__(self) -> None:
        self.board = Mini2440()
        self.tape = Tape()

    def beep(self, ticks: int) -> None:
        """Timer 0 at 12 MHz / 2 / ``ticks``."""
        for offset, value in ((TCFG0, 0), (TCNTB0, ticks - 1), (TCMPB0, ticks // 2), (TCON, 2), (TCON, 9)):
            self.board.pwm.write(offset, 4, value)

    def wait(self, seconds: float) -> None:
        advance(self.board.clock, round(seconds * 1e9))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_tone_of_timer_0_is_heard_while_the_pin_is_its_output(bench: Bench) -> None:
    bench.board.connect_audio(bench.tape)
    bench.beep(6000)
    bench.wait(0.2)
    assert not len(bench.tape.samples), "the pin is an input"
    bench.board.gpio.write(GPBCON, 4, 2)
    bench.wait(0.5)
    assert bench.board.buzzer.frequency == 1000
    assert is_tone(bench.tape.left, 44100, 1000, 0.001)
    assert max(bench.tape.left) == -min(bench.tape.left) == 0x2000
    bench.board.gpio.write(GPBCON, 4, 0)
    bench.wait(0.1)
    heard = len(bench.tape.samples)
    bench.wait(1)
    assert len(bench.tape.samples) == heard, "silence is not played"


def test_software_can_make_sound_with_the_pin(bench: Bench) -> None:
    bench.board.connect_audio(bench.tape)
    bench.board.gpio.write(GPBCON, 4, 1)
    for half in range(400):
        bench.board.gpio.write(GPBDAT, 4, half & 1)
        bench.wait(0.001)
    assert is_tone(bench.tape.left, 44100, 500, 0.001)


def test_without_a_listener_the_timer_makes_no_edges(bench: Bench) -> None:
    bench.board.gpio.write(GPBCON, 4, 2)
    bench.beep(6000)
    assert not bench.board.pwm.outputs[0].listeners
    bench.board.connect_audio(bench.tape)
    bench.wait(0.1)
    bench.board.connect_audio(None)
    assert not bench.board.pwm.outputs[0].listeners
    heard = len(bench.tape.samples)
    bench.wait(0.1)
    assert len(bench.tape.samples) == heard


def test_a_loaded_snapshot_beeps_on(bench: Bench) -> None:
    bench.board.gpio.write(GPBCON, 4, 2)
    bench.beep(6000)
    state, time = bench.board.save(), bench.board.clock.save()
    bench.board.connect_audio(bench.tape)
    bench.wait(5)
    bench.tape.samples = bench.tape.samples[:0]
    bench.board.clock.load(time)
    bench.board.load(state)
    bench.wait(0.5)
    assert is_tone(bench.tape.left, 44100, 1000, 0.001)
    assert len(bench.tape.left) == pytest.approx(22050, abs=1500)
