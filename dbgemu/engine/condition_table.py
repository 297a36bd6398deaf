"""The native conditions of breakpoints, by address: a table that generated code consults at each hit."""

from __future__ import annotations

import ctypes

from dbgemu.engine.native import NativeCode
from dbgemu.target.arm.state import CpuState

#: what a condition's function returns: run on, stop, or stop as it cannot tell
FALSE, TRUE, UNKNOWN = 0, 1, 2

#: of the hash: 2^32 divided by the golden ratio, so that neighbours land far apart
MULTIPLIER = 0x9E3779B1
_FEWEST_SLOTS = 64


class ConditionEntry(ctypes.Structure):
    """One slot of the table: a condition's function (0: the slot is free) and how often it was false."""

    _fields_ = (
        ("address", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
        ("function", ctypes.c_uint64),
        ("passes", ctypes.c_uint64),
    )


class NativeCondition:
    """A compiled condition: function ``name`` of ``code``."""

    def __init__(self, code: NativeCode, name: str) -> None:
        self.address = code.address(name)
        self._function = code.function(name, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32)

    def evaluate(self, state: CpuState, pc: int) -> int:
        """FALSE, TRUE or UNKNOWN, for a machine that stands still at ``pc``."""
        return self._function(ctypes.addressof(state), pc)


class ConditionTable:
    """The conditions of one CPU, by virtual address of the breakpoint: what generated code consults.

    A hash table with linear probing, at most half full.
    """

    def __init__(self, state: CpuState, code: NativeCode) -> None:
        self._state = state
        #: what conditions are loaded into
        self.code = code
        self._conditions: dict[int, NativeCondition] = {}
        self._entries = self._allocate(_FEWEST_SLOTS)

    def __len__(self) -> int:
        return len(self._conditions)

    def set(self, address: int, condition: NativeCondition) -> None:
        """Pass the breakpoint at virtual ``address`` by while ``condition`` is false."""
        address &= 0xFFFFFFFE
        self._conditions[address] = condition
        if 2 * len(self._conditions) > len(self._entries):
            self._grow()
        entry = self._entries[self._find(address)]
        entry.address, entry.function, entry.passes = address, condition.address, 0

    def remove(self, address: int) -> None:
        """Stop always at ``address`` from now on; nothing happens when there is no condition."""
        address &= 0xFFFFFFFE
        if self._conditions.pop(address, None) is None:
            return
        entries, mask = self._entries, len(self._entries) - 1
        hole = self._find(address)
        entries[hole].function = 0
        # what stands behind without a gap may have been put there only because this slot was taken
        slot = hole + 1 & mask
        while entries[slot].function:
            moved = entries[slot]
            kept = moved.address, moved.function, moved.passes
            moved.function = 0
            place = entries[self._find(kept[0])]
            place.address, place.function, place.passes = kept
            slot = slot + 1 & mask

    def passes(self, address: int) -> int:
        """How often the condition at ``address`` was found false natively since it was set."""
        entry = self._entries[self._find(address & 0xFFFFFFFE)]
        return int(entry.passes) if entry.function else 0

    def _find(self, address: int) -> int:
        """The slot of ``address``, or the free one where it belongs."""
        entries, mask = self._entries, len(self._entries) - 1
        slot = (address * MULTIPLIER >> 8) & mask
        while entries[slot].function and entries[slot].address != address:
            slot = slot + 1 & mask
        return slot

    def _allocate(self, slots: int) -> ctypes.Array[ConditionEntry]:
        entries = (ConditionEntry * slots)()
        self._state.conditions = ctypes.addressof(entries)
        self._state.condition_mask = slots - 1
        return entries

    def _grow(self) -> None:
        old = self._entries
        self._entries = self._allocate(2 * len(old))
        for entry in old:
            if entry.function:
                place = self._entries[self._find(entry.address)]
                place.address, place.function, place.passes = entry.address, entry.function, entry.passes
