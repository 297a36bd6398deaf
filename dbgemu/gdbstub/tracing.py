"""Handlers: tracepoints. GDB manual, "Tracepoint Packets".

What is defined and recorded belongs to the session and is the same for every client. Which frame is
selected, and how far an upload has got, is each client's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from dbgemu.debug.agent import AgentError, AgentExpression, parse
from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.debug.tracepoints.definitions import (
    Action,
    CollectMemory,
    CollectRegisters,
    Evaluate,
    Source,
    TraceError,
    Tracepoint,
)
from dbgemu.debug.tracepoints.experiment import Experiment
from dbgemu.debug.tracepoints.frame import TraceFrame
from dbgemu.gdbstub import trace_upload
from dbgemu.gdbstub.errors import MALFORMED, MEMORY, PacketError
from dbgemu.gdbstub.framing import PACKET_SIZE, escape
from dbgemu.gdbstub.queries import document_part
from dbgemu.gdbstub.trace_arguments import NONE, Actions, Definition, WrittenAction

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client

#: bytes of memory or buffer in one reply: two characters a byte
_LIMIT = PACKET_SIZE // 2 - 4


def _with_trace(client: Client, action: Callable[[Experiment], None]) -> bytes:
    """Do ``action`` where the machine's state may be used; OK, or why not."""
    trace = client.session.trace
    try:
        client.session.call(lambda: action(trace))
    except (TraceError, AgentError) as error:
        raise PacketError(str(error)) from None
    return b"OK"


# -- definitions -----------------------------------------------------------------------------------


def initialize(client: Client) -> bytes:
    """``QTinit``: forget tracepoints, variables and frames."""
    client.frame = None
    return _with_trace(client, Experiment.clear)


def define(client: Client, item: Definition | Actions) -> bytes:
    """``QTDP``: a tracepoint, or more of one's actions."""
    if isinstance(item, Definition):
        return _define(client, item)
    actions = [_action(client, written) for written in item.actions]

    def add(trace: Experiment) -> None:
        tracepoint = trace.find(item.number, item.address)
        stepping = item.stepping or bool(tracepoint.step_actions)
        (tracepoint.step_actions if stepping else tracepoint.actions).extend(actions)
        if not item.more:
            trace.install(tracepoint)

    return _with_trace(client, add)


_KINDS = {"F": "fast", "S": "static"}


def _define(client: Client, item: Definition) -> bytes:
    if item.kind:
        raise PacketError(f"there are no {_KINDS[item.kind]} tracepoints here: use 'trace'")
    tracepoint = Tracepoint(
        item.number,
        item.address,
        item.enabled,
        item.steps,
        item.passes,
        None if item.condition is None else _expression(item.condition),
        client.stub.registers.names,
    )

    def add(trace: Experiment) -> None:
        trace.define(tracepoint)
        if not item.more:
            trace.install(tracepoint)

    return _with_trace(client, add)


def _expression(code: bytes) -> AgentExpression:
    try:
        return parse(code)
    except AgentError as error:
        raise PacketError(str(error), MALFORMED) from None


def _action(client: Client, written: WrittenAction) -> Action:
    registers = client.stub.registers
    if written.code is not None:
        return Evaluate(_expression(written.code), written.text)
    if written.memory is not None:
        number, offset, length = written.memory
        base = None
        if number != NONE:
            base = registers.names.get(number)
            if base is None:
                raise PacketError(f"there is no register number {number} that could hold an address")
        return CollectMemory(base, offset, length, written.text)
    mask = written.mask or 0
    wanted = {number for number in range(mask.bit_length()) if mask >> number & 1}
    core = {number for number, name in registers.names.items() if name in registers.core_names}
    # 'collect $regs' asks for each register there is; a frame has those of the g packet.
    if not wanted >= core:
        for number in sorted(wanted - core):
            name, _ = _register(client, number)
            raise PacketError(f"register {name} is not recorded: trace frames have r0 to r15 and cpsr")
    return CollectRegisters(written.text)


def _register(client: Client, number: int) -> tuple[str, int]:
    """The name of a register, and its size in bytes."""
    registers = client.stub.registers
    name = registers.names.get(number)
    if name is not None:
        return name, 4
    row = registers.devices.get(number)
    if row is None:
        raise PacketError(f"there is no register number {number}")
    return row.name, row.size


def keep_source(
    client: Client, number: int, address: int, kind: str, start: int, length: int, text: bytes
) -> bytes:
    """``QTDPsrc``: what the user typed."""
    source = Source(kind, start, length, text)
    return _with_trace(client, lambda trace: trace.find(number, address).sources.append(source))


