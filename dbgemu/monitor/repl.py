"""The prompt on a terminal: prompt_toolkit on a character back end.

Imported with a terminal's first prompt: the import takes about a tenth of a second.

A reader belongs to one console. Its lines are read on that console's thread, each in an event loop of
its own; keys come from the I/O thread, and what is shown above the prompt from any.
"""

from __future__ import annotations

import asyncio
import codecs
import contextvars
import os
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, TextIO, cast

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session, get_app, run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer
from prompt_toolkit.completion import Completion as Offer
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.history import History as EditorHistory
from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from dbgemu.monitor.completion import complete
from dbgemu.monitor.highlight import STYLE, CommandLexer
from dbgemu.monitor.line_reader import InputEnded, Interrupted, LineReader

if TYPE_CHECKING:
    from dbgemu.monitor.history import History
    from dbgemu.monitor.monitor import Monitor

#: seconds between two times that the prompt makes way for output of the running guest
_ABOVE_PERIOD = 0.05
#: characters that wait to be shown above the prompt; what is older is lost, and said to be
_ABOVE_LIMIT = 1 << 18


class _Keys(Input):
    """What comes from the back end, as prompt_toolkit reads it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._data: list[bytes] = []
        self._pressed: list[KeyPress] = []
        self._parser = Vt100Parser(self._pressed.append)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: Callable[[], None] | None = None

    def feed(self, data: bytes) -> None:
        """More keys; on any thread."""
        with self._lock:
            self._data.append(data)
            if self._loop is not None and self._ready is not None:
                self._loop.call_soon_threadsafe(self._ready)

    def forget(self) -> None:
        """Throw away what was not read."""
        with self._lock:
            self._data.clear()
        clear_typeahead(self)

    def read_keys(self) -> list[KeyPress]:
        with self._lock:
            data, self._data = b"".join(self._data), []
        self._parser.feed(self._decoder.decode(data))
        return self._taken()

    def flush_keys(self) -> list[KeyPress]:
        self._parser.flush()
        return self._taken()

    def _taken(self) -> list[KeyPress]:
        taken = list(self._pressed)
        self._pressed.clear()
        return taken

    @contextmanager
    def _using(
        self, loop: asyncio.AbstractEventLoop | None, ready: Callable[[], None] | None
    ) -> Generator[None, None, None]:
        with self._lock:
            before = self._loop, self._ready
            self._loop, self._ready = loop, ready
            if self._data and loop is not None and ready is not None:
                loop.call_soon(ready)
        try:
            yield
        finally:
            with self._lock:
                self._loop, self._ready = before
                if self._data and self._loop is not None and self._ready is not None:
                    self._loop.call_soon(self._ready)

    def attach(self, input_ready_callback: Callable[[], None]) -> AbstractContextManager[None]:
        return self._using(asyncio.get_running_loop(), input_ready_callback)

    def detach(self) -> AbstractContextManager[None]:
        return self._using(None, None)

    def raw_mode(self) -> AbstractContextManager[None]:
        return nullcontext()

    def cooked_mode(self) -> AbstractContextManager[None]:
        return nullcontext()

    def fileno(self) -> int:
        raise NotImplementedError

    def typeahead_hash(self) -> str:
        return f"dbgemu-{id(self)}"

    @property
    def closed(self) -> bool:
        return False


class _Stream:
    """The back end as a text file."""

    encoding = "utf-8"

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write

    def flush(self) -> None:
        """Nothing is kept here."""

    def isatty(self) -> bool:
        return True


class _SharedHistory(EditorHistory):
    """The monitor's history, as the editor goes through it: the latest line first."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def load_history_strings(self) -> Iterable[str]:
        return reversed(self._history.lines)

    def store_string(self, string: str) -> None:
        for line in string.splitlines():
            self._history.add(line)


