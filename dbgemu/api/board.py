"""The board as scripts hold it: built from the command line's options, run as far as is wanted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dbgemu.api.errors import NotReachedError
from dbgemu.api.hooking import Hooking, catch_kind
from dbgemu.api.places import CpuRegisters, Devices, Memory, Where, resolve
from dbgemu.api.running import Reason, Stop, Wanted, reason_of
from dbgemu.api.serial import SerialPort
from dbgemu.debug.events import StopEvent, StopKind
from dbgemu.emulator import Emulator
from dbgemu.errors import Error
from dbgemu.host import shutdown
from dbgemu.options import SERIAL_PORTS, parse_command_line
from dbgemu.target.clock import NS_PER_SECOND

if TYPE_CHECKING:
    from dbgemu.api.recording import Recording
    from dbgemu.debug.linux import LinuxGuest
    from dbgemu.debug.session import DebugSession
    from dbgemu.debug.snapshots.book import Entry
    from dbgemu.debug.symbols import Symbols
    from dbgemu.debug.unwind import Frame
    from dbgemu.machine import Machine
    from dbgemu.monitor.command import Report

T = TypeVar("T")

_Path = Path | str

#: virtual seconds after which what is waited for is not expected any more
PATIENCE = 120.0

_EXPECTED = frozenset((Reason.ADDRESS, Reason.TEXT, Reason.TIME, Reason.COUNT, Reason.EVENT, Reason.HOOK))


def command_line(
    *,
    kernel: _Path | None,
    initrd: _Path | None,
    append: str | None,
    nand: _Path | None,
    nor: _Path | None,
    memory: str | None,
    rtc: str | None,
    demo: bool,
    snapshot: bool,
    warp: bool,
    symbols: Sequence[_Path],
    serial: Sequence[str],
) -> list[str]:
    """The emulator's arguments that say the same."""
    words: list[str] = []
    for name, value in (
        ("kernel", kernel),
        ("initrd", initrd),
        ("append", append),
        ("mtdblock", nand),
        ("pflash", nor),
        ("m", memory),
        ("rtc", None if rtc is None else f"base={rtc}"),
    ):
        if value is not None:
            words += [f"-{name}", str(value)]
    words += [f"-{name}" for name, on in (("demo", demo), ("snapshot", snapshot), ("warp", warp)) if on]
    for source in symbols:
        words += ["-symbols", str(source)]
    for device in (*serial, *["none"] * (SERIAL_PORTS - len(serial))):
        words += ["-serial", device]
    return words


