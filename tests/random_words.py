"""Random ARMv4T instructions with states that suit them: addresses hit RAM, modes exist.

Left out is what docs/arm920t.md lists: encodings that ARMv5 gave a meaning, and forms that the
architecture calls UNPREDICTABLE and Unicorn refuses or resolves in another way.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from dbgemu.target.arm.state import F, I, Mode, T

RAM_BASE, RAM_SIZE = 0x30000000, 0x10000
#: addresses that loads and stores aim at, with room around them for blocks and offsets
DATA, DATA_SIZE = RAM_BASE + 0x1000, 0x5000
#: where the instructions are put: 16 bytes apart, far enough from RAM's ends for literals
SLOTS, SLOT_COUNT = RAM_BASE + 0x8000, 512

MODES = (Mode.USR, Mode.FIQ, Mode.IRQ, Mode.SVC, Mode.ABT, Mode.UND, Mode.SYS)
_EDGES = (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 0xFFFFFFFE, 31, 32, 33, 255, 256)


@dataclass
class Case:
    """An instruction and the state it starts from; ``steps`` 2 for Thumb's BL, a pair."""

    kind: str
    word: int
    thumb: bool
    address: int
    r: list[int]
    cpsr: int
    spsr: int
    steps: int = 1
    following: int = 0

    @property
    def without_spsr(self) -> bool:
        """User and System mode have no SPSR."""
        return self.cpsr & 0x1F in (Mode.USR, Mode.SYS)

    def __str__(self) -> str:
        registers = " ".join(f"{value:x}" for value in self.r)
        word = f"{self.word:04x}" if self.thumb else f"{self.word:08x}"
        return (
            f"{self.kind} {word} at {self.address:x}, cpsr {self.cpsr:x}, spsr {self.spsr:x}, r {registers}"
        )


def value(rng: random.Random) -> int:
    """A 32-bit value, often one that something happens at."""
    match rng.getrandbits(3):
        case 0:
            return rng.choice(_EDGES)
        case 1:
            return rng.getrandbits(6)
        case 2:
            return DATA + rng.getrandbits(14)
        case _:
            return rng.getrandbits(32)


def _target(rng: random.Random, size: int) -> int:
    """An address in RAM for an access of ``size`` bytes: aligned, but for one in eight."""
    address = DATA + rng.randrange(DATA_SIZE)
    return address if not rng.getrandbits(3) else address & -size


def _low(rng: random.Random) -> int:
    return rng.randrange(15)  # any register but r15


def _aim(c: Case, register: int, address: int) -> None:
    c.r[register] = address & 0xFFFFFFFF


# -- ARM: each gives bits 27..0 ------------------------------------------------------------------


def data_processing(rng: random.Random, c: Case) -> int:
    opcode, s = rng.getrandbits(4), rng.getrandbits(1)
    rd, rn = rng.getrandbits(4), rng.getrandbits(4)
    if 8 <= opcode <= 11:
        s, rd = 1, 0
    if rd == 15 and s and (c.without_spsr or opcode not in (2, 13)):
        rd = 14  # Unicorn returns from exceptions by MOVS and SUBS only
    word = opcode << 21 | s << 20 | rn << 16 | rd << 12
    if opcode in (13, 15):
        word &= ~(15 << 16)
    match rng.getrandbits(2):
        case 0:
            return word | 1 << 25 | rng.getrandbits(12)
        case 1:
            rs = _low(rng)
            if rng.getrandbits(1):
                c.r[rs] = rng.choice((0, 1, 31, 32, 33, 63, 64, 255, 256, 0x11F))
            return word | 0x10 | rs << 8 | rng.getrandbits(2) << 5 | rng.getrandbits(4)
        case _:
            return word | rng.getrandbits(8) << 4 & 0xFE0 | rng.getrandbits(4)


def multiply(rng: random.Random, c: Case) -> int:
    kind = rng.choice((0x000, 0x002, 0x008, 0x00A, 0x00C, 0x00E)) | rng.getrandbits(1)
    fields = _low(rng) << 16 | _low(rng) << 12 | _low(rng) << 8 | _low(rng)
    if kind < 2:
        fields &= ~0xF000  # MUL has no Rn
    return kind << 20 | 0x90 | fields


def swap(rng: random.Random, c: Case) -> int:
    rn, byte = _low(rng), rng.getrandbits(1)
    _aim(c, rn, _target(rng, 1) & (-1 if byte else -4))
    return 0x01000090 | byte << 22 | rn << 16 | _low(rng) << 12 | _low(rng)


def _indexing(rng: random.Random) -> tuple[int, int, int]:
    return rng.getrandbits(1), rng.getrandbits(1), rng.getrandbits(1)


