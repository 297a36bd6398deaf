"""Programs of a test's own for the Linux guest: assembled here, typed into the guest, run there."""

from __future__ import annotations

import struct

from linux_guest import LinuxGuest

from dbgemu.target.arm.assembler import assemble_program

_BASE = 0x10000
_HEADERS = 52 + 32


def elf(source: str) -> bytes:
    """A static executable of one segment that begins with ``source`` (ARM, EABI system calls)."""
    code = assemble_program(source, _BASE + _HEADERS).data
    ident = b"\x7fELF" + bytes((1, 1, 1)) + bytes(9)
    entry, size = _BASE + _HEADERS, _HEADERS + len(code)
    header = struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, entry, 52, 0, 0x05000000, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, _BASE, _BASE, size, size + 0x10000, 7, 0x1000)
    return ident + header + segment + code


def install(guest: LinuxGuest, path: str, source: str) -> None:
    """Put the program at ``path`` of the guest, through its shell."""
    data = elf(source)
    guest.command(f"> {path}")
    for place in range(0, len(data), 100):
        text = "".join(f"\\{byte:03o}" for byte in data[place : place + 100])
        guest.command(f"printf '{text}' >> {path}")
    guest.command(f"chmod +x {path}")
