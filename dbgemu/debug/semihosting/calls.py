"""The calls: a table, one row each, by the numbers and names of the specification (chapter 7).

A handler gets the host and the words of the parameter block, or the parameter register itself. It
returns what the guest finds in r0, None when that stays as it is; it raises CallError for -1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbgemu.debug.semihosting.console import ERROR_OUTPUT, INPUT, OUTPUT, Stream
from dbgemu.debug.semihosting.errors import CallError, Errno
from dbgemu.debug.semihosting.files import Constant, OpenFile
from dbgemu.debug.semihosting.guest import MOST
from dbgemu.target.clock import NS_PER_SECOND

if TYPE_CHECKING:
    from dbgemu.debug.semihosting.host import Semihosting

#: SYS_EXIT's reason for a program that ends by itself (table 7-2); all others tell of a failure
APPLICATION_EXIT = 0x20026

_FEATURES_NAME, _CONSOLE_NAME = b":semihosting-features", b":tt"
#: "SHFB", then SH_EXT_EXIT_EXTENDED and SH_EXT_STDOUT_STDERR
_FEATURES = b"SHFB\x03"
_MODES = range(12)
_READ_MODES = range(2)

_NS_PER_CENTISECOND = NS_PER_SECOND // 100
#: SYS_ELAPSED counts nanoseconds
_TICKS_PER_SECOND = NS_PER_SECOND


@dataclass(frozen=True)
class Call:
    """One call. ``words`` is the parameter block's length, None where r1 itself is the parameter."""

    number: int
    name: str
    words: int | None
    handle: Callable[..., int | None]


