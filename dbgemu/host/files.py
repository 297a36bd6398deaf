"""Back ends on a file and on a pseudo terminal."""

from __future__ import annotations

import os
import tty

from dbgemu.host.iothread import IoThread
from dbgemu.host.stream import ABSENT_LIMIT, StreamChardev

_FILE_LIMIT = 1 << 26


class FileChardev(StreamChardev):
    """Writes to ``path``, which is created or emptied; nothing ever comes from it. Raises OSError."""

    def __init__(self, path: str, io: IoThread) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        super().__init__(f"file:{path}", io, limit=_FILE_LIMIT)
        self._write_fd = self._fd

    def _shut(self) -> None:
        super()._shut()
        os.close(self._fd)


class PtyChardev(StreamChardev):
    """A new pseudo terminal: ``description`` is the path that a terminal program opens.

    The path can be opened and closed as often as wanted. Raises OSError.
    """

    def __init__(self, io: IoThread) -> None:
        self._master, self._slave = os.openpty()
        # Keeping the slave open spares the master end-of-file errors between two users.
        tty.setraw(self._slave)  # else its line discipline would echo the output back as input
        os.set_blocking(self._master, False)
        super().__init__(os.ttyname(self._slave), io, limit=ABSENT_LIMIT)
        io.call_soon(self.attach, self._master, self._master)

    @property
    def terminal_size(self) -> tuple[int, int] | None:
        """As whoever opened it has told: many programs never do."""
        try:
            size = os.get_terminal_size(self._slave)
        except OSError:
            return None  # closed
        return (size.columns, size.lines) if size.columns and size.lines else None

    @property
    def echoes(self) -> bool:
        """It is raw."""
        return True

    def _shut(self) -> None:
        super()._shut()
        os.close(self._master)
        os.close(self._slave)
