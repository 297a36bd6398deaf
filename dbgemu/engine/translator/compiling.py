"""The compiler's side: from requests to batches of native code."""

from __future__ import annotations

import time

import llvmlite.binding as llvm

from dbgemu.engine.native import target_machine
from dbgemu.engine.translator.finding import describe, find
from dbgemu.engine.translator.machine_code import LEVEL, ObjectError, Text, translate
from dbgemu.engine.translator.regions import Region
from dbgemu.engine.translator.requests import Batch, Made, Request


def make(requests: list[Request], machine: llvm.TargetMachine) -> Batch:
    """Compile the regions that are asked for."""
    started = time.perf_counter()
    found = [(request, region) for request in requests if (region := find(request)) is not None]
    if not found:
        return Batch(tuple(requests), ())
    try:
        text = translate([region for _, region in found], machine)
    except ObjectError:
        if len(requests) == 1:
            return Batch(tuple(requests), ())
        batches = [make([request], machine) for request in requests]
        made = tuple(made for batch in batches for made in batch.made)
        return Batch(tuple(requests), made, time.perf_counter() - started)
    return Batch(tuple(requests), _describe(found, text), time.perf_counter() - started)


def _describe(found: list[tuple[Request, Region]], text: Text) -> tuple[Made, ...]:
    ends = [*sorted(text.offsets), len(text.code)]
    made = []
    for (request, region), offset in zip(found, text.offsets, strict=True):
        end = next(end for end in ends if end > offset)
        made.append(describe(request, region, text.code[offset:end]))
    return tuple(made)


class AtOnce:
    """A compiler that is done when it returns: for tests."""

    ended = False

    def __init__(self, level: int = LEVEL) -> None:
        self._machine = target_machine(level=level)
        self._made: list[Batch] = []

    def submit(self, requests: list[Request]) -> None:
        """See :class:`~dbgemu.engine.translator.translator.Compiler`."""
        self._made.append(make(requests, self._machine))

    def take(self) -> list[Batch]:
        """What was asked for since the last call."""
        made, self._made = self._made, []
        return made

    def close(self) -> None:
        """Nothing is left to be done."""
