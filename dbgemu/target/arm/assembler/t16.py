"""Thumb instructions of ARMv4T, from mnemonic and operands to the halfword (two for BL).

Encodings: ARM Architecture Reference Manual (DDI 0100), chapter A7. The syntax is the unified one: an
instruction that sets the flags has an ``s``, and as in Thumb most can do nothing else, most need it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from dbgemu.target.arm.assembler.syntax import CONDITIONS, AssemblyError, Operands

Encoder = Callable[[Operands, int], int]

_SHIFTS = {"lsls": (0x0000, 0x4080), "lsrs": (0x0800, 0x40C0), "asrs": (0x1000, 0x4100)}
#: two-operand instructions on low registers
_ALU = {
    "ands": 0x4000,
    "eors": 0x4040,
    "adcs": 0x4140,
    "sbcs": 0x4180,
    "rors": 0x41C0,
    "orrs": 0x4300,
    "bics": 0x4380,
}
_TWO = {"tst": 0x4200, "cmn": 0x42C0, "mvns": 0x43C0}
#: stem -> register form, immediate form (0: none), size in bytes
_TRANSFERS = {
    "str": (0x5000, 0x6000, 4),
    "strh": (0x5200, 0x8000, 2),
    "strb": (0x5400, 0x7000, 1),
    "ldrsb": (0x5600, 0, 1),
    "ldr": (0x5800, 0x6800, 4),
    "ldrh": (0x5A00, 0x8800, 2),
    "ldrb": (0x5C00, 0x7800, 1),
    "ldrsh": (0x5E00, 0, 2),
}


def _shift(o: Operands, bits: int) -> int:
    immediate, register = bits >> 16, bits & 0xFFFF
    rd = o.low()
    o.expect(",")
    if o.next == "#":
        return immediate | _amount(o, immediate) << 6 | rd << 3 | rd
    rm = o.low()
    if not o.accept(","):
        return register | rm << 3 | rd
    if o.next == "#":
        return immediate | _amount(o, immediate) << 6 | rm << 3 | rd
    if rm != rd:
        raise AssemblyError(
            "Thumb shifts by a register only in place: the first two registers must be the same"
        )
    return register | o.low() << 3 | rd


def _amount(o: Operands, opcode: int) -> int:
    return o.immediate(0, 32 if opcode else 31) & 31


def _alu(o: Operands, bits: int) -> int:
    """``ands rd, rm`` or ``ands rd, rd, rm``."""
    rd = o.low()
    o.expect(",")
    rm = o.low()
    if o.accept(","):
        if rm != rd:
            raise AssemblyError(
                "in Thumb the result goes to the first operand: the first two registers must be the same"
            )
        rm = o.low()
    return bits | rm << 3 | rd


def _two(o: Operands, bits: int) -> int:
    rd = o.low()
    o.expect(",")
    return bits | o.low() << 3 | rd


def _multiply(o: Operands, bits: int) -> int:
    rd = o.low()
    o.expect(",")
    rm = o.low()
    if o.accept(","):
        last = o.low()
        if rd not in (rm, last):
            raise AssemblyError("in Thumb the result goes to a factor: the first register must come again")
        rm = rm if last == rd else last
    return bits | rm << 3 | rd


def _negate(o: Operands, bits: int) -> int:
    word = _two(o, bits)
    if o.accept(","):
        o.immediate(0, 0)
    return word


def _add_sub_flags(o: Operands, bits: int) -> int:
    """ADDS and SUBS (``bits`` is 1): three registers, a 3-bit or an 8-bit immediate."""
    rd = rn = o.low()
    o.expect(",")
    if o.next != "#":
        rn = o.low()
        if not o.accept(","):
            return 0x1800 | bits << 9 | rn << 6 | rd << 3 | rd
        if o.next != "#":
            return 0x1800 | bits << 9 | o.low() << 6 | rn << 3 | rd
        value = o.immediate(0, 255)
        if value < 8:
            return 0x1C00 | bits << 9 | value << 6 | rn << 3 | rd
        if rn != rd:
            raise AssemblyError(f"{value} is out of range: 0 to 7 from one register to another")
        return 0x3000 | bits << 11 | rd << 8 | value
    return 0x3000 | bits << 11 | rd << 8 | o.immediate(0, 255)


def _add(o: Operands, bits: int) -> int:
    """ADD without flags: high registers, and sums with sp and pc."""
    rd = o.register()
    o.expect(",")
    if o.next == "#":
        return _stack_pointer(o, rd, 0xB000)
    rn = o.register()
    if o.accept(","):
        if o.next == "#" and rd == 13 == rn:
            return _stack_pointer(o, rd, 0xB000)
        if o.next == "#" and rn in (13, 15):
            if rd > 7:
                raise AssemblyError("the result of this sum is one of r0 to r7")
            return (0xA800 if rn == 13 else 0xA000) | rd << 8 | _scaled(o, 4, 255)
        if o.next == "#":
            raise AssemblyError("in Thumb this sum sets the flags: write 'adds'")
        rm = o.register()
        if rd not in (rn, rm):
            raise AssemblyError("in Thumb this sum sets the flags: write 'adds'")
        rn = rm if rn == rd else rn
    return _high(0x4400, rd, rn, "adds")


def _sub(o: Operands, bits: int) -> int:
    rd = o.register()
    o.expect(",")
    if o.at_register and o.register() == rd:
        o.expect(",")
    return _stack_pointer(o, rd, 0xB080)


def _stack_pointer(o: Operands, rd: int, opcode: int) -> int:
    if rd != 13:
        raise AssemblyError("in Thumb this sets the flags: write it with an 's'")
    return opcode | _scaled(o, 4, 127)


def _scaled(o: Operands, unit: int, limit: int) -> int:
    value = o.immediate(0, limit * unit)
    if value % unit:
        raise AssemblyError(f"{value} is not a multiple of {unit}")
    return value // unit


def _high(opcode: int, rd: int, rm: int, low_form: str) -> int:
    # DDI 0100 A7: without a high register these are unpredictable before ARMv6.
    if rd < 8 and rm < 8:
        raise AssemblyError(f"with two of r0 to r7 this needs ARMv6: write '{low_form}'")
    return opcode | (rd & 8) << 4 | rm << 3 | rd & 7


def _move(o: Operands, bits: int) -> int:
    rd = o.register()
    o.expect(",")
    if o.next == "#":
        raise AssemblyError("in Thumb this sets the flags: write 'movs'")
    return _high(0x4600, rd, o.register(), "movs")


def _move_flags(o: Operands, bits: int) -> int:
    rd = o.low()
    o.expect(",")
    if o.next == "#":
        return 0x2000 | rd << 8 | o.immediate(0, 255)
    return o.low() << 3 | rd


def _compare(o: Operands, bits: int) -> int:
    rn = o.register()
    o.expect(",")
    if o.next == "#":
        if rn > 7:
            raise AssemblyError("only r0 to r7 can be compared to an immediate")
        return 0x2800 | rn << 8 | o.immediate(0, 255)
    rm = o.register()
    if rn < 8 and rm < 8:
        return 0x4280 | rm << 3 | rn
    return _high(0x4500, rn, rm, "cmp")


def _transfer(o: Operands, name: str) -> int:
    register_form, immediate_form, size = _TRANSFERS[name]
    rd = o.low()
    o.expect(",")
    if name == "ldr" and o.accept("="):
        return _pc_relative(o, rd, o.scope.literal(o.rest()))
    if o.next != "[":
        if name != "ldr":
            raise AssemblyError("only ldr can load from a label")
        return _pc_relative(o, rd, o.value())
    o.expect("[")
    rn = o.register()
    if o.accept("]"):
        offset = 0
    else:
        o.expect(",")
        if o.next != "#":
            word = register_form | o.low() << 6 | _base(rn) << 3 | rd
            o.expect("]")
            return word
        offset = _scaled(o, size, 255 if rn in (13, 15) and size == 4 else 31)
        o.expect("]")
    if name in ("ldr", "str") and rn == 13:
        return (0x9800 if name == "ldr" else 0x9000) | rd << 8 | offset
    if name == "ldr" and rn == 15:
        return 0x4800 | rd << 8 | offset
    if not immediate_form:
        raise AssemblyError(f"in Thumb {name} takes a register as offset")
    return immediate_form | offset << 6 | _base(rn) << 3 | rd


def _base(register: int) -> int:
    if register > 7:
        raise AssemblyError("the address is not in one of r0 to r7")
    return register


def _pc_relative(o: Operands, rd: int, target: int) -> int:
    return 0x4800 | rd << 8 | _pc_words(o, target)


def _pc_words(o: Operands, target: int) -> int:
    distance = target - ((o.scope.here + 4) & ~3)
    if distance & 3 or not 0 <= distance <= 1020:
        raise AssemblyError(
            f"the target is {distance} bytes away: Thumb reaches multiples of 4 up to 1020, forwards"
        )
    return distance >> 2


def _adr(o: Operands, bits: int) -> int:
    rd = o.low()
    o.expect(",")
    return 0xA000 | rd << 8 | _pc_words(o, o.value())


def _stack(o: Operands, bits: int) -> int:
    """PUSH (of lr too) and POP (of pc too): ``bits`` has the extra register's number in 19 to 16."""
    mask, extra = o.register_list(), 1 << (bits >> 16)
    if mask & ~(0xFF | extra):
        raise AssemblyError(f"the list can hold r0 to r7 and {'lr' if extra == 1 << 14 else 'pc'}")
    return bits & 0xFFFF | mask & 0xFF | (0x100 if mask & extra else 0)


