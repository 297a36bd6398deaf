"""The Python API, as ``import dbgemu`` offers it: docs/python.md tells how it is used."""

from dbgemu.api.board import Board
from dbgemu.api.errors import AddressError, NotReachedError, UnknownNameError
from dbgemu.api.hooks import STOP, Access, Execution, Happened, Hook, Printed
from dbgemu.api.recording import Recording, data_frame
from dbgemu.api.running import Reason, Stop
from dbgemu.debug.linux.errors import LinuxError
from dbgemu.debug.snapshots.container import SnapshotError
from dbgemu.debug.symbols import SymbolsError
from dbgemu.errors import Error, OptionError
from dbgemu.monitor.command import CommandError
from dbgemu.trace.events import EVENTS, Event, ExceptionTaken, Irq, MmioRead, MmioWrite, TbExec
from dbgemu.trace.format import TraceError
from dbgemu.trace.reader import BlockArrays, Trace, open_trace

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
