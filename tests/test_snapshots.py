"""Snapshots: a machine that is put back goes on as if it had never stopped."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from linux_guest import COMMAND_LINE, PROMPT, LinuxGuest, guest_folder
from snapshot_machines import BUSY, IDLE, SLEEP, START, machine_with, snapshots_in
from support import until

from dbgemu.debug.session import DebugSession
from dbgemu.debug.snapshots.book import Snapshots
from dbgemu.machine import Machine
from dbgemu.target.bus import Bus
from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.memory import Memory


@pytest.fixture
def snapshots_of(tmp_path: Path) -> Iterator[Callable[[Machine], Snapshots]]:
    with snapshots_in(tmp_path) as make:
        yield make


# -- what runs on ------------------------------------------------------------------------------


def start_timers(machine: Machine) -> None:
    """All five PWM timers, the watchdog (interrupts only), the RTC's tick and alarm."""
    write = machine.board.bus.write
    write(0x51000000, 4, 0x0202)
    write(0x51000004, 4, 0x00001234)
    for timer, place in enumerate((0x0C, 0x18, 0x24, 0x30, 0x3C)):
        write(0x51000000 + place, 4, 1000 + 77 * timer)
        if timer < 4:
            write(0x51000000 + place + 4, 4, 300 + timer)
    write(0x51000008, 4, 0x00622_202 | 0x10)
    write(0x51000008, 4, 0x00599_919)
    write(0x53000004, 4, 0x4000)
    write(0x53000000, 4, 0x0034)
    write(0x57000044, 1, 0x81)
    write(0x57000040, 1, 1)
    write(0x57000054, 1, 0x03)
    write(0x57000050, 1, 0x41)


def fill_uart(machine: Machine) -> None:
    """Characters under way in both directions, more than the FIFOs hold; a looped back port too."""
    board = machine.board
    board.uarts[0].receive(bytes(range(200)))
    for character in b"going out":
        board.bus.write(0x50000020, 1, character)
    board.bus.write(0x50004000, 4, 3)
    board.bus.write(0x50004008, 4, 0x31)
    board.bus.write(0x50004028, 4, 26)
    board.bus.write(0x50004004, 4, 0x2A5)
    for character in b"round and round":
        board.bus.write(0x50004020, 1, character)
    board.uarts[0].receive_break()


def start_transfers(machine: Machine) -> None:
    """The NAND chip programs a page, I2C sends an address, ADC converts, SPI exchanges, SDI sends."""
    board = machine.board
    write = board.bus.write
    write(0x4E000004, 4, 0x211)
    for command, address in ((0x80, (0, 5, 0, 0)),):
        write(0x4E000008, 1, command)
        for byte in address:
            write(0x4E00000C, 1, byte)
    for byte in range(60):
        write(0x4E000010, 1, byte)
    write(0x4E000008, 1, 0x10)
    write(0x54000000, 4, 0xE0)
    write(0x5400000C, 4, 0xA0)
    write(0x54000004, 4, 0xF0)
    write(0x58000000, 4, 0x4FC5)
    write(0x5900000C, 1, 0x40)
    write(0x59000000, 1, 0x38)
    write(0x59000010, 1, 0x55)
    write(0x5A000000, 4, 1)
    write(0x5A00000C, 4, 0x341)
    board.nor.write(0xAAA, 2, 0xAA)
    board.nor.write(0x554, 2, 0x55)
    board.nor.write(0xAAA, 2, 0x80)
    board.nor.write(0xAAA, 2, 0xAA)
    board.nor.write(0x554, 2, 0x55)
    board.nor.write(0x10000, 2, 0x30)


