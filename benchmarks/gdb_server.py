"""The GDB server through one raw client, in turns with QEMU's gdbstub."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.guest_program import QEMU, QEMU_ENVIRONMENT, have_qemu, make_elf
from benchmarks.harness import Settings
from benchmarks.processes import emulator, free_port
from benchmarks.remote_client import RemoteClient, start_echo, unescape
from benchmarks.report import Aim, BenchmarkError, Figure
from dbgemu.engine.native import load_interpreter
from dbgemu.target.arm.assembler import assemble_program

_GROUP = "GDB server, one raw client"
_STEPS = 1500
_REGISTER_READS = 1500
#: what both servers return in one packet: QEMU's packets have 4096 bytes
_SMALL_READ = 2032
#: packets that are sent before the first reply is read
_PIPELINED, _BATCHES = 50, 30
_TO_READ = 1 << 20
_MIB = 1 << 20
_DATA_OFFSET = 0x10000

# What a program does: arithmetic, a load, a store, a call, a branch
_LOOP = """
start:
    ldr sp, ={stack:#x}
    mov r0, #0
loop:
    add r0, r0, #1
    push {{r0, lr}}
    bl called
    pop {{r0, lr}}
    b loop
called:
    eor r1, r0, r0, ror #7
    bx lr
"""


def test_data() -> bytes:
    """A mebibyte that no server can shorten: most bytes differ from their neighbours."""
    return random.Random(2440).randbytes(_TO_READ)


def _program(base: int) -> bytes:
    code = assemble_program(_LOOP.format(stack=base - 0x100), base).data
    return make_elf({base: code, base + _DATA_OFFSET: test_data()}, base)


class Server:
    """A connection to one of the servers, with the address of its copy of the data."""

    def __init__(self, client: RemoteClient, base: int) -> None:
        self.client = client
        self.data = base + _DATA_OFFSET
        client.exchange(b"qXfer:features:read:target.xml:0,ff0")  # before that QEMU has no p
        self.has_binary_read = bool(client.exchange(b"x%x,0" % self.data))
        self._check()

    def _check(self) -> None:
        """What is read is what was loaded: otherwise the figures are worth nothing."""
        expected = test_data()[:_SMALL_READ]
        if self.client.exchange(b"m%x,%x" % (self.data, _SMALL_READ)) != expected.hex().encode():
            raise BenchmarkError("the GDB server reads other memory than was loaded")
        binary = self.client.exchange(b"x%x,%x" % (self.data, _SMALL_READ)) if self.has_binary_read else b""
        if binary and unescape(binary) != expected:
            raise BenchmarkError("the GDB server's x reads other memory than was loaded")

    @property
    def largest_read(self) -> int:
        """Bytes of the longest reply in hexadecimal, a multiple of 16."""
        return min((self.client.packet_size - 16) // 2 & -16, _TO_READ)

    def per_second(self, *packets: bytes, count: int) -> float:
        """How often all ``packets`` are answered in a second."""
        exchange = self.client.exchange
        for packet in packets:
            reply = exchange(packet)
            if not reply or reply.startswith(b"E"):
                raise BenchmarkError(f"the GDB server answers {packet!r} with {reply!r}")
        started = time.perf_counter()
        for _ in range(count):
            for packet in packets:
                exchange(packet)
        return count / (time.perf_counter() - started)

    def bandwidth(self, letter: bytes, size: int) -> float:
        """MiB/s of memory read in pieces of ``size`` bytes, with packet ``letter``."""
        exchange, end = self.client.exchange, self.data + _TO_READ - size
        started, done = time.perf_counter(), 0
        for address in range(self.data, end + 1, size):
            exchange(b"%b%x,%x" % (letter, address, size))
            done += size
        return done / (time.perf_counter() - started) / _MIB

    def pipelined(self, packet: bytes) -> float:
        """How often ``packet`` is answered in a second when many are sent before a reply is awaited."""
        started = time.perf_counter()
        for _ in range(_BATCHES):
            self.client.exchange_many([packet] * _PIPELINED)
        return _BATCHES * _PIPELINED / (time.perf_counter() - started)


Measurement = Callable[[Server], float]

#: name, unit, the packets; against QEMU doing the same
_SAME: tuple[tuple[str, str, Measurement, Aim | None], ...] = (
    ("steps (s)", "1/s", lambda s: s.per_second(b"s", count=_STEPS), Aim(1.0, ratio=True)),
    ("steps (vCont;s:1)", "1/s", lambda s: s.per_second(b"vCont;s:1", count=_STEPS), Aim(1.0, ratio=True)),
    (
        "stepi as GDB does it (vCont;s:1 g m)",
        "1/s",
        lambda s: s.per_second(b"vCont;s:1", b"g", b"m%x,4" % s.data, count=_STEPS // 3),
        None,
    ),
    ("all registers (g)", "1/s", lambda s: s.per_second(b"g", count=_REGISTER_READS), None),
    ("one register (pf)", "1/s", lambda s: s.per_second(b"pf", count=_REGISTER_READS), None),
    ("one word (m addr,4)", "1/s", lambda s: s.per_second(b"m%x,4" % s.data, count=_REGISTER_READS), None),
    (f"memory (m, {_SMALL_READ} bytes)", "MiB/s", lambda s: s.bandwidth(b"m", _SMALL_READ), None),
    (f"all registers (g), {_PIPELINED} packets at once", "1/s", lambda s: s.pipelined(b"g"), None),
)


def _largest(server: Server) -> float:
    return server.bandwidth(b"m", server.largest_read)


def _binary(server: Server) -> float:
    letter = b"x" if server.has_binary_read else b"m"
    return server.bandwidth(letter, server.largest_read)


#: each server at its best
_BEST: tuple[tuple[str, str, Measurement, Aim | None], ...] = (
    ("memory (m, longest packets)", "MiB/s", _largest, None),
    ("memory (x, longest packets; QEMU: m)", "MiB/s", _binary, None),
)

#: name, the packet; against a server that sends as many bytes whatever it is asked: no server is faster
_FLOOR: tuple[tuple[str, Callable[[Server], bytes]], ...] = (
    ("all registers (g), the floor", lambda s: b"g"),
    (f"memory (m, {_SMALL_READ} bytes), the floor", lambda s: b"m%x,%x" % (s.data, _SMALL_READ)),
)


def measure(settings: Settings) -> list[Figure]:
    """Figures of dbgemu's server, with QEMU's as peer."""
    load_interpreter()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {"dbgemu": _start(stack, folder, settings.command, settings.environment(), 0x30008000)}
        if have_qemu():
            servers["QEMU"] = _start(stack, folder, [QEMU, "-M", "versatilepb"], QEMU_ENVIRONMENT, 0x8000)
        else:
            settings.note("qemu-system-arm is not installed, so there is no comparison with it")
        figures = [
            _figure(settings, servers, name, unit, measurement, aim)
            for name, unit, measurement, aim in (*_SAME, *_BEST)
        ]
        return figures + [_floor(settings, servers["dbgemu"], name, packet) for name, packet in _FLOOR]


def _start(
    stack: ExitStack, folder: Path, command: list[str], environment: dict[str, str], base: int
) -> Server:
    image, port = folder / f"{base:x}.elf", free_port()
    image.write_bytes(_program(base))
    arguments = ["-nographic", "-kernel", str(image), "-S", "-gdb", f"tcp::{port}"]
    process = stack.enter_context(emulator([*command, *arguments], environment))
    sock, _ = process.wait_for_port(port)
    client = RemoteClient(sock)
    stack.callback(client.close)
    return Server(client, base)


def _figure(
    settings: Settings,
    servers: dict[str, Server],
    name: str,
    unit: str,
    measurement: Measurement,
    aim: Aim | None,
) -> Figure:
    sides = {side: partial(measurement, server) for side, server in servers.items()}
    runs = settings.interleave(sides, name)
    peer = runs.get("QEMU", [])
    return Figure(_GROUP, name, unit, runs["dbgemu"], "QEMU" if peer else "", peer, aim)


def _floor(settings: Settings, server: Server, name: str, packet: Callable[[Server], bytes]) -> Figure:
    """Round trips a second beside those of an echo server, whose replies are as long."""
    wanted = packet(server)
    with start_echo(len(server.client.exchange(wanted))) as echo:
        clients = {"dbgemu": server.client, "echo": echo}
        sides = {side: partial(_round_trips, client, wanted) for side, client in clients.items()}
        runs = settings.interleave(sides, name)
    return Figure(_GROUP, name, "1/s", runs["dbgemu"], "echo", runs["echo"])


def _round_trips(client: RemoteClient, packet: bytes) -> float:
    started = time.perf_counter()
    for _ in range(_REGISTER_READS):
        client.exchange(packet)
    return _REGISTER_READS / (time.perf_counter() - started)
