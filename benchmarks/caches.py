"""Cache folders as an emulator finds them: before its first boot, after some boots, and full."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Settings
from benchmarks.linux_boot import boot_command, find_guest, wait_for_prompt
from benchmarks.processes import EmulatorProcess, cpu_seconds, emulator, workers
from benchmarks.start_up import warm_up
from dbgemu.engine.native import cache_folder, source_digest
from dbgemu.engine.translator.cache import LARGEST, RegionCache, default_path
from dbgemu.engine.translator.stencils import stencil_path

#: so often is the guest booted for a cache to become warm, and left at its prompt until the translator's
#: processes use less than this part of a core, or so many seconds have passed
WARMING, _QUIET, _LONGEST = 3, 0.05, 60.0


class Caches:
    """Folders for ``DBGEMU_CACHE``; the interpreter is in each of them."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        #: what the translator's file is called in each of them
        self._regions = default_path().name
        self._interpreter = cache_folder() / f"interpreter-{source_digest()[:32]}.o"

    def environment(self, folder: Path) -> dict[str, str]:
        """For an emulator that uses ``folder``; Python's bytecode stays where it is."""
        return self._settings.environment() | {"DBGEMU_CACHE": str(folder)}

    def regions(self, folder: Path) -> Path:
        """The file of translated regions in ``folder``."""
        return folder / self._regions

    def fresh(self) -> Path:
        """A folder with neither regions nor stencils."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        shutil.copy(self._interpreter, folder)
        return folder

    def cold(self, warm: Path) -> Path:
        """A folder without regions, with the stencils of ``warm``."""
        folder = self.fresh()
        stencils = stencil_path(self.regions(warm))
        if stencils.exists():
            shutil.copy(stencils, folder)
        return folder

    def warm(self) -> Path:
        """A folder after some boots of the Linux guest, each ended when hardly anything was compiled."""
        folder = self.fresh()
        command = boot_command(self._settings, find_guest(self._settings))
        for number in range(WARMING):
            self._settings.progress(f"warming the cache: boot {number + 1} of {WARMING}")
            with emulator(command, self.environment(folder)) as process:
                wait_for_prompt(process)
                _wait_for_workers(process)
        return folder

    def full(self, warm: Path) -> Path:
        """A folder whose file of regions is as large as it gets: its own regions first, then copies."""
        folder = self.cold(warm)
        path = self.regions(folder)
        shutil.copy(self.regions(warm), path)
        fill(path)
        return folder


def _wait_for_workers(process: EmulatorProcess) -> None:
    """Leave the guest at its prompt until hardly anything is compiled any more."""
    end = time.monotonic() + _LONGEST
    before = -math.inf
    while time.monotonic() < end:
        used = sum(cpu_seconds(pid) for pid in workers(process.pid).values())
        if used - before < _QUIET:
            return
        before = used
        time.sleep(1)


@contextmanager
def cache_folders(settings: Settings) -> Iterator[Caches]:
    """Folders that go with the block."""
    warm_up(settings)
    with tempfile.TemporaryDirectory() as name:
        yield Caches(settings, Path(name))


def fill(path: Path, largest: int = LARGEST) -> None:
    """Put copies of its own regions into a cache, under other addresses, until it has ``largest`` bytes."""
    cache = RegionCache(path, largest)
    own = list(cache)
    before = path.stat().st_size
    number = 0
    while own and path.stat().st_size + before <= largest:
        number += 1
        cache.add(made._replace(word=made.word ^ number << 16) for made in own)
