"""How far to run: goals for :meth:`DebugSession.resume_until`.

Each gives a function that runs the machine on its thread and returns the stop: one of kind LIMIT when
the goal was reached, or whatever stopped the machine before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbgemu.debug.events import StopEvent, StopKind
from dbgemu.target.clock import Timer

if TYPE_CHECKING:
    from dbgemu.debug.runner import Runner

#: takes the runner and the pc of the last stop
Goal = Callable[["Runner", int], StopEvent]


def to_count(count: int) -> Goal:
    """Until ``count`` instructions have been executed since power-on; exact."""

    def run(runner: Runner, stopped_at: int) -> StopEvent:
        return runner.run(stopped_at, limit=count)

    return run


def instructions(count: int) -> Goal:
    """``count`` instructions more; interrupts are taken."""

    def run(runner: Runner, stopped_at: int) -> StopEvent:
        return runner.run(stopped_at, limit=runner.cpu.instructions + count)

    return run


def to_time(time: int) -> Goal:
    """Until virtual ``time`` in ns: the first instruction at or behind it is next."""

    def run(runner: Runner, stopped_at: int) -> StopEvent:
        reached = False

        def due() -> None:
            nonlocal reached
            reached = True
            runner.machine.request_catch()

        timer = Timer(runner.machine.board.clock, due)
        timer.start_at(time)
        try:
            return runner.run(stopped_at, done=lambda: reached)
        finally:
            timer.cancel()

    return run


def to_address(address: int, *, condition: Callable[[], bool] | None = None) -> Goal:
    """Until the instruction at virtual ``address`` is next (and ``condition`` holds there)."""
    return _to(lambda runner: address, lambda runner: condition)


def to_return() -> Goal:
    """Until the function returns whose first instruction is next, or a later one before lr is changed.

    That is, at the address in lr in the same mode, with the stack as short as it is now at least: a
    recursive call that returns there has a longer one.
    """

    def condition(runner: Runner) -> Callable[[], bool]:
        read = runner.cpu.read_register
        stack, mode = read("sp"), read("cpsr") & 0x1F
        return lambda: read("sp") >= stack and read("cpsr") & 0x1F == mode

    return _to(lambda runner: runner.cpu.read_register("lr") & ~1, condition)


def _to(address: Callable[[Runner], int], condition: Callable[[Runner], Callable[[], bool] | None]) -> Goal:
    return lambda runner, stopped_at: runner.run_to(
        address(runner), stopped_at, condition(runner), StopKind.LIMIT
    )


def steps(count: int, *, interrupts: bool | None = None) -> Goal:
    """``count`` single steps, with interrupts taken or held back; None: as the session is set."""

    def run(runner: Runner, stopped_at: int) -> StopEvent:
        event = runner.event(StopKind.STEP)
        for _ in range(count):
            if runner.pause_wanted:
                return runner.event(StopKind.PAUSE)
            event = runner.step(interrupts=interrupts)
            if event.kind is not StopKind.STEP:
                return event
            stop = runner.stop_here(event) if event.breakpoints else None
            if stop is not None:
                return stop
        return event

    return run
