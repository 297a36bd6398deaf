"""The monitor's commands, one file a group; each has a tuple ``COMMANDS``."""

from __future__ import annotations

from dbgemu.monitor.command import CommandSet
from dbgemu.monitor.commands import (
    board,
    devices,
    dumps,
    explain,
    frames,
    general,
    gpio,
    host,
    linux,
    machine,
    memory,
    points,
    running,
    setting,
    snapshots,
    source,
    svd,
    tracing,
    translation,
)


def all_commands() -> CommandSet:
    """Every command."""
    return CommandSet(
        (
            *general.COMMANDS,
            *machine.COMMANDS,
            *board.COMMANDS,
            *memory.COMMANDS,
            *host.COMMANDS,
            *snapshots.COMMANDS,
            *devices.COMMANDS,
            *gpio.COMMANDS,
            *dumps.COMMANDS,
            *translation.COMMANDS,
            *svd.COMMANDS,
            *linux.COMMANDS,
            *points.COMMANDS,
            *running.COMMANDS,
            *frames.COMMANDS,
            *source.COMMANDS,
            *setting.COMMANDS,
            *explain.COMMANDS,
            *tracing.COMMANDS,
        )
    )
