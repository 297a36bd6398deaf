"""Handlers: registers and memory."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.gdbstub.errors import MALFORMED, MEMORY, PacketError
from dbgemu.gdbstub.framing import PACKET_SIZE, escape, run_length_encode
from dbgemu.gdbstub.target_xml import RegisterRow

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client

_CORE = Struct("<17I")

#: bytes that one read returns at most: two characters a byte, as hexadecimal digits or when escaped
_READ_LIMIT = PACKET_SIZE // 2 - 4

_ADDRESS_END = 1 << 32


def read_registers(client: Client) -> bytes:
    """``g``: the core registers."""
    session = client.session
    core = session.call(session.cpu.read_core)
    return run_length_encode(_CORE.pack(*core).hex().encode())


def write_registers(client: Client, data: bytes) -> bytes:
    """``G``: the core registers, all of them."""
    if len(data) != _CORE.size:
        raise PacketError(f"the core registers have {_CORE.size} bytes, not {len(data)}", MALFORMED)
    values = list(zip(client.stub.registers.core_names, _CORE.unpack(data), strict=True))
    # cpsr first: it decides whose r13 and r14 the others are.
    values.insert(0, values.pop())
    write = client.session.cpu.write_register

    def write_all() -> None:
        for name, value in values:
            write(name, value)

    client.session.call(write_all)
    return b"OK"


def _row(client: Client, number: int) -> RegisterRow:
    row = client.stub.registers.by_number.get(number)
    if row is None:
        raise PacketError(f"there is no register number {number}")
    return row


def read_register(client: Client, number: int) -> bytes:
    """``p``: one register."""
    name = _row(client, number).name
    value = client.session.call(lambda: client.session.cpu.read_register(name))
    return value.to_bytes(4, "little").hex().encode()


def write_register(client: Client, number: int, data: bytes) -> bytes:
    """``P``: one register."""
    name = _row(client, number).name
    if len(data) != 4:
        raise PacketError(f"register {name} has 4 bytes, not {len(data)}", MALFORMED)
    value = int.from_bytes(data, "little")
    client.session.call(lambda: client.session.cpu.write_register(name, value))
    return b"OK"


def _read(client: Client, address: int, length: int) -> bytes:
    length = min(length, _READ_LIMIT, _ADDRESS_END - address)
    try:
        return client.session.memory.read_front(address, length)
    except MEMORY_ERRORS as error:
        raise PacketError(str(error), MEMORY) from None


def read_memory(client: Client, address: int, length: int) -> bytes:
    """``m``: memory in hexadecimal, fewer bytes than asked for where it ends."""
    if not length:
        raise PacketError("a read of 0 bytes reads nothing", MALFORMED)
    return run_length_encode(_read(client, address, length).hex().encode())


def read_memory_binary(client: Client, address: int, length: int) -> bytes:
    """``x``: memory in binary, fewer bytes than asked for where it ends."""
    return b"b" + escape(_read(client, address, length)) if length else b"b"


def write_memory(client: Client, address: int, data: bytes) -> bytes:
    """``M`` and ``X``: memory; nothing is written when a part cannot be. 0 bytes: GDB's probe for X."""
    if address + len(data) > _ADDRESS_END:
        raise PacketError(f"{len(data)} bytes from 0x{address:08x} do not fit in the address space", MEMORY)
    if data:
        try:
            client.session.memory.write(address, data)
        except MEMORY_ERRORS as error:
            raise PacketError(str(error), MEMORY) from None
    return b"OK"
