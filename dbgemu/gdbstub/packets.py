"""The packets this stub knows: a table, one row a packet, grouped by what announces them.

A capability is announced in the reply to ``qSupported`` exactly when its rows stand here; a packet
without a row gets the empty reply, which means "not supported".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dbgemu.debug.watchpoints import WatchKind
from dbgemu.gdbstub import arguments as take
from dbgemu.gdbstub import (
    breakpoint_rules,
    exec_file,
    execution,
    file_io,
    flash,
    inspection,
    lifecycle,
    nonstop,
    points,
    qemu_controls,
    queries,
    searching,
    syscalls,
    threads,
    trace_upload,
    tracing,
)
from dbgemu.gdbstub import trace_arguments as take_trace
from dbgemu.gdbstub.condition_arguments import breakpoint_with_rules
from dbgemu.gdbstub.framing import PACKET_SIZE

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client


@dataclass(frozen=True)
class Packet:
    """One packet: its name, how its arguments read, and what it does.

    ``handle`` gets the client and the arguments, and returns the reply, or None for none (yet).
    """

    name: str
    arguments: Callable[[bytes], tuple[Any, ...]]
    handle: Callable[..., bytes | None]


@dataclass(frozen=True)
class Capability:
    """Packets that come together, and the feature of ``qSupported`` that announces them, if any."""

    feature: str
    packets: tuple[Packet, ...] = ()


def _supported(client: Client, features: Mapping[str, str]) -> bytes:
    """``qSupported``: exchange what both sides can do."""
    queries.note_features(client, features)
    return ANNOUNCEMENT


CAPABILITIES = (
    Capability(
        "",
        (
            Packet("?", take.nothing, execution.halt_reason),
            Packet("g", take.nothing, inspection.read_registers),
            Packet("G", take.hex_data, inspection.write_registers),
            Packet("p", take.register, inspection.read_register),
            Packet("P", take.register_value, inspection.write_register),
            Packet("m", take.address_length, inspection.read_memory),
            Packet("M", take.address_hex, inspection.write_memory),
            Packet("X", take.address_binary, inspection.write_memory),
            Packet("c", take.optional_address, execution.continue_),
            Packet("C", take.signal_address, execution.continue_),
            Packet("s", take.optional_address, execution.step),
            Packet("S", take.signal_address, execution.step),
            Packet("Z0", breakpoint_with_rules, breakpoint_rules.insert_breakpoint(hardware=False)),
            Packet("z0", take.point, points.remove_breakpoint(hardware=False)),
            Packet("Z1", breakpoint_with_rules, breakpoint_rules.insert_breakpoint(hardware=True)),
            Packet("z1", take.point, points.remove_breakpoint(hardware=True)),
            Packet("Z2", take.point, points.insert_watchpoint(WatchKind.WRITE)),
            Packet("z2", take.point, points.remove_watchpoint(WatchKind.WRITE)),
            Packet("Z3", take.point, points.insert_watchpoint(WatchKind.READ)),
            Packet("z3", take.point, points.remove_watchpoint(WatchKind.READ)),
            Packet("Z4", take.point, points.insert_watchpoint(WatchKind.ACCESS)),
            Packet("z4", take.point, points.remove_watchpoint(WatchKind.ACCESS)),
            Packet("D", take.process, lifecycle.detach),
            Packet("k", take.anything, lifecycle.kill_silently),
            Packet("vKill", take.process, lifecycle.kill),
            Packet("!", take.nothing, lifecycle.extend),
            Packet("R", take.anything, lifecycle.restart),
            Packet("vRun", take.program, lifecycle.run),
            Packet("vAttach", take.process, lifecycle.attach),
            Packet("H", take.operation_thread, threads.select_thread),
            Packet("T", take.thread, threads.thread_alive),
            Packet("qSupported", take.features, _supported),
            Packet("qAttached", take.anything, queries.attached),
            Packet("qC", take.nothing, threads.current_thread),
            Packet("qfThreadInfo", take.nothing, threads.first_threads),
            Packet("qsThreadInfo", take.nothing, threads.more_threads),
            Packet("qThreadExtraInfo", take.thread, threads.thread_description),
            Packet("qRcmd", take.hex_data, queries.monitor_command),
            Packet("F", take.file_reply, file_io.reply),
            Packet("qSearch:memory", take.search, searching.search),
            Packet("qCRC", take.address_length, searching.checksum),
            # the memory map tells what is flash
            Packet("vFlashErase", take.address_length, flash.erase),
            Packet("vFlashWrite", take.flash_write, flash.write),
            Packet("vFlashDone", take.nothing, flash.done),
            Packet("qqemu.Supported", take.nothing, qemu_controls.supported),
            Packet("qqemu.sstepbits", take.nothing, qemu_controls.step_bits),
            Packet("qqemu.sstep", take.nothing, qemu_controls.step_mode),
            Packet("Qqemu.sstep", take.step_bits, qemu_controls.set_step_mode),
            Packet("qqemu.PhyMemMode", take.nothing, qemu_controls.memory_mode),
            Packet("Qqemu.PhyMemMode", take.flag, qemu_controls.set_memory_mode),
            Packet("qdbgemu.LinuxTasks", take.nothing, threads.tasks_wanted),
            Packet("Qdbgemu.LinuxTasks", take.flag, threads.set_tasks_wanted),
        ),
    ),
    Capability(f"PacketSize={PACKET_SIZE:x}"),
    Capability("QStartNoAckMode+", (Packet("QStartNoAckMode", take.nothing, queries.start_no_ack_mode),)),
    Capability(
        "vContSupported+",
        (
            Packet("vCont?", take.nothing, execution.resume_actions),
            Packet("vCont", take.resume_actions, execution.resume),
        ),
    ),
    Capability(
        "qXfer:exec-file:read+",
        (
            Packet("qXfer:exec-file:read", take.transfer, exec_file.read_name),
            Packet("vFile:setfs", take.numbers(1), exec_file.set_filesystem),
            Packet("vFile:open", take.open_file, exec_file.open_file),
            Packet("vFile:pread", take.numbers(3), exec_file.read_file),
            Packet("vFile:fstat", take.numbers(1), exec_file.describe_file),
            Packet("vFile:close", take.numbers(1), exec_file.close_file),
            Packet("vFile:readlink", take.hex_data, exec_file.read_link),
        ),
    ),
    Capability("qXfer:threads:read+", (Packet("qXfer:threads:read", take.transfer, threads.read_threads),)),
    Capability("multiprocess+"),
    Capability("QCatchSyscalls+", (Packet("QCatchSyscalls", take.system_calls, syscalls.catch_syscalls),)),
    Capability(
        "QNonStop+",
        (
            Packet("QNonStop", take.flag, nonstop.set_mode),
            Packet("vStopped", take.nothing, nonstop.more_stops),
            Packet("vCtrlC", take.nothing, nonstop.interrupt),
        ),
    ),
    # Reasons in stop replies: sent to clients that ask for them in their own qSupported.
    Capability("swbreak+"),
    Capability("hwbreak+"),
    # In packets Z0 and Z1.
    Capability("ConditionalBreakpoints+"),
    Capability("BreakpointCommands+"),
    Capability(
        "qXfer:features:read+", (Packet("qXfer:features:read", take.transfer, queries.read_features),)
    ),
    Capability(
        "qXfer:memory-map:read+", (Packet("qXfer:memory-map:read", take.transfer, queries.read_memory_map),)
    ),
    Capability("binary-upload+", (Packet("x", take.address_length, inspection.read_memory_binary),)),
    Capability(
        "",
        (
            Packet("QTinit", take.nothing, tracing.initialize),
            Packet("QTDP", take_trace.tracepoint, tracing.define),
            Packet("QTDV", take_trace.variable, tracing.define_variable),
            Packet("QTro", take_trace.ranges, tracing.mark_constant),
            Packet("QTStart", take.nothing, tracing.start),
            Packet("QTStop", take.nothing, tracing.stop),
            Packet("QTNotes", take_trace.notes, tracing.set_notes),
            Packet("QTFrame", take_trace.frame, tracing.select_frame),
            Packet("QTSave", take_trace.file_name, tracing.save),
            Packet("qTStatus", take.nothing, tracing.status),
            Packet("qTP", take_trace.location, tracing.tracepoint_status),
            Packet("qTV", take_trace.number, tracing.variable),
            Packet("qTfP", take.nothing, tracing.first_of(trace_upload.definitions)),
            Packet("qTsP", take.nothing, tracing.more),
            Packet("qTfV", take.nothing, tracing.first_of(trace_upload.variables)),
            Packet("qTsV", take.nothing, tracing.more),
            Packet("qTBuffer", take_trace.piece, tracing.read_buffer),
        ),
    ),
    # The X of QTDP, tracepoints that are new in a running experiment, and the bytecode of 'collect/s'.
    Capability("ConditionalTracepoints+"),
    Capability("InstallInTrace+"),
    Capability("tracenz+"),
    Capability("TracepointSource+", (Packet("QTDPsrc", take_trace.source, tracing.keep_source),)),
    Capability(
        "EnableDisableTracepoints+",
        (
            Packet("QTEnable", take_trace.location, tracing.enable(True)),
            Packet("QTDisable", take_trace.location, tracing.enable(False)),
        ),
    ),
    Capability(
        "DisconnectedTracing+", (Packet("QTDisconnected", take_trace.flag, tracing.set_disconnected),)
    ),
    Capability("QTBuffer:size+", (Packet("QTBuffer", take_trace.setting, tracing.set_buffer),)),
    Capability(
        "qXfer:traceframe-info:read+",
        (Packet("qXfer:traceframe-info:read", take.transfer, tracing.read_frame_info),),
    ),
    # Errors may be texts: sent to clients that announce the same.
    Capability("error-message+"),
)

ANNOUNCEMENT = ";".join(item.feature for item in CAPABILITIES if item.feature).encode()

_ROWS = {row.name.encode(): row for capability in CAPABILITIES for row in capability.packets}

#: packets whose name is one character: their arguments follow without a separator
_LETTERS = {name[0]: row for name, row in _ROWS.items() if len(name) == 1}

_NAME = re.compile(rb"(qXfer:[\w-]+:\w+|qSearch:\w+|vFile:\w+|[\w?.]+)[:;,]?", re.ASCII)

#: longer packets carry data: they hardly come twice
_CACHED_LENGTH = 40


def _parse(packet: bytes) -> tuple[Packet | None, tuple[Any, ...]]:
    if not packet:
        return None, ()
    row = _LETTERS.get(packet[0])
    if row is not None:
        return row, row.arguments(packet[1:])
    match = _NAME.match(packet)
    row = _ROWS.get(match[1]) if match else None
    if row is None or match is None:
        return None, ()
    return row, row.arguments(packet[match.end() :])


_parse_cached = lru_cache(maxsize=4096)(_parse)


def parse(packet: bytes) -> tuple[Packet | None, tuple[Any, ...]]:
    """The row of ``packet`` (None for one this stub does not know) and its arguments.

    Raises :class:`PacketError` for arguments that are not well-formed.
    """
    return _parse_cached(packet) if len(packet) <= _CACHED_LENGTH else _parse(packet)
