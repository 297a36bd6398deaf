"""From the text of one command-line argument to a value: what the rows of the option table use.

Each function takes the argument's text and returns the value, or raises :class:`OptionError` with a
clause that names the bad text and says what would be right; the caller puts the option in front.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NamedTuple

from dbgemu.errors import OptionError
from dbgemu.host.chardev import ChardevSpec, parse_chardev

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

#: SDRAM sizes that one bank of the memory controller can hold (S3C2440A UM 5-16, BANKSIZE: BK76MAP)
MEMORY_SIZES = tuple(n * MIB for n in (2, 4, 8, 16, 32, 64, 128))


class RtcBase(NamedTuple):
    """Where the real-time clock starts: the host's time, or a fixed moment."""

    zone: Literal["utc", "localtime"] = "utc"
    fixed: datetime | None = None

    def seconds(self) -> int:
        """The moment to start with, as the clock shows it, in seconds since 1970."""
        if self.fixed is not None:
            return int(self.fixed.replace(tzinfo=UTC).timestamp())
        if self.zone == "utc":
            return int(time.time())
        return int(datetime.now().replace(tzinfo=UTC).timestamp())


class ClockRate(NamedTuple):
    """How much virtual time an instruction takes, and whether idle time is waited for."""

    #: of an instruction; None: a period of the core clock, as the guest sets it
    period_ps: int | None = None
    warp: bool = False


def text(argument: str) -> str:
    """The argument as it is."""
    return argument


def existing_file(argument: str) -> Path:
    """A file that can be read."""
    path = Path(argument).expanduser()
    if path.is_dir():
        raise OptionError(f"'{argument}' is a directory, not a file")
    if not path.exists():
        raise OptionError(f"there is no file '{argument}'")
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise OptionError(f"'{argument}' cannot be read: {error.strerror}") from None


def file_or_new(argument: str) -> Path:
    """A file that can be read, or a name for one in a folder that there is."""
    path = Path(argument).expanduser()
    if path.exists() or path.is_symlink():
        return existing_file(argument)
    if not path.parent.is_dir():
        raise OptionError(f"there is no folder '{path.parent}' for '{path.name}'")
    return path


def writable_file(argument: str) -> Path:
    """A file that can be made or written, in a directory that exists."""
    path = Path(argument).expanduser()
    if path.is_dir():
        raise OptionError(f"'{argument}' is a directory, not a file")
    if not path.parent.is_dir():
        raise OptionError(f"there is no directory '{path.parent}' to write '{path.name}' in")
    return path


def memory_size(argument: str) -> int:
    """Bytes of SDRAM, from QEMU's size syntax: a number of MiB, or one with K, M or G."""
    match = re.fullmatch(r"(?:size=)?(\d+)([KMGkmg]?)[bB]?", argument)
    if match is None:
        raise OptionError(f"'{argument}' is not a size: write a number of MiB, or one with K, M or G (64M)")
    size = int(match[1]) * {"K": KIB, "M": MIB, "G": GIB}[match[2].upper() or "M"]
    if size not in MEMORY_SIZES:
        sizes = ", ".join(f"{n // MIB}" for n in MEMORY_SIZES)
        raise OptionError(f"the board cannot have '{argument}' of SDRAM: a bank holds {sizes} MiB")
    return size


def one_of(names: Iterable[str], what: str) -> Callable[[str], str]:
    """A converter for one of ``names``, any case; ``what`` says in messages what they are."""
    known = {name.lower(): name for name in names}

    def convert(argument: str) -> str:
        found = known.get(argument.lower())
        if found is None:
            near = get_close_matches(argument.lower(), known, n=1)
            hint = f"did you mean {known[near[0]]}" if near else f"there is {', '.join(known.values())}"
            raise OptionError(f"'{argument}' is not {what} that this emulator knows: {hint}")
        return found

    return convert


_accelerator = one_of(("interp", "jit"), "an accelerator")


def accelerator(argument: str) -> str:
    """``interp`` or ``jit``; QEMU's ``tcg`` is the latter."""
    return _accelerator("jit" if argument.lower() == "tcg" else argument)


