"""How an instruction goes on, and whether translated code executes it or leaves it to tier 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache, lru_cache

from dbgemu.target.arm import a32, t16
from dbgemu.target.arm.decode import DecodeTable, Pattern
from dbgemu.target.arm.semantics.conditions import ALWAYS, NEVER
from dbgemu.target.arm.semantics.coprocessor import CACHES, WAIT_FOR_INTERRUPT
from dbgemu.target.arm.semantics.data_processing import COMPARES

PC = 15
_MOV_LR_PC = 0xE1A0E00F


class Flow(Enum):
    """The way on from an instruction."""

    NEXT = auto()  # the one behind it
    JUMP = auto()  # its target
    INDIRECT = auto()  # an address that it computes
    TIER0 = auto()  # tier 0 executes it


@dataclass(slots=True)
class Instruction:
    """An instruction at an address; nothing of it ever changes."""

    pc: int
    word: int
    thumb: bool
    pattern: Pattern
    flow: Flow
    #: its condition may fail: what follows may come next
    conditional: bool = False
    target: int | None = None
    call: bool = False
    #: tier 0 may have to execute it after all: then what follows is entered from there
    reentered: bool = False
    #: nothing falls through it
    ends: bool = field(init=False)

    def __post_init__(self) -> None:
        self.ends = self.flow is not Flow.NEXT and not self.conditional

    @property
    def size(self) -> int:
        """Bytes."""
        return 2 if self.thumb else 4


class _Word:
    """An instruction's fields as plain integers, by their pattern's names."""

    def __init__(self, word: int, pattern: Pattern) -> None:
        self._word = word
        self._places = pattern.places

    def __getattr__(self, name: str) -> int:
        high, low = self._places[name]
        return self._word >> low & (2 << high - low) - 1

    def has(self, name: str) -> bool:
        """The pattern has this field."""
        return name in self._places


def _data_processing(i: _Word) -> Flow:
    if i.rd != PC or i.opcode in COMPARES:
        return Flow.NEXT
    return Flow.TIER0 if i.s else Flow.INDIRECT


def _multiply(i: _Word) -> Flow:
    # r15 as a destination is unpredictable: as tier 0 does it
    return Flow.TIER0 if PC in (i.rd, i.rn) else Flow.NEXT


def _transfer(i: _Word) -> Flow:
    if i.rn == PC and (i.writeback or not i.pre):
        return Flow.TIER0
    return Flow.INDIRECT if i.load and i.rd == PC else Flow.NEXT


def _block_transfer(i: _Word) -> Flow:
    if i.user or i.rn == PC or not i.registers:
        return Flow.TIER0
    return Flow.INDIRECT if i.load and i.registers >> PC else Flow.NEXT


def _single_destination(i: _Word) -> Flow:
    return Flow.TIER0 if i.rd == PC else Flow.NEXT


def _move_to_status(i: _Word) -> Flow:
    return Flow.TIER0 if i.spsr else Flow.NEXT


def _high_registers(i: _Word) -> Flow:
    return Flow.INDIRECT if i.op != 1 and i.high << 3 | i.rd == PC else Flow.NEXT


def _push(i: _Word) -> Flow:
    return Flow.NEXT if i.registers | i.extra else Flow.TIER0


def _pop(i: _Word) -> Flow:
    if not i.registers | i.extra:
        return Flow.TIER0
    return Flow.INDIRECT if i.extra else Flow.NEXT


def _thumb_block(i: _Word) -> Flow:
    return Flow.NEXT if i.registers else Flow.TIER0


def _coprocessor(i: _Word) -> Flow:
    if i.coprocessor != 15:
        return Flow.TIER0
    if i.load:
        return Flow.TIER0 if i.rd == PC else Flow.NEXT
    waits = i.crn << 8 | i.crm << 4 | i.opcode2 == WAIT_FOR_INTERRUPT
    return Flow.NEXT if i.crn == CACHES and not waits else Flow.TIER0


def _next(i: _Word) -> Flow:
    return Flow.NEXT


def _indirect(i: _Word) -> Flow:
    return Flow.INDIRECT


_ARM: dict[str, Callable[[_Word], Flow]] = {
    "data_processing_immediate": _data_processing,
    "data_processing_shift_immediate": _data_processing,
    "data_processing_shift_register": _data_processing,
    "multiply": _multiply,
    "multiply_long": _multiply,
    "load_store_immediate": _transfer,
    "load_store_register": _transfer,
    "load_store_half_immediate": _transfer,
    "load_store_half_register": _transfer,
    "swap": _single_destination,
    "block_transfer": _block_transfer,
    "move_from_status": _single_destination,
    "move_register_to_status": _move_to_status,
    "move_immediate_to_status": _move_to_status,
    "branch_exchange": _indirect,
    "coprocessor_transfer": _coprocessor,
}
_THUMB: dict[str, Callable[[_Word], Flow]] = {
    **dict.fromkeys(
        (
            "add_subtract", "shift_immediate", "immediate", "register_operation", "load_literal",
            "load_store_register", "load_store_immediate", "load_store_half", "load_store_sp",
            "add_to_pc", "add_to_sp", "adjust_sp", "branch_link_prefix",
        ),
        _next,
    ),
    "high_register_operation": _high_registers,
    "push": _push,
    "pop": _pop,
    "block_transfer": _thumb_block,
    "branch_exchange": _indirect,
}  # fmt: skip


@cache
def _pattern(table: DecodeTable, key: int) -> Pattern:
    return table.find(key)


@lru_cache(1 << 16)
def _arm_flow(word: int) -> tuple[Pattern, Flow, bool, int | None, bool, bool]:
    """Of an ARM instruction: pattern, way on, conditional, distance of its target, call, reentered."""
    pattern = _pattern(a32.A32, word & a32.KEY_MASK)
    condition = word >> 28
    if condition == NEVER:
        return pattern, Flow.NEXT, False, None, False, False
    conditional = condition != ALWAYS
    i = _Word(word, pattern)
    if pattern.name == "branch":
        return pattern, Flow.JUMP, conditional, 8 + (_signed(i.offset, 24) << 2), bool(i.link), False
    rule = _ARM.get(pattern.name)
    flow = Flow.TIER0 if rule is None else rule(i)
    return pattern, flow, conditional, None, False, rule is _move_to_status and flow is Flow.NEXT


def _signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> width - 1 else value


def decode(pc: int, word: int, thumb: bool, previous: Instruction | None) -> Instruction:
    """The instruction ``word`` at ``pc``; ``previous`` is the one executed before it, if that is known."""
    return _decode_thumb(pc, word, previous) if thumb else _decode_arm(pc, word, previous)


def _decode_arm(pc: int, word: int, previous: Instruction | None) -> Instruction:
    pattern, flow, conditional, distance, call, reentered = _arm_flow(word)
    target = None if distance is None else pc + distance & 0xFFFFFFFF
    if flow is Flow.INDIRECT and previous is not None and previous.word == _MOV_LR_PC:
        call = True  # mov lr, pc in front of it: the calls of ARMv4
    return Instruction(pc, word, False, pattern, flow, conditional, target, call, reentered)


def _decode_thumb(pc: int, word: int, previous: Instruction | None) -> Instruction:
    pattern = _pattern(t16.T16, word & t16.KEY_MASK)
    i = _Word(word, pattern)
    match pattern.name:
        case "branch":
            target = pc + 4 + (_signed(i.offset, 11) << 1) & 0xFFFFFFFF
            return Instruction(pc, word, True, pattern, Flow.JUMP, False, target)
        case "branch_conditional":
            target = pc + 4 + (_signed(i.imm, 8) << 1) & 0xFFFFFFFF
            return Instruction(pc, word, True, pattern, Flow.JUMP, True, target)
        case "branch_link_suffix":
            if previous is None or previous.pattern.name != "branch_link_prefix":
                return Instruction(pc, word, True, pattern, Flow.INDIRECT, call=True)
            high = _signed(previous.word & 0x7FF, 11) << 12
            target = pc + 2 + high + (i.offset << 1) & 0xFFFFFFFF
            return Instruction(pc, word, True, pattern, Flow.JUMP, False, target, True)
    rule = _THUMB.get(pattern.name)
    return Instruction(pc, word, True, pattern, Flow.TIER0 if rule is None else rule(i))
