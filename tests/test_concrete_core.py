"""The semantics in plain Python do what the interpreter that is compiled from them does."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from dbgemu.target.arm.assembler import assemble
from dbgemu.target.arm.concrete import EXTERNAL_ABORT, ConcreteCore, ExternalAbortError, PhysicalMemory
from dbgemu.target.arm.cp15 import CONTROL_ALIGNMENT, CONTROL_MMU, CONTROL_READ_AS_ONE
from dbgemu.target.arm.state import ARCHITECTURAL_FIELDS, BANK_OF_MODE, EXIT_IDLE, CpuState, F, I, Mode, T
from tests.random_instructions import Ours
from tests.random_words import DATA, RAM_BASE, RAM_SIZE, SLOTS, Case, make_case

#: fields of the architecture that one instruction may change
FIELDS = (*ARCHITECTURAL_FIELDS, "interrupts")


def ram_of(data: bytearray) -> PhysicalMemory:
    """RAM where the engine's is; reads elsewhere give 0 and writes are lost, as on its bus."""

    def read(address: int, size: int) -> int:
        offset = address - RAM_BASE
        return int.from_bytes(data[offset : offset + size], "little") if 0 <= offset < RAM_SIZE else 0

    def write(address: int, size: int, value: int) -> None:
        offset = address - RAM_BASE
        if 0 <= offset < RAM_SIZE:
            data[offset : offset + size] = value.to_bytes(size, "little")

    return PhysicalMemory(read, write)


@dataclass
class Pair:
    """The engine and a concrete core, whose state and memory are made equal before each instruction."""

    ours: Ours
    core: ConcreteCore
    data: bytearray

    def equalize(self) -> None:
        """Copy the engine's state and memory."""
        for name in FIELDS:
            setattr(self.core.state, name, getattr(self.ours.cpu.state, name))
        self.core.state.r[:] = self.ours.cpu.state.r[:]
        self.data[:] = self.ours.ram.data

    def step(self) -> None:
        """One instruction on both."""
        self.ours.cpu.run(self.ours.cpu.instructions + 1, resume=False)
        self.core.step()

    def difference(self) -> str:
        """What is not equal now, or nothing."""
        ours, concrete = self.ours.cpu.state, self.core.state
        for name in FIELDS:
            a, b = getattr(ours, name), getattr(concrete, name)
            if name in ("n", "v"):
                a, b = a >> 31, b >> 31
            elif name == "z":
                a, b = a == 0, b == 0
            if name == "r8_r12":
                a, b = [list(row) for row in a], [list(row) for row in b]
            elif name in ("r13", "r14", "spsr"):
                a, b = list(a), list(b)
            if a != b:
                return f"{name}: the interpreter has {a}, plain Python {b}"
        if ours.r[:15] != concrete.r[:15]:
            return f"registers: the interpreter has {ours.r[:15]}, plain Python {concrete.r[:15]}"
        return "memory" if self.data != self.ours.ram.data else ""


@pytest.fixture
def pair() -> Pair:
    data = bytearray(RAM_SIZE)
    return Pair(Ours(), ConcreteCore(CpuState(), ram_of(data)), data)


def put(pair: Pair, case: Case) -> None:
    word = case.word | case.following << 16
    pair.ours.put(case.address, word.to_bytes(4, "little"))
    pair.ours.load(case)


def test_random_instructions_do_the_same_in_plain_python_and_in_the_interpreter(pair: Pair) -> None:
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    pair.ours.ram.data[:] = rng.randbytes(RAM_SIZE)
    for _ in range(3000):
        case = make_case(rng)
        if not case.thumb and rng.getrandbits(3) == 0:
            case.word = rng.getrandbits(32)  # anything at all: unpredictable forms, ARMv5's, MCR
        pair.ours.cpu.write_register("sctlr", rng.choice((0, CONTROL_ALIGNMENT)))
        put(pair, case)
        pair.equalize()
        for _ in range(case.steps):
            pair.step()
            assert pair.difference() == "", f"seed {seed}: {case}"


def mapped_pair(pair: Pair, rng: random.Random) -> None:
    """Random page tables at the start of RAM: sections everywhere, of every kind, with random rights."""
    ram = pair.ours.ram
    for offset in range(0, RAM_SIZE, 4):
        ram.write(offset, 4, rng.getrandbits(32))
    for index in range(4096):
        physical = RAM_BASE | rng.getrandbits(14) << 10 & RAM_SIZE - 1
        kind = rng.choice((0, 1, 2, 2, 2, 3))
        base = RAM_BASE & 0xFFF00000 if kind == 2 else physical & (~0xFFF if kind == 3 else ~0x3FF)
        ram.write(4 * index, 4, base | rng.getrandbits(7) << 5 | kind)
    for offset in range(0x4000, RAM_SIZE, 4):
        if rng.getrandbits(1):
            physical = RAM_BASE | rng.getrandbits(6) << 10
            ram.write(offset, 4, physical & ~0x3FF | rng.getrandbits(10))


