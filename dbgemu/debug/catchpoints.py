"""The book of catchpoints: events of the CPU and the board that stop the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.debug.points import Point
from dbgemu.target.arm.core import Vector
from dbgemu.target.arm.mmu import FAULT_NAMES
from dbgemu.target.arm.state import (
    CATCH_CONTROL,
    CATCH_DOMAINS,
    CATCH_FCSE,
    CATCH_MODE,
    CATCH_TTB,
    Mode,
    T,
)

if TYPE_CHECKING:
    from dbgemu.debug.events import FrontEnd
    from dbgemu.machine import Machine, Stop
    from dbgemu.target.guest_log import GuestError
    from dbgemu.target.lines import Line


class CatchKind(Enum):
    """What can be caught: its name for users. The machine stops behind it, or at the vector."""

    RESET = "reset"
    UNDEFINED = "undef"
    SWI = "swi"
    PREFETCH_ABORT = "pabort"
    DATA_ABORT = "dabort"
    IRQ = "irq"
    FIQ = "fiq"
    MODE = "mode"
    TTB = "ttb"
    CONTROL = "control"
    FCSE = "fcse"
    DOMAINS = "domains"
    INTERRUPT = "interrupt"
    GUEST_ERROR = "guest-error"
    SYSCALL = "syscall"


_VECTORS = {
    CatchKind.UNDEFINED: Vector.UNDEFINED,
    CatchKind.SWI: Vector.SWI,
    CatchKind.SYSCALL: Vector.SWI,
    CatchKind.PREFETCH_ABORT: Vector.PREFETCH_ABORT,
    CatchKind.DATA_ABORT: Vector.DATA_ABORT,
    CatchKind.IRQ: Vector.IRQ,
    CatchKind.FIQ: Vector.FIQ,
}

#: changes that the CPU tells of, and the register that they change
_CHANGES = {
    CatchKind.TTB: (CATCH_TTB, "ttbr"),
    CatchKind.CONTROL: (CATCH_CONTROL, "sctlr"),
    CatchKind.FCSE: (CATCH_FCSE, "fcseidr"),
    CatchKind.DOMAINS: (CATCH_DOMAINS, "dacr"),
}

#: how far behind the instruction the link register points: in ARM state, in Thumb state (ARM ARM A2.6)
_LINK = {
    CatchKind.UNDEFINED: (4, 2),
    CatchKind.SWI: (4, 2),
    CatchKind.PREFETCH_ABORT: (4, 4),
    CatchKind.DATA_ABORT: (8, 8),
    CatchKind.IRQ: (4, 4),
    CatchKind.FIQ: (4, 4),
}

#: calls of the old ABI carry their number in the instruction, from here on (Linux, asm/unistd.h)
_OABI_BASE = 0x900000


def _bit(vector: Vector) -> int:
    return 1 << (vector.offset >> 2)


@dataclass(eq=False, kw_only=True)
class Catchpoint(Point):
    """A stop when something happens.

    ``names`` are the interrupt sources (any without), or the devices that guest errors count of;
    ``numbers`` the system calls. Empty: all.
    """

    kind: CatchKind
    names: frozenset[str] = frozenset()
    numbers: frozenset[int] = frozenset()


class Happening(NamedTuple):
    """Something that happened: its kind, in words, and what catchpoints may be narrowed to."""

    kind: CatchKind
    text: str
    name: str = ""
    number: int | None = None

    def falls_under(self, point: Catchpoint) -> bool:
        """``point`` catches this."""
        return (
            point.kind is self.kind
            and (not point.names or self.name in point.names)
            and (not point.numbers or self.number in point.numbers)
        )


class CatchpointBook:
    """Every catchpoint of every front end. Used only while the machine stands still, or on its thread.

    What nobody catches costs nothing: the CPU tests a word at exceptions and mode changes, and lines
    and logs are listened to only while somebody wants to hear of them.
    """

    def __init__(self, machine: Machine, numbers: Iterator[int]) -> None:
        self._machine = machine
        self._cpu = machine.cpu
        self._numbers = numbers
        self._by_id: dict[int, Catchpoint] = {}
        #: called with a point and whether it was added, or else removed
        self.on_change: Callable[[Catchpoint, bool], None] = lambda point, added: None
        self._happened: list[Happening] = []
        #: what points are asked about just now: for their conditions and actions
        self.happening: Happening | None = None
        self._connected: dict[str, tuple[Line, Callable[[int], None]]] = {}
        self._listening: set[CatchKind] = set()

    def __iter__(self) -> Iterator[Catchpoint]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, number: int) -> Catchpoint | None:
        """The catchpoint with that id."""
        return self._by_id.get(number)

    def add(
        self,
        owner: FrontEnd | None,
        kind: CatchKind,
        *,
        names: Sequence[str] = (),
        numbers: Sequence[int] = (),
        temporary: bool = False,
    ) -> Catchpoint:
        """Catch ``kind``: see :class:`Catchpoint`. ValueError for a name of nothing."""
        if names and kind is CatchKind.INTERRUPT:
            for name in names:
                self._source(name)
        elif names and kind is CatchKind.GUEST_ERROR:
            known = {"bus", *self._machine.board.devices}
            for name in names:
                if name not in known:
                    raise ValueError(f"there is no device '{name}' whose guest errors could be caught")
        elif names or (numbers and kind is not CatchKind.SYSCALL):
            raise ValueError(f"'{kind.value}' cannot be narrowed down: it is caught always or never")
        point = Catchpoint(
            id=next(self._numbers),
            owner=owner,
            temporary=temporary,
            kind=kind,
            names=frozenset(names),
            numbers=frozenset(numbers),
        )
        self._by_id[point.id] = point
        self._tell()
        self.on_change(point, True)
        return point

    def remove(self, point: Catchpoint) -> None:
        """Take the catchpoint away; nothing happens when it is gone already."""
        if self._by_id.pop(point.id, None) is not None:
            self._tell()
            self.on_change(point, False)

    def remove_owned(self, owner: FrontEnd) -> None:
        """Take away all that ``owner`` set."""
        for point in [item for item in self._by_id.values() if item.owner is owner]:
            self.remove(point)

    def enable(self, point: Catchpoint, enabled: bool) -> None:
        """Let it stop the machine, or not; a disabled one costs nothing."""
        point.enabled = enabled
        self._tell()

    # -- what the machine is told ----------------------------------------------------------------

    def _source(self, name: str) -> Line:
        try:
            return self._machine.board.intc.source(name)
        except KeyError:
            raise ValueError(f"there is no interrupt source '{name}'") from None

    def _tell(self) -> None:
        """Let the CPU and the board tell what is caught now, and nothing else."""
        wanted = [point for point in self._by_id.values() if point.enabled]
        kinds = {point.kind for point in wanted}
        vectors = events = 0
        for kind in kinds:
            if kind in _VECTORS:
                vectors |= _bit(_VECTORS[kind])
            elif kind in _CHANGES:
                events |= _CHANGES[kind][0]
        if CatchKind.MODE in kinds:
            events |= CATCH_MODE
        self._cpu.set_catches(vectors, events)
        machine = self._machine
        self._listen(kinds, CatchKind.RESET, lambda: machine.on_guest_reset, self._reset)
        self._listen(kinds, CatchKind.GUEST_ERROR, lambda: machine.board.log.listeners, self._guest_error)
        self._connect(wanted)

    def _listen(
        self, kinds: set[CatchKind], kind: CatchKind, where: Callable[[], list[Any]], listener: Any
    ) -> None:
        if kind in kinds and kind not in self._listening:
            where().append(listener)
            self._listening.add(kind)
        elif kind not in kinds and kind in self._listening:
            where().remove(listener)
            self._listening.remove(kind)

    def _connect(self, wanted: list[Catchpoint]) -> None:
        names: set[str] = set()
        for point in wanted:
            if point.kind is CatchKind.INTERRUPT:
                names |= point.names or set(self._machine.board.intc.lines)
        for name in self._connected.keys() - names:
            line, listener = self._connected.pop(name)
            line.listeners.remove(listener)
        for name in names - self._connected.keys():
            line = self._source(name)

            def rising(level: int, name: str = name) -> None:
                if level:
                    self._note(Happening(CatchKind.INTERRUPT, f"{name} is requested", name))

            line.connect(rising)
            self._connected[name] = line, rising

    # -- what happens ----------------------------------------------------------------------------

    def _note(self, happening: Happening) -> None:
        self._happened.append(happening)
        self._machine.request_catch()

    def _reset(self) -> None:
        self._note(Happening(CatchKind.RESET, "the guest reset the board"))

    def _guest_error(self, error: GuestError) -> None:
        self._note(Happening(CatchKind.GUEST_ERROR, f"guest error: {error}", error.device))

    def forget(self) -> None:
        """What happened so far was a debugger's doing."""
        self._happened.clear()

    def reached(self, stop: Stop) -> tuple[tuple[Catchpoint, ...], str]:
        """The catchpoints that are a reason for the machine to stop here, and what happened, in words."""
        happened = [*self._from_cpu(stop.caught), *self._happened]
        self._happened.clear()
        found: dict[int, Catchpoint] = {}
        texts: list[str] = []
        for happening in happened:
            self.happening = happening
            for point in list(self._by_id.values()):
                if happening.falls_under(point) and point.reached():
                    found[point.id] = point
                    if happening.text not in texts:
                        texts.append(happening.text)
        for point in found.values():
            if point.temporary:
                self.remove(point)
        return tuple(found.values()), "; ".join(texts)

    def _from_cpu(self, caught: int) -> Iterator[Happening]:
        for kind, vector in _VECTORS.items():
            if caught & _bit(vector):
                yield self._exception(kind)
        read = self._cpu.read_register
        if caught & CATCH_MODE:
            mode = read("cpsr") & 0x1F
            name = Mode(mode).name.lower() if mode in Mode.__members__.values() else f"0x{mode:02x}"
            yield Happening(CatchKind.MODE, f"the mode is now {name}")
        for kind, (event, register) in _CHANGES.items():
            if caught & event:
                yield Happening(kind, f"{register} is now 0x{read(register):08x}")

    def _exception(self, kind: CatchKind) -> Happening:
        """What led to the exception whose vector the machine stands at."""
        read = self._cpu.read_register
        thumb = bool(read("spsr") & T)
        if kind is CatchKind.SYSCALL:
            number = self.system_call()
            # few runs need it
            from dbgemu.debug.linux.syscall_names import describe_call

            return Happening(kind, f"system call {describe_call(number)}", number=number)
        pc = read("lr") - _LINK[kind][thumb] & 0xFFFFFFFF
        where = f"at 0x{pc:08x}"
        match kind:
            case CatchKind.UNDEFINED:
                text = f"undefined instruction{self._word(pc, thumb)} {where}"
            case CatchKind.SWI:
                text = f"swi{self._word(pc, thumb)} {where}"
            case CatchKind.PREFETCH_ABORT:
                text = f"prefetch abort {where}: {_fault(read('ifsr'))}"
            case CatchKind.DATA_ABORT:
                text = f"data abort {where}: {_fault(read('dfsr'))} at 0x{read('far'):08x}"
            case _:
                text = f"{kind.value} before 0x{pc:08x}{self._pending(kind)}"
        return Happening(kind, text)

    def _instruction(self, pc: int, thumb: bool) -> int | None:
        try:
            return int.from_bytes(self._cpu.read_memory(pc, 2 if thumb else 4), "little")
        except MEMORY_ERRORS:  # it was executed, but from where nothing can be read by now
            return None

    def _word(self, pc: int, thumb: bool) -> str:
        word = self._instruction(pc, thumb)
        return "" if word is None else f" 0x{word:0{4 if thumb else 8}x}"

    def system_call(self) -> int:
        """The number of the call whose vector the machine stands at.

        It is in r7, or in the instruction for programs of the old ABI.
        """
        read = self._cpu.read_register
        thumb = bool(read("spsr") & T)
        if not thumb:
            word = self._instruction(read("lr") - 4 & 0xFFFFFFFF, thumb)
            comment = 0 if word is None else word & 0xFFFFFF
            if comment >= _OABI_BASE:
                return comment - _OABI_BASE
        return read("r7")

    def _pending(self, kind: CatchKind) -> str:
        if kind is not CatchKind.IRQ:
            return ""
        intc = self._machine.board.intc
        names = [field.name for field in type(intc).INTPND.fields if field.get(intc.INTPND)]
        return f" by {', '.join(names)}" if names else ""


def _fault(status: int) -> str:
    name = FAULT_NAMES.get(status & 15, f"fault status 0x{status & 15:x}")
    return f"{name} (domain {status >> 4 & 15})"
