"""``-net socket,listen=`` and ``connect=``: a cable to another emulator, QEMU included, over TCP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dbgemu.errors import OptionError
from dbgemu.host.iothread import IoThread
from dbgemu.host.net.backend import LONGEST_FRAME, NetBackend

#: a frame's length goes in front of it, big-endian
_LENGTH = 4
#: bytes that may wait for a partner that does not read; more frames are lost
_BACKLOG = 1 << 20
#: longer frames come from no emulator: QEMU's limit
_LONGEST = 68 << 10


class _Connection(asyncio.Protocol):
    """A partner that is there."""

    def __init__(self, owner: StreamNetwork) -> None:
        self._owner = owner
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._owner.joined(transport)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        frames, at = [], 0
        while len(received) - at >= _LENGTH:
            length = int.from_bytes(received[at : at + _LENGTH], "big")
            if length > _LONGEST:
                self._owner.leave()
                return
            if len(received) - at - _LENGTH < length:
                break
            at += _LENGTH + length
            if length <= LONGEST_FRAME:
                frames.append(bytes(received[at - length : at]))
        del received[:at]
        if frames:
            self._owner.on_frames(frames)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.left(self)


class StreamNetwork(NetBackend):
    """One partner at a time: who connects to ``host:port``, or who listens there. Raises OptionError."""

    kind = "socket"

    def __init__(self, name: str, io: IoThread, *, listen: bool, host: str, port: int) -> None:
        super().__init__(name)
        self._io = io
        self._transport: asyncio.WriteTransport | None = None
        self._server: asyncio.Server | None = None
        self._listens = listen
        self.host, self.port = host or "127.0.0.1", port
        try:
            io.run(self._listen() if listen else self._connect(), 10)
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "nobody answers"
            verb = "listened at" if listen else "connected to"
            raise OptionError(f"'{self.host}:{port}' cannot be {verb}: {reason}") from None

    @property
    def description(self) -> str:
        """See NetBackend."""
        kind = "listen" if self._listens else "connect"
        there = "" if self._transport is not None else " (nobody is there)"
        return f"type=socket,{kind}={self.host}:{self.port}{there}"

    async def _listen(self) -> None:
        loop = self._io.loop
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _connect(self) -> None:
        await self._io.loop.create_connection(lambda: _Connection(self), self.host, self.port)

    def joined(self, transport: asyncio.WriteTransport) -> None:
        """A partner came; a second one is not let in."""
        if self._transport is None:
            self._transport = transport
        else:
            transport.abort()

    def leave(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def left(self, connection: _Connection) -> None:
        """A partner went."""
        if self._transport is not None and self._transport.is_closing():
            self._transport = None

    def send(self, frame: bytes) -> Sequence[bytes]:
        """See NetBackend. Lost while nobody is there."""
        if self._transport is not None:
            self._io.call_soon(self._write, len(frame).to_bytes(_LENGTH, "big") + frame)
        return ()

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size() < _BACKLOG:
            transport.write(data)

    def close(self) -> None:
        """See NetBackend."""
        if self._io.running:
            self._io.run(self._close())

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._transport is not None:
            self._transport.close()
        # connection_lost comes with the loop's next round
        await asyncio.sleep(0)
