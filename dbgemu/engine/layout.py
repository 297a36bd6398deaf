"""What generated code and Python agree on beside the CPU's state."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence

#: The physical page table has an entry of 64 bits for each 4 KiB: these flags, and in the other
#: bits what to add to a physical address for its host address. Where there is no memory it is 0, or the
#: host address of a port's description (:mod:`dbgemu.target.stream`), without these flags.
PHYSICAL_PAGE_BITS = 12
PAGE_PRESENT, PAGE_WRITABLE = 1, 2

# A handler table has a place for each condition with each key of ARM, then one for each key of Thumb.
ARM_KEYS = 4096
THUMB_KEYS = 1024
#: condition ALWAYS: the places that an object file lists
ARM_KEYS_SLOT = 14 * ARM_KEYS
THUMB_SLOT = 16 * ARM_KEYS

# Flags of the TLB fill that translated code asks for, beside those of slow accesses: to write; to give
# memory only, never a stream: the instruction has another access, and may be executed again
FILL_WRITE, FILL_MEMORY = 64, 128

# The jump cache: from addresses to translated code
JUMP_SLOTS = 1 << 16
JUMP_WAYS = 4
#: A bit of the words by which translated code is known (address, bit 0: Thumb): this code records its blocks
TRACED_WORD = 1 << 32
#: The most instructions that translated code executes before it compares the count with ``fast_limit`` again,
#: which is that much less than ``limit``
UNCHECKED = 256
# How often blocks are entered that are not translated, by a hash of their address
HOT_COUNTERS = 1 << 14


class JumpEntry(ctypes.Structure):
    """An entry of translated code; it holds where the fetch TLB has ``place`` for its page."""

    _fields_ = (
        ("place", ctypes.c_uint64),  # the fetch TLB entry's tag and physical address
        ("word", ctypes.c_uint32),  # the address, bit 0: Thumb
        ("entry", ctypes.c_uint32),  # its number in the region
        ("function", ctypes.c_uint64),
        ("pages", ctypes.c_uint64),  # address of the region's table of places; a count of hits is before it
    )


JUMP_ENTRY_SIZE = ctypes.sizeof(JumpEntry)

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


# The event stream of a trace: records of these bytes, little-endian (see docs/tracing.md): position
# (u64: instruction count << 2 | phase), kind (u8), two that the kind says (u8, u16), and three words.
EVENT_BYTES = 24
EVENT_READ, EVENT_WRITE, EVENT_EXCEPTION, EVENT_FAULT, EVENT_SWITCH = range(1, 6)
#: before the instruction with that count; within it. A block's start lies between these two.
PHASE_BETWEEN, PHASE_BLOCK, PHASE_INSIDE = 0, 1, 2
