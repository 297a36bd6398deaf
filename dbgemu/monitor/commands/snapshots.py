"""Commands that save the complete machine, and load it again."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dbgemu.debug.snapshots.book import Entry
from dbgemu.debug.snapshots.container import SnapshotError
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.context import Context


def _savevm(context: Context, arguments: Sequence[str]) -> Report:
    try:
        entry = context.services.snapshots.save(*arguments)
    except SnapshotError as error:
        raise CommandError(str(error)) from None
    lines = [f"saved as '{entry.name}': {_size(entry.size)}", *entry.notes]
    return Report("\n".join(lines), _data(entry))


def _loadvm(context: Context, arguments: Sequence[str]) -> Report:
    if len(arguments) > 1 and arguments[1] != "force":
        raise CommandError(f"'{arguments[1]}' is not understood: loadvm NAME, or loadvm NAME force")
    try:
        notes = context.services.snapshots.load(arguments[0], force=len(arguments) > 1, by=context.monitor)
    except SnapshotError as error:
        raise CommandError(str(error)) from None
    return Report("\n".join(notes), {"notes": notes})


def _delvm(context: Context, arguments: Sequence[str]) -> str:
    try:
        context.services.snapshots.delete(arguments[0])
    except SnapshotError as error:
        raise CommandError(str(error)) from None
    return ""


def _info_snapshots(context: Context, arguments: Sequence[str]) -> Report:
    snapshots = context.services.snapshots
    entries = list(snapshots.entries())
    if not entries:
        return Report(f"no snapshots in {snapshots.folder.absolute()}", [])
    width = max(4, *(len(entry.name) for entry in entries))
    lines = [f"{'name':{width}}      size  saved at              virtual time     instructions  pc"]
    for entry in entries:
        if entry.problem:
            lines.append(f"{entry.name:{width}}  {entry.problem}")
            continue
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.saved_at))
        lines.append(
            f"{entry.name:{width}} {_size(entry.size):>9}  {when}  {entry.time / 1e9:12.6f} s "
            f"{entry.instructions:16}  0x{entry.pc:08x}"
        )
    return Report("\n".join(lines), [_data(entry) for entry in entries])


def _size(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB" if size >= 1 << 20 else f"{size / (1 << 10):.1f} KiB"


def _data(entry: Entry) -> dict[str, object]:
    if entry.problem:
        return {"name": entry.name, "problem": entry.problem}
    data: dict[str, object] = entry._asdict()
    del data["problem"]
    if not data["notes"]:
        del data["notes"]
    return data


_NAME = Argument("name", Kind.FILE)
_DETAILS = """\
A name is of a file in the folder that -snapshots gives (the current one without it), NAME.dbgsnap; with a
slash in it, it is a path."""

COMMANDS = (
    Command(
        "savevm",
        _savevm,
        "save the complete machine",
        (Argument("name", Kind.FILE, optional=True),),
        group="snapshots",
        details=f"{_DETAILS} Without a name one is made of the date.",
    ),
    Command(
        "loadvm",
        _loadvm,
        "put the machine into a saved state",
        (_NAME, Argument("force", optional=True, choices=("force",))),
        group="snapshots",
        details=f"{_DETAILS}\nThe machine goes on if it ran. Break- and watchpoints stay.\n"
        "With 'force' also where image files of flash chips, cards and disks have changed since: they are\n"
        "written to.",
    ),
    Command("delvm", _delvm, "delete a saved state", (_NAME,), group="snapshots", details=_DETAILS),
    Command("info snapshots", _info_snapshots, "list the saved states", group="snapshots"),
)
