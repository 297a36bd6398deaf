"""Linux's drivers for sleep, alarm, clock, buttons and LEDs, on one guest that is booted once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from linux_guest import LinuxGuest, guest_folder

from dbgemu.target.clock import NS_PER_SECOND

#: struct gpio_keys_button: size, and where its member "wakeup" is
_BUTTON_BYTES, _WAKEUP = 44, 20
_DIRECT_MAP, _SDRAM = 0xC0000000, 0x30000000
#: the key of button K1
KEY_F1 = 59


def _symbol(name: str) -> int:
    for line in (guest_folder() / "System.map").read_text().splitlines():
        address, _, found = line.split()
        if found == name:
            return int(address, 16)
    raise LookupError(name)


def _enable_suspend(guest: LinuxGuest) -> None:
    """Let the kernel suspend as a board file does whose board can: call s3c_pm_init(), have K1 wake it."""
    machine, cpu = guest.machine, guest.machine.cpu
    place = _symbol("s3c2440_pm_drvinit")
    cpu.add_breakpoint(place)
    machine.run(1_000_000_000)
    assert cpu.pc == place
    cpu.write_memory(_symbol("mini2440_buttons") + _WAKEUP, b"\x01")
    kept = {name: cpu.read_register(name) for name in ("r0", "r1", "r2", "r3", "r12", "lr")}
    cpu.write_register("lr", place)
    cpu.write_register("pc", _symbol("s3c_pm_init"))
    machine.run(1_000_000)
    assert cpu.pc == place
    for name, value in kept.items():
        cpu.write_register(name, value)
    cpu.remove_breakpoint(place)


def _repair_identity_map(guest: LinuxGuest) -> None:
    """Give the page table that resume begins with the kernel's own entries of the vmalloc region.

    Linux 6.1 with CONFIG_VMAP_STACK switches from it to TTBR1 before it touches a stack, which ARMv4 has not:
    there the resume of a task whose stack is in a part of the region that was used later on dies.
    """
    bus = guest.machine.board.bus
    pointer = _symbol("idmap_pgd") - _DIRECT_MAP + _SDRAM
    identity = int.from_bytes(bus.peek(pointer, 4), "little") - _DIRECT_MAP + _SDRAM
    own = _symbol("swapper_pg_dir") - _DIRECT_MAP + _SDRAM
    first, size = 0xC4800000 >> 18, (0xFF000000 - 0xC4800000) >> 18
    bus.poke(identity + first, bus.peek(own + first, size))


@pytest.fixture(scope="module")
def guest() -> LinuxGuest:
    guest = LinuxGuest()
    _enable_suspend(guest)
    power = guest.machine.board.clkpwr
    usual = power.on_sleep

    def sleep() -> None:
        _repair_identity_map(guest)
        usual()

    power.on_sleep = sleep
    guest.boot()
    return guest


@pytest.fixture
def errors(guest: LinuxGuest) -> Iterator[list[str]]:
    """The guest errors of the test, without those that are the drivers' own."""
    log, seen = guest.machine.board.log, []
    log.listeners.append(lambda error: seen.append(str(error)))
    yield seen
    log.listeners.pop()


def _events(guest: LinuxGuest, path: str) -> list[list[str]]:
    """Type, code and value (two halves) of each struct input_event in a file of the guest's, in hex."""
    dump = guest.command(f'hexdump -v -e \'8/2 "%04x " "\\n"\' {path}')
    return [line.split()[4:] for line in dump.splitlines()]


def _sleep(guest: LinuxGuest) -> None:
    """Type the command that suspends, and run until the chip sleeps."""
    machine, power = guest.machine, guest.machine.board.clkpwr
    usual = power.on_sleep

    def sleep() -> None:
        usual()
        machine.request_stop()

    power.on_sleep = sleep
    guest.command("echo +60 > /sys/class/rtc/rtc0/wakealarm")  # if nothing else wakes it, the test ends too
    guest.uart.receive(b"echo mem > /sys/power/state; echo wok'e'n\r")
    machine.run(1_000_000_000)
    power.on_sleep = usual
    assert machine.asleep


