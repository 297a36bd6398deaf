"""An emulator put together from its options: board, machine, debuggers, consoles."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

from dbgemu.debug.events import FrontEnd, StopEvent, StopKind
from dbgemu.debug.session import DebugSession
from dbgemu.emulator_services import EmulatorServices
from dbgemu.errors import OptionError
from dbgemu.host import serial_link
from dbgemu.host.backend import Chardev, ChardevEvent
from dbgemu.host.chardev import ChardevSpec, open_chardev
from dbgemu.host.flash_image import open_eeprom_image, open_nand_image, open_nor_image
from dbgemu.host.iothread import IoThread
from dbgemu.host.shutdown import End
from dbgemu.machine import Machine
from dbgemu.monitor.monitor import Monitor
from dbgemu.option_semihosting import SemihostingOptions
from dbgemu.option_values import SymbolSource
from dbgemu.options import Options
from dbgemu.target.boot import STEPPINGSTONE_SIZE, BootPlan, plan_boot
from dbgemu.target.chips.at24c08 import SIZE as EEPROM_SIZE
from dbgemu.target.chips.dm9000 import DEFAULT_ADDRESS
from dbgemu.target.chips.nor_flash import NorFlash
from dbgemu.target.mini2440 import BootSwitch, Mini2440


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


def is_linux_elf(plan: BootPlan) -> bool:
    """What is to be booted is a Linux kernel in its ELF file, not packed."""
    return plan.kind == "ELF" and any(b"Linux version " in load.data for load in plan.loads)


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
        self.machine = Machine(board, warp=options.never_waits)
        if options.accel == "jit":
            self._translate()
        self.session = DebugSession(self.machine)
        self.services = EmulatorServices(options, self.session)
        enter(self.services.close)
        self.services.media.start(options.drives, options.usb_devices)
        self.monitor = Monitor(self.session, self.services)
        self.services.on_terminal = self.monitor.tell_standard_error
        self.session.attach(self)
        for source in options.symbols:
            self._add_symbols(source)
        if plan is not None and options.kernel is not None and is_linux_elf(plan):
            self._add_kernel_symbols(options.kernel)
        self.io = IoThread().start()
        enter(self.io.stop)
        self.services.prepare_gdb(self.io, self.monitor.execute)
        if options.gdb is not None:
            self.services.serve_gdb_at(options.gdb)
        enter(self.services.stop_gdb)
        self._connect()
        if options.audio.driver != "none":
            self._connect_audio()
        self.services.prepare_network(self.io, self.rtc_start)
        enter(self.services.close_network)
        if options.semihosting_options is not None:
            self._serve_semihosting(options.semihosting_options)
        enter(self.session.close)
        if any(spec.kind != "none" for spec in options.displays):
            self._show()
        if options.loadvm is not None:
            self.services.load_at_start(options.loadvm)
        if options.trace:
            self._start_trace()

    def _translate(self) -> None:
        from dbgemu.engine.translator.jit import accelerate

        self._resources.callback(accelerate(self.machine.cpu).close)

    def _board(self, plan: BootPlan | None) -> Mini2440:
        options, enter = self.options, self._resources.callback
        #: in seconds since 1970
        self.rtc_start = options.rtc.seconds()
        nand = nor = eeprom = None
        if options.mtdblock is not None:
            nand = open_nand_image(options.mtdblock, options.nand, snapshot=options.snapshot)
            enter(nand.close)
        if options.pflash is not None:
            nor = open_nor_image(options.pflash, NorFlash.size, snapshot=options.snapshot)
            enter(nor.close)
        if options.eeprom is not None:
            eeprom = open_eeprom_image(options.eeprom, EEPROM_SIZE, snapshot=options.snapshot)
            enter(eeprom.close)
        board = Mini2440(
            memory_size=options.memory,
            nand_part=options.nand,
            nand_image=nand,
            nor_image=nor,
            eeprom_image=eeprom,
            boot_switch=boot_switch(options, plan),
            rtc_start=self.rtc_start,
            period_ps=options.clock.period_ps,
            mac=self._network_address(),
            panel=options.panel,
        )
        board.boot_plan = plan
        return board

    def _network_address(self) -> bytes:
        if not self.options.net:
            return DEFAULT_ADDRESS
        from dbgemu.option_net import net_plan

        return net_plan(self.options.net).address

    # What only some runs need is imported by them: a start is mostly imports.

    def _add_symbols(self, source: SymbolSource) -> None:
        from dbgemu.debug.symbols import SymbolsError

        try:
            self.session.symbols.add(source.path, source.offset)
        except SymbolsError as error:
            raise OptionError(f"-symbols: {error}") from None

    def _add_kernel_symbols(self, kernel: Path) -> None:
        """Those of a Linux kernel that runs from its ELF file, when they were not asked for and are there."""
        from dbgemu.debug.symbols import SymbolsError

        if all(file.path.resolve() != kernel.resolve() for file in self.session.symbols.files):
            with suppress(SymbolsError):
                self.session.symbols.add(kernel)

    def _show(self) -> None:
        from dbgemu.emulator_display import EmulatorDisplay

        self.display = EmulatorDisplay(
            self.options.displays, self.session, self.io, name=self.options.name, on_close=self._ended.set
        )
        self._resources.callback(self.display.close)

    def _start_trace(self) -> None:
        from dbgemu.option_trace import start_trace

        start_trace(
            self.session,
            self.options.trace,
            kernel=str(self.options.kernel or ""),
            command_line=self.options.append,
            rtc_start=self.rtc_start,
        )

    def _connect_audio(self) -> None:
        from dbgemu.option_audio import open_audio

        backend = open_audio(self.options.audio)
        self._resources.callback(backend.close)
        self.machine.board.connect_audio(backend.sink, backend.source, self.options.audio.rate)

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
            epoch=self.rtc_start,
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
        self.services.backends[label] = backend
        return backend

    def _serial_event(self, event: ChardevEvent) -> None:
        if event is ChardevEvent.QUIT:
            self._ended.set()

    def _attach_console(self, backend: Chardev, *, shared: bool) -> None:
        from dbgemu.monitor.console import Console

        console = Console(backend, self.monitor, shared=shared, machine_name=self.options.name)
        self._resources.callback(console.close)

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
