"""Chrome's Trace Event Format, which ui.perfetto.dev and about:tracing load: all on one time line.

Each address space is a process with two threads, privileged and User mode; their slices are function
calls (see :mod:`dbgemu.trace.tools.stacks`). The board is a process with a thread for each device, UART
and interrupt source. Times are virtual, in µs with three places.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, BinaryIO

from dbgemu.trace.events import (
    Break,
    Event,
    ExceptionTaken,
    Gpio,
    Irq,
    Log,
    MmioRead,
    MmioWrite,
    Mmu,
    Serial,
    TbCompile,
    TbInvalidate,
    TbTranslate,
    Watch,
    name_of,
)
from dbgemu.trace.reader import Trace
from dbgemu.trace.tools.names import Function, Names
from dbgemu.trace.tools.selection import Selection
from dbgemu.trace.tools.stacks import CallStack, Stacks
from dbgemu.trace.tools.text import microseconds
from dbgemu.trace.tools.times import Times

_BOARD = 1
_BATCH = 4096
_LONGEST_LINE = 512


class _Writer:
    """Writes events as they come; gives processes and threads their numbers."""

    def __init__(self, file: BinaryIO, limit: int | None) -> None:
        self._file = file
        self._left = limit
        self._lines: list[str] = []
        self._processes: dict[str, int] = {}
        self._threads: dict[tuple[int, str], int] = {}
        file.write(b'{"displayTimeUnit":"ns","traceEvents":[\n')

    def process(self, name: str) -> int:
        """The number of the process called ``name``."""
        pid = self._processes.get(name)
        if pid is None:
            pid = self._processes[name] = len(self._processes) + _BOARD
            self._describe(pid, 0, "process_name", name)
        return pid

    def thread(self, pid: int, name: str) -> int:
        """The number of the thread called ``name`` of a process."""
        tid = self._threads.get((pid, name))
        if tid is None:
            tid = self._threads[pid, name] = len(self._threads) + 1
            self._describe(pid, tid, "thread_name", name)
        return tid

    def _describe(self, pid: int, tid: int, what: str, name: str) -> None:
        args = json.dumps({"name": name})
        self._put(f'{{"ph":"M","pid":{pid},"tid":{tid},"name":"{what}","args":{args}}}')

    def slice(self, pid: int, tid: int, name: str, category: str, start: int, end: int) -> None:
        """Something that lasted from ``start`` to ``end`` (ns)."""
        self._event(
            f'"ph":"X","pid":{pid},"tid":{tid},"ts":{microseconds(start)},"dur":{microseconds(end - start)},'
            f'"cat":"{category}","name":{json.dumps(name)}'
        )

    def instant(self, pid: int, tid: int, name: str, category: str, time: int, args: dict[str, Any]) -> None:
        """Something that happened at ``time`` (ns)."""
        self._event(
            f'"ph":"i","s":"t","pid":{pid},"tid":{tid},"ts":{microseconds(time)},"cat":"{category}",'
            f'"name":{json.dumps(name)},"args":{json.dumps(args)}'
        )

    def counter(self, pid: int, name: str, time: int, value: int) -> None:
        """A value that changed at ``time`` (ns)."""
        self._event(
            f'"ph":"C","pid":{pid},"tid":0,"ts":{microseconds(time)},"name":{json.dumps(name)},'
            f'"args":{{"level":{value}}}'
        )

    def _event(self, text: str) -> None:
        if self._left is not None:
            if self._left <= 0:
                return
            self._left -= 1
        self._put(f"{{{text}}}")

    def _put(self, text: str) -> None:
        self._lines.append(text)
        if len(self._lines) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        self._file.write("".join(f"{line},\n" for line in self._lines).encode())
        self._lines.clear()

    def close(self) -> None:
        """The end: the last line has no comma behind it."""
        self._flush()
        self._file.write(
            b'{"ph":"M","pid":1,"tid":0,"name":"process_sort_index","args":{"sort_index":0}}\n]}\n'
        )


def export_perfetto(
    trace: Trace, names: Names, selection: Selection, file: BinaryIO, *, shortest: int = 0
) -> None:
    """Write the time line, without calls shorter than ``shortest`` ns; the limit is on what is written."""
    writer = _Writer(file, selection.limit)
    board = writer.process("mini2440")
    if trace.blocks and selection.wants("tb_exec"):
        _write_calls(trace, names, selection, writer, shortest)
    _Board(writer, board, names).write(trace, selection)
    writer.close()


def _write_calls(trace: Trace, names: Names, selection: Selection, writer: _Writer, shortest: int) -> None:
    times = Times(trace, selection.start, selection.end)
    threads: dict[CallStack, tuple[int, int]] = {}

    def on_frame(stack: CallStack, depth: int, function: Function, start: int, end: int) -> None:
        if end == start:
            return
        begin, finish = times[start], times[end]
        if finish - begin < shortest:
            return
        place = threads.get(stack)
        if place is None:
            pid = writer.process(f"address space {stack.table_base:08x}" if stack.table_base else "MMU off")
            place = threads[stack] = pid, writer.thread(pid, "user" if stack.user else "privileged")
        writer.slice(*place, function.name, "call", begin, finish)

    Stacks(names, on_frame).follow(trace, selection.start, selection.end)


class _Board:
    """Everything but executed blocks."""

    def __init__(self, writer: _Writer, pid: int, names: Names) -> None:
        self._writer = writer
        self._pid = pid
        self._names = names
        self._raised: dict[str, int] = {}
        #: (port, direction) -> when its line began, and the line
        self._lines: dict[tuple[int, str], tuple[int, bytearray]] = {}
        self._now = 0
        self._handlers: dict[type, Callable[[Any], None]] = {
            ExceptionTaken: self._exception,
            MmioRead: self._access,
            MmioWrite: self._access,
            Irq: self._irq,
            Mmu: self._mmu,
            Gpio: lambda event: writer.counter(pid, event.pin, event.time, event.level),
            Serial: self._serial,
            Break: lambda event: self._instant("stops", event.text, event),
            Watch: lambda event: self._instant("stops", event.text, event, address=f"{event.address:#x}"),
            Log: lambda event: self._instant("log", f"{event.source}: {event.text}", event),
            TbTranslate: self._code,
            TbInvalidate: self._code,
            TbCompile: self._code,
        }

    def write(self, trace: Trace, selection: Selection) -> None:
        kinds = set(trace.header.kinds) - {"tb_exec", "tb_translate"}
        kinds = {kind for kind in kinds if selection.wants(kind)}
        for event in trace.events(sorted(kinds), start=selection.start, end=selection.end):
            self._now = event.time
            self._handlers[type(event)](event)
        for source, since in self._raised.items():
            self._slice(f"interrupt {source}", source, "irq", since, self._now)
        for (port, direction), (since, text) in self._lines.items():
            self._line(port, direction, since, text, self._now)

    def _slice(self, track: str, name: str, category: str, start: int, end: int) -> None:
        tid = self._writer.thread(self._pid, track)
        self._writer.slice(self._pid, tid, name, category, start, max(end, start + 1))

    def _instant(self, track: str, name: str, event: Event, **args: object) -> None:
        place = self._names.describe(event.pc)
        at = f"{event.pc:08x} {place}" if place else f"{event.pc:08x}"
        tid = self._writer.thread(self._pid, track)
        self._writer.instant(self._pid, tid, name, name_of(event), event.time, {"pc": at, **args})

    def _exception(self, event: ExceptionTaken) -> None:
        self._instant("exceptions", event.vector, event)

    def _access(self, event: MmioRead | MmioWrite) -> None:
        value = f"0x{event.value:0{2 * event.size}x}"
        self._instant(event.device, event.register, event, value=value, address=f"{event.address:#x}")

    def _irq(self, event: Irq) -> None:
        if event.action == "taken":
            self._instant("exceptions", f"{event.source} taken", event)
        elif event.action == "raised":
            self._raised.setdefault(event.source, event.time)
        elif event.source in self._raised:
            since = self._raised.pop(event.source)
            self._slice(f"interrupt {event.source}", event.source, "irq", since, event.time)

    def _mmu(self, event: Mmu) -> None:
        self._instant("mmu", event.what, event, address=f"{event.address:#x}", status=event.status)

    def _code(self, event: TbTranslate | TbInvalidate | TbCompile) -> None:
        shown = {"icount", "time", "pc"}
        args = {name: value for name, value in event._asdict().items() if name not in shown}
        self._instant("translator", name_of(event), event, **args)

    def _serial(self, event: Serial) -> None:
        key = event.port, event.direction
        since, text = self._lines.setdefault(key, (event.time, bytearray()))
        if event.byte not in b"\r\n":
            text.append(event.byte)
        if event.byte == 10 or (event.byte == 13 and event.direction == "rx") or len(text) >= _LONGEST_LINE:
            del self._lines[key]
            self._line(event.port, event.direction, since, text, event.time)

    def _line(self, port: int, direction: str, since: int, text: bytearray, end: int) -> None:
        if text:
            shown = text.decode("utf-8", "replace")
            self._slice(f"uart{port} {direction}", shown, "serial", since, end)
