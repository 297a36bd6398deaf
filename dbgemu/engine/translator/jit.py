"""A CPU with a translator in the background: what ``-accel jit`` is."""

from __future__ import annotations

from dbgemu.engine.cpu import Cpu
from dbgemu.engine.translator.background import Background
from dbgemu.engine.translator.cache import RegionCache, default_path
from dbgemu.engine.translator.translator import Translator


def accelerate(cpu: Cpu) -> Translator:
    """Let hot code of ``cpu`` be translated from now on; ``close`` of what comes back ends it."""
    path = default_path()
    compiler = Background(path, cpu.interrupt_for_translation)
    return Translator(cpu, compiler, cache=RegionCache(path))
