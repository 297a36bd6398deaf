"""Commands about the call stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dbgemu.debug.unwind import Frame, How, Unwinder
from dbgemu.monitor import debugging, expressions
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.commands.source import source_line, source_text

if TYPE_CHECKING:
    from dbgemu.monitor.context import Context

_MOST = 1000


def frames_of(context: Context, limit: int) -> list[Frame]:
    """The innermost ``limit`` frames."""
    session = context.session
    return session.call(lambda: list(Unwinder(session).frames(limit)))


def _place(context: Context, frame: Frame) -> str:
    found = context.session.symbols.lookup(frame.look)
    if found is None:
        return ""
    inside = frame.pc - found[0].address
    return f"{found[0].name}+{inside:#x}" if inside else found[0].name


def _text(context: Context, frame: Frame) -> str:
    line = context.session.symbols.line(frame.look)
    text = f"#{frame.number:<2} 0x{frame.pc:08x} {_place(context, frame) or '??'}"
    text += f" at {line}" if line else ""
    return text + (f"  [{frame.how.value}]" if frame.how not in (How.HERE, How.DWARF) else "")


def _data(context: Context, frame: Frame) -> dict[str, Any]:
    line = context.session.symbols.line(frame.look)
    return {
        "frame": frame.number,
        "pc": frame.pc,
        "sp": frame.sp,
        "symbol": _place(context, frame) or None,
        "line": str(line) if line else None,
        "found by": frame.how.value or None,
    }


def _backtrace(context: Context, arguments: Sequence[str]) -> Report:
    limit = expressions.evaluate(context.session, arguments[0]) if arguments else _MOST
    if not limit:
        raise CommandError("0 frames are none")
    found = frames_of(context, limit)
    return Report(
        "\n".join(_text(context, frame) for frame in found), [_data(context, frame) for frame in found]
    )


def _select(context: Context, number: int) -> Report:
    found = frames_of(context, number + 1)
    if number < 0 or number >= len(found):
        raise CommandError(f"there is no frame {number}: the outermost is {len(found) - 1}")
    debugging.of(context).frame = number
    frame = found[number]
    line = context.session.symbols.line(frame.look)
    text = _text(context, frame)
    if line is not None and source_text(line.file) is not None:
        text += f"\n{source_line(line.file, line.line)}"
    return Report(text, _data(context, frame))


def _frame(context: Context, arguments: Sequence[str]) -> Report:
    number = expressions.evaluate(context.session, arguments[0]) if arguments else debugging.of(context).frame
    return _select(context, number)


def _up(context: Context, arguments: Sequence[str]) -> Report:
    return _select(context, debugging.of(context).frame + 1)


def _down(context: Context, arguments: Sequence[str]) -> Report:
    number = debugging.of(context).frame
    if not number:
        raise CommandError("this is the innermost frame")
    return _select(context, number - 1)


def _info_frame(context: Context, arguments: Sequence[str]) -> Report:
    number = debugging.of(context).frame
    found = frames_of(context, number + 2)
    if number >= len(found):
        raise CommandError(f"there is no frame {number} any more")
    frame = found[number]
    known = {
        f"r{register}": value
        for register, value in sorted(frame.registers.items())
        if register < 13 or (register == 14 and not number)
    }
    lines = [
        _text(context, frame),
        f"pc = 0x{frame.pc:08x}, sp = 0x{frame.sp:08x}, found by {frame.how.value or 'the registers'}",
    ]
    caller = found[number + 1] if len(found) > number + 1 else None
    if caller is not None:
        lines.append(
            f"called from 0x{caller.pc:08x} {_place(context, caller)}, whose sp is 0x{caller.sp:08x}"
        )
    lines.append("known registers: " + " ".join(f"{name}={value:08x}" for name, value in known.items()))
    data = _data(context, frame)
    return Report(
        "\n".join(lines), {**data, "registers": known, "caller": _data(context, caller) if caller else None}
    )


_GROUP = "code"

COMMANDS = (
    Command(
        "backtrace",
        _backtrace,
        "show the calls that led here",
        (Argument("COUNT", Kind.EXPRESSION, optional=True, rest=True),),
        ("bt", "where"),
        _GROUP,
        "By .debug_frame of the symbol files, then .ARM.exidx, Linux's exception frames, frame pointers;\n"
        "what was not found by DWARF says so behind the line, and a guess is called one.",
    ),
    Command(
        "frame",
        _frame,
        "select a frame, or show the selected one",
        (Argument("NUMBER", Kind.EXPRESSION, optional=True, rest=True),),
        ("f",),
        _GROUP,
    ),
    Command("up", _up, "select the caller's frame", (), (), _GROUP, repeatable=True),
    Command("down", _down, "select the frame of what was called", (), (), _GROUP, repeatable=True),
    Command("info frame", _info_frame, "tell all about the selected frame", (), (), _GROUP),
)
