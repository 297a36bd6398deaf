"""Python functions that are called when something happens in the machine.

They run on the machine's thread, while it stands still in front of what they are told of; then the guest
goes on, unless the function returns STOP or raises an exception, which whoever runs the machine gets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbgemu.debug.breakpoints import Breakpoint
    from dbgemu.debug.catchpoints import Catchpoint
    from dbgemu.debug.watchpoints import Watchpoint


class StopWord(Enum):
    """What a hook returns to stop the machine: :data:`STOP`."""

    STOP = "stop"


STOP = StopWord.STOP


@dataclass(frozen=True, slots=True)
class Execution:
    """The instruction at ``pc`` is next; ``instructions`` were executed, virtual ``time`` is in ns."""

    pc: int
    symbol: str
    instructions: int
    time: int


@dataclass(frozen=True, slots=True)
class Access:
    """The instruction at ``pc`` is about to access ``size`` bytes at virtual ``address``.

    ``value`` is what it writes, or what it would read (a peek). ``place`` is the device's register
    (``nand.NFCMMD``), empty for plain memory; ``fields`` its value decoded.
    """

    pc: int
    symbol: str
    instructions: int
    time: int
    address: int
    size: int
    write: bool
    value: int
    place: str = ""
    fields: str = ""


@dataclass(frozen=True, slots=True)
class Happened:
    """Something has happened: ``kind`` as the hook was asked for, ``text`` in words.

    The machine stands at the vector of an exception, or behind the instruction that brought it about.
    ``name`` is the interrupt source or the device, ``number`` that of a system call.
    """

    kind: str
    text: str
    pc: int
    symbol: str
    instructions: int
    time: int
    name: str = ""
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Printed:
    """``text`` was printed on a serial port: a character, or the text that was asked for."""

    port: int
    text: str
    instructions: int
    time: int


Callback = Callable[[Any], object]


class Hook:
    """A function that is called at certain events, until :meth:`remove`. A context manager, too."""

    def __init__(self, call: Callback, take_away: Callable[[Hook], None]) -> None:
        self._call = call
        self._take_away = take_away
        #: how often it was called
        self.calls = 0
        #: False once it was removed
        self.active = True
        self.points: list[Breakpoint | Watchpoint | Catchpoint] = []
        self.endings: list[Callable[[], None]] = []

    def remove(self) -> None:
        """Call it no more. Nothing happens when that was done already."""
        self._take_away(self)

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def serve(self, event: object) -> bool:
        """Call it; True when the machine is to stop."""
        self.calls += 1
        return self._call(event) is STOP
