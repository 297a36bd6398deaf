"""Streams: data registers whose next bytes are known, so that an access need not ask the device.

A device lays what reads of its data register will give, or leaves room for what is written to it, in a
buffer; whoever executes the guest's code then serves such accesses from the buffer and moves on in it,
and asks the device for all others. The device looks where the stream is when anything else is wanted of
it: another register, a peek, its saved state. So a device has to do everything that follows from the
bytes that have passed - error correction codes, counters, status - only then, and the very last access, or
any that must do something at once, comes to its handler when the limit is set short of it.

A register whose value stays the same until the device says otherwise can be held in the same way. One
that shows a code of what has passed through a stream has that computed where the stream is served.

Nothing depends on accesses being served here: without an engine each of them comes to the handler.
"""

from __future__ import annotations

import ctypes
from array import array

# Words of the native description, which the engine reads: three host addresses; the physical address with
# the access sizes that are served above it (a sum of 1, 2, 4); what of an access's size the cursor moves
# on by (a mask); the host address of the next description for the same page, or 0
STREAM_CURSOR, STREAM_READ_END, STREAM_WRITE_END, STREAM_ACCESS, STREAM_STEP, STREAM_NEXT = range(6)
STREAM_SIZES_SHIFT = 32
# Flags above the sizes: reads give a code; the write of one value is posted; reads give a count (see
# :mod:`dbgemu.target.count_port`). Then there are more words: of
# a code the host address where it began, or 0, those of the stream's description and of the code's tables,
# and how many bytes it covers; of a posted write the value, and the host address of a list of pairs of host
# addresses, which a 0 ends: 64-bit words are copied from each first to each second
CODE_READS, POSTS_WRITES, COUNT_READS = 1 << 8, 1 << 9, 1 << 10
CODE_ORIGIN, CODE_STREAM, CODE_TABLES, CODE_LIMIT = range(6, 10)
POST_VALUE, POST_COPIES = 6, 7
#: bytes of a stream that a code takes at once: it is computed natively for a multiple of these only
CODE_UNIT = 8
# The tables of a code: what its 32-bit word gets for line bits 5 to 0, for line bits above, for the columns
CODE_LOW_LINES, CODE_HIGH_LINES, CODE_COLUMNS, CODE_TABLES_END = 0, 64, 128, 384

ANY_SIZE = 1 | 2 | 4
_EVERY_BIT = (1 << 64) - 1


class Port:
    """What the engine knows of a register: where its bytes are, and which accesses are served."""

    __slots__ = ("_base", "_enabled", "_gated", "_sizes", "native", "words")

    def __init__(self, base: int, sizes: int, step: int, *more: int) -> None:
        self._base = base
        self._sizes = sizes
        self._enabled, self._gated = True, False
        #: the native description, for devices that cannot spare a call: see STREAM_CURSOR and so on
        self.words = array("Q", [base, 0, 0, sizes << STREAM_SIZES_SHIFT, step, 0, *more])
        #: the host address of the description
        self.native = self.words.buffer_info()[0]

    @property
    def address(self) -> int:
        """The register's physical address: the bus sets it."""
        return self.words[STREAM_ACCESS] & 0xFFFFFFFF

    @address.setter
    def address(self, address: int) -> None:
        self.words[STREAM_ACCESS] = self.words[STREAM_ACCESS] >> 32 << 32 | address

    @property
    def enabled(self) -> bool:
        """Whether accesses are served at all; True at first."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        if value != self._enabled:
            self._enabled = value
            self._describe_sizes()

    @property
    def gated(self) -> bool:
        """Whether the device has no clock, so that none are served either: for the bus. False at first."""
        return self._gated

    @gated.setter
    def gated(self, value: bool) -> None:
        self._gated = value
        self._describe_sizes()

    def _describe_sizes(self) -> None:
        sizes = self._sizes if self._enabled and not self._gated else 0
        words = self.words
        words[STREAM_ACCESS] = words[STREAM_ACCESS] & 0xFFFFFFFF | sizes << STREAM_SIZES_SHIFT

    def follow(self, other: Port) -> None:
        """Be looked at after ``other``, in the same page: for the bus."""
        other.words[STREAM_NEXT] = self.native


class HeldRegister(Port):
    """A register that reads as one 32-bit value as long as it is held; writes go to its handler."""

    __slots__ = ("_value",)

    def __init__(self, sizes: int = ANY_SIZE, *more: int) -> None:
        self._value = array("I", [0])
        super().__init__(self._value.buffer_info()[0], sizes, 0, *more)

    def hold(self, value: int) -> None:
        """Let reads give ``value`` from now on."""
        self._value[0] = value
        self.words[STREAM_READ_END] = self._base + 4

    def release(self) -> None:
        """Let reads come to the register's handler."""
        self.words[STREAM_READ_END] = 0


