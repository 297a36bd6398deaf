"""Tracepoints below GDB: what is recorded, when, and when an experiment ends."""

import struct

import pytest
from support import RAM_BASE, START, UNMAPPED

from dbgemu.debug.agent import parse
from dbgemu.debug.events import FrontEnd, StopKind
from dbgemu.debug.session import DebugSession
from dbgemu.debug.tracepoints.buffer import TraceBuffer
from dbgemu.debug.tracepoints.definitions import (
    CollectMemory,
    CollectRegisters,
    EndReason,
    Evaluate,
    TraceError,
    Tracepoint,
)
from dbgemu.debug.tracepoints.experiment import TIMESTAMP, Experiment

pytest_plugins = ["gdb_fixtures"]

#: agent expressions
REG_0, CONST_8, END = "260000", "22", "27"


@pytest.fixture
def trace(session: DebugSession) -> Experiment:
    return session.trace


def expression(code: str):
    return parse(bytes.fromhex(code))


def point(number: int = 1, address: int = START + 8, *actions, **options) -> Tracepoint:
    names = {n: f"r{n}" for n in range(16)}
    return Tracepoint(number, address, registers=names, actions=list(actions), **options)


def run_to(session: DebugSession, address: int, times: int = 1) -> None:
    """Run until ``address`` has been reached so often."""
    breakpoint_ = session.add_breakpoint(None, address)
    for _ in range(times):
        session.resume()
        event = session.wait(5)
        assert event is not None and event.kind is StopKind.BREAKPOINT
    session.remove_breakpoint(breakpoint_)


LAST = START + 60


# -- the buffer --------------------------------------------------------------------------------------


def test_a_frame_in_the_buffer_has_the_layout_of_trace_files() -> None:
    buffer = TraceBuffer()
    assert buffer.append(3, 0x1000, b"V" + struct.pack("<iq", 7, -2))
    assert buffer.read(0, 100) == struct.pack("<HIciq", 3, 13, b"V", 7, -2)
    assert buffer.read(2, 4) == struct.pack("<I", 13)
    assert buffer.read(19, 10) == b""
    frame = buffer.frame(0)
    assert (frame.number, frame.address, frame.blocks.variables) == (3, 0x1000, {7: -2})
    assert buffer.frame(1) is None and buffer.frame(-1) is None


def test_a_full_buffer_takes_no_more_frames() -> None:
    buffer = TraceBuffer(64)
    assert [buffer.append(1, 0, bytes(10)) for _ in range(5)] == [True] * 4 + [False]
    assert (len(buffer), buffer.created, buffer.used, buffer.free) == (4, 4, 64, 0)


def test_a_circular_buffer_gives_up_its_oldest_frames() -> None:
    buffer = TraceBuffer(64)
    buffer.circular = True
    for number in range(1, 100):
        assert buffer.append(number, 4 * number, bytes([number] * 10))
        assert buffer.used == 16 * len(buffer) <= 64
    assert [frame.number for frame in buffer] == [96, 97, 98, 99]
    assert [frame.data[0] for frame in buffer] == [96, 97, 98, 99]
    assert buffer.read(0, 6) == struct.pack("<HI", 96, 10)
    assert buffer.created == 99
    assert buffer.find(0, lambda number, address: address > 4 * 96).index == 1
    assert not buffer.append(1, 0, bytes(100))


# -- collecting --------------------------------------------------------------------------------------


def test_a_hit_records_registers_and_memory_and_runs_on(machine, session, trace) -> None:
    machine.cpu.write_register("r3", 0x1234)
    machine.cpu.write_register("r4", RAM_BASE + 0x100)
    machine.ram.data[0x100:0x108] = b"abcdefgh"
    trace.define(
        point(
            1,
            START + 8,
            CollectRegisters(),
            CollectMemory("r4", -4 & 0xFFFFFFFF, 8),
            CollectMemory(None, RAM_BASE + 0x104, 2),
        )
    )
    trace.start(None)
    run_to(session, LAST)
    assert len(trace.buffer) == 1
    frame = trace.buffer.frame(0)
    assert (frame.number, frame.address) == (1, START + 8)
    registers = struct.unpack("<17I", frame.blocks.registers)
    assert (registers[3], registers[15]) == (0x1234, START + 8)
    assert frame.blocks.memory == ((RAM_BASE + 0xFC, bytes(4) + b"abcd"), (RAM_BASE + 0x104, b"ef"))
    assert frame.read_memory(RAM_BASE + 0x100, 16) == b"abcdef"
    assert frame.read_memory(RAM_BASE, 4) == b""
    assert frame.next_memory(RAM_BASE, RAM_BASE + 0x200) == RAM_BASE + 0xFC


