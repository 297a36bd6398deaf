"""Where the time went: hot blocks, hot functions, devices, exceptions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from dbgemu.trace.events import Kind
from dbgemu.trace.format import EVENT
from dbgemu.trace.interpret import Interpreter
from dbgemu.trace.reader import BlockCount, Trace
from dbgemu.trace.tools.names import Function, Names
from dbgemu.trace.tools.selection import Selection

_ACCESSES = {int(Kind.MMIO_READ): 0, int(Kind.MMIO_WRITE): 1}
_VECTORS = {4: "undefined", 8: "swi", 0xC: "prefetch_abort", 0x10: "data_abort", 0x18: "irq", 0x1C: "fiq"}


class FunctionCount(NamedTuple):
    """A function: its own instructions, and how often control came to its first one."""

    function: Function
    instructions: int
    entries: int


def function_counts(profile: list[BlockCount], names: Names) -> list[FunctionCount]:
    """Functions by instructions executed in them, most first. A block may cross into the next function."""
    instructions: Counter[Function] = Counter()
    entries: Counter[Function] = Counter()
    for block in profile:
        address, left = block.pc, block.length
        width = 2 if block.thumb else 4
        while left:
            function, number = names.function(address), left
            end = _end_in(names, address, left, width)
            number = min(left, -(-(end - address) // width))
            instructions[function] += number * block.executions
            if address == function.start:
                entries[function] += block.executions
            address, left = address + number * width, left - number
    return [
        FunctionCount(function, number, entries[function]) for function, number in instructions.most_common()
    ]


def _end_in(names: Names, address: int, left: int, width: int) -> int:
    """The first address behind ``address`` that lies in another function, or behind the block."""
    function, end = names.function(address), address + left * width
    if names.function(end - width) is function:
        return end
    place = address + width
    while names.function(place) is function:
        place += width
    return place


class EventCounts(NamedTuple):
    """How often what happened: by device and register; by exception and interrupt source."""

    #: (device, register) -> [reads, writes]
    accesses: dict[tuple[str, str], list[int]]
    exceptions: Counter[str]
    interrupts: Counter[str]


def event_counts(trace: Trace, selection: Selection) -> EventCounts:
    """Count records as they are: no event is made of them."""
    places: Counter[tuple[int, int]] = Counter()
    exceptions: Counter[str] = Counter()
    interrupts: Counter[str] = Counter()
    low = selection.start or 0
    high = (1 << 62) if selection.end is None else selection.end
    for place, info in enumerate(trace.chunks):
        if not (info.first_count < high and info.end_count >= low):
            continue
        for position, kind, first, second, _, address, _ in EVENT.iter_unpack(trace.raw_chunk(place).events):
            if not low <= position >> 2 < high:
                continue
            if kind in _ACCESSES:
                places[kind, address] += 1
            elif kind == Kind.EXCEPTION:
                exceptions[_VECTORS.get(second, f"0x{second:02x}")] += 1
            elif kind == Kind.IRQ and first & 1:
                sources = trace.header.sources
                interrupts[sources[second] if second < len(sources) else f"#{second}"] += 1
    interpreter = Interpreter(trace.header)
    accesses: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for (kind, address), number in places.items():
        accesses[interpreter.name_of(address)][_ACCESSES[kind]] += number
    return EventCounts(dict(accesses), exceptions, interrupts)


def top(trace: Trace, names: Names, selection: Selection, number: int) -> Iterator[str]:
    """Tables as lines of text, ``number`` rows each."""
    profile = trace.profile(selection.start, selection.end)
    if profile:
        yield from _hot(profile, names, number)
    counts = event_counts(trace, selection)
    yield from _devices(counts, number)
    for title, counter in (("exceptions", counts.exceptions), ("interrupt requests", counts.interrupts)):
        if counter:
            yield ""
            yield f"{title}: " + ", ".join(f"{name} {many}" for name, many in counter.most_common())


def _hot(profile: list[BlockCount], names: Names, number: int) -> Iterator[str]:
    total = sum(block.instructions for block in profile)
    executions = sum(block.executions for block in profile)
    yield f"{total} instructions in {executions} blocks, {len(profile)} different ones"
    yield ""
    yield "functions    instructions   share     entries"
    for row in function_counts(profile, names)[:number]:
        share = 100 * row.instructions / total
        yield f"             {row.instructions:12} {share:6.2f}% {row.entries:11}  {row.function.name}"
    yield ""
    yield "blocks       instructions   share  executions  length"
    profile.sort(key=lambda block: (-block.instructions, block.pc))
    for block in profile[:number]:
        share = 100 * block.instructions / total
        place = names.describe(block.pc)
        yield (
            f"    {block.pc:08x} {block.instructions:12} {share:6.2f}% {block.executions:11} {block.length:7}"
            + (f"  {place}" if place else "")
        )


def _devices(counts: EventCounts, number: int) -> Iterator[str]:
    if not counts.accesses:
        return
    devices: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for (device, _), (reads, writes) in counts.accesses.items():
        devices[device][0] += reads
        devices[device][1] += writes
    yield ""
    yield "devices         reads     writes"
    for device, (reads, writes) in sorted(devices.items(), key=lambda item: -sum(item[1]))[:number]:
        yield f"{device:<10} {reads:10} {writes:10}"
    yield ""
    yield "registers                      reads     writes"
    ranked = sorted(counts.accesses.items(), key=lambda item: -sum(item[1]))
    for (device, register), (reads, writes) in ranked[:number]:
        yield f"{device + '.' + register:<25} {reads:10} {writes:10}"