class StreamPort(Port):
    """The stream of one data register: a buffer, a position in it, and limits for reads and writes.

    An access of n bytes (n in ``sizes``) at ``position`` is served if position + n is within ``read_limit``
    or ``write_limit`` (0: none is); little-endian, the first byte is the lowest. ``capacity`` is in bytes.
    """

    __slots__ = ("_capacity", "_keep", "buffer")

    def __init__(self, capacity: int, sizes: int = ANY_SIZE) -> None:
        #: contents may be changed at any time, the length never
        self.buffer = bytearray(capacity)
        self._capacity = capacity
        self._keep = (ctypes.c_char * capacity).from_buffer(self.buffer)
        super().__init__(ctypes.addressof(self._keep), sizes, _EVERY_BIT)

    @property
    def position(self) -> int:
        """Where the next byte is read or written: an index of ``buffer``."""
        return self.words[STREAM_CURSOR] - self._base

    @position.setter
    def position(self, index: int) -> None:
        self.words[STREAM_CURSOR] = self._base + index

    @property
    def read_limit(self) -> int:
        """Reads are served up to here; 0 for none."""
        return max(self.words[STREAM_READ_END] - self._base, 0)

    @read_limit.setter
    def read_limit(self, index: int) -> None:
        self.words[STREAM_READ_END] = self._end(index)

    @property
    def write_limit(self) -> int:
        """Writes are served up to here; 0 for none."""
        return max(self.words[STREAM_WRITE_END] - self._base, 0)

    @write_limit.setter
    def write_limit(self, index: int) -> None:
        self.words[STREAM_WRITE_END] = self._end(index) if index else 0

    def _end(self, index: int) -> int:
        if not 0 <= index <= self._capacity:
            raise ValueError(f"the limit {index} is not within a buffer of {self._capacity} bytes")
        return self._base + index if index else 0

    def end_of(self, index: int) -> int:
        """``index`` as :attr:`words` have it."""
        return self._base + index

    def open_reads(self) -> None:
        """Let reads be served up to the capacity."""
        self.words[STREAM_READ_END] = self._base + self._capacity

    def turn_to(self, index: int) -> None:
        """Go to ``index`` and serve nothing there."""
        words = self.words
        words[STREAM_READ_END] = words[STREAM_WRITE_END] = 0
        words[STREAM_CURSOR] = self._base + index

    def close(self) -> None:
        """Serve nothing any more; the position stays."""
        words = self.words
        words[STREAM_READ_END] = words[STREAM_WRITE_END] = 0

    # -- for devices that have no buffer of their own ----------------------------------------------

    def offer(self, data: bytes | bytearray | memoryview) -> None:
        """Let reads be served from ``data`` (a copy, at most the capacity) until that ends."""
        count = len(data)
        if count > len(self.buffer):
            raise ValueError(f"{count} bytes do not fit into a buffer of {len(self.buffer)}")
        self.buffer[:count] = data
        self.write_limit = 0
        self.position = 0
        self.read_limit = count

    def accept(self, limit: int) -> None:
        """Let writes be served until ``limit`` bytes have come."""
        words = self.words
        words[STREAM_READ_END] = 0
        words[STREAM_CURSOR] = self._base
        words[STREAM_WRITE_END] = self._end(limit)

    def withdraw(self) -> int:
        """Serve nothing any more; gives how many bytes were read since :meth:`offer`."""
        passed = self.position
        self.close()
        self.position = 0
        return passed

    def received(self) -> bytes:
        """Serve nothing any more; gives what was written since :meth:`accept`."""
        return bytes(self.buffer[: self.withdraw()])


class CodeRegister(Port):
    """A register that reads as an error correction code of what has passed in a stream since its start.

    The code is 32 bits wide: the XOR of what ``tables`` (CODE_TABLES_END words) have for the parities of
    the lines, which are the XOR of the numbers of all bytes of odd parity, and for the XOR of all bytes.
    It is served when at most ``limit`` bytes (up to 4096) have passed, and a multiple of CODE_UNIT.
    """

    __slots__ = ("_stream", "_tables", "_value")

    def __init__(self, stream: StreamPort, tables: array[int], limit: int) -> None:
        self._value = array("I", [0])
        self._stream, self._tables = stream, tables
        place = self._value.buffer_info()[0]
        more = (0, stream.native, tables.buffer_info()[0], limit)
        super().__init__(place, ANY_SIZE | CODE_READS, 0, *more)

    @property
    def origin(self) -> int | None:
        """Where in the stream the code begins; None when it is not served."""
        origin = self.words[CODE_ORIGIN]
        return origin - self._stream._base if origin else None

    def start(self) -> None:
        """Begin with what passes next."""
        self.words[CODE_ORIGIN] = self._stream.words[STREAM_CURSOR]

    def release(self) -> None:
        """Let reads come to the register's handler."""
        self.words[CODE_ORIGIN] = 0


class PostingRegister(HeldRegister):
    """A register, held or not, where the write of one value need not come to its handler at once.

    All that such a write does then is to copy words, from and to places that :func:`place_of` gives; the
    device finds them and makes up for the rest when it is asked for anything else.
    """

    __slots__ = ("_copies", "_never")

    def __init__(self, *copies: tuple[int, int], once: bool = False) -> None:
        """With ``once`` a write is posted only once after :meth:`post`."""
        super().__init__(ANY_SIZE | POSTS_WRITES, _EVERY_BIT, 0)
        self._never = array("Q", [_EVERY_BIT])
        if once:
            copies = *copies, (place_of(self._never, 0), place_of(self.words, POST_VALUE))
        self._copies = array("Q", [place for pair in copies for place in pair] + [0])
        self.words[POST_COPIES] = place_of(self._copies, 0)

    def post(self, value: int) -> None:
        """The write of which value is posted from now on."""
        self.words[POST_VALUE] = value

    def refuse(self) -> None:
        """Let all writes come to the register's handler."""
        self.words[POST_VALUE] = _EVERY_BIT


def place_of(words: array[int], index: int) -> int:
    """The host address of a 64-bit word, in what is never made longer."""
    return words.buffer_info()[0] + 8 * index
