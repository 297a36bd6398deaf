"""The command line: every option is one row of a table; the result is an :class:`Options`.

Spellings and meanings are QEMU's, so that a command line for ``qemu-system-arm -M mini2440`` works here:
one dash (two are accepted), the argument as the next word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from dbgemu import __version__, option_drive
from dbgemu import option_values as value
from dbgemu.errors import OptionError
from dbgemu.host.chardev import FORMS, ChardevSpec, parse_chardev
from dbgemu.option_audio import AudioOptions, audio_help, audio_options
from dbgemu.option_display import DisplaySpec, display, panel, panel_help, vnc
from dbgemu.option_drive import Drive, PluggedDevice
from dbgemu.option_nand import nand_chip
from dbgemu.option_semihosting import SemihostingOptions, semihosting_config
from dbgemu.option_trace import trace_help, trace_option
from dbgemu.option_values import ClockRate, RtcBase, SymbolSource
from dbgemu.options_refused import MEANINGLESS, MISSING, refusal
from dbgemu.target.chips.lcd_panel import DEFAULT_MODEL, PanelModel
from dbgemu.target.chips.nand_parts import DEFAULT_PART, PARTS, NandPart

if TYPE_CHECKING:
    from dbgemu.option_net import NetSpec

SERIAL_PORTS = 3

#: what ``-d`` can log; what is called slow executes one instruction at a time
LOG_ITEMS: dict[str, str] = {
    "guest_errors": "accesses to devices that no driver should make",
    "unimp": "the same",
    "int": "exceptions and interrupts that are taken (slow)",
    "in_asm": "each instruction, disassembled, when it is executed first (slow)",
    "exec": "the pc of each instruction that is executed (slow)",
    "cpu": "the registers in front of each instruction (slow)",
    "mmu": "faults, and changes of the translation table base and the MMU's enable bit (slow)",
    "op": "LLVM IR of translated code, when it comes into use",
    "out_asm": "host code of translated code, when it comes into use",
}


class Options(NamedTuple):
    """A command line that has been understood. Sizes are in bytes."""

    machine: str = "mini2440"
    cpu: str = "arm920t"
    memory: int = 64 * value.MIB
    name: str = ""
    kernel: Path | None = None
    demo: bool = False
    initrd: Path | None = None
    append: str = ""
    mtdblock: Path | None = None
    pflash: Path | None = None
    eeprom: Path | None = None
    nand: NandPart = DEFAULT_PART
    drives: tuple[Drive, ...] = ()
    usb_devices: tuple[PluggedDevice, ...] = ()
    snapshot: bool = False
    loadvm: str | None = None
    snapshots: Path = Path()
    serial: tuple[ChardevSpec, ...] = ()
    monitor: ChardevSpec | None = None
    net: tuple[NetSpec, ...] = ()
    nographic: bool = False
    panel: PanelModel = DEFAULT_MODEL
    displays: tuple[DisplaySpec, ...] = ()
    gdb: str | None = None
    stopped: bool = False
    symbols: tuple[SymbolSource, ...] = ()
    audio: AudioOptions = AudioOptions()
    trace_dir: Path | None = None
    trace: tuple[str, ...] = ()
    semihosting: bool = False
    semihosting_config: SemihostingOptions | None = None
    semihosting_dir: Path | None = None
    rtc: RtcBase = RtcBase()
    clock: ClockRate = ClockRate()
    accel: str = "jit"
    warp: bool = False
    log_items: frozenset[str] = frozenset()
    log_file: Path | None = None
    #: text that answers the command line by itself (-h, -version, -M ?): print it, do nothing else
    answer: str | None = None

    @property
    def never_waits(self) -> bool:
        """Idle time passes at once: ``-warp``, or ``sleep=off`` in ``-icount``."""
        return self.warp or self.clock.warp

    @property
    def semihosting_options(self) -> SemihostingOptions | None:
        """How semihosting calls are answered; None: they are exceptions like all SVCs."""
        options = self.semihosting_config or SemihostingOptions(enabled=self.semihosting)
        return options if options.enabled else None

    def ports(self) -> tuple[tuple[ChardevSpec, ...], ChardevSpec]:
        """What the three serial ports and the monitor are connected to, defaults filled in.

        QEMU's rules for ``-nographic``, which hold here always as there is no window that could show
        a port: what was not given shares the terminal, where it is free.
        """
        console = self.semihosting_config.console if self.semihosting_config else None
        given = (*self.serial, self.monitor, console)
        free = not any(spec.kind == "stdio" for spec in given if spec is not None)
        if self.serial:
            first = self.serial[0]
            default = "stdio" if free and self.nographic else "none"
        else:
            first = parse_chardev("null" if not free else "stdio" if self.monitor else "mon:stdio")
            default = "none"
        rest = (*self.serial[1:], *[parse_chardev("null")] * SERIAL_PORTS)
        return (first, *rest)[:SERIAL_PORTS], self.monitor or parse_chardev(default)


class Row(NamedTuple):
    """One option: how it is spelled, what its argument is, and where the value goes."""

    name: str
    #: the argument as help shows it; "" for an option without one
    argument: str
    help: str
    #: the attribute of :class:`Options` that is set; "" for none
    field: str
    #: argument -> value; an option without argument gets ""
    convert: Callable[[str], Any]
    #: values gather in a tuple instead of the last one counting
    repeatable: bool = False


def _flag(_: str) -> bool:
    return True


class _Answer(Exception):
    """The command line is answered by a text."""


def _answering(text: str, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """``convert``, but ``?`` and ``help`` are answered with ``text``."""

    def answer_or_convert(argument: str) -> Any:
        if argument in ("?", "help"):
            raise _Answer(text)
        return convert(argument)

    return answer_or_convert


def _answer_help(_: str) -> None:
    raise _Answer(help_text())


def _answer_version(_: str) -> None:
    raise _Answer(f"dbgemu {__version__}")


def _log_items(argument: str) -> frozenset[str]:
    names = frozenset(argument.split(","))
    for name in sorted(names - LOG_ITEMS.keys()):
        near = get_close_matches(name, LOG_ITEMS, n=1)
        hint = f"did you mean {near[0]}" if near else "-d help lists what can"
        raise OptionError(f"'{name}' cannot be logged: {hint}")
    return names


_MACHINES = "Supported machines are:\nmini2440             FriendlyARM mini2440 (S3C2440A) (default)"
_CPUS = "Available CPUs:\n  arm920t"
_NANDS = "Available NAND chips:\n" + "\n".join(f"  {name}" for name in PARTS)
_LOGS = "Log items (comma separated):\n" + "\n".join(f"{k:<15} {v}" for k, v in LOG_ITEMS.items())

_machine = _answering(_MACHINES, value.machine_type)
_nand_name = value.one_of(PARTS, "a NAND chip")
_nand = _answering(_NANDS, lambda argument: nand_chip(argument, _nand_name))


_audio = _answering(audio_help(), audio_options)


_panel = _answering(panel_help(), panel)


def _trace(argument: str) -> str:
    if argument in ("?", "help"):
        raise _Answer(trace_help())
    return trace_option(argument)


def _net(option: str) -> Callable[[str], NetSpec]:
    """The converter of one of the network's options, whose module few runs need."""

    def convert(argument: str) -> NetSpec:
        from dbgemu import option_net

        if argument in ("?", "help"):
            raise _Answer(option_net.help_text())
        converters = {
            "net": option_net.net,
            "netdev": option_net.netdev,
            "nic": option_net.nic,
            "object": option_net.net_object,
        }
        return converters[option](argument)

    return convert


