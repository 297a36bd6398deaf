"""Running the machine: stops, input from outside, idle time and its pacing, sleep, resets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from dbgemu.machine import Machine, StopReason
from dbgemu.target.arm.assembler import assemble
from dbgemu.target.boot import BootPlan, Load
from dbgemu.target.mini2440 import Mini2440

START = 0x30008000


def machine_with(source: str, *, warp: bool = False) -> Machine:
    """A machine that starts ``source`` as a bootloader would."""
    board = Mini2440()
    program = Load(START, assemble(source, START), "the program")
    board.boot_plan = BootPlan("raw", (program,), START, False, 0, 1999, 0)
    return Machine(board, warp=warp)


_TIMER = """
    ldr r4, =0x51000000     @ timer 4: PCLK / 25 / 2 = 1.0125 MHz
    ldr r0, =0x1800
    str r0, [r4]
    ldr r0, =COUNT
    str r0, [r4, #0x3c]
    ldr r0, =0x00200000     @ manual update, then start, one shot
    str r0, [r4, #8]
    ldr r0, =0x00100000
    str r0, [r4, #8]
    ldr r5, =0x4a000000
    ldr r0, =~(1 << 14)
    str r0, [r5, #8]
    mov r7, #0
idle:
    mcr p15, 0, r0, c7, c0, 4
    add r7, r7, #1
stop: b stop
"""


def run_in_background(machine: Machine) -> tuple[threading.Thread, list[StopReason]]:
    reasons: list[StopReason] = []
    thread = threading.Thread(target=lambda: reasons.append(machine.run().reason))
    thread.start()
    return thread, reasons


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come to that")


def executed(machine: Machine) -> int:
    """The instruction count of a machine that runs."""
    counts: list[int] = []
    machine.post(lambda: counts.append(machine.cpu.instructions))
    wait_until(lambda: bool(counts))
    return counts[0]


def test_a_bootloader_leaves_supervisor_mode_with_interrupts_masked_and_the_machine_id() -> None:
    machine = machine_with("b .")
    read = machine.cpu.read_register
    assert (read("pc"), read("cpsr"), read("r1")) == (START, 0xD3, 1999)
    clocks = machine.board.clkpwr
    assert (clocks.fclk, clocks.hclk, clocks.pclk) == (405_000_000, 101_250_000, 50_625_000)


def test_a_run_stops_after_the_instructions_asked_for() -> None:
    machine = machine_with("b .")
    for count in (1, 2, 1000, 12_345):
        before = machine.cpu.instructions
        assert machine.run(count).reason is StopReason.LIMIT
        assert machine.cpu.instructions - before == count


def test_a_stop_can_be_requested_from_another_thread() -> None:
    machine = machine_with("b .")
    thread, reasons = run_in_background(machine)
    time.sleep(0.02)
    machine.request_stop()
    thread.join(5)
    assert reasons == [StopReason.REQUEST]


def test_what_is_posted_runs_on_the_machines_thread() -> None:
    machine = machine_with("b .")
    thread, _ = run_in_background(machine)
    seen: list[threading.Thread] = []
    machine.post(lambda: seen.append(threading.current_thread()))
    wait_until(lambda: bool(seen))
    machine.request_stop()
    thread.join(5)
    assert seen == [thread]


def test_idle_time_lasts_as_long_as_on_the_board() -> None:
    machine = machine_with(_TIMER.replace("COUNT", "50000"))
    began = time.monotonic()
    machine.cpu.add_breakpoint(machine.cpu.pc + 4 * 18)
    machine.run(1000)
    elapsed = time.monotonic() - began
    assert machine.cpu.read_register("r7") == 1
    assert machine.board.clock.skipped > 49_000_000
    # a busy host may take longer, never shorter
    assert elapsed > 0.045


def test_with_warp_idle_time_is_not_waited_for() -> None:
    machine = machine_with(_TIMER.replace("COUNT", "65535"), warp=True)
    before = machine.board.clock.now
    machine.run(1000)
    assert machine.cpu.read_register("r7") == 1
    assert machine.board.clock.now - before >= 65_535 * 1000 // 1.0125


def test_idling_with_and_without_warp_ends_in_the_same_state() -> None:
    digests = set()
    for warp in (False, True):
        machine = machine_with(_TIMER.replace("COUNT", "5000"), warp=warp)
        machine.run(1000)
        digests.add(machine.digest())
    assert len(digests) == 1


def test_a_stop_while_idle_leaves_the_guest_idle() -> None:
    machine = machine_with("mov r7, #0\n mcr p15, 0, r0, c7, c0, 4\n mov r7, #1\n b .")
    for _ in range(2):
        thread, reasons = run_in_background(machine)
        wait_until(lambda: machine.cpu.instructions == 2)
        time.sleep(0.02)
        machine.request_stop()
        thread.join(5)
        assert reasons == [StopReason.REQUEST]
        assert machine.cpu.read_register("r7") == 0
    machine.board.intc.source("EINT0").set(1)
    machine.board.bus.write(0x4A000008, 4, 0)
    machine.run(2)
    assert machine.cpu.read_register("r7") == 1


def test_input_wakes_an_idle_guest_without_waiting_for_a_deadline() -> None:
    machine = machine_with("mcr p15, 0, r0, c7, c0, 4\n mov r7, #1\n b .")
    thread, reasons = run_in_background(machine)
    wait_until(lambda: machine.cpu.instructions == 1)

    def key() -> None:
        machine.board.bus.write(0x4A000008, 4, 0)
        machine.board.intc.source("EINT0").set(1)

    machine.post(key)
    wait_until(lambda: executed(machine) > 10)
    machine.request_stop()
    thread.join(5)
    assert reasons == [StopReason.REQUEST]
    assert machine.cpu.read_register("r7") == 1


def test_clkcon_idles_too() -> None:
    source = _TIMER.replace("COUNT", "1000").replace(
        "mcr p15, 0, r0, c7, c0, 4", "ldr r6, =0x4c00000c\n ldr r0, [r6]\n orr r0, r0, #4\n str r0, [r6]"
    )
    machine = machine_with(source, warp=True)
    machine.run(2000)
    assert machine.cpu.read_register("r7") == 1
    assert machine.board.clock.skipped > 900_000
    assert machine.board.clkpwr.CLKCON & 4 == 0


def test_sleep_ends_in_a_reset_by_an_external_interrupt_and_says_so() -> None:
    source = """
    ldr r0, =0x560000b4         @ GSTATUS2
    ldr r1, [r0]
    tst r1, #2
    movne r7, #1
1:  bne 1b
    str r1, [r0]
    ldr r4, =0x56000050         @ GPFCON: EINT0
    mov r0, #2
    str r0, [r4]
    ldr r6, =0x4c00000c         @ CLKCON: sleep
    ldr r0, [r6]
    orr r0, r0, #8
    str r0, [r6]
2:  b 2b
"""
    machine = machine_with(source, warp=True)
    thread, reasons = run_in_background(machine)
    time.sleep(0.05)
    pin = machine.board.gpio.pin("GPF0")

    def press() -> None:
        pin.drive(1)
        pin.drive(0)

    machine.post(press)
    wait_until(lambda: machine.cpu.state.r[7] == 1)
    machine.request_stop()
    thread.join(5)
    assert reasons == [StopReason.REQUEST]


def test_an_error_in_a_device_comes_out_of_run(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = machine_with("ldr r0, =0x57000000\n ldr r1, [r0, #0x70]\n b .")

    def fail(address: int, size: int) -> int:
        raise RuntimeError("a device is broken")

    monkeypatch.setattr(machine.board.bus, "read", fail)
    with pytest.raises(RuntimeError, match="a device is broken"):
        machine.run(10)


def test_a_reset_starts_what_was_loaded_again() -> None:
    machine = machine_with("mov r7, #5\n ldr r0, =START_\n str r7, [r0]\n b .".replace("START_", hex(START)))
    machine.run(3)
    assert machine.cpu.read_memory(START, 4) == b"\x05\0\0\0"
    machine.reset()
    assert machine.cpu.pc == START
    machine.run(1)
    assert machine.cpu.read_register("r7") == 5
