"""Random instructions on this engine and on Unicorn's ARM926: the same state must come out.

``python -m tests.random_instructions --count 1000000 --seed 1`` runs single instructions, each from a
random state, on both and compares registers, flags, status registers and memory. Words come from
:mod:`tests.random_words`; what the two cores are known to do differently, and why, is in
docs/arm920t.md: :class:`Judge` adjusts Unicorn's result for exactly that.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import unicorn
from unicorn import arm_const
from unicorn.unicorn_py3.unicorn import uclib

from dbgemu.engine.cpu import Cpu
from dbgemu.target.arm.state import BANK_OF_MODE, I, Mode, T
from dbgemu.target.bus import Bus
from dbgemu.target.memory import Memory
from tests.random_words import RAM_BASE, RAM_SIZE, SLOT_COUNT, SLOTS, Case, make_case

PSR_MASK = 0xF00000FF  # what an ARMv4T status register has
MODES = (Mode.USR, Mode.FIQ, Mode.IRQ, Mode.SVC, Mode.ABT, Mode.UND, Mode.SYS)

_BRANCH_TO_SELF, _THUMB_BRANCH_TO_SELF = 0xEAFFFFFE, 0xE7FE


@dataclass
class Outcome:
    """The state after an instruction: r0 to r14, the next pc, CPSR, SPSR."""

    r: list[int]
    pc: int
    cpsr: int
    spsr: int
    #: what ended it: "" or an exception's name
    exception: str = ""


class Ours:
    """The engine under test, with RAM only."""

    def __init__(self) -> None:
        bus = Bus()
        self.ram = Memory("ram", RAM_SIZE)
        bus.map(RAM_BASE, self.ram)
        self.cpu = Cpu(bus)

    def put(self, address: int, code: bytes) -> None:
        """Write code."""
        offset = address - RAM_BASE
        self.ram.data[offset : offset + len(code)] = code

    def load(self, case: Case) -> None:
        """Make the state that ``case`` starts from."""
        cpu, state = self.cpu, self.cpu.state
        cpu.cpsr = case.cpsr
        state.r[:15] = case.r
        state.spsr[BANK_OF_MODE[state.control & 15]] = case.spsr
        state.pc = case.address

    def run(self, case: Case) -> Outcome:
        """Execute the case."""
        self.load(case)
        self.cpu.run(self.cpu.instructions + case.steps, resume=False)
        return self.outcome()

    def outcome(self) -> Outcome:
        """The present state."""
        state = self.cpu.state
        spsr = state.spsr[BANK_OF_MODE[state.control & 15]]
        return Outcome(state.r[:15], state.pc, self.cpu.cpsr, spsr)

    def banks(self) -> list[int]:
        """Every banked register that is comparable: not the SPSR that User and System lack."""
        read = self.cpu.read_register
        names = [f"r{n}_{mode}" for mode in ("usr", "fiq") for n in range(8, 15)]
        names += [f"{name}_{mode}" for mode in ("irq", "svc", "abt", "und") for name in ("r13", "r14")]
        return [read(name) for name in names]


class Theirs:
    """Unicorn's ARM926: ARMv5TEJ, no MMU in use."""

    _STOPPED: dict[int, str] = {
        unicorn.UC_ERR_OK: "",
        unicorn.UC_ERR_FETCH_UNMAPPED: "",  # a jump to where no memory is: the instruction is done
        unicorn.UC_ERR_EXCEPTION: "swi",
        unicorn.UC_ERR_INSN_INVALID: "undefined",
        unicorn.UC_ERR_READ_UNMAPPED: "outside",
        unicorn.UC_ERR_WRITE_UNMAPPED: "outside",
    }

    def __init__(self) -> None:
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_ARM)
        self.uc.ctl_set_cpu_model(arm_const.UC_CPU_ARM_926)
        self.map = mmap.mmap(-1, RAM_SIZE)
        self.ram = memoryview(self.map)
        self.ram_address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.uc.mem_map_ptr(RAM_BASE, RAM_SIZE, unicorn.UC_PROT_ALL, self.ram_address)
        #: accesses of the last instruction: (write, address, size, the word or words there before)
        self.accesses: list[tuple[bool, int, int, bytes]] = []
        self.uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, self._accessed)
        names = ["CPSR", *(f"R{n}" for n in range(13)), "SP", "LR", "SPSR", "PC"]
        self._values = (ctypes.c_uint32 * len(names))()
        self._registers = (ctypes.c_int * len(names))(
            *(getattr(arm_const, f"UC_ARM_REG_{name}") for name in names)
        )
        start, size = ctypes.addressof(self._values), ctypes.sizeof(ctypes.c_uint32)
        self._pointers = (ctypes.c_void_p * len(names))(*(start + size * k for k in range(len(names))))

    def _accessed(self, uc: object, kind: int, address: int, size: int, value: int, user: object) -> None:
        first = (address & ~3) - RAM_BASE
        before = bytes(self.ram[first : first + 8]) if 0 <= first < RAM_SIZE else bytes(8)
        self.accesses.append((kind == unicorn.UC_MEM_WRITE, address, size, before))

    def put(self, address: int, code: bytes) -> None:
        """Write code, and have what was translated there forgotten: a jump's target, say."""
        self.uc.mem_write(address, code)
        self.uc.ctl_remove_cache(address, address + 4)

    def run(self, case: Case) -> Outcome:
        """Execute the case."""
        handle = self.uc._uch
        self._values[:17] = [case.cpsr, *case.r, case.spsr]
        uclib.uc_reg_write_batch(handle, self._registers, self._pointers, 17)
        self.accesses.clear()
        start = case.address | (1 if case.thumb else 0)
        status = uclib.uc_emu_start(handle, start, 0xFFFFFFFF, 0, 1)
        uclib.uc_reg_read_batch(handle, self._registers, self._pointers, 18)
        cpsr, *r, spsr, pc = self._values
        return Outcome(r, pc, cpsr, spsr, self._STOPPED.get(status) or self._name(status))

    def write_register(self, number: int, value: int) -> None:
        """Write r0 to r14 of the present mode."""
        self.uc.reg_write(self._registers[1 + number], value)

    def enter(self, case: Case, vector: int, mode: Mode) -> Outcome:
        """The state after SWI or an undefined instruction, from the manual (ARM ARM A2.6.4, A2.6.5).

        Unicorn leaves exceptions to its user; the banked registers still are its own.
        """
        handle = self.uc._uch
        cpsr = case.cpsr & ~(T | 0x1F) | I | mode
        self._values[:17] = [cpsr, *([0] * 16)]
        uclib.uc_reg_write_batch(handle, self._registers, self._pointers, 1)
        uclib.uc_reg_read_batch(handle, self._registers, self._pointers, 17)
        self._values[15] = case.address + (2 if case.thumb else 4)
        self._values[16] = case.cpsr
        uclib.uc_reg_write_batch(handle, self._registers, self._pointers, 17)
        r = list(self._values[1:16])
        return Outcome(r, vector, cpsr, case.cpsr)

    def _name(self, status: int) -> str:
        return "" if status in self._STOPPED else f"error {status}"

    def banks(self) -> list[int]:
        """As :meth:`Ours.banks`; leaves System mode active."""
        found: list[int] = []
        uc = self.uc
        for mode in (Mode.SYS, Mode.FIQ):
            uc.reg_write(arm_const.UC_ARM_REG_CPSR, 0xC0 | mode)
            names = ("R8", "R9", "R10", "R11", "R12", "SP", "LR")
            found += [uc.reg_read(getattr(arm_const, f"UC_ARM_REG_{name}")) for name in names]
        for mode in (Mode.IRQ, Mode.SVC, Mode.ABT, Mode.UND):
            uc.reg_write(arm_const.UC_ARM_REG_CPSR, 0xC0 | mode)
            found += [
                uc.reg_read(register) for register in (arm_const.UC_ARM_REG_SP, arm_const.UC_ARM_REG_LR)
            ]
        return found