def _shifted(value: int, kind: int, amount: int, carry: int) -> int:
    if kind == 0:
        return value << amount & 0xFFFFFFFF
    if kind == 3:
        if not amount:
            return carry << 31 | value >> 1
        return (value >> amount | value << 32 - amount) & 0xFFFFFFFF
    amount = amount or 32
    if kind == 1:
        return value >> amount
    return (value - (value >> 31 << 32)) >> amount & 0xFFFFFFFF


def load_store(rng: random.Random, c: Case) -> int:
    pre, up, w = _indexing(rng)
    byte, load = rng.getrandbits(1), rng.getrandbits(1)
    rd = rng.getrandbits(4)
    if byte or (not pre and w):
        rd = rd if rd < 15 else 0
    rn = rng.getrandbits(4) if pre and not w else _low(rng)
    word = 0x04000000 | pre << 24 | up << 23 | byte << 22 | w << 21 | load << 20 | rn << 16 | rd << 12
    if rng.getrandbits(1) or rn == 15:
        offset = rng.getrandbits(12)
        word |= offset
    else:
        rm, kind, amount = _low(rng), rng.getrandbits(2), rng.getrandbits(5)
        rm = (rn + 1) % 15 if rm == rn else rm
        word |= 1 << 25 | amount << 7 | kind << 5 | rm
        offset = _shifted(c.r[rm], kind, amount, c.cpsr >> 29 & 1)
    if rn != 15:
        _point(rng, c, rn, offset, (pre, up), 1 if byte else 4)
    return word


def _point(rng: random.Random, c: Case, rn: int, offset: int, index: tuple[int, int], size: int) -> None:
    pre, up = index
    offset = offset if pre else 0
    _aim(c, rn, _target(rng, size) + (-offset if up else offset))


def load_store_half(rng: random.Random, c: Case) -> int:
    pre, up, w = _indexing(rng)
    w &= pre
    load = rng.getrandbits(1)
    kind = rng.choice((1, 2, 3)) if load else 1
    rd = _low(rng)
    rn = rng.getrandbits(4) if pre and not w else _low(rng)
    word = pre << 24 | up << 23 | w << 21 | load << 20 | rn << 16 | rd << 12 | 0x90 | kind << 5
    if rng.getrandbits(1) or rn == 15:
        offset = rng.getrandbits(8)
        word |= 1 << 22 | offset >> 4 << 8 | offset & 15
    else:
        rm = _low(rng)
        rm = (rn + 1) % 15 if rm == rn else rm
        word |= rm
        offset = c.r[rm]
    if rn != 15:
        _point(rng, c, rn, offset, (pre, up), 1 if kind == 2 else 2)
    return word


def block(rng: random.Random, c: Case) -> int:
    rn, registers = _low(rng), rng.getrandbits(16) or 1
    if rng.getrandbits(1):
        registers &= rng.getrandbits(16)
        registers = registers or 1 << rng.randrange(16)
    pre, up, w = _indexing(rng)
    load, user = rng.getrandbits(1), rng.getrandbits(2) == 0
    if c.without_spsr:
        user = False
    if user and not (load and registers >> 15):
        w = 0
    _aim(c, rn, _target(rng, 1) & ~3)
    return (
        0x08000000 | pre << 24 | up << 23 | user << 22 | w << 21 | load << 20 | rn << 16 | registers
    )  # fmt: skip


def branch(rng: random.Random, c: Case) -> int:
    return 0x0A000000 | rng.getrandbits(25)


def branch_exchange(rng: random.Random, c: Case) -> int:
    rm = rng.getrandbits(4)
    if rm < 15 and not c.r[rm] & 1:
        c.r[rm] &= ~3
    return 0x012FFF10 | rm


def move_from_status(rng: random.Random, c: Case) -> int:
    spsr = 0 if c.without_spsr else rng.getrandbits(1)
    return 0x010F0000 | spsr << 22 | _low(rng) << 12


def move_to_status(rng: random.Random, c: Case) -> int:
    spsr = 0 if c.without_spsr else rng.getrandbits(1)
    mask = rng.getrandbits(4)
    word = spsr << 22 | mask << 16 | 0xF000
    control = rng.choice((0, I, F, I | F)) | rng.choice(MODES)
    if rng.getrandbits(1):
        rm = _low(rng)
        c.r[rm] = c.r[rm] & 0xFFFFFF20 | control
        return 0x01200000 | word | rm
    # without a field the immediate's form is what became NOP and other hints
    word |= 0 if mask else 8 << 16
    return 0x03200000 | word | (control if mask & 1 else rng.getrandbits(12))


def software_interrupt(rng: random.Random, c: Case) -> int:
    return 0x0F000000 | rng.getrandbits(24)


