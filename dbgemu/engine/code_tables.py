"""The tables through which generated code finds translated code, and what it counts for it."""

from __future__ import annotations

import ctypes
from array import array

from dbgemu.engine.breakpoint_map import address_of, reserve
from dbgemu.engine.layout import HOT_COUNTERS, JUMP_SLOTS, JUMP_WAYS, JumpEntry
from dbgemu.engine.native import NativeCode
from dbgemu.target.arm.state import PAGE_BITS, CpuState

#: a place that the fetch TLB never has, and a word that no address has
_NO_PLACE, _NO_WORD = 1, 0xFFFFFFFF
_SLOTS = JUMP_SLOTS + JUMP_WAYS - 1


class CodeTables:
    """The jump cache of one CPU, the counters of entered blocks, and the maps of translated memory."""

    def __init__(self, state: CpuState, code: NativeCode) -> None:
        self._state = state
        self._memory = reserve(_SLOTS * ctypes.sizeof(JumpEntry))
        self.slots = (JumpEntry * _SLOTS).from_buffer(self._memory)
        empty = JumpEntry(_NO_PLACE, _NO_WORD, 0, 0, 0)
        self._memory[:] = bytes(empty) * _SLOTS
        self._counters = array("H", [0]) * HOT_COUNTERS
        self._pages = reserve(1 << 32 - PAGE_BITS - 3)
        self._words = reserve(1 << 32 - 2 - 3)
        state.jump_cache = address_of(self._memory)
        state.hot_counters = self._counters.buffer_info()[0]
        state.code_pages = address_of(self._pages)
        state.code_words = address_of(self._words)
        for name in ("fill", "go_arm", "go_thumb", "go_any", "interpret_arm", "interpret_thumb"):
            setattr(state, name, code.address(name))

    # -- hot code ----------------------------------------------------------------------------

    def count(self, first: int, again: int, batch: int) -> None:
        """Report addresses that are entered ``first`` times, and then each ``again`` times.

        So many reports as ``batch`` stop the run. With 1 for a time it would stop in front of each block.
        """
        assert first != 1 and again != 1
        self._state.hot_threshold, self._state.hot_batch = again, batch
        self._state.hot_used = 0
        for place in range(HOT_COUNTERS):
            self._counters[place] = first

    def take_hot(self) -> list[int]:
        """The addresses reported since the last call; bit 0 tells Thumb."""
        used = self._state.hot_used
        if not used:
            return []
        self._state.hot_used = 0
        return list(dict.fromkeys(self._state.hot_ring[:used]))

    def counters(self) -> bytes:
        """How often blocks may still be entered until they are reported."""
        return self._counters.tobytes()

    # -- the jump cache ----------------------------------------------------------------------

    def add(self, place: int, word: int, entry: int, function: int, pages: int) -> None:
        """Let ``word`` lead to an entry of translated code; another one may have to go."""
        first = slot_of(word)
        slots = [self.slots[first + way] for way in range(JUMP_WAYS)]
        chosen = next((s for s in slots if s.word == word and s.place == place), None)
        chosen = chosen or next((s for s in slots if s.word == _NO_WORD), slots[-1])
        chosen.place, chosen.word, chosen.entry = place, word, entry
        chosen.function, chosen.pages = function, pages

    def remove(self, word: int, pages: int) -> None:
        """Take back what :meth:`add` was given; nothing happens when it is not there."""
        first = slot_of(word)
        for way in range(JUMP_WAYS):
            slot = self.slots[first + way]
            if slot.word == word and slot.pages == pages:
                slot.place, slot.word = _NO_PLACE, _NO_WORD

    # -- memory ------------------------------------------------------------------------------

    def mark_page(self, physical: int, present: bool) -> bool:
        """Whether there is translated code in the 1 KiB page at ``physical``; gives whether that is new."""
        number = physical >> PAGE_BITS
        mask, byte = 1 << (number & 7), self._pages[number >> 3]
        if bool(byte & mask) == present:
            return False
        self._pages[number >> 3] = byte ^ mask
        return True

    def mark_words(self, physical: int, length: int, present: bool) -> None:
        """Whether the words of ``length`` bytes from ``physical`` are translated."""
        first, end = physical >> 2, physical + length + 3 >> 2
        start, stop = first >> 3, end + 7 >> 3
        mask = (1 << end - 8 * start) - (1 << first - 8 * start)
        bits = int.from_bytes(self._words[start:stop], "little")
        bits = bits | mask if present else bits & ~mask
        self._words[start:stop] = bits.to_bytes(stop - start, "little")


def slot_of(word: int) -> int:
    """The first slot for an address: as generated code computes it."""
    return (word >> 2 ^ word >> 16) & (JUMP_SLOTS - 1)
