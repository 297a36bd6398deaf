"""Numbers as GDB's packets carry them."""

import re
import struct


def word(value: int) -> bytes:
    """A word as packets carry it."""
    return struct.pack("<I", value).hex().encode()


def registers_in(reply: bytes) -> dict[int, int]:
    """The registers that a stop reply carries, by number."""
    pairs = re.findall(rb"([0-9a-f]{2}):([0-9a-f]{8});", reply)
    return {
        int(number, 16): int.from_bytes(bytes.fromhex(value.decode()), "little") for number, value in pairs
    }
