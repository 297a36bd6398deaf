"""Logging what the translator makes: ``-d op,out_asm``, with QEMU's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dbgemu.engine.translator.report import host_code, region_ir
from dbgemu.engine.translator.translator import Installed, Translator


class TranslationLog:
    """Hands lines to ``write`` for each region that comes into use, until closed: LLVM IR, host code."""

    def __init__(self, translator: Translator, items: Iterable[str], write: Callable[[str], None]) -> None:
        self._translator = translator
        self._items = frozenset(items)
        self._write = write
        translator.on_install = self._installed

    def close(self) -> None:
        """Log nothing more."""
        self._translator.on_install = None

    def _installed(self, region: Installed) -> None:
        made = region.made
        about = f"0x{made.pc:08x}, {made.instructions} instructions"
        about += (", Thumb" if made.thumb else "") + (", traced" if made.traced else "")
        if "op" in self._items:
            self._write(f"OP: {about}\n{region_ir(made).strip()}")
        if "out_asm" in self._items:
            self._write("\n".join([f"OUT: {about} [size={len(made.native)}]", *host_code(region)]))
