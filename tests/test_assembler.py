"""The assembler gives GNU's bytes, capstone reads back what was written, and errors say what is wrong."""

from __future__ import annotations

import random
from pathlib import Path

import capstone
import pytest

from dbgemu.target.arm.assembler import AssemblyError, Symbol, assemble, assemble_program

CORPUS = [
    line.split(maxsplit=2)
    for line in (Path(__file__).parent / "assembler_corpus.txt").read_text().splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize(
    ("state", "expected", "source"), CORPUS, ids=[f"{row[0]}: {row[2]}" for row in CORPUS]
)
def test_a_statement_assembles_to_the_bytes_that_gnu_as_gives(state: str, expected: str, source: str) -> None:
    assert assemble(source, thumb=state == "thumb").hex() == expected


#: what of ARMv4T has other mnemonics or none in capstone's view of an ARMv8
LATER_THAN_V4T = ("is not a", "is not cpsr or spsr")  # the latter: ARMv7's MRS of banked registers
#: low-register forms that are unpredictable before ARMv6, and offsets where addresses are wanted
SPELLED_OTHERWISE = {"mov", "add", "adr", "nop"}


@pytest.mark.parametrize("thumb", [False, True], ids=["arm", "thumb"])
def test_what_capstone_disassembles_assembles_to_the_same_again(thumb: bool) -> None:
    mode = capstone.CS_MODE_THUMB if thumb else capstone.CS_MODE_ARM
    disassembler = capstone.Cs(capstone.CS_ARCH_ARM, mode)
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    same = 0
    for _ in range(4000):
        word = rng.getrandbits(16) if thumb else rng.getrandbits(32)
        for instruction in disassembler.disasm(word.to_bytes(2 if thumb else 4, "little"), 0x1000):
            text = f"{instruction.mnemonic} {instruction.op_str}"
            try:
                data = assemble(text, 0x1000, thumb=thumb)
            except AssemblyError as error:
                later = any(text in str(error) for text in LATER_THAN_V4T)
                assert later or instruction.mnemonic in SPELLED_OTHERWISE, f"{error}, seed {seed}"
                continue
            if instruction.mnemonic == "nop":
                continue
            if instruction.mnemonic.startswith("msr") and not word & 0xF0000:
                continue  # no field is written, which the text does not tell
            again = next(disassembler.disasm(data, 0x1000))
            assert f"{again.mnemonic} {again.op_str}" == text, f"{word:#x}, seed {seed}"
            same += 1
    assert same > 2500, seed


def words(source: str, base: int = 0x30008000) -> list[int]:
    data = assemble(source, base)
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def test_literals_come_at_the_end_once_each_and_at_ltorg() -> None:
    assert words("ldr r0, =0x12345678; ldr r1, =0x12345678; ldr r2, =label; label: nop") == [
        0xE59F0008,
        0xE59F1004,
        0xE59F2004,
        0xE1A00000,
        0x12345678,
        0x3000800C,
    ]
    assert words("ldr r0, =1; .ltorg; nop; ldr r0, =1") == [0xE51F0004, 1, 0xE1A00000, 0xE51F0004, 1]


def test_a_literal_that_depends_on_its_place_is_not_shared() -> None:
    assert words("ldr r0, =.; ldr r1, =.")[2:] == [0x30008000, 0x30008004]


def test_literals_in_thumb_code_are_aligned() -> None:
    assert assemble("ldr r0, =0x12345678", 0x30000000, thumb=True).hex() == "0048c04678563412"
    assert assemble("nop; ldr r0, =0x12345678", 0x30000000, thumb=True).hex() == "c046004878563412"


def test_numeric_labels_are_the_nearest_before_or_behind() -> None:
    assert words("1: b 1f; 1: b 1b; b 1f; 1: nop") == [0xEAFFFFFF, 0xEAFFFFFE, 0xEAFFFFFF, 0xE1A00000]


def test_a_label_0_is_no_binary_number() -> None:
    assert words("0: nop; b 0b; b 0f; 0: .word 0b11") == [0xE1A00000, 0xEAFFFFFD, 0xEAFFFFFF, 3]


def test_arm_and_thumb_code_mix_and_a_thumb_functions_address_has_bit_0() -> None:
    program = assemble_program(
        """
        start:  ldr r0, =function
                bx r0
                .ltorg
                .thumb_func
        function: bl inner
        inner:  bx lr
                .align 2
                .arm
        behind: .word inner, function, function - start
        """,
        0x30000000,
    )
    assert program.data[:12].hex() == "00009fe5" + "10ff2fe1" + "0d000030"
    assert program.data[-12:].hex() == "10000030" + "0d000030" + "0c000000"
    assert program["function"] == 0x3000000C
    assert Symbol("function", 0x3000000C, True) in program.labels
    assert Symbol("behind", 0x30000014, False, data_size=4) in program.labels
    assert program.regions == [
        (0x30000000, "a"),
        (0x30000008, "d"),
        (0x3000000C, "t"),
        (0x30000014, "d"),
    ]


def test_lines_tell_where_each_instruction_comes_from() -> None:
    program = assemble_program("\n nop @ one\n\n/* a\n comment */ nop; nop\n.word 5\n nop", 0x100)
    assert program.lines == [(0x100, 2), (0x104, 5), (0x108, 5), (0x110, 7)]


def test_comments_and_strings_do_not_disturb_each_other() -> None:
    assert assemble('.asciz "a@b//c;/*d*/" @ end ; .byte 1\n# .byte 2\n.byte 3') == b"a@b//c;/*d*/\0\x03"
    assert assemble(".byte ';', '@', '\"'; .byte 1") == b';@"\x01'


def test_local_symbols_are_not_told() -> None:
    assert assemble_program(".Lhere: .equ size, 4\nthere = size * 2 + 1").symbols == {"size": 4, "there": 9}


def test_expressions_follow_cs_precedence() -> None:
    assert assemble(
        ".word 1 + 2 * 3, 1 << 2 + 1, 6 & 3 ^ 1 | 8, -4 / 2, ~0 & 0xff, 'a' + 1, 017, 0b101"
    ) == b"".join(value.to_bytes(4, "little") for value in (7, 8, 11, 0xFFFFFFFE, 255, 98, 15, 5))


def test_room_and_alignment() -> None:
    assert assemble(".byte 1; .align 2; .byte 2; .balign 2, 9; .space 2, 7; .fill 2, 2, 5") == bytes(
        (1, 0, 0, 0, 2, 9, 7, 7, 5, 0, 5, 0)
    )
    assert assemble("nop; .align 4").hex() == "0000a0e1" * 4
    assert assemble("nop; .align 2; .word 1", thumb=True).hex() == "c046c04601000000"


ERRORS = {
    "frob r0": "line 1: frob r0: 'frob' is not an ARM instruction of ARMv4T",
    "nop\nblx r0": "line 2: blx r0: 'blx' is not an ARM instruction of ARMv4T",
    "mov r0, #0x1ff": (
        "line 1: mov r0, #0x1ff: 0x1ff is not a byte rotated by an even number: use 'ldr rd, =0x1ff'"
    ),
    "mov r0, r16": "line 1: mov r0, r16: 'r16' is not a register",
    "b nowhere": "line 1: b nowhere: 'nowhere' is not defined",
    "b 1f": "line 1: b 1f: '1f' is not defined",
    "a: nop\na: nop": "line 2: a: nop: 'a' is defined already",
    "ldr r0, far; .space 5000; far: .word 1": (
        "line 1: ldr r0, far: the target is 4996 bytes away, but 4095 is the most: .ltorg puts a pool near"
    ),
    "ldr r0, [r1, #4096]": "line 1: ldr r0, [r1, #4096]: 4096 is out of range: -4095 to 4095",
    "ldrh r0, [r1, #256]": "line 1: ldrh r0, [r1, #256]: 256 is out of range: -255 to 255",
    "strb r0, =1": "line 1: strb r0, =1: only ldr can load '=value'",
    ".byte 256": "line 1: .byte 256: 256 is out of range: -128 to 255",
    ".word": "line 1: .word: a value is missing",
    ".space later; later:": (
        "line 1: .space later: 'later' is not known yet, where its value decides how much room is taken"
    ),
    ".word 1 / 0": "line 1: .word 1 / 0: the expression divides by 0 or shifts by less than 0",
    ".word 08": "line 1: .word 08: '08' is not an octal number, as a leading 0 tells",
    ".section .data": "line 1: .section .data: '.section' is not a known directive",
    ".ascii hello": "line 1: .ascii hello: a string in double quotes is wanted",
    '.ascii "\\q"': "line 1: .ascii \"\\q\": '\\q' is not a known escape",
    ".byte 1; nop": "line 1: nop: an instruction cannot be at 0x1, no multiple of 4: use .align",
    "nop nop": "line 1: nop nop: 'nop' is too much",
    "mov r0": "line 1: mov r0: ',' is missing",
    "mov r0,": "line 1: mov r0,: an operand is missing",
    "push {r1-r0}": "line 1: push {r1-r0}: the range in the register list runs backwards",
    "msr cpsr_q, r0": (
        "line 1: msr cpsr_q, r0: 'q' does not name fields of a status register: they are c, x, s and f"
    ),
    "mcr r0": "line 1: mcr r0: 'r0' is not one of p0 to p15",
    'mov r0, "a"': 'line 1: mov r0, "a": \'"\' makes no sense here',
    ".thumb; add r0, #1": "line 1: add r0, #1: in Thumb this sets the flags: write it with an 's'",
    ".thumb; mov r0, #1": "line 1: mov r0, #1: in Thumb this sets the flags: write 'movs'",
    ".thumb; orr r0, r1": "line 1: orr r0, r1: 'orr' is not a Thumb instruction of ARMv4T: write 'orrs'",
    ".thumb; ldr r0, [r1, #300]": "line 1: ldr r0, [r1, #300]: 300 is out of range: 0 to 124",
    ".thumb; mov r0, r1": "line 1: mov r0, r1: with two of r0 to r7 this needs ARMv6: write 'movs'",
    ".thumb; push {r8}": "line 1: push {r8}: the list can hold r0 to r7 and lr",
    ".thumb; movs r8, r0": "line 1: movs r8, r0: 'r8' is not one of r0 to r7",
    ".thumb; beq far; .space 300; far: nop": (
        "line 1: beq far: the target is 298 bytes away: this branch reaches 256"
    ),
    ".thumb; cbz r0, .": "line 1: cbz r0, .: 'cbz' is not a Thumb instruction of ARMv4T",
}


@pytest.mark.parametrize("source", ERRORS)
def test_an_error_names_the_line_and_says_what_is_wrong(source: str) -> None:
    with pytest.raises(AssemblyError) as error:
        assemble(source)
    assert str(error.value) == ERRORS[source]
