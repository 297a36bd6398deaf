"""A window on the host's desktop, by SDL through pygame: the screen, and the LEDs in a strip below.

The left mouse button touches the screen; F1 to F6 are the board's buttons K1 to K6.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dbgemu.errors import OptionError
from dbgemu.host.display.feed import RATE, Pace, Rectangle, Watcher, changes
from dbgemu.host.display.inputs import Inputs

if TYPE_CHECKING:
    from dbgemu.target.mini2440 import Mini2440

#: pixels of the strip with the LEDs
STRIP = 16
_DARK, _LIT, _BACKGROUND = (70, 20, 20), (255, 60, 40), (24, 24, 24)

#: SDL's own threads take about half as much as this one
_WITH_HELPERS = 1.5

#: what SDL takes where there is no desktop; who asks for one of them gets it
_INVISIBLE = frozenset(("dummy", "offscreen"))

#: names that SDL gives keys otherwise than QEMU
_KEY_NAMES = {
    "return": "ret",
    "space": "spc",
    "escape": "esc",
    "left shift": "shift",
    "right shift": "shift_r",
    "left ctrl": "ctrl",
    "right ctrl": "ctrl_r",
    "left alt": "alt",
    "right alt": "alt_r",
    "caps lock": "caps_lock",
    "page up": "pgup",
    "page down": "pgdn",
    "-": "minus",
    "=": "equal",
    "[": "bracket_left",
    "]": "bracket_right",
    "\\": "backslash",
    ";": "semicolon",
    "'": "apostrophe",
    "`": "grave_accent",
    ",": "comma",
    ".": "dot",
    "/": "slash",
}


def load_pygame() -> Any:
    """The library. Raises OptionError where it is not installed."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_VIDEO_X11_WMCLASS", "dbgemu")  # else the script's name
    os.environ.setdefault("SDL_VIDEO_CENTERED", "1")  # else a larger picture grows off the desktop
    try:
        import pygame
    except ImportError:
        raise OptionError(
            "a window needs pygame, which is not installed: pip install 'dbgemu[sdl]'"
        ) from None
    return pygame


