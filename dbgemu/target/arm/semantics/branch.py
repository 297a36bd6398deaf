"""ARM branches (ARM ARM A3.3)."""

from __future__ import annotations

from dbgemu.target.arm.core import Core, Fields
from dbgemu.target.arm.state import T
from dbgemu.target.arm.value import Value


def branch(m: Core, i: Fields) -> None:
    """B and BL."""
    pc = m.reg(15)
    if m.known(i.link):
        m.set_reg(14, pc - 4)
    m.jump(pc + (i.offset << 8).sar(6))


def branch_exchange(m: Core, i: Fields) -> None:
    """BX, in ARM and Thumb."""
    exchange(m, m.reg(i.rm))


def exchange(m: Core, target: Value) -> None:
    """Go on at ``target``, in Thumb when its bit 0 is 1."""
    present = m.get("control")
    wanted = (target & 1) << 5
    for _ in m.when((present & T).ne(wanted)):
        m.set("control", (present & ~T) | wanted)
    m.jump_any(target)
