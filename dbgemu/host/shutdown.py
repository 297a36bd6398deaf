"""What must happen however the program ends: terminals restored, last output sent. And waiting for that."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

_FATAL = (signal.SIGTERM, signal.SIGHUP)
#: seconds in which a further signal is taken for the same end: a terminal that closes sends several
_GRACE = 2.0

_callbacks: list[Callable[[], None]] = []
_installed = False
#: when the first signal came (s of the monotonic clock)
_ending_since: float | None = None


class Terminated(SystemExit):
    """SIGTERM or SIGHUP, on the main thread: everything is closed in order, as after Ctrl-C.

    Nobody is to catch it but who ends the program, with :func:`die`.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def at_shutdown(callback: Callable[[], None]) -> None:
    """Have ``callback`` called once at exit, that by SIGTERM or SIGHUP too: the latest first."""
    global _installed
    _callbacks.append(callback)
    if not _installed:
        _installed = True
        atexit.register(run)
        take_signals()


def take_signals() -> None:
    """Let SIGTERM and SIGHUP raise :class:`Terminated`; nothing happens but on the main thread."""
    if threading.current_thread() is threading.main_thread():
        for number in _FATAL:
            # Whoever has a handler of their own ends the program in order: that is atexit then.
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end)


def forget(callback: Callable[[], None]) -> None:
    """Undo :func:`at_shutdown`; does nothing when it has run already."""
    if callback in _callbacks:
        _callbacks.remove(callback)


def run() -> None:
    """Call what is registered. A callback that fails does not keep the others from running."""
    while _callbacks:
        try:
            _callbacks.pop()()
        except Exception as error:
            os.write(2, f"dbgemu: at exit: {error}\n".encode())


def _end(number: int, frame: FrameType | None) -> None:
    global _ending_since
    now = time.monotonic()
    if _ending_since is None:
        _ending_since = now
        raise Terminated(number)
    if now > _ending_since + _GRACE:  # closing takes too long for whoever sends it
        die(number)


def die(number: int) -> None:
    """End the program by signal ``number``, once what is registered was called."""
    run()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


class End:
    """The end of the program: set by any thread, waited for by the main thread.

    A signal is taken by any thread of a process, but Python runs its handler on the main one when that
    next executes Python code. Asleep in a lock it would not learn of a hang-up that another thread's
    system call was interrupted for; so it sleeps on a pipe that each signal writes to as well.
    """

    def __init__(self) -> None:
        self._set = threading.Event()
        self._lock = threading.Lock()
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)

    def is_set(self) -> bool:
        """The end has come."""
        return self._set.is_set()

    def set(self) -> None:
        """Wake who waits. From any thread, and after :meth:`close` too."""
        with self._lock:
            self._set.set()
            if self._write_fd >= 0:
                with suppress(BlockingIOError):  # full: then there is something to wake up for
                    os.write(self._write_fd, b"\0")

    def wait(self) -> None:
        """Return when the end has come. Signal handlers run meanwhile, and may raise."""
        main = threading.current_thread() is threading.main_thread()
        previous = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False) if main else -1
        try:
            while not self._set.is_set():
                os.read(self._read_fd, 4096)
        finally:
            if main:
                signal.set_wakeup_fd(previous)

    def close(self) -> None:
        """Give the pipe back, once nobody waits any more."""
        with self._lock:
            if self._write_fd >= 0:
                os.close(self._read_fd)
                os.close(self._write_fd)
                self._write_fd = -1