def test_every_passing_is_a_frame_and_none_is_counted_twice(session, trace) -> None:
    trace.define(point(1, START + 8))
    trace.define(point(2, START + 12))
    trace.start(None)
    run_to(session, LAST, 3)
    assert [frame.number for frame in trace.buffer] == [1, 2] * 3
    assert trace.find(1, START + 8).hits == 3
    assert trace.find(1, START + 8).usage == 0


def test_single_steps_record_as_a_run_does(session, trace) -> None:
    trace.define(point(1, START + 8))
    trace.start(None)
    for _ in range(4):
        session.step()
    run_to(session, START + 8)
    session.step()
    assert [frame.address for frame in trace.buffer] == [START + 8] * 2


def test_a_breakpoint_at_a_traced_address_stops_and_outlives_the_experiment(machine, session, trace) -> None:
    session.add_breakpoint(None, START + 8)
    trace.define(point(1, START + 8))
    trace.start(None)
    session.resume()
    assert session.wait(5).kind is StopKind.BREAKPOINT
    assert len(trace.buffer) == 1
    trace.stop()
    assert START + 8 in machine.cpu.breakpoints
    session.resume()
    assert session.wait(5).kind is StopKind.BREAKPOINT
    assert len(trace.buffer) == 1


def test_the_end_of_an_experiment_leaves_no_breakpoint_behind(machine, session, trace) -> None:
    trace.define(point(1, START + 8))
    trace.define(point(2, START + 8))
    trace.start(None)
    assert machine.cpu.breakpoints == {START + 8}
    trace.clear()
    assert machine.cpu.breakpoints == set()
    assert trace.end.reason is EndReason.NOT_RUN


def test_memory_that_is_not_there_is_left_out(session, trace) -> None:
    end = RAM_BASE + (1 << 20)
    trace.define(
        point(
            1,
            START + 8,
            CollectMemory(None, UNMAPPED, 4),
            CollectMemory(None, end - 4, 8),
            CollectRegisters(),
        )
    )
    trace.start(None)
    run_to(session, LAST)
    blocks = trace.buffer.frame(0).blocks
    assert blocks.memory == ((end - 4, bytes(4)),)
    assert blocks.registers is not None


def test_a_long_block_is_cut_into_pieces_of_64_kib(session, trace) -> None:
    trace.define(point(1, START + 8, CollectMemory(None, RAM_BASE, 0x18000)))
    trace.start(None)
    run_to(session, LAST)
    frame = trace.buffer.frame(0)
    assert [len(data) for _, data in frame.blocks.memory] == [0xFFFF, 0x8001]
    assert len(frame.read_memory(RAM_BASE, 0x20000)) == 0x18000


def test_an_expression_records_memory_and_variables(machine, session, trace) -> None:
    trace.define_variable(5, -3, "count")
    # $count = $count + 1; tracev; trace 4 bytes from r4
    code = "2c0005" + "2201" + "02" + "2d0005" + "29" + "2e0005" + "260004" + "2204" + "0c" + END
    machine.cpu.write_register("r4", RAM_BASE + 0x200)
    trace.define(point(1, START + 8, Evaluate(expression(code))))
    trace.start(None)
    run_to(session, LAST, 2)
    assert [frame.blocks.variables for frame in trace.buffer] == [{5: -2}, {5: -1}]
    assert trace.buffer.frame(0).blocks.memory == ((RAM_BASE + 0x200, bytes(4)),)
    assert trace.variables[5].get() == -1


def test_a_condition_decides_whether_a_hit_counts(machine, session, trace) -> None:
    trace.define(point(1, START + 8, condition=expression(REG_0 + "2202" + "13" + END)))

    def count() -> None:
        machine.cpu.registers["r0"] += 1

    machine.cpu.program[START] = count
    trace.start(None)
    run_to(session, LAST, 2)
    assert trace.find(1, START + 8).hits == len(trace.buffer) == 1


def test_a_disabled_tracepoint_records_nothing_until_it_is_enabled(session, trace) -> None:
    tracepoint = point(1, START + 8, enabled=False)
    trace.define(tracepoint)
    trace.start(None)
    run_to(session, LAST)
    assert len(trace.buffer) == 0
    tracepoint.enabled = True
    run_to(session, LAST)
    assert len(trace.buffer) == 1


def test_while_stepping_records_each_of_the_next_instructions(session, trace) -> None:
    tracepoint = point(1, START + 8, step_count=3)
    tracepoint.step_actions.append(CollectRegisters())
    trace.define(tracepoint)
    trace.define(point(2, START + 12))
    trace.start(None)
    run_to(session, LAST)
    found = [(frame.number, frame.address - START) for frame in trace.buffer]
    assert found == [(1, 8), (1, 12), (2, 12), (1, 16), (1, 20)]
    assert trace.buffer.frame(1).blocks.registers is not None
    assert not trace.stepping


