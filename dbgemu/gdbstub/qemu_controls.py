"""Handlers: what QEMU's server has beside GDB's packets, under the same names and with the same values.

QEMU documentation, "GDB usage": how single steps treat interrupts, and memory by physical addresses.
Of the bits for steps there is no NOTIMER: the virtual clock counts instructions, stepped or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbgemu.gdbstub.errors import MALFORMED, PacketError

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client

_ENABLE, _NOIRQ = 1, 2


def supported(client: Client) -> bytes:
    """``qqemu.Supported``: the names of these packets."""
    return b"sstepbits;sstep;PhyMemMode"


def step_bits(client: Client) -> bytes:
    """``qqemu.sstepbits``: what the bits of ``sstep`` mean."""
    return b"ENABLE=%x,NOIRQ=%x" % (_ENABLE, _NOIRQ)


def step_mode(client: Client) -> bytes:
    """``qqemu.sstep``: the bits now."""
    return b"0x%x" % (_ENABLE | (0 if client.session.step_interrupts else _NOIRQ))


def set_step_mode(client: Client, bits: int) -> bytes:
    """``Qqemu.sstep``: whether steps of all clients take interrupts."""
    if bits not in (_ENABLE, _ENABLE | _NOIRQ):
        raise PacketError(f"step bits 0x{bits:x} are not offered: 1 takes interrupts, 3 does not", MALFORMED)
    client.session.step_interrupts = not bits & _NOIRQ
    return b"OK"


def memory_mode(client: Client) -> bytes:
    """``qqemu.PhyMemMode``: 1 when this client's memory packets have physical addresses."""
    return b"%d" % client.physical


def set_memory_mode(client: Client, physical: bool) -> bytes:
    """``Qqemu.PhyMemMode``: what addresses mean in this client's ``m``, ``M``, ``x`` and ``X``."""
    client.physical = physical
    return b"OK"
