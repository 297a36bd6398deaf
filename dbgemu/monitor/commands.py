"""The monitor's commands: declared objects, run by the REPL and by GDB's ``monitor`` alike.

A command's name may have several words (``info registers``); names and spellings are QEMU's where
QEMU has the command.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dbgemu

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession

Handler = Callable[["DebugSession", Sequence[str]], str]


class CommandError(Exception):
    """A command line that cannot be obeyed; ``str()`` is one clear sentence."""


@dataclass(frozen=True)
class Command:
    """One command. ``usage`` are the arguments behind the name, ``help`` one line.

    ``handler`` gets the session and the arguments, and returns the text to print. ``maximum`` is how
    many arguments it takes at most (None: any number).
    """

    name: str
    handler: Handler
    help: str
    usage: str = ""
    aliases: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int | None = 0

    @property
    def heading(self) -> str:
        """Name and arguments, as help shows them."""
        return f"{self.name} {self.usage}".rstrip()


class CommandSet:
    """Commands by name; ``execute`` is what a line of input does."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self._by_name: dict[tuple[str, ...], Command] = {}
        for command in commands:
            for name in (command.name, *command.aliases):
                words = tuple(name.split())
                if words in self._by_name:
                    raise ValueError(f"two commands are called '{name}'")
                self._by_name[words] = command

    def __iter__(self) -> Iterator[Command]:
        """Every command once, by name."""
        return iter(sorted(set(self._by_name.values()), key=lambda command: command.name))

    def find(self, words: Sequence[str]) -> tuple[Command, Sequence[str]]:
        """The command that ``words`` start with (the longest name counts), and the words behind it.

        Raises CommandError, which names the nearest command.
        """
        for length in range(len(words), 0, -1):
            command = self._by_name.get(tuple(words[:length]))
            if command is not None:
                return command, words[length:]
        raise CommandError(self._unknown(words))

    def _unknown(self, words: Sequence[str]) -> str:
        below = [name for name in self._by_name if name[0] == words[0]]
        if below and len(words) == 1:
            choices = ", ".join(sorted(name[1] for name in below))
            return f"'{words[0]}' needs to know what: {choices}"
        names = {" ".join(name): len(name) for name in self._by_name}
        for length in sorted(set(names.values()), reverse=True):
            same = [name for name, count in names.items() if count == length]
            near = difflib.get_close_matches(" ".join(words[:length]), same, n=1)
            if near:
                return f"there is no command '{' '.join(words[:length])}': did you mean '{near[0]}'?"
        return f"there is no command '{words[0]}': 'help' lists them"

    def execute(self, session: DebugSession, line: str) -> str:
        """Run one line; the text to print. Raises CommandError."""
        words = line.split()
        if not words:
            return ""
        command, arguments = self.find(words)
        if len(arguments) < command.minimum or (
            command.maximum is not None and len(arguments) > command.maximum
        ):
            raise CommandError(f"'{command.name}' is used as: {command.heading}")
        return command.handler(session, arguments)

    def execute_for_gdb(self, session: DebugSession, line: str) -> str:
        """Like :meth:`execute`, with an error as the text: what GDB's ``monitor`` prints."""
        try:
            return self.execute(session, line)
        except CommandError as error:
            return str(error)

    def help(self, words: Sequence[str]) -> str:
        """One line a command, or all about one, or about those whose names start with ``words``."""
        if words:
            chosen = [command for command in self if command.name.split()[: len(words)] == list(words)]
            if not chosen:
                chosen = [self.find(words)[0]]
        else:
            chosen = list(self)
        width = max(len(command.heading) for command in chosen)
        lines = []
        for command in chosen:
            also = f" (also: {', '.join(command.aliases)})" if command.aliases else ""
            lines.append(f"{command.heading:{width}}  {command.help}{also}")
        return "\n".join(lines)


def _help(session: DebugSession, arguments: Sequence[str]) -> str:
    return COMMANDS.help(arguments)


_MODES = {0x10: "usr", 0x11: "fiq", 0x12: "irq", 0x13: "svc", 0x17: "abt", 0x1B: "und", 0x1F: "sys"}


def describe_psr(value: int) -> str:
    """A program status register: flags (capital: set) and mode (ARM ARM A2.5)."""
    flags = "".join(
        letter if value >> bit & 1 else letter.lower()
        for letter, bit in (("N", 31), ("Z", 30), ("C", 29), ("V", 28), ("I", 7), ("F", 6), ("T", 5))
    )
    return f"{value:08x} {flags} {_MODES.get(value & 0x1F, 'no mode')}"


#: modes with registers of their own: (name, the numbers of the first and last of them)
_BANKS = (("usr", 8), ("fiq", 8), ("irq", 13), ("svc", 13), ("abt", 13), ("und", 13))


def _info_registers(session: DebugSession, arguments: Sequence[str]) -> str:
    return session.call(lambda: "\n".join(_register_lines(session)))


def _register_lines(session: DebugSession) -> Iterator[str]:
    read = session.cpu.read_register
    for first in range(0, 16, 4):
        yield "  ".join(f"{f'r{number}':>3}={read(f'r{number}'):08x}" for number in range(first, first + 4))
    yield f"cpsr={describe_psr(read('cpsr'))}"
    for mode, first in _BANKS:
        values = " ".join(f"{read(f'r{number}_{mode}'):08x}" for number in range(first, 15))
        saved = "" if mode == "usr" else f"  spsr={describe_psr(read(f'spsr_{mode}'))}"
        yield f"{mode}: r{first}-r14={values}{saved}"
    names = list(session.cpu.cp15_registers)
    for start in range(0, len(names), 4):
        yield "  ".join(f"{name:>7}={read(name):08x}" for name in names[start : start + 4])


def _info_version(session: DebugSession, arguments: Sequence[str]) -> str:
    return f"dbgemu {dbgemu.__version__}"


def _info_status(session: DebugSession, arguments: Sequence[str]) -> str:
    if session.running:
        return "VM status: running"
    stop = session.last_stop
    return f"VM status: paused ({stop.kind.value} at pc 0x{stop.pc:08x})"


def _system_reset(session: DebugSession, arguments: Sequence[str]) -> str:
    session.reset()
    return ""


def _quit(session: DebugSession, arguments: Sequence[str]) -> str:
    session.quit()
    return ""


def _stop(session: DebugSession, arguments: Sequence[str]) -> str:
    session.halt()
    return ""


def _cont(session: DebugSession, arguments: Sequence[str]) -> str:
    session.resume()
    return ""


COMMANDS = CommandSet(
    (
        Command("help", _help, "list the commands, or tell about one", "[command]", ("?",), maximum=None),
        Command("info registers", _info_registers, "show the CPU's registers, banked and cp15 too"),
        Command("info version", _info_version, "show the emulator's version"),
        Command("info status", _info_status, "tell whether the guest runs"),
        Command("system_reset", _system_reset, "reset the board"),
        Command("quit", _quit, "end the emulator", aliases=("q",)),
        Command("stop", _stop, "stop the guest", aliases=("s",)),
        Command("cont", _cont, "let the guest run", aliases=("c",)),
    )
)