def _multiple(o: Operands, bits: int) -> int:
    rn = o.low()
    write_back = o.accept("!")
    o.expect(",")
    mask = o.register_list()
    if mask & ~0xFF:
        raise AssemblyError("the list can hold r0 to r7")
    if not write_back and not (bits & 0x0800 and mask >> rn & 1):
        raise AssemblyError("in Thumb the base register changes: write '!' behind it")
    return bits | rn << 8 | mask


def _branch(o: Operands, bits: int) -> int:
    distance = o.target(4)
    reach = 8 if bits != 0xE000 else 11
    if distance & 1 or not -(1 << reach) <= distance < 1 << reach:
        raise AssemblyError(f"the target is {distance} bytes away: this branch reaches {1 << reach}")
    return bits | distance >> 1 & ((1 << reach) - 1)


def _branch_link(o: Operands, bits: int) -> int:
    distance = o.target(4)
    if distance & 1 or not -(1 << 22) <= distance < 1 << 22:
        raise AssemblyError(f"the target is {distance} bytes away: bl reaches 4 MiB")
    return (0xF000 | distance >> 12 & 0x7FF) | (0xF800 | distance >> 1 & 0x7FF) << 16


def _exchange(o: Operands, bits: int) -> int:
    return bits | o.register() << 3


