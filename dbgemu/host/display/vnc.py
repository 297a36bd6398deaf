"""A VNC server: the screen for any number of viewers, who may touch it too. No password: loopback."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress

import numpy as np

from dbgemu.host.display import rfb
from dbgemu.host.display.feed import SHARE, ScreenFeed, changes
from dbgemu.host.display.inputs import Inputs
from dbgemu.host.iothread import IoThread
from dbgemu.target.s3c2440.lcd_frame import Pixels, fit

#: viewers at a time
MOST_CLIENTS = 8
#: seconds for a client to introduce itself
_PATIENCE = 10
#: bytes of text that a client may want to paste: it is thrown away
_MOST_TEXT = 1 << 20
_LEFT_BUTTON = 1


class Goodbye(Exception):
    """The client did what the protocol does not allow, or what cannot be served."""


class VncServer:
    """Serves the screen at a TCP port. ``address`` is where, once :meth:`start` has returned."""

    def __init__(self, feed: ScreenFeed, inputs: Inputs, io: IoThread, *, name: str) -> None:
        self._feed = feed
        self._inputs = inputs
        self._io = io
        self._name = name
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._clients: dict[_Client, asyncio.Task[None]] = {}
        self.address: tuple[str, int] = ("", 0)

    def start(self, host: str, port: int) -> None:
        """Listen there (port 0: at any free one). Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        self.address = listener.getsockname()[:2]
        self._io.run(self._listen(listener))

    async def _listen(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._serve, sock=listener)

    def close(self) -> None:
        """Let every viewer go."""
        if self._server is not None:
            self._io.run(self._close())

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._clients.values()):
            task.cancel()
        await asyncio.gather(*self._clients.values(), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._clients) >= MOST_CLIENTS:
            writer.close()
            return
        client = _Client(self._feed, self._inputs, reader, writer, self._name)
        self._clients[client] = task
        try:
            await client.run()
        except (Goodbye, OSError, EOFError, TimeoutError, asyncio.CancelledError):
            pass  # it has gone, or has to
        finally:
            del self._clients[client]
            writer.transport.abort()


