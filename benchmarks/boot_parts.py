"""Where the time of a Linux boot goes: start-up, tier 0, translated code, devices, translation.

A boot is a process that is dbgemu, which samples its machine's thread from the first instruction to the
prompt (see :mod:`benchmarks.profiled_boot`). An address in generated code tells what was executed. Outside of
it, the thread's mark tells; in a run of the engine that is a device access, since generated code calls
nothing else that is not marked. Samples that came late were due while the thread had no processor.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.caches import Caches, cache_folders
from benchmarks.harness import ROOT, Settings
from benchmarks.linux_boot import boot_options, find_guest
from benchmarks.profiled_boot import IN_ENGINE, RUN_LOOP, TRANSLATING, WAITING
from benchmarks.report import Aim, BenchmarkError, Figure
from benchmarks.sampler import INTERVAL, WORDS, can_sample
from dbgemu.engine.native import cache_folder, read_cached, source_digest

_LONGEST = 180.0
_WHOLE, _START_UP = "exec to the prompt", "start-up: exec to the first instruction"
_TIER_0, _MEMORY = "tier 0", "TLB misses, native device registers"
_JUMPS, _ASSEMBLED, _COMPILED = "tier 1: jump cache", "tier 1: assembled code", "tier 1: compiled code"
_DEVICES, _TRANSLATION = "devices in Python", "translation, the emulator's part"
_LOOP, _IDLE = "run loop and timers", "idle"
_SYSTEM, _NO_PROCESSOR = "interpreter lock and system calls", "waiting for a processor"
PARTS = (
    *(_START_UP, _TIER_0, _MEMORY, _JUMPS, _ASSEMBLED, _COMPILED),
    *(_DEVICES, _TRANSLATION, _LOOP, _IDLE, _SYSTEM, _NO_PROCESSOR),
)
#: what the mark says of a sample that is not in generated code
_MARKED = {RUN_LOOP: _LOOP, IN_ENGINE: _DEVICES, TRANSLATING: _TRANSLATION, WAITING: _IDLE}
#: functions of the engine that are not handlers or what is between them
_FUNCTIONS = {
    **dict.fromkeys(("walk", "fill", "slow_read", "slow_write", "slow_fetch"), _MEMORY),
    **dict.fromkeys(("port_read", "port_write", "port_count"), _MEMORY),
    **dict.fromkeys(("go_arm", "go_thumb", "go_any"), _JUMPS),
}
#: translated code begins at multiples of so many bytes
_ALIGNMENT = 64
#: blocks that tier 0 enters when it executes all of the boot
ALL_BLOCKS = 40.8e6
SIDES = ("tier 0", "no stencils", "cold", "warm")


class EngineMap:
    """The functions of the compiled interpreter, by address."""

    def __init__(self, symbols: Mapping[str, tuple[int, int]], run: int) -> None:
        """``symbols``: address and bytes in the object file; ``run``: where the function of that name is."""
        base = run - symbols["run"][0]
        rows = sorted((base + address, size, name) for name, (address, size) in symbols.items())
        self._starts = [start for start, _, _ in rows]
        self._rows = rows

    def find(self, address: int) -> str | None:
        """The function at ``address``."""
        place = bisect_right(self._starts, address) - 1
        if place < 0:
            return None
        start, size, name = self._rows[place]
        return name if address < start + size else None


def engine_symbols() -> dict[str, tuple[int, int]]:
    """Address and size of each function in the interpreter's object file."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    contents = read_cached(cache_folder() / f"interpreter-{source_digest()[:32]}.o")
    assert contents is not None, "the interpreter was loaded before"
    table = ELFFile(io.BytesIO(contents)).get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    return {
        symbol.name: (symbol["st_value"], symbol["st_size"])
        for symbol in table.iter_symbols()
        if symbol["st_info"]["type"] == "STT_FUNC"
    }


@dataclass(frozen=True)
class Boot:
    """Seconds of each part, and what else is known of a boot."""

    parts: Mapping[str, float]
    #: samples by function of the engine
    functions: Mapping[str, int]
    #: CPU time (s) of the translator's processes until then, by what they do
    workers: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> float:
        """Seconds from exec to the prompt."""
        return sum(self.parts.values())


