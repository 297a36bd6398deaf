"""What to compile: the blocks that are reached from a hot address by direct branches.

A region is what one native function is made of. It ends where only execution knows the way on (a
return), where an instruction is tier 0's (status, cp15, SWI), and where it would grow too large.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dbgemu.engine.translator.decoding import Flow, Instruction, decode
from dbgemu.target.arm.state import PAGE_SIZE

#: instructions of a region at most
MOST_INSTRUCTIONS = 200
#: instructions that a region has at most when it takes in what it calls
_MOST_CALLING = 100
#: calls in a region whose returns are compared with each other, at most
_MOST_RETURNS = 4
#: what is not in the code that was handed over
Fetch = Callable[[int, int], int | None]


@dataclass
class Block:
    """Instructions that are executed one after the other; ``following`` is where they fall through to."""

    pc: int
    instructions: list[Instruction] = field(default_factory=list)
    #: the address behind the last instruction, where that may go on there
    following: int | None = None
    #: addresses in the region that this block may go on at
    successors: tuple[int, ...] = ()
    #: those of them that are behind calls, from which its last instruction may return
    returns: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.instructions)


@dataclass
class Region:
    """Blocks by address; entries are where native code may be entered."""

    pc: int
    thumb: bool
    blocks: dict[int, Block]
    entries: list[int]
    #: blocks at which loops are closed: they look at the budget
    headers: set[int]
    fetch: Fetch
    #: addresses of words in the code that were taken for constants
    literals: set[int] = field(default_factory=set)
    #: its code records its blocks: see :mod:`dbgemu.engine.traced_code`
    traced: bool = False

    def literal(self, address: int, size: int) -> int | None:
        """The constant of ``size`` bytes at ``address``, in a page of the code; part of it from now on."""
        value = self.fetch(address, size)
        if value is not None:
            self.literals.add(address & -4)
        return value

    @property
    def instructions(self) -> int:
        """How many instructions there are."""
        return sum(len(block) for block in self.blocks.values())

    @property
    def pages(self) -> list[int]:
        """Addresses of the 1 KiB pages that the blocks lie in, upwards."""
        return sorted({block.pc & -PAGE_SIZE for block in self.blocks.values()})

    def ranges(self) -> Iterator[tuple[int, int]]:
        """(address, length) of the code and its literals, upwards, joined, but not across pages."""
        size = 2 if self.thumb else 4
        pieces = [(block.pc, size * len(block)) for block in self.blocks.values()]
        pieces += [(address, 4) for address in self.literals]
        start = end = 0
        for address, length in sorted(pieces):
            if address > end or address % PAGE_SIZE == 0 or not end:
                if end:
                    yield start, end - start
                start = address
            end = max(end, address + length)
        if end:
            yield start, end - start


def find_region(
    pc: int,
    thumb: bool,
    fetch: Fetch,
    taken: Callable[[int], bool] = lambda target: True,
    most: int = MOST_INSTRUCTIONS,
    known: frozenset[int] = frozenset(),
    few: int = 1,
    *,
    inner: bool = True,
) -> Region | None:
    """The region of the block at ``pc``; None where tier 0 has to execute its first instruction.

    ``fetch(address, size)`` gives code or None; ``taken`` tells whether a jump to an address was seen.
    Where another region begins, by ``known``, this one ends, unless it has less than ``few`` instructions.
    With ``inner``, functions that are called are part of it, as long as it is small.
    """

    def fetch_new(address: int, size: int) -> int | None:
        ends = address in known and address != pc and address not in found.functions
        if ends and len(found.instructions) >= few:
            return None
        return fetch(address, size)

    found = _Found(leaders={pc})
    _discover(found, pc, thumb, fetch_new, taken, most, _MOST_CALLING if inner else 0)
    if pc not in found.instructions:
        return None
    blocks = _cut(found)
    entries = [pc, *sorted(found.entries & blocks.keys() - {pc})]
    for block in blocks.values():
        last = block.instructions[-1]
        ways = {last.target} if last.target is not None else set()
        block.successors = tuple(way for way in (*ways, block.following) if way in blocks)
    _return(blocks)
    headers = _headers(blocks, entries)
    entries += sorted(headers - set(entries))
    return Region(pc, thumb, blocks, entries, headers, fetch)


@dataclass
class _Found:
    instructions: dict[int, Instruction] = field(default_factory=dict)
    leaders: set[int] = field(default_factory=set)
    entries: set[int] = field(default_factory=set)
    #: where functions begin that are called and belong to the region
    functions: set[int] = field(default_factory=set)


def _discover(
    found: _Found,
    pc: int,
    thumb: bool,
    fetch: Fetch,
    taken: Callable[[int], bool],
    most: int,
    most_calling: int,
) -> None:
    """Follow the code from ``pc`` on, the nearest first; what is called comes last.

    Calls are followed from the first ``most_calling`` instructions.
    """
    size = 2 if thumb else 4
    work, called = deque([pc]), deque[int]()
    while work or called:
        address = work.popleft() if work else called.popleft()
        previous: Instruction | None = None
        while address not in found.instructions and len(found.instructions) < most:
            word = fetch(address, size)
            if word is None:
                break
            instruction = decode(address, word, thumb, previous)
            if instruction.flow is Flow.TIER0:
                # it is executed there, and what follows it is entered from there
                found.leaders.add(address)
                if not instruction.conditional:
                    if previous is not None or address != pc:
                        follow = address + size
                        found.leaders.add(follow)
                        found.entries.add(follow)
                        work.append(follow)
                    break
            found.instructions[address] = instruction
            following = address + size & 0xFFFFFFFF
            target = instruction.target
            if target is not None and (not instruction.conditional or taken(target)):
                if not instruction.call:
                    found.leaders.add(target)
                    work.append(target)
                elif len(found.instructions) < most_calling:
                    found.leaders.add(target)
                    found.functions.add(target)
                    called.append(target)
            if instruction.flow is not Flow.NEXT:
                found.leaders.add(following)
                if instruction.call or instruction.flow is Flow.TIER0:
                    found.entries.add(following)
                    if not instruction.conditional:
                        work.append(following)
                if instruction.ends:
                    break
            if instruction.reentered:
                found.leaders.add(following)
                found.entries.add(following)
            if following % PAGE_SIZE == 0:
                found.leaders.add(following)
            previous, address = instruction, following


def _cut(found: _Found) -> dict[int, Block]:
    """Cut what was found into blocks."""
    blocks: dict[int, Block] = {}
    for leader in sorted(found.leaders & found.instructions.keys()):
        block = blocks[leader] = Block(leader)
        address = leader
        while True:
            instruction = found.instructions[address]
            block.instructions.append(instruction)
            address = address + instruction.size & 0xFFFFFFFF
            if instruction.ends:
                break
            if address in found.leaders or address not in found.instructions:
                block.following = address
                break
    return blocks


def _return(blocks: dict[int, Block]) -> None:
    """Let the ways out of functions that the region itself calls lead behind those calls."""
    callers: dict[int, list[int]] = {}
    for block in blocks.values():
        last = block.instructions[-1]
        following = last.pc + last.size
        if last.call and last.target in blocks and following in blocks:
            callers.setdefault(last.target, []).append(following)
    behind: dict[int, list[int]] = {}
    for target, places in callers.items():
        for pc in _body(blocks, target):
            last = blocks[pc].instructions[-1]
            if last.flow is Flow.INDIRECT and not last.call:
                behind.setdefault(pc, []).extend(places)
    for pc, places in behind.items():
        block = blocks[pc]
        block.returns = tuple(sorted(set(places))[:_MOST_RETURNS])
        block.successors = (*block.successors, *block.returns)


def _body(blocks: dict[int, Block], pc: int) -> set[int]:
    """The blocks of the function at ``pc``: what is reached from there, calls being passed over."""
    body: set[int] = set()
    work = [pc]
    while work:
        here = work.pop()
        if here in body:
            continue
        body.add(here)
        last = blocks[here].instructions[-1]
        following = last.pc + last.size
        if last.call:
            work += [following] if following in blocks else []
        else:
            work += blocks[here].successors
    return body


def _headers(blocks: dict[int, Block], entries: list[int]) -> set[int]:
    """Targets of edges that lead back, in a walk from the entries."""
    headers: set[int] = set()
    done: set[int] = set()
    for entry in entries:
        if entry in done:
            continue
        done.add(entry)
        active = {entry}
        stack = [(entry, iter(blocks[entry].successors))]
        while stack:
            pc, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                active.discard(pc)
                stack.pop()
            elif following in active:
                headers.add(following)
            elif following not in done:
                done.add(following)
                active.add(following)
                stack.append((following, iter(blocks[following].successors)))
    return headers
