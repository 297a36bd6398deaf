"""Standard input and output: a program on a pseudo terminal, on pipes and on files."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chardev_ends import PATIENCE, eventually, read_until

from dbgemu.host.chardev import open_chardev
from dbgemu.host.iothread import IoThread

# -- standard input and output -----------------------------------------------------------------

CHILD = """
import sys, threading
from dbgemu.host.chardev import open_chardev, ChardevEvent
from dbgemu.host.iothread import IoThread
io = IoThread().start()
done = threading.Event()
serial = open_chardev(sys.argv[1], io, nographic="nographic" in sys.argv)
serial.write(b"ready\\r\\n")
def event(what):
    serial.write(b"<" + what.name.encode() + b">")
    if what is ChardevEvent.QUIT:
        done.set()
def typed(name):
    return lambda data: serial.write(b"[" + name + data.hex().encode() + b"]")
serial.on_event = event
serial.on_receive = typed(b"s:")
if serial.monitor:
    serial.monitor.on_receive = typed(b"m:")
if "fail" in sys.argv:
    raise RuntimeError("on purpose")
try:
    while not done.wait(0.05):
        pass
except KeyboardInterrupt:
    serial.write(b"interrupted")
"""


class Child:
    """A program with stdio on a pseudo terminal of its own."""

    def __init__(self, script: Path, *arguments: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, str(script), *arguments])
        self.cooked = termios.tcgetattr(self.fd)

    def until(self, wanted: bytes) -> bytes:
        return read_until(self.fd, wanted)

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def local_flags(self) -> int:
        flags: int = termios.tcgetattr(self.fd)[3]
        return flags

    def is_raw(self) -> bool:
        return not self.local_flags() & (termios.ICANON | termios.ECHO)

    def wait(self) -> int:
        end = time.monotonic() + PATIENCE
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < end, "the child does not end"
            time.sleep(0.01)

    def end(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


Starter = Callable[..., Child]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starter]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    (tmp_path / "child.py").write_text(CHILD)
    children: list[Child] = []

    def starter(*arguments: str, script: str = "child.py") -> Child:
        children.append(Child(tmp_path / script, *arguments))
        return children[-1]

    yield starter
    for child in children:
        child.end()


def test_stdio_is_raw_ctrl_c_reaches_the_guest_and_ctrl_a_works(start: Starter) -> None:
    child = start("mon:stdio")
    child.until(b"ready")
    assert child.is_raw()
    child.type(b"\x03\r")
    child.until(b"[s:030d]")
    child.type(b"\x01c")
    child.type(b"m")
    child.until(b"[m:6d]")
    child.type(b"\x01c\x01b\x01\x01")
    child.until(b"<BREAK>[s:01]")
    child.type(b"\x01h")
    child.until(b"leave the emulator")
    child.type(b"\x01x")
    child.until(b"<QUIT>")
    assert child.wait() == 0
    assert termios.tcgetattr(child.fd) == child.cooked


def test_plain_stdio_keeps_ctrl_c_and_has_no_escape_key(start: Starter) -> None:
    child = start("stdio")
    child.until(b"ready")
    assert child.is_raw()
    child.type(b"\x01x")
    child.until(b"[s:0178]")
    child.type(b"\x03")
    child.until(b"interrupted")
    assert child.wait() == 0
    assert termios.tcgetattr(child.fd) == child.cooked


def test_plain_stdio_with_nographic_has_the_escape_key_but_no_monitor(start: Starter) -> None:
    child = start("stdio", "nographic")
    child.until(b"ready")
    child.type(b"\x03")
    child.until(b"[s:03]")
    child.type(b"\x01cx")
    child.until(b"[s:78]")
    child.type(b"\x01x")
    assert child.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored_when_a_signal_ends_the_program(
    start: Starter, number: signal.Signals
) -> None:
    child = start("mon:stdio")
    child.until(b"ready")
    os.kill(child.pid, number)
    assert child.wait() == 128 + number
    assert termios.tcgetattr(child.fd) == child.cooked


def test_the_terminal_is_restored_and_output_complete_after_an_exception(start: Starter) -> None:
    child = start("mon:stdio", "fail")
    child.until(b"on purpose")
    assert child.wait() == 1
    assert termios.tcgetattr(child.fd) == child.cooked


#: a shell as small as can be: runs the child in the foreground, says when it stops, continues it
SHELL = """
import os, signal, subprocess, sys, termios
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
cooked = termios.tcgetattr(0)
def unblocked():
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
job = subprocess.Popen([sys.executable, *sys.argv[1:]], process_group=0, preexec_fn=unblocked)
os.tcsetpgrp(0, job.pid)
pid, status = os.waitpid(job.pid, os.WUNTRACED)
os.tcsetpgrp(0, os.getpgrp())
same = termios.tcgetattr(0) == cooked
print(f"(stopped {os.WIFSTOPPED(status)} cooked {same} pid {job.pid})", flush=True)
termios.tcsetattr(0, termios.TCSANOW, cooked)
os.tcsetpgrp(0, job.pid)
os.kill(job.pid, signal.SIGCONT)
job.wait()
os.tcsetpgrp(0, os.getpgrp())
print(f"(ended cooked {termios.tcgetattr(0) == cooked})", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGSTOP])
def test_the_terminal_is_cooked_while_the_program_is_stopped_and_raw_afterwards(
    start: Starter, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "shell.py").write_text(SHELL)
    child = start(str(tmp_path / "child.py"), "mon:stdio", script="shell.py")
    child.until(b"ready")
    os.kill(os.tcgetpgrp(child.fd), number)
    # Nobody can act on SIGSTOP: the terminal is then what the shell makes of it.
    expected = b"(stopped True cooked True" if number is signal.SIGTSTP else b"(stopped True cooked False"
    child.until(expected)
    eventually(child.is_raw)
    child.type(b"k")
    child.until(b"[s:6b]")
    child.type(b"\x01x")
    child.until(b"(ended cooked True)")


