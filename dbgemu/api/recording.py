"""Traces that a script records, and traces as data frames."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dbgemu.errors import Error
from dbgemu.trace.control import TraceControl
from dbgemu.trace.events import EVENTS, Event
from dbgemu.trace.format import TraceError
from dbgemu.trace.reader import Trace, open_trace
from dbgemu.trace.tracer import TraceState, TraceStatus

if TYPE_CHECKING:
    import pandas

_ACTIVE = (TraceState.WAITING, TraceState.RUNNING)


class Recording:
    """A trace that is being recorded, or was: a context manager, whose end stops it.

    Raises TraceError.
    """

    def __init__(self, control: TraceControl, path: Path) -> None:
        self._control = control
        #: where it is, or will be once it has stopped
        self.path = path

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def status(self) -> TraceStatus:
        """What is recorded, and how much there is."""
        return self._control.tracer.status()

    def stop(self) -> None:
        """End it, if it did not by itself; one in memory (``ring=``) is then written to its file."""
        if self.status.state in _ACTIVE:
            self._control.stop()
        if self.status.path is None and not self.path.exists():
            self._control.save(self.path)

    def open(self) -> Trace:
        """The trace, once it has stopped: a context manager, see :mod:`dbgemu.trace.reader`."""
        if self.status.state in _ACTIVE and not self.path.exists():
            raise TraceError("the trace is being recorded: stop it first")
        return open_trace(self.path)

    def events(self, *kinds: str) -> Iterator[Event]:
        """Its events in order, all or of some kinds (``"mmio_write"``)."""
        for kind in kinds:
            _check(kind)
        with self.open() as trace:
            yield from trace.events(kinds or None)

    def data_frame(self, kind: str) -> pandas.DataFrame:
        """One kind of event as a data frame: see :func:`data_frame`."""
        with self.open() as trace:
            return data_frame(trace, kind)


def data_frame(trace: Trace | Path | str, kind: str) -> pandas.DataFrame:
    """The events of one kind as a pandas data frame: a column for each field, a row for each event.

    Needs pyarrow and pandas (``pip install 'dbgemu[frames]'``); for Arrow's tables, which pyarrow alone
    makes, see :func:`dbgemu.trace.export.frames.to_arrow`.
    """
    _check(kind)
    if find_spec("pandas") is None:
        raise Error("data frames need pandas: install it with pip install 'dbgemu[frames]'")
    from dbgemu.trace.export.frames import to_arrow

    if isinstance(trace, Trace):
        return to_arrow(trace, kind).to_pandas()
    with open_trace(trace) as opened:
        return to_arrow(opened, kind).to_pandas()


def _check(kind: str) -> None:
    if kind not in EVENTS:
        raise TraceError(f"there is no event '{kind}': choose of {', '.join(EVENTS)}")
