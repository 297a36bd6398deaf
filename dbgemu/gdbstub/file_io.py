"""GDB executes the guest's semihosting calls: requests of the File-I/O extension, and their replies.

GDB manual, "File-I/O Remote Protocol Extension". While a client waits for the guest to stop, an ``F``
packet asks it for a system call on its side. It reads and writes the guest's memory meanwhile, and its
own ``F`` packet brings the result.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dbgemu.debug.semihosting.errors import CallError, Errno, InterruptedCallError, RetryCallError
from dbgemu.debug.semihosting.files import OpenFile, RemoteHost

if TYPE_CHECKING:
    from dbgemu.debug.events import StopEvent
    from dbgemu.debug.semihosting.guest import Text
    from dbgemu.debug.semihosting.host import Semihosting
    from dbgemu.gdbstub.client import Client

# "Open Flags"
_WRONLY, _RDWR, _APPEND, _CREAT, _TRUNC = 0x1, 0x2, 0x8, 0x200, 0x400
#: by SYS_OPEN's mode, without its lowest bit ("binary")
_OPEN_FLAGS = (
    0,
    _RDWR,
    _WRONLY | _CREAT | _TRUNC,
    _RDWR | _CREAT | _TRUNC,
    _WRONLY | _CREAT | _APPEND,
    _RDWR | _CREAT | _APPEND,
)
_PERMISSIONS = 0o666
_SEEK_SET = 0
#: "struct stat": its bytes, and where st_size is, a big-endian number like all others
_STAT_SIZE, _STAT_LENGTH = 64, slice(28, 36)

#: so long (s) may a request take on when the machine is to stop, before it stops without an answer
_PATIENCE = 1.0


class _Request:
    """One request on its way; ``result`` is the return code, the error number and whether ctrl-C came."""

    def __init__(self) -> None:
        self.sent = False
        self.abandoned = False
        self.lost = False
        self.result: tuple[int, int, bool] | None = None

    def done(self) -> bool:
        return self.lost or self.result is not None


class FileIo(RemoteHost):
    """The requests to one client. Calls come on the machine's thread, replies on the server's."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._request: _Request | None = None
        #: the stop that the client is told of when it has replied
        self._deferred: StopEvent | None = None

    @property
    def host(self) -> Semihosting:
        """Whose calls are executed."""
        host = self._client.session.semihosting
        assert host is not None
        return host

    @property
    def available(self) -> bool:
        """The client waits for the guest, and is not at another request."""
        return self._client.takes_requests and self._request is None

    # -- on the machine's thread -------------------------------------------------------------

    def open(self, path: Text, mode: int) -> OpenFile:
        """See :class:`RemoteHost`, also for the following."""
        return RemoteFile(self, self.call("open", path, _OPEN_FLAGS[mode // 2], _PERMISSIONS))

    def remove(self, path: Text) -> None:
        """``unlink``."""
        self.call("unlink", path)

    def rename(self, old: Text, new: Text) -> None:
        """``rename``."""
        self.call("rename", old, new)

    def system(self, command: Text) -> int:
        """``system``: GDB refuses unless its user allowed it (``set remote system-call-allowed``)."""
        return self.call("system", command)

    def stream(self, number: int) -> OpenFile:
        """The descriptors 0 to 2 are GDB's own console."""
        return RemoteFile(self, number)

    def call(self, name: str, *arguments: int | Text) -> int:
        """Ask for a system call, and wait for its result. Raises the errors of semihosting."""
        host = self.host
        host.check_waiting()
        request = _Request()
        packet = f"F{name}," + ",".join(map(_argument, arguments))
        self._request = request
        self._client.schedule(lambda: self._send(request, packet.encode()))
        try:
            host.wait_until(request.done, patience=_PATIENCE)
        except InterruptedCallError:
            self._abandon(request)
            raise
        if request.result is None:
            raise RetryCallError
        code, number, interrupted = request.result
        if interrupted:
            host.stop_wanted = True
            if code < 0 and number == Errno.EINTR:  # it has not begun: once more, after the stop
                raise InterruptedCallError
        if code < 0:
            raise CallError(number or Errno.EIO)
        return code

    def _abandon(self, request: _Request) -> None:
        """Do not wait for it any more; a client that has it will reply before anything else."""
        with self._lock:
            request.abandoned = True
            if not request.sent:
                self._request = None

    # -- on the server's thread --------------------------------------------------------------

    def _send(self, request: _Request, packet: bytes) -> None:
        with self._lock:
            if request.abandoned:
                return
            if not self._client.takes_requests:
                request.lost = True
                self._request = None
            else:
                request.sent = True
        if request.lost:
            self.host.wake()
        else:
            self._client.send(packet)

    def replied(self, code: int, number: int, interrupted: bool) -> None:
        """The client's result; one that nobody asked for means nothing."""
        with self._lock:
            request = self._request
            if request is None or not request.sent:
                return
            self._request = None
            request.result = code, number, interrupted
        self.host.wake()
        event, self._deferred = self._deferred, None
        if event is not None:
            self._client.report(event)

    def defers(self, event: StopEvent) -> bool:
        """The client has a request: it can be told of the stop only when it has replied."""
        request = self._request
        if request is None or not request.sent:
            return False
        self._deferred = event
        return True

    def lose(self) -> None:
        """The client is gone."""
        with self._lock:
            request, self._request, self._deferred = self._request, None, None
            if request is None:
                return
            request.lost = True
        self.host.wake()


class RemoteFile(OpenFile):
    """A file that GDB has open."""

    def __init__(self, io: FileIo, descriptor: int) -> None:
        self._io = io
        self._descriptor = descriptor

    def _call(self, name: str, *arguments: int) -> int:
        if not self._io.available:
            raise CallError(Errno.EIO)
        return self._io.call(name, self._descriptor, *arguments)

    def _transfer(self, name: str, address: int, length: int) -> int:
        count = self._call(name, address, length)
        if count > length:
            raise CallError(Errno.EIO)
        return count

    def read(self, address: int, length: int) -> int:
        """See :class:`OpenFile`, also for the following: GDB writes the buffer."""
        self._io.host.guest.check_writable(address, length)
        return self._transfer("read", address, length)

    def write(self, address: int, length: int) -> int:
        """GDB reads the buffer, which must be there."""
        self._io.host.guest.read(address, length)
        return self._transfer("write", address, length)

    def seek(self, position: int) -> None:
        """``lseek`` from the start."""
        self._call("lseek", position, _SEEK_SET)

    def size(self) -> int:
        """``fstat``; its result goes through memory that the guest gets back."""
        guest = self._io.host.guest
        with guest.borrowed(_STAT_SIZE) as address:
            self._call("fstat", address)
            return int.from_bytes(guest.read(address, _STAT_SIZE)[_STAT_LENGTH], "big")

    def is_terminal(self) -> bool:
        """``isatty``."""
        return self._call("isatty") == 1

    def close(self) -> None:
        """``close``."""
        self._call("close")


def _argument(value: int | Text) -> str:
    """A number, or a string's address and its length with the NUL, in hexadecimal."""
    return f"{value:x}" if isinstance(value, int) else f"{value.address:x}/{len(value.data) + 1:x}"


def reply(client: Client, code: int, number: int, interrupted: bool) -> None:
    """``F``: the result of a request."""
    client.file_io.replied(code, number, interrupted)
