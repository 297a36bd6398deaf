"""Backtraces: from the registers as they are back through the callers, without disturbing anything.

Each step takes the best that there is: the DWARF of .debug_frame, which is right at every instruction;
.ARM.exidx, as ARM Linux has it, right where a function calls; Linux's exception frames; a chain of frame
pointers; and for the innermost frame alone the link register, which is a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.debug.unwind_tables import LR, MASK, PC, SP, CannotUnwindError, Registers, UnwindTables, tables_of

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession

#: frame pointers: ARM code's, Thumb code's
_FP, _THUMB_FP = 11, 7
#: bytes between two frames, at most
_FARTHEST = 1 << 20

#: Linux's entry code for exceptions keeps all registers at sp (arch/arm/kernel/entry-armv.S, struct pt_regs)
_FROM_KERNEL = frozenset(("__irq_svc", "__dabt_svc", "__pabt_svc", "__und_svc", "__fiq_svc", "__irq_invalid"))


class How(Enum):
    """Where a frame was found, as users are told."""

    HERE = ""
    DWARF = "DWARF"
    INDEX = "unwind index"
    EXCEPTION = "exception frame"
    FRAME_POINTER = "frame pointer"
    LINK = "lr: a guess"


@dataclass(frozen=True)
class Frame:
    """One frame. ``pc`` is where it goes on; ``registers`` are those known, by number, in it.

    ``look`` is an address inside of the instruction that is being executed: that of the call in all
    frames but the innermost and those that an exception interrupted.
    """

    number: int
    pc: int
    look: int
    how: How
    registers: Registers = field(compare=False)

    @property
    def sp(self) -> int:
        """The stack pointer in this frame."""
        return self.registers[SP]


class Unwinder:
    """Unwinds the CPU of ``session``, which stands still (or on its own thread)."""

    def __init__(self, session: DebugSession) -> None:
        self._cpu = session.cpu
        self._symbols = session.symbols

    def frames(self, limit: int = 1 << 30) -> Iterator[Frame]:
        """The frames, innermost first."""
        read = self._cpu.read_register
        registers = {number: read(f"r{number}") for number in range(16)}
        frame = Frame(0, registers[PC], registers[PC], How.HERE, registers)
        seen: set[tuple[int, int]] = set()
        while frame.number < limit:
            yield frame
            key = frame.pc, frame.sp
            if key in seen:
                return
            seen.add(key)
            try:
                found = self._caller(frame)
            except (CannotUnwindError, *MEMORY_ERRORS):
                return
            if found is None:
                return
            registers, how = found
            pc = registers[PC] & ~1
            # a fork's child, a thread's first function and start-up code have nowhere to return to
            if not self._is_code(pc):
                return
            frame = Frame(frame.number + 1, pc, self._look(pc, how), how, registers)

    def _look(self, pc: int, how: How) -> int:
        """Where to look for what is known of a frame that goes on at ``pc``: at its call in front of that.

        Assembly also sets lr to a label that it wants a function to return to.
        """
        if how is How.EXCEPTION:
            return pc
        before, here = self._symbols.lookup(pc - 1), self._symbols.lookup(pc)
        to_label = here is not None and not here[1] and before is not None and not before[0].is_function
        return pc if to_label else pc - 1

    def _word(self, address: int) -> int:
        return int.from_bytes(self._cpu.read_memory(address & MASK, 4), "little")

    def _is_code(self, address: int) -> bool:
        if not address:
            return False
        try:
            self._cpu.read_memory(address, 2)
        except MEMORY_ERRORS:
            return False
        return True

    def _caller(self, frame: Frame) -> tuple[Registers, How] | None:
        found = self._symbols.lookup(frame.look)
        name = found[0].name if found is not None else ""
        if name in _FROM_KERNEL and frame.number:
            return {number: self._word(frame.sp + 4 * number) for number in range(16)}, How.EXCEPTION
        for file in self._symbols.files:
            tables = tables_of(file.path, file.offset)
            for how, method in _METHODS:
                caller = method(tables, frame.look, frame.registers, self._word)
                if caller is not None and (caller[PC], caller[SP]) != (frame.pc, frame.sp):
                    return caller, how
        return self._by_frame_pointer(frame) or self._by_link(frame)

    def _by_frame_pointer(self, frame: Frame) -> tuple[Registers, How] | None:
        """[fp] = lr and [fp - 4] = the caller's fp (gcc's), or [fp - 4] = lr and [fp - 12] = fp (APCS).

        A function that calls nothing has [fp] = the caller's fp, and lr is where it is.
        """
        for number in (_FP, _THUMB_FP):
            fp = frame.registers.get(number, 0)
            if fp & 3 or not frame.sp <= fp < frame.sp + _FARTHEST:
                continue
            try:
                words = [self._word(fp - 4 * place) for place in range(4)]
            except MEMORY_ERRORS:
                continue
            link_register = frame.registers.get(LR, 0)
            if not frame.number and fp < words[0] < fp + _FARTHEST and self._known_code(link_register):
                return {number: words[0], SP: fp + 4, PC: link_register}, How.FRAME_POINTER
            for link, previous in ((0, 1), (1, 3)):
                outer = words[previous]
                chained = outer == 0 or fp < outer < fp + _FARTHEST
                if chained and self._known_code(words[link]):
                    registers = {number: outer, SP: fp + 4, PC: words[link]}
                    return registers, How.FRAME_POINTER
        return None

    def _known_code(self, address: int) -> bool:
        """An address of code: of a symbol where there are any."""
        if len(self._symbols):
            return self._symbols.lookup(address) is not None
        return self._is_code(address & ~1)

    def _by_link(self, frame: Frame) -> tuple[Registers, How] | None:
        link = frame.registers.get(LR, 0)
        if frame.number or not self._known_code(link) or link & ~1 == frame.pc:
            return None
        return {**frame.registers, PC: link}, How.LINK


_METHODS: tuple[
    tuple[How, Callable[[UnwindTables, int, Registers, Callable[[int], int]], Registers | None]],
    ...,
] = ((How.DWARF, UnwindTables.by_dwarf), (How.INDEX, UnwindTables.by_index))
