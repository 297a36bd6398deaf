"""The hub that joins the board's network chip with its back ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from dbgemu.host.net.backend import LONGEST_FRAME, NetBackend
from dbgemu.target.net import NetPort

#: frames from outside that wait for the machine's thread; a machine that is stopped loses the others
WAITING_FRAMES = 2048


class NetHub:
    """Everything that goes into one end comes out of all others. Works on the machine's thread.

    ``post`` runs an action there; ``backends`` and ``watchers``, which see every frame, may be added
    to before the machine runs.
    """

    def __init__(self, port: NetPort, post: Callable[[Callable[[], None]], None]) -> None:
        self.port = port
        self.backends: list[NetBackend] = []
        self.watchers: list[Callable[[bytes], None]] = []
        self._post = post
        self._waiting: deque[tuple[NetBackend, bytes]] = deque()
        port.transmit = self._sent

    def add(self, backend: NetBackend) -> None:
        """Connect a back end."""
        self.backends.append(backend)
        backend.on_frames = lambda frames: self._arrived(backend, frames)
        backend.deliver = lambda frames: self._came(backend, frames)
        backend.post = self._post
        backend.connected()

    def _arrived(self, backend: NetBackend, frames: Sequence[bytes]) -> None:
        room = WAITING_FRAMES - len(self._waiting)
        self._waiting.extend((backend, frame) for frame in frames[:room])
        self._post(self._take)

    def _take(self) -> None:
        waiting = self._waiting
        while waiting:
            backend, frame = waiting.popleft()
            self._came(backend, (frame,))

    def _came(self, backend: NetBackend, frames: Sequence[bytes]) -> None:
        for frame in frames:
            if backend.link and 14 <= len(frame) <= LONGEST_FRAME:
                backend.received += 1
                self._spread(frame, backend)

    def _sent(self, frame: bytes) -> None:
        self._spread(frame, None)

    def _spread(self, frame: bytes, source: NetBackend | None) -> None:
        for watcher in self.watchers:
            watcher(frame)
        if source is not None:
            self.port.receive(frame)
        for backend in self.backends:
            if backend is not source and backend.link:
                backend.sent += 1
                self._came(backend, backend.send(frame))
