"""What the translator takes of the host's memory while the Linux guest boots, and shortly after."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.caches import cache_folders
from benchmarks.harness import Settings
from benchmarks.linux_boot import boot_command, find_guest, wait_for_prompt
from benchmarks.processes import emulator, workers
from benchmarks.report import Aim, Figure

#: seconds from one look to the next, and how long it is looked on behind the prompt
_LOOK, _BEHIND = 0.05, 3.0
#: MiB that the translator and its caches may take
_AIM = Aim(300, at_most=True)
_EMULATOR, _ASSEMBLER, _COMPILER = "emulator", "assemble", "compile"
_NAMES = {
    _EMULATOR: "the emulator",
    _ASSEMBLER: "the process that assembles",
    _COMPILER: "the process that compiles",
}
_SIDES = ("tier 0", "no stencils", "cold", "warm", "full cache")


@dataclass
class Use:
    """Peaks in MiB, by process: its private memory, and with its share of what is shared; that of all."""

    private: dict[str, float] = field(default_factory=dict)
    proportional: dict[str, float] = field(default_factory=dict)
    together: float = 0.0

    def look(self, pid: int) -> None:
        """Look at the emulator ``pid`` and the translator's processes."""
        together = 0.0
        for name, process in {_EMULATOR: pid, **workers(pid)}.items():
            with suppress(OSError, LookupError):  # it has ended
                private, proportional = memory_of(process)
                self.private[name] = max(self.private.get(name, 0.0), private)
                self.proportional[name] = max(self.proportional.get(name, 0.0), proportional)
                together += proportional
        self.together = max(self.together, together)


def memory_of(pid: int) -> tuple[float, float]:
    """MiB that only this process has (USS), and with its share of what several have (PSS).

    OSError or LookupError when it has ended.
    """
    # proc(5), smaps_rollup: a line for the range, then "Name: value kB"
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(text.split()[0]) for name, _, text in (row.partition(":") for row in rows)}
    return (kib["Private_Clean"] + kib["Private_Dirty"]) / 1024, kib["Pss"] / 1024


def measure(settings: Settings) -> list[Figure]:
    """Peaks of boots with tier 0 alone and with the translator."""
    guest = find_guest(settings)
    with cache_folders(settings) as caches:
        warm = caches.warm()
        command = boot_command(settings, guest)

        def boot(folder: Callable[[], Path], accelerator: str = "jit") -> Use:
            return _watched([*command, "-accel", accelerator], caches.environment(folder()))

        sides = {
            "tier 0": partial(boot, lambda: warm, "interp"),
            "no stencils": partial(boot, caches.fresh),
            "cold": partial(boot, lambda: caches.cold(warm)),
            "warm": partial(boot, lambda: warm),
            "full cache": partial(boot, lambda: caches.full(warm)),
        }
        runs = settings.interleave(sides, "memory of a boot")
    figures = []
    for side in _SIDES:
        figures += _figures(side, runs[side], runs["tier 0"])
    return figures


def _watched(command: list[str], environment: dict[str, str]) -> Use:
    use, ended = Use(), threading.Event()
    with emulator(command, environment) as process:

        def watch() -> None:
            while not ended.wait(_LOOK):
                use.look(process.pid)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            wait_for_prompt(process)
            ended.wait(_BEHIND)
        finally:
            ended.set()
            watcher.join()
    return use


def _figures(side: str, boots: list[Use], interpreted: list[Use]) -> list[Figure]:
    group = f"memory of a Linux boot, {side}"
    samples = defaultdict(list)
    for boot in boots:
        for name, text in _NAMES.items():
            if name in boot.private:
                samples[f"{text}, private"].append(boot.private[name])
                samples[f"{text}, with its share"].append(boot.proportional[name])
    figures = [Figure(group, name, "MiB", values) for name, values in samples.items()]
    together = [boot.together for boot in boots]
    figures.append(Figure(group, "all of them, at the highest", "MiB", together))
    if side != "tier 0":
        added = [own - other.together for own, other in zip(together, interpreted, strict=True)]
        figures.append(Figure(group, "added by the translator", "MiB", added, aim=_AIM))
    return figures
