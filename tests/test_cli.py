"""The program as a user starts it: exit statuses, messages, the terminal, ports, logs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dbgemu import __version__
from dbgemu.demo import demo_elf, demo_program

#: seconds: the engine may have to be compiled first, on a busy machine
PATIENCE = 120.0
PROMPT = "demo> "


def dbgemu(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "dbgemu", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        check=False,
        **options,
    )


class Session:
    """The emulator on a terminal of its own, and somebody who types."""

    def __init__(self, *arguments: str | Path) -> None:
        self.keyboard, self.screen = pty.openpty()
        self.mode = termios.tcgetattr(self.screen)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dbgemu", *arguments],
            stdin=self.screen,
            stdout=self.screen,
            stderr=self.screen,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
            env={**os.environ, "TERM": "dumb"},  # a plain prompt: test_monitor_console.py has the other
        )
        self.unread = ""

    def wait_for(self, text: str) -> str:
        """All that is shown up to and with ``text``."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.unread:
            ready, _, _ = select.select([self.keyboard], [], [], deadline - time.monotonic())
            assert ready, f"no {text!r} in {self.unread!r}"
            self.unread += os.read(self.keyboard, 4096).decode()
        shown, _, self.unread = self.unread.partition(text)
        return shown + text

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    def command(self, line: str, prompt: str = PROMPT) -> str:
        self.type(line + "\r")
        return self.wait_for(prompt)

    def status(self) -> int:
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.keyboard)
        os.close(self.screen)


Start = Callable[..., Session]


@pytest.fixture
def start() -> Iterator[Start]:
    sessions: list[Session] = []

    def run(*arguments: str | Path) -> Session:
        sessions.append(Session(*arguments))
        return sessions[-1]

    yield run
    for session in sessions:
        session.close()


