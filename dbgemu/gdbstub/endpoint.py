"""Where a server listens: ``tcp:HOST:PORT`` or ``unix:PATH``, as in QEMU's options."""

from __future__ import annotations

import errno
import re
import socket
import stat
from pathlib import Path
from typing import NamedTuple

from dbgemu.errors import OptionError

#: a missing host means this machine only: a debug server hands the machine to whoever connects
_LOOPBACK = "127.0.0.1"

_TCP = re.compile(r"tcp:(?:\[(?P<v6>[^]]*)\]|(?P<host>[^:]*)):(?P<port>\d{1,5})")


class TcpEndpoint(NamedTuple):
    """A TCP port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp:[{self.host}]:{self.port}" if ":" in self.host else f"tcp:{self.host}:{self.port}"

    def listen(self) -> socket.socket:
        """A listening socket. Raises OSError."""
        family, _, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except OSError:
            listener.close()
            raise
        return listener

    def bound(self, listener: socket.socket) -> TcpEndpoint:
        """The endpoint with the port that ``listener`` has in fact."""
        host, port = listener.getsockname()[:2]
        return TcpEndpoint(host, port)

    def release(self) -> None:
        """Clean up after the listener is closed: nothing to do."""


class UnixEndpoint(NamedTuple):
    """A socket in the file system."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"

    def listen(self) -> socket.socket:
        """A listening socket; one left behind by a dead process is replaced. Raises OSError."""
        self._remove_stale()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self.path))
            listener.listen()
        except OSError:
            listener.close()
            raise
        return listener

    def _remove_stale(self) -> None:
        try:
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                return
        except FileNotFoundError:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(self.path)) == errno.ECONNREFUSED:
                self.path.unlink()

    def bound(self, listener: socket.socket) -> UnixEndpoint:
        """The endpoint itself."""
        return self

    def release(self) -> None:
        """Clean up after the listener is closed: remove the file."""
        self.path.unlink(missing_ok=True)


Endpoint = TcpEndpoint | UnixEndpoint


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint that ``text`` names; QEMU's ``,server`` and ``,nowait`` behind it change nothing.

    Raises :class:`OptionError`.
    """
    spec = text.partition(",")[0]
    if spec.startswith("unix:") and len(spec) > 5:
        return UnixEndpoint(Path(spec[5:]))
    match = _TCP.fullmatch(spec)
    if match is None or int(match["port"]) > 65535:
        raise OptionError(f"'{text}' is no place to listen at: write tcp:HOST:PORT or unix:PATH")
    return TcpEndpoint(match["v6"] or match["host"] or _LOOPBACK, int(match["port"]))


def open_listener(endpoint: Endpoint) -> socket.socket:
    """A listening socket at ``endpoint``. Raises :class:`OptionError` when that cannot be."""
    try:
        return endpoint.listen()
    except OSError as error:
        raise OptionError(f"cannot listen at {endpoint}: {error.strerror or error}") from None
