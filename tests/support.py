"""What the debugger's tests share: a small machine without an engine, and clients for the wire.

``FakeMachine`` keeps the contract of :class:`dbgemu.machine.Machine` for a CPU whose every instruction
is a no-op, except where a test puts a Python function: so that tests of the debugger say exactly what
the guest does and when.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from dbgemu.debug.session import DebugSession
from dbgemu.engine.conditions import UntranslatableError
from dbgemu.engine.cpu import TranslationFault, WatchHit
from dbgemu.gdbstub.framing import checksum
from dbgemu.gdbstub.server import GdbServer
from dbgemu.machine import Stop, StopReason
from dbgemu.target.bus import Bus
from dbgemu.target.memory import Memory

RAM_BASE = 0x30000000
ROM_BASE = 0x00000000
#: virtual addresses from here are not mapped
UNMAPPED = 0xF0000000
START = 0x30008000

_BANKED = [f"r{n}_{mode}" for mode in ("usr", "fiq") for n in range(8, 15)]
_BANKED += [f"r{n}_{mode}" for mode in ("irq", "svc", "abt", "und") for n in (13, 14)]
_BANKED += [f"spsr_{mode}" for mode in ("fiq", "irq", "svc", "abt", "und")]


class FakeConditions:
    """No code can be generated for a fake CPU: every condition is left to Python."""

    def __getattr__(self, name: str) -> Any:
        raise UntranslatableError(f"a fake CPU has no {name}")


class FakeCpu:
    """Registers are a dict, memory is what is on the bus, instructions do nothing."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.cp15_registers = {
            "sctlr": SimpleNamespace(doc="c1: control"),
            "ttbr": SimpleNamespace(doc="c2: translation table base"),
        }
        self.registers = {f"r{n}": 0 for n in range(16)} | {"cpsr": 0xD3, "spsr": 0}
        self.registers |= dict.fromkeys(_BANKED, 0) | dict.fromkeys(self.cp15_registers, 0)
        self.registers["r15"] = START
        self.instructions = 0
        self.conditions = FakeConditions()
        self.breakpoints: set[int] = set()
        self.watchpoints: list[tuple[int, int, bool, bool]] = []
        #: what the instruction at an address does, instead of nothing
        self.program: dict[int, Callable[[], None]] = {}
        #: the (address, size, write) that the instruction at an address accesses
        self.accesses: dict[int, tuple[int, int, bool]] = {}

    def _name(self, name: str) -> str:
        return {"sp": "r13", "lr": "r14", "pc": "r15"}.get(name, name)

    def read_register(self, name: str) -> int:
        return self.registers[self._name(name)]

    def set_catches(self, vectors: int, events: int) -> None:
        self.catches = (vectors, events)

    def read_core(self) -> tuple[int, ...]:
        return (*(self.registers[f"r{number}"] for number in range(16)), self.registers["cpsr"])

    def write_register(self, name: str, value: int) -> None:
        if self._name(name) not in self.registers:
            raise KeyError(name)
        self.registers[self._name(name)] = value & 0xFFFFFFFF

    def translate(self, address: int) -> int:
        if address >= UNMAPPED:
            raise TranslationFault(address, "section translation fault")
        return address

    def read_memory(self, address: int, length: int) -> bytes:
        self.translate(address)
        self.translate(address + length - 1)
        return self.bus.peek(address, length)

    def write_memory(self, address: int, data: bytes) -> None:
        self.translate(address)
        self.translate(address + len(data) - 1)
        self.bus.poke(address, data)

    def add_breakpoint(self, address: int) -> None:
        self.breakpoints.add(address)

    def remove_breakpoint(self, address: int) -> None:
        self.breakpoints.discard(address)

    def add_watchpoint(self, address: int, length: int, *, read: bool, write: bool) -> None:
        self.watchpoints.append((address, length, read, write))

    def remove_watchpoint(self, address: int, length: int, *, read: bool, write: bool) -> None:
        self.watchpoints.remove((address, length, read, write))

    def pass_access(self) -> None:
        pass