def _interrupt(o: Operands, bits: int) -> int:
    o.accept("#")
    return bits | o.value(0, 255)


def _nop(o: Operands, bits: int) -> int:
    return bits


@cache
def mnemonics() -> dict[str, tuple[Encoder, int]]:
    """Every spelling of every instruction: its encoder and fixed bits."""
    table: dict[str, tuple[Encoder, int]] = {
        **{name: (_shift, forms[0] << 16 | forms[1]) for name, forms in _SHIFTS.items()},
        **{name: (_alu, bits) for name, bits in _ALU.items()},
        **{name: (_two, bits) for name, bits in _TWO.items()},
        **{name: (_transfer_of(name), 0) for name in _TRANSFERS},
        **{f"b{name}": (_branch, 0xD000 | code << 8) for name, code in CONDITIONS.items() if name != "al"},
        "muls": (_multiply, 0x4340),
        "negs": (_negate, 0x4240),
        "rsbs": (_negate, 0x4240),
        "adds": (_add_sub_flags, 0),
        "subs": (_add_sub_flags, 1),
        "add": (_add, 0),
        "sub": (_sub, 0),
        "mov": (_move, 0),
        "cpy": (_move, 0),
        "movs": (_move_flags, 0),
        "cmp": (_compare, 0),
        "adr": (_adr, 0),
        "push": (_stack, 14 << 16 | 0xB400),
        "pop": (_stack, 15 << 16 | 0xBC00),
        "b": (_branch, 0xE000),
        "bal": (_branch, 0xE000),
        "bl": (_branch_link, 0),
        "bx": (_exchange, 0x4700),
        "swi": (_interrupt, 0xDF00),
        "svc": (_interrupt, 0xDF00),
        "udf": (_interrupt, 0xDE00),
        "nop": (_nop, 0x46C0),
    }
    for suffix in ("", "ia", "fd"):
        table[f"ldm{suffix}"] = (_multiple, 0xC800)
    for suffix in ("", "ia", "ea"):
        table[f"stm{suffix}"] = (_multiple, 0xC000)
    return table


def _transfer_of(name: str) -> Encoder:
    return lambda o, bits: _transfer(o, name)


def size(mnemonic: str) -> int:
    """Bytes that the instruction takes."""
    return 4 if mnemonic == "bl" else 2


def encode(mnemonic: str, operands: Operands) -> int:
    """The halfword of an instruction at ``operands.scope.here`` (for BL two, the first one low)."""
    found = mnemonics().get(mnemonic)
    if found is None:
        hint = f": write '{mnemonic}s'" if f"{mnemonic}s" in mnemonics() else ""
        raise AssemblyError(f"{mnemonic!r} is not a Thumb instruction of ARMv4T{hint}")
    encoder, bits = found
    word = encoder(operands, bits)
    operands.end()
    return word