def start_others(machine: Machine) -> None:
    """LCD frames, USB frames, the PHY's negotiation, a pressed button, a touch, an interrupt that waits."""
    board = machine.board
    write = board.bus.write
    write(0x4D000004, 4, 0x0302_0000 | 319 << 14)
    write(0x4D000008, 4, 0x0098_EF0A)
    write(0x4D00000C, 4, 9)
    write(0x4D000000, 4, 0x0000_0779)
    write(0x49000034, 4, 0x2EDF)
    write(0x49000018, 4, 0x3000_5000)
    write(0x49000010, 4, 0x8000_0004)
    write(0x49000004, 4, 0x80)
    write(0x20000300, 2, 0x1F)
    write(0x20000304, 2, 0)
    write(0x20000300, 2, 0x05)
    write(0x20000304, 2, 0x01)
    board.dm9000.receive(bytes.fromhex("ffffffffffff 0011 2233 4455 0806") + bytes(46))
    write(0x56000060, 4, 0x5555_5556)
    write(0x56000088, 4, 0x2222_2222)
    board.tap("K2", 5_000_000)
    board.adc.touch(100, 200)
    board.intc.source("INT_DMA2").pulse()


ACTIVITIES = (start_timers, fill_uart, start_transfers, start_others)


@pytest.mark.parametrize("start", ACTIVITIES)
@pytest.mark.parametrize("executed", (1000, 100_003))
def test_a_machine_in_the_middle_of_something_runs_on_identically(
    start: Callable[[Machine], None], executed: int, snapshots_of: Callable[[Machine], Snapshots]
) -> None:
    first = machine_with()
    first.run(1000)
    start(first)
    first.run(executed)
    snapshots_of(first).save("now")
    second = machine_with()
    snapshots_of(second).load("now")
    assert differences(first, second) == []
    assert second.board.clock.order() == first.board.clock.order()
    for _ in range(3):
        assert second.digest() == first.digest()
        first.run(700_001)
        second.run(700_001)
    assert second.digest() == first.digest()
    assert differences(first, second) == []


def differences(first: Machine, second: Machine) -> list[str]:
    """Attributes, at any depth, of parts of two boards that are not equal."""
    found: list[str] = []
    seen: set[int] = set()

    def compare(one: Any, other: Any, where: str) -> None:
        if isinstance(one, Timer):
            compare(one.deadline, other.deadline, where)
        elif isinstance(one, list | tuple) and len(one) == len(other):
            for place, (item, same) in enumerate(zip(one, other, strict=True)):
                compare(item, same, f"{where}[{place}]")
        elif isinstance(one, bool | int | str | bytes | bytearray | float | None | list | tuple | set):
            if one != other or type(one) is not type(other):
                found.append(f"{where}: {one!r} {other!r}")
        elif isinstance(one, dict):
            if one.keys() != other.keys():
                found.append(f"{where}: {sorted(map(str, one.keys() ^ other.keys()))}")
            for key in one.keys() & other.keys():
                compare(one[key], other[key], f"{where}[{key!r}]")
        elif type(one).__module__.startswith("dbgemu.target") and not isinstance(one, NO_PARTS):
            if id(one) in seen:
                return
            seen.add(id(one))
            names = getattr(one, "__dict__", None) or dict.fromkeys(getattr(one, "__slots__", ()), 0)
            for name in names:
                if name not in UNSAVED:
                    compare(getattr(one, name), getattr(other, name), f"{where}.{name}")

    for name, device in first.board.devices.items():
        compare(device, second.board.devices[name], name)
    return found


#: what is nobody's state: the guest log's count; what flash held when the process began
UNSAVED = {"log", "_original", "_changed", "_initial"}
#: what parts refer to, and is saved apart or not at all
NO_PARTS = (VirtualClock, Memory, Bus, GuestLog)


def test_every_timer_that_is_armed_is_saved_by_its_device() -> None:
    machine = machine_with()
    for start in ACTIVITIES:
        start(machine)
    armed = machine.board.clock.order()
    assert len(armed) >= 12
    state = machine.save()
    for device in machine.board.devices.values():
        device.reset()
    machine.load(state)
    assert machine.board.clock.order() == armed


def test_timers_that_come_at_the_same_moment_come_in_the_same_order() -> None:
    clock, order = VirtualClock(), []
    timers = [Timer(clock, lambda n=n: order.append(n)) for n in range(4)]
    for number in (2, 0, 3, 1):
        timers[number].start_at(100)
    saved = clock.order()
    for timer in timers:
        timer.load(100)
    clock.put_in_order(saved)
    clock.skip(100)
    clock.run_due()
    assert order == [2, 0, 3, 1]


