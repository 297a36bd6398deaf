"""The partitions of a NAND chip: the board's, as Linux has them, or others in its command line's words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dbgemu.errors import OptionError
from dbgemu.target.chips.nand_parts import NandPart

#: Linux 6.1, arch/arm/mach-s3c/mach-mini2440.c, in the syntax of its parameter mtdparts=
BOARD = "256k(u-boot),128k(u-boot-env),5m(kernel),-(root)"

#: what people call them, too
ALIASES = {"environment": "u-boot-env", "env": "u-boot-env", "uboot": "u-boot", "rootfs": "root"}

_ENTRY = re.compile(
    r"(-|(?:0x[0-9a-f]+|\d+)[kmg]?)(?:@((?:0x[0-9a-f]+|\d+)[kmg]?))?\(([^()]+)\)(?:ro)?", re.IGNORECASE
)
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True)
class Partition:
    """``size`` bytes of main data from ``offset`` on."""

    name: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size


def number(text: str) -> int:
    """A size in bytes: decimal or 0x..., with k, M or G for powers of 1024; OptionError."""
    found = re.fullmatch(r"(0x[0-9a-f]+|\d+)([kmg]?)", text.lower())
    if found is None:
        raise OptionError(f"'{text}' is not a size: 4096, 0x1000, 256k and 64M are")
    return int(found[1], 0) * _FACTORS[found[2]]


def parse_partitions(text: str, part: NandPart) -> dict[str, Partition]:
    """The partitions that ``text`` describes, ``SIZE[@OFFSET](NAME),...``; ``-`` is what is left.

    OptionError where they do not fit ``part`` or begin within a block.
    """
    partitions: dict[str, Partition] = {}
    place = 0
    for entry in text.split(","):
        found = _ENTRY.fullmatch(entry.strip())
        if found is None:
            raise OptionError(f"'{entry}' is not a partition: 5m(kernel), 1m@0x60000(data) and -(root) are")
        size, start, name = found.groups()
        offset = number(start) if start else place
        length = part.size - offset if size == "-" else number(size)
        if name in partitions:
            raise OptionError(f"there are two partitions named {name}")
        if length <= 0 or offset + length > part.size:
            raise OptionError(
                f"the partition {name} does not fit into the {part.size} bytes of a {part.name}"
            )
        block = part.page_size * part.pages_per_block
        if offset % block:
            raise OptionError(f"the partition {name} does not begin with a block of {block} bytes")
        partitions[name] = Partition(name, offset, length)
        place = offset + length
    return partitions


def find_partition(partitions: dict[str, Partition], name: str) -> Partition:
    """The partition of that name, or of one that means it; OptionError when there is none."""
    found = partitions.get(name) or partitions.get(ALIASES.get(name, name))
    if found is None:
        raise OptionError(f"there is no partition '{name}': there are {', '.join(partitions)}")
    return found
