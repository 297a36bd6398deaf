"""A process that boots the Linux guest to its prompt and prints what that took, as JSON.

``python -m benchmarks.counted_boot KERNEL INITRD COMMAND_LINE count|plain``. Counting costs about half
a microsecond an access; ``plain`` only runs.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.linux_boot import PROMPT, RTC_BASE
from dbgemu.machine import Machine
from dbgemu.target.boot import plan_boot
from dbgemu.target.bus import Bus
from dbgemu.target.device import Device
from dbgemu.target.mini2440 import Mini2440

_LONGEST = 120.0


def make_board(kernel: Path, initrd: Path, command_line: str) -> Mini2440:
    """A board that will boot these files."""
    start = datetime.fromisoformat(RTC_BASE).replace(tzinfo=UTC)
    board = Mini2440(rtc_start=int(start.timestamp()))
    board.boot_plan = plan_boot(
        kernel.read_bytes(),
        str(kernel),
        memory_size=board.sdram.size,
        command_line=command_line,
        initrd=initrd.read_bytes(),
        initrd_name=str(initrd),
    )
    return board


def run_to_prompt(machine: Machine) -> float:
    """Run until the prompt has been sent; the seconds that it took. RuntimeError when it never comes."""
    output = bytearray()
    at_prompt = threading.Event()

    def sent(character: int) -> None:
        output.append(character)
        if output.endswith(PROMPT):
            at_prompt.set()
            machine.request_stop()

    machine.board.uarts[0].on_transmit = sent
    watchdog = threading.Timer(_LONGEST, machine.request_stop)
    watchdog.daemon = True
    watchdog.start()
    started = time.perf_counter()
    machine.run()
    seconds = time.perf_counter() - started
    watchdog.cancel()
    if not at_prompt.is_set():
        lines = output.decode("ascii", "replace").splitlines() or [""]
        raise RuntimeError(f"no prompt within {_LONGEST:.0f} s; the last line was {lines[-1]!r}")
    return seconds


class Stopwatch:
    """Counts calls and adds up their time."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, counted and timed."""
        clock = time.perf_counter

        def timed(*arguments: Any, **options: Any) -> Any:
            started = clock()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += clock() - started
                self.count += 1

        return timed


class AccessCounter:
    """Counts accesses and their time by physical address."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.seconds: defaultdict[int, float] = defaultdict(float)

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function(address, ...)``, counted and timed."""
        clock, counts, seconds = time.perf_counter, self.counts, self.seconds

        def timed(address: int, *arguments: int) -> Any:
            started = clock()
            result = function(address, *arguments)
            seconds[address] += clock() - started
            counts[address] += 1
            return result

        return timed

    def rows(self, bus: Bus, kind: str) -> list[tuple[str, int, float]]:
        """(register and kind of access, count, seconds) of each address."""
        return [
            (f"{_name(bus, address)} {kind}", count, self.seconds[address])
            for address, count in self.counts.items()
        ]


def _name(bus: Bus, address: int) -> str:
    region = bus.find(address)
    if region is None:
        return f"0x{address:08x}"
    target = region.writes_to or region.target
    register = target.locate(address - region.base) if isinstance(target, Device) else None
    return f"{target.name}.{register.name if register else f'0x{address - region.base:x}'}"


def count_boot(board: Mini2440) -> dict[str, Any]:
    """Boot with everything counted. Times are in seconds of the host."""
    reads, writes = AccessCounter(), AccessCounter()
    slices, waits, flushes = Stopwatch(), Stopwatch(), Stopwatch()
    with (
        patch.object(board.bus, "read", reads.wrap(board.bus.read)),
        patch.object(board.bus, "write", writes.wrap(board.bus.write)),
    ):
        machine = Machine(board)
        with (
            patch.object(machine.cpu, "run", slices.wrap(machine.cpu.run)),
            patch.object(machine.cpu, "flush_tlbs", flushes.wrap(machine.cpu.flush_tlbs)),
            patch.object(machine, "_wait", waits.wrap(machine._wait)),
        ):
            seconds = run_to_prompt(machine)
    in_devices = sum(reads.seconds.values()) + sum(writes.seconds.values())
    rows = sorted(
        reads.rows(board.bus, "read") + writes.rows(board.bus, "write"), key=lambda row: row[2], reverse=True
    )
    return {
        "instructions": machine.cpu.instructions,
        "virtual_seconds": board.clock.now / 1e9,
        "seconds": seconds,
        "reads": sum(reads.counts.values()),
        "writes": sum(writes.counts.values()),
        "device_seconds": in_devices,
        "guest_seconds": slices.seconds - in_devices,
        "waiting_seconds": waits.seconds,
        "loop_seconds": seconds - slices.seconds - waits.seconds,
        "slices": slices.count,
        "waits": waits.count,
        "tlb_flushes_by_python": flushes.count,
        "registers": [
            {
                "access": name,
                "count": count,
                "seconds": round(time_, 4),
                "us_each": round(1e6 * time_ / count, 2),
            }
            for name, count, time_ in rows
        ],
    }


def main(words: list[str]) -> None:
    """See the module."""
    kernel, initrd, command_line, mode = words
    board = make_board(Path(kernel), Path(initrd), command_line)
    if mode == "count":
        result = count_boot(board)
    else:
        machine = Machine(board)
        seconds = run_to_prompt(machine)
        result = {"instructions": machine.cpu.instructions, "seconds": seconds}
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
