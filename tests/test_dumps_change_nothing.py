"""Looking at everything while the guest runs changes nothing: two boots, one of them watched, are equal."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from linux_guest import PROMPT, LinuxGuest

from dbgemu.debug.session import DebugSession
from dbgemu.monitor.monitor import Monitor

#: in the equal-boots test: a boot takes some 300 million
_BETWEEN = 25_000_000
_STOPS = 10


def every_look(monitor: Monitor) -> Iterator[str]:
    """Each command that looks at devices, memories and translation."""
    yield from ("info devices", "info gpio", "info mmu", "info tlb", "info mem", "info")
    for name, device in monitor.session.machine.board.devices.items():
        yield f"info {name}"
        yield from (f"info {name}.{register}" for register in list(device.registers)[:2])
    for memory in ("eeprom", "nor", "sram", "sdram", "nand"):
        yield f"dump {memory}"
    yield from ("dump nand page 0", "dump nand block 1", "dump nand bad")
    yield from ("walk 0xc0008000", "walk 0xffff0000", "walk 0", "json info uart0")


def look_at_everything(monitor: Monitor) -> None:
    for line in every_look(monitor):
        monitor.run(line)


@pytest.fixture(scope="module")
def reference() -> tuple[int, str]:
    guest = LinuxGuest()
    guest.boot()
    return guest.machine.cpu.instructions, guest.machine.digest()


def test_a_boot_that_is_dumped_at_ten_points_ends_as_one_that_is_not(reference: tuple[int, str]) -> None:
    guest = LinuxGuest()
    monitor = Monitor(DebugSession(guest.machine))
    for _ in range(_STOPS):
        guest.machine.run(_BETWEEN)
        look_at_everything(monitor)
    guest.boot()
    assert (guest.machine.cpu.instructions, guest.machine.digest()) == reference


def test_a_boot_that_is_dumped_while_it_runs_ends_as_one_that_is_not(reference: tuple[int, str]) -> None:
    guest = LinuxGuest()
    session = DebugSession(guest.machine)
    monitor = Monitor(session)
    commands = list(every_look(monitor))
    printed = bytearray()

    def transmitted(character: int) -> None:
        printed.append(character)
        if printed.endswith(PROMPT.encode()):
            session.pause()

    guest.uart.on_transmit = transmitted
    session.resume()
    looks = 0
    while session.running:
        monitor.run(commands[looks % len(commands)])
        looks += 1
        time.sleep(0.01)  # a look costs the machine's thread time
    assert looks > _STOPS
    state = guest.machine.cpu.instructions, guest.machine.digest()
    session.close()
    assert state == reference


def test_looking_at_characters_that_arrive_does_not_move_them() -> None:
    def talk(watched: bool) -> tuple[int, str, str]:
        guest = LinuxGuest()
        monitor = Monitor(DebugSession(guest.machine))
        guest.boot()
        guest.uart.receive(b"echo " + b"x" * 200 + b"\r")
        for _ in range(20):
            guest.machine.run(137_777)
            if watched:
                monitor.run("info uart0")
        assert "xxxx" in guest.text
        return guest.machine.cpu.instructions, guest.machine.digest(), guest.text

    assert talk(watched=True) == talk(watched=False)
