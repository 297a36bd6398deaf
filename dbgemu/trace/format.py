"""The file format of traces, as docs/tracing.md specifies it: a header, then chunks.

Numbers are little-endian. Every chunk stands for itself: it says where it begins, and nothing in it
refers to another one.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from dbgemu.engine.layout import EVENT_BYTES
from dbgemu.errors import Error

MAGIC = b"dbgtrace2\n\x1a\n\x00\x00\x00"
_HEAD = struct.Struct("<II")  # length and CRC-32 of the JSON text that follows
SUFFIX = ".dbgtrace"

_MAX_HEADER = 16 << 20
#: a chunk is cut when it has so many instructions, at the latest
CHUNK_INSTRUCTIONS = 1 << 22
#: and when one of its streams has as many bytes
STREAM_BYTES = 1 << 20
_MAX_STREAM = 2 * STREAM_BYTES
_MAX_STRINGS = 64 << 20
_MAX_BLOCKS = 2 * CHUNK_INSTRUCTIONS

#: flags of a chunk: the trace ends with it; the running block at its end is not to be recorded, or unknown
FINAL, UNSELECTED = 1, 2
#: zlib's: most of the gain for the least time
_LEVEL = 1

#: a record of the event stream: position, kind, two numbers that the kind says, three words
EVENT = struct.Struct("<QBBHIII")
assert EVENT.size == EVENT_BYTES


class TraceError(Error):
    """A file is no trace, or cannot be read: one sentence."""


@dataclass(frozen=True)
class RegionInfo:
    """A device on the bus: ``registers`` are (offset, width in bytes, name) by offset."""

    base: int
    size: int
    device: str
    #: what to add to an address in the region for the offset in the device
    offset: int = 0
    registers: list[tuple[int, int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Header:
    """What a trace says of itself: nothing in it depends on the host's time."""

    #: what was asked for, in text
    spec: str
    #: names of the events that it may hold
    kinds: tuple[str, ...]
    program: str = "dbgemu"
    machine: str = "mini2440"
    kernel: str = ""
    command_line: str = ""
    #: (path, offset) of the symbol files known when it began
    symbols: list[tuple[str, int]] = field(default_factory=list)
    #: of an instruction when it began, in ps
    period_ps: int = 0
    #: instruction count and virtual time (ns) when it began
    start_count: int = 0
    start_time: int = 0
    #: seconds since 1970 at power-on
    rtc_start: int | None = None
    #: names that records of gpio and irq refer to by number
    pins: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    regions: list[RegionInfo] = field(default_factory=list)

    def encode(self) -> bytes:
        """The bytes with which a file begins."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()
        return MAGIC + _HEAD.pack(len(text), zlib.crc32(text)) + text

    @classmethod
    def decode(cls, text: bytes) -> Header:
        """From the JSON text; TraceError when something is missing or of the wrong type."""
        try:
            data: dict[str, Any] = json.loads(text)
            known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
            known["kinds"] = tuple(str(kind) for kind in known["kinds"])
            known["symbols"] = [(str(path), int(offset)) for path, offset in known.get("symbols", [])]
            known["regions"] = [
                RegionInfo(
                    int(region["base"]),
                    int(region["size"]),
                    str(region["device"]),
                    int(region["offset"]),
                    [(int(place), int(width), str(name)) for place, width, name in region["registers"]],
                )
                for region in known.get("regions", [])
            ]
            for name in ("pins", "sources"):
                known[name] = [str(item) for item in known.get(name, [])]
            for name in ("period_ps", "start_count", "start_time"):
                known[name] = int(known.get(name, 0))
            return cls(**known)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise TraceError("the header of the trace is damaged") from None


class TimeBase(NamedTuple):
    """How virtual time follows from the instruction count, until it changes."""

    #: ns that were not executed with the present period; less than 0 where it is longer than earlier ones
    skipped: int
    #: of an instruction, in ps
    period_ps: int

    def at(self, count: int) -> int:
        """Virtual time in ns before the instruction with that count."""
        return count * self.period_ps // 1000 + self.skipped


class ChunkHead(NamedTuple):
    """The fields of a chunk's head, in their order in the file."""

    flags: int
    #: of the packed streams that follow, in bytes
    stored: int
    #: sizes of the streams before packing, in bytes
    block_bytes: int
    event_bytes: int
    string_bytes: int
    #: instruction counts between which everything in it happened
    first_count: int
    end_count: int
    #: virtual time (ns) that was skipped, not executed, before the chunk and before its end
    first_skipped: int
    end_skipped: int
    #: of an instruction at its beginning and at its end, in ps
    first_period: int
    end_period: int
    #: the running block at its beginning: pc, bit 0 Thumb, bit 63 User mode; and its first instruction
    current: int
    start: int
    #: the same at its end
    end_current: int
    end_start: int
    #: correct predictions behind the last record
    tail_hits: int
    #: blocks that ended in it, those of no instruction too, and the instructions of these blocks
    blocks: int
    instructions: int

    @property
    def base(self) -> TimeBase:
        """The virtual time at its beginning."""
        return TimeBase(self.first_skipped, self.first_period)

    @property
    def final(self) -> bool:
        """The trace ends with it."""
        return bool(self.flags & FINAL)

    @property
    def events(self) -> int:
        """Records in its event stream."""
        return self.event_bytes // EVENT_BYTES


