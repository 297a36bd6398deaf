"""Commands about media that can be changed: the card in the slot, drives for USB disks."""

from __future__ import annotations

from collections.abc import Sequence

from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.context import Context

_MODES = ("read-only", "read-write", "retain")


def _eject(context: Context, arguments: Sequence[str]) -> str:
    words = [word for word in arguments if word != "-f"]
    if len(words) != 1:
        raise CommandError("'eject' is used as: eject [-f] device")
    context.services.media.eject(words[0])
    return ""


def _change(context: Context, arguments: Sequence[str]) -> str:
    device, file = arguments[0], arguments[1]
    words = list(arguments[2:])
    if words and words[0] not in _MODES:  # QEMU has the image's format in front of the mode
        if words[0] != "raw":
            raise CommandError(f"'{words[0]}' is not understood: there is raw, {', '.join(_MODES)}")
        words = words[1:]
    if len(words) > 1 or (words and words[0] not in _MODES):
        raise CommandError(f"'{words[-1]}' is not understood: there is {', '.join(_MODES)}")
    context.services.media.change(device, file, read_only=words == ["read-only"])
    return ""


def _drive_add(context: Context, arguments: Sequence[str]) -> Report:
    if len(arguments) > 2 or (len(arguments) == 2 and arguments[0] not in ("0", "auto", "dummy")):
        raise CommandError("'drive_add' is used as: drive_add [0] if=none,id=NAME,file=FILE")
    name = context.services.media.add_drive(arguments[-1])
    return Report(f"there is a drive {name} now", {"id": name})


COMMANDS = (
    Command(
        "eject",
        _eject,
        "pull the card out of its slot",
        (Argument("device", choices=("sd",)), Argument("device", optional=True)),
        group="board",
        details="With -f in front, which changes nothing: nobody can hold the card.",
    ),
    Command(
        "change",
        _change,
        "put another card into the slot",
        (
            Argument("device", choices=("sd",)),
            Argument("file", Kind.FILE),
            Argument("format", optional=True, choices=("raw", *_MODES)),
            Argument("mode", optional=True, choices=_MODES),
        ),
        group="board",
    ),
    Command(
        "drive_add",
        _drive_add,
        "make a drive that device_add may name",
        (Argument("drive"), Argument("drive", optional=True)),
        group="board",
        details="if=none,id=NAME,file=FILE, as for -drive; QEMU's bus address may stand in front.",
    ),
)
