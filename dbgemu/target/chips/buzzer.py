"""The mini2440's buzzer at GPB0: a transistor that follows the pin, heard as a square wave."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from dbgemu.target.audio_mixer import Voice
from dbgemu.target.clock import NS_PER_SECOND, Timer, VirtualClock
from dbgemu.target.s3c2440.gpio_pins import OUTPUT
from dbgemu.target.s3c2440.gpio_ports import Pin
from dbgemu.target.s3c2440.pwm import PwmTimers

#: its samples have values of -AMPLITUDE to AMPLITUDE
AMPLITUDE = 0x2000
RATE = 44100
#: ns of sound that are put together
_BATCH = 10_000_000
#: batches without an edge after which it is off
_SILENT = 3


class Buzzer:
    """Follows timer 0's output while the pin has that function, or the pin when software drives it.

    Costs nothing until :meth:`connect`: then each edge of the timer's output is seen.
    """

    def __init__(self, *, clock: VirtualClock, pin: Pin, pwm: PwmTimers, voice: Voice) -> None:
        self._clock = clock
        self._pin = pin
        self._pwm = pwm
        self._voice = voice
        self._timer = Timer(clock, self._batch_ends)
        self._connected = False
        self._level = 0
        #: since when (ns) samples are to be made, and the edges since then
        self._begin = 0
        self._edges: list[tuple[int, int]] = []
        self._silent = 0
        pin.wired_to = "buzzer"

    @property
    def frequency(self) -> int:
        """What timer 0 would sound with, in Hz; 0 for nothing."""
        channel = self._pwm.channels[0]
        counter = channel.counter
        if self._pin.function != "TOUT0" or not channel.running or not channel.auto_reload:
            return 0
        channel.roll()
        period = (channel.top + 1) * counter.scale
        return counter.frequency * NS_PER_SECOND // period

    def connect(self) -> None:
        """Listen from now on."""
        if not self._connected:
            self._connected = True
            self._level = self._present()
            self._pwm.outputs[0].connect(self._changed)
            self._pin.connect(self._changed)
            self._pwm.channels[0].refresh_output()

    def disconnect(self) -> None:
        """Listen no longer."""
        if self._connected:
            self._connected = False
            _remove(self._pwm.outputs[0].listeners, self._changed)
            _remove(self._pin.listeners, self._changed)
            self._timer.cancel()
            self._voice.stop()

    def _present(self) -> int:
        function = self._pin.function
        if function == "TOUT0":
            return self._pwm.output(0)
        return self._pin.level if function == OUTPUT else 0

    def _changed(self, _: int) -> None:
        level, now = self._present(), self._clock.now
        if level == self._level:
            return
        deadline = self._timer.deadline
        if deadline is None or not now - _BATCH <= deadline <= now + _BATCH:
            # the first edge, or a snapshot was loaded
            self._begin, self._edges, self._silent = now, [], 0
            self._timer.start_in(_BATCH)
        self._edges.append((now, level))
        self._level = level

    def _batch_ends(self) -> None:
        end = self._clock.now
        self._silent = 0 if self._edges else self._silent + 1
        if self._silent >= _SILENT:
            self._voice.stop()
            return
        self._voice.play(RATE, 1, self._samples(end))
        self._edges = []
        self._timer.start_in(_BATCH)

    def _samples(self, end: int) -> bytes:
        """The wave from where the last batch ended; a sample is the mean of the level during it."""
        first = self._edges[0][1] ^ 1 if self._edges else self._level
        count = (end - self._begin) * RATE // NS_PER_SECOND
        means = array("h", [(2 * first - 1) * AMPLITUDE]) * (count + 1)
        for time, level in self._edges:
            place, part = divmod(max(0, time - self._begin) * RATE, NS_PER_SECOND)
            if place > count:
                break
            step = 2 * AMPLITUDE if level else -2 * AMPLITUDE
            # the edge's own sample keeps the share that has passed, those behind it have the new level
            means[place] += step * (NS_PER_SECOND - part) // NS_PER_SECOND
            rest = count - place
            means[place + 1 :] = array("h", [(2 * level - 1) * AMPLITUDE]) * rest
        self._begin += count * NS_PER_SECOND // RATE
        return means[:count].tobytes()


def _remove(listeners: list[Callable[[int], None]], listener: Callable[[int], None]) -> None:
    if listener in listeners:
        listeners.remove(listener)
