"""The semihosting of an emulator: its console on the host, and what the guest is told of the board."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

from dbgemu.debug.semihosting.console import OUTPUT, Console
from dbgemu.host.backend import Chardev, ChardevEvent
from dbgemu.target.boot import SDRAM_BASE, BootPlan

_PAGE = 4096


def _write_standard(stream: int, data: bytes) -> None:
    raw = (sys.stdout if stream == OUTPUT else sys.stderr).buffer
    with suppress(OSError):  # nobody reads it any more
        raw.write(data)
        raw.flush()


def standard_console() -> Console:
    """On standard output and standard error; :func:`connect_input` can add what is typed."""
    return Console(_write_standard)


def chardev_console(backend: Chardev) -> Console:
    """Output of both kinds goes to ``backend``."""
    return Console(lambda stream, data: backend.write(data))


def connect_input(console: Console, backend: Chardev, post: Callable[[Callable[[], None]], None]) -> None:
    """What comes from ``backend`` is the console's input; ``post`` runs on the machine's thread."""
    console.open()
    console.on_room = backend.release

    def receive(data: bytes) -> None:
        if not console.feed(data):
            backend.hold()

    def event(what: ChardevEvent) -> None:
        if what is ChardevEvent.CLOSED:
            post(console.end)
        elif what is ChardevEvent.OPENED:
            post(console.open)

    backend.on_event = event
    backend.on_receive = lambda data: post(lambda: receive(data))


def free_memory(plan: BootPlan | None, memory_size: int) -> tuple[int, int]:
    """The largest range of SDRAM in which nothing is loaded, in whole pages: (first, behind the last)."""
    end = SDRAM_BASE + memory_size
    loads = [] if plan is None else [(load.address, load.end) for load in plan.loads]
    taken = sorted([(SDRAM_BASE, SDRAM_BASE), *(item for item in loads if item[0] >= SDRAM_BASE), (end, end)])
    gaps = [(-(-first[1] // _PAGE) * _PAGE, second[0] & -_PAGE) for first, second in pairwise(taken)]
    return max(gaps, key=lambda gap: gap[1] - gap[0])
