"""A memory's contents without its pages of zeros: a guest has touched few of them.

4 bytes     number of runs of pages that are not all zeros (numbers little-endian)
8 a run     its first page, how many
...         the pages, 4 KiB each
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dbgemu.target.memory import Memory

PAGE = 4096
_ZEROS = bytes(PAGE)
_COUNT = struct.Struct("<I")
_RUN = struct.Struct("<II")


class Run(NamedTuple):
    """``data`` for byte ``offset`` on."""

    offset: int
    data: memoryview


def pack(memory: Memory) -> bytes:
    """The contents of ``memory``."""
    data = bytes(memory.data)
    runs: list[tuple[int, int]] = []
    first = None
    for page in range(memory.size // PAGE + 1):
        used = data[page * PAGE : (page + 1) * PAGE] not in (_ZEROS, b"")
        if used and first is None:
            first = page
        elif not used and first is not None:
            runs.append((first, page - first))
            first = None
    head = _COUNT.pack(len(runs)) + b"".join(_RUN.pack(*run) for run in runs)
    return head + b"".join(data[start * PAGE : (start + count) * PAGE] for start, count in runs)


def unpack(packed: bytes, size: int) -> list[Run]:
    """The runs in ``packed``, for a memory of ``size`` bytes. ValueError where it is none of that size."""
    try:
        return list(_runs(packed, size))
    except struct.error:
        raise ValueError("a memory of it is cut off") from None


def _runs(packed: bytes, size: int) -> Iterator[Run]:
    (count,) = _COUNT.unpack_from(packed)
    view = memoryview(packed)
    place = _COUNT.size + count * _RUN.size
    end = 0
    for number in range(count):
        first, pages = _RUN.unpack_from(packed, _COUNT.size + number * _RUN.size)
        offset, length = first * PAGE, pages * PAGE
        if offset < end or offset + length > size:
            raise ValueError("a memory of it has another size")
        yield Run(offset, view[place : place + length])
        place += length
        end = offset + length
    if place != len(packed):
        raise ValueError("a memory of it has another size")


def restore(memory: Memory, runs: list[Run]) -> None:
    """Let ``memory`` hold ``runs``, and zeros elsewhere."""
    end = 0
    for offset, data in runs:
        memory.clear(end, offset - end)
        end = offset + len(data)
        memory.data[offset:end] = data
    memory.clear(end, memory.size - end)
