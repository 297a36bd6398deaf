"""``dbgemu-trace export``: each format is what its readers expect."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections import Counter, defaultdict
from decimal import Decimal
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from vcd.reader import TokenKind, tokenize

from dbgemu.trace.events import EVENTS, Event, Gpio, Irq, MmioWrite, TbExec, name_of
from dbgemu.trace.export.frames import to_arrow
from dbgemu.trace.reader import open_trace
from dbgemu.trace.tracer import Tracer
from tests.linux_guest import LinuxGuest, guest_folder
from tests.tool_traces import TURNS, Traced, done, record, run
from tests.traced_program import everything, recorder_of

#: of the kernel's boot, from its first line on: its clock, its interrupts, and some work
_LINUX_INSTRUCTIONS = 12_000_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    return record(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A trace of a part of Linux's boot, and the options that name its symbols."""
    guest, path = LinuxGuest(), tmp_path_factory.mktemp("linux") / "linux.dbgtrace"
    guest.wait_for("Booting Linux on physical CPU 0x0")
    tracer = Tracer(guest.machine)
    tracer.start("tb_exec,exception,irq,mmu,gpio,serial,mmio", path)
    guest.machine.run(_LINUX_INSTRUCTIONS)
    tracer.stop()
    return path, ["--symbols", str(guest_folder() / "vmlinux")]


def events_of(path: Path, *kinds: str) -> list[Event]:
    with open_trace(path) as trace:
        return list(trace.events(kinds or None))


# -- JSON lines --------------------------------------------------------------------------------------------


def test_json_lines_have_every_field_of_every_event(small: Traced) -> None:
    objects = [json.loads(line) for line in done("export", small.path, "--format", "jsonl").lines]
    expected = [{"event": name_of(event), **event._asdict()} for event in events_of(small.path)]
    assert objects == expected
    assert isinstance(next(item for item in objects if item["event"] == "tb_exec")["thumb"], bool)


def test_json_lines_have_symbols_where_there_are_some(small: Traced) -> None:
    lines = done("export", small.path, *small.symbols, "--format", "jsonl", "--events", "mmio_write").lines
    assert json.loads(lines[0])["at"] == "start+0xc"
    assert json.loads(lines[0])["register"] == "GPBCON"


# -- drcov -------------------------------------------------------------------------------------------------


class Drcov:
    """A reader of drcov files: the head by its words, then the records."""

    def __init__(self, data: bytes) -> None:
        head, _, rest = data.partition(b"BB Table: ")
        lines = head.decode().splitlines()
        assert lines[0] == "DRCOV VERSION: 2"
        assert lines[1].startswith("DRCOV FLAVOR: ")
        words = lines[2].split()
        assert words[:4] == ["Module", "Table:", "version", "2,"]
        assert lines[3].startswith("Columns: ")
        columns = [name.strip() for name in lines[3].removeprefix("Columns: ").split(",")]
        rows = [[cell.strip() for cell in line.split(",", len(columns) - 1)] for line in lines[4:]]
        self.modules = [dict(zip(columns, row, strict=True)) for row in rows]
        assert len(self.modules) == int(words[-1])
        assert [int(module["id"]) for module in self.modules] == list(range(len(rows)))
        count, _, records = rest.partition(b" bbs\n")
        self.records = list(struct.iter_unpack("<IHH", records))
        assert len(self.records) == int(count)

    def blocks(self) -> set[tuple[int, int]]:
        """Addresses and sizes in bytes."""
        found = set()
        for start, size, number in self.records:
            module = self.modules[number]
            base, end = int(module["base"], 16), int(module["end"], 16)
            assert base <= base + start < base + start + size <= end
            found.add((base + start, size))
        assert len(found) == len(self.records), "each block once"
        return found


def executed(path: Path) -> Counter[tuple[int, int]]:
    """How often each block (address, size in bytes) was executed, counted one by one."""
    counts: Counter[tuple[int, int]] = Counter()
    with open_trace(path) as trace:
        for event in trace.blocks_between():
            counts[event.pc, event.end - event.pc] += 1
    return counts


def test_drcov_has_each_executed_block_and_no_other(small: Traced) -> None:
    drcov = Drcov(done("export", small.path, *small.symbols, "--format", "drcov").data)
    assert drcov.blocks() == set(executed(small.path))
    assert [module["path"] for module in drcov.modules] == [str(small.elf), "guest memory"]


def test_drcov_of_linux_puts_the_kernel_in_its_module(linux: tuple[Path, list[str]]) -> None:
    path, symbols = linux
    drcov = Drcov(done("export", path, *symbols, "--format", "drcov").data)
    assert drcov.blocks() == set(executed(path))
    kernel, memory = drcov.modules
    assert (kernel["base"], kernel["path"]) == ("0xc0008000", symbols[1])
    # the exception vectors are a segment of their own, far from the kernel's others
    vectors = {start for start, _, number in drcov.records if number == int(memory["id"])}
    assert 0xFFFF0018 in vectors
    assert all(start >= 0xFFFF0000 for start in vectors)


