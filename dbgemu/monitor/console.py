"""The monitor on a character back end: a prompt, a line editor of the simplest kind, the commands."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from dbgemu import __version__
from dbgemu.host.backend import Chardev, ChardevEvent

if TYPE_CHECKING:
    from dbgemu.monitor.monitor import Monitor

PROMPT = "(dbgemu) "
_ERASE = "\b \b"


class Console:
    """Reads lines from ``backend`` and runs them, on a thread of its own.

    ``shared``: a serial port uses the back end too, so the prompt comes when the user switches here.
    """

    def __init__(
        self,
        backend: Chardev,
        monitor: Monitor,
        *,
        shared: bool,
        machine_name: str = "",
    ) -> None:
        self._backend = backend
        self._monitor = monitor
        self._greet_on = ChardevEvent.FOCUSED if shared else ChardevEvent.OPENED
        of_machine = f" of {machine_name}" if machine_name else ""
        self._welcome = f"dbgemu {__version__} monitor{of_machine} - type 'help' for the commands"
        self._line = ""
        self._after_return = False
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._keys: dict[str, Callable[[], None]] = {
            "\r": self._enter,
            "\n": self._enter,
            "\x7f": self._rub_out,
            "\b": self._rub_out,
            "\x15": self._clear,
            "\x03": self._cancel,
        }
        backend.on_event = self._event
        backend.on_receive = self._receive

    def _print(self, text: str) -> None:
        self._backend.write(text.replace("\n", "\r\n").encode())

    def _event(self, event: ChardevEvent) -> None:
        if event is self._greet_on:
            self._line = ""
            self._print(f"{self._welcome}\n{PROMPT}")

    # -- on the I/O thread ---------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        for character in data.decode("ascii", "replace"):
            if character == "\n" and self._after_return:
                self._after_return = False
                continue
            self._after_return = character == "\r"
            key = self._keys.get(character)
            if key is not None:
                key()
            elif character.isprintable() and character.isascii():
                self._line += character
                self._print(character)

    def _rub_out(self) -> None:
        if self._line:
            self._line = self._line[:-1]
            self._print(_ERASE)

    def _clear(self) -> None:
        self._print(_ERASE * len(self._line))
        self._line = ""

    def _cancel(self) -> None:
        self._line = ""
        self._print(f"^C\n{PROMPT}")

    def _enter(self) -> None:
        self._print("\n")
        line, self._line = self._line, ""
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="monitor", daemon=True)
            self._worker.start()
        self._lines.put(line)

    # -- on the console's thread: a command may wait for the machine ------------------------------

    def _work(self) -> None:
        while True:
            text = self._monitor.execute(self._lines.get())
            self._print(f"{text}\n{PROMPT}" if text else PROMPT)