class _Completer(Completer):
    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Offer]:
        found = complete(self._monitor, document.current_line_before_cursor)
        only = len(found.candidates) == 1
        for candidate in found.candidates:
            # A word that is the only one possible is done with; a folder or a device goes on.
            end = " " if only and not candidate.open and not document.text_after_cursor else ""
            yield Offer(
                candidate.text + end,
                -found.length,
                display=candidate.text,
                display_meta=candidate.note or None,
            )


def _common_start(texts: list[str]) -> str:
    """What all of ``texts`` begin with."""
    if not texts:
        return ""
    first, last = min(texts), max(texts)
    while not last.startswith(first):
        first = first[:-1]
    return first


#: seconds between two looks at the terminal's size
_SIZE_INTERVAL = 0.25


class TerminalReader(LineReader):
    """Lines edited on a terminal: completion, history, suggestions, colours.

    ``write`` sends text as it is; ``size`` gives (columns, lines). ``suspend``: Ctrl-Z stops the program.
    """

    def __init__(
        self,
        monitor: Monitor,
        write: Callable[[str], None],
        size: Callable[[], tuple[int, int]],
        *,
        suspend: bool = False,
    ) -> None:
        self._write = write
        self._keys = _Keys()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None
        self._reason: Exception | None = None
        self._above: deque[str] = deque()
        self._above_length = 0
        self._above_due = False
        self._lost = False
        #: lines of a paste that come after the one that is being read; the last has no newline yet
        self._pasted: deque[str] = deque()
        #: what was being typed when the reading stopped
        self._kept = ""

        def get_size() -> Size:
            columns, lines = size()
            return Size(rows=lines, columns=columns)

        depth = ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else ColorDepth.DEPTH_4_BIT
        output = Vt100_Output(
            cast(TextIO, _Stream(write)), get_size, term=os.environ.get("TERM"), enable_cpr=False
        )
        self._output = output
        self._session: PromptSession[str] = PromptSession(
            history=_SharedHistory(monitor.history),
            auto_suggest=AutoSuggestFromHistory(),
            completer=_Completer(monitor),
            complete_while_typing=False,
            complete_in_thread=False,
            lexer=CommandLexer(monitor),
            style=STYLE,
            color_depth=depth,
            key_bindings=self._bindings(monitor, suspend),
            input=self._keys,
            output=output,
            reserve_space_for_menu=6,
        )

    def _bindings(self, monitor: Monitor, suspend: bool) -> KeyBindings:
        bindings = KeyBindings()

        @bindings.add("c-c")
        def _interrupt(event: KeyPressEvent) -> None:
            event.app.exit(exception=Interrupted(event.current_buffer.text), style="class:aborting")

        @bindings.add("c-d")
        def _end(event: KeyPressEvent) -> None:
            if event.current_buffer.text:
                event.current_buffer.delete()
            else:
                event.app.exit(exception=InputEnded())

        @bindings.add(Keys.BracketedPaste)
        def _paste(event: KeyPressEvent) -> None:
            lines = re.split(r"\r\n|\r|\n", event.data)
            event.current_buffer.insert_text(lines[0])
            if len(lines) > 1:
                self._pasted.extend(lines[1:])
                event.current_buffer.validate_and_handle()

        @bindings.add("tab")
        def _complete(event: KeyPressEvent) -> None:
            """Insert at once what is certain: a list is made meanwhile, and typing on would end that."""
            buffer = event.current_buffer
            if buffer.complete_state:
                buffer.complete_next()
                return
            length, candidates = complete(monitor, buffer.document.current_line_before_cursor)
            common = _common_start([candidate.text for candidate in candidates])
            if len(candidates) == 1 and not candidates[0].open and not buffer.document.text_after_cursor:
                common += " "
            if len(common) > length:
                buffer.delete_before_cursor(length)
                buffer.insert_text(common)
            elif len(candidates) > 1:
                buffer.start_completion()

        @bindings.add("c-z")
        def _suspend(event: KeyPressEvent) -> None:
            if suspend:
                run_in_terminal(lambda: os.kill(os.getpid(), signal.SIGTSTP))

        return bindings

    # -- on the console's thread -------------------------------------------------------------------

    def read(self, prompt: str) -> str:
        """The next line."""
        with self._lock:
            reason, self._reason = self._reason, None
        if reason is not None:
            raise reason
        if len(self._pasted) > 1:
            line = self._pasted.popleft()
            self._write(f"{prompt}{line}\r\n")
            return line
        default = self._pasted.popleft() if self._pasted else self._kept
        self._kept = ""
        try:
            with create_app_session(input=self._keys, output=self._output):
                self._session.app.erase_when_done = False
                return self._session.prompt(
                    [("class:prompt", prompt)], default=default, pre_run=self._started, handle_sigint=False
                )
        finally:
            self._stopped()

    def _started(self) -> None:
        """The editor takes keys now; on its loop."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._context = contextvars.copy_context()
            reason, self._reason = self._reason, None
        if reason is not None:
            self._loop.call_soon(self._exit, reason)
        elif self._above:
            self._show_above()
        # its own polling misses what changes before it has looked once
        self._session.app.terminal_size_polling_interval = None
        self._loop.call_later(_SIZE_INTERVAL, self._look_at_size, self._output.get_size())

    def _look_at_size(self, before: Size) -> None:
        """Draw anew when the terminal has another size; on the editor's loop, now and then."""
        if self._loop is None:
            return
        size = self._output.get_size()
        if size != before:
            self._session.app._on_resize()  # as prompt_toolkit's own telnet server does
        self._loop.call_later(_SIZE_INTERVAL, self._look_at_size, size)

    def _stopped(self) -> None:
        with self._lock:
            self._loop = self._context = None
            self._above_due = False
            left = self._take_above()
        if left:
            self._write(left)

    def forget(self) -> None:
        """Throw away what was typed ahead."""
        self._pasted.clear()
        self._keys.forget()

    # -- any thread ----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Hand on keys; they wait where no line is being read."""
        self._keys.feed(data)

    def interrupt(self, reason: Exception) -> None:
        """Take the prompt off the screen; what was typed is there again with the next."""
        with self._lock:
            if not self._call(self._exit, reason):
                self._reason = reason

    def show(self, text: str) -> None:
        """Print above the prompt, at most some times a second."""
        with self._lock:
            if self._loop is None:
                self._write(text.replace("\n", "\r\n"))
                return
            self._above.append(text.replace("\n", "\r\n"))
            self._above_length += len(text)
            while self._above_length > _ABOVE_LIMIT and len(self._above) > 1:
                self._above_length -= len(self._above.popleft())
                self._lost = True
            if not self._above_due:
                self._above_due = self._call(self._show_above)

    def _call(self, function: Callable[..., object], *arguments: object) -> bool:
        """Have it called on the editor's loop, in its context; False when it does not run."""
        if self._loop is None or self._context is None:
            return False
        try:
            self._loop.call_soon_threadsafe(function, *arguments, context=self._context)
        except RuntimeError:
            return False  # the loop has just been closed
        return True

    # -- on the editor's loop --------------------------------------------------------------------------

    def _exit(self, reason: Exception) -> None:
        app = get_app()
        if app.future is None or app.future.done():
            with self._lock:
                self._reason = reason
            return
        self._kept = app.current_buffer.text
        app.erase_when_done = True
        app.exit(exception=reason)

    def _show_above(self) -> None:
        def show() -> None:
            with self._lock:
                text = self._take_above()
            if text:
                self._write(text)

        run_in_terminal(show)
        asyncio.get_running_loop().call_later(_ABOVE_PERIOD, self._show_above_again)

    def _show_above_again(self) -> None:
        with self._lock:
            self._above_due = bool(self._above)
        if self._above_due:
            self._show_above()

    def _take_above(self) -> str:
        text = "".join(self._above)
        self._above.clear()
        self._above_length = 0
        if self._lost:
            self._lost = False
            return f"[output came too fast: some was left out]\r\n{text}"
        return text
