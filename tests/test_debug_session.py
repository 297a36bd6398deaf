"""The debug session: run control, points, memory, several front ends."""

import threading
import time

import pytest
from support import RAM_BASE, START, UNMAPPED, until

from dbgemu.debug.events import FrontEnd, StopEvent, StopKind
from dbgemu.debug.session import DebugSession
from dbgemu.debug.watchpoints import WatchKind
from dbgemu.engine.cpu import TranslationFault
from dbgemu.machine import Machine
from dbgemu.target.bus import BusError
from dbgemu.target.mini2440 import Mini2440, PowerRequest

pytest_plugins = ["gdb_fixtures"]


class Recorder(FrontEnd):
    def __init__(self, holding: bool = False) -> None:
        self.stops: list[StopEvent] = []
        self.others: list[str] = []
        self._holding = holding

    @property
    def holding(self) -> bool:
        return self._holding

    def stopped(self, event: StopEvent) -> None:
        self.stops.append(event)

    def resumed(self, by: FrontEnd | None) -> None:
        self.others.append("resumed")

    def was_reset(self, by: FrontEnd | None) -> None:
        self.others.append("reset")

    def quitting(self) -> None:
        self.others.append("quit")


def attached(session: DebugSession, **options: bool) -> Recorder:
    front_end = Recorder(**options)
    session.attach(front_end)
    return front_end


def test_a_new_session_stands_at_reset(session: DebugSession) -> None:
    assert not session.running
    assert session.last_stop.kind is StopKind.RESET
    assert session.last_stop.pc == START


def test_a_step_executes_one_instruction_in_the_calling_thread(session, machine) -> None:
    threads = []
    machine.cpu.program[START] = lambda: threads.append(threading.current_thread())
    event = session.step()
    assert (event.kind, event.pc) == (StopKind.STEP, START + 4)
    assert threads == [threading.current_thread()]
    assert machine.cpu.instructions == 1


def test_others_are_told_of_a_step_but_not_the_one_who_stepped(session) -> None:
    mine, other = attached(session), attached(session)
    event = session.step(by=mine)
    assert (mine.stops, other.stops) == ([], [event])


def test_a_step_onto_a_breakpoint_names_it(session) -> None:
    breakpoint_ = session.add_breakpoint(None, START + 4)
    assert session.step().breakpoints == (breakpoint_,)
    assert session.step().breakpoints == ()
    assert breakpoint_.hits == 0


def test_a_running_machine_runs_on_its_own_thread_until_paused(session, machine) -> None:
    front_end = attached(session)
    session.resume()
    until(lambda: machine.cpu.instructions > 100)
    assert session.running
    assert front_end.stops == []
    session.pause()
    event = session.wait(5)
    assert event is not None
    assert event.kind is StopKind.PAUSE
    assert event.pc == machine.cpu.read_register("pc")
    assert front_end.stops == [event]
    assert front_end.others == ["resumed"]


def test_waiting_for_a_machine_that_runs_on_gives_none(session) -> None:
    session.resume()
    assert session.wait(0.02) is None


def test_resuming_a_running_machine_and_pausing_a_stopped_one_change_nothing(session) -> None:
    front_end = attached(session)
    session.pause()
    session.resume()
    session.resume()
    assert front_end.others == ["resumed"]
    session.halt()
    session.pause()
    assert len(front_end.stops) == 1
    assert session.step().kind is StopKind.STEP


def test_pausing_right_after_resuming_is_never_lost(session) -> None:
    for _ in range(300):
        session.resume()
        session.pause()
        assert session.wait(5) is not None


def test_a_breakpoint_stops_the_run_and_counts(session) -> None:
    breakpoint_ = session.add_breakpoint(None, START + 8)
    for hits in (1, 2, 3):
        session.resume()
        event = session.wait(5)
        assert event is not None
        assert (event.kind, event.pc, event.breakpoints) == (StopKind.BREAKPOINT, START + 8, (breakpoint_,))
        assert breakpoint_.hits == hits


def test_a_temporary_breakpoint_stops_once(session, machine) -> None:
    session.add_breakpoint(None, START + 8, temporary=True)
    session.resume()
    assert session.wait(5).kind is StopKind.BREAKPOINT
    assert len(session.breakpoints) == 0
    assert machine.cpu.breakpoints == set()


