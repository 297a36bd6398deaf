"""What NAND pages hold: their spare bytes, bad marks, and whether the data agrees with its code.

The code is the S3C2440A's, placed as Linux's driver places it (drivers/mtd/nand/raw/s3c2410.c): three
bytes for each 512 bytes of a small page, at the start of the spare bytes; three for each 256 bytes of a
large one, at the end of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from dbgemu.target.chips.nand_flash import NandFlash
from dbgemu.target.chips.nand_parts import NandPart
from dbgemu.target.s3c2440.nand_ecc import MAIN_COLUMNS, MAIN_LINES, EccLayout, fold

#: bytes of a code
_CODE = 3
#: the code covers at most 512 bytes: nine line bits; the driver stores 24 bits of NFMECC0
_LINES = 9
_LAYOUT = EccLayout(MAIN_LINES[:_LINES], MAIN_COLUMNS, 8 * _CODE)

#: the pages of a block that show its mark (Linux, NAND_BBM_FIRSTPAGE and NAND_BBM_SECONDPAGE)
_MARKED_PAGES = 2


class Ecc(Enum):
    """What the code says of its piece of the page."""

    BLANK = "blank"
    OK = "ok"
    NO_CODE = "no code"
    CORRECTABLE = "one wrong bit"
    CODE_WRONG = "wrong bit in the code"
    UNCORRECTABLE = "uncorrectable"


@dataclass(frozen=True)
class Step:
    """One piece of a page: codes as numbers of 24 bits, the first stored byte lowest.

    ``byte`` (in the page) and ``bit`` name the wrong bit of a correctable one.
    """

    offset: int
    length: int
    result: Ecc
    stored: int
    computed: int
    byte: int | None = None
    bit: int | None = None

    def __str__(self) -> str:
        text = f"bytes {self.offset} to {self.offset + self.length - 1}: {self.result.value}"
        if self.byte is not None:
            text += f", bit {self.bit} of byte {self.byte}"
        if self.result in (Ecc.BLANK, Ecc.OK):
            return f"{text} (code {self.stored:06x})"
        return f"{text} (stored code {self.stored:06x}, computed {self.computed:06x})"

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"result": self.result.value}


@dataclass(frozen=True)
class Page:
    """A page of ``part``: number, main and spare bytes, and what its codes say."""

    part: NandPart
    number: int
    main: bytes
    spare: bytes
    steps: tuple[Step, ...]

    @property
    def block(self) -> int:
        """The block that it lies in."""
        return self.number // self.part.pages_per_block

    @property
    def blank(self) -> bool:
        """Erased: every bit is 1."""
        return all(step.result is Ecc.BLANK for step in self.steps) and not self.spare.strip(b"\xff")

    @property
    def marked_bad(self) -> bool:
        """It carries the mark of a bad block, if it is one of the pages that count."""
        mark = self.spare[self.part.bad_mark - self.part.page_size]
        return self.number % self.part.pages_per_block < _MARKED_PAGES and mark != 0xFF

    @property
    def summary(self) -> str:
        """All codes in a few words."""
        if self.blank:
            return "blank"
        return ", ".join(dict.fromkeys(step.result.value for step in self.steps))

    def data(self) -> dict[str, Any]:
        """For JSON: bytes in hexadecimal."""
        return {
            "page": self.number,
            "block": self.block,
            "bad": self.marked_bad,
            "main": self.main.hex(),
            "spare": self.spare.hex(),
            "ecc": [step.data() for step in self.steps],
        }


def read_page(chip: NandFlash, number: int) -> Page:
    """Page ``number`` of ``chip``, which does not notice. IndexError for one that it does not have."""
    part = chip.part
    if not 0 <= number < part.pages:
        raise IndexError(f"{part.name} has pages 0 to {part.pages - 1}, not {number}")
    return page_of(part, number, chip.read_raw_page(number))


def page_of(part: NandPart, number: int, raw: bytes) -> Page:
    """Page ``number`` of a chip that holds ``raw`` there, main and spare bytes."""
    main, spare = raw[: part.page_size], raw[part.page_size :]
    return Page(part, number, main, spare, tuple(_steps(part, main, spare)))


def code_of(part: NandPart, main: bytes) -> tuple[int, bytes]:
    """The code for a page's main data, and the spare byte that it begins at."""
    length, place = _arrangement(part)
    pieces = (main[start : start + length] for start in range(0, part.page_size, length))
    return place, b"".join(_compute(piece).to_bytes(_CODE, "little") for piece in pieces)


def _arrangement(part: NandPart) -> tuple[int, int]:
    """How many bytes have a code together, and where in the spare bytes the first code is."""
    length = 256 if part.large_page else 512
    return length, part.spare_size - _CODE * (part.page_size // length) if part.large_page else 0


def _compute(data: bytes) -> int:
    return _LAYOUT.code(*fold(int.from_bytes(data, "little"), len(data)))


def _steps(part: NandPart, main: bytes, spare: bytes) -> Iterator[Step]:
    length, place = _arrangement(part)
    for index in range(part.page_size // length):
        offset = index * length
        stored = int.from_bytes(spare[place + _CODE * index :][:_CODE], "little")
        yield _check(offset, main[offset : offset + length], stored)


def _check(offset: int, data: bytes, stored: int) -> Step:
    computed = _compute(data)
    if stored == _LAYOUT.full and not data.strip(b"\xff"):
        return Step(offset, len(data), Ecc.BLANK, stored, computed)
    if stored == computed:
        return Step(offset, len(data), Ecc.OK, stored, computed)
    if stored == _LAYOUT.full:
        # as the board's platform data says (mach-mini2440.c, ignore_unset_ecc)
        return Step(offset, len(data), Ecc.NO_CODE, stored, computed)
    kind, byte, bit = _LAYOUT.check(stored, computed)
    if kind == 1:
        return Step(offset, len(data), Ecc.CORRECTABLE, stored, computed, offset + byte, bit)
    result = Ecc.CODE_WRONG if kind == 3 else Ecc.UNCORRECTABLE
    return Step(offset, len(data), result, stored, computed)


def read_block(chip: NandFlash, number: int) -> list[Page]:
    """All pages of block ``number``. IndexError for one that the chip does not have."""
    part = chip.part
    if not 0 <= number < part.blocks:
        raise IndexError(f"{part.name} has blocks 0 to {part.blocks - 1}, not {number}")
    first = number * part.pages_per_block
    return [read_page(chip, page) for page in range(first, first + part.pages_per_block)]


@dataclass(frozen=True)
class BadBlock:
    """A block that is not used: ``mark`` is the byte found, ``factory`` whether it cannot work at all."""

    block: int
    mark: int
    factory: bool


def bad_blocks(chip: NandFlash) -> list[BadBlock]:
    """Every block that carries a mark."""
    part = chip.part
    found = []
    for block in range(part.blocks):
        first = block * part.pages_per_block
        marks = (chip.read_raw_page(first + page)[part.bad_mark] for page in range(_MARKED_PAGES))
        mark = next((mark for mark in marks if mark != 0xFF), None)
        if mark is not None:
            found.append(BadBlock(block, mark, block in chip.bad_blocks))
    return found
