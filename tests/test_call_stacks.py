"""Call stacks that are inferred from blocks: calls, returns, and what breaks the pairing of both."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from dbgemu.trace.tools.names import Function, Names
from dbgemu.trace.tools.stacks import MAX_DEPTH, CallStack, Stacks

MAIN, OUTER, INNER, OTHER, SCHEDULE = (0x8000 + 0x1000 * number for number in range(5))
_NAMES = {MAIN: "main", OUTER: "outer", INNER: "inner", OTHER: "other", SCHEDULE: "schedule"}


class _Names(Names):
    """Functions of 4 KiB; beyond them nothing has a name."""

    def _find(self, address: int) -> Function:
        start = address & ~0xFFF
        name = _NAMES.get(start) or (f"f{start:x}" if start < 0x1000000 else "")
        return self._unique.setdefault(start, Function(start, name or f"[{start:08x}]", bool(name)))


class Walk:
    """Takes blocks as (pc, end): each begins where the one before has left."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, int, int]] = []
        self.stacks = Stacks(_Names(), self._ended)
        self.icount = 0

    def _ended(self, stack: CallStack, depth: int, function: Function, start: int, end: int) -> None:
        self.frames.append((function.name, start, end))

    def go(self, *blocks: tuple[int, int], user: bool = False) -> list[str]:
        """Execute blocks; gives the names of the frames then."""
        for pc, end in blocks:
            length = (end - pc) // 4
            self.stacks.block(self.icount, pc, length, 2 * user)
            self.icount += length
        return self.names()

    def names(self) -> list[str]:
        return [function.name for function in self.stacks.current.functions]


@pytest.fixture
def walk() -> Walk:
    return Walk()


#: main calls outer, which calls inner
CALLS = ((MAIN, MAIN + 0x10), (OUTER, OUTER + 0x20), (INNER, INNER + 8))


def test_calls_nest_and_returns_unwind(walk: Walk) -> None:
    assert walk.go(*CALLS) == ["main", "outer", "inner"]
    assert walk.go((OUTER + 0x20, OUTER + 0x30)) == ["main", "outer"]
    assert walk.go((MAIN + 0x10, MAIN + 0x20)) == ["main"]
    assert walk.frames == [("inner", 12, 14), ("outer", 4, 18)]


def test_a_return_past_several_frames_ends_them_all(walk: Walk) -> None:
    walk.go(*CALLS)
    assert walk.go((MAIN + 0x10, MAIN + 0x14)) == ["main"]


def test_a_tail_call_returns_with_its_caller(walk: Walk) -> None:
    assert walk.go(*CALLS, (OTHER, OTHER + 4)) == ["main", "outer", "inner", "other"]
    assert walk.go((OUTER + 0x20, OUTER + 0x24)) == ["main", "outer"]


def test_loops_to_the_start_of_a_function_are_no_calls(walk: Walk) -> None:
    walk.go(*CALLS)
    assert walk.go(*[(INNER, INNER + 8)] * 1000) == ["main", "outer", "inner"]


def test_a_jump_into_a_function_on_the_stack_unwinds_to_it(walk: Walk) -> None:
    walk.go(*CALLS)
    assert walk.go((MAIN + 0x800, MAIN + 0x804)) == ["main"], "longjmp"


def test_a_jump_into_a_function_that_is_not_on_the_stack_replaces_the_newest(walk: Walk) -> None:
    walk.go(*CALLS)
    assert walk.go((OTHER + 0x40, OTHER + 0x44)) == ["main", "outer", "other"]
    assert walk.go((OUTER + 0x20, OUTER + 0x24)) == ["main", "outer"], "and returns for it"


def test_threads_of_other_address_spaces_have_stacks_of_their_own(walk: Walk) -> None:
    walk.go((MAIN, MAIN + 0x10), (SCHEDULE, SCHEDULE + 0x10))
    walk.stacks.switch(0x30008000)
    assert walk.go((SCHEDULE + 0x10, SCHEDULE + 0x14)) == ["schedule"]
    walk.go((OTHER + 0x20, OTHER + 0x30), (SCHEDULE, SCHEDULE + 0x10))
    assert walk.names() == ["other", "schedule"]
    walk.stacks.switch(0)
    assert walk.names() == ["main", "schedule"]
    assert walk.go((SCHEDULE + 0x10, SCHEDULE + 0x14), (MAIN + 0x10, MAIN + 0x14)) == ["main"]


def test_an_exception_of_user_code_begins_the_privileged_stack_anew(walk: Walk) -> None:
    walk.go((MAIN, MAIN + 0x10), (OUTER, OUTER + 0x20), user=True)
    assert walk.go((0xFFFF0008, 0xFFFF000C)) == ["<swi>"]
    assert walk.go((OTHER, OTHER + 0x10)) == ["<swi>", "other"]
    assert walk.go((OUTER + 0x20, OUTER + 0x24), user=True) == ["main", "outer"]
    assert walk.go((0xFFFF0018, 0xFFFF001C)) == ["<irq>"]


def test_an_interrupt_of_privileged_code_returns_to_where_it_was(walk: Walk) -> None:
    walk.go(*CALLS)
    assert walk.go((0x18, 0x1C), (OTHER, OTHER + 0x20)) == ["main", "outer", "inner", "<irq>", "other"]
    assert walk.go((INNER + 8, INNER + 0x10)) == ["main", "outer", "inner"]


def test_an_aborted_instruction_is_executed_again(walk: Walk) -> None:
    walk.go(*CALLS)
    walk.go((0x10, 0x14), (OTHER, OTHER + 4))
    assert walk.go((INNER + 4, INNER + 8)) == ["main", "outer", "inner"]


def test_a_gap_hides_where_a_call_returns_to(walk: Walk) -> None:
    walk.go((MAIN, MAIN + 0x10))
    walk.icount += 100
    walk.go((OUTER, OUTER + 0x10))
    assert walk.go((MAIN + 0x10, MAIN + 0x14)) == ["main"], "as a jump into a function on the stack"


def test_the_depth_is_bounded(walk: Walk) -> None:
    for number in range(2 * MAX_DEPTH):
        walk.go((0x100000 + 0x1000 * number, 0x100000 + 0x1000 * number + 8))
    assert len(walk.names()) == MAX_DEPTH
    assert walk.names()[-1] == f"f{0x100000 + 0x1000 * (2 * MAX_DEPTH - 1):x}"


def test_instructions_are_counted_by_path() -> None:
    walk = Walk()
    for blocks in (CALLS, ((OUTER + 0x20, OUTER + 0x30), (MAIN + 0x10, MAIN + 0x14))):
        for pc, end in blocks:
            length = (end - pc) // 4
            walk.stacks.block(walk.icount, pc, length, 0).node.instructions += length
            walk.icount += length
    assert dict(_counts(walk.stacks.all())) == {"main": 5, "main;outer": 12, "main;outer;inner": 2}


def _counts(stacks: Iterable[CallStack]) -> Iterable[tuple[str, int]]:
    waiting = [(stack.root, "") for stack in stacks]
    while waiting:
        node, path = waiting.pop()
        if node.instructions:
            yield path, node.instructions
        waiting += [
            (child, f"{path};{function.name}".lstrip(";")) for function, child in node.children.items()
        ]
