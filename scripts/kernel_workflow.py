#!/usr/bin/env python3
"""Watch Linux boot under GDB: breakpoints with conditions, tracepoints, and a report of what was seen.

    .venv/bin/python scripts/kernel_workflow.py --report boot.md

Starts dbgemu with the Linux guest, stopped, and a real GDB with the kernel's symbols beside it, through
pygdbmi. GDB goes to ``start_kernel``, sets breakpoints whose conditions the emulator evaluates, and
tracepoints on every initcall and on every driver that meets a device; then the kernel boots up to its
first program. What stopped and what was traced becomes a report in Markdown.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COMMAND_LINE = "console=ttySAC0,115200 mini2440=0tb rdinit=/init"

#: stops of interest on the way, one of each; conditions are evaluated where the kernel runs
BREAKPOINTS = (
    "do_one_initcall if fn == populate_rootfs",
    "register_netdevice if dev->name[0] == 'e'",
)
#: the end: the kernel is about to become the first program
LAST = "run_init_process"

#: the first start compiles the interpreter (s)
_START_PATIENCE = 120
#: any single command of GDB, reading the symbols included (s)
_PATIENCE = 60

_INITCALL = re.compile(r"^initcall (\d+) (.*)$", re.MULTILINE)
_PROBE = re.compile(r"^probe (\d+) (\S+) (.+)$", re.MULTILINE)
_SYMBOL = re.compile(r"<([^>+]+)>")
_HITS = re.compile(r"already hit (\d+) time")

#: what is recorded, and how a frame is printed; the clock is the board's, in nanoseconds. Not collect/s:
#: GDB does not read that again from a trace file.
_TRACEPOINTS = """\
trace do_one_initcall
actions
collect $trace_timestamp, fn
end
trace really_probe
actions
collect $trace_timestamp, drv->name, *drv->name@32, dev->kobj.name, *dev->kobj.name@32
end
"""
_FRAMES = """\
set $number = 0
while $number < {frames}
tfind $number
if $tracepoint == {initcalls}
printf "initcall %llu ", (unsigned long long) $trace_timestamp
output fn
echo \\n
else
printf "probe %llu %s %s\\n", (unsigned long long) $trace_timestamp, drv->name, dev->kobj.name
end
set $number = $number + 1
end
"""


class WorkflowError(Exception):
    """What keeps this program from its work, in one sentence."""


@dataclass(frozen=True)
class Traced:
    """One trace frame: the board's time (ns), and who did what."""

    time: int
    name: str
    device: str = ""


@dataclass(frozen=True)
class Reached:
    """One breakpoint: what was asked for, where it is, how often it was passed, and the first stop there."""

    wanted: str
    address: int
    place: str
    hits: int
    frame: str


