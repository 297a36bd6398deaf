"""``info gpio``: the pins, what makes their levels, and what the board connects them to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dbgemu.monitor.command import Argument, Command, CommandError, Report
from dbgemu.monitor.context import Context
from dbgemu.target.facts import Fact
from dbgemu.target.s3c2440.gpio_ports import PinState

_LEVELS = ("low", "high")
_PULL_UPS = {True: "on", False: "off", None: "-"}
_HEADINGS = ("pin", "function", "direction", "level", "by", "latch", "pull-up", "wired to")


def _info_gpio(context: Context, arguments: Sequence[str]) -> Report:
    gpio = context.session.machine.board.gpio
    pins, facts = context.session.call(lambda: (list(gpio.describe()), list(gpio.facts())))
    if arguments:
        wanted = arguments[0].upper()
        wanted = wanted if wanted.startswith("GP") else f"GP{wanted}"
        pins = [pin for pin in pins if wanted in (pin.bank, pin.pin)]
        if not pins:
            raise CommandError(f"there is no port and no pin '{arguments[0]}': ports are A to H and J")
        names = {pin.pin for pin in pins}
        facts = [fact for fact in facts if fact.name.rpartition(" ")[2] in names]
    data = {
        "pins": [pin._asdict() for pin in pins],
        "external_interrupts": [{"name": fact.name, "state": fact.value} for fact in facts],
    }
    return Report("\n".join(_lines(pins, facts)), data)


def _lines(pins: Sequence[PinState], facts: Sequence[Fact]) -> Iterator[str]:
    rows = [_HEADINGS, *(_row(pin) for pin in pins)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
    for fact in facts:
        yield f"{fact.name}: {fact}"


def _row(pin: PinState) -> tuple[str, ...]:
    return (
        pin.pin,
        pin.function,
        pin.direction,
        _LEVELS[pin.level],
        pin.decided_by,
        str(pin.latch),
        _PULL_UPS[pin.pull_up],
        pin.wired_to,
    )


COMMANDS = (
    Command(
        "info gpio",
        _info_gpio,
        "show the pins: function, level and what makes it, pull-up, wiring",
        (Argument("port or pin", optional=True),),
        group="devices",
        details=(
            "info gpio B     one port\ninfo gpio GPG0  one pin\n"
            "The registers: 'info gpio.GPBCON' for one, 'info gpio.*' for all."
        ),
    ),
)
