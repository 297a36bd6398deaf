"""The GDB server: listens, and starts a conversation with each client that connects."""

from __future__ import annotations

import asyncio
import socket
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dbgemu.gdbstub.endpoint import open_listener, parse_endpoint
from dbgemu.gdbstub.exec_file import is_elf

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.gdbstub.client import Monitor, Stub
    from dbgemu.gdbstub.connection import Connection

#: clients at once; more are turned away
_MAX_CLIENTS = 32


def _no_monitor(line: str) -> str:
    return "this server has no monitor commands"


class GdbServer:
    """Serves ``session`` to any number of GDBs at ``where`` (``tcp:HOST:PORT`` or ``unix:PATH``).

    ``monitor`` runs what is typed after GDB's ``monitor``. Clients may have trace files written to
    ``trace_folder``, if that is given, and may read ``program``, the file that runs, if it is an ELF.
    Raises :class:`OptionError` for a place that does not read as one.
    """

    def __init__(
        self,
        session: DebugSession,
        where: str,
        *,
        monitor: Monitor = _no_monitor,
        trace_folder: Path | None = None,
        program: Path | None = None,
    ) -> None:
        if program is not None:
            program = program.absolute() if is_elf(program) else None
        self._session = session
        self._monitor = monitor
        self._trace_folder = trace_folder
        self._program = program
        self.endpoint = parse_endpoint(where)
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections: set[Connection] = set()
        self._deserted = asyncio.Event()
        self._accepted = 0

    @cached_property
    def _stub(self) -> Stub:
        """What the clients share. With the first of them: a server listens before it can talk."""
        from dbgemu.gdbstub.client import Stub
        from dbgemu.gdbstub.target_xml import RegisterFile

        registers = RegisterFile(self._session.cpu)
        return Stub(self._session, registers, self._monitor, self._trace_folder, self._program)

    @property
    def client_count(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen, served by ``loop``: call it on the loop's thread, or before the loop runs.

        ``endpoint`` then tells the port in fact. Raises :class:`OptionError` when the place is taken.
        """
        self._listener = open_listener(self.endpoint)
        self._listener.setblocking(False)
        self.endpoint = self.endpoint.bound(self._listener)
        self._loop = loop
        loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        from dbgemu.gdbstub.connection import Connection

        assert self._listener is not None and self._loop is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:  # gone again, or out of descriptors: the next one may have more luck
            return
        if len(self._connections) >= _MAX_CLIENTS:
            sock.close()
            return
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._accepted += 1
        name = f"gdb client {self._accepted}"
        self._connections.add(Connection(self._loop, sock, self._stub, name, self._leave))

    def _leave(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._deserted.set()

    async def finish(self) -> None:
        """As :meth:`close`, but clients may still ask for what they were notified of."""
        self._stop_listening()
        self._deserted.clear()
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            await self._deserted.wait()

    def close(self) -> None:
        """Stop listening and let every client go. On the loop's thread."""
        self._stop_listening()
        for connection in list(self._connections):
            connection.close()

    def _stop_listening(self) -> None:
        if self._listener is not None and self._loop is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
            self.endpoint.release()