def _open(host: Semihosting, path: int, mode: int, length: int) -> int:
    """A handle for a file, the console or the list of features."""
    name = host.guest.text(path, length)
    if mode not in _MODES:
        raise CallError(Errno.EINVAL)
    handle = host.handles.free()
    file: OpenFile
    if name.data == _CONSOLE_NAME:
        file = Stream(host, (INPUT, OUTPUT, ERROR_OUTPUT)[mode // 4])
    elif name.data == _FEATURES_NAME:
        if mode not in _READ_MODES:
            raise CallError(Errno.EACCES)
        file = Constant(host.guest, _FEATURES)
    else:
        file = host.file_system().open(name, mode)
    host.handles.put(handle, file)
    return handle


def _close(host: Semihosting, handle: int) -> int:
    host.handles.close(handle)
    return 0


def _write_character(host: Semihosting, address: int) -> None:
    Stream(host, OUTPUT).write(address, 1)


def _write_string(host: Semihosting, address: int) -> None:
    length = host.guest.string_length(address)
    if length:
        Stream(host, OUTPUT).write(address, length)


def _write(host: Semihosting, handle: int, address: int, length: int) -> int:
    """The number of bytes that were not written."""
    file = host.handles[handle]
    return length - file.write(address, min(length, MOST))


def _read(host: Semihosting, handle: int, address: int, length: int) -> int:
    """The number of bytes that were not read: all of them at the end of the file."""
    file = host.handles[handle]
    return length - file.read(address, min(length, MOST))


def _read_character(host: Semihosting, parameter: int) -> int:
    with host.guest.borrowed(1) as address:
        if not Stream(host, INPUT).read(address, 1):
            raise CallError(Errno.EIO)
        return host.guest.read(address, 1)[0]


def _is_error(host: Semihosting, status: int) -> int:
    return int(status >> 31)


def _is_terminal(host: Semihosting, handle: int) -> int:
    return int(host.handles[handle].is_terminal())


def _seek(host: Semihosting, handle: int, position: int) -> int:
    host.handles[handle].seek(position)
    return 0


def _length(host: Semihosting, handle: int) -> int:
    size = host.handles[handle].size()
    if size >= 1 << 31:  # it would read as an error
        raise CallError(Errno.EFBIG)
    return size


def _temporary_name(host: Semihosting, buffer: int, identifier: int, length: int) -> int:
    """The same name for the same identifier."""
    name = b"semihosting-%02x.tmp\0" % identifier
    if identifier > 0xFF or len(name) > length:
        raise CallError(Errno.EINVAL)
    host.guest.write(buffer, name)
    return 0


def _remove(host: Semihosting, path: int, length: int) -> int:
    host.file_system().remove(host.guest.text(path, length))
    return 0


def _rename(host: Semihosting, old: int, old_length: int, new: int, new_length: int) -> int:
    names = host.guest.text(old, old_length), host.guest.text(new, new_length)
    host.file_system().rename(*names)
    return 0


def _clock(host: Semihosting, parameter: int) -> int:
    """Centiseconds since power-on."""
    return host.clock.now // _NS_PER_CENTISECOND & 0x7FFFFFFF


def _time(host: Semihosting, parameter: int) -> int:
    """Seconds since 1970, as the board's clock started."""
    return host.epoch + host.clock.now // NS_PER_SECOND


def _system(host: Semihosting, command: int, length: int) -> int:
    return host.file_system().system(host.guest.text(command, length))


def _errno(host: Semihosting, parameter: int) -> int:
    return host.errno


def _command_line(host: Semihosting, buffer: int, length: int) -> int:
    """The command line into the buffer, its length into the block."""
    text = host.command_line
    if len(text) + 1 > length:
        raise CallError(Errno.EINVAL)
    host.guest.check_writable(host.block, 8)
    host.guest.write(buffer, text + b"\0")
    host.guest.write_words(host.block, buffer, len(text))
    return 0


def _heap_info(host: Semihosting, block: int) -> int:
    """Heap from its base upwards, stack from its base downwards: both in the memory that is left."""
    base, limit = host.free_memory
    host.guest.write_words(block, base, limit, limit, base)
    return 0


def _exit(host: Semihosting, reason: int) -> None:
    host.exit(0 if reason == APPLICATION_EXIT else 1)


def _exit_extended(host: Semihosting, reason: int, status: int) -> None:
    host.exit(status & 0xFF if reason == APPLICATION_EXIT else 1)


def _elapsed(host: Semihosting, block: int) -> int:
    ticks = host.clock.now
    host.guest.write_words(block, ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFFFFFF)
    return 0


def _tick_frequency(host: Semihosting, parameter: int) -> int:
    return _TICKS_PER_SECOND


_TABLE = (
    Call(0x01, "SYS_OPEN", 3, _open),
    Call(0x02, "SYS_CLOSE", 1, _close),
    Call(0x03, "SYS_WRITEC", None, _write_character),
    Call(0x04, "SYS_WRITE0", None, _write_string),
    Call(0x05, "SYS_WRITE", 3, _write),
    Call(0x06, "SYS_READ", 3, _read),
    Call(0x07, "SYS_READC", None, _read_character),
    Call(0x08, "SYS_ISERROR", 1, _is_error),
    Call(0x09, "SYS_ISTTY", 1, _is_terminal),
    Call(0x0A, "SYS_SEEK", 2, _seek),
    Call(0x0C, "SYS_FLEN", 1, _length),
    Call(0x0D, "SYS_TMPNAM", 3, _temporary_name),
    Call(0x0E, "SYS_REMOVE", 2, _remove),
    Call(0x0F, "SYS_RENAME", 4, _rename),
    Call(0x10, "SYS_CLOCK", None, _clock),
    Call(0x11, "SYS_TIME", None, _time),
    Call(0x12, "SYS_SYSTEM", 2, _system),
    Call(0x13, "SYS_ERRNO", None, _errno),
    Call(0x15, "SYS_GET_CMDLINE", 2, _command_line),
    Call(0x16, "SYS_HEAPINFO", 1, _heap_info),
    Call(0x18, "SYS_EXIT", None, _exit),
    Call(0x20, "SYS_EXIT_EXTENDED", 2, _exit_extended),
    Call(0x30, "SYS_ELAPSED", None, _elapsed),
    Call(0x31, "SYS_TICKFREQ", None, _tick_frequency),
)

#: the calls by their numbers
CALLS = {call.number: call for call in _TABLE}
