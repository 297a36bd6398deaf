"""What to record, as users write it: ``tb,mmio:nand.*,irq;range=0xc0008000-0xc0100000;stop=+1000000``.

Items are separated by commas or semicolons. An item without ``=`` is an event or a group of events, with
``:PATTERN`` behind it where only some are meant (patterns as a shell's, ``|`` between several); one with
``=`` is an option; ``user`` and ``privileged`` choose a privilege.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from dbgemu.trace.events import EVENTS
from dbgemu.trace.format import TraceError

#: short names, and names of several events
GROUPS: dict[str, tuple[str, ...]] = {
    "tb": ("tb_exec",),
    "exec": ("tb_exec",),
    "jit": ("tb_translate", "tb_invalidate", "tb_compile"),
    "mmio": ("mmio_read", "mmio_write"),
    "all": tuple(EVENTS),
}
#: what a pattern of such an event is compared with
PATTERNS = {
    "mmio_read": "device.REGISTER",
    "mmio_write": "device.REGISTER",
    "irq": "the source's name",
    "gpio": "the pin's name",
    "serial": "the port's number",
    "log": "the source's name",
}

#: gives the (first, last) address of a name, or None where it has none
Resolve = Callable[[str], tuple[int, int] | None]

_OPTIONS = {
    "range": "code: FIRST-LAST, FIRST+SIZE, or a symbol; may be given several times",
    "func": "the same as range",
    "ttb": "the translation table base (physical) that is active: one process",
    "start": "begin when this address or symbol is reached",
    "stop": "end at this instruction count, or, with +, so many instructions after the beginning",
    "events": "end after so many events",
    "ring": "keep only the last so many blocks, in memory, until they are saved",
    "file": "where the trace is written",
}


@dataclass(frozen=True)
class TraceSpec:
    """What to record, from where to where. Addresses may still be names: see :meth:`code_ranges`."""

    #: names of events
    kinds: frozenset[str]
    #: patterns of an event; without any, all of it
    patterns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: each a range as it was written
    ranges: tuple[str, ...] = ()
    #: bit 0: privileged, bit 1: User mode
    privileges: int = 3
    ttb: int | None = None
    start: str = ""
    stop: int | None = None
    #: ``stop`` counts from the beginning of the trace
    stop_relative: bool = False
    events: int | None = None
    ring: int | None = None
    file: str = ""
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> TraceSpec:
        """From its text; TraceError, one sentence, for what cannot be understood."""
        builder = _Builder()
        for item in filter(None, (part.strip() for part in re.split("[,;]", text))):
            name, equals, value = item.partition("=")
            if equals:
                builder.option(name.strip(), value.strip())
            elif item in ("user", "privileged", "priv"):
                builder.privileges |= 2 if item == "user" else 1
            else:
                builder.event(item)
        return builder.finish(text)

    @property
    def selection(self) -> str:
        """The text without the file's name: equal for traces that record the same."""
        items = (part.strip() for part in re.split("[,;]", self.text))
        return ",".join(item for item in items if item and not item.startswith("file="))

    def wants(self, kind: str) -> bool:
        """The event is to be recorded, at least some of it."""
        return kind in self.kinds

    def matches(self, kind: str, name: str) -> bool:
        """The event of ``kind`` that is about ``name`` is to be recorded."""
        if kind not in self.kinds:
            return False
        patterns = self.patterns.get(kind)
        return patterns is None or any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)

    def code_ranges(self, resolve: Resolve) -> list[tuple[int, int]]:
        """The (first, last) addresses of code to record. TraceError for a name that nothing has."""
        return [_range(text, resolve) for text in self.ranges]

    def start_address(self, resolve: Resolve) -> int | None:
        """Where to begin, or None for at once. TraceError for a name that nothing has."""
        return _address(self.start, resolve) if self.start else None


