"""The translator of one CPU: what is hot goes to a compiler, what comes back is put in, and taken out."""

from __future__ import annotations

import ctypes
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Protocol

from dbgemu.engine.cpu import EVERYWHERE, Cpu, TranslationFault
from dbgemu.engine.layout import PAGE_PRESENT, TRACED_WORD
from dbgemu.engine.translator.cache import RegionCache
from dbgemu.engine.translator.code_memory import CodeMemory
from dbgemu.engine.translator.requests import Batch, Made, Request
from dbgemu.target.arm.state import DATA_TLB_ENTRIES, NO_TAG, PAGE_SIZE, Mode, offset

#: bytes of native code at most
CODE_MEMORY = 64 << 20
#: 1 KiB pages of code that a region may extend to, around its first
_BEFORE, _BEHIND = 2, 4
#: a page whose code was written so often is left to tier 0 for so many instructions
_UNSTABLE_AFTER, _REST = 16, 50_000_000


#: entries of a block by tier 0 until it is looked for in the cache, until it is reported again, and how many
#: reports there are until it is assembled, or compiled where there is no assembler
THRESHOLD, AGAIN, PATIENCE = 200, 4000, 2
#: with an assembler
AGAIN_ASSEMBLED = 1800
#: entries and loops of an assembled region until it is compiled, and seconds between two looks at them
PROMOTED, LOOK = 5000, 0.2
#: instructions of compiled and of assembled regions, before they end where another begins: loops that are
#: small are to be whole
_FEW, _FEW_ASSEMBLED = 32, 8


class Compiler(Protocol):
    """Who compiles regions: at once, or in the background. ``ended`` when nothing more will come."""

    ended: bool

    def submit(self, requests: list[Request]) -> None:
        """Ask for regions."""

    def take(self) -> list[Batch]:
        """What has been compiled since the last call."""

    def close(self) -> None:
        """No more is wanted."""


@dataclass(eq=False)
class Installed:
    """A region in use. ``places`` holds the count of its entries, then a word for each of its pages."""

    made: Made
    #: of its native code
    address: int
    places: array[int]
    #: (physical address, length) of its code
    ranges: list[tuple[int, int]]
    since: int
    entries: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def hits(self) -> int:
        """How often it was entered."""
        return self.places[0]

    @property
    def pages_address(self) -> int:
        """What native code gets as its table of pages."""
        return self.places.buffer_info()[0] + 8