def test_an_ignored_breakpoint_lets_pass_as_often_as_told(session, machine) -> None:
    breakpoint_ = session.add_breakpoint(None, START + 8)
    breakpoint_.ignore = 3
    session.resume()
    session.wait(5)
    assert breakpoint_.hits == 4
    assert machine.cpu.instructions == 3 * 16 + 2


def test_a_false_condition_does_not_stop_and_a_true_one_does(session, machine) -> None:
    breakpoint_ = session.add_breakpoint(None, START + 8)
    breakpoint_.condition = lambda: machine.cpu.instructions > 100
    session.resume()
    session.wait(5)
    assert breakpoint_.hits == 1
    assert machine.cpu.instructions == 6 * 16 + 2 + 16


def test_a_disabled_breakpoint_stops_nobody(session) -> None:
    session.add_breakpoint(None, START + 8).enabled = False
    session.add_breakpoint(None, START + 12)
    session.resume()
    assert session.wait(5).pc == START + 12


def test_a_breakpoint_that_the_pc_was_moved_to_stops_at_once(session, machine) -> None:
    session.add_breakpoint(None, START + 8)
    machine.cpu.write_register("pc", START + 8)
    session.resume()
    assert session.wait(5).kind is StopKind.BREAKPOINT
    assert machine.cpu.instructions == 0


def test_a_breakpoint_set_where_the_machine_stands_is_passed_over(session, machine) -> None:
    session.add_breakpoint(None, START)
    session.resume()
    assert session.wait(5).kind is StopKind.BREAKPOINT
    assert machine.cpu.instructions == 16


def test_removing_ones_breakpoint_leaves_anothers_at_the_same_address(session, machine) -> None:
    one, two = Recorder(), Recorder()
    mine = session.add_breakpoint(one, START + 8)
    theirs = session.add_breakpoint(two, START + 8, hardware=True)
    session.remove_breakpoint(mine)
    session.remove_breakpoint(mine)
    assert machine.cpu.breakpoints == {START + 8}
    assert session.breakpoints.at(START + 8) == (theirs,)
    session.remove_breakpoint(theirs)
    assert machine.cpu.breakpoints == set()


def test_the_book_finds_breakpoints_by_owner_kind_and_number(session) -> None:
    owner = Recorder()
    soft = session.add_breakpoint(owner, START)
    hard = session.add_breakpoint(owner, START, hardware=True)
    assert session.breakpoints.find(owner, START, False) is soft
    assert session.breakpoints.find(owner, START, True) is hard
    assert session.breakpoints.find(None, START, True) is None
    assert session.breakpoints.get(soft.id) is soft
    assert session.breakpoints.get(99) is None
    assert list(session.breakpoints) == [soft, hard]


def test_a_watchpoint_stops_before_the_access_and_running_on_passes_it(session, machine) -> None:
    machine.cpu.accesses[START + 8] = (RAM_BASE, 4, True)
    watchpoint = session.add_watchpoint(None, RAM_BASE + 2, 1, WatchKind.WRITE)
    for hits in (1, 2):
        session.resume()
        event = session.wait(5)
        assert (event.kind, event.pc, event.watchpoints) == (StopKind.WATCHPOINT, START + 8, (watchpoint,))
        assert event.hit.address == RAM_BASE
        assert watchpoint.first_byte(event.hit) == RAM_BASE + 2
        assert watchpoint.hits == hits


@pytest.mark.parametrize(
    ("kind", "stops_writes", "stops_reads"),
    [(WatchKind.WRITE, True, False), (WatchKind.READ, False, True), (WatchKind.ACCESS, True, True)],
)
def test_a_watchpoint_stops_the_accesses_of_its_kind(
    session, machine, kind, stops_writes, stops_reads
) -> None:
    machine.cpu.accesses[START + 8] = (RAM_BASE, 4, True)
    machine.cpu.accesses[START + 16] = (RAM_BASE, 4, False)
    session.add_watchpoint(None, RAM_BASE, 4, kind)
    seen = set()
    for _ in range(2):
        session.resume()
        seen.add(session.wait(5).hit.write)
    assert (True in seen, False in seen) == (stops_writes, stops_reads)