def test_piped_input_arrives_and_its_end_neither_spins_nor_kills(start: Starter, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "child.py"), "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"abc")
    process.stdin.close()
    out = read_until(process.stdout.fileno(), b"<CLOSED>")
    assert b"ready" in out
    assert b"[s:616263]" in out
    time.sleep(0.1)
    ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    time.sleep(0.3)
    later = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    assert sum(map(int, later)) - sum(map(int, ticks)) <= 10
    assert process.poll() is None
    process.terminate()
    assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    process.stdout.close()


@pytest.mark.parametrize("source", ["/dev/null", "file"])
def test_input_from_what_cannot_be_polled_ends_in_order(start: Starter, tmp_path: Path, source: str) -> None:
    path = Path(source)
    if source == "file":
        path = tmp_path / "input"
        path.write_bytes(b"q" * 3000 + b"\x01x")
    log = tmp_path / "output"
    log.write_bytes(b"before ")
    with path.open("rb") as stdin, log.open("ab") as stdout:
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "child.py"), "stdio", "nographic"], stdin=stdin, stdout=stdout
        )
    if source == "file":
        assert process.wait(PATIENCE) == 0
        assert log.read_bytes().count(b"71") == 3000
        assert log.read_bytes().endswith(b"<QUIT>")
    else:
        eventually(lambda: b"<CLOSED>" in log.read_bytes())
        assert process.poll() is None
        process.terminate()
        process.wait(PATIENCE)
    assert log.read_bytes().startswith(b"before ")  # appended to, not overwritten
    assert b"ready" in log.read_bytes()


def test_the_shells_descriptors_stay_blocking(start: Starter, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "child.py"), "stdio"], stdin=subprocess.DEVNULL, stdout=write_end
    )
    read_until(read_end, b"ready")
    assert os.get_blocking(write_end)
    process.terminate()
    process.wait(PATIENCE)
    os.close(read_end)
    os.close(write_end)


def test_stdio_serves_only_one_device(start: Starter, tmp_path: Path) -> None:
    code = (
        "from dbgemu.host.chardev import *; from dbgemu.host.iothread import IoThread\n"
        "io = IoThread().start(); open_chardev('stdio', io)\n"
        "try: open_chardev('stdio', io)\n"
        "except OptionError as error: print(error)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    assert out.stdout == b"'stdio' cannot be opened: stdio is used for two devices, it serves only one\n"


def test_closing_gives_the_terminal_back_even_when_the_io_thread_hangs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("dbgemu.host.stream._PATIENCE", 0.1)
    io = IoThread().start()
    backend = open_chardev(f"file:{tmp_path / 'out'}", io)
    shut = threading.Event()
    monkeypatch.setattr(backend, "_shut", shut.set)
    freed = threading.Event()
    io.call_soon(freed.wait)
    backend.close()
    assert shut.is_set()
    freed.set()
    io.stop()
