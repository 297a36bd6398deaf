"""What the tests of character back ends share: waiting, listening, opening."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator

import pytest

from dbgemu.host.chardev import Chardev, ChardevEvent, open_chardev
from dbgemu.host.iothread import IoThread

PATIENCE = 10.0


def eventually(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds; fail when it does not for ten seconds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def ends(data: bytearray, end: bytes) -> bool:
    return data.endswith(end)


def read_until(fd: int, wanted: bytes) -> bytes:
    """What comes from ``fd`` up to and with ``wanted``."""
    got = b""
    end = time.monotonic() + PATIENCE
    while wanted not in got:
        ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
        assert ready, f"{wanted!r} did not come, only {got!r}"
        got += os.read(fd, 4096)
    return got


class Ear:
    """Collects what a back end gives."""

    def __init__(self, backend: Chardev) -> None:
        self.data = bytearray()
        self.events: list[ChardevEvent] = []
        backend.on_event = self.events.append
        backend.on_receive = self.data.extend


@pytest.fixture
def io() -> Iterator[IoThread]:
    thread = IoThread().start()
    yield thread
    thread.stop()


Opener = Callable[..., Chardev]


@pytest.fixture
def opened(io: IoThread) -> Iterator[Opener]:
    made: list[Chardev] = []

    def opener(spec: str, **options: object) -> Chardev:
        options.setdefault("announce", lambda message: None)
        made.append(open_chardev(spec, io, **options))  # type: ignore[arg-type]
        return made[-1]

    yield opener
    for backend in made:
        backend.close()


def port_of(backend: Chardev) -> int:
    return int(backend.description.rpartition(":")[2])
