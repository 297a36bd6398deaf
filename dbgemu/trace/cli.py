"""The command ``dbgemu-trace``: looks into traces, and makes other files of them."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from dbgemu.tool_program import Commands, Parser, Run, add_command, run_tool
from dbgemu.trace.format import TraceError

#: exit status of ``diff``, as of diff(1)
DIFFERENT = 1

_NUMBER = re.compile(r"(0x[0-9a-fA-F]+|\d+)([kMG]?)")
_FACTORS = {"": 1, "k": 1000, "M": 1_000_000, "G": 1_000_000_000}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with ``arguments`` (default: the process's); returns the exit status."""
    return run_tool(_make_parser(), arguments)


# -- the command line ---------------------------------------------------------------------------------


def _make_parser() -> Parser:
    parser = Parser(prog="dbgemu-trace", description="Look into traces of dbgemu, and convert them.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    info = _command(commands, "info", _info, "what was recorded, when, and how much")
    info.add_argument("--chunks", action="store_true", help="each chunk of the file too")

    text = _command(commands, "text", _text, "events as lines of text")
    _add_selection(text)
    text.add_argument("--lines", action="store_true", help="source lines too")

    filtering = _command(commands, "filter", _filter, "a part of a trace as a new trace")
    filtering.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the new trace")
    _add_selection(filtering, limit=False)
    filtering.add_argument(
        "--address", action="append", default=[], metavar="FIRST-LAST", help="code at these addresses"
    )
    filtering.add_argument(
        "--function", action="append", default=[], metavar="NAME", help="code of a function"
    )
    filtering.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="PATTERN",
        help="of accesses those to nand, uart0.UTX*",
    )
    filtering.add_argument("--privilege", choices=("user", "privileged"), help="code executed so")

    diff = _command(commands, "diff", _diff, "the first event that differs between two traces; exit status 1")
    diff.add_argument("other", type=Path, metavar="OTHER", help="the trace to compare with")
    diff.add_argument("--events", metavar="NAMES", help="compare these events only")
    diff.add_argument("--context", type=_number, default=5, metavar="N", help="events to show around it (5)")

    top = _command(commands, "top", _top, "hot functions and blocks, devices, exceptions")
    _add_selection(top, events=False, limit=False)
    top.add_argument("-n", "--number", type=_number, default=20, metavar="N", help="rows of each table (20)")

    export = _command(commands, "export", _export, "the trace in another format")
    formats = ("jsonl", "perfetto", "drcov", "lcov", "folded", "vcd", "parquet")
    export.add_argument("--format", required=True, choices=formats, help="which one")
    export.add_argument("-o", "--output", metavar="FILE", default="-", help="where to (standard output)")
    _add_selection(export)
    export.add_argument(
        "--shortest", type=_number, default=0, metavar="NS", help="perfetto: leave shorter calls out"
    )
    return parser


def _command(commands: Commands[Parser], name: str, run: Run, text: str) -> Parser:
    parser = add_command(commands, name, run, text)
    parser.add_argument("trace", type=Path, metavar="TRACE", help="a .dbgtrace file")
    if name != "info":
        parser.add_argument(
            "--symbols",
            action="append",
            default=[],
            metavar="FILE[@OFFSET]",
            help="an ELF file with symbols, moved by so many bytes (default: those that the trace names)",
        )
    return parser


def _add_selection(parser: argparse.ArgumentParser, *, events: bool = True, limit: bool = True) -> None:
    parser.add_argument(
        "--from", dest="start", type=_number, metavar="COUNT", help="from this instruction on"
    )
    parser.add_argument("--to", dest="end", type=_number, metavar="COUNT", help="up to the one before this")
    if events:
        parser.add_argument("--events", metavar="NAMES", help="only these: mmio,irq (default: all)")
    if limit:
        parser.add_argument("--limit", type=_number, metavar="N", help="so many at most")


def _number(text: str) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number such as 1000, 0x10 or 20M")
    digits = match[1]
    return int(digits, 16 if digits.startswith("0x") else 10) * _FACTORS[match[2]]


def _address_range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(0x[0-9a-fA-F]{1,8})(?:([-+])(0x[0-9a-fA-F]{1,8}|\d+))?", text)
    if match is None:
        raise TraceError(
            f"'{text}' is no range of addresses: write 0xc0008000-0xc0008fff or 0xc0008000+0x1000"
        )
    first = last = int(match[1], 16)
    if match[3]:
        number = int(match[3], 16 if match[3].startswith("0x") else 10)
        last = number if match[2] == "-" else first + number - 1
    if last < first:
        raise TraceError(f"'{text}' is no range of addresses: it ends before it begins")
    return first, last


# -- the commands -----------------------------------------------------------------------------------------


def _print(lines: Iterable[str]) -> None:
    write = sys.stdout.write
    for line in lines:
        write(f"{line}\n")


def _info(options: argparse.Namespace) -> int:
    from dbgemu.trace.reader import open_trace
    from dbgemu.trace.tools.info import info

    with open_trace(options.trace) as trace:
        _print(info(trace, options.trace, chunks=options.chunks))
    return 0


