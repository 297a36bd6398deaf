"""What the emulator does for the monitor beside the debug session: log, images, GDB server, snapshots."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from dbgemu.errors import OptionError
from dbgemu.media import Media
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.services import Connection, Image
from dbgemu.target.guest_log import Repeats

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.debug.snapshots.book import Snapshots
    from dbgemu.emulator_network import EmulatorNetwork
    from dbgemu.engine.translator.translator import Translator
    from dbgemu.execution_log import ExecutionLog
    from dbgemu.gdbstub.server import GdbServer
    from dbgemu.host.backend import Chardev
    from dbgemu.host.iothread import IoThread
    from dbgemu.options import Options
    from dbgemu.target.guest_log import GuestError
    from dbgemu.translation_log import TranslationLog

_GUEST_ERRORS = frozenset(("guest_errors", "unimp"))
_OF_TRANSLATION = frozenset(("op", "out_asm"))
_OF_EXECUTION = frozenset(("in_asm", "exec", "cpu", "int", "mmu"))


class EmulatorServices:
    """See :class:`dbgemu.monitor.services.Services`. Raises OptionError while the program starts."""

    def __init__(self, options: Options, session: DebugSession) -> None:
        self._options = options
        self._session = session
        #: what was opened, by what it is for
        self.backends: dict[str, Chardev] = {}
        self._items: frozenset[str] = frozenset()
        self._repeats = Repeats()
        self._stream: TextIO = sys.stderr
        #: shows lines of the log on a console that has standard error's terminal; False when none has
        self.on_terminal: Callable[[str], bool] = lambda text: False
        self._execution_log: ExecutionLog | None = None
        self._translation_log: TranslationLog | None = None
        self._server: GdbServer | None = None
        self._io: IoThread | None = None
        self._run_command: Callable[[str], str] = str
        #: the card slot and the USB
        self.media = Media(session, snapshot=options.snapshot, drives=options.drives)
        self._network: EmulatorNetwork | None = None
        self._network_lock = threading.Lock()
        self._network_start = 0
        if options.log_file is not None:
            try:
                self._stream = options.log_file.open("w", buffering=1)
            except OSError as error:
                message = f"-D: '{options.log_file}' cannot be written: {error.strerror}"
                raise OptionError(message) from None
        try:
            self._log(options.log_items)
        except CommandError as error:
            self._close_log()
            raise OptionError(f"-d: {error}") from None

    def close(self) -> None:
        """Close the log's file, and the images of what is plugged in."""
        self.media.close()
        self._close_log()

    def _close_log(self) -> None:
        if self._stream is not sys.stderr:
            self._stream.close()

    @property
    def name(self) -> str:
        """See :class:`Services`, also for the following."""
        return self._options.name

    # -- log -------------------------------------------------------------------------------------

    @property
    def log_items(self) -> frozenset[str]:
        """What is logged."""
        return self._items

    def log(self, items: Iterable[str]) -> None:
        """Log these and nothing else."""
        self._session.call(lambda: self._log(frozenset(items)))

    def _log(self, items: frozenset[str]) -> None:
        machine = self._session.machine
        executed, translated = items & _OF_EXECUTION, items & _OF_TRANSLATION
        translator = self._translator() if translated else None
        listeners = machine.board.log.listeners
        if self._items & _GUEST_ERRORS:
            listeners.remove(self._guest_error)
        if self._execution_log is not None:
            self._execution_log.close()
            self._execution_log = None
        if self._translation_log is not None:
            self._translation_log.close()
            self._translation_log = None
        self._items = items
        if items & _GUEST_ERRORS:
            self._repeats = Repeats()
            listeners.append(self._guest_error)
        if executed:
            from dbgemu.execution_log import ExecutionLog  # with the disassembler, which takes its time

            self._execution_log = ExecutionLog(machine, executed, self._write_log)
        if translator is not None:
            from dbgemu.translation_log import TranslationLog

            self._translation_log = TranslationLog(translator, translated, self._write_log)

    def _translator(self) -> Translator:
        from dbgemu.engine.translator.translator import Translator  # few sessions have one

        translator = self._session.cpu.translation
        if not isinstance(translator, Translator):
            raise CommandError("'op' and 'out_asm' show translated code: there is none with -accel interp")
        return translator

    def _guest_error(self, error: GuestError) -> None:
        note = self._repeats.note(error)
        if note is not None:
            symbol = "" if error.pc is None else self._session.symbols.describe(error.pc)
            self._write_log(f"{error} <{symbol}>{note}" if symbol else f"{error}{note}")

    def _write_log(self, line: str) -> None:
        stream = self._stream
        if stream is not sys.stderr or not stream.isatty() or not self.on_terminal(line + "\n"):
            stream.write(line + "\n")

    def log_to(self, path: Path | None) -> None:
        """Log to a file, or to the terminal."""
        stream: TextIO = sys.stderr
        if path is not None:
            try:
                stream = path.open("w", buffering=1)
            except OSError as error:
                raise CommandError(f"'{path}' cannot be written: {error.strerror}") from None

        def change() -> None:
            before, self._stream = self._stream, stream
            if before is not sys.stderr:
                before.close()

        self._session.call(change)

    # -- the host's side ---------------------------------------------------------------------------

    def images(self) -> Sequence[Image]:
        """The image files in use."""
        board = self._session.machine.board
        files = (
            (board.nand_chip.name, self._options.mtdblock),
            (board.nor.name, self._options.pflash),
            (board.eeprom.name, self._options.eeprom),
        )
        flash = [
            Image(device, path, path.stat().st_size if path.exists() else 0, self._options.snapshot)
            for device, path in files
            if path is not None
        ]
        return [*flash, *self.media.images()]

    def connections(self) -> Sequence[Connection]:
        """Everything that has a character back end."""
        found = [Connection(name, backend.description) for name, backend in self.backends.items()]
        if self._server is not None:
            found.append(Connection("gdb", str(self._server.endpoint)))
        return found

    # -- GDB ---------------------------------------------------------------------------------------

    def prepare_gdb(self, io: IoThread, run_command: Callable[[str], str]) -> None:
        """Tell where the server is to run, and who executes what clients type after ``monitor``."""
        self._io, self._run_command = io, run_command

    def serve_gdb_at(self, where: str) -> str:
        """Serve GDB there; where that is in fact. Raises OptionError."""
        from dbgemu.gdbstub.server import GdbServer  # few runs need it

        assert self._io is not None
        io = self._io
        server = GdbServer(
            self._session,
            where,
            monitor=self._run_command,
            program=self._options.kernel,
            trace_folder=self._options.trace_dir,
        )

        self._on_loop(io, lambda: server.start(io.loop))
        self._server = server
        return str(server.endpoint)

    def stop_gdb(self) -> None:
        """Let every client go, and listen no more. Nothing happens where there is no server."""
        server, self._server = self._server, None
        if server is not None and self._io is not None:
            self._io.run(server.finish())

    @staticmethod
    def _on_loop(io: IoThread, action: Callable[[], None]) -> None:
        async def run() -> None:
            action()

        io.run(run())

    def serve_gdb(self, where: str | None) -> str | None:
        """Serve GDB there and nowhere else, or not at all."""
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise CommandError(
                "a GDB client cannot move the server that it talks with: use a console for that"
            )
        if where is not None:
            from dbgemu.gdbstub.endpoint import parse_endpoint

            try:
                parse_endpoint(where)
            except OptionError as error:
                raise CommandError(str(error)) from None
        self.stop_gdb()
        if where is None:
            return None
        try:
            return self.serve_gdb_at(where)
        except OptionError as error:
            raise CommandError(str(error)) from None

    # -- network -----------------------------------------------------------------------------------

    def prepare_network(self, io: IoThread, start: int) -> None:
        """Make the network, or the one that nobody asked for when the guest first uses it. OptionError."""
        self._io, self._network_start = io, start
        if self._options.net:
            self._make_network()
            return
        port = self._session.machine.board.dm9000.port

        def first(frame: bytes) -> None:
            self._make_network()
            port.transmit(frame)

        port.transmit = first

    def _make_network(self) -> EmulatorNetwork:
        from dbgemu.emulator_network import EmulatorNetwork
        from dbgemu.option_net import net_plan

        with self._network_lock:
            if self._network is None:
                plan = net_plan(self._options.net)
                self._network = EmulatorNetwork(plan, self._session, self._io, start=self._network_start)
            return self._network

    @property
    def network(self) -> EmulatorNetwork:
        """The board's network."""
        return self._make_network()

    def close_network(self) -> None:
        """Give up what is on the network."""
        if self._network is not None:
            self._network.close()

    # -- snapshots ---------------------------------------------------------------------------------

    @cached_property
    def snapshots(self) -> Snapshots:
        """The saved states."""
        from dbgemu.debug.snapshots.book import Snapshots

        return Snapshots(self._session, self._options.snapshots)

    def load_at_start(self, name: str) -> None:
        """Put the machine into a saved state. Raises OptionError."""
        from dbgemu.debug.snapshots.container import SnapshotError

        try:
            for note in self.snapshots.load(name):
                print(f"dbgemu: -loadvm: {note}", file=sys.stderr)
        except SnapshotError as error:
            raise OptionError(f"-loadvm: {error}") from None
