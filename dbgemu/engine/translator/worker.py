"""The process that compiles regions: requests come by standard input, batches go by standard output.

``python -m dbgemu.engine.translator.worker compile|assemble [CACHE]``; it ends when its input does.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from dbgemu.engine.translator.cache import RegionCache
from dbgemu.engine.translator.messages import receive, send
from dbgemu.engine.translator.requests import ASSEMBLE, COMPILE, Batch, Request

#: regions of a batch: what is asked for first is not to wait for all the others
_MOST = {COMPILE: 2, ASSEMBLE: 8}
_NICENESS = 5


def serve(work: str, source: BinaryIO, sink: BinaryIO, path: Path | None) -> None:
    """Compile until ``source`` ends."""
    make, most = _maker(work, path), _MOST[work]
    cache = RegionCache(path) if path else None
    waiting: list[Request] = []
    while True:
        while not waiting or select.select([source], [], [], 0)[0]:
            requests = receive(source)
            if requests is None:
                return
            waiting += requests
        batch = make(waiting[:most])
        del waiting[:most]
        send(sink, batch)
        if cache is not None:
            cache.add(batch.made)


def _maker(work: str, path: Path | None) -> Callable[[list[Request]], Batch]:
    # each imports what it needs: assembling is to begin early
    if work == ASSEMBLE:
        from dbgemu.engine.translator.assembly import make_from_stencils
        from dbgemu.engine.translator.stencils import StencilStores, stencil_path

        return partial(make_from_stencils, stores=StencilStores(path and stencil_path(path)))
    from dbgemu.engine.native import target_machine
    from dbgemu.engine.translator.compiling import make
    from dbgemu.engine.translator.machine_code import LEVEL

    return partial(make, machine=target_machine(level=LEVEL))


def main() -> None:
    """Serve standard input and output."""
    work = sys.argv[1]
    if work == COMPILE:
        with contextlib.suppress(OSError):
            os.nice(_NICENESS)
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(work, os.fdopen(0, "rb", buffering=0), os.fdopen(1, "wb", buffering=0), path)


if __name__ == "__main__":
    main()
