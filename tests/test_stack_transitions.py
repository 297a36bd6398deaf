"""Call stacks of whole traces: native code finds the blocks that matter, the result stays the same."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import pytest

from dbgemu.trace.events import Mmu
from dbgemu.trace.reader import BlockArrays, Trace
from dbgemu.trace.tools.names import Function, Names
from dbgemu.trace.tools.stacks import CallStack, Stacks

_SIZE = 0x100
#: functions of 256 bytes, on both sides of an end of a MiB; what lies beyond has no name
_FIRST, _LAST = 0x1FF800, 0x200800
_UNNAMED = (0x300000, 0x3FFFF0, 0x400000)
_VECTORS = (0xFFFF0018, 0xFFFF0008, 0x10)


class _Names(Names):
    def _find(self, address: int) -> Function:
        known = _FIRST <= address < _LAST
        start = address & ~(_SIZE - 1) if known else address & ~0xFFFFF
        return self._unique.setdefault(start, Function(start, f"f{start:x}", known))

    def edges(self) -> Iterator[int]:
        return iter(range(_FIRST, _LAST + 1, _SIZE))


class _Trace:
    """Blocks and switches of the table base, without a file."""

    def __init__(self, parts: list[BlockArrays], switches: list[Mmu]) -> None:
        self.parts = parts
        self.switches = switches

    def runs(self, start: int | None, end: int | None) -> Iterator[BlockArrays]:
        return iter(self.parts)

    def events(self, kinds: tuple[str, ...], end: int | None = None) -> Iterator[Mmu]:
        return iter(self.switches)


def _random_blocks(seed: int, number: int) -> Iterator[tuple[int, int, int, int]]:
    """Loops, calls and returns; also jumps anywhere, recursion, gaps, interrupts, Thumb and User mode."""
    chance = random.Random(seed)
    icount, pc, flags = 0, _FIRST, 0
    back: list[int] = []
    for _ in range(number):
        length = chance.randrange(1, 6)
        yield icount, pc, length, flags
        behind = pc + length * (2 if flags & 1 else 4)
        icount += length
        what = chance.random()
        if what < 0.5:  # within the function, often to the same places
            pc = (pc & ~(_SIZE - 1)) + 0x20 * chance.randrange(4)
        elif what < 0.65:
            back.append(behind)
            pc = chance.randrange(_FIRST, _LAST, _SIZE)
        elif what < 0.85 and back:
            pc = back.pop()
        elif what < 0.9:
            back.append(chance.choice((behind, behind - 4, behind - 2)))
            pc = chance.choice(_VECTORS)
            flags &= ~2
        elif what < 0.93:
            pc = chance.choice((*_UNNAMED, chance.randrange(_FIRST, _LAST, 4)))
        elif what < 0.95:
            icount += chance.randrange(1, 100)
        elif what < 0.97:
            flags ^= 2
            pc = chance.randrange(_FIRST, _LAST, _SIZE)
        elif what < 0.99:
            flags ^= 1
            pc = chance.randrange(_FIRST, _LAST, _SIZE)
        pc = max(0, pc) & 0xFFFFFFFE


def _arrays(blocks: list[tuple[int, int, int, int]]) -> BlockArrays:
    columns: list[Any] = [array(code) for code in "QIIB"]
    for block in blocks:
        for column, item in zip(columns, block, strict=True):
            column.append(item)
    return BlockArrays(*columns)


class _Seen:
    """What came out of following blocks."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bool, int, str, int, int]] = []
        self.stacks = Stacks(_Names(), self._ended)

    def _ended(self, stack: CallStack, depth: int, function: Function, start: int, end: int) -> None:
        self.frames.append((stack.table_base, stack.user, depth, function.name, start, end))

    def counts(self) -> Counter[str]:
        found: Counter[str] = Counter()
        waiting = [(stack.root, f"{stack.table_base:x} {stack.user}") for stack in self.stacks.all()]
        while waiting:
            node, path = waiting.pop()
            found[path] += node.instructions
            waiting += [(child, f"{path};{name.name}") for name, child in node.children.items()]
        return +found


@pytest.mark.parametrize("seed", range(6))
def test_following_a_trace_gives_what_each_of_its_blocks_gives(seed: int) -> None:
    blocks = list(_random_blocks(seed, 40_000))
    switches = [Mmu(blocks[place][0], 0, 0, "switch", 0x4000 * (place % 3), 0) for place in (999, 20_001)]
    each = _Seen()
    waiting = [event.icount for event in switches]
    for icount, pc, length, flags in blocks:
        if waiting and icount > waiting[0]:
            waiting.pop(0)
            each.stacks.switch(switches[-1 - len(waiting)].address)
        each.stacks.block(icount, pc, length, flags).node.instructions += length
    each.stacks.end(blocks[-1][0] + blocks[-1][2])

    whole = _Seen()
    parts = [_arrays(blocks[first : first + 17_000]) for first in range(0, len(blocks), 17_000)]
    whole.stacks.follow(cast(Trace, _Trace(parts, switches)))
    assert whole.frames == each.frames
    assert whole.counts() == each.counts()
    assert sum(whole.counts().values()) == sum(length for _, _, length, _ in blocks)
    assert len({frame[2] for frame in whole.frames}) > 10, "deep enough to mean something"


def test_few_blocks_are_looked_at_where_a_loop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks, seen = Stacks(_Names()), []
    come_to = stacks._come_to

    def count(*arguments: Any) -> CallStack:
        seen.append(arguments)
        return come_to(*arguments)

    monkeypatch.setattr(stacks, "_come_to", count)
    monkeypatch.setattr(CallStack, "go", lambda *arguments: seen.append(arguments))
    loop = [(2 * turn, _FIRST + 0x20, 2, 0) for turn in range(50_000)]
    stacks.follow(cast(Trace, _Trace([_arrays(loop)], [])))
    assert len(seen) < 20


def test_a_trace_without_blocks_has_no_stacks_to_tell_of() -> None:
    seen = _Seen()
    seen.stacks.follow(cast(Trace, _Trace([], [])))
    assert seen.frames == []
    assert seen.counts() == {}
