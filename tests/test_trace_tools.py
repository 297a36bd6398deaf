"""``dbgemu-trace``: what it tells of a trace, and the traces that it makes of one."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dbgemu.trace.events import EVENTS, Event, MmioWrite, TbExec, name_of
from dbgemu.trace.reader import open_trace
from dbgemu.trace.tools.names import Names
from tests.tool_traces import TURNS, Traced, done, piped, record, run
from tests.traced_program import blocks_by_hand, everything, recorder_of


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    return record(tmp_path_factory.mktemp("small"))


def events_of(path: Path, *kinds: str) -> list[Event]:
    with open_trace(path) as trace:
        return list(trace.events(kinds or None))


def test_info_tells_totals_and_whether_the_trace_is_complete(small: Traced) -> None:
    text = done("info", small.path).text
    with open_trace(small.path) as trace:
        assert f"recorded     {trace.blocks} blocks of {trace.instructions} instructions" in text
    assert "state        complete" in text
    assert "asked for    all" in text


def test_info_of_a_cut_off_trace_says_so(small: Traced, tmp_path: Path) -> None:
    cut = tmp_path / "cut.dbgtrace"
    cut.write_bytes(small.path.read_bytes()[:-5])
    assert "not complete" in done("info", "--chunks", cut).text


def test_text_is_a_line_for_each_event_in_order(small: Traced) -> None:
    lines = done("text", small.path).lines
    events = events_of(small.path)
    assert [line.split()[0] for line in lines] == [str(event.icount) for event in events]
    assert [line.split()[2] for line in lines] == [name_of(event) for event in events]


def test_text_names_places_by_symbol_and_source_line(small: Traced) -> None:
    lines = done("text", small.path, *small.symbols, "--lines", "--events", "mmio_write", "--limit", 2).lines
    first, second = lines
    assert first.endswith("gpio.GPBCON <- 0x00000400  start+0xc  (small.s:5)")
    assert "gpio.GPBDAT <- 0x00000020  start+0x20" in second


def test_text_takes_a_range_of_counts(small: Traced) -> None:
    counts = [int(line.split()[0]) for line in done("text", small.path, "--from", 50, "--to", "0x50").lines]
    assert counts == [event.icount for event in events_of(small.path) if 50 <= event.icount < 80]


def test_top_counts_what_the_engine_executed(small: Traced) -> None:
    lines = done("top", small.path, *small.symbols).lines
    total = small.machine.cpu.instructions
    assert lines[0].startswith(f"{total} instructions in ")
    rows = [line.split() for line in lines[lines.index("") + 2 :] if line.startswith("             ")]
    functions = {row[3]: (int(row[0]), int(row[2])) for row in rows}
    assert functions["inner"] == (2 * 2 * TURNS, 2 * TURNS)
    assert functions["outer"] == (6 * TURNS, TURNS), "push, two calls, compare, a call not made, pop"
    assert "never" not in functions
    assert sum(instructions for instructions, _ in functions.values()) == total


def test_top_counts_accesses_by_device_and_register(small: Traced) -> None:
    text = done("top", small.path, "-n", 50).text
    rows = {row[0]: row[1:] for row in map(str.split, text.splitlines()) if len(row) == 3}
    assert rows["gpio.GPBDAT"] == ["0", str(TURNS)]
    assert rows["uart0.UTXH"] == ["0", str(len("Hi there\n"))]
    assert "INT_TIMER4 1" in text


@pytest.mark.parametrize("options", [[], ["--from", 100, "--to", 1000]])
def test_a_filtered_trace_has_the_events_of_its_range(
    small: Traced, tmp_path: Path, options: list[object]
) -> None:
    path = tmp_path / "part.dbgtrace"
    done("filter", small.path, "-o", path, *options)
    wanted = events_of(small.path)
    if options:
        wanted = [event for event in wanted if 100 <= event.icount < 1000]
    # what was executed before the range may be new in it
    kinds = [kind for kind in EVENTS if kind != "tb_translate"]
    assert events_of(path, *kinds) == [event for event in wanted if name_of(event) in kinds]
    with open_trace(path) as trace:
        assert trace.complete
        assert trace.blocks == sum(isinstance(event, TbExec) for event in wanted)
        assert trace.instructions == sum(event.length for event in wanted if isinstance(event, TbExec))


def test_a_trace_is_filtered_by_function(small: Traced, tmp_path: Path) -> None:
    path = tmp_path / "part.dbgtrace"
    done("filter", small.path, *small.symbols, "-o", path, "--function", "speak", "--events", "tb,mmio")
    first, end = small.program["speak"], small.program["speak"] + 15 * 4
    wanted = [
        event
        for event in events_of(small.path, "tb_exec", "mmio_read", "mmio_write")
        if (event.pc < end and event.end > first if isinstance(event, TbExec) else first <= event.pc < end)
    ]
    assert len(wanted) > 50
    assert events_of(path) == wanted


def test_a_trace_is_filtered_by_address_across_gaps(small: Traced, tmp_path: Path) -> None:
    path = tmp_path / "part.dbgtrace"
    first = small.program["inner"]
    done("filter", small.path, "-o", path, "--address", f"{first:#x}+8", "--events", "tb_exec")
    found = events_of(path)
    assert len(found) == 2 * TURNS
    assert found == [event for event in events_of(small.path, "tb_exec") if event.pc == first]


def test_a_trace_is_filtered_by_register(small: Traced, tmp_path: Path) -> None:
    path = tmp_path / "part.dbgtrace"
    done("filter", small.path, "-o", path, "--device", "uart0.UTX*", "--events", "mmio")
    written = bytes(event.value for event in events_of(path) if isinstance(event, MmioWrite))
    assert written == b"Hi there\n"
    assert len(events_of(path)) == len(written)


def test_a_trace_is_filtered_by_privilege(tmp_path: Path) -> None:
    expected = blocks_by_hand(everything())
    guest, path = everything(), tmp_path / "all.dbgtrace"
    recorder, sink = recorder_of(guest, path)
    recorder.start(blocks=True, kinds=0)
    guest.step(sum(length for _, length, *_ in expected))
    recorder.stop()
    sink.close()
    parts = {}
    for privilege in ("user", "privileged"):
        parts[privilege] = tmp_path / f"{privilege}.dbgtrace"
        done("filter", path, "-o", parts[privilege], "--privilege", privilege)
    for privilege, part in parts.items():
        found = [(event.pc, event.length, event.thumb, event.user) for event in events_of(part)]
        assert found == [block for block in expected if block[3] == (privilege == "user")]
        assert found
    merged = sorted(events_of(parts["user"]) + events_of(parts["privileged"]))
    assert merged == events_of(path)


def test_a_trace_that_was_cut_off_can_be_filtered_up_to_the_cut(tmp_path: Path) -> None:
    guest, path = everything(), tmp_path / "all.dbgtrace"
    recorder, sink = recorder_of(guest, path)
    recorder.start(blocks=True, kinds=0)
    for _ in range(5):
        guest.step(101)
        recorder.cut()
    sink.close()
    done("filter", path, "-o", tmp_path / "part.dbgtrace")
    assert events_of(tmp_path / "part.dbgtrace") == events_of(path)
    with open_trace(tmp_path / "part.dbgtrace") as trace:
        assert trace.complete
        assert trace.instructions == 505


def test_nothing_that_fits_gives_an_empty_trace(small: Traced, tmp_path: Path) -> None:
    path = tmp_path / "part.dbgtrace"
    done("filter", small.path, "-o", path, "--address", "0xc0000000-0xc0000fff", "--events", "tb_exec")
    assert events_of(path) == []
    assert "state        complete" in done("info", path).text


def test_equal_runs_give_equal_traces(small: Traced, tmp_path: Path) -> None:
    again = record(tmp_path / "again")
    result = done("diff", small.path, again.path)
    assert result.text.startswith("the traces are equal")


def test_diff_shows_the_first_event_that_differs(small: Traced, tmp_path: Path) -> None:
    other = record(tmp_path / "other", turns=TURNS + 1)
    result = run("diff", small.path, other.path, *small.symbols, "--context", 2)
    assert result.status == 1
    left = next(event for event in events_of(small.path, "tb_exec") if event.pc == _behind_the_loop(small))
    # with one turn more, control goes back to the loop from there
    assert result.lines[0] == f"the traces differ from instruction {left.icount - 3} on"
    assert len([line for line in result.lines if line.startswith("-")]) == 3
    minus = next(line for line in result.lines if line.startswith("-"))
    plus = next(line for line in result.lines if line.startswith("+"))
    assert minus.split()[1] == plus.split()[1] == str(left.icount - 3)
    assert minus != plus


def _behind_the_loop(small: Traced) -> int:
    return small.program["speak"]


def test_diff_finds_a_difference_in_other_events_alone(small: Traced, tmp_path: Path) -> None:
    part = tmp_path / "part.dbgtrace"
    done("filter", small.path, "-o", part, "--device", "gpio")
    result = run("diff", small.path, part)
    assert result.status == 1
    first = next(event for event in events_of(small.path, "mmio_write") if event.device != "gpio")  # type: ignore[union-attr]
    assert result.lines[0] == f"the traces differ from instruction {first.icount} on"


def test_diff_says_where_one_trace_ends(small: Traced, tmp_path: Path) -> None:
    part = tmp_path / "part.dbgtrace"
    done("filter", small.path, "-o", part, "--to", 500)
    result = run("diff", small.path, part, "--events", "tb_exec")
    assert result.status == 1
    assert result.lines[-1] == "+ (the trace ends here)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "missing.dbgtrace"], "'missing.dbgtrace' cannot be read: No such file or directory"),
        (["text", "TRACE", "--events", "mmoi"], "there is no event 'mmoi': is it 'mmio'?"),
        (["text", "TRACE", "--symbols", "TRACE"], "is not an ELF file that can be used"),
        (["text", "TRACE", "--from", "ten"], "'ten' is not a number such as 1000, 0x10 or 20M"),
        (["filter", "TRACE", "-o", "TRACE"], "is the trace that is read: name another file"),
        (["filter", "TRACE", "-o", "no/x"], "'no/x' cannot be written: No such file or directory"),
        (["filter", "TRACE", "-o", "x", "--address", "12"], "'12' is no range of addresses"),
        (["filter", "TRACE", "-o", "x", "--function", "f"], "there is no symbol 'f': no symbols are known"),
        (["export", "TRACE", "--format", "xml"], "invalid choice: 'xml'"),
        (["export", "TRACE", "--format", "lcov"], "coverage by source line needs a file with DWARF"),
        (["export", "TRACE", "--format", "vcd", "--shortest", "5"], "--shortest is for perfetto"),
        (["explode", "TRACE"], "invalid choice: 'explode'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line_and_status_2(
    small: Traced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(small.path) if argument == "TRACE" else argument for argument in arguments]
    result = run(*given)
    assert result.status == 2
    assert result.text == ""
    assert message in result.error
    assert result.error.count("\n") == 1


def test_a_reader_that_goes_away_ends_the_output_quietly(small: Traced) -> None:
    with piped("text", small.path) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_a_full_disk_is_said_in_one_line(small: Traced) -> None:
    command = [sys.executable, "-m", "dbgemu.trace", "text", str(small.path)]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 2
    assert result.stderr == b"dbgemu-trace: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("command", ["text", "top", "filter", "jsonl", "folded", "perfetto"])
def test_a_damaged_trace_is_said_in_one_line_and_leaves_no_half_file(
    small: Traced, tmp_path: Path, command: str
) -> None:
    data, out = bytearray(small.path.read_bytes()), tmp_path / "out"
    data[-20] ^= 0xFF
    damaged = tmp_path / "damaged.dbgtrace"
    damaged.write_bytes(data)
    if command in ("text", "top"):
        result = run(command, damaged)
    elif command == "filter":
        result = run("filter", damaged, "-o", out, "--to", 100)
    else:
        result = run("export", damaged, "--format", command, "-o", out)
    assert result.status == 2
    assert result.error.startswith("dbgemu-trace: a chunk of the trace is damaged")
    assert result.error.count("\n") == 1
    assert not out.exists()


def test_symbols_can_be_moved(small: Traced) -> None:
    with open_trace(small.path) as trace:
        names = Names.of(trace.header, [f"{small.elf}@0x1000"])
    assert names.describe(small.program["inner"] + 0x1000) == "inner"
    with open_trace(small.path) as trace:
        names = Names.of(trace.header, [f"{small.elf}@-4096"])
    assert names.describe(small.program["inner"] - 0x1000) == "inner"


def test_a_filter_keeps_virtual_time_that_was_skipped(tmp_path: Path) -> None:
    traced = record(tmp_path / "a")
    path = tmp_path / "part.dbgtrace"
    done("filter", traced.path, "-o", path, "--from", 700)
    times = Counter((event.icount, event.time) for event in events_of(traced.path, "tb_exec"))
    assert Counter((event.icount, event.time) for event in events_of(path, "tb_exec")) <= times
