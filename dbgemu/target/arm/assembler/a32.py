"""ARM instructions of ARMv4T, from mnemonic and operands to the word.

Encodings: ARM Architecture Reference Manual (DDI 0100), chapter A4. Mnemonics are the unified syntax's,
with the older order of suffixes accepted too (``ldreqb``, ``stmeqfd``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from dbgemu.target.arm.assembler.syntax import CONDITIONS, AssemblyError, Operands

#: operands, the bits that the mnemonic fixes -> the instruction without its condition
Encoder = Callable[[Operands, int], int]

S, L, B, W, U, P, IMMEDIATE = (1 << n for n in (20, 20, 22, 21, 23, 24, 25))
_HALF_IMMEDIATE = 1 << 22
_USER_LIST = 1 << 22

SHIFTS = {"lsl": 0, "asl": 0, "lsr": 1, "asr": 2, "ror": 3}
_OPCODES = {
    "and": 0,
    "eor": 1,
    "sub": 2,
    "rsb": 3,
    "add": 4,
    "adc": 5,
    "sbc": 6,
    "rsc": 7,
    "orr": 12,
    "bic": 14,
}
_COMPARES = {"tst": 8, "teq": 9, "cmp": 10, "cmn": 11}
_MOVES = {"mov": 13, "mvn": 15}
#: opcode -> the opcode that does the same with the immediate's complement, or with its negative
_INVERTED = {0: 14, 14: 0, 13: 15, 15: 13, 5: 6, 6: 5}
_NEGATED = {2: 4, 4: 2, 10: 11, 11: 10}

_LOAD_MODES = {"": U, "ia": U, "ib": P | U, "da": 0, "db": P, "fd": U, "ed": P | U, "fa": 0, "ea": P}
_STORE_MODES = {"": U, "ia": U, "ib": P | U, "da": 0, "db": P, "fd": P, "ed": 0, "fa": P | U, "ea": U}
_PSR_FIELDS = {"c": 1 << 16, "x": 1 << 17, "s": 1 << 18, "f": 1 << 19}
_PSR_GROUPS = {"": "cf", "_": "", "all": "cf", "flg": "f", "ctl": "c", "nzcvq": "f", "g": "s", "nzcvqg": "fs"}


def encode_immediate(value: int) -> int | None:
    """The 12 bits (rotation, byte) of a data-processing immediate, or None when it has none."""
    value &= 0xFFFF_FFFF
    for rotation in range(16):
        byte = (value << 2 * rotation | value >> (32 - 2 * rotation)) & 0xFFFF_FFFF
        if byte < 256:
            return rotation << 8 | byte
    return None


def _shift(o: Operands) -> int:
    """``lsl #n``, ``lsr rs``, ``rrx`` ...: bits 11 to 4."""
    name = o.take().lower()
    if name == "rrx":
        return 0x60
    if name not in SHIFTS:
        raise AssemblyError(f"{name!r} is not a shift")
    if o.at_register:
        return o.register() << 8 | SHIFTS[name] << 5 | 0x10
    return _shift_amount(SHIFTS[name], o.immediate(0, 32))


def _shift_amount(kind: int, amount: int) -> int:
    if kind in (0, 3) and amount == 32:
        raise AssemblyError("32 is out of range: 0 to 31")
    if not amount:
        return 0
    return (amount & 31) << 7 | kind << 5


def _register_operand(o: Operands, register: int) -> int:
    return register | (_shift(o) if o.accept(",") else 0)


def _rotated(o: Operands) -> tuple[int, int | None]:
    """An immediate behind its ``#``: its value, and the 12 bits when it was written as byte and rotation."""
    value = o.value(-(1 << 31), (1 << 32) - 1)
    if not o.accept(","):
        return value, None
    rotation = _plain(o, 30)
    if not 0 <= value < 256 or rotation & 1:
        raise AssemblyError("an immediate with a rotation is a byte and an even number")
    return value, rotation << 7 | value


