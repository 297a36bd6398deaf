"""Commands about the monitor itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby

import dbgemu
from dbgemu.monitor.command import Argument, Command, CommandSet, Kind, Report
from dbgemu.monitor.context import Context


def _help(context: Context, arguments: Sequence[str]) -> str:
    commands = context.monitor.commands
    if not arguments:
        return _overview(commands)
    words = list(arguments)
    below = [command for command in commands if command.name.split()[: len(words)] == words]
    if len(below) > 1 or (below and below[0].name.split() != words):
        return _lines(below)
    command, _, _ = commands.find(" ".join(words))
    also = f"\nalso: {', '.join(command.aliases)}" if command.aliases else ""
    details = f"\n\n{command.details}" if command.details else ""
    return f"{command.heading}\n    {command.help}{also}{details}"


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


COMMANDS = (
    Command(
        "help",
        _help,
        "list the commands, or tell about one",
        (Argument("command", Kind.COMMAND, optional=True, repeated=True),),
        aliases=("?",),
    ),
    Command("json", _json, "run a command, show what it found as JSON", (Argument("command", rest=True),)),
    Command("info version", _info_version, "show the emulator's version"),
)
