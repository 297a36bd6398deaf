"""What people do at a display: the finger on the touch screen, the board's buttons, a keyboard."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbgemu.target.mini2440 import Mini2440

Post = Callable[[Callable[[], None]], None]

#: events that wait for a stopped machine at the most: of more, the oldest are lost
MOST_WAITING = 256
#: function key -> button of the board
BUTTON_KEYS = {f"f{number}": f"K{number}" for number in range(1, 7)}


class Inputs:
    """From events to the board. ``post`` runs an action on the machine's thread.

    ``keyboard`` takes all keys that are no buttons, by QEMU's names, with whether they go down; None where
    there is no keyboard.
    """

    def __init__(
        self,
        board: Mini2440,
        post: Post,
        keyboard: Callable[[str, bool], None] | None = None,
    ) -> None:
        self._board = board
        self._post = post
        self._keyboard = keyboard
        self._buttons = {button.name: button for button in board.buttons}
        self._pointer = (0, 0, False)
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque(maxlen=MOST_WAITING)

    def pointer(self, x: int, y: int, pressed: bool) -> None:
        """The pointer is at pixel (``x``, ``y``) of the panel; ``pressed``: the finger is down."""
        before, self._pointer = self._pointer, (x, y, pressed)
        if pressed or before[2]:
            self._enter(lambda: self._board.touch.set(x, y, pressed))

    def key(self, name: str, pressed: bool) -> None:
        """A key, by QEMU's name, goes down or up."""
        button = self._buttons.get(BUTTON_KEYS.get(name, ""))
        if button is not None:
            self._enter(button.press if pressed else button.release)
        elif self._keyboard is not None:
            keyboard = self._keyboard
            self._enter(lambda: keyboard(name, pressed))

    def _enter(self, action: Callable[[], None]) -> None:
        with self._lock:
            first = not self._waiting
            self._waiting.append(action)
        if first:
            self._post(self._serve)

    def _serve(self) -> None:
        """On the machine's thread."""
        with self._lock:
            actions = list(self._waiting)
            self._waiting.clear()
        for action in actions:
            action()