def _text(options: argparse.Namespace) -> int:
    from dbgemu.trace.reader import open_trace
    from dbgemu.trace.tools.names import Names
    from dbgemu.trace.tools.selection import Selection, parse_kinds
    from dbgemu.trace.tools.text import describe

    with open_trace(options.trace) as trace:
        names = Names.of(trace.header, options.symbols)
        kinds = parse_kinds(options.events, trace) if options.events is not None else None
        selection = Selection(options.start, options.end, kinds, options.limit)
        _print(describe(event, names, lines=options.lines) for event in selection.events(trace))
    return 0


def _filter(options: argparse.Namespace) -> int:
    from dbgemu.trace.reader import open_trace
    from dbgemu.trace.tools.filtering import Criteria, filter_trace
    from dbgemu.trace.tools.names import Names
    from dbgemu.trace.tools.selection import parse_kinds

    if options.output.exists() and options.output.samefile(options.trace):
        raise TraceError(f"'{options.output}' is the trace that is read: name another file")
    with open_trace(options.trace) as trace:
        ranges = [_address_range(text) for text in options.address]
        if options.function:
            names = Names.of(trace.header, options.symbols)
            ranges += [names.range_of(name) for name in options.function]
        criteria = Criteria(
            start=options.start,
            end=options.end,
            kinds=parse_kinds(options.events, trace) if options.events is not None else None,
            ranges=tuple(ranges),
            devices=tuple(options.device),
            user=None if options.privilege is None else options.privilege == "user",
            text=_in_words(options),
        )
        blocks, records = filter_trace(trace, criteria, options.output)
    print(f"{options.output}: {blocks} blocks, {records} other events")
    return 0


def _in_words(options: argparse.Namespace) -> str:
    given = {
        "from": options.start,
        "to": options.end,
        "events": options.events,
        "address": " ".join(options.address),
        "function": " ".join(options.function),
        "device": " ".join(options.device),
        "privilege": options.privilege,
    }
    return ", ".join(f"{name} {value}" for name, value in given.items() if value not in (None, ""))


def _diff(options: argparse.Namespace) -> int:
    from dbgemu.trace.reader import open_trace
    from dbgemu.trace.tools.comparing import common_kinds, first_divergence, report
    from dbgemu.trace.tools.names import Names
    from dbgemu.trace.tools.selection import parse_kinds

    with open_trace(options.trace) as left, open_trace(options.other) as right:
        kinds = common_kinds(left, right)
        if options.events is not None:
            kinds = parse_kinds(options.events, left) & parse_kinds(options.events, right) & kinds
            if not kinds:
                raise TraceError(f"the two traces have no {options.events} in common that could be compared")
        found = first_divergence(left, right, kinds)
        if found is None:
            print(f"the traces are equal: {left.blocks} blocks; compared {', '.join(sorted(kinds))}")
            return 0
        names = Names.of(left.header, options.symbols), Names.of(right.header, options.symbols)
        _print(report(left, right, kinds, found, names, options.context))
        return DIFFERENT


def _top(options: argparse.Namespace) -> int:
    from dbgemu.trace.reader import open_trace
    from dbgemu.trace.tools.names import Names
    from dbgemu.trace.tools.selection import Selection
    from dbgemu.trace.tools.top import top

    with open_trace(options.trace) as trace:
        names = Names.of(trace.header, options.symbols)
        _print(top(trace, names, Selection(options.start, options.end), options.number))
    return 0


def _export(options: argparse.Namespace) -> int:
    from dbgemu.trace.export.formats import FORMATS
    from dbgemu.trace.export.perfetto import export_perfetto
    from dbgemu.trace.reader import open_trace
    from dbgemu.trace.tools.names import Names
    from dbgemu.trace.tools.selection import Selection, parse_kinds

    chosen = FORMATS[options.format]
    if options.output == "-" and not chosen.is_text and sys.stdout.isatty():
        raise TraceError(f"{options.format} is not for a terminal: name a file with -o")
    if options.shortest and options.format != "perfetto":
        raise TraceError(f"--shortest is for perfetto: {options.format} has no calls with a duration")
    with open_trace(options.trace) as trace:
        names = Names.of(trace.header, options.symbols)
        kinds = parse_kinds(options.events, trace) if options.events is not None else None
        selection = Selection(options.start, options.end, kinds, options.limit)

        def write(file: BinaryIO) -> None:
            if options.format == "perfetto":
                export_perfetto(trace, names, selection, file, shortest=options.shortest)
            else:
                chosen.write(trace, names, selection, file)

        _to_file(options.output, options.trace, write)
    return 0


def _to_file(output: str, source: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let ``write`` write; a file that could not be finished does not stay."""
    if output == "-":
        write(sys.stdout.buffer)
        return
    path = Path(output)
    if path.exists() and path.samefile(source):
        raise TraceError(f"'{path}' is the trace that is read: name another file")
    try:
        with path.open("wb") as file:
            try:
                write(file)
            except TraceError:
                path.unlink()
                raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise TraceError(f"'{path}' cannot be written: {error.strerror}") from None
