"""Handlers: registers and memory of a Linux task that does not have the CPU, while its thread is selected.

Its registers are those that the kernel saved when it took the CPU from the task: the task is inside
``__switch_to``. r0 to r3, r12 and lr are not among them, and unavailable. Memory is the task's: its own
translation table below the kernel's addresses, the kernel's table for these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbgemu.debug.linux.errors import LinuxError
from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.gdbstub import inspection
from dbgemu.gdbstub.errors import MALFORMED, MEMORY, PacketError
from dbgemu.gdbstub.framing import escape, hexadecimal

if TYPE_CHECKING:
    from dbgemu.debug.linux import Task
    from dbgemu.gdbstub.client import Client

_ALIASES = {"sp": "r13", "lr": "r14", "pc": "r15"}

#: a task gives the CPU away in supervisor mode with interrupts disabled; its flags are not kept
_SLEEPING_CPSR = 0x93

_UNAVAILABLE = b"xxxxxxxx"

_ADDRESS_END = 1 << 32


def _task(client: Client) -> Task | None:
    """The selected task as it is now; None when it has the CPU. PacketError when it has ended."""
    selected = client.threads.selected
    if selected is None:
        return None
    try:
        task = client.session.linux.task_at(selected.address)
        if task.pid == selected.pid:
            return None if task.current else task
    except LinuxError:
        pass
    raise PacketError(f"the task with pid {selected.pid} has ended")


def _value(task: Task, name: str) -> bytes:
    name = _ALIASES.get(name, name)
    if name == "cpsr":
        return _SLEEPING_CPSR.to_bytes(4, "little").hex().encode()
    value = task.registers.get(name)
    return _UNAVAILABLE if value is None else value.to_bytes(4, "little").hex().encode()


def _read_registers(client: Client) -> bytes:
    task = _task(client)
    if task is None:
        return inspection.read_registers(client)
    client.knows_registers = True
    return b"".join(_value(task, name) for name in client.stub.registers.core_names)


def _core_name(client: Client, number: int) -> str | None:
    """The name of core register ``number``; None for registers that the CPU has for all tasks."""
    name = client.stub.registers.names.get(number)
    return name if name in client.stub.registers.core_names else None


def _read_register(client: Client, number: int) -> bytes:
    name = _core_name(client, number)
    task = _task(client) if name is not None else None
    if name is None or task is None:
        return inspection.read_register(client, number)
    return _value(task, name)


def _write_register(client: Client, number: int, data: bytes) -> bytes:
    name = _core_name(client, number)
    task = _task(client) if name is not None else None
    if name is None or task is None:
        return inspection.write_register(client, number, data)
    if len(data) != 4:
        raise PacketError(f"register {name} has 4 bytes, not {len(data)}", MALFORMED)
    place = task.saved_at.get(_ALIASES.get(name, name))
    if place is None:
        raise PacketError(f"register {name} of a task that does not have the CPU is kept nowhere")
    session = client.session
    session.memory.write(place, data, table=session.linux.table, by=client)
    return b"OK"


def _write_registers(client: Client, data: bytes) -> bytes:
    if _task(client) is None:
        return inspection.write_registers(client, data)
    raise PacketError("registers of a task that does not have the CPU are written one by one")


def _read(client: Client, task: Task, address: int, length: int) -> bytes:
    length = min(length, inspection.READ_LIMIT, _ADDRESS_END - address)
    table = client.threads.table(address, task.table)
    try:
        return client.session.memory.read_front(address, length, table=table)
    except MEMORY_ERRORS as error:
        raise PacketError(str(error), MEMORY) from None


def _memory(base: Callable[..., bytes], encode: Callable[[bytes], bytes]) -> Callable[..., bytes]:
    def handle(client: Client, address: int, length: int) -> bytes:
        task = None if client.physical or not length else _task(client)
        return base(client, address, length) if task is None else encode(_read(client, task, address, length))

    return handle


def _write_memory(client: Client, address: int, data: bytes) -> bytes:
    task = None if client.physical or not data else _task(client)
    if task is None or address + len(data) > _ADDRESS_END:
        return inspection.write_memory(client, address, data)
    try:
        table = client.threads.table(address, task.table)
        client.session.memory.write(address, data, table=table, by=client)
    except MEMORY_ERRORS as error:
        raise PacketError(str(error), MEMORY) from None
    return b"OK"


#: what packets mean while a task's thread is selected; the others mean what they always do
IN_TASK: dict[str, Callable[..., bytes | None]] = {
    "g": _read_registers,
    "G": _write_registers,
    "p": _read_register,
    "P": _write_register,
    "m": _memory(inspection.read_memory, hexadecimal),
    "x": _memory(inspection.read_memory_binary, lambda data: b"b" + escape(data)),
    "M": _write_memory,
    "X": _write_memory,
}
