"""Random programs of many blocks: the interpreter alone and translated code must come to the same end.

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
from pathlib import Path
from tempfile import TemporaryDirectory

from dbgemu.engine.translator.assembly import AssembleAtOnce
from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.stencils import StencilStores
from dbgemu.engine.translator.translator import Translator
from dbgemu.target.arm.assembler import assemble, assemble_program
from dbgemu.target.arm.state import Mode
from dbgemu.target.clock import VirtualClock
from dbgemu.target.device import Device
from dbgemu.trace.format import Header
from dbgemu.trace.recorder import Recorder
from dbgemu.trace.sinks import FileSink
from tests.arm_programs import DATA, RAM, Guest, PageTables
from tests.random_source import Writer

CODE = RAM + 0x20000
_STENCILS = StencilStores()
#: what programs may store into their code
WORDS = DATA + 0x3000
DEVICE = 0x48000000
#: in the MMU's tables: not mapped, and for reading only
HOLE, READ_ONLY = RAM + 0x60000, RAM + 0x64000
MODES = (Mode.USR, Mode.SYS, Mode.SVC, Mode.IRQ, Mode.FIQ, Mode.ABT, Mode.UND)


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
mov pc, r12
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
    writer = Writer(random_)
    assembled = assemble_program(writer.program(), CODE)
    words = [int.from_bytes(assemble(writer.compute())[:4], "little") for _ in range(32)]
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
    for name in ("compiled", "assembled", "mixed"):
        run = Run(program)
        mixed = name == "mixed"
        threshold = random_.choice([2, 5, 20]) if mixed else 2
        translator = Translator(
            run.guest.cpu,
            AtOnce(level),
            threshold=threshold,
            again=threshold,
            patience=1,
            batch=1,
            assembler=None if name == "compiled" else AssembleAtOnce(_STENCILS),
            look=0,
            promoted=random_.choice([0, 3, 50]) if mixed else 1 << 60,
        )
        result = run.execute(random_ if mixed else None, translator)
        entered = sum(region.hits for region in translator.regions)
        translator.close()
        Totals.regions += translator.statistics["installed"]
        Totals.entered += entered
        if result != expected:
            return f"seed {seed}, {name}: {_describe(plain, run)}"
    return ""


def trace_difference(seed: int, folder: Path, level: int = 0) -> str:
    """As :func:`difference`, of traces: empty when the file is the same, byte for byte, in both tiers."""
    program = make_program(seed)
    results = []
    for tier in ("interpreted", "compiled", "assembled"):
        run, path = Run(program), folder / f"{tier}.dbgtrace"
        sink = FileSink(path, Header(spec="tb_exec", kinds=("tb_exec",)))
        recorder = Recorder(run.guest.cpu, VirtualClock(), sink)
        translator = None
        if tier != "interpreted":
            translator = Translator(
                run.guest.cpu,
                AtOnce(level),
                threshold=2,
                again=2,
                patience=1,
                batch=1,
                assembler=AssembleAtOnce(_STENCILS) if tier == "assembled" else None,
                promoted=1 << 60,
            )
        recorder.start(blocks=True, kinds=0)
        ended = run.execute(None, translator)
        recorder.stop()
        sink.close()
        if translator is not None:
            Totals.entered += sum(region.hits for region in translator.regions)
            Totals.regions += translator.statistics["installed"]
            translator.close()
        results.append((path.read_bytes(), ended))
    plain = results[0]
    for tier, other in zip(("compiled", "assembled"), results[1:], strict=True):
        if plain != other:
            return f"seed {seed}, {tier}: {'its trace' if plain[0] != other[0] else 'its end'} differs"
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
    parser.add_argument("--traces", action="store_true", help="compare the traces of the tiers")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    failures = 0
    with TemporaryDirectory() as folder:
        for seed in range(options.seed, options.seed + options.count):
            if options.traces:
                found = trace_difference(seed, Path(folder), options.level)
            else:
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
