"""What a running guest prints on a client's console: from the machine's thread, in as few packets as can be.

GDB manual, "Stop Reply Packets": O packets are for a client that waits for a stop, and not for one in
non-stop mode.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client

#: characters that wait for a slow client; what is printed beyond that is left out
_LIMIT = 1 << 18


class GuestConsole:
    """The text that breakpoints' commands print for ``client``.

    It is kept until the client waits for a stop and has read most of what it was sent before. Where
    there is no client any more, or one that cannot take it, it goes to the emulator's standard error.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._pending: list[str] = []
        self._size = 0
        self._lost = 0
        self._scheduled = False

    def write(self, text: str) -> None:
        """Print ``text``; from any thread."""
        client = self._client
        if not client.attached or not client.present or client.non_stop:
            print(text, end="", file=sys.stderr, flush=True)
            return
        with self._lock:
            if self._size > _LIMIT:
                self._lost += 1
                return
            self._pending.append(text[:_LIMIT])
            self._size += len(text)
            if self._scheduled:
                return
            self._scheduled = True
        client.schedule(self._on_schedule)

    def _on_schedule(self) -> None:
        self._scheduled = False
        if self._client.waiting and not self._client.non_stop and self._client.unsent() < _LIMIT:
            self.flush()

    def flush(self) -> None:
        """Send what was kept; on the server's thread, while the client may get O packets."""
        with self._lock:
            text = "".join(self._pending)
            if self._lost:
                text += f"[{self._lost} prints were left out: they came faster than they were read]\n"
            self._pending.clear()
            self._size = self._lost = 0
        if text:
            self._client.console(text)
