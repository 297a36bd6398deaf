"""Call stacks, inferred from executed blocks.

A trace says where control went, not why. What follows from that, with the starts of functions known:

- control that comes to where a call was to return to has returned, past every frame above that call;
- control that comes to the start of another function has called it (or jumped there at the end of its
  caller, which then returns with it);
- anything else inside a function is a jump: a return that had no call in this trace, longjmp, a switch
  to another thread. The frames above the newest one of that function go; if it has none, it takes the
  place of the newest frame.

So a wrong guess lasts until the next return that is known. Every address space has stacks of its own,
one for each privilege; a switch of the translation table changes from one to the other. Returning to
User mode ends all frames of the privileged stack.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator

from dbgemu.trace.events import Mmu
from dbgemu.trace.reader import BlockArrays, Trace
from dbgemu.trace.tools.names import Function, Names
from dbgemu.trace.tools.transitions import NEVER, Transitions

#: frames of a stack at most: a deeper call takes the place of the newest frame
MAX_DEPTH = 256

#: told of a frame that ended: (stack, depth of the frame from 0, function, first and end instruction count)
OnFrame = Callable[["CallStack", int, Function, int, int], None]

_VECTORS = (0, 0xFFFF0000)
_VECTOR_NAMES = ("reset", "undefined", "swi", "prefetch_abort", "data_abort", "?", "irq", "fiq")


class Node:
    """A path of calls: ``function`` called by ``parent``'s."""

    __slots__ = ("children", "function", "instructions", "parent")

    def __init__(self, function: Function | None = None, parent: Node | None = None) -> None:
        self.function = function
        self.parent = parent
        self.children: dict[Function, Node] = {}
        #: executed at this path itself
        self.instructions = 0

    def child(self, function: Function) -> Node:
        """The path that is one call longer."""
        found = self.children.get(function)
        if found is None:
            found = self.children[function] = Node(function, self)
        return found


class CallStack:
    """The frames of one privilege in one address space, oldest first."""

    def __init__(self, table_base: int, user: bool, on_frame: OnFrame | None) -> None:
        self.table_base = table_base
        self.user = user
        #: the path of all frames
        self.root = self.node = Node()
        #: where frames return to, and how many of them
        self.expected: dict[int, int] = {}
        #: of each frame: the count at its start, and where it returns to; several places, for exceptions
        self._frames: list[tuple[int, tuple[int, ...]]] = []
        self._on_frame = on_frame

    @property
    def functions(self) -> list[Function]:
        """The function of each frame."""
        found = []
        node: Node | None = self.node
        while node is not None and node.function is not None:
            found.append(node.function)
            node = node.parent
        return found[::-1]

    def enter(self, function: Function, icount: int, returns: tuple[int, ...]) -> None:
        """A call."""
        frames = self._frames
        if len(frames) >= MAX_DEPTH:
            returns = frames[-1][1]
            self.leave_to(MAX_DEPTH - 1, icount)
        frames.append((icount, returns))
        node = self.node
        self.node = node.children.get(function) or node.child(function)
        expected = self.expected
        for address in returns:
            expected[address] = expected.get(address, 0) + 1

    def leave_to(self, depth: int, icount: int) -> None:
        """End the frames from ``depth`` on."""
        frames, expected, node = self._frames, self.expected, self.node
        while len(frames) > depth:
            start, returns = frames.pop()
            function = node.function
            assert node.parent is not None and function is not None
            self.node = node = node.parent
            for address in returns:
                left = expected[address] - 1
                if left:
                    expected[address] = left
                else:
                    del expected[address]
            if self._on_frame is not None:
                self._on_frame(self, len(frames), function, start, icount)

    def go(self, target: int, function: Function, origin: int, icount: int) -> None:
        """Control came to ``target``, in ``function``, from in front of ``origin`` (0: not known)."""
        if target in self.expected:
            frames = self._frames
            depth = len(frames) - 1
            while target not in frames[depth][1]:
                depth -= 1
            self.leave_to(depth, icount)
        newest = self.node.function
        if newest is function:
            return
        if newest is None:
            self.enter(function, icount, ())
        elif target == function[0] and function[2]:  # its start; it is known
            self.enter(function, icount, (origin,) if origin else ())
        else:
            self._jump(function, icount)

    def _jump(self, function: Function, icount: int) -> None:
        depth = len(self._frames) - 1
        node = self.node.parent
        while node is not None and node.function is not None:
            if node.function is function:
                self.leave_to(depth, icount)
                return
            depth -= 1
            node = node.parent
        depth = len(self._frames) - 1
        returns = self._frames[depth][1]
        self.leave_to(depth, icount)
        self.enter(function, icount, returns)


