"""The system control coprocessor's registers: identities, masks, and names for debuggers."""

from __future__ import annotations

from typing import NamedTuple

MAIN_ID = 0x41129200  # ARM, ARMv4T, part 0x920, revision 0: what the S3C2440A answers
CACHE_TYPE = 0x0D172172  # ARM920T TRM 2.3.2: 16 KB instruction and data caches, 64 ways, write-back

# Control register, ARM920T TRM 2.3.3
CONTROL_MMU = 1 << 0
CONTROL_ALIGNMENT = 1 << 1
CONTROL_SYSTEM = 1 << 8
CONTROL_ROM = 1 << 9
CONTROL_HIGH_VECTORS = 1 << 13
CONTROL_READ_AS_ONE = 0x78  # bits 6..3
CONTROL_WRITABLE = 0xC0007387
CONTROL_RESET = CONTROL_READ_AS_ONE

TTB_MASK = 0xFFFFC000
FCSE_PID_MASK = 0xFE000000


class Cp15Register(NamedTuple):
    """A register as debuggers see it: the field of the CPU's state, or a constant."""

    name: str
    field: str | None
    doc: str
    constant: int = 0
    writable: int = 0xFFFFFFFF
    read_as_one: int = 0


CP15_REGISTERS = {
    register.name: register
    for register in (
        Cp15Register("midr", None, "c0: main ID", MAIN_ID, 0),
        Cp15Register("ctr", None, "c0: cache type", CACHE_TYPE, 0),
        Cp15Register("sctlr", "cp15_control", "c1: control", 0, CONTROL_WRITABLE, CONTROL_READ_AS_ONE),
        Cp15Register("ttbr", "ttb", "c2: translation table base", 0, TTB_MASK),
        Cp15Register("dacr", "dacr", "c3: domain access control"),
        Cp15Register("dfsr", "dfsr", "c5: data fault status"),
        Cp15Register("ifsr", "ifsr", "c5: prefetch fault status"),
        Cp15Register("far", "far", "c6: fault address"),
        Cp15Register("dclr", "dcache_lockdown", "c9: data cache lockdown"),
        Cp15Register("iclr", "icache_lockdown", "c9: instruction cache lockdown"),
        Cp15Register("dtlblr", "dtlb_lockdown", "c10: data TLB lockdown"),
        Cp15Register("itlblr", "itlb_lockdown", "c10: instruction TLB lockdown"),
        Cp15Register("fcseidr", "fcse_pid", "c13: fast context switch extension PID", 0, FCSE_PID_MASK),
        Cp15Register("testr", "test_state", "c15: test state"),
    )
}
