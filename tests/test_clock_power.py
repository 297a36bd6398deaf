"""ClockPower: the frequencies that the registers stand for, idle and sleep."""

from __future__ import annotations

import pytest

from dbgemu.target.bus import Bus
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.s3c2440.clock_power import ClockPower
from dbgemu.target.s3c2440.clocks import Clocks, FixedClocks

MPLLCON, UPLLCON, CLKCON, CLKSLOW, CLKDIVN, CAMDIVN = 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18


def pll(m: int, p: int, s: int) -> int:
    return m << 12 | p << 4 | s


def programmed(m: int = 0x7F, p: int = 2, s: int = 1) -> ClockPower:
    clkpwr = ClockPower()
    clkpwr.write(MPLLCON, 4, pll(m, p, s))
    return clkpwr


def test_registers_have_the_reset_values_of_the_manual() -> None:
    clkpwr = ClockPower()
    values = {entry.register.name: entry.value for entry in clkpwr.dump()}
    assert values == {
        "LOCKTIME": 0xFFFFFFFF,
        "MPLLCON": 0x00096030,
        "UPLLCON": 0x0004D030,
        "CLKCON": 0x00FFFFF0,
        "CLKSLOW": 4,
        "CLKDIVN": 0,
        "CAMDIVN": 0,
    }


def test_the_crystal_is_every_clock_until_the_plls_are_programmed() -> None:
    clocks: Clocks = ClockPower()
    assert (clocks.fclk, clocks.hclk, clocks.pclk, clocks.uclk) == (12_000_000,) * 4


def test_writing_the_reset_value_of_mpllcon_starts_the_main_pll() -> None:
    clkpwr = ClockPower()
    clkpwr.write(MPLLCON, 4, clkpwr.read(MPLLCON, 4))
    assert clkpwr.fclk == 2 * 158 * 12_000_000 // 5


@pytest.mark.parametrize(
    ("m", "p", "s", "mhz"),
    [
        # The 12 MHz table of Linux' drivers/clk/samsung/clk-s3c2410.c.
        (0x5C, 1, 1, 400),
        (0x7A, 2, 1, 390),
        (0xB1, 4, 1, 370),
        (0x75, 3, 1, 300),
        (0x70, 1, 2, 240),
        (0x98, 4, 2, 160),
        (0x66, 1, 3, 110),
        (0x75, 3, 3, 75),
    ],
)
def test_the_main_pll_makes_the_frequencies_of_linux_table(m: int, p: int, s: int, mhz: int) -> None:
    assert programmed(m, p, s).fclk == mhz * 1_000_000


def test_the_main_pll_rounds_down_only_once() -> None:
    clkpwr = ClockPower(crystal=16_934_400)
    clkpwr.write(MPLLCON, 4, pll(97, 1, 2))
    assert clkpwr.fclk == 2 * 105 * 16_934_400 // (3 * 4) == 296_352_000
    clkpwr.write(MPLLCON, 4, pll(1, 5, 0))
    assert clkpwr.fclk == 2 * 9 * 16_934_400 // 7


def test_the_usb_pll_makes_48_mhz_or_96_mhz_halved() -> None:
    clkpwr = ClockPower()
    clkpwr.write(UPLLCON, 4, pll(0x38, 2, 2))
    assert clkpwr.uclk == 48_000_000
    clkpwr.write(UPLLCON, 4, pll(0x38, 2, 1))
    assert clkpwr.uclk == 96_000_000
    clkpwr.write(CLKDIVN, 4, 8)
    assert clkpwr.uclk == 48_000_000
    assert clkpwr.fclk == 12_000_000


@pytest.mark.parametrize(
    ("clkdivn", "camdivn", "hclk_divisor", "pclk_divisor"),
    [
        (0, 0, 1, 1),
        (1, 0, 1, 2),
        (2, 0, 2, 2),
        (3, 0, 2, 4),
        (4, 0, 4, 4),
        (5, 0, 4, 8),
        (5, 1 << 9, 8, 16),
        (5, 1 << 8, 4, 8),
        (6, 0, 3, 3),
        (7, 0, 3, 6),
        (7, 1 << 8, 6, 12),
        (7, 1 << 9, 3, 6),
        (3, 3 << 8, 2, 4),
    ],
)
def test_dividers_make_the_bus_clocks(
    clkdivn: int, camdivn: int, hclk_divisor: int, pclk_divisor: int
) -> None:
    clkpwr = programmed(0x5C, 1, 1)
    clkpwr.write(CLKDIVN, 4, clkdivn)
    clkpwr.write(CAMDIVN, 4, camdivn)
    assert clkpwr.fclk == 400_000_000
    assert clkpwr.hclk == 400_000_000 // hclk_divisor
    assert clkpwr.pclk == 400_000_000 // pclk_divisor


