"""The ARM instruction set of ARMv4T as one table (ARM ARM A3.1): bits 27 to 0, after the condition."""

from __future__ import annotations

from dbgemu.target.arm.decode import DecodeTable
from dbgemu.target.arm.semantics.branch import branch, branch_exchange
from dbgemu.target.arm.semantics.coprocessor import coprocessor_other, coprocessor_transfer
from dbgemu.target.arm.semantics.data_processing import (
    data_processing_immediate,
    data_processing_shift_immediate,
    data_processing_shift_register,
    multiply,
    multiply_long,
)
from dbgemu.target.arm.semantics.memory import (
    block_transfer,
    load_store_half_immediate,
    load_store_half_register,
    load_store_immediate,
    load_store_register,
    swap,
)
from dbgemu.target.arm.semantics.status import (
    move_from_status,
    move_immediate_to_status,
    move_register_to_status,
    software_interrupt,
    undefined,
)

#: bits 27..20 and 7..4
KEY_MASK = 0x0FF000F0

_LETTERS = {
    "o": "opcode", "S": "s", "n": "rn", "d": "rd", "m": "rm", "s": "rs", "t": "shift",
    "a": "amount", "r": "rotate", "i": "imm", "A": "accumulate", "G": "signed", "R": "spsr",
    "f": "mask", "P": "pre", "U": "up", "B": "byte", "W": "writeback", "L": "load", "u": "user",
    "h": "immhigh", "l": "immlow", "k": "kind", "g": "registers", "N": "link", "b": "offset",
    "c": "coprocessor", "q": "opcode1", "p": "opcode2", "e": "crn", "x": "crm",
}  # fmt: skip

A32 = DecodeTable(
    28,
    KEY_MASK,
    _LETTERS,
    [
        # multiplies, in the space that data processing leaves with bits 7 and 4 set
        ("0000 00AS nnnn dddd ssss 1001 mmmm", multiply),
        ("0000 1GAS nnnn dddd ssss 1001 mmmm", multiply_long),
        ("0001 0B00 nnnn dddd .... 1001 mmmm", swap),
        # halfword and signed transfers; stores of kinds 10 and 11 are ARMv5TE's LDRD and STRD
        ("000. ...0 .... .... .... 11.1 ....", undefined),
        ("000. .... .... .... .... 1001 ....", undefined),
        ("000P U0WL nnnn dddd .... 1kk1 mmmm", load_store_half_register),
        ("000P U1WL nnnn dddd hhhh 1kk1 llll", load_store_half_immediate),
        # status registers, in the space of compares without S
        ("0001 0R00 .... dddd .... 0000 ....", move_from_status),
        ("0001 0R10 ffff .... .... 0000 mmmm", move_register_to_status),
        ("0011 0R10 ffff .... rrrr iiii iiii", move_immediate_to_status),
        ("0001 0010 .... .... .... 0001 mmmm", branch_exchange),
        ("00.1 0..0 .... .... .... .... ....", undefined),
        # data processing
        ("000o oooS nnnn dddd aaaa att0 mmmm", data_processing_shift_immediate),
        ("000o oooS nnnn dddd ssss 0tt1 mmmm", data_processing_shift_register),
        ("001o oooS nnnn dddd rrrr iiii iiii", data_processing_immediate),
        # word and byte transfers
        ("010P UBWL nnnn dddd iiii iiii iiii", load_store_immediate),
        ("011. .... .... .... .... ...1 ....", undefined),
        ("011P UBWL nnnn dddd aaaa att0 mmmm", load_store_register),
        # block transfers, branches
        ("100P UuWL nnnn gggg gggg gggg gggg", block_transfer),
        ("101N bbbb bbbb bbbb bbbb bbbb bbbb", branch),
        # coprocessors: only cp15's register transfers exist on the ARM920T
        ("1110 qqqL eeee dddd cccc ppp1 xxxx", coprocessor_transfer),
        ("110. .... .... .... cccc .... ....", coprocessor_other),
        ("1110 .... .... .... cccc ...0 ....", coprocessor_other),
        ("1111 .... .... .... .... .... ....", software_interrupt),
    ],
)


def word_of(key: int) -> int:
    """A word with these key bits, all others 0."""
    return (key & 0xFF0) << 16 | (key & 0xF) << 4
