"""Colours of a command line that is being typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.styles import Style

from dbgemu.monitor.command import CommandError

if TYPE_CHECKING:
    from prompt_toolkit.document import Document

    from dbgemu.monitor.monitor import Monitor

#: the sixteen colours that every terminal has, as its user has chosen them
STYLE = Style.from_dict(
    {
        "prompt": "bold",
        "command": "ansibrightblue",
        "format": "ansicyan",
        "number": "ansicyan",
        "register": "ansigreen",
        "device": "ansigreen",
        "symbol": "ansiyellow",
        "string": "ansimagenta",
        "comment": "ansibrightblack",
        "auto-suggestion": "ansibrightblack",
    }
)

_TOKENS = re.compile(
    r"(?P<number>\b(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|\d+[kKmMgG]?)\b)"
    r"|(?P<register>\$\w+)"
    r"|(?P<string>\"[^\"]*\"?|'[^']*'?)"
    r"|(?P<name>[A-Za-z_][\w.]*)"
)


class CommandLexer(Lexer):
    """Colours a line by what its words are: known commands, devices and symbols look different."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """See Lexer."""
        lines = document.lines
        return lambda number: self.colour(lines[number]) if number < len(lines) else []

    def colour(self, line: str) -> StyleAndTextTuples:
        """``line`` in pieces, each with its style."""
        if line.lstrip().startswith("#"):
            return [("class:comment", line)]
        length = self._command_length(line)
        head, slash, form = line[:length].partition("/")
        pieces: StyleAndTextTuples = [("class:command", head)] if head else []
        if slash:
            pieces.append(("class:format", slash + form))
        place = length
        for match in _TOKENS.finditer(line, length):
            if match.start() > place:
                pieces.append(("", line[place : match.start()]))
            pieces.append((self._style(match), match[0]))
            place = match.end()
        if place < len(line):
            pieces.append(("", line[place:]))
        return pieces

    def _command_length(self, line: str) -> int:
        try:
            _, _, rest = self._monitor.commands.find(line)
        except (CommandError, IndexError):
            return 0
        text = line.rstrip()
        return len(text) - len(rest) if rest else len(text)

    def _style(self, match: re.Match[str]) -> str:
        kind = match.lastgroup or ""
        if kind != "name":
            return f"class:{kind}"
        session = self._monitor.session
        if match[0].partition(".")[0] in session.machine.board.devices:
            return "class:device"
        return "class:symbol" if session.symbols.find(match[0]) is not None else ""
