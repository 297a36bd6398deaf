"""Folded stacks, as flame graph programs read them: ``caller;callee 1234`` lines, in instructions."""

from __future__ import annotations

from collections import Counter
from typing import BinaryIO

from dbgemu.trace.reader import Trace
from dbgemu.trace.tools.names import Names
from dbgemu.trace.tools.selection import Selection, need_blocks
from dbgemu.trace.tools.stacks import Node, Stacks


def export_folded(trace: Trace, names: Names, selection: Selection, file: BinaryIO) -> None:
    """Instructions at each path of calls; the first frame says the privilege."""
    need_blocks(trace, "a folded stack")
    stacks = Stacks(names)
    stacks.follow(trace, selection.start, selection.end)
    counts: Counter[str] = Counter()
    for stack in stacks.all():
        _collect(stack.root, "user" if stack.user else "privileged", counts)
    for path, number in sorted(counts.items()):
        file.write(f"{path} {number}\n".encode())


def _collect(root: Node, name: str, counts: Counter[str]) -> None:
    waiting = [(root, name)]
    while waiting:
        node, path = waiting.pop()
        if node.instructions:
            counts[path] += node.instructions
        for function, child in node.children.items():
            # neither separator may be in a name: those of C++ have spaces
            waiting.append((child, f"{path};{function.name.replace(';', ':').replace(' ', '_')}"))
