"""The screen as those who show it see it: looked at some times a second, while anybody does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dbgemu.target.s3c2440.lcd_frame import Pixels, fit, render
from dbgemu.target.s3c2440.lcd_scan import Scan

if TYPE_CHECKING:
    from dbgemu.target.s3c2440.lcd import LcdController

T = TypeVar("T")
#: runs an action where the machine's state may be used
Call = Callable[[Callable[[], Any]], Any]

#: looks at the screen a second
RATE = 30
#: of a panel that is off and whose size nobody knows
_DEFAULT_SIZE = (240, 320)


class Watcher:
    """Looks at the panel. Memory that has not changed costs a copy and a comparison."""

    def __init__(self, lcd: LcdController, call: Call) -> None:
        self._lcd = lcd
        self._call = call
        self._seen: tuple[Scan, tuple[bytes, ...]] | None = None
        width, height = (lcd.panel.size if lcd.panel else None) or _DEFAULT_SIZE
        #: what was seen last; black while nothing is shown. Never written to: a change is another array
        self.pixels: Pixels = np.zeros((height, width), np.uint32)

    def look(self) -> bool:
        """See what the panel shows now; whether that is another picture than before."""
        seen = self._call(self._lcd.look)
        if seen == self._seen:
            return False
        self._seen = seen
        pixels = np.zeros_like(self.pixels) if seen is None else render(*seen)
        if seen is not None and self._lcd.panel is not None and self._lcd.panel.size is not None:
            pixels = fit(pixels, *self._lcd.panel.size)
        if np.array_equal(pixels, self.pixels):
            return False
        self.pixels = pixels
        return True


class ScreenFeed:
    """Tells listeners each new picture, from a thread of its own that runs while there are any."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._listeners: list[Callable[[Pixels], None]] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None

    @property
    def pixels(self) -> Pixels:
        """The latest picture."""
        return self._watcher.pixels

    def add(self, listener: Callable[[Pixels], None]) -> None:
        """Call ``listener`` with each new picture from now on, on the feed's thread."""
        with self._lock:
            self._listeners.append(listener)
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._main, name="display", daemon=True)
                self._thread.start()
        self._wake.set()

    def remove(self, listener: Callable[[Pixels], None]) -> None:
        """Call it no more."""
        with self._lock:
            self._listeners.remove(listener)

    def _main(self) -> None:
        while not self._ended:
            with self._lock:
                listeners = list(self._listeners)
            if not listeners:
                self._wake.wait()
                self._wake.clear()
                continue
            if self._watcher.look():
                for listener in listeners:
                    listener(self._watcher.pixels)
            self._wake.wait(1 / RATE)
            self._wake.clear()

    def close(self) -> None:
        """End the thread."""
        self._ended = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()


Rectangle = tuple[int, int, int, int]


def changes(before: Pixels, now: Pixels) -> list[Rectangle]:
    """Rectangles (x, y, width, height) outside of which pictures of the same size are equal.

    One for each run of changed lines; lines that are the same join two runs when they are few.
    """
    different = before != now
    lines = np.flatnonzero(different.any(axis=1))
    if not lines.size:
        return []
    gaps = np.flatnonzero(np.diff(lines) > _FEW_LINES)
    found = []
    for run in np.split(lines, gaps + 1):
        top, bottom = int(run[0]), int(run[-1]) + 1
        columns = np.flatnonzero(different[top:bottom].any(axis=0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        found.append((left, top, right - left, bottom - top))
    return found


_FEW_LINES = 8
