"""Files of commands, run line by line: ``source``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dbgemu.monitor.command import CommandError

if TYPE_CHECKING:
    from dbgemu.monitor.context import Context

#: scripts within scripts; a script that runs itself would go on for ever
DEPTH = 10


class _Lines:
    """The lines of a script: one that ends in a backslash goes on in the next."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        #: of the line given last, counted from 1
        self.number = 0
        self._lines = text.splitlines()
        self._next = 0

    def __iter__(self) -> Iterator[str]:
        while self._next < len(self._lines):
            yield self.take()

    def take(self) -> str:
        """The next line; EOFError behind the last."""
        if self._next >= len(self._lines):
            raise EOFError
        self.number = self._next + 1
        line = self._lines[self._next]
        self._next += 1
        while line.endswith("\\") and self._next < len(self._lines):
            line = line[:-1] + self._lines[self._next].lstrip()
            self._next += 1
        return line


def run_script(context: Context, path: Path) -> None:
    """Run the commands in ``path``, which print as they go, up to the first that fails.

    Raises CommandError, with the file and the line.
    """
    if context.depth >= DEPTH:
        raise CommandError(f"'{path}': scripts can be nested {DEPTH} deep, not deeper")
    try:
        text = path.expanduser().read_text("utf-8")
    except OSError as error:
        raise CommandError(f"'{path}' cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"'{path}' is not a text file") from None
    lines = _Lines(path, text)
    inner = replace(context, depth=context.depth + 1, repeated=False, more=lines.take)
    for line in lines:
        number = lines.number
        context.check_cancelled()
        try:
            printed = context.monitor.run(line, inner).text
        except CommandError as error:
            raise CommandError(f"{path}:{number}: {error}") from None
        if printed:
            context.write(printed if printed.endswith("\n") else printed + "\n")
