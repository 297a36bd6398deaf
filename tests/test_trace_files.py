"""Trace files: equal bytes for equal runs, readable up to a cut, and what is no trace is told from one."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from dbgemu.trace.format import CHUNK_HEAD_BYTES, START_BYTES
from dbgemu.trace.reader import TraceError, open_trace
from tests.traced_program import blocks_of, everything, recorder_of

ROOT = Path(__file__).resolve().parent.parent


def record(path: Path, *, cut_every: int = 200) -> None:
    guest = everything()
    recorder, sink = recorder_of(guest, path)
    recorder.start(blocks=True, kinds=63)
    for _ in range(10):
        guest.step(cut_every)
        recorder.cut()
    guest.step(77)
    recorder.stop()
    sink.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "whole.dbgtrace"
    record(path)
    return path


def test_equal_runs_give_equal_files(whole: Path, tmp_path: Path) -> None:
    record(tmp_path / "again.dbgtrace")
    assert (tmp_path / "again.dbgtrace").read_bytes() == whole.read_bytes()


def test_a_file_that_is_cut_anywhere_is_read_up_to_the_last_whole_chunk(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    path = tmp_path / "cut.dbgtrace"
    with open_trace(whole) as trace:
        assert trace.complete
        assert trace.damage is None
        chunks, header_end = trace.chunks, trace.chunks[0].offset
        expected = list(trace.blocks_between())
    for size in range(header_end, len(data), 97):
        path.write_bytes(data[:size])
        kept = [chunk for chunk in chunks if chunk.offset + chunk.size <= size]
        with open_trace(path) as trace:
            assert not trace.complete
            assert trace.damage
            assert len(trace.chunks) == len(kept)
            blocks = list(trace.blocks_between())
            assert sum(block.length for block in blocks) == sum(trace.chunks[-1:] and [trace.end_count])
            assert blocks[:-1] == expected[: max(0, len(blocks) - 1)]


def test_a_killed_recorder_leaves_a_readable_trace(tmp_path: Path) -> None:
    path = tmp_path / "killed.dbgtrace"
    script = f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from tests.traced_program import everything, recorder_of
        guest = everything()
        recorder, sink = recorder_of(guest, Path({str(path)!r}))
        recorder.start(blocks=True, kinds=0)
        print("started", flush=True)
        while True:
            guest.step(100_000)
            recorder.cut()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, env=dict(os.environ)
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        deadline = time.monotonic() + 60
        while path.stat().st_size < 20_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    with open_trace(path) as trace:
        assert not trace.complete
        assert trace.instructions == trace.end_count > 0
        assert sum(count.instructions for count in trace.profile()) == trace.end_count


def test_reading_begins_anywhere(whole: Path) -> None:
    with open_trace(whole) as trace:
        expected = list(trace.blocks_between())
        for start in (0, 1, 199, 200, 201, 1000, 1999, 5000):
            end = start + 150
            part = [block for block in expected if start <= block.icount < end]
            assert list(trace.blocks_between(start, end)) == part
            assert sum(len(run) for run in trace.runs(start, end)) == len(part)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is no trace: it does not begin as one"),
        (b"\x7fELF" + bytes(100), "it is no trace: it does not begin as one"),
        (b"dbgtrace2\n\x1a\n\0\0\0", "the trace ends within its header"),
        (b"dbgtrace2\n\x1a\n\0\0\0" + struct.pack("<II", 1 << 30, 0), "the header of the trace is damaged"),
        (b"dbgtrace2\n\x1a\n\0\0\0" + struct.pack("<II", 100, 0) + b"{}", "the trace ends within its header"),
    ],
)
def test_what_is_no_trace_is_refused_in_a_sentence(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(TraceError) as error:
        open_trace(path)
    assert str(error.value) == f"'{path}' cannot be read: {message}"


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(TraceError, match="'/nowhere/x' cannot be read: No such file or directory"):
        open_trace("/nowhere/x")


def _read_all(path: Path) -> None:
    with open_trace(path) as trace:
        list(trace.events())
        trace.profile()
        trace.edges()


def test_damage_is_found_and_never_anything_but_a_trace_error(whole: Path, tmp_path: Path) -> None:
    chance = random.Random(5)
    data, path = whole.read_bytes(), tmp_path / "damaged.dbgtrace"
    found = 0
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 1, 4))):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            _read_all(path)
        except TraceError:
            found += 1
            continue
        with open_trace(path) as trace:  # the head of a chunk: what was before it is there
            found += trace.damage is not None
    assert found == 400


def test_streams_that_lie_are_refused(whole: Path, tmp_path: Path) -> None:
    """Checksums that match do not make a stream a good one: nothing is read or written out of place."""
    from dbgemu.trace.format import decode_head, encode_chunk

    chance = random.Random(7)
    data, path = whole.read_bytes(), tmp_path / "lies.dbgtrace"
    with open_trace(whole) as trace:
        first = trace.chunks[0]
    head, _ = decode_head(data[first.offset : first.offset + CHUNK_HEAD_BYTES])
    assert first.offset > START_BYTES
    outcomes = set()
    for _ in range(300):
        stream = chance.randbytes(chance.randrange(200))
        events = chance.randbytes(24 * chance.randrange(5))
        lying = head._replace(
            blocks=chance.choice((0, 1, head.blocks, 5000)),
            tail_hits=chance.choice((0, 1, 1 << 63)),
            current=chance.getrandbits(64),
            start=chance.choice((0, head.start, -(1 << 62), 1 << 62)),
        )
        path.write_bytes(data[: first.offset] + encode_chunk(lying, stream, events, b"text\0"))
        try:
            _read_all(path)
            outcomes.add("read")
        except TraceError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_hot_loops_take_next_to_nothing(tmp_path: Path) -> None:
    guest = everything()
    guest.start("ldr r0, =1000000; 1: subs r0, r0, #1; bne 1b")
    recorder, sink = recorder_of(guest, tmp_path / "loop.dbgtrace")
    recorder.start(blocks=True, kinds=0)
    guest.step(2_000_000)
    recorder.stop()
    sink.close()
    with open_trace(tmp_path / "loop.dbgtrace") as trace:
        assert trace.blocks == 1_000_000
        assert trace.instructions == 2_000_000
    assert (tmp_path / "loop.dbgtrace").stat().st_size < 1000
    assert len(blocks_of(tmp_path / "loop.dbgtrace")) == 1_000_000
