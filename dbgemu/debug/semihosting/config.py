"""How the guest's semihosting calls are answered: what the command line says of it."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import NamedTuple


class Target(Enum):
    """Who executes the calls.

    NATIVE: this program. GDB: a GDB that waits for the guest, which they fail without. AUTO: the
    console is GDB's while one waits for the guest, else this program's; files are this program's.
    """

    NATIVE = "native"
    GDB = "gdb"
    AUTO = "auto"


class SemihostingConfig(NamedTuple):
    """What the guest gets. ``epoch`` is the time at power-on in seconds since 1970."""

    target: Target = Target.AUTO
    #: code in User mode may make calls too
    user: bool = False
    #: the folder whose files the guest may use; None: no files
    folder: Path | None = None
    #: for SYS_GET_CMDLINE
    command_line: bytes = b""
    epoch: int = 0
    #: from where to where nothing is loaded: the guest's heap and stack
    free_memory: tuple[int, int] = (0, 0)
