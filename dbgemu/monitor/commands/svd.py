"""``svd``: the registers as a CMSIS-SVD file, for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dbgemu.debug.svd import export
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.context import Context


def _svd(context: Context, arguments: Sequence[str]) -> Report:
    document = export(context.session.machine.board)
    path = Path(arguments[0]).expanduser()
    try:
        path.write_text(document, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"'{arguments[0]}' cannot be written: {error.strerror}") from None
    return Report(f"{len(document)} bytes written to {path}", {"file": str(path), "length": len(document)})


COMMANDS = (
    Command(
        "svd",
        _svd,
        "write all registers and fields to a CMSIS-SVD file",
        (Argument("file", Kind.FILE),),
        group="devices",
    ),
)
