"""The monitor's commands for traces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from monitored_program import Monitored, monitored_program

from dbgemu.execution_log import ExecutionLog
from dbgemu.trace.reader import open_trace

PROGRAM = """
loop:
    add r0, r0, #1
    bl leaf
    b loop
leaf:
    mov pc, lr
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitored]:
    monkeypatch.chdir(tmp_path)
    with monitored_program(PROGRAM) as program:
        yield program


def test_a_trace_is_started_looked_at_and_stopped(program: Monitored) -> None:
    assert program("trace status") == "no trace has been started"
    assert program.data("trace start tb;file=a.dbgtrace")["state"] == "running"
    program(f"break {program['leaf']:#x}")
    for _ in range(3):
        program.data("continue")
    status = program.data("trace stop")
    assert (status["state"], status["path"], status["blocks"]) == ("stopped", "a.dbgtrace", 7)
    loop, leaf = program["loop"], program["leaf"]
    with open_trace("a.dbgtrace") as trace:
        assert [block.pc for block in trace.blocks_between()] == [loop, *(leaf, loop + 8, loop) * 2]


def test_wrong_words_are_refused_in_a_sentence(program: Monitored) -> None:
    assert program.error("trace stop") == "no trace is running"
    assert program.error("trace start mmoi") == "there is no event 'mmoi': is it 'mmio'?"
    assert program.error("trace filter user") == "no trace is running: start one first"
    assert program.error("trace save x") == "there is no trace in memory: start one with 'ring='"
    assert program.error("trace-event tb_exec maybe") == "'maybe' is neither on nor off"


def test_events_are_switched_as_in_qemu(program: Monitored) -> None:
    assert program("trace-event mmio* on").startswith("running: mmio_read,mmio_write (to 'trace.dbgtrace')")
    assert "mmio_read : on" in program("info trace-events").splitlines()
    assert program("trace-event mmio_read off").startswith("running: mmio_write (to 'trace-2.dbgtrace')")
    assert program("trace-event mmio_write off").startswith("stopped")
    assert " : on" not in program("info trace-events")


def test_a_ring_is_saved(program: Monitored) -> None:
    program("trace start tb;ring=100")
    program("stepi 50")
    assert program("trace save ring.dbgtrace") == "saved to 'ring.dbgtrace'"
    with open_trace("ring.dbgtrace") as trace:
        assert trace.end_count == 50


def test_traces_and_the_log_of_execution_do_not_disturb_each_other(program: Monitored) -> None:
    machine = program.debugged.session.machine
    program("trace start tb;file=a.dbgtrace")
    lines: list[str] = []
    log = ExecutionLog(machine, ["exec"], lines.append)
    program("stepi 4")
    program("trace stop")
    program("trace start tb;file=b.dbgtrace")
    program("stepi 4")
    log.close()
    program("stepi 4")
    program("trace stop")
    assert len(lines) == 8
    with open_trace("b.dbgtrace") as trace:
        assert trace.instructions == 8
    assert machine.execute == machine.execute_freely
