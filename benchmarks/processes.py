"""Emulators as processes: starting them, waiting for their text and ports, their CPU time, their end."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.report import BenchmarkError

#: the program of the translator's processes
_WORKER = "dbgemu.engine.translator.worker"


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, all its threads. OSError when it has ended."""
    # proc(5): the name in parentheses may hold spaces; utime and stime are fields 14 and 15
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def workers(pid: int) -> dict[str, int]:
    """The translator's processes that the emulator ``pid`` has started: what they do, and their numbers."""
    found = {}
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in path.read_text().split():
                words = Path(f"/proc/{child}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                if _WORKER in words:
                    found[words[words.index(_WORKER) + 1]] = int(child)
    return found


class EmulatorProcess:
    """A process of ours. ``started`` is the host's time (s, perf_counter) right before exec.

    What it writes to its standard output is the guest's serial port.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.started = time.perf_counter()
        self.output = b""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            bufsize=0,
        )

    def wait_for(self, text: bytes, seconds: float) -> float:
        """Wait until ``text`` has been written; the time (s) since the start.

        BenchmarkError when the process ends before, or ``seconds`` pass.
        """
        stream = self._process.stdout
        assert stream is not None
        deadline = time.perf_counter() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while text not in self.output:
                if not selector.select(max(0.0, deadline - time.perf_counter())):
                    raise BenchmarkError(
                        f"{text.decode()!r} did not come within {seconds:.0f} s; the last line was"
                        f" {self._last_line(self.output)!r}"
                    )
                data = os.read(stream.fileno(), 65536)
                if not data:
                    raise BenchmarkError(f"the emulator ended: {self._complaint()}")
                self.output += data
        return time.perf_counter() - self.started

    def wait_for_port(self, port: int, seconds: float = 20.0) -> tuple[socket.socket, float]:
        """Connect as soon as somebody listens; the socket and the time (s) since the start."""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            client = socket.socket()
            if client.connect_ex(("127.0.0.1", port)) == 0:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return client, time.perf_counter() - self.started
            client.close()
            if self._process.poll() is not None:
                raise BenchmarkError(f"the emulator ended: {self._complaint()}")
            time.sleep(0.0005)
        raise BenchmarkError(f"nobody listens at port {port} after {seconds:.0f} s")

    def cpu_seconds(self) -> float:
        """CPU time that the process has used, all its threads."""
        return cpu_seconds(self._process.pid)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def type(self, text: bytes) -> None:
        """Type ``text`` on the guest's serial port."""
        assert self._process.stdin is not None
        self._process.stdin.write(text)

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._process.wait()

    def _complaint(self) -> str:
        assert self._process.stderr is not None
        text = self._process.stderr.read() or b""
        return self._last_line(text) or f"exit status {self._process.wait()}, without a word"

    @staticmethod
    def _last_line(text: bytes) -> str:
        lines = text.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""


@contextlib.contextmanager
def emulator(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[EmulatorProcess]:
    """A process that ends with the block."""
    process = EmulatorProcess(command, environment)
    try:
        yield process
    finally:
        process.end()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