class Stacks:
    """Follows the blocks of a trace; one of its stacks is the present one."""

    def __init__(self, names: Names, on_frame: OnFrame | None = None) -> None:
        self._names = names
        self._on_frame = on_frame
        self._all: dict[tuple[int, bool], CallStack] = {}
        self._table_base = 0
        self._previous_end = 0
        self._previous_thumb = False
        self._next_icount = -1
        self.current = self._stack(0, False)

    def _stack(self, table_base: int, user: bool) -> CallStack:
        stack = self._all.get((table_base, user))
        if stack is None:
            stack = self._all[table_base, user] = CallStack(table_base, user, self._on_frame)
        return stack

    def switch(self, table_base: int) -> None:
        """The translation table base was written."""
        self._table_base = table_base
        self.current = self._stack(table_base, self.current.user)

    def block(self, icount: int, pc: int, length: int, flags: int) -> CallStack:
        """A block was executed; ``flags`` as in :class:`BlockArrays`. Gives the stack it was executed on."""
        # after a gap nobody knows what was called from where
        origin = self._previous_end if icount == self._next_icount else 0
        stack = self._come_to(icount, pc, flags > 1, origin, self._previous_thumb)
        self._previous_thumb = bool(flags & 1)
        self._previous_end = pc + length * (2 if flags & 1 else 4)
        self._next_icount = icount + length
        return stack

    def _come_to(self, icount: int, pc: int, user: bool, origin: int, previous_thumb: bool) -> CallStack:
        stack = self.current
        if pc & ~0x1F in _VECTORS and not user:
            return self._take_exception(stack, icount, pc, origin, previous_thumb)
        if user is not stack.user:
            if user:
                stack.leave_to(0, icount)
            stack = self.current = self._stack(self._table_base, user)
        stack.go(pc, self._names.function(pc), origin, icount)
        return stack

    def _take_exception(
        self, stack: CallStack, icount: int, pc: int, origin: int, previous_thumb: bool
    ) -> CallStack:
        if stack.user:
            stack = self.current = self._stack(self._table_base, False)
            stack.leave_to(0, icount)
        # back to the interrupted instruction, or behind the one that faulted
        width = 2 if previous_thumb else 4
        returns = (origin, origin - width) if origin and stack.node is not stack.root else ()
        stack.enter(Function(pc, f"<{_VECTOR_NAMES[pc >> 2 & 7]}>", True), icount, returns)
        return stack

    def end(self, icount: int) -> None:
        """The trace ends: so do all frames."""
        for stack in self.all():
            stack.leave_to(0, icount)

    def all(self) -> list[CallStack]:
        """Every stack there was."""
        return list(self._all.values())

    def follow(self, trace: Trace, start: int | None = None, end: int | None = None) -> None:
        """Take in the blocks of a trace that begin at counts from ``start`` up to ``end`` - 1.

        Address spaces are told apart where the trace has events of the MMU. TraceError when it is damaged.
        """
        transitions = Transitions(self._names.edges())
        functions: dict[int, Function] = {}
        stack, since = self.current, transitions.end
        for part in self._parts(trace, start, end):
            place = 0
            while place < len(part):
                found, place = transitions.find(part, place, self._expected())
                for icount, pc, flags, before, origin in found:
                    # all blocks since the one that was looked at were executed on its path, without a gap
                    stack.node.instructions += before - since
                    since = icount
                    function = functions.get(pc)
                    if function is not None and stack is self.current and stack.user == flags >> 1 & 1:
                        stack.go(pc, function, origin, icount)
                        continue
                    stack = self._come_to(icount, pc, bool(flags & 2), origin, bool(flags & 4))
                    if pc & ~0x1F not in _VECTORS:
                        functions[pc] = self._names.function(pc)
        stack.node.instructions += transitions.end - since
        self.end(transitions.end if since != NEVER else 0)

    def _expected(self) -> Iterator[int]:
        """Where control may return to, in this address space."""
        for user in (False, True):
            stack = self._all.get((self._table_base, user))
            if stack is not None:
                yield from stack.expected

    def _parts(self, trace: Trace, start: int | None, end: int | None) -> Iterator[BlockArrays]:
        """The blocks, cut where the table base is switched, which is done on the way."""
        switches = (event for event in trace.events(("mmu",), end=end) if isinstance(event, Mmu))
        waiting = next(switches, None)
        for blocks in trace.runs(start, end):
            first = 0
            while waiting is not None and waiting.icount < blocks.icounts[-1]:
                place = bisect_right(blocks.icounts, waiting.icount)
                yield blocks.part(first, place)
                first = place
                if waiting.what == "switch":
                    self.switch(waiting.address)
                waiting = next(switches, None)
            yield blocks.part(first, len(blocks))
