"""An emulator put together from its options: board, machine, debuggers, consoles."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from dbgemu.debug.events import FrontEnd, StopEvent, StopKind
from dbgemu.debug.session import DebugSession
from dbgemu.errors import OptionError
from dbgemu.host import serial_link
from dbgemu.host.backend import Chardev, ChardevEvent
from dbgemu.host.chardev import ChardevSpec, open_chardev
from dbgemu.host.flash_image import open_nand_image, open_nor_image
from dbgemu.host.iothread import IoThread
from dbgemu.host.shutdown import End
from dbgemu.machine import Machine
from dbgemu.monitor.monitor import Monitor
from dbgemu.option_semihosting import SemihostingOptions
from dbgemu.option_values import SymbolSource
from dbgemu.options import Options
from dbgemu.target.boot import STEPPINGSTONE_SIZE, BootPlan, plan_boot
from dbgemu.target.chips.nor_flash import NorFlash
from dbgemu.target.mini2440 import BootSwitch, Mini2440

_GUEST_ERRORS = frozenset(("guest_errors", "unimp"))


def boot_plan(options: Options) -> BootPlan | None:
    """What ``-kernel`` or ``-demo`` want in memory; None to boot from flash. Raises OptionError."""
    if options.demo:
        from dbgemu.demo import demo_program  # assembled only when it is wanted

        kernel, name = demo_program().data, "the demo firmware"
    elif options.kernel is not None:
        kernel, name = _read(options.kernel), str(options.kernel)
    else:
        return None
    return plan_boot(
        kernel,
        name,
        memory_size=options.memory,
        command_line=options.append,
        initrd=_read(options.initrd) if options.initrd else None,
        initrd_name=str(options.initrd),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OptionError(f"'{path}' cannot be read: {error.strerror}") from None


def boot_switch(options: Options, plan: BootPlan | None) -> BootSwitch:
    """Where the board's boot switch is: what is to be booted decides.

    A loaded kernel gets the NOR flash at address 0, as the board has it when its bootloader is there,
    unless it wants to be in the SRAM that is there instead.
    """
    if plan is not None:
        in_sram = any(load.address < STEPPINGSTONE_SIZE for load in plan.loads)
        return BootSwitch.NAND if in_sram else BootSwitch.NOR
    return BootSwitch.NAND if options.mtdblock and not options.pflash else BootSwitch.NOR


class Emulator(FrontEnd):
    """A board that runs, with everything that the options connect to it.

    A context manager: leaving it closes images, sockets and the terminal. Raises OptionError.
    """

    name = "emulator"

    def __init__(self, options: Options) -> None:
        self.options = options
        self._ended = End()
        self._status = 0
        self._resources = ExitStack()
        self._resources.callback(self._ended.close)
        try:
            self._build()
        except BaseException:
            self._resources.close()
            raise

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the machine and give everything back, the latest first."""
        self._resources.close()

    def _build(self) -> None:
        options, enter = self.options, self._resources.callback
        plan = boot_plan(options)
        board = self._board(plan)
        self._write_log = self._open_log()
        self.machine = self._machine(board)
        if _GUEST_ERRORS & options.log_items:
            board.log.listeners.append(lambda error: self._write_log(str(error)))
        self.session = DebugSession(self.machine)
        self._monitor = Monitor(self.session)
        self.session.attach(self)
        for source in options.symbols:
            self._add_symbols(source)
        self.io = IoThread().start()
        enter(self.io.stop)
        if options.gdb is not None:
            self._serve_gdb(options.gdb)
        self._connect()
        if options.semihosting_options is not None:
            self._serve_semihosting(options.semihosting_options)
        enter(self.session.close)

    def _board(self, plan: BootPlan | None) -> Mini2440:
        options, enter = self.options, self._resources.callback
        #: in seconds since 1970
        self._rtc_start = options.rtc.seconds()
        nand = nor = None
        if options.mtdblock is not None:
            nand = open_nand_image(options.mtdblock, options.nand, snapshot=options.snapshot)
            enter(nand.close)
        if options.pflash is not None:
            nor = open_nor_image(options.pflash, NorFlash.size, snapshot=options.snapshot)
            enter(nor.close)
        board = Mini2440(
            memory_size=options.memory,
            nand_part=options.nand,
            nand_image=nand,
            nor_image=nor,
            boot_switch=boot_switch(options, plan),
            rtc_start=self._rtc_start,
            period_ps=options.clock.period_ps,
        )
        board.boot_plan = plan
        return board

    def _machine(self, board: Mini2440) -> Machine:
        items = self.options.log_items - _GUEST_ERRORS
        if not items:
            return Machine(board, warp=self.options.never_waits)
        from dbgemu.execution_log import LoggedMachine  # with the disassembler, which takes its time

        return LoggedMachine(
            board, items=items, write=lambda line: self._write_log(line), warp=self.options.never_waits
        )

    def _open_log(self) -> Callable[[str], None]:
        stream: TextIO = sys.stderr
        path = self.options.log_file
        if path is not None:
            try:
                stream = self._resources.enter_context(path.open("w", buffering=1))
            except OSError as error:
                raise OptionError(f"-D: '{path}' cannot be written: {error.strerror}") from None

        def write(line: str) -> None:
            stream.write(line + "\n")

        return write

    # What only some runs need is imported by them: a start is mostly imports.

    def _add_symbols(self, source: SymbolSource) -> None:
        from dbgemu.debug.symbols import SymbolsError

        try:
            self.session.symbols.add(source.path, source.offset)
        except SymbolsError as error:
            raise OptionError(f"-symbols: {error}") from None

    def _serve_gdb(self, where: str) -> None:
        from dbgemu.gdbstub.server import GdbServer

        server = GdbServer(
            self.session,
            where,
            monitor=self._monitor.execute,
            program=self.options.kernel,
            trace_folder=self.options.trace_dir,
        )

        async def start() -> None:
            server.start(self.io.loop)

        async def close() -> None:
            server.close()

        self.io.run(start())
        self._resources.callback(lambda: self.io.run(close()))

    def _connect(self) -> None:
        """Open the serial ports and the monitor."""
        ports, monitor = self.options.ports()
        for number, spec in enumerate(ports):
            if spec.kind in ("null", "none"):
                continue
            backend = self._open(spec, f"serial{number}", nographic=self.options.nographic)
            uart = self.machine.board.uarts[number]
            serial_link.join(uart, backend, self.machine.post, self._serial_event)
            if backend.monitor is not None:
                self._attach_console(backend.monitor, shared=True)
        if monitor.kind not in ("null", "none"):
            self._attach_console(self._open(monitor, "monitor"), shared=False)

    def _serve_semihosting(self, options: SemihostingOptions) -> None:
        from dbgemu import semihosting_setup
        from dbgemu.debug.semihosting.config import SemihostingConfig

        ports, monitor = self.options.ports()
        if options.console is not None:
            backend = self._open(options.console, "semihosting")
            console = semihosting_setup.chardev_console(backend)
            semihosting_setup.connect_input(console, backend, self.machine.post)
        else:
            console = semihosting_setup.standard_console()
            if not any(spec.kind == "stdio" for spec in (*ports, monitor)):
                backend = self._open_stdio()
                semihosting_setup.connect_input(console, backend, self.machine.post)
        words = options.arguments or (str(self.options.kernel or ""), *self.options.append.split())
        config = SemihostingConfig(
            target=options.target,
            user=options.user,
            folder=self.options.semihosting_dir,
            command_line=" ".join(words).encode("utf-8", "surrogateescape"),
            epoch=self._rtc_start,
            free_memory=semihosting_setup.free_memory(self.machine.board.boot_plan, self.options.memory),
        )
        try:
            semihosting = self.session.serve_semihosting(config, console)
        except OSError as error:
            raise OptionError(
                f"-semihosting-dir: '{config.folder}' cannot be used: {error.strerror}"
            ) from None
        self._resources.callback(semihosting.close)

    def _open_stdio(self) -> Chardev:
        from dbgemu.host.stdio import StdioChardev

        backend = StdioChardev(self.io, signals=True, raw=False)
        self._resources.callback(backend.close)
        return backend

    def _open(self, spec: ChardevSpec, label: str, *, nographic: bool = False) -> Chardev:
        backend = open_chardev(spec, self.io, nographic=nographic, label=label)
        self._resources.callback(backend.close)
        return backend

    def _serial_event(self, event: ChardevEvent) -> None:
        if event is ChardevEvent.QUIT:
            self._ended.set()

    def _attach_console(self, backend: Chardev, *, shared: bool) -> None:
        from dbgemu.monitor.console import Console

        Console(backend, self._monitor, shared=shared, machine_name=self.options.name)

    # -- running ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until the user or the guest ends it; the exit status."""
        if not self.options.stopped:
            self.session.resume(by=self)
        self._ended.wait()
        return self._status

    def stopped(self, event: StopEvent) -> None:
        """The machine stopped: end where no debugger could go on."""
        if event.kind is StopKind.ERROR:
            self._status = 1
            self._ended.set()
        elif event.kind is StopKind.SHUTDOWN:
            self._status = event.status
            self._ended.set()

    def quitting(self) -> None:
        """Somebody told the emulator to end."""
        self._ended.set()
