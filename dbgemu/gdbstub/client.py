"""One GDB client: the state of its conversation. What packets do is in the handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbgemu.debug.events import FrontEnd, StopEvent, StopKind
from dbgemu.gdbstub.console import GuestConsole
from dbgemu.gdbstub.errors import PacketError
from dbgemu.gdbstub.exec_file import HostFiles
from dbgemu.gdbstub.file_io import FileIo
from dbgemu.gdbstub.nonstop import StopNotifications
from dbgemu.gdbstub.packets import parse
from dbgemu.gdbstub.stop_reply import exit_reply, stop_reply
from dbgemu.gdbstub.syscalls import Syscalls
from dbgemu.gdbstub.target_xml import RegisterFile
from dbgemu.gdbstub.task_view import IN_TASK
from dbgemu.gdbstub.threads import Threads
from dbgemu.gdbstub.tracing import IN_FRAME

if TYPE_CHECKING:
    from dbgemu.debug.semihosting.files import RemoteHost
    from dbgemu.debug.session import DebugSession
    from dbgemu.debug.tracepoints.frame import TraceFrame

Monitor = Callable[[str], str]


@dataclass(frozen=True)
class Stub:
    """What the clients of one server share."""

    session: DebugSession
    registers: RegisterFile
    #: runs a line of the ``monitor`` command and returns what it prints
    monitor: Monitor
    #: where clients may have trace files written; None for nowhere
    trace_folder: Path | None = None
    #: the ELF file that the emulator was started with, an absolute path; None for none
    program: Path | None = None


class Client(FrontEnd):
    """A GDB that talks to the session. Lives on the server's thread.

    ``send`` takes a packet that is no answer to the packet being handled: a stop reply, console
    output. ``notify`` sends a notification, its text without ``%``. ``schedule`` runs a function on the
    server's thread soon; it is called from any thread.
    """

    def __init__(
        self,
        stub: Stub,
        *,
        send: Callable[[bytes], None],
        schedule: Callable[[Callable[[], None]], None],
        disconnect: Callable[[], None],
        notify: Callable[[bytes], None] = lambda text: None,
        unsent: Callable[[], int] = lambda: 0,
        name: str = "gdb",
    ) -> None:
        self.name = name
        self.stub = stub
        self.session = stub.session
        self.send = send
        self.disconnect = disconnect
        self.schedule = schedule
        #: bytes that the client has not taken yet
        self.unsent = unsent
        self.guest_console = GuestConsole(self)
        self.attached = False
        #: features of qSupported that the client has
        self.features: frozenset[str] = frozenset()
        self.acks = True
        self.extended = False
        #: the client debugs the board: it has neither detached from it nor killed it
        self.present = True
        self.non_stop = False
        #: memory is read and written by physical addresses
        self.physical = False
        self.notifications = StopNotifications(notify)
        self.syscalls = Syscalls(self)
        self.files = HostFiles()
        self.file_io = FileIo(self)
        #: the client has fetched the registers with ``g``
        self.knows_registers = False
        #: the selected trace frame: what the client reads instead of the machine
        self.frame: TraceFrame | None = None
        self.threads = Threads(self)
        #: what is left of the trace definitions that the client asked for
        self.upload: Iterator[str] = iter(())
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
            if self.frame is not None:
                return IN_FRAME.get(row.name, row.handle)(self, *arguments)
            if self.threads.selected is not None:
                return IN_TASK.get(row.name, row.handle)(self, *arguments)
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
        return self.attached and self.present and not self.waiting

    @property
    def takes_requests(self) -> bool:
        """The client let the guest run and waits until it stops, so that it takes File-I/O requests.

        It does not while it waits for the reply to ``?``, nor in non-stop mode.
        """
        return self.waiting and self._attach_signal is None and not self.non_stop

    @property
    def semihosting(self) -> RemoteHost | None:
        """See :class:`FrontEnd`."""
        return self.file_io if self.file_io.available else None

    def wait_for_stop(self, signal: int | None = None) -> None:
        """Owe the client a reply for the next stop (and let it tell ``signal``).

        In non-stop mode the signal is told of a stop that was asked for only.
        """
        self._waiting_since = self.session.last_stop.number
        self._attach_signal = signal

    def stop_waiting(self) -> None:
        """No reply is owed any more: it is being given."""
        self._waiting_since = None

    def stop_reply(self, event: StopEvent, signal: int | None = None) -> bytes:
        """The reply for ``event``. GDB takes its thread as the selected one (all-stop mode)."""
        self.threads.selected = None
        return self.session.call(lambda: stop_reply(event, self.session.cpu, self, self.features, signal))

    def interrupt(self) -> None:
        """The client pressed ctrl-C."""
        self.session.pause()

    def stopped(self, event: StopEvent) -> None:
        """Called by the session, on any thread."""
        self.schedule(lambda: self.report(event))

    def was_reset(self, by: FrontEnd | None) -> None:
        """Called by the session, on any thread."""
        self.schedule(lambda: self.session.call(self.syscalls.drop))

    def report(self, event: StopEvent) -> None:
        """Tell the client of ``event``, if it waits for it. On the server's thread."""
        # An event with a number up to that of the resumption is an old one, delivered late.
        if self._waiting_since is None or event.number <= self._waiting_since:
            return
        if self.file_io.defers(event):
            return
        signal = self._attach_signal
        self._waiting_since = None
        if self.non_stop:
            asked_for = event.kind is StopKind.PAUSE
            self.notifications.add(self.stop_reply(event, signal if asked_for else None))
            return
        if signal is None:
            self.guest_console.flush()
        if event.message:
            self.console(f"{event.message}\n")
        self.send(self.stop_reply(event, signal))

    def report_again(self) -> None:
        """Tell a non-stop client of the last stop, behind the present reply."""
        event = self.session.last_stop
        self._waiting_since = event.number - 1
        self.stopped(event)

    def say(self, text: str) -> bool:
        """Called by the session, on any thread."""
        if not self.present or self.non_stop:
            return False
        self.guest_console.write(text)
        return True

    def quitting(self) -> None:
        """Called by the session, on any thread."""
        self.schedule(self._end)

    def _end(self) -> None:
        if self.waiting and self.non_stop:
            self.notifications.add(exit_reply(self.features))
        elif self.waiting:
            self.send(exit_reply(self.features))
        self.disconnect()

    # -- coming and going --------------------------------------------------------------------

    def leave(self) -> None:
        """Debug the board no longer, while the conversation may go on."""
        self.present = False
        self._waiting_since = None
        self.notifications.restart()

    def detach(self, *, resume: bool) -> None:
        """Leave the session: with ``resume`` on the client's wish, without when it just vanished."""
        self.attached = False
        self.leave()
        self.session.call(self.syscalls.forget)
        self.files.close_all()
        self.file_io.lose()
        self.session.detach(self, resume=resume)
