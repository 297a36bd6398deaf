"""What the example scripts share: the Linux guest on a board, and errors as one sentence."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import dbgemu

ROOT = Path(__file__).resolve().parent.parent
COMMAND_LINE = "console=ttySAC0,115200 mini2440=0tb rdinit=/init"
PROMPT = "mini2440:~# "
#: a fixed date makes each run the same as the one before
DATE = "2026-11-22T10:00:00"


class ScriptError(Exception):
    """The script cannot do what it was told; one sentence."""


def arguments_for(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows ``--guest``."""
    first_line = (description or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=first_line)
    parser.add_argument("--guest", type=Path, metavar="DIR", help="the Linux guest ($DBGEMU_GUEST)")
    return parser


def find_guest(given: Path | None) -> Path:
    """The guest's folder: as given, ``$DBGEMU_GUEST``, ``../shared/guest`` or ``guest``."""
    override = os.environ.get("DBGEMU_GUEST")
    places = [Path(override)] if override else []
    places = [given] if given is not None else [*places, ROOT.parent / "shared" / "guest", ROOT / "guest"]
    for place in places:
        if all((place / name).is_file() for name in ("zImage", "vmlinux", "initramfs.cpio.gz")):
            return place.resolve()
    where = ", ".join(f"'{place}'" for place in places)
    raise ScriptError(f"there is no Linux guest (zImage, vmlinux, initramfs.cpio.gz) in {where}")


def linux_board(guest: Path, extra: str = "") -> dbgemu.Board:
    """The guest on a board, with the kernel's symbols, at its first instruction."""
    line = guest / "cmdline.txt"
    append = line.read_text(encoding="utf-8").strip() if line.is_file() else COMMAND_LINE
    return dbgemu.Board(
        kernel=guest / "zImage",
        initrd=guest / "initramfs.cpio.gz",
        append=f"{append} {extra}".strip(),
        symbols=[guest / "vmlinux"],
        rtc=DATE,
    )


def writable(path: Path) -> Path:
    """``path``, if its folder is there."""
    if not path.resolve().parent.is_dir():
        raise ScriptError(f"there is no folder '{path.parent}' to write '{path.name}' in")
    return path


def run(name: str, script: Callable[[], None]) -> int:
    """The exit status of ``script``: 2, after a sentence, when it cannot do what it was told."""
    try:
        script()
    except (ScriptError, dbgemu.Error, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def table(rows: Sequence[Sequence[object]], headings: Sequence[str]) -> str:
    """Rows in columns; numbers to the right."""
    cells = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    right = [bool(rows) and isinstance(rows[0][column], int) for column in range(len(headings))]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