def _operand(o: Operands, opcode: int) -> int:
    """The shifter operand, with opcode: an immediate may choose the complementary one."""
    if not o.accept("#"):
        return opcode << 21 | _register_operand(o, o.register())
    value, encoded = _rotated(o)
    if encoded is not None:
        return opcode << 21 | IMMEDIATE | encoded
    alternatives = (
        (opcode, value),
        (_INVERTED.get(opcode), ~value),
        (_NEGATED.get(opcode), -value),
    )
    for other, number in alternatives:
        encoded = encode_immediate(number)
        if other is not None and encoded is not None:
            return other << 21 | IMMEDIATE | encoded
    raise AssemblyError(f"{value:#x} is not a byte rotated by an even number: use 'ldr rd, ={value:#x}'")


def _three(o: Operands, bits: int) -> int:
    opcode = bits & 15
    rd = o.register()
    o.expect(",")
    if o.at_register:
        first = o.register()
        if not o.next:
            return bits & S | opcode << 21 | rd << 16 | rd << 12 | first
        o.expect(",")
        if o.next.lower() in (*SHIFTS, "rrx"):
            return bits & S | opcode << 21 | rd << 16 | rd << 12 | first | _shift(o)
        return bits & S | first << 16 | rd << 12 | _operand(o, opcode)
    return bits & S | rd << 16 | rd << 12 | _operand(o, opcode)


def _compare(o: Operands, bits: int) -> int:
    rn = o.register()
    o.expect(",")
    return S | rn << 16 | _operand(o, bits)


def _move(o: Operands, bits: int) -> int:
    rd = o.register()
    o.expect(",")
    return bits & S | rd << 12 | _operand(o, bits & 15)


def _shift_alias(o: Operands, bits: int) -> int:
    """``lsl rd, rm, #n`` and the like: a move with a shifted operand."""
    rd = rm = o.register()
    o.expect(",")
    if o.at_register and (first := o.register()) is not None:
        if not o.accept(","):
            return _MOVES["mov"] << 21 | bits & S | rd << 12 | rm | first << 8 | (bits & 3) << 5 | 0x10
        rm = first
    if o.at_register:
        shift = o.register() << 8 | (bits & 3) << 5 | 0x10
    else:
        shift = _shift_amount(bits & 3, o.immediate(0, 32))
    return _MOVES["mov"] << 21 | bits & S | rd << 12 | rm | shift


def _rrx(o: Operands, bits: int) -> int:
    rd = o.register()
    o.expect(",")
    return _MOVES["mov"] << 21 | bits & S | rd << 12 | o.register() | 0x60


def _negate(o: Operands, bits: int) -> int:
    rd = o.register()
    o.expect(",")
    return _OPCODES["rsb"] << 21 | IMMEDIATE | bits & S | o.register() << 16 | rd << 12


def _multiply(o: Operands, bits: int) -> int:
    rd = o.register()
    o.expect(",")
    rm = o.register()
    rs = o.register() if o.accept(",") else rd
    return bits | rd << 16 | rs << 8 | rm


def _multiply_add(o: Operands, bits: int) -> int:
    rd = o.register()
    o.expect(",")
    rm = o.register()
    o.expect(",")
    rs = o.register()
    o.expect(",")
    return bits | rd << 16 | o.register() << 12 | rs << 8 | rm


def _multiply_long(o: Operands, bits: int) -> int:
    low = o.register()
    o.expect(",")
    high = o.register()
    o.expect(",")
    rm = o.register()
    o.expect(",")
    return bits | high << 16 | low << 12 | o.register() << 8 | rm


def _swap(o: Operands, bits: int) -> int:
    rd = o.register()
    o.expect(",")
    rm = o.register()
    o.expect(",")
    o.expect("[")
    rn = o.register()
    o.expect("]")
    return bits | rn << 16 | rd << 12 | rm


# -- loads and stores ------------------------------------------------------------------------


def _word_offset(o: Operands) -> int:
    """``#n`` or ``+rm, shift`` of an LDR or STR: with U, and I for a register."""
    if o.accept("#"):
        return _split_sign(o, 4095)
    sign = 0 if o.accept("-") else U
    o.accept("+")
    return IMMEDIATE | sign | _register_operand(o, o.register())