def test_a_guest_that_idles_when_it_is_saved_idles_when_it_is_loaded(
    snapshots_of: Callable[[Machine], Snapshots],
) -> None:
    first = machine_with(IDLE)
    session = DebugSession(first)
    session.resume()
    until(lambda: session.call(lambda: first._idle_pc) is not None)
    snapshots = Snapshots(session, Path(snapshots_of(first).folder))
    snapshots.save("idle")
    second = machine_with(BUSY)
    snapshots_of(second).load("idle")
    assert second._idle_pc == second.cpu.pc == START + 4
    assert session.running
    session.close()


def test_an_idle_guest_that_runs_is_put_elsewhere_and_goes_on(
    snapshots_of: Callable[[Machine], Snapshots],
) -> None:
    snapshots_of(machine_with(BUSY)).save("busy")
    machine = machine_with(IDLE)
    snapshots = snapshots_of(machine)
    session = snapshots._session
    session.resume()
    until(lambda: session.call(lambda: machine._idle_pc) is not None)
    snapshots.load("busy")
    until(lambda: session.call(lambda: machine.cpu.instructions) > 100_000)
    assert session.running


def test_a_reset_wakes_an_idle_guest_up(snapshots_of: Callable[[Machine], Snapshots]) -> None:
    machine = machine_with(IDLE)
    session = snapshots_of(machine)._session
    session.resume()
    until(lambda: session.call(lambda: machine._idle_pc) is not None)
    before = session.call(lambda: machine.cpu.instructions)
    session.reset()
    until(lambda: session.call(lambda: machine.cpu.instructions) > before)


def test_a_guest_that_sleeps_when_it_is_saved_sleeps_when_it_is_loaded(
    snapshots_of: Callable[[Machine], Snapshots],
) -> None:
    machine = machine_with(SLEEP)
    snapshots = snapshots_of(machine)
    snapshots._session.resume()
    until(lambda: snapshots._session.call(lambda: machine.asleep))
    snapshots.save("asleep")
    second = machine_with(BUSY)
    snapshots_of(second).load("asleep")
    assert second.asleep
    second.request_stop()
    before = second.cpu.instructions
    second.run()
    assert second.cpu.instructions == before


# -- Linux -------------------------------------------------------------------------------------------


#: its output would be the same only of a machine that is the same
COMMAND = "cat /proc/uptime /proc/interrupts; echo $((6*7))"