def test_dynamic_voltage_scaling_runs_the_core_at_hclk() -> None:
    clkpwr = programmed(0x5C, 1, 1)
    clkpwr.write(CLKDIVN, 4, 5)
    assert clkpwr.armclk == 400_000_000
    clkpwr.write(CAMDIVN, 4, 1 << 12)
    assert clkpwr.armclk == 100_000_000
    assert clkpwr.fclk == 400_000_000


def test_the_camera_clock_is_the_usb_pll_or_a_part_of_it() -> None:
    clkpwr = ClockPower()
    clkpwr.write(UPLLCON, 4, pll(0x38, 2, 1))
    assert clkpwr.camclk == 96_000_000
    clkpwr.write(CAMDIVN, 4, 1 << 4 | 3)
    assert clkpwr.camclk == 12_000_000


@pytest.mark.parametrize(("slow_val", "divisor"), [(0, 1), (1, 2), (2, 4), (4, 8), (7, 14)])
def test_slow_mode_divides_the_crystal(slow_val: int, divisor: int) -> None:
    clkpwr = programmed()
    clkpwr.write(CLKDIVN, 4, 3)
    clkpwr.write(CLKSLOW, 4, 1 << 4 | slow_val)
    assert clkpwr.fclk == 12_000_000 // divisor
    assert clkpwr.hclk == clkpwr.fclk // 2
    assert clkpwr.pclk == clkpwr.hclk // 2
    clkpwr.write(CLKSLOW, 4, slow_val)
    assert clkpwr.fclk == 405_000_000


def test_the_main_pll_can_be_changed_in_slow_mode() -> None:
    clkpwr = programmed()
    clkpwr.write(CLKSLOW, 4, 1 << 5 | 1 << 4 | 4)
    clkpwr.write(MPLLCON, 4, pll(0x5C, 1, 1))
    assert clkpwr.fclk == 1_500_000
    clkpwr.write(CLKSLOW, 4, 4)
    assert clkpwr.fclk == 400_000_000


def test_the_main_pll_is_not_turned_off_outside_of_slow_mode() -> None:
    log = GuestLog()
    clkpwr = ClockPower(log=log)
    clkpwr.set_bootloader_defaults()
    clkpwr.write(CLKSLOW, 4, 1 << 5 | 4)
    assert clkpwr.fclk == 405_000_000
    assert log.count == 1


def test_turning_the_usb_pll_off_leaves_the_crystal() -> None:
    clkpwr = ClockPower()
    clkpwr.set_bootloader_defaults()
    clkpwr.write(CLKSLOW, 4, 1 << 7 | 4)
    assert clkpwr.uclk == 12_000_000
    clkpwr.write(CLKSLOW, 4, 4)
    assert clkpwr.uclk == 48_000_000


def test_bootloader_defaults_are_those_that_other_blocks_are_tested_with() -> None:
    clkpwr = ClockPower()
    clkpwr.set_bootloader_defaults()
    expected = FixedClocks()
    assert (clkpwr.fclk, clkpwr.hclk, clkpwr.pclk, clkpwr.uclk) == (
        expected.fclk,
        expected.hclk,
        expected.pclk,
        expected.uclk,
    )
    assert clkpwr.read(CLKDIVN, 4) == 5
    assert clkpwr.read(MPLLCON, 4) == 0x7F021
    assert clkpwr.read(UPLLCON, 4) == 0x38022


def test_listeners_hear_of_changes_only_and_see_the_new_clocks() -> None:
    clkpwr = programmed()
    seen: list[int] = []
    clkpwr.on_change.append(lambda: seen.append(clkpwr.pclk))
    clkpwr.write(MPLLCON, 4, pll(0x7F, 2, 1))
    assert seen == []
    clkpwr.write(CLKDIVN, 4, 5)
    assert seen == [50_625_000]
    clkpwr.write(0x00, 4, 0)
    clkpwr.write(CLKCON, 4, 0)
    assert seen == [50_625_000]


