"""What tracepoints are: where, when, and what each records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from dbgemu.debug.agent import AgentExpression

#: tracepoints have 16-bit numbers in a trace frame, which readers take as signed; 0 ends a trace file
MAX_NUMBER = 0x7FFF


class TraceError(Exception):
    """What is wanted of an experiment cannot be done. One sentence."""


@dataclass(frozen=True)
class CollectRegisters:
    """Record r0 to r14, pc and CPSR. ``text`` is how the front end wrote the action."""

    text: str = ""


@dataclass(frozen=True)
class CollectMemory:
    """Record ``length`` bytes from ``offset``, or from the register ``base`` plus ``offset``."""

    base: str | None
    offset: int
    length: int
    text: str = ""


@dataclass(frozen=True)
class Evaluate:
    """Run an agent expression, for what it records."""

    expression: AgentExpression
    text: str = ""


Action = CollectRegisters | CollectMemory | Evaluate


@dataclass(frozen=True)
class Source:
    """A piece of what the user typed: kept for front ends that come later. ``start`` is its place."""

    kind: str
    start: int
    length: int
    text: bytes


@dataclass(eq=False)
class Tracepoint:
    """One location of a tracepoint: several with one number may stand at different addresses."""

    number: int
    address: int
    enabled: bool = True
    #: instructions to single-step after a hit, each with a frame of ``step_actions``
    step_count: int = 0
    #: the hit that ends the experiment; 0 for none
    pass_count: int = 0
    condition: AgentExpression | None = None
    #: the names of the registers that expressions call by number
    registers: Mapping[int, str] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    step_actions: list[Action] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    #: how often it was reached with its condition true, in the present experiment
    hits: int = 0
    #: bytes of trace frames that it made
    usage: int = 0

    @property
    def place(self) -> int:
        """Where the CPU stops: bit 0 of a Thumb function's address is no part of it."""
        return self.address & ~1


@dataclass
class Variable:
    """A trace state variable: 64 bits, signed. A built-in one has a ``getter`` and cannot be set."""

    number: int
    name: str = ""
    initial: int = 0
    value: int = 0
    getter: Callable[[], int] | None = None

    def get(self) -> int:
        """Its value now."""
        return self.value if self.getter is None else self.getter()


class EndReason(Enum):
    """Why no experiment is running."""

    NOT_RUN = "not run yet"
    STOPPED = "stopped on request"
    FULL = "the trace buffer is full"
    DISCONNECTED = "the debugger left"
    PASS_COUNT = "a pass count was reached"
    ERROR = "an action failed"


@dataclass(frozen=True)
class End:
    """How the last experiment ended: at which tracepoint (0: none), and an explanation."""

    reason: EndReason
    tracepoint: int = 0
    text: str = ""
