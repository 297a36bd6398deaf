"""What ``info power``, ``info leds``, ``info pwm`` and ``info wdt`` tell."""

from __future__ import annotations

from typing import Any

import pytest
from virtual_time import advance

from dbgemu.debug.session import DebugSession
from dbgemu.machine import Machine
from dbgemu.monitor.monitor import Monitor
from dbgemu.target.mini2440 import Mini2440

CLKCON, CLKSLOW, MPLLCON, UPLLCON, CLKDIVN = 0x0C, 0x10, 0x04, 0x08, 0x14
GPBCON, GPBDAT, GPGCON, GSTATUS2, GSTATUS3 = 0x10, 0x14, 0x60, 0xB4, 0xB8


class Bench:
    def __init__(self) -> None:
        self.board = Mini2440()
        self.machine = Machine(self.board, warp=True)
        self.monitor = Monitor(DebugSession(self.machine))

    def __call__(self, line: str) -> str:
        return self.monitor.execute(line)

    def data(self, line: str) -> Any:
        return self.monitor.run(line).data

    def facts(self, device: str) -> dict[str, Any]:
        return {fact["name"]: fact["value"] for fact in self.data(f"info {device}")["facts"]}

    def write(self, address: int, value: int) -> None:
        self.board.bus.write(address, 4, value)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- info power ---------------------------------------------------------------------------------


def test_a_board_after_power_on_runs_on_its_crystal(bench: Bench) -> None:
    text = bench("info power").splitlines()
    assert text[:4] == [
        "mode: run",
        "last reset: power on",
        "last wake-up by: -",
        "SLEEP would end by: nothing",
    ]
    data = bench.data("info power")
    assert data["clocks"]["crystal"] == data["clocks"]["fclk"] == 12_000_000
    assert data["plls"] == dict.fromkeys(("mpll", "upll"), "not programmed: Fin goes through")
    assert data["instruction_ps"] == 83_333


def test_clocks_follow_plls_and_dividers(bench: Bench) -> None:
    base = 0x4C000000
    bench.write(base + CLKDIVN, 5)
    bench.write(base + UPLLCON, 0x38022)
    bench.write(base + MPLLCON, 0x7F021)
    data = bench.data("info power")
    assert data["plls"] == {"mpll": "locked", "upll": "locked"}
    clocks = data["clocks"]
    assert [clocks[name] for name in ("mpll", "upll", "fclk", "hclk", "pclk")] == [
        405_000_000,
        48_000_000,
        405_000_000,
        101_250_000,
        50_625_000,
    ]
    assert "FCLK 405 MHz, HCLK 101.25 MHz, PCLK 50.625 MHz" in bench("info power")
    bench.write(base + CLKSLOW, 1 << 4 | 3)
    assert bench("info power").startswith("mode: run, slow mode")
    assert bench.data("info power")["clocks"]["fclk"] == 2_000_000
    bench.write(base + CLKSLOW, 1 << 4 | 1 << 5 | 3)
    assert bench.data("info power")["plls"]["mpll"] == "off"


def test_gates_are_told_apart(bench: Bench) -> None:
    bench.write(0x4C000000 + CLKCON, 1 << 10 | 1 << 13)
    lines = bench("info power").splitlines()
    assert "clocked: GPIO UART0" in lines or "clocked: UART0 GPIO" in lines
    gates = bench.data("info power")["gates"]
    assert sorted(name for name, on in gates.items() if on) == ["GPIO", "UART0"]
    assert "PWMTIMER" in next(line for line in lines if line.startswith("not clocked: "))


def test_what_would_end_sleep_is_told(bench: Bench) -> None:
    bench.board.gpio.write(GPGCON, 4, 2)  # GPG0 is EINT8
    bench.board.gpio.write(0x50, 4, 2 << 4)  # GPF2 is EINT2
    bench.board.gpio.write(0x8C, 4, 2)  # EINT8 at its falling edge
    bench.write(0x57000050, 0x41)
    bench.board.gpio.write(GSTATUS3, 4, 0x30001234)
    assert bench.data("info power")["wakes"] == ["EINT2", "EINT8", "RTC alarm"]
    assert "GSTATUS3 0x30001234, GSTATUS4 0x00000000" in bench("info power")


def test_a_chip_that_sleeps_says_so_and_then_what_woke_it(bench: Bench) -> None:
    bench.board.gpio.write(GPGCON, 4, 2)
    bench.board.gpio.write(0x8C, 4, 2)
    bench.write(0x4C000000 + CLKCON, 8)
    assert bench("info power").startswith("mode: sleep")
    bench.machine.post(lambda: bench.board.tap("K1", 1_000_000))
    bench.machine.run(100)
    data = bench.data("info power")
    assert (data["mode"], data["woken_by"]) == ("run", ["EINT8"])
    assert "wake-up from SLEEP" in data["resets"]
    bench.board.gpio.write(GSTATUS2, 4, 7)
    assert "last reset: cleared by the guest" in bench("info power")


