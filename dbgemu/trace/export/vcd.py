"""Value change dumps of GPIO pins and interrupt lines: IEEE 1364-2005, 18.2."""

from __future__ import annotations

from typing import BinaryIO

from dbgemu.trace.events import Gpio, Irq
from dbgemu.trace.format import TraceError
from dbgemu.trace.reader import Trace
from dbgemu.trace.tools.names import Names
from dbgemu.trace.tools.selection import Selection

#: identifiers are made of the printable characters
_FIRST, _LAST = 33, 126


def export_vcd(trace: Trace, names: Names, selection: Selection, file: BinaryIO) -> None:
    """Write what changed, in ns of virtual time; a level is unknown until it changes for the first time."""
    levels = [kind for kind in ("gpio", "irq") if kind in trace.header.kinds and selection.wants(kind)]
    if not levels:
        raise TraceError("a value change dump is made of gpio and irq events, and the trace has neither")
    codes: dict[tuple[str, str], str] = {}
    head = ["$comment\n    recorded by ", trace.header.program, "\n$end\n$timescale 1 ns $end\n"]
    head.append("$scope module mini2440 $end\n")
    for kind, listed in (("gpio", trace.header.pins), ("irq", [*trace.header.sources, "IRQ", "FIQ"])):
        if kind in levels:
            head.append(f"$scope module {kind} $end\n")
            for name in listed:
                code = codes[kind, name] = _code(len(codes))
                head.append(f"$var wire 1 {code} {name} $end\n")
            head.append("$upscope $end\n")
    head.append("$upscope $end\n$enddefinitions $end\n")
    file.write("".join(head).encode())
    start = trace.first_count if selection.start is None else max(selection.start, trace.first_count)
    now = trace.time_at(start)
    file.write(f"#{now}\n$dumpvars\n{''.join(f'x{code}{chr(10)}' for code in codes.values())}$end\n".encode())
    pulses: list[str] = []
    for event in selection.events(trace, *levels):
        if pulses and event.time > now:
            now = _end_pulses(file, now, pulses)
        if event.time > now:
            now = event.time
            file.write(f"#{now}\n".encode())
        if isinstance(event, Gpio):
            file.write(f"{event.level & 1}{_of(codes, 'gpio', event.pin)}\n".encode())
        elif isinstance(event, Irq):
            code = _of(codes, "irq", event.source)
            if event.action == "taken":
                pulses.append(code)
            file.write(f"{int(event.action != 'lowered')}{code}\n".encode())
    if pulses:
        now = _end_pulses(file, now, pulses)
    end = trace.end_count if selection.end is None else min(selection.end, trace.end_count)
    file.write(f"#{max(trace.time_at(end), now)}\n".encode())


def _end_pulses(file: BinaryIO, now: int, pulses: list[str]) -> int:
    """An interrupt that is taken is a moment, not a level: it goes up, and down again a ns later."""
    changes = "".join(f"0{code}\n" for code in pulses)
    file.write(f"#{now + 1}\n{changes}".encode())
    pulses.clear()
    return now + 1


def _of(codes: dict[tuple[str, str], str], kind: str, name: str) -> str:
    code = codes.get((kind, name))
    if code is None:
        raise TraceError(f"the trace is damaged: its header has no {kind} '{name}'")
    return code


def _code(number: int) -> str:
    size, text = _LAST - _FIRST + 1, ""
    while True:
        text += chr(_FIRST + number % size)
        number = number // size - 1
        if number < 0:
            return text
