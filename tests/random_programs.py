"""Random programs of many blocks: the interpreter alone and translated code must come to the same end.

``python -m tests.random_programs --count 10000 --seed 1`` runs programs with loops, calls, stores into
their own code, faults, device accesses, changes of mode and of the mapping, and interrupts at random
counts. Each is run by tier 0, then with translated code that is made early, taken out and put in at
random. Registers, memory, the count of instructions and what a device saw must be equal. With
``--unicorn`` programs of what both model alike go through Unicorn as well; see :mod:`tests.random_unicorn`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dbgemu.engine.translator.assembly import AssembleAtOnce
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
from tests.random_compiling import Remembering
from tests.random_source import Writer

CODE = RAM + 0x20000
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
    #: the end of all stacks: programs write into them, and so jump anywhere at times
    stacks: int = DATA + 0x2000
    #: the state before its first instruction, made when it is first run
    start: Start | None = None


@dataclass
class Start:
    """Memory and the CPU's state before the first instruction."""

    low: bytes
    ram: bytes
    cpu: dict[str, Any]


@dataclass
class End:
    """All that a program leaves behind."""

    cpu: dict[str, Any]
    #: what the device saw
    seen: list[tuple[int, int, int]]
    low: bytes
    ram: bytes


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


def make_program(seed: int, *, comparable: bool = False) -> Program:
    """The program of a seed; a ``comparable`` one does only what Unicorn models alike."""
    random_ = random.Random(seed)
    mode = random_.choice(MODES) if comparable else None
    writer = Writer(random_, mode)
    assembled = assemble_program(writer.program(), CODE)
    words = assemble("\n".join(writer.compute() for _ in range(32)))
    length = random_.choice([300, 1000, 3000, 8000])
    stops = sorted(
        (random_.randrange(1, length), random_.random() < 0.5) for _ in range(random_.randrange(8))
    )
    program = Program(
        assembled.data,
        assembled["t0"] | int(writer.thumb),
        random_.randbytes(0x4000),
        [int.from_bytes(words[place : place + 4], "little") for place in range(0, 4 * 32, 4)],
        [random_.getrandbits(random_.choice([4, 8, 32])) for _ in range(9)],
        random_.choice(MODES) | random_.choice([0, 0x80]) | random_.getrandbits(4) << 28,
        random_.random() < 0.5,
        [(count, int(level)) for count, level in stops],
        length,
    )
    if mode is not None:
        program.cpsr, program.mmu, program.stops = program.cpsr & ~0x1F | mode, False, []
        program.stacks = DATA + 0x14000  # where they do not write
    return program


class Bench:
    """A guest with the device: programs are run on it one after the other."""

    def __init__(self) -> None:
        self.device = Counter()
        guest = self.guest = self.device.guest = Guest((DEVICE, self.device))
        self._new = Start(bytes(guest.low.data), bytes(guest.ram.data), guest.cpu.save())

    def prepare(self, program: Program) -> None:
        """Have all be as ``program`` begins."""
        self._put(program.start or self._new)
        if program.start is None:
            self._load(program)
            guest = self.guest
            program.start = Start(bytes(guest.low.data), bytes(guest.ram.data), guest.cpu.save())

    def _put(self, start: Start) -> None:
        guest = self.guest
        guest.low.data[:], guest.ram.data[:] = start.low, start.ram
        guest.cpu.load(start.cpu)
        self.device.seen = []

    def _load(self, program: Program) -> None:
        guest = self.guest
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
            guest[f"r13_{mode}"] = program.stacks - 0x100 * (len(mode) + ord(mode[0]) % 7)
        for number, value in enumerate(program.registers):
            guest[f"r{number}"] = value
        guest["cpsr"] = program.cpsr
        for register, value in (("r9", DATA + 0x1000), ("r10", WORDS), ("r11", DEVICE), ("r12", CODE)):
            guest[register] = value
        guest["pc"] = CODE

    def execute(
        self, program: Program, random_: random.Random | None = None, translator: Translator | None = None
    ) -> End:
        """Run a program that was prepared to its end."""
        cpu = self.guest.cpu
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
        return self.end()

    def end(self) -> End:
        """The present state."""
        guest = self.guest
        return End(guest.cpu.save(), self.device.seen, bytes(guest.low.data), bytes(guest.ram.data))


class Tools:
    """What programs are run with, one after the other: with new ones, nothing is left of others."""

    def __init__(self, level: int = 0) -> None:
        self.bench, self.stencils, self.compiler = Bench(), StencilStores(), Remembering(level)

    def plain(self, program: Program) -> End:
        """The program's end in tier 0."""
        self.bench.prepare(program)
        return self.bench.execute(program)

    def compare(self, seed: int, program: Program) -> str:
        """Empty when all tiers end the program equally, else what they differ in."""
        expected = self.plain(program)
        random_ = random.Random(seed)
        self.compiler.forget()
        for name in ("compiled", "assembled", "mixed"):
            self.bench.prepare(program)
            mixed = name == "mixed"
            threshold = random_.choice([2, 5, 20]) if mixed else 2
            translator = Translator(
                self.bench.guest.cpu,
                self.compiler,
                threshold=threshold,
                again=threshold,
                patience=1,
                batch=1,
                assembler=None if name == "compiled" else AssembleAtOnce(self.stencils),
                look=0,
                promoted=random_.choice([0, 3, 50]) if mixed else 1 << 60,
            )
            end = self.bench.execute(program, random_ if mixed else None, translator)
            entered = sum(region.hits for region in translator.regions)
            translator.close()
            Totals.regions += translator.statistics["installed"]
            Totals.entered += entered
            if end != expected:
                return f"{name}: {_describe(expected, end)}"
        return ""