def _half_offset(o: Operands) -> int:
    """The same for LDRH and its relatives, which have no shifts."""
    if o.accept("#"):
        value = _split_sign(o, 255)
        return value & U | _HALF_IMMEDIATE | (value & 0xF0) << 4 | value & 15
    sign = 0 if o.accept("-") else U
    o.accept("+")
    return sign | o.register()


def _split_sign(o: Operands, limit: int) -> int:
    negative_zero = o.next == "-"
    value = o.value(-limit, limit)
    return abs(value) | (0 if value < 0 or (not value and negative_zero) else U)


def _relative_offset(o: Operands, half: bool) -> int:
    """From a label's address: ``[pc, #n]``."""
    return _pc_offset(o.target(8), half)


def _pc_offset(distance: int, half: bool) -> int:
    limit = 255 if half else 4095
    if abs(distance) > limit:
        raise AssemblyError(
            f"the target is {distance} bytes away, but {limit} is the most: .ltorg puts a pool near"
        )
    sign = U if distance >= 0 else 0
    size = abs(distance)
    offset = _HALF_IMMEDIATE | (size & 0xF0) << 4 | size & 15 if half else size
    return P | sign | 15 << 16 | offset


def _transfer(o: Operands, bits: int, half: bool) -> int:
    offset = _half_offset if half else _word_offset
    rd = o.register()
    o.expect(",")
    word = bits & ~W | rd << 12
    unprivileged = bits & W
    if o.accept("="):
        if half or not bits & L or bits & B:
            raise AssemblyError("only ldr can load '=value'")
        return word | _pc_offset(o.scope.literal(o.rest()) - (o.scope.here + 8), half)
    if o.next != "[":
        return word | _relative_offset(o, half)
    o.expect("[")
    word |= o.register() << 16
    if o.accept("]"):
        if o.accept(","):
            return word | unprivileged | offset(o)
        zero = U | (_HALF_IMMEDIATE if half else 0)
        if unprivileged:
            return word | W | zero
        return word | P | zero | (W if o.accept("!") else 0)
    o.expect(",")
    word |= P | offset(o)
    o.expect("]")
    if unprivileged:
        raise AssemblyError("this instruction has only the form with the offset behind the bracket")
    return word | (W if o.accept("!") else 0)


def _word(o: Operands, bits: int) -> int:
    return _transfer(o, bits | 1 << 26, half=False)


def _half(o: Operands, bits: int) -> int:
    return _transfer(o, bits, half=True)


def _multiple(o: Operands, bits: int) -> int:
    rn = o.register()
    write_back = W if o.accept("!") else 0
    o.expect(",")
    mask = o.register_list()
    return bits | write_back | rn << 16 | mask | (_USER_LIST if o.accept("^") else 0)


def _stack(o: Operands, bits: int) -> int:
    return bits | W | 13 << 16 | o.register_list()


# -- the rest --------------------------------------------------------------------------------


def _branch(o: Operands, bits: int) -> int:
    distance = o.target(8)
    if distance & 3:
        raise AssemblyError("the target of a branch in ARM state is a multiple of 4")
    if not -(1 << 25) <= distance < 1 << 25:
        raise AssemblyError(f"the target is {distance} bytes away: a branch reaches 32 MiB")
    return bits | distance >> 2 & 0xFF_FFFF


def _adr(o: Operands, bits: int) -> int:
    rd = o.register()
    o.expect(",")
    distance = o.target(8)
    encoded = encode_immediate(abs(distance))
    if encoded is None:
        raise AssemblyError(
            f"the target is {distance} bytes away, which no single instruction adds to pc: use 'ldr rd, ='"
        )
    opcode = _OPCODES["add" if distance >= 0 else "sub"]
    return bits | opcode << 21 | IMMEDIATE | 15 << 16 | rd << 12 | encoded


def _status(o: Operands) -> tuple[int, str]:
    token = o.take()
    name, underscore, fields = token.lower().partition("_")
    if name not in ("cpsr", "spsr", "apsr"):
        raise AssemblyError(f"{token!r} is not cpsr or spsr")
    return (1 << 22 if name == "spsr" else 0), fields or underscore


