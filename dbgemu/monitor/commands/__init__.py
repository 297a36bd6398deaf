"""The monitor's commands, one file a group; each has a tuple ``COMMANDS``."""

from __future__ import annotations

from dbgemu.monitor.command import CommandSet
from dbgemu.monitor.commands import general, machine


def all_commands() -> CommandSet:
    """Every command."""
    return CommandSet((*general.COMMANDS, *machine.COMMANDS))