@dataclass
class Report:
    """Everything that a boot under GDB has shown."""

    kernel: str = ""
    evaluation: str = ""
    registers: dict[str, str] = field(default_factory=dict)
    breakpoints: list[Reached] = field(default_factory=list)
    frames: list[Traced] = field(default_factory=list)
    hits: dict[str, int] = field(default_factory=dict)
    #: seconds of host time
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def initcalls(self) -> list[Traced]:
        """The initcalls, in order."""
        return [item for item in self.frames if not item.device]

    @property
    def probes(self) -> list[Traced]:
        """Drivers that met devices, in order."""
        return [item for item in self.frames if item.device]

    def markdown(self) -> str:
        """The report's text."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# A kernel's boot under GDB"
        yield f"\n{self.kernel}\n"
        yield "| phase | seconds of host time |\n|---|---:|"
        for name, seconds in self.phases.items():
            yield f"| {name} | {seconds:.1f} |"
        yield "\n## At start_kernel\n\n| register | value |\n|---|---|"
        for name, value in self.registers.items():
            yield f"| {name} | `{value}` |"
        yield f"\n## Breakpoints\n\nConditions were evaluated by the {self.evaluation}."
        yield "\n| breakpoint | address | source | hits | stopped in |\n|---|---|---|---:|---|"
        for item in self.breakpoints:
            wanted = item.wanted.replace("|", "\\|")
            yield f"| `{wanted}` | 0x{item.address:08x} | {item.place} | {item.hits} | `{item.frame}` |"
        yield "\n## Tracepoints\n\n| function | hits |\n|---|---:|"
        for name, count in self.hits.items():
            yield f"| `{name}` | {count} |"
        yield "\nTimes are the board's, in milliseconds since power-on."
        yield f"\n## Drivers that met devices: {len(self.probes)}\n"
        yield "| # | ms | driver | device |\n|---:|---:|---|---|"
        for number, probe in enumerate(self.probes, 1):
            yield f"| {number} | {probe.time / 1e6:.3f} | {probe.name} | {probe.device} |"
        yield f"\n## Initcalls: {len(self.initcalls)}\n"
        yield "| # | ms | initcall | ms to the next |\n|---:|---:|---|---:|"
        following = [*self.initcalls[1:], None]
        for number, (call, later) in enumerate(zip(self.initcalls, following, strict=True), 1):
            duration = "" if later is None else f"{(later.time - call.time) / 1e6:.3f}"
            yield f"| {number} | {call.time / 1e6:.3f} | `{call.name}` | {duration} |"


class Gdb:
    """A GDB process, driven through its machine interface."""

    def __init__(self, program: str, symbols: Path) -> None:
        try:
            from pygdbmi.gdbcontroller import GdbController
        except ImportError:
            raise WorkflowError("pygdbmi is not installed: run scripts/setup --test") from None
        # Before mi4 GDB tells of tracepoints' actions in a way that pygdbmi cannot read.
        command = [program, "--nx", "--quiet", "--interpreter=mi4", "-iex", "set auto-load off", str(symbols)]
        try:
            self._controller = GdbController(command, time_to_check_for_additional_output_sec=0)
        except (OSError, ValueError):
            raise WorkflowError(f"'{program}' cannot be started: is it a GDB 13 or later?") from None
        self._stops: list[dict[str, Any]] = []
        for setting in ("confirm off", "pagination off", "width 0", "breakpoint pending off"):
            self.execute(f"set {setting}")

    def execute(self, command: str) -> str:
        """What ``command`` prints. Raises WorkflowError with GDB's own words when it fails."""
        quoted = command.replace("\\", "\\\\").replace('"', '\\"')
        return self._do(f'-interpreter-exec console "{quoted}"', command)[0]

    def source(self, script: str) -> str:
        """What the lines of ``script`` print: for commands that have further lines, as ``actions``."""
        with tempfile.NamedTemporaryFile("w", suffix=".gdb") as file:
            file.write(script)
            file.flush()
            return self.execute(f"source {file.name}")

    def insert(self, where: str) -> dict[str, Any]:
        """Set a breakpoint (as the command ``break`` takes it): what MI tells of it."""
        self.execute(f"break {where}")
        return self.breakpoints()[-1]

    def breakpoints(self) -> list[dict[str, Any]]:
        """What MI tells of all breakpoints and tracepoints."""
        body = self._do("-break-list", "info breakpoints")[1]["BreakpointTable"]["body"]
        return [item.get("bkpt", item) for item in body]

    def trace_frames(self) -> int:
        """How many frames have been recorded."""
        return int(self._do("-trace-status", "tstatus")[1]["frames"])

    def leave_frames(self) -> None:
        """Go back from the last frame to the machine itself."""
        # What 'tfind none' notifies of, pygdbmi cannot read.
        self._do("-trace-find none", "tfind none")

    def resume(self) -> dict[str, Any]:
        """Continue to the next stop: what MI tells of it."""
        self._stops.clear()
        self.execute("continue")
        deadline = time.monotonic() + _PATIENCE
        while not self._stops:
            if time.monotonic() > deadline:
                raise WorkflowError(f"the kernel did not come to a breakpoint within {_PATIENCE} seconds")
            self._read()
        return self._stops.pop(0)

    def close(self) -> None:
        """End GDB."""
        process = self._controller.gdb_process
        self._controller.exit()
        if process is not None:
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def _read(self) -> list[dict[str, Any]]:
        items = self._controller.get_gdb_response(timeout_sec=0.2, raise_error_on_timeout=False)
        self._stops += [item["payload"] for item in items if item["message"] == "stopped"]
        return list(items)

    def _do(self, line: str, told: str) -> tuple[str, dict[str, Any]]:
        try:
            self._controller.write(line, read_response=False)
            text = ""
            deadline = time.monotonic() + _PATIENCE
            while time.monotonic() < deadline:
                for item in self._read():
                    if item["type"] == "console":
                        text += item["payload"]
                    elif item["type"] == "result" and item["message"] == "error":
                        raise WorkflowError(f"gdb refuses '{told}': {item['payload']['msg']}")
                    elif item["type"] == "result":
                        return text, item["payload"] or {}
        except (OSError, ValueError):
            raise WorkflowError(f"gdb ended at '{told}'") from None
        raise WorkflowError(f"gdb did not answer '{told}' within {_PATIENCE} seconds")


