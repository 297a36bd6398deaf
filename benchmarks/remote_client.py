"""The smallest client of GDB's remote protocol: the same for every server that is measured."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.report import BenchmarkError

_LONGEST = 10.0

# As fast as a server can be: it looks for the next packet all the time and understands none
_ECHO = """
import socket, sys
ours = socket.socket(fileno=0)
ours.setblocking(False)
reply = b"$" + b"1" * int(sys.argv[1]) + b"#00"
while True:
    try:
        packet = ours.recv(65536)
    except BlockingIOError:
        continue
    if not packet:
        break
    ours.send(reply)
"""


class RemoteClient:
    """Sends packets and takes the replies over a connected socket.

    Without acknowledgements where the server can do without (QEMU 7.2 cannot).
    """

    def __init__(self, sock: socket.socket, *, talks: bool = True) -> None:
        """``talks`` is false for a server that answers nothing in particular."""
        self._socket = sock
        sock.settimeout(_LONGEST)
        self._pending = b""
        self._acknowledge = False
        if talks:
            self._greet()

    def _greet(self) -> None:
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

    def exchange_many(self, packets: Sequence[bytes]) -> None:
        """Send all ``packets`` at once, then read as many replies."""
        lead = b"+" if self._acknowledge else b""
        sent = b"".join(b"%b$%b#%02x" % (lead, packet, sum(packet) & 0xFF) for packet in packets)
        # the first reply is not acknowledged before there is one
        self._socket.sendall(sent.removeprefix(lead))
        replies = 0
        while replies < len(packets):
            data = self._socket.recv(1 << 18)
            if not data:
                raise BenchmarkError(f"the GDB server hung up at {packets[0]!r}")
            replies += data.count(b"#")
        if self._acknowledge:
            self._socket.sendall(lead)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@contextmanager
def start_echo(length: int) -> Iterator[RemoteClient]:
    """A client of a server that answers whatever comes with ``length`` characters, at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    for end in (sock, theirs):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with theirs:
        process = subprocess.Popen([sys.executable, "-c", _ECHO, str(length)], stdin=theirs.fileno())
    client = RemoteClient(sock, talks=False)
    try:
        yield client
    finally:
        client.close()
        process.wait(_LONGEST)


def unescape(reply: bytes) -> bytes:
    """The bytes of a binary reply, without the ``b`` in front."""
    first, *rest = reply.removeprefix(b"b").split(b"}")
    return first + b"".join(bytes([part[0] ^ 0x20]) + part[1:] for part in rest)
