"""Commands about the monitor itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import dbgemu
from dbgemu.monitor.command import Argument, Command, CommandError, CommandSet, Kind, Report
from dbgemu.monitor.context import ConsoleSettings, Context

#: lines that 'info history' shows when it is not told how many
_HISTORY_LINES = 50


def _help(context: Context, arguments: Sequence[str]) -> str:
    commands = context.monitor.commands
    if not arguments:
        return _overview(commands)
    words = list(arguments)
    group = [command for command in commands if command.group == " ".join(words)]
    below = [command for command in commands if command.name.split()[: len(words)] == words]
    if len(below) > 1:
        return _lines(below)
    if group and not below:
        return _lines(group)
    if below and below[0].name.split() != words:
        return _lines(below)
    command, _, _ = commands.find(" ".join(words))
    stands_for = commands.aliases.get(" ".join(words))
    if stands_for is not None:
        return f"{' '.join(words)} is an alias of '{stands_for}'\n\n{_help(context, command.name.split())}"
    also = f"\nalso: {', '.join(command.aliases)}" if command.aliases else ""
    again = "\nAn empty line runs it again." if command.repeatable else ""
    details = f"\n\n{command.details}" if command.details else ""
    return f"{command.heading}\n    {command.help}{also}{again}{details}"


def _overview(commands: CommandSet) -> str:
    by_group = sorted(commands, key=lambda command: command.group)
    parts = []
    for group, members in groupby(by_group, key=lambda command: command.group):
        parts.append(f"{group}:\n{_lines(list(members), '  ')}")
    return "\n\n".join(parts)


def _lines(commands: Sequence[Command], indent: str = "") -> str:
    width = min(34, max(len(command.heading) for command in commands))
    lines = []
    for command in commands:
        also = f" (also: {', '.join(command.aliases)})" if command.aliases else ""
        lines.append(f"{indent}{command.heading:{width}}  {command.help}{also}")
    return "\n".join(lines)


def _json(context: Context, arguments: Sequence[str]) -> Report:
    report = context.monitor.run(arguments[0], context)
    return Report(json.dumps(report.data, indent=2), report.data)


def _info_version(context: Context, arguments: Sequence[str]) -> Report:
    return Report(f"dbgemu {dbgemu.__version__}", {"version": dbgemu.__version__})


def _info_history(context: Context, arguments: Sequence[str]) -> Report:
    count = _HISTORY_LINES
    if arguments:
        if not (arguments[0].isascii() and arguments[0].isdigit()) or arguments[0] == "0":
            raise CommandError(f"'{arguments[0]}' is not a number of lines")
        count = int(arguments[0])
    lines = context.monitor.history.lines
    first = max(0, len(lines) - count)
    shown = list(enumerate(lines[first:], first + 1))
    return Report(
        "\n".join(f"{number:5}  {line}" for number, line in shown),
        [{"number": number, "line": line} for number, line in shown],
    )


def _source(context: Context, arguments: Sequence[str]) -> str:
    from dbgemu.monitor.scripts import run_script

    run_script(context, Path(arguments[0]))
    return ""


def _echo(context: Context, arguments: Sequence[str]) -> str:
    return f"{arguments[0] if arguments else ''}\n"


# -- names that users give --------------------------------------------------------------------------------


def _alias(context: Context, arguments: Sequence[str]) -> Report:
    commands = context.monitor.commands
    text = arguments[0] if arguments else ""
    name, equals, stands_for = (part.strip() for part in text.partition("="))
    name = " ".join(name.removeprefix("-a ").removeprefix("-- ").split())
    if not equals:
        known = commands.aliases
        if name and name not in known:
            raise CommandError(f"there is no alias '{name}': 'alias {name} = COMMAND' makes it one")
        shown = {name: known[name]} if name else known
        return Report("\n".join(f"{item} = {shown[item]}" for item in shown) or "there are no aliases", shown)
    if not stands_for:
        raise CommandError(f"a command is expected behind '{name} ='")
    before = commands.aliases.get(name)
    commands.set_alias(name, stands_for)
    now = commands.aliases[name]
    told = "" if before in (None, now) else f"'{name}' was an alias of '{before}' and is one of '{now}' now"
    return Report(told, {name: now})


def _unalias(context: Context, arguments: Sequence[str]) -> str:
    context.monitor.commands.remove_alias(" ".join(arguments[0].split()))
    return ""


# -- how a console behaves ---------------------------------------------------------------------------

_ON_OFF = {"on": True, "off": False}


def _settings(context: Context, what: str) -> ConsoleSettings:
    if context.settings is None:
        raise CommandError(f"'{what}' is for a console: there is none here")
    return context.settings


def _switch(word: str) -> bool:
    try:
        return _ON_OFF[word]
    except KeyError:
        raise CommandError(f"'{word}' is neither on nor off") from None


def _set_pagination(context: Context, arguments: Sequence[str]) -> str:
    _settings(context, "set pagination").pagination = _switch(arguments[0])
    return ""


def _terminal(context: Context, arguments: Sequence[str]) -> str:
    settings = _settings(context, "terminal")
    settings.terminal = None if arguments[0] == "auto" else _switch(arguments[0])
    return ""


COMMANDS = (
    Command(
        "help",
        _help,
        "list the commands, or tell about one",
        (Argument("command", Kind.COMMAND, optional=True, repeated=True),),
        aliases=("?",),
        details="'help info' lists what info can show, 'help GROUP' the commands below that heading.",
    ),
    Command(
        "json",
        _json,
        "run a command, show what it found as JSON",
        (Argument("command", Kind.COMMAND, rest=True),),
    ),
    Command(
        "source",
        _source,
        "run the commands in a file",
        (Argument("file", Kind.FILE),),
        details=(
            "One command a line; # starts a comment line, and a backslash at the end joins a line with the\n"
            "next. The first command that fails ends it, and is named with file and line. Scripts can run\n"
            "others."
        ),
    ),
    Command(
        "alias",
        _alias,
        "give a command another name, or list such names",
        (Argument("NAME = COMMAND", optional=True, rest=True),),
        details=(
            "COMMAND may have arguments; what follows NAME when it is used comes behind them. Aliases are\n"
            "known on all consoles and in scripts. No alias can have the name of a command. 'alias' alone\n"
            "lists them, 'unalias NAME' takes one away."
        ),
    ),
    Command("unalias", _unalias, "take an alias away", (Argument("NAME", rest=True),)),
    Command("echo", _echo, "print a text", (Argument("text", rest=True, optional=True),)),
    Command("info version", _info_version, "show the emulator's version"),
    Command(
        "info history",
        _info_history,
        "show the last lines that were typed at a prompt",
        (Argument("count", optional=True),),
    ),
    Command(
        "set pagination",
        _set_pagination,
        "stop long output after each page of the terminal, or do not",
        (Argument("on|off", choices=("on", "off")),),
    ),
    Command(
        "terminal",
        _terminal,
        "use escape sequences on this console, or plain text",
        (Argument("on|off|auto", choices=("on", "off", "auto")),),
        details=(
            "'on' is for a terminal that cannot tell what it is: 'socat -,raw,echo=0 unix:PATH', a program\n"
            "on a pty. It is taken to have 80 columns and 24 lines where it tells no size."
        ),
    ),
)
