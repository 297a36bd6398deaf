"""The tables through which generated code finds translated code, and what it counts for it."""

from __future__ import annotations

import ctypes
from array import array

from dbgemu.engine.breakpoint_map import address_of, reserve
from dbgemu.engine.layout import HOT_COUNTERS, JUMP_SLOTS, JUMP_WAYS, TRACED_WORD, JumpEntry
from dbgemu.engine.native import NativeCode
from dbgemu.target.arm.state import PAGE_BITS, CpuState

#: a place that the fetch TLB never has, and a word that no address has
_NO_PLACE, _NO_WORD = 1, 0xFFFFFFFF
_SLOTS = JUMP_SLOTS + JUMP_WAYS - 1
_FUNCTIONS = (
    *("fill", "go_arm", "go_thumb", "go_any", "go_traced_arm", "go_traced_thumb", "go_traced_any"),
    *("interpret_arm", "interpret_thumb"),
)


class _JumpCache:
    """A table of entries, all of them free."""

    def __init__(self) -> None:
        memory = reserve(_SLOTS * ctypes.sizeof(JumpEntry))
        memory[:] = bytes(JumpEntry(_NO_PLACE, _NO_WORD, 0, 0, 0)) * _SLOTS
        self.slots = (JumpEntry * _SLOTS).from_buffer(memory)
        self.address = address_of(memory)


class CodeTables:
    """The jump caches of one CPU, the counters of entered blocks, and the maps of translated memory."""

    def __init__(self, state: CpuState, code: NativeCode) -> None:
        self._state = state
        self._untraced = _JumpCache()
        #: of the code that records its blocks: made when it is first needed
        self._traced: _JumpCache | None = None
        #: what the words of the code in use have in common: TRACED_WORD or nothing
        self.flavour = 0
        self._first = 0
        self._counters = array("H", [0]) * HOT_COUNTERS
        self._pages = reserve(1 << 32 - PAGE_BITS - 3)
        self._words = reserve(1 << 32 - 2 - 3)
        state.jump_cache = self._untraced.address
        state.hot_counters = self._counters.buffer_info()[0]
        state.code_pages = address_of(self._pages)
        state.code_words = address_of(self._words)
        for name in _FUNCTIONS:
            setattr(state, name, code.address(name))

    # -- hot code ----------------------------------------------------------------------------

    def count(self, first: int, again: int, batch: int) -> None:
        """Report addresses that are entered ``first`` times, and then each ``again`` times.

        So many reports as ``batch`` stop the run. With 1 for a time it would stop in front of each block.
        """
        assert first != 1 and again != 1
        self._state.hot_threshold, self._state.hot_batch = again, batch
        self._first = first
        self._count_anew()

    def _count_anew(self) -> None:
        self._state.hot_used = 0
        self._counters[:] = array("H", [self._first]) * HOT_COUNTERS

    def choose(self, *, traced: bool) -> None:
        """Have only the code that records its blocks entered, or only the code that does not."""
        flavour = TRACED_WORD if traced else 0
        if flavour != self.flavour:
            self.flavour = flavour
            self._state.jump_cache = self._cache(flavour).address
            # the other code may be hot already
            self._count_anew()

    @property
    def slots(self) -> ctypes.Array[JumpEntry]:
        """The jump cache in use."""
        return self._cache(self.flavour).slots

    def _cache(self, word: int) -> _JumpCache:
        if not word & TRACED_WORD:
            return self._untraced
        if self._traced is None:
            self._traced = _JumpCache()
        return self._traced

    def take_hot(self) -> list[int]:
        """The words of the addresses reported since the last call."""
        used = self._state.hot_used
        if not used:
            return []
        self._state.hot_used = 0
        return [word | self.flavour for word in dict.fromkeys(self._state.hot_ring[:used])]

    def counters(self) -> bytes:
        """How often blocks may still be entered until they are reported."""
        return self._counters.tobytes()

    # -- the jump cache ----------------------------------------------------------------------

    def add(self, place: int, word: int, entry: int, function: int, pages: int) -> None:
        """Let ``word`` lead to an entry of translated code; another one may have to go."""
        slots, address = self._slots(word), word & ~TRACED_WORD
        chosen = next((s for s in slots if s.word == address and s.place == place), None)
        chosen = chosen or next((s for s in slots if s.word == _NO_WORD), slots[-1])
        chosen.place, chosen.word, chosen.entry = place, address, entry
        chosen.function, chosen.pages = function, pages

    def remove(self, word: int, pages: int) -> None:
        """Take back what :meth:`add` was given; nothing happens when it is not there."""
        for slot in self._slots(word):
            if slot.word == word & ~TRACED_WORD and slot.pages == pages:
                slot.place, slot.word = _NO_PLACE, _NO_WORD

    def _slots(self, word: int) -> list[JumpEntry]:
        first, slots = slot_of(word & ~TRACED_WORD), self._cache(word).slots
        return [slots[first + way] for way in range(JUMP_WAYS)]

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
