"""Linux's drivers for watchdog, PWM outputs and buttons, and what it says while it boots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from linux_guest import LinuxGuest

from dbgemu.debug.session import DebugSession
from dbgemu.monitor.monitor import Monitor
from dbgemu.target.clock import NS_PER_SECOND

#: the keys that the kernel's board file gives K1 to K5
KEYS = {"K1": 59, "K2": 60, "K3": 61, "K4": 116, "K5": 63}
#: struct input_event: seconds, microseconds, type and code, value
EVENT = '1/4 "%u," 1/4 "%u," 2/2 "%u," 1/4 "%d\\n"'
GPG11 = 203
PWM = "/sys/class/pwm/pwmchip0"
#: one tick of the timers behind the kernel's prescaler: PCLK / 25 / 2
TICK = 50 * NS_PER_SECOND / 50_625_000
WTCON, GSTATUS2 = 0x53000000, 0x560000B4
ENABLE, RESET_ENABLE = 1 << 5, 1 << 0


@pytest.fixture(scope="module")
def guest() -> LinuxGuest:
    guest = LinuxGuest()
    guest.boot()
    _make_quiet(guest)
    return guest


def _make_quiet(guest: LinuxGuest) -> None:
    """Let the console show what programs print: no kernel messages, no breaks in what is typed."""
    guest.command("dmesg -n 1; stty cols 250")


def _read(guest: LinuxGuest, address: int) -> int:
    return int(guest.command(f"devmem 0x{address:x}").strip(), 16)


# -- buttons ------------------------------------------------------------------------------------


def _events(guest: LinuxGuest, count: int) -> list[tuple[float, int, int, int]]:
    """Time (s), type, code and value of what the reader that was started got."""
    guest.command("wait")
    dump = guest.command(f"hexdump -v -e '{EVENT}' /tmp/keys")
    events = [[int(word) for word in line.split(",")] for line in dump.splitlines()]
    assert len(events) == count
    return [(second + micro / 1e6, *rest) for second, micro, *rest in events]


def _read_keys(guest: LinuxGuest, count: int) -> None:
    """Have ``count`` events put into a file; returns when the reader has opened the device."""
    guest.command(
        f"dd if=/dev/input/event2 of=/tmp/keys bs=16 count={count} 2>/dev/null & "
        "until ls -l /proc/$!/fd | grep -q event2; do usleep 10000; done"
    )


@pytest.mark.parametrize("button", KEYS)
def test_a_button_is_a_key_that_is_pressed_and_released(guest: LinuxGuest, button: str) -> None:
    machine, board = guest.machine, guest.machine.board
    _read_keys(guest, 4)
    machine.post(lambda: board.tap(button, NS_PER_SECOND // 5))
    press, sync, release, _ = _events(guest, 4)
    assert press[1:] == (1, KEYS[button], 1)
    assert release[1:] == (1, KEYS[button], 0)
    assert sync[1:] == (0, 0, 0)
    assert release[0] - press[0] == pytest.approx(0.2, abs=0.02)


def test_buttons_that_are_held_together_are_told_apart(guest: LinuxGuest) -> None:
    machine, board = guest.machine, guest.machine.board
    _read_keys(guest, 8)

    def press() -> None:
        board.tap("K1", NS_PER_SECOND // 2)
        board.tap("K5", NS_PER_SECOND // 4)

    machine.post(press)
    keys = [(code, value) for _, kind, code, value in _events(guest, 8) if kind == 1]
    assert keys == [(59, 1), (63, 1), (63, 0), (59, 0)]


def test_button_k6_which_the_board_file_leaves_out_interrupts_as_a_pin(guest: LinuxGuest) -> None:
    machine, board = guest.machine, guest.machine.board
    pin = f"/sys/class/gpio/gpio{GPG11}"
    guest.command(f"echo {GPG11} > /sys/class/gpio/export; echo both > {pin}/edge")
    assert guest.command(f"cat {pin}/value") == "1\n"
    machine.post(lambda: board.tap("K6", NS_PER_SECOND // 2))
    assert guest.command(f"cat {pin}/value") == "0\n"
    guest.command("sleep 1")
    assert guest.command(f"cat {pin}/value") == "1\n"
    (line,) = guest.command("grep gpiolib /proc/interrupts").splitlines()
    assert line.split()[1:5] == ["2", "s3c-ext", "19", "Edge"]
    guest.command(f"echo {GPG11} > /sys/class/gpio/unexport")


# -- PWM ----------------------------------------------------------------------------------------


@pytest.fixture
def output(guest: LinuxGuest) -> Iterator[str]:
    """PWM channel 2, exported, and not enabled any more afterwards."""
    guest.command(f"echo 2 > {PWM}/export")
    yield f"{PWM}/pwm2"
    guest.command(f"echo 0 > {PWM}/pwm2/enable; echo 0 > {PWM}/pwm2/duty_cycle; echo 2 > {PWM}/unexport")


def _wave(guest: LinuxGuest, seconds: float) -> tuple[float, float, int]:
    """Period and time at 1 of TOUT2, in ticks, and the edges seen while the guest slept."""
    board = guest.machine.board
    edges: list[tuple[int, int]] = []

    def edge(level: int) -> None:
        edges.append((board.clock.now, level))

    line = board.pwm.outputs[2]
    line.connect(edge)
    board.pwm.channels[2].refresh_output()
    edges.clear()
    guest.command(f"sleep {seconds}")
    line.listeners.remove(edge)
    rises = [time for time, level in edges if level]
    falls = [time for time, level in edges if not level and time > rises[0]]
    high = sum(fall - rise for rise, fall in zip(rises, falls, strict=False))
    return (
        (rises[-1] - rises[0]) / (len(rises) - 1) / TICK,
        high / min(len(rises), len(falls)) / TICK,
        len(edges),
    )


@pytest.mark.parametrize(
    ("period", "duty", "ticks", "high"),
    [(20_000_000, 1_500_000, 20_263, 1519), (1_000_000, 250_000, 1013, 253), (100_000, 99_000, 101, 100)],
)
def test_a_pwm_output_has_the_period_and_duty_of_sysfs(
    guest: LinuxGuest, output: str, period: int, duty: int, ticks: int, high: int
) -> None:
    guest.command(f"echo {period} > {output}/period; echo {duty} > {output}/duty_cycle")
    guest.command(f"echo 1 > {output}/enable")
    pwm = guest.machine.board.pwm
    assert pwm.peek(0x24, 4) == ticks - 1
    assert pwm.peek(0x28, 4) == ticks - high - 1
    seen_period, seen_high, edges = _wave(guest, 0.5)
    assert seen_period == pytest.approx(ticks, abs=0.01)
    assert seen_high == pytest.approx(high, abs=0.01)
    assert edges >= 2 * int(0.5 * NS_PER_SECOND / period) - 2


def test_an_inversed_pwm_output_is_high_for_the_rest(guest: LinuxGuest, output: str) -> None:
    guest.command(f"echo 1000000 > {output}/period; echo 250000 > {output}/duty_cycle")
    guest.command(f"echo inversed > {output}/polarity; echo 1 > {output}/enable")
    _, high, _ = _wave(guest, 0.1)
    assert high == pytest.approx(1013 - 253, abs=0.01)
    guest.command(f"echo 0 > {output}/enable; echo normal > {output}/polarity")


def test_a_pwm_output_that_is_disabled_stands_still(guest: LinuxGuest, output: str) -> None:
    guest.command(f"echo 1000000 > {output}/period; echo 250000 > {output}/duty_cycle")
    guest.command(f"echo 1 > {output}/enable; sleep 0.1; echo 0 > {output}/enable; sleep 0.1")
    assert not guest.machine.board.pwm.channels[2].running
    assert guest.machine.board.pwm.peek(0x2C, 4) == 0


def test_a_short_pwm_period_costs_nothing_while_nobody_looks_at_the_pin(
    guest: LinuxGuest, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.command(f"echo 2000 > {output}/period; echo 1000 > {output}/duty_cycle; echo 1 > {output}/enable")
    channel = guest.machine.board.pwm.channels[2]
    assert (channel.running, channel.top) == (True, 1)
    calls = 0
    arm = channel.clock.arm

    def count(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        arm(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(channel.clock, "arm", count)
    guest.command("sleep 1")
    assert calls < 2000, "of all of the board's timers: a second has 506250 periods"


# -- serial ports 1 and 2 -----------------------------------------------------------------------


@pytest.mark.parametrize("port", [1, 2])
def test_the_other_serial_ports_send_and_receive(guest: LinuxGuest, port: int) -> None:
    uart, sent = guest.machine.board.uarts[port], bytearray()
    uart.on_transmit = sent.append
    text = "".join(f"{number} " for number in range(100))
    guest.command(f"stty -F /dev/ttySAC{port} 57600 raw -echo; exec 4<>/dev/ttySAC{port}")
    guest.command(f"echo '{text}' >&4; sleep 1")
    assert sent.decode() == f"{text}\n"
    guest.machine.post(lambda: uart.receive(f"{text}\n".encode()))
    assert guest.command("head -n 1 <&4; exec 4>&-") == f"{text}\n"


# -- EEPROM ------------------------------------------------------------------------------------


def test_the_eeprom_that_linux_sees_is_the_one_that_the_monitor_dumps(guest: LinuxGuest) -> None:
    path = "/sys/bus/i2c/devices/0-0050/eeprom"
    # over pages of 16 and a block of 256 bytes
    guest.command(f"seq 1000 1060 | dd of={path} bs=1 seek=251 2>/dev/null")
    monitor = Monitor(DebugSession(guest.machine))
    dumped = monitor.execute("dump eeprom 0 0x400")
    assert guest.command(f"hexdump -C {path}").splitlines() == dumped.splitlines()
    text = "".join(f"{number}\n" for number in range(1000, 1061)).encode()
    assert guest.machine.board.eeprom.contents[251 : 251 + len(text)] == text


# -- watchdog -----------------------------------------------------------------------------------


def test_a_watchdog_that_is_closed_in_order_is_off(guest: LinuxGuest) -> None:
    guest.command("exec 3>/dev/watchdog")
    assert _read(guest, WTCON) & (ENABLE | RESET_ENABLE) == ENABLE | RESET_ENABLE
    guest.command("echo V >&3; exec 3>&-")
    assert _read(guest, WTCON) & (ENABLE | RESET_ENABLE) == 0
    guest.command("touch /tmp/before; sleep 40")
    assert "before" in guest.command("ls /tmp")


def test_a_watchdog_that_is_not_fed_resets_the_board_which_boots_again(guest: LinuxGuest) -> None:
    machine, board = guest.machine, guest.machine.board
    assert _read(guest, GSTATUS2) == 1, "power-on"
    guest.command("exec 3>/dev/watchdog; sleep 12; echo more >&3")
    assert guest.command("sleep 12; echo alive") == "alive\n"
    guest.command("exec 3>&-")  # feeds it once more, and does not end it
    fed, resets = board.clock.now, []
    machine.on_guest_reset.append(lambda: resets.append(board.clock.now))
    guest.wait_for("Booting Linux on physical CPU 0x0")
    machine.on_guest_reset.pop()
    assert len(resets) == 1
    assert (resets[0] - fed) / NS_PER_SECOND == pytest.approx(15, abs=0.1), "the driver's default"
    guest.boot()
    _make_quiet(guest)
    assert _read(guest, GSTATUS2) == 4, "the watchdog"
    assert not _read(guest, WTCON) & ENABLE
    assert "before" not in guest.command("ls /tmp")


# -- the boot's messages ------------------------------------------------------------------------


def _explained() -> list[str]:
    """The messages of the table in docs/board.md."""
    page = (Path(__file__).resolve().parent.parent / "docs/board.md").read_text()
    section = page.split("\n## What Linux complains of\n")[1].split("\n## ")[0]
    return [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]


def test_the_boot_has_no_error_but_those_that_the_page_explains(guest: LinuxGuest) -> None:
    printed = guest.command("dmesg -r | grep '^<[0-4]>'").splitlines()
    messages = [line.partition("] ")[2] for line in printed]
    explained = _explained()
    assert messages
    assert [message for message in messages if not message.startswith(tuple(explained))] == []
    assert [text for text in explained if not any(message.startswith(text) for message in messages)] == []
