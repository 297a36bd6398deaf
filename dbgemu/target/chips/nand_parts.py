"""The NAND flash chips that a mini2440 was sold with, and larger ones that fit its socket."""

from __future__ import annotations

from typing import NamedTuple


class NandPart(NamedTuple):
    """One type of chip, 8 bits wide. Sizes are in bytes, ``ids`` is what the read-id command gives."""

    name: str
    ids: bytes
    page_size: int
    spare_size: int
    pages_per_block: int
    blocks: int
    column_cycles: int
    row_cycles: int
    #: blocks that the factory marked bad: they show the mark, and cannot be erased or programmed
    bad_blocks: frozenset[int] = frozenset()

    @property
    def pages(self) -> int:
        """Pages of the whole chip."""
        return self.blocks * self.pages_per_block

    @property
    def size(self) -> int:
        """Bytes of main data of the whole chip, without the spare bytes."""
        return self.pages * self.page_size

    @property
    def raw_page(self) -> int:
        """Bytes of a page with its spare bytes."""
        return self.page_size + self.spare_size

    @property
    def raw_size(self) -> int:
        """Bytes of the whole chip with its spare bytes."""
        return self.pages * self.raw_page

    @property
    def large_page(self) -> bool:
        """Whether reads are confirmed (00h ... 30h), as on all chips of pages over 512 bytes."""
        return self.page_size > 512

    @property
    def bad_mark(self) -> int:
        """Where in a raw page a bad block is marked: the sixth spare byte, or the first on large pages."""
        return self.page_size if self.large_page else self.page_size + 5

    def address_effects(self) -> dict[int, tuple[int, ...]]:
        """By command that takes an address: how many address cycles have come where they have an effect."""
        column, page = self.column_cycles, self.column_cycles + self.row_cycles
        whole = dict.fromkeys((0x00, 0x01, 0x50, 0x80, 0x81, 0x8A), (page,))
        # the address of 90h chooses nothing
        return whole | {0x05: (column,), 0x60: (self.row_cycles,), 0x85: (column, page), 0x90: (0,)}


class NandTiming(NamedTuple):
    """How long the chip is busy, in ns of virtual time.

    Much shorter than the data sheet's (15 us, 200 us, 2 ms): a driver polls meanwhile, and each poll
    costs more than what there is to wait for. It is long enough to be seen, and to be interrupted by.
    """

    read: int = 300
    program: int = 1_000
    erase: int = 2_000
    reset: int = 300


def _small(name: str, ids: str, blocks: int) -> NandPart:
    return NandPart(name, bytes.fromhex(ids), 512, 16, 32, blocks, column_cycles=1, row_cycles=3)


def _large(name: str, ids: str, blocks: int, row_cycles: int) -> NandPart:
    return NandPart(name, bytes.fromhex(ids), 2048, 64, 64, blocks, 2, row_cycles)


#: Samsung data sheets, "Read ID" and "Address cycles": bytes three and up describe the cell type,
#: page, block and spare sizes; Linux decodes them for chips of large pages (nand_samsung.c).
PARTS: dict[str, NandPart] = {
    part.name: part
    for part in (
        _small("K9F1208", "EC 76 A5 C0", blocks=4096),
        _large("K9F1G08", "EC F1 80 15 40", blocks=1024, row_cycles=2),
        _large("K9F2G08", "EC DA 10 95 44", blocks=2048, row_cycles=3),
        _large("K9F4G08", "EC DC 10 95 54", blocks=4096, row_cycles=3),
        _large("K9K8G08", "EC D3 51 95 58", blocks=8192, row_cycles=3),
    )
}

DEFAULT_PART = PARTS["K9F1208"]
