"""The ARM920T's state as one block of native memory, described once.

Generated code uses the offsets of these fields; Python reads and writes them through ctypes.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum

PAGE_BITS = 10  # the TLBs work on 1 KiB: the ARM920T's tiny pages
PAGE_SIZE = 1 << PAGE_BITS
DATA_TLB_ENTRIES = 1024
FETCH_TLB_ENTRIES = 256
#: entries of the TLBs that a flush remembers one by one; when more were filled, it clears all
FILLED = 512
#: a tag that no address matches: an access compares with the low ten bits clear, but for its size
NO_TAG = 0xFFFFFFFF

MAX_WATCHPOINTS = 64
#: addresses of code that is executed often, on their way to the translator
HOT_RING = 256


class Mode(IntEnum):
    """CPSR bits 4..0 (ARM ARM A2.2)."""

    USR = 0x10
    FIQ = 0x11
    IRQ = 0x12
    SVC = 0x13
    ABT = 0x17
    UND = 0x1B
    SYS = 0x1F


# CPSR bits
N, Z, C, V = 1 << 31, 1 << 30, 1 << 29, 1 << 28
I, F, T = 1 << 7, 1 << 6, 1 << 5  # noqa: E741 - the architecture's names

#: Index of a mode's bank of r13, r14 and SPSR: by the low four bits of the mode, which are unique.
#: User and System share a bank; modes that do not exist use it too.
BANK_OF_MODE = (0, 1, 2, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 0)
BANK_NAMES = ("usr", "fiq", "irq", "svc", "abt", "und")
FIQ_BANK = 1


class DataTlbEntry(ctypes.Structure):
    """One 1 KiB page of data: tags for reads and writes, and what to add for the host address."""

    _fields_ = (
        ("read_tag", ctypes.c_uint32),
        ("write_tag", ctypes.c_uint32),
        ("addend", ctypes.c_uint64),
    )


class FetchTlbEntry(ctypes.Structure):
    """One 1 KiB page of code; ``table`` is the handler table that executes it."""

    _fields_ = (
        ("tag", ctypes.c_uint32),
        ("physical", ctypes.c_uint32),  # the page's physical address
        ("addend", ctypes.c_uint64),
        ("table", ctypes.c_uint64),
        ("reserved", ctypes.c_uint64),
    )


class WatchRange(ctypes.Structure):
    """A watched range of addresses; ``kinds`` is a sum of :data:`WATCH_READ`, ``_WRITE``, ``_PHYSICAL``."""

    _fields_ = (
        ("first", ctypes.c_uint32),
        ("last", ctypes.c_uint32),
        ("kinds", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
    )


#: without WATCH_PHYSICAL a range is of virtual addresses
WATCH_READ, WATCH_WRITE, WATCH_PHYSICAL = 1, 2, 4

# ``caught``: bits 7..0 are exceptions, by vector; the others are changes that ``catch_events`` asks for
CATCH_MODE, CATCH_TTB, CATCH_CONTROL, CATCH_FCSE, CATCH_DOMAINS = (1 << bit for bit in range(8, 13))


class CpuState(ctypes.Structure):
    """Everything that generated code works on. Fields up to ``pc`` are the architecture's."""

    _fields_ = (
        # r15 here is only meaningful while an instruction executes: its address plus 8 (4 in Thumb)
        ("r", ctypes.c_uint32 * 16),
        ("n", ctypes.c_uint32),  # bit 31 is N
        ("z", ctypes.c_uint32),  # 0 means Z
        ("c", ctypes.c_uint32),  # 0 or 1
        ("v", ctypes.c_uint32),  # bit 31 is V
        ("control", ctypes.c_uint32),  # CPSR bits 7..0: I F T mode
        ("pc", ctypes.c_uint32),  # the next instruction's address, while stopped
        ("block_pc", ctypes.c_uint32),  # where the running block started
        ("interrupt_lines", ctypes.c_uint32),  # bit 7 IRQ, bit 6 FIQ: as the CPSR's masks
        # the two words below are read as one: not 0 means that the next block entry has work to do
        ("exit_request", ctypes.c_uint8 * 4),
        ("interrupts", ctypes.c_uint32),  # interrupt_lines that are not masked, and OBSERVED
        ("count", ctypes.c_int64),  # instructions executed before block_pc
        ("limit", ctypes.c_int64),  # the count to stop at
        ("count_now", ctypes.c_int64),  # the exact count, set before calling Python and on exit
        ("data_tlb", ctypes.c_uint64),  # address of the table for the present privilege
        ("fetch_tlb", ctypes.c_uint64),
        ("user_tlb", ctypes.c_uint64),  # the data table for User's privilege
        # the TLBs have two banks: translations hold for one value of the DACR
        ("bank", ctypes.c_uint32),  # the one in use, 0 or 1
        ("other_dacr", ctypes.c_uint32),  # what the other is for
        ("physical_pages", ctypes.c_uint64),  # address of 2^20 words: see PhysicalMap
        ("mmio_read", ctypes.c_uint64),  # addresses of functions
        ("mmio_write", ctypes.c_uint64),
        ("tables", ctypes.c_uint64),  # address of the handler table
        ("debug_table", ctypes.c_uint64),  # address of the table for pages with breakpoints
        ("breakpoint_pages", ctypes.c_uint64),  # bitmap, one bit for each 1 KiB of virtual addresses
        ("breakpoint_bits", ctypes.c_uint64),  # bitmap, one bit for each halfword
        ("slow_value", ctypes.c_uint32),  # what the slow path is to write
        # for each 128 MiB of virtual addresses, whether the TLBs hold parts of a section or large page
        ("wide_fills", ctypes.c_uint32),
        ("resume_count", ctypes.c_int64),  # the count at which breakpoints are passed over
        ("watch_resume_count", ctypes.c_int64),  # and watchpoints: that of the last stop at one,
        ("watch_resume_key", ctypes.c_uint64),  # and up to which of its accesses: see access_key
        # banked registers of the modes that are not active
        ("r8_r12", (ctypes.c_uint32 * 5) * 2),  # User's while in FIQ mode, FIQ's otherwise
        ("r13", ctypes.c_uint32 * 6),
        ("r14", ctypes.c_uint32 * 6),
        ("spsr", ctypes.c_uint32 * 6),
        # cp15 (ARM920T TRM 2.3)
        ("cp15_control", ctypes.c_uint32),
        ("ttb", ctypes.c_uint32),
        ("dacr", ctypes.c_uint32),
        ("dfsr", ctypes.c_uint32),
        ("ifsr", ctypes.c_uint32),
        ("far", ctypes.c_uint32),
        ("fcse_pid", ctypes.c_uint32),
        ("dcache_lockdown", ctypes.c_uint32),
        ("icache_lockdown", ctypes.c_uint32),
        ("dtlb_lockdown", ctypes.c_uint32),
        ("itlb_lockdown", ctypes.c_uint32),
        ("test_state", ctypes.c_uint32),
        # the access that hit a watchpoint
        ("watch_address", ctypes.c_uint32),
        ("watch_physical", ctypes.c_uint32),
        ("watch_value", ctypes.c_uint32),
        ("watch_kind", ctypes.c_uint32),  # WATCH_READ or WATCH_WRITE
        ("watch_size", ctypes.c_uint32),
        ("watch_count", ctypes.c_uint32),
        ("stop_reason", ctypes.c_uint32),
        # what debuggers want to be stopped at, and what of it happened
        ("catch_vectors", ctypes.c_uint32),  # bit n: the exception whose vector is at 4 * n
        ("catch_events", ctypes.c_uint32),  # a sum of CATCH_MODE and so on
        ("caught", ctypes.c_uint32),
        ("semihosting", ctypes.c_uint32),  # whose calls stop: a sum of SEMIHOSTING_...
        ("physical_breakpoints", ctypes.c_uint32),  # how many there are
        ("physical_breakpoint_pages", ctypes.c_uint64),  # as breakpoint_pages, of physical addresses
        ("physical_breakpoint_bits", ctypes.c_uint64),
        ("conditions", ctypes.c_uint64),  # address of the native conditions: see ConditionTable
        ("condition_mask", ctypes.c_uint32),  # its number of slots, less 1
        ("trace_kinds", ctypes.c_uint32),  # what generated code records: a sum of TRACE_...
        ("trace", ctypes.c_uint64),  # address of the TraceRing
        # addresses of functions: what sees each block's entry, and who is told of other events
        ("trace_block", ctypes.c_uint64),
        ("trace_transfer", ctypes.c_uint64),  # what regions call instead, for what is not predicted
        ("trace_predicted", ctypes.c_uint64),  # TraceRing that regions predict with; 0: none is entered
        ("trace_access", ctypes.c_uint64),
        ("trace_exception", ctypes.c_uint64),
        ("trace_switch", ctypes.c_uint64),
        ("in_device", ctypes.c_uint32),  # 1 while a device's code runs for an instruction
        # translated code: see dbgemu.engine.dispatch
        ("fast_limit", ctypes.c_int64),  # a count above it makes translated code leave: layout.UNCHECKED
        ("fill", ctypes.c_uint64),  # addresses of functions
        ("go_arm", ctypes.c_uint64),
        ("go_thumb", ctypes.c_uint64),
        ("go_any", ctypes.c_uint64),
        ("go_traced_arm", ctypes.c_uint64),
        ("go_traced_thumb", ctypes.c_uint64),
        ("go_traced_any", ctypes.c_uint64),
        ("interpret_arm", ctypes.c_uint64),
        ("interpret_thumb", ctypes.c_uint64),
        ("code_written", ctypes.c_uint64),
        ("jump_cache", ctypes.c_uint64),  # address of the table
        ("hot_counters", ctypes.c_uint64),
        ("code_pages", ctypes.c_uint64),  # bitmap of physical pages of 1 KiB with translated code
        ("code_words", ctypes.c_uint64),  # bitmap of the words there that are translated
        ("hot_threshold", ctypes.c_uint32),
        ("hot_batch", ctypes.c_uint32),  # so many hot addresses stop the run
        ("hot_used", ctypes.c_uint32),  # how many there are in
        ("hot_ring", ctypes.c_uint32 * HOT_RING),
        ("watches", WatchRange * MAX_WATCHPOINTS),
        ("privileged_data", DataTlbEntry * DATA_TLB_ENTRIES),
        ("user_data", DataTlbEntry * DATA_TLB_ENTRIES),
        ("second_data", DataTlbEntry * (2 * DATA_TLB_ENTRIES)),  # both once more: the second bank
        ("privileged_fetch", FetchTlbEntry * FETCH_TLB_ENTRIES),
        ("user_fetch", FetchTlbEntry * FETCH_TLB_ENTRIES),
        ("second_fetch", FetchTlbEntry * (2 * FETCH_TLB_ENTRIES)),
        # entries that were filled since the last flush, by their distance from privileged_data
        ("filled_count", ctypes.c_uint32),  # beyond FILLED: not all of them are known
        ("filled", ctypes.c_uint32 * FILLED),
    )


