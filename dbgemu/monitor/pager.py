"""Output of one command, page by page where a person reads it."""

from __future__ import annotations

from collections.abc import Callable

MORE = "-- more: space, enter for a line, a for all, q to stop --"
_ERASE = "\r\x1b[K"


class Pager:
    """Counts the lines of one command's output, and asks for a key after each page.

    ``size`` gives (columns, lines); ``key`` waits for one, and raises KeyboardInterrupt for Ctrl-C.
    """

    def __init__(
        self, write: Callable[[str], None], size: Callable[[], tuple[int, int]], key: Callable[[], str]
    ) -> None:
        self._write = write
        self._size = size
        self._key = key
        self._left = self._page()
        self._all = False
        #: the reader has seen enough: what comes is thrown away
        self.stopped = False

    def _page(self) -> int:
        return max(1, self._size()[1] - 1)

    def write(self, text: str) -> None:
        """Print ``text``; waits for keys."""
        for line in text.splitlines(keepends=True):
            if self.stopped or (not self._all and self._left <= 0 and not self._ask()):
                return
            self._write(line)
            # A line that is too wide takes several on the screen.
            self._left -= 1 + max(0, len(line.rstrip("\n")) - 1) // max(1, self._size()[0])

    def _ask(self) -> bool:
        """Wait for a key; False when the reader has seen enough."""
        self._write(MORE)
        while True:
            try:
                key = self._key()
            except KeyboardInterrupt:
                key = "q"
            if key in " \r\nfaq":
                break
        self._write(_ERASE)
        if key in "\r\n":
            self._left = 1
        elif key == "q":
            self.stopped = True
        elif key == "a":
            self._all = True
        else:
            self._left = self._page()
        return not self.stopped
