"""The smallest client of GDB's remote protocol: the same for every server that is measured."""

from __future__ import annotations

import socket

from benchmarks.report import BenchmarkError

_LONGEST = 10.0


class RemoteClient:
    """Sends packets and takes the replies over a connected socket.

    Without acknowledgements where the server can do without (QEMU 7.2 cannot).
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        sock.settimeout(_LONGEST)
        self._pending = b""
        self._acknowledge = True
        features = self.exchange(b"qSupported:swbreak+;hwbreak+;vContSupported+")
        self.features = {
            name: value for name, _, value in (part.partition("=") for part in features.decode().split(";"))
        }
        self._acknowledge = self.exchange(b"QStartNoAckMode") != b"OK"

    @property
    def packet_size(self) -> int:
        """The longest packet that the server takes."""
        return int(self.features.get("PacketSize", "400"), 16)

    def exchange(self, packet: bytes) -> bytes:
        """The reply to ``packet``, escapes and run lengths as they came."""
        sock = self._socket
        try:
            sock.sendall(b"$%b#%02x" % (packet, sum(packet) & 0xFF))
            pending = self._pending
            while True:
                start = pending.find(b"$")
                end = pending.find(b"#", start) if start >= 0 else -1
                if end >= 0 and end + 2 < len(pending):
                    break
                data = sock.recv(1 << 18)
                if not data:
                    raise BenchmarkError(f"the GDB server hung up at {packet!r}")
                pending += data
        except TimeoutError:
            raise BenchmarkError(f"the GDB server does not answer {packet!r}") from None
        self._pending = pending[end + 3 :]
        if self._acknowledge:
            sock.sendall(b"+")
        return pending[start + 1 : end]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def unescape(reply: bytes) -> bytes:
    """The bytes of a binary reply, without the ``b`` in front."""
    first, *rest = reply.removeprefix(b"b").split(b"}")
    return first + b"".join(bytes([part[0] ^ 0x20]) + part[1:] for part in rest)
