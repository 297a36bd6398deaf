"""The bytes of GDB's remote protocol: ``$packet#checksum``, acknowledgements, ctrl-C.

GDB manual, "Remote Protocol: Overview". Pure functions and one small automaton; no sockets here.
"""

from __future__ import annotations

from binascii import hexlify
from enum import Enum
from functools import lru_cache
from zlib import adler32

#: bytes of the longest packet taken from a client: what qSupported announces as PacketSize
PACKET_SIZE = 0x20000

_DOLLAR, _HASH = ord("$"), ord("#")
_HEX_DIGITS = "0123456789abcdefABCDEF"
_HEX_VALUES = {(a + b).encode(): int(a + b, 16) for a in _HEX_DIGITS for b in _HEX_DIGITS}


class Signal(Enum):
    """What can arrive besides a good packet."""

    ACK = "+"
    NAK = "-"
    INTERRUPT = "ctrl-C"
    BAD_CHECKSUM = "a packet whose checksum is wrong"
    OVERSIZED = f"a packet of more than {PACKET_SIZE} bytes"


def checksum(data: bytes) -> int:
    """The sum of all bytes, modulo 256."""
    # The low half of Adler-32 is 1 + the sum modulo 65521: exact up to 256 bytes of 255, or 512 of 127.
    # The high half does not show modulo 256. Some ten times faster than sum().
    size = 512 if data.isascii() else 256
    if len(data) <= size:
        return (adler32(data) - 1) & 0xFF
    view = memoryview(data)
    pieces = [view[start : start + size] for start in range(0, len(data), size)]
    return (sum(map(adler32, pieces)) - len(pieces)) & 0xFF


def frame(packet: bytes) -> bytes:
    """``packet``, whose bytes are escaped already, as it goes over the wire."""
    return b"$%b#%02x" % (packet, checksum(packet))


def escape(data: bytes) -> bytes:
    """Binary data as it may stand in a reply: ``# $ } *`` become ``}`` and the byte xor 0x20."""
    return data.replace(b"}", b"}]").replace(b"#", b"}\x03").replace(b"$", b"}\x04").replace(b"*", b"}\n")


def unescape(data: bytes) -> bytes:
    """The data that :func:`escape` or a client escaped; an escape at the very end counts for nothing."""
    if b"}" not in data:
        return data
    plain = bytearray()
    position = 0
    while (found := data.find(b"}", position)) >= 0:
        plain += data[position:found]
        if found + 1 < len(data):
            plain.append(data[found + 1] ^ 0x20)
        position = found + 2
    return bytes(plain + data[position:])


# Runs worth shortening in hexadecimal replies are zeros (cleared memory) and 'f' (erased flash).
# Looking for these few runs is a hundred times cheaper than looking for any. The last character is
# the number of repetitions plus 29; 97 and 15 give '~' and ',', which mean nothing else.
_LONG, _SHORT = 98, 16
_RUNS = tuple(
    (digit * _LONG, b"%b*%c" % (digit, _LONG - 1 + 29), digit * _SHORT, b"%b*%c" % (digit, _SHORT - 1 + 29))
    for digit in (b"0", b"f")
)


#: so many bytes of zeros, or of ones, are a run worth shortening
_ZEROS, _ONES = bytes(_SHORT // 2), b"\xff" * (_SHORT // 2)

#: replies longer than this are not searched for runs: that takes longer than sending them
_RUN_SEARCH_LIMIT = 4096


def run_length_encode(packet: bytes) -> bytes:
    """A hexadecimal reply with its long runs shortened: ``0*,`` is sixteen zeros."""
    if len(packet) > _RUN_SEARCH_LIMIT:
        return packet
    for long_run, long_code, run, code in _RUNS:
        if run in packet:
            packet = packet.replace(long_run, long_code).replace(run, code)
    return packet


def hexadecimal(data: bytes) -> bytes:
    """Memory as a reply in hexadecimal, its long runs shortened."""
    digits = hexlify(data)
    # Most memory has no runs: they are seen in half the time before there are two digits a byte.
    return run_length_encode(digits) if _ZEROS in data or _ONES in data else digits


@lru_cache(maxsize=1024)
def lone_packet(data: bytes) -> bytes | None:
    """The packet when ``data`` is exactly one good packet, else None (then let a reader see it).

    Cached: clients say the same few things over and over. Not for long data.
    """
    if data[:1] != b"$" or data[-3:-2] != b"#" or data.count(b"#") != 1 or data.count(b"$") != 1:
        return None
    packet = data[1:-3]
    return packet if _HEX_VALUES.get(data[-2:]) == checksum(packet) else None


class FrameReader:
    """Cuts a client's byte stream into packets and signals, wherever the stream is torn.

    Between packets only ``+``, ``-`` and ctrl-C mean something. A ``$`` inside a packet starts it
    anew, as the first part must have been lost. At most one packet of :data:`PACKET_SIZE` is kept.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._discarding = False

    @property
    def pending(self) -> bool:
        """Part of a packet has arrived."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes | Signal]:
        """The packets (their bytes between ``$`` and ``#``) and signals that ``data`` completes."""
        buffer = self._buffer
        buffer += data
        items: list[bytes | Signal] = []
        position = 0
        while position < len(buffer):
            if buffer[position] != _DOLLAR and not self._discarding:
                start = buffer.find(b"$", position)
                end = start if start >= 0 else len(buffer)
                self._between(bytes(buffer[position:end]), items)
                position = end
                self._searched = 0
                continue
            mark = buffer.find(b"#", max(position, self._searched))
            if mark < 0:
                self._searched = len(buffer)
                break
            if mark + 2 >= len(buffer):
                self._searched = mark
                break
            start = position if self._discarding else buffer.rfind(b"$", position, mark)
            items.append(self._packet(bytes(buffer[start + 1 : mark]), bytes(buffer[mark + 1 : mark + 3])))
            position = mark + 3
            self._searched = 0
        del buffer[:position]
        self._searched = max(0, self._searched - position)
        if len(buffer) > PACKET_SIZE + 4:
            # No '#' so far, or it is among the last two bytes: those must stay.
            del buffer[: len(buffer) - 2]
            self._searched = 0
            self._discarding = True
        return items

    def _between(self, data: bytes, items: list[bytes | Signal]) -> None:
        for signal, byte in ((Signal.ACK, b"+"), (Signal.NAK, b"-"), (Signal.INTERRUPT, b"\x03")):
            if byte in data:
                items.append(signal)

    def _packet(self, packet: bytes, digits: bytes) -> bytes | Signal:
        if self._discarding or len(packet) > PACKET_SIZE:
            self._discarding = False
            return Signal.OVERSIZED
        if _HEX_VALUES.get(digits) != checksum(packet):
            return Signal.BAD_CHECKSUM
        return packet
