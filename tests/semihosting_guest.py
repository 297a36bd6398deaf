"""A board whose guest makes semihosting calls: one at a time, as a test says."""

from __future__ import annotations

import struct
from pathlib import Path

from dbgemu.debug.semihosting.config import SemihostingConfig
from dbgemu.debug.semihosting.console import Console
from dbgemu.debug.session import DebugSession
from dbgemu.machine import Machine, StopReason
from dbgemu.target.arm.assembler import assemble_program
from dbgemu.target.arm.state import F, I, Mode, T
from dbgemu.target.mini2440 import Mini2440
from tests.arm_programs import interpreter

CODE, BLOCK, TEXT, BUFFER, STACK = 0x30008000, 0x30010000, 0x30011000, 0x30020000, 0x30040000
#: an address where the board has nothing
NOWHERE = 0xF0000000

(OPEN, CLOSE, WRITEC, WRITE0, WRITE, READ, READC, ISERROR, ISTTY, SEEK) = range(1, 11)
(FLEN, TMPNAM, REMOVE, RENAME, CLOCK, TIME, SYSTEM, ERRNO) = range(0x0C, 0x14)
GET_CMDLINE, HEAPINFO, EXIT, EXIT_EXTENDED, ELAPSED, TICKFREQ = 0x15, 0x16, 0x18, 0x20, 0x30, 0x31

#: what a call that fails returns
FAILED = 0xFFFFFFFF

_CALL = {False: "svc #0x123456", True: "svc #0xab"}


class SemihostingGuest:
    """A guest in ARM or Thumb state, its session and what it wrote to the console."""

    def __init__(self, *, thumb: bool = False, folder: Path | None = None, **config: object) -> None:
        self.board = Mini2440(rtc_start=1_000_000_000)
        self.machine = Machine(self.board, code=interpreter())
        self.cpu = self.machine.cpu
        # out of reset the watchdog runs (UM 18-3), and time that tests skip would end in a reset
        self.board.bus.write(0x53000000, 4, 0)
        self.session = DebugSession(self.machine)
        self.written: list[tuple[int, bytes]] = []
        self.console = Console(lambda stream, data: self.written.append((stream, data)))
        self.thumb = thumb
        self.config = SemihostingConfig(folder=folder, epoch=1_000_000_000, **config)  # type: ignore[arg-type]
        self.host = self.session.serve_semihosting(self.config, self.console)
        self.start(_CALL[thumb])

    def close(self) -> None:
        self.session.close()
        self.host.close()

    def start(self, source: str, *, mode: int = Mode.SVC) -> None:
        """Assemble a program, and point the CPU to it."""
        program = assemble_program(f"{source}\ndone: b done\n", CODE, thumb=self.thumb)
        self.done = program["done"]
        self.cpu.write_memory(CODE, program.data)
        self.cpu.write_register("cpsr", mode | I | F | (T if self.thumb else 0))
        self.cpu.write_register("pc", CODE)
        self.cpu.write_register("sp", STACK)

    def write(self, address: int, data: bytes) -> int:
        self.cpu.write_memory(address, data)
        return address

    def text(self, data: bytes, place: int = 0) -> tuple[int, int]:
        """A string in memory: its address and length."""
        return self.write(TEXT + 0x400 * place, data + b"\0"), len(data)

    def read(self, address: int = BUFFER, length: int = 64) -> bytes:
        return self.cpu.read_memory(address, length)

    def words(self, address: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self.read(address, 4 * count))

    def call_with(self, number: int, parameter: int) -> int:
        """Make the call with ``parameter`` in r1; what is in r0 then."""
        self.start(_CALL[self.thumb])
        self.cpu.write_register("r0", number)
        self.cpu.write_register("r1", parameter)
        executed = self.cpu.instructions
        stop = self.machine.run(1)
        if stop.reason is StopReason.LIMIT:
            assert stop.pc == self.done
            assert self.cpu.instructions == executed + 1
        return self.cpu.read_register("r0")

    def call(self, number: int, *words: int) -> int:
        """Make the call with a block of ``words``."""
        self.write(BLOCK, struct.pack(f"<{len(words)}I", *words))
        return self.call_with(number, BLOCK)

    def open(self, name: bytes, mode: int) -> int:
        address, length = self.text(name)
        return self.call(OPEN, address, mode, length)

    def put(self, handle: int, data: bytes) -> int:
        """SYS_WRITE."""
        return self.call(WRITE, handle, self.write(BUFFER, data), len(data))

    def get(self, handle: int, length: int) -> bytes:
        """SYS_READ; what was read."""
        left = self.call(READ, handle, BUFFER, length)
        assert left <= length
        return self.read(BUFFER, length - left) if left < length else b""

    def errno(self) -> int:
        return self.call_with(ERRNO, 0)
