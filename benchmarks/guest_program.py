"""Guest programs for the benchmarks, and running them on dbgemu, QEMU and Unicorn alike.

A program is an ELF file for RAM at address 0 that calls its host by semihosting (Arm, "Semihosting for
AArch32 and AArch64"): it writes lines of text, then exits. A run gives the host's time between
those lines, so that no start-up is in it.
"""

from __future__ import annotations

import os
import selectors
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import BenchmarkError
from dbgemu.engine.cpu import Cpu
from dbgemu.engine.native import NativeCode
from dbgemu.machine import Machine, StopReason
from dbgemu.target.arm.state import StopCode
from dbgemu.target.boot import plan_boot
from dbgemu.target.bus import Bus
from dbgemu.target.images import parse_image
from dbgemu.target.memory import Memory
from dbgemu.target.mini2440 import BootSwitch, Mini2440

SOURCES = Path(__file__).parent / "program"
COMPILER = "arm-none-eabi-gcc"
QEMU = "qemu-system-arm"
RAM_SIZE = 16 << 20

SYS_WRITE0, SYS_EXIT = 0x04, 0x18
_SWI_VECTOR = 0x08
#: a program that executes more than this has gone astray
_MOST_INSTRUCTIONS = 50_000_000_000
_LONGEST = 300.0
_PIECE = 256
#: QEMU otherwise complains for pages where there is no sound card
QEMU_ENVIRONMENT = {**os.environ, "QEMU_AUDIO_DRV": "none"}


@dataclass(frozen=True)
class Mark:
    """A line that the program wrote, and what came since the one before.

    ``seconds`` of the host's time and guest ``instructions`` (None where nobody counts them).
    """

    text: str
    seconds: float
    instructions: int | None = None