def test_long_blocks_are_several_records_of_drcov(tmp_path: Path) -> None:
    guest, path = everything(), tmp_path / "long.dbgtrace"
    guest.load("nop\n" * 20_000, 0x30100000)
    recorder, sink = recorder_of(guest, path)
    guest["pc"] = 0x30100000
    recorder.start(blocks=True, kinds=0)
    guest.step(20_000)
    recorder.stop()
    sink.close()
    drcov = Drcov(done("export", path, "--format", "drcov").data)
    assert sum(size for _, size in drcov.blocks()) == 80_000


# -- lcov --------------------------------------------------------------------------------------------------


def read_lcov(text: str) -> dict[str, dict[str, Any]]:
    """Lines and functions by source file."""
    files: dict[str, dict[str, Any]] = {}
    here: dict[str, Any] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "SF":
            here = files[value] = {"lines": {}, "functions": {}, "at": {}, "totals": {}}
        elif key == "DA":
            number, count = value.split(",")
            here["lines"][int(number)] = int(count)
        elif key == "FNDA":
            count, name = value.split(",")
            here["functions"][name] = int(count)
        elif key == "FN":
            number, name = value.split(",")
            here["at"][name] = int(number)
        elif key in ("LF", "LH", "FNF", "FNH"):
            here["totals"][key] = int(value)
        else:
            assert line in ("TN:", "end_of_record"), line
    return files


def test_lcov_has_the_exact_count_of_each_source_line(small: Traced) -> None:
    files = read_lcov(done("export", small.path, *small.symbols, "--format", "lcov").text)
    assert list(files) == [str(small.source)]
    found = files[str(small.source)]
    counts: Counter[int] = Counter()
    for (pc, size), number in executed(small.path).items():
        for address in range(pc, pc + size, 4):
            counts[address] += number
    expected = {line: counts[address] for address, line in small.program.lines}
    assert found["lines"] == expected
    assert found["functions"]["inner"] == 2 * TURNS
    assert found["functions"]["never"] == 0
    lines = small.source.read_text().splitlines()
    assert lines[found["at"]["outer"] - 2] == "outer:", "the function begins at its first instruction"
    hit = sum(count > 0 for count in expected.values())
    assert (found["totals"]["LF"], found["totals"]["LH"]) == (len(expected), hit)


@pytest.mark.skipif(shutil.which("genhtml") is None, reason="genhtml (Debian's lcov) is not installed")
def test_genhtml_makes_pages_of_it(small: Traced, tmp_path: Path) -> None:
    info, pages = tmp_path / "small.info", tmp_path / "pages"
    done("export", small.path, *small.symbols, "--format", "lcov", "-o", info)
    command = ["genhtml", "--quiet", "--output-directory", str(pages), str(info)]
    # perl complains about locales that are not there
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    assert (result.returncode, result.stderr) == (0, "")
    page = next(pages.rglob("small.s.gcov.html")).read_text()
    assert "mov pc, lr" in page


def test_lcov_of_linux_counts_functions_of_the_kernel(linux: tuple[Path, list[str]]) -> None:
    path, symbols = linux
    files = read_lcov(done("export", path, *symbols, "--format", "lcov").text)
    irq = next(found for name, found in files.items() if name.endswith("/kernel/irq/handle.c"))
    taken = sum(event.action == "taken" for event in events_of(path, "irq") if isinstance(event, Irq))
    assert taken > 0
    assert irq["functions"]["generic_handle_arch_irq"] == taken


# -- folded stacks -------------------------------------------------------------------------------------------


def test_folded_stacks_have_every_instruction_under_its_callers(small: Traced) -> None:
    rows = [
        line.rsplit(" ", 1) for line in done("export", small.path, *small.symbols, "--format", "folded").lines
    ]
    stacks = {path: int(number) for path, number in rows}
    assert sum(stacks.values()) == small.machine.cpu.instructions
    assert stacks["privileged;start;outer;inner"] == 2 * 2 * TURNS
    assert stacks["privileged;start;outer"] == 6 * TURNS
    assert [path for path in stacks if "speak" in path] == ["privileged;start;speak"]


def test_folded_stacks_of_linux_follow_interrupts_and_return_from_them(linux: tuple[Path, list[str]]) -> None:
    path, symbols = linux
    rows = [line.rsplit(" ", 1) for line in done("export", path, *symbols, "--format", "folded").lines]
    with open_trace(path) as trace:
        assert sum(int(number) for _, number in rows) == trace.instructions
    handlers = [stack.split(";") for stack, _ in rows if "<irq>" in stack]
    assert any("__irq_svc" in stack and "generic_handle_arch_irq" in stack for stack in handlers)
    # frames of interrupts do not pile up
    assert max(stack.count("<irq>") for stack in handlers) == 1
    assert max(len(stack.split(";")) for stack, _ in rows) < 60


