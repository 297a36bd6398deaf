"""Traces as data frames: Arrow tables, and Parquet files of them. Needs pyarrow (``dbgemu[frames]``)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, get_type_hints

from dbgemu.trace.events import EVENTS, Event
from dbgemu.trace.format import TraceError
from dbgemu.trace.reader import BlockArrays, Trace
from dbgemu.trace.tools.names import Names
from dbgemu.trace.tools.selection import Selection

if TYPE_CHECKING:
    import pyarrow

_BATCH = 1 << 16


def to_arrow(trace: Trace, kind: str, *, start: int | None = None, end: int | None = None) -> pyarrow.Table:
    """The events called ``kind`` as a table with a column for each field (``.to_pandas()`` makes a frame).

    TraceError without pyarrow; ValueError for a name that no event has.
    """
    arrow = _pyarrow()
    if kind not in EVENTS:
        raise ValueError(f"there is no event '{kind}': the events are {', '.join(EVENTS)}")
    schema = _schema(arrow, [kind], tagged=False)
    selection = Selection(start, end, frozenset((kind,)))
    return arrow.Table.from_batches(list(_batches(arrow, trace, selection, schema)), schema)


def export_parquet(trace: Trace, names: Names, selection: Selection, file: BinaryIO) -> None:
    """Write a table: the fields of the event; of several kinds all their fields, and ``event``, the name."""
    arrow = _pyarrow()
    import pyarrow.parquet

    kinds = [kind for kind in EVENTS if kind in trace.header.kinds and selection.wants(kind)]
    schema = _schema(arrow, kinds, tagged=len(kinds) > 1)
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in _batches(arrow, trace, selection, schema):
            writer.write_batch(batch)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise TraceError("data frames and Parquet need pyarrow: pip install 'dbgemu[frames]'") from None
    return pyarrow


def _schema(arrow: Any, kinds: Iterable[str], *, tagged: bool) -> Any:
    types = {str: arrow.string(), bool: arrow.bool_()}
    wide = {"icount": arrow.uint64(), "time": arrow.uint64()}
    columns: dict[str, Any] = {"event": arrow.dictionary(arrow.int8(), arrow.string())} if tagged else {}
    for kind in kinds:
        for name, hint in _hints(EVENTS[kind]).items():
            columns[name] = wide.get(name) or types.get(hint) or arrow.uint32()
    return arrow.schema([*columns.items()])


def _hints(kind: type[Event]) -> dict[str, type]:
    hints = get_type_hints(kind)
    return {field: hints[field] for field in kind._fields}


def _batches(arrow: Any, trace: Trace, selection: Selection, schema: Any) -> Iterator[Any]:
    if selection.kinds == frozenset(("tb_exec",)) and selection.limit is None:
        for blocks in trace.runs(selection.start, selection.end):
            yield _block_batch(arrow, trace, blocks, schema)
        return
    if "event" in schema.names:
        yield from _mixed_batches(arrow, selection.events(trace), schema)
        return
    events = selection.events(trace)
    while batch := list(islice(events, _BATCH)):
        columns = list(zip(*batch, strict=True))
        yield arrow.record_batch(
            [arrow.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)],
            schema=schema,
        )


def _mixed_batches(arrow: Any, events: Iterator[Event], schema: Any) -> Iterator[Any]:
    kinds = {kind: name for name, kind in EVENTS.items()}
    while batch := list(islice(events, _BATCH)):
        rows = [{"event": kinds[type(event)], **event._asdict()} for event in batch]
        yield arrow.RecordBatch.from_pylist(rows, schema=schema)


def _block_batch(arrow: Any, trace: Trace, blocks: BlockArrays, schema: Any) -> Any:
    """Blocks without an object for each: their arrays are the columns."""
    import pyarrow.compute as compute

    def column(values: array[int], kind: Any) -> Any:
        return arrow.Array.from_buffers(kind, len(values), [None, arrow.py_buffer(values)])

    first, last = blocks.icounts[0], blocks.icounts[-1]
    base = trace.time_base_at(first)
    icounts = column(blocks.icounts, arrow.uint64())
    if trace.time_base_at(last) == base:
        counts = icounts.cast(arrow.int64())
        ran = compute.divide(compute.multiply(counts, arrow.scalar(base.period_ps, arrow.int64())), 1000)
        times = compute.add(ran, arrow.scalar(base.skipped, arrow.int64()))
    else:
        events = trace.blocks_between(first, last + 1)
        times = arrow.array((event.time for event in events), arrow.uint64())
    flags = column(blocks.flags, arrow.uint8())
    columns = [
        icounts,
        times.cast(arrow.uint64()),
        column(blocks.pcs, arrow.uint32()),
        column(blocks.lengths, arrow.uint32()),
        compute.not_equal(compute.bit_wise_and(flags, arrow.scalar(1, arrow.uint8())), 0),
        compute.greater(flags, 1),
    ]
    return arrow.record_batch(columns, schema=schema)