#: Fields that a snapshot holds and that are equal in two equal runs.
ARCHITECTURAL_FIELDS = (
    "n", "z", "c", "v", "control", "pc", "interrupt_lines", "r8_r12", "r13", "r14", "spsr",
    "cp15_control", "ttb", "dacr", "dfsr", "ifsr", "far", "fcse_pid", "dcache_lockdown",
    "icache_lockdown", "dtlb_lockdown", "itlb_lockdown", "test_state",
)  # fmt: skip

#: a bit of ``interrupts``: the function ``trace_block`` wants to see each block's entry
OBSERVED = 1
#: ``trace_kinds``
TRACE_EXCEPTIONS, TRACE_INTERRUPTS, TRACE_FAULTS, TRACE_SWITCHES = 1, 2, 4, 8
TRACE_READS, TRACE_WRITES = 16, 32

# exit_request: one byte for each source, so that no two threads write the same one
EXIT_STOP, EXIT_IDLE, EXIT_DEVICE, EXIT_CATCH = 0, 1, 2, 3


# Which code's semihosting calls are taken, and what their SVC says (Arm, "Semihosting for AArch32 and
# AArch64", the trap instructions)
SEMIHOSTING_PRIVILEGED, SEMIHOSTING_USER = 1, 2
SEMIHOSTING_ARM, SEMIHOSTING_THUMB = 0x123456, 0xAB


class StopCode(IntEnum):
    """``stop_reason``: why generated code returned."""

    LIMIT = 0
    REQUEST = 1
    BREAKPOINT = 2
    WATCHPOINT = 3
    CATCH = 4
    SEMIHOSTING = 5


def access_key(address: int, kind: int) -> int:
    """A number for the order of the accesses of one instruction: upwards, and a swap reads first."""
    return address << 2 | kind


def offset(name: str) -> int:
    """Byte offset of a field of :class:`CpuState`."""
    field = getattr(CpuState, name)
    return int(field.offset)
