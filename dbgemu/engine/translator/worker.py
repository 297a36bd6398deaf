"""The process that compiles regions: requests come by standard input, batches go by standard output.

``python -m dbgemu.engine.translator.worker CACHE``; it ends when its input does.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from pathlib import Path
from typing import BinaryIO

from dbgemu.engine.native import target_machine
from dbgemu.engine.translator.cache import RegionCache
from dbgemu.engine.translator.compiling import make
from dbgemu.engine.translator.machine_code import LEVEL
from dbgemu.engine.translator.messages import receive, send
from dbgemu.engine.translator.requests import Request

#: regions of a batch: what is asked for first is not to wait for all the others
_MOST = 2
_NICENESS = 5


def serve(source: BinaryIO, sink: BinaryIO, cache: RegionCache | None) -> None:
    """Compile until ``source`` ends."""
    machine = target_machine(level=LEVEL)
    waiting: list[Request] = []
    while True:
        while not waiting or select.select([source], [], [], 0)[0]:
            requests = receive(source)
            if requests is None:
                return
            waiting += requests
        batch = make(waiting[:_MOST], machine)
        del waiting[:_MOST]
        send(sink, batch)
        if cache is not None:
            cache.add(batch.made)


def main() -> None:
    """Serve standard input and output."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    cache = RegionCache(Path(sys.argv[1])) if len(sys.argv) > 1 else None
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(os.fdopen(0, "rb", buffering=0), os.fdopen(1, "wb", buffering=0), cache)


if __name__ == "__main__":
    main()