def find_guest(given: Path | None) -> Path:
    """The guest's folder: as given, ``$DBGEMU_GUEST``, ``../shared/guest`` or ``guest``."""
    override = os.environ.get("DBGEMU_GUEST")
    places = [Path(override)] if override else []
    places = [given] if given is not None else [*places, ROOT.parent / "shared" / "guest", ROOT / "guest"]
    for place in places:
        if (place / "zImage").is_file():
            for name in ("vmlinux", "initramfs.cpio.gz"):
                if not (place / name).is_file():
                    raise WorkflowError(f"the guest in '{place}' has no '{name}'")
            return place.resolve()
    where = ", ".join(f"'{place}'" for place in places)
    raise WorkflowError(f"there is no Linux guest (zImage, vmlinux, initramfs.cpio.gz) in {where}")


def find_gdb(given: str | None) -> str:
    """The debugger: as given, or the first that is installed."""
    names = [given] if given else ["gdb-multiarch", "arm-none-eabi-gdb"]
    for path in map(shutil.which, names):
        if path:
            return path
    raise WorkflowError(f"there is no {' or '.join(names)}: install one, or name yours with --gdb")


@contextmanager
def emulator(guest: Path) -> Iterator[str]:
    """Run dbgemu with the guest, stopped at its first instruction: where its GDB server listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    line = guest / "cmdline.txt"
    append = line.read_text(encoding="utf-8").strip() if line.is_file() else COMMAND_LINE
    command = [sys.executable, "-m", "dbgemu", "-kernel", str(guest / "zImage")]
    command += ["-initrd", str(guest / "initramfs.cpio.gz"), "-append", append, "-serial", "null"]
    command += ["-monitor", "none", "-S", "-warp", "-gdb", f"tcp:127.0.0.1:{port}"]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile("w+") as messages:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            env=os.environ | {"PYTHONPATH": path},
        )
        try:
            deadline = time.monotonic() + _START_PATIENCE
            while not _listens(port):
                if process.poll() is not None:
                    messages.seek(0)
                    last = messages.read().strip().rpartition("\n")[2]
                    raise WorkflowError(f"dbgemu ended with status {process.returncode}: {last}")
                if time.monotonic() > deadline:
                    raise WorkflowError(f"dbgemu did not listen within {_START_PATIENCE} seconds")
                time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def watch_boot(gdb: Gdb, place: str, breakpoints: Sequence[str], save: Path | None) -> Report:
    """Boot the kernel that waits at ``place``, and tell what was seen; ``save`` gets the trace."""
    report = Report()
    begin = time.monotonic()

    def phase(name: str) -> None:
        nonlocal begin
        now = time.monotonic()
        report.phases[name] = now - begin
        begin = now

    gdb.execute(f"target remote {place}")
    gdb.execute("set breakpoint condition-evaluation auto")
    mode = gdb.execute("show breakpoint condition-evaluation")
    report.evaluation = "emulator" if "target" in mode else "debugger"

    # Not a software breakpoint: the MMU is off yet, and the kernel not unpacked.
    gdb.execute("hbreak start_kernel")
    stop = gdb.resume()
    if stop.get("frame", {}).get("func") != "start_kernel":
        raise WorkflowError(f"the kernel did not come to start_kernel: {stop.get('reason')}")
    phase("reset to start_kernel")
    report.kernel = gdb.execute("output (char *) linux_banner").partition('"')[2].partition("\\n")[0]
    for name in ("pc", "sp", "cpsr", "sctlr", "ttbr"):
        report.registers[name] = gdb.execute(f"output/x ${name}")

    wanted = {}
    for text in (*breakpoints, LAST):
        wanted[gdb.insert(text)["number"]] = text
    gdb.source(_TRACEPOINTS)
    tracepoints = [item for item in gdb.breakpoints() if "tracepoint" in item["type"]]
    gdb.execute("tstart")
    stopped: dict[str, str] = {}
    while True:
        stop = gdb.resume()
        number = stop.get("bkptno", "")
        if number not in wanted:
            raise WorkflowError(f"the kernel stopped before its first program: {stop.get('reason')}")
        stopped.setdefault(number, " < ".join(_callers(gdb.execute("bt 3"))))
        if wanted[number] == LAST:
            break
        # One stop is enough, the boot is to go on.
        gdb.execute(f"disable {number}")
    phase("start_kernel to the first program")

    gdb.execute("tstop")
    for item in gdb.breakpoints():
        if item["number"] in wanted:
            source = f"{item.get('file', '?').rpartition('linux-source-6.1/')[2]}:{item.get('line', '?')}"
            frame = stopped.get(item["number"], "never")
            text = wanted[item["number"]]
            reached = Reached(text, int(item["addr"], 16), source, int(item["times"]), frame)
            report.breakpoints.append(reached)
    count = gdb.trace_frames()
    # Which also fetches the counts of hits.
    gdb.execute("tstatus")
    for item in tracepoints:
        hits = _HITS.search(gdb.execute(f"info tracepoints {item['number']}"))
        report.hits[item["func"]] = int(hits[1]) if hits else 0
    report.frames = _frames(gdb.source(_FRAMES.format(frames=count, initcalls=tracepoints[0]["number"])))
    gdb.leave_frames()
    if save is not None:
        gdb.execute(f"tsave {save}")
    phase("reading the trace")
    gdb.execute("detach")
    return report


def _callers(backtrace: str) -> list[str]:
    return re.findall(r"^#\d+\s+(?:0x\w+ in )?(\w+)", backtrace, re.MULTILINE)


def _frames(text: str) -> list[Traced]:
    found = [
        (match.start(), Traced(int(match[1]), _function(match[2]))) for match in _INITCALL.finditer(text)
    ]
    found += [(match.start(), Traced(int(match[1]), match[2], match[3])) for match in _PROBE.finditer(text)]
    return [item for _, item in sorted(found, key=lambda pair: pair[0])]


def _function(pointer: str) -> str:
    name = _SYMBOL.search(pointer)
    return name[1] if name else pointer


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guest", type=Path, metavar="DIR", help="the Linux guest ($DBGEMU_GUEST)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="where the report goes (default: stdout)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the trace, for GDB's 'target tfile'")
    parser.add_argument("--gdb", metavar="COMMAND", help="GDB 13 or later (default: gdb-multiarch)")
    parser.add_argument(
        "--break",
        dest="breakpoints",
        action="append",
        metavar="'LOCATION if CONDITION'",
        help="stop there, once (may be repeated; default: two places of interest)",
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Watch a boot and write the report; 2 and a sentence when that cannot be done."""
    arguments = _arguments(words)
    try:
        for path in (arguments.report, arguments.save):
            if path is not None and not path.resolve().parent.is_dir():
                raise WorkflowError(f"there is no folder '{path.parent}' to write '{path.name}' in")
        guest, program = find_guest(arguments.guest), find_gdb(arguments.gdb)
        save = None if arguments.save is None else arguments.save.resolve()
        with emulator(guest) as place:
            gdb = Gdb(program, guest / "vmlinux")
            try:
                report = watch_boot(gdb, place, arguments.breakpoints or BREAKPOINTS, save)
            finally:
                gdb.close()
        if arguments.report is None:
            print(report.markdown(), end="")
        else:
            arguments.report.write_text(report.markdown(), encoding="utf-8")
    except WorkflowError as error:
        print(f"kernel_workflow: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"kernel_workflow: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
