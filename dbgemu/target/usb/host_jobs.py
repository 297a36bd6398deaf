"""Transfers of the host model: what is asked for, how far it is, and the pipes they wait in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

#: a pipe that waits until the device changes something
WAITING = -1


class Outcome(Enum):
    """How a transfer ended."""

    PENDING = "pending"
    DONE = "done"
    #: the device refuses
    STALLED = "stalled"
    #: the device is not there, or was reset or pulled out
    GONE = "gone"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"


class TransferError(Exception):
    """A transfer that brought no result."""


@dataclass(eq=False)
class Job:
    """One transfer. ``kind`` is "control", "bulk", "interrupt" or "isochronous"."""

    kind: str
    #: bit 7: to the host
    endpoint: int
    #: the eight bytes of a control request
    setup: bytes = b""
    #: what goes to the device
    outgoing: bytes = b""
    #: bytes that are to come at most; of an isochronous endpoint: packets
    length: int = 0
    #: an empty packet ends what would end with a full one
    zero: bool = False
    #: ns of virtual time; -1: never given up
    deadline: int = -1
    #: what the host itself wants it for
    purpose: str = ""
    # how far it is
    outcome: Outcome = Outcome.PENDING
    stage: int = 0
    sent: int = 0
    failures: int = 0
    incoming: bytearray = field(default_factory=bytearray)
    #: bytes of each packet of an isochronous endpoint
    packets: list[int] = field(default_factory=list)
    #: called once, when the outcome is known; not part of a saved state
    on_done: Callable[[Job], None] | None = field(default=None, repr=False)

    @property
    def done(self) -> bool:
        """Whether the outcome is known, good or bad."""
        return self.outcome is not Outcome.PENDING

    @property
    def data(self) -> bytes:
        """What has come from the device so far."""
        return bytes(self.incoming)

    def result(self) -> bytes:
        """What came from the device. Raises TransferError while or when that is not complete."""
        if self.outcome is not Outcome.DONE:
            raise TransferError(
                f"the {self.kind} transfer of {endpoint_name(self.endpoint)} is {self.outcome.value}"
            )
        return self.data

    def save(self) -> dict[str, Any]:
        """All of it but :attr:`on_done`, as plain data."""
        state = {item.name: getattr(self, item.name) for item in fields(self)}
        del state["on_done"]
        state["outcome"] = self.outcome.name
        state["incoming"], state["packets"] = bytes(self.incoming), list(self.packets)
        return state

    @classmethod
    def load(cls, state: dict[str, Any]) -> Job:
        """What :meth:`save` gave; nobody is told of its end."""
        kept = dict(state)
        kept["outcome"] = Outcome[kept["outcome"]]
        kept["incoming"], kept["packets"] = bytearray(kept["incoming"]), list(kept["packets"])
        return cls(**kept)


@dataclass(eq=False)
class Pipe:
    """One endpoint, as the host sees it: the jobs for it in their order."""

    endpoint: int
    kind: str
    #: bytes of a full packet
    packet: int
    #: frames between two attempts at an interrupt endpoint
    interval: int = 0
    toggle: int = 0
    #: ns: when the next transaction may come, or :data:`WAITING`
    due: int = WAITING
    #: ns: when the last one was
    last: int = 0
    jobs: list[Job] = field(default_factory=list)

    def save(self) -> dict[str, Any]:
        """As plain data."""
        state = {item.name: getattr(self, item.name) for item in fields(self)}
        state["jobs"] = [job.save() for job in self.jobs]
        return state

    @classmethod
    def load(cls, state: dict[str, Any]) -> Pipe:
        """What :meth:`save` gave."""
        return cls(**{**state, "jobs": [Job.load(job) for job in state["jobs"]]})


def endpoint_name(endpoint: int) -> str:
    """For people: ``endpoint 1 in``."""
    if not endpoint & 0x7F:
        return "endpoint 0"
    return f"endpoint {endpoint & 0x7F} {'in' if endpoint & 0x80 else 'out'}"
