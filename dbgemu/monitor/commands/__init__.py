"""The monitor's commands, one file a group; each has a tuple ``COMMANDS``."""

from __future__ import annotations

from dbgemu.monitor.command import CommandSet
from dbgemu.monitor.commands import (
    block,
    board,
    devices,
    display,
    dumps,
    explain,
    frames,
    general,
    gpio,
    host,
    linux,
    machine,
    memory,
    network,
    points,
    power,
    running,
    setting,
    snapshots,
    source,
    svd,
    tracing,
    translation,
    translator,
    usb,
    usb_device,
    variables,
)


def all_commands() -> CommandSet:
    """Every command."""
    return CommandSet(
        (
            *general.COMMANDS,
            *machine.COMMANDS,
            *board.COMMANDS,
            *power.COMMANDS,
            *usb.COMMANDS,
            *usb_device.COMMANDS,
            *block.COMMANDS,
            *display.COMMANDS,
            *memory.COMMANDS,
            *host.COMMANDS,
            *network.COMMANDS,
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
            *variables.COMMANDS,
            *source.COMMANDS,
            *setting.COMMANDS,
            *explain.COMMANDS,
            *tracing.COMMANDS,
            *translator.COMMANDS,
        )
    )
