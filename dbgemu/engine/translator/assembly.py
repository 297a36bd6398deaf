"""Regions put together from stencils: copied one behind the other, in microseconds an instruction."""

from __future__ import annotations

import struct
import time

from dbgemu.engine.translator.decoding import Flow, Instruction
from dbgemu.engine.translator.finding import describe, find
from dbgemu.engine.translator.regions import Block, Region
from dbgemu.engine.translator.requests import Batch, Request
from dbgemu.engine.translator.stencils import Stencil, StencilStore, StencilStores
from dbgemu.target.arm.semantics.conditions import ALWAYS, NEVER
from dbgemu.target.arm.state import PAGE_SIZE

_JUMP = struct.Struct("<Bi")
#: of instructions that stencils are for
_BY_STENCIL = (Flow.NEXT, Flow.INDIRECT)


class Assembly:
    """Puts one region together."""

    def __init__(self, region: Region, stencils: StencilStore) -> None:
        self._region = region
        self._stencils = stencils
        self._code = bytearray()
        #: by address: the stencils of instructions
        self._found: dict[int, Stencil] = {}
        self._labels: dict[int, int] = {}
        #: of loops' heads, behind the look at the budget
        self._inner: dict[int, int] = {}
        #: places of displacements, the blocks that they lead to, and by which labels
        self._jumps: list[tuple[int, int, dict[int, int]]] = []
        self._pages = {page: place for place, page in enumerate(region.pages)}

    # -- constants in the code -----------------------------------------------------------------

    def has(self, address: int, size: int, pc: int) -> bool:
        """Whether there is a constant at ``address`` for the instruction at ``pc``."""
        within = address & (size - 1) == 0 and address & -PAGE_SIZE == pc & -PAGE_SIZE
        return within and self._region.fetch(address, size) is not None

    def literal(self, address: int, size: int) -> int:
        """That constant, which is part of the code from now on."""
        value = self._region.literal(address, size)
        assert value is not None
        return value

    def missing(self) -> list[Instruction]:
        """Instructions that have no stencil."""
        found, missing = self._found, []
        find, has = self._stencils.find, self.has
        for block in self._region.blocks.values():
            for instruction in block.instructions:
                if instruction.flow in _BY_STENCIL:
                    stencil = find(instruction, has)
                    if stencil is not None:
                        found[instruction.pc] = stencil
                    elif _condition(instruction) != NEVER:
                        missing.append(instruction)
        return missing

    # -- the code ------------------------------------------------------------------------------

    def assemble(self) -> tuple[bytes, tuple[int, ...]]:
        """The region's code, and where in it each entry is."""
        blocks = self._region.blocks
        order = sorted(blocks)
        for place, pc in enumerate(order):
            self._block(blocks[pc], order[place + 1] if place + 1 < len(order) else None)
        starts = []
        for pc in self._region.entries:
            starts.append(len(self._code))
            self._piece("entry", pc)
            self._jump(pc)
        for place, target, labels in self._jumps:
            struct.pack_into("<i", self._code, place, labels[target] - place - 4)
        return bytes(self._code), tuple(starts)

    def _piece(self, name: str, pc: int = 0, done: int = 0, word: int = 0) -> None:
        self._code += self._stencils.piece(name, self._region.thumb).fill(word, pc, done, self.literal)

    def _jump(self, target: int, *, inner: bool = False) -> None:
        self._jumps.append((len(self._code) + 1, target, self._inner if inner else self._labels))
        self._code += _JUMP.pack(0xE9, 0)

    def _block(self, block: Block, following: int | None) -> None:
        self._labels[block.pc] = len(self._code)
        if block.pc in self._region.headers:
            self._piece("loop", block.pc)
            self._inner[block.pc] = len(self._code)
        found, literal = self._found, self.literal
        for done, instruction in enumerate(block.instructions):
            stencil = found.get(instruction.pc)
            if stencil is not None and (instruction.thumb or instruction.word >> 28 == ALWAYS):
                self._code += stencil.fill(instruction.word, instruction.pc, done, literal)
            else:
                self._instruction(instruction, done)
        if block.following is not None:
            self._go(instruction, block.following, len(block), jumps=False)
            if block.following == following and self._jumps[-1][:2] == (len(self._code) - 4, following):
                del self._code[-5:], self._jumps[-1]

    def _instruction(self, instruction: Instruction, done: int) -> None:
        condition = _condition(instruction)
        if condition == NEVER:
            return
        asides = []
        if condition != ALWAYS:
            stencil = self._stencils.piece(f"condition {condition}", instruction.thumb)
            asides = [len(self._code) + place for place in stencil.asides]
            self._code += stencil.code
        self._body(instruction, done)
        for place in asides:
            struct.pack_into("<i", self._code, place, len(self._code) - place - 4)

    def _body(self, instruction: Instruction, done: int) -> None:
        pc = instruction.pc
        if instruction.flow is Flow.TIER0:
            self._piece("interpret", pc, done)
        elif instruction.flow is Flow.JUMP:
            assert instruction.target is not None
            if instruction.call:
                self._piece("link", pc + instruction.size | int(instruction.thumb))
            self._go(instruction, instruction.target, done + 1)
        else:
            stencil = self._found.get(pc)
            if stencil is None:
                self._piece("interpret", pc, done)
            else:
                self._code += stencil.fill(instruction.word, pc, done, self.literal)

    def _go(self, instruction: Instruction, target: int, done: int, *, jumps: bool = True) -> None:
        page, region = target & -PAGE_SIZE, self._region
        if target not in region.blocks:
            self._piece("leave", target, done)
            return
        if page != instruction.pc & -PAGE_SIZE:
            self._piece("cross", target, done, self._pages[page])
        else:
            self._piece("settle", target, done)
        # what follows in memory is no block of a trace
        recorded = region.traced and jumps and target != instruction.pc + instruction.size
        loops = recorded and target in region.headers
        if loops:
            self._piece("loop", target)
        if recorded:
            self._piece("record", target)
        self._jump(target, inner=loops)


def _condition(instruction: Instruction) -> int:
    if not instruction.thumb:
        return instruction.word >> 28
    return instruction.word >> 8 & 15 if instruction.pattern.name == "branch_conditional" else ALWAYS


def make_from_stencils(requests: list[Request], stores: StencilStores) -> Batch:
    """The regions that are asked for; stencils that there are not yet are compiled."""
    started = time.perf_counter()
    made = []
    for request in requests:
        # its returns go through the jump cache anyway
        region = find(request, inner=False)
        if region is None:
            continue
        stencils = stores.of(region.traced)
        assembly = Assembly(region, stencils)
        missing = assembly.missing()
        if missing or not len(stencils):
            stencils.make(missing, assembly.has, assembly.literal)
            assembly.missing()
        made.append(describe(request, region, *assembly.assemble()))
    return Batch(tuple(requests), tuple(made), time.perf_counter() - started)


class AssembleAtOnce:
    """An assembler that is done when it returns: for tests."""

    ended = False

    def __init__(self, stores: StencilStores) -> None:
        self._stores = stores
        self._made: list[Batch] = []

    def submit(self, requests: list[Request]) -> None:
        """See :class:`~dbgemu.engine.translator.translator.Compiler`."""
        self._made.append(make_from_stencils(requests, self._stores))

    def take(self) -> list[Batch]:
        """What was asked for since the last call."""
        made, self._made = self._made, []
        return made

    def close(self) -> None:
        """Nothing is left to be done."""