_CHUNK_MAGIC = b"chnk"
_CHUNK = struct.Struct("<IIIIIqqqqqqQqQqQQQ")
#: magic, CRC-32 of the head's fields and the packed streams
_CHUNK_START = struct.Struct("<4sI")
CHUNK_HEAD_BYTES = _CHUNK_START.size + _CHUNK.size


def encode_chunk(head: ChunkHead, blocks: bytes, events: bytes, strings: bytes) -> bytes:
    """A chunk's bytes; ``stored`` and the sizes of the streams in ``head`` are filled in."""
    packed = zlib.compress(b"".join((blocks, events, strings)), _LEVEL)
    head = head._replace(
        stored=len(packed), block_bytes=len(blocks), event_bytes=len(events), string_bytes=len(strings)
    )
    fields = _CHUNK.pack(*head)
    return _CHUNK_START.pack(_CHUNK_MAGIC, zlib.crc32(packed, zlib.crc32(fields))) + fields + packed


def decode_head(data: bytes) -> tuple[ChunkHead, int]:
    """A chunk's head, and its CRC; TraceError when these bytes are none."""
    if len(data) < CHUNK_HEAD_BYTES:
        raise TraceError("the trace ends within the head of a chunk")
    magic, crc = _CHUNK_START.unpack_from(data)
    head = ChunkHead(*_CHUNK.unpack_from(data, _CHUNK_START.size))
    plausible = (
        magic == _CHUNK_MAGIC
        and head.block_bytes <= _MAX_STREAM
        and head.event_bytes <= _MAX_STREAM
        and head.event_bytes % EVENT_BYTES == 0
        and head.string_bytes <= _MAX_STRINGS
        and head.blocks <= _MAX_BLOCKS
        and 0 <= head.first_count <= head.end_count
    )
    if not plausible:
        raise TraceError("a chunk of the trace is damaged")
    return head, crc


def decode_streams(head: ChunkHead, crc: int, packed: bytes) -> tuple[bytes, bytes, bytes]:
    """The streams of a chunk: blocks, events, strings. TraceError when they are damaged."""
    if len(packed) != head.stored or zlib.crc32(packed, zlib.crc32(_CHUNK.pack(*head))) != crc:
        raise TraceError("a chunk of the trace is damaged: its checksum does not match")
    total = head.block_bytes + head.event_bytes + head.string_bytes
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(packed, total)
    except zlib.error:
        raise TraceError("a chunk of the trace is damaged: it cannot be unpacked") from None
    if len(data) != total or unpacker.decompress(unpacker.unconsumed_tail, 1):
        raise TraceError("a chunk of the trace is damaged: it has not the size that it says")
    events = head.block_bytes + head.event_bytes
    return data[: head.block_bytes], data[head.block_bytes : events], data[events:]


def decode_strings(data: bytes) -> list[str]:
    """The texts that a chunk's events refer to: each ends in a zero byte."""
    return [text.decode("utf-8", "replace") for text in data.split(b"\0")[:-1]]


def encode_strings(texts: list[str]) -> bytes:
    """The opposite; zero bytes in a text become U+FFFD."""
    return b"".join(text.replace("\0", "�").encode("utf-8", "replace") + b"\0" for text in texts)


def read_header(data: bytes) -> tuple[int, int]:
    """From a file's first bytes: the length of the header's text, and its CRC. TraceError if no trace."""
    if not data.startswith(MAGIC):
        raise TraceError("it is no trace: it does not begin as one")
    if len(data) < len(MAGIC) + _HEAD.size:
        raise TraceError("the trace ends within its header")
    length, crc = _HEAD.unpack_from(data, len(MAGIC))
    if length > _MAX_HEADER:
        raise TraceError("the header of the trace is damaged")
    return length, crc


START_BYTES = len(MAGIC) + _HEAD.size


def check_header(text: bytes, length: int, crc: int) -> Header:
    """The header from its text; TraceError when it is damaged or cut off."""
    if len(text) != length:
        raise TraceError("the trace ends within its header")
    if zlib.crc32(text) != crc:
        raise TraceError("the header of the trace is damaged: its checksum does not match")
    return Header.decode(text)
