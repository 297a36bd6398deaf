"""Semihosting: each call of Arm's specification, made by guests in ARM and Thumb state."""

from __future__ import annotations

import threading

import pytest

from dbgemu.debug.events import StopKind
from dbgemu.debug.semihosting.config import Target
from dbgemu.debug.semihosting.errors import Errno
from dbgemu.errors import OptionError
from dbgemu.machine import StopReason
from dbgemu.option_semihosting import semihosting_config
from dbgemu.options import parse_command_line
from dbgemu.semihosting_setup import free_memory
from dbgemu.target.arm.state import Mode
from dbgemu.target.boot import BootPlan, Load
from tests import semihosting_guest as sys
from tests.semihosting_guest import BLOCK, BUFFER, FAILED, SemihostingGuest
from tests.support import until

pytest_plugins = ["semihosting_fixtures"]


READ_ONLY, READ_PLUS, WRITE, WRITE_PLUS, APPEND, APPEND_PLUS = range(0, 12, 2)


# -- the trap ------------------------------------------------------------------------------------


def test_an_svc_with_another_number_is_an_exception(guest) -> None:
    guest.start("svc #0x12" if guest.thumb else "svc #0x123457")
    assert guest.machine.run(1).pc == 8


def test_a_condition_that_fails_skips_the_call(arm) -> None:
    arm.start("cmp sp, #0; svceq #0x123456; svcne #0x123456")
    arm.cpu.write_register("r0", sys.TICKFREQ)
    arm.machine.run(2)
    assert arm.cpu.read_register("r0") == sys.TICKFREQ
    arm.machine.run(1)
    assert arm.cpu.read_register("r0") == 1_000_000_000


def test_when_it_is_off_the_svc_is_an_exception(guest) -> None:
    guest.host.close()
    guest.host.close = lambda: None
    guest.start("svc #0xab" if guest.thumb else "svc #0x123456")
    assert guest.machine.run(1).pc == 8


def test_user_code_makes_no_calls_unless_it_is_allowed_to() -> None:
    for allowed in (False, True):
        guest = SemihostingGuest(user=allowed)
        guest.start("svc #0x123456", mode=Mode.USR)
        guest.cpu.write_register("r0", sys.TICKFREQ)
        assert guest.machine.run(1).pc == (guest.done if allowed else 8)
        guest.close()


def test_a_machine_without_a_host_stops_in_front_of_the_call(arm) -> None:
    arm.machine.semihosting = None
    arm.start("svc #0x123456")
    stop = arm.machine.run(10)
    assert (stop.reason, stop.pc) == (StopReason.SEMIHOSTING, sys.CODE)
    arm.cpu.finish_semihosting(77)
    assert (arm.cpu.read_register("r0"), arm.cpu.pc) == (77, arm.done)
    arm.machine.semihosting = arm.host


def test_a_breakpoint_behind_a_call_stops(arm) -> None:
    arm.start("mov r0, #0x31; svc #0x123456; nop")
    arm.session.add_breakpoint(None, sys.CODE + 8)
    arm.session.resume()
    event = arm.session.wait(5)
    assert (event.kind, event.pc) == (StopKind.BREAKPOINT, sys.CODE + 8)
    assert arm.cpu.read_register("r0") == 1_000_000_000


def test_a_breakpoint_on_a_call_stops_once(arm) -> None:
    arm.start("mov r0, #0x31; svc #0x123456; nop")
    for address in (sys.CODE + 4, arm.done):
        arm.session.add_breakpoint(None, address)
    pcs = []
    for _ in range(2):
        arm.session.resume()
        pcs.append(arm.session.wait(5).pc)
    assert pcs == [sys.CODE + 4, arm.done]


def test_a_watchpoint_right_behind_a_call_stops(arm) -> None:
    from dbgemu.debug.watchpoints import WatchKind

    arm.start("mov r0, #0x31; svc #0x123456; str r0, [sp]")
    arm.session.add_watchpoint(None, sys.STACK, 4, WatchKind.WRITE)
    arm.session.resume()
    event = arm.session.wait(5)
    assert (event.kind, event.pc) == (StopKind.WATCHPOINT, sys.CODE + 8)


# -- features and console ------------------------------------------------------------------------


def test_the_features_are_announced(guest) -> None:
    handle = guest.open(b":semihosting-features", READ_ONLY)
    assert guest.call(sys.FLEN, handle) == 5
    assert guest.get(handle, 4) == b"SHFB"
    assert guest.get(handle, 4) == b"\x03"
    assert guest.call(sys.SEEK, handle, 4) == 0
    assert guest.get(handle, 1) == b"\x03"
    assert guest.call(sys.ISTTY, handle) == 0
    assert guest.put(handle, b"x") == FAILED
    assert guest.open(b":semihosting-features", WRITE) == FAILED


