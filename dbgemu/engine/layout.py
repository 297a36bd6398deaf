"""What generated code and Python agree on beside the CPU's state."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

#: The physical page table has an entry of 64 bits for each 4 KiB: these flags, and in the other
#: bits what to add to a physical address for its host address; 0 where there is no memory.
PHYSICAL_PAGE_BITS = 12
PAGE_PRESENT, PAGE_WRITABLE = 1, 2

# A handler table has a place for each condition with each key of ARM, then one for each key of Thumb.
ARM_KEYS = 4096
THUMB_KEYS = 1024
#: condition ALWAYS: the places that an object file lists
ARM_KEYS_SLOT = 14 * ARM_KEYS
THUMB_SLOT = 16 * ARM_KEYS

#: The conditions that have to be looked at: all but ALWAYS
CONDITIONS = (*range(14), 15)
#: B and BL, which have a handler for each condition: their keys are these ranges
BRANCH_KEYS = ((0xA00, 0xB00), (0xB00, 0xC00))


def handler_table(
    arm: Sequence[int],
    thumb: Sequence[int],
    conditional: dict[int, int],
    branches: dict[tuple[int, int], int],
) -> array[int]:
    """The table of 64-bit addresses.

    ``arm`` and ``thumb`` are by key; ``conditional`` by condition; ``branches`` by condition and
    link bit.
    """
    table = array("Q")
    for condition in range(16):
        if condition not in CONDITIONS:
            table.extend(arm)
            continue
        row = array("Q", [conditional[condition]]) * ARM_KEYS
        for link, (first, end) in enumerate(BRANCH_KEYS):
            row[first:end] = array("Q", [branches[condition, link]]) * (end - first)
        table.extend(row)
    table.extend(thumb)
    return table


def uniform_table(arm: int, thumb: int) -> array[int]:
    """A table in which every ARM instruction has one handler, and every Thumb instruction."""
    return array("Q", [arm]) * THUMB_SLOT + array("Q", [thumb]) * THUMB_KEYS
