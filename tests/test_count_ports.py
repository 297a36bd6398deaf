"""Counts that the engine computes: nothing tells them from those that the timers compute."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.translator import Translator
from dbgemu.machine import Machine
from dbgemu.target.s3c2440.pwm import PwmTimers
from tests.snapshot_machines import machine_with

TABLE, RESULTS = 0x30200000, 0x30300000
PWM, CLOCKS = 0x51000000, 0x4C000000
COUNTS = [PwmTimers.registers[f"TCNTO{timer}"].offset for timer in range(5)]
INSTRUCTIONS = 600_000
#: b to itself
STAYS = bytes.fromhex("feffffea")
#: TCON's start bits; the update bits are one higher
START = 1 | 1 << 8 | 1 << 12 | 1 << 16 | 1 << 20
DELAY, READ, READ_HALF, WRITE, END = range(5)

#: executes the table's rows of three words: what, address or turns, value
PROGRAM = f"""
    ldr r4, =0x{TABLE:x}
    ldr r5, =0x{RESULTS:x}
next:
    ldmia r4!, {{r0, r1, r2}}
    cmp r0, #{READ}
    blo delay
    ldreq r3, [r1]
    streq r3, [r5], #4
    cmp r0, #{READ_HALF}
    ldreqh r3, [r1]
    streq r3, [r5], #4
    cmp r0, #{WRITE}
    streq r2, [r1]
    cmp r0, #{END}
    bne next
done: b done
delay:
    subs r1, r1, #1
    bne delay
    b next
"""


def start_timers(random_: Random) -> Iterator[tuple[int, int, int]]:
    yield WRITE, PWM, random_.choice([0x0000, 0x0503, 0x1F00])
    yield WRITE, PWM + 4, random_.choice([0x00000, 0x43210])
    for timer in range(5):
        yield WRITE, PWM + 0x0C + 12 * timer, random_.choice([0, 50, 999, 0x7FFF, 0xFFFF])
    for action in (2, 1):
        repeated = random_.choice([0, 0x400000 | 0x80808 | 0x8000])
        yield WRITE, PWM + 8, action * START | repeated


def rows(seed: int) -> list[tuple[int, int, int]]:
    random_ = Random(seed)
    steps = list(start_timers(random_))
    for _ in range(300):
        kind = random_.random()
        address = PWM + random_.choice(COUNTS)
        if kind < 0.55:
            steps += [(random_.choice([READ, READ_HALF]), address, 0)] * random_.randint(1, 4)
        elif kind < 0.75:
            steps.append((DELAY, random_.choice([1, 10, 100, 3000]), 0))
        elif kind < 0.85:
            steps.append(
                (WRITE, PWM + 0x0C + 12 * random_.randrange(5), random_.choice([3, 700, 40000, 60000]))
            )
        elif kind < 0.92:
            steps.append((WRITE, PWM + 8, random_.getrandbits(23) & ~0x10 | random_.choice([0, START])))
        elif kind < 0.95:
            steps.append((WRITE, PWM + 4 * random_.randrange(2), random_.getrandbits(20) & 0x70F0F))
        elif kind < 0.97:
            # HCLK and PCLK
            steps.append((WRITE, CLOCKS + 0x14, random_.randrange(4)))
        elif kind < 0.98:
            # the PLL locks: time passes in which all blocks stand
            steps.append((WRITE, CLOCKS + 4, random_.choice([0x7F021, 0x6E031])))
        else:
            # the timers' clock is gated for a while; reads meanwhile are a guest's mistake
            steps += [(WRITE, CLOCKS + 0x0C, 0xFFDFF0), (DELAY, random_.randint(1, 500), 0)]
            steps += [(READ, address, 0), (WRITE, CLOCKS + 0x0C, 0xFFFFF0)]
    return [*steps, (END, 0, 0)]


def machine_for(steps: list[tuple[int, int, int]]) -> Machine:
    machine = machine_with(PROGRAM)
    table = b"".join(struct.pack("<3I", *step) for step in steps)
    machine.board.bus.poke(TABLE, table)
    return machine


def state(machine: Machine) -> tuple[bytes, int, str]:
    """What was read, and all that is behind it."""
    return machine.board.bus.peek(RESULTS, 0x2000), machine.cpu.instructions, machine.digest()


def outcome(
    steps: list[tuple[int, int, int]], *, served: bool, translated: bool = False
) -> tuple[Any, Counter[int]]:
    """The state in the end; and how often each count was asked for."""
    machine = machine_for(steps)
    asked: Counter[int] = Counter()
    for offset, port in machine.board.pwm.ports():
        port.enabled = served
        counted(machine.board.bus._readers, PWM + offset, asked)
    translator = Translator(machine.cpu, AtOnce(0), threshold=2, patience=1, batch=1) if translated else None
    machine.run(INSTRUCTIONS)
    assert machine.board.bus.peek(machine.cpu.pc, 4) == STAYS, "the program ends in time"
    if translator is not None:
        assert translator.statistics["installed"]
        translator.close()
    return state(machine), asked


def counted(readers: dict[int, Any], address: int, asked: Counter[int]) -> None:
    for size in (2, 4):
        read = readers[address << 3 | size]

        def count(read: Any = read) -> int:
            asked[address] += 1
            value: int = read()
            return value

        readers[address << 3 | size] = count


@pytest.mark.parametrize("seed", range(6))
def test_counts_are_the_same_with_and_without_ports_in_both_tiers(seed: int) -> None:
    steps = rows(seed)
    expected, asked = outcome(steps, served=False)
    assert len(set(struct.unpack(f"<{len(expected[0]) // 4}I", expected[0]))) > 60
    reads = sum(kind in (READ, READ_HALF) for kind, _, _ in steps)
    assert sum(asked.values()) > 0.95 * reads
    for translated in (False, True):
        found, asked = outcome(steps, served=True, translated=translated)
        assert found == expected
        assert sum(asked.values()) < 0.6 * reads, "a read behind another need not come to the timer"


def test_a_timer_that_nobody_sets_is_asked_for_once() -> None:
    steps = [(WRITE, PWM + 0x3C, 0xFFFF), (WRITE, PWM + 8, 0x600000), (WRITE, PWM + 8, 0x500000)]
    steps += [(READ, PWM + 0x40, 0), (DELAY, 15_000, 0)] * 10
    found, asked = outcome([*steps, (END, 0, 0)], served=True)
    assert found == outcome([*steps, (END, 0, 0)], served=False)[0]
    assert asked == {PWM + 0x40: 1}


def test_a_debugger_that_looks_changes_no_count() -> None:
    """Not even while the timers' clock is gated."""
    machine = machine_for(rows(1))
    for _ in range(INSTRUCTIONS // 1000):
        machine.run(1000)
        for offset in COUNTS:
            machine.board.bus.peek(PWM + offset, 4)
    assert state(machine) == outcome(rows(1), served=False)[0]
