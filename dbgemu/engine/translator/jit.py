"""A CPU with a translator in the background: what ``-accel jit`` is."""

from __future__ import annotations

import os
from pathlib import Path

from dbgemu.engine.cpu import Cpu
from dbgemu.engine.translator.background import Background
from dbgemu.engine.translator.cache import RegionCache, default_path
from dbgemu.engine.translator.requests import ASSEMBLE
from dbgemu.engine.translator.translator import AGAIN_ASSEMBLED, Translator

#: hosts whose relocations stencil_compiler knows
_WITH_STENCILS = ("x86_64",)


def accelerate(cpu: Cpu, path: Path | None = None) -> Translator:
    """Let hot code of ``cpu`` be translated from now on; ``close`` of what comes back ends it.

    ``path`` is the file of translated regions, the usual one if it is not given.
    """
    path = path or default_path()
    notify = cpu.interrupt_for_translation
    compiler, cache = Background(path, notify), RegionCache(path)
    if os.uname().machine not in _WITH_STENCILS:
        return Translator(cpu, compiler, cache=cache)
    assembler = Background(path, notify, ASSEMBLE)
    return Translator(cpu, compiler, cache=cache, assembler=assembler, again=AGAIN_ASSEMBLED)
