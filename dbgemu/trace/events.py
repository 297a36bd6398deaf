"""The events of a trace, as the reader gives them.

Every event begins with the same three fields: ``icount``, the instructions executed before it since
power-on; ``time``, the virtual time in ns; ``pc``. An event inside an instruction (a device access, what
that brought about) has the count of the instructions before that one and its address; an event between
two instructions has the address of the next one, where nothing else is said.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from dbgemu.engine.layout import (
    EVENT_EXCEPTION,
    EVENT_FAULT,
    EVENT_READ,
    EVENT_SWITCH,
    EVENT_WRITE,
)


class Kind(IntEnum):
    """What a record of the event stream is; tb_exec has a stream of its own."""

    MMIO_READ = EVENT_READ
    MMIO_WRITE = EVENT_WRITE
    EXCEPTION = EVENT_EXCEPTION
    MMU_FAULT = EVENT_FAULT
    MMU_SWITCH = EVENT_SWITCH
    TIME = 6
    IRQ = 7
    GPIO = 8
    SERIAL = 9
    BREAK = 10
    WATCH = 11
    LOG = 12
    TB_TRANSLATE = 13
    TB_INVALIDATE = 14
    TB_COMPILE = 15


class TbExec(NamedTuple):
    """A block was executed: ``length`` instructions at consecutive addresses from ``pc``.

    A block ends in front of the next transfer of control: see :mod:`dbgemu.engine.trace_ring`. ``icount``
    is that of its first instruction.
    """

    icount: int
    time: int
    pc: int
    #: in instructions: of 2 bytes in Thumb, else 4
    length: int
    thumb: bool
    #: in User mode
    user: bool

    @property
    def end(self) -> int:
        """The first address behind the block."""
        return self.pc + self.length * (2 if self.thumb else 4)


class TbTranslate(NamedTuple):
    """Code at ``pc`` came into use: the translator took it up (``tier`` 1).

    In a trace that has tb_exec also where a block is executed for the first time in that trace (0).
    """

    icount: int
    time: int
    pc: int
    #: in instructions
    length: int
    thumb: bool
    #: 0: interpreted, 1: translated
    tier: int


class TbInvalidate(NamedTuple):
    """Translated code of ``size`` bytes from physical ``address`` was thrown away."""

    icount: int
    time: int
    pc: int
    address: int
    size: int


class TbCompile(NamedTuple):
    """The translator compiled guest code: ``guest_bytes`` from ``address`` to ``host_bytes``.

    ``host_us`` is how long that took on the host (µs). Compilation depends on the host's speed: the
    only event in which two equal runs may differ.
    """

    icount: int
    time: int
    pc: int
    address: int
    guest_bytes: int
    host_bytes: int
    host_us: int


class ExceptionTaken(NamedTuple):
    """The CPU took an exception.

    ``pc`` is the instruction that caused it; with an interrupt, the one that would have been next.
    """

    icount: int
    time: int
    pc: int
    #: undefined, swi, prefetch_abort, data_abort, irq, fiq
    vector: str
    #: where the vector is
    target: int
    #: r14 of the exception's mode
    return_address: int
    #: bits 7..0 of the SPSR: what was executing
    control: int


class MmioRead(NamedTuple):
    """The CPU read ``size`` bytes from a device."""

    icount: int
    time: int
    pc: int
    device: str
    #: the manual's name, with ``+n`` inside a register; ``+0x..`` where none is declared
    register: str
    #: physical
    address: int
    size: int
    value: int


class MmioWrite(NamedTuple):
    """The CPU wrote ``size`` bytes to a device; the event comes in front of what that brought about."""

    icount: int
    time: int
    pc: int
    device: str
    register: str
    address: int
    size: int
    value: int


class Irq(NamedTuple):
    """An interrupt source changed, or the CPU took an interrupt."""

    icount: int
    time: int
    pc: int
    #: ``INT_TIMER4`` and so on; ``IRQ`` or ``FIQ`` when taken
    source: str
    #: raised, lowered, taken
    action: str


class Mmu(NamedTuple):
    """The translation table base was switched, or an access faulted."""

    icount: int
    time: int
    pc: int
    #: switch, data_fault, prefetch_fault
    what: str
    #: the new table base (physical), or the fault's virtual address
    address: int
    #: the fault status (ARM920T TRM 3.8); 0 of a switch
    status: int


class Gpio(NamedTuple):
    """The level of a pin changed."""

    icount: int
    time: int
    pc: int
    #: ``GPB5``
    pin: str
    level: int


class Serial(NamedTuple):
    """A character left a UART (``direction`` is ``tx``), or came in from outside (``rx``)."""

    icount: int
    time: int
    pc: int
    port: int
    direction: str
    byte: int


class Break(NamedTuple):
    """The machine stopped for a debugger: ``text`` says why."""

    icount: int
    time: int
    pc: int
    text: str


class Watch(NamedTuple):
    """A watchpoint stopped the machine in front of an access; ``address`` is virtual."""

    icount: int
    time: int
    pc: int
    address: int
    write: bool
    text: str


class Log(NamedTuple):
    """A line of the log: a guest error (``source`` is the device), or a remark of somebody else."""

    icount: int
    time: int
    pc: int
    source: str
    text: str


Event = (
    TbExec
    | TbTranslate
    | TbInvalidate
    | TbCompile
    | ExceptionTaken
    | MmioRead
    | MmioWrite
    | Irq
    | Mmu
    | Gpio
    | Serial
    | Break
    | Watch
    | Log
)

#: every event by its name, as users write it
EVENTS: dict[str, type[Event]] = {
    "tb_exec": TbExec,
    "tb_translate": TbTranslate,
    "tb_invalidate": TbInvalidate,
    "tb_compile": TbCompile,
    "exception": ExceptionTaken,
    "mmio_read": MmioRead,
    "mmio_write": MmioWrite,
    "irq": Irq,
    "mmu": Mmu,
    "gpio": Gpio,
    "serial": Serial,
    "break": Break,
    "watch": Watch,
    "log": Log,
}

_NAMES = {event: name for name, event in EVENTS.items()}


def name_of(event: Event) -> str:
    """The name of its kind: ``tb_exec`` and so on."""
    return _NAMES[type(event)]