#: (bits that are fixed, their value) of words that neither ARMv4T nor ARMv5TEJ give a meaning
_HOLES = (
    (0x0FC000F0, 0x00400090),  # beside the multiplies
    (0x0FB000F0, 0x01100090),  # beside SWP
    (0x0F8000F0, 0x01800090),
    (0x0FB00000, 0x03000000),  # beside MSR of an immediate
    (0x0E000010, 0x06000010),
    (0x0FF000F0, 0x01000040),  # among the status register instructions
    (0x0FF000F0, 0x01400060),
    (0x0FF000F0, 0x01000010),
    (0x0FF000F0, 0x01400010),
    (0x0FF000F0, 0x01000030),
    (0x0FF000F0, 0x01600030),
)


def hole(rng: random.Random, c: Case) -> int:
    mask, fixed = rng.choice(_HOLES)
    return fixed | rng.getrandbits(28) & ~mask


def no_coprocessor(rng: random.Random, c: Case) -> int:
    number = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13))
    return rng.choice((0x0C, 0x0D, 0x0E)) << 24 | rng.getrandbits(24) & ~0xF00 | number << 8


Generator = Callable[[random.Random, Case], int]

_ARM: list[tuple[int, Generator]] = [
    (34, data_processing),
    (8, multiply),
    (4, swap),
    (18, load_store),
    (10, load_store_half),
    (12, block),
    (3, branch),
    (2, branch_exchange),
    (2, move_from_status),
    (5, move_to_status),
    (1, software_interrupt),
    (2, hole),
    (1, no_coprocessor),
]


# -- Thumb ---------------------------------------------------------------------------------------


def thumb(rng: random.Random, c: Case) -> int:
    """A halfword of any format, with the registers that it takes an address from made to fit."""
    while True:
        word = rng.getrandbits(16)
        top = word >> 8
        if word & 0xFF80 == 0x4780 or top == 0xBE or word >> 11 == 0b11101:
            continue  # ARMv5's BLX and BKPT
        if word & 0xF500 == 0xB100 or top == 0xBF:
            continue  # Thumb-2's CBZ, CBNZ, IT and hints, which Unicorn executes
        break
    rn, rm = word >> 3 & 7, word >> 6 & 7
    match word >> 12:
        case 0b0100 if word & 0xFF00 == 0x4700:  # BX
            word &= ~7
            source = word >> 3 & 15
            if source == 15:
                c.address &= ~2
            elif not c.r[source] & 1:
                c.r[source] &= ~3
        case 0b0101:
            size = (4, 2, 1, 1, 4, 2, 1, 2)[word >> 9 & 7]
            if rn != rm:
                _aim(c, rn, _target(rng, size) - c.r[rm])
            else:
                _aim(c, rn, _target(rng, size) >> 1 | (rng.getrandbits(1) << 31))
        case 0b0110 | 0b0111:
            byte = word >> 12 & 1
            _aim(c, rn, _target(rng, 1 if byte else 4) - ((word >> 6 & 31) << (0 if byte else 2)))
        case 0b1000:
            _aim(c, rn, _target(rng, 2) - ((word >> 6 & 31) << 1))
        case 0b1001:
            _aim(c, 13, _target(rng, 4) - ((word & 255) << 2))
        case 0b1011 if word & 0x0600 == 0x0400:  # PUSH, POP
            if not word & 0x1FF:
                word |= 1 << rng.randrange(8)
            _aim(c, 13, _target(rng, 1) & ~3)
        case 0b1100:
            if not word & 0xFF:
                word |= 1 << rng.randrange(8)
            _aim(c, word >> 8 & 7, _target(rng, 1) & ~3)
        case 0b1111 if word & 0x800:
            c.r[14] &= ~1
        case 0b1111:  # Unicorn takes both halves of BL as one
            c.following = 0xF800 | rng.getrandbits(11)
            c.steps = 2
    return word


def make_case(rng: random.Random) -> Case:
    """A random instruction with a random state."""
    mode = rng.choice(MODES)
    cpsr = rng.getrandbits(4) << 28 | rng.choice((0, I, F, I | F)) | mode
    spsr = rng.getrandbits(4) << 28 | rng.getrandbits(3) << 5 | rng.choice(MODES)
    r = [value(rng) for _ in range(15)]
    address = SLOTS  # and 2 more for half of Thumb's: who runs a case chooses its place
    if rng.getrandbits(2) == 0:
        c = Case("thumb", 0, True, address + 2 * rng.getrandbits(1), r, cpsr | T, spsr)
        c.word = thumb(rng, c)
        c.kind = f"thumb_{c.word >> 12:04b}"
        return c
    generator = rng.choices(_GENERATORS, cum_weights=_WEIGHTS)[0]
    c = Case(generator.__name__, 0, False, address, r, cpsr, spsr)
    condition = 14 if rng.getrandbits(2) else rng.randrange(15)
    c.word = condition << 28 | generator(rng, c)
    return c


_GENERATORS = [generator for _, generator in _ARM]
_WEIGHTS = [sum(weight for weight, _ in _ARM[: k + 1]) for k in range(len(_ARM))]
