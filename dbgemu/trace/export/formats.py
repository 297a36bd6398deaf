"""The formats that ``dbgemu-trace export`` writes, as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from dbgemu.trace.export.drcov import export_drcov
from dbgemu.trace.export.folded import export_folded
from dbgemu.trace.export.frames import export_parquet
from dbgemu.trace.export.jsonl import export_jsonl
from dbgemu.trace.export.lcov import export_lcov
from dbgemu.trace.export.perfetto import export_perfetto
from dbgemu.trace.export.vcd import export_vcd
from dbgemu.trace.reader import Trace
from dbgemu.trace.tools.names import Names
from dbgemu.trace.tools.selection import Selection


class Format(NamedTuple):
    """A format: ``write`` takes the trace, names for its addresses, what is selected, and a file."""

    help: str
    write: Callable[[Trace, Names, Selection, BinaryIO], None]
    #: may go to a terminal
    is_text: bool = True


FORMATS: dict[str, Format] = {
    "jsonl": Format("an object a line for each event", export_jsonl),
    "perfetto": Format("calls, interrupts, devices and UART lines for ui.perfetto.dev", export_perfetto),
    "drcov": Format("executed blocks by module, version 2", export_drcov, is_text=False),
    "lcov": Format("how often each source line was executed, for genhtml", export_lcov),
    "folded": Format("instructions by call stack, for flame graphs", export_folded),
    "vcd": Format("GPIO pins and interrupt lines as waves", export_vcd),
    "parquet": Format("tables for data frames; needs pyarrow", export_parquet, is_text=False),
}