def classify(
    samples: memoryview,
    engine: EngineMap,
    installed: list[tuple[int, int, int, bool]],
    system_calls: Container[int] = (),
) -> tuple[Counter[str], Counter[str]]:
    """Intervals of each part, and samples of each function of the engine.

    ``samples``: WORDS numbers each. ``installed``: how many samples there were when a region came to an
    address, how many bytes, and whether it is assembled; what was there before is gone. ``system_calls``:
    addresses behind them.
    """
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    kinds: dict[int, str] = {}
    coming = iter(installed)
    following = next(coming, None)
    for number in range(len(samples) // WORDS):
        while following is not None and following[0] <= number:
            _, start, length, assembled = following
            slots = range(start // _ALIGNMENT, (start + length - 1) // _ALIGNMENT + 1)
            kinds.update(dict.fromkeys(slots, _ASSEMBLED if assembled else _COMPILED))
            following = next(coming, None)
        address, mark, late = samples[WORDS * number : WORDS * (number + 1)]
        name = engine.find(address)
        if name is not None:
            functions[name] += 1
            parts[_FUNCTIONS.get(name, _TIER_0)] += 1
        elif address // _ALIGNMENT in kinds:
            parts[kinds[address // _ALIGNMENT]] += 1
        elif address in system_calls and mark != WAITING:
            parts[_SYSTEM] += 1
        else:
            parts[_MARKED[mark]] += 1
        parts[_NO_PROCESSOR] += late
    return parts, functions


def profile(
    options: list[str], environment: Mapping[str, str], symbols: Mapping[str, tuple[int, int]]
) -> Boot:
    """Boot with these options of dbgemu; BenchmarkError when there is no prompt."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boot.json"
        execed = run_profiled(path, "boot", options, environment)
        found = json.loads(path.read_text())
        samples = memoryview(path.with_name(path.name + ".samples").read_bytes()).cast("Q")
    counts, functions = classify(
        samples, EngineMap(symbols, found["engine"]), found["installed"], set(found["system_calls"])
    )
    span = found["ended"] - found["started"]
    interval = span / sum(counts.values())
    parts = {name: counts[name] * interval for name in PARTS}
    parts[_START_UP] = found["first_instruction"] - execed
    expected = span / INTERVAL
    details = {
        "instructions": found["instructions"],
        "blocks_entered_by_tier_0": found["blocks"],
        "cpu_seconds_of_the_thread": found["cpu_seconds"],
        "intervals_found_per_expected": sum(counts.values()) / expected,
        "statistics": found["statistics"],
    }
    return Boot(parts, functions, found["workers"], details)


def run_profiled(path: Path, mode: str, options: list[str], environment: Mapping[str, str]) -> float:
    """Run :mod:`benchmarks.profiled_boot`; the time (s, perf_counter) of its exec."""
    command = [sys.executable, "-m", "benchmarks.profiled_boot", str(path), mode, *options]
    execed = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=dict(environment),
    )
    try:
        _, complaint = process.communicate(timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        _, complaint = process.communicate()
    if not path.exists():
        lines = complaint.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
        raise BenchmarkError(f"the profiled boot came to no end: {lines[-1]}")
    return execed


def measure(settings: Settings) -> list[Figure]:
    """The parts of boots with tier 0 alone, without stencils, with a cold and a warm cache."""
    if not can_sample():
        raise BenchmarkError("the signal frames of this host are not known: x86-64 and AArch64 Linux are")
    options = boot_options(find_guest(settings))
    with cache_folders(settings) as caches:
        symbols = engine_symbols()
        runs = settings.interleave(_sides(caches, options, symbols), "parts of a boot")
    figures = []
    for side in SIDES:
        figures += _figures(side, runs[side], runs["tier 0"])
    return figures


def _sides(
    caches: Caches, options: list[str], symbols: Mapping[str, tuple[int, int]]
) -> dict[str, Callable[[], Boot]]:
    warm = caches.warm()
    interpreted, translated = ([*options, "-accel", accelerator] for accelerator in ("interp", "jit"))

    def boot(folder: Callable[[], Path], options: list[str] = translated) -> Boot:
        return profile(options, caches.environment(folder()), symbols)

    return {
        "tier 0": partial(boot, lambda: warm, interpreted),
        "no stencils": partial(boot, caches.fresh),
        "cold": partial(boot, lambda: caches.cold(warm)),
        "warm": partial(boot, lambda: warm),
    }


def _figures(side: str, boots: list[Boot], interpreted: list[Boot]) -> list[Figure]:
    group = f"Linux boot, {side}"
    aims = {"cold": Aim(1.0, at_most=True, ratio=True), "warm": Aim(1.3, at_most=True)}
    functions: Counter[str] = Counter()
    for boot in boots:
        functions.update(boot.functions)
    details = {
        "boots": [dict(boot.details) for boot in boots],
        "functions": dict(functions.most_common(40)),
    }
    peer = [] if side == "tier 0" else [boot.whole for boot in interpreted]
    whole = [boot.whole for boot in boots]
    figures = [Figure(group, _WHOLE, "s", whole, "tier 0" if peer else "", peer, aims.get(side), details)]
    for name in PARTS:
        seconds = [1000 * boot.parts[name] for boot in boots]
        if median(seconds) or max(seconds) >= 1:
            figures.append(Figure(group, name, "ms", seconds))
    blocks = [boot.details["blocks_entered_by_tier_0"] for boot in boots]
    if all(blocks):
        share = [100 * entered / ALL_BLOCKS for entered in blocks]
        figures.append(Figure(group, "share of the blocks that tier 0 executes", "%", share))
    for work in ("assemble", "compile"):
        used = [1000 * boot.workers.get(work, 0.0) for boot in boots]
        if any(used):
            name = f"beside it: CPU time of the process that {work}s"
            figures.append(Figure(group, name, "ms", used))
    return figures
