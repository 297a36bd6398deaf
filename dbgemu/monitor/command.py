"""Commands as declared objects: run by the REPL, by GDB's ``monitor`` and by Python alike.

A command's name may have several words (``info registers``). Names and spellings are QEMU's where QEMU
has the command, else GDB's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

from dbgemu.errors import Error

if TYPE_CHECKING:
    from dbgemu.monitor.context import Context


class CommandError(Error):
    """A command line that cannot be obeyed; ``str()`` is one clear sentence."""


class Report(NamedTuple):
    """What a command found out: ``text`` for people, ``data`` (what JSON can say) for scripts."""

    text: str
    data: Any


#: gets the context and the arguments; for a command that is ``formatted`` the first is its format
Handler = Callable[["Context", Sequence[str]], "str | Report"]


class Kind(Enum):
    """What an argument is: it decides how it is completed."""

    WORD = auto()
    #: see :mod:`dbgemu.monitor.expressions`: numbers, ``$pc``, symbols, ``nand.NFCONF``, operators
    EXPRESSION = auto()
    REGISTER = auto()
    DEVICE = auto()
    DEVICE_REGISTER = auto()
    SYMBOL = auto()
    FILE = auto()
    COMMAND = auto()


class Argument(NamedTuple):
    """One argument. ``choices`` are its possible values, or those worth completing."""

    name: str
    kind: Kind = Kind.WORD
    optional: bool = False
    #: any number of it, from here to the end
    repeated: bool = False
    #: all that is left of the line, as it was typed
    rest: bool = False
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.name}..." if self.repeated else self.name
        return f"[{text}]" if self.optional else text


class Command(NamedTuple):
    """One command: ``help`` is one line, ``details`` what ``help NAME`` shows below it.

    ``formatted``: a format may follow the name, as in ``x/4xw``. ``group`` is its heading in help.
    ``repeatable``: an empty line at the prompt runs the command again, as gdb does it for ``step``, ``x``
    and ``list``; :attr:`Context.repeated` tells it to go on from where it was.
    """

    name: str
    handler: Handler
    help: str
    arguments: tuple[Argument, ...] = ()
    aliases: tuple[str, ...] = ()
    group: str = "general"
    details: str = ""
    formatted: bool = False
    repeatable: bool = False

    @property
    def heading(self) -> str:
        """Name and arguments, as help shows them."""
        name = f"{self.name}[/FORMAT]" if self.formatted else self.name
        return " ".join((name, *map(str, self.arguments)))

    @property
    def minimum(self) -> int:
        """How many arguments it needs."""
        return sum(not argument.optional for argument in self.arguments)

    @property
    def maximum(self) -> int | None:
        """How many arguments it takes; None for any number."""
        if self.arguments and self.arguments[-1].repeated:
            return None
        return len(self.arguments)

    def split(self, text: str) -> list[str]:
        """The arguments in ``text``. CommandError when they are too few or too many."""
        rest = next((place for place, argument in enumerate(self.arguments) if argument.rest), None)
        words = split_words(text, rest)
        if len(words) < self.minimum or (self.maximum is not None and len(words) > self.maximum):
            raise CommandError(f"'{self.name}' is used as: {self.heading}")
        return words


_QUOTES = "\"'"
_ALIAS_WORD = re.compile(r"[A-Za-z_][\w-]*")


def split_words(text: str, limit: int | None = None) -> list[str]:
    """The words of ``text``: blanks divide, but not in quotes (taken off) or parentheses.

    After ``limit`` words what is left is one word, as it stands. CommandError for an open quote.
    """
    words: list[str] = []
    place = 0
    while (place := _skip_blanks(text, place)) < len(text):
        if len(words) == limit:
            words.append(text[place:].rstrip())
            break
        word, place = _word(text, place)
        words.append(word)
    return words


def _skip_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _word(text: str, place: int) -> tuple[str, int]:
    word, depth = "", 0
    while place < len(text) and (depth or not text[place].isspace()):
        character = text[place]
        if character in _QUOTES:
            end = text.find(character, place + 1)
            if end < 0:
                raise CommandError(f"the quote {character} is not closed")
            word += text[place + 1 : end]
            place = end + 1
            continue
        depth = max(0, depth + (character == "(") - (character == ")"))
        word += character
        place += 1
    return word, place


class CommandSet:
    """Commands by name; ``execute`` is what a line of input does."""

    def __init__(self, commands: Iterable[Command] = ()) -> None:
        self._by_name: dict[tuple[str, ...], Command] = {}
        self._aliases: dict[tuple[str, ...], str] = {}
        self._longest = 0
        self.add(commands)

    def add(self, commands: Iterable[Command]) -> None:
        """Add more commands. ValueError for a name that is taken."""
        for command in commands:
            for name in (command.name, *command.aliases):
                words = tuple(name.split())
                if words in self._by_name:
                    raise ValueError(f"two commands are called '{name}'")
                self._by_name[words] = command
                self._longest = max(self._longest, len(words))

    def __iter__(self) -> Iterator[Command]:
        """Every command once, by name."""
        return iter(sorted(set(self._by_name.values()), key=lambda command: command.name))

    def names(self) -> list[str]:
        """All names and aliases."""
        return sorted(" ".join(words) for words in self._by_name)

    # -- what users call commands ------------------------------------------------------------------

    @property
    def aliases(self) -> dict[str, str]:
        """Names that users have given, and the beginnings of lines that these stand for."""
        return {" ".join(words): text for words, text in sorted(self._aliases.items())}

    def set_alias(self, name: str, text: str) -> None:
        """Let ``name`` stand for ``text``: a command, with arguments or without.

        CommandError where a command has the name, or begins with it.
        """
        words = tuple(name.split())
        if not words or not all(_ALIAS_WORD.fullmatch(word) for word in words):
            raise CommandError(f"'{name}' cannot be the name of a command: letters, digits, '-' and '_' can")
        for taken in self._by_name:
            begins = len(taken) < len(words) and words[: len(taken)] == taken and not self._is_group(taken)
            if taken[: len(words)] == words or begins:
                raise CommandError(f"'{name}' cannot be an alias: '{' '.join(taken)}' is a command")
        text = self._expanded(text.strip())
        self.find(text)
        self._aliases[words] = text
        self._longest = max(self._longest, len(words))

    def _is_group(self, words: tuple[str, ...]) -> bool:
        """Other commands' names begin with these words, as with ``info``."""
        return any(len(name) > len(words) and name[: len(words)] == words for name in self._by_name)

    def remove_alias(self, name: str) -> None:
        """Forget an alias. CommandError where there is none."""
        if self._aliases.pop(tuple(name.split()), None) is None:
            raise CommandError(f"there is no alias '{name}'")

    def _expanded(self, line: str) -> str:
        """``line``, with what its alias stands for in place of that."""
        words = line.split()
        for length in range(min(len(words), self._longest), 0, -1):
            text = self._aliases.get(tuple(words[:length]))
            if text is not None:
                return " ".join((text, *line.split(None, length)[length:]))
        return line

    def find(self, line: str) -> tuple[Command, str, str]:
        """The command that ``line`` starts with (the longest name counts), its format, and what follows.

        An alias is what it stands for. Raises CommandError, which names the nearest command.
        """
        if self._aliases:
            line = self._expanded(line)
        words: list[str] = []
        rests: list[str] = []
        place = 0
        while len(words) < self._longest and (place := _skip_blanks(line, place)) < len(line):
            end = place
            while end < len(line) and not line[end].isspace():
                end += 1
            words.append(line[place:end])
            rests.append(line[end:].strip())
            place = end
        for length in range(len(words), 0, -1):
            name, slash, form = words[length - 1].partition("/")
            command = self._by_name.get((*words[: length - 1], words[length - 1]))
            if command is not None:
                return command, "", rests[length - 1]
            command = self._by_name.get((*words[: length - 1], name))
            if slash and command is not None and command.formatted:
                return command, form, rests[length - 1]
        raise CommandError(self._unknown(words))

    def _unknown(self, words: Sequence[str]) -> str:
        below = [name for name in self._by_name if name[0] == words[0] and len(name) > 1]
        if below and len(words) == 1:
            choices = ", ".join(sorted({name[1] for name in below}))
            return f"'{words[0]}' needs to know what: {choices}"
        names = {" ".join(name): len(name) for name in (*self._by_name, *self._aliases)}
        for length in sorted(set(names.values()), reverse=True):
            same = [name for name, count in names.items() if count == length]
            near = difflib.get_close_matches(" ".join(words[:length]), same, n=1)
            if near:
                return f"there is no command '{' '.join(words[:length])}': did you mean '{near[0]}'?"
        return f"there is no command '{words[0]}': 'help' lists them"

    def run(self, context: Context, line: str) -> Report:
        """Run one line; what came of it. Raises CommandError. A blank line and a comment (#) do nothing."""
        line = line.strip()
        if not line or line.startswith("#"):
            return Report("", None)
        command, form, text = self.find(line)
        arguments = command.split(text)
        result = command.handler(context, [form, *arguments] if command.formatted else arguments)
        return result if isinstance(result, Report) else Report(result, {"text": result})
