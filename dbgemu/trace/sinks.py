"""Where chunks go: to a file, packed and written by a thread of its own, or into memory."""

from __future__ import annotations

import queue
import threading
from collections import deque
from pathlib import Path
from typing import NamedTuple, Protocol

from dbgemu.trace.format import ChunkHead, Header, TraceError, encode_chunk

#: chunks that may wait to be packed: then the machine waits too
_MOST_WAITING = 8


class Chunk(NamedTuple):
    """A chunk as it was recorded, not packed yet."""

    head: ChunkHead
    blocks: bytes
    events: bytes
    strings: bytes

    def encode(self) -> bytes:
        """Its bytes in a file."""
        return encode_chunk(*self)


class Sink(Protocol):
    """Takes chunks, in order, on the machine's thread."""

    #: what went wrong, as a sentence: nothing more is taken
    error: str | None

    def put(self, chunk: Chunk) -> None:
        """Take a chunk."""

    def close(self) -> None:
        """No chunk follows."""


class FileSink:
    """Packs and writes on another thread; what has been written survives a kill of the emulator."""

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self.error: str | None = None
        self.written = 0
        try:
            self._file = path.open("wb")
            self._write(header.encode())
        except OSError as error:
            raise TraceError(f"'{path}' cannot be written: {error.strerror}") from None
        self._queue: queue.Queue[Chunk | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="trace writer", daemon=True)
        self._thread.start()

    def put(self, chunk: Chunk) -> None:
        """See :class:`Sink`; waits while many are waiting already."""
        self._queue.put(chunk)

    def close(self) -> None:
        """Write what is left. Called twice it does nothing."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._file.close()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        self.written += len(data)

    def _work(self) -> None:
        while (chunk := self._queue.get()) is not None:
            if self.error is not None:
                continue
            try:
                self._write(chunk.encode())
            except OSError as error:
                self.error = f"'{self.path}' cannot be written: {error.strerror}"


class RingSink:
    """Keeps the newest chunks that have ``blocks`` executed blocks between them, or some more."""

    def __init__(self, blocks: int) -> None:
        self.error: str | None = None
        self._wanted = blocks
        self._blocks = 0
        self._chunks: deque[Chunk] = deque()

    def put(self, chunk: Chunk) -> None:
        """Take a chunk, and forget the oldest as far as the others suffice."""
        self._chunks.append(chunk)
        self._blocks += _worth(chunk)
        while len(self._chunks) > 1 and self._blocks - _worth(self._chunks[0]) >= self._wanted:
            self._blocks -= _worth(self._chunks.popleft())

    def close(self) -> None:
        """Nothing is open."""

    def save(self, path: Path, header: Header) -> None:
        """Write a trace of what is held. TraceError when the file cannot be written."""
        try:
            with path.open("wb") as file:
                file.write(header.encode())
                for chunk in self._chunks:
                    file.write(chunk.encode())
        except OSError as error:
            raise TraceError(f"'{path}' cannot be written: {error.strerror}") from None


def _worth(chunk: Chunk) -> int:
    return chunk.head.blocks or chunk.head.events