#: headings and, under each, its options
TABLE: dict[str, tuple[Row, ...]] = {
    "Standard options": (
        Row("h", "", "display this help and exit", "", _answer_help),
        Row("help", "", "the same", "", _answer_help),
        Row("version", "", "display the version and exit", "", _answer_version),
        Row("M", "mini2440", "the machine (? lists them)", "machine", _machine),
        Row("machine", "mini2440", "the same", "machine", _machine),
        Row("cpu", "arm920t", "the CPU (? lists them)", "cpu", _answering(_CPUS, value.cpu_model)),
        Row("m", "SIZE", "SDRAM in MiB, or with K, M, G (default: 64)", "memory", value.memory_size),
        Row("name", "NAME", "a name for this machine, which the monitor shows", "name", value.guest_name),
    ),
    "What is booted": (
        Row(
            "kernel",
            "FILE",
            "a kernel or firmware: zImage, uImage, ELF or raw",
            "kernel",
            value.existing_file,
        ),
        Row("initrd", "FILE", "the kernel's initial RAM disk", "initrd", value.existing_file),
        Row("append", "TEXT", "the kernel's command line", "append", value.text),
        Row("mtdblock", "FILE", "the NAND flash's image; boots from it", "mtdblock", value.existing_file),
        Row("pflash", "FILE", "the NOR flash's image; boots from it", "pflash", value.existing_file),
        Row("eeprom", "FILE", "the I2C EEPROM's image, made when there is none", "eeprom", value.file_or_new),
        Row(
            "nand",
            "PART[,bad=N+N]",
            "the NAND chip (? lists them), bad blocks",
            "nand",
            _nand,
        ),
        Row("snapshot", "", "leave the image files as they are", "snapshot", _flag),
        Row("demo", "", "boot the built-in demo firmware", "demo", _flag),
        Row("loadvm", "NAME", "start in a state that savevm saved", "loadvm", value.text),
        Row("snapshots", "DIR", "where savevm saves (default: here)", "snapshots", value.existing_folder),
    ),
    "Ports and consoles": (
        Row("serial", "DEV", "connect a serial port (up to 3 times)", "serial", value.character_device, True),
        Row("monitor", "DEV", "connect the monitor", "monitor", value.character_device),
        Row("nographic", "", "serial port and monitor share the terminal", "nographic", _flag),
        Row("audiodev", "DRV,K=V,...", "where sound goes (help tells more)", "audio", _audio),
        Row("display", "KIND", "show the screen: none, sdl (a window), vnc=:N", "displays", display, True),
        Row("sdl", "", "the same as -display sdl", "displays", lambda _: display("sdl"), True),
        Row("vnc", "[HOST]:N", "the same as -display vnc=...: port 5900 + N", "displays", vnc, True),
        Row("panel", "PANEL", "the LCD panel (? lists them; default: auto)", "panel", _panel),
    ),
    "Media, and what is plugged in": (
        Row("sd", "FILE", "the image of an SD card in the slot", "drives", option_drive.sd_image, True),
        Row(
            "drive",
            "file=FILE,...",
            "an image; if= says where: sd, mtd, pflash, none",
            "drives",
            option_drive.drive,
            True,
        ),
        Row("usb", "", "the board has USB always, so this does nothing", "", _flag),
        Row(
            "usbdevice",
            "KIND",
            "plug in disk:FILE, keyboard, mouse or tablet",
            "usb_devices",
            option_drive.usb_device,
            True,
        ),
        Row(
            "device",
            "KIND,...",
            "plug in usb-storage, usb-kbd, usb-mouse, usb-tablet",
            "usb_devices",
            option_drive.device,
            True,
        ),
    ),
    "Network": (
        Row("net", "KIND[,K=V,...]", "where the cable leads (help tells more)", "net", _net("net"), True),
        Row("nic", "KIND[,K=V,...]", "the same, with the card's address in it", "net", _net("nic"), True),
        Row("netdev", "KIND,id=ID,...", "the same, for -net nic,netdev=ID", "net", _net("netdev"), True),
        Row("object", "filter-dump,...", "write the network's frames to a file", "net", _net("object"), True),
    ),
    "Debugging": (
        Row("gdb", "DEV", "serve GDB at tcp:HOST:PORT or unix:PATH", "gdb", value.gdb_server),
        Row("s", "", "the same as -gdb tcp::1234", "gdb", lambda _: "tcp::1234"),
        Row("S", "", "do not start the CPU: a debugger will", "stopped", _flag),
        Row(
            "symbols",
            "FILE[@OFFSET]",
            "ELF files whose names stops show",
            "symbols",
            value.symbol_source,
            True,
        ),
        Row(
            "trace-dir",
            "DIR",
            "where GDB's tsave -r may write",
            "trace_dir",
            value.existing_folder,
        ),
        Row("semihosting", "", "answer the guest's semihosting calls", "semihosting", _flag),
        Row(
            "semihosting-config",
            "K=V,...",
            "with enable, target, chardev, userspace, arg",
            "semihosting_config",
            semihosting_config,
        ),
        Row(
            "semihosting-dir",
            "DIR",
            "whose files these calls may use (default: none)",
            "semihosting_dir",
            value.existing_folder,
        ),
        Row("d", "ITEM,...", "log these (help lists them)", "log_items", _answering(_LOGS, _log_items)),
        Row("trace", "SPEC", "record events to a file (help tells more)", "trace", _trace, True),
        Row("D", "FILE", "log to FILE instead of the terminal", "log_file", value.writable_file),
    ),
    "Time": (
        Row("rtc", "base=...", "utc, localtime or a date: where the clock starts", "rtc", value.rtc_base),
        Row(
            "icount",
            "shift=N|auto",
            "an instruction takes 2**N ns (auto: a core clock)",
            "clock",
            value.clock_rate,
        ),
        Row("warp", "", "never wait while the guest idles", "warp", _flag),
    ),
    "Engine": (
        Row(
            "accel",
            "interp|jit",
            "interpret, or translate hot code too (default: jit)",
            "accel",
            value.accelerator,
        ),
    ),
}

