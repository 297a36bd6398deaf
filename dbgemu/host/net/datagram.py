"""``-net socket,mcast=`` and ``udp=``: each frame is a datagram."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from dbgemu.errors import OptionError
from dbgemu.host.iothread import IoThread
from dbgemu.host.net.backend import LONGEST_FRAME, NetBackend

#: datagrams that are read before the loop looks at anything else
_BATCH = 64


class _DatagramNetwork(NetBackend):
    """Frames come in at ``_receiver`` and go out of ``_sender`` to ``_there``."""

    kind = "socket"

    def __init__(self, name: str, io: IoThread) -> None:
        super().__init__(name)
        self._io = io
        self._there: tuple[str, int] = ("", 0)
        #: where our own datagrams come from: they are not taken
        self._own: tuple[str, int] | None = None
        self._receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sender = self._receiver
        self._receiver.setblocking(False)

    def _start(self) -> None:
        self._io.call_soon(self._io.loop.add_reader, self._receiver.fileno(), self._readable)

    def send(self, frame: bytes) -> Sequence[bytes]:
        """See NetBackend. A frame that cannot be sent is lost."""
        with suppress(OSError):
            self._sender.sendto(frame, self._there)
        return ()

    def _readable(self) -> None:
        frames = []
        with suppress(OSError):  # no more; or a partner that is not there, which UDP tells here
            for _ in range(_BATCH):
                frame, source = self._receiver.recvfrom(LONGEST_FRAME + 1)
                if source != self._own:
                    frames.append(frame)
        if frames:
            self.on_frames(frames)

    def close(self) -> None:
        """See NetBackend."""
        if self._receiver.fileno() >= 0:
            if self._io.running:
                self._io.run(self._remove())
            self._receiver.close()
            self._sender.close()

    async def _remove(self) -> None:
        self._io.loop.remove_reader(self._receiver.fileno())


class UdpNetwork(_DatagramNetwork):
    """Datagrams from the address ``here`` to the address ``there``. Raises OptionError."""

    def __init__(self, name: str, io: IoThread, *, here: tuple[str, int], there: tuple[str, int]) -> None:
        super().__init__(name, io)
        self._there = (there[0] or "127.0.0.1", there[1])
        try:
            self._receiver.bind((here[0] or "127.0.0.1", here[1]))
        except OSError as error:
            self._receiver.close()
            raise OptionError(f"'{here[0]}:{here[1]}' cannot be received at: {error.strerror}") from None
        self._start()

    @property
    def description(self) -> str:
        """See NetBackend."""
        host, port = self._receiver.getsockname()
        return f"type=socket,udp={self._there[0]}:{self._there[1]},localaddr={host}:{port}"


class MulticastNetwork(_DatagramNetwork):
    """All emulators that use the same ``group`` and ``port`` are on one network. Raises OptionError.

    ``interface`` is the host's address to do so at; empty: as the host's routes say.
    """

    def __init__(self, name: str, io: IoThread, *, group: str, port: int, interface: str = "") -> None:
        super().__init__(name, io)
        self._there = (group, port)
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._receiver.bind((group, port))
            here = socket.inet_aton(interface or "0.0.0.0")
            membership = struct.pack("4s4s", socket.inet_aton(group), here)
            self._receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            if interface:
                self._sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
            self._sender.setblocking(False)
            self._sender.connect(self._there)  # tells where our datagrams come from
            self._own = self._sender.getsockname()
        except OSError as error:
            self._receiver.close()
            self._sender.close()
            raise OptionError(f"'{group}:{port}' cannot be used for multicast: {error.strerror}") from None
        self._start()

    @property
    def description(self) -> str:
        """See NetBackend."""
        return f"type=socket,mcast={self._there[0]}:{self._there[1]}"
