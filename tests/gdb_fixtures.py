"""A GDB server for a machine that does what the test says, and raw clients of it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from support import FakeMachine, RawClient, serve

from dbgemu.debug.session import DebugSession
from dbgemu.gdbstub.endpoint import Endpoint
from dbgemu.gdbstub.server import GdbServer
from dbgemu.monitor.monitor import Monitor


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


@pytest.fixture
def session(machine: FakeMachine) -> Iterator[DebugSession]:
    session = DebugSession(machine)
    yield session
    session.close()
    assert not any(thread.name == "machine" for thread in threading.enumerate())


@pytest.fixture
def server(session: DebugSession) -> Iterator[GdbServer]:
    with serve(session, monitor=Monitor(session).execute) as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[..., RawClient]]:
    with ExitStack() as clients:

        def connect(endpoint: Endpoint, *, acks: bool = False) -> RawClient:
            return clients.enter_context(closing(RawClient(endpoint, acks=acks)))

        yield connect


@pytest.fixture
def client(connect: Callable[..., RawClient], server: GdbServer) -> RawClient:
    return connect(server.endpoint)