def test_the_console_has_two_outputs(guest) -> None:
    output, errors = guest.open(b":tt", WRITE), guest.open(b":tt", APPEND)
    assert guest.put(output, b"out") == 0
    assert guest.put(errors, b"err") == 0
    assert guest.written == [(1, b"out"), (2, b"err")]
    assert guest.call(sys.ISTTY, output) == 1
    assert guest.call(sys.FLEN, output) == FAILED
    assert guest.call(sys.SEEK, output, 0) == FAILED
    assert guest.errno() == Errno.ESPIPE


def test_characters_and_strings_are_written(guest) -> None:
    guest.call_with(sys.WRITEC, guest.write(BUFFER, b"xyz"))
    guest.call_with(sys.WRITE0, guest.text(b"hello")[0])
    long = b"l" * 3000
    guest.call_with(sys.WRITE0, guest.write(BUFFER, long + b"\0"))
    assert guest.written == [(1, b"x"), (1, b"hello"), (1, long)]


def test_input_is_read_as_it_comes(guest) -> None:
    handle = guest.open(b":tt", READ_ONLY)
    guest.console.open()
    guest.console.feed(b"typed\n")
    assert guest.get(handle, 3) == b"typ"
    assert guest.call_with(sys.READC, 0) == ord("e")
    assert guest.get(handle, 60) == b"d\n"
    guest.console.end()
    assert guest.call(sys.READ, handle, BUFFER, 60) == 60
    assert guest.call_with(sys.READC, 0) == FAILED


def test_a_read_waits_and_the_debugger_still_works(arm) -> None:
    arm.console.open()
    arm.start("mov r0, #7; svc #0x123456")
    arm.session.add_breakpoint(None, arm.done)
    arm.session.resume()
    until(lambda: arm.session.call(lambda: arm.cpu.pc) == sys.CODE + 4)
    assert arm.session.running
    stop = arm.session.halt()
    assert (stop.kind, stop.pc) == (StopKind.PAUSE, sys.CODE + 4)
    time = arm.board.clock.now
    arm.session.resume()
    arm.machine.post(lambda: arm.console.feed(b"q") and None)
    stop = arm.session.wait(5)
    assert (stop.kind, stop.pc, arm.cpu.read_register("r0")) == (StopKind.BREAKPOINT, arm.done, ord("q"))
    assert arm.board.clock.now - time <= arm.board.clock.period_ps // 1000 + 1, "one instruction"


def test_a_step_does_not_wait_unless_it_may_take_long(arm) -> None:
    arm.console.open()
    arm.start("svc #0x123456")
    arm.cpu.write_register("r0", sys.READC)
    stop = arm.session.step()
    assert (stop.kind, stop.pc, stop.waits) == (StopKind.PAUSE, sys.CODE, True)
    assert arm.session.start_step() is None
    assert arm.session.running
    arm.machine.post(lambda: arm.console.feed(b"q") and None)
    stop = arm.session.wait(5)
    assert (stop.kind, stop.pc, arm.cpu.read_register("r0")) == (StopKind.STEP, arm.done, ord("q"))


def test_a_range_step_over_a_read_waits_for_input(arm) -> None:
    arm.console.open()
    arm.start("mov r0, #7; svc #0x123456; nop")
    assert arm.session.step_range(sys.CODE, sys.CODE + 12) is None
    threading.Timer(0.05, lambda: arm.machine.post(lambda: arm.console.feed(b"q") and None)).start()
    stop = arm.session.wait(5)
    assert (stop.kind, stop.pc, arm.cpu.read_register("r0")) == (StopKind.STEP, arm.done, ord("q"))


def test_input_that_nobody_reads_is_held_back(arm) -> None:
    arm.console.open()
    room: list[str] = []
    arm.console.on_room = lambda: room.append("room")
    assert arm.console.feed(b"x" * 60000)
    assert not arm.console.feed(b"x" * 60000)
    arm.get(arm.open(b":tt", READ_ONLY), 40000)
    assert not room
    arm.get(arm.open(b":tt", READ_ONLY), 40000)
    assert room == ["room"]


# -- time, surroundings, the end -----------------------------------------------------------------


def test_time_is_the_boards(guest) -> None:
    assert guest.call_with(sys.TIME, 0) == 1_000_000_000
    assert guest.call_with(sys.CLOCK, 0) == 0
    guest.board.clock.skip(2_500_000_000)
    assert guest.call_with(sys.TIME, 0) == 1_000_000_002
    assert guest.call_with(sys.CLOCK, 0) == 250
    guest.board.clock.skip(1 << 33)
    guest.write(BUFFER, b"\xff" * 8)
    before = guest.board.clock.now
    assert guest.call_with(sys.ELAPSED, BUFFER) == 0
    low, high = guest.words(BUFFER, 2)
    assert before <= high << 32 | low <= guest.board.clock.now
    assert guest.call_with(sys.TICKFREQ, 0) == 1_000_000_000