def test_a_watchpoint_shared_by_two_goes_with_the_last(session, machine) -> None:
    one, two = Recorder(), Recorder()
    mine = session.add_watchpoint(one, RAM_BASE, 4, WatchKind.READ)
    session.add_watchpoint(two, RAM_BASE, 4, WatchKind.READ)
    assert len(machine.cpu.watchpoints) == 1
    session.remove_watchpoint(mine)
    session.remove_watchpoint(mine)
    assert len(machine.cpu.watchpoints) == 1
    session.detach(two)
    assert machine.cpu.watchpoints == []


def test_a_watchpoint_of_no_bytes_is_refused(session) -> None:
    with pytest.raises(ValueError, match="a watchpoint of 0 bytes watches nothing: give at least 1"):
        session.add_watchpoint(None, RAM_BASE, 0, WatchKind.READ)


def test_stepping_a_running_machine_stops_it_first_and_all_are_told(session, machine) -> None:
    mine, other = attached(session), attached(session)
    session.resume()
    until(lambda: machine.cpu.instructions > 10)
    event = session.step(by=mine)
    assert not session.running
    assert [stop.kind for stop in other.stops] == [StopKind.PAUSE, StopKind.STEP]
    assert [stop.kind for stop in mine.stops] == [StopKind.PAUSE]
    assert other.stops[1] == event


def test_a_range_step_ends_behind_the_range(session, machine) -> None:
    event = session.step_range(START, START + 20)
    assert (event.kind, event.pc, machine.cpu.instructions) == (StopKind.STEP, START + 20, 5)


def test_a_range_step_makes_one_step_at_least(session) -> None:
    assert session.step_range(START + 8, START + 12).pc == START + 4
    assert session.step_range(START, START).pc == START + 8


def test_a_range_step_ends_at_a_breakpoint_inside(session) -> None:
    breakpoint_ = session.add_breakpoint(None, START + 12)
    event = session.step_range(START, START + 64)
    assert (event.kind, event.pc, event.breakpoints) == (StopKind.BREAKPOINT, START + 12, (breakpoint_,))


def test_a_long_range_step_goes_on_in_the_background_and_can_be_paused(session, machine) -> None:
    front_end = attached(session)
    assert session.step_range(START, START + 64, by=front_end) is None
    assert session.running
    until(lambda: machine.cpu.instructions > 1000)
    session.pause()
    event = session.wait(5)
    assert event.kind is StopKind.PAUSE
    assert front_end.stops == [event]


def test_a_long_range_step_ends_by_itself(session, machine) -> None:
    def leave() -> None:
        if machine.cpu.instructions > 500:
            machine.cpu.write_register("pc", RAM_BASE)

    machine.cpu.program[START + 60] = leave
    assert session.step_range(START, START + 64) is None
    event = session.wait(5)
    assert (event.kind, event.pc) == (StopKind.STEP, RAM_BASE)


def test_a_call_runs_here_when_stopped_and_on_the_machines_thread_when_running(session, machine) -> None:
    assert session.call(threading.current_thread) is threading.current_thread()
    session.resume()
    until(lambda: machine.cpu.instructions > 10)
    assert session.call(threading.current_thread).name == "machine"


def test_an_error_in_a_call_reaches_the_caller_and_not_the_machine(session) -> None:
    session.resume()
    with pytest.raises(BusError):
        session.memory.read_physical(0x90000000, 4)
    assert session.running


def test_calls_made_while_the_machine_stops_are_all_answered(session, machine) -> None:
    session.add_breakpoint(None, START + 8)
    answers = []

    def ask() -> None:
        for _ in range(200):
            answers.append(session.call(lambda: 1))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        session.resume()
        session.wait(5)
    assert len(answers) == 400


def test_memory_reads_come_back_and_writes_stick_while_running(session, machine) -> None:
    session.resume()
    session.memory.write(RAM_BASE, b"guest")
    assert session.memory.read(RAM_BASE, 5) == b"guest"
    session.memory.write_physical(RAM_BASE, b"G")
    assert session.memory.read_physical(RAM_BASE, 2) == b"Gu"


@pytest.mark.parametrize(("address", "error"), [(UNMAPPED, TranslationFault), (0x90000000, BusError)])
def test_memory_that_is_not_there_is_an_error(session, address, error) -> None:
    with pytest.raises(error):
        session.memory.read(address, 4)
    with pytest.raises(error):
        session.memory.read_front(address, 4)
    with pytest.raises(error):
        session.memory.write(address, b"1234")