def define_variable(client: Client, number: int, value: int, name: str) -> bytes:
    """``QTDV``: a trace state variable."""
    return _with_trace(client, lambda trace: trace.define_variable(number, value, name))


def enable(wanted: bool) -> Callable[[Client, int, int], bytes]:
    """The handler of ``QTEnable`` or ``QTDisable``."""

    def handle(client: Client, number: int, address: int) -> bytes:
        def change(trace: Experiment) -> None:
            trace.find(number, address).enabled = wanted

        return _with_trace(client, change)

    return handle


def mark_constant(client: Client, ranges: tuple[tuple[int, int], ...]) -> bytes:
    """``QTro``: memory that never changes, which any frame may show."""

    def change(trace: Experiment) -> None:
        trace.constant[:] = ranges

    return _with_trace(client, change)


def set_buffer(client: Client, what: str, value: int | None) -> bytes:
    """``QTBuffer:circular`` and ``QTBuffer:size``."""

    def change(trace: Experiment) -> None:
        if what == "size":
            trace.resize(value)
        else:
            trace.buffer.circular = bool(value)

    return _with_trace(client, change)


def set_disconnected(client: Client, wanted: bool) -> bytes:
    """``QTDisconnected``: whether tracing goes on without its client."""

    def change(trace: Experiment) -> None:
        trace.disconnected = wanted

    return _with_trace(client, change)


_NOTES = {"user": "user", "notes": "notes", "tstop": "stop_notes"}


def set_notes(client: Client, notes: tuple[tuple[str, str], ...]) -> bytes:
    """``QTNotes``: who traces, and why it was started or stopped. Other notes are left alone."""

    def change(trace: Experiment) -> None:
        for kind, text in notes:
            if kind in _NOTES:
                setattr(trace, _NOTES[kind], text)

    return _with_trace(client, change)


# -- the run ---------------------------------------------------------------------------------------


def start(client: Client) -> bytes:
    """``QTStart``."""
    client.frame = None
    return _with_trace(client, lambda trace: trace.start(client))


def stop(client: Client) -> bytes:
    """``QTStop``."""
    return _with_trace(client, Experiment.stop)


def status(client: Client) -> bytes:
    """``qTStatus``."""
    session = client.session
    return b"T" + session.call(lambda: trace_upload.status(session.trace)).encode()


def tracepoint_status(client: Client, number: int, address: int) -> bytes:
    """``qTP``: hits, and bytes of frames."""
    try:
        found = client.session.trace.find(number, address)
    except TraceError as error:
        raise PacketError(str(error)) from None
    return b"V%x:%x" % (found.hits, found.usage)


def variable(client: Client, number: int) -> bytes:
    """``qTV``: a variable's value, in the selected frame if there is one; ``U`` when it has none."""
    if client.frame is not None:
        value = client.frame.blocks.variables.get(number)
    else:
        trace = client.session.trace
        known = trace.variables.get(number)
        value = None if known is None else client.session.call(known.get)
    return b"U" if value is None else b"V%x" % (value % (1 << 64))


# -- uploads ---------------------------------------------------------------------------------------


def first_of(pieces: Callable[[Experiment], Iterator[str]]) -> Callable[[Client], bytes]:
    """The handler of ``qTfP`` or ``qTfV``: the first of ``pieces``."""

    def handle(client: Client) -> bytes:
        session = client.session
        client.upload = iter(session.call(lambda: list(pieces(session.trace))))
        return more(client)

    return handle


def more(client: Client) -> bytes:
    """``qTsP`` and ``qTsV``: the next piece."""
    return next(client.upload, "l").encode()


def read_buffer(client: Client, offset: int, length: int) -> bytes:
    """``qTBuffer``: frames as they stand in a trace file; ``l`` behind the last."""
    buffer = client.session.trace.buffer
    data = client.session.call(lambda: buffer.read(offset, min(length, _LIMIT, max(buffer.used - offset, 0))))
    return data.hex().encode() if data else b"l"


def save(client: Client, name: str) -> bytes:
    """``QTSave``: write a trace file in the folder that the emulator's user gave for that."""
    folder = client.stub.trace_folder
    if folder is None:
        raise PacketError("the emulator was given no folder for trace files: use tsave without -r")
    path = (folder / name).resolve()
    if path.parent != folder.resolve():
        raise PacketError(f"'{name}' is not in the folder for trace files: give a name without a path")
    session = client.session
    description = client.stub.registers.xml
    data = session.call(lambda: b"".join(trace_upload.trace_file(session.trace, description)))
    try:
        path.write_bytes(data)
    except (OSError, ValueError) as error:
        raise PacketError(f"'{name}' cannot be written: {getattr(error, 'strerror', error)}") from None
    return b"OK"