def _mrs(o: Operands, bits: int) -> int:
    rd = o.register()
    o.expect(",")
    which, fields = _status(o)
    if fields:
        raise AssemblyError("a status register is read whole")
    return bits | which | rd << 12


def _msr(o: Operands, bits: int) -> int:
    which, fields = _status(o)
    letters = _PSR_GROUPS.get(fields, fields)
    if not set(letters) <= _PSR_FIELDS.keys():
        raise AssemblyError(f"{fields!r} does not name fields of a status register: they are c, x, s and f")
    word = bits | which | sum(_PSR_FIELDS[letter] for letter in set(letters))
    o.expect(",")
    if not o.accept("#"):
        return word | o.register()
    value, encoded = _rotated(o)
    if encoded is None:
        encoded = encode_immediate(value)
    if encoded is None:
        raise AssemblyError(f"{value:#x} is not a byte rotated by an even number")
    return word | IMMEDIATE | encoded


def _coprocessor_register(o: Operands, bits: int) -> int:
    """MCR and MRC: coprocessor, opcode 1, rd, crn, crm, opcode 2."""
    word = bits | o.numbered("p") << 8
    o.expect(",")
    word |= _plain(o, 7) << 21
    o.expect(",")
    if o.accept("apsr_nzcv"):
        word |= 15 << 12
    else:
        word |= o.register() << 12
    return word | _coprocessor_tail(o)


def _coprocessor_operation(o: Operands, bits: int) -> int:
    word = bits | o.numbered("p") << 8
    o.expect(",")
    word |= _plain(o, 15) << 20
    o.expect(",")
    return word | o.numbered("c") << 12 | _coprocessor_tail(o)


def _coprocessor_tail(o: Operands) -> int:
    o.expect(",")
    word = o.numbered("c") << 16
    o.expect(",")
    word |= o.numbered("c")
    return word | (_plain(o, 7) << 5 if o.accept(",") else 0)


def _plain(o: Operands, limit: int) -> int:
    o.accept("#")
    return o.value(0, limit)


def _coprocessor_transfer(o: Operands, bits: int) -> int:
    """LDC and STC: coprocessor, crd, address."""
    word = bits | o.numbered("p") << 8
    o.expect(",")
    word |= o.numbered("c") << 12
    o.expect(",")
    o.expect("[")
    word |= o.register() << 16
    if o.accept("]"):
        if not o.accept(","):
            return word | P | U
        if o.accept("{"):
            word |= U | o.value(0, 255)
            o.expect("}")
            return word
        return word | W | _coprocessor_offset(o)
    o.expect(",")
    word |= P | _coprocessor_offset(o)
    o.expect("]")
    return word | (W if o.accept("!") else 0)


def _coprocessor_offset(o: Operands) -> int:
    o.expect("#")
    value = _split_sign(o, 1020)
    if value & 3:
        raise AssemblyError("the offset of a coprocessor's transfer is a multiple of 4")
    return value & U | (value & 0x3FF) >> 2


def _exchange(o: Operands, bits: int) -> int:
    return bits | o.register()


def _interrupt(o: Operands, bits: int) -> int:
    o.accept("#")
    return bits | o.value(0, 0xFF_FFFF)


def _undefined(o: Operands, bits: int) -> int:
    """UDF: bits 27 to 25 are 011 with bit 4 set, which no architecture version defines."""
    o.accept("#")
    number = o.value(0, 0xFFFF)
    return bits | (number & 0xFFF0) << 4 | number & 15


def _nop(o: Operands, bits: int) -> int:
    return bits


