"""Back ends on sockets: TCP, Telnet and Unix, as a server for one client at a time or as a client."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable

from dbgemu.host import telnet
from dbgemu.host.backend import ChardevEvent
from dbgemu.host.iothread import IoThread
from dbgemu.host.stream import StreamChardev

LOOPBACK = "127.0.0.1"


class SocketChardev(StreamChardev):
    """A connected socket, or a listening one and whoever is connected to it at the moment.

    What the guest writes while nobody is connected is kept, up to a bound, for the next client.
    """

    def __init__(
        self, description: str, io: IoThread, *, nodelay: bool = False, speaks_telnet: bool = False
    ) -> None:
        super().__init__(description, io)
        self._nodelay = nodelay
        self._telnet = speaks_telnet
        self._filter = telnet.TelnetFilter()
        self._peer: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._unlink = ""

    # -- on the thread that opens it -----------------------------------------------------------

    def connect(self, address: tuple[str, int] | str) -> None:
        """Connect as a client; raises OSError."""
        if isinstance(address, str):
            peer = socket.socket(socket.AF_UNIX)
            try:
                peer.connect(address)
            except OSError:
                peer.close()
                raise
        else:
            peer = socket.create_connection(address, timeout=10)
        self._io.call_soon(self._adopt, peer)

    def listen(self, address: tuple[str, int] | str) -> None:
        """Become a server; raises OSError. Clients are served from :meth:`serve` on."""
        if isinstance(address, str):
            self._listener = self._listen_unix(address)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self._listener = socket.create_server(address, family=family, backlog=1)
            host, port = self._listener.getsockname()[:2]
            name = f"[{host}]" if ":" in host else host
            self.description = f"{self.description.partition(':')[0]}:{name}:{port}"

    def _listen_unix(self, path: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        try:
            # A socket left by a program that has ended is in the way; one that answers is not ours.
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(FileNotFoundError):
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)  # noqa: PTH108
            listener.bind(path)
            self._unlink = path
            listener.listen(1)
        except OSError:
            listener.close()
            raise
        return listener

    def serve(self, *, wait: bool, announce: Callable[[str], None]) -> None:
        """Take clients from now on; with ``wait``, return only when the first has connected."""
        assert self._listener is not None
        if wait:
            announce(f"waiting for a connection on {self.description}")
            peer, _ = self._listener.accept()
            self._listener.setblocking(False)
            self._io.call_soon(self._adopt, peer)
        else:
            self._listener.setblocking(False)
            self._io.call_soon(self._watch_listener)

    # -- on the loop ---------------------------------------------------------------------------

    def _watch_listener(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return  # it went away again
        # The next one waits in the backlog until this one leaves.
        self._loop.remove_reader(self._listener.fileno())
        self._adopt(peer)

    def _adopt(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        if self._nodelay and peer.family != socket.AF_UNIX:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peer = peer
        if self._telnet:
            self._filter = telnet.TelnetFilter()
            if self._listener is not None:
                self._output[:0] = telnet.GREETING
        self.attach(peer.fileno(), peer.fileno())

    def _take(self, data: bytes) -> None:
        if self._telnet:
            window = self._filter.window
            data, breaks = self._filter.feed(data)
            if self._filter.window != window:
                self.on_event(ChardevEvent.RESIZED)
            for _ in range(breaks):
                self.on_event(ChardevEvent.BREAK)
        if data:
            self.on_receive(data)

    def _encode(self, data: bytes) -> bytes:
        return telnet.escape(data) if self._telnet else data

    def _end_of_input(self) -> None:
        if self.lingers:
            super()._end_of_input()
        else:
            self._disconnect()

    def hang_up(self) -> None:
        """Send what was written, as far as it goes at once, and disconnect."""
        self._io.call_soon(self._send_and_disconnect)

    def _send_and_disconnect(self) -> None:
        self._flush()
        if not self._output:
            self._disconnect()
        elif self._peer is not None:
            self._on_drained = self._leave

    def _leave(self) -> None:
        self._on_drained = None
        self._disconnect()

    @property
    def terminal_size(self) -> tuple[int, int] | None:
        """As a telnet client tells it."""
        return self._filter.window if self._telnet and self._peer is not None else None

    @property
    def echoes(self) -> bool:
        """As a telnet client is told."""
        return self._telnet

    def _lose_output(self) -> None:
        self._disconnect()

    def _disconnect(self) -> None:
        if self._peer is None:
            return
        self._detach()
        self._peer.close()
        self._peer = None
        self._watch_listener()
        self.on_event(ChardevEvent.CLOSED)

    def _shut(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(listener.fileno())
            listener.close()
        if self._peer is not None:
            self._disconnect()
        if self._unlink:
            with contextlib.suppress(OSError):
                os.unlink(self._unlink)  # noqa: PTH108
