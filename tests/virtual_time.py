"""Virtual time for device tests: lets it pass without an engine."""

from __future__ import annotations

from dbgemu.target.clock import VirtualClock


class SteppedInstructions:
    """An instruction source that a test moves by hand, to stand between two timer callbacks."""

    def __init__(self) -> None:
        self.count = 0

    def instruction_count(self) -> int:
        return self.count

    def deadline_changed(self) -> None:
        pass


def advance(clock: VirtualClock, duration: int) -> None:
    """Let ``duration`` ns pass, calling each timer back exactly at its deadline."""
    end = clock.now + duration
    while (deadline := clock.next_deadline()) is not None and deadline <= end:
        clock.skip_to(deadline)
        clock.run_due()
    clock.skip_to(end)
