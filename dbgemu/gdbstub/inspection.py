"""Handlers: registers and memory."""

from __future__ import annotations

from binascii import hexlify
from struct import Struct
from typing import TYPE_CHECKING

from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.gdbstub import device_registers
from dbgemu.gdbstub.errors import MALFORMED, MEMORY, PacketError
from dbgemu.gdbstub.framing import PACKET_SIZE, escape, hexadecimal, run_length_encode

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client

_CORE = Struct("<17I")

#: bytes that one read returns at most: two characters a byte, as hexadecimal digits or when escaped
READ_LIMIT = PACKET_SIZE // 2 - 4

_ADDRESS_END = 1 << 32


def read_registers(client: Client) -> bytes:
    """``g``: the core registers."""
    client.knows_registers = True
    session = client.session
    core = session.call(session.cpu.read_core)
    return run_length_encode(hexlify(_CORE.pack(*core)))


def write_registers(client: Client, data: bytes) -> bytes:
    """``G``: the core registers, all of them."""
    if len(data) != _CORE.size:
        raise PacketError(f"the core registers have {_CORE.size} bytes, not {len(data)}", MALFORMED)
    values = list(zip(client.stub.registers.core_names, _CORE.unpack(data), strict=True))
    # cpsr first: it decides whose r13 and r14 the others are.
    values.insert(0, values.pop())
    client.session.write_registers(dict(values), by=client)
    return b"OK"


def read_register(client: Client, number: int) -> bytes:
    """``p``: one register."""
    name = client.stub.registers.names.get(number)
    if name is None:
        return device_registers.read(client, number)
    value = client.session.call(lambda: client.session.cpu.read_register(name))
    return hexlify(value.to_bytes(4, "little"))


def write_register(client: Client, number: int, data: bytes) -> bytes:
    """``P``: one register."""
    name = client.stub.registers.names.get(number)
    if name is None:
        return device_registers.write(client, number, data)
    if len(data) != 4:
        raise PacketError(f"register {name} has 4 bytes, not {len(data)}", MALFORMED)
    value = int.from_bytes(data, "little")
    client.session.write_registers({name: value}, by=client)
    return b"OK"


def _read(client: Client, address: int, length: int) -> bytes:
    length = min(length, READ_LIMIT, _ADDRESS_END - address)
    try:
        return client.session.memory.read_front(address, length, physical=client.physical)
    except MEMORY_ERRORS as error:
        data = None if client.physical else client.threads.read_unmapped(address, length)
        if data is None:
            raise PacketError(str(error), MEMORY) from None
        return data


def read_memory(client: Client, address: int, length: int) -> bytes:
    """``m``: memory in hexadecimal, fewer bytes than asked for where it ends."""
    if not length:
        raise PacketError("a read of 0 bytes reads nothing", MALFORMED)
    return hexadecimal(_read(client, address, length))


def read_memory_binary(client: Client, address: int, length: int) -> bytes:
    """``x``: memory in binary, fewer bytes than asked for where it ends."""
    return b"b" + escape(_read(client, address, length)) if length else b"b"


def write_memory(client: Client, address: int, data: bytes) -> bytes:
    """``M`` and ``X``: memory; nothing is written when a part cannot be. 0 bytes: GDB's probe for X."""
    if address + len(data) > _ADDRESS_END:
        raise PacketError(f"{len(data)} bytes from 0x{address:08x} do not fit in the address space", MEMORY)
    if data:
        try:
            memory = client.session.memory
            if client.physical:
                memory.write_physical(address, data, by=client)
            else:
                memory.write(address, data, by=client)
        except MEMORY_ERRORS as error:
            raise PacketError(str(error), MEMORY) from None
    return b"OK"
