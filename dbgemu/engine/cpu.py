"""The CPU as the machine and debuggers hold it: registers, memory, running, break- and watchpoints."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from dbgemu.engine.breakpoint_map import BreakpointMap, address_of, reserve
from dbgemu.engine.code_tables import CodeTables
from dbgemu.engine.condition_table import ConditionTable
from dbgemu.engine.cpu_registers import CpuRegisters
from dbgemu.engine.layout import (
    ARM_KEYS,
    CONDITIONS,
    PAGE_PRESENT,
    PAGE_WRITABLE,
    PHYSICAL_PAGE_BITS,
    THUMB_KEYS,
    UNCHECKED,
    handler_table,
    uniform_table,
)
from dbgemu.engine.native import NativeCode, load_interpreter
from dbgemu.engine.translation_listener import TranslationListener
from dbgemu.target.arm.cp15 import CONTROL_MMU, CONTROL_RESET, TTB_MASK
from dbgemu.target.arm.mmu import (
    ACCESS_USER,
    FAULT_NAMES,
    RESULT_FAULT,
    RESULT_STATUS_SHIFT,
)
from dbgemu.target.arm.state import (
    ARCHITECTURAL_FIELDS,
    DATA_TLB_ENTRIES,
    EXIT_CATCH,
    EXIT_DEVICE,
    EXIT_IDLE,
    EXIT_STOP,
    FETCH_TLB_ENTRIES,
    MAX_WATCHPOINTS,
    OBSERVED,
    PAGE_SIZE,
    SEMIHOSTING_PRIVILEGED,
    SEMIHOSTING_USER,
    WATCH_PHYSICAL,
    WATCH_READ,
    WATCH_WRITE,
    CpuState,
    DataTlbEntry,
    F,
    FetchTlbEntry,
    I,
    Mode,
    StopCode,
    T,
    access_key,
    offset,
)
from dbgemu.target.bus import PAGE, Bus, BusError
from dbgemu.target.memory import Memory

#: of the soft TLBs of two privileges in two banks
_TLB_BYTES = 4 * (
    DATA_TLB_ENTRIES * ctypes.sizeof(DataTlbEntry) + FETCH_TLB_ENTRIES * ctypes.sizeof(FetchTlbEntry)
)


#: a limit that every count has come to; generated code subtracts counts from it, which must not wrap
_AT_ONCE = 0

#: (base, bytes) of all of physical memory
EVERYWHERE = ((0, 1 << 32),)


class Translation(Protocol):
    """Who translates hot code: called in front of each stretch of execution."""

    def attend(self) -> None:
        """Take what has become hot, and put in what has been translated."""

    def check(self, changed: Iterable[tuple[int, int]] = EVERYWHERE) -> None:
        """Memory may have become another, or what is watched: translated code that no longer holds goes."""


#: a domain access control register that has every domain follow its pages' permissions
_ALL_CLIENTS = 0x55555555


class TranslationFault(Exception):
    """A virtual address is not mapped, or not for this access."""

    def __init__(self, address: int, text: str) -> None:
        super().__init__(f"{text} at virtual address 0x{address:08x}")
        self.address = address


@dataclass(frozen=True)
class WatchHit:
    """The access that a watchpoint stopped: before it took effect."""

    address: int
    size: int
    write: bool
    value: int | None
    #: where it goes, translated
    physical: int | None = field(default=None, compare=False)


class Cpu(CpuRegisters):
    """An ARM920T on a bus. All of it is for one thread at a time, :meth:`request_exit` excepted."""

    def __init__(self, bus: Bus, code: NativeCode | None = None) -> None:
        self.bus = bus
        self._code = code if code is not None else load_interpreter()
        super().__init__(CpuState())
        # ctypes finds a structure's field by name; for what runs at each device access, views do faster
        raw = memoryview(self.state).cast("B")
        self._longs = raw[: len(raw) & ~7].cast("q")
        self._count_now = offset("count_now") // 8
        self._limit = offset("limit") // 8
        self._fast_limit = offset("fast_limit") // 8
        #: where the run is to stop: generated code may be told less
        self._wanted_limit = 0
        #: who translates hot code
        self.translation: Translation | None = None
        self._watch_resume_count = offset("watch_resume_count") // 8
        self._longs[self._watch_resume_count] = -1
        self._error: BaseException | None = None
        self._interrupts_masked = False
        self._breakpoints = BreakpointMap()
        self.translation_listener: TranslationListener | None = None
        #: made when it is first needed
        self._physical_breakpoints: BreakpointMap | None = None
        self._watches: list[tuple[int, int, int]] = []
        self._pages = reserve(8 << 32 - PHYSICAL_PAGE_BITS)
        self._page_words = memoryview(self._pages).cast("Q")
        #: (base, size) -> entry of what is mapped, and the memories among it
        self._mapped: dict[tuple[int, int], int] = {}
        self._memories: dict[tuple[int, int], int] = {}
        self._connect()
        self._map_memory()
        bus.on_change.append(self._map_memory)
        self.reset()

    def _connect(self) -> None:
        code, state = self._code, self.state
        self._run = code.function("run", None, ctypes.c_void_p)
        u32, pointer = ctypes.c_uint32, ctypes.c_void_p
        self._walk = code.function("walk", ctypes.c_uint64, pointer, u32, u32)
        self._write_control = code.function("write_control", None, pointer, u32)
        # kept as attributes: ctypes callbacks live as long as these objects
        self._on_read = ctypes.CFUNCTYPE(u32, u32, u32)(self._read_device)
        self._on_write = ctypes.CFUNCTYPE(None, u32, u32, u32)(self._write_device)
        state.mmio_read = ctypes.cast(self._on_read, pointer).value
        state.mmio_write = ctypes.cast(self._on_write, pointer).value
        self._table = _handler_table(code)
        self._debug_table = uniform_table(code.address("debug_arm"), code.address("debug_thumb"))
        state.tables = self._table.buffer_info()[0]
        state.debug_table = self._debug_table.buffer_info()[0]
        state.physical_pages = address_of(self._pages)
        state.breakpoint_pages = address_of(self._breakpoints.pages)
        state.breakpoint_bits = address_of(self._breakpoints.bits)
        #: breakpoints with one of these are passed by natively while it is false
        self.conditions = ConditionTable(state, code)
        self.code_tables = CodeTables(state, code)

    # -- running -------------------------------------------------------------------------------

    def reset(self) -> None:
        """What the reset line does: SVC mode, interrupts masked, MMU off, pc at the reset vector.

        The count of executed instructions goes on, break- and watchpoints stay.
        """
        state = self.state
        for name in ARCHITECTURAL_FIELDS:
            if name not in ("interrupt_lines",):
                ctypes.memset(self._state_address + offset(name), 0, getattr(CpuState, name).size)
        ctypes.memset(self._state_address + offset("r"), 0, CpuState.r.size)
        state.z = 1
        state.cp15_control = CONTROL_RESET
        state.control = Mode.SVC
        self._write_control(self._state_address, I | F | Mode.SVC)
        self.take_caught()
        self.flush_tlbs()
        self._check_translation()

    def run(self, limit: int, *, resume: bool = True) -> StopCode:
        """Execute until ``instructions`` is ``limit``, or a stop before that.

        With ``resume`` a breakpoint on the first instruction is passed over, and a watchpoint if it was
        what stopped the last run. What a device's code raised inside is raised here.
        """
        state, longs = self.state, self._longs
        state.resume_count = longs[self._count_now] if resume else -1
        if not resume:
            longs[self._watch_resume_count] = -1
        self._wanted_limit = limit
        translation = self.translation
        while True:
            if translation is not None:
                translation.attend()
            self.limit = self._wanted_limit
            self._run(self._state_address)
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            reason = StopCode(state.stop_reason)
            # a run that ends before its limit was only interrupted for the translator
            if reason is not StopCode.LIMIT or longs[self._count_now] >= self._wanted_limit:
                return reason

    @property
    def instructions(self) -> int:
        """Instructions executed since power-on; inside a device access those before this one."""
        return self._longs[self._count_now]

    def counter(self) -> Callable[[], int]:
        """A function that gives :attr:`instructions`, for who asks often."""
        longs, place = self._longs, self._count_now
        return lambda: longs[place]

    @property
    def limit(self) -> int:
        """The count at which the present run stops; writing it from a device access moves it."""
        return self._wanted_limit

    @limit.setter
    def limit(self, value: int) -> None:
        self._wanted_limit = value
        self._longs[self._limit] = value
        self._longs[self._fast_limit] = value - UNCHECKED

    def request_exit(self) -> None:
        """Make :meth:`run` return soon; from any thread."""
        self.state.exit_request[EXIT_STOP] = 1
        self.interrupt_translated()

    def interrupt_translated(self) -> None:
        """Make translated code leave to tier 0 soon, which looks at requests; from any thread."""
        self._longs[self._fast_limit] = _AT_ONCE

    def interrupt_for_translation(self) -> None:
        """Let :attr:`translation` attend soon; from any thread."""
        self._longs[self._limit] = self._longs[self._fast_limit] = _AT_ONCE

    def request_attention(self) -> None:
        """Make :meth:`run` return at the next block; from a device's code."""
        self.state.exit_request[EXIT_DEVICE] = 1

    def request_idle(self) -> None:
        """Idle from the next block on, as wait-for-interrupt does; from a device's code."""
        self.state.exit_request[EXIT_IDLE] = 1

    @property
    def idle_requested(self) -> bool:
        """Idling was requested and has not been taken."""
        return bool(self.state.exit_request[EXIT_IDLE])

    def take_requests(self) -> tuple[bool, bool]:
        """Whether a stop and idling were requested since the last call."""
        requests = self.state.exit_request
        stop, idle = bool(requests[EXIT_STOP]), bool(requests[EXIT_IDLE])
        for source in (EXIT_STOP, EXIT_IDLE, EXIT_DEVICE):
            requests[source] = 0
        return stop, idle

    def take_caught(self) -> int:
        """What was caught since the last call: bit n for the vector at 4 * n, CATCH_MODE and so on."""
        state = self.state
        caught = int(state.caught)
        if caught:
            state.caught = 0
            state.exit_request[EXIT_CATCH] = 0
        return caught

    def set_catches(self, vectors: int, events: int) -> None:
        """Stop with StopCode.CATCH at exceptions and events from now on; see :meth:`take_caught`."""
        self.state.catch_vectors, self.state.catch_events = vectors, events

    def take_semihosting(self, *, privileged: bool, user: bool) -> None:
        """Stop with StopCode.SEMIHOSTING in front of each semihosting call that such code makes."""
        self.state.semihosting = (SEMIHOSTING_PRIVILEGED if privileged else 0) | (
            SEMIHOSTING_USER if user else 0
        )

    def finish_semihosting(self, result: int | None) -> None:
        """The call at the pc has been executed: ``result`` is for r0 (None: it stays)."""
        state = self.state
        if result is not None:
            state.r[0] = result & 0xFFFFFFFF
        state.pc = state.pc + (2 if state.control & T else 4) & 0xFFFFFFFF
        state.count += 1
        state.count_now = state.count

    def set_irq(self, level: int) -> None:
        """Drive the IRQ line."""
        self._set_line(I, level)

    def set_fiq(self, level: int) -> None:
        """Drive the FIQ line."""
        self._set_line(F, level)

    def _set_line(self, bit: int, level: int) -> None:
        state = self.state
        lines = state.interrupt_lines | bit if level else state.interrupt_lines & ~bit
        state.interrupt_lines = lines
        self.mask_interrupts(self._interrupts_masked)

    @property
    def interrupt_requested(self) -> bool:
        """An interrupt line is active, masked or not: what ends idling."""
        return bool(self.state.interrupt_lines)

    @property
    def interrupt_pending(self) -> bool:
        """The next instruction will not be executed before an interrupt's handler."""
        return bool(self.state.interrupts & (I | F))

    def observe_blocks(self, function: int, transfer: int = 0, predicted: int = 0) -> None:
        """Let the native ``function`` see the entry of each block; see :mod:`dbgemu.engine.trace_ring`.

        With the address of a TraceRing as ``predicted``, translated code records too: what that ring
        predicts by itself, other transfers by ``transfer``. Without, tier 0 executes everything.
        """
        state = self.state
        predicted = predicted if self.translation is not None else 0
        state.trace_block, state.trace_transfer, state.trace_predicted = function, transfer, predicted
        self.code_tables.choose(traced=predicted != 0)
        state.interrupts |= OBSERVED

    def ignore_blocks(self) -> None:
        """End what :meth:`observe_blocks` began."""
        state = self.state
        state.interrupts &= ~OBSERVED
        state.trace_block = state.trace_transfer = state.trace_predicted = 0
        self.code_tables.choose(traced=False)

    def mask_interrupts(self, masked: bool) -> None:
        """Hold interrupts back regardless of the CPSR (single steps), or let them through again."""
        state = self.state
        self._interrupts_masked = masked
        taken = 0 if masked else state.interrupt_lines & ~state.control & (I | F)
        state.interrupts = state.interrupts & OBSERVED | taken

    def _read_device(self, address: int, size: int) -> int:
        try:
            return self.bus.read(address, size)
        except BaseException as error:  # it cannot pass through generated code
            return self.keep_error(error)

    def _write_device(self, address: int, size: int, value: int) -> None:
        try:
            self.bus.write(address, size, value)
        except BaseException as error:
            self.keep_error(error)

    def keep_error(self, error: BaseException) -> int:
        """Let ``error``, of what generated code called, end the run, which raises it; gives 0."""
        if self._error is None:
            self._error = error
        self.request_attention()
        return 0

    # -- memory --------------------------------------------------------------------------------

    def _map_memory(self) -> None:
        """Bring the physical page table in line with the bus."""
        wanted: dict[tuple[int, int], int] = {}
        for region in self.bus.regions():
            if isinstance(region.target, Memory):
                entry = (region.target.address + region.offset - region.base) & (1 << 64) - 1
                writable = PAGE_WRITABLE if region.writable and region.writes_to is None else 0
                wanted[region.base, region.size] = entry | PAGE_PRESENT | writable
        memories = wanted.copy()
        wanted.update(((page, PAGE), ports[0].native) for page, ports in self.bus.ports.items())
        changed = self._mapped.items() ^ wanted.items()
        if not changed:
            return
        for (base, size), _ in self._mapped.items() - wanted.items():
            self._set_pages(base, size, 0)
        for (base, size), entry in wanted.items() - self._mapped.items():
            self._set_pages(base, size, entry)
        self._mapped = wanted
        self.flush_tlbs()
        if memories != self._memories:
            # not only the pages of devices, where no code is
            places = [place for place, _ in self._memories.items() ^ memories.items()]
            self._memories = memories
            if self.translation is not None:
                self.translation.check(places)

    def _set_pages(self, base: int, size: int, entry: int) -> None:
        first, count = base >> PHYSICAL_PAGE_BITS, size >> PHYSICAL_PAGE_BITS
        self._page_words[first : first + count] = memoryview(array("Q", [entry]) * count)

    def physical_page(self, address: int) -> int:
        """The entry for physical ``address`` of the page table that generated code uses."""
        return self._page_words[address >> PHYSICAL_PAGE_BITS]

    def flush_tlbs(self) -> None:
        """Forget every translation."""
        ctypes.memset(self._state_address + offset("privileged_data"), 0xFF, _TLB_BYTES)
        self.state.filled_count = 0

    def translate(self, address: int, *, user: bool = False, table: int | None = None) -> int:
        """The physical address of virtual ``address`` in the current mapping; nothing is changed.

        With ``table`` in the mapping of the translation table at that physical address, as with the MMU
        on and every domain open: Linux closes its programs' while it has no business there.
        TranslationFault when a privileged (or ``user``) read would fault.
        """
        if table is not None:
            state = self.state
            kept = state.ttb, state.cp15_control, state.dacr
            state.ttb, state.cp15_control = table & TTB_MASK, state.cp15_control | CONTROL_MMU
            state.dacr = _ALL_CLIENTS
            try:
                return self.translate(address, user=user)
            finally:
                state.ttb, state.cp15_control, state.dacr = kept
        result = self._walk(self._state_address, address & 0xFFFFFFFF, ACCESS_USER if user else 0)
        if result & RESULT_FAULT:
            status = result >> RESULT_STATUS_SHIFT & 0xFF
            raise TranslationFault(address, f"{FAULT_NAMES[status & 15]} (domain {status >> 4})")
        return result & 0xFFFFFFFF

    def _pieces(self, address: int, length: int, table: int | None = None) -> Iterator[tuple[int, int]]:
        """Physical (address, length) of a virtual range; pages that lie side by side are joined."""
        start = size = 0
        while length > 0:
            address &= 0xFFFFFFFF
            count = min(length, PAGE_SIZE - (address & PAGE_SIZE - 1))
            physical = self.translate(address, table=table)
            if physical == start + size:
                size += count
            else:
                if size:
                    yield start, size
                start, size = physical, count
            address += count
            length -= count
        if size:
            yield start, size

    def read_memory(self, address: int, length: int, *, table: int | None = None) -> bytes:
        """``length`` bytes from virtual ``address``, without side effects.

        ``table``: see :meth:`translate`. TranslationFault or BusError where a byte cannot be read.
        """
        peek = self.bus.peek
        if 0 < length <= PAGE_SIZE - (address & PAGE_SIZE - 1):
            return peek(self.translate(address, table=table), length)
        return b"".join(peek(physical, count) for physical, count in self._pieces(address, length, table))

    def write_memory(self, address: int, data: bytes, *, table: int | None = None) -> None:
        """Write ``data`` to virtual ``address``, to read-only memory too; all of it or nothing.

        ``table``: see :meth:`translate`. TranslationFault or BusError where a byte cannot be written.
        """
        pieces = list(self._pieces(address, len(data), table))
        for physical, count in pieces:
            for page in range(physical, physical + count, PAGE_SIZE):
                if self.bus.find(page) is None:
                    raise BusError(page)
        done = 0
        for physical, count in pieces:
            self.bus.poke(physical, data[done : done + count])
            done += count

    # -- breakpoints and watchpoints -------------------------------------------------------------

    def add_breakpoint(self, address: int, *, physical: bool = False) -> None:
        """Stop in front of the instruction at virtual ``address``, or a ``physical`` one."""
        self._breakpoint_map(physical).add(address & ~1)
        self._breakpoints_changed()

    def remove_breakpoint(self, address: int, *, physical: bool = False) -> None:
        """Take it back; nothing happens when there is none."""
        self._breakpoint_map(physical).discard(address & ~1)
        self._breakpoints_changed()

    def _breakpoint_map(self, physical: bool) -> BreakpointMap:
        if not physical:
            return self._breakpoints
        if self._physical_breakpoints is None:
            created = self._physical_breakpoints = BreakpointMap()
            self.state.physical_breakpoint_pages = address_of(created.pages)
            self.state.physical_breakpoint_bits = address_of(created.bits)
        return self._physical_breakpoints

    def _breakpoints_changed(self) -> None:
        physical = self._physical_breakpoints
        self.state.physical_breakpoints = 0 if physical is None else len(physical)
        self.flush_tlbs()

    def add_watchpoint(
        self, address: int, length: int, *, read: bool, write: bool, physical: bool = False
    ) -> None:
        """Stop in front of accesses to ``length`` bytes from virtual ``address``, or a ``physical`` one.

        ValueError when there are too many, or nothing is watched.
        """
        if length < 1 or not (read or write):
            raise ValueError(f"a watchpoint of {length} bytes that watches nothing")
        if len(self._watches) == MAX_WATCHPOINTS:
            raise ValueError(f"there are {MAX_WATCHPOINTS} watchpoints already, more cannot be set")
        self._watches.append(self._watch(address, length, read, write, physical))
        self._set_watches()

    def remove_watchpoint(
        self, address: int, length: int, *, read: bool, write: bool, physical: bool = False
    ) -> None:
        """Take back a watchpoint of the same arguments; ValueError when there is none."""
        self._watches.remove(self._watch(address, length, read, write, physical))
        self._set_watches()

    @staticmethod
    def _watch(address: int, length: int, read: bool, write: bool, physical: bool) -> tuple[int, int, int]:
        kinds = (WATCH_READ if read else 0) | (WATCH_WRITE if write else 0)
        kinds |= WATCH_PHYSICAL if physical else 0
        return address, min(address + length - 1, 0xFFFFFFFF), kinds

    def _set_watches(self) -> None:
        for place, (first, last, kinds) in enumerate(self._watches):
            entry = self.state.watches[place]
            entry.first, entry.last, entry.kinds = first, last, kinds
        self.state.watch_count = len(self._watches)
        self.flush_tlbs()
        self._check_translation()

    def read_watches(self) -> list[tuple[int, int, bool]]:
        """(first, last, physical) of the ranges whose reads are watched."""
        return [
            (first, last, bool(kinds & WATCH_PHYSICAL))
            for first, last, kinds in self._watches
            if kinds & WATCH_READ
        ]

    def _check_translation(self) -> None:
        if self.translation is not None:
            self.translation.check()

    @property
    def watch_hit(self) -> WatchHit:
        """The access of the last stop at a watchpoint."""
        state = self.state
        write = state.watch_kind == WATCH_WRITE
        value = state.watch_value if write else None
        return WatchHit(state.watch_address, state.watch_size, write, value, state.watch_physical)

    def pass_access(self) -> None:
        """Let the next run pass over the access of the last watchpoint stop only.

        Otherwise it passes over all accesses of that instruction. A block transfer starts again.
        """
        state = self.state
        state.watch_resume_key = access_key(state.watch_address, state.watch_kind)

    # -- snapshots -------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """The architectural state as plain data."""
        state: dict[str, Any] = {"r": list(self.state.r[:15]), "instructions": self.instructions}
        for name in ARCHITECTURAL_FIELDS:
            place = self._state_address + offset(name)
            state[name] = ctypes.string_at(place, getattr(CpuState, name).size)
        return state

    def load(self, saved: dict[str, Any]) -> None:
        """Put back what :meth:`save` gave."""
        self.state.r[:15] = saved["r"]
        for name in ARCHITECTURAL_FIELDS:
            ctypes.memmove(self._state_address + offset(name), saved[name], len(saved[name]))
        self.state.count = self.state.count_now = saved["instructions"]
        self.state.exit_request[EXIT_IDLE] = 0
        self._longs[self._watch_resume_count] = -1
        self._write_control(self._state_address, self.state.control)
        self.take_caught()
        self.flush_tlbs()
        self._check_translation()


def _handler_table(code: NativeCode) -> array[int]:
    """The handler table for running without anything to watch for."""
    entries = (ctypes.c_uint64 * (ARM_KEYS + THUMB_KEYS)).from_address(code.address("handlers"))
    return handler_table(
        entries[:ARM_KEYS],
        entries[ARM_KEYS:],
        {condition: code.address(f"condition_{condition}") for condition in CONDITIONS},
        {
            (condition, link): code.address(f"branch_{condition}_{link}")
            for condition in CONDITIONS
            for link in (0, 1)
        },
    )
