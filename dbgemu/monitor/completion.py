"""What may follow a command line that is being typed, from the declarations of the commands' arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dbgemu.monitor.command import Argument, Command, CommandError, Kind

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.monitor.monitor import Monitor

#: symbols that are offered at most: a kernel has some ten thousand
SYMBOL_LIMIT = 500

_BANKS = {"usr": 8, "fiq": 8, "irq": 13, "svc": 13, "abt": 13, "und": 13}
#: the last name in an expression: register, symbol, device register, or a part of one
_NAME = re.compile(r"\$?[A-Za-z_][\w.$]*$|\$$")


class Candidate(NamedTuple):
    """``text`` may stand there; ``note`` says what it is. ``open``: more of the same word follows."""

    text: str
    note: str = ""
    open: bool = False


class Completion(NamedTuple):
    """``candidates`` replace the last ``length`` characters of the line."""

    length: int
    candidates: list[Candidate]


def complete(monitor: Monitor, line: str) -> Completion:
    """What may stand at the end of ``line``: commands, or the argument that its end is a part of."""
    line = line.lstrip()
    found = line.rpartition(" ")
    words, part = found[0].split(), found[2]
    candidates = _command_words(monitor, words, part)
    length = len(part)
    try:
        command, _, rest = monitor.commands.find(" ".join(words))
    except (CommandError, IndexError):
        return Completion(length, candidates)
    argument = _argument(command, len(rest.split()))
    if argument is None:
        return Completion(length, candidates)
    if argument.kind is Kind.COMMAND:
        below = complete(monitor, f"{rest} {part}")
        return Completion(below.length, [*candidates, *below.candidates])
    chosen = [Candidate(choice) for choice in argument.choices if choice.startswith(part)]
    completed = _KINDS.get(argument.kind, _nothing)(monitor.session, part)
    if not (candidates or chosen):
        length = completed.length
    elif completed.length != length:
        completed = Completion(length, [])
    return Completion(length, [*candidates, *chosen, *completed.candidates])


def _command_words(monitor: Monitor, words: list[str], part: str) -> list[Candidate]:
    """The next words of the commands whose names begin with ``words`` and ``part``."""
    notes: dict[str, str] = {}
    place = len(words)
    for command in monitor.commands:
        for name in (command.name, *command.aliases):
            own = name.split()
            if len(own) <= place or own[:place] != words or not own[place].startswith(part):
                continue
            whole = len(own) == place + 1
            notes[own[place]] = command.help if whole else notes.get(own[place], "")
    for name, text in monitor.commands.aliases.items():
        own = name.split()
        if len(own) > place and own[:place] == words and own[place].startswith(part):
            whole = len(own) == place + 1
            notes[own[place]] = f"alias of '{text}'" if whole else notes.get(own[place], "")
    return [Candidate(text, note) for text, note in sorted(notes.items())]


def _argument(command: Command, place: int) -> Argument | None:
    arguments = command.arguments
    if place < len(arguments):
        return arguments[place]
    last = arguments[-1] if arguments else None
    return last if last is not None and (last.repeated or last.rest) else None


# -- by kind -------------------------------------------------------------------------------------------


def cpu_registers(session: DebugSession) -> list[str]:
    """The names that the CPU's registers have, without ``$``."""
    names = [f"r{number}" for number in range(16)] + ["sp", "lr", "pc", "cpsr", "spsr"]
    for mode, first in _BANKS.items():
        names += [f"r{number}_{mode}" for number in range(first, 15)]
        names += [] if mode == "usr" else [f"spsr_{mode}"]
    return [*names, *session.cpu.cp15_registers]


def _nothing(session: DebugSession, part: str) -> Completion:
    return Completion(len(part), [])


def _register(session: DebugSession, part: str) -> Completion:
    dollar = "$" if part.startswith("$") else ""
    names = (dollar + name for name in cpu_registers(session))
    return Completion(len(part), [Candidate(name) for name in names if name.startswith(part)])


def _device(session: DebugSession, part: str) -> Completion:
    names = sorted(session.machine.board.devices)
    return Completion(len(part), [Candidate(name) for name in names if name.startswith(part)])


def _device_register(session: DebugSession, part: str) -> Completion:
    """``nand.NFCONF``; upper and lower case are the same to whoever types."""
    device_name, dot, _ = part.partition(".")
    devices = session.machine.board.devices
    if not dot:
        found = sorted(name for name, device in devices.items() if device.registers)
        return Completion(
            len(part), [Candidate(f"{name}.", open=True) for name in found if name.startswith(part)]
        )
    device = devices.get(device_name)
    if device is None:
        return Completion(len(part), [])
    wanted = part.lower()
    return Completion(
        len(part),
        [
            Candidate(f"{device_name}.{name}", register.doc)
            for name, register in device.registers.items()
            if f"{device_name}.{name}".lower().startswith(wanted)
        ],
    )


def _symbol(session: DebugSession, part: str) -> Completion:
    if not part:
        return Completion(0, [])  # all of them are no help
    return Completion(len(part), [Candidate(name) for name in _symbols(session, part)])


def _symbols(session: DebugSession, part: str) -> Iterable[str]:
    return islice(session.symbols.complete(part), SYMBOL_LIMIT)


def _expression(session: DebugSession, part: str) -> Completion:
    """Only the last name in ``part`` is completed: what is before it stays."""
    match = _NAME.search(part)
    name = match[0] if match else ""
    if name.startswith("$"):
        return _register(session, name)
    if not name:
        return Completion(0, [])
    candidates = _device_register(session, name).candidates
    return Completion(len(name), [*candidates, *_symbol(session, name).candidates])


def _file(session: DebugSession, part: str) -> Completion:
    folder, slash, start = part.rpartition("/")
    place = Path(folder + slash or ".").expanduser()
    try:
        entries = sorted(
            (entry.name, entry.is_dir())
            for entry in place.iterdir()
            if entry.name.startswith(start) and (start or not entry.name.startswith("."))
        )
    except OSError:
        return Completion(len(start), [])
    return Completion(
        len(start),
        [Candidate(f"{name}/" if is_folder else name, open=is_folder) for name, is_folder in entries],
    )


_KINDS: Mapping[Kind, Callable[[DebugSession, str], Completion]] = {
    Kind.EXPRESSION: _expression,
    Kind.REGISTER: _register,
    Kind.DEVICE: _device,
    Kind.DEVICE_REGISTER: _device_register,
    Kind.SYMBOL: _symbol,
    Kind.FILE: _file,
}
