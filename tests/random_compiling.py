"""A compiler for tests that compiles a region once, however often it is asked for."""

from __future__ import annotations

from dbgemu.engine.native import target_machine
from dbgemu.engine.translator.compiling import make
from dbgemu.engine.translator.finding import find
from dbgemu.engine.translator.regions import Region
from dbgemu.engine.translator.requests import Batch, Made, Request

#: all that a region is, but for the words of its instructions and constants
Shape = tuple[object, ...]


class Remembering:
    """Done when it returns, like ``AtOnce``; what it has compiled before, it gives again.

    The same blocks of the same words, with the same constants, are the same region: as for the cache on
    disk, guest code decides. Half of what a random program asks for is asked for twice, after its code was
    thrown away or by its next run.
    """

    ended = False

    def __init__(self, level: int) -> None:
        self._machine = target_machine(level=level)
        self._known: dict[Shape, list[Made]] = {}
        self._batches: list[Batch] = []
        #: how many regions were compiled, and how many were given again
        self.compiled = self.repeated = 0

    def submit(self, requests: list[Request]) -> None:
        """See :class:`~dbgemu.engine.translator.translator.Compiler`."""
        given: list[Made] = []
        new: dict[int, tuple[Request, Shape]] = {}
        for request in requests:
            region = find(request)
            if region is None:
                continue
            shape = _shape(request, region)
            made = next((made for made in self._known.get(shape, ()) if _is_of(made, request)), None)
            if made is None:
                new[request.word] = request, shape
            else:
                given.append(made)
        self.repeated += len(given)
        if new:
            compiled = make([request for request, _ in new.values()], self._machine).made
            self.compiled += len(compiled)
            for made in compiled:
                self._known.setdefault(new[made.word][1], []).append(made)
            given += compiled
        self._batches.append(Batch(tuple(requests), tuple(given)))

    def take(self) -> list[Batch]:
        """What was asked for since the last call."""
        batches, self._batches = self._batches, []
        return batches

    def close(self) -> None:
        """It serves the next translator."""
        self._batches.clear()

    def forget(self) -> None:
        """Compile everything anew from now on."""
        self._known.clear()


def _shape(request: Request, region: Region) -> Shape:
    blocks = tuple((pc, len(block), block.following) for pc, block in sorted(region.blocks.items()))
    return request.word, tuple(region.entries), blocks


def _is_of(made: Made, request: Request) -> bool:
    """Whether ``made`` was made of what the request's pages hold."""
    return all(
        request.fetch(address, len(code)) == int.from_bytes(code, "little") for address, code in made.code
    )
