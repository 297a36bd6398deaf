"""The trace buffer: frames one behind another, in the layout of a trace file."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

from dbgemu.debug.tracepoints.frame import HEADER, TraceFrame

#: bytes
DEFAULT_SIZE = 5 << 20
#: bytes: what a user may ask for
MAX_SIZE = 1 << 30


class TraceBuffer:
    """At most ``size`` bytes of frames; a circular one gives its oldest up for new ones.

    Frames are counted from 0, the oldest that is left.
    """

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        self.size = size
        self.circular = False
        self.clear()

    def clear(self) -> None:
        """Forget every frame."""
        #: frames that were ever put in
        self.created = 0
        self._data = bytearray()
        #: for each frame in ``_data``, given up or not: where it starts, its tracepoint, its address
        self._starts = array("Q")
        self._numbers = array("H")
        self._addresses = array("I")
        #: the first frame that is left
        self._first = 0

    def __len__(self) -> int:
        return len(self._starts) - self._first

    @property
    def _head(self) -> int:
        """Where the oldest frame starts in ``_data``."""
        return self._starts[self._first] if len(self) else len(self._data)

    @property
    def used(self) -> int:
        """Bytes that the frames take."""
        return len(self._data) - self._head

    @property
    def free(self) -> int:
        """Bytes that are left."""
        return self.size - self.used

    def append(self, number: int, address: int, blocks: bytes) -> bool:
        """Put a frame in; False when there is no room for it."""
        length = HEADER.size + len(blocks)
        data = self._data
        if len(data) + length > self.size and not self._make_room(length):
            return False
        self._starts.append(len(data))
        self._numbers.append(number)
        self._addresses.append(address)
        data += HEADER.pack(number, len(blocks))
        data += blocks
        self.created += 1
        return True

    def _make_room(self, length: int) -> bool:
        """Give up frames until ``length`` bytes are free, if that is wanted and possible."""
        if self.free < length:
            if not self.circular or length > self.size:
                return False
            while self.free < length:
                self._first += 1
        if self._head >= self.size:
            self._compact()
        return True

    def _compact(self) -> None:
        """Take out what was given up. Done once for each buffer full: it costs little a frame."""
        head, first = self._head, self._first
        del self._data[:head]
        self._starts = array("Q", (start - head for start in self._starts[first:]))
        del self._numbers[:first], self._addresses[:first]
        self._first = 0

    def frame(self, index: int) -> TraceFrame | None:
        """Frame ``index``, if there is one."""
        if not 0 <= index < len(self):
            return None
        place = self._first + index
        start = self._starts[place]
        _, length = HEADER.unpack_from(self._data, start)
        start += HEADER.size
        blocks = bytes(self._data[start : start + length])
        return TraceFrame(index, self._numbers[place], self._addresses[place], blocks)

    def find(self, after: int, fits: Callable[[int, int], bool]) -> TraceFrame | None:
        """The first frame behind index ``after`` whose tracepoint number and address ``fits``."""
        for place in range(self._first + after + 1, len(self._starts)):
            if fits(self._numbers[place], self._addresses[place]):
                return self.frame(place - self._first)
        return None

    def __iter__(self) -> Iterator[TraceFrame]:
        for index in range(len(self)):
            frame = self.frame(index)
            assert frame is not None
            yield frame

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes of the frames as they stand in a trace file, from ``offset``."""
        start = self._head + offset
        return bytes(self._data[start : start + length])
