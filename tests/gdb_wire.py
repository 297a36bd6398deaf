"""A GDB server with a machine behind it, and raw clients that are closed in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any
from xml.etree import ElementTree

from support import FakeMachine, RawClient, serve

from dbgemu.debug.session import DebugSession
from dbgemu.gdbstub.framing import unescape
from dbgemu.gdbstub.server import GdbServer
from dbgemu.monitor.monitor import Monitor


class Wire:
    """The machine, its session and server, and :meth:`connect` for clients; ``client`` is the first."""

    def __init__(self, machine: Any, session: DebugSession, server: GdbServer, clients: ExitStack) -> None:
        self.machine = machine
        self.session = session
        self.server = server
        self._clients = clients
        self.client = self.connect()

    def connect(self, features: str = "") -> RawClient:
        """A client without acknowledgements, with these features in its qSupported."""
        client = self._clients.enter_context(closing(RawClient(self.server.endpoint)))
        if features:
            client.ask(b"qSupported:" + features.encode())
        return client


@contextmanager
def wire(machine: Any = None, **options: Any) -> Iterator[Wire]:
    """A server for ``machine``, or for one without an engine."""
    machine = machine if machine is not None else FakeMachine()
    session = DebugSession(machine)
    options.setdefault("monitor", Monitor(session).execute)
    try:
        with serve(session, **options) as server, ExitStack() as clients:
            yield Wire(machine, session, server, clients)
    finally:
        session.close()


def fetch(client: RawClient, kind: str, annex: str = "", size: int = 4000) -> bytes:
    """A whole qXfer document."""
    document = b""
    while True:
        reply = client.ask(f"qXfer:{kind}:read:{annex}:{len(document):x},{size:x}".encode())
        assert reply[:1] in (b"l", b"m"), reply
        document += unescape(reply[1:])
        if reply[:1] == b"l":
            return document


def fetch_xml(client: RawClient, kind: str, annex: str = "") -> ElementTree.Element:
    """A qXfer document, parsed."""
    return ElementTree.fromstring(fetch(client, kind, annex))
