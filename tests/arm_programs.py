"""A CPU with RAM for small guest programs: loaded, stepped and looked at by tests of the core."""

from __future__ import annotations

from functools import cache

from dbgemu.engine.cpu import Cpu
from dbgemu.engine.native import NativeCode, load_interpreter
from dbgemu.target.arm.assembler import Program, assemble_program
from dbgemu.target.arm.state import F, I, Mode, StopCode, T
from dbgemu.target.bus import Bus
from dbgemu.target.device import Device
from dbgemu.target.memory import Memory

#: RAM at 0, for the vectors, and RAM at 0x30000000
LOW_SIZE, RAM, RAM_SIZE = 0x10000, 0x30000000, 0x200000
CODE = RAM + 0x8000
TABLES = RAM + 0x10000
DATA = RAM + 0x40000

SVC_MASKED = Mode.SVC | I | F
#: each vector's handler stays where it is, so that a test can look at what was entered
STAY = "b ."


@cache
def interpreter() -> NativeCode:
    """The interpreter, loaded once for all tests."""
    return load_interpreter()


class Guest:
    """A CPU whose memory is RAM at 0 and at ``RAM``. Every vector holds a branch to itself."""

    def __init__(self, *devices: tuple[int, Device]) -> None:
        self.bus = Bus()
        self.low, self.ram = Memory("low", LOW_SIZE), Memory("ram", RAM_SIZE)
        self.bus.map(0, self.low)
        self.bus.map(RAM, self.ram)
        for base, device in devices:
            self.bus.map(base, device)
        self.cpu = Cpu(self.bus, interpreter())
        self.load("; ".join([STAY] * 8), 0)
        self.done = 0

    def load(self, source: str, base: int = CODE, *, thumb: bool = False) -> Program:
        """Assemble ``source`` into physical memory."""
        program = assemble_program(source, base, thumb=thumb)
        self.bus.poke(base, program.data)
        return program

    def start(
        self, source: str, *, cpsr: int = SVC_MASKED, thumb: bool = False, base: int = CODE, **registers: int
    ) -> Program:
        """Load ``source``, followed by ``done: b done``, and point the CPU to it."""
        program = self.load(f"{source}\ndone: b done\n", base, thumb=thumb)
        self.done = program["done"]
        self["cpsr"] = cpsr | (T if thumb else 0)
        self["pc"] = base
        for name, value in registers.items():
            self[name] = value
        return program

    def vector(self, offset: int, handler: int) -> None:
        """Let the low vector at ``offset`` go on at ``handler``."""
        self.load("ldr pc, [pc, #0x18]", offset)
        self.put(offset + 0x20, handler)

    def step(self, count: int = 1) -> StopCode:
        """Execute ``count`` instructions."""
        return self.cpu.run(self.cpu.instructions + count)

    def run(self, limit: int = 20_000) -> None:
        """Execute until ``done``; AssertionError when that is not reached."""
        self.step(limit)
        assert self["pc"] == self.done, f"the program is at {self['pc']:#x}, cpsr {self['cpsr']:#x}"

    def __getitem__(self, name: str) -> int:
        return self.cpu.read_register(name)

    def __setitem__(self, name: str, value: int) -> None:
        self.cpu.write_register(name, value)

    @property
    def mode(self) -> int:
        """CPSR bits 4..0."""
        return self["cpsr"] & 0x1F

    def word(self, address: int) -> int:
        """A word of physical memory."""
        return int.from_bytes(self.bus.peek(address, 4), "little")

    def put(self, address: int, *words: int) -> None:
        """Write words to physical memory."""
        self.bus.poke(address, b"".join(word.to_bytes(4, "little") for word in words))


NO_ACCESS, CLIENT, MANAGER = 0, 1, 3
_COARSE_SIZE, _FINE_SIZE = 0x400, 0x1000


class PageTables:
    """Translation tables in a guest's memory, written by the test. Rights are AP values, 0 to 3."""

    def __init__(self, guest: Guest, base: int = TABLES) -> None:
        self.guest = guest
        self.base = base
        self._next = base + 0x4000
        #: section number -> second-level table's address
        self.second: dict[int, int] = {}
        guest["ttbr"] = base

    def section(self, va: int, pa: int, ap: int = 3, *, domain: int = 0) -> None:
        """1 MiB."""
        self.guest.put(self.base + (va >> 20) * 4, pa & 0xFFF00000 | ap << 10 | domain << 5 | 0x12)

    def table(self, va: int, *, fine: bool = False, domain: int = 0) -> int:
        """The coarse or fine table for the MiB of ``va``, made when there is none."""
        number = va >> 20
        if number not in self.second:
            self._next = -(-self._next // _FINE_SIZE) * _FINE_SIZE
            self.second[number] = self._next
            self._next += _FINE_SIZE if fine else _COARSE_SIZE
            self.guest.put(
                self.base + number * 4, self.second[number] | domain << 5 | 0x10 | (3 if fine else 1)
            )
        return self.second[number]

    def small(self, va: int, pa: int, *aps: int, fine: bool = False, domain: int = 0) -> None:
        """4 KiB, with one right or four, of its subpages upwards."""
        table = self.table(va, fine=fine, domain=domain)
        descriptor = pa & 0xFFFFF000 | _subpages(aps) | 2
        if fine:
            self.guest.put(table + (va >> 12 & 0xFF) * 16, *[descriptor] * 4)
        else:
            self.guest.put(table + (va >> 12 & 0xFF) * 4, descriptor)

    def large(self, va: int, pa: int, *aps: int, fine: bool = False, domain: int = 0) -> None:
        """64 KiB."""
        table = self.table(va, fine=fine, domain=domain)
        descriptor = pa & 0xFFFF0000 | _subpages(aps) | 1
        each = 64 if fine else 16
        self.guest.put(table + (va >> 16 & 0xF) * each * 4, *[descriptor] * each)

    def tiny(self, va: int, pa: int, ap: int = 3, *, domain: int = 0) -> None:
        """1 KiB, in a fine table."""
        table = self.table(va, fine=True, domain=domain)
        self.guest.put(table + (va >> 10 & 0x3FF) * 4, pa & 0xFFFFFC00 | ap << 4 | 3)

    def enable(self, *, dacr: int = CLIENT, control: int = 0) -> None:
        """Switch the MMU on; code, tables and vectors stay where they are."""
        self.section(0, 0)
        self.section(RAM, RAM)
        self.guest["dacr"] = dacr
        self.guest["sctlr"] = 1 | control


def _subpages(aps: tuple[int, ...]) -> int:
    rights = aps * 4 if len(aps) == 1 else aps
    return sum(ap << 4 + 2 * k for k, ap in enumerate(rights or (3,) * 4))