def test_reset_goes_back_to_the_crystal_and_tells() -> None:
    clkpwr = ClockPower()
    clkpwr.set_bootloader_defaults()
    changes: list[int] = []
    clkpwr.on_change.append(lambda: changes.append(clkpwr.fclk))
    clkpwr.reset()
    assert changes == [12_000_000]
    assert clkpwr.read(MPLLCON, 4) == 0x00096030
    assert (clkpwr.pclk, clkpwr.uclk) == (12_000_000, 12_000_000)


def test_the_idle_bit_calls_on_idle_and_is_gone_when_the_core_reads() -> None:
    calls: list[str] = []
    clkpwr = ClockPower(on_idle=lambda: calls.append("idle"), on_sleep=lambda: calls.append("sleep"))
    clkpwr.write(CLKCON, 4, clkpwr.read(CLKCON, 4) | 4)
    assert calls == ["idle"]
    assert clkpwr.peek(CLKCON, 4) == 0x00FFFFF4
    assert clkpwr.peek(CLKCON, 4) == 0x00FFFFF4
    assert clkpwr.read(CLKCON, 4) == 0x00FFFFF0
    assert clkpwr.peek(CLKCON, 4) == 0x00FFFFF0


def test_linux_idle_sequence_idles_once() -> None:
    idles: list[int] = []
    clkpwr = ClockPower(on_idle=lambda: idles.append(1))
    bus = Bus()
    bus.map(0x4C000000, clkpwr)
    bus.write(0x4C00000C, 4, bus.read(0x4C00000C, 4) | 4)
    for _ in range(50):
        bus.read(0x4C00000C, 4)
    bus.write(0x4C00000C, 4, bus.read(0x4C00000C, 4) & ~4)
    assert len(idles) == 1
    bus.write(0x4C00000C, 4, bus.read(0x4C00000C, 4) | 4)
    assert len(idles) == 2


def test_wake_up_clears_the_power_mode_bits() -> None:
    clkpwr = ClockPower()
    clkpwr.write(CLKCON, 4, 0x00FFFFF4)
    clkpwr.wake_up()
    assert clkpwr.peek(CLKCON, 4) == 0x00FFFFF0
    clkpwr.write(CLKCON, 4, 0x00FFFFF8)
    clkpwr.wake_up()
    assert clkpwr.peek(CLKCON, 4) == 0x00FFFFF0


def test_sleep_wins_over_idle() -> None:
    calls: list[str] = []
    clkpwr = ClockPower(on_idle=lambda: calls.append("idle"), on_sleep=lambda: calls.append("sleep"))
    clkpwr.write(CLKCON, 4, 0xC)
    assert calls == ["sleep"]


def test_clock_gates_are_found_by_name() -> None:
    clkpwr = ClockPower()
    assert clkpwr.enabled("UART0")
    clkpwr.write(CLKCON, 4, 0x00FFFFF0 & ~(1 << 10))
    assert not clkpwr.enabled("UART0")
    assert clkpwr.enabled("UART1")


def test_a_saved_state_brings_its_clocks_back() -> None:
    clkpwr = ClockPower()
    clkpwr.set_bootloader_defaults()
    state = clkpwr.save()
    other = ClockPower()
    changes: list[int] = []
    other.on_change.append(lambda: changes.append(other.fclk))
    other.load(state)
    assert changes == [405_000_000]
    assert other.save() == state
    clkpwr.reset()
    clkpwr.load(state)
    assert clkpwr.uclk == 48_000_000


@pytest.mark.parametrize("value", [0, 0xFFFFFFFF, 0x55555555, 0xAAAAAAAA])
def test_no_register_value_leaves_a_clock_at_zero(value: int) -> None:
    clkpwr = ClockPower()
    for offset in range(0, 0x1C, 4):
        clkpwr.write(offset, 4, value)
    assert min(clkpwr.fclk, clkpwr.hclk, clkpwr.pclk, clkpwr.uclk, clkpwr.camclk) > 0
