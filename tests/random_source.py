"""Sources of random programs: blocks that jump, call and loop, over instructions of all kinds.

r8 is a pseudo-random number, r9 the data's address, r10 that of words to store into the code, r11 the
device's, r12 the code's. Programs change r0 to r7, at times their own code.

Programs that go through Unicorn as well have no device, no code that changes without a jump behind it, no
unaligned words, no faults, and read of the status registers only what ARMv4T has.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from dbgemu.target.arm.state import Mode

_CONDITIONS = ("eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")
_OPERATIONS = ("and", "eor", "sub", "rsb", "add", "adc", "sbc", "rsc", "orr", "bic")
_SHIFTS = ("lsl", "lsr", "asr", "ror")
_THUMB_OPERATIONS = ("ands", "eors", "lsls", "lsrs", "asrs", "adcs", "sbcs", "rors", "orrs", "muls", "bics")
#: so that programs do not settle in the first small loop
_STIR = "eor r8, r8, r8, lsl #13; eor r8, r8, r8, lsr #17; eor r8, r8, r8, lsl #5"
#: the same in Thumb, and whether to go round
_STIR_THUMB = ("mov r6, r8", "lsrs r7, r6, #1", "adds r7, #13", "add r7, r8", "mov r8, r7", "lsls r7, r7, #3")

Kind = Callable[[], str]


class Writer:
    """Writes one program, with ``mode`` one for Unicorn that is executed in that mode."""

    def __init__(self, random_: random.Random, mode: Mode | None = None) -> None:
        self.random = random_
        self.comparable = mode is not None
        #: User and System mode have no SPSR
        self.saves_status = mode not in (Mode.USR, Mode.SYS)
        self.blocks = random_.randrange(4, 12)
        self.functions = random_.randrange(1, 4)
        #: whether the code at t0 is Thumb
        self.thumb = random_.random() < 0.5
        # how often, and what
        self._kinds: dict[Kind, int] = {
            self.compute: 42, self.compared: 4, self.literal: 4, self.small: 4, self.word: 10,
            self.half: 6, self.anywhere: 6, self.block: 6, self.into_code: 4, self.device: 3,
            self.system: 5, self.user: 2, self.from_code: 2, self.below: 2, self.undefined: 1,
        }  # fmt: skip
        if self.comparable:
            del self._kinds[self.device], self._kinds[self.into_code]
            self._kinds |= {self.system: 2, self.status: 3, self.into_next: 4}
        self._ends: dict[Kind, int] = {
            self.conditional: 20, self.by_chance: 32, self.call: 14, self.leaf: 10, self.computed: 8,
            self.exchange: 8, self.jump: 8, self.recursive: 8,
        }  # fmt: skip
        self._thumb_kinds: dict[Kind, int] = {
            self.thumb_operation: 40, self.thumb_immediate: 20, self.thumb_shift: 10,
            self.thumb_transfer: 10, self.thumb_stack: 5, self.thumb_branch: 5, self.thumb_block: 5,
            self.thumb_other: 5,
        }  # fmt: skip

    def _pick(self, kinds: dict[Kind, int]) -> str:
        return self.random.choices(list(kinds), list(kinds.values()))[0]()

    def _one_of(self, *choices: str) -> str:
        return self.random.choice(choices)

    def _condition(self) -> str:
        return self._one_of("", "", "", *_CONDITIONS)

    def low(self) -> str:
        """A register that the program may change."""
        return f"r{self.random.randrange(8)}"

    def program(self) -> str:
        """The program's source."""
        some = self.random.randrange
        lines = []
        for block in range(self.blocks):
            lines += [f"b{block}:", _STIR]
            if self.comparable:
                lines.append(f"p{block}: {self.compute()}")
            lines += [self._pick(self._kinds) for _ in range(some(1, 9))]
            lines.append(self._pick(self._ends))
        lines.append("b b0")
        for function in range(self.functions):
            lines += [f"f{function}:", "stmfd sp!, {r4, r5, lr}"]
            lines += [self._pick(self._kinds) for _ in range(some(1, 6))]
            lines.append(self._one_of("ldmfd sp!, {r4, r5, pc}", "ldmfd sp!, {r4, r5, lr}\nbx lr"))
        lines += ["again:", "stmfd sp!, {r4, r5, lr}", self.compute(), "ldr r4, [sp]", "movs r4, r4, lsr #1"]
        lines += ["blne again", self.compute(), "ldr r4, [sp]", "movs r4, r4, lsr #1", "blcs again"]
        lines.append(self._one_of("ldmfd sp!, {r4, r5, pc}", "ldmfd sp!, {r4, r5, lr}\nmov pc, lr"))
        lines += ["literal: .word 5", "leaf:", self.compute(), self.compute(), "mov pc, lr", "table:"]
        lines += [f".word {self._target()}" for _ in range(4)]
        if not self.thumb:
            return "\n".join([*lines, "t0: bx lr"])
        lines += [".thumb", ".align 2", "t0:"]
        lines += [self._pick(self._thumb_kinds) for _ in range(some(2, 12))]
        lines += ["t1:", *[self._pick(self._thumb_kinds) for _ in range(some(2, 8))]]
        lines += [*_STIR_THUMB, f"b{self._one_of('mi', 'cs', 'eq')} t0"]
        return "\n".join(
            [*lines, "bl t2", "bx lr", "t2: adds r1, #3", "push {r0, lr}", "pop {r0, pc}", ".align 2"]
        )

    # -- how a block goes on -------------------------------------------------------------------

    def _target(self) -> str:
        return f"b{self.random.randrange(self.blocks)}"

    def conditional(self) -> str:
        """By whatever the flags are."""
        return f"b{self._one_of(*_CONDITIONS)} {self._target()}"

    def by_chance(self) -> str:
        """By a pseudo-random bit."""
        bit = 1 << self.random.randrange(8)
        return f"tst r8, #{bit}\nb{self._one_of('eq', 'ne')} {self._target()}"

    def call(self) -> str:
        """A call."""
        return f"bl f{self.random.randrange(self.functions)}"

    def recursive(self) -> str:
        """A call of what calls itself, some times."""
        return "and r4, r8, #15\nbl again"

    def leaf(self) -> str:
        """A call of what saves nothing."""
        return "bl leaf"

    def computed(self) -> str:
        """By a table."""
        index = f"and r7, r{self.random.choice([1, 3, 8])}, #3"
        return f"adr r6, table\n{index}\nldr{self._one_of(*_CONDITIONS)} pc, [r6, r7, lsl #2]"

    def exchange(self) -> str:
        """To t0, in Thumb perhaps."""
        return "ldr r6, [r12, #-4]\nmov lr, pc\nbx r6"

    def jump(self) -> str:
        """Anyway."""
        return f"b {self._target()}"

    # -- ARM instructions ----------------------------------------------------------------------

    def _operand(self) -> str:
        kind = self._one_of(*_SHIFTS)
        return self.random.choices(
            [
                f"#{self.random.randrange(256)}",
                self.low(),
                f"{self.low()}, {kind} #{self.random.randrange(1, 32)}",
                f"{self.low()}, {kind} {self.low()}",
            ],
            [4, 3, 2, 1],
        )[0]

    def compute(self) -> str:
        """Data processing or a multiply."""
        condition, s = self._condition(), self._one_of("", "s")
        a, b, c = self.random.sample(range(8), 3)
        long = self._one_of("umull", "smull", "umlal", "smlal")
        return self.random.choices(
            [
                f"{self._one_of(*_OPERATIONS)}{s}{condition} {self.low()}, {self.low()}, {self._operand()}",
                f"{self._one_of('mov', 'mvn')}{s}{condition} {self.low()}, {self._operand()}",
                f"{self._one_of('cmp', 'cmn', 'tst', 'teq')}{condition} {self.low()}, {self._operand()}",
                f"mul{s}{condition} r{a}, r{b}, {self.low()}",
                f"{long}{s}{condition} r{a}, r{b}, r{c}, {self.low()}",
            ],
            [12, 3, 3, 1, 1],
        )[0]

    def compared(self) -> str:
        """A compare of what is often equal, and what follows from it."""
        a = self.low()
        condition = self._one_of("hi", "ls", "gt", "le", "cs", "lt", "eq", "vs")
        operation = self._one_of(*_OPERATIONS)
        return (
            f"cmp {a}, {self._one_of(a, self.low())}\n{operation}{condition} {self.low()}, {self.low()}, #1"
        )

    def literal(self) -> str:
        """A constant in the code that changes at times."""
        return f"ldr {self.low()}, literal\ntst r8, #0x100\nstreq {self.low()}, literal"

    def small(self) -> str:
        """A small number, so that others are equal to it."""
        return f"and {self.low()}, {self.low()}, #{self.random.choice([1, 3, 7])}"

    def word(self) -> str:
        """A word or byte of the data, aligned or not."""
        name = self._one_of("ldr", "str", "ldrb", "strb")
        offset = self.random.randrange(0x1000) & self.random.choice([-4] * 9 + [-1])
        if self.comparable and not name.endswith("b"):
            offset &= -4
        return f"{name}{self._condition()} {self.low()}, [r9, #{offset}]"

    def half(self) -> str:
        """A halfword or signed byte."""
        name = self._one_of("ldrh", "strh", "ldrsb", "ldrsh")
        return f"{name}{self._condition()} {self.low()}, [r9, #{self.random.randrange(256) & -2}]"

    def anywhere(self) -> str:
        """Some kilobyte of the data, and faults where there is none."""
        name = self._one_of("ldr", "str")
        return f"and r6, {self.low()}, #0xfc00\n{name}{self._condition()} {self.low()}, [r9, r6]"

    def block(self) -> str:
        """A block transfer; in and behind the page that is not mapped, too."""
        numbers = sorted(self.random.sample(range(8), self.random.randrange(1, 5)))
        registers = ", ".join(f"r{number}" for number in numbers)
        base = self.random.choice([0x400, 0x3F8, 0x3FC, 0x800, 0x100, 0x1F000])
        name = self._one_of("ldm", "stm") + self._one_of("ia", "ib", "da", "db")
        return f"add r6, r9, #{base}\n{name} r6{self._one_of('', '!')}, {{{registers}}}"

    def into_code(self) -> str:
        """An instruction from a table goes into the code, at times."""
        word, place = 4 * self.random.randrange(32), 4 * self.random.randrange(80)
        return f"ldr r6, [r10, #{word}]\ntst r8, #0x700\nstreq r6, [r12, #{place}]"

    def into_next(self) -> str:
        """As :meth:`into_code`, but into what is there for it, with a jump behind it."""
        word, place = 4 * self.random.randrange(32), self.random.randrange(self.blocks)
        return (
            f"ldr r6, [r10, #{word}]\nadr r7, p{place}\ntst r8, #0x700\nstreq r6, [r7]\nmov r7, #3\nb 1f\n1:"
        )

    def device(self) -> str:
        """The device."""
        name = self._one_of("ldr", "str", "ldrb", "ldrh")
        return f"{name}{self._condition()} {self.low()}, [r11, #{self.random.choice([0, 4, 64])}]"

    def system(self) -> str:
        """What is not for every mode, or changes much."""
        choices = (
            f"swp {self.low()}, r7, [r9]",
            f"mrs {self.low()}, cpsr",
            f"mrs {self.low()}, spsr",
            f"swi {self.random.randrange(100)}",
            "mrs r6, cpsr\neor r6, r6, #0x80\nmsr cpsr_c, r6",
            f"msr cpsr_f, {self.low()}",
            f"msr spsr_f, {self.low()}",
            "mcr p15, 0, r6, c8, c7, 0",
            "mcr p15, 0, r6, c7, c5, 0",
        )
        if self.comparable:
            # these are for status()
            choices = tuple(choice for choice in choices if "mrs" not in choice and "spsr" not in choice)
        return self._one_of(*choices)

    def status(self) -> str:
        """A status register; of what is read, only what ARMv4T has."""
        a = self.low()
        name = self._one_of("cpsr", "spsr") if self.saves_status else "cpsr"
        return self._one_of(
            f"mrs {a}, {name}\nbic {a}, {a}, #0x0f000000",
            f"msr {name}_f, {a}",
            "mrs r6, cpsr\nbic r6, r6, #0x0f000000\neor r6, r6, #0x80\nmsr cpsr_c, r6",
        )

    def user(self) -> str:
        """With User's rights."""
        return f"ldr{self._one_of('t', 'bt')} {self.low()}, [r9], #0"

    def from_code(self) -> str:
        """A word of the code."""
        return f"ldr r6, [pc, #{4 * self.random.randrange(8)}]"

    def below(self) -> str:
        """Below the data's address."""
        return f"{self._one_of('ldr', 'str')} {self.low()}, [r9, #-{4 * self.random.randrange(0x100)}]"

    def undefined(self) -> str:
        """An undefined instruction."""
        return ".word 0xe7f000f0"

    # -- Thumb instructions --------------------------------------------------------------------

    def thumb_operation(self) -> str:
        """Data processing."""
        return f"{self._one_of(*_THUMB_OPERATIONS)} {self.low()}, {self.low()}"

    def thumb_immediate(self) -> str:
        """With an immediate."""
        name = self._one_of("movs", "adds", "subs", "cmp")
        return f"{name} {self.low()}, #{self.random.randrange(256)}"

    def thumb_shift(self) -> str:
        """A shift."""
        amount = self.random.randrange(1, 32)
        return f"{self._one_of('lsls', 'lsrs', 'asrs')} {self.low()}, {self.low()}, #{amount}"

    def thumb_transfer(self) -> str:
        """A word of the data."""
        place = 4 * self.random.randrange(32)
        return f"mov r6, r9\n{self._one_of('ldr', 'str')} {self.low()}, [r6, #{place}]"

    def thumb_stack(self) -> str:
        """Onto the stack and off it."""
        return f"push {{{self.low()}, r7}}\npop {{r2, r3}}" if self.low() != "r7" else "push {r1}\npop {r2}"

    def thumb_branch(self) -> str:
        """Forward."""
        return f"b{self._one_of(*_CONDITIONS)} t1"

    def thumb_block(self) -> str:
        """A block transfer."""
        return f"mov r6, r9\n{self._one_of('ldmia', 'stmia')} r6!, {{r0, r2, r5}}"

    def thumb_other(self) -> str:
        """The rest."""
        return f"{self._one_of('negs', 'mvns', 'cmp', 'tst', 'cmn')} {self.low()}, {self.low()}"
