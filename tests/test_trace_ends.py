"""However the emulator is told to end, a trace file is ended properly: up to the last instruction."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import until

from dbgemu.engine.native import load_interpreter
from dbgemu.target.arm.assembler import assemble
from dbgemu.trace.format import CHUNK_INSTRUCTIONS
from dbgemu.trace.reader import TraceError, open_trace

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120
#: never waits: a chunk ends each time that so many instructions were executed
BUSY = """
    ldr r1, =0x30100000
loop:
    ldr r0, [r1]
    add r0, r0, #1
    str r0, [r1]
    b loop
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "busy.bin"
    path.write_bytes(assemble(BUSY, 0x30008000))
    return path


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    load_interpreter()
    with ExitStack() as processes:

        def start(*words: str | Path, **options: object) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, **options)  # type: ignore[call-overload]
            processes.callback(process.wait)
            processes.callback(process.kill)
            return process

        yield start


def has_chunks(path: Path) -> Callable[[], bool]:
    def look() -> bool:
        try:
            with open_trace(path) as trace:
                return len(trace.chunks) > 1
        except TraceError:  # nothing of it is there yet
            return False

    return look


def check(path: Path) -> None:
    with open_trace(path) as trace:
        assert trace.complete
        assert trace.damage is None
        assert trace.instructions == trace.end_count > CHUNK_INSTRUCTIONS
        last = trace.chunks[-1]
        assert last.end_count == trace.end_count
        assert last.end_count - last.first_count < CHUNK_INSTRUCTIONS, "one that was not full"


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGHUP, -signal.SIGHUP),
        (signal.SIGINT, 130),
    ],
)
def test_a_signal_ends_a_trace_properly(
    run: Callable[..., subprocess.Popen[bytes]],
    kernel: Path,
    tmp_path: Path,
    number: signal.Signals,
    status: int,
) -> None:
    path = tmp_path / "busy.dbgtrace"
    process = run(
        *("-m", "dbgemu", "-kernel", kernel, "-serial", "null", "-monitor", "none"),
        *("-trace", f"tb,file={path}"),
    )
    until(has_chunks(path), PATIENCE)
    process.send_signal(number)
    assert process.wait(PATIENCE) == status
    check(path)


def test_several_signals_at_once_end_it_no_worse(
    run: Callable[..., subprocess.Popen[bytes]], kernel: Path, tmp_path: Path
) -> None:
    path = tmp_path / "busy.dbgtrace"
    process = run(
        *("-m", "dbgemu", "-kernel", kernel, "-serial", "null", "-monitor", "none"),
        *("-trace", f"tb,file={path}"),
    )
    until(has_chunks(path), PATIENCE)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    assert process.wait(PATIENCE) in (-signal.SIGHUP, -signal.SIGTERM)
    check(path)


def test_ctrl_a_x_ends_a_trace_properly(
    run: Callable[..., subprocess.Popen[bytes]], kernel: Path, tmp_path: Path
) -> None:
    path = tmp_path / "busy.dbgtrace"
    ours, theirs = pty.openpty()
    process = run(
        *("-m", "dbgemu", "-kernel", kernel, "-nographic", "-trace", f"tb,file={path}"),
        stdin=theirs,
        stdout=theirs,
    )
    try:
        until(has_chunks(path), PATIENCE)
        os.write(ours, b"\x01x")
        assert process.wait(PATIENCE) == 0
    finally:
        os.close(ours)
        os.close(theirs)
    check(path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_script_that_is_ended_has_its_trace(
    run: Callable[..., subprocess.Popen[bytes]], kernel: Path, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "busy.dbgtrace"
    script = f"""
        import dbgemu
        board = dbgemu.Board(kernel={str(kernel)!r})
        board.trace("tb", {str(path)!r})
        print("started", flush=True)
        board.run_until(0, within=None)
    """
    process = run("-c", textwrap.dedent(script), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == b"started\n"
    until(has_chunks(path), PATIENCE)
    process.send_signal(number)
    assert process.wait(PATIENCE) == (143 if number is signal.SIGTERM else -signal.SIGINT)
    check(path)


def test_a_trace_of_a_killed_emulator_is_read_up_to_its_last_whole_chunk(
    run: Callable[..., subprocess.Popen[bytes]], kernel: Path, tmp_path: Path
) -> None:
    path = tmp_path / "busy.dbgtrace"
    process = run(
        *("-m", "dbgemu", "-kernel", kernel, "-serial", "null", "-monitor", "none"),
        *("-trace", f"tb,file={path}"),
    )
    until(has_chunks(path), PATIENCE)
    process.kill()
    process.wait()
    with open_trace(path) as trace:
        assert not trace.complete
        assert trace.instructions == trace.end_count >= 2 * CHUNK_INSTRUCTIONS
        assert sum(count.instructions for count in trace.profile()) == trace.end_count