def test_a_breakpoint_amid_while_stepping_stops_and_the_steps_go_on(session, trace) -> None:
    trace.define(point(1, START + 8, step_count=3))
    trace.start(None)
    run_to(session, START + 16)
    assert len(trace.buffer) == 3
    run_to(session, LAST)
    assert [frame.address - START for frame in trace.buffer] == [8, 12, 16, 20]


# -- the end of an experiment ------------------------------------------------------------------------


def test_a_pass_count_ends_the_experiment_but_not_the_run(session, trace) -> None:
    trace.define(point(4, START + 8, pass_count=2))
    trace.start(None)
    run_to(session, LAST, 5)
    assert not trace.running
    assert (trace.end.reason, trace.end.tracepoint) == (EndReason.PASS_COUNT, 4)
    assert len(trace.buffer) == 2


def test_the_steps_of_the_last_hit_come_before_the_end(session, trace) -> None:
    trace.define(point(4, START + 8, pass_count=1, step_count=2))
    trace.start(None)
    run_to(session, LAST, 2)
    assert trace.end.reason is EndReason.PASS_COUNT
    assert len(trace.buffer) == 3


def test_a_full_buffer_ends_the_experiment(session, trace) -> None:
    trace.resize(200)
    trace.define(point(1, START + 8, CollectRegisters()))
    trace.start(None)
    run_to(session, LAST, 5)
    assert (trace.end.reason, len(trace.buffer)) == (EndReason.FULL, 2)


def test_a_circular_buffer_never_ends_it(session, trace) -> None:
    trace.resize(200)
    trace.buffer.circular = True
    trace.define(point(1, START + 8, CollectRegisters()))
    trace.start(None)
    run_to(session, LAST, 5)
    assert trace.running
    assert (len(trace.buffer), trace.buffer.created) == (2, 5)


@pytest.mark.parametrize("where", ["condition", "action"])
def test_an_expression_that_fails_ends_the_experiment_and_says_why(session, trace, where) -> None:
    bad = expression("2201" + "2200" + "05" + END)  # 1 / 0
    tracepoint = point(9, START + 8, CollectRegisters())
    if where == "condition":
        tracepoint.condition = bad
    else:
        tracepoint.actions.append(Evaluate(bad))
    trace.define(tracepoint)
    trace.start(None)
    run_to(session, LAST, 2)
    assert (trace.end.reason, trace.end.tracepoint) == (EndReason.ERROR, 9)
    assert trace.end.text == "the expression divides by zero"
    # What was collected before the failure is kept.
    assert len(trace.buffer) == (0 if where == "condition" else 1)


def test_an_experiment_ends_when_its_owner_leaves_unless_it_is_to_go_on(session, trace) -> None:
    owner, other = FrontEnd(), FrontEnd()
    session.attach(owner)
    session.attach(other)
    trace.start(owner)
    session.detach(other)
    assert trace.running
    trace.disconnected = True
    session.detach(owner)
    assert trace.running
    trace.disconnected = False
    session.attach(owner)
    session.detach(owner)
    assert trace.end.reason is EndReason.DISCONNECTED


def test_a_start_counts_from_nothing(session, trace) -> None:
    trace.define(point(1, START + 8))
    trace.start(None)
    run_to(session, LAST)
    trace.stop_notes = "enough"
    trace.stop()
    assert (trace.end.reason, trace.end.text) == (EndReason.STOPPED, "enough")
    assert trace.stop_time >= trace.start_time > 0
    trace.start(None)
    assert (len(trace.buffer), trace.find(1, START + 8).hits, trace.stop_time) == (0, 0, 0)


# -- definitions -------------------------------------------------------------------------------------


def test_wrong_definitions_are_refused_with_a_sentence(trace) -> None:
    for number in (0, 0x8000):
        with pytest.raises(TraceError, match=f"a tracepoint cannot have number {number}: 1 to 32767 can"):
            trace.define(point(number))
    with pytest.raises(TraceError, match="there is no tracepoint 1 at 0x00000010"):
        trace.find(1, 0x10)
    with pytest.raises(TraceError, match="a trace buffer cannot have 0 bytes"):
        trace.resize(0)
    with pytest.raises(TraceError, match="variable number 1 is the built-in trace_timestamp"):
        trace.define_variable(TIMESTAMP, 0, "mine")
    trace.start(None)
    with pytest.raises(TraceError, match="cannot be changed while an experiment runs"):
        trace.resize(1000)


def test_a_tracepoint_defined_again_replaces_the_first(machine, trace) -> None:
    trace.define(point(1, START + 8))
    trace.start(None)
    again = point(1, START + 8, CollectRegisters())
    trace.define(again)
    assert machine.cpu.breakpoints == set()
    trace.install(again)
    trace.install(again)
    assert machine.cpu.breakpoints == {START + 8}
    assert list(trace.tracepoints.values()) == [again]
    trace.stop()
    assert machine.cpu.breakpoints == set()
