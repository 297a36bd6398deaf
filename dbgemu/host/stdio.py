"""The back end on the program's own standard input and output."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from dbgemu.host.iothread import IoThread
from dbgemu.host.stream import StreamChardev, private_copy

if TYPE_CHECKING:
    from dbgemu.host.terminal import Terminal

#: a pipe into a slow program should lose nothing that fits into memory
_LIMIT = 1 << 26


class StdioChardev(StreamChardev):
    """Standard input and output; the terminal, if the input is one, becomes raw unless it is not to.

    ``signals``: Ctrl-C and the like act on the emulator instead of going to the guest. Raises
    OSError; ValueError when standard input and output are in use already.
    """

    _in_use = False

    def __init__(self, io: IoThread, *, signals: bool, raw: bool = True) -> None:
        if StdioChardev._in_use:
            raise ValueError("stdio is used for two devices, it serves only one")
        sys.stdout.flush()
        self._terminal: Terminal | None = None
        if raw and os.isatty(0):
            from dbgemu.host.terminal import Terminal  # termios, only where there is a terminal

            self._terminal = Terminal(0, signals=signals)
        self._fds = (private_copy(0, os.O_RDONLY), private_copy(1, os.O_WRONLY))
        super().__init__("stdio", io, limit=_LIMIT)
        StdioChardev._in_use = True
        if self._terminal is not None:
            self._terminal.enter()
        io.call_soon(self.attach, *self._fds)

    @property
    def terminal_size(self) -> tuple[int, int] | None:
        """That of the terminal, if input and output both are one that knows escape sequences."""
        if self._terminal is None or not os.isatty(1) or os.environ.get("TERM", "dumb") in ("", "dumb"):
            return None
        try:
            size = os.get_terminal_size(1)
        except OSError:
            return None  # hung up
        return (size.columns or 80, size.lines or 24)

    @property
    def echoes(self) -> bool:
        """The terminal is raw."""
        return self._terminal is not None

    def take_keys(self) -> None:
        """Switch the terminal's signals off."""
        if self._terminal is not None:
            self._terminal.without_signals()

    def close(self) -> None:
        """Send what is left and restore the terminal."""
        if not self._closed:
            try:
                super().close()
            finally:
                StdioChardev._in_use = False
                if self._terminal is not None:
                    self._terminal.restore()

    def _shut(self) -> None:
        super()._shut()
        for fd in self._fds:
            os.close(fd)
