"""Translated regions on disk: one file that grows, by content.

A record holds a region's guest code and its native code, with a digest. It is used only where that
guest code is found in memory, so nothing needs to be known of the guest. What is damaged is skipped;
a file that has grown too large loses its older half. Several emulators may append to one file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from functools import cached_property
from io import FileIO
from pathlib import Path

from dbgemu.engine.native import cache_folder, source_digest
from dbgemu.engine.translator.requests import Made

#: bytes of the file at most
LARGEST = 48 << 20
_MAGIC = 0x52474244
#: magic, bytes behind the header, word, instructions, entries, starts, pages, pieces of code, digest
_HEADER = struct.Struct("<2IQ5I16s")


def default_path() -> Path:
    """The file for this version of the translator, LLVM and host."""
    digest = source_digest(everything=True)
    return cache_folder() / f"translated-{digest[:32]}.cache"


class RegionCache:
    """The regions in a file, which is read when the first is looked for; :meth:`add` appends to it."""

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        self._path = path
        self._largest = largest
        self._content = b""
        self.hits = 0

    def __len__(self) -> int:
        return sum(len(records) for records in self._records.values())

    @cached_property
    def _records(self) -> dict[int, list[int]]:
        """Where the records are in the file, by their word."""
        records: dict[int, list[int]] = {}
        try:
            self._content = self._path.read_bytes()
        except OSError:
            return records
        for place, word in _places(self._content):
            records.setdefault(word, []).append(place)
        return records

    def __iter__(self) -> Iterator[Made]:
        """All regions, in no order."""
        for word in self._records:
            yield from self.find(word)

    def __contains__(self, word: int) -> bool:
        return word in self._records

    def find(self, word: int) -> Iterable[Made]:
        """The regions for a hot address, whatever guest they were made for; the latest first."""
        for place in reversed(self._records.get(word, ())):
            made = self._read(place)
            if made is not None:
                yield made

    def _read(self, place: int) -> Made | None:
        _, length, word, count, entries, starts, pages, pieces, digest = _HEADER.unpack_from(
            self._content, place
        )
        start = place + _HEADER.size
        payload = self._content[start : start + length]
        if _digest(payload) != digest:
            return None
        try:
            numbers = struct.unpack_from(f"<{entries + starts + pages + 2 * pieces}I", payload)
        except struct.error:
            return None
        at, first = 4 * len(numbers), entries + starts + pages
        code = []
        for k in range(pieces):
            address, size = numbers[first + 2 * k : first + 2 * k + 2]
            code.append((address, payload[at : at + size]))
            at += size
        own, others = numbers[:entries], numbers[entries + starts : first]
        return Made(word, own, others, tuple(code), payload[at:], count, numbers[entries : entries + starts])

    def add(self, regions: Iterable[Made]) -> None:
        """Append regions; a file that cannot be written is done without."""
        data = b"".join(_record(made) for made in regions)
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with FileIO(descriptor, "a+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_size + len(data) > self._largest:
                    self._make_room(file)
                file.write(data)

    def _make_room(self, file: FileIO) -> None:
        """Keep the newest records, of half the size at most: a boot finds most of what it needs in them."""
        file.seek(0)
        content = file.readall()
        first = len(content) - self._largest // 2
        kept = next((place for place, _ in _places(content) if place >= first), len(content))
        file.truncate(0)
        file.write(content[kept:])


def _places(content: bytes) -> Iterator[tuple[int, int]]:
    """Where records are in a file, and their words."""
    place = 0
    while place + _HEADER.size <= len(content):
        magic, length, word, *_ = _HEADER.unpack_from(content, place)
        end = place + _HEADER.size + length
        if magic == _MAGIC and end <= len(content):
            yield place, word
            place = end
            continue
        # damaged: go on at what looks like the next record
        place = content.find(_MAGIC.to_bytes(4, "little"), place + 1)
        if place < 0:
            return


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=16).digest()


def _record(made: Made) -> bytes:
    numbers = [*made.entries, *made.starts, *made.pages]
    for address, code in made.code:
        numbers += [address, len(code)]
    payload = struct.pack(f"<{len(numbers)}I", *numbers)
    payload += b"".join(code for _, code in made.code) + made.native
    lengths = len(made.entries), len(made.starts), len(made.pages), len(made.code)
    header = _HEADER.pack(_MAGIC, len(payload), made.word, made.instructions, *lengths, _digest(payload))
    return header + payload
