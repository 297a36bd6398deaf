"""Traces of a whole machine: events of every kind, triggers, filters, rings, the commands' functions."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from dbgemu.debug.session import DebugSession
from dbgemu.machine import Machine
from dbgemu.trace.control import control_of
from dbgemu.trace.events import (
    Event,
    ExceptionTaken,
    Gpio,
    Irq,
    Log,
    MmioRead,
    MmioWrite,
    Serial,
    TbCompile,
    TbExec,
    TbInvalidate,
    TbTranslate,
    name_of,
)
from dbgemu.trace.format import TraceError
from dbgemu.trace.reader import open_trace
from dbgemu.trace.tracer import Tracer
from tests.test_machine import START, machine_with

PROGRAM = """
    ldr r4, =0x56000010         @ GPBCON
    ldr r0, =0x00000400         @ GPB5 is an output
    str r0, [r4]
    mov r0, #0x20
    str r0, [r4, #4]
    ldr r0, [r4, #4]
    ldr r5, =0x50000000         @ UART 0
    mov r0, #3
    str r0, [r5]
    mov r0, #5
    str r0, [r5, #4]
    mov r0, #'A'
    strb r0, [r5, #0x20]
    ldr r5, =0x48000100         @ nothing is there
    str r0, [r5]
    ldr r4, =0x51000000         @ timer 4
    mov r0, #2
    str r0, [r4, #0x3c]
    ldr r0, =0x00200000
    str r0, [r4, #8]
    ldr r0, =0x00500000
    str r0, [r4, #8]
    ldr r5, =0x4a000000
    ldr r0, =~(1 << 14)
    str r0, [r5, #8]
    mrs r0, cpsr
    bic r0, r0, #0x80
    msr cpsr_c, r0
    mov r6, #0
loop:
    add r6, r6, #1
    bl leaf
    cmp r6, #400
    bne loop
stop: b stop
leaf:
    add r7, r7, #1
    mov pc, lr
"""


def traced(spec: str, path: Path, instructions: int = 3000) -> tuple[Machine, list[Event]]:
    machine = machine_with(PROGRAM, warp=True)
    tracer = Tracer(machine)
    tracer.start(spec, path)
    machine.run(instructions)
    tracer.stop()
    with open_trace(path) as trace:
        assert trace.complete
        return machine, list(trace.events())


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    return traced("all", tmp_path_factory.mktemp("trace") / "all.dbgtrace")[1]


def of(events: list[Event], kind: type) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


def test_events_are_in_order_of_count_and_time(everything: list[Event]) -> None:
    assert all(one.icount <= other.icount and one.time <= other.time for one, other in pairwise(everything))


def test_device_accesses_have_names_values_and_the_pc(everything: list[Event]) -> None:
    writes = [
        (event.pc, f"{event.device}.{event.register}", event.size, event.value)
        for event in everything
        if isinstance(event, MmioWrite)
    ]
    assert writes[:2] == [(START + 8, "gpio.GPBCON", 4, 0x400), (START + 16, "gpio.GPBDAT", 4, 0x20)]
    assert (START + 48, "uart0.UTXH", 1, 0x41) in writes
    first = of(everything, MmioRead)[0]
    assert isinstance(first, MmioRead)
    assert (first.pc, first.device, first.register, first.value & 0x20) == (
        START + 20,
        "gpio",
        "GPBDAT",
        0x20,
    )
    assert first.icount == 5


def test_what_a_write_brings_about_comes_behind_it(everything: list[Event]) -> None:
    names = [name_of(event) for event in everything]
    sent = next(place for place, event in enumerate(everything) if isinstance(event, Serial))
    assert everything[sent][3:] == (0, "tx", 0x41)
    write = max(place for place in range(sent) if names[place] == "mmio_write")
    assert everything[write].icount == everything[sent].icount
    levels = [(event.level, event.pc) for event in everything if isinstance(event, Gpio)]
    assert levels[:2] == [(0, START + 8), (1, START + 16)]


def test_wrong_accesses_are_in_the_log(everything: list[Event]) -> None:
    logged = [event for event in everything if isinstance(event, Log)]
    assert any(event.pc == START + 56 for event in logged)


def test_interrupts_are_raised_taken_and_execute_their_vector(everything: list[Event]) -> None:
    raised = next(
        event
        for event in everything
        if isinstance(event, Irq) and event.action == "raised" and event.source == "INT_TIMER4"
    )
    taken = next(event for event in everything if isinstance(event, Irq) and event.action == "taken")
    exception = next(event for event in everything if isinstance(event, ExceptionTaken))
    assert raised.icount <= taken.icount == exception.icount
    assert (exception.vector, exception.target) == ("irq", 0x18)
    assert exception.return_address == exception.pc + 4
    behind = next(event for event in everything[everything.index(exception) :] if isinstance(event, TbExec))
    assert (behind.pc, behind.icount) == (0x18, exception.icount)


def test_code_comes_into_use_once(everything: list[Event]) -> None:
    first = [event.pc for event in everything if isinstance(event, TbTranslate)]
    executed = {event.pc for event in everything if isinstance(event, TbExec)}
    assert len(first) == len(set(first))
    assert set(first) == executed


def test_patterns_choose_registers(tmp_path: Path) -> None:
    _, events = traced("mmio:gpio.GPB*", tmp_path / "a.dbgtrace")
    assert Counter(map(name_of, events)) == {"mmio_write": 2, "mmio_read": 1}
    _, events = traced("gpio:GPB7,irq:INT_TIMER*,serial:1", tmp_path / "b.dbgtrace")
    assert {event.source for event in events if isinstance(event, Irq)} == {"INT_TIMER4", "IRQ"}
    assert not of(events, Serial)


def test_ranges_choose_code(tmp_path: Path) -> None:
    _, events = traced(f"tb;range={START:#x}+0x10;range=0x18+4", tmp_path / "a.dbgtrace")
    assert {event.pc for event in events} == {START, 0x18}


def test_an_unknown_register_is_refused(tmp_path: Path) -> None:
    tracer = Tracer(machine_with(PROGRAM))
    with pytest.raises(TraceError, match=r"'mmio_read:gpio.NONE': no device has such a register"):
        tracer.start("mmio:gpio.NONE", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_start_and_stop_triggers_are_exact(tmp_path: Path) -> None:
    machine = machine_with(PROGRAM, warp=True)
    tracer, path = Tracer(machine), tmp_path / "a.dbgtrace"
    tracer.start(f"tb;start={START + 16:#x};stop=+25", path)
    assert "waiting" in tracer.status().state.value
    machine.run(1000)
    assert machine.cpu.instructions == 1000, "the machine went on"
    assert tracer.status().reason == "it came to the instruction count that was wanted"
    with open_trace(path) as trace:
        assert (trace.first_count, trace.end_count, trace.instructions) == (4, 29, 25)
        assert next(trace.blocks_between()).pc == START + 16


def test_a_number_of_events_ends_a_trace(tmp_path: Path) -> None:
    _, events = traced("tb,mmio;events=20", tmp_path / "a.dbgtrace")
    assert len(events) == 20


def test_a_ring_keeps_the_newest_blocks(tmp_path: Path) -> None:
    machine = machine_with("1: add r0, r0, #1; bl f; b 1b; f: mov pc, lr", warp=True)
    tracer = Tracer(machine)
    tracer.start("tb;ring=1000")
    machine.run(20_000_000)
    tracer.save(tmp_path / "early.dbgtrace")
    machine.run(10)
    tracer.stop()
    tracer.save(tmp_path / "ring.dbgtrace")
    with open_trace(tmp_path / "ring.dbgtrace") as trace:
        assert trace.complete
        assert trace.blocks >= 1000
        assert trace.end_count == 20_000_010
        assert trace.first_count > 10_000_000
        last = list(trace.blocks_between(trace.end_count - 100))[-1]
        assert last.icount + last.length == trace.end_count
    with open_trace(tmp_path / "early.dbgtrace") as trace:
        assert trace.end_count == 20_000_000


def test_two_machines_give_the_same_file(tmp_path: Path) -> None:
    traced(f"all,file={tmp_path}/a.dbgtrace", tmp_path / "a.dbgtrace")
    traced(f"all,file={tmp_path}/b.dbgtrace", tmp_path / "b.dbgtrace")
    assert (tmp_path / "a.dbgtrace").read_bytes() == (tmp_path / "b.dbgtrace").read_bytes()


def test_a_trace_changes_nothing_in_the_machine(tmp_path: Path) -> None:
    machine, _ = traced("all", tmp_path / "a.dbgtrace")
    plain = machine_with(PROGRAM, warp=True)
    plain.run(3000)
    assert plain.digest() == machine.digest()
    assert machine.cpu.state.interrupts & 1 == 0
    assert machine.execute == machine.execute_freely


def test_commands_say_what_they_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = DebugSession(machine_with(PROGRAM, warp=True))
    control = control_of(session)
    assert control is control_of(session)
    assert control.status() == "no trace has been started"
    assert control.start("tb", "x.dbgtrace").startswith("running: tb (to 'x.dbgtrace')\n0 blocks")
    with pytest.raises(TraceError, match="a trace is running already: stop it first"):
        control.start("tb")
    session.add_breakpoint(None, START + 16)
    session.resume()
    assert session.wait(20) is not None
    assert control.filter(f"range={START + 16:#x}+8").startswith("running")
    with pytest.raises(TraceError, match="a filter cannot add events"):
        control.filter("mmio")
    text = control.stop()
    assert text.splitlines()[-1].startswith("1 blocks of 4 instructions, 0 other events")
    with pytest.raises(TraceError, match="no trace is running"):
        control.stop()
    with pytest.raises(TraceError, match="there is no trace in memory"):
        control.save("y")
    assert control.trace_event("mmio_write", True).startswith("running: mmio_write (to 'trace.dbgtrace')")
    assert "mmio_write : on" in control.events()
    assert control.trace_event("mmio*", False).startswith("stopped")
    with pytest.raises(TraceError, match="there is no event 'nothing'"):
        control.trace_event("nothing", True)
    session.close()


def test_a_session_that_closes_ends_its_trace(tmp_path: Path) -> None:
    session = DebugSession(machine_with(PROGRAM, warp=True))
    control_of(session).start("tb,break", tmp_path / "a.dbgtrace")
    session.add_breakpoint(None, START + 16)
    session.resume()
    assert session.wait(20) is not None
    session.close()
    with open_trace(tmp_path / "a.dbgtrace") as trace:
        assert trace.complete
        assert [name_of(event) for event in trace.events()] == ["tb_exec", "break"]


def test_what_the_translator_does_is_recorded(tmp_path: Path) -> None:
    machine = machine_with(PROGRAM, warp=True)
    tracer = Tracer(machine)
    tracer.start("tb_translate,tb_invalidate,tb_compile", tmp_path / "a.dbgtrace")
    machine.run(100)
    listener = machine.cpu.translation_listener
    assert listener is not None
    listener.translated(START, 5, thumb=False)
    listener.compiled(START, 20, 300, 1234)
    listener.invalidated(START, 20, storing=False)
    tracer.stop()
    assert machine.cpu.translation_listener is None
    with open_trace(tmp_path / "a.dbgtrace") as trace:
        last = list(trace.events())[-3:]
    pc, time = machine.cpu.pc, machine.board.clock.now
    assert last == [
        TbTranslate(100, time, START, 5, False, 1),
        TbCompile(100, time, pc, START, 20, 300, 1234),
        TbInvalidate(100, time, pc, START, 20),
    ]


def test_a_snapshot_that_is_loaded_makes_the_trace_go_on_from_there(tmp_path: Path) -> None:
    machine = machine_with("1: add r0, r0, #1; bl f; b 1b; f: mov pc, lr", warp=True)
    tracer = Tracer(machine)
    tracer.start("tb", tmp_path / "a.dbgtrace")
    machine.run(1001)
    saved = machine.save()
    machine.run(500)
    machine.load(saved)
    machine.run(300)
    tracer.stop()
    with open_trace(tmp_path / "a.dbgtrace") as trace:
        assert trace.complete
        blocks = list(trace.runs())
        assert sum(sum(part.lengths) for part in blocks) == trace.instructions
        counts = [count for part in blocks for count in part.icounts]
        assert 1499 in counts or 1500 in counts
        assert counts[-1] < 1301, "the count went back"
        assert counts.count(1001) + counts.count(1002) >= 2