class Board(Hooking):
    """A mini2440 that stands still until it is told to run. A context manager: leaving it ends all.

    ``nand`` and ``nor`` are flash images, ``memory`` the SDRAM in MiB, ``rtc`` the date the clock starts
    at (``"2026-11-22T10:00:00"``; the host's without: then no two runs are the same), ``symbols`` ELF
    files (``"FILE@OFFSET"`` for one that is not where it was linked to). With ``warp`` idle time passes at
    once. ``serial`` connects the ports to back ends of the command line as well. ``options`` are further
    words of the command line (``["-gdb", "tcp::1234"]``). Raises OptionError.

    One thread at a time runs the machine, but any thread may look into it, also while it runs.
    """

    def __init__(
        self,
        *,
        kernel: _Path | None = None,
        initrd: _Path | None = None,
        append: str | None = None,
        nand: _Path | None = None,
        nor: _Path | None = None,
        memory: str | None = None,
        rtc: str | None = None,
        demo: bool = False,
        snapshot: bool = False,
        warp: bool = True,
        symbols: Sequence[_Path] = (),
        serial: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        words = command_line(
            kernel=kernel,
            initrd=initrd,
            append=append,
            nand=nand,
            nor=nor,
            memory=memory,
            rtc=rtc,
            demo=demo,
            snapshot=snapshot,
            warp=warp,
            symbols=symbols,
            serial=serial,
        )
        if "-monitor" not in options:
            words += ["-monitor", "none"]
        # stopped: it runs when it is told to
        parsed = parse_command_line([*words, "-S", *options])
        if parsed.answer is not None:
            raise Error(f"one of {list(options)} asks for help, which is not to be had here")
        self.emulator = Emulator(parsed)
        session = self.emulator.session
        uarts = session.machine.board.uarts
        super().__init__(session, [SerialPort(session, uart) for uart in uarts])
        self.memory = Memory(session)
        self.physical = Memory(session, physical=True)
        self.registers = CpuRegisters(session)
        self.devices = Devices(session)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the machine and give everything back: image files, sockets, threads."""
        shutdown.forget(self.close)
        self.emulator.close()
        if "_scratch" in vars(self):
            self._scratch.cleanup()

    # -- what it consists of -----------------------------------------------------------------------

    @property
    def session(self) -> DebugSession:
        """The debug session that GDB and the monitor share: for all that is not offered here."""
        return self._session

    @property
    def machine(self) -> Machine:
        """The machine itself; to be used where :meth:`call` says."""
        return self._session.machine

    @property
    def console(self) -> SerialPort:
        """The first serial port."""
        return self._ports[0]

    @property
    def serial(self) -> Sequence[SerialPort]:
        """All three."""
        return self._ports

    @property
    def symbols(self) -> Symbols:
        """The symbols: ``find``, ``lookup``, ``describe``, ``line``, and ``add`` for more."""
        return self._session.symbols

    @property
    def linux(self) -> LinuxGuest:
        """The tasks, log and modules of a Linux guest whose ``vmlinux`` is among the symbols."""
        return self._session.linux

    @property
    def instructions(self) -> int:
        """Executed since power-on."""
        return self._session.call(lambda: self._cpu.instructions)

    @property
    def time(self) -> int:
        """Virtual time since power-on, in ns."""
        return self._session.call(lambda: self._clock.now)

    def address(self, where: Where) -> int:
        """The address of a symbol (``"jiffies+4"``). UnknownNameError."""
        return resolve(self._session, where)

    def backtrace(self, limit: int = 64) -> list[Frame]:
        """The frames from the present function outwards; for a machine that stands still, or in a hook."""
        from dbgemu.debug.unwind import Unwinder

        return self._session.call(lambda: list(Unwinder(self._session).frames(limit)))

    def callers(self, limit: int = 64) -> list[str]:
        """The names of their functions, or addresses where there are none."""

        def name(frame: Frame) -> str:
            found = self.symbols.lookup(frame.look)
            return found[0].name if found is not None else f"0x{frame.pc:08x}"

        return [name(frame) for frame in self.backtrace(limit)]

    # -- running -------------------------------------------------------------------------------------

    def run(self, *, instructions: int | None = None, seconds: float | None = None) -> Stop:
        """Run so many instructions or virtual seconds more, or until something stops the machine."""
        count = None if instructions is None else self.instructions + instructions
        time = None if seconds is None else self.time + round(seconds * NS_PER_SECOND)
        return self._run(Wanted(count=count, time=time, interrupted=self._interrupted))

    def run_until(
        self,
        where: Where | Sequence[Where] = (),
        *,
        text: str | Sequence[str] = (),
        port: int = 0,
        time: int | None = None,
        count: int | None = None,
        event: str | Sequence[str] = (),
        names: Sequence[str] = (),
        within: float | None = PATIENCE,
    ) -> Stop:
        """Run until the first of several things; the result tells which.

        ``where``: the instruction at an address or symbol is next (of several: any). ``text``: printed
        on serial port ``port``, or printed already and not read yet. ``time``: virtual ns since power-on.
        ``count``: instructions since power-on, exact. ``event``: as :meth:`on_exception` knows them, or
        ``interrupt``; ``names`` narrows it down to interrupt sources or devices.

        NotReachedError when the machine stops for something else than these or a hook, or after
        ``within`` virtual seconds (None: never).
        """
        serial = self._port(port)
        texts = [item.encode() for item in ([text] if isinstance(text, str) else text) if item]
        found = serial.find(texts) if texts else None
        if found is not None:
            return self._stop(Reason.TEXT, self._session.last_stop, found.decode())
        places = [where] if isinstance(where, (int, str)) else where
        kinds = [catch_kind(name) for name in ([event] if isinstance(event, str) else event) if name]
        wanted = Wanted(
            addresses=[self.address(place) & ~1 for place in places],
            port=serial,
            texts=texts,
            time=time,
            limit=None if within is None else self.time + round(within * NS_PER_SECOND),
            count=count,
            events=[(kind, names) for kind in kinds],
            interrupted=self._interrupted,
        )
        stop = self._run(wanted)
        if stop.reason not in _EXPECTED:
            what = _in_words(places, texts, time, count, [kind.value for kind in kinds])
            why = f"within {within:g} virtual seconds" if stop.reason is Reason.LIMIT else f"but: {stop}"
            raise NotReachedError(f"the guest did not come to {what} {why}", stop)
        return stop

    def command(self, line: str, *, prompt: str, port: int = 0, within: float | None = PATIENCE) -> str:
        """Type ``line`` at a shell and run to its next ``prompt``: what was printed between the two."""
        serial = self._port(port)
        serial.read()
        serial.write(line + "\r")
        start = len(serial.output)
        self.run_until(text=prompt, port=port, within=within)
        printed = serial.output[start:].decode("utf-8", "replace").replace("\r", "")
        return printed.partition("\n")[2].removesuffix(prompt)

    def step(self, count: int = 1) -> Stop:
        """Execute so many instructions one by one, interrupts held back, up to the first other stop."""
        self._check_outside()
        event = self._session.step()
        for _ in range(count - 1):
            if event.kind is not StopKind.STEP or event.breakpoints:
                break
            event = self._session.step()
        return self._ended(None, event)

    def start(self) -> None:
        """Let the machine run, and go on with the script at once: :meth:`wait` or :meth:`halt` it."""
        self._begin()
        self._running_here = False
        self._session.resume()

    def wait(self, timeout: float | None = None) -> Stop | None:
        """Wait until the machine stands still; None when it does not within ``timeout`` host seconds."""
        self._check_outside()
        event = self._session.wait(timeout)
        return None if event is None else self._ended(None, event)

    def halt(self) -> Stop:
        """Stop the machine."""
        self._check_outside()
        return self._ended(None, self._session.halt())

    def reset(self) -> None:
        """Reset the board: it boots anew with the next run."""
        self._session.reset()

    def call(self, action: Callable[[], T]) -> T:
        """Run ``action`` where :attr:`machine` may be used: now, or at a safe moment of the running one."""
        return self._session.call(action)

    def _run(self, wanted: Wanted) -> Stop:
        self._begin()
        self._running_here = True
        try:
            self._session.resume_until(wanted.run)
            event = self._session.wait()
        except KeyboardInterrupt:
            self._session.halt()
            raise
        finally:
            self._running_here = False
        assert event is not None
        return self._ended(wanted.reached, event)

    def _begin(self) -> None:
        self._check_outside()
        self._stopped_by = None
        self._raise_what_was_raised()

    def _ended(self, reached: tuple[Reason, str] | None, event: StopEvent) -> Stop:
        self._raise_what_was_raised()
        if reached is not None:
            return self._stop(reached[0], event, reached[1])
        return self._stop(Reason.HOOK if self._stopped_by is not None else reason_of(event), event)

    def _raise_what_was_raised(self) -> None:
        error, self._raised = self._raised, None
        if error is not None:
            raise error

    def _interrupted(self) -> bool:
        return self._stopped_by is not None

    def _stop(self, reason: Reason, event: StopEvent, message: str = "") -> Stop:
        hook = self._stopped_by if reason is Reason.HOOK else None
        symbol, instructions, time = self._session.call(lambda: self._now(event.pc))
        return Stop(reason, event.pc, symbol, instructions, time, message or event.message, hook)

    # -- the monitor, snapshots, GDB, traces -----------------------------------------------------------

    def monitor(self, line: str) -> Report:
        """Run a command of the monitor: ``text`` is what it prints, ``data`` the same for programs.

        CommandError, one sentence, for a command that cannot be obeyed.
        """
        return self.emulator.monitor.run(line)

    def save(self, name: str) -> Entry:
        """Save the machine's complete state: a name, or the path of a file. SnapshotError."""
        return self.emulator.services.snapshots.save(name)

    def load(self, name: str, *, force: bool = False) -> list[str]:
        """Put back a state that was saved; remarks on what came back with it. SnapshotError."""
        return self.emulator.services.snapshots.load(name, force=force)

    def serve_gdb(self, where: str = "tcp:127.0.0.1:0") -> str:
        """Serve GDB there; the place in fact, as port 0 is any free one. OptionError."""
        return self.emulator.services.serve_gdb_at(where)

    def trace(self, spec: str = "tb_exec", path: _Path | None = None) -> Recording:
        """Record a trace from now on, as ``trace start SPEC`` does, until the result is stopped.

        Without a ``path`` to a file that is gone when the board is closed. TraceError.
        """
        from dbgemu.api.recording import Recording
        from dbgemu.trace.control import control_of
        from dbgemu.trace.spec import TraceSpec

        options = self.emulator.options
        control = control_of(
            self._session,
            kernel=str(options.kernel or ""),
            command_line=options.append,
            rtc_start=self.emulator.rtc_start,
        )
        parsed = TraceSpec.parse(spec)
        if path is None:
            path = Path(parsed.file) if parsed.file else next(self._scratch_files)
        control.start(spec, None if parsed.ring is not None else path)
        shutdown.forget(self.close)
        shutdown.at_shutdown(self.close)  # so that a script that just ends, or is ended, has the whole trace
        return Recording(control, Path(path))

    @cached_property
    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="dbgemu-")

    @cached_property
    def _scratch_files(self) -> Iterator[Path]:
        folder = Path(self._scratch.name)
        return (folder / f"{number}.dbgtrace" for number in range(1 << 30))


def _in_words(
    places: Sequence[Where],
    texts: Sequence[bytes],
    time: int | None,
    count: int | None,
    events: Sequence[str],
) -> str:
    """What was waited for."""
    parts = [place if isinstance(place, str) else f"0x{place:08x}" for place in places]
    parts += [repr(text.decode("utf-8", "replace")) for text in texts]
    parts += [
        f"{value} {unit}" for value, unit in ((time, "ns"), (count, "instructions")) if value is not None
    ]
    return " or ".join([*parts, *events]) or "a stop"
