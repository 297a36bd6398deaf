"""Virtual time follows the core clock that the guest sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from snapshot_machines import machine_with

from dbgemu.machine import Machine
from dbgemu.target.mini2440 import Mini2440
from dbgemu.trace.format import Header
from dbgemu.trace.reader import open_trace
from dbgemu.trace.recorder import Recorder
from dbgemu.trace.sinks import FileSink

#: the same loop of 2000 instructions at FCLK 405 MHz, in slow mode at 12 MHz / 2, and at 405 MHz again
_LOOP = """
    mov r0, #0
    ldr r1, =0x4c000010         @ CLKSLOW
    mov r2, #0x11               @ slow, SLOW_VAL 1: Fin / 2
    mov r3, #1000
1:  subs r3, r3, #1
    bne 1b
    str r2, [r1]
    mov r3, #1000
2:  subs r3, r3, #1
    bne 2b
    mov r2, #4
    str r2, [r1]
    mov r3, #1000
3:  subs r3, r3, #1
    bne 3b
    b .
"""


def _durations(machine: Machine) -> list[int]:
    """Virtual ns of the three loops."""
    clock = machine.board.clock
    machine.run(4)
    times = []
    for _ in range(3):
        start = clock.now
        machine.run(2000)
        times.append(clock.now - start)
        machine.run(3)
    return times


def test_a_loop_takes_longer_in_slow_mode_by_the_factor_of_the_clocks() -> None:
    fast, slow, again = _durations(machine_with(_LOOP))
    assert fast == pytest.approx(2000 * 1e9 / 405e6, abs=2)
    assert slow == pytest.approx(2000 * 1e9 / 6e6, abs=2)
    assert again == pytest.approx(fast, abs=1)


def test_time_goes_on_from_where_it_is_when_the_clock_changes() -> None:
    machine = machine_with(_LOOP)
    machine.run(2004)
    before = machine.board.clock.now
    machine.run(1)
    assert 0 < machine.board.clock.now - before < 200
    assert machine.board.clock.period_ps == 166_666


def test_dynamic_voltage_scaling_runs_the_core_at_hclk() -> None:
    machine = machine_with(_LOOP)
    machine.board.bus.write(0x4C000018, 4, 1 << 12)
    assert machine.board.clock.period_ps == 10**12 // machine.board.clkpwr.hclk


def test_a_board_with_a_fixed_period_keeps_it() -> None:
    board = Mini2440(period_ps=1000)
    board.clkpwr.set_bootloader_defaults()
    assert board.clock.period_ps == 1000


def test_a_board_that_boots_from_flash_begins_with_the_crystal() -> None:
    assert Mini2440().clock.period_ps == 10**12 // 12_000_000


def test_a_saved_machine_goes_on_with_the_clock_it_had() -> None:
    machine, other = machine_with(_LOOP), machine_with(_LOOP)
    machine.run(3000)
    state = machine.save()
    other.load(state)
    assert (other.board.clock.now, other.board.clock.period_ps) == (machine.board.clock.now, 166_666)


def test_a_trace_has_exact_times_across_a_change_of_the_clock(tmp_path: Path) -> None:
    machine, path = machine_with(_LOOP), tmp_path / "loop.dbgtrace"
    clock, cpu = machine.board.clock, machine.cpu
    header = Header(spec="tb_exec", kinds=("tb_exec",), period_ps=clock.period_ps)
    sink = FileSink(path, header)
    recorder = Recorder(cpu, clock, sink)
    recorder.start(blocks=True, kinds=0)
    clock.on_change = recorder.add_time
    times = {}
    for _ in range(70):
        times[cpu.instructions] = clock.now
        machine.run(97)
    recorder.stop()
    sink.close()
    with open_trace(path) as trace:
        assert {count: trace.time_at(count) for count in times} == times
        blocks = {event.icount: event.time for event in trace.blocks_between()}
        assert all(blocks[count] == time for count, time in times.items() if count in blocks)
        assert min(base.period_ps for base in map(trace.time_base_at, times)) == 2469
        assert max(base.period_ps for base in map(trace.time_base_at, times)) == 166_666
