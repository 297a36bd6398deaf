"""The Thumb instruction set of ARMv4T as one table (ARM ARM A6)."""

from __future__ import annotations

from dbgemu.target.arm.decode import DecodeTable
from dbgemu.target.arm.semantics import thumb

#: bits 15..6
KEY_MASK = 0xFFC0

_LETTERS = {
    "o": "op", "a": "amount", "m": "rm", "n": "rn", "d": "rd", "I": "immediate", "i": "imm",
    "H": "high", "L": "load", "B": "byte", "R": "extra", "g": "registers", "c": "condition",
    "b": "offset",
}  # fmt: skip

T16 = DecodeTable(
    16,
    KEY_MASK,
    _LETTERS,
    [
        ("00011Io mmm nnn ddd", thumb.add_subtract),
        ("000oo aaaaa mmm ddd", thumb.shift_immediate),
        ("001oo ddd iiiiiiii", thumb.immediate),
        ("010000 oooo mmm ddd", thumb.register_operation),
        ("01000111 0 mmmm ...", thumb.branch_exchange),
        ("01000111 1 .... ...", thumb.undefined),  # ARMv5's BLX
        ("010001oo H mmmm ddd", thumb.high_register_operation),
        ("01001 ddd iiiiiiii", thumb.load_literal),
        ("0101 ooo mmm nnn ddd", thumb.load_store_register),
        ("011BL aaaaa nnn ddd", thumb.load_store_immediate),
        ("1000L aaaaa nnn ddd", thumb.load_store_half),
        ("1001L ddd iiiiiiii", thumb.load_store_sp),
        ("10100 ddd iiiiiiii", thumb.add_to_pc),
        ("10101 ddd iiiiiiii", thumb.add_to_sp),
        ("10110000 o iiiiiii", thumb.adjust_sp),
        ("1011010R gggggggg", thumb.push),
        ("1011110R gggggggg", thumb.pop),
        ("1011.... ........", thumb.undefined),
        ("1100L nnn gggggggg", thumb.block_transfer),
        ("11011110 ........", thumb.undefined),
        ("11011111 ........", thumb.software_interrupt),
        ("1101 cccc iiiiiiii", thumb.branch_conditional),
        ("11100 bbbbbbbbbbb", thumb.branch),
        ("11101 ...........", thumb.undefined),
        ("11110 bbbbbbbbbbb", thumb.branch_link_prefix),
        ("11111 bbbbbbbbbbb", thumb.branch_link_suffix),
    ],
)


def word_of(key: int) -> int:
    """A halfword with these key bits, all others 0."""
    return key << 6
