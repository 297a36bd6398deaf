"""A snapshot's file: a header that can be read by itself, and compressed sections with checksums.

    8 bytes     DBGSNAP and a newline
    4           version of all that follows (this and all numbers little-endian)
    4           length of the header
    4           its CRC-32
    ...         the header in CBOR: a map, whose "sections" are [name, size, stored size, SHA-256]
    ...         the sections, one behind the other, each a Zstandard frame

A file is written beside its place and then put there in one step, so that no reader ever sees half.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from dbgemu.debug.snapshots.codec import decode, encode
from dbgemu.errors import Error

MAGIC = b"DBGSNAP\n"
VERSION = 1

#: for as much as a disk takes: memory that a guest has used shrinks to a half, unused memory to nothing
_LEVEL = 1
_MAX_HEADER = 1 << 20
#: no section is larger: memory and NAND flash of the largest board are not
_MAX_SECTION = 1 << 31


class SnapshotError(Error):
    """A snapshot that cannot be saved, read or loaded; ``str()`` is one sentence."""


@dataclass(frozen=True)
class Snapshot:
    """A file's contents: what the header says, and the sections by name."""

    header: Mapping[str, Any]
    sections: Mapping[str, bytes]


def write(path: Path, header: Mapping[str, Any], sections: Mapping[str, bytes]) -> int:
    """Write a snapshot to ``path``, in place of what is there; its size in bytes. Raises SnapshotError."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    stored = {name: compressor.compress(data) for name, data in sections.items()}
    table = [
        [name, len(sections[name]), len(data), hashlib.sha256(data).digest()] for name, data in stored.items()
    ]
    head = encode({**header, "sections": table})
    parts = [
        MAGIC,
        *(number.to_bytes(4, "little") for number in (VERSION, len(head), zlib.crc32(head))),
        head,
    ]
    try:
        _put_in_place(path, [*parts, *stored.values()])
    except OSError as error:
        raise SnapshotError(f"'{path}' cannot be written: {error.strerror}") from None
    return sum(map(len, parts)) + sum(map(len, stored.values()))


def _put_in_place(path: Path, parts: list[bytes]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(handle)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def read_header(path: Path) -> Mapping[str, Any]:
    """What the header of the snapshot at ``path`` says. Raises SnapshotError."""
    with _open(path) as file:
        return _read_header(file, path)


def read(path: Path) -> Snapshot:
    """The snapshot at ``path``, its checksums found right. Raises SnapshotError."""
    with _open(path) as file:
        header = _read_header(file, path)
        sections = {}
        for name, size, stored, checksum in header["sections"]:
            data = file.read(stored)
            if len(data) < stored:
                raise SnapshotError(f"the snapshot '{path}' is cut off in its section '{name}'")
            if hashlib.sha256(data).digest() != checksum:
                raise SnapshotError(f"the snapshot '{path}' is damaged: its section '{name}' has changed")
            sections[name] = _expand(data, size, path, name)
    return Snapshot(header, sections)


def is_snapshot(path: Path) -> bool:
    """Whether the file at ``path`` begins as one. Raises SnapshotError where it cannot be read."""
    with _open(path) as file:
        return file.read(len(MAGIC)) == MAGIC


def _open(path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise SnapshotError(f"'{path}' is a folder, not a snapshot")
        return path.open("rb")
    except FileNotFoundError:
        raise SnapshotError(f"there is no snapshot '{path}'") from None
    except OSError as error:
        raise SnapshotError(f"'{path}' cannot be read: {error.strerror}") from None


def _read_header(file: BinaryIO, path: Path) -> Mapping[str, Any]:
    start = file.read(len(MAGIC) + 12)
    if not start.startswith(MAGIC) or len(start) < len(MAGIC) + 12:
        raise SnapshotError(f"'{path}' is not a snapshot")
    version, length, checksum = (
        int.from_bytes(start[place : place + 4], "little") for place in range(len(MAGIC), len(start), 4)
    )
    if version > VERSION:
        raise SnapshotError(
            f"the snapshot '{path}' was saved by a newer dbgemu: it has format {version}, "
            f"and this one knows those up to {VERSION}"
        )
    head = file.read(length) if length <= _MAX_HEADER else b""
    if len(head) < length or zlib.crc32(head) != checksum:
        raise SnapshotError(f"the snapshot '{path}' is damaged: its header is not as it was written")
    try:
        header = decode(head)
    except ValueError:
        header = None
    if not isinstance(header, dict) or not _is_table(header.get("sections")):
        raise SnapshotError(f"the snapshot '{path}' is damaged: its header cannot be understood")
    return header


def _is_table(table: Any) -> bool:
    return isinstance(table, list) and all(
        isinstance(row, list)
        and [type(item) for item in row] == [str, int, int, bytes]
        and 0 <= row[1] <= _MAX_SECTION
        and 0 <= row[2] <= _MAX_SECTION
        for row in table
    )


def _expand(data: bytes, size: int, path: Path, name: str) -> bytes:
    try:
        # the frame's own word, so that no more memory is taken than the header admits to
        if zstandard.get_frame_parameters(data).content_size == size:
            return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError:
        pass
    raise SnapshotError(f"the snapshot '{path}' is damaged: its section '{name}' does not unpack")