class _Client:
    """One viewer."""

    def __init__(
        self,
        feed: ScreenFeed,
        inputs: Inputs,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        name: str,
    ) -> None:
        self._feed = feed
        self._inputs = inputs
        self._reader = reader
        self._writer = writer
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._format = rfb.PixelFormat()
        self._encoding = rfb.RAW
        self._resizes = False
        self._encoder = rfb.Encoder()
        #: something may have to be sent
        self._attention = asyncio.Event()
        self._wants_update = False
        #: what the viewer has, and whether it has asked for all of it again
        self._shown: Pixels = feed.pixels
        self._wants_all = False
        self._held: set[str] = set()
        self._pressed = False

    async def run(self) -> None:
        """Serve it until it goes. Raises what ends the connection."""
        await asyncio.wait_for(self._introduce(), _PATIENCE)
        self._feed.add(self._picture_changed)
        sender = asyncio.create_task(self._send_updates())
        receiver = asyncio.create_task(self._receive())
        try:
            done, _ = await asyncio.wait((sender, receiver), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._feed.remove(self._picture_changed)
            for task in (sender, receiver):
                task.cancel()
            await asyncio.gather(sender, receiver, return_exceptions=True)
            self._let_go()

    def _let_go(self) -> None:
        """What a viewer held down goes up when it leaves."""
        if self._pressed:
            self._inputs.pointer(0, 0, False)
        for name in self._held:
            self._inputs.key(name, False)

    async def _introduce(self) -> None:
        read, write = self._reader.readexactly, self._writer.write
        write(rfb.VERSION)
        version = await read(12)
        if not version.startswith(b"RFB 003."):
            raise Goodbye
        if version[8:11] < b"007":  # the server decides (RFC 6143 A.1)
            write(struct.pack(">I", rfb.NO_SECURITY))
        else:
            write(bytes((1, rfb.NO_SECURITY)))
            if await read(1) != bytes((rfb.NO_SECURITY,)):
                raise Goodbye
            if version[8:11] >= b"008":
                write(bytes(4))  # no failure
        await read(1)  # whether others may watch too: they may
        height, width = self._shown.shape
        name = self._name.encode()
        write(struct.pack(">HH", width, height) + self._format.pack() + struct.pack(">I", len(name)) + name)
        await self._writer.drain()

    # -- from the client -----------------------------------------------------------------------

    async def _receive(self) -> None:
        handlers = {
            rfb.SET_PIXEL_FORMAT: self._set_pixel_format,
            rfb.SET_ENCODINGS: self._set_encodings,
            rfb.UPDATE_REQUEST: self._update_request,
            rfb.KEY_EVENT: self._key_event,
            rfb.POINTER_EVENT: self._pointer_event,
            rfb.CUT_TEXT: self._cut_text,
        }
        while True:
            kind = (await self._reader.readexactly(1))[0]
            handler = handlers.get(kind)
            if handler is None:
                raise Goodbye
            await handler()

    async def _set_pixel_format(self) -> None:
        data = await self._reader.readexactly(19)
        try:
            self._format = rfb.parse_pixel_format(data[3:])
        except ValueError:
            raise Goodbye from None

    async def _set_encodings(self) -> None:
        (count,) = struct.unpack(">xH", await self._reader.readexactly(3))
        offered = struct.unpack(f">{count}i", await self._reader.readexactly(4 * count))
        self._encoding = next((each for each in rfb.BY_MERIT if each in offered), rfb.RAW)
        self._resizes = rfb.DESKTOP_SIZE in offered

    async def _update_request(self) -> None:
        incremental = (await self._reader.readexactly(9))[0]
        self._wants_update = True
        if not incremental:
            self._wants_all = True
        self._attention.set()

    async def _key_event(self) -> None:
        down, keysym = struct.unpack(">BxxI", await self._reader.readexactly(7))
        name = rfb.key_name(keysym)
        if name is None:
            return
        if down:
            self._held.add(name)
        else:
            self._held.discard(name)
        self._inputs.key(name, bool(down))
        self._feed.hurry()

    async def _pointer_event(self) -> None:
        buttons, x, y = struct.unpack(">BHH", await self._reader.readexactly(5))
        self._pressed = bool(buttons & _LEFT_BUTTON)
        self._inputs.pointer(x, y, self._pressed)
        self._feed.hurry()

    async def _cut_text(self) -> None:
        (length,) = struct.unpack(">xxxI", await self._reader.readexactly(7))
        if length > _MOST_TEXT:
            raise Goodbye
        await self._reader.readexactly(length)

    # -- to the client -------------------------------------------------------------------------

    def _picture_changed(self, pixels: Pixels) -> None:
        """On the feed's thread."""
        with suppress(RuntimeError):  # the loop may have ended
            self._loop.call_soon_threadsafe(self._attention.set)

    async def _send_updates(self) -> None:
        while True:
            await self._attention.wait()
            self._attention.clear()
            if not self._wants_update:
                continue
            everything, pixels = self._wants_all, self._feed.pixels
            if pixels is self._shown and not everything:
                continue  # the request stays
            self._wants_update = self._wants_all = False
            rectangles, cost = await asyncio.to_thread(
                self._encode, pixels, self._format, self._encoding, everything
            )
            if not rectangles:  # nothing that this viewer sees
                self._wants_update = True
                continue
            self._writer.write(struct.pack(">BxH", 0, len(rectangles)))
            for rectangle in rectangles:
                self._writer.write(rectangle)
            await self._writer.drain()
            rest = self._feed.rest(cost / SHARE)
            while left := rest.left():
                await asyncio.sleep(left)

    def _encode(
        self, now: Pixels, form: rfb.PixelFormat, encoding: int, everything: bool
    ) -> tuple[list[bytes], float]:
        """Rectangles of what the viewer does not have, and the seconds of processor time that it took."""
        began = time.thread_time()
        found = []
        height, width = now.shape
        if now.shape != self._shown.shape:
            if self._resizes:
                found.append(rfb.desktop_size(width, height))
                everything = True
            else:
                height, width = self._shown.shape
                now = fit(now, width, height)
        before, self._shown = self._shown, now
        areas = [(0, 0, width, height)] if everything else changes(before, now)
        for x, y, columns, lines in areas:
            part = np.ascontiguousarray(now[y : y + lines, x : x + columns])
            found.append(self._encoder.rectangle(x, y, part, form, encoding))
        return found, time.thread_time() - began