class Window:
    """The window and its thread. ``on_close``: the user closed it."""

    def __init__(
        self,
        board: Mini2440,
        watcher: Watcher,
        inputs: Inputs,
        *,
        title: str,
        on_close: Callable[[], None],
    ) -> None:
        self._pygame = load_pygame()
        self._board = board
        self._watcher = watcher
        self._inputs = inputs
        self._title = title
        self._on_close = on_close
        self._ended = threading.Event()
        self._opened = threading.Event()
        self._problem = ""
        self._pressed = False
        self._leds: tuple[bool, ...] = ()
        self._light: bool | None = None
        self._shown = watcher.pixels
        self._thread = threading.Thread(target=self._main, name="window", daemon=True)

    def start(self) -> None:
        """Open it. Raises OptionError where there is no desktop."""
        self._thread.start()
        self._opened.wait()
        if self._problem:
            raise OptionError(f"a window cannot be opened: {self._problem}")

    def close(self) -> None:
        """Close it and end its thread."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    # -- on the window's thread ----------------------------------------------------------------

    def _main(self) -> None:
        pygame = self._pygame
        try:
            pygame.display.init()
            if pygame.display.get_driver() in _INVISIBLE and "SDL_VIDEODRIVER" not in os.environ:
                self._problem = "there is no desktop"
                pygame.display.quit()
                return
            self._outside_changed()
            self._resize()
        except pygame.error as error:
            self._problem = str(error)
            return
        finally:
            self._opened.set()
        pace, rest = Pace(), self._watcher.rest(0)
        while not self._ended.is_set():
            began, redraw = time.thread_time(), False
            for event in pygame.event.get():
                redraw |= event.type in (pygame.VIDEORESIZE, pygame.VIDEOEXPOSE)
                self._handle(event)
                if pace.is_slow:  # its effect is to be seen soon
                    pace.hurry()
                    rest = self._watcher.rest(0)
            looks, changed = not rest.left(), False
            if looks:
                changed = self._watcher.look()
                redraw |= self._outside_changed()
            if redraw:
                self._draw()
            elif changed:
                self._draw_changes()
            if looks:
                cost = _WITH_HELPERS * (time.thread_time() - began)
                rest = self._watcher.rest(pace.pause(cost, changed or redraw))
            self._ended.wait(min(1 / RATE, rest.left()))
        pygame.display.quit()

    def _resize(self) -> None:
        """Make the window as large as the picture, which it is until the user changes that."""
        height, width = self._watcher.pixels.shape
        size = (width, height + STRIP)
        self._pygame.display.set_mode(size, self._pygame.RESIZABLE)
        self._canvas = self._pygame.Surface(size, 0, 32, (0xFF0000, 0xFF00, 0xFF, 0))
        self._draw()

    def _outside_changed(self) -> bool:
        """The LEDs, or the backlight of which the title tells."""
        leds = tuple(led.lit for led in self._board.leds)
        panel = self._board.lcd.panel
        light = panel is None or panel.lit
        if (leds, light) == (self._leds, self._light):
            return False
        self._leds, self._light = leds, light
        self._pygame.display.set_caption(self._title if light else f"{self._title} (backlight off)")
        return True

    def _draw(self) -> None:
        """All of it: what has been uncovered, the LEDs, a picture of another size."""
        pygame, pixels, canvas = self._pygame, self._watcher.pixels, self._canvas
        height, width = pixels.shape
        if canvas.get_size() != (width, height + STRIP):
            self._resize()
            return
        self._put((0, 0, width, height))
        pygame.draw.rect(canvas, _BACKGROUND, (0, height, width, STRIP))
        for place, lit in enumerate(self._leds):
            colour = _LIT if lit else _DARK
            pygame.draw.circle(canvas, colour, (STRIP * (place + 1), height + STRIP // 2), STRIP // 3)
        window = pygame.display.get_surface()
        pygame.transform.scale(canvas, window.get_size(), window)
        pygame.display.flip()

    def _draw_changes(self) -> None:
        """What differs from the picture that the window shows."""
        window, shown, pixels = self._pygame.display.get_surface(), self._shown, self._watcher.pixels
        if shown.shape != pixels.shape or window.get_size() != self._canvas.get_size():
            self._draw()
            return
        areas = changes(shown, pixels)
        for area in areas:
            self._put(area)
            window.blit(self._canvas, area[:2], area)
        self._pygame.display.update(areas)

    def _put(self, area: Rectangle) -> None:
        """Copy a part of the picture to the canvas, which is as large as the window is without scaling."""
        x, y, width, height = area
        self._shown = self._watcher.pixels
        part = (slice(y, y + height), slice(x, x + width))
        # the surface's own memory, by columns
        np.asarray(self._canvas.get_view("2")).T[part] = self._shown[part]

    def _place(self, position: tuple[int, int]) -> tuple[int, int]:
        """The pixel of the picture at a place in the window."""
        window, canvas = self._pygame.display.get_surface().get_size(), self._canvas.get_size()
        return position[0] * canvas[0] // window[0], position[1] * canvas[1] // window[1]

    def _handle(self, event: Any) -> None:
        pygame = self._pygame
        if event.type == pygame.QUIT:
            self._on_close()
        elif event.type in (pygame.KEYDOWN, pygame.KEYUP):
            name = pygame.key.name(event.key).lower()
            self._inputs.key(_KEY_NAMES.get(name, name), event.type == pygame.KEYDOWN)
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            x, y = self._place(event.pos)
            if y < self._watcher.pixels.shape[0]:  # else in the strip
                self._pressed = True
                self._inputs.pointer(x, y, True)
        elif event.type == pygame.MOUSEMOTION and self._pressed:
            self._inputs.pointer(*self._place(event.pos), pressed=True)
        elif event.type == pygame.MOUSEBUTTONUP and event.button == 1 and self._pressed:
            self._pressed = False
            self._inputs.pointer(*self._place(event.pos), pressed=False)
