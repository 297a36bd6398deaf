"""What a trace is, without unpacking it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from dbgemu.trace.reader import Trace


def info(trace: Trace, path: Path, *, chunks: bool = False) -> Iterator[str]:
    """Lines of text about the header and the totals; with ``chunks`` one for each chunk too."""
    header = trace.header
    yield f"{path}: recorded by {header.program}, machine {header.machine}"
    if header.kernel:
        yield f"kernel       {header.kernel}"
    if header.command_line:
        yield f"command line {header.command_line}"
    for file, offset in header.symbols:
        gone = "" if Path(file).is_file() else " (not there any more)"
        yield f"symbols      {file}{f' moved by {offset:#x}' if offset else ''}{gone}"
    if header.rtc_start is not None:
        yield f"clock set to {datetime.fromtimestamp(header.rtc_start, UTC):%Y-%m-%d %H:%M:%S} at power-on"
    yield f"asked for    {header.spec}"
    yield f"events       {', '.join(header.kinds)}"
    first, end = trace.first_count, trace.end_count
    start_time, end_time = trace.time_at(first), trace.time_at(end)
    yield f"instructions {first} to {end}; virtual time {start_time / 1e9:.6f} s to {end_time / 1e9:.6f} s"
    size, blocks = path.stat().st_size, trace.blocks
    infos = trace.chunks
    each = f", {size / blocks:.2f} bytes a block" if blocks else ""
    yield f"recorded     {blocks} blocks of {trace.instructions} instructions"
    yield f"             {sum(chunk.events for chunk in infos)} records of other events, and of skipped time"
    yield f"file         {size} bytes in {len(infos)} chunks{each}"
    yield "state        " + ("complete" if trace.complete else f"not complete: {trace.damage}")
    if chunks:
        yield "chunk first count     end count    blocks    events     bytes"
        for number, chunk in enumerate(infos):
            yield (
                f"{number:5} {chunk.first_count:11} {chunk.end_count:13} {chunk.blocks:9} "
                f"{chunk.events:9} {chunk.size:9}"
            )
