"""Commands that show and steer the whole machine: registers, running, reset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dbgemu.monitor.command import Command, Report
from dbgemu.monitor.context import Context

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession

_MODES = {0x10: "usr", 0x11: "fiq", 0x12: "irq", 0x13: "svc", 0x17: "abt", 0x1B: "und", 0x1F: "sys"}


def describe_psr(value: int) -> str:
    """A program status register: flags (capital: set) and mode (ARM ARM A2.5)."""
    flags = "".join(
        letter if value >> bit & 1 else letter.lower()
        for letter, bit in (("N", 31), ("Z", 30), ("C", 29), ("V", 28), ("I", 7), ("F", 6), ("T", 5))
    )
    return f"{value:08x} {flags} {_MODES.get(value & 0x1F, 'no mode')}"


#: modes with registers of their own: (name, the numbers of the first and last of them)
_BANKS = (("usr", 8), ("fiq", 8), ("irq", 13), ("svc", 13), ("abt", 13), ("und", 13))


def _info_registers(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    return session.call(lambda: Report("\n".join(_register_lines(session)), _register_values(session)))


def _register_values(session: DebugSession) -> dict[str, int]:
    read = session.cpu.read_register
    names = [f"r{number}" for number in range(16)] + ["cpsr"]
    for mode, first in _BANKS:
        names += [f"r{number}_{mode}" for number in range(first, 15)]
        names += [] if mode == "usr" else [f"spsr_{mode}"]
    return {name: read(name) for name in (*names, *session.cpu.cp15_registers)}


def _register_lines(session: DebugSession) -> Iterator[str]:
    read = session.cpu.read_register
    for first in range(0, 16, 4):
        yield "  ".join(f"{f'r{number}':>3}={read(f'r{number}'):08x}" for number in range(first, first + 4))
    yield f"cpsr={describe_psr(read('cpsr'))}"
    for mode, first in _BANKS:
        values = " ".join(f"{read(f'r{number}_{mode}'):08x}" for number in range(first, 15))
        saved = "" if mode == "usr" else f"  spsr={describe_psr(read(f'spsr_{mode}'))}"
        yield f"{mode}: r{first}-r14={values}{saved}"
    names = list(session.cpu.cp15_registers)
    for start in range(0, len(names), 4):
        yield "  ".join(f"{name:>7}={read(name):08x}" for name in names[start : start + 4])


def _info_status(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    if session.running:
        return Report("VM status: running", {"running": True})
    stop = session.last_stop
    return Report(
        f"VM status: paused ({stop.kind.value} at pc 0x{stop.pc:08x})",
        {"running": False, "reason": stop.kind.value, "pc": stop.pc},
    )


def _system_reset(context: Context, arguments: Sequence[str]) -> str:
    context.session.reset()
    return ""


def _quit(context: Context, arguments: Sequence[str]) -> str:
    context.session.quit()
    return ""


def _stop(context: Context, arguments: Sequence[str]) -> str:
    context.session.halt()
    return ""


def _cont(context: Context, arguments: Sequence[str]) -> str:
    context.session.resume()
    return ""


COMMANDS = (
    Command("info registers", _info_registers, "show the CPU's registers, banked and cp15 too"),
    Command("info status", _info_status, "tell whether the guest runs"),
    Command("system_reset", _system_reset, "reset the board"),
    Command(
        "system_powerdown",
        _quit,
        "switch the board off, which ends the emulator",
        details="The board's switch cuts the supply: the guest is not asked, as it is not on the board.",
    ),
    Command("quit", _quit, "end the emulator", aliases=("q",)),
    Command("stop", _stop, "stop the guest"),
    Command("cont", _cont, "let the guest run", aliases=("c",)),
)