@pytest.fixture(scope="module")
def linux_at_its_prompt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with snapshots of a boot, and what COMMAND prints behind the one called "prompt"."""
    folder = tmp_path_factory.mktemp("linux")
    guest = LinuxGuest()
    snapshots = Snapshots(DebugSession(guest.machine), folder)
    for name, instructions in (("first", 40_000_000), ("second", 100_000_000)):
        guest.machine.run(instructions)
        snapshots.save(name)
    guest.boot()
    snapshots.save("prompt")
    expected = guest.command(COMMAND)
    guest.machine.run(3_000_000)
    snapshots.save("end")
    return folder, expected


def test_linux_runs_on_in_another_machine_as_if_never_stopped(linux_at_its_prompt: tuple[Path, str]) -> None:
    folder, expected = linux_at_its_prompt
    ended = LinuxGuest()
    Snapshots(DebugSession(ended.machine), folder).load("end")
    guest = LinuxGuest()
    snapshots = Snapshots(DebugSession(guest.machine), folder)
    for name in ("prompt", "first", "second"):  # back into the boot, too
        snapshots.load(name)
        if name != "prompt":
            guest.wait_for(PROMPT)
        assert guest.command(COMMAND) == expected
        guest.machine.run(3_000_000)
        assert guest.machine.digest() == ended.machine.digest()
        assert differences(ended.machine, guest.machine) == []


def test_whoever_follows_memory_writes_is_told_that_all_memory_is_another(
    snapshots_of: Callable[[Machine], Snapshots],
) -> None:
    machine = machine_with()
    snapshots = snapshots_of(machine)
    snapshots.save("a")
    told: list[tuple[int, int]] = []
    machine.board.bus.on_memory_write.append(lambda address, length: told.append((address, length)))
    snapshots.load("a")
    assert set(told) == {(0, 2 << 20), (0x30000000, 64 << 20), (0x40000000, 4096)}


def test_linux_goes_on_in_another_process(linux_at_its_prompt: tuple[Path, str]) -> None:
    folder, expected = linux_at_its_prompt
    guest = guest_folder()
    with TemporaryDirectory() as short:  # a socket's path may not be long
        serial = Path(short) / "serial"
        options = ["-kernel", guest / "zImage", "-initrd", guest / "initramfs.cpio.gz"]
        options += ["-append", COMMAND_LINE, "-serial", f"unix:{serial},server", "-monitor", "none"]
        options += ["-snapshots", folder, "-loadvm", "prompt", "-warp"]
        process = subprocess.Popen([sys.executable, "-m", "dbgemu", *map(str, options)])
        try:
            until(serial.exists, 60)
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(60)
                link.connect(str(serial))
                link.sendall(COMMAND.encode() + b"\r")
                text = ""
                while PROMPT not in text:
                    text += link.recv(65536).decode()
            assert text.replace("\r", "").partition("\n")[2] == f"{expected}{PROMPT}"
        finally:
            process.terminate()
            process.wait(30)


#: attributes of devices that are plain data and yet not saved: what the board is made of, ...
FIXED = {
    "name",
    "om",
    "crystal",
    "port",
    "tclk",
    "revision",
    "transmit",
    "on_change",
    "devices",
    "codec",
    "source",
}
FIXED |= {"_backing", "_by_offset", "_keeper", "_card", "_cycles", "_initial", "_timers"}
FIXED |= {"_effects", "_pages", "on_configured", "timing"}
#: ... what follows from registers, lines and clocks, and is worked out by load (nand's _selected too), ...
DERIVED = {
    "clkpwr": {"armclk", "camclk", "fclk", "hclk", "mpll", "pclk", "uclk", "upll"},
    "gpio": {"_falling", "_held", "_high", "_low", "_rising", "_sensitive"},
    # what the ECC engines have only been told of: they are settled to be saved
    "nand": {"_selected", "_unfed"},
    # follow from the chip's part
    "nandflash": {"_pages", "_raw_page", "_large", "_columns", "_rows", "_cycles", "_effects", "_quiet"},
    "ohci": {"_memo"},
    "uart": {"_capacity", "_data_mask", "_rx_limit", "_rx_mode", "_rx_runs", "_rx_timeout", "_rx_trigger"}
    | {"_tx_full_ns", "_tx_mode", "_tx_plain", "_tx_stands", "_tx_trigger", "_tx_trigger_ns"},
}
#: ... and what is only set within one access, or is the host's: whether it waits for room, the next reset's
#: cause (the board saves that)
PASSING = {"dma": {"_busy"}, "uart": {"_room_wanted"}, "gpio": {"reset_cause"}}


def is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple | set):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    return value is None or isinstance(value, bool | int | str | bytes | bytearray | Timer)


def test_whatever_changes_in_a_device_is_saved() -> None:
    """A new attribute has to be in STATE, or in one of the lists above for the reason given there."""
    board = machine_with().board
    devices = [*board.devices.values(), board.dm9000.mac, board.dm9000.mac.phy]
    unsaved = []
    for device in devices:
        kind = device.name.rstrip("0123456789")
        excused = FIXED | DERIVED.get(kind, set()) | PASSING.get(kind, set())
        saved = {*device.registers, *device.STATE, *device.save()}
        unsaved += [
            f"{device.name}.{name}"
            for name, value in vars(device).items()
            if name not in saved | excused and is_plain(value)
        ]
    assert unsaved == []
