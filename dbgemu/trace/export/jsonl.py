"""JSON lines: an object for each event."""

from __future__ import annotations

from json.encoder import encode_basestring_ascii
from typing import BinaryIO, get_type_hints

from dbgemu.trace.events import EVENTS, Event
from dbgemu.trace.reader import Trace
from dbgemu.trace.tools.names import Names
from dbgemu.trace.tools.selection import Selection

_BATCH = 4096


_BOOLEANS = ("false", "true")


def export_jsonl(trace: Trace, names: Names, selection: Selection, file: BinaryIO) -> None:
    """Write ``{"event":…,"icount":…,"time":…,"pc":…,…}`` lines; with symbols also ``"at":"name+0x10"``."""
    formats = {kind: _template(name, kind) for name, kind in EVENTS.items()}
    known = bool(len(names.symbols))
    places: dict[int, str] = {}
    lines: list[str] = []
    for event in selection.events(trace):
        template, special = formats[type(event)]
        values: list[object] = list(event)
        for place in special:
            item = event[place]
            values[place] = encode_basestring_ascii(item) if isinstance(item, str) else _BOOLEANS[item]
        at = places.get(event.pc)
        if at is None:
            text = names.describe(event.pc) if known else ""
            at = places[event.pc] = f',"at":{encode_basestring_ascii(text)}' if text else ""
        lines.append(template % (*values, at))
        if len(lines) >= _BATCH:
            file.write("".join(lines).encode())
            lines.clear()
    file.write("".join(lines).encode())


def _template(name: str, kind: type[Event]) -> tuple[str, list[int]]:
    """A format string, and the places of the fields that are texts or truths."""
    hints = get_type_hints(kind)
    special = [place for place, field in enumerate(kind._fields) if hints[field] in (str, bool)]
    fields = (f'"{field}":%{"s" if place in special else "d"}' for place, field in enumerate(kind._fields))
    return f'{{"event":"{name}",{",".join(fields)}%s}}\n', special
