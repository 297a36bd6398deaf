"""Registers that have more behind them than a buffer: what serves their accesses natively.

See :mod:`dbgemu.target.stream`, which describes them. As for every port, what is given is the host address
of the bytes to read or write, or 0 for an access that has to come to the device.
"""

from __future__ import annotations

from dbgemu.engine.routines import RoutineCore, emit_routine
from dbgemu.target.arm.core import Routine
from dbgemu.target.arm.value import Value
from dbgemu.target.count_port import (
    COUNT_CLOCK,
    COUNT_DURATION,
    COUNT_FIRST,
    COUNT_NS,
    COUNT_PERIOD,
    COUNT_PHASE,
    COUNT_SINCE,
    COUNT_TICKS,
)
from dbgemu.target.stream import (
    CODE_COLUMNS,
    CODE_HIGH_LINES,
    CODE_LIMIT,
    CODE_LOW_LINES,
    CODE_ORIGIN,
    CODE_STREAM,
    CODE_TABLES,
    CODE_UNIT,
    POST_COPIES,
    POST_VALUE,
    STREAM_CURSOR,
)

#: and where a posted write itself goes: nobody reads it
_DECLARATIONS = """
declare i64 @llvm.ctpop.i64(i64)
@posted = internal global i64 0
"""

#: of the bytes of a unit, those with bit 0, 1, 2 of their number set
_UNIT_LINES = (0xFF00FF00FF00FF00, 0xFFFF0000FFFF0000, 0xFFFFFFFF00000000)
_LOW_LINES = 6


def _word(core: RoutineCore, port: Value, number: int) -> Value:
    return core.op(f"load i64, ptr {core.host_pointer(port + 8 * number)}", 64)


def _parity(core: RoutineCore, word: Value) -> Value:
    return core.op(f"call i64 @llvm.ctpop.i64(i64 {word})", 64) & 1


def _read(core: RoutineCore, port: Value) -> None:
    """A code: parities of the bytes from its origin on, then its tables."""
    nothing = core.const(0, 64)
    origin = _word(core, port, CODE_ORIGIN)
    end = _word(core, _word(core, port, CODE_STREAM), STREAM_CURSOR)
    length = end - origin
    served = origin.ne(0) & ~length.ugt(_word(core, port, CODE_LIMIT)) & (length & CODE_UNIT - 1).eq(0)
    for _ in core.when(~served):
        core.ret(nothing)
    number, lines, column = (core.variable("i64", "0") for _ in range(3))
    test, body, after = (core.name("L") for _ in range(3))
    core.label(test)
    index = core.op(f"load i64, ptr {number}", 64)
    core.end(f"br i1 {index.ult(length)}, label %{body}, label %{after}")
    core.label(body)
    unit = core.op(f"load i64, ptr {core.host_pointer(origin + index)}, align 1", 64)
    counted = core.const(0, 64) - _parity(core, unit) & index
    core.line(f"store i64 {core.op(f'load i64, ptr {lines}', 64) ^ counted}, ptr {lines}")
    core.line(f"store i64 {core.op(f'load i64, ptr {column}', 64) ^ unit}, ptr {column}")
    core.line(f"store i64 {index + CODE_UNIT}, ptr {number}")
    core.end(f"br label %{test}")
    core.label(after)
    passed, line = (core.op(f"load i64, ptr {name}", 64) for name in (column, lines))
    for bit, mask in enumerate(_UNIT_LINES):
        line = line | _parity(core, passed & mask) << bit
    for half in (32, 16, 8):
        passed = passed ^ passed >> half
    tables = _word(core, port, CODE_TABLES)

    def entry(first: int, place: Value) -> Value:
        return core.op(f"load i32, ptr {core.host_pointer(tables + (place + first << 2))}", 32)

    code = (
        entry(CODE_LOW_LINES, line & (1 << _LOW_LINES) - 1)
        ^ entry(CODE_HIGH_LINES, line >> _LOW_LINES)
        ^ entry(CODE_COLUMNS, passed & 0xFF)
    )
    value = _word(core, port, STREAM_CURSOR)
    core.line(f"store i32 {code}, ptr {core.host_pointer(value)}")
    core.ret(value)


def _count(core: RoutineCore, port: Value) -> None:
    """A count: from the instructions executed to the time, to ticks, to what is left of the count."""
    nothing = core.const(0, 64)
    clock = _word(core, port, COUNT_CLOCK)
    for _ in core.when(clock.eq(0)):
        core.ret(nothing)
    executed = core.get64("count_now")
    picoseconds = executed * _word(core, clock, 0)
    now = core.op(f"udiv i64 {picoseconds}, 1000", 64) + _word(core, clock, 1)
    passed = now - _word(core, port, COUNT_SINCE)
    known = ~executed.ugt(_word(core, clock, 2)) & ~passed.ugt(_word(core, port, COUNT_DURATION))
    for _ in core.when(~known):
        core.ret(nothing)
    ticks = passed * _word(core, port, COUNT_TICKS) + _word(core, port, COUNT_PHASE)
    elapsed = core.op(f"udiv i64 {ticks}, {_word(core, port, COUNT_NS)}", 64)
    first, period = _word(core, port, COUNT_FIRST), _word(core, port, COUNT_PERIOD)
    divisor = period | period.eq(0).zext(64)
    beyond = core.op(f"urem i64 {elapsed - first - 1}, {divisor}", 64)
    later = period.eq(0).select(nothing, period - 1 - beyond)
    count = elapsed.ugt(first).select(later, first - elapsed)
    value = _word(core, port, STREAM_CURSOR)
    core.line(f"store i32 {count.trunc(32)}, ptr {core.host_pointer(value)}")
    core.ret(value)


def _write(core: RoutineCore, port: Value, value: Value) -> None:
    """A posted write: words are copied."""
    for _ in core.when(value.zext(64).ne(_word(core, port, POST_VALUE))):
        core.ret(core.const(0, 64))
    pair = core.variable("i64", str(_word(core, port, POST_COPIES)))
    test, body, after = (core.name("L") for _ in range(3))
    core.label(test)
    here = core.op(f"load i64, ptr {pair}", 64)
    source = _word(core, here, 0)
    core.end(f"br i1 {source.ne(0)}, label %{body}, label %{after}")
    core.label(body)
    copied = _word(core, source, 0)
    core.line(f"store i64 {copied}, ptr {core.host_pointer(_word(core, here, 1))}")
    core.line(f"store i64 {here + 16}, ptr {pair}")
    core.end(f"br label %{test}")
    core.label(after)
    core.ret(core.op("ptrtoint ptr @posted to i64", 64))


PORT_READ = Routine("port_read", _read, (64,), 64)
PORT_COUNT = Routine("port_count", _count, (64,), 64)
PORT_WRITE = Routine("port_write", _write, (64, 32), 64)


def emit_ports() -> list[str]:
    """Their IR."""
    return [_DECLARATIONS, emit_routine(PORT_READ), emit_routine(PORT_COUNT), emit_routine(PORT_WRITE)]
