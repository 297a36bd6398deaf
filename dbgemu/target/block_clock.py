"""The time of a block whose clock can be gated: it stands still with the block, and all its timers do."""

from __future__ import annotations

from typing import TypedDict

from dbgemu.target.clock import Timer, VirtualClock


class BlockTime(TypedDict):
    """The state of a :class:`BlockClock`: ns that it is behind, and its time if it stands."""

    behind: int
    stands_at: int | None


class BlockClock(VirtualClock):
    """The board's time, less the time for which the block's clock stood.

    To the block it is the only clock there is: moments that it keeps, and the deadlines of its timers,
    are times of this clock. While it stands timers can be armed and cancelled, and none comes. As long as
    it never stood it shows the same time as the board's.
    """

    def __init__(self, board: VirtualClock) -> None:
        super().__init__(board.period_ps)
        self._board = board
        #: what tells the time: the board's clock, or one that stands
        self._time = board
        self._parked: dict[Timer, None] = {}

    @property
    def runs(self) -> bool:
        """Whether time passes."""
        return self._time is self._board

    @property
    def now(self) -> int:
        """The block's time in ns."""
        time = self._time
        return time._source.instruction_count() * time.period_ps // 1000 + time._skipped - self.behind

    @property
    def native(self) -> int | None:
        """See :class:`VirtualClock`."""
        return self._board.native if self.runs else None

    def stop(self) -> None:
        """Stand still; nothing happens when it does."""
        if self.runs:
            self._stand(self.now)

    def start(self) -> None:
        """Go on from where it stood; nothing happens when it runs."""
        if not self.runs:
            self._run(self._board.now - self.now)

    def _stand(self, time: int) -> None:
        self._break()
        armed = {timer: timer.deadline for timer in self._timers_in_queue()} | {
            timer: timer.deadline for timer in self._parked
        }
        self._time = VirtualClock()
        self._time.skip(time)
        self.behind = 0
        self._parked.clear()
        for timer, deadline in armed.items():
            if deadline is not None:
                self.arm(timer, deadline)

    def _run(self, behind: int) -> None:
        self._break()
        # equal deadlines in an order that does not depend on how the block came to stand
        armed = sorted(
            (deadline, timer.number, timer)
            for timer in (*self._timers_in_queue(), *self._parked)
            if (deadline := timer.deadline) is not None
        )
        self._parked.clear()
        self._time = self._board
        self.behind = behind
        for deadline, _, timer in armed:
            self.arm(timer, deadline)

    def _timers_in_queue(self) -> list[Timer]:
        return [entry[2] for entry in self._board._armed() if entry[2].clock is self]

    # -- what the block does with it ---------------------------------------------------------------

    def arm(self, timer: Timer, deadline: int) -> None:
        """See :class:`VirtualClock`, also for the following."""
        if self.runs:
            self._board.arm(timer, deadline + self.behind)
        else:
            timer.entry = (deadline, 0, timer)
            self._parked[timer] = None

    def number_timer(self) -> int:
        """Timers are numbered over all of the board."""
        return self._board.number_timer()

    def next_deadline(self) -> int | None:
        """The board's next deadline, whoever's it is; None while time stands."""
        deadline = self._board.next_deadline() if self.runs else None
        return None if deadline is None else deadline - self.behind

    def skip(self, duration: int) -> None:
        """Let time pass for the whole board; none passes for a block that stands."""
        if self.runs:
            self._board.skip(duration)

    def run_due(self) -> None:
        """What is due is the board's business."""
        self._board.run_due()

    # -- snapshots ---------------------------------------------------------------------------------

    @property
    def time(self) -> BlockTime:
        """The state. Timers are saved by the block."""
        return {"behind": self.behind, "stands_at": None if self.runs else self.now}

    @time.setter
    def time(self, state: BlockTime) -> None:
        stands_at = state["stands_at"]
        if stands_at is None:
            self._run(state["behind"])
        else:
            self._stand(stands_at)