# -- Perfetto ------------------------------------------------------------------------------------------------

_KEYS = {
    "M": {"ph", "pid", "tid", "name", "args"},
    "X": {"ph", "pid", "tid", "name", "cat", "ts", "dur"},
    "i": {"ph", "pid", "tid", "name", "cat", "ts", "s", "args"},
    "C": {"ph", "pid", "tid", "name", "ts", "args"},
}


def check_trace_events(data: bytes) -> list[dict[str, Any]]:
    """Assert what the Trace Event Format demands; times come as ns."""
    document = json.loads(data, parse_float=Decimal)
    assert set(document) == {"displayTimeUnit", "traceEvents"}
    assert document["displayTimeUnit"] in ("ms", "ns")
    events: list[dict[str, Any]] = document["traceEvents"]
    slices: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    named: dict[tuple[int, int], str] = {}
    for event in events:
        assert set(event) == _KEYS[event["ph"]], event
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
        assert isinstance(event["name"], str) and event["name"]
        for key in {"ts", "dur"} & set(event):
            event[key] = nanoseconds = event[key] * 1000
            assert nanoseconds == int(nanoseconds) >= 0
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name", "process_sort_index")
            if event["name"] == "thread_name":
                named[event["pid"], event["tid"]] = event["args"]["name"]
        elif event["ph"] == "X":
            slices[event["pid"], event["tid"]].append((int(event["ts"]), -int(event["dur"])))
        elif event["ph"] == "i":
            assert event["s"] in ("g", "p", "t")
        elif event["ph"] == "C":
            assert all(isinstance(value, int) for value in event["args"].values())
    assert set(slices) <= set(named)
    for track, spans in slices.items():
        open_until: list[int] = []
        for start, negative in sorted(spans):
            while open_until and open_until[-1] <= start:
                open_until.pop()
            assert not open_until or start - negative <= open_until[-1], f"{named[track]}: slices overlap"
            open_until.append(start - negative)
    return events


def test_perfetto_shows_calls_as_nested_slices(small: Traced) -> None:
    events = check_trace_events(done("export", small.path, *small.symbols, "--format", "perfetto").data)
    calls = Counter(event["name"] for event in events if event.get("cat") == "call")
    assert calls == {"start": 1, "outer": TURNS, "inner": 2 * TURNS, "speak": 1, "stop": 1}
    outer = next(event for event in events if event["name"] == "outer")
    inner = [event for event in events if event["name"] == "inner"][:2]
    for call in inner:
        assert outer["ts"] < call["ts"] < call["ts"] + call["dur"] < outer["ts"] + outer["dur"]
    assert 4 <= inner[0]["dur"] <= 6, "two instructions at 405 MHz"


def test_perfetto_shows_devices_pins_interrupts_and_lines_of_text(small: Traced) -> None:
    events = check_trace_events(done("export", small.path, *small.symbols, "--format", "perfetto").data)
    texts = [event["name"] for event in events if event.get("cat") == "serial"]
    assert texts == ["Hi there"]
    writes = [event for event in events if event.get("cat") == "mmio_write" and event["name"] == "UTXH"]
    assert [int(event["args"]["value"], 16) for event in writes] == list(b"Hi there\n")
    assert "speak" in writes[0]["args"]["pc"]
    levels = [event["args"]["level"] for event in events if event["ph"] == "C" and event["name"] == "GPB5"]
    assert len(levels) >= TURNS - 1
    assert all(before != after for before, after in pairwise(levels))
    requests = [event["name"] for event in events if event.get("cat") == "irq" and event["ph"] == "X"]
    assert requests.count("INT_TIMER4") == 1
    assert requests.count("INT_TXD0") == len("Hi there\n")


def test_perfetto_of_linux_is_valid_and_of_its_time(linux: tuple[Path, list[str]], tmp_path: Path) -> None:
    path, symbols = linux
    out = tmp_path / "linux.json"
    done("export", path, *symbols, "--format", "perfetto", "--shortest", 2000, "-o", out)
    events = check_trace_events(out.read_bytes())
    with open_trace(path) as trace:
        first, last = trace.time_at(trace.first_count), trace.time_at(trace.end_count)
    spans = [event for event in events if event["ph"] == "X" and event["cat"] == "call"]
    assert all(first <= event["ts"] and event["ts"] + event["dur"] <= last for event in spans)
    assert all(event["dur"] >= 2000 for event in spans)
    tracks = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {"privileged", "exceptions", "uart0 tx", "pwm", "intc"} <= tracks
    assert {event["args"]["name"] for event in events if event["name"] == "process_name"} == {
        "mini2440",
        "MMU off",
    }


