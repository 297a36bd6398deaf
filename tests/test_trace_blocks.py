"""Executed blocks: what a trace says is what was executed, to the instruction."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbgemu.target.arm.state import TRACE_EXCEPTIONS, TRACE_FAULTS, TRACE_INTERRUPTS, StopCode
from dbgemu.trace.events import ExceptionTaken, Mmu
from dbgemu.trace.reader import open_trace
from tests.arm_programs import CODE
from tests.traced_program import Block, blocks_by_hand, blocks_of, everything, recorder_of


@pytest.fixture(scope="module")
def expected() -> list[Block]:
    return blocks_by_hand(everything())


def test_the_program_leaves_nothing_out(expected: list[Block]) -> None:
    starts = {pc for pc, *_ in expected}
    assert {0x04, 0x08, 0x0C, 0x10, 0x18} <= starts, "each exception was taken"
    assert {thumb for _, _, thumb, _ in expected} == {True, False}
    assert {user for *_, user in expected} == {True, False}
    assert max(length for _, length, *_ in expected) > 5


def test_a_trace_has_the_blocks_that_single_steps_show(expected: list[Block], tmp_path: Path) -> None:
    guest = everything()
    recorder, sink = recorder_of(guest, tmp_path / "a.dbgtrace")
    recorder.start(blocks=True, kinds=0)
    while guest["pc"] != guest.done:
        guest.step(100)  # slices end anywhere, within blocks too
    recorder.stop()
    sink.close()
    done = blocks_of(tmp_path / "a.dbgtrace")
    # the last slice goes on at ``done: b done``, a block of one instruction for each turn
    assert done[: len(expected)] == expected
    assert set(done[len(expected) :]) <= {(guest.done, 1, False, False), (guest.done, 1, False, True)}


def test_blocks_and_instructions_add_up_to_what_the_cpu_counted(tmp_path: Path) -> None:
    guest = everything()
    recorder, sink = recorder_of(guest, tmp_path / "a.dbgtrace")
    guest.step(37)
    started = guest.cpu.instructions
    recorder.start(blocks=True, kinds=0)
    guest.step(5000)
    recorder.stop()
    sink.close()
    with open_trace(tmp_path / "a.dbgtrace") as trace:
        blocks = list(trace.blocks_between())
        assert trace.blocks == len(blocks) == sum(count.executions for count in trace.profile())
        assert trace.instructions == sum(block.length for block in blocks) == 5000
        assert (trace.first_count, trace.end_count) == (started, started + 5000)
        counts = [started]
        for block in blocks:
            assert block.icount == counts[-1]
            counts.append(block.icount + block.length)
        assert sum(edge.executions for edge in trace.edges()) == len(blocks) - 1


def test_stops_by_debuggers_leave_no_mark_in_the_blocks(expected: list[Block], tmp_path: Path) -> None:
    guest = everything()
    recorder, sink = recorder_of(guest, tmp_path / "a.dbgtrace")
    recorder.start(blocks=True, kinds=0)
    for address in range(CODE, CODE + 0x60, 8):
        guest.cpu.add_breakpoint(address)
    guest.cpu.add_watchpoint(0x50000000, 8, read=True, write=True)
    stops = set()
    while guest["pc"] != guest.done:
        stops.add(guest.step(1000) if guest["pc"] % 3 else guest.step(1))
    guest.cpu.remove_watchpoint(0x50000000, 8, read=True, write=True)
    recorder.stop()
    sink.close()
    assert {StopCode.BREAKPOINT, StopCode.WATCHPOINT} <= stops
    assert blocks_of(tmp_path / "a.dbgtrace")[: len(expected)] == expected


def test_a_debugger_that_moves_the_pc_begins_a_block_there(tmp_path: Path) -> None:
    guest = everything()
    recorder, sink = recorder_of(guest, tmp_path / "a.dbgtrace")
    guest.load("1: add r0, r0, #1; add r0, r0, #1; add r0, r0, #1; b 1b", CODE + 0x4000)
    recorder.start(blocks=True, kinds=0)
    guest["pc"] = CODE + 0x4000
    guest.step(6)
    guest["pc"] = CODE + 0x4000  # from within a block
    guest.step(1)
    guest["pc"] = CODE + 0x400C  # a block that began, and executed nothing there
    guest.step(0)
    guest["pc"] = CODE + 0x4008
    guest.step(3)
    recorder.stop()
    sink.close()
    assert [block[:2] for block in blocks_of(tmp_path / "a.dbgtrace")] == [
        (CODE + 0x4000, 4),
        (CODE + 0x4000, 2),
        (CODE + 0x4000, 1),
        (CODE + 0x4008, 2),
        (CODE + 0x4000, 1),
    ]


def test_chunks_that_are_cut_anywhere_give_the_same_blocks(expected: list[Block], tmp_path: Path) -> None:
    guest = everything()
    recorder, sink = recorder_of(guest, tmp_path / "a.dbgtrace")
    recorder.start(blocks=True, kinds=0)
    while guest["pc"] != guest.done:
        guest.step(53)
        recorder.cut()
    recorder.stop()
    sink.close()
    with open_trace(tmp_path / "a.dbgtrace") as trace:
        assert len(trace.chunks) > 10
        assert trace.complete
    assert blocks_of(tmp_path / "a.dbgtrace")[: len(expected)] == expected


def test_the_digest_of_a_run_does_not_depend_on_tracing(tmp_path: Path) -> None:
    plain, traced = everything(), everything()
    recorder, sink = recorder_of(traced, tmp_path / "a.dbgtrace")
    recorder.start(blocks=True, kinds=63)
    plain.step(4000)
    traced.step(4000)
    recorder.stop()
    sink.close()
    assert traced.cpu.save() == plain.cpu.save()


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        ({"ranges": [(CODE, CODE + 0x3F)]}, lambda pc, length, thumb, user: pc < CODE + 0x40 and pc >= CODE),
        ({"privileges": 2}, lambda pc, length, thumb, user: user),
        ({"privileges": 1}, lambda pc, length, thumb, user: not user),
        ({"table_base": 0x30004000}, lambda pc, length, thumb, user: False),
        ({"table_base": 0}, lambda pc, length, thumb, user: True),
    ],
)
def test_a_selection_has_the_blocks_that_are_selected_and_no_others(
    expected: list[Block], selection: dict[str, object], wanted: object, tmp_path: Path
) -> None:
    guest = everything()
    recorder, sink = recorder_of(guest, tmp_path / "a.dbgtrace")
    recorder.select(**selection)  # type: ignore[arg-type]
    recorder.start(blocks=True, kinds=0)
    last = sum(length for _, length, *_ in expected)
    guest.step(last)
    recorder.stop()
    sink.close()
    assert guest["pc"] == guest.done
    chosen = [block for block in expected if wanted(*block)]  # type: ignore[operator]
    with open_trace(tmp_path / "a.dbgtrace") as trace:
        recorded = list(trace.blocks_between())
        assert [(block.pc, block.length, block.thumb, block.user) for block in recorded] == chosen
        assert trace.blocks == len(chosen)
        assert trace.instructions == sum(length for _, length, *_ in chosen)
    places = {}
    count = 0
    for block in expected:
        places[count] = block
        count += block[1]
    assert all(places[block.icount][0] == block.pc for block in recorded), "counts hold across gaps"


def test_a_limit_of_events_is_kept_exactly(expected: list[Block], tmp_path: Path) -> None:
    guest = everything()
    recorder, sink = recorder_of(guest, tmp_path / "a.dbgtrace")
    recorder.select(most=100)
    recorder.start(blocks=True, kinds=0)
    guest.step(100_000)
    assert recorder.exhausted
    recorder.stop()
    sink.close()
    assert blocks_of(tmp_path / "a.dbgtrace") == expected[:100]


def test_each_exception_is_recorded_in_front_of_its_handler(expected: list[Block], tmp_path: Path) -> None:
    guest = everything()
    recorder, sink = recorder_of(guest, tmp_path / "a.dbgtrace", kinds=("tb_exec", "exception", "mmu", "irq"))
    recorder.start(blocks=True, kinds=TRACE_EXCEPTIONS | TRACE_FAULTS)
    guest.step(sum(length for _, length, *_ in expected))
    recorder.stop()
    sink.close()
    names = {4: "undefined", 8: "swi", 0xC: "prefetch_abort", 0x10: "data_abort", 0x18: "irq"}
    entered = []
    count = 0
    for pc, length, *_ in expected:
        if pc in names:
            entered.append((count, names[pc]))
        count += length
    with open_trace(tmp_path / "a.dbgtrace") as trace:
        exceptions = [event for event in trace.events(("exception",)) if isinstance(event, ExceptionTaken)]
        assert [(event.icount, event.vector) for event in exceptions] == entered
        faults = [event for event in trace.events(("mmu",)) if isinstance(event, Mmu)]
        both = [event for event in exceptions if event.vector.endswith("abort")]
        assert [(event.icount, event.pc) for event in faults] == [(event.icount, event.pc) for event in both]
        assert {(event.what, event.address, event.status) for event in faults} == {
            ("data_fault", 2, 1),
            ("prefetch_fault", 0x60000000, 8),
        }
        executed = {(block.icount + block.length): block for block in trace.blocks_between()}
        for event in exceptions:
            if event.vector != "irq":
                last = executed[event.icount]
                assert event.pc == last.end - (2 if last.thumb else 4), "the pc is that of the cause"
        everything_ = list(trace.events(("tb_exec", "exception")))
    for place, event in enumerate(everything_):
        if isinstance(event, ExceptionTaken):
            following = everything_[place + 1]
            assert (following.icount, following.pc) == (event.icount, event.target)


def test_only_interrupts_are_recorded_where_only_they_are_wanted(tmp_path: Path) -> None:
    guest = everything()
    recorder, sink = recorder_of(guest, tmp_path / "a.dbgtrace", kinds=("exception",))
    recorder.start(blocks=False, kinds=TRACE_INTERRUPTS)
    guest.step(3000)
    recorder.stop()
    sink.close()
    with open_trace(tmp_path / "a.dbgtrace") as trace:
        assert {event.vector for event in trace.events() if isinstance(event, ExceptionTaken)} == {"irq"}
        assert trace.blocks == 0
