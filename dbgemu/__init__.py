"""dbgemu: an emulator of the mini2440 board, built for looking into what runs on it.

Scripts use :class:`Board` and what else is listed in ``__all__``: see docs/python.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbgemu.api import (
        EVENTS,
        STOP,
        Access,
        AddressError,
        BlockArrays,
        Board,
        CommandError,
        Error,
        Event,
        ExceptionTaken,
        Execution,
        Happened,
        Hook,
        Irq,
        LinuxError,
        MmioRead,
        MmioWrite,
        NotReachedError,
        OptionError,
        Printed,
        Reason,
        Recording,
        SnapshotError,
        Stop,
        SymbolsError,
        TbExec,
        Trace,
        TraceError,
        UnknownNameError,
        data_frame,
        open_trace,
    )

__version__ = "0.1.0"

__all__ = [
    "EVENTS",
    "STOP",
    "Access",
    "AddressError",
    "BlockArrays",
    "Board",
    "CommandError",
    "Error",
    "Event",
    "ExceptionTaken",
    "Execution",
    "Happened",
    "Hook",
    "Irq",
    "LinuxError",
    "MmioRead",
    "MmioWrite",
    "NotReachedError",
    "OptionError",
    "Printed",
    "Reason",
    "Recording",
    "SnapshotError",
    "Stop",
    "SymbolsError",
    "TbExec",
    "Trace",
    "TraceError",
    "UnknownNameError",
    "data_frame",
    "open_trace",
]


def __getattr__(name: str) -> Any:
    """The API is imported when it is first used: the command line starts without."""
    if name not in __all__:
        raise AttributeError(f"module 'dbgemu' has no attribute '{name}'")
    from dbgemu import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
