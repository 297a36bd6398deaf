"""One client's socket, on an event loop: bytes in, packets through the client, bytes out.

The sockets are read by ``loop.add_reader`` directly: a round trip costs two thirds of what it does
through an asyncio transport, and no task is ever made.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from dbgemu.gdbstub.client import Client, Stub
from dbgemu.gdbstub.errors import MALFORMED, PacketError
from dbgemu.gdbstub.framing import FrameReader, Signal, frame, lone_packet

_READ_SIZE = 65536

#: a client with this many bytes of replies unread is not listened to until it has read them
_OUTPUT_LIMIT = 1 << 20

#: after this many packets of one client it is the turn of others
_TURN = 64

#: how often a quick client's next packet is looked for before the loop waits for it: some 40 us. To
#: be woken for a packet takes longer than to answer it. Not where the client needs this very core.
_LOOKS = 48 if (os.cpu_count() or 1) > 1 else 0

#: one reply in so many is waited for so from a client that was slow before
_TRIAL = 32

#: seconds that a client has to take its last notification
_LAST_WORD = 1.0


class Connection:
    """The conversation over one accepted, non-blocking socket. All methods on the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        stub: Stub,
        name: str,
        on_close: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._on_close = on_close
        self._reader = FrameReader()
        self._items: deque[bytes | Signal] = deque()
        self._output = bytearray()
        self._last_frame = b""
        #: what is to be sent in front of anything else: the packet at hand is not acknowledged yet
        self._lead = b""
        self._listening = False
        self._writing = False
        #: replies gather, to be sent together at the end of the turn
        self._corked = False
        #: replies until the client is expected to be quick again
        self._trial = 0
        self.closed = False
        #: to be closed when the client has taken its notifications
        self._ending = False
        self.client = Client(
            stub,
            send=self._send,
            notify=self._send_notification,
            schedule=self._schedule,
            disconnect=self.finish,
            unsent=lambda: len(self._output),
            name=name,
        )
        self._listen(True)

    # -- input -------------------------------------------------------------------------------

    def _listen(self, wanted: bool) -> None:
        if wanted != self._listening and not self.closed:
            self._listening = wanted
            if wanted:
                self._loop.add_reader(self._socket.fileno(), self._readable)
            else:
                self._loop.remove_reader(self._socket.fileno())

    def _readable(self) -> None:
        looks = 1
        for _ in range(_TURN):
            data = self._receive(looks)
            if data is None:
                return
            if not data:
                self.close()
                return
            if len(data) <= 64 and not self._reader.pending and (packet := lone_packet(data)) is not None:
                self._packet(packet)
            else:
                self._items.extend(self._reader.feed(data))
                self._work()
            looks = self._looks()
            if not looks:
                return

    def _receive(self, looks: int) -> bytes | None:
        """What has arrived, empty at the end of the stream; None when ``looks`` looks find nothing."""
        receive = self._socket.recv
        for _ in range(looks):
            try:
                return receive(_READ_SIZE)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                return b""
        if looks > 1:
            self._trial = _TRIAL
        return None

    def _looks(self) -> int:
        """How often to look for the next packet at once, rather than to be woken for it."""
        if self.closed or self._items or self._output or self._writing or self.client.session.running:
            return 0
        if self._trial:
            self._trial -= 1
            return 0
        return _LOOKS

    def _work(self) -> None:
        """Handle what has arrived: a turn's worth now, the rest when others had theirs."""
        self._corked = len(self._items) > 1
        for _ in range(min(_TURN, len(self._items))):
            item = self._items.popleft()
            if isinstance(item, bytes):
                self._packet(item)
            else:
                self._signal(item)
            if self.closed:
                return
            if len(self._output) > _OUTPUT_LIMIT:
                break
        if self._corked:
            self._corked = False
            self._flush()
        blocked = len(self._output) > _OUTPUT_LIMIT
        self._listen(not self._items and not blocked)
        if self._items and not blocked:
            self._loop.call_soon(self._work)

    def _packet(self, packet: bytes) -> None:
        client = self.client
        self._lead = b"+" if client.acks else b""
        reply = client.handle(packet)
        if reply is not None:
            self._send(reply)
        elif self._lead:
            self._write(b"")
        if self._ending:
            self.finish()

    def _signal(self, signal: Signal) -> None:
        client = self.client
        match signal:
            case Signal.INTERRUPT:
                client.interrupt()
            case Signal.NAK if client.acks and self._last_frame:
                self._write(self._last_frame)
            case Signal.BAD_CHECKSUM if client.acks:
                self._write(b"-")
            case Signal.BAD_CHECKSUM | Signal.OVERSIZED:
                # The client would wait for a reply for ever.
                reply = client.error(PacketError(f"{signal.value} was ignored", MALFORMED))
                self._write((b"+" if client.acks else b"") + frame(reply))
            case _:
                pass

    # -- output ------------------------------------------------------------------------------

    def _send(self, packet: bytes) -> None:
        self._last_frame = frame(packet)
        self._write(self._last_frame)

    def _send_notification(self, text: bytes) -> None:
        # Neither acknowledged nor ever sent again.
        self._write(b"%" + frame(text)[1:])

    def _write(self, data: bytes) -> None:
        if self.closed:
            return
        if self._lead:
            data, self._lead = self._lead + data, b""
        if self._output or self._corked:
            self._output += data
            return
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._output += data[sent:]
            self._wait_for_room()

    def _flush(self) -> None:
        """Send what has gathered; called again by the loop for what does not fit."""
        if not self._output or self.closed:
            return
        try:
            del self._output[: self._socket.send(self._output)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
            return
        if self._output:
            self._wait_for_room()
        elif self._writing:
            self._writing = False
            self._loop.remove_writer(self._socket.fileno())
            self._loop.call_soon(self._work)

    def _wait_for_room(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._socket.fileno(), self._flush)
        if len(self._output) > _OUTPUT_LIMIT:
            self._listen(False)

    # -- the end -----------------------------------------------------------------------------

    def _schedule(self, action: Callable[[], None]) -> None:
        def run() -> None:
            if not self.closed:
                action()

        # The loop may be gone when a machine stops at the end of the program.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(run)

    def finish(self) -> None:
        """Close, when the client has taken what it was notified of; soon in any case.

        A GDB that sees the stream's end behind a notification loses that.
        """
        if not self.client.notifications.untaken:
            self.close()
        elif not self._ending:
            self._ending = True
            self._loop.call_later(_LAST_WORD, self.close)

    def close(self) -> None:
        """Close the socket; the client leaves the session, whose machine goes on as it does."""
        if self.closed:
            return
        descriptor = self._socket.fileno()
        self._loop.remove_reader(descriptor)
        self._loop.remove_writer(descriptor)
        self.closed = True
        self._items.clear()
        self._output.clear()
        self._socket.close()
        self.client.detach(resume=False)
        self._on_close(self)
