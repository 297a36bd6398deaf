"""FIFOs of samples, and the clock of an audio link: what IIS and AC97 have in common.

A link moves a frame (one sample of each channel) at its sample rate, but nobody has to be there for
each: the FIFOs catch up with the virtual clock every few milliseconds, whenever the guest looks, and at
the moment when the last data of a DMA transfer goes into the FIFO, so that the interrupt comes when it
should.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dbgemu.target.clock import NS_PER_SECOND, Timer, VirtualClock
from dbgemu.target.s3c2440.dma_port import DmaPort

#: a link catches up at least this often: every 1 / BATCHES of a second
BATCHES = 250


class SampleClock:
    """Counts the frames of a link. ``move(count)`` is called with how many have passed."""

    def __init__(self, clock: VirtualClock, move: Callable[[int], None]) -> None:
        self.clock = clock
        self._move = move
        #: a frame takes ``divider`` periods of ``frequency`` Hz; 0 while the link stands
        self.frequency = 0
        self.divider = 1
        self._epoch = 0
        self._done = 0
        self.timer = Timer(clock, self._wake)

    @property
    def rate(self) -> int:
        """Frames a second, rounded."""
        return (self.frequency + self.divider // 2) // self.divider

    @property
    def batch(self) -> int:
        """Frames after which the link catches up when nobody asks."""
        return max(16, self.rate // BATCHES)

    def run(self, frequency: int, divider: int) -> None:
        """Go on at ``frequency`` / ``divider`` frames a second; 0 Hz: stand still."""
        if (frequency, divider) != (self.frequency, self.divider):
            self.catch_up()
            self.frequency, self.divider = frequency, divider
            self._epoch, self._done = self.clock.now, 0
            if frequency:
                self._arm(self.batch)
            else:
                self.timer.cancel()

    def catch_up(self) -> None:
        """Let what should have moved until now move."""
        if self.frequency:
            elapsed = self.clock.now - self._epoch
            count = elapsed * self.frequency // (self.divider * NS_PER_SECOND) - self._done
            if count > 0:
                self._done += count
                self._move(count)

    def wake_after(self, frames: int) -> None:
        """Catch up when ``frames`` (> 0) more have passed, if not earlier."""
        if self.frequency and frames < self.batch:
            self._arm(frames)

    def _arm(self, frames: int) -> None:
        scale = self.divider * NS_PER_SECOND
        deadline = self._epoch - (-(self._done + frames) * scale // self.frequency)
        if self.timer.deadline is None or deadline < self.timer.deadline:
            self.timer.start_at(deadline)

    def _wake(self) -> None:
        self.catch_up()
        if self.frequency:
            self._arm(self.batch)

    def reset(self) -> None:
        """Stand still."""
        self.frequency, self.divider = 0, 1
        self._epoch = self._done = 0
        self.timer.cancel()

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        return {
            "frequency": self.frequency,
            "divider": self.divider,
            "epoch": self._epoch,
            "done": self._done,
            "timer": self.timer.deadline,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave."""
        self.frequency, self.divider = state["frequency"], state["divider"]
        self._epoch, self._done = state["epoch"], state["done"]
        self.timer.load(state["timer"])


