"""Random programs of many blocks, run by the interpreter alone and with translated code: the same must come out.

``python -m tests.random_programs --count 10000 --seed 1`` runs programs with loops, calls, stores into
their own code, faults, device accesses, changes of mode and of the mapping, and interrupts at random
counts. Each is run by tier 0, then with translated code that is made early, taken out and put in at
random. Registers, memory, the count of instructions and what a device saw must be equal.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from dataclasses import dataclass

from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.translator import Translator
from dbgemu.target.arm.assembler import assemble_program
from dbgemu.target.arm.state import Mode, T
from dbgemu.target.device import Device
from tests.arm_programs import DATA, RAM, Guest, PageTables

CODE = RAM + 0x20000
#: what programs may store into their code
WORDS = DATA + 0x3000
DEVICE = 0x48000000
#: in the MMU's tables: not mapped, and for reading only
HOLE, READ_ONLY = RAM + 0x60000, RAM + 0x64000
MODES = (Mode.USR, Mode.SYS, Mode.SVC, Mode.IRQ, Mode.FIQ, Mode.ABT, Mode.UND)
_CONDITIONS = ("eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")
_OPERATIONS = ("and", "eor", "sub", "rsb", "add", "adc", "sbc", "rsc", "orr", "bic")
_SHIFTS = ("lsl", "lsr", "asr", "ror")
_THUMB_OPERATIONS = ("ands", "eors", "lsls", "lsrs", "asrs", "adcs", "sbcs", "rors", "orrs", "muls", "bics")


class Counter(Device):
    """A device whose every access depends on the exact count of instructions."""

    def __init__(self) -> None:
        super().__init__("counter")
        self.seen: list[tuple[int, int, int]] = []
        self.guest: Guest | None = None

    def read(self, offset: int, size: int) -> int:
        """The count."""
        assert self.guest is not None
        count = self.guest.cpu.instructions
        self.seen.append((offset, size, count))
        return count & 0xFFFFFFFF

    def write(self, offset: int, size: int, value: int) -> None:
        """An interrupt, for one address."""
        assert self.guest is not None
        self.seen.append((offset, value, self.guest.cpu.instructions))
        if offset == 0x40:
            self.guest.cpu.set_irq(value & 1)


class Writer:
    """Writes one program."""

    def __init__(self, random_: random.Random) -> None:
        self.random = random_
        self.blocks = random_.randrange(4, 12)
        self.functions = random_.randrange(1, 4)

    def low(self) -> str:
        """A register that the program may change."""
        return f"r{self.random.randrange(8)}"

    def any(self) -> str:
        """A register that the program may read."""
        return self.random.choice([*(f"r{n}" for n in range(9)), "r0", "r1", "lr", "sp", "pc"])

    def operand(self) -> str:
        """A second operand."""
        pick = self.random.random()
        if pick < 0.4:
            return f"#{self.random.randrange(256)}"
        if pick < 0.7:
            return self.low()
        if pick < 0.9:
            kind = self.random.choice(_SHIFTS)
            return f"{self.low()}, {kind} #{self.random.randrange(1, 32)}"
        return f"{self.low()}, {self.random.choice(_SHIFTS)} {self.low()}"

    def program(self) -> str:
        """Its source."""
        thumb_blocks = self.random.random() < 0.5
        lines = []
        for block in range(self.blocks):
            lines.append(f"b{block}:")
            lines += [self.instruction() for _ in range(self.random.randrange(1, 9))]
            lines.append(self.end())
        lines.append("b b0")
        for function in range(self.functions):
            lines += [f"f{function}:", "stmfd sp!, {r4, r5, lr}"]
            lines += [self.instruction() for _ in range(self.random.randrange(1, 6))]
            lines.append(self.random.choice(["ldmfd sp!, {r4, r5, pc}", "ldmfd sp!, {r4, r5, lr}\nbx lr"]))
        lines += ["leaf:", self.compute(), self.compute(), "mov pc, lr", "table:"]
        lines += [f".word {self.target()}" for _ in range(4)]
        if thumb_blocks:
            lines += [".thumb", ".align 2", "t0:"]
            lines += [self.thumb_instruction() for _ in range(self.random.randrange(2, 12))]
            lines += ["t1:", *[self.thumb_instruction() for _ in range(self.random.randrange(2, 8))]]
            lines += ["subs r5, #1", f"b{self.random.choice(_CONDITIONS)} t0"]
            lines += ["bl t2", "bx lr", "t2: adds r1, #3", "push {r0, lr}", "pop {r0, pc}"]
        else:
            lines += ["t0: bx lr"]
        self.thumb = thumb_blocks
        return "\n".join(lines)

    def target(self) -> str:
        return f"b{self.random.randrange(self.blocks)}"

    def end(self) -> str:
        """How a block goes on."""
        pick = self.random.random()
        condition = self.random.choice(_CONDITIONS)
        if pick < 0.35:
            return f"b{condition} {self.target()}"
        if pick < 0.5:
            return f"subs r8, r8, #1\nbne {self.target()}"
        if pick < 0.65:
            return f"bl f{self.random.randrange(self.functions)}"
        if pick < 0.75:
            return "bl leaf"
        if pick < 0.82:
            # a computed jump
            return f"adr r6, table\nand r7, r{self.random.randrange(6)}, #3\nldr{condition} pc, [r6, r7, lsl #2]"
        if pick < 0.9:
            return f"adr r6, t0 + {1 if self.random.random() < 0.9 else 0}\nmov lr, pc\nbx r6" if False else (
                "ldr r6, [r12, #-4]\nmov lr, pc\nbx r6"
            )
        return f"b {self.target()}"

    def compute(self) -> str:
        """Data processing or a multiply."""
        pick = self.random.random()
        condition = self.random.choice(["", "", "", *_CONDITIONS[: self.random.randrange(1, 14)]])
        s = self.random.choice(["", "s"])
        if pick < 0.6:
            name = self.random.choice(_OPERATIONS)
            return f"{name}{s}{condition} {self.low()}, {self.low()}, {self.operand()}"
        if pick < 0.75:
            return f"{self.random.choice(['mov', 'mvn'])}{s}{condition} {self.low()}, {self.operand()}"
        if pick < 0.9:
            name = self.random.choice(["cmp", "cmn", "tst", "teq"])
            return f"{name}{condition} {self.low()}, {self.operand()}"
        if pick < 0.95:
            a, b = self.random.sample(range(8), 2)
            return f"mul{s}{condition} r{a}, r{b}, {self.low()}"
        a, b, c = self.random.sample(range(8), 3)
        name = self.random.choice(["umull", "smull", "umlal", "smlal"])
        return f"{name}{s}{condition} r{a}, r{b}, r{c}, {self.low()}"

    def instruction(self) -> str:
        """Some instruction."""
        pick = self.random.random()
        condition = self.random.choice(["", "", "", *_CONDITIONS])
        pick_offset = self.random.randrange(0, 0x1000)
        if pick < 0.5:
            return self.compute()
        if pick < 0.62:
            name = self.random.choice(["ldr", "str", "ldrb", "strb"])
            return f"{name}{condition} {self.low()}, [r9, #{pick_offset & (-4 if self.random.random() < 0.9 else -1)}]"
        if pick < 0.68:
            name = self.random.choice(["ldrh", "strh", "ldrsb", "ldrsh"])
            return f"{name}{condition} {self.low()}, [r9, #{self.random.randrange(256) & -2}]"
        if pick < 0.74:
            # the whole address space of the data, and faults where that ends
            return f"and r6, {self.low()}, #0xfc00\n{self.random.choice(['ldr', 'str'])}{condition} {self.low()}, [r9, r6]"
        if pick < 0.80:
            registers = ", ".join(f"r{n}" for n in sorted(self.random.sample(range(8), self.random.randrange(1, 5))))
            mode = self.random.choice(["ia", "ib", "da", "db"])
            name = self.random.choice(["ldm", "stm"])
            return f"add r8, r9, #{self.random.choice([0x400, 0x3F8, 0x3FC, 0x800, 0x100])}\n{name}{mode} r8{self.random.choice(['', '!'])}, {{{registers}}}"
        if pick < 0.83:
            # into the code: an instruction from a table
            place = self.random.randrange(0, 64) * 4
            return f"ldr r6, [r10, #{self.random.randrange(32) * 4}]\nstr{condition} r6, [r12, #{place}]"
        if pick < 0.86:
            return self.random.choice(["ldr", "str", "ldrb", "ldrh"]) + f"{condition} {self.low()}, [r11, #{self.random.choice([0, 4, 64])}]"
        if pick < 0.88:
            return self.random.choice([f"swp {self.low()}, r7, [r9]", f"mrs {self.low()}, cpsr", f"mrs {self.low()}, spsr", f"swi {pick_offset}"])
        if pick < 0.91:
            return self.random.choice(
                ["mrs r6, cpsr\neor r6, r6, #0x80\nmsr cpsr_c, r6", f"msr cpsr_f, {self.low()}", f"msr spsr_f, {self.low()}",
                 "mcr p15, 0, r6, c8, c7, 0", "mcr p15, 0, r6, c7, c5, 0"]
            )
        if pick < 0.93:
            return f"ldr{self.random.choice(['t', 'bt'])} {self.low()}, [r9], #0"
        if pick < 0.95:
            return f"ldr r6, [pc, #{self.random.randrange(8) * 4}]"
        if pick < 0.96:
            return ".word 0xe7f000f0"
        return f"{self.random.choice(['ldr', 'str'])} {self.low()}, [r9, #-{self.random.randrange(0x400) & -4}]"

    def thumb_instruction(self) -> str:
        """Some Thumb instruction."""
        pick = self.random.random()
        r = self.random
        if pick < 0.4:
            return f"{r.choice(_THUMB_OPERATIONS)} {self.low()}, {self.low()}"
        if pick < 0.6:
            return f"{r.choice(['movs', 'adds', 'subs', 'cmp'])} {self.low()}, #{r.randrange(256)}"
        if pick < 0.7:
            return f"{r.choice(['lsls', 'lsrs', 'asrs'])} {self.low()}, {self.low()}, #{r.randrange(1, 32)}"
        if pick < 0.8:
            return f"mov r6, r9\n{r.choice(['ldr', 'str'])} {self.low()}, [r6, #{r.randrange(32) * 4}]"
        if pick < 0.85:
            return f"push {{{self.low()}, r7}}\npop {{r2, r3}}"
        if pick < 0.9:
            return f"b{r.choice(_CONDITIONS)} t1"
        if pick < 0.95:
            return f"mov r6, r9\n{r.choice(['ldmia', 'stmia'])} r6!, {{r0, r2, r5}}"
        return f"{r.choice(['negs', 'mvns', 'cmp', 'tst', 'cmn'])} {self.low()}, {self.low()}"


@dataclass
class Program:
    """A program with its data and what happens while it runs."""

    source: bytes
    thumb_entry: int
    data: bytes
    words: list[int]
    registers: list[int]
    cpsr: int
    mmu: bool
    #: at which counts the run is stopped, and the level of the interrupt line from there on
    stops: list[tuple[int, int]]
    length: int


_HANDLERS = """
b .
movs pc, lr
movs pc, lr
b prefetch
b abort
b .
b interrupt
subs pc, lr, #4
interrupt: str lr, [r11, #8]
ldr lr, [r11, #64]
mov lr, #0
str lr, [r11, #64]
ldr lr, [r11, #8]
mrs lr, spsr
orr lr, lr, #0x80
msr spsr_c, lr
mov lr, r12
movs pc, lr
prefetch: movs pc, r12
abort: subs pc, lr, #4
"""


def make_program(seed: int) -> Program:
    """The program of a seed."""
    random_ = random.Random(seed)
    while True:
        writer = Writer(random_)
        try:
            assembled = assemble_program(writer.program(), CODE)
        except Exception:  # an offset that does not reach: another program
            continue
        break
    words = [
        int.from_bytes(assemble_program(Writer(random_).compute(), CODE).data[:4], "little") for _ in range(32)
    ]
    length = random_.choice([300, 1000, 3000, 8000])
    stops = sorted(
        (random_.randrange(1, length), random_.random() < 0.5) for _ in range(random_.randrange(8))
    )
    return Program(
        assembled.data,
        assembled["t0"] | int(writer.thumb),
        random_.randbytes(0x4000),
        words,
        [random_.getrandbits(random_.choice([4, 8, 32])) for _ in range(9)],
        random_.choice(MODES) | random_.choice([0, 0x80]) | random_.getrandbits(4) << 28,
        random_.random() < 0.5,
        [(count, int(level)) for count, level in stops],
        length,
    )


class Run:
    """One execution of a program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.device = Counter()
        guest = self.guest = Guest((DEVICE, self.device))
        self.device.guest = guest
        guest.load(_HANDLERS, 0)
        guest.bus.poke(CODE, program.source)
        guest.put(CODE - 4, program.thumb_entry)
        guest.bus.poke(DATA, program.data)
        guest.put(WORDS, *program.words)
        if program.mmu:
            tables = PageTables(guest)
            tables.section(DEVICE, DEVICE)
            tables.enable()
            tables.second.clear()
            for page in range(RAM, RAM + 0x100000, 0x1000):
                if HOLE <= page < HOLE + 0x2000:
                    continue
                if READ_ONLY <= page < READ_ONLY + 0x1000:
                    tables.small(page, page, 2)
                elif page & 0x3000 == 0x1000:
                    tables.small(page, page, 3, 2, 1, 3)
                else:
                    tables.small(page, page, 3)
        for mode in ("usr", "fiq", "irq", "svc", "abt", "und"):
            guest[f"r13_{mode}"] = DATA + 0x2000 - 0x100 * (len(mode) + ord(mode[0]) % 7)
        for number, value in enumerate(program.registers):
            guest[f"r{number}"] = value
        guest["cpsr"] = program.cpsr
        for register, value in (("r9", DATA + 0x1000), ("r10", WORDS), ("r11", DEVICE), ("r12", CODE)):
            guest[register] = value
        guest["pc"] = CODE

    def execute(self, random_: random.Random | None = None, translator: Translator | None = None) -> str:
        """Run it to its end; the digest of everything."""
        program, cpu = self.program, self.guest.cpu
        events = [*program.stops, (program.length, -1)]
        if random_ is not None:
            # stops where nothing happens change nothing
            more = [(random_.randrange(1, program.length), -1) for _ in range(random_.randrange(6))]
            events = sorted([*events, *more], key=lambda event: event[0])
        for count, level in events:
            cpu.run(count, resume=False)
            if level >= 0:
                cpu.set_irq(level)
            elif translator is not None and random_ is not None and random_.random() < 0.3:
                translator.forget()
        return self.digest()

    def digest(self) -> str:
        """Of registers, memory and what the device saw."""
        guest = self.guest
        digest = hashlib.sha256()
        saved = guest.cpu.save()
        digest.update(repr((saved, self.device.seen)).encode())
        digest.update(guest.ram.data)
        digest.update(guest.low.data)
        return digest.hexdigest()


def difference(seed: int, level: int = 0) -> str:
    """Empty when all tiers agree on the program of ``seed``, else what they differ in.

    ``level`` is LLVM's code generation level: most of the time goes there.
    """
    program = make_program(seed)
    plain = Run(program)
    expected = plain.execute()
    random_ = random.Random(seed)
    for name in ("translated", "mixed"):
        run = Run(program)
        mixed = name == "mixed"
        threshold = random_.choice([2, 5, 20]) if mixed else 2
        translator = Translator(run.guest.cpu, AtOnce(level), threshold=threshold, patience=1, batch=1)
        result = run.execute(random_ if mixed else None, translator)
        entered = sum(region.hits for region in translator.regions)
        translator.close()
        Totals.regions += translator.statistics["installed"]
        Totals.entered += entered
        if result != expected:
            return f"seed {seed}, {name}: {_describe(plain, run)}"
    return ""


class Totals:
    """What all runs of this process did."""

    regions = entered = 0


def _describe(plain: Run, other: Run) -> str:
    a, b = plain.guest.cpu.save(), other.guest.cpu.save()
    fields = [f"{name}: {a[name]} / {b[name]}" for name in a if a[name] != b[name]]
    if plain.guest.ram.data != other.guest.ram.data:
        fields.append("memory")
    if plain.device.seen != other.device.seen:
        fields.append(f"the device: {plain.device.seen[-5:]} / {other.device.seen[-5:]}")
    return "; ".join(fields)


def main(arguments: list[str] | None = None) -> int:
    """Run programs; 1 when any differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--level", type=int, default=0, help="LLVM's code generation level")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    failures = 0
    for seed in range(options.seed, options.seed + options.count):
        found = difference(seed, options.level)
        if found:
            failures += 1
            print(found, flush=True)
            if failures == 10:
                break
    seconds = time.monotonic() - started
    print(
        f"{options.count} programs from seed {options.seed}: {failures} differ; {Totals.regions} regions,"
        f" entered {Totals.entered} times; {seconds:.0f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