class Translator:
    """Keeps one CPU's translated code. All of it is for the thread that runs the CPU."""

    def __init__(
        self,
        cpu: Cpu,
        compiler: Compiler,
        *,
        cache: RegionCache | None = None,
        threshold: int = THRESHOLD,
        again: int = AGAIN,
        patience: int = PATIENCE,
        batch: int = 32,
        outstanding: int = 6,
        assembler: Compiler | None = None,
        assembling: int = 128,
        promoted: int = PROMOTED,
        look: float = LOOK,
    ) -> None:
        self._cpu = cpu
        self._compiler = compiler
        self._assembler = assembler
        self._assembling = assembling
        self._promoted, self._look = promoted, look
        self._looked = 0.0
        #: hot addresses that are to be assembled
        self._fresh: deque[int] = deque()
        #: addresses that the assembler has been asked for
        self._with_assembler: set[int] = set()
        self.cache = cache
        #: by the word of an address: how often it was reported hot, not being in the cache
        self._reports: Counter[int] = Counter()
        #: those of them that are worth compiling
        self._ripe: dict[int, int] = {}
        self._patience = patience
        self._outstanding = outstanding
        self._tables = cpu.code_tables
        self._memory = CodeMemory(CODE_MEMORY)
        self._threshold = threshold
        #: by the word of the hot address: the physical addresses of the pages that were handed over
        self._asked: dict[int, dict[int, int]] = {}
        self._refused: set[int] = set()
        self._installed: set[Installed] = set()
        #: those of them that may be worth compiling
        self._assembled: set[Installed] = set()
        self._by_page: dict[int, set[Installed]] = {}
        #: by place and word of an entry
        self._entered: dict[tuple[int, int], Installed] = {}
        #: how many entries there are for a word
        self._words: Counter[int] = Counter()
        #: by virtual page, with the flavour: the addresses of entries, of all regions and of compiled ones
        self._leading: dict[int, set[int]] = {}
        self._compiled: dict[int, set[int]] = {}
        self._written: Counter[int] = Counter()
        self._resting: dict[int, int] = {}
        self.statistics: Counter[str] = Counter()
        self.compile_seconds = 0.0
        #: who is told of each region that is put in
        self.on_install: Callable[[Installed], None] | None = None
        state = cpu.state
        start = offset("privileged_data") // 4
        words = memoryview(state).cast("B").cast("I")
        # the write tags of all four data TLBs, which lie side by side
        self._write_tags = words[start + 1 : start + 4 * 4 * DATA_TLB_ENTRIES : 4]
        self._no_tags = memoryview(array("I", [NO_TAG]) * (4 * DATA_TLB_ENTRIES))
        self._on_written = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32)(self._stored)
        state.code_written = ctypes.cast(self._on_written, ctypes.c_void_p).value
        cpu.bus.on_memory_write.append(self.written)
        self._tables.count(threshold, again, batch)
        cpu.translation = self

    def close(self) -> None:
        """Take everything out and leave the CPU to tier 0."""
        self._cpu.translation = None
        self._cpu.bus.on_memory_write.remove(self.written)
        self._compiler.close()
        if self._assembler is not None:
            self._assembler.close()
        self._tables.count(0, 0, 0)
        self.forget()

    # -- in and out --------------------------------------------------------------------------

    def attend(self) -> None:
        """Ask for what has become hot; put in what has been compiled."""
        if self._cpu.state.hot_used:
            for word in self._tables.take_hot():
                self._consider(word)
        for batch in self._compiler.take():
            self.put_in(batch)
        if self._assembler is not None:
            for batch in self._assembler.take():
                self.put_in(batch)
            if self._assembler.ended:
                self._do_without_assembler(self._assembler)
        if self._assembler is not None:
            if self._fresh and len(self._with_assembler) < self._assembling:
                self._ask_assembler(self._assembler)
            if not self._with_assembler:
                self._promote()
        if self._ripe and len(self._asked) - len(self._with_assembler) < self._outstanding:
            self._ask()

    def _do_without_assembler(self, assembler: Compiler) -> None:
        """It has died: what it was asked for is compiled when it is reported again."""
        assembler.close()
        self._assembler = None
        for word in self._with_assembler:
            del self._asked[word]
        self._with_assembler.clear()
        self._fresh.clear()

    def _consider(self, word: int) -> None:
        """An address is hot: it may have lost its place in the jump cache, or be in the cache on disk."""
        if word in self._asked or word in self._refused:
            return
        if word in self._words:
            page = _page(word)
            place = self._locate((page,))
            region = place and self._entered.get((_place(page, place), word))
            if region:
                self._add_entries(region)
                return
        if self._recall(word):
            return
        reports = self._reports[word] = self._reports[word] + 1
        if reports < self._patience:
            return
        if self._assembler is not None:
            self._fresh.append(word)
        else:
            self._ripe[word] = reports

    def _ask(self) -> None:
        """Have the hottest compiled, a few at a time: by and by others become the hottest."""
        room = self._outstanding - (len(self._asked) - len(self._with_assembler))
        counters = self._tables.counters()
        requests = []
        # those of the other flavour wait until they are wanted again
        ripe = [word for word in self._ripe if word & TRACED_WORD == self._tables.flavour]
        for word in nlargest(room, ripe, key=self._ripe.__getitem__):
            del self._ripe[word]
            self._reports.pop(word, None)
            request = self._request(word, counters, self._compiled, _FEW)
            if request is not None:
                requests.append(request)
        if requests:
            self.statistics["asked"] += len(requests)
            self._compiler.submit(requests)

    def _ask_assembler(self, assembler: Compiler) -> None:
        """Have what has become hot put together, in the order in which it did."""
        counters = self._tables.counters()
        requests = []
        while self._fresh and len(self._with_assembler) < self._assembling:
            word = self._fresh.popleft()
            if word in self._asked:
                continue
            request = self._request(word, counters, self._leading, _FEW_ASSEMBLED, self._with_assembler)
            if request is not None:
                requests.append(request)
                self._with_assembler.add(word)
        if requests:
            self.statistics["assembled"] += len(requests)
            assembler.submit(requests)

    def _request(
        self,
        word: int,
        counters: bytes,
        leading: dict[int, set[int]],
        few: int,
        coming: Iterable[int] = (),
    ) -> Request | None:
        """A request to leave out what ``leading`` has, and what is ``coming``; None where no code is."""
        captured = self._capture(word)
        if captured is None:
            return None
        pages, self._asked[word] = captured
        keys = {page | word & TRACED_WORD for page in pages}
        others = (other & 0xFFFFFFFE for other in coming if other & -PAGE_SIZE in keys)
        known = frozenset(others).union(*(leading[key] for key in keys if key in leading))
        return Request(word, pages, counters, self._threshold, known, few)

    def _promote(self) -> None:
        """Assembled regions that are entered often are worth compiling."""
        now = time.monotonic()
        if now - self._looked < self._look:
            return
        self._looked = now
        flavour = self._tables.flavour
        for region in self._assembled:
            word, hits = region.made.word, region.places[0]
            if hits <= self._promoted or word & TRACED_WORD != flavour:
                continue
            if word not in self._asked and word not in self._refused:
                self._ripe[word] = hits

    def _recall(self, word: int) -> bool:
        """Put in what the cache has for a hot address."""
        cache = self.cache
        if cache is None or word not in cache:
            return False
        for made in cache.find(word):
            physical = self._locate(made.pages)
            if physical is not None and self.install(made, physical):
                self.statistics["recalled"] += 1
                self._tell_compiled(made, 0.0)
                return True
        return False

    def _locate(self, pages: Iterable[int]) -> dict[int, int] | None:
        """The physical addresses of virtual pages, if code may be fetched from all of them."""
        user = (self._cpu.state.control & 0x1F) == Mode.USR
        located = {}
        for page in pages:
            try:
                place = located[page] = self._cpu.translate(page, user=user)
            except TranslationFault:
                return None
            if self._resting.get(place, 0) > self._cpu.instructions:
                return None
        return located

    def _capture(self, word: int) -> tuple[dict[int, bytes], dict[int, int]] | None:
        """The code around a hot address, and the pages' physical addresses."""
        first = _page(word)
        user = (self._cpu.state.control & 0x1F) == Mode.USR
        pages: dict[int, bytes] = {}
        physical: dict[int, int] = {}
        for number in range(-_BEFORE, _BEHIND + 1):
            page = first + number * PAGE_SIZE & 0xFFFFFFFF
            try:
                place = self._cpu.translate(page, user=user)
            except TranslationFault:
                continue
            if self._resting.get(place, 0) > self._cpu.instructions:
                continue
            content = self._read(place, PAGE_SIZE)
            if content is not None:
                pages[page], physical[page] = content, place
        return (pages, physical) if first in pages else None

    def _read(self, physical: int, length: int) -> bytes | None:
        """What lies in memory at ``physical``, within a page; None where there is no memory."""
        entry = self._cpu.physical_page(physical)
        if not entry & PAGE_PRESENT:
            return None
        return ctypes.string_at((entry & -4) + physical & (1 << 64) - 1, length)

    def put_in(self, batch: Batch) -> None:
        """Make a batch's regions reachable, those whose code is still there."""
        self.compile_seconds += batch.seconds
        asked = {request.word: self._asked.pop(request.word, None) for request in batch.requests}
        self._refused |= asked.keys() - {made.word for made in batch.made}
        self._with_assembler -= asked.keys()
        size = sum(len(made.native) for made in batch.made)
        for made in batch.made:
            physical = asked[made.word]
            if physical is not None and self.install(made, physical):
                self._tell_compiled(made, batch.seconds * len(made.native) / size)

    def _tell_compiled(self, made: Made, seconds: float) -> None:
        listener = self._cpu.translation_listener
        if listener is not None:
            guest = sum(len(code) for _, code in made.code)
            listener.translated(made.pc, made.instructions, thumb=made.thumb)
            listener.compiled(made.pc, guest, len(made.native), round(seconds * 1e6))

    def _ranges(self, made: Made, physical: dict[int, int]) -> list[tuple[int, int]] | None:
        """Where the code is in physical memory, if it is there unchanged."""
        ranges = []
        for address, code in made.code:
            place = physical[address & -PAGE_SIZE] + (address & PAGE_SIZE - 1)
            if self._read(place, len(code)) != code:
                return None
            ranges.append((place, len(code)))
        return ranges

    def install(self, made: Made, physical: dict[int, int]) -> bool:
        """Put a region in; False when its code is not in memory at ``physical`` (by virtual page)."""
        ranges = self._ranges(made, physical)
        if ranges is None or self._is_watched(made, ranges):
            return False
        address = self._memory.put(made.native)
        if address is None:
            self.forget()
            address = self._memory.put(made.native)
            assert address is not None
        places = [_place(page, physical) for page in made.pages]
        table = array("Q", [0, *places])
        region = Installed(made, address, table, ranges, self._cpu.instructions)
        self._installed.add(region)
        if made.assembled:
            self._assembled.add(region)
        self.statistics["installed"] += 1
        flags = made.word & (TRACED_WORD | 1)
        for number, pc in enumerate(made.entries):
            place, word = _place(pc & -PAGE_SIZE, physical), pc | flags
            owner = self._entered.get((place, word))
            if owner is not None:
                if number and (made.assembled or not owner.made.assembled):
                    continue  # another region has it already
                self._give_up(owner, place, word)
            self._entered[place, word] = region
            self._words[word] += 1
            for leading in (self._leading,) if made.assembled else (self._leading, self._compiled):
                leading.setdefault(word & -PAGE_SIZE, set()).add(pc)
            region.entries.append((place, word, number))
        self._add_entries(region)
        for start, length in ranges:
            self._by_page.setdefault(start & -PAGE_SIZE, set()).add(region)
            self._mark(start, length)
        if self.on_install is not None:
            self.on_install(region)
        return True

    def _give_up(self, region: Installed, place: int, word: int) -> None:
        """Another region has an entry from now on: one that has none left goes."""
        region.entries = [entry for entry in region.entries if entry[:2] != (place, word)]
        del self._entered[place, word]
        self._forget_word(word)
        self._tables.remove(word, region.pages_address)
        if not region.entries:
            self._take_out(region)

    def _forget_word(self, word: int) -> None:
        self._words[word] -= 1
        if not self._words[word]:
            del self._words[word]
            for leading in (self._leading, self._compiled):
                if word & -PAGE_SIZE in leading:
                    leading[word & -PAGE_SIZE].discard(word & 0xFFFFFFFE)

    def _add_entries(self, region: Installed) -> None:
        starts = region.made.starts
        for place, word, number in region.entries:
            address = region.address + (starts[number] if starts else 0)
            self._tables.add(place, word, number, address, region.pages_address)

    def _mark(self, start: int, length: int) -> None:
        if self._tables.mark_page(start, True):
            # its writes have to come by from now on
            self._write_tags[:] = self._no_tags
        self._tables.mark_words(start, length, True)

    def _take_out(self, region: Installed, *, storing: bool = False) -> None:
        if region not in self._installed:
            return
        self._installed.remove(region)
        self._assembled.discard(region)
        self.statistics["invalidated"] += 1
        for place, word, _ in region.entries:
            self._forget_word(word)
            if self._entered.get((place, word)) is region:
                del self._entered[place, word]
            self._tables.remove(word, region.pages_address)
        pages = {start & -PAGE_SIZE for start, _ in region.ranges}
        for start, length in region.ranges:
            self._tables.mark_words(start, length, False)
        for page in pages:
            others = self._by_page[page]
            others.discard(region)
            for other in others:
                for start, length in other.ranges:
                    if start & -PAGE_SIZE == page:
                        self._mark(start, length)
            if not others:
                del self._by_page[page]
                self._tables.mark_page(page, False)
        self._memory.release(region.address, len(region.made.native))
        listener = self._cpu.translation_listener
        if listener is not None:
            for start, length in region.ranges:
                listener.invalidated(start, length, storing=storing)

    # -- what makes code go ------------------------------------------------------------------

    def _stored(self, physical: int, length: int) -> None:
        try:
            self.written(physical, length, storing=True)
        except BaseException as error:  # it cannot pass through generated code
            self._cpu.keep_error(error)

    def written(self, physical: int, length: int, *, storing: bool = False) -> None:
        """Memory was or is about to be written, by the CPU with ``storing``: code made from it goes."""
        end = physical + length
        for page in range(physical & -PAGE_SIZE, end, PAGE_SIZE):
            regions = self._by_page.get(page)
            if not regions:
                continue
            hit = [
                region
                for region in regions
                if any(start < end and physical < start + size for start, size in region.ranges)
            ]
            for region in hit:
                self._take_out(region, storing=storing)
            if hit:
                self._written[page] += 1
                if self._written[page] >= _UNSTABLE_AFTER:
                    self._written[page] = 0
                    self._resting[page] = self._cpu.instructions + _REST

    def check(self, changed: Iterable[tuple[int, int]] = EVERYWHERE) -> None:
        """What is at (base, bytes), or what is watched, may be another: code that no longer holds goes."""
        touched = [
            region
            for region in self._installed
            if any(
                start < base + size and base < start + length
                for start, length in region.ranges
                for base, size in changed
            )
        ]
        for region in touched:
            pieces = zip(region.made.code, region.ranges, strict=True)
            same = all(self._read(place, length) == code for (_, code), (place, length) in pieces)
            if not same or self._is_watched(region.made, region.ranges):
                self._take_out(region)

    def _is_watched(self, made: Made, ranges: list[tuple[int, int]]) -> bool:
        """Reads of the code are watched: some of them are constants in translated code."""
        for first, last, physical in self._cpu.read_watches():
            for (address, _), (place, length) in zip(made.code, ranges, strict=True):
                start = place if physical else address
                if start <= last and first < start + length:
                    return True
        return False

    def forget(self) -> None:
        """Take all code out."""
        for region in list(self._installed):
            self._take_out(region)

    @property
    def code_bytes(self) -> int:
        """Bytes of native code in use."""
        return self._memory.used

    @property
    def waiting(self) -> int:
        """How many addresses are with the compiler."""
        return len(self._asked)

    @property
    def regions(self) -> list[Installed]:
        """The regions in use."""
        return list(self._installed)


def _page(word: int) -> int:
    """The page of the address that ``word`` tells."""
    return word & 0xFFFFFFFF & -PAGE_SIZE


def _place(page: int, physical: dict[int, int]) -> int:
    """What the fetch TLB has for ``page``: see :class:`~dbgemu.engine.layout.JumpEntry`."""
    return page | physical[page] << 32
