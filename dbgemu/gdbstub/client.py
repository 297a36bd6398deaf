"""One GDB client: the state of its conversation. What packets do is in the handlers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbgemu.debug.events import FrontEnd, StopEvent
from dbgemu.gdbstub.errors import PacketError
from dbgemu.gdbstub.packets import parse
from dbgemu.gdbstub.stop_reply import stop_reply
from dbgemu.gdbstub.target_xml import RegisterFile

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession

Monitor = Callable[["DebugSession", str], str]


@dataclass(frozen=True)
class Stub:
    """What the clients of one server share."""

    session: DebugSession
    registers: RegisterFile
    #: runs a line of the ``monitor`` command and returns what it prints
    monitor: Monitor


class Client(FrontEnd):
    """A GDB that talks to the session. Lives on the server's thread.

    ``send`` takes a packet that is no answer to the packet being handled: a stop reply, console
    output. ``schedule`` runs a function on the server's thread soon; it is called from any thread.
    """

    def __init__(
        self,
        stub: Stub,
        *,
        send: Callable[[bytes], None],
        schedule: Callable[[Callable[[], None]], None],
        disconnect: Callable[[], None],
        name: str = "gdb",
    ) -> None:
        self.name = name
        self.stub = stub
        self.session = stub.session
        self.send = send
        self.disconnect = disconnect
        self._schedule = schedule
        self.attached = False
        #: features of qSupported that the client has
        self.features: frozenset[str] = frozenset()
        self.acks = True
        self.extended = False
        self._waiting_since: int | None = None
        self._attach_signal: int | None = None

    # -- packets -----------------------------------------------------------------------------

    def handle(self, packet: bytes) -> bytes | None:
        """The reply to ``packet``; None when there is none, or when it comes later."""
        if not self.attached:
            self.attached = True
            self.session.attach(self)
        try:
            row, arguments = parse(packet)
            if row is None:
                return b""
            return row.handle(self, *arguments)
        except PacketError as error:
            return self.error(error)

    def error(self, error: PacketError) -> bytes:
        """The reply that tells of ``error``."""
        if "error-message" in self.features:
            text = str(error).translate({ord(char): " " for char in "#$}*"})
            return b"E." + text.encode("ascii", "replace")
        return b"E%02x" % error.code

    def console(self, text: str) -> None:
        """Print ``text`` on the client's console; only while it waits for a reply."""
        data = text.encode()
        for start in range(0, len(data), 2048):
            self.send(b"O" + data[start : start + 2048].hex().encode())

    # -- running and stopping ----------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """A stop reply is owed to the client."""
        return self._waiting_since is not None

    @property
    def holding(self) -> bool:
        """The client believes that the machine stands still."""
        return self.attached and not self.waiting

    def wait_for_stop(self, signal: int | None = None) -> None:
        """Owe the client a reply for the next stop (and let it tell ``signal``)."""
        self._waiting_since = self.session.last_stop.number
        self._attach_signal = signal

    def stop_waiting(self) -> None:
        """No reply is owed any more: it is being given."""
        self._waiting_since = None

    def stop_reply(self, event: StopEvent, signal: int | None = None) -> bytes:
        """The reply for ``event``."""
        return self.session.call(lambda: stop_reply(event, self.session.cpu, self, self.features, signal))

    def interrupt(self) -> None:
        """The client pressed ctrl-C."""
        self.session.pause()

    def stopped(self, event: StopEvent) -> None:
        """Called by the session, on any thread."""
        self._schedule(lambda: self._report(event))

    def _report(self, event: StopEvent) -> None:
        # An event with a number up to that of the resumption is an old one, delivered late.
        if self._waiting_since is None or event.number <= self._waiting_since:
            return
        signal = self._attach_signal
        self._waiting_since = None
        if event.message:
            self.console(f"{event.message}\n")
        self.send(self.stop_reply(event, signal))

    def quitting(self) -> None:
        """Called by the session, on any thread."""
        self._schedule(self._end)

    def _end(self) -> None:
        if self.waiting:
            self.send(b"W00")
        self.disconnect()

    # -- coming and going --------------------------------------------------------------------

    def detach(self, *, resume: bool) -> None:
        """Leave the session: with ``resume`` on the client's wish, without when it just vanished."""
        self.attached = False
        self._waiting_since = None
        self.session.detach(self, resume=resume)