class SampleFifo:
    """``depth`` entries of ``width`` bytes each, and the port through which DMA fills or empties them."""

    def __init__(self, depth: int, width: int) -> None:
        self.depth = depth
        self.width = width
        self.data = bytearray()
        #: requests service by DMA
        self.dma = False
        #: bytes that a DMA transfer that was served since the last frame still has to move
        self.left = 0
        #: called in front of each service by DMA: the link catches up
        self.on_service: Callable[[], None] = lambda: None
        #: called when :attr:`left` has become known
        self.on_left: Callable[[], None] = lambda: None

    @property
    def count(self) -> int:
        """Entries in the FIFO."""
        return len(self.data) // self.width

    @property
    def capacity(self) -> int:
        """Bytes that fit."""
        return self.depth * self.width

    def set_width(self, width: int) -> None:
        """Entries have ``width`` bytes from now on; a change loses what is there."""
        if width != self.width:
            self.width = width
            self.data.clear()

    def reset(self) -> None:
        """Empty, no DMA."""
        self.data.clear()
        self.dma = False
        self.left = 0

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        return {"width": self.width, "data": bytes(self.data), "dma": self.dma, "left": self.left}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave."""
        self.width, self.dma, self.left = state["width"], state["dma"], state["left"]
        self.data[:] = state["data"]

    def _resize(self, data: bytes, unit: int, width: int) -> bytes:
        """Entries of ``unit`` bytes as ones of ``width`` bytes: cut, or extended with zeros."""
        if unit == width:
            return data
        keep, pad = min(unit, width), bytes(max(0, width - unit))
        return b"".join(data[place : place + keep] + pad for place in range(0, len(data), unit))


class PlayFifo(SampleFifo):
    """Samples on their way out. DMA is asked for more while there is room."""

    def __init__(self, name: str, depth: int, width: int) -> None:
        super().__init__(depth, width)
        self.port = DmaPort(name, write=self._write)
        #: bytes that have left already while catching up: room for as many more
        self._due = 0
        self.underruns = 0

    def request(self) -> None:
        """Tell DMA whether there is room."""
        self.port.request(self.dma and len(self.data) < self.capacity + self._due)

    def put(self, value: int) -> bool:
        """One entry from the CPU; False when the FIFO is full and it is lost."""
        fits = len(self.data) < self.capacity
        if fits:
            self.data += (value & (1 << 8 * self.width) - 1).to_bytes(self.width, "little")
            self.request()
        return fits

    def take(self, count: int) -> bytes:
        """The next ``count`` entries; zeros when there are no more."""
        length = count * self.width
        self.left = 0
        self._due = length
        self.request()
        self._due = 0
        taken = bytes(self.data[:length])
        del self.data[:length]
        self.request()
        if len(taken) < length:
            self.underruns += 1
            taken = taken.ljust(length, b"\0")
        return taken

    def _write(self, unit: int, data: bytes) -> int:
        self.on_service()
        room = (self.capacity + self._due - len(self.data)) // self.width * unit
        taken = max(0, min(room, len(data)))
        self.data += self._resize(data[:taken], unit, self.width)
        self.left = (len(data) - taken) // unit * self.width
        self.request()
        self.on_left()
        return taken

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave; DMA's own state tells what it does about it."""
        super().load(state)
        self.underruns = state["underruns"]
        self.port.level = int(self.dma and len(self.data) < self.capacity)

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        return {**super().save(), "underruns": self.underruns}

    def reset(self) -> None:
        """Empty, no DMA."""
        super().reset()
        self.underruns = 0
        self.port.level = 0


class RecordFifo(SampleFifo):
    """Samples that came in. DMA is asked to take them; new ones are lost while it is full."""

    def __init__(self, name: str, depth: int, width: int) -> None:
        super().__init__(depth, width)
        self.port = DmaPort(name, read=self._read)
        self.overruns = 0

    def request(self) -> None:
        """Tell DMA whether there are samples."""
        self.port.request(self.dma and len(self.data) >= self.width)

    def put(self, data: bytes) -> None:
        """Entries that come in, together."""
        self.left = 0
        self.data += data
        self.request()
        if len(self.data) > self.capacity:
            del self.data[self.capacity :]
            self.overruns += 1

    def peek(self) -> int:
        """The next entry, 0 when there is none."""
        return int.from_bytes(self.data[: self.width], "little")

    def take(self) -> int:
        """The next entry for the CPU, 0 when there is none."""
        value = self.peek()
        del self.data[: self.width]
        self.request()
        return value

    def _read(self, unit: int, maximum: int) -> bytes:
        self.on_service()
        count = min(len(self.data) // self.width, maximum // unit)
        taken = bytes(self.data[: count * self.width])
        del self.data[: count * self.width]
        self.left = (maximum // unit - count) * self.width
        self.request()
        self.on_left()
        return self._resize(taken, self.width, unit)

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave; DMA's own state tells what it does about it."""
        super().load(state)
        self.overruns = state["overruns"]
        self.port.level = int(self.dma and len(self.data) >= self.width)

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        return {**super().save(), "overruns": self.overruns}

    def reset(self) -> None:
        """Empty, no DMA."""
        super().reset()
        self.overruns = 0
        self.port.level = 0
