"""Messages between the emulator and its own compiling process: pickles with their length in front."""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO


def send(sink: BinaryIO, message: object) -> None:
    """Write a message."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    view = memoryview(len(data).to_bytes(8, "little") + data)
    while view:
        view = view[sink.write(view) :]


def receive(source: BinaryIO) -> Any:
    """Read a message; None at the end."""
    head = _read(source, 8)
    data = None if head is None else _read(source, int.from_bytes(head, "little"))
    return None if data is None else pickle.loads(data)


def _read(source: BinaryIO, length: int) -> bytes | None:
    data = bytearray()
    while len(data) < length:
        part = source.read(length - len(data))
        if not part:
            return None
        data += part
    return bytes(data)
