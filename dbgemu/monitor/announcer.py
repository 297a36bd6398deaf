"""Text that the machine's thread produces while the guest runs, shown by a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

#: lines that wait to be shown; what comes beyond that is left out, and counted
_LIMIT = 20_000
#: seconds in which lines gather
_PAUSE = 0.02
#: seconds that closing waits for the last lines to be shown
_PATIENCE = 5.0

#: gives a line of text; called on the announcer's thread
Line = Callable[[], str]


class Announcer:
    """Hands lines to ``show``, many at once, so that who says them need not wait.

    ``say`` takes a function: the text is made on the announcer's thread too.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._lines: deque[Line] = deque()
        self._there = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._lost = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def say(self, line: Line) -> None:
        """Show ``line()`` soon; from one thread at a time. Nothing is shown once it is closed."""
        if self._closed:
            return
        if len(self._lines) >= _LIMIT:
            self._lost += 1
            return
        self._lines.append(line)
        if not self._there.is_set():
            self._idle.clear()
            self._there.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="monitor log", daemon=True)
                self._thread.start()

    def flush(self, timeout: float = 5.0) -> None:
        """Wait until all that was said is shown, or ``timeout`` seconds."""
        if threading.current_thread() is not self._thread:
            self._idle.wait(timeout)

    def close(self) -> None:
        """Show what is left, and end the thread."""
        self._closed = True
        self._there.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_PATIENCE)

    def _work(self) -> None:
        pause = threading.Event()
        closed = False
        while not closed:
            self._there.wait()
            if not self._closed:
                pause.wait(_PAUSE)
            self._there.clear()
            closed = self._closed
            lines = [self._lines.popleft()() for _ in range(len(self._lines))]
            lost, self._lost = self._lost, 0
            if lost:
                lines.append(f"[{lost} lines were left out: they came faster than they can be shown]")
            if lines:
                self._show("\n".join(lines) + "\n")
            if not self._there.is_set():
                self._idle.set()