class Judge:
    """Runs cases on both and says what differs."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.ours, self.theirs = Ours(), Theirs()
        content = self.rng.randbytes(RAM_SIZE)
        self.ours.ram.data[:] = content
        self.theirs.ram[:] = content
        self.memcmp = ctypes.CDLL(None).memcmp
        self.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        self._slot = 0
        #: differences that did not come again
        self.repeated: list[str] = []
        self._equalize()

    def _equalize(self) -> None:
        """Give both the same memory and banked registers."""
        self.theirs.ram[:] = self.ours.ram.data
        for mode in MODES:
            r = [self.rng.getrandbits(32) for _ in range(15)]
            case = Case("", 0, False, SLOTS, r, 0xC0 | mode, Mode.SVC)
            self.theirs._values[:17] = [case.cpsr, *case.r, case.spsr]
            theirs = self.theirs
            uclib.uc_reg_write_batch(theirs.uc._uch, theirs._registers, theirs._pointers, 17)
            self.ours.load(case)

    def judge(self, case: Case) -> str | None:
        """None when both agree, "outside" when memory was missed, else what differs.

        About once in a million Unicorn runs on behind a jump, into what happens to be at its target.
        So what differs is tried again, with a branch to itself there.
        """
        self._next_slot(case)
        r = list(case.r)
        verdict = self._judge_once(case)
        if verdict in (None, "outside"):
            return verdict
        self.repeated.append(f"{case}: {verdict}")
        if RAM_BASE <= self._reached.pc < RAM_BASE + RAM_SIZE:
            thumb = self._reached.cpsr & T
            stay = _THUMB_BRANCH_TO_SELF if thumb else _BRANCH_TO_SELF
            for side in (self.ours, self.theirs):
                side.put(self._reached.pc, stay.to_bytes(2 if thumb else 4, "little"))
        self.theirs.uc.ctl_flush_tb()
        self.ours.cpu.flush_tlbs()
        case.r = r
        return self._judge_once(case)

    def _judge_once(self, case: Case) -> str | None:
        if case.thumb:
            code = struct.pack("<HH", case.word, case.following or _THUMB_BRANCH_TO_SELF)
        else:
            code = struct.pack("<II", case.word, _BRANCH_TO_SELF)
        self.ours.put(case.address, code)
        self.theirs.put(case.address, code)
        theirs = self.theirs.run(case)
        if theirs.exception == "outside":
            # part of a block may have been transferred
            self._equalize()
            return "outside"
        ours = self._reached = self.ours.run(case)
        if theirs.exception == "undefined":
            theirs = self.theirs.enter(case, 0x04, Mode.UND)
        elif theirs.exception == "swi":
            theirs = self.theirs.enter(case, 0x08, Mode.SVC)
        else:
            self._adjust(case, theirs)
        text = self._differences(case, ours, theirs)
        if text:
            self._equalize()
        return text

    def _next_slot(self, case: Case) -> None:
        """Put each case where no other was since Unicorn forgot what it had translated."""
        self._slot = (self._slot + 1) % SLOT_COUNT
        if not self._slot:
            self.theirs.uc.ctl_flush_tb()
        case.address = SLOTS + 16 * self._slot + (case.address & 2)

    def _differences(self, case: Case, ours: Outcome, theirs: Outcome) -> str | None:
        bad = [
            f"{name} is 0x{a:08x}, expected 0x{b:08x}"
            for name, a, b in (
                *((f"r{n}", a, b) for n, (a, b) in enumerate(zip(ours.r, theirs.r, strict=True)) if a != b),
                ("pc", ours.pc, theirs.pc),
                ("cpsr", ours.cpsr, theirs.cpsr & PSR_MASK),
            )
            if a != b
        ]
        mode = ours.cpsr & 0x1F
        if mode not in (Mode.USR, Mode.SYS) and ours.spsr != theirs.spsr & PSR_MASK:
            bad.append(f"spsr is 0x{ours.spsr:08x}, expected 0x{theirs.spsr & PSR_MASK:08x}")
        if theirs.exception:
            bad.append(f"Unicorn: {theirs.exception}")
        if self.memcmp(self.ours.ram.address, self.theirs.ram_address, RAM_SIZE):
            bad += self._memory_differences()
        return "; ".join(bad) or None

    def _memory_differences(self) -> list[str]:
        a, b = bytes(self.ours.ram.data), bytes(self.theirs.ram)
        places = [k for k in range(0, RAM_SIZE, 4) if a[k : k + 4] != b[k : k + 4]]
        return [
            f"[0x{RAM_BASE + k:08x}] is 0x{struct.unpack_from('<I', a, k)[0]:08x}, "
            f"expected 0x{struct.unpack_from('<I', b, k)[0]:08x}"
            for k in places[:4]
        ]

    # -- known differences: docs/arm920t.md has a line for each --------------------------------

    def _adjust(self, case: Case, theirs: Outcome) -> None:
        if not self.theirs.accesses:
            return
        if case.thumb:
            self._adjust_unaligned(
                case, theirs, case.word & 7 if case.word >> 12 != 9 else case.word >> 8 & 7
            )
            if case.word & 0xFF00 == 0xBD00:  # POP {pc}
                theirs.cpsr |= T
            return
        word = case.word
        rd = word >> 12 & 15
        block = word & 0x0E000000 == 0x08000000
        if not block:
            self._adjust_unaligned(case, theirs, rd)
        load = word & 1 << 20
        half_or_swap = not word & 0x0C000000
        to_pc = word & 1 << 15 if block else rd == 15 and not half_or_swap
        if to_pc and load and not (block and word & 1 << 22):
            self._no_interworking(theirs)
        elif to_pc and not load:
            self._store_pc_plus_12()

    def _adjust_unaligned(self, case: Case, theirs: Outcome, rd: int) -> None:
        """Unaligned accesses: Unicorn does them, an ARM920T ignores the low bits and rotates words."""
        for write, address, size, before in self.theirs.accesses:
            low = address & (size - 1)
            if not low:
                continue
            if write:
                place = (address & ~3) - RAM_BASE
                done = self.theirs.ram[address - RAM_BASE : address - RAM_BASE + size].tobytes()
                aligned = address - low - RAM_BASE
                self.theirs.ram[place : place + 8] = before
                self.theirs.ram[aligned : aligned + size] = done
                continue
            aligned = (address & ~3 ^ (address - low)) & 3
            value = int.from_bytes(before[aligned : aligned + size], "little")
            if size == 4:
                value = (value >> 8 * low | value << 32 - 8 * low) & 0xFFFFFFFF
            elif (not case.thumb and case.word & 0x40) or (case.thumb and case.word >> 9 == 0b0101111):
                value = value - (1 << 16) & 0xFFFFFFFF if value >> 15 else value
            if rd == 15:
                theirs.pc = value
                theirs.cpsr &= ~T
            else:
                theirs.r[rd] = value
                self.theirs.write_register(rd, value)

    def _no_interworking(self, theirs: Outcome) -> None:
        """LDR and LDM of the pc change to Thumb from ARMv5 on only."""
        theirs.pc &= ~3
        theirs.cpsr &= ~T

    def _store_pc_plus_12(self) -> None:
        """STR and STM of the pc: 12 ahead on an ARM9TDMI, Unicorn's is 8 ahead."""
        _, address, size, _ = self.theirs.accesses[-1]
        address = (address & -size) - RAM_BASE
        value = int.from_bytes(self.theirs.ram[address : address + size], "little") + 4
        self.theirs.ram[address : address + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")


@dataclass
class Report:
    """What a run found."""

    seed: int
    compared: Counter[str] = field(default_factory=Counter)
    outside: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        compared, outside = self.compared.total(), self.outside.total()
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(self.compared.items()))
        return (
            f"seed {self.seed}: {compared} instructions compared ({outside} more missed memory), "
            f"{len(self.failures)} differences, {len(self.repeated)} that did not come again\n{kinds}"
        )