def test_a_front_read_is_cut_where_memory_ends(session, machine) -> None:
    end = RAM_BASE + machine.ram.size
    session.memory.write(end - 2, b"xy")
    assert session.memory.read_front(end - 2, 5000) == b"xy"
    assert len(session.memory.read_front(end - 3000, 5000)) == 3000
    with pytest.raises(BusError):
        session.memory.read(end - 2, 3)


def test_a_front_read_is_cut_at_the_end_of_the_address_space(session) -> None:
    with pytest.raises(TranslationFault):
        session.memory.read_front(0xFFFFFFF0, 32)


def test_a_reset_of_a_stopped_machine_leaves_it_stopped_at_the_vector(session, machine) -> None:
    mine, other = attached(session), attached(session)
    session.reset(by=mine)
    assert machine.resets == 1
    assert (session.last_stop.kind, session.last_stop.pc) == (StopKind.RESET, 0)
    assert (mine.others, other.others) == ([], ["reset"])


def test_a_reset_of_a_running_machine_leaves_it_running(session, machine) -> None:
    session.resume()
    session.reset()
    assert machine.resets == 1
    assert session.running


def test_detaching_takes_ones_points_away_and_can_resume(session, machine) -> None:
    mine = attached(session)
    session.add_breakpoint(mine, START)
    session.add_watchpoint(mine, RAM_BASE, 4, WatchKind.WRITE)
    session.detach(mine, resume=True)
    assert machine.cpu.breakpoints == set()
    assert machine.cpu.watchpoints == []
    assert session.running
    session.halt()
    assert mine.stops == []


def test_detaching_does_not_resume_what_another_holds(session) -> None:
    mine, holder = attached(session), attached(session, holding=True)
    session.detach(mine, resume=True)
    assert not session.running
    session.detach(holder, resume=True)
    assert session.running


def test_quitting_is_told_to_all(session) -> None:
    front_ends = [attached(session), attached(session)]
    session.quit()
    assert [front_end.others for front_end in front_ends] == [["quit"], ["quit"]]


def test_a_failure_of_the_emulator_is_a_stop_with_a_message(session, machine, capsys) -> None:
    def fail() -> None:
        raise RuntimeError("the device is broken")

    machine.cpu.program[START + 8] = fail
    session.resume()
    event = session.wait(5)
    assert event.kind is StopKind.ERROR
    assert event.message == "the emulator failed: RuntimeError('the device is broken')"
    assert "the device is broken" in capsys.readouterr().err
    assert session.step().kind is StopKind.STEP


def test_stops_are_numbered_upwards(session) -> None:
    numbers = [session.last_stop.number, session.step().number, session.step().number]
    session.resume()
    numbers.append(session.halt().number)
    assert numbers == sorted(set(numbers))


def test_a_pause_that_comes_too_late_does_not_spoil_the_next_step(session, machine) -> None:
    machine.request_stop()
    assert session.step().pc == START + 4


def test_steps_hold_interrupts_back_unless_told_otherwise(session, machine) -> None:
    session.step()
    assert machine.masked_steps == 1
    session.step_interrupts = True
    session.step()
    assert machine.masked_steps == 1
    assert machine.cpu.instructions == 2


def test_two_threads_may_step_at_once(session, machine) -> None:
    def step(times: int = 500) -> None:
        for _ in range(times):
            session.step()

    threads = [threading.Thread(target=step) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert machine.cpu.instructions == 1000


def test_a_closed_session_runs_no_more(machine) -> None:
    session = DebugSession(machine)
    session.resume()
    session.close()
    executed = machine.cpu.instructions
    session.resume()
    time.sleep(0.02)
    assert machine.cpu.instructions == executed


def test_a_board_that_sleeps_is_paused_and_a_step_does_not_wait_for_it() -> None:
    machine = Machine(Mini2440())
    session = DebugSession(machine)
    machine.board.on_request(PowerRequest.SLEEP)
    session.resume()
    assert session.wait(0.05) is None
    session.pause()
    stop = session.wait(5)
    assert stop is not None
    assert stop.kind is StopKind.PAUSE
    executed = machine.cpu.instructions
    assert session.step().pc == stop.pc
    assert machine.cpu.instructions == executed
    session.close()