ROWS: dict[str, Row] = {row.name: row for rows in TABLE.values() for row in rows}

_NOTES = (
    f"DEV is one of: {FORMS}.",
    "On a serial port at the terminal, Ctrl-A x ends the emulator, Ctrl-A h lists the other keys.",
)


def help_text() -> str:
    """What ``-h`` prints."""
    lines = [f"dbgemu {__version__}: a mini2440 board for looking into", "usage: dbgemu [options]"]
    for heading, rows in TABLE.items():
        lines += ["", f"{heading}:"]
        for row in rows:
            spelling = f"-{row.name} {row.argument}".rstrip()
            lines.append(f"  {spelling:<24} {row.help}")
    return "\n".join([*lines, "", *(fill(note, 78, subsequent_indent="  ") for note in _NOTES)])


def parse_command_line(arguments: Sequence[str]) -> Options:
    """The options that ``arguments`` (without the program's name) give.

    Raises OptionError for a command line that cannot be used.
    """
    words = iter(arguments)
    found: dict[str, Any] = {}
    try:
        for word in words:
            row = _row_for(word)
            argument = _argument_of(row, words)
            try:
                converted = row.convert(argument)
            except OptionError as error:
                raise OptionError(f"-{row.name}: {error}") from None
            if row.repeatable:
                found[row.field] = (*found.get(row.field, ()), converted)
            elif row.field:
                found[row.field] = converted
    except _Answer as answer:
        return Options(answer=str(answer))
    option_drive.place(found)
    options = Options(**found)
    _check_together(options)
    return options


