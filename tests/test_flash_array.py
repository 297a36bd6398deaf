"""The cells of a flash chip with an image behind them."""

from __future__ import annotations

from random import Random

from dbgemu.target.chips.flash_array import FlashArray


def test_pages_read_in_order_are_those_of_the_image_before_and_after_changes() -> None:
    size, image = 16, bytearray(Random(3).randbytes(64 * 16))
    reads = []

    class Image:
        writable = True

        def read(self, offset: int, length: int) -> bytes:
            reads.append((offset, length))
            return bytes(image[offset : offset + length])

        def write(self, offset: int, data: bytes) -> None:
            image[offset : offset + len(data)] = data

        def flush(self) -> None:
            pass

    original = bytes(image)
    array = FlashArray(64, size, Image())
    assert b"".join(map(array.read, range(64))) == original
    assert len(reads) < 8, "several pages at once"
    before = array.save()
    array.write(9, bytes(size))
    array.erase(20, 2)
    now = b"".join(map(array.read, range(64)))
    assert now == bytes(image) != original
    array.load(before)
    assert b"".join(map(array.read, range(64))) == bytes(image) == original
    reads.clear()
    array.read(40)
    array.read(7)
    assert max(length for _, length in reads) == size, "no more than is asked for, out of order"
