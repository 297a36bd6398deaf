"""Command lines from a console: what every reader can do, and the one for whoever has no terminal."""

from __future__ import annotations

import codecs
import queue
from abc import ABC, abstractmethod
from collections.abc import Callable

_ERASE = "\b \b"


class Interrupted(Exception):
    """Ctrl-C; ``text`` is what had been typed."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.text = text


class InputEnded(Exception):
    """Nothing more will be typed: Ctrl-D, or the other side has closed its end."""


class Suspended(Exception):
    """Reading stopped for another reason: ask again when there is somebody."""


class LineReader(ABC):
    """Reads lines from keys. :meth:`read` on the console's thread, the others on any."""

    @abstractmethod
    def read(self, prompt: str) -> str:
        """One line, or several divided by newlines. Raises Interrupted, InputEnded, Suspended."""

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Keys that were pressed, whether or not a line is being read."""

    @abstractmethod
    def interrupt(self, reason: Exception) -> None:
        """Have the reading end with ``reason``, after what was completed before."""

    @abstractmethod
    def show(self, text: str) -> None:
        """Print whole lines without breaking the one that is being typed."""

    @abstractmethod
    def forget(self) -> None:
        """Throw away what was typed and not read yet."""

    @property
    def waiting(self) -> bool:
        """There is something to be read although nobody is there any more."""
        return False


class PlainReader(LineReader):
    """Lines from a socket, a pipe or a terminal without abilities: plain text both ways.

    ``echo``: show what is typed, with rubbing out; otherwise the other side does, or nobody needs it.
    """

    def __init__(self, write: Callable[[str], None], echo: Callable[[], bool]) -> None:
        self._write = write
        self._echo = echo
        self._line = ""
        self._prompt: str | None = None
        self._after_return = False
        self._lines: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def waiting(self) -> bool:
        """Lines are left of somebody who has gone."""
        return not self._lines.empty()

    def read(self, prompt: str) -> str:
        """The next line."""
        try:
            item = self._lines.get_nowait()
        except queue.Empty:
            item = None
        if not isinstance(item, Suspended):
            self._write(prompt + (self._line if self._echo() else ""))
        if item is None:
            self._prompt = prompt
            try:
                item = self._lines.get()
            finally:
                self._prompt = None
        if isinstance(item, Exception):
            raise item
        return item

    def interrupt(self, reason: Exception) -> None:
        """Put ``reason`` behind the lines that are complete; the last may lack its newline."""
        if isinstance(reason, InputEnded) and self._line:
            self._lines.put(self._line)
            self._line = ""
        self._lines.put(reason)

    def forget(self) -> None:
        """Throw away all lines."""
        self._line = ""
        while not self._lines.empty():
            self._lines.get()

    def show(self, text: str) -> None:
        """Print above the prompt where there is one: here, on lines of their own, and the prompt anew."""
        prompt = self._prompt
        if prompt is None:
            self._write(text)
        elif self._echo():
            typed = prompt + self._line
            self._write("\r" + " " * len(typed) + "\r" + text + typed)
        else:
            self._write(f"\n{text}{prompt}")

    def feed(self, data: bytes) -> None:
        """Put lines together."""
        for character in self._decoder.decode(data):
            if character == "\n" and self._after_return:
                self._after_return = False
                continue
            self._after_return = character == "\r"
            self._key(character)

    def _key(self, character: str) -> None:
        if character in "\r\n":
            self._show_key("\n")
            line, self._line = self._line, ""
            self._lines.put(line)
        elif character in "\x7f\b":
            if self._line:
                self._line = self._line[:-1]
                self._show_key(_ERASE)
        elif character == "\x15":
            self._show_key(_ERASE * len(self._line))
            self._line = ""
        elif character == "\x03":
            line, self._line = self._line, ""
            self._write("^C\n")
            self._lines.put(Interrupted(line))
        elif character == "\x04":
            if not self._line:
                self._lines.put(InputEnded())
        elif character == "\t":
            self._line += " "
            self._show_key(" ")
        elif character.isprintable():
            self._line += character
            self._show_key(character)

    def _show_key(self, text: str) -> None:
        if self._echo():
            self._write(text)