def _row_for(word: str) -> Row:
    if not word.startswith("-") or word == "-":
        raise OptionError(f"'{word}' is not an option: a kernel or firmware is given as -kernel FILE")
    name = word[2:] if word.startswith("--") else word[1:]
    row = ROWS.get(name)
    if row is not None:
        return row
    refused = refusal(name)
    if refused is not None:
        raise OptionError(refused)
    before, equals, after = name.partition("=")
    if equals and before in ROWS:
        raise OptionError(f"there is no option '{word}': write -{before} {after}")
    near = get_close_matches(name, [*ROWS, *MEANINGLESS, *MISSING], n=1) if len(name) > 1 else []
    hint = f"did you mean -{near[0]}?" if near else "-h lists them"
    raise OptionError(f"there is no option '{word}': {hint}")


def _argument_of(row: Row, words: Iterable[str]) -> str:
    if not row.argument:
        return ""
    for word in words:
        return word
    raise OptionError(f"-{row.name} needs an argument: -{row.name} {row.argument}")


def _check_together(options: Options) -> None:
    """Refuse what cannot be used at the same time, or not alone."""
    if len(options.serial) > SERIAL_PORTS:
        raise OptionError(f"-serial is given {len(options.serial)} times, but the board has 3 serial ports")
    given = (*options.serial, options.monitor, (options.semihosting_config or SemihostingOptions()).console)
    if sum(spec.kind == "stdio" for spec in given if spec is not None) > 1:
        raise OptionError("the terminal can be used only once: give stdio to one of -serial and -monitor")
    if options.initrd and not options.kernel:
        raise OptionError("-initrd needs a kernel to give it to: add -kernel FILE")
    if options.append and not options.kernel:
        raise OptionError("-append needs a kernel to give it to: add -kernel FILE")
    if not (options.kernel or options.demo or options.mtdblock or options.pflash or options.stopped):
        raise OptionError("there is nothing to boot: give -kernel, -mtdblock, -pflash or -demo")
    if options.semihosting_dir and not options.semihosting_options:
        raise OptionError("-semihosting-dir is for the guest's semihosting calls: add -semihosting")
    if options.semihosting and not options.semihosting_options:
        raise OptionError("-semihosting cannot be used with enable=off in -semihosting-config")
    if options.net:
        from dbgemu.option_net import net_plan

        net_plan(options.net)
    if options.demo and options.kernel:
        raise OptionError("-demo boots firmware of its own, so it cannot be used with -kernel")


assert all(row.field in {"", *Options._fields} for row in ROWS.values())
