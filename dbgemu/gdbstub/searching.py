"""Handlers: memory looked through on this side of the wire: searched, and compared by checksum."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.gdbstub.errors import MALFORMED, MEMORY, PacketError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbgemu.gdbstub.client import Client

_ADDRESS_END = 1 << 32

#: bytes read at a time: a machine that runs is held up no longer than for one piece
_PIECE = 1 << 18

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _pieces(client: Client, address: int, length: int) -> Iterator[bytes]:
    """Memory from virtual ``address``, piece by piece; what is behind the last address is left out."""
    end = min(address + length, _ADDRESS_END)
    for start in range(address, end, _PIECE):
        try:
            yield client.session.memory.read(start, min(_PIECE, end - start))
        except MEMORY_ERRORS as error:
            raise PacketError(str(error), MEMORY) from None


def search(client: Client, address: int, length: int, pattern: bytes) -> bytes:
    """``qSearch:memory``: the first place of ``pattern`` in ``length`` bytes from ``address``.

    An error when memory ends before it is found.
    """
    if not pattern:
        raise PacketError("an empty pattern is found everywhere", MALFORMED)
    window, start = b"", address
    for piece in _pieces(client, address, length):
        window += piece
        place = window.find(pattern)
        if place >= 0:
            return b"1,%x" % (start + place)
        kept = min(len(window), len(pattern) - 1)
        start += len(window) - kept
        window = window[len(window) - kept :]
    return b"0"


def checksum(client: Client, address: int, length: int) -> bytes:
    """``qCRC``: a CRC of ``length`` bytes from ``address``.

    GDB's is the CRC-32 of polynomial 04C11DB7 with the most significant bit first, begun with all ones
    and not inverted in the end (GDB manual, "Separate Debug Files"). zlib's takes the bits the other
    way round, and inverts.
    """
    crc = 0
    for piece in _pieces(client, address, length):
        crc = crc32(piece.translate(_REVERSED), crc)
    return b"C%08x" % int(f"{crc ^ 0xFFFFFFFF:032b}"[::-1], 2)
