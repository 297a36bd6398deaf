"""The condition codes (ARM ARM A3.2)."""

from __future__ import annotations

from dbgemu.target.arm.core import Core
from dbgemu.target.arm.value import Value

ALWAYS, NEVER = 14, 15


def condition_holds(m: Core, code: int) -> Value:
    """Whether condition ``code`` (0 to 15) holds, of width 1; the last one never does on ARMv4."""
    if code >= ALWAYS:
        return m.const(int(code == ALWAYS), 1)
    zero, negative, overflow = m.get("z").eq(0), m.get("n").bit(31), m.get("v").bit(31)
    holds = (
        lambda: zero,
        lambda: m.carry,
        lambda: negative,
        lambda: overflow,
        lambda: m.carry & ~zero,
        lambda: ~(negative ^ overflow),
        lambda: ~zero & ~(negative ^ overflow),
    )[code >> 1]()
    return ~holds if code & 1 else holds
