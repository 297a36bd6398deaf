"""Back ends on file descriptors: one to read from, one to write to, both non-blocking.

Output: ``write`` appends to a queue and, if no flush is due, asks the loop for one a moment later,
so that the many single characters of a console cost one wake-up and one system call together.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable

from dbgemu.host import shutdown
from dbgemu.host.backend import Chardev, ChardevEvent
from dbgemu.host.iothread import IoThread

#: seconds from a write to the system call that sends it
FLUSH_DELAY = 0.002
#: seconds that close waits for a reader that takes nothing
CLOSE_GRACE = 1.0
#: bytes kept for a reader that is slow, and while there is none
SLOW_LIMIT = 1 << 20
ABSENT_LIMIT = 1 << 16

_CHUNK = 1 << 16
#: seconds that a closing thread waits for the I/O thread
_PATIENCE = CLOSE_GRACE + 2.0


class StreamChardev(Chardev):
    """Moves bytes between ``on_receive``/``write`` and the descriptors given to :meth:`attach`."""

    def __init__(self, description: str, io: IoThread, limit: int = SLOW_LIMIT) -> None:
        super().__init__(description)
        self._io = io
        self._loop = io.loop
        self._limit = limit
        self._queue: deque[bytes] = deque()
        self._due = False
        self._closed = False
        shutdown.at_shutdown(self.close)
        # From here on: touched on the loop only.
        self._output = bytearray()
        self._read_fd = -1
        self._write_fd = -1
        self._read_open = False
        self._pollable = True
        self._waits_to_write = False
        self._held = True  # until there is a receiver
        self._has_receiver = False
        self._on_drained: Callable[[], None] | None = None

    # -- any thread ----------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Queue ``data``; it is sent within a few milliseconds."""
        if self._closed:
            return
        # Append, then look: _flush does it the other way round, so no byte is left without a flush.
        self._queue.append(data)
        if not self._due:
            self._due = True
            self._io.call_soon(self._flush_soon)

    def _receiver_set(self) -> None:
        self._io.call_soon(self._receiver_ready)

    def hold(self) -> None:
        """Stop reading."""
        self._io.call_soon(self._set_held, True)

    def release(self) -> None:
        """Read again."""
        self._io.call_soon(self._set_held, False)

    def close(self) -> None:
        """See :meth:`Chardev.close`."""
        if self._closed:
            return
        self._closed = True
        shutdown.forget(self.close)
        if self._io.running:
            try:
                self._io.run(self._finish(), _PATIENCE)
                return
            except TimeoutError:
                pass  # the loop hangs: what is left to do is to give the terminal back
        self._shut()

    # -- on the loop ---------------------------------------------------------------------------

    def attach(self, read_fd: int, write_fd: int) -> None:
        """Use these descriptors until :meth:`_detach`; whoever opened them closes them."""
        self._read_fd, self._write_fd = read_fd, write_fd
        self._read_open = True
        self._pollable = True
        self._watch_input()
        self._send()
        if self._has_receiver:
            self.on_event(ChardevEvent.OPENED)

    def _receiver_ready(self) -> None:
        """Somebody takes input and events now, and is told that the other side is there already."""
        if not self._has_receiver:
            self._has_receiver = True
            if self._read_fd >= 0:
                self.on_event(ChardevEvent.OPENED)
        self._set_held(False)

    def _set_held(self, held: bool) -> None:
        if held != self._held:
            self._held = held
            self._watch_input()

    def _watch_input(self) -> None:
        if self._read_fd < 0 or not self._read_open:
            return
        if not self._pollable:
            if not self._held:
                self._loop.call_soon(self._readable)
        elif self._held:
            self._loop.remove_reader(self._read_fd)
        else:
            try:
                self._loop.add_reader(self._read_fd, self._readable)
            except PermissionError:
                # Regular files and /dev/null are always ready, and cannot be polled.
                self._pollable = False
                self._loop.call_soon(self._readable)

    def _readable(self) -> None:
        if self._read_fd < 0 or not self._read_open or self._held:
            return
        try:
            data = os.read(self._read_fd, _CHUNK if self._pollable else 1024)
        except BlockingIOError:
            return
        except OSError:  # a terminal that was hung up gives EIO, a connection ECONNRESET
            data = b""
        if data:
            self._take(data)
            if not self._pollable:
                self._loop.call_later(FLUSH_DELAY, self._readable)
        else:
            self._end_of_input()

    def _take(self, data: bytes) -> None:
        """Hand on what was read; subclasses look into it first."""
        self.on_receive(data)

    def _end_of_input(self) -> None:
        """Nothing more will come. Here: output goes on; a socket is gone as a whole."""
        self._stop_reading()
        self.on_event(ChardevEvent.ENDED if self.lingers else ChardevEvent.CLOSED)

    def _stop_reading(self) -> None:
        if self._read_open:
            self._read_open = False
            if self._pollable and self._read_fd >= 0:
                self._loop.remove_reader(self._read_fd)

    def _flush_soon(self) -> None:
        self._loop.call_later(FLUSH_DELAY, self._flush)

    def _flush(self) -> None:
        self._due = False
        parts = []
        while self._queue:
            parts.append(self._queue.popleft())
        self._output += self._encode(b"".join(parts))
        self._send()

    def _encode(self, data: bytes) -> bytes:
        """What goes over the wire for ``data``."""
        return data

    def _send(self) -> None:
        output = self._output
        while output and self._write_fd >= 0 and not self._waits_to_write:
            try:
                with memoryview(output)[:_CHUNK] as chunk:
                    sent = os.write(self._write_fd, chunk)
            except BlockingIOError:
                self._waits_to_write = True
                self._loop.add_writer(self._write_fd, self._writable)
            except OSError:
                self._lose_output()
                break
            else:
                del output[:sent]
        excess = len(output) - (self._limit if self._write_fd >= 0 else min(self._limit, ABSENT_LIMIT))
        if excess > 0:
            del output[:excess]
            self._dropped += excess
        if self._on_drained is not None and (not output or self._write_fd < 0):
            self._on_drained()

    def _writable(self) -> None:
        self._stop_waiting()
        self._send()

    def _stop_waiting(self) -> None:
        if self._waits_to_write:
            self._waits_to_write = False
            self._loop.remove_writer(self._write_fd)

    def _lose_output(self) -> None:
        """The other side takes nothing any more. Here: for good."""
        self._stop_waiting()
        self._write_fd = -1

    async def _finish(self) -> None:
        self._flush()
        if self._output and self._write_fd >= 0:
            drained = self._loop.create_future()
            self._on_drained = lambda: None if drained.done() else drained.set_result(None)
            timer = self._loop.call_later(CLOSE_GRACE, self._on_drained)
            await drained
            timer.cancel()
            self._on_drained = None
        self._shut()

    def _shut(self) -> None:
        """Let go of everything. Subclasses extend it."""
        self._detach()

    def _detach(self) -> None:
        """Stop using the present descriptors."""
        if self._read_fd >= 0 or self._write_fd >= 0:
            if not self._loop.is_closed():
                self._stop_reading()
                self._stop_waiting()
            self._read_open = False
            self._read_fd = self._write_fd = -1


def private_copy(fd: int, flags: int) -> int:
    """A descriptor for the same file that can be non-blocking without ``fd`` becoming so.

    O_NONBLOCK belongs to what was opened, which a shell shares with its children: a terminal left
    non-blocking makes the next program fail. So terminals and pipes are opened anew, with ``flags``.
    A regular file is not: the new one would have its own position.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        try:
            return os.open(f"/proc/self/fd/{fd}", flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            pass  # no /proc, or a terminal that belongs to somebody else: small blocking writes then
    return os.dup(fd)