#: stem, suffixes that may come before or behind the condition, encoder, fixed bits
def _rows() -> list[tuple[str, tuple[str, ...], Encoder, int]]:
    with_s = (("", 0), ("s", S))
    rows: list[tuple[str, tuple[str, ...], Encoder, int]] = []
    for s, bit in with_s:
        rows += [(stem, (s,), _three, code | bit) for stem, code in _OPCODES.items()]
        rows += [(stem, (s,), _move, code | bit) for stem, code in _MOVES.items()]
        rows += [(stem, (s,), _shift_alias, code | bit) for stem, code in SHIFTS.items()]
        rows += [
            ("rrx", (s,), _rrx, bit),
            ("neg", (s,), _negate, bit),
            ("mul", (s,), _multiply, 0x0000_0090 | bit),
            ("mla", (s,), _multiply_add, 0x0020_0090 | bit),
            ("umull", (s,), _multiply_long, 0x0080_0090 | bit),
            ("umlal", (s,), _multiply_long, 0x00A0_0090 | bit),
            ("smull", (s,), _multiply_long, 0x00C0_0090 | bit),
            ("smlal", (s,), _multiply_long, 0x00E0_0090 | bit),
        ]
    rows += [(stem, ("",), _compare, code) for stem, code in _COMPARES.items()]
    for stem, load in (("ldr", L), ("str", 0)):
        rows += [
            (stem, ("",), _word, load),
            (stem, ("b",), _word, load | B),
            (stem, ("t",), _word, load | W),
            (stem, ("bt",), _word, load | B | W),
            (stem, ("h",), _half, load | 0xB0),
        ]
    rows += [("ldr", ("sb",), _half, L | 0xD0), ("ldr", ("sh",), _half, L | 0xF0)]
    rows += [("ldm", (mode,), _multiple, 0x0800_0000 | L | bits) for mode, bits in _LOAD_MODES.items()]
    rows += [("stm", (mode,), _multiple, 0x0800_0000 | bits) for mode, bits in _STORE_MODES.items()]
    rows += [
        ("push", ("",), _stack, 0x0900_0000),
        ("pop", ("",), _stack, 0x0880_0000 | L),
        ("swp", ("",), _swap, 0x0100_0090),
        ("swp", ("b",), _swap, 0x0140_0090),
        ("b", ("",), _branch, 0x0A00_0000),
        ("bl", ("",), _branch, 0x0B00_0000),
        ("bx", ("",), _exchange, 0x012F_FF10),
        ("adr", ("",), _adr, 0),
        ("mrs", ("",), _mrs, 0x010F_0000),
        ("msr", ("",), _msr, 0x0120_F000),
        ("mcr", ("",), _coprocessor_register, 0x0E00_0010),
        ("mrc", ("",), _coprocessor_register, 0x0E10_0010),
        ("cdp", ("",), _coprocessor_operation, 0x0E00_0000),
        ("ldc", ("",), _coprocessor_transfer, 0x0C00_0000 | L),
        ("ldc", ("l",), _coprocessor_transfer, 0x0C00_0000 | L | B),
        ("stc", ("",), _coprocessor_transfer, 0x0C00_0000),
        ("stc", ("l",), _coprocessor_transfer, 0x0C00_0000 | B),
        ("swi", ("",), _interrupt, 0x0F00_0000),
        ("svc", ("",), _interrupt, 0x0F00_0000),
        ("udf", ("",), _undefined, 0x07F0_00F0),
        ("nop", ("",), _nop, 0x01A0_0000),
    ]
    return rows


@cache
def mnemonics() -> dict[str, tuple[int, Encoder, int]]:
    """Every spelling of every instruction: its condition, encoder and fixed bits."""
    table: dict[str, tuple[int, Encoder, int]] = {}
    for stem, suffixes, encoder, bits in _rows():
        for suffix in suffixes:
            for name, condition in (("", 14), *CONDITIONS.items()):
                entry = (condition << 28, encoder, bits)
                table[stem + suffix + name] = entry
                table[stem + name + suffix] = entry
    return table


def encode(mnemonic: str, operands: Operands) -> int:
    """The word of an instruction at ``operands.scope.here``; AssemblyError when there is none."""
    found = mnemonics().get(mnemonic)
    if found is None:
        raise AssemblyError(f"{mnemonic!r} is not an ARM instruction of ARMv4T")
    condition, encoder, bits = found
    word = encoder(operands, bits)
    operands.end()
    return condition | word