class _Builder:
    """Collects a specification's items."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.patterns: dict[str, tuple[str, ...]] = {}
        self.privileges = 0
        self.ranges: list[str] = []
        self.numbers: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        self.relative = False

    def event(self, item: str) -> None:
        name, colon, pattern = item.partition(":")
        kinds = kinds_of(name)
        for kind in kinds:
            if colon:
                if kind not in PATTERNS:
                    raise TraceError(
                        f"'{item}': {kind} takes no pattern; those that do are {', '.join(PATTERNS)}"
                    )
                self.patterns[kind] = (*self.patterns.get(kind, ()), *_patterns(kind, pattern))
            elif kind not in self.kinds:
                self.patterns.pop(kind, None)
        self.kinds.update(kinds)

    def option(self, name: str, value: str) -> None:
        if name not in _OPTIONS:
            raise TraceError(f"'{name}' is no option of a trace{_near(name, _OPTIONS)}")
        if not value:
            raise TraceError(f"'{name}=' needs a value: {_OPTIONS[name]}")
        if name in ("range", "func"):
            self.ranges.append(value)
        elif name in ("start", "file"):
            self.texts[name] = value
        else:
            self.relative = self.relative or (name == "stop" and value.startswith("+"))
            self.numbers[name] = _number(name, value.removeprefix("+") if name == "stop" else value)

    def finish(self, text: str) -> TraceSpec:
        if not self.kinds:
            raise TraceError(f"nothing is to be recorded: name events, such as {', '.join(list(EVENTS)[:4])}")
        return TraceSpec(
            kinds=frozenset(self.kinds),
            patterns=self.patterns,
            ranges=tuple(self.ranges),
            privileges=self.privileges or 3,
            ttb=self.numbers.get("ttb"),
            start=self.texts.get("start", ""),
            stop=self.numbers.get("stop"),
            stop_relative=self.relative,
            events=self.numbers.get("events"),
            ring=self.numbers.get("ring"),
            file=self.texts.get("file", ""),
            text=text,
        )


def kinds_of(name: str) -> tuple[str, ...]:
    """The events that a name stands for; TraceError when it is none."""
    if name in GROUPS:
        return GROUPS[name]
    if name in EVENTS:
        return (name,)
    matching = tuple(kind for kind in EVENTS if fnmatchcase(kind, name)) if set("*?[") & set(name) else ()
    if not matching:
        raise TraceError(f"there is no event '{name}'{_near(name, [*EVENTS, *GROUPS])}")
    return matching


def _near(name: str, names: object) -> str:
    choices = list(names)  # type: ignore[call-overload]
    near = difflib.get_close_matches(name, choices, 1)
    return f": is it '{near[0]}'?" if near else f"; there are {', '.join(choices)}"


def _patterns(kind: str, text: str) -> list[str]:
    found = [part for part in text.split("|") if part]
    if not found:
        raise TraceError(f"'{kind}:' needs a pattern behind the colon: {PATTERNS[kind]}")
    if kind.startswith("mmio"):
        return [part if "." in part else f"{part}.*" for part in found]
    return found


def _number(name: str, text: str) -> int:
    match = re.fullmatch(r"(0x[0-9a-fA-F]+|\d+)([kM]?)", text)
    if match is None:
        raise TraceError(f"'{name}={text}': a number is needed")
    value = int(match[1], 0) if match[1].startswith("0x") else int(match[1])
    value *= {"": 1, "k": 1000, "M": 1_000_000}[match[2]]
    if name in ("events", "ring") and not value:
        raise TraceError(f"'{name}={text}': at least 1 is needed")
    return value


def _address(text: str, resolve: Resolve) -> int:
    if re.fullmatch(r"0x[0-9a-fA-F]{1,8}", text):
        return int(text, 16)
    if text.isdecimal() and int(text) < 1 << 32:
        return int(text)
    found = resolve(text)
    if found is None:
        raise TraceError(f"'{text}' is neither an address nor the name of a symbol")
    return found[0]


def _range(text: str, resolve: Resolve) -> tuple[int, int]:
    whole = None if text[:2] == "0x" else resolve(text)
    if whole is not None:
        return whole
    for separator in "-+":
        left, found, right = text.partition(separator)
        if found:
            first = _address(left.strip(), resolve)
            last = _address(right.strip(), resolve)
            last = last if separator == "-" else first + last - 1
            if last < first or last >= 1 << 32:
                raise TraceError(f"'{text}' is no range: it ends before it begins")
            return first, last
    first = _address(text, resolve)
    return first, first + 3
