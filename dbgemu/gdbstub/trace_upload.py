"""What the stub tells of an experiment: status, definitions, variables, and all of it as a trace file.

GDB manual, "Tracepoint Packets" (qTStatus, qTfP, qTfV) and "Trace File Format", whose lines are the
same texts.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbgemu.debug.tracepoints.definitions import EndReason, Tracepoint
from dbgemu.debug.tracepoints.experiment import Experiment
from dbgemu.debug.tracepoints.frame import REGISTERS

_END_NAMES = {
    EndReason.NOT_RUN: "tnotrun",
    EndReason.STOPPED: "tstop",
    EndReason.FULL: "tfull",
    EndReason.DISCONNECTED: "tdisconnected",
    EndReason.PASS_COUNT: "tpasscount",
    EndReason.ERROR: "terror",
}

#: reasons that come with an explanation
_EXPLAINED = (EndReason.STOPPED, EndReason.ERROR)


def hex_text(text: str) -> str:
    """A text as packets carry it."""
    return text.encode().hex()


def status(trace: Experiment) -> str:
    """The reply to ``qTStatus`` behind its ``T``."""
    buffer, end = trace.buffer, trace.end
    parts = ["1" if trace.running else "0"]
    if not trace.running:
        text = f":{hex_text(end.text)}" if end.reason in _EXPLAINED else ""
        parts.append(f"{_END_NAMES[end.reason]}{text}:{end.tracepoint:x}")
    parts += [
        f"tframes:{len(buffer):x}",
        f"tcreated:{buffer.created:x}",
        f"tfree:{buffer.free:x}",
        f"tsize:{buffer.size:x}",
        f"circular:{buffer.circular:d}",
        f"disconn:{trace.disconnected:d}",
        f"starttime:{trace.start_time:x}",
        f"stoptime:{trace.stop_time:x}",
        f"username:{hex_text(trace.user)}",
        f"notes:{hex_text(trace.notes)}",
    ]
    return ";".join(parts)


def definitions(trace: Experiment) -> Iterator[str]:
    """The replies to ``qTfP`` and ``qTsP``."""
    for tracepoint in trace.tracepoints.values():
        yield from _definition(tracepoint)


def _definition(tracepoint: Tracepoint) -> Iterator[str]:
    place = f"{tracepoint.number:x}:{tracepoint.address:x}"
    condition = ""
    if tracepoint.condition is not None:
        code = tracepoint.condition.data
        condition = f":X{len(code):x},{code.hex()}"
    enabled = "E" if tracepoint.enabled else "D"
    yield f"T{place}:{enabled}:{tracepoint.step_count:x}:{tracepoint.pass_count:x}{condition}"
    for letter, actions in (("A", tracepoint.actions), ("S", tracepoint.step_actions)):
        for action in actions:
            yield f"{letter}{place}:{action.text}"
    for source in tracepoint.sources:
        yield f"Z{place}:{source.kind}:{source.start:x}:{source.length:x}:{source.text.hex()}"


def variables(trace: Experiment) -> Iterator[str]:
    """The replies to ``qTfV`` and ``qTsV``."""
    for variable in trace.variables.values():
        builtin = variable.getter is not None
        value = variable.initial % (1 << 64)
        yield f"{variable.number:x}:{value:x}:{builtin:x}:{hex_text(variable.name)}"


def trace_file(trace: Experiment, target_description: bytes) -> Iterator[bytes]:
    """The pieces of a trace file, for ``target tfile``."""
    yield b"\x7fTRACE0\n"
    lines = [f"R {REGISTERS.size:x}", f"status {status(trace)}"]
    lines += [f"tsv {item}" for item in variables(trace)]
    lines += [f"tp {item}" for item in definitions(trace)]
    for item in trace.tracepoints.values():
        lines.append(f"tp V{item.number:x}:{item.address:x}:{item.hits:x}:{item.usage:x}")
    lines += [f"tdesc {line}" for line in target_description.decode().splitlines()]
    yield "\n".join([*lines, "", ""]).encode()
    yield trace.buffer.read(0, trace.buffer.used)
    # Tracepoint number 0 is the end; the size behind it is there as in a frame.
    yield bytes(6)