def machine_type(argument: str) -> str:
    """``mini2440``, alone or as ``type=mini2440``."""
    name = argument.removeprefix("type=")
    if name != "mini2440":
        raise OptionError(f"'{name}' is not a machine that this emulator has: it is a mini2440")
    return name


def cpu_model(argument: str) -> str:
    """``arm920t``: the S3C2440A has no other core."""
    if argument.lower() != "arm920t":
        raise OptionError(f"'{argument}' does not fit: the board's S3C2440A has an arm920t core")
    return "arm920t"


def rtc_base(argument: str) -> RtcBase:
    """``base=utc``, ``base=localtime`` or ``base=2025-01-31T12:00:00`` (or the date alone)."""
    key, _, value = argument.partition("=")
    if key != "base" or not value:
        raise OptionError(f"'{argument}' is not understood: write base=utc, base=localtime or base=DATE")
    match value:
        case "utc":
            return RtcBase("utc")
        case "localtime":
            return RtcBase("localtime")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise OptionError(f"'{value}' is not a date: write 2025-01-31 or 2025-01-31T12:00:00") from None
    if moment.tzinfo is not None:
        raise OptionError(f"'{value}' names a time zone, which the board's clock does not have")
    # BCDYEAR holds two digits, which every driver for the chip takes as years from 2000.
    if not 2000 <= moment.year <= 2099:
        raise OptionError(f"'{value}' is not in 2000 to 2099, the years that the board's clock can hold")
    return RtcBase(fixed=moment)


def clock_rate(argument: str) -> ClockRate:
    """``shift=N`` (an instruction takes 2**N ns) or ``auto`` (as the core clock); ``sleep=off`` warps."""
    period: int | None = None
    warp = False
    for part in argument.split(","):
        key, _, value = part.rpartition("=")
        match key or "shift", value:
            case "shift", "auto":
                period = None
            case "shift", shift if shift.isdecimal() and int(shift) <= 10:
                period = 1000 << int(shift)
            case "shift", shift:
                raise OptionError(f"shift is '{shift}': write a number from 0 to 10, or auto")
            case "sleep", ("on" | "off"):
                warp = value == "off"
            case "align", "off":
                pass
            case _:
                raise OptionError(
                    f"'{part}' is not understood: write shift=N or shift=auto, and sleep=on|off"
                )
    return ClockRate(period, warp)


def guest_name(argument: str) -> str:
    """``NAME`` or ``guest=NAME``."""
    name = argument.removeprefix("guest=")
    if not name or "," in name or "=" in name:
        raise OptionError(f"'{argument}' is not understood: write the machine's name, without '=' or ','")
    return name


def character_device(argument: str) -> ChardevSpec:
    """A place that a serial port or the monitor can be connected to."""
    return parse_chardev(argument)


def gdb_server(argument: str) -> str:
    """Where the GDB server listens: ``tcp:HOST:PORT`` or ``unix:PATH`` (HOST may be left out)."""
    if argument.partition(":")[0] not in ("tcp", "unix"):
        raise OptionError(f"'{argument}' cannot carry GDB's protocol: write tcp::1234 or unix:PATH")
    from dbgemu.gdbstub.endpoint import parse_endpoint  # few runs need it

    parse_endpoint(argument)
    return argument


def existing_folder(argument: str) -> Path:
    """A folder that is there."""
    path = Path(argument).expanduser()
    if not path.is_dir():
        raise OptionError(f"there is no folder '{argument}'")
    return path


class SymbolSource(NamedTuple):
    """An ELF file, and what to add to its addresses."""

    path: Path
    offset: int


def symbol_source(argument: str) -> SymbolSource:
    """``FILE`` or ``FILE@OFFSET``."""
    name, at, offset = argument.rpartition("@")
    if not at:
        return SymbolSource(existing_file(argument), 0)
    try:
        return SymbolSource(existing_file(name), int(offset, 0) & 0xFFFFFFFF)
    except ValueError:
        return SymbolSource(existing_file(argument), 0)  # a file may have an @ in its name