def test_a_reset_by_the_watchdog_is_told(bench: Bench) -> None:
    for offset, value in ((4, 1), (8, 1), (0, 0x21)):
        bench.write(0x53000000 + offset, value)
    advance(bench.board.clock, 1_000_000)
    bench.machine.run(1)
    assert bench.data("info power")["resets"] == ["watchdog"]
    assert "last reset: watchdog" in bench("info power")


# -- info leds ----------------------------------------------------------------------------------


def test_leds_and_buttons_are_shown_as_they_are(bench: Bench) -> None:
    assert bench("info leds").splitlines() == [
        *(f"LED{n} on GPB{n + 4}: dark" for n in range(1, 5)),
        *(
            f"{name} on GPG{pin}: released"
            for name, pin in (("K1", 0), ("K2", 3), ("K3", 5), ("K4", 6), ("K5", 7), ("K6", 11))
        ),
    ]
    bench.board.gpio.write(GPBCON, 4, 1 << 10 | 1 << 16)
    bench.board.gpio.write(GPBDAT, 4, 1 << 5)
    bench("sendkey K3-K6")
    data = bench.data("info leds")
    assert [led["name"] for led in data["leds"] if led["lit"]] == ["LED4"]
    assert [button["name"] for button in data["buttons"] if button["pressed"]] == ["K3", "K6"]
    lines = bench("info leds").splitlines()
    assert "LED4 on GPB8: lit" in lines
    assert "K6 on GPG11: pressed" in lines
    advance(bench.board.clock, 1_000_000_000)
    assert not any(button["pressed"] for button in bench.data("info leds")["buttons"])


# -- info pwm -----------------------------------------------------------------------------------


def _start(bench: Bench, count: int, compare: int, tcon: int) -> None:
    for offset, value in ((0x0C, count), (0x10, compare), (0x08, 2), (0x08, tcon)):
        bench.write(0x51000000 + offset, value)


def test_a_timer_tells_whether_it_runs_how_fast_and_its_output(bench: Bench) -> None:
    assert set(bench.facts("pwm").values()) == {
        *(f"stands at 0, TOUT{n} = 0" for n in range(4)),
        "stands at 0",
    }
    _start(bench, 5999, 2999, 9)
    advance(bench.board.clock, 250_000)
    assert bench.facts("pwm")["timer 0"] == "runs at 4499, counting at 6 MHz, zero at 1 kHz, TOUT0 = 0"
    advance(bench.board.clock, 500_000)
    assert bench.facts("pwm")["timer 0"].endswith("TOUT0 = 1")
    assert bench.data("info pwm.TCNTO0")["value"] == 1499
    _start(bench, 5999, 2999, 1)
    assert ", once, " in bench.facts("pwm")["timer 0"]


def test_a_timer_that_runs_on_without_events_is_shown_in_its_present_period(bench: Bench) -> None:
    _start(bench, 59, 29, 9)
    advance(bench.board.clock, 1_000_000_000)
    bench.write(0x5100000C, 599)
    bench.write(0x51000010, 299)
    advance(bench.board.clock, 1_000_000_000 - 50_000)
    assert bench.facts("pwm")["timer 0"] == "runs at 359, counting at 6 MHz, zero at 10 kHz, TOUT0 = 0"


# -- info wdt -----------------------------------------------------------------------------------


def test_the_watchdog_tells_when_it_will_do_what(bench: Bench) -> None:
    facts = bench.facts("wdt")
    assert facts["running"] is True
    assert facts["counts at"] == 12_000_000 // (129 * 16)
    assert facts["zero in"] == pytest.approx(5.636e9, rel=0.001)
    assert facts["at zero"] == "reset"
    advance(bench.board.clock, 1_000_000_000)
    assert bench.facts("wdt")["zero in"] == pytest.approx(4.636e9, rel=0.001)
    assert "zero in    4.636" in bench("info wdt")
    for wtcon, ends in ((0x8025, "interrupt and reset"), (0x8024, "interrupt"), (0x8020, "nothing")):
        bench.write(0x53000000, wtcon)
        assert bench.facts("wdt")["at zero"] == ends
    bench.write(0x53000000, 0)
    assert bench.facts("wdt") == {"running": False}
    assert "  running  no" in bench("info wdt").splitlines()
