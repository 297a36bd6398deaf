"""NAND images: their layouts, bad blocks and error correction codes, and the data of partitions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dbgemu.debug.nand_check import Ecc, Page, code_of, page_of
from dbgemu.errors import OptionError
from dbgemu.host.flash_image import ImageFile, open_nand_image
from dbgemu.image.partitions import Partition
from dbgemu.target.chips.nand_parts import PARTS, NandPart

#: of the files that hold an image: main data, main data with a file of spare bytes, pages with both
LAYOUTS = ("plain", "oob", "interleaved")
SPARE_ENDING = ".oob"


class NandImage:
    """The image at ``path`` of a chip ``part``, opened for reading or, in place, for writing."""

    def __init__(self, path: Path, part: NandPart, *, writing: bool = False) -> None:
        self.path = path
        self.part = part
        self.file: ImageFile = open_nand_image(path, part, snapshot=not writing)
        self.pages_per_block = part.pages_per_block

    def close(self) -> None:
        """Nothing may be called afterwards."""
        self.file.close()

    @property
    def layout(self) -> str:
        """One of LAYOUTS."""
        if self.path.stat().st_size == self.part.raw_size:
            return "interleaved"
        return "oob" if self.path.with_name(self.path.name + SPARE_ENDING).exists() else "plain"

    def block(self, number: int) -> bytes:
        """The raw pages of a block."""
        size = self.part.raw_page * self.pages_per_block
        return self.file.read(number * size, size)

    def pages(self, number: int) -> Iterator[Page]:
        """The pages of a block, but for blank ones."""
        raw, size = self.block(number), self.part.raw_page
        if raw.count(0xFF) == len(raw):
            return
        for index in range(self.pages_per_block):
            page = raw[index * size : (index + 1) * size]
            if page.count(0xFF) != size:
                yield page_of(self.part, number * self.pages_per_block + index, page)

    def bad(self, number: int) -> bool:
        """Whether the block is marked bad, in one of its first two pages."""
        start = number * self.pages_per_block * self.part.raw_page
        head = self.file.read(start, 2 * self.part.raw_page)
        return head[self.part.bad_mark] != 0xFF or head[self.part.raw_page + self.part.bad_mark] != 0xFF

    def blocks_of(self, partition: Partition) -> range:
        """The numbers of its blocks; a last one that is not whole does not count."""
        size = self.part.page_size * self.pages_per_block
        return range(partition.offset // size, partition.end // size)

    # -- data of partitions ------------------------------------------------------------------------

    def get(self, partition: Partition) -> Iterator[bytes]:
        """The partition's main data by blocks, bad ones left out, single wrong bits corrected.

        OptionError where more are wrong.
        """
        blank = b"\xff" * (self.part.page_size * self.pages_per_block)
        for number in self.blocks_of(partition):
            if self.bad(number):
                continue
            block = bytearray(blank)
            for page in self.pages(number):
                place = page.number % self.pages_per_block * self.part.page_size
                block[place : place + self.part.page_size] = corrected(page)
            yield bytes(block)

    def put(self, partition: Partition, data: bytes) -> list[int]:
        """Let the partition hold ``data`` and be erased behind; gives the bad blocks that were left out.

        OptionError when it does not fit.
        """
        block_size = self.part.page_size * self.pages_per_block
        good = [number for number in self.blocks_of(partition) if not self.bad(number)]
        if len(data) > len(good) * block_size:
            raise OptionError(
                f"{len(data)} bytes do not fit into the partition {partition.name}, "
                f"whose good blocks hold {len(good) * block_size}"
            )
        for place, number in enumerate(good):
            piece = data[place * block_size : (place + 1) * block_size].ljust(block_size, b"\xff")
            raw = b"".join(
                with_code(self.part, piece[start : start + self.part.page_size])
                for start in range(0, block_size, self.part.page_size)
            )
            self.file.write(number * len(raw), raw)
        return sorted(set(self.blocks_of(partition)) - set(good))


def with_code(part: NandPart, main: bytes, spare: bytes | None = None) -> bytes:
    """A raw page: main data, and spare bytes with its code in place; erased data stays without one."""
    spare = spare if spare is not None else b"\xff" * part.spare_size
    if main.count(0xFF) == len(main):
        return main + spare
    place, code = code_of(part, main)
    return main + spare[:place] + code + spare[place + len(code) :]


def corrected(page: Page) -> bytes:
    """The page's main data, wrong bits that the code names put right; OptionError where it names none."""
    data = bytearray(page.main)
    for step in page.steps:
        if step.result is Ecc.UNCORRECTABLE:
            raise OptionError(
                f"page {page.number} (block {page.block}) has more wrong bits than can be corrected"
            )
        if step.byte is not None and step.bit is not None:
            data[step.byte] ^= 1 << step.bit
    return bytes(data)


@contextmanager
def opened(path: Path, part: NandPart, *, writing: bool = False) -> Iterator[NandImage]:
    """A NandImage that is closed in the end."""
    image = NandImage(path, part, writing=writing)
    try:
        yield image
    finally:
        image.close()


def part_of(path: Path, wanted: NandPart | None) -> NandPart:
    """The chip that the image is of: ``wanted``, or whose size it has; OptionError when that is no chip's."""
    if wanted is not None:
        return wanted
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise OptionError(f"there is no image {path}") from None
    for part in PARTS.values():
        if size in (part.raw_size, part.size):
            return part
    raise OptionError(f"{path} has {size} bytes, which is no NAND chip's size: say which one with --nand")


def write_image(path: Path, part: NandPart, layout: str, blocks: Iterable[bytes]) -> None:
    """Write the chip's raw ``blocks``, all of them, to the new file ``path`` (and one beside it)."""
    main_size, raw_size = part.page_size, part.raw_page
    spare_path = path.with_name(path.name + SPARE_ENDING) if layout == "oob" else Path(os.devnull)
    with path.open("wb") as file, spare_path.open("wb") as spare:
        for block in blocks:
            if layout == "interleaved":
                file.write(block)
                continue
            starts = range(0, len(block), raw_size)
            file.write(b"".join(block[start : start + main_size] for start in starts))
            spare.write(b"".join(block[start + main_size : start + raw_size] for start in starts))


def erased_blocks(part: NandPart, bad: Iterable[int] = ()) -> Iterator[bytes]:
    """The raw blocks of a chip as it is sold; those of ``bad`` are marked in their first two pages."""
    marked = set(bad)
    erased = b"\xff" * (part.raw_page * part.pages_per_block)
    bad_page = b"\xff" * part.bad_mark + b"\0" + b"\xff" * (part.raw_page - part.bad_mark - 1)
    for number in range(part.blocks):
        yield bad_page * 2 + erased[2 * part.raw_page :] if number in marked else erased