class FakeMachine:
    """Runs a :class:`FakeCpu`: a loop of 16 no-ops from ``START``, unless a test says otherwise."""

    def __init__(self) -> None:
        bus = Bus()
        self.ram = Memory("sdram", 1 << 20)
        self.rom = Memory("nor", 1 << 16)
        bus.map(ROM_BASE, self.rom, writable=False)
        bus.map(RAM_BASE, self.ram)
        self.board = SimpleNamespace(bus=bus)
        self.cpu = FakeCpu(bus)
        self.lock = threading.RLock()
        self.resets = 0
        self.masked_steps = 0
        self._stop_requested = False
        self._posted: deque[Callable[[], None]] = deque()

    def post(self, action: Callable[[], None]) -> None:
        self._posted.append(action)

    def request_stop(self) -> None:
        self._stop_requested = True

    def reset(self) -> None:
        self.resets += 1
        self.cpu.registers["r15"] = 0

    def step(self, *, interrupts: bool = False) -> Stop:
        self.masked_steps += not interrupts
        return self.run(1)

    def run(self, instructions: int | None = None) -> Stop:
        with self.lock:
            cpu = self.cpu
            executed = 0
            while instructions is None or executed < instructions:
                while self._posted:
                    self._posted.popleft()()
                if self._stop_requested:
                    self._stop_requested = False
                    return Stop(StopReason.REQUEST, cpu.registers["r15"])
                stop = self._execute(passing=executed == 0)
                if stop is not None:
                    return stop
                executed += 1
                if executed % 100 == 0:
                    time.sleep(0.0001)
            return Stop(StopReason.LIMIT, cpu.registers["r15"])

    def _execute(self, *, passing: bool) -> Stop | None:
        cpu = self.cpu
        pc = cpu.registers["r15"]
        if not passing and pc in cpu.breakpoints:
            return Stop(StopReason.BREAKPOINT, pc)
        access = cpu.accesses.get(pc)
        if access is not None and not (passing and self._stopped_at_access == pc):
            address, size, write = access
            for first, length, read, written in cpu.watchpoints:
                touched = address < first + length and first < address + size
                if touched and (written if write else read):
                    self._stopped_at_access = pc
                    return Stop(
                        StopReason.WATCHPOINT, pc, WatchHit(address, size, write, 1 if write else None)
                    )
        self._stopped_at_access = None
        cpu.registers["r15"] = START if pc == START + 60 else pc + 4
        cpu.instructions += 1
        cpu.program.get(pc, _nothing)()
        return None

    _stopped_at_access: int | None = None


def _nothing() -> None:
    pass


class RawClient:
    """A client that says exactly the bytes it is told to."""

    def __init__(self, endpoint: Any, *, acks: bool = False, timeout: float = 5) -> None:
        if hasattr(endpoint, "path"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(str(endpoint.path))
        else:
            self.socket = socket.create_connection((endpoint.host, endpoint.port), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.acks = True
        if not acks:
            assert self.ask(b"QStartNoAckMode") == b"OK"
            self.send_bytes(b"+")
            self.acks = False

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, packet: bytes) -> None:
        self.send_bytes(b"$%b#%02x" % (packet, checksum(packet)))

    def ask(self, packet: bytes) -> bytes:
        self.send(packet)
        return self.receive()

    def receive_byte(self) -> bytes:
        """The next byte, which must not be part of a packet."""
        if not self.buffer:
            self._fill()
        byte, self.buffer = self.buffer[:1], self.buffer[1:]
        return byte

    def _fill(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError("the server closed the connection")
        self.buffer += data

    def receive(self) -> bytes:
        """The next packet, its checksum verified and its runs expanded; escapes stay."""
        if self.acks:
            assert self.receive_byte() == b"+"
        return self.receive_packet()

    def receive_packet(self) -> bytes:
        while (end := self.buffer.find(b"#")) < 0 or len(self.buffer) < end + 3:
            self._fill()
        head, packet = self.buffer[:1], self.buffer[1:end]
        assert head == b"$", self.buffer
        assert int(self.buffer[end + 1 : end + 3], 16) == checksum(packet)
        self.buffer = self.buffer[end + 3 :]
        return packet if packet[:1] == b"b" else expand_runs(packet)

    def closed(self) -> bool:
        """The server closed the connection (waits for it)."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()


def expand_runs(packet: bytes) -> bytes:
    """What a client makes of a run-length encoded reply."""
    expanded = bytearray()
    position = 0
    while position < len(packet):
        if packet[position : position + 1] == b"*":
            expanded += expanded[-1:] * (packet[position + 1] - 29)
            position += 2
        else:
            expanded.append(packet[position])
            position += 1
    return bytes(expanded)


@contextmanager
def serve(session: DebugSession, where: str = "tcp:127.0.0.1:0", **options: Any) -> Iterator[GdbServer]:
    """A GDB server on an event loop in a thread."""
    loop = asyncio.new_event_loop()
    server = GdbServer(session, where, **options)
    server.start(loop)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        assert not thread.is_alive()
        loop.close()


def until(condition: Callable[[], bool], timeout: float = 5) -> None:
    """Wait for ``condition``; fail when it does not come true."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.002)
