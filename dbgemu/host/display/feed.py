"""The screen as those who show it see it: looked at some times a second, while anybody does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dbgemu.target.clock import NS_PER_SECOND, VirtualClock
from dbgemu.target.s3c2440.lcd_frame import Pixels, changed_lines, fit, render, render_lines
from dbgemu.target.s3c2440.lcd_scan import Scan

if TYPE_CHECKING:
    from dbgemu.target.s3c2440.lcd import LcdController

T = TypeVar("T")
#: runs an action where the machine's state may be used
Call = Callable[[Callable[[], Any]], Any]

#: looks at the screen a second, at the most
RATE = 30
#: looks without a change after which they become rare, and how many a second these are
_FEW_LOOKS, _RARE = 15, 10
#: share of the time that looking may take, and encoding for a viewer
SHARE = 1 / 50
#: seconds after which a rest ends, even if the guest makes no progress
_LONGEST_REST = 0.3
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
        #: the same before it is cut to the panel's size
        self._picture = self.pixels

    def look(self) -> bool:
        """See what the panel shows now; whether that is another picture than before."""
        seen = self._call(self._lcd.look)
        before, self._seen = self._seen, seen
        if seen == before:
            return False
        if before is not None and seen is not None and before[0] == seen[0] and seen[1]:
            picture = self._with_changed_lines(seen[0], before[1], seen[1])
        else:
            picture = np.zeros_like(self.pixels) if seen is None else render(*seen)
        self._picture, panel = picture, self._lcd.panel
        if seen is not None and panel is not None and panel.size is not None:
            picture = fit(picture, *panel.size)
        if np.array_equal(picture, self.pixels):
            return False
        self.pixels = picture
        return True

    def rest(self, seconds: float) -> Rest:
        """A pause that begins now."""
        return Rest(self._lcd.clock, seconds)

    def _with_changed_lines(self, scan: Scan, before: tuple[bytes, ...], now: tuple[bytes, ...]) -> Pixels:
        """The picture, of which only the lines are made anew whose memory has changed."""
        top, bottom = changed_lines(scan, before, now)
        if top >= bottom:  # behind the last pixel
            return self._picture
        lines = render_lines(scan, now, top, bottom)
        if bottom - top == scan.height:
            return lines
        picture = self._picture.copy()
        picture[top:bottom] = lines
        return picture


class Rest:
    """A pause that is to pass for the guest too, so that looking takes no more on a host that is busy.

    A guest that is stopped does not make it longer than 0.3 s.
    """

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        self._clock = clock
        now = time.monotonic()
        self._end, self._last = now + seconds, now + max(seconds, _LONGEST_REST)
        self._guest_end = clock.now + round(seconds * NS_PER_SECOND)

    def left(self) -> float:
        """Seconds after which to ask again; 0: it is over."""
        now = time.monotonic()
        if now < self._end:
            return self._end - now
        if now >= self._last or self._clock.now >= self._guest_end:
            return 0
        return min(1 / RATE, self._last - now)


class Pace:
    """When to look next: seldom at a screen where nothing happens, or that takes long to be shown."""

    def __init__(self) -> None:
        self._equal = 0

    @property
    def is_slow(self) -> bool:
        """Nothing has changed for a while."""
        return self._equal >= _FEW_LOOKS

    def pause(self, cost: float, changed: bool) -> float:
        """Seconds to rest, after a look that took ``cost`` seconds of processor time."""
        self._equal = 0 if changed else self._equal + 1
        return max(1 / (_RARE if self.is_slow else RATE), cost / SHARE)

    def hurry(self) -> None:
        """Something is about to change."""
        self._equal = 0


class ScreenFeed:
    """Tells listeners each new picture, from a thread of its own that runs while there are any."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._listeners: list[Callable[[Pixels], None]] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._pace = Pace()
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

    def rest(self, seconds: float) -> Rest:
        """A pause that begins now."""
        return self._watcher.rest(seconds)

    def hurry(self) -> None:
        """Somebody does something, of which he wants to see the effect."""
        if self._pace.is_slow:
            self._pace.hurry()
            self._wake.set()

    def _main(self) -> None:
        while not self._ended:
            with self._lock:
                listeners = list(self._listeners)
            if not listeners:
                self._wake.wait()
                self._wake.clear()
                continue
            began = time.thread_time()
            changed = self._watcher.look()
            if changed:
                for listener in listeners:
                    listener(self._watcher.pixels)
            rest = self._watcher.rest(self._pace.pause(time.thread_time() - began, changed))
            while (left := rest.left()) and not self._wake.wait(left):
                pass
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