def test_version_and_help_are_printed() -> None:
    version = dbgemu("-version")
    assert (version.returncode, version.stdout, version.stderr) == (0, f"dbgemu {__version__}\n", "")
    assert "-kernel FILE" in dbgemu("-h").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-kernle", "x"], "dbgemu: there is no option '-kernle': did you mean -kernel?\n"),
        (["-kernel", "none.bin"], "dbgemu: -kernel: there is no file 'none.bin'\n"),
        (["-demo", "-smp", "2"], "dbgemu: -smp means nothing on a mini2440: the S3C2440A has one core\n"),
        (["-demo", "-gdb", "tcp:here"], None),
        (["-demo", "-m", "1G"], None),
        (["-demo", "-serial", "unix:/nowhere/at/all"], None),
        (["-kernel", os.devnull], f"dbgemu: '{os.devnull}' is empty\n"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence_and_status_2(
    arguments: list[str], message: str | None
) -> None:
    done = dbgemu(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    if message is not None:
        assert done.stderr == message
    assert done.stderr.startswith("dbgemu: ")
    assert "Traceback" not in done.stderr


def test_a_flash_image_that_is_too_large_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "nor.bin"
    image.write_bytes(bytes((2 << 20) + 1))
    done = dbgemu("-pflash", image)
    assert done.returncode == 2
    assert str(image) in done.stderr


def test_ctrl_a_x_ends_the_emulator_and_restores_the_terminal(start: Start) -> None:
    session = start("-demo", "-nographic")
    session.wait_for(PROMPT)
    assert termios.tcgetattr(session.screen) != session.mode
    session.type("\x01x")
    assert session.status() == 0
    assert termios.tcgetattr(session.screen) == session.mode


def test_a_signal_ends_the_emulator_and_restores_the_terminal(start: Start) -> None:
    session = start("-demo", "-nographic")
    session.wait_for(PROMPT)
    session.process.terminate()
    assert session.status() == -signal.SIGTERM
    assert termios.tcgetattr(session.screen) == session.mode


def test_ctrl_c_goes_to_the_guest_with_nographic_and_ends_the_emulator_without(start: Start) -> None:
    session = start("-demo", "-nographic")
    session.wait_for(PROMPT)
    session.type("\x03")
    assert "s since the start" in session.command("time")
    session.type("\x01x")
    session.wait_for("\n") if "\n" in session.unread else None
    assert session.status() == 0
    plain = start("-demo", "-serial", "stdio")
    plain.wait_for(PROMPT)
    os.kill(plain.process.pid, signal.SIGINT)
    assert plain.status() == 130
    assert termios.tcgetattr(plain.screen) == plain.mode


def test_ctrl_a_c_switches_to_the_monitor_and_back(start: Start) -> None:
    session = start("-demo", "-nographic")
    session.wait_for(PROMPT)
    session.type("\x01c")
    session.wait_for("(dbgemu) ")
    assert "VM status: running" in session.command("info status", "(dbgemu) ")
    assert "did you mean 'status'" in session.command("info statu", "(dbgemu) ")
    session.type("infx\x7fo version\r")
    assert f"dbgemu {__version__}" in session.wait_for("(dbgemu) ")
    assert "VM status: paused" in session.command("stop", "(dbgemu) ") + session.command(
        "info status", "(dbgemu) "
    )
    session.command("cont", "(dbgemu) ")
    session.type("\x01c")
    assert "s since the start" in session.command("time")
    session.type("\x01c")
    session.wait_for("(dbgemu) ")
    session.type("quit\r")
    assert session.status() == 0


def test_the_monitor_can_have_the_terminal_and_ctrl_c_then_stops_the_guest(start: Start) -> None:
    session = start("-demo", "-nographic", "-serial", "null")
    session.wait_for("(dbgemu) ")
    assert "VM status: running" in session.command("info status", "(dbgemu) ")
    session.type("\x03")
    assert "Paused at 0x" in session.wait_for("(dbgemu) ")
    assert "VM status: paused" in session.command("info status", "(dbgemu) ")
    session.type("quit\r")
    assert session.status() == 0
    assert termios.tcgetattr(session.screen) == session.mode


def test_ctrl_a_h_lists_the_keys(start: Start) -> None:
    session = start("-demo", "-nographic")
    session.wait_for(PROMPT)
    session.type("\x01h")
    assert "leave the emulator" in session.wait_for("send Ctrl-A itself")


def test_the_monitor_can_be_on_a_socket_of_its_own(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "monitor"
    session = start("-demo", "-nographic", "-monitor", f"unix:{path},server,nowait", "-S", "-name", "bench")
    with connect(path) as monitor:
        text = monitor.makefile("rw", newline="")
        assert read_until(text, "(dbgemu) ").startswith(f"dbgemu {__version__} monitor of bench - ")
        text.write("info status\n")
        text.flush()
        assert "VM status: paused" in read_until(text, "(dbgemu) ")
        text.write("cont\nquit\n")
        text.flush()
        assert session.status() == 0


def connect(path: Path) -> socket.socket:
    deadline = time.monotonic() + PATIENCE
    while True:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(PATIENCE)
        try:
            link.connect(str(path))
            return link
        except OSError:
            link.close()
            assert time.monotonic() < deadline
            time.sleep(0.05)


def read_until(text: Iterator[str], wanted: str) -> str:
    seen = ""
    while wanted not in seen:
        character = text.read(1)  # type: ignore[attr-defined]
        assert character, seen
        seen += character
    return seen


def test_a_serial_port_can_go_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "serial"
    with subprocess.Popen(
        [sys.executable, "-m", "dbgemu", "-demo", "-serial", f"file:{path}"], stdin=subprocess.DEVNULL
    ) as process:
        try:
            wait_until(lambda: path.exists() and path.read_text().endswith(PROMPT))
        finally:
            process.terminate()
    assert path.read_bytes().startswith(b"\r\ndbgemu demo firmware")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_elf_file_is_booted(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "demo.elf"
    path.write_bytes(demo_elf())
    assert "demo firmware" in start("-kernel", path, "-nographic").wait_for(PROMPT)


def test_a_gdb_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = dbgemu("-demo", "-gdb", f"tcp::{port}", "-nographic")
    assert done.returncode == 2
    assert done.stderr == f"dbgemu: cannot listen at tcp:127.0.0.1:{port}: Address already in use\n"


def test_s_keeps_the_cpu_stopped_until_a_debugger_starts_it(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "gdb"
    session = start("-demo", "-nographic", "-S", "-gdb", f"unix:{path}")
    with connect(path) as link:
        link.sendall(b"$?#3f")
        assert link.recv(100)
        time.sleep(0.3)
        assert not select.select([session.keyboard], [], [], 0)[0]
        link.sendall(b"+$vCont;c#a8")
        session.wait_for(PROMPT)


def test_what_is_executed_can_be_logged(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    session = start("-demo", "-nographic", "-d", "in_asm,exec,cpu,int", "-D", log)
    session.wait_for(PROMPT)
    session.command("crash")
    session.type("\x01x")
    assert session.status() == 0
    text = log.read_text()
    assert text.startswith("R00=00000000 R01=000007cf R02=30000100 R03=00000000\n")
    assert "\nTrace 0: 0x30008000\n0x30008000:  e321f092  msr cpsr_c, #0x92\n" in text
    assert f"\nTaking exception data abort at pc 0x{demo_program()['crash_here']:08x}\n" in text
    assert re.search(r"^Taking exception IRQ at pc 0x3000", text, re.MULTILINE)


@pytest.mark.parametrize("symbols", [False, True])
def test_guest_errors_are_logged_with_the_pc_and_its_symbol(
    start: Start, tmp_path: Path, symbols: bool
) -> None:
    log, elf = tmp_path / "log", tmp_path / "demo.elf"
    elf.write_bytes(demo_elf())
    known = ("-symbols", elf) if symbols else ()
    session = start("-demo", "-nographic", "-d", "guest_errors", "-D", log, *known)
    session.wait_for(PROMPT)
    session.command("poke 500000fc 1")
    session.type("\x01x")
    assert session.status() == 0
    pc = demo_program()["poke_here"]
    assert log.read_text().startswith("uart0: write of 0x1 ")
    named = " <poke_here>" if symbols else ""
    assert log.read_text().endswith(f" at pc 0x{pc:08x}{named}\n")
