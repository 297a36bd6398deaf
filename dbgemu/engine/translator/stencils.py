"""Stencils in machine code: compiled once, copied with their holes filled.

Like translated regions, they refer to nothing but their holes, ``@next`` and ``@aside``. They are kept on
disk, so a version of dbgemu compiles each once for a host.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import marshal
import struct
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from types import CodeType

from dbgemu.engine.translator.decoding import Instruction
from dbgemu.target.arm import a32, t16
from dbgemu.target.arm.decode import Pattern

_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}

Literal = Callable[[int, int], int]
Has = Callable[[int, int, int], bool]


class Stencil:
    """Machine code of one instruction or piece, and what to do to it.

    ``holes`` are (place, bytes, expression), ``asides`` the places of 32-bit displacements that lead aside
    from their own ends, ``guards`` (expression, its value) that have to hold.
    """

    __slots__ = ("_program", "asides", "code", "depends_on_place", "fill", "matches")

    #: the code for (w, pc, n, literal)
    fill: Callable[[int, int, int, Literal], bytes]
    #: whether the guards hold for (w, pc, has)
    matches: Callable[[int, int, Has], bool]

    def __init__(
        self,
        code: bytes,
        holes: tuple[tuple[int, int, str], ...],
        asides: tuple[int, ...],
        guards: tuple[tuple[str, int], ...],
        program: CodeType | None = None,
    ) -> None:
        self.code, self.asides = code, asides
        #: not the word alone decides whether the guards hold
        self.depends_on_place = any("pc" in text for text, _ in guards)
        layout, values, place = "<", [], 0
        names: dict[str, object] = {"__builtins__": {}}
        for number, (start, size, text) in enumerate(sorted(holes)):
            names[f"s{number}"] = code[place:start]
            values += [f"s{number}", text]
            layout += f"{start - place}s{_FORMATS[size]}"
            place = start + size
        names["rest"] = code[place:]
        names["pack"] = struct.Struct(f"{layout}{len(code) - place}s").pack
        values.append("rest")
        if program is None:
            test = " and ".join(f"{text}=={value}" for text, value in guards) or "True"
            fill = f"lambda w, pc, n, literal: pack({', '.join(values)})"
            program = compile(f"({fill}, lambda w, pc, has: {test})", "stencil", "eval")
        self._program = program
        self.fill, self.matches = eval(program, names)

    @property
    def program(self) -> CodeType:
        """What ``fill`` and ``matches`` were made of: parsing it takes much longer than all the rest."""
        return self._program


#: length of a stencil's record on disk, and its digest
_RECORD = struct.Struct("<I16s")

#: what a stencil is made of: code, holes, asides, guards
Parts = tuple[bytes, tuple[tuple[int, int, str], ...], tuple[int, ...], tuple[tuple[str, int], ...]]
#: a pattern and the bits that are known; or a piece's name, and whether it is of Thumb
Key = tuple[str, int]


class StencilStore:
    """The stencils that there are; new ones are compiled when they are wanted, and kept on disk.

    With ``traced`` those of code that records its blocks.
    """

    def __init__(self, path: Path | None = None, *, traced: bool = False) -> None:
        self._path = path
        self._traced = traced
        self._known: dict[Key, list[Stencil]] = {}
        #: by the word, with bit 32 for Thumb: stencils that depend on nothing else
        self._of_word: dict[int, Stencil] = {}
        #: (word, Thumb) that there is no stencil for
        self._hopeless: set[tuple[int, bool]] = set()
        #: bytes of the file that were read; what lies behind them is damaged
        self._intact: int | None = None
        self._load()

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))

    def piece(self, name: str, thumb: bool) -> Stencil:
        """A piece between instructions."""
        return self._known[name, int(thumb)][0]

    def find(self, instruction: Instruction, has: Has) -> Stencil | None:
        """The stencil of an instruction, if there is one."""
        word, pc = instruction.word, instruction.pc
        whole = word | instruction.thumb << 32
        known = self._of_word.get(whole)
        if known is not None:
            return known
        for stencil in self._known.get(key_of(instruction), ()):
            if stencil.matches(word, pc, has):
                if not stencil.depends_on_place:
                    self._of_word[whole] = stencil
                return stencil
        return None

    def make(self, examples: Iterable[Instruction], has: Has, literal: Literal) -> None:
        """Compile stencils for instructions that have none; those that cannot be stay without."""
        # only now: most runs find all stencils on disk
        from dbgemu.engine.translator.machine_code import ObjectError
        from dbgemu.engine.translator.stencil_compiler import PIECES, compile_examples

        wanted = [i for i in examples if (i.word, i.thumb) not in self._hopeless]
        pieces = [key for key in PIECES if key not in self._known]
        try:
            compiled = compile_examples(wanted, has, literal, pieces=pieces, traced=self._traced)
        except ObjectError:
            if len(wanted) == 0:
                raise
            if len(wanted) == 1:
                self._hopeless |= {(i.word, i.thumb) for i in wanted}
                return
            for instruction in wanted:
                self.make([instruction], has, literal)
            return
        made = [(key, parts, Stencil(*parts)) for key, parts in compiled]
        for key, _, stencil in made:
            self._known.setdefault(key, []).append(stencil)
        self._save(made)

    def _load(self) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                content = file.read()
        except OSError:
            return
        place = 0
        while place + _RECORD.size <= len(content):
            length, digest = _RECORD.unpack_from(content, place)
            data = content[place + _RECORD.size : place + _RECORD.size + length]
            if _digest(data) != digest:
                break
            place += _RECORD.size + length
            key, *parts = marshal.loads(data)
            self._known.setdefault(key, []).append(Stencil(*parts))
        if place < len(content):
            self._intact = place

    def _save(self, made: list[tuple[Key, Parts, Stencil]]) -> None:
        if self._path is None:
            return
        records = b""
        for key, (code, holes, asides, guards), stencil in made:
            data = marshal.dumps((key, code, holes, asides, guards, stencil.program))
            records += _RECORD.pack(len(data), _digest(data)) + data
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if self._intact is not None:
                    # what is behind the damage would never be read
                    file.truncate(self._intact)
                    self._intact = None
                file.write(records)


class StencilStores:
    """The stores of both flavours, which are read when they are needed."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._stores: dict[bool, StencilStore] = {}

    def of(self, traced: bool) -> StencilStore:
        """The store of code that records its blocks, or of other code."""
        if traced not in self._stores:
            path = self._path
            if path is not None and traced:
                path = path.with_name(f"{path.name}-traced")
            self._stores[traced] = StencilStore(path, traced=traced)
        return self._stores[traced]


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def key_of(instruction: Instruction) -> Key:
    """What tells the stencils of different instructions apart before their guards do."""
    pattern = instruction.pattern
    return pattern.name, pattern.match << 32 | instruction.word & fixed_bits(pattern, instruction.thumb)


@cache
def _fixed_bits(fields: tuple[tuple[int, int], ...], decoded: int) -> int:
    for high, low in fields:
        field = (2 << high - low) - 1 << low
        if field & ~decoded:
            decoded &= ~field
    return decoded


def fixed_bits(pattern: Pattern, thumb: bool) -> int:
    """The bits of an instruction that are known in its stencil: those decoded by, less parts of fields."""
    return _fixed_bits(tuple(pattern.places.values()), t16.KEY_MASK if thumb else a32.KEY_MASK)


def stencil_path(cache: Path) -> Path:
    """Where the stencils are that belong to the regions in ``cache``: of this version of Python, too."""
    return cache.with_suffix(f".{sys.implementation.cache_tag}.stencils")