# -- frames ----------------------------------------------------------------------------------------

_FITS: dict[str, Callable[[int, int], Callable[[int, int], bool]]] = {
    "pc": lambda pc, _: lambda number, address: address == pc,
    "tdp": lambda wanted, _: lambda number, address: number == wanted,
    "range": lambda first, last: lambda number, address: first <= address <= last,
    "outside": lambda first, last: lambda number, address: not first <= address <= last,
}


def select_frame(client: Client, kind: str, first: int, second: int) -> bytes:
    """``QTFrame``: select a frame, or none (-1). When there is no such frame, all stays as it is."""
    if kind == "number" and first == NONE:
        client.frame = None
        return b"OK"
    buffer = client.session.trace.buffer
    after = -1 if client.frame is None else client.frame.index

    def find() -> TraceFrame | None:
        if kind == "number":
            return buffer.frame(first)
        return buffer.find(after, _FITS[kind](first, second))

    found = client.session.call(find)
    if found is None:
        return b"F-1"
    client.frame = found
    return b"F%xT%x" % (found.index, found.number)


def _selected(client: Client) -> TraceFrame:
    if client.frame is None:
        raise PacketError("no trace frame is selected")
    return client.frame


def read_frame_info(client: Client, annex: str, offset: int, length: int) -> bytes:
    """``qXfer:traceframe-info:read``: which memory and variables the selected frame has."""
    if annex:
        raise PacketError(f"there is no trace frame information '{annex}'", 0)
    blocks = _selected(client).blocks
    memory = (f'<memory start="0x{start:x}" length="0x{len(data):x}"/>' for start, data in blocks.memory)
    values = (f'<tvar id="0x{number:x}"/>' for number in blocks.variables)
    head = '<?xml version="1.0"?>\n<!DOCTYPE traceframe-info SYSTEM "traceframe-info.dtd">\n<traceframe-info>'
    document = "\n".join(chain([head], memory, values, ["</traceframe-info>\n"]))
    return document_part(document.encode(), offset, length)


def _registers(client: Client) -> dict[str, str]:
    """The registers of the selected frame by name, as packets have them; those it lacks are missing."""
    frame = _selected(client)
    values = frame.blocks.registers
    if values is None:
        # The frame knows where it was recorded, if nothing else.
        return {"pc": frame.address.to_bytes(4, "little").hex()}
    names = client.stub.registers.core_names
    return {name: values[4 * place : 4 * place + 4].hex() for place, name in enumerate(names)}


def _frame_registers(client: Client) -> bytes:
    client.knows_registers = True
    known = _registers(client)
    return "".join(known.get(name, "x" * 8) for name in client.stub.registers.core_names).encode()


def _frame_register(client: Client, number: int) -> bytes:
    name, size = _register(client, number)
    return _registers(client).get(name, "xx" * size).encode()


def _frame_bytes(client: Client, address: int, length: int) -> bytes:
    frame = _selected(client)
    length = min(length, _LIMIT)
    found = frame.read_memory(address, length)
    if found:
        return found
    end = client.session.trace.constant_end(address)
    if end is not None:
        end = frame.next_memory(address, min(end, address + length))
        try:
            return client.session.memory.read_front(address, end - address)
        except MEMORY_ERRORS as error:
            raise PacketError(str(error), MEMORY) from None
    raise PacketError(f"trace frame {frame.index} has no memory at 0x{address:08x}", MEMORY)


def _frame_memory(client: Client, address: int, length: int) -> bytes:
    if not length:
        raise PacketError("a read of 0 bytes reads nothing", MALFORMED)
    return _frame_bytes(client, address, length).hex().encode()


def _frame_memory_binary(client: Client, address: int, length: int) -> bytes:
    return b"b" + escape(_frame_bytes(client, address, length)) if length else b"b"


def _refused(client: Client, *arguments: object) -> bytes:
    raise PacketError("a trace frame is selected, which can only be read: 'tfind none' leaves it")


_LIVE_ONLY = ("G", "P", "M", "X", "qSearch:memory", "qCRC", "vFlashErase", "vFlashWrite", "vFlashDone")

#: what packets do instead while a trace frame is selected
IN_FRAME: dict[str, Callable[..., bytes | None]] = {
    "g": _frame_registers,
    "p": _frame_register,
    "m": _frame_memory,
    "x": _frame_memory_binary,
    **dict.fromkeys(_LIVE_ONLY, _refused),
}
