"""Instruction tables: one line a pattern, fields named by letters, first match wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dbgemu.target.arm.core import Core, Fields, Semantics


@dataclass(frozen=True)
class Pattern:
    """The bits that tell an instruction, its fields' places (high, low), and what it does."""

    mask: int
    match: int
    places: dict[str, tuple[int, int]]
    semantics: Semantics

    @property
    def name(self) -> str:
        """The semantics' name."""
        return self.semantics.__name__

    def run(self, core: Core) -> None:
        """Run the semantics on the instruction that ``core`` holds."""
        self.semantics(core, Fields(core, self.places))


class DecodeTable:
    """Patterns over ``width`` bits, of which ``key_mask`` alone decide which pattern an instruction is.

    A pattern is written from the highest bit down, blanks ignored: ``0`` and ``1`` must match,
    ``.`` is ignored (should-be-zero or -one bits), and a run of a letter is the field that
    ``letters`` names. A pattern that needs a bit outside ``key_mask`` is refused with ValueError.
    """

    def __init__(
        self,
        width: int,
        key_mask: int,
        letters: Mapping[str, str],
        patterns: list[tuple[str, Semantics]],
    ) -> None:
        self.width = width
        self.key_mask = key_mask
        self.patterns = [self._parse(text, letters, semantics) for text, semantics in patterns]

    def _parse(self, text: str, letters: Mapping[str, str], semantics: Semantics) -> Pattern:
        bits = text.replace(" ", "")
        if len(bits) != self.width:
            raise ValueError(f"pattern {text!r} has {len(bits)} bits, not {self.width}")
        mask = match = 0
        places: dict[str, tuple[int, int]] = {}
        for position, letter in zip(range(self.width - 1, -1, -1), bits, strict=True):
            if letter in "01":
                mask |= 1 << position
                match |= int(letter) << position
            elif letter != ".":
                name = letters[letter]
                high, _ = places.get(name, (position, position))
                places[name] = (high, position)
        if mask & ~self.key_mask:
            raise ValueError(f"pattern {text!r} fixes bits that decoding does not look at")
        return Pattern(mask, match, places, semantics)

    def find(self, word: int) -> Pattern:
        """The pattern of ``word``; tables end in a pattern that matches everything."""
        return next(pattern for pattern in self.patterns if word & pattern.mask == pattern.match)
