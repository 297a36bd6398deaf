"""A TAP device of the host: the board is on a network of the host's kernel."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Sequence
from contextlib import suppress

from dbgemu.errors import OptionError
from dbgemu.host.iothread import IoThread
from dbgemu.host.net.backend import LONGEST_FRAME, NetBackend

#: linux/if_tun.h
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
#: frames that are read before the loop looks at anything else
_BATCH = 64


class TapNetwork(NetBackend):
    """The TAP device ``interface`` (empty: a new one), or the open file ``fd``. Raises OptionError."""

    kind = "tap"

    def __init__(self, name: str, io: IoThread, *, interface: str = "", fd: int | None = None) -> None:
        super().__init__(name)
        if fd is None:
            self._fd, self.interface = _open_tap(interface)
        else:
            self._fd, self.interface = fd, f"fd {fd}"
        try:
            os.set_blocking(self._fd, False)
        except OSError as error:
            raise OptionError(f"the file descriptor {fd} cannot be used: {error.strerror}") from None
        self._io = io
        self._open = True
        io.call_soon(io.loop.add_reader, self._fd, self._readable)

    @property
    def description(self) -> str:
        """See NetBackend."""
        return f"type=tap,ifname={self.interface}"

    def send(self, frame: bytes) -> Sequence[bytes]:
        """See NetBackend. A frame that the kernel has no room for, or no interface that is up, is lost."""
        if self._open:
            with suppress(OSError):
                os.write(self._fd, frame)
        return ()

    def _readable(self) -> None:
        frames: list[bytes] = []
        try:
            while len(frames) < _BATCH and (frame := os.read(self._fd, LONGEST_FRAME + 1)):
                frames.append(frame)
        except BlockingIOError:
            pass
        except OSError:  # the interface was removed
            self._io.loop.remove_reader(self._fd)
        if frames:
            self.on_frames(frames)

    def close(self) -> None:
        """See NetBackend."""
        if self._open:
            self._open = False
            if self._io.running:
                self._io.run(self._remove())
            os.close(self._fd)

    async def _remove(self) -> None:
        self._io.loop.remove_reader(self._fd)


def _open_tap(interface: str) -> tuple[int, str]:
    """A TAP device's file and its name."""
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise OptionError(
            f"there is no TAP device: '/dev/net/tun' cannot be opened: {error.strerror}"
        ) from None
    request = struct.pack("16sH22x", interface.encode()[:15], _IFF_TAP | _IFF_NO_PI)
    try:
        answer = fcntl.ioctl(fd, _TUNSETIFF, request)
    except OSError as error:
        os.close(fd)
        raise OptionError(
            f"the TAP device '{interface}' cannot be used: {error.strerror} (as root: "
            f"ip tuntap add dev {interface or 'tap0'} mode tap user $USER)"
        ) from None
    return fd, answer[:16].rstrip(b"\0").decode()
