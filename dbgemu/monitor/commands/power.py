"""``info power`` and ``info leds``: modes, clocks, gates and what wakes the chip; lights and buttons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dbgemu.monitor.command import Command, Report
from dbgemu.monitor.context import Context
from dbgemu.target.s3c2440.clock_power import DVS_EN, MPLL_OFF, SLOW, UPLL_OFF, WAKE_ALARM, ClockPower
from dbgemu.target.s3c2440.rtc import ALMEN

if TYPE_CHECKING:
    from dbgemu.machine import Machine
    from dbgemu.target.mini2440 import Mini2440

_CLOCKS = ("crystal", "mpll", "upll", "fclk", "hclk", "pclk", "uclk", "armclk", "camclk")
_CAUSES = {1: "power on", 2: "wake-up from SLEEP", 4: "watchdog"}
#: fields of CLKCON that are no gates
_MODES = ("SLEEP", "IDLE")


def _info_power(context: Context, arguments: Sequence[str]) -> Report:
    machine = context.session.machine
    data = context.session.call(lambda: _describe(machine))
    return Report("\n".join(_lines(data)), data)


def _describe(machine: Machine) -> dict[str, Any]:
    board = machine.board
    power = board.clkpwr
    gates = {
        field.name: bool(field.get(power.CLKCON))
        for field in ClockPower.CLKCON.fields
        if field.name not in _MODES
    }
    return {
        "mode": "sleep" if machine.asleep else "idle" if machine.idle else "run",
        "slow": bool(power.CLKSLOW & SLOW),
        "dvs": bool(power.CAMDIVN & DVS_EN),
        "clocks": {name: getattr(power, name) for name in _CLOCKS},
        "plls": {
            "mpll": _pll(power.mpll_programmed, power.CLKSLOW & MPLL_OFF and power.CLKSLOW & SLOW),
            "upll": _pll(power.upll_programmed, power.CLKSLOW & UPLL_OFF),
        },
        "instruction_ps": board.clock.period_ps,
        "gates": gates,
        "wakes": list(_wakes(board)),
        "woken_by": _sources(power.woken_by),
        "resets": [name for bit, name in _CAUSES.items() if board.gpio.GSTATUS2 & bit],
        "inform": [board.gpio.GSTATUS3, board.gpio.GSTATUS4],
    }


def _pll(programmed: bool, off: int) -> str:
    return "off" if off else "locked" if programmed else "not programmed: Fin goes through"


def _sources(mask: int) -> list[str]:
    names = [f"EINT{number}" for number in range(16) if mask >> number & 1]
    return names + ["RTC alarm"] * bool(mask & WAKE_ALARM)


def _wakes(board: Mini2440) -> Iterator[str]:
    """What would end SLEEP now: every pin in EINT function, masked or not (S3C2440A UM 7-15), the alarm."""
    selected = board.gpio.eint_pins()
    for number in range(16):
        if selected >> number & 1:
            yield f"EINT{number}"
    if board.rtc.RTCALM & ALMEN:
        yield "RTC alarm"


def _lines(data: dict[str, Any]) -> Iterator[str]:
    flags = [text for key, text in (("slow", "slow mode"), ("dvs", "core at HCLK")) if data[key]]
    yield f"mode: {', '.join([data['mode'], *flags])}"
    yield f"last reset: {' and '.join(data['resets']) or 'cleared by the guest'}"
    yield f"last wake-up by: {', '.join(data['woken_by']) or '-'}"
    yield f"SLEEP would end by: {', '.join(data['wakes']) or 'nothing'}"
    clocks = data["clocks"]
    names = {"crystal": "Fin", "armclk": "core"}
    yield "clocks: " + ", ".join(f"{names.get(name, name.upper())} {_mhz(hz)}" for name, hz in clocks.items())
    yield f"PLLs: MPLL {data['plls']['mpll']}; UPLL {data['plls']['upll']}"
    yield f"an instruction takes {data['instruction_ps']} ps"
    gates = data["gates"]
    yield f"clocked: {' '.join(name for name, on in gates.items() if on) or '-'}"
    yield f"not clocked: {' '.join(name for name, on in gates.items() if not on) or '-'}"
    yield "GSTATUS3 0x{:08x}, GSTATUS4 0x{:08x}".format(*data["inform"])


def _mhz(hertz: int) -> str:
    return f"{hertz / 1e6:g} MHz"


def _info_leds(context: Context, arguments: Sequence[str]) -> Report:
    board = context.session.machine.board

    def look() -> dict[str, Any]:
        return {
            "leds": [{"name": led.name, "pin": led.pin.name, "lit": led.lit} for led in board.leds],
            "buttons": [{"name": b.name, "pin": b.pin.name, "pressed": b.pressed} for b in board.buttons],
        }

    data = context.session.call(look)
    lines = [f"{led['name']} on {led['pin']}: {'lit' if led['lit'] else 'dark'}" for led in data["leds"]]
    for button in data["buttons"]:
        state = "pressed" if button["pressed"] else "released"
        lines.append(f"{button['name']} on {button['pin']}: {state}")
    return Report("\n".join(lines), data)


COMMANDS = (
    Command(
        "info power",
        _info_power,
        "show the chip's mode, clocks and gates, and what wakes it",
        group="board",
    ),
    Command("info leds", _info_leds, "show which LEDs shine and which buttons are pressed", group="board"),
)