def test_a_limit_bounds_what_perfetto_gets(small: Traced) -> None:
    data = done("export", small.path, "--format", "perfetto", "--limit", 10).data
    assert sum(event["ph"] != "M" for event in check_trace_events(data)) == 10


# -- value change dumps --------------------------------------------------------------------------------------


def test_vcd_has_the_changes_of_pins_and_interrupts(small: Traced) -> None:
    names: dict[str, tuple[str, ...]] = {}
    scopes: list[str] = []
    changes: list[tuple[int, str, object]] = []
    now, scale = 0, ""
    dumping = False
    for token in tokenize(BytesIO(done("export", small.path, "--format", "vcd").data)):
        if token.kind is TokenKind.TIMESCALE:
            scale = str(token.timescale)
        elif token.kind is TokenKind.SCOPE:
            scopes.append(token.scope.ident)
        elif token.kind is TokenKind.UPSCOPE:
            scopes.pop()
        elif token.kind is TokenKind.VAR:
            assert token.var.id_code not in names
            names[token.var.id_code] = (*scopes, token.var.reference)
        elif token.kind is TokenKind.CHANGE_TIME:
            assert token.time_change >= now
            now = token.time_change
        elif token.kind is TokenKind.DUMPVARS:
            dumping = True
        elif token.kind is TokenKind.END:
            dumping = False
        elif token.kind is TokenKind.CHANGE_SCALAR:
            change = token.scalar_change
            assert (change.value == "x") is dumping
            if not dumping:
                changes.append((now, names[change.id_code][-1], int(change.value)))
    assert scale == "1 ns"
    assert ("mini2440", "gpio", "GPB5") in names.values()
    assert ("mini2440", "irq", "INT_TIMER4") in names.values()
    expected = [
        (event.time, event.pin, event.level)
        if isinstance(event, Gpio)
        else (event.time, event.source, event.action == "raised")
        for event in events_of(small.path, "gpio", "irq")
        if isinstance(event, Gpio | Irq)
    ]
    assert len(expected) > TURNS
    assert changes == expected


def test_vcd_shows_interrupts_that_are_taken_as_pulses(linux: tuple[Path, list[str]]) -> None:
    tokens = list(tokenize(BytesIO(done("export", linux[0], "--format", "vcd").data)))
    codes = {token.var.reference: token.var.id_code for token in tokens if token.kind is TokenKind.VAR}
    values = [
        token.scalar_change.value
        for token in tokens
        if token.kind is TokenKind.CHANGE_SCALAR and token.scalar_change.id_code == codes["IRQ"]
    ]
    taken = sum(event.action == "taken" for event in events_of(linux[0], "irq") if isinstance(event, Irq))
    assert values == ["x", *["1", "0"] * taken]


# -- data frames ---------------------------------------------------------------------------------------------


def test_arrow_tables_have_every_block_with_its_time(small: Traced, linux: tuple[Path, list[str]]) -> None:
    for path in (small.path, linux[0]):
        with open_trace(path) as trace:
            table = to_arrow(trace, "tb_exec")
            assert table.num_rows == trace.blocks
            rows = [TbExec(**row) for row in table.slice(0, 5000).to_pylist()]
            assert rows == events_of(path, "tb_exec")[:5000]


def test_arrow_tables_of_other_events_have_their_fields(small: Traced) -> None:
    with open_trace(small.path) as trace:
        table = to_arrow(trace, "mmio_write", start=20)
        assert table.column_names == list(MmioWrite._fields)
        rows = [MmioWrite(**row) for row in table.to_pylist()]
    assert rows == [event for event in events_of(small.path, "mmio_write") if event.icount >= 20]


def test_parquet_holds_several_kinds_of_events(small: Traced, tmp_path: Path) -> None:
    import pyarrow.parquet

    path = tmp_path / "events.parquet"
    done("export", small.path, "--format", "parquet", "--events", "mmio,gpio,serial", "-o", path)
    rows = pyarrow.parquet.read_table(path).to_pylist()
    found = [
        EVENTS[row["event"]](**{name: row[name] for name in EVENTS[row["event"]]._fields}) for row in rows
    ]
    assert found == events_of(small.path, "mmio_read", "mmio_write", "gpio", "serial")


def test_without_pyarrow_parquet_says_what_to_install(
    small: Traced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    out = tmp_path / "x.parquet"
    result = run("export", small.path, "--format", "parquet", "-o", out)
    assert result.status == 2
    assert (
        result.error == "dbgemu-trace: data frames and Parquet need pyarrow: pip install 'dbgemu[frames]'\n"
    )
    assert not out.exists()