def test_random_accesses_through_random_page_tables_do_the_same(pair: Pair) -> None:
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    cpu = pair.ours.cpu
    faults = 0
    for _ in range(12):
        cpu.write_register("sctlr", 0)
        mapped_pair(pair, rng)
        # the code is reached through a section that nothing changes
        pair.ours.ram.write((SLOTS >> 20) * 4, 4, RAM_BASE & 0xFFF00000 | 0xC02)
        for _ in range(60):
            case = make_case(rng)
            case.address = SLOTS + 16 * rng.randrange(256)
            if case.kind in ("load_store", "load_store_half", "block", "swap"):
                rn = case.word >> 16 & 15
                if rn < 15:
                    case.r[rn] = rng.getrandbits(32) & ~3
            put(pair, case)
            cpu.write_register("ttbr", RAM_BASE)
            cpu.write_register("dacr", rng.getrandbits(32) | 3)
            cpu.write_register("fcseidr", rng.choice((0, 0, 0x02000000)))
            cpu.write_register("sctlr", CONTROL_MMU | rng.getrandbits(2) << 8)
            pair.equalize()
            for _ in range(case.steps):
                pair.step()
                faults += cpu.read_register("cpsr") & 0x1F == Mode.ABT
                assert pair.difference() == "", f"seed {seed}: {case}"
    assert faults > 50, f"seed {seed}: hardly anything faulted"


def concrete(source: str, *, data: bytearray | None = None, thumb: bool = False) -> ConcreteCore:
    """A core with ``source`` at SLOTS."""
    data = data if data is not None else bytearray(RAM_SIZE)
    code = assemble(source, SLOTS, thumb=thumb)
    data[SLOTS - RAM_BASE : SLOTS - RAM_BASE + len(code)] = code
    core = ConcreteCore(CpuState(), ram_of(data))
    core.state.cp15_control = CONTROL_READ_AS_ONE
    core.state.control = Mode.SVC | I | F | (T if thumb else 0)
    core.state.z = 1
    core.state.pc = SLOTS
    return core


def test_an_instruction_can_be_executed_without_being_in_memory() -> None:
    core = concrete("nop")
    core.execute(0xE3A0002A, 0x1234)  # mov r0, #42
    assert core.state.r[0] == 42
    assert core.state.pc == 0x1238


def test_an_instruction_whose_condition_fails_only_passes() -> None:
    core = concrete("moveq r0, #1; movne r0, #2")
    core.step()
    core.step()
    assert core.state.r[0] == 2
    assert core.state.pc == SLOTS + 8


def test_a_pending_interrupt_is_taken_before_the_next_instruction() -> None:
    core = concrete("nop")
    core.state.control = Mode.SVC
    core.state.interrupt_lines = I
    core.memory = PhysicalMemory(lambda address, size: 0xE1A00000, core.memory.write)
    core.step()
    assert core.state.control == Mode.IRQ | I
    assert core.state.r[14] == SLOTS + 4
    assert core.state.pc == 0x1C, "the vector's first instruction is executed"


def test_memory_that_refuses_an_access_gives_an_external_abort() -> None:
    core = concrete("ldr r0, [r1], #4")
    code = core.memory

    def read(address: int, size: int) -> int:
        if address == DATA:
            raise ExternalAbortError
        return code.read(address, size)

    core.memory = PhysicalMemory(read, code.write)
    core.state.r[1] = DATA
    core.step()
    state = core.state
    assert (state.dfsr, state.far, state.pc) == (EXTERNAL_ABORT, DATA, 0x10)
    assert (state.control & 0x1F, state.r[14], state.r[1]) == (Mode.ABT, SLOTS + 8, DATA)
    assert state.spsr[BANK_OF_MODE[Mode.ABT & 15]] == Mode.SVC | I | F | 1 << 30 * (state.z == 0)


def test_code_that_memory_refuses_gives_a_prefetch_abort() -> None:
    def refuse(address: int, size: int) -> int:
        raise ExternalAbortError

    core = concrete("nop")
    core.memory = PhysicalMemory(refuse, core.memory.write)
    core.step()
    assert (core.state.pc, core.state.r[14], core.state.ifsr) == (0x0C, SLOTS + 4, EXTERNAL_ABORT)


def test_waiting_for_an_interrupt_is_requested_as_generated_code_does() -> None:
    core = concrete("mcr p15, 0, r0, c7, c0, 4")
    core.step()
    assert core.state.exit_request[EXIT_IDLE] == 1


def test_any_other_exception_of_a_memory_reaches_the_caller() -> None:
    def fail(address: int, size: int) -> int:
        raise LookupError(f"not captured: {address:#x}")

    core = concrete("nop")
    core.memory = PhysicalMemory(fail, core.memory.write)
    with pytest.raises(LookupError, match="not captured: 0x30008000"):
        core.step()
