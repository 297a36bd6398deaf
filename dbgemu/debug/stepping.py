"""Steps as people count them: over a call, to the next source line, out of a function.

Goals for :meth:`DebugSession.resume_until`. The stop is a STEP where the step came to its end, or
whatever was in the way. Interrupts are held back during single instructions, as the session is set;
what is called runs with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbgemu.debug.events import StopEvent, StopKind

if TYPE_CHECKING:
    from dbgemu.debug.lines import LineRange
    from dbgemu.debug.run_control import Goal
    from dbgemu.debug.runner import Runner

_THUMB = 1 << 5
_MODE = 0x1F
#: a line that takes longer may be waiting for an interrupt
_STEPS_WITHOUT_INTERRUPTS = 500


def over(count: int = 1) -> Goal:
    """``count`` instructions, calls in one go."""
    return _repeated(count, lambda runner: _over_one(runner))


def lines(count: int = 1, *, into: bool) -> Goal:
    """To the beginning of another source line, ``count`` times; ``into`` functions that have lines, or over.

    Where the code has no lines: so many instructions.
    """
    return _repeated(count, lambda runner: _line(runner, into=into))


def out_to(address: int, stack: int) -> Goal:
    """Until virtual ``address`` is reached with the stack at ``stack`` at least: out of a function."""
    return lambda runner, stopped_at: _to(runner, address, stack)


def _repeated(count: int, step: Callable[[Runner], StopEvent]) -> Goal:
    def run(runner: Runner, stopped_at: int) -> StopEvent:
        event = runner.event(StopKind.STEP)
        for _ in range(count):
            if runner.pause_wanted:
                return runner.event(StopKind.PAUSE)
            event = step(runner)
            if event.kind is not StopKind.STEP:
                return event
        return event

    return run


def _one(runner: Runner, steps: int = 1) -> StopEvent:
    """One instruction; a breakpoint where it led to is a stop."""
    interrupts = True if steps % _STEPS_WITHOUT_INTERRUPTS == 0 else None
    pc = runner.cpu.read_register("pc")
    mode = runner.cpu.read_register("cpsr") & _MODE
    event = runner.step(interrupts=interrupts)
    if event.kind is StopKind.STEP and event.breakpoints:
        stop = runner.stop_here(event)
        if stop is not None:
            return stop
    if interrupts and runner.cpu.read_register("cpsr") & _MODE != mode and event.kind is StopKind.STEP:
        return _to(runner, pc, 0)
    return event


def _to(runner: Runner, address: int, stack: int) -> StopEvent:
    """Run to ``address``, where the stack is not deeper than ``stack``."""
    read = runner.cpu.read_register
    return runner.run_to(address & ~1, read("pc"), lambda: read("sp") >= stack, StopKind.STEP)


def _called(runner: Runner, before: int, after: int, thumb: bool, stack: int) -> int | None:
    """The return address where the instruction at ``before`` was a call to ``after``."""
    link = runner.cpu.read_register("lr")
    # a Thumb BL is two halfwords, and each may be a step
    sizes = (2, 4) if thumb else (4,)
    if after - before in sizes or (link & ~1) - before not in sizes:
        return None
    return link if runner.cpu.read_register("sp") == stack else None


def _over_one(runner: Runner) -> StopEvent:
    read = runner.cpu.read_register
    before, thumb, stack = read("pc"), bool(read("cpsr") & _THUMB), read("sp")
    event = _one(runner)
    if event.kind is not StopKind.STEP:
        return event
    target = _called(runner, before, event.pc, thumb, stack)
    return event if target is None else _to(runner, target, stack)


def _line(runner: Runner, *, into: bool) -> StopEvent:
    read, symbols = runner.cpu.read_register, runner.symbols
    present = symbols.line_range(read("pc"))
    if present is None:
        return _one(runner) if into else _over_one(runner)
    started = (present.file, present.line)
    function, deepest = symbols.lookup(read("pc")), read("sp")
    steps = 0
    while not runner.pause_wanted:
        steps += 1
        before, thumb, stack = read("pc"), bool(read("cpsr") & _THUMB), read("sp")
        event = _one(runner, steps)
        if event.kind is not StopKind.STEP:
            return event
        pc = event.pc
        if present.start <= pc < present.end:
            continue
        target = _called(runner, before, pc, thumb, stack)
        if target is not None:
            entered = _into(runner, pc) if into else None
            if entered is not None:
                return entered
            event = _to(runner, target, stack)
            if event.kind is not StopKind.STEP:
                return event
            pc = event.pc
        found = symbols.line_range(pc)
        if found is None:
            return event
        now = symbols.lookup(pc)
        if target is None and function and now and function[0] != now[0] and read("sp") >= deepest:
            return event  # it returned, into the middle of a line: as gdb does
        if found.start == pc and (found.file, found.line) != started:
            return event
        present = found  # in the middle of a line, or in another part of the same one
    return runner.event(StopKind.PAUSE)


def _into(runner: Runner, pc: int) -> StopEvent | None:
    """Run over the prologue of the function at ``pc``; None for one without lines."""
    body = body_of(runner.symbols.line_range, pc)
    if body is None:
        return None
    if body == pc:
        return runner.event(StopKind.STEP)
    return _to(runner, body, 0)


def body_of(line_range: Callable[[int], LineRange | None], start: int) -> int | None:
    """Where the body of the function at ``start`` begins: at its second line entry, as gdb has it.

    None for a function without lines.
    """
    first = line_range(start)
    if first is None:
        return None
    second = line_range(first.end)
    return start if second is None or second.file != first.file else first.end
