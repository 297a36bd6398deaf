"""What the serial port prints while the monitor has the terminal that they share."""

from __future__ import annotations

import codecs
import threading
from collections.abc import Callable

#: characters of a line that is not complete
_LONGEST = 4096


class OtherOutput:
    """Puts lines together, so that they can be shown above the prompt.

    ``show`` gets whole lines with plain newlines. A line that is not complete is kept until it is, or
    until the serial port has the terminal again: then ``write`` sends it as it is.
    """

    def __init__(self, show: Callable[[str], None], write: Callable[[bytes], None]) -> None:
        self._show = show
        self._write = write
        self._lock = threading.Lock()
        self._kept = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def take(self, data: bytes) -> None:
        """Output of the serial port, often single characters; on the machine's thread."""
        with self._lock:
            self._kept += data
            if b"\n" not in data and len(self._kept) < _LONGEST:
                return
            end = self._kept.rfind(b"\n") + 1 or len(self._kept)
            lines = bytes(self._kept[:end])
            del self._kept[:end]
        text = self._decoder.decode(lines).replace("\r", "")
        self._show(text if text.endswith("\n") else f"{text}\n")

    def flush(self) -> None:
        """Send what is left: the serial port has the terminal."""
        with self._lock:
            left = bytes(self._kept)
            self._kept.clear()
        if left:
            self._write(left)
