"""Device register accesses a second: loops on dbgemu's board, and one on QEMU's versatilepb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.guest_program import (
    SYS_EXIT,
    SYS_WRITE0,
    Mark,
    have_qemu,
    make_elf,
    run_on_board,
    run_on_qemu,
)
from benchmarks.harness import Settings
from benchmarks.report import Aim, BenchmarkError, Figure
from dbgemu.engine.native import load_interpreter
from dbgemu.target.arm.assembler import assemble_program

_GROUP = "device registers: accesses a second, a loop of 8"
_AIM = 0.7
_UNROLLED = 8
_ROUNDS = 60_000
#: accesses that each loop makes
ACCESSES = _ROUNDS * _UNROLLED

_LOAD = "ldr r2, [r0]"
_STORE = "str r1, [r0]"


class Loop(NamedTuple):
    """One measured loop: the register's address, the instruction, the value to write."""

    name: str
    address: int
    instruction: str
    value: int = 0


#: S3C2440A UM 1-25 to 1-34
BOARD_LOOPS = (
    Loop("read INTMSK", 0x4A000008, _LOAD),
    Loop("write INTMSK", 0x4A000008, _STORE, 0xFFFFFFFF),
    Loop("read INTOFFSET", 0x4A000014, _LOAD),
    Loop("write SRCPND (clears nothing)", 0x4A000000, _STORE, 0),
    Loop("read TCNTO4, timer running", 0x51000040, _LOAD),
    Loop("read GPBDAT", 0x56000014, _LOAD),
    Loop("write GPBDAT", 0x56000014, _STORE, 0x1E0),
    Loop("read UTRSTAT0", 0x50000010, _LOAD),
)
#: ARM DUI 0225D, "PrimeCell UART": UARTFR, which QEMU answers from one variable
QEMU_LOOPS = (Loop("read UARTFR", 0x101F1018, _LOAD),)

# TCFG1 keeps its reset value; TCON: manual update, then start with auto reload (UM 10-13)
_START_TIMER = """
    ldr r0, =0x51000000
    ldr r1, =0xffff
    str r1, [r0, #0x3c]
    mov r1, #0x00200000
    str r1, [r0, #0x08]
    mov r1, #0x00500000
    str r1, [r0, #0x08]
"""


def _source(loops: Sequence[Loop], prepare: str) -> str:
    parts = [prepare, _call(SYS_WRITE0, "ready")]
    for number, loop in enumerate(loops):
        parts.append(
            f"""
    ldr r0, ={loop.address:#x}
    ldr r1, ={loop.value:#x}
    ldr r3, ={_ROUNDS}
loop{number}:
    {"; ".join([loop.instruction] * _UNROLLED)}
    subs r3, r3, #1
    bne loop{number}
"""
        )
        parts.append(_call(SYS_WRITE0, f"text{number}"))
    parts.append(_call(SYS_EXIT, "0x20026"))
    parts.append("end: b end\n.ltorg\n" + 'ready: .asciz "start\\n"\n')
    parts += [f'text{number}: .asciz "{loop.name}\\n"\n' for number, loop in enumerate(loops)]
    return "\n".join(parts)


def _call(operation: int, argument: str) -> str:
    return f"    mov r0, #{operation}\n    ldr r1, ={argument}\n    swi 0x123456\n"


def program(loops: Sequence[Loop], base: int, prepare: str = "") -> bytes:
    """The loops as an ELF file for code at ``base``."""
    vectors = assemble_program("b .; b .; movs pc, lr; b .; b .; b .; b .; b .")
    code = assemble_program(_source(loops, prepare), base)
    return make_elf({0: vectors.data, base: code.data}, base)


def measure(settings: Settings) -> list[Figure]:
    """A figure for each loop; the peer's value is QEMU's one."""
    code = load_interpreter()
    board = program(BOARD_LOOPS, 0x30008000, _START_TIMER)
    sides: dict[str, Callable[[], list[Mark]]] = {"dbgemu": lambda: run_on_board(board, code)}
    if have_qemu():
        versatile = program(QEMU_LOOPS, 0x8000)
        sides["QEMU"] = lambda: run_on_qemu(versatile)
    else:
        settings.note("qemu-system-arm is not installed, so there is no comparison with it")
    runs = settings.interleave(sides, "device registers")
    for name, results in runs.items():
        loops = BOARD_LOOPS if name == "dbgemu" else QEMU_LOOPS
        for marks in results:
            if [mark.text for mark in marks] != ["start", *[loop.name for loop in loops]]:
                raise BenchmarkError(f"{name} did not run the loops: {[mark.text for mark in marks]}")
    peer = [_rate(marks[1]) for marks in runs.get("QEMU", [])]
    return [
        Figure(
            _GROUP,
            loop.name,
            "million/s",
            [_rate(marks[place]) for marks in runs["dbgemu"]],
            "QEMU, UARTFR" if peer else "",
            peer,
            Aim(_AIM),
            {"address": f"0x{loop.address:08x}", "accesses": ACCESSES},
        )
        for place, loop in enumerate(BOARD_LOOPS, 1)
    ]


def _rate(mark: Mark) -> float:
    return ACCESSES / mark.seconds / 1e6
