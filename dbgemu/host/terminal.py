"""The user's terminal in raw mode, and back in its own mode whenever somebody else has it."""

from __future__ import annotations

import contextlib
import os
import signal
import termios
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from dbgemu.host import shutdown

_Handler = Callable[[int, FrameType | None], Any] | int | None


class Terminal:
    """The terminal on ``fd``. It is restored at exit, by signals that end or stop the program, and
    made raw again when the program continues in the foreground.
    """

    def __init__(self, fd: int, *, signals: bool) -> None:
        """``signals``: Ctrl-C, Ctrl-Z and Ctrl-\\ keep their meaning, instead of being input."""
        self._fd = fd
        self._original = termios.tcgetattr(fd)
        self._raw = self._make_raw(signals)
        self._handlers: dict[int, _Handler] = {}
        self._entered = False

    def _make_raw(self, signals: bool) -> list[Any]:
        mode = termios.tcgetattr(self._fd)
        mode[0] &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
        )
        # Output stays processed: messages of the emulator itself end in a bare newline.
        mode[1] |= termios.OPOST
        mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
        if not signals:
            mode[3] &= ~termios.ISIG
        mode[6] = list(mode[6])
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        return mode

    def enter(self) -> None:
        """Make it raw. Job control works when this is called on the main thread."""
        shutdown.at_shutdown(self.restore)
        self._entered = True
        if threading.current_thread() is threading.main_thread():
            for number, handler in ((signal.SIGTSTP, self._stop), (signal.SIGCONT, self._continue)):
                self._handlers[number] = signal.signal(number, handler)
        self._set(self._raw)

    def without_signals(self) -> None:
        """Make Ctrl-C, Ctrl-Z and Ctrl-\\ input."""
        self._raw[3] &= ~termios.ISIG
        if self._entered:
            self._set(self._raw)

    def restore(self) -> None:
        """Give the terminal its own mode back, for good."""
        shutdown.forget(self.restore)
        self._entered = False
        self._set(self._original)
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers.clear()

    def _set(self, mode: list[Any]) -> None:
        if not self._in_foreground():
            return  # a background job that changes the terminal's mode is stopped
        with contextlib.suppress(termios.error):  # it was hung up
            # Not TCSADRAIN: it would wait for a terminal that Ctrl-S has stopped.
            termios.tcsetattr(self._fd, termios.TCSANOW, mode)

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return True  # not our controlling terminal: no job control on it

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._set(self._original)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # The program stands here until it is continued.
        signal.signal(signal.SIGTSTP, self._stop)
        self._continue(number, frame)

    def _continue(self, number: int, frame: FrameType | None) -> None:
        if self._entered:
            self._set(self._raw)
