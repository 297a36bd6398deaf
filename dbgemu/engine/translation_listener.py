"""Who is told what the translator does: traces."""

from __future__ import annotations

from typing import Protocol


class TranslationListener(Protocol):
    """``Cpu.translation_listener``, or None while nobody wants to know.

    Its methods are called on the thread that runs the machine, between two runs of generated code; only
    :meth:`invalidated` also from within a store (``storing``).
    """

    def translated(self, pc: int, length: int, *, thumb: bool) -> None:
        """A block of ``length`` instructions at virtual ``pc`` was taken up by the translator."""

    def invalidated(self, physical: int, size: int, *, storing: bool) -> None:
        """Translated code of ``size`` bytes from ``physical`` was thrown away.

        ``storing``: by a store of the instruction that r15 tells of, which tier 0 executes.
        """

    def compiled(self, address: int, guest_bytes: int, host_bytes: int, host_us: int) -> None:
        """Code from virtual ``address`` is native now; ``host_us`` is how long that took (µs)."""