@pytest.mark.parametrize("status", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_errors_are_told_from_results(guest, status) -> None:
    assert guest.call(sys.ISERROR, status) == status >> 31


def test_commands_are_refused(guest) -> None:
    assert guest.call(sys.SYSTEM, *guest.text(b"true")) == FAILED
    assert guest.errno() == Errno.EPERM


def test_the_command_line_is_given() -> None:
    guest = SemihostingGuest(command_line=b"prog a b")
    assert guest.call(sys.GET_CMDLINE, BUFFER, 9) == 0
    assert guest.words(BLOCK, 2) == (BUFFER, 8)
    assert guest.read(BUFFER, 9) == b"prog a b\0"
    assert guest.call(sys.GET_CMDLINE, BUFFER, 8) == FAILED
    guest.close()


def test_heap_and_stack_are_in_what_is_left_of_memory() -> None:
    guest = SemihostingGuest(free_memory=(0x30100000, 0x34000000))
    assert guest.call(sys.HEAPINFO, BUFFER) == 0
    assert guest.words(BUFFER, 4) == (0x30100000, 0x34000000, 0x34000000, 0x30100000)
    guest.close()


def test_the_largest_gap_between_what_is_loaded_is_free() -> None:
    assert free_memory(None, 64 << 20) == (0x30000000, 0x34000000)
    loads = (Load(0x30008000, bytes(100), "a"), Load(0x33000000, bytes(5000), "b"), Load(0, bytes(9), "c"))
    plan = BootPlan("raw", loads, 0x30008000, False, 0, 0, 0)
    assert free_memory(plan, 64 << 20) == (0x30009000, 0x33000000)
    assert free_memory(plan, 128 << 20) == (0x33002000, 0x38000000)


@pytest.mark.parametrize(
    ("number", "parameters", "status"),
    [
        (sys.EXIT, 0x20026, 0),
        (sys.EXIT, 0x20023, 1),
        (sys.EXIT, 0, 1),
        (sys.EXIT_EXTENDED, (0x20026, 0), 0),
        (sys.EXIT_EXTENDED, (0x20026, 42), 42),
        (sys.EXIT_EXTENDED, (0x20026, 0xFFFFFFFF), 255),
        (sys.EXIT_EXTENDED, (0x20024, 0), 1),
    ],
)
def test_the_end_of_the_guest_is_a_shutdown_with_its_status(guest, number, parameters, status) -> None:
    guest.start("svc #0xab" if guest.thumb else "svc #0x123456")
    if isinstance(parameters, tuple):
        guest.write(BLOCK, b"".join(word.to_bytes(4, "little") for word in parameters))
        parameters = BLOCK
    guest.cpu.write_register("r0", number)
    guest.cpu.write_register("r1", parameters)
    guest.session.resume()
    event = guest.session.wait(5)
    assert (event.kind, event.status, event.pc) == (StopKind.SHUTDOWN, status, guest.done)


# -- options -------------------------------------------------------------------------------------


def test_the_options_are_qemus(tmp_path) -> None:
    parse = lambda line: parse_command_line([*line.split(), "-S"])  # noqa: E731
    assert parse("").semihosting_options is None
    assert parse("-semihosting").semihosting_options.target is Target.AUTO
    assert parse("-semihosting-config enable=off").semihosting_options is None
    assert parse("-semihosting-config off").semihosting_options is None
    options = parse("-semihosting -semihosting-config target=gdb,arg=a,,b,arg=c,userspace=on,chardev=null")
    chosen = options.semihosting_options
    assert (chosen.target, chosen.arguments, chosen.user) == (Target.GDB, ("a,b", "c"), True)
    assert chosen.console.kind == "null"
    assert parse(f"-semihosting -semihosting-dir {tmp_path}").semihosting_dir == tmp_path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "-semihosting-config target=both",
            "-semihosting-config: 'target=both' is not understood: target is native, gdb, auto",
        ),
        (
            "-semihosting-config on,colour=red",
            "-semihosting-config: 'colour=red' is not understood: write enable, target, userspace,"
            " chardev or arg, with = and a value",
        ),
        ("-semihosting-dir /nowhere -semihosting", "-semihosting-dir: there is no folder '/nowhere'"),
        (
            "-semihosting-dir /",
            "-semihosting-dir is for the guest's semihosting calls: add -semihosting",
        ),
        (
            "-semihosting -semihosting-config enable=off",
            "-semihosting cannot be used with enable=off in -semihosting-config",
        ),
        (
            "-semihosting-config chardev=stdio -serial stdio",
            "the terminal can be used only once: give stdio to one of -serial and -monitor",
        ),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(line, message) -> None:
    with pytest.raises(OptionError) as refused:
        parse_command_line([*line.split(), "-S"])
    assert str(refused.value) == message


def test_an_empty_configuration_key_is_refused() -> None:
    with pytest.raises(OptionError):
        semihosting_config("")