def test_linux_sleeps_until_the_alarm(guest: LinuxGuest, errors: list[str]) -> None:
    board = guest.machine.board
    assert "[deep]" in guest.command("cat /sys/power/mem_sleep")
    guest.command("echo +20 > /sys/class/rtc/rtc0/wakealarm")
    alarm = int(guest.command("cat /sys/class/rtc/rtc0/wakealarm"))
    printed = guest.command("echo mem > /sys/power/state; date +%s")
    assert "PM: suspend exit" in printed
    assert board.clkpwr.woken_by == 1 << 16
    assert alarm <= int(printed.split()[-1]) <= alarm + 1, "the time went on"
    assert guest.command("cat /sys/class/rtc/rtc0/wakealarm") == "", "the alarm's handler was called"
    assert not [error for error in errors if error.startswith(("clkpwr", "rtc", "wdt"))]


def test_a_button_wakes_linux_and_its_key_is_seen(guest: LinuxGuest) -> None:
    machine, board = guest.machine, guest.machine.board
    guest.command("dd if=/dev/input/event2 of=/tmp/woken bs=16 count=2 2>/dev/null &")
    _sleep(guest)
    before, count = board.clock.now, machine.cpu.instructions
    machine.post(lambda: board.tap("K1", NS_PER_SECOND))
    guest.wait_for("woken")
    guest.wait_for("~# ")
    assert machine.cpu.instructions - count < 300_000_000
    assert board.clock.now - before < 5 * NS_PER_SECOND
    assert board.clkpwr.woken_by == 1 << 8
    guest.command("sleep 2")
    assert ["0001", f"{KEY_F1:04x}", "0001", "0000"] in _events(guest, "/tmp/woken")


def test_linux_turns_an_led_off_for_sleep_and_on_again_afterwards(guest: LinuxGuest) -> None:
    machine, board = guest.machine, guest.machine.board
    guest.command("echo none > /sys/class/leds/led2/trigger; echo 1 > /sys/class/leds/led2/brightness")
    assert board.leds[1].lit
    _sleep(guest)
    assert not board.leds[1].lit
    machine.post(lambda: board.tap("K1", NS_PER_SECOND // 10))
    guest.wait_for("woken")
    guest.wait_for("~# ")
    assert board.leds[1].lit
    guest.command("echo 0 > /sys/class/leds/led2/brightness")
    assert not board.leds[1].lit


@pytest.mark.parametrize("number", range(4))
def test_an_led_shines_when_linux_says_so(guest: LinuxGuest, number: int) -> None:
    led, folder = guest.machine.board.leds[number], f"/sys/class/leds/led{number + 1}"
    guest.command(f"echo none > {folder}/trigger; echo 1 > {folder}/brightness")
    assert led.lit
    guest.command(f"echo 0 > {folder}/brightness")
    assert not led.lit


def test_the_clock_keeps_what_hwclock_writes_over_a_leap_day(guest: LinuxGuest) -> None:
    guest.command("date -u -s '2028-02-28 23:59:58'; hwclock -u -w; sleep 3")
    rtc = "/sys/class/rtc/rtc0"
    day, time = guest.command(f"cat {rtc}/date {rtc}/time").split()
    assert day == "2028-02-29"
    assert time.startswith("00:00:0")
    assert guest.command("hwclock -u -r").startswith("Tue Feb 29 00:00:0")


def test_an_alarm_comes_at_its_second(guest: LinuxGuest) -> None:
    def alarms() -> int:
        return int(guest.command("grep 'rtc alarm' /proc/interrupts").split()[1])

    before = alarms()
    guest.command("echo 0 > /sys/class/rtc/rtc0/wakealarm; echo +3 > /sys/class/rtc/rtc0/wakealarm; sleep 1")
    assert alarms() == before
    guest.command("sleep 3")
    assert alarms() == before + 1
