"""What the tests of traces share: a program that leaves no kind of transfer out, and who counts by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbgemu.target.arm.state import F, I, Mode, StopCode, T
from dbgemu.target.clock import VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.registers import Register
from dbgemu.trace.format import Header
from dbgemu.trace.reader import Trace, open_trace
from dbgemu.trace.recorder import Recorder
from dbgemu.trace.sinks import FileSink
from tests.arm_programs import CODE, Guest

DEVICE = 0x50000000
HANDLERS = 0x1000

#: pc, instructions, Thumb, User mode
Block = tuple[int, int, bool, bool]


class Requester(Device):
    """LEVEL drives the IRQ line of the CPU; DATA keeps a word."""

    LEVEL = Register(0x00, doc="Level of the interrupt line")
    DATA = Register(0x04, doc="Keeps what is written")

    def __init__(self) -> None:
        super().__init__("requester")
        self.guest: Guest | None = None

    @LEVEL.write
    def _write_level(self, value: int) -> None:
        self.LEVEL = value & 1
        if self.guest is not None:
            self.guest.cpu.set_irq(self.LEVEL)


PROGRAM = """
    ldr sp, =0x30060000
    ldr r9, =0x50000000
    mov r8, #0
    ldr r4, =120
outer:
    and r0, r4, #7
    add pc, pc, r0, lsl #3          @ a jump by a table
    nop
    bl leaf
    b joined
    bl deep
    b joined
    ldr r1, =thumb + 1
    b to_thumb
    swi 0x123
    b joined
    .word 0xe7f000f0                @ undefined
    b joined
    mov r1, #2                      @ a data abort: unaligned, with the check on
    b unaligned
    str r4, [r9, #4]
    b joined
    mov r1, #1
    str r1, [r9]                    @ an interrupt, at once
joined:
    cmp r4, #60
    bleq patch
    cmp r4, #30
    ldreq r3, =0x60000000           @ nothing is there: a prefetch abort
    moveq lr, pc
    bxeq r3
    subs r4, r4, #1
    bne outer
    mov r5, #200
spin:
    subs r5, r5, #1
    bne spin
    msr cpsr_c, #0x10               @ User mode, going on right here
    mov r6, #5
    bl leaf
    swi 0x55
    b done
to_thumb:
    mov lr, pc
    bx r1
    b joined
unaligned:
    ldr r2, [r1]
    b joined
leaf:
    add r8, r8, #1
    bx lr
deep:
    push {r4, lr}
    tst r4, #16
    blne leaf
    pop {r4, pc}
patch:                              @ writes code that it then executes
    ldr r0, =0xe2888002             @ add r8, r8, #2
    ldr r1, =leaf
    str r0, [r1]
    mov pc, lr
    .ltorg
"""

THUMB_PART = """
    push {r4, lr}
    movs r4, #6
again:
    subs r4, r4, #1
    bne again
    bl inner
    pop {r4}
    pop {r3}
    bx r3
inner:
    adds r4, r4, #1
    bx lr
"""

_HANDLERS = {
    0x04: "movs pc, lr",
    0x08: "movs pc, lr",
    # back to where the jump came from, which SVC's r14 tells
    0x0C: "msr cpsr_c, #0xd3; mov r2, lr; msr cpsr_c, #0xd7; mov lr, r2; movs pc, lr",
    0x10: "subs pc, lr, #4",
    0x18: "sub lr, lr, #4; push {r0, lr}; mov r0, #0; str r0, [r9]; pop {r0, lr}; movs pc, lr",
}
_THUMB_AT = CODE + 0x1000


def everything() -> Guest:
    """A CPU in front of the program, its handlers in place."""
    requester = Requester()
    guest = Guest((DEVICE, requester))
    requester.guest = guest
    for offset, source in _HANDLERS.items():
        handler = HANDLERS + offset * 0x40
        guest.vector(offset, handler)
        guest.load(source, handler)
    guest.load(THUMB_PART, _THUMB_AT, thumb=True)
    guest.start(PROGRAM.replace("=thumb + 1", f"={_THUMB_AT + 1:#x}"), cpsr=Mode.SVC | F)
    guest["r13_irq"] = 0x30070000
    guest["sctlr"] = guest["sctlr"] | 2  # unaligned accesses abort
    return guest


def blocks_by_hand(guest: Guest, limit: int = 100_000) -> list[Block]:
    """Execute to the end one instruction at a time, and put what was executed together to blocks."""
    cpu, blocks = guest.cpu, list[Block]()
    expected: tuple[int, bool, bool] | None = None
    while guest["pc"] != guest.done and cpu.instructions < limit:
        if cpu.state.interrupts & (I | F):
            pc, thumb, user = 0x18, False, False
        else:
            control = guest["cpsr"]
            pc, thumb, user = guest["pc"], bool(control & T), control & 0x1F == Mode.USR
        before = cpu.instructions
        assert guest.step() is StopCode.LIMIT
        assert cpu.instructions == before + 1
        if expected == (pc, thumb, user):
            start, length, *_ = blocks[-1]
            blocks[-1] = (start, length + 1, thumb, user)
        else:
            blocks.append((pc, 1, thumb, user))
        expected = (pc + (2 if thumb else 4), thumb, user)
    assert guest["pc"] == guest.done
    return blocks


def recorder_of(guest: Guest, path: Path, kinds: tuple[str, ...] = ("tb_exec",)) -> tuple[Recorder, FileSink]:
    """A recorder into a file."""
    sink = FileSink(path, Header(spec="tb_exec", kinds=kinds, period_ps=1000))
    return Recorder(guest.cpu, VirtualClock(), sink), sink


def blocks_of(path: Path) -> list[Block]:
    """What a trace has."""
    with open_trace(path) as trace:
        return read_blocks(trace)


def read_blocks(trace: Trace) -> list[Block]:
    """The same of an open one."""
    return [(event.pc, event.length, event.thumb, event.user) for event in trace.blocks_between()]


@contextmanager
def recorded(guest: Guest, path: Path, **selection: object) -> Iterator[None]:
    """Blocks are recorded to ``path``."""
    recorder, sink = recorder_of(guest, path)
    recorder.select(**selection)  # type: ignore[arg-type]
    recorder.start(blocks=True, kinds=0)
    yield
    recorder.stop()
    sink.close()
