"""The option ``-nand``: a chip of the list, and which of its blocks the factory marked bad."""

from __future__ import annotations

from collections.abc import Callable

from dbgemu.errors import OptionError
from dbgemu.target.chips.nand_parts import PARTS, NandPart


def nand_chip(argument: str, find_name: Callable[[str], str]) -> NandPart:
    """``PART[,bad=N+N...]``; ``find_name`` knows the parts' names. Raises OptionError."""
    name, _, rest = argument.partition(",")
    part = PARTS[find_name(name)]
    if not rest:
        return part
    key, _, value = rest.partition("=")
    if key != "bad":
        raise OptionError(f"'{key}' is not a property of a NAND chip: bad=N+N names its bad blocks")
    try:
        blocks = frozenset(int(number) for number in value.split("+"))
    except ValueError:
        raise OptionError(f"'{value}' is not a list of blocks: 12 and 12+40 are") from None
    for block in sorted(blocks):
        # a chip is sold with its first block good (data sheets, "Valid block")
        if not 1 <= block < part.blocks:
            raise OptionError(
                f"block {block} cannot be bad: a {part.name} may have bad ones from 1 to {part.blocks - 1}"
            )
    return part._replace(bad_blocks=blocks)
