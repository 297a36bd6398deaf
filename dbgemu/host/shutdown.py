"""What must happen however the program ends: terminals restored, last output sent."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

_FATAL = (signal.SIGTERM, signal.SIGHUP)

_callbacks: list[Callable[[], None]] = []
_installed = False


def at_shutdown(callback: Callable[[], None]) -> None:
    """Have ``callback`` called once at exit, or at SIGTERM or SIGHUP: the latest first."""
    global _installed
    _callbacks.append(callback)
    if not _installed:
        _installed = True
        atexit.register(run)
        if threading.current_thread() is threading.main_thread():
            for number in _FATAL:
                # Whoever has a handler of their own ends the program in order: that is atexit then.
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, _die)


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


def _die(number: int, frame: FrameType | None) -> None:
    run()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