def run(
    count: int, seed: int, *, stop_after: int = 20, progress: Callable[[int], None] = lambda done: None
) -> Report:
    """Run ``count`` random instructions; stops after ``stop_after`` differences."""
    judge, report = Judge(seed), Report(seed)
    report.repeated = judge.repeated
    rng = judge.rng
    for done in range(count):
        case = make_case(rng)
        verdict = judge.judge(case)
        if verdict == "outside":
            report.outside[case.kind] += 1
            continue
        report.compared[case.kind] += 1
        if verdict is not None:
            report.failures.append(f"{case}: {verdict}")
            judge.repeated.pop()
            if len(report.failures) >= stop_after:
                break
        if done % 10_000 == 0:
            progress(done)
            if judge.ours.banks() != judge.theirs.banks():
                report.failures.append(f"banked registers differ after {done} instructions")
    return report


def main() -> int:
    """The command line; the exit status is 1 when a difference was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="instructions to run")
    parser.add_argument("--seed", type=int, default=None, help="a run is repeated with its seed")
    parser.add_argument("--stop-after", type=int, default=20, help="differences to stop at")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    started = time.monotonic()
    report = run(arguments.count, seed, stop_after=arguments.stop_after)
    for line in report.failures:
        print(line)
    for line in report.repeated:
        print("not again:", line)
    print(report)
    print(f"{time.monotonic() - started:.0f} s")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