@cache
def _tools(level: int) -> Tools:
    return Tools(level)


def difference(seed: int, level: int = 0) -> str:
    """Empty when all tiers agree on the program of ``seed``, else what they differ in.

    ``level`` is LLVM's code generation level: most of the time goes there.
    """
    found = _tools(level).compare(seed, make_program(seed))
    if not found:
        return ""
    alone = Tools(level).compare(seed, make_program(seed))
    return f"seed {seed}, {found}" + ("" if alone else " (not when it is run alone)")


def trace_difference(seed: int, folder: Path, level: int = 0) -> str:
    """As :func:`difference`, of traces: empty when the file is the same, byte for byte, in both tiers."""
    program, tools = make_program(seed), _tools(level)
    bench, cpu = tools.bench, tools.bench.guest.cpu
    tools.compiler.forget()
    results = []
    for tier in ("interpreted", "compiled", "assembled"):
        bench.prepare(program)
        path = folder / f"{tier}.dbgtrace"
        sink = FileSink(path, Header(spec="tb_exec", kinds=("tb_exec",)))
        recorder = Recorder(cpu, VirtualClock(), sink)
        translator = None
        if tier != "interpreted":
            translator = Translator(
                cpu,
                tools.compiler,
                threshold=2,
                again=2,
                patience=1,
                batch=1,
                assembler=AssembleAtOnce(tools.stencils) if tier == "assembled" else None,
                promoted=1 << 60,
            )
        recorder.start(blocks=True, kinds=0)
        ended = bench.execute(program, None, translator)
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


def traces_differ(seed: int, level: int = 0) -> str:
    """:func:`trace_difference` in a folder of its own."""
    with TemporaryDirectory() as folder:
        return trace_difference(seed, Path(folder), level)


def unicorn_difference(seed: int, level: int = 0) -> str:
    """Empty when Unicorn and all tiers end a program of what they model alike equally."""
    # Unicorn takes time to import
    from tests.random_unicorn import foreign_difference

    program, tools = make_program(seed, comparable=True), _tools(level)
    end = tools.plain(program)
    found = foreign_difference(program, tools.bench.guest.cpu, end) or tools.compare(seed, program)
    return found and f"seed {seed}, {found}"


class Totals:
    """What all runs of this process did."""

    regions = entered = 0


def _describe(expected: End, other: End) -> str:
    a, b = expected.cpu, other.cpu
    fields = [f"{name}: {a[name]} / {b[name]}" for name in a if a[name] != b[name]]
    if (expected.low, expected.ram) != (other.low, other.ram):
        fields.append("memory")
    if expected.seen != other.seen:
        fields.append(f"the device: {expected.seen[-5:]} / {other.seen[-5:]}")
    return "; ".join(fields)


@dataclass
class Verdict:
    """What came of a seed."""

    seed: int
    found: str
    regions: int
    entered: int


def _judge(compare: Callable[[int, int], str], level: int, seed: int) -> Verdict:
    Totals.regions = Totals.entered = 0
    return Verdict(seed, compare(seed, level), Totals.regions, Totals.entered)


def judge_all(
    compare: Callable[[int, int], str], level: int, seeds: range, jobs: int = 1
) -> Iterator[Verdict]:
    """The verdicts of ``seeds``, in order, by ``jobs`` processes."""
    judge = partial(_judge, compare, level)
    if jobs == 1:
        yield from map(judge, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(judge, seeds, chunksize=8)


def main(arguments: list[str] | None = None) -> int:
    """Run programs; 1 when any differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of the first program; each next has the next")
    parser.add_argument("--level", type=int, default=0, help="LLVM's code generation level")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes the programs are spread over")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--traces", action="store_true", help="compare the traces of the tiers")
    kind.add_argument("--unicorn", action="store_true", help="compare with Unicorn, too")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    compare = traces_differ if options.traces else unicorn_difference if options.unicorn else difference
    again = f"--level {options.level}" * bool(options.level)
    again += " --traces" * options.traces + " --unicorn" * options.unicorn
    failures = regions = entered = done = 0
    seeds = range(options.seed, options.seed + options.count)
    for verdict in judge_all(compare, options.level, seeds, options.jobs):
        done += 1
        regions, entered = regions + verdict.regions, entered + verdict.entered
        if verdict.found:
            failures += 1
            print(verdict.found)
            command = f"python -m tests.random_programs --count 1 --seed {verdict.seed} {again}"
            print(f"    again: {' '.join(command.split())}", flush=True)
            if failures == 10:
                break
        if done % 500 == 0:
            print(f"{done} programs, {failures} differ", file=sys.stderr, flush=True)
    seconds = time.monotonic() - started
    print(
        f"{done} programs from seed {options.seed}: {failures} differ; {regions} regions,"
        f" entered {entered} times; {seconds:.0f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
