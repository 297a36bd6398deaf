"""What ``-accel jit`` adds to a start, with caches of different sizes; what opening them takes."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.boot_parts import run_profiled
from benchmarks.caches import cache_folders
from benchmarks.harness import Settings
from benchmarks.report import Aim, Figure
from benchmarks.start_up import hello_options
from dbgemu.engine.translator.cache import RegionCache

_GROUP = "start with the translator"
#: milliseconds
_AIM = Aim(300, at_most=True)
_OPENED = 7


def measure(settings: Settings) -> list[Figure]:
    """From exec to the first guest instruction, against the same without a translator."""
    with cache_folders(settings) as caches, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = hello_options(folder)
        warm = caches.warm()
        full = caches.full(warm)

        def start(accelerator: str, cache: Path) -> float:
            path = folder / "start.json"
            path.unlink(missing_ok=True)
            words = [*options, "-accel", accelerator]
            execed = run_profiled(path, "start", words, caches.environment(cache))
            first: float = json.loads(path.read_text())["first_instruction"]
            return 1000 * (first - execed)

        sides: dict[str, Callable[[], float]] = {
            "without": partial(start, "interp", warm),
            "warm": partial(start, "jit", warm),
            "full": partial(start, "jit", full),
        }
        runs = settings.interleave(sides, "start")
        figures = []
        for side in ("warm", "full"):
            path = caches.regions(warm if side == "warm" else full)
            what = f"{side} cache ({path.stat().st_size / 2**20:.0f} MiB)"
            own, without = runs[side], runs["without"]
            added = [with_it - alone for with_it, alone in zip(own, without, strict=True)]
            figures += [
                Figure(_GROUP, f"exec to the first instruction, {what}", "ms", own, "tier 0", without),
                Figure(_GROUP, f"added by the translator, {what}", "ms", added, aim=_AIM),
                Figure(_GROUP, f"opening the {what}", "ms", [_opening(path) for _ in range(_OPENED)]),
            ]
        return figures


def _opening(path: Path) -> float:
    started = time.perf_counter()
    len(RegionCache(path))  # a cache is read when the first region is looked for
    return 1000 * (time.perf_counter() - started)
