"""Bytes as people read them: offset, hexadecimal, characters; repeated lines folded to ``*``."""

from __future__ import annotations

from collections.abc import Iterator

_WIDTH = 16


def hexdump(data: bytes, start: int = 0) -> Iterator[str]:
    """Lines of 16 bytes, the first byte's offset being ``start``; the last line is the end's offset."""
    previous = b""
    folded = False
    for place in range(0, len(data), _WIDTH):
        line = data[place : place + _WIDTH]
        if line == previous:
            if not folded:
                yield "*"
            folded = True
            continue
        previous, folded = line, False
        left, right = line[:8].hex(" "), line[8:].hex(" ")
        characters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{start + place:08x}  {left:23}  {right:23}  |{characters}|"
    yield f"{start + len(data):08x}"