def compile_kernels(scale: int, *, thumb: bool) -> bytes:
    """The CPU-bound program (``program/kernels.c``) as an ELF file, for ARM or Thumb state."""
    if shutil.which(COMPILER) is None:
        raise BenchmarkError(
            f"{COMPILER} is not installed, and the CPU-bound program is compiled with it"
            " (Debian: apt install gcc-arm-none-eabi)"
        )
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "program.elf"
        command = [
            *(COMPILER, "-O2", "-march=armv4t", "-mtune=arm920t", "-mthumb" if thumb else "-marm"),
            *("-mthumb-interwork", "-ffreestanding", "-fno-builtin", "-fno-tree-loop-distribute-patterns"),
            *("-nostdlib", "-Wall", "-Wextra", "-Werror", f"-DSCALE={scale}"),
            *("-T", str(SOURCES / "program.ld"), str(SOURCES / "start.S"), str(SOURCES / "kernels.c")),
            *("-lgcc", "-o", str(output)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"the CPU-bound program does not compile: {done.stderr.strip()}")
        return output.read_bytes()


def make_elf(segments: dict[int, bytes], entry: int) -> bytes:
    """An ELF executable for ARM of ``segments`` (address: contents)."""
    header, row = struct.Struct("<16s2H5I6H"), struct.Struct("<8I")
    identity = b"\x7fELF\x01\x01\x01"
    count = len(segments)
    rows, contents = b"", b""
    start = header.size + count * row.size
    for address, data in segments.items():
        size = len(data)
        rows += row.pack(1, start + len(contents), address, address, size, size, 7, 4)
        contents += data
    executable, arm, abi5 = 2, 40, 0x05000000
    head = header.pack(
        *(identity, executable, arm, 1, entry, header.size, 0, abi5, header.size, row.size, count, 0, 0, 0)
    )
    return head + rows + contents


# -- dbgemu --------------------------------------------------------------------------------------


def _collect(cpu: Cpu, run_to_swi: Callable[[], None]) -> list[Mark]:
    """Run from one semihosting call to the next until the program ends."""
    marks: list[Mark] = []
    while True:
        before, started = cpu.instructions, time.perf_counter()
        run_to_swi()
        seconds = time.perf_counter() - started
        # the SWI itself has been executed: it is the mark's, as on the peers
        if cpu.read_register("r0") != SYS_WRITE0:
            return marks
        text = cpu.read_memory(cpu.read_register("r1"), 64).split(b"\0")[0]
        marks.append(Mark(text.decode("ascii", "replace").strip(), seconds, cpu.instructions - before))


class Program:
    """A program and a dbgemu CPU with nothing but RAM, on which it runs as often as wanted."""

    def __init__(self, elf: bytes, code: NativeCode | None = None) -> None:
        self._image = parse_image(elf, "the program")
        bus, self._ram = Bus(), Memory("ram", RAM_SIZE)
        bus.map(0, self._ram)
        self.cpu = Cpu(bus, code)
        self.cpu.add_breakpoint(_SWI_VECTOR)

    def run(self) -> list[Mark]:
        """Run it from its start to its end."""
        for segment in self._image.segments:
            assert segment.address is not None
            for place in range(0, len(segment.data), _PIECE):
                piece = segment.data[place : place + _PIECE]
                # what is as it was keeps its translated code
                if self.cpu.bus.peek(segment.address + place, len(piece)) != piece:
                    self.cpu.bus.poke(segment.address + place, piece)
        self.cpu.reset()
        self.cpu.write_register("pc", self._image.entry or 0)
        return _collect(self.cpu, self._run_to_swi)

    def _run_to_swi(self) -> None:
        if self.cpu.run(self.cpu.instructions + _MOST_INSTRUCTIONS) is not StopCode.BREAKPOINT:
            raise BenchmarkError(f"the program went astray on dbgemu, at 0x{self.cpu.pc:08x}")


def run_on_engine(
    elf: bytes, code: NativeCode | None = None, prepare: Callable[[Cpu], None] | None = None
) -> list[Mark]:
    """Run a program on dbgemu's CPU with nothing but RAM; ``prepare`` gets it before the run."""
    program = Program(elf, code)
    if prepare is not None:
        prepare(program.cpu)
    return program.run()


def run_on_board(elf: bytes, code: NativeCode | None = None) -> list[Mark]:
    """Run a program, linked for the steppingstone SRAM and SDRAM, on dbgemu's whole mini2440."""
    board = Mini2440(boot_switch=BootSwitch.NAND)
    board.boot_plan = plan_boot(elf, "the program", memory_size=board.sdram.size)
    machine = Machine(board, code=code)
    machine.cpu.add_breakpoint(_SWI_VECTOR)

    def run_to_swi() -> None:
        stop = machine.run(_MOST_INSTRUCTIONS)
        if stop.reason is not StopReason.BREAKPOINT:
            raise BenchmarkError(f"the program went astray on the board, at 0x{stop.pc:08x}")

    return _collect(machine.cpu, run_to_swi)


# -- peers ---------------------------------------------------------------------------------------


def have_qemu() -> bool:
    """QEMU is installed."""
    return shutil.which(QEMU) is not None


def run_on_qemu(elf: bytes, *options: str) -> list[Mark]:
    """Run a program on ``qemu-system-arm -M versatilepb``, with further ``options``."""
    with tempfile.NamedTemporaryFile(suffix=".elf") as file:
        file.write(elf)
        file.flush()
        command = [QEMU, "-M", "versatilepb", "-display", "none", "-serial", "null", "-monitor", "none"]
        process = subprocess.Popen(
            [*command, "-semihosting", "-kernel", file.name, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=QEMU_ENVIRONMENT,
        )
        with process:
            try:
                assert process.stderr is not None
                return _marks_of_stream(process.stderr.fileno())
            finally:
                process.kill()


def _marks_of_stream(descriptor: int) -> list[Mark]:
    """The lines that come from ``descriptor`` until its end, each with its time of arrival."""
    marks: list[Mark] = []
    pending = b""
    last = time.perf_counter()
    deadline = last + _LONGEST
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.perf_counter())):
            data = os.read(descriptor, 4096)
            if not data:
                return marks
            pending += data
            *lines, pending = pending.split(b"\n")
            for line in lines:
                now = time.perf_counter()
                marks.append(Mark(line.decode("ascii", "replace"), now - last))
                last = now
    raise BenchmarkError(f"{QEMU} has not ended the program within {_LONGEST:.0f} s")


def have_unicorn() -> bool:
    """Unicorn is installed."""
    try:
        import unicorn  # noqa: F401
    except ImportError:
        return False
    return True


def run_on_unicorn(elf: bytes) -> list[Mark]:
    """Run a program on Unicorn's ARM926 (it has no ARM920T; the program is ARMv4T)."""
    import unicorn
    from unicorn.arm_const import UC_ARM_REG_R0, UC_ARM_REG_R1, UC_CPU_ARM_926

    image = parse_image(elf, "the program")
    # Any: Unicorn's package says that it is typed, but hides what it has from a type checker
    module: Any = unicorn
    machine = module.Uc(module.UC_ARCH_ARM, module.UC_MODE_ARM, UC_CPU_ARM_926)
    machine.mem_map(0, RAM_SIZE)
    for segment in image.segments:
        machine.mem_write(segment.address, segment.data)
    marks: list[Mark] = []
    last = 0.0

    def interrupted(uc: Any, number: int, _: object) -> None:
        nonlocal last
        seconds = time.perf_counter() - last
        if uc.reg_read(UC_ARM_REG_R0) != SYS_WRITE0:
            uc.emu_stop()
            return
        text = bytes(uc.mem_read(uc.reg_read(UC_ARM_REG_R1), 64)).split(b"\0")[0]
        marks.append(Mark(text.decode("ascii", "replace").strip(), seconds))
        last = time.perf_counter()

    machine.hook_add(module.UC_HOOK_INTR, interrupted)
    last = time.perf_counter()
    machine.emu_start(image.entry, RAM_SIZE)
    return marks
