"""The monitor on a character back end: whoever is there gets a prompt, and commands run on a thread of it.

On a terminal that tells its size the prompt is an editor (:mod:`dbgemu.monitor.repl`); everywhere else
it is plain text both ways (:mod:`dbgemu.monitor.line_reader`).
"""

from __future__ import annotations

import queue
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from dbgemu import __version__
from dbgemu.host import shutdown
from dbgemu.host.backend import Chardev, ChardevEvent
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.context import Cancelled, ConsoleSettings, Context
from dbgemu.monitor.line_reader import InputEnded, Interrupted, LineReader, PlainReader, Suspended
from dbgemu.monitor.other_output import OtherOutput

if TYPE_CHECKING:
    from dbgemu.monitor.monitor import Monitor
    from dbgemu.monitor.pager import Pager

PROMPT = "(dbgemu) "
MORE_PROMPT = ">"
#: what leaves the cursor at the start of an empty line
_LINE_STARTS = ("\n", "\r\x1b[K")

#: what a terminal is taken to be while it does not tell: (columns, lines)
_SIZE = (80, 24)
#: seconds that closing waits for the prompt to leave the screen, and Ctrl-C for the machine to stop
_PATIENCE = 1.0


class Console:
    """Reads lines from ``backend`` and runs them, on a thread of its own.

    ``shared``: a serial port uses the back end too, so the prompt comes when the user switches here.
    """

    def __init__(
        self,
        backend: Chardev,
        monitor: Monitor,
        *,
        shared: bool,
        machine_name: str = "",
    ) -> None:
        self._backend = backend
        self._monitor = monitor
        self._shared = shared
        of_machine = f" of {machine_name}" if machine_name else ""
        self._welcome = f"dbgemu {__version__} monitor{of_machine} - type 'help' for the commands\n"
        self._settings = ConsoleSettings()
        #: somebody may be there to see what is written
        self._present = False
        #: somebody waits for a prompt
        self._ready = threading.Event()
        self._greet = True
        self._closing = False
        self._ended = threading.Event()
        self._worker: threading.Thread | None = None
        self._plain = PlainReader(self._print, lambda: backend.echoes or self._settings.terminal is True)
        self._terminal: LineReader | None = None
        self._reader: LineReader = self._plain
        self._line_start = True
        #: a command runs, and its Ctrl-C
        self._running = False
        self._cancelled = threading.Event()
        self._asked: queue.SimpleQueue[str] | None = None
        #: the line that an empty one repeats
        self._again = ""
        self._other = OtherOutput(lambda text: self._reader.show(text), backend.write)
        backend.lingers = True
        backend.on_other_output = self._other.take
        backend.on_event = self._event
        backend.on_receive = self._receive

    def close(self) -> None:
        """Take the prompt off the screen, so that the terminal is as it was; no commands run any more.

        Does not wait for a command that runs.
        """
        shutdown.forget(self.close)
        self._closing = True
        self._cancelled.set()
        self._reader.interrupt(Suspended())
        self._ready.set()
        if self._worker is not None and not self._running:
            self._ended.wait(_PATIENCE)

    # -- output, from any thread -----------------------------------------------------------------------

    def _send(self, text: str) -> None:
        """Write ``text`` as it is."""
        if text and self._present:
            self._line_start = text.endswith(_LINE_STARTS)
            self._backend.write(text.encode("utf-8", "replace"))

    def _print(self, text: str) -> None:
        """Write ``text`` with the newlines that the other side wants."""
        raw = self._backend.echoes or self._reader is not self._plain
        self._send(text.replace("\n", "\r\n") if raw else text)

    @property
    def on_standard_error(self) -> bool:
        """It is on the program's own terminal, and in use."""
        return self._ready.is_set() and self._backend.echoes and self._backend.description.startswith("stdio")

    def tell(self, text: str) -> bool:
        """Show ``text``, whole lines; False when nobody is there."""
        if not self._present or self._closing:
            return False
        if self._shared and not self._ready.is_set():
            # The terminal is the serial port's at the moment, and stands who knows where.
            self._print(f"\n{text}")
        else:
            self._reader.show(text if self._line_start or not self._running else f"\n{text}")
        return True

    # -- on the I/O thread -------------------------------------------------------------------------------

    def _event(self, event: ChardevEvent) -> None:
        match event:
            case ChardevEvent.OPENED if not self._shared:
                self._settings.terminal = None
                self._greet = self._line_start = True
                self._begin()
            case ChardevEvent.FOCUSED:
                self._line_start = self._greet  # the serial port has left the cursor who knows where
                self._begin()
            case ChardevEvent.UNFOCUSED:
                self._ready.clear()
                self._reader.interrupt(Suspended())
                if self._running:
                    self._other.flush()
            case ChardevEvent.RESIZED if self._ready.is_set() and self._reader is self._plain:
                self._reader.interrupt(Suspended())  # and go on with the editor
            case ChardevEvent.ENDED:
                self._reader.interrupt(InputEnded())
            case ChardevEvent.CLOSED:
                if not self._shared:
                    self._present = False
                    self._ready.clear()
                self._reader.interrupt(Suspended())

    def _begin(self) -> None:
        self._present = True
        if self._worker is None:
            self._backend.take_keys()
            shutdown.at_shutdown(self.close)
            self._worker = threading.Thread(target=self._work, name="monitor", daemon=True)
            self._worker.start()
            self._monitor.attach_console(self)
        self._ready.set()

    def _receive(self, data: bytes) -> None:
        if self._asked is not None:
            for byte in data:
                self._asked.put(chr(byte))
            return
        if self._running and (place := data.rfind(b"\x03")) >= 0:
            data = data[place + 1 :]
            self._reader.forget()
            self._cancelled.set()
            self._print("^C\n")
        self._reader.feed(data)

    # -- on the console's thread: a command may wait for the machine --------------------------------------

    def _work(self) -> None:
        while not self._closing:
            if not self._reader.waiting:
                self._ready.wait()
            try:
                self._choose_reader()
                if self._greet:
                    self._greet = False
                    self._print(f"\n{self._welcome}" if self._shared else self._welcome)
                if not self._line_start:
                    self._print("\n")
                line = self._read(PROMPT)
            except Suspended:
                if not self._ready.is_set():
                    self._other.flush()  # the prompt is gone, and the serial port has the terminal
            except Interrupted as interrupted:
                self._interrupted(interrupted.text)
            except InputEnded:
                self._end_of_input()
            else:
                self._obey(line)
        self._ended.set()

    def _read(self, prompt: str) -> str:
        reader = self._reader
        try:
            line = reader.read(prompt)
            self._line_start = True  # the other side, or the echo, ended it
            return line
        finally:
            if reader is not self._plain:
                self._line_start = True  # however it ended

    def _choose_reader(self) -> None:
        wanted = self._settings.terminal
        if wanted is None:
            wanted = self._backend.terminal_size is not None
        if not wanted:
            self._reader = self._plain
            return
        prompted = self._reader is self._plain and not self._line_start
        if self._terminal is None:
            from dbgemu.monitor.repl import TerminalReader  # the import takes its time

            self._terminal = TerminalReader(
                self._monitor, self._send, self._size, suspend=self._backend.description == "stdio"
            )
        if prompted:
            self._send("\r\x1b[K")
        self._reader = self._terminal

    def _size(self) -> tuple[int, int]:
        return self._backend.terminal_size or _SIZE

    def _interrupted(self, text: str) -> None:
        """Ctrl-C at the prompt: drop what was typed; where nothing was, stop the guest, as gdb does."""
        session = self._monitor.session
        if not text.strip() and session.running:
            session.pause()
            session.wait(_PATIENCE)
            self._monitor.settle()

    def _end_of_input(self) -> None:
        """Ctrl-D, or the other side has sent its last: hang up where that is possible."""
        if self._shared:
            return
        if not self._line_start:
            self._print("\n")
        if self._backend.description == "stdio":
            # Nothing more may ever come, but the machine runs on.
            if self._reader is self._plain and not self._backend.echoes:
                self._ready.clear()
            return
        self._ready.clear()
        self._backend.hang_up()

    def _obey(self, line: str) -> None:
        repeated = not line.strip()
        if repeated:
            line = self._again
        if line:
            # What follows a Ctrl-C that came too late must not be taken for interrupted.
            self._cancelled.clear()
            self._running = True
            try:
                self._run(line, repeated)
            finally:
                self._running = False
            self._again = line if self._repeats(line) else ""

    def _repeats(self, line: str) -> bool:
        try:
            return self._monitor.commands.find(line)[0].repeatable
        except (CommandError, IndexError):
            return False

    def _run(self, line: str, repeated: bool) -> None:
        pager = self._pager()

        def write(text: str) -> None:
            if not self._running or threading.current_thread() is not self._worker:
                self.tell(text)
            elif pager is None:
                self._print(text)
            else:
                pager.write(text)
                if pager.stopped:
                    self._cancelled.set()

        context = Context(
            self._monitor.session,
            self._monitor,
            write,
            interactive=self._reader is not self._plain,
            cancelled=self._cancelled,
            repeated=repeated,
            more=self._more,
            settings=self._settings,
        )
        try:
            text = self._monitor.run(line, context).text
        except CommandError as error:
            text = "" if pager is not None and pager.stopped else str(error)
        except Exception:  # a defect of the command: the console must go on
            text = traceback.format_exc()
        if text:
            write(text if text.endswith("\n") else f"{text}\n")
        self._monitor.settle()

    def _pager(self) -> Pager | None:
        if self._reader is self._plain or not self._settings.pagination:
            return None
        from dbgemu.monitor.pager import Pager

        return Pager(self._print, self._size, self._key)

    def _key(self) -> str:
        """The next key that is pressed; KeyboardInterrupt for Ctrl-C."""
        asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._asked = asked
        try:
            while True:
                with suppress(queue.Empty):
                    key = asked.get(timeout=0.2)
                    if key == "\x03":
                        raise KeyboardInterrupt
                    return key
                if self._closing or not self._ready.is_set():
                    raise KeyboardInterrupt  # nobody is there any more
        finally:
            self._asked = None

    def _more(self) -> str:
        """One more line for the command that runs."""
        self._running = False
        try:
            return self._read(MORE_PROMPT)
        except Interrupted:
            raise Cancelled from None
        except (InputEnded, Suspended):
            raise EOFError from None
        finally:
            self._running = True
